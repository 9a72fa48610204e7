"""A batch starts each item once, waits for all, and goes on where it was left; the same on each ledger."""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import attrs
import pytest
from batch.batches import WORKER, finish, key_of, opened, runs_by_key, specs, take_until

from coreclaw_async import (
    AsyncCoreClaw,
    AuthenticationError,
    BatchConflictError,
    BatchIncompleteError,
    BatchItemState,
    BatchStoppedError,
    ConfigurationError,
    ItemOrigin,
    LedgerError,
    RequestNotSentError,
    RunSpec,
    SettleTimes,
    events,
)
from coreclaw_async.testing import FakeService, RunScript, faults


def submitted(seen: list[events.Event]) -> int:
    return sum(isinstance(event, events.BatchItemChanged) and event.state == "submitted" for event in seen)


async def test_every_item_is_started_once_and_comes_to_its_end(service: FakeService, ledger: str) -> None:
    async with opened(service, ledger, count=20) as batch:
        outcomes = await finish(batch)
        report = await batch.report()

    assert {outcome.key for outcome in outcomes} == {f"k{number}" for number in range(20)}
    assert {outcome.state for outcome in outcomes} == {BatchItemState.DONE}
    assert all(outcome.run_id and key_of(service, outcome.run_id) == outcome.key for outcome in outcomes)
    assert set(runs_by_key(service).values()) == {1}
    assert (report.total, report.counts[BatchItemState.DONE], report.runs, report.result_count) == (20, 20, 20, 60)
    assert report.cost == sum((run.usage for run in service.runs.values()), Decimal(0))
    assert report.is_finished
    assert report.requests == len(service.requests)


async def test_runs_that_succeed_without_a_row_are_counted(service: FakeService, ledger: str) -> None:
    for script in (RunScript(rows=0), RunScript(rows=0, outcome="failed"), RunScript(rows=2)):
        service.script_next(script)
    async with opened(service, ledger, count=3) as batch:
        [outcome async for outcome in batch.run()]
        totals = (await batch.report()).by_worker[WORKER]

    assert (totals.done, totals.failed, totals.empty) == (2, 1, 1)


async def test_a_second_run_finds_nothing_to_do(service: FakeService, ledger: str) -> None:
    async with opened(service, ledger, count=3) as batch:
        await finish(batch)
        assert await batch.plan(specs(3)) == 0
        assert await finish(batch) == []

    assert service.runs_created == 3


async def test_a_plan_may_be_made_again_and_added_to(service: FakeService, ledger: str) -> None:
    async with opened(service, ledger) as batch:
        assert await batch.plan(specs(3)) == 3
        assert await batch.plan(specs(2_500)) == 2_497
        assert await batch.plan([*specs(2), *specs(2)]) == 0
        report = await batch.report()
        last = await batch.get("k2499")

    assert report.counts[BatchItemState.PLANNED] == 2_500
    assert not report.is_finished
    assert (last.position, last.state, last.attempt) == (2_499, "planned", 0)


async def test_a_plan_may_come_by_and_by(service: FakeService) -> None:
    async def coming() -> AsyncIterator[RunSpec]:
        for spec in specs(5):
            await service.clock.sleep(60)
            yield spec

    async with opened(service, "memory") as batch:
        assert await batch.plan(coming()) == 5


@pytest.mark.parametrize(
    "other",
    [
        RunSpec(key="k1", worker_id=WORKER, input={"keywords": ["other"]}),
        RunSpec(key="k1", worker_id="another/worker", input={"keywords": ["k1"]}),
        RunSpec(key="k1", worker_id=WORKER, input={"keywords": ["k1"]}, version="v1.2.8"),
        RunSpec(key="k1", worker_id=WORKER, input={"keywords": ["k1"]}, system={"proxy_region": "US"}),
    ],
)
async def test_the_same_key_with_another_input_is_a_conflict(service: FakeService, ledger: str, other: RunSpec) -> None:
    async with opened(service, ledger, count=3) as batch:
        with pytest.raises(BatchConflictError, match="key 'k1' of batch 'nightly'") as caught:
            await batch.plan([RunSpec(key="new", worker_id=WORKER, input={}), other])
        report = await batch.report()
        planned = await batch.get("k1")

    assert caught.value.planned == planned.input_sha256 != caught.value.given
    assert report.total == 3


async def test_one_plan_with_two_inputs_for_a_key_is_a_conflict(service: FakeService) -> None:
    async with opened(service, "memory") as batch:
        with pytest.raises(BatchConflictError, match="'k0' occurs twice"):
            await batch.plan([*specs(1), RunSpec(key="k0", worker_id=WORKER, input={})])


async def test_the_order_of_members_makes_no_other_input(service: FakeService) -> None:
    async with opened(service, "memory") as batch:
        for given in ({"a": 1, "b": [2]}, {"b": [2], "a": 1}):
            await batch.plan([RunSpec(key="k", worker_id=WORKER, input=given)])
        assert (await batch.report()).total == 1


