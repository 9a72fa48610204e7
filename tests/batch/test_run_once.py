"""A key has one run, however often it is asked for, and whatever happens in between."""

from __future__ import annotations

import asyncio
import functools
import math
import socket
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from either_client import AsyncCoreClaw
from interrupting import cancelling_once
from postgres_server import PostgresServer
from waiting import until

import coreclaw_async
from coreclaw_async import (
    ApiError,
    AsyncBatch,
    AuthenticationError,
    BatchConflictError,
    BatchIncompleteError,
    CoreClawError,
    InsufficientBalanceError,
    InvalidArgumentError,
    LedgerError,
    NotFoundError,
    OutcomeUnknownError,
    Run,
    RunAbortedError,
    RunFailedError,
    RunSpec,
    WaitTimeoutError,
    events,
)
from coreclaw_async.progress import Progress
from coreclaw_async.testing import FakeClock, FakeService, RealClock, RunScript, faults

WORKER = "coreclaw/google-maps-scraper"
INPUT = {"keywords": ["coffee"]}


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.fixture
async def other_client(service: FakeService) -> AsyncIterator[AsyncCoreClaw]:
    """Stands for another process."""
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        yield client


@asynccontextmanager
async def batch_of(service: FakeService, ledger: Path) -> AsyncIterator[AsyncBatch]:
    async with (
        coreclaw_async.AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client,
        client.batch("once:coffee", ledger=ledger) as batch,
    ):
        yield batch


def paid(service: FakeService) -> int:
    return sum(run.paid for run in service.runs.values())


async def test_second_call_returns_the_same_run_and_pays_nothing(
    service: FakeService, client: AsyncCoreClaw, other_client: AsyncCoreClaw, ledger: Path
) -> None:
    first = await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger)
    asked = len(service.requests)
    again = await other_client.workers.run_once("coffee", WORKER, INPUT, ledger=f"sqlite:///{ledger}")

    assert (first.run_id, first.status) == (again.run_id, again.status)
    assert first.result_count == again.result_count
    assert [request.operation for request in service.requests[asked:]] == ["getWorkerRun"]
    assert paid(service) == 1
    other = await client.workers.run_once("tea", WORKER, INPUT, ledger=ledger)
    assert other.run_id != first.run_id


async def test_ledger_has_the_end_of_the_run(service: FakeService, client: AsyncCoreClaw, ledger: Path) -> None:
    run = await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger)

    async with batch_of(service, ledger) as batch:
        (item,) = await batch.items().collect()
        report = await batch.report()
    assert (item.key, item.state, item.run_id) == ("coffee", "done", run.run_id)
    assert report.is_finished


@pytest.mark.async_client_only
async def test_calls_at_the_same_time_get_one_run(
    service: FakeService, client: AsyncCoreClaw, other_client: AsyncCoreClaw, ledger: Path
) -> None:
    found: list[Run] = []

    async def call(one: AsyncCoreClaw) -> None:
        found.append(await one.workers.run_once("coffee", WORKER, INPUT, ledger=ledger))

    async with anyio.create_task_group() as group:
        for one in (client, other_client, client):
            group.start_soon(call, one)

    assert len({run.run_id for run in found}) == paid(service) == 1
    assert len(found) == 3


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"worker_id": "me/other"}, f"worker_id was '{WORKER}' and is 'me/other'"),
        ({"version": "v1.2.6"}, "version was None and is 'v1.2.6'"),
        ({"input": {"keywords": ["secret"]}}, "input.keywords[0] has changed"),
        ({"input": {"keywords": ["coffee", "tea"]}}, "input.keywords has changed"),
        ({"input": {}}, "input.keywords has changed"),
        ({"input": INPUT | {"depth": {"a": 1}}}, "input.depth has changed"),
        ({"system": {"proxy_region": "US"}}, "system has changed"),
        ({"input": dict.fromkeys("abcd", 1)}, "input.keywords has changed, input.a has changed"),
        ({"input": dict.fromkeys("abcd", 1)}, "2 more places have changed; nothing was sent"),
    ],
)
async def test_same_key_with_something_else_names_the_difference_and_sends_nothing(
    service: FakeService, client: AsyncCoreClaw, ledger: Path, change: dict[str, Any], difference: str
) -> None:
    given: dict[str, Any] = {"worker_id": WORKER, "input": INPUT}
    async with batch_of(service, ledger) as batch:
        await batch.plan([RunSpec(key="coffee", **given)])

    with pytest.raises(BatchConflictError) as caught:
        await client.workers.run_once("coffee", ledger=ledger, **given | change)
    assert difference in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.planned != caught.value.given
    assert service.requests == []


