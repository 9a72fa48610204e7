"""The fixtures in a test suite of a user's: with pytest alone, with anyio, with pytest-asyncio in both its modes."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = """
import string
from unittest import mock

import pytest
from coreclaw_async import OutcomeUnknownError
from coreclaw_async.testing import RunScript, faults

WORKER, INPUT = "coreclaw/google-maps-scraper", {{"keywords": ["coffee"]}}
{marked}

def test_service(coreclaw_service):
    assert coreclaw_service.runs_created == 0

def test_blocking(coreclaw_sync_client, coreclaw_service):
    run = coreclaw_sync_client.workers.run(WORKER, INPUT)
    assert len(list(coreclaw_sync_client.runs.iterate_results(run))) == 3
    assert coreclaw_service.clock.monotonic() >= 10

@marked
async def test_async(coreclaw_client, coreclaw_service):
    coreclaw_service.faults.add(faults.outage(minutes=20, after_minutes=0.1))
    coreclaw_service.next_script = RunScript(rows=150, duration=600)
    run = await coreclaw_client.workers.run(WORKER, INPUT)
    assert len(await coreclaw_client.runs.iterate_results(run).collect()) == 150
    assert 1200 <= coreclaw_service.clock.monotonic() < 1500

class TestGroup:
    @marked
    @pytest.mark.parametrize("number", [1, 2])
    async def test_method(self, coreclaw_client, coreclaw_service, number, tmp_path):
        coreclaw_service.faults.add(faults.commit_then_drop(), operation="runWorker", times=number)
        for _ in range(number):
            with pytest.raises(OutcomeUnknownError):
                await coreclaw_client.workers.start_run(WORKER, INPUT)
        assert coreclaw_service.runs_created == number

@marked
@mock.patch("string.capwords")
async def test_arguments_that_are_no_fixtures(capwords, coreclaw_client, number=3):
    assert (number, string.capwords) == (3, capwords)
    await coreclaw_client.account.get()

@marked
async def test_both(coreclaw_client, coreclaw_sync_client):
    run = await coreclaw_client.workers.run(WORKER, INPUT)
    assert coreclaw_sync_client.runs.get(run).status == "succeeded"

@marked
@pytest.mark.xfail(raises=ZeroDivisionError, strict=True)
async def test_failing(coreclaw_service):
    1 / 0
"""
WITHOUT_ASYNCIO = ("-p", "no:asyncio")
UNMARKED = "marked = lambda test: test"
BOTH_BACKENDS = "marked = pytest.mark.anyio"
ONE_BACKEND = f"{BOTH_BACKENDS}\n@pytest.fixture\ndef anyio_backend(): return 'asyncio'"
STRICT = ("-o", "asyncio_default_fixture_loop_scope=function")
AUTO = (*STRICT, "-o", "asyncio_mode=auto")
NEEDS_ASYNCIO = pytest.mark.skipif(
    importlib.util.find_spec("pytest_asyncio") is None, reason="pytest-asyncio is not installed"
)


@pytest.mark.endurance(3)
@pytest.mark.parametrize(
    ("marked", "options", "passed", "failed"),
    [
        pytest.param(UNMARKED, ("-p", "no:anyio", *WITHOUT_ASYNCIO), 7, 1, id="pytest alone"),
        pytest.param(UNMARKED, WITHOUT_ASYNCIO, 7, 1, id="anyio, unmarked"),
        pytest.param(ONE_BACKEND, WITHOUT_ASYNCIO, 7, 1, id="anyio, marked"),
        pytest.param(BOTH_BACKENDS, WITHOUT_ASYNCIO, 12, 2, id="anyio, marked, with trio"),
        pytest.param(UNMARKED, (*WITHOUT_ASYNCIO, "-o", "anyio_mode=auto"), 12, 2, id="anyio, auto"),
        pytest.param(UNMARKED, STRICT, 7, 1, id="asyncio, strict, unmarked", marks=NEEDS_ASYNCIO),
        pytest.param("marked = pytest.mark.asyncio", STRICT, 7, 1, id="asyncio, strict", marks=NEEDS_ASYNCIO),
        pytest.param(UNMARKED, AUTO, 7, 1, id="asyncio, auto", marks=NEEDS_ASYNCIO),
        pytest.param(UNMARKED, ("-p", "no:anyio", *AUTO), 7, 1, id="asyncio alone", marks=NEEDS_ASYNCIO),
    ],
)
def test_fixtures_work_in_a_foreign_suite(
    tmp_path: Path, marked: str, options: tuple[str, ...], passed: int, failed: int
) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    (tmp_path / "test_theirs.py").write_text(SUITE.format(marked=marked))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(rf"^{passed} passed, {failed} xfailed in ", done.stdout, re.MULTILINE), done.stdout
