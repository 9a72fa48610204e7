"""Both type checkers see in the package what a caller relies on."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import coreclaw_async

# What one process of a type checker takes.
pytestmark = pytest.mark.endurance

USES = Path(__file__).with_name("uses_of_the_api.py")
WHERE_THE_PACKAGE_IS = Path(coreclaw_async.__file__).parents[1]
PYRIGHT_SETTINGS = {
    "typeCheckingMode": "strict",
    "extraPaths": [str(WHERE_THE_PACKAGE_IS)],
    # Without this, what is written for the other checker would hide the mistakes from this one.
    "enableTypeIgnoreComments": False,
    "reportUnnecessaryTypeIgnoreComment": "error",
}


def check(folder: Path, checker: str, *options: str) -> None:
    """Run *checker* in *folder* and expect that it finds nothing."""
    if importlib.util.find_spec(checker) is None:
        pytest.skip(f"{checker} is not installed")
    done = subprocess.run(
        [sys.executable, "-m", checker, *options],
        cwd=folder,
        env={**os.environ, "MYPYPATH": str(WHERE_THE_PACKAGE_IS)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the uses alone, where no settings of this repository hold."""
    shutil.copy(USES, tmp_path)
    return tmp_path


def test_mypy_sees_types_and_mistakes_as_they_are_written(folder: Path) -> None:
    check(folder, "mypy", "--strict", "--no-incremental", "--config-file=", USES.name)


def test_pyright_sees_types_and_mistakes_as_they_are_written(folder: Path) -> None:
    (folder / "pyrightconfig.json").write_text(json.dumps(PYRIGHT_SETTINGS), "utf-8")

    check(folder, "pyright", "--pythonpath", sys.executable)