async def test_input_that_means_the_same_belongs_to_the_key(
    service: FakeService, client: AsyncCoreClaw, ledger: Path
) -> None:
    given = INPUT | {"a": 1, "b": [True, None, 0.1, "ä\u2028"]}
    run = await client.workers.run_once("é", WORKER, given, ledger=ledger)

    again = await client.workers.run_once("é", WORKER.replace("/", "~"), dict(reversed(given.items())), ledger=ledger)
    assert again.run_id == run.run_id
    with pytest.raises(BatchConflictError, match=r"input\.b\[0\] has changed"):
        await client.workers.run_once("é", WORKER, given | {"b": [1, None, 0.1, "ä\u2028"]}, ledger=ledger)


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (RunScript(outcome="failed", duration=30.0), RunFailedError),
        (RunScript(outcome="aborted", duration=30.0), RunAbortedError),
    ],
)
async def test_run_without_success_raises_in_each_call_and_is_paid_once(
    service: FakeService, client: AsyncCoreClaw, ledger: Path, script: RunScript, kind: type[RunFailedError]
) -> None:
    service.default_script = script
    caught = []
    for _ in range(3):
        with pytest.raises(kind) as raised:
            await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger)
        caught.append(raised.value)

    assert len({error.run_id for error in caught}) == paid(service) == 1
    assert len({str(error) for error in caught}) == 1
    run = await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger, check=False)
    assert run.run_id == caught[0].run_id
    async with batch_of(service, ledger) as batch:
        assert (await batch.get("coffee")).state == "failed"


@pytest.mark.parametrize(
    ("fault", "kind"),
    [(faults.error(11000), InvalidArgumentError), (faults.error(50001, 404), NotFoundError)],
)
async def test_refused_start_raises_and_is_tried_again_by_the_next_call(
    service: FakeService, client: AsyncCoreClaw, ledger: Path, fault: Any, kind: type[ApiError]
) -> None:
    service.faults.add(fault, operation="runWorker")
    with pytest.raises(kind):
        await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger)
    assert paid(service) == 0

    run = await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger)
    assert (run.status, paid(service)) == ("succeeded", 1)


async def test_balance_that_does_not_cover_the_run_is_the_error_of_a_start(
    service: FakeService, client: AsyncCoreClaw, ledger: Path
) -> None:
    service.balance = Decimal(0)
    for _ in range(2):
        with pytest.raises(InsufficientBalanceError) as caught:
            await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger)
        assert caught.value.code == 30001
    assert paid(service) == 0


async def test_lost_answer_is_held_and_never_paid_again(
    service: FakeService, client: AsyncCoreClaw, ledger: Path
) -> None:
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    for _ in range(3):
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger)
        assert caught.value.candidates == tuple(service.runs)
        assert f"client.batch('once:coffee', ledger={str(ledger)!r})" in caught.value.message
        assert "resolve('coffee', adopt=RUN_ID)" in caught.value.message
    assert paid(service) == 1

    async with batch_of(service, ledger) as batch:
        await batch.resolve("coffee", adopt=next(iter(service.runs)))
    run = await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger)
    assert (run.run_id, run.status) == (next(iter(service.runs)), "succeeded")
    assert paid(service) == 1