@pytest.mark.parametrize(
    ("spec", "error", "words"),
    [
        ("k1", TypeError, "specs must be RunSpec, not str"),
        (RunSpec(key="", worker_id="w", input={}), ValueError, "key must be printable and have 1 to 500 characters"),
        (RunSpec(key="a\nb", worker_id="w", input={}), ValueError, "key must be printable"),
        (RunSpec(key=5, worker_id="w", input={}), TypeError, "key must be a str, not 5"),  # type: ignore[arg-type]
        (RunSpec(key="k", worker_id="a b", input={}), ValueError, "the spec with key 'k' cannot be planned: worker_id"),
        (RunSpec(key="k", worker_id="w", input={"x": float("nan")}), ValueError, "with key 'k' cannot be planned"),
        (RunSpec(key="k", worker_id="w", input={"x": object()}), TypeError, "with key 'k' cannot be planned: input.x "),
        (
            RunSpec(key="k", worker_id="w", input={"x": {1: 1, "1": 2}}),
            TypeError,
            "planned: input.x cannot .* its key 1 ",
        ),
        (RunSpec(key="k", worker_id="w", input={"x": ["\ud83d"]}), ValueError, r"planned: input.x\[0\] cannot"),
        (RunSpec(key="k", worker_id="w", input={}, system={"x": {1}}), TypeError, "planned: system.x cannot"),
        (RunSpec(key="k", worker_id="w", input={}, version=""), ValueError, "version must not be empty"),
    ],
)
async def test_what_cannot_be_started_cannot_be_planned(
    service: FakeService, spec: RunSpec, error: type[Exception], words: str
) -> None:
    async with opened(service, "memory") as batch:
        with pytest.raises(error, match=words):
            await batch.plan([spec])

    assert not service.requests


def test_inputs_are_in_no_repr() -> None:
    assert "hush" not in repr(RunSpec(key="k", worker_id="w", input={"password": "hush"}, system={"a": "hush"}))


async def test_a_refused_input_is_rejected_and_the_others_go_on(service: FakeService, ledger: str) -> None:
    async with opened(service, ledger, count=2) as batch:
        await batch.plan([RunSpec(key="bad", worker_id=WORKER, input={"keywords": 5})])
        outcomes = {outcome.key: outcome for outcome in await finish(batch)}
        item = await batch.get("bad")

    assert outcomes["bad"].state == BatchItemState.REJECTED == item.state
    assert "11000" in (outcomes["bad"].error or "")
    assert [outcomes[key].state for key in ("k0", "k1")] == ["done", "done"]
    assert service.runs_created == 2


async def test_a_failed_item_runs_again_and_keeps_its_history(service: FakeService, ledger: str) -> None:
    service.detail_err_msg = True
    service.next_script = RunScript(outcome="failed", error_message="blocked", rows=2)
    async with opened(service, ledger, count=2) as batch:
        outcomes = {outcome.key: outcome for outcome in await finish(batch)}
        assert (outcomes["k0"].state, outcomes["k0"].error) == ("failed", "blocked")
        assert await batch.rerun() == 1
        (again,) = await finish(batch)
        first, second = await batch.history("k0")
        report = await batch.report()

    assert (again.key, again.state, again.attempt) == ("k0", "done", 2)
    assert (first.state, first.error, first.attempt, first.result_count) == ("failed", "blocked", 1, 2)
    assert (second.state, second.how, second.run_id) == ("done", ItemOrigin.ANSWER, again.run_id)
    assert (report.runs, report.cost) == (3, Decimal("0.008"))


async def test_items_are_run_again_by_key(service: FakeService) -> None:
    async with opened(service, "memory", count=2) as batch:
        await batch.plan([RunSpec(key="bad", worker_id=WORKER, input={"keywords": 5})])
        await finish(batch)
        assert await batch.rerun(["bad"]) == 1
        with pytest.raises(
            ValueError, match="item 'k0' is done, and only failed, rejected or cancelled items can be run again"
        ):
            await batch.rerun(["k0"])
        with pytest.raises(KeyError):
            await batch.rerun(["none"])


async def test_another_process_goes_on_where_one_has_stopped(service: FakeService, tmp_path: Path) -> None:
    ledger = f"sqlite:///{tmp_path / 'runs.db'}"
    async with opened(service, ledger, count=30) as batch:
        async for outcome in batch.run(max_in_flight=5):
            assert outcome.state is BatchItemState.DONE
            break
    started = service.runs_created
    assert started < 30
    async with opened(service, ledger) as batch:
        rest = await finish(batch)
        report = await batch.report()

    assert len(rest) >= 24
    assert report.counts[BatchItemState.DONE] == 30
    assert set(runs_by_key(service).values()) == {1}


