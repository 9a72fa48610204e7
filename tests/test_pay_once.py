"""A call that costs money is sent once; when its outcome is unknown, the caller gets what it may have started."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import attrs
import httpx
import pytest
import trustme
from documented_operations import BY_NAME, NAMES, OPERATIONS, PAID_ONCE, REPEATABLE, envelope
from either_client import AsyncCoreClaw
from interrupting import cancelling_once
from waiting import until
from ways import WAYS, client_by
from wrong_times import WithDate

from coreclaw_async import LastRun, OutcomeUnknownError, RateLimitedError, RetryPolicy
from coreclaw_async.errors import CoreClawError, RequestNotSentError, RunOperationError, SendTimeoutError, ServiceError
from coreclaw_async.events import StartUnknown
from coreclaw_async.testing import FakeService, RealClock, faults
from coreclaw_async.testing.faults import Fault

WORKER = "coreclaw/google-maps-scraper"
INPUT = {"keywords": ["coffee"]}
QUICK = RetryPolicy(max_attempts=4, first_delay=0.01, max_delay=0.01)


@attrs.frozen
class Call:
    """A call that must not happen twice, and how to count what a user would have paid for."""

    operation: str
    make: Callable[[AsyncCoreClaw, FakeService], Awaitable[Any]]
    count: Callable[[FakeService], int] = lambda service: service.runs_created
    made: Callable[[FakeService], list[str]] = lambda service: [
        run.run_id for run in service.runs.values() if run.origin != "web"
    ]
    member: str = "run_slug"


def _task(service: FakeService) -> str:
    return next(iter(service.tasks))


def _past_run(service: FakeService) -> str:
    return next(iter(service.runs))


CALLS = [
    Call(
        "runWorker",
        lambda client, service: client.workers.start_run(WORKER, INPUT),
    ),
    Call(
        "runWorker",
        lambda client, service: client.request(
            "POST",
            f"/api/v2/workers/{WORKER.replace('/', '~')}/runs",
            body={"input": {"parameters": {"custom": INPUT}}},
            safety="once",
        ),
    ),
    Call(
        "runWorkerTask",
        lambda client, service: client.tasks.start_run(_task(service)),
    ),
    Call(
        "rerunWorkerRun",
        lambda client, service: client.runs.rerun(_past_run(service)),
    ),
    Call(
        "rerunLastWorkerRun",
        lambda client, service: client.runs.rerun(LastRun()),
    ),
    Call(
        "rerunWorkerLastRun",
        lambda client, service: client.runs.rerun(LastRun(WORKER)),
    ),
    Call(
        "queuedRunWorker",
        lambda client, service: client.workers.queue_run(WORKER, INPUT),
        lambda service: service.queue_items_created,
        lambda service: list(service.queue_items),
        "queue_ref",
    ),
    Call(
        "createWorkerTask",
        lambda client, service: client.tasks.create(worker_id=WORKER, title="nightly", input=INPUT),
        lambda service: service.tasks_created,
        lambda service: [task for task in service.tasks if service.tasks[task].title == "nightly"],
        "slug",
    ),
]


def _without(member: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def change(envelope: dict[str, Any]) -> dict[str, Any]:
        return {**envelope, "data": {k: v for k, v in envelope["data"].items() if k != member}}

    return change


def _with_code_as_text(envelope: dict[str, Any]) -> dict[str, Any]:
    return {**envelope, "code": str(envelope["code"])}


FAULTS: dict[str, Callable[[str], Fault]] = {
    "the reply is lost": lambda _: faults.commit_then_drop(),
    "reset before the work": lambda _: faults.drop_before_commit(),
    "502 after the work": lambda _: faults.commit_then_status(502),
    "500 with an envelope": lambda _: faults.error(10000, status=500, commit=True),
    "database error": lambda _: faults.error(14000, status=500, commit=True),
    "unknown code": lambda _: faults.error(99999, status=400, commit=True),
    "no answer in time": lambda _: faults.stall(),
    "truncated": lambda _: faults.truncate(keep=10),
    "no id in the answer": lambda member: faults.edit(_without(member)),
    "data null": lambda _: faults.edit(lambda envelope: {**envelope, "data": None}),
    "data a text": lambda _: faults.edit(lambda envelope: {**envelope, "data": "gone"}),
    "code as text": lambda _: faults.edit(_with_code_as_text),
    "html": lambda _: faults.reply(b"<html>hello</html>"),
    "empty": lambda _: faults.reply(b""),
    "invalid utf-8": lambda _: faults.reply(b'{"code":0,"message":"\xff\xfe"}'),
    "nested too deeply": lambda _: faults.reply(b"[" * 20_000),
    "redirect": lambda _: faults.redirect("https://elsewhere.test/"),
    "gzip bomb": lambda _: faults.gzip_bomb(3_000_000),
}


@pytest.fixture
def paid_service() -> FakeService:
    service = FakeService()
    service.add_task(WORKER, title="saved", input={"parameters": {"custom": INPUT}})
    service.add_run(WORKER, origin="web", age=3600.0)
    return service


def test_each_operation_that_changes_something_is_said_to_be_paid_once_or_repeatable() -> None:
    changing = {operation.name for operation in OPERATIONS if operation.method != "GET"}

    assert set() == PAID_ONCE & REPEATABLE
    assert changing ^ (PAID_ONCE | REPEATABLE) == set(), "see PAID_ONCE and REPEATABLE in documented_operations.py"


@pytest.mark.parametrize("name", sorted(PAID_ONCE | REPEATABLE))
async def test_what_may_have_worked_is_retried_only_where_that_is_the_same(name: str) -> None:
    sent: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":  # A look for the run of a lost start.
            return httpx.Response(200, content=envelope({"count": 0, "list": []}))
        sent.append(request.url.path)
        return httpx.Response(502)

    async with AsyncCoreClaw("key", transport=httpx.MockTransport(answer), retry=QUICK) as client:
        with pytest.raises(CoreClawError):
            await BY_NAME[name].call(client, NAMES)

    assert len(sent) == (1 if name in PAID_ONCE else QUICK.max_attempts)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.operation)
async def test_one_call_pays_at_most_once_and_names_what_it_paid_for(
    paid_service: FakeService, call: Call, fault: Callable[[str], Fault]
) -> None:
    service = paid_service
    service.faults.add(fault(call.member), operation=call.operation)
    # Only silence has to run out.
    timeout = 0.2 if fault is FAULTS["no answer in time"] else 20.0
    options: dict[str, Any] = {"timeout": timeout, "max_response_bytes": 1_000_000}

    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, **options) as client:
        with pytest.raises(OutcomeUnknownError) as caught:
            await call.make(client, service)

    sent = [request for request in service.requests if request.operation == call.operation]
    assert len(sent) == 1, "sent once"
    assert call.count(service) <= 1, "paid at most once"
    assert caught.value.candidates is not None
    assert sorted(caught.value.candidates) == sorted(call.made(service))
    assert caught.value.may_have_taken_effect


# A busy machine takes its time for a connection with TLS; only silence has to run out.
@pytest.mark.endurance
@pytest.mark.parametrize(
    ("fault", "timeout"),
    [
        (faults.commit_then_drop(), 20),
        (faults.commit_then_status(502), 20),
        (faults.stall(), 1.0),
        (faults.truncate(keep=10), 20),
    ],
    ids=["reset", "502", "timeout", "truncated"],
)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.operation)
async def test_one_call_pays_once_over_a_real_socket(
    fault: Fault, timeout: float, call: Call, way: str, trusted: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = FakeService(clock=RealClock())
    service.add_task(WORKER, title="saved", input={"parameters": {"custom": INPUT}})
    service.add_run(WORKER, origin="web", age=3600.0)
    service.faults.add(fault, operation=call.operation)

    async with client_by(way, service, trusted, monkeypatch, retry=QUICK, timeout=timeout) as client:
        with pytest.raises(OutcomeUnknownError) as caught:
            await call.make(client, service)
        assert client.connections_in_use == 0

    assert call.count(service) == 1
    assert list(caught.value.candidates or ()) == call.made(service)


@pytest.mark.async_client_only
@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.operation)
@pytest.mark.both_backends
async def test_cancelling_a_call_that_has_left_names_what_it_paid_for(call: Call) -> None:
    service = FakeService(clock=RealClock())
    service.add_task(WORKER, title="saved", input={"parameters": {"custom": INPUT}})
    service.add_run(WORKER, origin="web", age=3600.0)
    service.faults.add(faults.stall(), operation=call.operation)
    events: list[Any] = []

    with service.serve() as server:
        async with AsyncCoreClaw(service.api_key, base_url=server.url, on_event=events.append) as client:
            async with cancelling_once(lambda: call.count(service) == 1) as scope:
                with scope, pytest.raises(OutcomeUnknownError) as caught:
                    await call.make(client, service)
            assert client.connections_in_use == 0

    assert call.count(service) == 1
    assert list(caught.value.candidates or ()) == call.made(service)
    assert [event.candidates for event in events if isinstance(event, StartUnknown)] == [caught.value.candidates]


@pytest.mark.async_client_only
async def test_cancelling_a_call_that_has_not_left_is_a_plain_cancellation() -> None:
    service = FakeService()
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, max_connections=1) as client:
        service.faults.add(faults.stall(), operation="getAccount")
        async with anyio.create_task_group() as group:
            group.start_soon(client.account.get)
            await anyio.wait_all_tasks_blocked()
            with anyio.move_on_after(0.05) as scope:
                await client.workers.start_run(WORKER, INPUT)
            group.cancel_scope.cancel()

    assert scope.cancelled_caught
    assert service.runs_created == 0


@pytest.mark.async_client_only
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_second_cancellation_during_the_look_does_not_lose_the_error() -> None:
    import asyncio

    service = FakeService()
    service.faults.add(faults.stall(), operation="runWorker")
    service.faults.add(faults.stall(), operation="listWorkerRuns")
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        task = asyncio.create_task(client.workers.start_run(WORKER, INPUT))
        await anyio.wait_all_tasks_blocked()
        task.cancel()
        await anyio.wait_all_tasks_blocked()
        task.cancel()
        with pytest.raises(OutcomeUnknownError) as caught:
            await task

    assert caught.value.candidates is None
    assert service.runs_created == 1


@pytest.mark.parametrize(
    ("fault", "arrived"),
    [
        (faults.refuse_connection(), 1),
        (faults.rate_limited(), 2),
        (faults.rate_limited(retry_after=3), 2),
        (faults.rate_limited(in_200=True), 2),
    ],
    ids=["refused connection", "429", "429 with Retry-After", "13000 in a 200"],
)
@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.operation)
async def test_what_certainly_did_nothing_is_retried(
    paid_service: FakeService, call: Call, fault: Fault, arrived: int
) -> None:
    service = paid_service
    service.faults.add(fault, operation=call.operation)

    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        await call.make(client, service)

    assert [request.operation for request in service.requests].count(call.operation) == arrived
    assert call.count(service) == 1
    assert service.faults.pending == 0


async def test_a_refused_connection_is_retried_and_then_an_error_of_its_own() -> None:
    async with AsyncCoreClaw("key", base_url="http://127.0.0.1:9", retry=QUICK) as client:
        with pytest.raises(RequestNotSentError) as caught:
            await client.workers.start_run(WORKER, INPUT)

    assert not caught.value.may_have_taken_effect


@pytest.mark.async_client_only
async def test_a_deadline_in_the_queue_says_that_nothing_was_sent(service: FakeService) -> None:
    service.faults.add(faults.stall(), operation="getAccount")
    async with (
        AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, max_connections=1) as client,
        anyio.create_task_group() as group,
    ):
        group.start_soon(client.account.get)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(SendTimeoutError):
            await client.with_options(timeout=0.05).workers.start_run(WORKER, INPUT)
        group.cancel_scope.cancel()

    assert service.runs_created == 0


@pytest.mark.parametrize(
    ("code", "error"),
    [(50002, RunOperationError), (70002, RunOperationError)],
)
async def test_a_start_that_failed_in_the_service_has_candidates(
    client: AsyncCoreClaw, service: FakeService, code: int, error: type[CoreClawError]
) -> None:
    service.faults.add(faults.error(code, commit=True), operation="runWorker")
    with pytest.raises(error) as caught:
        await client.workers.start_run(WORKER, INPUT)

    assert caught.value.may_have_taken_effect
    assert list(caught.value.candidates or ()) == list(service.runs)


@pytest.mark.parametrize("code", [11000, 11004, 12001, 12002, 16000, 30001, 30003, 50001, 50003, 60001, 70001])
async def test_a_refusal_says_that_nothing_was_started(client: AsyncCoreClaw, service: FakeService, code: int) -> None:
    service.faults.add(faults.error(code), operation="runWorker")
    with pytest.raises(CoreClawError) as caught:
        await client.workers.start_run(WORKER, INPUT)

    assert not caught.value.may_have_taken_effect
    assert [request.operation for request in service.requests] == ["runWorker"], "no look is needed"


async def test_a_run_named_by_half_an_answer_is_not_looked_for(client: AsyncCoreClaw, service: FakeService) -> None:
    service.faults.add(faults.truncate(keep=60), operation="runWorker")
    with pytest.raises(OutcomeUnknownError) as caught:
        await client.workers.start_run(WORKER, INPUT)

    assert caught.value.run_id == next(iter(service.runs))
    assert caught.value.candidates == (caught.value.run_id,)
    assert [request.operation for request in service.requests] == ["runWorker"]


async def test_candidates_are_none_when_no_look_can_be_made(client: AsyncCoreClaw, service: FakeService) -> None:
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    service.faults.add(faults.status(503), operation="listWorkerRuns", times=99)
    with pytest.raises(OutcomeUnknownError) as caught:
        await client.workers.start_run(WORKER, INPUT)

    assert caught.value.candidates is None
    assert service.runs_created == 1


async def test_runs_that_this_client_knows_are_no_candidates(client: AsyncCoreClaw, service: FakeService) -> None:
    known = await client.workers.start_run(WORKER, INPUT)
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    with pytest.raises(OutcomeUnknownError) as caught:
        await client.workers.start_run(WORKER, INPUT)

    assert caught.value.candidates == (list(service.runs)[1],)
    assert known.run_id not in caught.value.candidates


async def test_candidates_are_found_when_this_machines_clock_is_wrong(service: FakeService) -> None:
    """The service's clock is read from the Date of its answers."""
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    async with AsyncCoreClaw(service.api_key, transport=service) as client:  # The machine's own clock.
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.workers.start_run(WORKER, INPUT)

    assert list(caught.value.candidates or ()) == list(service.runs)