async def test_lost_answer_is_settled_where_nobody_else_starts_runs(
    service: FakeService, client: AsyncCoreClaw, ledger: Path
) -> None:
    service.faults.add(faults.commit_then_drop(), operation="runWorker")

    run = await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger, exclusive=True)

    assert run.run_id in service.runs
    assert paid(service) == 1


async def test_start_that_did_not_arrive_is_sent_again(
    service: FakeService, client: AsyncCoreClaw, ledger: Path
) -> None:
    service.faults.add(faults.drop_before_commit(), operation="runWorker")

    await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger)

    assert paid(service) == 1


async def test_without_a_wait_the_run_is_returned_as_it_is(
    service: FakeService, client: AsyncCoreClaw, ledger: Path
) -> None:
    service.default_script = RunScript(duration=120.0)

    run = await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger, wait=False)
    again = await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger, wait=False)
    assert not run.is_finished
    assert again.run_id == run.run_id
    ended = await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger)
    assert (ended.run_id, ended.status) == (run.run_id, "succeeded")
    async with batch_of(service, ledger) as batch:
        assert (await batch.get("coffee")).state == "done"


async def test_timeout_leaves_the_run_and_the_next_call_waits_on(
    service: FakeService, client: AsyncCoreClaw, ledger: Path
) -> None:
    service.default_script = RunScript(duration=120.0)
    seen: list[str] = []

    with pytest.raises(WaitTimeoutError) as caught:
        await client.workers.run_once(
            "coffee", WORKER, INPUT, ledger=ledger, timeout=30.0, on_update=lambda run: seen.append(run.run_id)
        )
    assert caught.value.run_id == seen[0]
    run = await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger)
    assert (run.run_id, paid(service)) == (seen[0], 1)


@pytest.mark.parametrize("on_cancel", ["leave", "abort"])
async def test_timeout_of_the_start_is_told_and_the_run_that_came_of_it_is_named(
    service: FakeService, client: AsyncCoreClaw, ledger: Path, on_cancel: Any
) -> None:
    service.default_script = RunScript(duration=120.0)
    service.faults.add(faults.delay(20.0), operation="runWorker")

    with pytest.raises(WaitTimeoutError, match="has not ended within 5 s; it goes on") as caught:
        await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger, timeout=5.0, on_cancel=on_cancel)
    assert [caught.value.run_id] == list(service.runs)
    run = await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger, check=False)
    assert (run.status == "succeeded") == (on_cancel == "leave")
    assert paid(service) == 1


async def test_start_that_is_not_answered_in_time_may_have_started_a_run(
    service: FakeService, client: AsyncCoreClaw, ledger: Path
) -> None:
    service.faults.add(faults.commit_then_drop(), operation="runWorker")

    with pytest.raises(OutcomeUnknownError, match=r"not answered within 5 s: a run may have been started") as caught:
        await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger, timeout=5.0)
    assert (caught.value.candidates, caught.value.may_have_taken_effect) == (None, True)
    assert paid(service) == 1


async def test_without_a_wait_the_id_comes_although_the_run_cannot_be_seen(
    service: FakeService, client: AsyncCoreClaw, ledger: Path
) -> None:
    service.faults.add(faults.status(502), operation="getWorkerRun", times=10_000)
    began = service.clock.monotonic()

    for timeout in (None, 5.0):
        run = await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger, wait=False, timeout=timeout)
        assert [run.run_id] == list(service.runs)
        assert (run.status, run.is_finished) == (None, False)
    assert service.clock.monotonic() - began < 30.0