@pytest.mark.endurance
async def test_runs_that_were_started_before_count_as_in_flight(service: FakeService, tmp_path: Path) -> None:
    ledger = f"sqlite:///{tmp_path / 'runs.db'}"
    service.default_script = RunScript(duration=600)
    seen: list[events.Event] = []
    async with opened(service, ledger, count=4, on_event=seen.append) as batch:
        await take_until(batch.run(max_in_flight=2), lambda: submitted(seen) == 2)
    assert service.runs_created == 2
    async with opened(service, ledger) as batch:
        await finish(batch, max_in_flight=2)

    ends = sorted(run.created_at for run in service.runs.values())
    assert ends[2] - ends[1] >= 500


async def test_what_is_planned_meanwhile_is_started_too(service: FakeService) -> None:
    async with opened(service, "memory", count=2) as batch:
        stream = batch.run()
        keys = [(await anext(stream)).key]
        await batch.plan(specs(2, first=2))
        keys += [outcome.key async for outcome in stream]

    assert sorted(keys) in (["k0", "k1"], ["k0", "k1", "k2", "k3"])


async def test_a_second_iterator_goes_on_with_what_the_first_has_begun(service: FakeService) -> None:
    service.default_script = RunScript(duration=100)
    async with opened(service, "memory", count=4) as batch:
        async for first in batch.run(max_in_flight=2):  # noqa: B007 - it is used below
            break
        rest = await finish(batch, max_in_flight=2)
        assert {first.key, *(outcome.key for outcome in rest)} == {"k0", "k1", "k2", "k3"}
        assert await finish(batch) == []

    assert set(runs_by_key(service).values()) == {1}


async def test_what_nobody_has_taken_comes_first_from_the_next_iterator(service: FakeService) -> None:
    async with opened(service, "memory", count=4) as batch:
        async for first in batch.run():  # noqa: B007 - it is used below
            break
        await service.clock.sleep(1_000)
        await batch.plan(specs(1, first=4))
        rest = await finish(batch)

    assert [first.key, *(outcome.key for outcome in rest)][-1] == "k4"
    assert len(rest) == 4


async def test_a_batch_runs_in_one_way_at_a_time(service: FakeService) -> None:
    async with opened(service, "memory", count=2) as batch:
        unused, stream = batch.run(max_in_flight=1), batch.run()
        await anext(stream)
        with pytest.raises(RuntimeError, match="running already, with other arguments"):
            batch.run(max_in_flight=1)
        with pytest.raises(RuntimeError, match="running already, with other arguments"):
            await anext(unused)


@pytest.mark.endurance
async def test_the_plans_limit_is_found_out_with_few_wasted_starts(service: FakeService) -> None:
    service.plan_limit = 3
    service.rate_limit, service.rate_burst = 50, 50
    service.default_script = RunScript(duration=107)
    service.balance = Decimal(1000)
    async with opened(service, "memory", count=60) as batch:
        outcomes = await finish(batch)
        report = await batch.report()

    assert len(outcomes) == 60
    assert set(runs_by_key(service).values()) == {1}
    assert report.in_flight_limit == 3
    assert report.wasted < 10
    # A slot is free only until the batch sees that its run has ended.
    assert service.clock.monotonic() < 60 / 3 * (107 + 17)


async def test_a_limit_of_the_rate_slows_the_batch_and_nothing_else(service: FakeService) -> None:
    service.rate_limit, service.rate_burst = 2, 4
    service.default_script = RunScript(duration=300)
    async with opened(service, "memory", count=30) as batch:
        outcomes = await finish(batch)
        report = await batch.report()

    assert {outcome.state for outcome in outcomes} == {BatchItemState.DONE}
    assert set(runs_by_key(service).values()) == {1}
    assert report.wasted < 15


@pytest.mark.endurance
async def test_without_balance_nothing_more_is_started_and_the_rest_is_left(service: FakeService, ledger: str) -> None:
    service.balance = Decimal("0.02")
    service.price_per_row = Decimal("0.002")
    async with opened(service, ledger, count=20) as batch:
        outcomes = []
        with pytest.raises(BatchStoppedError, match="balance does not cover another run: ") as caught:
            async for outcome in batch.run(max_in_flight=1):
                outcomes.append(outcome)
        report = await batch.report()
        service.balance = Decimal(100)
        rest = await finish(batch)

    assert caught.value.reason == "balance"
    assert caught.value.left == report.counts[BatchItemState.PLANNED] == 20 - len(outcomes)
    assert caught.value.spent == report.cost
    assert caught.value.balance is not None
    assert len(rest) == 20 - len(outcomes)
    assert set(runs_by_key(service).values()) == {1}