@pytest.mark.parametrize("seconds_into_month", [-3.0, 0.5, 4.0])
async def test_candidates_are_found_around_the_turn_of_the_month(
    client: AsyncCoreClaw, service: FakeService, seconds_into_month: float
) -> None:
    """The list holds one calendar month of UTC+8 only: 31 August 16:00 UTC begins September there."""
    service.clock.set_time(1788192000 + seconds_into_month)
    service.add_run(WORKER, age=86400.0)
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    service.faults.add(faults.delay(6.0), operation="listWorkerRuns")
    with pytest.raises(OutcomeUnknownError) as caught:
        await client.workers.start_run(WORKER, INPUT)

    assert list(caught.value.candidates or ()) == list(service.runs)[1:]


@pytest.mark.parametrize(
    "date",
    [
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Fri, 31 Dec 9999 23:59:59 -1200",
        "Mon, 01 Jan 0001 00:00:00 GMT",
        "Mon, 01 Jan 0000 00:00:00 GMT",
        "Sun, 06 Nov 99999 08:49:37 GMT",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Sat, 15 Aug 2099 04:00:00 GMT",
        "Sat, 15 Jun 2024 04:00:00 GMT",
        "yesterday",
        "",
        None,
    ],
)
async def test_a_date_that_cannot_be_right_hides_no_candidate(service: FakeService, date: str | None) -> None:
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    async with AsyncCoreClaw(service.api_key, transport=WithDate(service, date), clock=service.clock) as client:
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.workers.start_run(WORKER, INPUT)
        wanted = list(service.runs)
        since = dt.datetime.fromtimestamp(service.clock.time() - 5.0, dt.UTC)
        found = await client.runs.find_started(worker_id=WORKER, since=since)
        listed = await client.runs.iterate(since=since).collect()

    assert list(caught.value.candidates or ()) == [run.run_id for run in found] == wanted
    assert [run.run_id for run in listed] in ([], wanted)


