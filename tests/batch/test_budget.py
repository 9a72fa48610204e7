"""A batch costs no more than its budget, whichever process starts its runs and whatever the service says."""

from __future__ import annotations

import contextlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest
from batch.batches import finish, opened, specs

from coreclaw_async import AuthenticationError, BatchItemState, BatchOutcome, BatchStoppedError, Progress, events
from coreclaw_async.testing import FakeService, RunScript, faults


def telling(usage: object) -> Any:
    """Return a change of answers that sets the cost of each run to *usage*; ``...`` removes the member."""

    def change(envelope: dict[str, Any]) -> dict[str, Any]:
        data = envelope["data"]
        for run in data.get("list", [data]):
            if usage is ...:
                run.pop("usage", None)
            else:
                run["usage"] = usage
        return envelope

    return change


def tell(service: FakeService, usage: object, *, times: int = 100_000) -> None:
    for operation in ("getWorkerRun", "listWorkerRuns"):
        service.faults.add(faults.edit(telling(usage)), operation=operation, times=times)


@pytest.fixture
def service(service: FakeService) -> FakeService:
    """Runs of one dollar."""
    service.balance = Decimal(10_000)
    service.default_script = RunScript(usage="1", duration=30)
    return service


@pytest.mark.parametrize("usage", [..., None, "", "NaN", "Infinity", "1E+1000000", -5, "0." + "1" * 90, [1]])
async def test_runs_of_unknown_cost_do_not_switch_the_budget_off(service: FakeService, usage: object) -> None:
    tell(service, usage)
    async with opened(service, "memory", count=60, max_spend=Decimal(3)) as batch:
        with pytest.raises(BatchStoppedError, match="does not tell what 1 run has cost") as caught:
            await finish(batch)
        report = await batch.report()

    assert (caught.value.reason, caught.value.left) == ("max_spend", 59)
    assert (report.unknown_costs, report.cost, report.max_spend) == (1, Decimal(0), Decimal(3))
    assert (report.counts[BatchItemState.DONE], service.runs_created) == (1, 1)


async def test_progress_tells_no_cost_while_none_is_known(service: FakeService) -> None:
    tell(service, None)
    told: list[Progress] = []
    async with opened(service, "memory", count=1) as batch:
        async for _ in batch.run(progress=told.append):
            pass

    assert "$" not in told[-1].text


async def test_a_cost_that_the_first_looks_do_not_tell_is_asked_for(service: FakeService) -> None:
    service.faults.add(faults.edit(telling(None)), operation="listWorkerRuns", times=1_000)
    async with opened(service, "memory", count=60, max_spend=Decimal(3)) as batch:
        with pytest.raises(BatchStoppedError):
            await finish(batch)
        report = await batch.report()

    assert (report.cost, report.unknown_costs, service.runs_created) == (Decimal(3), 0, 3)


async def test_a_first_run_that_is_free_does_not_switch_the_budget_off(service: FakeService) -> None:
    service.next_script = RunScript(usage="0", duration=30)
    async with opened(service, "memory", count=60) as batch:
        with pytest.raises(BatchStoppedError):
            await finish(batch, max_spend=Decimal(3))
        report = await batch.report()

    assert (report.cost, service.runs_created) == (Decimal(3), 4)


@pytest.mark.endurance
async def test_the_budget_is_that_of_the_batch_in_each_process(service: FakeService, ledger: str) -> None:
    if ledger == "memory":
        pytest.skip("a ledger in memory has one process")
    stopped: list[str] = []
    outcomes: list[BatchOutcome] = []

    async def process() -> None:
        async with opened(service, ledger) as batch:
            try:
                outcomes.extend(await finish(batch))
            except BatchStoppedError as error:
                stopped.append(error.reason)

    async with opened(service, ledger, count=60, max_spend=Decimal("7.5")) as batch:
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(process)
        report = await batch.report()

    assert set(stopped) == {"max_spend"}
    assert (report.cost, service.runs_created) == (Decimal(7), 7)


@pytest.mark.endurance
async def test_a_budget_counts_what_was_spent_before_it_was_set(service: FakeService, ledger: str) -> None:
    async with opened(service, ledger, count=4) as batch:
        await finish(batch)
        await batch.plan(specs(10, first=4))
        with pytest.raises(BatchStoppedError):
            await finish(batch, max_spend=Decimal(6))
        assert service.runs_created == 6
        with pytest.raises(BatchStoppedError):
            await finish(batch)
        assert service.runs_created == 6
        await finish(batch, max_spend=Decimal(100))
        report = await batch.report()

    assert (report.cost, report.counts[BatchItemState.DONE]) == (Decimal(14), 14)


async def test_a_budget_set_while_runs_go_on_counts_them(service: FakeService, ledger: str) -> None:
    async with opened(service, ledger, count=20) as batch:
        stream = batch.run(max_in_flight=5)
        await anext(stream)
        await batch.plan(specs(1, first=20))
        async for _ in batch.run(max_in_flight=5, max_spend=Decimal(9)):
            break
        with pytest.raises(BatchStoppedError):
            async for _ in stream:
                pass
        report = await batch.report()

    assert (report.cost, service.runs_created) == (Decimal(9), 9)


