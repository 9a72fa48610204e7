"""A machine pays once, even if its clock is set or it stands still between an answer and the next start."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from batch.batches import finish, runs_by_key, specs
from wrong_times import MachineClock

from coreclaw_async import AsyncCoreClaw, BatchOutcome, events
from coreclaw_async.testing import FakeService, faults


async def _lose_a_start(
    service: FakeService, happens: Callable[[MachineClock], None], *, exclusive: bool
) -> list[BatchOutcome]:
    """Run a batch of one item whose first start is accepted and not answered, after each answer before it *happens*."""
    clock = MachineClock(service.clock)
    is_started = False

    def hook(event: events.Event) -> None:
        nonlocal is_started
        is_started = is_started or isinstance(event, events.BatchItemChanged)
        if isinstance(event, events.RequestSent) and not is_started:
            happens(clock)

    service.faults.add(faults.commit_then_drop(), operation="runWorker", times=1)
    async with (
        AsyncCoreClaw(service.api_key, transport=service, clock=clock, on_event=hook) as client,
        client.batch("b", ledger="memory", exclusive=exclusive) as batch,
    ):
        await batch.plan(specs(1))
        return await finish(batch)


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("step", [0.0, -4.0, 4.0, -60.0, -100.0, -3_600.0, 60.0, 3_600.0])
async def test_a_clock_that_is_set_before_a_lost_start_pays_nothing_twice(
    service: FakeService, step: float, exclusive: bool
) -> None:
    def set_clock(clock: MachineClock) -> None:
        clock.step += step

    (outcome,) = await _lose_a_start(service, set_clock, exclusive=exclusive)

    assert outcome.state == ("done" if exclusive else "ambiguous")
    assert sum(runs_by_key(service).values()) == 1


@pytest.mark.parametrize(("wall_is_right", "state"), [(True, "done"), (False, "ambiguous")])
async def test_a_machine_that_stood_still_before_a_lost_start_pays_nothing_twice(
    service: FakeService, wall_is_right: bool, state: str
) -> None:
    def stand_still(clock: MachineClock) -> None:
        clock.stood_still += 3_600.0
        clock.step -= 0.0 if wall_is_right else 3_600.0

    (outcome,) = await _lose_a_start(service, stand_still, exclusive=True)

    assert outcome.state == state
    assert sum(runs_by_key(service).values()) == 1
    assert wall_is_right or outcome.candidates == tuple(service.runs)