async def test_a_run_that_was_there_long_before_is_no_candidate_as_far_as_the_clocks_tell(service: FakeService) -> None:
    old = service.add_run(WORKER, age=3600.0)
    service.faults.add(faults.commit_then_drop(), operation="runWorker", times=2)
    found: list[tuple[str, ...] | None] = []
    for date in ("Sat, 15 Aug 2026 04:00:00 GMT", None):
        async with AsyncCoreClaw(service.api_key, transport=WithDate(service, date), clock=service.clock) as client:
            with pytest.raises(OutcomeUnknownError) as caught:
                await client.workers.start_run(WORKER, INPUT)
            found.append(caught.value.candidates)

    assert old not in (found[0] or ())
    assert old in (found[1] or ()), "nobody says what the service's clock shows"


async def send_again_on_every_error(url: str, headers: dict[str, str]) -> None:
    """A client that retries every request, as many clients do."""
    async with httpx.AsyncClient(headers=headers) as http:
        for _ in range(2):
            try:
                await http.post(url, json={"input": {"parameters": {"custom": INPUT}}})
            except httpx.TransportError:
                continue
            return


async def test_control_a_client_that_sends_again_pays_twice() -> None:
    service = FakeService(clock=RealClock())
    service.faults.add(faults.commit_then_drop(), operation="runWorker")

    with service.serve() as server:
        await send_again_on_every_error(
            f"{server.url}/api/v2/workers/coreclaw~google-maps-scraper/runs",
            {"Authorization": f"Bearer {service.api_key}"},
        )

    assert service.runs_created == 2


