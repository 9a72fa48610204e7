"""Many runs followed at once: few requests, no end missed, and another leader whatever happens to one."""

from __future__ import annotations

import contextlib
import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal, cast

import anyio
import anyio.lowlevel
import anyio.to_thread
import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from polling.clients import WORKER, client_of
from quick_cases import slowly

from coreclaw_async import (
    AsyncCoreClaw,
    AuthenticationError,
    LastRun,
    NotFoundError,
    NotImplementedByServiceError,
    Page,
    PollSchedule,
    Run,
    RunAbortedError,
    RunFailedError,
    RunStatus,
    WaitTimeoutError,
)
from coreclaw_async._concurrency.loops import current_loop
from coreclaw_async._operations.run_reader import run_reader
from coreclaw_async._polling.estimate import ListCache
from coreclaw_async._polling.outage import Outage
from coreclaw_async._polling.round import PollRound, RunReader
from coreclaw_async._polling.tracked_run import TrackedRun
from coreclaw_async._polling.waiters import LoopWaiters, Waiter
from coreclaw_async.events import RunChanged, RunsPolled
from coreclaw_async.testing import FakeClock, FakeService, RunScript, faults

STEADY = PollSchedule(jitter=0.0)
OTHERS = 5_000
FAILURES: dict[str, Callable[[], Any]] = {
    "503": lambda: faults.status(503),
    "drop": faults.drop_before_commit,
    "html": lambda: faults.reply(b"<html>"),
    "limited": lambda: faults.rate_limited(retry_after=2),
    "400": lambda: faults.error(11000, status=400),
}
UNKNOWN = "01KKDXV2G26BT7NH4ZQR2R4NPZ"


def add_run(service: FakeService, seconds: float, *, age: float = 0.0, **members: Any) -> str:
    """Add a run that ends in so many seconds from now on."""
    return service.add_run(WORKER, script=RunScript(duration=age + seconds, **members), age=age)


def add_waiting_run(service: FakeService, life: float, age: float) -> str:
    """Add a run that is ready for five seconds more, and then runs."""
    statuses = [(0.0, "ready"), (age + 5, "running"), (age + 5 + life, "succeeded")]
    return service.add_run(WORKER, script=RunScript(statuses=statuses), age=age)


def kinds(service: FakeService) -> Counter[str]:
    return Counter(request.operation or "" for request in service.requests)


def looks_by_the_schedule(lives: Sequence[float]) -> int:
    """Return how many requests it takes to follow each run by its own schedule."""
    looks = 0
    for life in lives:
        waits, now = STEADY.jittered_delays(), 0.0
        looks += 1
        while now < life:
            now += next(waits)
            looks += 1
    return looks


def five_minutes(runs: int, others: int) -> tuple[FakeService, dict[str, float]]:
    """Return a service with runs of 1 to 290 s, the newest of the account or scattered among others that have ended."""
    service, dice = FakeService(), random.Random(runs)
    lives: dict[str, float] = {}
    for is_mine in dice.sample([True, False], k=runs + others, counts=[runs, others]):
        age, life = dice.uniform(0, 500_000) if others else 0.0, dice.uniform(1, 290)
        if is_mine:
            lives[add_run(service, life, age=age)] = life
        else:
            service.add_run(WORKER, script=RunScript(duration=0), age=age)
    return service, lives


@pytest.mark.parametrize("by", ["tasks", "iterator"])
@pytest.mark.parametrize(
    ("runs", "others", "most", "times_fewer"),
    [(200, 0, 110, 40), (200, OTHERS, 320, 10), (1_000, 0, 320, 40)],
)
@pytest.mark.endurance
async def test_five_minutes_take_a_handful_of_requests(
    runs: int, others: int, most: int, times_fewer: int, by: str
) -> None:
    service, lives = five_minutes(runs, others)
    seen: dict[str, float] = {}

    def note(run: Run) -> None:
        seen[run.run_id] = service.clock.monotonic()

    async def wait(client: AsyncCoreClaw, run_id: str) -> None:
        note(await client.runs.wait(run_id))

    async with client_of(service) as client:
        if by == "iterator":
            async for run in client.runs.wait_many(lives):
                note(run)
        else:
            async with anyio.create_task_group() as group:
                for run_id in lives:
                    group.start_soon(wait, client, run_id)

    assert seen.keys() == lives.keys()
    assert all(lives[run_id] <= at <= lives[run_id] + 18 for run_id, at in seen.items())
    requests = kinds(service)
    assert requests.keys() <= {"getWorkerRun", "listWorkerRuns"}
    assert requests.total() <= most
    assert requests.total() * times_fewer <= looks_by_the_schedule(list(lives.values()))


