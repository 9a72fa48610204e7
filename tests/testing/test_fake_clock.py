"""The virtual clock: who wakes when, and what an hour costs."""

from __future__ import annotations

import itertools
import math
import threading
import time

import anyio
import pytest
from anyio.lowlevel import checkpoint

from coreclaw_async.testing import FakeClock
from coreclaw_async.testing._state.clock import note_activity


def test_begins_at_noon_of_the_service_on_a_day_in_the_middle_of_a_month() -> None:
    clock = FakeClock()

    assert (clock.monotonic(), clock.time()) == (0.0, 1_786_766_400.0)


async def test_a_sleep_takes_its_seconds_and_no_real_ones() -> None:
    clock = FakeClock()
    began = time.monotonic()

    await clock.sleep(3600)

    assert clock.monotonic() == 3600
    assert time.monotonic() - began < 20


async def test_concurrent_sleeps_do_not_add_up() -> None:
    clock = FakeClock()

    async with anyio.create_task_group() as tasks:
        for _ in range(300):
            tasks.start_soon(clock.sleep, 60)

    assert clock.monotonic() == 60


async def test_sleepers_wake_in_the_order_of_their_deadlines() -> None:
    clock = FakeClock()
    woken: list[float] = []

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(clock.monotonic())

    async with anyio.create_task_group() as tasks:
        for seconds in (5, 1, 4, 2, 3, 2):
            tasks.start_soon(sleep, seconds)

    assert woken == [1, 2, 2, 3, 4, 5]


async def test_a_woken_task_runs_before_the_next_jump() -> None:
    clock = FakeClock()
    seen: list[tuple[str, float]] = []

    async def tick(name: str, seconds: float) -> None:
        for _ in range(3):
            await clock.sleep(seconds)
            for _ in range(10):
                await checkpoint()
            seen.append((name, clock.monotonic()))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tick, "slow", 3)
        tasks.start_soon(tick, "quick", 2)

    assert [at for _, at in seen] == [2, 3, 4, 6, 6, 9]


async def test_a_newcomer_with_an_earlier_deadline_wakes_first() -> None:
    clock = FakeClock(quiet_cycles=100)
    woken: list[str] = []

    async def late() -> None:
        await clock.sleep(100)
        woken.append("late")

    async def early() -> None:
        for _ in range(5):
            await checkpoint()
        await clock.sleep(1)
        woken.append("early")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(late)
        tasks.start_soon(early)

    assert woken == ["early", "late"]
    assert clock.monotonic() == 100


async def test_activity_holds_the_clock() -> None:
    clock = FakeClock(quiet_cycles=20)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(clock.sleep, 10)
        for _ in range(200):
            await checkpoint()
            note_activity(clock)
        held = clock.monotonic()

    assert (held, clock.monotonic()) == (0, 10)


async def test_work_in_a_thread_holds_the_clock() -> None:
    clock = FakeClock()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(clock.sleep, 10)
        await anyio.to_thread.run_sync(time.sleep, 0.05)
        held = clock.monotonic()

    assert (held, clock.monotonic()) == (0, 10)


async def test_work_in_a_thread_holds_the_clock_also_when_the_machine_stood_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, calls = time.monotonic, itertools.count()
    monkeypatch.setattr(time, "monotonic", lambda: real() + (0 if next(calls) < 10 else 3.0))
    clock = FakeClock()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(clock.sleep, 10)
        await anyio.to_thread.run_sync(time.sleep, 0.05)
        held = clock.monotonic()

    assert (held, clock.monotonic()) == (0, 10)


async def test_a_thread_that_does_not_end_holds_the_clock_for_a_while_only() -> None:
    clock = FakeClock()
    release = threading.Event()

    async def sleep_and_release() -> None:
        await clock.sleep(10)
        release.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sleep_and_release)
        assert await anyio.to_thread.run_sync(release.wait, 10)


async def test_a_cancelled_sleep_is_forgotten_and_the_next_sleeper_takes_over() -> None:
    clock = FakeClock(quiet_cycles=100)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(clock.sleep, 20)
        with anyio.move_on_after(0):
            await clock.sleep(10)
        assert repr(clock).endswith("sleepers=1)")

    assert clock.monotonic() == 20
    assert repr(clock) == "FakeClock(monotonic=20.0, sleepers=0)"