@pytest.mark.parametrize("fault", [faults.commit_then_drop(), faults.commit_then_status(502)], ids=["drop", "502"])
async def test_aborting_a_concrete_run_goes_again_and_counts_as_done(
    client: AsyncCoreClaw, service: FakeService, fault: Fault
) -> None:
    from coreclaw_async.testing import RunScript

    service.next_script = RunScript(abort_after=0.0)
    service.faults.add(fault, operation="abortWorkerRun")
    started = await client.workers.start_run(WORKER, INPUT)
    await client.runs.abort(started)

    assert [request.status for request in service.requests if request.operation == "abortWorkerRun"][-1] == 400


async def test_aborting_the_last_run_does_not_go_again(client: AsyncCoreClaw, service: FakeService) -> None:
    service.faults.add(faults.commit_then_drop(), operation="abortLastWorkerRun")
    await client.workers.start_run(WORKER, INPUT)
    with pytest.raises(OutcomeUnknownError):
        await client.runs.abort(LastRun())

    assert len([request for request in service.requests if request.operation == "abortLastWorkerRun"]) == 1


async def test_deleting_a_task_whose_first_answer_was_lost_is_done(paid_service: FakeService) -> None:
    service = paid_service
    service.faults.add(faults.commit_then_drop(), operation="deleteWorkerTask")
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        await client.tasks.delete(_task(service))

    assert not service.tasks


