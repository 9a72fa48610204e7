"""Every snippet of the README runs as it stands there, and what the pages for people name is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from documented_operations import OPERATIONS

from coreclaw_async.testing import FakeService, RealClock, RunScript

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
GUIDE = ROOT / ".github" / "CONTRIBUTING.md"
PLACES = (ROOT, ROOT / "coreclaw_async", ROOT / ".github")
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

    assert paths
    assert [path for path in paths if not any((place / path).exists() for place in PLACES)] == []


def parts_of_the_package() -> tuple[set[str], set[str]]:
    """Return the names of its folders, and of the modules beside them that are there to be imported."""
    package = ROOT / "coreclaw_async"
    modules = {path.name for path in package.glob("*.py")} - {"__init__.py", "__main__.py", "_version.py"}
    return {path.parent.name for path in package.glob("*/__init__.py")}, modules


def test_the_layout_names_each_folder_and_module_of_the_package() -> None:
    folders, modules = parts_of_the_package()
    named = set(re.findall(r"(?<![\w/])\w+(?:\.py|/)", "\n".join(layout())))

    assert {f"{folder}/" for folder in folders} | modules <= named


def test_the_guide_names_each_folder_of_the_package() -> None:
    folders, _ = parts_of_the_package()
    named = set(re.findall(r"^\| `coreclaw_async/(\w+)/` \| .", GUIDE.read_text(encoding="utf-8"), re.MULTILINE))

    assert named == folders


@pytest.mark.parametrize("page", [README, GUIDE], ids=lambda page: page.name)
def test_paths_on_a_page_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    paths = re.findall(r"(?<![\w/.-])(?:(?:tests|benchmarks|coreclaw_async|\.github|\.ci)/[\w/.-]*|[A-Z]+\.md)", text)

    assert paths
    assert {path for path in paths if not any((place / path.rstrip(".")).exists() for place in PLACES)} == set()


def test_constants_that_the_guide_names_are_there() -> None:
    sources = [*(ROOT / "coreclaw_async").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    defined = set(re.findall(r"^ *(\w+)(?::[^=\n]+)? = ", "\n".join(map(Path.read_text, sources)), re.MULTILINE))
    named = set(re.findall(r"`(_?[A-Z][A-Z_]+)`", GUIDE.read_text(encoding="utf-8")))

    assert named
    assert named - defined == set()


def test_what_can_be_run_is_named_where_people_look() -> None:
    source = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    sessions = re.findall(r"^@nox\.session.*\ndef (\w+)\(", source, re.MULTILINE)
    told = re.findall(r"nox -s ((?:[a-z]+ ?)+)", "\n".join([GUIDE.read_text(encoding="utf-8"), *layout()]))

    assert f"nox -s {' '.join(sessions)}" in source
    assert f"nox -s {' '.join(sessions)}" in layout()[-1]
    assert {name for names in told for name in names.split()} <= set(sessions)


def test_the_set_up_of_the_guide_installs_every_extra() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    installed = re.search(r"install -e '\.\[([\w,]+)\]' --group dev", GUIDE.read_text(encoding="utf-8"))

    assert installed is not None
    assert installed[1].split(",") == sorted(extras)