@given(
    lives=st.lists(st.floats(0, 120), min_size=1, max_size=130),
    others=st.integers(0, 150),
    dialect=st.sampled_from(["page", "row", "aligned"]),
    echo=st.booleans(),
    lag=st.sampled_from([0.0, 3.0, 20.0]),
    crossing=st.sampled_from([None, 0.0, 30.0]),
    failures=st.lists(
        st.tuples(
            st.sampled_from(["getWorkerRun", "listWorkerRuns"]),
            st.sampled_from(["503", "drop", "html", "limited", "400"]),
            st.integers(0, 20),
            st.integers(1, 6),
        ),
        max_size=4,
    ),
    cancellations=st.lists(st.tuples(st.integers(0, 129), st.floats(0, 130)), max_size=10),
    seed=st.integers(0, 99),
)
@settings(max_examples=60)
@example(
    lives=[60.0] * 130,
    others=120,
    dialect="row",
    echo=True,
    lag=20.0,
    crossing=30.0,
    failures=[("listWorkerRuns", "503", 0, 6), ("getWorkerRun", "drop", 5, 6)],
    cancellations=[(0, 1.0), (1, 1.0), (2, 40.0)],
    seed=0,
)
@pytest.mark.endurance
def test_every_end_is_seen_one_step_late_at_most(
    lives: list[float],
    others: int,
    dialect: Literal["page", "row", "aligned"],
    echo: bool,
    lag: float,
    crossing: float | None,
    failures: list[tuple[str, str, int, int]],
    cancellations: list[tuple[int, float]],
    seed: int,
) -> None:
    service = FakeService(offset_dialect=dialect, echo_page_index=echo, list_lag=lag)
    if crossing is not None:  # The month of the service ends in so many seconds: 2026-09-01 00:00 in UTC+8.
        service.clock.set_time(1_788_192_000.0 - crossing)
    dice = random.Random(seed)
    for _ in range(others):
        service.add_run(WORKER, script=RunScript(duration=dice.choice([1, 500])), age=dice.uniform(0, 50))
    ages = [dice.choice([0.0, 20.0]) for _ in lives]
    ids = [add_waiting_run(service, life, age) for age, life in zip(ages, lives, strict=True)]
    for operation, kind, after, times in failures:
        service.faults.add(FAILURES[kind](), operation=operation, after=after, times=times)
    seen: dict[str, float] = {}
    cancelled: set[int] = set()

    async def main() -> None:
        scopes = [anyio.CancelScope() for _ in ids]
        async with client_of(service) as client, anyio.create_task_group() as group:

            async def wait(place: int) -> None:
                with scopes[place]:
                    await client.runs.wait(ids[place])
                    seen[ids[place]] = service.clock.monotonic()

            async def cancel(place: int, at: float) -> None:
                await service.clock.sleep(at)
                scopes[place].cancel()

            for place in range(len(ids)):
                group.start_soon(wait, place)
            for place, at in cancellations:
                if place < len(ids):
                    cancelled.add(place)
                    group.start_soon(cancel, place, at)

    anyio.run(main)
    # Each failure may cost a step of the schedule; after a failed list, single requests see ends no later.
    slack = 18 + sum(18 * times for _, _, _, times in failures)
    for place, (run_id, life) in enumerate(zip(ids, lives, strict=True)):
        if place not in cancelled:
            assert 5 + life <= seen[run_id] <= 5 + life + slack


@pytest.mark.endurance
async def test_thousands_of_cancellations_leave_nobody_behind(service: FakeService) -> None:
    dice = random.Random(3)
    ids = [add_run(service, 5_000) for _ in range(40)]
    ended: Counter[str] = Counter()
    done = 0
    tasks_before = len(anyio.get_running_tasks())

    async with client_of(service) as client:

        async def stay(run_id: str) -> None:
            ended[(await client.runs.wait(run_id)).run_id] += 1

        async def come_and_go() -> None:
            nonlocal done
            for _ in range(60):
                with anyio.CancelScope() as scope:
                    async with anyio.create_task_group() as group:
                        group.start_soon(client.runs.wait, dice.choice(ids))
                        for _ in range(dice.randrange(6)):
                            await anyio.lowlevel.checkpoint()
                        if dice.random() < 0.2:
                            await service.clock.sleep(dice.uniform(0, 20))
                        scope.cancel()
                done += 1

        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(come_and_go)
            for run_id in ids:
                group.start_soon(stay, run_id)
        (waiters,) = client._context.poller._loops.values()

        assert done == 3_000
        assert ended == Counter(ids)
        assert (waiters.leader, len(waiters.present)) == (None, 0)
        assert client.connections_in_use == 0
        assert len(anyio.get_running_tasks()) == tasks_before


async def test_runs_that_are_due_together_are_looked_at_together(service: FakeService) -> None:
    events: list[Any] = []
    ids = [add_run(service, 100) for _ in range(150)]
    async with client_of(service, on_event=events.append) as client:
        async for _ in client.runs.wait_many(ids):
            pass

    polls = [event for event in events if isinstance(event, RunsPolled)]
    assert polls[0] == RunsPolled(due=150, seen=150, details=0, pages=2, failures=0)
    assert sum(poll.details + poll.pages for poll in polls) == len(service.requests)


async def test_a_few_runs_are_asked_for_one_by_one(service: FakeService) -> None:
    ids = [add_run(service, 60) for _ in range(3)]
    async with client_of(service) as client:
        async for _ in client.runs.wait_many(ids):
            pass

    assert kinds(service).keys() == {"getWorkerRun"}