@pytest.mark.async_client_only
@pytest.mark.parametrize("on_cancel", ["leave", "abort"])
async def test_cancellation_of_the_look_at_a_known_run_names_it(
    ledger: Path, on_cancel: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="coreclaw_async")
    # A clock that is not moved on while the look has no answer.
    service = FakeService(clock=RealClock(), default_script=RunScript(duration=600.0))
    service.faults.add(faults.stall(), operation="getWorkerRun")

    def is_looking() -> bool:
        return any(request.operation == "getWorkerRun" for request in service.requests)

    async with (
        coreclaw_async.AsyncCoreClaw(service.api_key, transport=service) as client,
        cancelling_once(is_looking) as scope,
    ):
        with scope:
            await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger, wait=False, on_cancel=on_cancel)
    ((run_id, run),) = service.runs.items()
    assert f"the wait for run {run_id} was left" in caplog.text
    assert (run.status in {"aborting", "aborted"}) == (on_cancel == "abort")


@pytest.mark.async_client_only
async def test_cancelled_wait_is_told_of_by_the_note_that_reaches_the_caller(
    service: FakeService, ledger: Path
) -> None:
    seen: list[BaseException] = []

    def is_followed() -> bool:
        return any(request.operation == "getWorkerRun" for request in service.requests)

    service.default_script = RunScript(duration=math.inf)
    async with cancelling_once(is_followed) as scope:
        with scope:
            try:
                async with coreclaw_async.AsyncCoreClaw(
                    service.api_key, transport=service, clock=service.clock
                ) as other:
                    await other.workers.run_once("coffee", WORKER, INPUT, ledger=ledger)
            except BaseException as error:
                seen.append(error)
                raise
    assert seen[0].__notes__ == [f"the wait for run {next(iter(service.runs))} was left; it may go on and cost money"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.parametrize("times", [1, 2, 3, 4, 9])
async def test_note_reaches_the_caller_however_often_the_task_is_cancelled(
    service: FakeService, ledger: Path, times: int
) -> None:
    seen: list[BaseException] = []
    service.default_script = RunScript(duration=math.inf)

    async def call() -> None:
        async with coreclaw_async.AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
            try:
                await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger)
            except BaseException as error:
                seen.append(error)
                raise

    task = asyncio.create_task(call())
    await until(lambda: any(request.operation == "getWorkerRun" for request in service.requests), "a look at the run")
    for _ in range(times):
        task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert seen[0].__notes__ == [f"the wait for run {next(iter(service.runs))} was left; it may go on and cost money"]


async def test_timeout_before_anything_was_sent_names_no_run(
    service: FakeService, client: AsyncCoreClaw, ledger: Path
) -> None:
    service.faults.add(faults.status(502), times=10_000)

    with pytest.raises(WaitTimeoutError) as caught:
        await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger, timeout=30.0)
    assert (caught.value.run_id, caught.value.pending) == (None, ())
    assert paid(service) == 0
    service.faults.clear()
    await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger)
    assert paid(service) == 1


@pytest.mark.async_client_only
@pytest.mark.parametrize("on_cancel", ["leave", "abort"])
async def test_cancellation_loses_no_run(
    service: FakeService, client: AsyncCoreClaw, ledger: Path, on_cancel: Any
) -> None:
    service.default_script = RunScript(duration=120.0)

    with anyio.CancelScope() as scope:

        def cancel(event: events.Event) -> None:
            if service.runs:
                scope.cancel()

        workers = client.with_options(on_event=cancel).workers
        await workers.run_once("coffee", WORKER, INPUT, ledger=ledger, on_cancel=on_cancel)
    assert scope.cancelled_caught
    run = await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger, check=False)

    assert [run.run_id] == list(service.runs)
    assert (run.status == "succeeded") == (on_cancel == "leave")


async def test_error_of_on_update_ends_the_call_and_leaves_the_run(
    service: FakeService, client: AsyncCoreClaw, ledger: Path
) -> None:
    def fail(run: Run) -> None:
        raise ZeroDivisionError(run.run_id)

    with pytest.raises(ZeroDivisionError) as caught:
        await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger, on_update=fail)
    run = await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger)

    assert caught.value.args == (run.run_id,)
    assert paid(service) == 1