async def test_a_rate_limit_that_is_longer_than_the_deadline_fails_at_once(
    client: AsyncCoreClaw, service: FakeService
) -> None:
    service.faults.add(faults.rate_limited(retry_after=100), operation="runWorker", times=9)
    before = service.clock.monotonic()
    with pytest.raises(RateLimitedError) as caught:
        await client.workers.start_run(WORKER, INPUT)

    assert caught.value.retry_after == 100
    assert service.clock.monotonic() == before
    assert service.runs_created == 0


async def test_a_failing_read_is_retried_until_it_succeeds(client: AsyncCoreClaw, service: FakeService) -> None:
    for fault in (faults.status(503), faults.commit_then_drop(), faults.error(10000, status=500)):
        service.faults.add(fault, operation="getAccount")
    await client.account.get()

    assert len(service.requests) == 4


async def test_a_read_that_keeps_failing_is_the_last_error(service: FakeService) -> None:
    service.faults.add(faults.status(503), operation="getAccount", times=9)
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, retry=QUICK) as client:
        with pytest.raises(ServiceError) as caught:
            await client.account.get()

    assert caught.value.status_code == 503
    assert len(service.requests) == 4


@pytest.mark.parametrize("run_slug", ["last", "a/b", "01K D", "..", "x" * 3 + "\n"])
async def test_an_id_that_names_no_run_is_an_unknown_outcome(
    client: AsyncCoreClaw, service: FakeService, run_slug: str
) -> None:
    service.faults.add(
        faults.edit(lambda envelope: {**envelope, "data": {"run_slug": run_slug}}), operation="runWorker"
    )
    with pytest.raises(OutcomeUnknownError) as caught:
        await client.workers.run(WORKER, INPUT)

    assert caught.value.run_id == run_slug


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, b'{"code":0,"message":"success","data":{"run_slug":"01KKDXV2G26BT7NH4ZQR2R4NPZ"}}'),
        (200, b'{"code":13000,"message":"slow","data":{"run_slug":"01KKDXV2G26BT7NH4ZQR2R4NPZ"}}'),
        (500, b'{"code":13000,"message":"slow"}'),
        (502, b'{"code":"13000","message":"slow"}'),
        (400, b'{"code":0,"message":"success","data":{"run_slug":"01KKDXV2G26BT7NH4ZQR2R4NPZ"}}'),
        (404, b'{"code":50001,"message":"none","data":{"run_slug":"01KKDXV2G26BT7NH4ZQR2R4NPZ"}}'),
    ],
)
async def test_a_refusal_that_contradicts_itself_is_not_trusted(
    client: AsyncCoreClaw, service: FakeService, status: int, body: bytes
) -> None:
    service.faults.add(faults.reply(body, status=status), operation="runWorker", times=9)
    with pytest.raises(OutcomeUnknownError) as caught:
        await client.workers.start_run(WORKER, INPUT)

    assert len([request for request in service.requests if request.method == "POST"]) == 1
    assert caught.value.run_id == ("01KKDXV2G26BT7NH4ZQR2R4NPZ" if b"run_slug" in body else None)


