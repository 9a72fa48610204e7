"""Tracebacks in notebooks and tests leave the frames of the package out, and hide nothing else."""

from __future__ import annotations

import gc
import inspect
import re
import subprocess
import sys
import time
import traceback
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any

import anyio
import pytest
from waiting import until

from coreclaw_async import AsyncCoreClaw, ColumnConflictError, CoreClaw, NotFoundError
from coreclaw_async._tracebacks import _steps, is_own
from coreclaw_async.testing import FakeService, RunScript, faults, pytest_plugin

WORKER = "coreclaw/google-maps-scraper"
UNKNOWN = "01KKDXV2G26BT7NH4ZQR2R4NPZ"
PACKAGE = str(Path(sys.modules["coreclaw_async"].__file__ or "").parent)


def functions_of(step: TracebackType | None, *, hides: bool = False) -> list[str]:
    """Return the functions in a traceback, with *hides* without those that IPython and pytest leave out."""
    found: list[str] = []
    while step is not None:
        if not (hides and step.tb_frame.f_locals.get("__tracebackhide__")):
            found.append(step.tb_frame.f_code.co_name)
        step = step.tb_next
    return found


class Shell:
    """Stands for IPython: it shows each error of a chain with all its frames."""

    def __init__(self) -> None:
        self.InteractiveTB = self

    def structured_traceback(self, kind: type[BaseException], error: BaseException, step: TracebackType) -> list[str]:
        assert kind is type(error)
        assert step is error.__traceback__
        return traceback.format_exception(error)


@pytest.fixture
def ipython(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=Shell))


async def fail(client: AsyncCoreClaw) -> None:
    await client.runs.get(UNKNOWN)


@pytest.mark.usefixtures("ipython")
async def test_notebook_shows_the_callers_frames_of_an_error_alone(client: AsyncCoreClaw) -> None:
    with pytest.raises(NotFoundError) as caught:
        await fail(client)
    whole = functions_of(caught.value.__traceback__)
    shown = "".join(caught.value._render_traceback_())

    assert PACKAGE not in shown
    assert "in fail" in shown
    assert shown.splitlines()[-1].startswith("coreclaw_async.errors.NotFoundError: ")
    assert functions_of(caught.value.__traceback__) == whole, "debuggers have all frames"
    assert len(whole) > 4


@pytest.mark.usefixtures("ipython")
async def test_causes_are_shown_without_frames_of_the_package_too(client: AsyncCoreClaw) -> None:
    def wrap() -> None:
        try:
            raise first.value
        except NotFoundError as error:
            raise ValueError("mine") from error

    with pytest.raises(NotFoundError) as first:
        await fail(client)
    with pytest.raises(ValueError, match="mine") as mine:
        wrap()
    outer = NotFoundError("outer")
    outer.__cause__ = mine.value
    shown = "".join(outer._render_traceback_())

    assert PACKAGE not in shown
    assert "in wrap" in shown


@pytest.mark.usefixtures("ipython")
async def test_error_without_frames_of_a_caller_is_shown_as_it_is(client: AsyncCoreClaw) -> None:
    with pytest.raises(NotFoundError) as caught:
        await client.runs.get(UNKNOWN)
    assert caught.value.__traceback__ is not None
    caught.value.__traceback__ = caught.value.__traceback__.tb_next

    assert PACKAGE in "".join(caught.value._render_traceback_())


@pytest.mark.usefixtures("ipython")
async def test_an_error_out_of_a_thread_is_shown_without_the_frames_between(
    client: AsyncCoreClaw, service: FakeService
) -> None:
    pytest.importorskip("pyarrow")
    rows = client.runs.iterate_results(service.add_run(WORKER, rows=[{"price": 1}, {"price": "one"}]))

    async def convert() -> None:
        await rows.to_arrow(on_conflict="raise")

    with pytest.raises(ColumnConflictError) as caught:
        await convert()
    shown = "".join(caught.value._render_traceback_())
    files = set(re.findall(r'File "(.+?)"', shown))

    assert files == {__file__}
    assert "in convert" in shown


@pytest.mark.usefixtures("ipython")
async def test_an_error_of_a_callers_own_task_keeps_the_frames_around_it(client: AsyncCoreClaw) -> None:
    class OwnError(NotFoundError):
        pass

    def stop() -> None:
        raise OwnError("mine")

    with pytest.raises(OwnError) as caught:
        await anyio.to_thread.run_sync(stop)

    assert "to_thread.py" in "".join(caught.value._render_traceback_())


