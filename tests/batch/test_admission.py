"""The gate learns what the plan and the rate allow, keeps to the budget, and wastes few starts on finding out."""

from __future__ import annotations

import anyio
import pytest

from coreclaw_async.batch._admission import Admission, Limits
from coreclaw_async.testing import FakeClock


def limits(**members: object) -> Limits:
    return Limits(all_seen=lambda: True, **members)  # type: ignore[arg-type]


def fill(gate: Limits, plan: int, now: float = 0.0) -> int:
    """Start as many runs as the gate lets through under a plan, and return how many are running."""
    going = gate.in_flight
    while gate.delay(now) == 0:
        gate.send(now)
        if going < plan:
            going += 1
            gate.accepted(now)
        else:
            gate.refused_for_plan(now)
    return going


def test_the_plan_is_learned_from_the_first_refusal() -> None:
    gate = limits()

    assert fill(gate, 3) == 3
    assert (gate.learned, gate.wasted, gate.in_flight) == (3, 1, 3)
    assert gate.delay(0.0) == 60.0


def test_a_slot_that_becomes_free_is_used_at_once() -> None:
    gate = limits()
    fill(gate, 3)
    gate.ended()

    assert gate.delay(1.0) == 0


def test_a_plan_that_grows_is_found_out_a_step_at_a_time() -> None:
    gate = limits()
    fill(gate, 3)

    assert fill(gate, 10, now=60.0) == 4
    assert gate.delay(60.0) == 30.0
    assert fill(gate, 10, now=90.0) == 5
    assert gate.wasted == 1


def test_probes_that_fail_become_rare() -> None:
    gate = limits()
    fill(gate, 3)
    now, waits = 0.0, []
    for _ in range(9):
        wait = gate.delay(now)
        assert wait
        waits.append(wait)
        now += wait
        fill(gate, 3, now=now)

    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    assert gate.learned == 3


def test_nothing_is_probed_while_a_run_may_have_ended_unseen() -> None:
    gate = Limits(all_seen=lambda: False)
    fill(gate, 3)

    assert gate.delay(60.0) == 0.5


def test_one_probe_goes_at_a_time() -> None:
    gate = limits()
    fill(gate, 3)
    gate.send(60.0)

    assert gate.delay(60.0) is None


def test_before_anything_is_known_few_starts_go_at_once() -> None:
    gate = limits()
    gate.send(0.0)

    assert gate.delay(0.0) is None
    for _ in range(100):
        gate.accepted(0.0)
        while gate.delay(0.0) == 0:
            gate.send(0.0)
        assert gate.sending <= 8


def test_others_may_have_taken_the_whole_plan() -> None:
    gate = limits()

    assert fill(gate, 0) == 0
    assert (gate.learned, gate.delay(10.0)) == (0, 50.0)
    assert fill(gate, 5, now=60.0) == 1


def test_the_callers_limit_is_kept() -> None:
    gate = limits(most=2)

    assert fill(gate, 100) == 2
    assert gate.delay(0.0) is None


def test_a_rate_is_learned_and_grows_again() -> None:
    gate = limits()
    for number in range(20):
        gate.send(number / 20)
        gate.accepted(number / 20)
    gate.send(1.0)
    gate.refused_for_rate(1.0, None)

    assert gate.delay(1.0) == 1.0
    now, starts = 2.0, 0
    while now < 4.0:
        assert gate.delay(now) == 0
        gate.send(now)
        gate.accepted(now)
        starts += 1
        now += (gate.delay(now) or 0.0) + 1e-9
    assert 20 <= starts <= 30
    slow = gate.delay(now - 1e-9)
    gate.send(20.0)
    gate.accepted(20.0)
    assert slow is not None
    assert (gate.delay(20.0) or 0) < 1 / 14


def test_retry_after_is_kept_and_a_second_refusal_slows_further() -> None:
    gate = limits()
    gate.send(0.0)
    gate.refused_for_rate(0.0, 7.0)
    assert gate.delay(0.0) == 7.0
    gate.send(7.0)
    gate.refused_for_rate(7.0, 7.0)

    assert gate.delay(7.0) == 7.0
    gate.send(14.0)
    assert gate._not_before == pytest.approx(14 + 1 / (0.7 * 1.1) ** 2)


def test_a_refusal_for_the_budget_holds_until_a_run_has_ended() -> None:
    gate = limits()
    gate.send(0.0)
    gate.accepted(0.0)
    gate.send(0.0)
    gate.over_budget(0)
    assert gate.delay(0.0) is None
    gate.ended()
    assert gate.delay(0.0) == 0


def test_a_refusal_for_the_budget_is_asked_about_again_while_runs_of_others_may_make_room() -> None:
    gate = limits()
    for now, spending in ((0.0, "first"), (8.0, "first"), (9.0, "second"), (18.0, "second")):
        gate.send(now)
        gate.over_budget(now, spending, patience=10.0)
        assert (gate.delay(now), gate.delay(now + 2), gate.delay(now + 5)) == (5.0, 3.0, 0.0)
        assert not gate.is_budget_used_up
    gate.send(19.0)
    gate.over_budget(19.0, "second", patience=10.0)
    assert gate.delay(19.0) is None
    assert gate.is_budget_used_up


def test_a_pause_is_asked_about_again_after_seconds() -> None:
    gate = limits()
    gate.send(0.0)
    gate.paused(0.0)
    assert (gate.in_flight, gate.delay(0.0), gate.delay(5.0)) == (0, 5.0, 0)
    gate.send(5.0)
    gate.paused(5.0)
    gate.resumed_starts()
    assert gate.delay(5.0) == 0


async def test_whoever_waits_goes_on_when_a_run_ends() -> None:
    clock = FakeClock()
    gate = Admission(limits(most=1), clock, lambda: 0)
    went: list[float] = []

    async def go() -> None:
        while await gate.wait():
            if gate.try_enter():
                gate.limits.accepted(clock.monotonic())
                went.append(clock.monotonic())
                return

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(go)
        for _ in range(2):
            await clock.sleep(10)
            gate.limits.ended()
            gate.changed()

    assert went == [0, 10, 20]


async def test_nothing_is_started_while_nobody_takes_what_has_ended() -> None:
    clock, backlog = FakeClock(), 1_000
    gate = Admission(limits(), clock, lambda: backlog)
    assert not gate.try_enter()

    backlog = 999
    assert gate.try_enter()


async def test_a_gate_that_is_stopped_lets_go_of_all_who_wait() -> None:
    clock = FakeClock()
    gate = Admission(limits(most=1), clock, lambda: 0)
    gate.try_enter()
    answers: list[bool] = []

    async def wait() -> None:
        answers.append(await gate.wait())

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(wait)
        await clock.sleep(1)
        gate.stop("balance")
        gate.stop("cancelled")

    assert answers == [False] * 3
    assert gate.stopped_by == "balance"
    assert not gate.try_enter()


async def test_a_budget_that_is_used_up_stops_the_gate() -> None:
    gate = Admission(limits(), FakeClock(), lambda: 0)
    assert gate.try_enter()
    gate.limits.over_budget(0)

    assert not await gate.wait()
    assert gate.stopped_by == "max_spend"
