"""The package as part of a zip file, and in a Python that optimizes assertions and docstrings away."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import coreclaw_async

PACKAGE = Path(coreclaw_async.__file__).parent
PROGRAM = """
import coreclaw_async
from coreclaw_async.testing import FakeService, RunScript

for name in coreclaw_async.__all__:
    getattr(coreclaw_async, name)
service = FakeService(default_script=RunScript(rows=3))
with coreclaw_async.CoreClaw(service.api_key, transport=service, clock=service.clock) as client:
    run = client.workers.run_once("key", "coreclaw/google-maps-scraper", {"keywords": ["coffee"]}, ledger="runs.db")
    print(coreclaw_async.__file__, len(client.runs.iterate_results(run).collect()))
"""


def in_place(folder: Path) -> Path:
    return PACKAGE.parent


def in_a_zip_file(folder: Path) -> Path:
    path = folder / "package.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for module in PACKAGE.rglob("*.py"):
            archive.write(module, module.relative_to(PACKAGE.parent))
    return path


@pytest.mark.endurance
@pytest.mark.parametrize("option", ["-I", "-OO"])
@pytest.mark.parametrize("place", [in_place, in_a_zip_file])
def test_a_run_is_started_and_read(place: Callable[[Path], Path], option: str, tmp_path: Path) -> None:
    path = place(tmp_path)
    ended = subprocess.run(
        [sys.executable, option, "-W", "error", "-c", f"import sys; sys.path.insert(0, {str(path)!r})\n{PROGRAM}"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if not name.startswith("CORECLAW_")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (ended.stdout, ended.stderr) == (f"{path / 'coreclaw_async' / '__init__.py'} 3\n", "")