class Misnamed(httpx.AsyncBaseTransport):
    """A transport that reports a lost answer as a failed connection, as httpx-aiohttp does."""

    def __init__(self) -> None:
        self.sent = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            self.sent += 1
        raise httpx.ConnectTimeout("Server disconnected", request=request)


async def test_the_name_of_an_exception_is_no_proof_that_nothing_was_sent() -> None:
    transport = Misnamed()
    async with AsyncCoreClaw("key", transport=transport, retry=QUICK) as client:
        with pytest.raises(OutcomeUnknownError):
            await client.workers.start_run(WORKER, INPUT)

    assert transport.sent == 1


async def test_a_hook_that_fails_after_the_answer_loses_no_run_and_starts_no_second_one(service: FakeService) -> None:
    async def report(_: httpx.Response) -> None:
        raise httpx.ConnectError("telemetry is down")

    async with httpx.AsyncClient(transport=service, event_hooks={"response": [report]}) as http:
        client = AsyncCoreClaw(service.api_key, http_client=http, clock=service.clock)
        started = await client.workers.start_run(WORKER, INPUT)

    assert list(service.runs) == [started.run_id]


async def test_a_hook_that_reads_the_answer_leaves_it_readable(service: FakeService) -> None:
    async def write_down(response: httpx.Response) -> None:
        await response.aread()

    async with httpx.AsyncClient(transport=service, event_hooks={"response": [write_down]}) as http:
        client = AsyncCoreClaw(service.api_key, http_client=http, clock=service.clock, timeout=2)
        started = await client.workers.start_run(WORKER, INPUT)
        with pytest.raises(CoreClawError, match="more than 10 bytes"):
            await client.with_options(max_response_bytes=10).account.get()

    assert list(service.runs) == [started.run_id]


