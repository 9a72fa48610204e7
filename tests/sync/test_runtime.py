"""The loop thread of the blocking clients: when it is there, what crosses it, and that no caller is left waiting."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import datetime as dt
import gc
import multiprocessing
import pickle
import subprocess
import sys
import threading
import traceback
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor

import anyio
import pytest
from sync.child_calls import get_no_run, start_run
from waiting import join, until

from coreclaw_async import AsyncCoreClaw, ConfigurationError, CoreClaw, NotFoundError, PollSchedule, Run, errors
from coreclaw_async._sync.batches import Hosted
from coreclaw_async.testing import FakeService, RealClock, RunScript, faults

WHO = contextvars.ContextVar("WHO", default="nobody")
INPUT = {"keywords": ["coffee"]}


@pytest.fixture
def service() -> FakeService:
    """A service in real time, as the threads of a test are."""
    return FakeService(clock=RealClock(), default_script=RunScript(rows=3, duration=0.02))


@pytest.fixture
def client(service: FakeService) -> Iterator[CoreClaw]:
    with client_of(service) as client:
        yield client


def client_of(service: FakeService) -> CoreClaw:
    return CoreClaw(service.api_key, transport=service, poll_schedule=PollSchedule(delays=(0.01,), jitter=0.0))


def loop_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "coreclaw_async"]


def worker_of(client: CoreClaw) -> str:
    worker = client.store.iterate().first()
    assert worker is not None
    return worker.worker_id


def run_in_thread(function: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=function)
    thread.start()
    return thread


def test_no_thread_is_there_before_the_first_call_or_after_the_last_client_is_closed(service: FakeService) -> None:
    first, second = client_of(service), client_of(service)
    assert loop_threads() == []

    first.account.get()
    second.account.get()
    (thread,) = loop_threads()
    assert thread.daemon
    first.close()
    assert loop_threads() == [thread]
    second.close()

    assert loop_threads() == []


def test_a_client_that_nobody_closed_takes_the_thread_along_when_it_goes(service: FakeService) -> None:
    client = client_of(service)
    client.account.get()
    (thread,) = loop_threads()

    del client
    gc.collect()
    thread.join(20)

    assert loop_threads() == []


@pytest.mark.endurance
def test_a_client_that_goes_in_the_loop_itself_takes_the_thread_along(service: FakeService) -> None:
    held: list[CoreClaw] = []

    def let_go(run: Run) -> None:
        held.clear()
        gc.collect()
        assert is_gone() is None

    held.append(client_of(service))
    is_gone = weakref.ref(held[0])
    run = held[0].workers.start_run(worker_of(held[0]), INPUT)
    runs = held[0].runs
    (thread,) = loop_threads()
    runs.wait(run, on_update=let_go)
    del runs
    gc.collect()
    thread.join(20)

    assert loop_threads() == []


@pytest.mark.endurance
def test_a_pager_keeps_what_it_reads_with(service: FakeService) -> None:
    pager = client_of(service).store.iterate()
    gc.collect()

    assert pager.first() is not None

    del pager
    gc.collect()
    for thread in loop_threads():
        thread.join(20)
    assert loop_threads() == []


def test_a_closed_client_says_so_and_starts_nothing(service: FakeService) -> None:
    client = client_of(service)
    pager = client.store.iterate()
    client.close()
    client.close()

    for call in (client.account.get, pager.first):
        with pytest.raises(ConfigurationError, match="the client is closed; make a new one"):
            call()
    assert loop_threads() == []


def test_closing_a_copy_closes_nothing_and_closing_the_client_closes_its_copies(service: FakeService) -> None:
    client = client_of(service)
    copy = client.with_options(timeout=5.0)
    with copy:
        copy.account.get()
    assert copy.account.get() == client.account.get()

    client.close()

    with pytest.raises(ConfigurationError, match="closed"):
        copy.account.get()
    assert loop_threads() == []


def test_repr_names_the_blocking_client_and_hides_the_key(service: FakeService) -> None:
    client = CoreClaw("a-key-of-some-length", base_url="http://127.0.0.1:9")

    assert repr(client).startswith("CoreClaw(base_url='http://127.0.0.1:9'")
    assert "a-key" not in repr(client)


def test_bad_options_are_refused_as_by_the_async_client() -> None:
    for options in ({"timeout": 0}, {"max_connections": 0}):
        with pytest.raises(ValueError) as blocking:
            CoreClaw("key", **options)  # type: ignore[arg-type]
        with pytest.raises(ValueError) as other:
            AsyncCoreClaw("key", **options)  # type: ignore[arg-type]
        assert str(blocking.value) == str(other.value)


def test_context_variables_cross_and_do_not_come_back(service: FakeService) -> None:
    seen: list[str] = []

    def note(event: object) -> None:
        seen.append(WHO.get())
        WHO.set("the loop")

    with CoreClaw(service.api_key, transport=service, on_event=note) as client:
        WHO.set("me")
        client.account.get()

    assert set(seen) >= {"me"}
    assert WHO.get() == "me"


def test_a_traceback_shows_the_callers_line_and_the_coroutines_but_not_the_bridge(client: CoreClaw) -> None:
    with pytest.raises(NotFoundError) as raised:
        client.runs.get("01ARZ3NDEKTSV4RRFFQ69G5FAV")

    files = [frame.filename.rpartition("/")[2] for frame in traceback.extract_tb(raised.value.__traceback__)]
    assert files[:4] == ["test_runtime.py", "generated.py", "calls.py", "runs.py"]
    assert not {"runtime.py", "tasks.py", "base_events.py"} & set(files)


def test_a_bad_argument_is_told_where_it_was_given(client: CoreClaw, service: FakeService) -> None:
    with pytest.raises(ValueError, match="limit"):
        client.runs.list_page(limit=0)
    with pytest.raises(TypeError, match="limti"):
        client.runs.list_page(limti=5)  # type: ignore[call-arg]

    assert service.requests == []


def test_a_call_from_a_callback_is_an_error_and_no_deadlock(service: FakeService) -> None:
    told: list[str] = []
    clients: list[CoreClaw] = []

    def call_again(event: object) -> None:
        try:
            clients[0].account.get()
        except RuntimeError as error:
            told.append(str(error))

    with CoreClaw(service.api_key, transport=service, on_event=call_again) as client:
        clients.append(client)
        client.account.get()

    assert told
    assert all("a blocking call in a callback" in text for text in told)


def test_closing_in_a_callback_is_an_error_that_closes_nothing(service: FakeService) -> None:
    told: list[str] = []
    clients: list[CoreClaw] = []

    def close(event: object) -> None:
        try:
            clients[0].close()
        except RuntimeError as error:
            told.append(str(error))

    with CoreClaw(service.api_key, transport=service, on_event=close) as client:
        clients.append(client)
        client.account.get()
        assert client.account.get().balance is not None

    assert told


def test_a_call_from_a_worker_thread_of_the_loop_is_no_deadlock(client: CoreClaw) -> None:
    run = client.workers.start_run(worker_of(client), INPUT)
    seen: list[str | None] = []

    async def look(run: Run) -> None:
        seen.append((await anyio.to_thread.run_sync(client.runs.get, run.run_id)).run_id)

    client.runs.wait(run, on_update=look)

    assert set(seen) == {run.run_id}


@pytest.mark.parametrize("error", [SystemExit(7), KeyboardInterrupt("mine"), ValueError("mine")])
def test_whatever_a_callback_raises_comes_to_its_caller_and_the_loop_goes_on(
    client: CoreClaw, error: BaseException
) -> None:
    run = client.workers.start_run(worker_of(client), INPUT)

    def refuse(run: Run) -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        client.runs.wait(run, on_update=refuse)

    assert raised.value is error
    assert client.runs.wait(run).run_id == run.run_id
    assert len(loop_threads()) == 1


async def test_a_blocking_call_works_inside_a_running_loop(service: FakeService) -> None:
    with client_of(service) as client:
        run = client.workers.run(worker_of(client), INPUT)
        rows = list(client.runs.iterate_results(run))
    async with AsyncCoreClaw(service.api_key, transport=service) as other:
        assert [row async for row in other.runs.iterate_results(run)] == rows


def test_a_task_is_run_to_its_end_and_what_was_started_is_found(client: CoreClaw, service: FakeService) -> None:
    began = dt.datetime.now(dt.UTC)
    task = service.add_task(worker_of(client), title="daily", input={"parameters": {"custom": INPUT}})

    assert client.tasks.run(task).is_finished
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    with pytest.raises(errors.OutcomeUnknownError) as unknown:
        client.workers.start_run(worker_of(client), INPUT)

    found = client.runs.find_started(since=began)
    assert [run.run_id for run in found] == list(unknown.value.candidates or ())


def test_eight_threads_share_a_client(client: CoreClaw, service: FakeService) -> None:
    balances: list[object] = []

    def work() -> None:
        balances.extend(client.account.get().balance for _ in range(40))

    join(*[run_in_thread(work) for _ in range(8)])

    assert len(balances) == 320
    assert len(set(balances)) == 1
    assert client.connections_in_use == 0


def test_threads_that_make_and_close_clients_all_the_time_leave_nothing_behind(service: FakeService) -> None:
    answers: list[object] = []

    def work() -> None:
        for _ in range(8):
            with client_of(service) as client:
                answers.append(client.account.get())

    join(*[run_in_thread(work) for _ in range(6)])

    assert len(answers) == 48
    assert loop_threads() == []


def test_closing_while_others_wait_ends_their_calls(service: FakeService) -> None:
    client = client_of(service)
    service.default_script = RunScript(rows=3, duration=600)
    run = client.workers.start_run(worker_of(client), INPUT)
    outcome: list[BaseException] = []
    is_waiting = threading.Event()

    def wait() -> None:
        try:
            client.runs.wait(run, on_update=lambda run: is_waiting.set())
        except errors.CoreClawError as error:
            outcome.append(error)

    thread = run_in_thread(wait)
    assert is_waiting.wait(20)
    client.close()
    thread.join(20)

    assert not thread.is_alive()
    assert isinstance(outcome[0], ConfigurationError)
    assert loop_threads() == []


def test_calls_that_race_with_closing_end_one_way_or_the_other(service: FakeService) -> None:
    for _ in range(15):
        client = client_of(service)
        client.account.get()
        ended: list[str] = []

        def work(client: CoreClaw = client, ended: list[str] = ended) -> None:
            while True:
                try:
                    client.account.get()
                except errors.CoreClawError as error:
                    ended.append(type(error).__name__)
                    return

        threads = [run_in_thread(work) for _ in range(3)]
        client.close()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()
        assert len(ended) == 3
    assert loop_threads() == []


@pytest.mark.endurance
def test_errors_cross_processes_whole(service: FakeService) -> None:
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    spawn = multiprocessing.get_context("spawn")
    with service.serve() as server, ProcessPoolExecutor(1, mp_context=spawn) as pool:
        with pytest.raises(errors.OutcomeUnknownError) as unknown:
            pool.submit(start_run, server.url, service.api_key).result()
        with pytest.raises(NotFoundError) as missing:
            pool.submit(get_no_run, server.url, service.api_key).result()

    assert unknown.value.candidates == tuple(service.runs)
    assert missing.value.status_code == 404
    assert missing.value.request_id
    assert pickle.loads(pickle.dumps(unknown.value)).candidates == tuple(service.runs)


def test_importing_the_package_does_not_import_asyncio() -> None:
    code = "import sys, coreclaw_async; sys.exit('asyncio' in sys.modules)"

    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_an_opening_that_is_cancelled_is_given_up() -> None:
    steps: list[str] = []

    @contextlib.asynccontextmanager
    async def manager() -> AsyncIterator[None]:
        try:
            steps.append("entering")
            await anyio.sleep_forever()
            yield
        finally:
            steps.append("left")

    hosted = Hosted(manager())
    opening = asyncio.create_task(hosted.open())
    await until(lambda: steps, "the entering")
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    for _ in range(5):
        await asyncio.sleep(0)

    assert steps == ["entering", "left"]