async def test_cancelled_key_is_started_by_the_next_call(
    service: FakeService, client: AsyncCoreClaw, ledger: Path
) -> None:
    service.faults.add(faults.status(502), times=10_000)
    with pytest.raises(WaitTimeoutError):
        await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger, timeout=10.0)
    service.faults.clear()
    async with batch_of(service, ledger) as batch:
        assert await batch.cancel() == 1

    run = await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger)
    assert (run.status, paid(service)) == ("succeeded", 1)


@pytest.mark.async_client_only
async def test_key_that_is_cancelled_while_it_waits_says_so(
    service: FakeService, client: AsyncCoreClaw, ledger: Path
) -> None:
    service.faults.add(faults.error(30003), operation="runWorker", times=10_000)

    async def cancel() -> None:
        async with batch_of(service, ledger) as batch:
            # One that comes while a start is being sent takes out nothing at once: it is kept until that is refused.
            while (await batch.get("coffee")).state != "cancelled":
                await batch.cancel()
                await service.clock.sleep(0.1)

    async with anyio.create_task_group() as group:

        def begin(event: events.Event) -> None:
            if isinstance(event, events.RequestSent) and len(service.requests) == 1:
                group.start_soon(cancel)

        with pytest.raises(BatchIncompleteError, match="key 'coffee' was cancelled before its run was started"):
            workers = client.with_options(on_event=begin).workers
            await workers.run_once("coffee", WORKER, INPUT, ledger=ledger)
    assert paid(service) == 0


@pytest.mark.async_client_only
async def test_key_that_is_cancelled_while_its_start_is_refused_says_so(service: FakeService, ledger: Path) -> None:
    service.faults.add(faults.error(30003), operation="runWorker", times=10_000)
    taken_out: list[int] = []

    class Meanwhile(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.method == "POST":
                async with batch_of(service, ledger) as batch:
                    taken_out.append(await batch.cancel())
            return await service.handle_async_request(request)

    async with coreclaw_async.AsyncCoreClaw(service.api_key, transport=Meanwhile(), clock=service.clock) as client:
        with pytest.raises(BatchIncompleteError, match="key 'coffee' was cancelled before its run was started"):
            await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger)
    assert taken_out == [0]
    assert paid(service) == 0


@pytest.mark.async_client_only
async def test_calls_at_the_same_time_are_refused_alike(
    service: FakeService, client: AsyncCoreClaw, other_client: AsyncCoreClaw, ledger: Path
) -> None:
    service.faults.add(faults.error(11000), operation="runWorker")
    ends: list[str] = []

    async def call(one: AsyncCoreClaw) -> None:
        try:
            ends.append(str((await one.workers.run_once("coffee", WORKER, INPUT, ledger=ledger)).status))
        except ApiError as error:
            ends.append(type(error).__name__)

    async with anyio.create_task_group() as group:
        for one in (client, other_client):
            group.start_soon(call, one)
    # The other one may start the key again, even before the one that was refused looks at what became of it.
    possible = (["InvalidArgumentError"] * 2, ["InvalidArgumentError", "succeeded"], ["succeeded"] * 2)
    assert sorted(ends) in possible
    assert paid(service) == ("succeeded" in ends)


@pytest.mark.async_client_only
async def test_each_of_many_calls_that_are_refused_tells_what_the_service_said(
    service: FakeService, client: AsyncCoreClaw, other_client: AsyncCoreClaw, ledger: Path
) -> None:
    service.faults.add(faults.error(11000), operation="runWorker", times=100)
    codes: list[int | None] = []

    async def call(one: AsyncCoreClaw) -> None:
        with pytest.raises(InvalidArgumentError) as caught:
            await one.workers.run_once("coffee", WORKER, INPUT, ledger=ledger)
        codes.append(caught.value.code)

    async with anyio.create_task_group() as group:
        for one in (client, other_client, client):
            group.start_soon(call, one)
    assert codes == [11000] * 3