@pytest.mark.parametrize("event", ["proxy.start_tls.started", "socks.setup.started", "connection.start_tls.failed"])
async def test_setting_up_a_connection_is_not_sending(event: str) -> None:
    sent = 0

    class Unreachable(httpx.AsyncBaseTransport):
        tells_what_leaves = True

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            nonlocal sent
            sent += 1
            connect = httpx.Request("CONNECT", "https://x.test")
            connect.method = b"CONNECT"  # type: ignore[assignment] # as httpcore writes it
            await request.extensions["trace"]("http11.send_request_headers.started", {"request": connect})
            await request.extensions["trace"](event, {"request": None})
            raise httpx.ProxyError("no tunnel")

    async with AsyncCoreClaw("key", transport=Unreachable(), retry=QUICK) as client:
        with pytest.raises(RequestNotSentError):
            await client.workers.start_run(WORKER, INPUT)

    assert sent == QUICK.max_attempts


async def test_what_has_left_stays_so_whatever_is_told_later() -> None:
    sent = 0

    class Confusing(httpx.AsyncBaseTransport):
        tells_what_leaves = True

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            nonlocal sent
            if request.method == "POST":
                sent += 1
                await request.extensions["trace"]("http11.send_request_headers.started", {"request": None})
                await request.extensions["trace"]("connection.close.started", {"request": None})
            raise httpx.ConnectError("gone")

    async with AsyncCoreClaw("key", transport=Confusing(), retry=QUICK) as client:
        with pytest.raises(OutcomeUnknownError):
            await client.workers.start_run(WORKER, INPUT)

    assert sent == 1


@pytest.mark.async_client_only
async def test_a_start_that_waits_is_not_sent_after_the_client_was_closed(service: FakeService) -> None:
    service.faults.add(faults.stall(), operation="getAccount")
    client = AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, max_connections=1)
    outcome: list[BaseException] = []

    async def start_late() -> None:
        try:
            await client.workers.start_run(WORKER, INPUT)
        except CoreClawError as error:
            outcome.append(error)

    async with anyio.create_task_group() as group:
        blocker = anyio.CancelScope()

        async def block() -> None:
            with blocker:
                await client.account.get()

        group.start_soon(block)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(start_late)
        await anyio.wait_all_tasks_blocked()
        await client.aclose()
        blocker.cancel()

    assert service.runs_created == 0
    assert len(outcome) == 1
    assert "closed" in str(outcome[0])


