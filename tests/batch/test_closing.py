"""Leaving a batch waits for the starts under way, and no group of errors ever leaves it."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from batch.batches import WORKER, finish, opened, specs, take_until
from waiting import PATIENCE, until

from coreclaw_async import (
    AsyncBatch,
    AsyncCoreClaw,
    BatchItemState,
    BatchOutcome,
    CallbackHub,
    LedgerError,
    RunSpec,
    SettleTimes,
    events,
)
from coreclaw_async.testing import FakeService, RealClock, RunScript, faults


async def leave_while_starting(service: FakeService, ledger: str, **options: Any) -> None:
    """Leave a batch when its first start is with the service."""
    async with opened(service, ledger, count=2, **options) as batch:
        await begin(batch, service)


async def begin(batch: AsyncBatch, service: FakeService) -> None:
    await take_until(batch.run(), lambda: service.runs_created)


@pytest.mark.endurance
@pytest.mark.parametrize("seconds", [7.0, 55.0])
async def test_a_start_that_is_answered_late_is_waited_for(
    service: FakeService, tmp_path: Path, seconds: float, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = str(tmp_path / "runs.db")
    service.default_script = RunScript(duration=10_000)
    service.faults.add(faults.delay(seconds), operation="runWorker")
    with caplog.at_level(logging.WARNING, "coreclaw_async"):
        await leave_while_starting(service, ledger)
    async with opened(service, ledger) as batch:
        items = [await batch.get(key) for key in ("k0", "k1")]
        (run,) = await batch.history("k0")

    assert [item.state for item in items] == [BatchItemState.SUBMITTED, BatchItemState.PLANNED]
    assert items[0].run_id == run.run_id == next(iter(service.runs))
    assert "batch 'nightly' waits for the answers to 1 start before it is closed" in caplog.text


async def test_a_start_that_is_never_answered_is_waited_for_no_longer_than_it_may_take(
    service: FakeService, tmp_path: Path
) -> None:
    ledger = str(tmp_path / "runs.db")
    service.faults.add(faults.stall(), operation="runWorker")
    await leave_while_starting(service, ledger, settle_times=SettleTimes(send_window=3.0, post_timeout=20.0))
    passed = service.clock.monotonic()
    async with opened(service, ledger) as batch:
        item = await batch.get("k0")

    assert item.state is BatchItemState.INTENT
    assert 23.0 <= passed <= 24.0


@pytest.mark.endurance
@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_task_that_is_cancelled_once_more_while_it_leaves_a_batch_writes_down_what_comes(
    tmp_path: Path,
) -> None:
    service = FakeService(clock=RealClock())
    ledger = str(tmp_path / "runs.db")
    service.faults.add(faults.delay(0.6), operation="runWorker")
    task = asyncio.ensure_future(leave_while_starting(service, ledger))
    await until(lambda: service.runs_created, "the start", pause=0.01)
    for _ in range(3):
        await asyncio.sleep(0.1)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with opened(service, ledger) as batch:
        item = await batch.get("k0")

    assert (item.state, item.run_id) == (BatchItemState.SUBMITTED, next(iter(service.runs)))


@pytest.mark.every_backend
async def test_cancellation_that_comes_while_a_batch_is_closed_goes_on(service: FakeService, tmp_path: Path) -> None:
    went_on = False
    service.default_script = RunScript(duration=10_000)
    with anyio.CancelScope() as scope:
        async with opened(service, str(tmp_path / "runs.db"), count=2) as batch:
            await begin(batch, service)
            scope.cancel()
        await anyio.lowlevel.checkpoint()
        went_on = True

    assert scope.cancelled_caught
    assert not went_on


async def test_runs_of_a_ledger_in_memory_are_named_when_its_batch_is_left(
    service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    service.default_script = RunScript(duration=10_000)
    with pytest.raises(ZeroDivisionError) as caught:
        async with opened(service, "memory", count=2) as batch:
            await take_until(batch.run(), lambda: service.runs_created == 2)
            raise ZeroDivisionError
    runs = ", ".join(service.runs)
    what = f"batch 'nightly' is left with 2 runs that go on: {runs}; its ledger was in memory"

    assert caught.value.__notes__ == [what]
    assert what in caplog.messages
    (record,) = (record for record in caplog.records if record.getMessage() == what)
    assert vars(record)["run_ids"] == list(service.runs)


@pytest.mark.parametrize("count", [1, 3])
async def test_ended_runs_that_nobody_took_are_named_when_a_batch_in_memory_is_left(
    service: FakeService, caplog: pytest.LogCaptureFixture, count: int
) -> None:
    async with opened(service, "memory", count=count + 1) as batch:
        outcomes = batch.run()
        taken = await anext(outcomes)
        with anyio.fail_after(PATIENCE):
            while (await batch.report()).counts[BatchItemState.DONE] <= count:
                await anyio.sleep(0.01)
    left = [run_id for run_id in service.runs if run_id != taken.run_id]

    (record,) = (record for record in caplog.records if "its ledger was in memory" in record.getMessage())
    whose = "1 run that has ended" if count == 1 else "3 runs that have ended"
    assert f"is left with {whose} and whose outcome nobody took: " in record.getMessage()
    assert sorted(vars(record)["run_ids"]) == sorted(left)


async def test_start_without_an_answer_of_a_ledger_in_memory_is_told_of_when_its_batch_is_left(
    service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    service.faults.add(faults.stall(), operation="runWorker")
    await leave_while_starting(service, "memory", settle_times=SettleTimes(send_window=3.0, post_timeout=20.0))

    assert "1 start without an answer: 'k0'" in caplog.text


async def test_held_start_of_a_ledger_in_memory_is_told_with_its_candidates(
    service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    async with opened(service, "memory", count=1) as batch:
        await finish(batch)

    assert f"1 start without an answer: 'k0' (perhaps {next(iter(service.runs))})" in caplog.text


async def test_a_batch_that_is_over_leaves_nothing_to_tell(
    service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(service, "memory", count=2) as batch:
        await finish(batch)

    assert "in memory" not in caplog.text


async def test_start_queues_that_break_are_one_error_and_the_run_of_each_is_told(
    service: FakeService, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "runs.db"
    workers = [WORKER, service.add_worker("me/one"), service.add_worker("me/two")]

    def destroy(event: events.Event) -> None:
        if isinstance(event, events.RequestSent) and event.operation == "runWorker":
            with closing(sqlite3.connect(path)) as other, other:
                other.execute("DROP TABLE IF EXISTS run")

    async with (
        AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, on_event=destroy) as client,
        client.batch("nightly", ledger=path) as batch,
    ):
        await batch.plan(RunSpec(key=worker, worker_id=worker, input={"keywords": [worker]}) for worker in workers)
        with pytest.raises(LedgerError, match="no such table: run") as caught:
            await finish(batch)

    assert caught.value.run_id in service.runs
    for run_id in service.runs:
        assert f"run {run_id} of item" in caplog.text


async def test_a_budget_that_is_written_while_the_batch_is_closed_leaves_nothing_at_work(
    service: FakeService, tmp_path: Path
) -> None:
    ledger = tmp_path / "runs.db"

    async def take_first(outcomes: AsyncIterator[BatchOutcome]) -> None:
        with pytest.raises((RuntimeError, LedgerError), match=r"not open|closed"):
            await anext(outcomes)

    async with (
        AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client,
        anyio.create_task_group() as group,
    ):
        batch = client.batch("nightly", ledger=ledger)
        async with batch:
            await batch.plan(specs(1))
            other = sqlite3.connect(ledger, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")

            async def release() -> None:
                await anyio.wait_all_tasks_blocked()
                other.execute("ROLLBACK")
                other.close()

            group.start_soon(take_first, batch.run(max_spend=Decimal(5)))
            await anyio.wait_all_tasks_blocked()
            group.start_soon(release)
        async with batch:
            with anyio.fail_after(30):
                outcomes = await finish(batch)

    assert [outcome.state for outcome in outcomes] == [BatchItemState.DONE]


async def test_a_batch_that_could_not_be_opened_again_is_not_open_to_earlier_iterators(
    service: FakeService, tmp_path: Path
) -> None:
    ledger = tmp_path / "runs.db"
    async with AsyncCoreClaw(
        service.api_key, transport=service, clock=service.clock, callbacks=CallbackHub("https://me.test")
    ) as client:
        batch = client.batch("nightly", ledger=ledger)
        async with batch:
            await batch.plan(specs(1))
            outcomes = batch.run()
        with closing(sqlite3.connect(ledger)) as other, other:
            other.execute("ALTER TABLE item RENAME TO gone")
        with pytest.raises(LedgerError):
            await batch.__aenter__()
        with pytest.raises(RuntimeError, match=r"the batch is not open: use it in the block of \(async\) with client"):
            await anext(outcomes)


async def test_what_ends_a_program_in_a_hook_leaves_a_batch_as_it_is(service: FakeService) -> None:
    class EndError(BaseException):
        """An exception that ends a program, as Ctrl-C does."""

    def leave(event: events.Event) -> None:
        if isinstance(event, events.BatchItemChanged) and event.state == "submitted":
            raise EndError

    with pytest.raises(EndError):
        async with opened(service, "memory", count=2, on_event=leave) as batch:
            await finish(batch)
    assert service.runs_created >= 1


async def test_a_wait_that_is_over_but_for_a_rounding_error_ends(service: FakeService, tmp_path: Path) -> None:
    service.faults.add(faults.stall(), operation="runWorker")
    await service.clock.sleep(2**24 + 1 / 3)  # A float of this size cannot represent tiny waits.
    await leave_while_starting(service, str(tmp_path / "runs.db"), settle_times=SettleTimes(post_timeout=0.3))