@pytest.mark.async_client_only
@pytest.mark.every_backend
async def test_calls_at_the_same_time_try_a_refused_start_once_more(
    service: FakeService, client: AsyncCoreClaw, other_client: AsyncCoreClaw, ledger: Path
) -> None:
    service.faults.add(faults.error(11000), operation="runWorker")
    with pytest.raises(InvalidArgumentError):
        await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger)

    async with anyio.create_task_group() as group:
        for one in (client, other_client, client, other_client):
            group.start_soon(functools.partial(one.workers.run_once, "coffee", WORKER, INPUT, ledger=ledger))
    assert paid(service) == 1


async def test_other_items_of_its_batch_are_not_its_run(
    service: FakeService, client: AsyncCoreClaw, ledger: Path
) -> None:
    async with batch_of(service, ledger) as batch:
        await batch.plan([RunSpec(key="tea", worker_id=WORKER, input={"keywords": ["tea"]})])

    run = await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger)
    assert service.runs[run.run_id].input["parameters"]["custom"] == INPUT
    async with batch_of(service, ledger) as batch:
        assert (await batch.get("tea")).state == "planned"
    assert paid(service) == 1


@pytest.mark.parametrize("spec", [{"retries": 3}, {"run_timeout": 60.0}])
async def test_item_that_may_have_several_runs_is_refused_and_nothing_is_sent(
    service: FakeService, client: AsyncCoreClaw, ledger: Path, spec: dict[str, Any]
) -> None:
    async with batch_of(service, ledger) as batch:
        await batch.plan([RunSpec(key="coffee", worker_id=WORKER, input=INPUT, **spec)])

    with pytest.raises(BatchConflictError, match="run_once starts one run without a time limit; nothing was sent"):
        await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger)
    assert service.requests == []


async def test_refused_key_is_the_error_of_the_client(service: FakeService, ledger: Path) -> None:
    async with AsyncCoreClaw("wrong-key", transport=service, clock=service.clock) as client:
        with pytest.raises(AuthenticationError):
            await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger)


async def test_key_of_another_account_is_refused(service: FakeService, client: AsyncCoreClaw, ledger: Path) -> None:
    await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger)
    async with AsyncCoreClaw("another-key", transport=service, clock=service.clock) as other:
        with pytest.raises(LedgerError):
            await other.workers.run_once("coffee", WORKER, INPUT, ledger=ledger)
    assert paid(service) == 1


async def test_named_account_finds_its_runs_with_a_new_key(
    service: FakeService, client: AsyncCoreClaw, ledger: Path
) -> None:
    run = await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger, account="acme")
    service.api_key = "a-new-key"
    async with AsyncCoreClaw("a-new-key", transport=service, clock=service.clock) as other:
        again = await other.workers.run_once("coffee", WORKER, INPUT, ledger=ledger, account="acme")
    assert again.run_id == run.run_id


async def test_timeout_ends_the_wait_for_a_ledger_that_is_locked(
    service: FakeService, client: AsyncCoreClaw, ledger: Path
) -> None:
    with closing(sqlite3.connect(ledger, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(
            WaitTimeoutError, match=r"could not be opened within 0\.1 s.* nothing was sent: .* to it for 0\.[1-9] s"
        ) as caught:
            await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger, timeout=0.1)
        other.execute("ROLLBACK")

    assert caught.value.run_id is None
    assert service.requests == []
    await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger, timeout=900.0)
    assert paid(service) == 1


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_timeout_ends_the_wait_for_a_ledger_that_does_not_answer(
    service: FakeService, client: AsyncCoreClaw
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ledger = f"postgresql://127.0.0.1:{silent.getsockname()[1]}/runs?sslmode=disable"
        with pytest.raises(WaitTimeoutError, match=r"could not be opened within 0\.1 s.*: it does not answer"):
            await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger, timeout=0.1)
    assert service.requests == []


