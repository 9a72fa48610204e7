"""``batch.run(progress=)``: how far the batch is, from its ledger, and never at the cost of an outcome."""

from __future__ import annotations

import itertools
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from batch.batches import opened, runs_by_key

from coreclaw_async import CoreClaw, LedgerError, Progress, RunSpec
from coreclaw_async.testing import FakeService, RunScript, faults

WORKER = "coreclaw/google-maps-scraper"


@pytest.mark.parametrize("ledger", ["memory", "sqlite"], indirect=True)
async def test_items_rows_and_money_are_told_until_all_have_ended(service: FakeService, ledger: str) -> None:
    service.default_script = RunScript(rows=2, duration=30.0, usage="0.10")
    service.faults.add(faults.error(11000), operation="runWorker", after=3)
    told: list[Progress] = []
    async with opened(service, ledger, count=5) as batch:
        outcomes = [outcome async for outcome in batch.run(progress=told.append)]

    assert len(outcomes) == 5
    assert {step.kind for step in told} == {"batch"}
    assert [step.done for step in told] == sorted(step.done for step in told)
    assert told[-1].text == "5 of 5 items, 0 running, 1 failed, 8 rows, $0.40"
    assert (told[-1].done, told[-1].total, told[-1].rows) == (5, 5, 8)
    assert any("running" in step.text and not step.done for step in told)
    assert all(later.elapsed - step.elapsed >= 0.99 for step, later in itertools.pairwise(told[:-1]))


@pytest.mark.parametrize(("untold", "text"), [(2, ""), (1, ", at least 2 rows, at least $0.10")])
async def test_what_nobody_knows_is_not_told_as_nothing(service: FakeService, untold: int, text: str) -> None:
    service.default_script = RunScript(rows=2, duration=30.0, usage="0.10")

    def change(envelope: dict[str, Any]) -> dict[str, Any]:
        for run in envelope["data"].get("list", [envelope["data"]]):
            if run["slug"] in list(service.runs)[:untold]:
                run.update(results=None, usage=None)
        return envelope

    for operation in ("getWorkerRun", "listWorkerRuns"):
        service.faults.add(faults.edit(change), operation=operation, times=10_000)
    told: list[Progress] = []
    async with opened(service, "memory", count=2) as batch:
        async for _ in batch.run(progress=told.append):
            pass
        report = await batch.report()

    assert told[-1].text == f"2 of 2 items, 0 running{text}"
    assert told[-1].rows is None
    assert (report.unknown_rows, report.unknown_costs) == (untold, untold)
    assert [total.unknown_rows for total in report.by_worker.values()] == [untold]


async def test_loop_body_and_a_left_loop_are_told_nothing(service: FakeService) -> None:
    told: list[Progress] = []
    async with opened(service, "memory", count=3) as batch:
        async for _ in batch.run(progress=told.append):
            seen = len(told)
            await service.clock.sleep(100.0)
            assert len(told) == seen
            break
        seen = len(told)
        await service.clock.sleep(100.0)
        assert len(told) == seen
        assert [outcome async for outcome in batch.run()]
    assert set(runs_by_key(service).values()) == {1}


async def test_function_that_raises_costs_no_outcome(service: FakeService, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: Progress) -> None:
        raise ZeroDivisionError

    async with opened(service, "memory", count=3) as batch:
        assert len([outcome async for outcome in batch.run(progress=fail)]) == 3
    assert caplog.text.count("progress could not be told") == 1


async def test_ledger_that_cannot_be_read_is_told_by_the_run_itself(service: FakeService, tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    told: list[Progress] = []

    def break_it(progress: Progress) -> None:
        told.append(progress)
        if len(told) < 2:  # Its runs are recorded by now.
            return
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("ALTER TABLE run RENAME TO gone")

    service.default_script = RunScript(duration=300.0)
    async with opened(service, str(path), count=2) as batch:
        with pytest.raises(LedgerError):
            async for _ in batch.run(progress=break_it):
                pass
    assert len(told) == 2


async def test_what_cannot_be_told_to_is_refused(service: FakeService) -> None:
    wrong: Any = "yes"
    async with opened(service, "memory", count=1) as batch:
        with pytest.raises(TypeError, match="progress must be True, False or a function, not 'yes'"):
            batch.run(progress=wrong)
    assert service.requests == []


async def test_closed_batch_says_so(service: FakeService) -> None:
    async with opened(service, "memory", count=1) as batch:
        stream = batch.run(progress=lambda _: None)
    with pytest.raises(RuntimeError, match="not open"):
        await anext(stream)


def test_blocking_batch_tells_too(service: FakeService) -> None:
    told: list[Progress] = []
    with (
        CoreClaw(service.api_key, transport=service, clock=service.clock) as client,
        client.batch("nightly", ledger="memory") as batch,
    ):
        batch.plan([RunSpec(key="k", worker_id=WORKER, input={"keywords": ["k"]})])
        assert len(list(batch.run(progress=told.append))) == 1
    assert told[-1].text.startswith("1 of 1 item, 0 running, ")


async def test_cancellation_while_it_is_told_stops_the_telling(service: FakeService) -> None:
    service.default_script = RunScript(duration=1e6)
    told: list[Progress] = []
    async with opened(service, "memory", count=1) as batch:
        with anyio.CancelScope() as scope:

            def cancel(progress: Progress) -> None:
                told.append(progress)
                scope.cancel()

            async for _ in batch.run(progress=cancel):
                pass
        seen = len(told)
        await service.clock.sleep(10.0)
        assert len(told) == seen