async def test_a_balance_that_cannot_be_read_is_not_made_up(service: FakeService) -> None:
    service.balance = Decimal(0)
    service.faults.add(faults.status(500), operation="getAccount", times=99)
    async with opened(service, "memory", count=1) as batch:
        with pytest.raises(BatchStoppedError, match="another run; 1 item is left") as caught:
            await finish(batch)

    assert caught.value.balance is None


async def test_a_budget_ends_the_batch(service: FakeService, ledger: str) -> None:
    service.price_per_row = Decimal("0.10")
    async with opened(service, ledger, count=20) as batch:
        with pytest.raises(
            BatchStoppedError, match="budget of 1 US dollars does not cover another run; 17 items"
        ) as caught:
            await finish(batch, max_spend=Decimal(1))
        report = await batch.report()
        with pytest.raises(BatchStoppedError):
            await finish(batch, max_spend=Decimal(1))

    assert (caught.value.reason, caught.value.left) == ("max_spend", 17)
    assert report.cost == Decimal("0.90")
    assert service.runs_created == 3


async def test_a_key_that_is_refused_ends_the_batch_and_rejects_nothing(service: FakeService) -> None:
    async with opened(service, "memory", count=3) as batch:
        service.api_key = "another"
        with pytest.raises(AuthenticationError):
            await finish(batch)
        service.api_key = "test-key"
        service.faults.add(faults.error(12002, 401), operation="runWorker")
        with pytest.raises(AuthenticationError):
            await finish(batch)
        assert (await batch.report()).counts[BatchItemState.PLANNED] == 3
        assert len(await finish(batch)) == 3


async def test_a_key_that_is_refused_while_waiting_ends_the_batch(service: FakeService) -> None:
    async with opened(service, "memory", count=1) as batch:
        service.faults.add(faults.error(12002, 401), operation="getWorkerRun")
        with pytest.raises(AuthenticationError):
            await finish(batch)
        (outcome,) = await finish(batch)

    assert (outcome.state, service.runs_created) == ("done", 1)


async def test_a_service_that_cannot_be_reached_is_tried_again_and_then_told(service: FakeService) -> None:
    async with opened(service, "memory", count=2) as batch:
        service.faults.add(faults.refuse_connection(), operation="runWorker", times=3)
        assert len(await finish(batch)) == 2
        await batch.plan(specs(1, first=5))
        service.faults.add(faults.refuse_connection(), operation="runWorker", times=99)
        with pytest.raises(RequestNotSentError):
            await finish(batch)
        service.faults.clear()
        assert len(await finish(batch)) == 1

    assert set(runs_by_key(service).values()) == {1}


