"""What the runs of a batch are worth: from their ends, and from their rows where those are written to files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from batch.batches import finish, opened

from coreclaw_async import BatchReport, Run, RunSpec, Verdict
from coreclaw_async._operations.assess import verdict_of
from coreclaw_async.batch import Shard
from coreclaw_async.testing import FakeService, RunScript, faults

WORKER = "coreclaw/google-maps-scraper"
DATA = {"title": "Cafe", "url": "https://a"}
ERROR = {"error": "captcha", "url": "https://a"}
SCRIPTS = (
    RunScript(rows=[DATA, DATA]),
    RunScript(rows=[DATA, ERROR]),
    RunScript(rows=[]),
    RunScript(rows=[ERROR], outcome="failed"),
    RunScript(rows=0, outcome="aborted"),
)


@pytest.fixture
def service(service: FakeService) -> FakeService:
    for script in SCRIPTS:
        service.script_next(script)
    return service


def told(report: BatchReport) -> dict[str, int]:
    assert list(report.verdicts) == list(Verdict)
    return {verdict.value: count for verdict, count in report.verdicts.items() if count}


async def test_rows_that_are_written_are_looked_at(service: FakeService, tmp_path: Path) -> None:
    async with opened(service, "memory", count=5) as batch:
        await finish(batch, output=tmp_path)
        report = await batch.report()
        verdicts = [item.verdict async for item in batch.items()]

    assert verdicts == ["pass", "error_rows", "empty", "failed", "aborted"]
    assert told(report) == {"pass": 1, "error_rows": 1, "empty": 1, "failed": 1, "aborted": 1}


@pytest.mark.parametrize("ledger", ["memory", "postgres"], indirect=True)
async def test_rows_that_nobody_has_read_have_no_verdict_until_they_are_written(
    service: FakeService, ledger: str, tmp_path: Path
) -> None:
    async with opened(service, ledger, count=5) as batch:
        await finish(batch)
        asked = [request.operation for request in service.requests]
        assert told(await batch.report()) == {"empty": 1, "failed": 1, "aborted": 1}
        assert "getWorkerRunResult" not in asked

        await finish(batch, output=tmp_path)
        assert told(await batch.report()) == {"pass": 1, "error_rows": 1, "empty": 1, "failed": 1, "aborted": 1}


async def test_shard_counts_its_own_items(service: FakeService) -> None:
    async with opened(service, "memory", count=5) as batch:
        await finish(batch)
        batch._batch_context.ledger.work_on(Shard(first=2, last=3))
        assert told(await batch.report()) == {"empty": 1, "failed": 1}


async def test_success_whose_rows_are_not_told_is_unknown(service: FakeService) -> None:
    def untold(envelope: dict[str, Any]) -> dict[str, Any]:
        for run in envelope["data"].get("list", [envelope["data"]]):
            run["results"] = None
        return envelope

    for operation in ("getWorkerRun", "listWorkerRuns"):
        service.faults.add(faults.edit(untold), operation=operation, times=10_000)
    async with opened(service, "memory", count=1) as batch:
        await finish(batch)
        assert told(await batch.report()) == {"unknown": 1}


def test_run_whose_abort_is_not_confirmed_is_unknown() -> None:
    assert verdict_of(Run(run_id="R", status="aborting"), None) is Verdict.UNKNOWN


async def test_item_that_has_another_run_has_the_verdict_of_that(service: FakeService) -> None:
    service.next_script = RunScript(outcome="failed")
    service.script_next(RunScript(rows=[]))
    async with opened(service, "memory") as batch:
        await batch.plan([RunSpec(key="k", worker_id=WORKER, input={"keywords": ["k"]}, retries=1)])
        await finish(batch)
        assert [run.state for run in await batch.history("k")] == ["failed", "done"]
        assert told(await batch.report()) == {"empty": 1}


async def test_item_whose_run_is_read_once_more_has_no_verdict_until_then(service: FakeService) -> None:
    service.next_script = RunScript(outcome="failed")
    async with opened(service, "memory", count=1) as batch:
        (outcome,) = await finish(batch)
        again = await batch.resolve("k0", adopt=outcome.run_id)
        assert (again.state, again.verdict, told(await batch.report())) == ("submitted", None, {})
        await finish(batch)
        assert told(await batch.report()) == {"failed": 1}
