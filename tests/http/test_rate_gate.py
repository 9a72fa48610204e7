"""After a 429 the whole client slows down: nobody fails within a minute, and few requests are refused."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coreclaw_async import AsyncCoreClaw, CoreClawError, RateLimitedError, RetryPolicy, SendTimeoutError
from coreclaw_async._http.rate_gate import RateGate
from coreclaw_async.events import Event, RequestSent
from coreclaw_async.testing import FakeClock, FakeService, faults

WORKER = "coreclaw/google-maps-scraper"
INPUT = {"keywords": ["coffee"]}
POLICY = RetryPolicy(jitter=lambda ceiling: ceiling)


async def soon() -> None:
    """Let all tasks run until they wait, without time passing."""
    for _ in range(20):
        await anyio.lowlevel.checkpoint()


async def call_at_once(service: FakeService, callers: int, *, starts: bool = False) -> tuple[list[CoreClawError], int]:
    """Return the failures of *callers* calls at once, and how many requests were refused."""
    failures: list[CoreClawError] = []
    refusals = 0

    def count(event: Event) -> None:
        nonlocal refusals
        refusals += isinstance(event, RequestSent) and event.code == 13000

    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, on_event=count) as client:

        async def call() -> None:
            try:
                await (client.workers.start_run(WORKER, INPUT) if starts else client.account.get())
            except CoreClawError as error:
                failures.append(error)

        async with anyio.create_task_group() as group:
            for _ in range(callers):
                group.start_soon(call)
    return failures, refusals


@pytest.mark.endurance
@pytest.mark.parametrize(
    ("callers", "rate", "burst"), [(300, 50, 20), (500, 50, 20), (200, 20, 5), (200, 20, 20), (100, 5, 5)]
)
async def test_many_callers_at_once_all_succeed_with_few_refusals(callers: int, rate: float, burst: int) -> None:
    service = FakeService(rate_limit=rate, rate_burst=burst)
    began = service.clock.monotonic()

    failures, refusals = await call_at_once(service, callers)

    assert failures == []
    assert refusals <= 40
    assert service.clock.monotonic() - began < 60


async def test_starts_wait_at_the_gate_as_reads_do() -> None:
    service = FakeService(rate_limit=20, rate_burst=5)

    failures, refusals = await call_at_once(service, 40, starts=True)

    assert failures == []
    assert refusals <= 40
    assert service.runs_created == 40


async def test_nothing_leaves_before_the_service_said_so(service: FakeService) -> None:
    service.faults.add(faults.rate_limited(retry_after=7), operation="getAccount")
    async with (
        AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client,
        anyio.create_task_group() as group,
    ):
        group.start_soon(client.account.get)
        await soon()
        for _ in range(5):
            group.start_soon(client.account.get)
        group.start_soon(client.with_options(timeout=30).proxies.list_regions)

    first, *others = [request.at for request in service.requests]
    assert len(others) == 7
    assert all(at >= first + 7 for at in others)


async def test_another_key_is_another_accounts(service: FakeService) -> None:
    service.faults.add(faults.rate_limited(retry_after=7), operation="getAccount")
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        other = client.with_options(api_key=f"{service.api_key} ".strip())
        async with anyio.create_task_group() as group:
            group.start_soon(client.account.get)
            await soon()
            group.start_soon(other.account.get)

    assert sorted(request.at for request in service.requests)[1] < 7


async def test_who_came_first_is_served_first(service: FakeService) -> None:
    service.faults.add(faults.rate_limited(retry_after=5), operation="getAccount")
    served: list[int] = []
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:

        async def call(number: int) -> None:
            await client.account.get()
            served.append(number)

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(call, number)
                await soon()

    assert served == list(range(20))


async def test_a_call_that_cannot_leave_before_its_deadline_says_so(service: FakeService) -> None:
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        client._context.transport.gate.note_refused(POLICY, left_at=0.0, retry_after=50.0)
        with pytest.raises(SendTimeoutError, match="nothing may be sent before the deadline") as caught:
            await client.with_options(timeout=10).workers.start_run(WORKER, INPUT)

    assert caught.value.retry_after == pytest.approx(50.5)
    assert not caught.value.may_have_taken_effect
    assert service.runs_created == 0


async def test_a_retry_after_beyond_the_deadline_is_told_at_once(service: FakeService) -> None:
    service.faults.add(faults.rate_limited(retry_after=61), operation="getAccount")
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        with pytest.raises(RateLimitedError):
            await client.account.get()

    assert service.clock.monotonic() == 0


class StoppedClock:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.moved = anyio.Event()

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            await self.moved.wait()

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.moved.set()
        self.moved = anyio.Event()


@pytest.mark.every_backend
@pytest.mark.parametrize("cancelled", [{0}, {0, 1, 2, 3}, {3, 5}])
async def test_those_who_are_cancelled_at_the_gate_hold_nobody_up(cancelled: set[int]) -> None:
    clock = StoppedClock()
    gate = RateGate(clock)
    gate.note_refused(POLICY, left_at=-1.0, retry_after=5.0)
    passed: list[int] = []

    async def leave(number: int, scope: anyio.CancelScope) -> None:
        with scope:
            assert await gate.pass_through(gate.ticket(), 1000.0)
            passed.append(number)

    scopes = [anyio.CancelScope() for _ in range(6)]
    async with anyio.create_task_group() as group:
        for number, scope in enumerate(scopes):
            group.start_soon(leave, number, scope)
            await anyio.wait_all_tasks_blocked()
        for number in cancelled:
            scopes[number].cancel()
        for _ in range(12):
            await anyio.wait_all_tasks_blocked()
            clock.advance(3.0)

    assert passed == [number for number in range(6) if number not in cancelled]
    assert await gate.pass_through(gate.ticket(), 1000.0)


async def test_one_who_is_cancelled_just_when_his_turn_comes_passes_it_on() -> None:
    clock = StoppedClock()
    gate = RateGate(clock)
    gate.note_refused(POLICY, left_at=-1.0, retry_after=5.0)
    passed: list[str] = []

    async def leave(name: str, scope: anyio.CancelScope) -> None:
        with scope:
            await gate.pass_through(gate.ticket(), 1000.0)
            passed.append(name)
            if name == "first":
                second.cancel()

    first, second, third = anyio.CancelScope(), anyio.CancelScope(), anyio.CancelScope()
    async with anyio.create_task_group() as group:
        for name, scope in (("first", first), ("second", second), ("third", third)):
            group.start_soon(leave, name, scope)
            await anyio.wait_all_tasks_blocked()
        for _ in range(4):
            clock.advance(6.0)
            await anyio.wait_all_tasks_blocked()

    assert passed == ["first", "third"]


async def test_a_client_that_was_never_refused_sends_at_once(service: FakeService) -> None:
    failures, refusals = await call_at_once(service, 100)

    assert (failures, refusals) == ([], 0)
    assert service.clock.monotonic() == 0


def test_many_refusals_of_requests_that_left_together_close_the_gate_once() -> None:
    clock = FakeClock()
    gate = RateGate(clock)
    for _ in range(12):
        gate.note_refused(POLICY, left_at=0.0, retry_after=None)
        clock.advance(0.001)

    assert gate.closings == 1
    assert gate.opens_in() <= POLICY.first_delay


def test_refusals_in_a_row_close_the_gate_for_longer() -> None:
    clock = FakeClock()
    gate = RateGate(clock)
    pauses = []
    for _ in range(9):
        gate.note_refused(POLICY, left_at=clock.monotonic(), retry_after=None)
        pauses.append(gate.opens_in())
        clock.advance(pauses[-1])

    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


@given(st.lists(st.sampled_from(["taken", "refused", "asked"]), max_size=60), st.floats(0.01, 2.0))
def test_the_gate_never_stays_closed(story: list[str], step: float) -> None:
    clock = FakeClock()
    gate = RateGate(clock)
    for event in story:
        if event == "taken":
            gate.note_taken()
        else:
            gate.note_refused(POLICY, left_at=clock.monotonic(), retry_after=3.0 if event == "asked" else None)
        clock.advance(step)

    assert gate.opens_in() <= POLICY.max_delay

    async def leave() -> bool:
        return await gate.pass_through(gate.ticket(), clock.monotonic() + 60)

    assert anyio.run(leave)


@pytest.mark.parametrize(("seconds", "is_paced"), [(599.0, True), (601.0, False)])
async def test_a_refusal_is_forgotten_after_ten_minutes_without_another(seconds: float, is_paced: bool) -> None:
    clock = FakeClock()
    gate = RateGate(clock)
    gate.note_refused(POLICY, left_at=0.0, retry_after=None)
    clock.advance(seconds)
    gate.note_taken()

    assert await gate.pass_through(gate.ticket(), clock.monotonic())
    assert await gate.pass_through(gate.ticket(), clock.monotonic()) is not is_paced


async def test_refusals_in_a_200_make_the_pauses_grow_too(service: FakeService) -> None:
    service.faults.add(faults.rate_limited(in_200=True), times=9999)
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, timeout=600) as client:
        with pytest.raises(RateLimitedError):
            await client.account.get()

    assert len(service.requests) < 50


def test_a_retry_after_of_a_day_does_not_close_the_client_for_a_day() -> None:
    gate = RateGate(FakeClock())
    gate.note_refused(POLICY, left_at=-1.0, retry_after=86_400.0)

    assert gate.opens_in() <= POLICY.max_retry_after + POLICY.first_delay


async def test_calls_that_are_answered_late_leave_room_for_others() -> None:
    is_open = anyio.Event()

    async def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            await is_open.wait()
            return httpx.Response(200, json={"code": 0, "message": "", "data": {"run_slug": "R" * 26}})
        return httpx.Response(200, json={"code": 0, "message": "", "data": {"balance": "1.00"}})

    async with (
        AsyncCoreClaw("key", transport=httpx.MockTransport(answer), timeout=5) as client,
        anyio.create_task_group() as group,
    ):
        for _ in range(60):
            group.start_soon(client.workers.start_run, WORKER, INPUT)
        await anyio.sleep(0.05)
        await client.account.get()
        is_open.set()


async def test_an_abort_goes_before_those_who_wait_for_the_rate() -> None:
    service = FakeService(rate_limit=2, rate_burst=1)
    order: list[str] = []
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        run_id = service.add_run(WORKER, status="running")

        async def get() -> None:
            await client.account.get()
            order.append("get")

        async def abort() -> None:
            await client.runs.abort(run_id)
            order.append("abort")

        async with anyio.create_task_group() as group:
            for _ in range(30):
                group.start_soon(get)
            await soon()
            group.start_soon(abort)

    assert order.index("abort") < 15
