"""Ctrl-C in the main thread: the call is cancelled and cleans up, and a run that it may have started is named."""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Self

import anyio
import anyio.to_thread
import pytest
from interrupting import interrupt_once
from waiting import join

from coreclaw_async import CoreClaw, PollSchedule, Row, Run, errors
from coreclaw_async.events import Event, RequestSent, RunStarted
from coreclaw_async.testing import FakeService, RealClock, RunScript, faults

INPUT = {"keywords": ["coffee"]}


@pytest.fixture
def service() -> FakeService:
    return FakeService(clock=RealClock(), default_script=RunScript(rows=250, duration=600))


@pytest.fixture
def client(service: FakeService) -> Iterator[CoreClaw]:
    schedule = PollSchedule(delays=(0.01,), jitter=0.0)
    with CoreClaw(service.api_key, transport=service, poll_schedule=schedule) as client:
        yield client


def worker_of(client: CoreClaw) -> str:
    worker = client.store.iterate().first()
    assert worker is not None
    return worker.worker_id


def is_in_a_call() -> bool:
    """Return whether the main thread waits for the loop."""
    main = threading.main_thread().ident or 0
    return sys._current_frames()[main].f_code.co_filename.endswith("loop_thread.py")


def requests_of(service: FakeService, operation: str) -> int:
    return sum(request.operation == operation for request in service.requests)


def test_an_interrupted_wait_names_its_run_which_goes_on(client: CoreClaw, service: FakeService) -> None:
    run = client.workers.start_run(worker_of(client), INPUT)

    with interrupt_once(lambda: requests_of(service, "getWorkerRun")), pytest.raises(KeyboardInterrupt) as raised:
        client.runs.wait(run)

    assert raised.value.__notes__ == [f"the wait for run {run.run_id} was left; it may go on and cost money"]
    assert requests_of(service, "abortWorkerRun") == 0
    assert client.runs.get(run).status == "running"


def test_an_interrupt_just_before_the_wait_for_a_call_is_noticed(client: CoreClaw, service: FakeService) -> None:
    run = client.workers.start_run(worker_of(client), INPUT)

    with (
        interrupt_once(lambda: requests_of(service, "getWorkerRun"), is_missed=True),
        pytest.raises(KeyboardInterrupt) as raised,
    ):
        client.runs.wait(run, timeout=20)

    assert raised.value.__notes__ == [f"the wait for run {run.run_id} was left; it may go on and cost money"]


