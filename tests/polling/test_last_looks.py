"""What a wait says when it ends before the run: what was seen last, or why nothing was, after one more look."""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest
from polling.clients import WORKER, client_of
from quick_cases import slowly

from coreclaw_async import (
    AsyncCoreClaw,
    InvalidArgumentError,
    LastRun,
    NotFoundError,
    PollSchedule,
    RetryPolicy,
    RunRef,
    ServiceError,
    WaitTimeoutError,
)
from coreclaw_async._concurrency.calls import current_calls
from coreclaw_async.events import CallStarted, RequestSent, RunChanged, RunsPolled
from coreclaw_async.testing import FakeService, RunScript, faults

OTHER = "someone/another-worker"
UNKNOWN = "01KKDXV2G26BT7NH4ZQR2R4NPZ"


def add_run(service: FakeService, seconds: float, **members: Any) -> str:
    return service.add_run(WORKER, script=RunScript(duration=seconds, **members), age=0.0)


def break_between(service: FakeService, fault: Any, begin: float, end: float, **options: Any) -> None:
    service.faults.add(fault, times=10**6, match=lambda _: begin <= service.clock.monotonic() < end, **options)


def aborts(service: FakeService) -> list[str]:
    return [request.path.split("/")[-2] for request in service.requests if request.operation == "abortWorkerRun"]


async def test_a_timeout_names_the_last_status(service: FakeService) -> None:
    run_id = add_run(service, 500)
    async with client_of(service) as client:
        with pytest.raises(WaitTimeoutError, match="not ended within 30 s; it goes on; last seen as running") as caught:
            await client.runs.wait(run_id, timeout=30)

    assert caught.value.__cause__ is None
    assert caught.value.pending == (run_id,)


async def test_a_timeout_says_why_nothing_was_seen_and_since_when(service: FakeService) -> None:
    run_id = add_run(service, 500)
    break_between(service, faults.status(502), 40, 10**6)
    async with client_of(service, poll_schedule=PollSchedule(jitter=0.0)) as client:
        with pytest.raises(WaitTimeoutError, match=r"nothing was seen of it for 53 s: GET .* HTTP 502") as caught:
            await client.runs.wait(run_id, timeout=100)

    assert "last seen as running" in str(caught.value)
    assert isinstance(caught.value.__cause__, ServiceError)
    assert caught.value.run is not None


async def test_a_timeout_of_many_counts_what_was_seen(service: FakeService) -> None:
    ids = [add_run(service, 500) for _ in range(6)]
    waiting = service.add_run(WORKER, script=RunScript(statuses=[(0.0, "ready")]), age=0.0)
    service.faults.add(
        faults.status(502),
        operation="getWorkerRun",
        times=10**6,
        match=lambda request: request.path.endswith(waiting) and service.clock.monotonic() > 50,
    )
    service.faults.add(faults.error(11000), operation="listWorkerRuns", times=10**6)
    async with client_of(service) as client:
        runs = client.runs.wait_many([*ids, waiting], timeout=100)
        with pytest.raises(
            WaitTimeoutError, match=r"7 runs have .* last seen as 6 running, 1 ready; nothing was seen of 1 of"
        ):
            await anext(runs)


async def test_a_timeout_can_be_pickled_and_copied(service: FakeService) -> None:
    error = WaitTimeoutError("late", run_id=None, not_aborted=["a"])
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (again.run_id, again.pending, again.not_aborted) == (None, (), ("a",))