@pytest.mark.async_client_only
@pytest.mark.both_backends
async def test_closing_a_client_discards_the_connections_of_calls_under_way() -> None:
    service = FakeService(clock=RealClock())
    service.faults.add(faults.stall(), operation="runWorker")
    with service.serve() as server:
        client = AsyncCoreClaw(service.api_key, base_url=server.url, timeout=20)
        failures: list[BaseException] = []

        async def start() -> None:
            try:
                await client.workers.start_run(WORKER, INPUT)
            except CoreClawError as error:
                failures.append(error)

        async with anyio.create_task_group() as group:
            group.start_soon(start)
            await until(lambda: service.requests, "the start", pause=0.01)
            await client.aclose()
        assert client.connections_in_use == 0

    assert service.runs_created <= 1
    (failure,) = failures
    assert isinstance(failure, CoreClawError)
    assert failure.may_have_taken_effect


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_an_interrupt_of_a_start_that_has_left_names_what_it_paid_for() -> None:
    class Interrupted(httpx.AsyncBaseTransport):
        def __init__(self, service: FakeService) -> None:
            self.service = service

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            response = await self.service.handle_async_request(request)
            if request.method == "POST":
                raise KeyboardInterrupt
            return response

    service = FakeService()
    async with AsyncCoreClaw(service.api_key, transport=Interrupted(service), clock=service.clock) as client:
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.workers.start_run(WORKER, INPUT)

    assert list(caught.value.candidates or ()) == list(service.runs)


@attrs.define
class InterruptingClock:
    """Raises what Ctrl-C does on trio, at one of the readings after a run was made."""

    service: FakeService
    left: int

    def monotonic(self) -> float:
        self._interrupt()
        return self.service.clock.monotonic()

    def time(self) -> float:
        self._interrupt()
        return self.service.clock.time()

    async def sleep(self, seconds: float) -> None:
        await self.service.clock.sleep(seconds)

    def _interrupt(self) -> None:
        self.left -= self.service.runs_created
        if self.service.runs_created and self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_an_interrupt_at_any_moment_after_a_run_was_made_names_it() -> None:
    interrupts = 0
    for reading in range(1, 100):
        service = FakeService()
        clock = InterruptingClock(service, reading)
        async with AsyncCoreClaw(service.api_key, transport=service, clock=clock, on_event=lambda _: None) as client:
            try:
                await client.workers.start_run(WORKER, INPUT)
            except (OutcomeUnknownError, KeyboardInterrupt) as error:
                told = f"{error} {getattr(error, '__notes__', '')}"
            else:
                break
        (run_id,) = service.runs
        assert run_id in told
        interrupts += 1

    assert 3 < interrupts < 99


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_an_interrupt_while_a_start_is_logged_names_its_run(caplog: pytest.LogCaptureFixture) -> None:
    class Interrupting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno == logging.INFO:
                raise KeyboardInterrupt

    service, handler = FakeService(), Interrupting(logging.INFO)
    logger = logging.getLogger("coreclaw_async")
    logger.addHandler(handler)
    try:
        async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
            with caplog.at_level("INFO", "coreclaw_async"), pytest.raises(KeyboardInterrupt) as caught:
                await client.workers.start_run(WORKER, INPUT)
    finally:
        logger.removeHandler(handler)

    (run_id,) = service.runs
    assert caught.value.__notes__ == [f"run {run_id} was started"]


@pytest.mark.endurance
@pytest.mark.async_client_only
async def test_a_look_that_takes_too_long_is_given_up() -> None:
    service = FakeService()
    service.faults.add(faults.stall(), operation="runWorker")
    service.faults.add(faults.stall(), operation="listWorkerRuns")
    async with (
        AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client,
        cancelling_once(lambda: service.runs_created == 1) as scope,
    ):
        with scope, pytest.raises(OutcomeUnknownError) as caught:
            await client.workers.start_run(WORKER, INPUT)

    assert caught.value.candidates is None