async def test_without_autojump_only_advance_moves_it() -> None:
    clock = FakeClock(autojump=False)
    woken: list[str] = []

    async def sleep(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sleep, "second", 8)
        tasks.start_soon(sleep, "first", 5)
        for _ in range(200):
            await checkpoint()
        assert woken == []
        clock.advance(6)
        for _ in range(20):
            await checkpoint()
        assert woken == ["first"]
        clock.advance(2)

    assert woken == ["first", "second"]


async def test_advance_past_several_deadlines_still_wakes_in_their_order() -> None:
    clock = FakeClock(autojump=False)
    woken: list[float] = []

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    async with anyio.create_task_group() as tasks:
        for seconds in (4, 2, 3, 1):
            tasks.start_soon(sleep, seconds)
        for _ in range(5):
            await checkpoint()
        clock.advance(10)

    assert woken == [1, 2, 3, 4]


async def test_one_that_looks_at_the_clock_by_itself_wakes_after_those_due_before_it() -> None:
    for _ in range(20):  # trio runs what is due in one round in either order.
        clock = FakeClock(autojump=False)
        woken: list[float] = []

        async def sleep(seconds: float, clock: FakeClock, woken: list[float]) -> None:
            await clock.sleep(seconds)
            woken.append(seconds)

        async with anyio.create_task_group() as tasks:
            for seconds in (3, 2):
                tasks.start_soon(sleep, seconds, clock, woken)
                await anyio.wait_all_tasks_blocked()
            looks = time.monotonic() + 0.006
            while time.monotonic() <= looks:
                pass
            clock.advance(10)

        assert woken == [2, 3]


async def test_another_thread_may_advance_it() -> None:
    clock = FakeClock(autojump=False)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(clock.sleep, 5)
        await anyio.wait_all_tasks_blocked()
        await anyio.to_thread.run_sync(clock.advance, 5)

    assert clock.monotonic() == 5


def test_it_serves_one_event_loop_after_another() -> None:
    clock = FakeClock()
    for backend in ("asyncio", "trio", "asyncio"):
        anyio.run(clock.sleep, 10, backend=backend)

    assert clock.monotonic() == 30


def test_it_serves_two_event_loops_at_once() -> None:
    clock = FakeClock()
    threads = [
        threading.Thread(target=anyio.run, args=(clock.sleep, seconds), kwargs={"backend": backend})
        for seconds, backend in ((5, "asyncio"), (9, "trio"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert clock.monotonic() >= 9
    assert repr(clock).endswith("sleepers=0)")


async def test_a_sleep_of_nothing_lets_others_run_and_moves_nothing() -> None:
    clock = FakeClock()
    ran: list[str] = []

    async def other() -> None:
        ran.append("other")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        for _ in range(3):
            await clock.sleep(0)
        assert ran == ["other"]

    assert clock.monotonic() == 0


async def test_an_endless_sleep_ends_by_cancellation_and_does_not_move_the_clock() -> None:
    clock = FakeClock()
    with anyio.move_on_after(0.01) as scope:
        await clock.sleep(math.inf)

    assert scope.cancelled_caught
    assert clock.monotonic() == 0


def test_set_time_moves_the_wall_clock_alone() -> None:
    clock = FakeClock(start=100)
    clock.advance(5)
    clock.set_time(1000)
    clock.advance(1)

    assert (clock.monotonic(), clock.time()) == (6, 1001)


@pytest.mark.parametrize("seconds", [-1, math.inf, math.nan])
def test_it_does_not_go_back_or_to_infinity(seconds: float) -> None:
    with pytest.raises(ValueError, match="seconds must be finite and 0 or more"):
        FakeClock().advance(seconds)


def test_at_least_one_quiet_cycle_is_needed() -> None:
    with pytest.raises(ValueError, match="quiet_cycles must be 1 or more, not 0"):
        FakeClock(quiet_cycles=0)