LOST_AT = {
    "opened": lambda event: isinstance(event, Progress),
    "planned": lambda event: isinstance(event, events.RequestSent) and event.operation == "listWorkerRuns",
    "intent": lambda event: isinstance(event, events.BatchItemChanged) and event.state == "intent",
    "answered": lambda event: isinstance(event, events.RequestSent) and event.operation == "runWorker",
}


@pytest.mark.async_client_only
@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.parametrize(
    ("when", "on_cancel"),
    [
        ("opened", "leave"),
        ("planned", "leave"),
        ("answered", "leave"),
        pytest.param("intent", "leave", marks=pytest.mark.endurance),
        pytest.param("answered", "abort", marks=pytest.mark.endurance),
    ],
)
async def test_timeout_ends_the_wait_for_a_ledger_that_was_lost_and_names_the_run(
    postgres: PostgresServer, postgres_dsn: str, when: str, on_cancel: Any
) -> None:
    # A clock that jumps would not wait for the server's answers.
    service = FakeService(clock=FakeClock(autojump=False))
    service.default_script = RunScript(duration=100.0 if on_cancel == "leave" else 10**6)
    has_stopped = False

    async def pass_time() -> None:
        while True:
            await anyio.sleep(0.005)
            if has_stopped:
                service.clock.advance(1.0)

    def stop(event: Any) -> None:
        nonlocal has_stopped
        if not has_stopped and LOST_AT[when](event):
            has_stopped = True
            postgres.stop()

    is_sent = when in {"intent", "answered"}
    async with (
        AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, on_event=stop) as client,
        anyio.create_task_group() as group,
    ):
        group.start_soon(pass_time)
        call = functools.partial(client.workers.run_once, "coffee", WORKER, INPUT, ledger=postgres_dsn)
        try:
            with pytest.raises(CoreClawError, match="ledger did not answer within 5 s") as caught:
                await call(timeout=5.0, on_cancel=on_cancel, progress=stop)
        finally:
            postgres.start()
        assert type(caught.value) is (OutcomeUnknownError if when == "planned" else WaitTimeoutError)
        assert bool(service.runs) is is_sent
        assert caught.value.run_id == next(iter(service.runs), None)
        run = await call(exclusive=True, check=False)
        group.cancel_scope.cancel()

    assert run.status == ("aborted" if on_cancel == "abort" else "succeeded")
    assert paid(service) == 1


async def test_ledger_that_cannot_be_used_is_no_timeout(
    service: FakeService, client: AsyncCoreClaw, ledger: Path
) -> None:
    ledger.write_text("no ledger " * 500)
    with pytest.raises(LedgerError, match="file is not a database"):
        await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger, timeout=60.0)
    assert service.requests == []


