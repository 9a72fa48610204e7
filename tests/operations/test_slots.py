"""With ``wait_for_slot=True`` a start for which the plan has no room waits for a slot, and starts one run."""

from __future__ import annotations

import anyio
import pytest
from either_client import AsyncCoreClaw

from coreclaw_async import ConcurrencyLimitError, WaitTimeoutError
from coreclaw_async.testing import FakeService, RunScript, faults

WORKER = "coreclaw/google-maps-scraper"
INPUT = {"keywords": ["coffee"]}


async def test_a_run_waits_for_a_slot_and_then_for_its_end(client: AsyncCoreClaw, service: FakeService) -> None:
    service.faults.add(faults.error(30003, status=400), operation="runWorker", times=3)
    run = await client.workers.run(WORKER, INPUT, wait_for_slot=True, timeout=600)

    assert run.status == "succeeded"
    assert service.runs_created == 1


async def test_a_task_waits_for_a_slot_too(client: AsyncCoreClaw, service: FakeService) -> None:
    task = service.add_task(WORKER, title="saved", input={"parameters": {"custom": INPUT}})
    service.faults.add(faults.error(30003, status=400), operation="runWorkerTask", times=3)
    run = await client.tasks.run(task, wait_for_slot=True)

    assert run.status == "succeeded"


async def test_without_it_a_full_plan_is_an_error(client: AsyncCoreClaw, service: FakeService) -> None:
    service.faults.add(faults.error(30003, status=400), operation="runWorker")
    with pytest.raises(ConcurrencyLimitError):
        await client.workers.run(WORKER, INPUT)

    assert service.runs_created == 0


async def test_one_timeout_covers_the_slot_and_the_run(client: AsyncCoreClaw, service: FakeService) -> None:
    service.script_next(RunScript(duration=500.0))
    service.faults.add(faults.error(30003, status=400), operation="runWorker", times=5)
    with pytest.raises(WaitTimeoutError):
        await client.workers.run(WORKER, INPUT, wait_for_slot=True, timeout=100)

    assert service.clock.monotonic() <= 103


async def test_a_slot_that_never_comes_is_an_error_and_no_run(client: AsyncCoreClaw, service: FakeService) -> None:
    service.faults.add(faults.error(30003, status=400), operation="runWorker", times=99)
    with pytest.raises(ConcurrencyLimitError):
        await client.workers.run(WORKER, INPUT, wait_for_slot=True, timeout=60)

    assert service.runs_created == 0
    assert service.clock.monotonic() <= 60
    assert len(service.requests) < 12


@pytest.mark.async_client_only
async def test_many_who_wait_ask_one_at_a_time_and_all_get_their_turn() -> None:
    service = FakeService(plan_limit=3)
    async with (
        AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client,
        anyio.create_task_group() as group,
    ):
        for _ in range(30):
            group.start_soon(lambda: client.workers.run(WORKER, INPUT, wait_for_slot=True))

    assert service.runs_created == 30
    starts = [request for request in service.requests if request.operation == "runWorker"]
    assert len(starts) < 150


async def test_a_flag_that_is_none_is_refused_before_anything_is_sent(
    client: AsyncCoreClaw, service: FakeService
) -> None:
    with pytest.raises(TypeError, match="wait_for_slot must be a bool"):
        await client.workers.run(WORKER, INPUT, wait_for_slot="yes")  # type: ignore[arg-type]

    assert service.requests == []


@pytest.mark.async_client_only
@pytest.mark.every_backend
async def test_one_who_waits_behind_others_gives_up_at_his_own_deadline(service: FakeService) -> None:
    service.faults.add(
        faults.error(30003, status=400),
        operation="runWorker",
        times=9999,
        match=lambda _: service.clock.monotonic() < 3_000,
    )
    async with (
        AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client,
        anyio.create_task_group() as group,
    ):
        group.start_soon(lambda: client.workers.run(WORKER, INPUT, wait_for_slot=True))
        await service.clock.sleep(4)  # By then the other one waits at the front.
        with pytest.raises(ConcurrencyLimitError, match="no room for it within the timeout"):
            await client.workers.run(WORKER, INPUT, wait_for_slot=True, timeout=30)
        assert service.clock.monotonic() < 60

    assert service.runs_created == 1


async def test_a_slot_that_is_free_just_before_the_deadline_is_taken(
    client: AsyncCoreClaw, service: FakeService
) -> None:
    service.faults.add(
        faults.error(30003, status=400),
        operation="runWorker",
        times=999,
        match=lambda _: service.clock.monotonic() < 9,
    )
    with pytest.raises(WaitTimeoutError):
        await client.workers.run(WORKER, INPUT, wait_for_slot=True, timeout=16)

    assert service.runs_created == 1


async def test_a_first_start_that_outlasts_the_timeout_is_no_foreign_error(
    client: AsyncCoreClaw, service: FakeService
) -> None:
    service.faults.add(faults.error(30003, status=400), operation="runWorker", times=9)
    service.faults.add(faults.delay(5.0), operation="runWorker", times=9)
    with pytest.raises(ConcurrencyLimitError):
        await client.workers.run(WORKER, INPUT, wait_for_slot=True, timeout=2)

    assert service.runs_created == 0