async def test_a_wait_without_a_timeout_warns_once_a_minute_while_it_sees_nothing(
    service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    ids = [add_run(service, 100) for _ in range(20)]
    break_between(service, faults.status(502), 50, 650)
    async with client_of(service) as client:
        assert len([run async for run in client.runs.wait_many(ids)]) == 20

    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert 6 <= len(warnings) <= 10
    assert f"nothing was seen of run {ids[0]} and 19 others for" in warnings[0]
    assert "HTTP 502" in warnings[0]


async def test_a_wait_with_a_timeout_does_not_warn(service: FakeService, caplog: pytest.LogCaptureFixture) -> None:
    run_id = add_run(service, 100)
    break_between(service, faults.status(502), 50, 650)
    async with client_of(service) as client:
        await client.runs.wait(run_id, timeout=1_000)

    assert caplog.records == []


@pytest.mark.parametrize("count", [2, 30])
async def test_a_run_that_ended_while_the_loop_body_was_slow_does_not_go_on(service: FakeService, count: int) -> None:
    ids = [add_run(service, 5), *(add_run(service, 20) for _ in range(count - 1))]
    async with client_of(service) as client:
        runs = client.runs.wait_many(ids, timeout=30)
        assert (await anext(runs)).run_id == ids[0]
        await service.clock.sleep(55)

        assert {run.run_id async for run in runs} == set(ids[1:])
    assert service.clock.monotonic() < 70


async def test_a_slow_loop_body_over_the_changes_of_a_run_misses_no_end(service: FakeService) -> None:
    run_id = add_run(service, 20)
    async with client_of(service) as client:
        changes = client.runs.watch(run_id, timeout=30)
        assert (await anext(changes)).status == "running"
        await service.clock.sleep(60)

        assert [str(run.status) async for run in changes] == ["succeeded"]


async def test_each_verdict_after_a_slow_loop_body_is_of_that_moment(service: FakeService) -> None:
    ids = [add_run(service, seconds) for seconds in (5, 100, 1_000)]
    async with client_of(service) as client:
        runs = client.runs.wait_many(ids, timeout=30)
        await anext(runs)
        await service.clock.sleep(60)
        with pytest.raises(WaitTimeoutError) as caught:
            await anext(runs)
        assert caught.value.pending == (ids[1], ids[2])
        await service.clock.sleep(60)

        assert (await anext(runs)).run_id == ids[1]
        before = len(service.requests)
        for _ in range(3):
            with pytest.raises(WaitTimeoutError):
                await anext(runs)
        assert len(service.requests) <= before + 1


async def test_a_last_look_that_hangs_is_not_waited_for_longer_than_a_second(service: FakeService) -> None:
    run_id = add_run(service, 1_000)
    break_between(service, faults.stall(), 25, 10**6)
    async with client_of(service) as client:
        with pytest.raises(WaitTimeoutError):
            await client.runs.wait(run_id, timeout=30)

    assert service.clock.monotonic() <= 31.1


async def test_a_look_that_comes_too_late_for_the_deadline_is_not_made_before_the_service_wants_it(
    service: FakeService,
) -> None:
    run_id = add_run(service, 1_000)
    service.faults.add(faults.rate_limited(retry_after=300), operation="getWorkerRun", after=2)
    async with client_of(service) as client:
        with pytest.raises(WaitTimeoutError, match="too many requests"):
            await client.runs.wait(run_id, timeout=60)

    assert len(service.requests) == 3
    assert service.clock.monotonic() <= 60.1


async def test_last_looks_in_an_outage_are_shared(service: FakeService) -> None:
    ids = [add_run(service, 10_000) for _ in range(40)]
    break_between(service, faults.status(502), 50, 10**6)
    late: list[float] = []
    async with client_of(service) as client, anyio.create_task_group() as group:

        async def wait(run_id: str, timeout: float) -> None:
            with pytest.raises(WaitTimeoutError, match="HTTP 502"):
                await client.runs.wait(run_id, timeout=timeout)
            late.append(service.clock.monotonic() - timeout)

        for place, run_id in enumerate(ids):
            group.start_soon(wait, run_id, 400.0 + place)

    assert all(0 <= seconds <= 1.1 for seconds in late)
    assert len([request for request in service.requests if request.at >= 399]) <= 25


@slowly("fault", faults.status(404, b"<html>"), faults.status(502), faults.drop_before_commit())
@pytest.mark.parametrize("by", ["wait", "wait_many", "watch", "follow_log"])
async def test_which_run_is_the_last_is_asked_for_through_an_outage(service: FakeService, by: str, fault: Any) -> None:
    run_id = add_run(service, 30, log=["one"])
    break_between(service, fault, 0, 300)
    async with client_of(service, retry=RetryPolicy(max_attempts=1)) as client:
        for last in (LastRun(), LastRun(WORKER)):
            if by == "wait":
                assert (await client.runs.wait(last)).run_id == run_id
            elif by == "wait_many":
                assert [run.run_id async for run in client.runs.wait_many([last])] == [run_id]
            elif by == "watch":
                assert [run.run_id async for run in client.runs.watch(last)][-1] == run_id
            else:
                assert [entry.content async for entry in client.runs.follow_log(last)] == ["one"]

    assert service.clock.monotonic() <= 340


async def test_last_runs_are_asked_for_at_the_same_time_under_one_deadline(service: FakeService) -> None:
    workers = ["a/one", "b/two", "c/three"]
    service.faults.add(faults.delay(1.5), operation="getWorkerLastRun", times=30)
    async with client_of(service) as client:
        runs = client.runs.wait_many([LastRun(worker) for worker in workers], timeout=2)
        with pytest.raises(WaitTimeoutError, match="3 runs have not ended within 2 s") as caught:
            await anext(runs)

    assert service.clock.monotonic() <= 3.1
    assert (caught.value.run_id, caught.value.pending) == (None, ())


async def test_a_last_run_that_cannot_be_asked_for_is_named_in_the_timeout(service: FakeService) -> None:
    break_between(service, faults.status(502), 0, 10**6)
    async with client_of(service) as client:
        with pytest.raises(WaitTimeoutError, match=r"the last run has not ended within 60 s.*HTTP 502") as caught:
            await client.runs.wait(LastRun(), timeout=60, on_cancel="abort")

    assert caught.value.run_id is None
    assert caught.value.run is None
    assert aborts(service) == []


@pytest.mark.parametrize("reference", [UNKNOWN, LastRun()])
async def test_a_timeout_does_not_say_that_a_run_goes_on_which_the_service_does_not_know(
    service: FakeService, reference: RunRef
) -> None:
    async with client_of(service) as client:
        with pytest.raises(WaitTimeoutError, match="20 s; the service knows no such run so far; nothing was") as caught:
            await client.runs.wait(reference, timeout=20)

    assert isinstance(caught.value.__cause__, NotFoundError)


async def test_a_timeout_of_many_says_how_many_the_service_does_not_know(service: FakeService) -> None:
    known = add_run(service, 200)
    async with client_of(service) as client:
        with pytest.raises(WaitTimeoutError, match="20 s; they go on, but 1 that the service does not know so far"):
            await anext(client.runs.wait_many([known, UNKNOWN], timeout=20))
        with pytest.raises(WaitTimeoutError, match="20 s; the service knows none of them so far"):
            await anext(client.runs.wait_many([UNKNOWN, UNKNOWN[:-1] + "5"], timeout=20))


async def test_a_gateway_that_says_404_does_not_say_that_there_is_no_run(service: FakeService) -> None:
    break_between(service, faults.reply(b"not here", status=404), 0, 10**6)
    async with client_of(service) as client:
        with pytest.raises(WaitTimeoutError, match="not ended within 20 s; it goes on"):
            await client.runs.wait(UNKNOWN, timeout=20)


async def test_there_being_no_last_run_is_an_error_after_the_grace(service: FakeService) -> None:
    async with client_of(service) as client:
        with pytest.raises(NotFoundError) as caught:
            await client.runs.wait(LastRun())

    assert caught.value.run_id is None
    assert service.clock.monotonic() <= 80


async def test_a_last_run_that_there_is_not_leaves_the_others_alone(service: FakeService) -> None:
    run_id = add_run(service, 200)
    async with client_of(service) as client:
        runs = client.runs.wait_many([LastRun("nobody/nothing"), LastRun(WORKER), run_id])
        with pytest.raises(NotFoundError):
            await anext(runs)

        assert [run.run_id async for run in runs] == [run_id]


async def test_a_last_run_that_has_been_returned_already_comes_once(service: FakeService) -> None:
    run_id = add_run(service, 0)
    service.faults.add(faults.status(502), operation="getLastWorkerRun", times=3)
    async with client_of(service) as client:
        assert [run.run_id async for run in client.runs.wait_many([run_id, LastRun()])] == [run_id]


async def test_a_last_run_is_looked_at_once_to_find_it_out(service: FakeService) -> None:
    run_id = add_run(service, 0)
    async with client_of(service) as client:
        assert (await client.runs.wait(LastRun())).run_id == run_id

    assert len(service.requests) == 1


@pytest.mark.parametrize("how", ["timeout", "cancel"])
async def test_runs_that_are_named_are_aborted_while_a_last_run_is_still_asked_for(
    service: FakeService, how: str
) -> None:
    run_id = add_run(service, 1_000)
    break_between(service, faults.status(502), 0, 10**6, operation="getLastWorkerRun")
    scope = anyio.CancelScope()
    async with client_of(service) as client, anyio.create_task_group() as group:

        async def cancel() -> None:
            await service.clock.sleep(20)
            scope.cancel()

        if how == "cancel":
            group.start_soon(cancel)
        with scope:
            runs = client.runs.wait_many([LastRun(), run_id], timeout=60, on_cancel="abort")
            with pytest.raises(WaitTimeoutError):
                await anext(runs)

    assert aborts(service) == [run_id]


async def test_a_refused_argument_of_a_last_run_is_waited_for_like_any_other_failure(service: FakeService) -> None:
    service.faults.add(faults.error(11000), operation="getWorkerLastRun", times=10**6)
    async with client_of(service) as client:
        with pytest.raises(WaitTimeoutError) as caught:
            await client.runs.wait(LastRun(OTHER), timeout=30)

    assert isinstance(caught.value.__cause__, InvalidArgumentError)


COPIES: dict[str, dict[str, Any]] = {
    "max_response_bytes": {"max_response_bytes": 1},
    "retry": {"retry": RetryPolicy(max_retry_after=0)},
    "timeout": {"timeout": 1e-9},
    "offset_dialect": {"offset_dialect": "row"},
}


@pytest.mark.parametrize("what", COPIES)
async def test_the_settings_of_whoever_leads_are_nobody_elses(service: FakeService, what: str) -> None:
    ids = [add_run(service, 100) for _ in range(21)]
    async with client_of(service) as client:
        copy_ = client.with_options(**COPIES[what])
        async with anyio.create_task_group() as group:
            group.start_soon(copy_.runs.wait, ids[0])
            await service.clock.sleep(1)
            for run_id in ids[1:]:
                group.start_soon(client.runs.wait, run_id)

    assert service.clock.monotonic() < 120


class Furious(BaseException):
    """An exception that ends the task in which it is raised."""


@pytest.mark.parametrize("leads", [True, False])
@pytest.mark.parametrize("has_own_hook", [True, False])
async def test_what_a_hook_raises_to_end_its_task_ends_its_own_wait_alone(
    service: FakeService, *, leads: bool, has_own_hook: bool
) -> None:
    ids = [add_run(service, 100) for _ in range(21)]
    told: list[Any] = []

    def rage(event: Any) -> None:
        if isinstance(event, RequestSent) and service.clock.monotonic() > 10:
            raise Furious

    async def wait_furiously(client: AsyncCoreClaw) -> None:
        with pytest.raises(Furious):
            await client.runs.wait(ids[0])
        assert service.clock.monotonic() < 40

    async with client_of(service, on_event=told.append if has_own_hook else None) as client:
        copy_ = client.with_options(on_event=rage)
        async with anyio.create_task_group() as group:
            if leads:
                group.start_soon(wait_furiously, copy_)
                await service.clock.sleep(1)
            for run_id in ids[1:]:
                group.start_soon(client.runs.wait, run_id)
            await service.clock.sleep(1)
            if not leads:
                group.start_soon(wait_furiously, copy_)

    assert service.clock.monotonic() < 120
    changed = {event.run.run_id for event in told if isinstance(event, RunChanged)}
    assert changed == (set(ids[1:]) if has_own_hook else set())


async def test_what_the_hook_of_a_leader_raises_ends_its_wait_soon_though_another_look_hangs(
    service: FakeService,
) -> None:
    own, *others = (add_run(service, 100) for _ in range(5))
    service.faults.add(faults.error(11000), operation="listWorkerRuns", times=10**6)
    service.faults.add(faults.delay(18), match=lambda request: request.path.endswith(others[0]), after=2)
    raised_at: list[float] = []

    def rage(event: Any) -> None:
        if isinstance(event, RequestSent) and service.clock.monotonic() > 5 and not raised_at:
            raised_at.append(service.clock.monotonic())
            raise Furious

    async def wait_furiously(client: AsyncCoreClaw) -> None:
        with pytest.raises(Furious):
            await client.runs.wait(own)
        assert service.clock.monotonic() - raised_at[0] < 6

    schedule = PollSchedule(jitter=0.0)
    async with client_of(service, poll_schedule=schedule) as client, anyio.create_task_group() as group:
        group.start_soon(wait_furiously, client.with_options(on_event=rage))
        await service.clock.sleep(1)
        for run_id in others:
            group.start_soon(client.runs.wait, run_id)

    assert service.clock.monotonic() > 100


@pytest.mark.parametrize("many", [False, True])
async def test_what_a_hook_raises_to_end_its_task_aborts_the_runs_of_its_wait_where_that_was_asked_for(
    service: FakeService, many: bool
) -> None:
    ids = [add_run(service, 100) for _ in range(3 if many else 1)]

    def rage(event: Any) -> None:
        if isinstance(event, RequestSent) and service.clock.monotonic() > 5 and not aborts(service):
            raise Furious

    async with client_of(service, on_event=rage) as client:
        with pytest.raises(Furious) as caught:
            if many:
                async for _ in client.runs.wait_many(ids, on_cancel="abort"):
                    pass
            else:
                await client.runs.wait(ids[0], on_cancel="abort")

    assert sorted(aborts(service)) == sorted(ids)
    assert all(run_id in "".join(caught.value.__notes__) for run_id in ids)


async def test_a_copy_with_another_key_looks_for_itself_with_its_own_settings(service: FakeService) -> None:
    run_id = add_run(service, 50)
    own: list[Any] = []
    others: list[Any] = []
    async with client_of(service, on_event=others.append) as client:
        copy_ = client.with_options(api_key=service.api_key, on_event=own.append)
        await copy_.with_options(on_event=None).runs.wait(run_id)

    assert any(isinstance(event, RequestSent) for event in own)
    assert others == []


async def test_a_hook_of_a_copy_is_told_of_the_requests_of_its_wait_and_the_clients_is_not(
    service: FakeService,
) -> None:
    run_id = add_run(service, 50)
    own: list[Any] = []
    others: list[Any] = []
    async with client_of(service, on_event=others.append) as client:
        await client.with_options(on_event=own.append).runs.wait(run_id)

    looks = [event for event in own if isinstance(event, RunsPolled)]
    assert sum(look.details for look in looks) == len([event for event in own if isinstance(event, RequestSent)]) > 0
    assert others == []


def requests_for(events: list[Any], run_id: str) -> int:
    return sum(isinstance(event, RequestSent) and event.path.endswith(run_id) for event in events)


def requests_for_lists(events: list[Any]) -> int:
    return sum(isinstance(event, RequestSent) and event.operation == "listWorkerRuns" for event in events)


async def test_each_hook_is_told_of_the_requests_for_its_own_runs_whoever_polls(service: FakeService) -> None:
    ids = [add_run(service, 50 + place) for place in range(3)]
    told: list[list[Any]] = [[], [], []]
    async with client_of(service, on_event=told[0].append) as client:
        copies = [client, *(client.with_options(on_event=events.append) for events in told[1:])]
        async with anyio.create_task_group() as group:
            for copy_, run_id in zip(copies, ids, strict=True):
                group.start_soon(copy_.runs.wait, run_id)

    for own, run_id in zip(told, ids, strict=True):
        sent = sum(request.path.endswith(run_id) for request in service.requests)
        assert [requests_for(own, other) for other in ids] == [sent if other == run_id else 0 for other in ids]


async def test_a_hook_of_many_waits_is_told_once_of_the_list_that_serves_them_all(service: FakeService) -> None:
    ids = [add_run(service, 100) for _ in range(40)]
    told: list[list[Any]] = [[], []]
    async with client_of(service, on_event=told[0].append) as client:
        copies = [client, client.with_options(timeout=5), client.with_options(on_event=told[1].append)]
        async with anyio.create_task_group() as group:
            for place, run_id in enumerate(ids):
                group.start_soon(copies[place % 3].runs.wait, run_id)

    lists = sum(request.path.endswith("/worker-runs") for request in service.requests)
    assert [requests_for_lists(events) for events in told] == [lists, lists]
    assert lists > 0


async def test_a_hook_that_cannot_be_hashed_is_told_once(service: FakeService) -> None:
    class Unhashable(list[Any]):
        def __call__(self, event: Any) -> None:
            self.append(event)

    told = Unhashable()
    run_ids = [add_run(service, 50), add_run(service, 50)]
    async with client_of(service, on_event=told) as client:
        assert len([run async for run in client.runs.wait_many(run_ids)]) == 2
        await client.runs.wait(run_ids[0])

    assert sum(isinstance(event, RequestSent) for event in told) == len(service.requests)


async def test_what_a_poll_tells_belongs_to_the_call_of_whoever_is_told(service: FakeService) -> None:
    ids = [add_run(service, 50), add_run(service, 80)]
    calls: list[list[Any]] = [[], []]
    numbers: list[list[Any]] = [[], []]

    def hook_of(place: int) -> Callable[[Any], None]:
        def note(event: Any) -> None:
            if isinstance(event, CallStarted):
                numbers[place].append(event.call)
            if isinstance(event, RequestSent):
                calls[place].extend(current_calls())

        return note

    async with client_of(service) as client, anyio.create_task_group() as group:
        for place, run_id in enumerate(ids):
            group.start_soon(client.with_options(on_event=hook_of(place)).runs.wait, run_id)

    assert [set(each) for each in calls] == [set(each) for each in numbers]
    assert numbers[0] != numbers[1]


async def test_a_hook_that_fails_on_a_poll_keeps_no_other_from_being_told(
    service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    run_id = add_run(service, 50)
    told: list[Any] = []

    def fail(event: Any) -> None:
        raise ValueError("mine")

    async with client_of(service, on_event=fail) as client, anyio.create_task_group() as group:
        group.start_soon(client.runs.wait, run_id)
        group.start_soon(client.with_options(on_event=told.append).runs.wait, run_id)

    assert requests_for(told, run_id) >= len(service.requests) - 1  # The first wait may look before the other begins.
    assert "the on_event hook failed on RequestSent" in caplog.text


class Slow(httpx.AsyncBaseTransport):
    """A service some of whose answers hang."""

    def __init__(self, service: FakeService, hangs: Callable[[httpx.Request], bool]) -> None:
        self._service = service
        self._hangs = hangs

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._hangs(request):
            await anyio.sleep_forever()
        return await self._service.handle_async_request(request)


async def test_a_request_that_hangs_is_given_up_so_that_others_are_seen(service: FakeService) -> None:
    ids = [add_run(service, 60 + place) for place in range(12)]
    slow = Slow(service, lambda request: request.url.path.endswith(ids[3]) and service.clock.monotonic() < 200)
    service.faults.add(faults.error(11000), operation="listWorkerRuns", times=10**6)
    seen: dict[str, float] = {}
    async with AsyncCoreClaw(service.api_key, transport=slow, clock=service.clock) as client:
        async for run in client.runs.wait_many(ids):
            seen[run.run_id] = service.clock.monotonic()
        assert client.connections_in_use == 0

    assert seen.keys() == set(ids)
    assert all(seen[run_id] <= 60 + place + 60 for place, run_id in enumerate(ids) if run_id != ids[3])
    assert seen[ids[3]] <= 200 + 45


async def test_a_list_that_hangs_is_given_up_for_single_runs(service: FakeService) -> None:
    ids = [add_run(service, 60) for _ in range(12)]
    slow = Slow(service, lambda request: request.url.path.endswith("/worker-runs"))
    async with AsyncCoreClaw(service.api_key, transport=slow, clock=service.clock) as client:
        assert len([run async for run in client.runs.wait_many(ids)]) == 12

    assert service.clock.monotonic() <= 60 + 18 + 2 * 21
