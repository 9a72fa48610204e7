"""A test that never ends fails by name, and costs its time limit: the others run all the same."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SUITE = """
import subprocess, sys, threading
from pathlib import Path

import anyio
import pytest

@pytest.mark.parametrize("number", range(3))
def test_that_hangs_once(number):
    mark = Path(__file__).with_name(str(number))
    if not mark.exists():
        mark.touch()
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
        threading.Event().wait()

def test_that_hangs():
    anyio.run(anyio.sleep_forever, backend="trio")

@pytest.mark.parametrize("number", range(50))
def test_that_passes(number):
    pass
"""


@pytest.mark.endurance(15)
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes that are left behind are not found here")
def test_test_that_hangs_fails_by_name_and_all_others_run(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    more = re.search(r"^ONCE_MORE = (.+)$", (ROOT / "noxfile.py").read_text(), re.MULTILINE)
    assert more is not None
    plugins = ("-p", "conftest", "-p", "no:cacheprovider")
    options = ("-c", ROOT / "pyproject.toml", "-o", "faulthandler_timeout=1", "-n", "1", *ast.literal_eval(more[1]))
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COVERAGE_"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", tmp_path, *plugins, *options],
        cwd=tmp_path,
        env=outside | {"PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed, 53 passed, 4 rerun in" in done.stdout
    assert re.search(r"worker 'gw\d+' crashed while running '.*::test_that_hangs'", done.stdout)
    assert " in test_that_hangs_once\n" in done.stderr
