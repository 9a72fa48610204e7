"""`export`, `prune` and `reset_foreign`: what a ledger has, and what it may forget."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path

import anyio
import pytest
from batch.batches import WORKER, finish, opened, specs

from coreclaw_async import (
    AsyncBatch,
    AsyncCoreClaw,
    BatchItemState,
    BatchOutcome,
    CoreClaw,
    ItemOrigin,
    LedgerError,
    RunSpec,
    SettleTimes,
)
from coreclaw_async.batch._store.database import Statement
from coreclaw_async.testing import FakeService, RealClock, RunScript, faults

DAY = 86_400.0


@pytest.fixture
def service() -> FakeService:
    return FakeService(default_script=RunScript(rows=2, duration=1.0))


@pytest.fixture
def kept(ledger: str) -> str:
    if ledger == "memory":
        pytest.skip("it is gone with its batch")
    return ledger


@pytest.mark.endurance
async def test_an_export_has_each_item_with_its_runs(service: FakeService, ledger: str) -> None:
    service.detail_err_msg = True
    service.script_next(RunScript(outcome="failed", error_message="no luck", duration=1.0))
    async with opened(service, ledger, count=3) as batch:
        await finish(batch, max_in_flight=1)
        await batch.rerun()
        await finish(batch)
        records = await batch.export().collect()

    assert [record.item.key for record in records] == ["k0", "k1", "k2"]
    assert [len(record.runs) for record in records] == [2, 1, 1]
    assert [run.state for run in records[0].runs] == [BatchItemState.FAILED, BatchItemState.DONE]
    assert records[0].runs[0].error == "no luck"
    assert records[0].runs[0].how is ItemOrigin.ANSWER
    assert {record.input for record in records} == {None}


async def test_inputs_are_exported_when_they_are_asked_for(service: FakeService, ledger: str) -> None:
    async with opened(service, ledger, count=25) as batch:
        records = await batch.export(with_inputs=True).collect()

    assert [record.input for record in records] == [
        {"parameters": {"custom": {"keywords": [f"k{number}"]}}} for number in range(25)
    ]
    assert "keywords" not in repr(records)
    assert [record.runs for record in records] == [()] * 25


async def test_an_export_of_many_items_comes_in_pages(service: FakeService, ledger: str) -> None:
    async with opened(service, ledger, count=950) as batch:
        keys = [record.item.key async for record in batch.export()]

    assert keys == [f"k{number}" for number in range(950)]


async def test_a_batch_that_has_long_been_finished_is_deleted(service: FakeService, kept: str) -> None:
    async with opened(service, kept, count=3) as batch:
        await finish(batch)
        assert await batch.prune(older_than_days=30) is None
        service.clock.advance(31 * DAY)
        pruned = await batch.prune(older_than_days=30)
        items = await batch.items().collect()

    assert pruned is not None
    assert (pruned.name, pruned.items, pruned.runs) == ("nightly", 3, 3)
    assert 31 * DAY <= service.clock.time() - pruned.finished_at < 32 * DAY
    assert items == []


@pytest.mark.parametrize("state", ["planned", "submitted", "held"])
async def test_a_batch_with_open_items_is_never_deleted(service: FakeService, kept: str, state: str) -> None:
    async with opened(service, kept, count=1, settle_times=SettleTimes()) as batch:
        await finish(batch)
        if state == "held":
            service.faults.add(faults.commit_then_drop(), operation="runWorker")
        await batch.plan(specs(1, first=1))
        if state == "held":
            await finish(batch)
        elif state == "submitted":
            service.default_script = RunScript(duration=90 * DAY)
            stream = batch.run()
            while (await batch.get("k1")).state is not BatchItemState.SUBMITTED:
                with pytest.raises(TimeoutError):
                    await _for_a_moment(stream)
    service.clock.advance(400 * DAY)
    async with opened(service, kept) as batch:
        assert await batch.prune(older_than_days=0) is None
        assert len(await batch.items().collect()) == 2


async def _for_a_moment(stream: AsyncIterator[BatchOutcome]) -> None:
    with anyio.fail_after(0.1):
        async for _ in stream:
            pass


async def test_what_has_no_items_counts_from_its_beginning(service: FakeService, kept: str) -> None:
    async with opened(service, kept) as batch:
        assert await batch.prune(older_than_days=1) is None
        service.clock.advance(2 * DAY)
        assert await batch.prune(older_than_days=1) is not None
        assert await batch.prune(older_than_days=1) is None


async def test_runs_of_a_deleted_batch_are_no_candidates_for_lost_starts(service: FakeService, kept: str) -> None:
    async with opened(service, kept, count=2) as batch:
        await finish(batch)
        assert await batch.prune(older_than_days=0) is not None
    service.faults.add(faults.drop_before_commit(), operation="runWorker")
    async with opened(service, kept, count=1, exclusive=True, settle_times=SettleTimes(skew=600)) as batch:
        (outcome,) = await finish(batch)

    assert (outcome.state, service.runs_created) == ("done", 3)


async def test_control_without_its_ids_a_run_would_be_taken_for_the_lost_start(service: FakeService, kept: str) -> None:
    async with opened(service, kept, count=1) as batch:
        await finish(batch)
        assert await batch.prune(older_than_days=0) is not None
        await batch._batch_context.ledger.database.write(Statement.of("DELETE FROM run"))
    service.faults.add(faults.drop_before_commit(), operation="runWorker")
    async with opened(service, kept, count=1, exclusive=True, settle_times=SettleTimes(skew=600)) as batch:
        (outcome,) = await finish(batch)

    assert service.runs_created == 1 or outcome.state == "ambiguous"


async def test_ids_are_forgotten_after_two_months_unless_an_older_start_is_open(
    service: FakeService, kept: str
) -> None:
    async def known(batch: AsyncBatch) -> int:
        return len(await batch._batch_context.ledger.database.read("SELECT run_id FROM run"))

    async with opened(service, kept, count=2) as batch:
        await finish(batch)
        await batch.prune(older_than_days=0)
        assert await known(batch) == 2
    async with opened(service, kept, count=1) as batch:  # Begun anew, under the same name.
        assert (await batch.report()).runs == 0
        service.faults.add(faults.commit_then_drop(), operation="runWorker")
        (outcome,) = await finish(batch)
        assert outcome.state == "ambiguous"
        service.clock.advance(70 * DAY)
        await batch.plan([*specs(1, first=9)])
        (late,) = await finish(batch)
        assert late.state == "done"
        async with _another(service, kept) as other:
            assert await other.prune(older_than_days=0) is not None
            assert await known(other) == 3
        await batch.resolve("k0", adopt=outcome.candidates[0])
        await finish(batch)
        async with _another(service, kept) as other:
            assert await other.prune(older_than_days=0) is not None
            assert await known(other) == 2


def _another(service: FakeService, ledger: str) -> AsyncBatch:
    client = AsyncCoreClaw(service.api_key, transport=service, clock=service.clock)
    return client.batch("other", ledger=ledger)


async def test_who_still_has_a_deleted_batch_open_plans_nothing_in_it(service: FakeService, kept: str) -> None:
    async with opened(service, kept, count=1) as batch:
        await finish(batch)
        async with opened(service, kept) as second:
            await second.prune(older_than_days=0)
        with pytest.raises(LedgerError, match="'nightly' was pruned while it was open"):
            await batch.plan(specs(1, first=9))
        with pytest.raises(LedgerError, match="was pruned"):
            await batch.pause()
        assert (await batch.report()).total == 0
    async with opened(service, kept, count=1) as batch:
        assert (await batch.report()).total == 1


async def test_an_item_that_may_have_a_run_keeps_its_batch_for_two_months(service: FakeService, kept: str) -> None:
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    async with opened(service, kept, count=1, on_ambiguous="fail") as batch:
        (outcome,) = await finish(batch)
        assert (outcome.state, outcome.run_id) == ("failed", None)
        service.clock.advance(61 * DAY)
        assert await batch.prune(older_than_days=30) is None
        service.clock.advance(2 * DAY)
        assert await batch.prune(older_than_days=30) is not None


async def test_a_batch_whose_plan_is_not_whole_is_never_deleted(service: FakeService, kept: str) -> None:
    def broken() -> Iterator[RunSpec]:
        yield from specs(1)
        raise OSError("gone")

    async with opened(service, kept, count=1) as batch:
        await finish(batch)
        with pytest.raises(OSError, match="gone"):
            await batch.plan(broken())
        assert await batch.prune(older_than_days=0) is None
        await batch.plan(specs(1))
        assert await batch.prune(older_than_days=0) is not None


async def test_a_budget_goes_with_its_batch(service: FakeService, kept: str) -> None:
    async with opened(service, kept, count=1, max_spend=Decimal(5)) as batch:
        await finish(batch)
        await batch.prune(older_than_days=0)
    async with opened(service, kept, count=1) as batch:
        assert (await batch.report()).max_spend is None


@pytest.mark.parametrize("older_than_days", [-1, float("nan"), float("inf"), 40_000])
async def test_days_out_of_range_are_refused(service: FakeService, ledger: str, older_than_days: float) -> None:
    async with opened(service, ledger) as batch:
        with pytest.raises(ValueError, match="older_than_days must be 0 to 36500"):
            await batch.prune(older_than_days=older_than_days)


@pytest.mark.parametrize("older_than_days", ["30", True, None])
async def test_days_of_another_type_are_refused(service: FakeService, ledger: str, older_than_days: object) -> None:
    async with opened(service, ledger) as batch:
        with pytest.raises(TypeError, match="older_than_days must be a number"):
            await batch.prune(older_than_days=older_than_days)  # type: ignore[arg-type]


async def test_a_worker_is_exclusive_again_after_foreign_runs_were_forgotten(service: FakeService, ledger: str) -> None:
    async with opened(service, ledger, count=1, exclusive=True) as batch:
        await finish(batch)
        start_queues = batch._batch_context.ledger.start_queues
        start_queue = await start_queues.find(WORKER.replace("/", "~"))
        assert start_queue is not None
        names = await start_queues.names(start_queue)
        await start_queues.note_foreign(names)
        assert await start_queues.has_foreign(names)

        await batch.reset_foreign(WORKER)

        assert not await start_queues.has_foreign(names)
        with pytest.raises(KeyError, match="me/none"):
            await batch.reset_foreign("me/none")


def test_the_blocking_batch_has_the_same(tmp_path: Path) -> None:
    service = FakeService(clock=RealClock(), default_script=RunScript(rows=1, duration=0.0))
    with (
        CoreClaw(service.api_key, transport=service) as client,
        client.batch("nightly", ledger=f"{tmp_path}/runs.db") as batch,
    ):
        batch.plan(specs(1))
        list(batch.run())
        (record,) = batch.export(with_inputs=True)
        batch.reset_foreign(WORKER)
        pruned = batch.prune(older_than_days=0)

    assert json.loads(json.dumps(record.input)) == {"parameters": {"custom": {"keywords": ["k0"]}}}
    assert pruned is not None
    assert pruned.items == 1
