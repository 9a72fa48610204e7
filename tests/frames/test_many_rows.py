"""A quarter of a million rows, in memory that does not grow with them, or far less than a list of them takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("many_rows.py")
# `pd.DataFrame(rows)` of a list of them takes 214 MB.
MOST = {"to_parquet": 120, "to_jsonl": 30, "to_csv": 30, "to_arrow": 120, "to_pandas": 120, "to_polars": 160}
MOST |= {"part": 150}  # Written for a batch, and read again.


@pytest.mark.endurance
@pytest.mark.parametrize("method", MOST)
def test_many_rows_take_little_memory(tmp_path: Path, method: str) -> None:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), method, str(tmp_path)], capture_output=True, text=True, check=True, timeout=300
    )

    megabytes, rows = map(int, done.stdout.split())
    assert rows == 250_000 + (method == "to_csv"), "with its header"
    assert megabytes < MOST[method]