async def test_runs_of_last_month_are_found_in_its_list(service: FakeService) -> None:
    ids = [add_run(service, 100, age=20 * 86_400) for _ in range(20)]
    async with client_of(service) as client:
        async for _ in client.runs.wait_many(ids):
            pass

    assert kinds(service)["getWorkerRun"] <= 3
    assert all("start_time" in request.query for request in service.requests if request.operation == "listWorkerRuns")


@pytest.mark.parametrize(
    "fault", [faults.error(11000, status=400), faults.status(503), faults.error(12001, status=403)]
)
async def test_lists_that_cannot_be_read_do_not_keep_ends_from_being_seen(service: FakeService, fault: Any) -> None:
    service.faults.add(fault, operation="listWorkerRuns", times=10_000)
    ids = [add_run(service, 100) for _ in range(20)]
    async with client_of(service) as client:
        seen = [run.run_id async for run in client.runs.wait_many(ids)]

    assert sorted(seen) == sorted(ids)
    assert service.clock.monotonic() < 160


async def test_details_that_fail_in_a_row_speak_for_the_rest(service: FakeService) -> None:
    service.faults.add(faults.error(11000, status=400), operation="listWorkerRuns", times=10_000)
    ids = [add_run(service, 100) for _ in range(20)]
    service.faults.add(faults.error(16000), operation="getWorkerRun", times=20)
    async with client_of(service) as client:
        seen = [run.run_id async for run in client.runs.wait_many(ids)]

    assert sorted(seen) == sorted(ids)
    assert service.clock.monotonic() < 160


async def test_a_refused_key_ends_all_waits_each_with_an_error_of_its_own(service: FakeService) -> None:
    ids = [add_run(service, 1_000) for _ in range(50)]
    for operation in ("getWorkerRun", "listWorkerRuns"):
        service.faults.add(faults.error(12002, status=401), operation=operation, after=3, times=10_000)
    caught: list[AuthenticationError] = []
    async with client_of(service) as client, anyio.create_task_group() as group:

        async def wait(run_id: str) -> None:
            try:
                await client.runs.wait(run_id)
            except AuthenticationError as error:
                caught.append(error)

        for run_id in ids:
            group.start_soon(wait, run_id)

    assert sorted(error.run_id or "" for error in caught) == sorted(ids)
    assert len({id(error) for error in caught}) == 50
    assert all(error.status_code == 401 for error in caught)
    assert kinds(service).total() < 30


@pytest.mark.parametrize("odd", ["Z" * 26, "7" + "Z" * 25, "0" * 26, "76EZ91ZPZZ" + "0" * 16])
@slowly("runs", 10, 1)
async def test_an_id_of_an_impossible_time_disturbs_no_other_wait(service: FakeService, odd: str, runs: int) -> None:
    """Their time is the year 37648, 10889, 1970 and 9999: what is waited for together is looked for in months."""
    ended: list[str] = []
    lost: list[NotFoundError] = []

    async def wait(client: AsyncCoreClaw, run_id: str) -> None:
        try:
            ended.append((await client.runs.wait(run_id)).run_id)
        except NotFoundError as error:
            lost.append(error)

    async with client_of(service) as client, anyio.create_task_group() as group:
        wanted = [add_run(service, 60.0) for _ in range(runs)]
        for run_id in (odd, *wanted):
            group.start_soon(wait, client, run_id)

    assert sorted(ended) == sorted(wanted)
    assert [error.run_id for error in lost] == [odd]


async def test_a_slow_on_update_of_the_leader_stops_nobody_else(service: FakeService) -> None:
    slow, quick = add_run(service, 1_000), add_run(service, 100)
    told = anyio.Event()
    async with client_of(service) as client, anyio.create_task_group() as group:

        async def wait_for_ever(_: Run) -> None:
            told.set()
            await anyio.sleep_forever()

        async def lead() -> None:
            await client.runs.wait(slow, on_update=wait_for_ever)

        group.start_soon(lead)
        await told.wait()
        assert (await client.runs.wait(quick)).is_finished
        assert service.clock.monotonic() < 118
        group.cancel_scope.cancel()


async def test_who_joins_late_is_looked_at_at_once(service: FakeService) -> None:
    long, short = add_run(service, 1_000), add_run(service, 0)
    seldom = PollSchedule(delays=(100.0,), jitter=0.0)
    async with client_of(service, poll_schedule=seldom) as client, anyio.create_task_group() as group:
        group.start_soon(client.runs.wait, long)
        await service.clock.sleep(10)
        await client.runs.wait(short)
        assert service.clock.monotonic() < 10.1
        group.cancel_scope.cancel()


async def test_the_end_of_the_leader_hands_over_to_the_others(service: FakeService) -> None:
    ids = [add_run(service, seconds) for seconds in (5, 50, 100, 200)]
    async with client_of(service) as client, anyio.create_task_group() as group:
        for run_id in ids:
            group.start_soon(client.runs.wait, run_id)

    assert service.clock.monotonic() < 218


class Silence(httpx.AsyncBaseTransport):
    """A service that never answers."""

    def __init__(self) -> None:
        self.requests = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        await anyio.sleep_forever()
        raise AssertionError("unreachable")