async def test_rows_are_in_their_files_before_an_item_is_done(service: FakeService, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    states: list[bool] = []

    def note(event: events.Event) -> None:
        if isinstance(event, events.BatchItemChanged) and event.state == "done":
            states.append((folder / f"part-{event.run_id}.jsonl").exists())

    service.script_next(RunScript(rows=250))
    service.script_next(RunScript(rows=0))
    service.script_next(RunScript(rows=[{"text": "caf\u00e9"}]))
    service.script_next(RunScript(rows=4, outcome="failed"))
    service.script_next(RunScript(rows=0, outcome="failed"))
    async with opened(service, "memory", count=5, on_event=note) as batch:
        outcomes = {outcome.key: outcome for outcome in await finish(batch, output=folder)}

    assert states == [True] * 3
    counts = []
    for key in ("k0", "k1", "k2", "k3"):
        path = outcomes[key].path
        assert path == folder / f"part-{outcomes[key].run_id}.jsonl"
        assert path is not None
        counts.append(len([json.loads(line) for line in path.read_text("utf-8").splitlines()]))
    assert counts == [250, 0, 1, 4]
    assert outcomes["k4"].path is None
    assert len(list(folder.glob("part-*"))) == 4


async def test_rows_that_cannot_be_read_are_tried_again(service: FakeService, tmp_path: Path) -> None:
    service.faults.add(faults.status(500), operation="listWorkerRunResults", times=8)
    async with opened(service, "memory", count=1) as batch:
        (outcome,) = await finish(batch, output=tmp_path)

    assert outcome.state is BatchItemState.DONE


@pytest.mark.endurance
async def test_rows_that_cannot_be_read_at_all_leave_the_item_for_the_next_time(
    service: FakeService, ledger: str, tmp_path: Path
) -> None:
    async with opened(service, ledger, count=2) as batch:
        service.faults.add(faults.status(500), operation="listWorkerRunResults", times=100_000)
        outcomes = []
        with pytest.raises(
            BatchIncompleteError, match=r"not complete: 2 submitted; 'k[01]': its rows could not"
        ) as caught:
            async for outcome in batch.run(output=tmp_path):
                outcomes.append(outcome)
        assert caught.value.counts == {"submitted": 2}
        assert set(caught.value.reasons) == {"k0", "k1"}
        assert [outcome.state for outcome in outcomes] == [BatchItemState.SUBMITTED] * 2
        assert all("rows could not be read" in (outcome.error or "") for outcome in outcomes)
        assert not list(tmp_path.glob("part-*"))
        service.faults.clear()
        outcomes = await finish(batch, output=tmp_path)

    assert [outcome.state for outcome in outcomes] == [BatchItemState.DONE] * 2
    assert len(list(tmp_path.glob("part-*.jsonl"))) == 2
    assert service.runs_created == 2


async def test_a_key_that_is_refused_for_rows_ends_the_batch(service: FakeService, tmp_path: Path) -> None:
    service.faults.add(faults.error(12002, 401), operation="listWorkerRunResults")
    async with opened(service, "memory", count=1) as batch:
        with pytest.raises(AuthenticationError):
            await finish(batch, output=tmp_path)


async def test_a_folder_that_cannot_be_made_is_an_error_before_anything_is_paid_for(
    service: FakeService, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    async with opened(service, "memory", count=1) as batch:
        with pytest.raises(OSError, match="file"):
            await finish(batch, output=tmp_path / "file" / "folder")

    assert service.runs_created == 0


async def test_a_file_that_cannot_be_written_ends_the_batch_and_loses_no_run(
    service: FakeService, ledger: str, tmp_path: Path
) -> None:
    folder = tmp_path / "out"

    def block(event: events.Event) -> None:
        if isinstance(event, events.BatchItemChanged) and event.state == "submitted":
            (folder / f"part-{event.run_id}.jsonl").mkdir()

    async with opened(service, ledger, count=1, on_event=block) as batch:
        with pytest.raises(OSError, match=r"part-.*\.jsonl"):
            await finish(batch, output=folder)
        item = await batch.get("k0")
        assert item.state is BatchItemState.SUBMITTED
        assert len(list(folder.glob("part-*"))) == 1
        (folder / f"part-{item.run_id}.jsonl").rmdir()
        (outcome,) = await finish(batch, output=folder)

    assert (outcome.run_id, outcome.state) == (item.run_id, "done")
    assert service.runs_created == 1


async def test_a_run_that_cannot_be_read_has_not_failed(service: FakeService) -> None:
    service.next_script = RunScript(hidden_for=200, duration=100)
    async with opened(service, "memory", count=1) as batch:
        outcomes = []
        with pytest.raises(BatchIncompleteError, match="1 submitted; 'k0': its run cannot be read"):
            async for outcome in batch.run():
                outcomes.append(outcome)
        (outcome,) = outcomes
        assert (outcome.state, await batch.rerun()) == (BatchItemState.SUBMITTED, 0)
        await service.clock.sleep(200)
        (again,) = await finish(batch)

    assert (again.state, again.run_id) == (BatchItemState.DONE, outcome.run_id)
    assert service.runs_created == 1


async def test_a_run_that_stays_aborting_is_failed(service: FakeService) -> None:
    service.next_script = RunScript(statuses=[(0, "running"), (5, "aborting")])
    async with opened(service, "memory", count=1) as batch:
        (outcome,) = await finish(batch)

    assert (outcome.state, outcome.error) == (
        BatchItemState.FAILED,
        "its run is still aborting, and may not have ended",
    )


async def test_what_is_cancelled_is_not_started_and_comes_back_by_key(service: FakeService, ledger: str) -> None:
    service.default_script = RunScript(duration=100)
    async with opened(service, ledger, count=10) as batch:
        stream = batch.run(max_in_flight=2)
        first = await anext(stream)
        cancelled = await batch.cancel()
        outcomes = [first, *[outcome async for outcome in stream]]
        report, runs = await batch.report(), service.runs_created
        assert await batch.rerun(["k9"]) == 1
        again = await finish(batch)

    taken_out = report.counts[BatchItemState.CANCELLED]
    assert taken_out - cancelled in {0, 1}, "a start that is about to be sent does not count, and is not sent any more"
    assert (report.counts[BatchItemState.DONE], report.total) == (runs, runs + taken_out)
    assert sum(outcome.state is BatchItemState.DONE for outcome in outcomes) == runs
    assert [outcome.key for outcome in again] == ["k9"]


async def test_runs_are_aborted_with_the_batch(service: FakeService) -> None:
    service.default_script = RunScript(duration=10_000)
    seen: list[events.Event] = []
    async with opened(service, "memory", count=3, on_event=seen.append) as batch:
        stream = batch.run()
        await take_until(stream, lambda: submitted(seen) == 3)
        service.finish(next(iter(service.runs)))
        assert await batch.cancel(abort=True) == 0
        outcomes = [outcome async for outcome in stream]

    assert sorted(outcome.state for outcome in outcomes) == ["done", "failed", "failed"]


async def test_a_batch_belongs_to_one_account(service: FakeService, tmp_path: Path) -> None:
    ledger = tmp_path / "runs.db"
    async with opened(service, str(ledger), count=1):
        pass
    async with AsyncCoreClaw("another-key", transport=service, clock=service.clock) as client:
        other = client.batch("nightly", ledger=ledger)
        with pytest.raises(LedgerError, match=hashlib.sha256(b"test-key").hexdigest()[:16]):
            await other.__aenter__()
        async with client.batch("another", ledger=ledger) as batch:
            assert (await batch.report()).total == 0

    assert b"test-key" not in ledger.read_bytes()


async def test_a_batch_needs_a_key(service: FakeService) -> None:
    async with AsyncCoreClaw(transport=service) as client:
        with pytest.raises(ConfigurationError, match="a batch needs an API key"):
            await client.batch("x", ledger="memory").__aenter__()


async def test_a_batch_is_used_within_its_block(service: FakeService) -> None:
    async with AsyncCoreClaw("key", transport=service) as client:
        batch = client.batch("x", ledger="memory")
        with pytest.raises(RuntimeError, match=r"the batch is not open: use it in the block of \(async\) with client"):
            await batch.report()
        async with batch:
            with pytest.raises(RuntimeError, match="open already"):
                await batch.__aenter__()
            stream = batch.run()
        with pytest.raises(RuntimeError, match=r"the batch is not open: use it in the block of \(async\) with client"):
            await anext(stream)

    assert repr(batch) == "AsyncBatch('x', ledger='memory')"
    assert batch.name == "x"


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"max_in_flight": 0}, ValueError, "max_in_flight must be 1 or more, not 0"),
        ({"max_spend": 1.5}, TypeError, "max_spend must be a Decimal, not float"),
        ({"max_spend": Decimal(0)}, ValueError, "max_spend must be a finite amount above 0, not 0"),
        ({"max_spend": Decimal("nan")}, ValueError, "max_spend must be a finite amount above 0, not NaN"),
        ({"width": 9}, ValueError, "width must be 1 to 8, not 9"),
        ({"width": 2}, ValueError, "width must be 1 without a CallbackHub, not 2"),
    ],
)
async def test_bad_options_of_a_run_are_named(
    service: FakeService, options: dict[str, object], error: type[Exception], words: str
) -> None:
    async with opened(service, "memory") as batch:
        with pytest.raises(error, match=words):
            batch.run(**options)  # type: ignore[arg-type]