def test_an_interrupted_wait_can_abort_its_run(client: CoreClaw, service: FakeService) -> None:
    run = client.workers.start_run(worker_of(client), INPUT)

    with interrupt_once(lambda: requests_of(service, "getWorkerRun")), pytest.raises(KeyboardInterrupt):
        client.runs.wait(run, on_cancel="abort")

    assert requests_of(service, "abortWorkerRun") == 1


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_an_interrupted_start_tells_what_it_may_have_started(
    client: CoreClaw, service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    worker = worker_of(client)
    service.faults.add(faults.delay(60), operation="runWorker")

    with interrupt_once(lambda: service.runs), pytest.raises(KeyboardInterrupt) as raised:
        client.workers.start_run(worker, INPUT)

    unknown = raised.value.__cause__
    assert isinstance(unknown, errors.OutcomeUnknownError)
    assert unknown.candidates == tuple(service.runs)
    assert raised.value.__notes__ == [f"the interrupted call ended with OutcomeUnknownError: {unknown}"]
    assert logged(caplog) == raised.value.__notes__
    assert client.connections_in_use == 0
    assert requests_of(service, "runWorker") == 1


def test_an_interrupted_read_is_told_in_no_log(
    client: CoreClaw, service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    service.faults.add(faults.delay(60), operation="getAccount")

    with interrupt_once(lambda: requests_of(service, "getAccount")), pytest.raises(KeyboardInterrupt):
        client.account.get()

    assert logged(caplog) == []


def test_a_call_that_had_just_returned_is_told(
    client: CoreClaw, service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    """The interrupt falls between the end of the coroutine and its caller's next line."""
    worker = worker_of(client)
    is_held, may_return = threading.Event(), threading.Event()

    def hold(event: object) -> None:
        if type(event).__name__ == "RunStarted":
            is_held.set()
            may_return.wait(20)

    holding = client.with_options(on_event=hold)

    def is_time() -> bool:
        is_waiting = is_held.is_set()
        if is_waiting:
            threading.Timer(0.3, may_return.set).start()
        return is_waiting

    with interrupt_once(is_time), pytest.raises(KeyboardInterrupt) as raised:
        holding.workers.start_run(worker, INPUT)

    (run_id,) = service.runs
    assert any(run_id in note for note in raised.value.__notes__)
    assert logged(caplog) == raised.value.__notes__


@pytest.mark.parametrize("starts", [False, True], ids=["wait", "start and wait"])
def test_a_second_interrupt_does_not_wait_for_the_clean_up(
    client: CoreClaw, service: FakeService, caplog: pytest.LogCaptureFixture, starts: bool
) -> None:
    run = client.workers.start_run(worker_of(client), INPUT)
    is_told, is_cleaning, may_end, is_clean = (threading.Event() for _ in range(4))

    async def linger(run: Run) -> None:
        is_told.set()
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                is_cleaning.set()
                await anyio.to_thread.run_sync(may_end.wait, 20)
                is_clean.set()

    with (
        interrupt_once(is_told.is_set),
        interrupt_once(is_cleaning.is_set),
        pytest.raises(KeyboardInterrupt) as raised,
    ):
        if starts:
            client.workers.run(worker_of(client), INPUT, on_update=linger)
        else:
            client.runs.wait(run, on_update=linger)

    assert "cleans up in the background" in raised.value.__notes__[0]
    assert raised.value.__notes__[1:] == ([f"it had started {list(service.runs)[-1]}"] if starts else [])
    assert logged(caplog)[: len(raised.value.__notes__)] == raised.value.__notes__
    assert not is_clean.is_set()
    may_end.set()
    assert is_clean.wait(20)


def test_an_interrupted_pager_goes_on_where_it_stood(client: CoreClaw, service: FakeService) -> None:
    service.default_script = RunScript(rows=250, duration=0)
    run = client.workers.start_run(worker_of(client), INPUT)
    service.faults.add(faults.delay(60), operation="listWorkerRunResults", after=1)
    pager = client.runs.iterate_results(run)
    rows: list[Row] = []

    def is_at_the_second_page() -> bool:
        return len(rows) == 100 and requests_of(service, "listWorkerRunResults") == 2

    with interrupt_once(is_at_the_second_page), pytest.raises(KeyboardInterrupt):
        for row in pager:
            rows.append(row)
    rows += pager

    assert [row["__coreclaw_data_id__"] for row in rows] == [
        row["__coreclaw_data_id__"] for row in client.runs.iterate_results(run)
    ]
    assert client.connections_in_use == 0


def test_an_interrupted_collect_gives_its_items_again(client: CoreClaw, service: FakeService) -> None:
    service.default_script = RunScript(rows=250, duration=0)
    run = client.workers.start_run(worker_of(client), INPUT)
    service.faults.add(faults.delay(60), operation="listWorkerRunResults", after=1)
    pager = client.runs.iterate_results(run)

    with interrupt_once(lambda: requests_of(service, "listWorkerRunResults") == 2), pytest.raises(KeyboardInterrupt):
        pager.collect()

    assert len(pager.collect()) == 250


def test_an_interrupted_stream_goes_on(client: CoreClaw, service: FakeService) -> None:
    service.default_script = RunScript(rows=1, duration=0.1)
    worker = worker_of(client)
    runs = [client.workers.start_run(worker, INPUT) for _ in range(3)]
    service.default_script = RunScript(rows=1, duration=600)
    late = client.workers.start_run(worker, INPUT)
    stream = client.runs.wait_many([*runs, late])
    ended: list[str] = []

    with interrupt_once(lambda: len(ended) == 3), pytest.raises(KeyboardInterrupt):
        for run in stream:
            ended.append(run.run_id)
    service.finish(late.run_id)
    ended += [run.run_id for run in stream]

    assert sorted(ended) == sorted(run.run_id for run in [*runs, late])


def test_an_interrupt_before_the_call_began_sends_nothing(client: CoreClaw, service: FakeService) -> None:
    """The loop is busy, so the call is cancelled before its first step."""
    worker = worker_of(client)
    is_busy, may_go_on = threading.Event(), threading.Event()

    def be_busy(event: object) -> None:
        if isinstance(event, RequestSent) and not is_busy.is_set():
            is_busy.set()
            may_go_on.wait(20)

    def is_time() -> bool:
        is_waiting = is_in_a_call()
        if is_waiting:
            threading.Timer(0.3, may_go_on.set).start()
        return is_waiting

    other = threading.Thread(target=client.with_options(on_event=be_busy).account.get)
    other.start()
    assert is_busy.wait(20)
    with interrupt_once(is_time), pytest.raises(KeyboardInterrupt) as raised:
        client.workers.start_run(worker, INPUT)
    join(other)

    assert service.runs == {}
    assert raised.value.__cause__ is None


class Interrupter:
    """
    Interrupts this thread at one of the steps that the blocking client makes after its call has ended.

    Args:
        step: Which one, from 0.
        has_ended: Returns whether the call has ended.

    Attributes:
        place: Where that was, or None when there are fewer steps.
    """

    def __init__(self, step: int, has_ended: Callable[[], object]) -> None:
        self.place: str | None = None
        self._left = step
        self._has_ended = has_ended

    def __enter__(self) -> Self:
        self._before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _trace(self, frame: FrameType, event: str, _: object) -> Any:
        if Path(frame.f_code.co_filename).parent.name != "_sync" or self.place is not None:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and self._has_ended():
            self._left -= 1
            if self._left < 0:
                self.place = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
                raise KeyboardInterrupt
        return self._trace


@pytest.mark.endurance
def test_wherever_an_interrupt_comes_between_the_end_of_a_start_and_its_caller_the_run_is_told(
    client: CoreClaw, service: FakeService
) -> None:
    worker = worker_of(client)
    lost: list[str] = []
    for step in itertools.count():
        before = len(service.runs)
        ended = threading.Event()

        def note(event: Event, ended: threading.Event = ended) -> None:
            if isinstance(event, RunStarted):
                ended.set()

        telling = client.with_options(on_event=note)
        with Interrupter(step, ended.is_set) as interrupter:
            try:
                telling.workers.start_run(worker, INPUT)
            except KeyboardInterrupt as interrupt:
                run_id = list(service.runs)[before]
                if not any(run_id in note for note in getattr(interrupt, "__notes__", ())):
                    lost.append(str(interrupter.place))
        if interrupter.place is None:
            break

    assert step > 20
    # While the run is handed from one function to the next one, nobody can help it.
    assert len(lost) < 9, lost