@pytest.mark.parametrize(("variable", "file"), [("", "runs.db"), ("nightly.db", "nightly.db")])
async def test_ledger_is_that_of_the_environment_or_a_file_here(
    client: AsyncCoreClaw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, file: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CORECLAW_LEDGER", variable)
    await client.workers.run_once("coffee", WORKER, INPUT)
    assert [path.name for path in tmp_path.glob("*.db")] == [file]


async def test_ledger_of_the_environment_must_last(
    service: FakeService, client: AsyncCoreClaw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORECLAW_LEDGER", "memory")
    with pytest.raises(ValueError, match=r"CORECLAW_LEDGER.* must be a file or a database"):
        await client.workers.run_once("coffee", WORKER, INPUT)
    assert service.requests == []


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"key": ""}, ValueError, "key must be printable and have 1 to 495 characters, not ''"),
        ({"key": "a" * 496}, ValueError, "key must be printable"),
        ({"key": "a\nb"}, ValueError, "key must be printable"),
        ({"key": "\ud800"}, ValueError, "key must be printable"),
        ({"key": None}, TypeError, "key must be a str, not NoneType"),
        ({"worker_id": ""}, ValueError, "worker_id"),
        ({"input": None}, ValueError, "input"),
        ({"input": {"a": math.nan}}, ValueError, r"input\.a"),
        ({"input": {"a": "\ud800"}}, ValueError, r"input\.a"),
        ({"input": {"a": object()}}, TypeError, r"input\.a"),
        ({"ledger": "memory"}, ValueError, "the next call would pay again"),
        ({"ledger": ""}, ValueError, "ledger"),
        ({"ledger": 5}, TypeError, "ledger"),
        ({"wait": 1}, TypeError, "wait"),
        ({"exclusive": None}, TypeError, "exclusive"),
        ({"timeout": 0}, ValueError, "timeout"),
        ({"on_cancel": "stop"}, ValueError, "on_cancel"),
        ({"account": ""}, ValueError, "account"),
    ],
)
async def test_wrong_argument_is_named_and_nothing_is_written_or_sent(
    service: FakeService,
    client: AsyncCoreClaw,
    ledger: Path,
    change: dict[str, Any],
    kind: type[Exception],
    message: str,
) -> None:
    given: dict[str, Any] = {"key": "coffee", "worker_id": WORKER, "input": INPUT, "ledger": ledger}
    with pytest.raises(kind, match=message):
        await client.workers.run_once(**given | change)

    assert not ledger.exists()
    assert service.requests == []


@pytest.mark.async_client_only
async def test_lost_ledger_ends_no_wait(
    service: FakeService, client: AsyncCoreClaw, ledger: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def lose(_: Run) -> None:
        ledger.unlink(missing_ok=True)

    run = await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger, on_update=lose)

    assert run.status == "succeeded"
    assert f"the end of run {run.run_id} could not be recorded" in caplog.text


@pytest.mark.async_client_only
async def test_cancelled_while_the_end_is_recorded_the_run_is_named(
    service: FakeService, client: AsyncCoreClaw, ledger: Path
) -> None:
    others = closing(sqlite3.connect(ledger, isolation_level=None))
    seen: list[BaseException] = []
    ended: list[Run] = []

    def hold_ledger(run: Run) -> None:
        if run.is_finished:
            other.execute("BEGIN EXCLUSIVE")
            ended.append(run)

    def is_time() -> bool:
        if ended:
            other.execute("ROLLBACK")
        return bool(ended)

    with others as other:
        async with cancelling_once(is_time) as scope:
            with scope:
                try:
                    await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger, on_update=hold_ledger)
                except BaseException as error:
                    seen.append(error)
                    raise
    assert seen[0].__notes__ == [f"run {ended[0].run_id} has ended"]


async def test_ledger_that_is_lost_once_the_run_is_recorded_ends_no_call(service: FakeService, ledger: Path) -> None:
    def note(event: events.Event) -> None:
        if isinstance(event, events.BatchItemChanged) and event.state == "submitted":
            ledger.unlink()

    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, on_event=note) as client:
        run = await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger)
    assert [run.run_id] == list(service.runs)
    assert run.status == "succeeded"


async def test_run_that_a_broken_ledger_would_not_take_is_named(service: FakeService, ledger: Path) -> None:
    def rename(before: str, after: str) -> None:
        with closing(sqlite3.connect(ledger)) as other, other:
            other.execute(f"ALTER TABLE {before} RENAME TO {after}")

    def note(event: events.Event) -> None:
        if isinstance(event, events.RequestSent) and event.operation == "runWorker":
            rename("item", "elsewhere")

    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, on_event=note) as client:
        with pytest.raises(LedgerError) as caught:
            await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger)
    assert [caught.value.run_id] == list(service.runs)

    rename("elsewhere", "item")
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        with pytest.raises(OutcomeUnknownError) as held:
            await client.workers.run_once("coffee", WORKER, INPUT, ledger=ledger)
    assert held.value.candidates == tuple(service.runs)
    assert paid(service) == 1