def test_bad_options_of_a_batch_are_named(service: FakeService) -> None:
    client = AsyncCoreClaw("key", transport=service)
    with pytest.raises(ValueError, match="on_ambiguous must be one of hold, fail, resubmit, not 'guess'"):
        client.batch("x", ledger="memory", on_ambiguous="guess")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="settle_times must be SettleTimes, not int"):
        client.batch("x", ledger="memory", settle_times=5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="key must be printable"):
        client.batch("", ledger="memory")
    with pytest.raises(ValueError, match="list_lag must be a finite number of seconds from 0, not -1"):
        SettleTimes(list_lag=-1)
    with pytest.raises(ValueError, match="send_window must be a finite number of seconds above 0, not 0"):
        SettleTimes(send_window=0)


async def test_two_names_of_a_worker_are_one_start_queue(service: FakeService) -> None:
    slug = service.add_worker("me/mine")
    foreign = service.add_worker("else/mine", owned=False, in_store=False)
    async with opened(service, "memory") as batch:
        await batch.plan([*specs(2, "me/mine"), *specs(2, slug, first=2), *specs(1, WORKER, first=4)])
        await batch.plan([*specs(1, "else/mine", first=5), *specs(1, foreign, first=6)])
        outcomes = await finish(batch)
        start_queues = await batch._batch_context.ledger.database.read(
            "SELECT worker_id, slug FROM lane ORDER BY worker_id"
        )

    assert len(outcomes) == 7
    slugs = {name: found for name, found in start_queues}  # noqa: C416 - rows of any kind
    assert slugs["me~mine"] == slug
    assert "else~mine" not in slugs, "no list has it, and a guess is not written down"


async def test_every_step_of_an_item_is_an_event(service: FakeService) -> None:
    seen: list[tuple[str, str, int]] = []

    def note(event: events.Event) -> None:
        if isinstance(event, events.BatchItemChanged):
            seen.append((event.previous, event.state, event.attempt))

    async with opened(service, "memory", count=1, on_event=note) as batch:
        await finish(batch)

    assert seen == [("planned", "intent", 1), ("intent", "submitted", 1), ("submitted", "done", 1)]


