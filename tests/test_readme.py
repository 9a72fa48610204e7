"""Every snippet of the README runs as it stands there, against the emulator on a real socket."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from documented_operations import OPERATIONS

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


def test_it_counts_the_operations() -> None:
    counts = re.findall(r"(\d+)\s+operations", README.read_text(encoding="utf-8"))

    assert counts
    assert set(counts) == {str(len(OPERATIONS))}


def layout() -> list[str]:
    """Return the lines of the block under "Layout", and check that there is one."""
    block = re.search(r"## Layout\n\n```\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    return block[1].splitlines()


def test_the_layout_names_what_is_there() -> None:
    paths = [path for line in layout() for path in re.findall(r"(?<!\S)[\w/]+(?:\.py|/)(?![\w/])", line)]
    places = (README.parent, README.parent / "coreclaw_async")

    assert paths
    assert [path for path in paths if not any((place / path).exists() for place in places)] == []


def test_the_layout_names_each_folder_and_module_of_the_package() -> None:
    package = README.parent / "coreclaw_async"
    folders = {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
    modules = {path.name for path in package.glob("*.py")} - {"__init__.py", "__main__.py", "_version.py"}
    named = set(re.findall(r"(?<![\w/])\w+(?:\.py|/)", "\n".join(layout())))

    assert folders | modules <= named, sorted((folders | modules) - named)
