"""All processes share the budget of a batch: it is in the ledger, and none gives up while others run."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from batch import shard_process
from batch.batches import opened, runs_by_key, specs, take_until

from coreclaw_async import (
    AsyncCoreClaw,
    BatchItemState,
    Shard,
    ShardReport,
    ShardSpec,
)
from coreclaw_async.distributed.shards import run_with
from coreclaw_async.testing import FakeService, RealClock, RunScript, faults

pytestmark = pytest.mark.endurance

OTHER = "me/other"


def without_usage(member: str) -> faults.Fault:
    """Return a fault of answers that do not tell what a run has cost: it is null, or there is no such member."""

    def change(envelope: dict[str, Any]) -> dict[str, Any]:
        data = envelope["data"]
        for run in data.get("list", [data]):
            if member == "null":
                run["usage"] = None
            else:
                run.pop("usage", None)
        return envelope

    return faults.edit(change)


def tell_no_costs(service: FakeService, member: str) -> None:
    for operation in ("getWorkerRun", "listWorkerRuns"):
        service.faults.add(without_usage(member), operation=operation, times=1_000_000)


async def plan(service: FakeService, ledger: str, count: int = 20) -> list[Shard]:
    """Plan items of two workers, and return a part for each."""
    service.add_worker(OTHER)
    async with opened(service, ledger, count=count) as batch:
        await batch.plan(specs(count, OTHER, first=count))
        return await batch.shards(count)


@pytest.fixture(params=["sqlite", "postgres"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'runs.db'}"
    return str(request.getfixturevalue("postgres_dsn"))


class InOneProcess:
    """Parts of a batch at the same time, each with a client of its own, on the clock of the service."""

    @pytest.fixture
    def service(self, service: FakeService) -> FakeService:
        """Runs of one dollar."""
        service.default_script = RunScript(usage="1", rows=1, duration=30)
        service.balance = Decimal(10_000)
        return service

    async def run(self, service: FakeService, ledger: str, shards: list[Shard], **options: Any) -> list[ShardReport]:
        reports: list[ShardReport] = []

        async def part(shard: Shard) -> None:
            async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
                spec = ShardSpec(batch="nightly", ledger=ledger, shard=shard, **options)
                reports.append(await run_with(client, spec))

        async with anyio.create_task_group() as group:
            for shard in shards:
                group.start_soon(part, shard)
        return reports


class TestPartsAtTheSameTime(InOneProcess):
    async def test_a_part_waits_for_the_runs_of_another_before_it_gives_up(
        self, service: FakeService, ledger: str
    ) -> None:
        reports = await self.run(service, ledger, await plan(service, ledger), max_spend=Decimal(100))

        assert [report.stopped for report in reports] == [None, None]
        assert sum(report.counts["done"] for report in reports) == 40

    async def test_all_of_the_budget_is_used_and_no_more(self, service: FakeService, ledger: str) -> None:
        reports = await self.run(service, ledger, await plan(service, ledger), max_spend=Decimal("12.5"))

        assert (service.runs_created, sum(report.cost for report in reports)) == (12, Decimal(12))
        assert {report.stopped for report in reports} == {"max_spend"}
        assert sum(report.counts["planned"] for report in reports) == 28

    async def test_a_run_that_nobody_follows_is_waited_for_as_long_as_there_is_patience(
        self, service: FakeService, ledger: str
    ) -> None:
        first, second = await plan(service, ledger, 3)
        service.default_script = RunScript(usage="1", rows=1, duration=1_000_000)
        async with opened(service, ledger, shard=first, max_spend=Decimal(100)) as batch:
            await take_until(batch.run(), lambda: service.runs_created)
        began = service.clock.monotonic()
        (report,) = await self.run(service, ledger, [second], patience=300.0)

        assert (report.stopped, report.counts["planned"], service.runs_created) == ("max_spend", 3, 1)
        assert 300 <= service.clock.monotonic() - began < 400

    async def test_an_item_that_a_person_must_decide_on_is_not_waited_for(
        self, service: FakeService, ledger: str
    ) -> None:
        shards = await plan(service, ledger, 3)
        service.faults.add(faults.commit_then_drop(), operation="runWorker", times=1)
        (first,) = await self.run(service, ledger, shards[:1], max_spend=Decimal(100))
        began = service.clock.monotonic()
        (second,) = await self.run(service, ledger, shards[1:])

        assert (first.counts["ambiguous"], first.stopped, second.stopped) == (1, "max_spend", "max_spend")
        assert service.runs_created == 1
        assert service.clock.monotonic() - began < 60

    @pytest.mark.parametrize("member", ["null", "absent"])
    async def test_runs_of_unknown_cost_never_exceed_the_budget(
        self, service: FakeService, ledger: str, member: str
    ) -> None:
        tell_no_costs(service, member)
        reports = await self.run(service, ledger, await plan(service, ledger), max_spend=Decimal(3))

        assert service.runs_created == 1
        assert {report.stopped for report in reports} == {"max_spend"}
        assert sum(report.unknown_costs for report in reports) == 1


class Processes:
    """Real processes, each with a part of the batch, against a service on a socket."""

    def __init__(self, service: FakeService, url: str, folder: Path) -> None:
        paths = [str(Path(__file__).parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._folder = folder
        self._environment = {
            **os.environ,
            "CORECLAW_API_KEY": service.api_key,
            "CORECLAW_BASE_URL": url,
            "PYTHONPATH": os.pathsep.join(paths),
        }

    def run(self, specs: list[ShardSpec]) -> list[ShardReport]:
        files = [self._folder / f"part-{number}" for number in range(len(specs))]
        for path, spec in zip(files, specs, strict=True):
            path.write_bytes(pickle.dumps(spec))
        programs = [[sys.executable, shard_process.__file__, str(path)] for path in files]
        processes = [subprocess.Popen(program, env=self._environment) for program in programs]
        try:
            assert [process.wait(60) for process in processes] == [0] * len(specs)
        finally:
            for process in processes:
                process.kill()
                process.wait(60)
        return [pickle.loads(path.read_bytes()) for path in files]


@pytest.mark.endurance
@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
class TestRealProcesses:
    @pytest.fixture
    def service(self) -> FakeService:
        service = FakeService(clock=RealClock(), default_script=RunScript(usage="1", rows=1, duration=0.05))
        service.balance = Decimal(10_000)
        return service

    @pytest.fixture
    def processes(self, service: FakeService, tmp_path: Path) -> Iterator[Processes]:
        with service.serve() as server:
            yield Processes(service, server.url, tmp_path)

    async def test_two_processes_share_one_budget(
        self, service: FakeService, processes: Processes, ledger: str
    ) -> None:
        shards = await plan(service, ledger)
        parts = [ShardSpec(batch="nightly", ledger=ledger, shard=shard, max_spend=Decimal(15)) for shard in shards]
        reports = await anyio.to_thread.run_sync(processes.run, parts)

        assert (service.runs_created, sum(report.cost for report in reports)) == (15, Decimal(15))
        assert set(runs_by_key(service).values()) == {1}
        assert {report.stopped for report in reports} == {"max_spend"}
        async with opened(service, ledger) as batch:
            report = await batch.report()
        assert (report.counts[BatchItemState.DONE], report.counts[BatchItemState.PLANNED]) == (15, 25)

    async def test_two_processes_with_budgets_of_their_own_spend_twice_as_much(
        self, service: FakeService, processes: Processes, tmp_path: Path
    ) -> None:
        parts: list[ShardSpec] = []
        for name in ("one", "two"):
            ledger = f"sqlite:///{tmp_path / name}.db"
            shard, _ = await plan(service, ledger)
            parts.append(ShardSpec(batch="nightly", ledger=ledger, shard=shard, max_spend=Decimal(15)))
        await anyio.to_thread.run_sync(processes.run, parts)

        assert service.runs_created == 30

    @pytest.mark.endurance(25)
    async def test_two_processes_never_exceed_the_budget_by_unknown_costs(
        self, service: FakeService, processes: Processes, ledger: str
    ) -> None:
        tell_no_costs(service, "absent")
        shards = await plan(service, ledger)
        parts = [ShardSpec(batch="nightly", ledger=ledger, shard=shard, max_spend=Decimal(3)) for shard in shards]
        reports = await anyio.to_thread.run_sync(processes.run, parts)

        assert service.runs_created <= 3
        assert service.runs_created == sum(report.unknown_costs for report in reports) == 1
