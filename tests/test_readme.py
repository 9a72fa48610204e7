"""Every snippet of the README runs as it stands there, against the emulator on a real socket."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from coreclaw_async.testing import FakeService, RealClock, RunScript

README = Path(__file__).parent.parent / "README.md"
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def emulator() -> Iterator[dict[str, str]]:
    service = FakeService(clock=RealClock(), default_script=RunScript(rows=30, duration=0.2))
    service.add_run("coreclaw/google-maps-scraper", rows=250)
    with service.serve() as server:
        yield {"CORECLAW_API_KEY": service.api_key, "CORECLAW_BASE_URL": server.url}


def test_there_are_snippets() -> None:
    assert len(SNIPPETS) >= 5


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_a_snippet_runs(emulator: dict[str, str], number: int, tmp_path: Path) -> None:
    if "FakeService" in SNIPPETS[number]:  # It needs neither a key nor a service.
        emulator = {}
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", SNIPPETS[number]],
        cwd=tmp_path,
        env={**os.environ, **emulator},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr


def test_the_layout_names_what_is_there() -> None:
    layout = README.read_text(encoding="utf-8").partition("## Layout")[2]
    root = README.parent
    named = re.findall(r"(?<!\S)((?:_|models|events|errors|testing|cli)[\w.]*/?)(?=\s)", layout.partition("tests/")[0])

    assert named
    for name in named:
        assert (root / "coreclaw_async" / name.rstrip("/")).exists(), name