async def test_a_batch_leaks_no_key(service: FakeService, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    service.api_key = "sk-very-secret"
    caplog.set_level(logging.DEBUG)
    async with opened(service, f"sqlite:///{tmp_path / 'runs.db'}", count=3) as batch:
        outcomes = await finish(batch, output=tmp_path / "rows")
        shown = [repr(batch), repr(outcomes), repr(await batch.report()), repr(await batch.get("k0"))]

    assert "sk-very-secret" not in caplog.text + "".join(shown)
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or b"sk-very-secret" not in file.read_bytes()


@pytest.mark.endurance
async def test_ten_thousand_items_hold_little_memory_and_none_is_started_ahead(service: FakeService) -> None:
    service.default_script = RunScript(duration=50, rows=0)
    service.balance = Decimal(10**6)
    async with opened(service, "memory") as batch:
        await batch.plan(specs(10_000))
        stream = batch.run(max_in_flight=20)
        for _ in range(40):
            await anext(stream)
        assert service.runs_created <= 40 + 20 + 20


async def test_a_plan_that_bears_many_runs_is_found_out_too(service: FakeService) -> None:
    service.plan_limit = 25
    service.default_script = RunScript(duration=300, rows=0)
    async with opened(service, "memory", count=80) as batch:
        await finish(batch)
        report = await batch.report()

    assert set(runs_by_key(service).values()) == {1}
    assert report.wasted < 25


async def test_an_item_that_another_process_has_taken_meanwhile_is_left_to_it(
    service: FakeService, tmp_path: Path
) -> None:
    path = tmp_path / "runs.db"

    def take(event: events.Event) -> None:
        if isinstance(event, events.BatchItemChanged) and (event.key, event.state) == ("k0", "submitted"):
            with closing(sqlite3.connect(path)) as other, other:
                other.execute("UPDATE item SET state = 'cancelled' WHERE key IN ('k1', 'k2')")

    async with opened(service, str(path), count=5, on_event=take) as batch:
        outcomes = await finish(batch)

    assert {outcome.key for outcome in outcomes} == {"k0", "k3", "k4"}
    assert set(runs_by_key(service).values()) == {1}


async def test_a_run_that_another_process_has_brought_to_its_end_is_told_as_the_ledger_has_it(
    service: FakeService, tmp_path: Path
) -> None:
    path = tmp_path / "runs.db"

    def end(event: events.Event) -> None:
        if isinstance(event, events.RunChanged) and event.run.is_finished:
            with closing(sqlite3.connect(path)) as other, other:
                other.execute("UPDATE item SET state = 'done' WHERE key = 'k0'")

    async with opened(service, str(path), count=1, on_event=end) as batch:
        (outcome,) = await finish(batch)

    assert (outcome.key, outcome.state) == ("k0", BatchItemState.DONE)


@attrs.define
class BreakingLedger:
    """A ledger that loses a table when a start has been sent, until it is mended."""

    path: Path
    is_mended: bool = False

    def note(self, event: events.Event) -> None:
        if not self.is_mended and isinstance(event, events.RequestSent) and event.operation == "runWorker":
            self._run("ALTER TABLE run RENAME TO elsewhere")

    def mend(self) -> None:
        self.is_mended = True
        self._run("ALTER TABLE elsewhere RENAME TO run")

    def _run(self, sql: str) -> None:
        with closing(sqlite3.connect(self.path)) as other, other:
            other.execute(sql)


async def test_a_ledger_that_breaks_after_a_start_says_which_run_it_was(service: FakeService, tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    ledger = BreakingLedger(path)
    async with opened(service, str(path), count=3, on_event=ledger.note) as batch:
        with pytest.raises(LedgerError, match="no such table: run") as caught:
            await finish(batch)
        item = await batch.get("k0")

        assert item.state is BatchItemState.INTENT
        assert caught.value.run_id in service.runs
        assert service.runs_created == 1
        ledger.mend()
        outcomes = {outcome.key: outcome for outcome in await finish(batch)}

    assert (outcomes["k0"].state, outcomes["k0"].run_id) == ("done", caught.value.run_id)
    assert set(runs_by_key(service).values()) == {1}


async def test_what_one_batch_was_told_is_not_taken_for_another_ones(service: FakeService, tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    ledger = BreakingLedger(path)
    async with (
        AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client,
        client.batch("another", ledger=path) as another,
        client.with_options(on_event=ledger.note).batch("nightly", ledger=path) as nightly,
    ):
        for batch in (another, nightly):
            await batch.plan(specs(1))
        with pytest.raises(LedgerError):
            await finish(nightly)
        ledger.mend()
        with closing(sqlite3.connect(path)) as other, other:
            # As if the other batch's process had died before it sent the start.
            other.execute(
                "UPDATE item SET state = 'intent', attempt = 1, intent_at = ? WHERE batch = 'another'",
                (service.clock.time(),),
            )
        (outcome,) = await finish(nightly)
        item = await another.get("k0")

    assert (outcome.state, outcome.run_id) == ("done", next(iter(service.runs)))
    assert (item.state, item.run_id) == ("planned", None)


async def test_what_only_a_lost_process_was_told_is_a_candidate_also_for_the_same_client(
    service: FakeService, tmp_path: Path
) -> None:
    path = tmp_path / "runs.db"
    ledger = BreakingLedger(path)
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        async with client.with_options(on_event=ledger.note).batch("nightly", ledger=path) as batch:
            await batch.plan(specs(1))
            with pytest.raises(LedgerError):
                await finish(batch)
        ledger.mend()
        async with client.batch("nightly", ledger=path) as batch:
            (outcome,) = await finish(batch)

    assert (outcome.state, list(outcome.candidates)) == ("ambiguous", list(service.runs))
    assert service.runs_created == 1


async def test_a_start_queue_that_cannot_be_locked_is_an_error_before_anything_is_sent(
    service: FakeService, tmp_path: Path
) -> None:
    path = tmp_path / "runs.db"
    async with opened(service, str(path), count=1) as batch:
        await finish(batch)
        (lock,) = (tmp_path / "runs.db-lanes").iterdir()
        lock.write_text("not a lock" * 100)
        await batch.plan(specs(1, first=1))
        with pytest.raises(LedgerError, match="file is not a database"):
            await finish(batch)

    assert service.runs_created == 1


async def test_what_was_never_run_can_be_cancelled(service: FakeService) -> None:
    async with opened(service, "memory", count=3) as batch:
        assert await batch.cancel() == 3
        assert await finish(batch) == []

    assert not service.runs


async def test_a_machine_that_stands_still_between_intent_and_start_sends_nothing(service: FakeService) -> None:
    def stand_still(event: events.Event) -> None:
        if isinstance(event, events.BatchItemChanged) and (event.state, event.attempt) == ("intent", 1):
            service.clock.advance(6.0)

    async with opened(service, "memory", count=1, on_event=stand_still) as batch:
        (outcome,) = await finish(batch)

    assert (outcome.attempt, service.runs_created) == (2, 1)


async def test_a_ledger_that_breaks_before_a_start_has_nothing_sent(service: FakeService, tmp_path: Path) -> None:
    path = tmp_path / "runs.db"

    def destroy(event: events.Event) -> None:
        if isinstance(event, events.BatchItemChanged) and event.state == "submitted":
            with closing(sqlite3.connect(path)) as other, other:
                other.execute("CREATE TRIGGER no BEFORE UPDATE ON item BEGIN SELECT RAISE(ROLLBACK, 'no disk'); END")

    async with opened(service, str(path), count=3, on_event=destroy) as batch:
        with pytest.raises(LedgerError):
            await finish(batch)

    assert service.runs_created == 1


async def test_whatever_the_service_says_of_a_run_can_be_written_down(service: FakeService, ledger: str) -> None:
    service.balance = Decimal("1e30")
    service.detail_err_msg = True
    service.next_script = RunScript(outcome="failed", error_message="a\x00b\u2028" + "x" * 10_000, usage="1e25")
    async with opened(service, ledger, count=2) as batch:
        outcomes = {outcome.key: outcome for outcome in await finish(batch)}
        item = await batch.get("k0")

    assert (outcomes["k0"].state, outcomes["k1"].state) == ("failed", "done")
    assert item.error is not None
    assert item.error.startswith(r"a\x00b\u2028x")
    assert len(item.error) == 2_000


async def test_a_ledger_has_its_start_queues_by_whatever_name_it_is_opened(
    service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link.db").symlink_to(tmp_path / "runs.db")
    monkeypatch.chdir(tmp_path)
    async with opened(service, "runs.db", count=1) as batch, opened(service, "sqlite:///link.db") as other:
        monkeypatch.chdir(tmp_path / "elsewhere")
        databases = [one._batch_context.ledger.database for one in (batch, other)]
        assert await databases[0].take_start_queue("x")
        assert not await databases[1].take_start_queue("x")
        await databases[0].leave_start_queue("x")
        await finish(batch, output="rows")

    assert not (tmp_path / "link.db-lanes").exists()
    assert len(list((tmp_path / "elsewhere" / "rows").glob("part-*"))) == 1


async def test_info_tells_of_each_run_of_a_batch_its_start_and_its_end(
    service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="coreclaw_async")
    service.next_script = RunScript(outcome="failed")
    async with opened(service, "memory", count=2) as batch:
        outcomes = {outcome.run_id: outcome for outcome in await finish(batch)}

    told = [record for record in caplog.records if record.getMessage().endswith((": succeeded", ": failed"))]
    assert {vars(record)["run_id"]: (vars(record)["status"], vars(record)["key"]) for record in told} == {
        run_id: (str(outcome.run.status), outcome.key)
        for run_id, outcome in outcomes.items()
        if outcome.run is not None
    }
    for run_id in outcomes:
        assert sum(f"run {run_id} was started" in line for line in caplog.messages) == 1
        assert sum(f"run {run_id} has ended" in line for line in caplog.messages) == 1
