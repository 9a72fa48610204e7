"""
Real processes that are killed with SIGKILL at every step of a batch: nothing is paid twice, and no run is lost.

Beside them the same work without a ledger, which pays twice under the same kills; else the tests would prove nothing.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pyarrow.parquet as pq
import pytest
from batch import victim
from batch.batches import key_of, runs_by_key
from waiting import PATIENCE, join, wait_until

from coreclaw_async import AsyncCoreClaw, BatchItem, BatchItemState, BatchReport, RunSpec
from coreclaw_async.testing import FakeService, RealClock, RunScript, faults

pytestmark = [pytest.mark.endurance, pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)]

OWN_STAGES = ("before_intent", "after_intent", "after_run_id", "polling", "before_rename")
# At these stages the service holds the victim up, and the test kills it.
HELD_STAGES = {
    "on_the_wire": faults.stall(commit=False),
    "accepted_and_unanswered": faults.stall(commit=True),
}
STAGES = (*OWN_STAGES, *HELD_STAGES)


@pytest.fixture
def service() -> FakeService:
    service = FakeService(clock=RealClock(), balance=10_000, default_script=RunScript(rows=2, duration=0.1))
    for path in victim.WORKERS:
        service.add_worker(path)
    return service


async def plan(service: FakeService, ledger: str, keys: int) -> None:
    async with (
        AsyncCoreClaw(service.api_key, transport=service) as client,
        client.batch("crashes", ledger=ledger) as batch,
    ):
        workers = victim.WORKERS
        await batch.plan(
            RunSpec(key=f"k{number}", worker_id=workers[number % len(workers)], input={"keywords": [f"k{number}"]})
            for number in range(keys)
        )


async def report(service: FakeService, ledger: str) -> BatchReport:
    async with (
        AsyncCoreClaw(service.api_key, transport=service) as client,
        client.batch("crashes", ledger=ledger) as batch,
    ):
        return await batch.report()


def start(
    url: str, ledger: str, folder: Path, stage: str = "none", count: int = 0, output_format: str = "jsonl"
) -> subprocess.Popen[bytes]:
    arguments = (url, ledger, str(folder), stage, str(count), output_format)
    return subprocess.Popen([sys.executable, victim.__file__, *arguments])


def unanswered(service: FakeService, since: int) -> int:
    """Return how many starts have arrived and were not answered."""
    return sum(request.operation == "runWorker" and request.status is None for request in service.requests[since:])


def kill_at(service: FakeService, url: str, ledger: str, folder: Path, stage: str, count: int) -> int:
    """Run a victim until it dies at *stage*; return how many starts were then under way, as the service saw it."""
    service.faults.clear()
    since = len(service.requests)
    if stage in HELD_STAGES:
        service.faults.add(HELD_STAGES[stage], operation="runWorker", after=count, times=len(victim.WORKERS))
    process = start(url, ledger, folder, stage, count)
    wait_until(lambda: process.poll() is not None or (stage in HELD_STAGES and unanswered(service, since)), stage)
    under_way = unanswered(service, since)
    process.kill()
    assert process.wait(PATIENCE) == -signal.SIGKILL, f"the victim was not killed at {stage}"
    service.faults.clear()
    return under_way


@contextmanager
def foreign_traffic(service: FakeService, a_second: float) -> Iterator[list[str]]:
    """Somebody else starts runs of one of the workers."""
    foreign: list[str] = []
    is_over = threading.Event()

    def submit() -> None:
        while not is_over.wait(1 / a_second):
            foreign.append(service.add_run(victim.WORKERS[0], status="running", age=0.0))

    thread = threading.Thread(target=submit)
    thread.start()
    try:
        yield foreign
    finally:
        is_over.set()
        join(thread)


async def crash(service: FakeService, ledger: str, folder: Path, *, keys: int, kills: int) -> None:
    """Kill victims, then let one finish."""
    await plan(service, ledger, keys)
    dice = random.Random(7)
    with service.serve() as server:
        for number in range(kills):
            stage = STAGES[number % len(STAGES)]
            under_way = await anyio.to_thread.run_sync(
                kill_at, service, server.url, ledger, folder, stage, dice.randint(1, 12)
            )
            assert stage not in HELD_STAGES or under_way, "the victim had no start under way"
        last = start(server.url, ledger, folder)
        assert await anyio.to_thread.run_sync(last.wait, PATIENCE) == 0


@pytest.mark.parametrize(("ledger", "keys", "kills"), [("sqlite", 200, 12), ("postgres", 150, 7)], indirect=["ledger"])
async def test_whatever_is_killed_nothing_is_paid_twice_and_nothing_is_lost(
    service: FakeService, ledger: str, tmp_path: Path, keys: int, kills: int
) -> None:
    folder = tmp_path / "rows"
    await crash(service, ledger, folder, keys=keys, kills=kills)
    told = await report(service, ledger)

    paid = runs_by_key(service)
    assert {key: count for key, count in paid.items() if count > 1} == {}
    assert len(paid) == keys
    assert told.counts[BatchItemState.DONE] == told.runs == keys
    assert told.cost == sum(run.usage for run in service.runs.values())
    files = sorted(folder.glob("part-*"))
    assert len(files) == keys, "no file is missing, and nothing half-written is left"
    for file in files:
        run_id = file.stem.removeprefix("part-")
        assert len(file.read_text().splitlines()) == 2
        assert key_of(service, run_id) in paid


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
async def test_beside_foreign_runs_what_nobody_can_tell_is_held_and_never_paid_twice(
    service: FakeService, ledger: str, tmp_path: Path
) -> None:
    keys = 120
    with foreign_traffic(service, 8.0) as foreign:
        await crash(service, ledger, tmp_path / "rows", keys=keys, kills=7)
    told = await report(service, ledger)

    paid = runs_by_key(service)
    bound = {file.stem.removeprefix("part-") for file in (tmp_path / "rows").glob("part-*")}
    assert max(paid.values()) == 1
    assert not bound & set(foreign)
    assert told.counts[BatchItemState.AMBIGUOUS] == len(told.held) >= 1
    assert told.counts[BatchItemState.DONE] == keys - len(told.held)
    for item in told.held:
        run = next(
            (run_id for run_id, run in service.runs.items() if run.paid and key_of(service, run_id) == item.key), None
        )
        assert run is None or run in item.candidates, "a held item names its run among its candidates"


async def test_without_a_ledger_the_same_kills_pay_twice(service: FakeService, tmp_path: Path) -> None:
    service.default_script = RunScript(rows=2, duration=0.0)
    with service.serve() as server:
        for number in range(3):
            under_way = await anyio.to_thread.run_sync(
                kill_at, service, server.url, "naive", tmp_path, "accepted_and_unanswered", 20 * (number + 1)
            )
            assert under_way
        last = start(server.url, "naive", tmp_path)
        assert await anyio.to_thread.run_sync(last.wait, PATIENCE) == 0

    paid = runs_by_key(service)
    assert len(paid) == victim.KEYS
    assert sum(count - 1 for count in paid.values()) >= 3


@pytest.mark.parametrize("ledger", ["sqlite", "postgres"], indirect=True)
async def test_two_processes_on_one_ledger_share_its_work_and_pay_once(
    service: FakeService, ledger: str, tmp_path: Path
) -> None:
    keys = 120
    await plan(service, ledger, keys)
    with service.serve() as server:
        processes = [start(server.url, ledger, tmp_path / "rows") for _ in range(2)]
        time.sleep(0.01)
        os.kill(processes[0].pid, 0)
        for process in processes:
            assert await anyio.to_thread.run_sync(process.wait, PATIENCE) == 0
    told = await report(service, ledger)

    assert set(runs_by_key(service).values()) == {1}
    assert told.counts[BatchItemState.DONE] == keys


async def items(service: FakeService, ledger: str) -> list[BatchItem]:
    async with (
        AsyncCoreClaw(service.api_key, transport=service) as client,
        client.batch("crashes", ledger=ledger) as batch,
    ):
        return await batch.items(state="done").collect()


@pytest.mark.parametrize("ledger", ["sqlite", "postgres"], indirect=True)
async def test_outcomes_that_a_killed_process_had_not_taken_can_all_be_had(
    service: FakeService, ledger: str, tmp_path: Path
) -> None:
    keys = 60
    await plan(service, ledger, keys)
    with service.serve() as server:
        process = start(server.url, ledger, tmp_path / "rows", "slow_consumer", 5)
        assert await anyio.to_thread.run_sync(process.wait, PATIENCE) == -signal.SIGKILL
        before = await items(service, ledger)
        last = start(server.url, ledger, tmp_path / "rows")
        assert await anyio.to_thread.run_sync(last.wait, PATIENCE) == 0
    after = await items(service, ledger)

    assert len(before) > 5, "the batch had gone on while nobody took its outcomes"
    assert len(after) == keys
    assert set(runs_by_key(service).values()) == {1}
    for item in after:
        assert item.path is not None
        assert len(item.path.read_text().splitlines()) == item.row_count == 2


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
async def test_a_process_that_dies_before_or_after_a_parquet_file_has_its_name_costs_nothing_and_no_row(
    service: FakeService, ledger: str, tmp_path: Path
) -> None:
    keys, folder = 60, tmp_path / "rows"
    await plan(service, ledger, keys)
    with service.serve() as server:
        for stage, count in [("before_rename", 5), ("after_rename", 5), ("after_rename", 1), ("before_rename", 1)]:
            process = start(server.url, ledger, folder, stage, count, "parquet")
            assert await anyio.to_thread.run_sync(process.wait, PATIENCE) == -signal.SIGKILL
        last = start(server.url, ledger, folder, output_format="parquet")
        assert await anyio.to_thread.run_sync(last.wait, PATIENCE) == 0
    ended = await items(service, ledger)

    assert set(runs_by_key(service).values()) == {1}
    assert len(ended) == keys
    assert {path.name for path in folder.iterdir()} == {
        "manifest.jsonl",
        *(f"part-{one.run_id}.parquet" for one in ended),
    }
    for item in ended:
        assert item.path is not None
        assert pq.read_metadata(item.path).num_rows == item.row_count == 2