async def test_costs_are_added_up_exactly(service: FakeService, ledger: str) -> None:
    costs = ["0.1000000000000000001", "0.1000000000000000001", "0.2"]
    async with opened(service, ledger) as batch:
        for number, cost in enumerate(costs):
            service.next_script = RunScript(usage=cost)
            await batch.plan(specs(1, first=number))
            await finish(batch, max_spend=Decimal(5))
        report = await batch.report()
        items = await batch.items().collect()

    assert report.cost == Decimal("0.4000000000000000002")
    assert [str(item.cost) for item in items] == costs


@pytest.mark.endurance
@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("duration", "1e400"), ("duration", float("1e308")), ("finished_at", 1e300), ("finished_at", -1),
        ("results", 2**63), ("results", 2**70), ("results", -7), ("results", "many"), ("err_msg", {"a": 1}),
    ],
)  # fmt: skip
async def test_odd_members_of_a_run_that_has_succeeded_do_not_keep_its_item_open(
    service: FakeService, member: str, value: object, ledger: str
) -> None:
    def change(envelope: dict[str, Any]) -> dict[str, Any]:
        data = envelope["data"]
        for run in data.get("list", [data]):
            run[member] = value
        return envelope

    for operation in ("getWorkerRun", "listWorkerRuns"):
        service.faults.add(faults.edit(change), operation=operation, times=100_000)
    async with opened(service, ledger, count=3) as batch:
        outcomes = await finish(batch)
        report = await batch.report()

    assert [outcome.state for outcome in outcomes] == [BatchItemState.DONE] * 3
    assert report.cost == 3
    assert report.result_count >= 0


async def test_many_large_counts_of_rows_do_not_overflow(service: FakeService, ledger: str) -> None:
    def change(envelope: dict[str, Any]) -> dict[str, Any]:
        data = envelope["data"]
        for run in data.get("list", [data]):
            run["results"] = 2**63 - 1
        return envelope

    for operation in ("getWorkerRun", "listWorkerRuns"):
        service.faults.add(faults.edit(change), operation=operation, times=100_000)
    async with opened(service, ledger, count=3) as batch:
        await finish(batch)
        report = await batch.report()

    assert report.result_count == 3 * (2**63 - 1)


async def test_a_cost_that_is_told_late_is_read_again_and_then_others_start(service: FakeService) -> None:
    tell(service, None, times=20)
    async with opened(service, "memory", count=6) as batch:
        with contextlib.suppress(BatchStoppedError):
            await finish(batch, max_spend=Decimal(50))
        service.faults.clear()
        await finish(batch)
        report = await batch.report()

    assert (report.cost, report.unknown_costs, report.counts[BatchItemState.DONE]) == (Decimal(6), 0, 6)


async def test_a_stop_for_the_budget_names_what_may_still_cost(service: FakeService) -> None:
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    async with opened(service, "memory", count=2, max_spend=Decimal(100), patience=300.0) as batch:
        with pytest.raises(BatchStoppedError, match="1 run of open or held items may come to cost"):
            await finish(batch)


async def test_a_first_run_that_is_cheap_lets_no_crowd_of_dear_ones_start(service: FakeService) -> None:
    service.next_script = RunScript(usage="0.01")
    async with opened(service, "memory", count=200, max_spend=Decimal(3)) as batch:
        with pytest.raises(BatchStoppedError):
            await finish(batch)
        report = await batch.report()

    assert report.cost <= 4


@pytest.mark.parametrize("is_lost", [False, True])
async def test_runs_of_unknown_cost_count_also_when_the_budget_is_set_later(
    service: FakeService, is_lost: bool
) -> None:
    tell(service, None)
    async with opened(service, "memory", count=3, patience=60.0) as batch:
        await finish(batch)
        await batch.plan(specs(3, first=3))
        if is_lost:
            service.faults.clear()
            service.faults.add(faults.error(70001, 404), operation="getWorkerRun", times=1_000)
        with pytest.raises(BatchStoppedError, match="does not tell what 3 runs have cost"):
            await finish(batch, max_spend=Decimal(100))

    assert service.runs_created == 3


@pytest.mark.parametrize("is_key_refused", [False, True])
async def test_a_cost_that_cannot_be_read_is_unknown_unless_nobody_can_read_any_more(
    service: FakeService, is_key_refused: bool
) -> None:
    has_ended = False

    def note(event: events.Event) -> None:
        nonlocal has_ended
        has_ended |= isinstance(event, events.RunChanged) and event.run.is_finished

    service.faults.add(
        faults.error(12002, 401) if is_key_refused else faults.error(16000, 400),
        operation="getWorkerRun",
        times=1_000,
        match=lambda _: has_ended,
    )
    tell(service, None)
    async with opened(service, "memory", count=1, on_event=note) as batch:
        if is_key_refused:
            with pytest.raises(AuthenticationError):
                await finish(batch, max_spend=Decimal(5))
        else:
            (outcome,) = await finish(batch, max_spend=Decimal(5))
            assert outcome.state is BatchItemState.DONE

    assert service.runs_created == 1


@pytest.mark.parametrize("is_for_costs", [False, True])
async def test_a_key_that_is_refused_when_ended_runs_are_read_ends_the_batch(
    service: FakeService, is_for_costs: bool, tmp_path: Path
) -> None:
    tell(service, None)
    async with opened(service, "memory", count=1) as batch:
        await finish(batch)
        service.faults.clear()
        service.faults.add(faults.error(12002, 401), operation="getWorkerRun", times=1_000)
        with pytest.raises(AuthenticationError):
            await finish(batch, **({"max_spend": Decimal(5)} if is_for_costs else {"output": tmp_path}))