WRONG: dict[str, Callable[[AsyncCoreClaw], Any]] = {
    "iterate_results": lambda client: client.runs.iterate_results(UNKNOWN, page_size=1000),
    "wait_many": lambda client: client.runs.wait_many([UNKNOWN], timeout=-1),
    "wait": lambda client: client.runs.wait(UNKNOWN, timeout=-1),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("has_hook", [False, True])
async def test_a_wrong_argument_hides_the_frames_of_the_package(
    client: AsyncCoreClaw, name: str, *, has_hook: bool
) -> None:
    if has_hook:
        client = client.with_options(on_event=lambda event: None)

    async def call() -> None:
        result = WRONG[name](client)
        if inspect.isawaitable(result):
            await result

    with pytest.raises(ValueError, match="must be") as caught:
        await call()

    own = {step.tb_frame for step in _steps(caught.value.__traceback__) if is_own(step.tb_frame)}
    assert len(own) > 2
    assert [frame for frame in own if not frame.f_locals.get("__tracebackhide__")] == []


def test_a_wrong_argument_of_a_blocking_call_hides_the_frames_of_the_package(service: FakeService) -> None:
    def call() -> None:
        client.runs.iterate_results(UNKNOWN, page_size=1000)

    with (
        CoreClaw(service.api_key, transport=service, clock=service.clock) as client,
        pytest.raises(ValueError) as caught,
    ):
        call()

    step = caught.value.__traceback__
    assert functions_of(step, hides=True) == [
        "test_a_wrong_argument_of_a_blocking_call_hides_the_frames_of_the_package",
        "call",
    ]


def test_chain_of_errors_that_goes_round_ends(service: FakeService) -> None:
    first, second = NotFoundError("first"), NotFoundError("second")
    first.__context__, second.__context__ = second, first

    with CoreClaw(service.api_key, transport=service, clock=service.clock) as client:

        def fail(_: Any) -> None:
            raise first

        service.default_script = RunScript(duration=5.0)
        with pytest.raises(NotFoundError, match="first"):
            client.workers.run(WORKER, {"keywords": ["coffee"]}, on_update=fail)


@pytest.mark.parametrize("name", [UNKNOWN, "last"])
def test_blocking_calls_hide_their_frames(service: FakeService, name: str) -> None:
    def call() -> None:
        client.runs.get(name)

    with (
        CoreClaw(service.api_key, transport=service, clock=service.clock) as client,
        pytest.raises((NotFoundError, ValueError)) as caught,
    ):
        call()
    step = caught.value.__traceback__
    assert functions_of(step, hides=True) == ["test_blocking_calls_hide_their_frames", "call"]
    assert len(functions_of(step)) > 4


def test_bug_of_the_callers_keeps_all_its_frames(service: FakeService) -> None:
    def fail(_: Any) -> None:
        raise ZeroDivisionError

    with (
        CoreClaw(service.api_key, transport=service, clock=service.clock) as client,
        pytest.raises(ZeroDivisionError) as caught,
    ):
        client.workers.run(WORKER, {"keywords": ["coffee"]}, on_update=fail)
    step = caught.value.__traceback__
    assert functions_of(step, hides=True) == functions_of(step)


async def test_cancelled_wait_hides_its_frames_and_names_its_run(client: AsyncCoreClaw, service: FakeService) -> None:
    run_id = service.add_run(WORKER, script=RunScript(duration=1e9), age=0.0)
    seen: list[BaseException] = []

    async def wait() -> None:
        try:
            await client.runs.wait(run_id)
        except BaseException as error:
            seen.append(error)
            raise

    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await until(lambda: service.requests, "the first look")
            scope.cancel()
    step = seen[0].__traceback__
    assert f"the wait for run {run_id} was left; it may go on and cost money" in seen[0].__notes__
    assert {"wait_for_run", "next_tracked", "news"} <= set(functions_of(step))
    assert not {"wait_for_run", "next_tracked", "news"} & set(functions_of(step, hides=True))


@pytest.mark.parametrize("method", ["to_arrow", "to_csv"])
async def test_cancelled_frame_hides_its_frames_and_tells_its_rows(
    client: AsyncCoreClaw, service: FakeService, tmp_path: Path, method: str
) -> None:
    service.faults.add(faults.stall(), operation="listWorkerRunResults", after=1)
    rows = client.runs.iterate_results(service.add_run(WORKER, rows=250))
    seen: list[BaseException] = []

    async def read() -> None:
        try:
            await getattr(rows, method)(*([tmp_path / "rows"] if method == "to_csv" else []))
        except BaseException as error:
            seen.append(error)
            raise

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await until(lambda: len(service.requests) >= 3, "the run, and two pages")
        group.cancel_scope.cancel()

    (cancellation,) = seen
    assert cancellation.__notes__ == [f"{method}() had read 100 rows; they can be read again"]
    own = {step.tb_frame for step in _steps(cancellation.__traceback__) if is_own(step.tb_frame)}
    assert len(own) > 10
    assert [frame for frame in own if not frame.f_locals.get("__tracebackhide__")] == []


async def test_file_that_cannot_be_written_hides_the_frames_of_the_package(
    client: AsyncCoreClaw, service: FakeService, tmp_path: Path
) -> None:
    rows = client.runs.iterate_results(service.add_run(WORKER, rows=1))

    with pytest.raises(FileNotFoundError) as caught:
        await rows.to_csv(tmp_path / "no" / "rows.csv")

    own = {step.tb_frame for step in _steps(caught.value.__traceback__) if is_own(step.tb_frame)}
    assert [frame for frame in own if not frame.f_locals.get("__tracebackhide__")] == []


def test_hiding_keeps_nothing_alive(service: FakeService) -> None:
    with CoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        gc.disable()
        try:
            seen: weakref.ref[BaseException] | None = None
            try:
                client.runs.get(UNKNOWN)
            except NotFoundError as error:
                seen = weakref.ref(error)
            assert seen is not None
            give_up = time.monotonic() + 20
            while seen() is not None:  # The thread of the loop may still be at its last line.
                assert time.monotonic() < give_up
                time.sleep(0.001)
        finally:
            gc.enable()


def test_program_without_these_tools_pays_nothing(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pytest")
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    with (
        CoreClaw(service.api_key, transport=service, clock=service.clock) as client,
        pytest.raises(NotFoundError) as caught,
    ):
        client.runs.get(UNKNOWN)
    step = caught.value.__traceback__
    assert functions_of(step, hides=True) == functions_of(step)


def report_of(error: BaseException) -> list[str]:
    """Return the functions that a test report shows of an error."""

    def fail_with() -> None:
        raise error

    call = pytest.CallInfo.from_call(fail_with, "call")
    pytest_plugin.pytest_runtest_makereport(call)
    assert call.excinfo is not None
    return [entry.name for entry in call.excinfo.traceback.filter(call.excinfo)]


async def test_test_reports_leave_the_frames_out(client: AsyncCoreClaw) -> None:
    with pytest.raises(NotFoundError) as caught:
        await fail(client)

    shown = report_of(caught.value)
    assert "fail" in shown
    assert not {"get", "read_run", "call"} & set(shown)
    assert report_of(ZeroDivisionError())[-1] == "fail_with"
    pytest_plugin.pytest_runtest_makereport(pytest.CallInfo.from_call(lambda: None, "call"))


TESTS = """
import pytest
from coreclaw_async import CoreClaw

async def test_async(coreclaw_client):
    await coreclaw_client.runs.get("01KKDXV2G26BT7NH4ZQR2R4NPZ")

def test_blocking(coreclaw_service):
    with CoreClaw(coreclaw_service.api_key, transport=coreclaw_service, clock=coreclaw_service.clock) as client:
        client.runs.get("01KKDXV2G26BT7NH4ZQR2R4NPZ")
"""


@pytest.mark.endurance
@pytest.mark.parametrize(("options", "is_short"), [([], True), (["--full-trace"], False)])
def test_report_of_a_user_is_short(tmp_path: Path, options: list[str], is_short: bool) -> None:
    (tmp_path / "test_mine.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nanyio_mode = auto\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, str(tmp_path)]
    told = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False).stdout

    assert "3 failed" in told
    assert ("transport.py" not in told) == is_short
    assert (len(told.splitlines()) < 80) == is_short, told