async def test_deadlines_are_kept_while_a_look_hangs() -> None:
    late: list[tuple[str, float]] = []
    clock, silence = FakeClock(), Silence()
    async with AsyncCoreClaw("key", transport=silence, clock=clock) as client:

        async def wait(run_id: str, timeout: float) -> None:
            try:
                await client.runs.wait(run_id, timeout=timeout)
            except WaitTimeoutError as error:
                late.append((error.run_id or "", clock.monotonic()))

        async with anyio.create_task_group() as group:
            for run_id, timeout in (("a", 30), ("b", 10), ("c", 20)):
                group.start_soon(wait, run_id, timeout)

        # A second more each, for a last look.
        assert [run_id for run_id, _ in late] == ["b", "c", "a"]
        assert [at for _, at in late] == pytest.approx([11, 21, 31], abs=0.1)
        assert client.connections_in_use == 0


async def test_a_leader_with_news_does_not_stay_for_a_look_that_hangs(service: FakeService) -> None:
    short, long = add_run(service, 0), add_run(service, 10_000)
    hangs = anyio.Event()

    class Half(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.url.path.endswith(long):
                hangs.set()
                await anyio.sleep_forever()
            await hangs.wait()
            return await service.handle_async_request(request)

    async with AsyncCoreClaw(service.api_key, transport=Half(), clock=service.clock) as client:
        runs = client.runs.wait_many([short, long])
        assert (await anext(runs)).run_id == short
        assert service.clock.monotonic() <= 5.1


async def test_one_client_waits_in_two_event_loops_at_once(anyio_backend_name: str) -> None:
    service = FakeService()
    ids = [add_run(service, 200) for _ in range(2)]
    client = client_of(service)
    ended: list[str] = []

    def wait(run_id: str) -> None:
        async def main() -> None:
            ended.append((await client.runs.wait(run_id)).run_id)

        anyio.run(main, backend=anyio_backend_name)

    threads = [threading.Thread(target=wait, args=(run_id,)) for run_id in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        await anyio.to_thread.run_sync(thread.join)

    assert sorted(ended) == sorted(ids)


async def test_a_wake_from_another_thread_brings_a_look(service: FakeService) -> None:
    run_id = add_run(service, 50)
    async with client_of(service, poll_schedule=PollSchedule(delays=(1_000.0,), jitter=0.0)) as client:
        poller = client._context.poller
        async with anyio.create_task_group() as group:
            group.start_soon(client.runs.wait, run_id)
            await service.clock.sleep(60)
            poller.wake("a-run-that-nobody-waits-for")
            await anyio.to_thread.run_sync(poller.wake, run_id)

    assert service.clock.monotonic() < 61


async def test_a_wake_in_the_middle_of_a_look_brings_another_one(service: FakeService) -> None:
    run_id = add_run(service, 50)
    woken = False

    async def wake(request: httpx.Request) -> None:
        nonlocal woken
        if not woken:  # The answer that is on its way was made before what has happened now.
            woken = True
            client._context.poller.wake(run_id)
            await anyio.sleep(0)

    class Waking(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            answer = await service.handle_async_request(request)
            service.clock.advance(0.5)
            await wake(request)
            return answer

    client = AsyncCoreClaw(
        service.api_key,
        transport=Waking(),
        clock=service.clock,
        poll_schedule=PollSchedule(delays=(5.0, 1_000.0), jitter=0.0),
    )
    async with client:
        with pytest.raises(WaitTimeoutError):
            await client.runs.wait(run_id, timeout=3)

    assert kinds(service)["getWorkerRun"] >= 2


async def test_wakes_are_remembered_only_so_far(service: FakeService) -> None:
    run_id = add_run(service, 5)
    async with client_of(service) as client:
        await client.runs.wait(run_id)
        for number in range(10_050):
            client._context.poller.wake(f"run-{number}")
        await service.clock.sleep(1)
        (waiters,) = client._context.poller._loops.values()

        assert len(waiters.wakes) == 10_000


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_wake_after_the_event_loop_has_closed_wakes_nobody(backend: str) -> None:
    service = FakeService()
    client = client_of(service)
    loops: list[object] = []

    async def main() -> None:
        loops.append(current_loop())
        await client.runs.wait(add_run(service, 5))

    anyio.run(main, backend=backend)

    client._context.poller.wake("run")
    assert len(client._context.poller._loops) == len(loops) == 1


async def test_a_run_that_is_added_to_a_wait_is_looked_at_before_the_others_are_due(service: FakeService) -> None:
    long, short = add_run(service, 1_000), add_run(service, 0)
    seldom = PollSchedule(delays=(100.0,), jitter=0.0)
    async with client_of(service) as client:
        poller = client._context.poller
        waiter = Waiter.of(
            run_reader(client._context), [TrackedRun(run_id=long, schedule=seldom, began=0.0)], float("inf")
        )
        assert (await poller.news(waiter)).run_id == long  # type: ignore[union-attr]
        async with anyio.create_task_group() as group:

            async def add() -> None:
                await service.clock.sleep(10)
                poller.add(waiter, TrackedRun(run_id=short, schedule=seldom, began=10.0))

            group.start_soon(add)
            assert (await poller.news(waiter)).run_id == short  # type: ignore[union-attr]

    assert service.clock.monotonic() < 12


async def test_a_run_that_is_added_to_a_wait_and_is_due_after_the_others_wakes_nobody(
    service: FakeService,
) -> None:
    first, later = add_run(service, 1_000), add_run(service, 0)
    async with client_of(service) as client:
        poller = client._context.poller
        tracked = TrackedRun(run_id=first, schedule=PollSchedule(delays=(100.0,), jitter=0.0), began=0.0)
        waiter = Waiter.of(run_reader(client._context), [tracked], float("inf"))
        assert (await poller.news(waiter)).run_id == first  # type: ignore[union-attr]
        async with anyio.create_task_group() as group:

            async def add() -> None:
                await service.clock.sleep(10)
                seldom = PollSchedule(delays=(500.0,), jitter=0.0)
                poller.add(waiter, TrackedRun(run_id=later, schedule=seldom, began=500.0))

            group.start_soon(add)
            found = await poller.news(waiter)

    assert found is not None
    assert service.clock.monotonic() >= 100


class SleepCounter:
    """The clock of a service; it counts how often somebody lies down to sleep."""

    def __init__(self, clock: FakeClock) -> None:
        self.sleeps = 0
        self._clock = clock
        self.monotonic, self.time = clock.monotonic, clock.time

    async def sleep(self, seconds: float) -> None:
        self.sleeps += 1
        await self._clock.sleep(seconds)


async def test_runs_that_are_added_to_a_wait_wake_it_only_where_it_would_sleep_too_long() -> None:
    many = 100
    clock = FakeClock()
    service = FakeService(clock=clock)
    counter = SleepCounter(clock)
    async with AsyncCoreClaw(service.api_key, transport=service, clock=counter) as client:
        poller = client._context.poller
        waiter = Waiter.of(run_reader(client._context), (), float("inf"))

        async def follow() -> None:
            while not (await poller.news(waiter)).is_over:  # type: ignore[union-attr]
                pass

        async with anyio.create_task_group() as group:
            group.start_soon(follow)
            await clock.sleep(1.0)
            before = counter.sleeps
            for _ in range(many):
                poller.add(waiter, TrackedRun(run_id=add_run(service, 60), schedule=STEADY, began=clock.monotonic()))
                for _ in range(3):  # The one who polls may wake, look, and sleep again.
                    await anyio.lowlevel.checkpoint()
            woken = counter.sleeps - before
            group.cancel_scope.cancel()

    assert 1 <= woken < many / 3


@pytest.mark.parametrize(
    ("options", "error"),
    [({"delays": ()}, ValueError), ({"jitter": 1.0}, ValueError), ({"jitter": True}, TypeError)],
)
def test_a_schedule_that_cannot_be_kept_is_refused(options: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(options))):
        PollSchedule(**options)


def test_news_of_one_run_is_told_once_until_it_is_taken() -> None:
    tracked = TrackedRun(run_id="run", schedule=STEADY, began=0.0)
    waiter = Waiter.of(cast("Any", None), [tracked], 9.0)
    for status in ("ready", "running"):
        assert tracked.take(Run(run_id="run", status=status), now=1.0, began=1.0)
        waiter.tell(tracked)

    assert list(waiter.news) == [tracked]
    assert waiter.take_news() is tracked
    assert [str(change.run.status) for change in tracked.changes] == ["ready", "running"]


def test_a_look_at_a_run_that_has_ended_is_no_news() -> None:
    tracked = TrackedRun(run_id="run", schedule=STEADY, began=0.0)
    ended = Run(run_id="run", status="succeeded")

    assert tracked.take(ended, now=1.0, began=1.0)
    assert not tracked.take(ended, now=1.0, began=1.0)


async def test_what_breaks_a_look_comes_out_as_it_is(service: FakeService) -> None:
    class Broken(BaseException):
        pass

    class Breaking(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise Broken

    async with AsyncCoreClaw("key", transport=Breaking(), clock=service.clock) as client:
        with pytest.raises(Broken):
            await client.runs.wait("run")


async def test_a_list_of_states_that_cannot_be_read_teaches_nothing(service: FakeService) -> None:
    ids = [add_run(service, 100, age=100_000 + number) for number in range(20)]
    for number in range(1_000):
        service.add_run(WORKER, script=RunScript(duration=0), age=80.0 * number)
    service.faults.add(faults.error(11000, status=400), operation="listWorkerRuns", after=1)
    async with client_of(service) as client:
        seen = [run.run_id async for run in client.runs.wait_many(ids)]

    assert sorted(seen) == sorted(ids)
    assert kinds(service)["getWorkerRun"] >= 20


async def test_a_run_that_a_list_shows_without_a_status_is_asked_for(service: FakeService) -> None:
    ids = [add_run(service, 20) for _ in range(10)]

    def strip(envelope: dict[str, Any]) -> dict[str, Any]:
        runs = [{name: value for name, value in run.items() if name != "status"} for run in envelope["data"]["list"]]
        return {**envelope, "data": {**envelope["data"], "list": runs}}

    service.faults.add(faults.edit(strip), operation="listWorkerRuns", times=99)
    async with client_of(service) as client:
        seen = [run.run_id async for run in client.runs.wait_many(ids)]

    assert sorted(seen) == sorted(ids)
    assert kinds(service)["getWorkerRun"] >= 10


async def test_a_run_whose_change_was_being_told_comes_after_a_cancellation(
    client: AsyncCoreClaw, service: FakeService
) -> None:
    run_id = add_run(service, 0)
    scope = anyio.CancelScope()

    async def hang(_: Run) -> None:
        scope.cancel()
        await anyio.sleep_forever()

    runs = client.runs.wait_many([run_id], on_update=hang)
    with scope:
        await anext(runs)

    assert [run.run_id async for run in runs] == [run_id]


async def test_runs_come_in_the_order_in_which_they_end(client: AsyncCoreClaw, service: FakeService) -> None:
    ids = [add_run(service, seconds) for seconds in (90, 30, 60)]

    seen = [run.run_id async for run in client.runs.wait_many([ids[0], ids[1], ids[2], ids[1]])]

    assert seen == [ids[1], ids[2], ids[0]]


async def test_the_last_run_can_be_one_of_many(client: AsyncCoreClaw, service: FakeService) -> None:
    ids = [add_run(service, 10, age=age) for age in (20, 0)]

    assert sorted([run.run_id async for run in client.runs.wait_many([ids[0], LastRun()])]) == sorted(ids)


async def test_many_can_be_none(client: AsyncCoreClaw, service: FakeService) -> None:
    assert [run async for run in client.runs.wait_many([])] == []
    assert service.requests == []


async def test_one_run_is_not_many(client: AsyncCoreClaw) -> None:
    with pytest.raises(TypeError, match=r"for one there is wait\(\)"):
        client.runs.wait_many(UNKNOWN)


async def test_wrong_arguments_are_refused_before_anything_is_sent(client: AsyncCoreClaw, service: FakeService) -> None:
    with pytest.raises(ValueError, match="run must be the id of one thing"):
        client.runs.wait_many(["last"])
    with pytest.raises(ValueError, match="timeout must be"):
        client.runs.wait_many([UNKNOWN], timeout=-1)
    with pytest.raises(ValueError, match="timeout must be"):
        client.runs.watch(UNKNOWN, timeout=0)
    with pytest.raises(ValueError, match="timeout must be"):
        client.runs.follow_log(UNKNOWN, timeout=0)
    assert service.requests == []


async def test_a_failure_among_many_is_one_of_them(client: AsyncCoreClaw, service: FakeService) -> None:
    ids = [add_run(service, 10, outcome="failed"), add_run(service, 20)]

    statuses = {run.run_id: run.status async for run in client.runs.wait_many(ids)}

    assert statuses == {ids[0]: RunStatus.FAILED, ids[1]: RunStatus.SUCCEEDED}


async def test_with_check_a_failure_is_raised_and_the_others_come_all_the_same(
    client: AsyncCoreClaw, service: FakeService
) -> None:
    good, bad = [add_run(service, seconds) for seconds in (5, 30)], add_run(service, 15, outcome="failed")
    runs = client.runs.wait_many([*good, bad, UNKNOWN], check=True)
    seen: list[str] = []
    caught: list[Any] = []
    is_over = False
    while not is_over:
        try:
            async for run in runs:
                seen.append(run.run_id)
            is_over = True
        except (RunFailedError, NotFoundError) as error:
            caught.append(error)

    assert seen == good
    assert {type(error): error.run_id for error in caught} == {RunFailedError: bad, NotFoundError: UNKNOWN}


async def test_a_timeout_names_all_that_go_on(client: AsyncCoreClaw, service: FakeService) -> None:
    ids = [add_run(service, seconds) for seconds in (5, 500, 600)]
    runs = client.runs.wait_many(ids, timeout=60)
    assert (await anext(runs)).run_id == ids[0]

    with pytest.raises(WaitTimeoutError, match="2 runs have not ended within 60 s; they go on") as caught:
        await anext(runs)

    assert caught.value.pending == (ids[1], ids[2])
    assert kinds(service)["abortWorkerRun"] == 0


@pytest.mark.parametrize("how", ["timeout", "cancel"])
async def test_only_runs_that_have_not_ended_are_aborted(client: AsyncCoreClaw, service: FakeService, how: str) -> None:
    ids = [add_run(service, seconds) for seconds in (5, 500, 600)]
    runs = client.runs.wait_many(ids, timeout=60, on_cancel="abort")
    await anext(runs)
    scope = anyio.CancelScope()

    async def cancel() -> None:
        await service.clock.sleep(20)
        scope.cancel()

    async with anyio.create_task_group() as group:
        if how == "cancel":
            group.start_soon(cancel)
        with scope, contextlib.suppress(WaitTimeoutError):
            await anext(runs)
            pytest.fail("neither has ended")

    aborted = [request.path.split("/")[-2] for request in service.requests if request.operation == "abortWorkerRun"]
    assert sorted(aborted) == sorted(ids[1:])


async def test_a_cancelled_iterator_loses_no_run(client: AsyncCoreClaw, service: FakeService) -> None:
    ids = [add_run(service, seconds, outcome="failed") for seconds in (5, 20, 40)]
    runs = client.runs.wait_many(ids, check=True)
    failed: list[str] = []
    for seconds in (1, 5, 10, 0.01, 20, 30, 100, 100):
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:

                async def cancel(seconds: float = seconds, scope: anyio.CancelScope = scope) -> None:
                    await service.clock.sleep(seconds)
                    scope.cancel()

                group.start_soon(cancel)
                try:
                    assert await anext(runs, None) is None
                except RunFailedError as error:
                    failed.append(error.run_id or "")
                group.cancel_scope.cancel()

    assert failed == ids


@pytest.mark.parametrize("on_cancel", ["leave", "abort"])
async def test_an_exception_of_on_update_ends_the_wait_for_that_run_only(
    client: AsyncCoreClaw, service: FakeService, on_cancel: Any
) -> None:
    ids = [add_run(service, seconds) for seconds in (50, 60, 70)]

    async def refuse(run: Run) -> None:
        if run.run_id == ids[1]:
            raise ZeroDivisionError

    runs = client.runs.wait_many(ids, on_update=refuse, on_cancel=on_cancel)
    with pytest.raises(ZeroDivisionError):
        await anext(runs)

    assert [run.run_id async for run in runs] == [ids[0], ids[2]]
    assert kinds(service)["abortWorkerRun"] == (1 if on_cancel == "abort" else 0)


async def test_a_stream_serves_one_task_at_a_time(client: AsyncCoreClaw, service: FakeService) -> None:
    runs = client.runs.wait_many([add_run(service, 50)])
    refused: list[str] = []

    async def read() -> None:
        try:
            await anext(runs)
        except RuntimeError as error:
            refused.append(str(error))

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        group.start_soon(read)

    assert len(refused) == 1
    assert "by another task" in refused[0]


async def test_each_change_of_a_run_is_seen(service: FakeService) -> None:
    events: list[Any] = []
    statuses = [(0.0, "ready"), (4.0, "running"), (30.0, "pondering"), (60.0, "succeeded")]
    run_id = service.add_run(WORKER, script=RunScript(rows=3, statuses=statuses), age=0)
    async with client_of(service, on_event=events.append) as client:
        seen = [str(run.status) async for run in client.runs.watch(run_id)]

    assert list(dict.fromkeys(seen)) == ["ready", "running", "pondering", "succeeded"]
    assert [str(event.run.status) for event in events if isinstance(event, RunChanged)] == seen


async def test_watching_a_run_that_is_aborting_for_ever_ends_in_an_error(
    client: AsyncCoreClaw, service: FakeService
) -> None:
    run_id = add_run(service, 1_000, abort="stuck")
    await client.runs.abort(run_id)
    changes = client.runs.watch(run_id)

    assert (await anext(changes)).status == "aborting"
    with pytest.raises(RunAbortedError) as caught:
        await anext(changes)
    assert not caught.value.confirmed
    assert await anext(changes, None) is None


async def test_watching_an_unknown_run_is_an_error(client: AsyncCoreClaw) -> None:
    changes = client.runs.watch(UNKNOWN)

    with pytest.raises(NotFoundError):
        await anext(changes)
    assert await anext(changes, None) is None


@pytest.mark.parametrize("kind", ["objects", "strings"])
async def test_the_log_is_followed_to_its_last_entry(kind: Any) -> None:
    service = FakeService(log_entries=kind)
    lines = [f"line {number}" for number in range(5)] + ["again"] * 3
    run_id = add_run(service, 60, log=lines)
    seen: list[str] = []
    times: list[float] = []
    async with client_of(service) as client:
        async for entry in client.runs.follow_log(run_id):
            seen.append(entry.content)
            times.append(service.clock.monotonic())

    assert [text.rpartition("] ")[2] if text.startswith("[") else text for text in seen] == lines
    assert times[0] < 60
    assert times[-1] <= 66


async def test_a_log_that_cannot_be_read_for_a_while_is_followed_all_the_same(service: FakeService) -> None:
    run_id = add_run(service, 60, log=["one", "two", "three"])
    service.faults.add(faults.error(16000), operation="getWorkerRunLog", times=4)
    async with client_of(service) as client:
        seen = [entry.content async for entry in client.runs.follow_log(run_id)]

    assert seen == ["one", "two", "three"]


async def test_a_log_that_cannot_be_read_at_the_end_is_an_error_and_read_when_asked_again(service: FakeService) -> None:
    run_id = add_run(service, 0, log=["one", "two"])
    service.faults.add(faults.error(16000), operation="getWorkerRunLog")
    async with client_of(service) as client:
        log = client.runs.follow_log(run_id)
        with pytest.raises(NotImplementedByServiceError):
            await anext(log)

        assert [entry.content async for entry in log] == ["one", "two"]


async def test_a_key_that_is_refused_ends_the_log(service: FakeService) -> None:
    run_id = add_run(service, 60, log=["one"])
    service.faults.add(faults.error(12002, status=401), operation="getWorkerRunLog")
    async with client_of(service) as client:
        with pytest.raises(AuthenticationError):
            await anext(client.runs.follow_log(run_id))


async def test_the_log_of_a_run_that_is_unknown_or_aborting_for_ever_ends_in_an_error(
    client: AsyncCoreClaw, service: FakeService
) -> None:
    run_id = add_run(service, 1_000, abort="stuck", log=[])
    await client.runs.abort(run_id)
    log = client.runs.follow_log(run_id)
    with pytest.raises(RunAbortedError):
        while True:
            await anext(log)
    assert await anext(log, None) is None

    with pytest.raises(NotFoundError):
        await anext(client.runs.follow_log(UNKNOWN))


async def test_entries_that_may_have_been_missed_are_warned_of(
    service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    run_id = add_run(service, 60, log=["one"])
    windows = iter([b'["a", "b"]', b'["c", "d"]'])
    for window in windows:
        body = b'{"code": 0, "message": "ok", "data": {"list": ' + window + b"}}"
        service.faults.add(faults.reply(body), operation="getWorkerRunLog")
    async with client_of(service) as client:
        log = client.runs.follow_log(run_id)
        assert [(await anext(log)).content for _ in range(4)] == ["a", "b", "c", "d"]

    assert "may have been missed" in caplog.text


async def test_a_list_without_a_count_is_read_to_its_end_and_then_left() -> None:
    clock = FakeClock()
    ids = [f"01KKDXV2G2{number:016d}" for number in range(130)]
    asked: list[str] = []

    class Reader:
        def __init__(self) -> None:
            self.pages = [Page(items=tuple(Run(run_id=run_id, status="running") for run_id in ids[:100]))]

        async def next_page(self) -> Page[Run] | None:
            return self.pages.pop() if self.pages else None

    async def look(run_id: str, _: object) -> Run:
        asked.append(run_id)
        return Run(run_id=run_id, status="running")

    source = RunReader(
        look=look, list_runs=lambda *_: Reader(), service_time=clock.time, tell=lambda *_: None, timeout=20.0
    )
    poll_round = PollRound(
        source,
        clock,
        ListCache(),
        Outage(),
        due=dict.fromkeys(ids),
        names=set(),
        watched=len(ids),
        report=lambda *_: True,
        hooks_of=lambda _: (),
    )
    await poll_round.take()

    assert sorted(asked) == ids[100:]
    assert (poll_round.polled.due, poll_round.polled.details, poll_round.polled.failures) == (130, 30, 0)


async def test_no_clock_is_asked_to_sleep_backwards() -> None:
    late: list[str] = []

    class Passing(FakeClock):
        """Time passes with each look at it, and a sleep of less than nothing is refused, as trio refuses it."""

        def monotonic(self) -> float:
            self.advance(1e-6)
            return super().monotonic()

        async def sleep(self, seconds: float) -> None:
            if seconds < 0:
                raise ValueError(seconds)
            await super().sleep(seconds)

    async with AsyncCoreClaw("key", transport=Silence(), clock=Passing()) as client:

        async def wait(run_id: str, timeout: float) -> None:
            try:
                await client.runs.wait(run_id, timeout=timeout)
            except WaitTimeoutError as error:
                late.append(error.run_id or "")

        async with anyio.create_task_group() as group:
            for run_id, timeout in (("a", 30), ("b", 10), ("c", 20)):
                group.start_soon(wait, run_id, timeout)

    assert late == ["b", "c", "a"]


def test_looks_that_cost_nothing_do_not_hold_up_the_schedule() -> None:
    tracked, run = TrackedRun(run_id="run", schedule=STEADY, began=0.0), Run(run_id="run", status="running")

    for second in range(40):
        tracked.take(run, now=float(second), began=float(second))

    assert tracked.next_look == 39 + 15


def test_the_schedule_begins_again_when_something_happened_to_a_run_that_others_are_looked_at_with() -> None:
    tracked, run = TrackedRun(run_id="run", schedule=STEADY, began=0.0), Run(run_id="run", status="running")
    for second in range(40):
        tracked.take(run, now=float(second), began=float(second))

    tracked.wake(40.0)
    looks = []
    for _ in range(4):
        looks.append(tracked.next_look)
        tracked.take(run, now=tracked.next_look, began=tracked.next_look)

    assert looks == [40, 42, 47, 57]


def waiters_of(*next_looks: float, deadline: float = float("inf")) -> LoopWaiters:
    tracked_runs = [TrackedRun(run_id=f"run-{place}", schedule=STEADY, began=at) for place, at in enumerate(next_looks)]
    source: Any = None
    waiters = LoopWaiters()
    waiters.present[Waiter.of(source, tracked_runs, deadline)] = None
    return waiters


def test_the_first_of_many_runs_waits_up_to_a_second_for_those_that_become_due_soon() -> None:
    assert waiters_of(10, 20, 30).next_turn() == 10
    assert waiters_of(10, *range(20, 219)).next_turn() == pytest.approx(10.2)
    assert waiters_of(10, *range(20, 5_000)).next_turn() == 11


def test_the_last_look_before_a_deadline_waits_for_no_other() -> None:
    assert waiters_of(*[9.0] * 1_000, deadline=10.5).next_turn() == 9.5
    assert waiters_of(*[9.5] * 1_000, deadline=10.5).next_turn() == 9.5
    assert waiters_of(*[10.0] * 1_000, deadline=10.5).next_turn() == 11
