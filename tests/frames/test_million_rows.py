"""A million rows, in memory that does not grow with them, or far less than a list of them takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("million_rows.py")
# A list of the rows takes 800 MB, and the rows as text about 200 MB.
MOST = {"to_parquet": 150, "to_jsonl": 50, "to_csv": 50, "to_arrow": 320, "to_pandas": 320, "to_polars": 480}


@pytest.mark.endurance
@pytest.mark.parametrize("method", MOST)
def test_a_million_rows_take_little_memory(tmp_path: Path, method: str) -> None:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), method, str(tmp_path)], capture_output=True, text=True, check=True, timeout=300
    )

    megabytes, rows = map(int, done.stdout.split())
    assert rows == 1_000_000 + (method == "to_csv"), "with its header"
    assert megabytes < MOST[method]
