"""Batches: requests, processor time and memory for each run, the ledger, and what that comes to for a million a day."""

from __future__ import annotations

import gc
import math
import random
import tempfile
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path

import anyio
from report import Report, Row, at_least, at_most, parser
from stub_server import forget_proxies

from coreclaw_async import AsyncCoreClaw, RunSpec
from coreclaw_async.batch import BatchItem, ItemOrigin
from coreclaw_async.batch._admission import Limits
from coreclaw_async.batch._engine import Engine
from coreclaw_async.batch._item_steps import to_intent, to_submitted
from coreclaw_async.batch._ledger.batch_ledger import BatchLedger
from coreclaw_async.batch._row_files import PartFiles
from coreclaw_async.batch._specs import PlannedSpec
from coreclaw_async.models import Page
from coreclaw_async.models import Row as ResultRow
from coreclaw_async.testing import FakeService, RunScript

_ROUNDS = 1
_WORKER = "coreclaw/google-maps-scraper"
_MEAN_SECONDS = 107.0
_SPREAD = 0.8
_SEED = 7
# Runs, and how many of them go on at once.
_SIZES = ((200, 100), (2_000, 500), (20_000, 2_000))
_PEER_UP_TO = 2_000
_WRITERS = 50
_WRITES = 2_000
_MILLION = 1_000_000
_FILES = 100_000
_FILE_WRITES = 100
_LARGE_INPUTS = 1_200
_MEGABYTE = 2**20
_DAY = 86_400


def specs(count: int) -> Iterator[RunSpec]:
    """Yield so many specs, none of which is kept."""
    for number in range(count):
        yield RunSpec(key=f"place-{number}", worker_id=_WORKER, input={"keywords": [f"coffee in {number}"]})


def scene(runs: int) -> FakeService:
    """Return a service whose runs last as real ones do: log-normal, with a mean of 107 s."""
    service = FakeService(balance=Decimal(10**9))
    dice = random.Random(_SEED)
    centre = math.log(_MEAN_SECONDS) - _SPREAD**2 / 2
    for _ in range(runs):
        service.script_next(RunScript(rows=0, duration=dice.lognormvariate(centre, _SPREAD)))
    return service


async def as_batch(service: FakeService, runs: int, most: int) -> None:
    """Run them all as a batch."""
    async with (
        AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client,
        client.batch("bench", ledger="memory") as batch,
    ):
        await batch.plan(specs(runs))
        ended = 0
        async for outcome in batch.run(max_in_flight=most):
            ended += outcome.state == "done"
        assert ended == runs


async def one_by_one(service: FakeService, runs: int, most: int) -> None:
    """Give each run a task and the documented schedule, without a ledger."""
    slots = anyio.CapacityLimiter(most)
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:

        async def one(number: int) -> None:
            async with slots:
                started = await client.workers.start_run(_WORKER, {"keywords": [f"coffee in {number}"]})
                delays = client._context.schedule.jittered_delays()
                while not (await client.runs.get(started.run_id)).is_finished:
                    await service.clock.sleep(next(delays))

        async with anyio.create_task_group() as group:
            for number in range(runs):
                group.start_soon(one, number)


async def simulate(report: Report, runs: int, most: int) -> float:
    """Compare requests and processor time; return the requests for each run."""
    measured: list[tuple[float, float]] = []
    for follow in (as_batch, one_by_one)[: 2 if runs <= _PEER_UP_TO else 1]:
        service = scene(runs)
        gc.collect()
        began = time.process_time()
        await follow(service, runs, most)
        measured.append((len(service.requests) / runs, (time.process_time() - began) * 1000 / runs))
    for place, (unit, budget) in enumerate(
        (("requests a run", at_most(3.5) if most >= 500 else None), ("ms a run", None))
    ):
        report.add(
            Row(
                what=f"{runs:,} runs, {most:,} in flight",
                unit=unit,
                ours=measured[0][place],
                peer=measured[1][place] if len(measured) > 1 else None,
                value=measured[0][place],
                budget=budget,
                note="processor time of client and fake service together"
                if place
                else "peer: a task and schedule a run",
            )
        )
    return measured[0][0]


async def in_flight(report: Report) -> None:
    """Measure what a run in flight takes in memory."""
    service = FakeService()
    async with (
        AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client,
        client.batch("bench", ledger="memory") as batch,
    ):
        engine = Engine(batch_context=batch._batch_context, limits=Limits(), width=1, files=None)
        count = 10_000
        tracemalloc.start()
        for number in range(count):
            planned = BatchItem(
                batch="bench", key=f"k{number}", position=number, worker_id=_WORKER, input_sha256="0" * 64
            )
            intent = to_intent(planned, at=float(number), callback_url=None)
            engine.follow(to_submitted(intent, f"01M01S76G0JCMAKQ36SB{number:06d}", ItemOrigin.ANSWER))
        grown, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    value = grown / count
    report.add(Row(what="a run in flight", unit="bytes", ours=value, value=value, budget=at_most(5_120)))


async def ledger(report: Report) -> None:
    """Measure intents and submissions, by many at once and one after another."""
    rates: list[float] = []
    for writers in (_WRITERS, 1):
        with tempfile.TemporaryDirectory() as folder:
            async with (
                AsyncCoreClaw("key") as client,
                client.batch("bench", ledger=Path(folder) / "runs.db") as batch,
            ):
                await batch.plan(specs(_WRITES))
                items = [
                    item
                    for item, _ in await batch._batch_context.ledger.next_planned([_WORKER.replace("/", "~")], _WRITES)
                ]
                began = time.perf_counter()
                async with anyio.create_task_group() as group:
                    for first in range(writers):
                        group.start_soon(_write, batch._batch_context.ledger, items[first::writers])
                rates.append(_WRITES / (time.perf_counter() - began))
    report.add(
        Row(
            what=f"ledger in a file, {_WRITERS} writers",
            unit="runs a second",
            ours=rates[0],
            peer=rates[1],
            value=rates[0],
            budget=at_least(500),
            note="intent and run id, each on the disk; peer: one writer, a commit a write",
        )
    )


async def _write(book: BatchLedger, items: list[BatchItem]) -> None:
    for item in items:
        intent = await book.steps.write(item, to_intent(item, at=1.0, callback_url=None))
        await book.steps.write(intent, to_submitted(intent, f"run-{item.key}", ItemOrigin.ANSWER))


def _begin_peak() -> float:
    """Have the peak of the process's memory begin now, and return where it stands, in MiB."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


async def million(report: Report) -> None:
    """Plan a million specs, and report on them."""
    # What is loaded late is loaded now.
    assert len({PlannedSpec.of(spec).input_sha256 for spec in specs(1_000)}) == 1_000
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncCoreClaw("key") as client, client.batch("bench", ledger=Path(folder) / "runs.db") as batch:
            before = _begin_peak()
            began = time.perf_counter()
            added = await batch.plan(specs(_MILLION))
            seconds = time.perf_counter() - began
            grown = _peak() - before
            assert added == _MILLION
            began = time.perf_counter()
            await batch.report()
            reported = time.perf_counter() - began
            size = (Path(folder) / "runs.db").stat().st_size / _MILLION
    report.add(
        Row(what="a million planned specs", unit="s", ours=seconds, note=f"{size:.0f} bytes an item on the disk")
    )
    report.add(Row(what="growth of the process meanwhile", unit="MiB", ours=grown, value=grown, budget=at_most(64)))
    report.add(Row(what="report on a million items", unit="s", ours=reported, value=reported, budget=at_most(2)))


def large_specs(count: int) -> Iterator[RunSpec]:
    """Yield so many specs with inputs of a megabyte, none of which is kept."""
    for number in range(count):
        yield RunSpec(key=f"large-{number}", worker_id=_WORKER, input={"keywords": [f"{number}", "x" * _MEGABYTE]})


async def large_inputs(report: Report) -> None:
    """Plan inputs of a megabyte each."""
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncCoreClaw("key") as client, client.batch("bench", ledger=Path(folder) / "runs.db") as batch:
            await batch.plan(specs(1))
            before = _begin_peak()
            began = time.perf_counter()
            added = await batch.plan(large_specs(_LARGE_INPUTS))
            seconds = time.perf_counter() - began
            grown = _peak() - before
            assert added == _LARGE_INPUTS
    what = f"a plan of {_LARGE_INPUTS:,} inputs of 1 MB"
    report.add(Row(what=what, unit="s", ours=seconds))
    report.add(Row(what="growth of the process meanwhile", unit="MiB", ours=grown, value=grown, budget=at_most(64)))


async def _one_row() -> AsyncIterator[Page[ResultRow]]:
    yield Page(items=({"title": "coffee"},))


async def _write_cost(folder: Path) -> tuple[float, float]:
    """Return the milliseconds of processor time for getting *folder* ready, and for each file written there."""
    files = PartFiles(folder)
    began = time.process_time()
    await files.prepare()
    ready = time.process_time()
    for number in range(_FILE_WRITES):
        await files.write(f"run-{number}", _one_row())
    return (ready - began) * 1000, (time.process_time() - ready) * 1000 / _FILE_WRITES


async def part_files(report: Report) -> None:
    """Write part files to a folder with many of them, and to an empty one."""
    with tempfile.TemporaryDirectory() as many, tempfile.TemporaryDirectory() as few:
        for number in range(_FILES):
            (Path(many) / f"part-{number:026d}.jsonl").touch()
        await _write_cost(Path(few))  # What is loaded late is loaded now.
        ready, ours = await _write_cost(Path(many))
        _, peer = await _write_cost(Path(few))
    report.add(
        Row(
            what=f"a part file beside {_FILES:,} others",
            unit="ms",
            ours=ours,
            peer=peer,
            value=ours / peer,
            budget=at_most(2),
            note="processor time; peer: in an empty folder",
        )
    )
    what = f"looking through {_FILES:,} part files"
    report.add(Row(what=what, unit="ms", ours=ready, note="processor time; once for each batch.run()"))


def extrapolate(requests: float) -> None:
    """Print what the measured requests come to for a million runs a day; arithmetic, nothing else."""
    a_second = _MILLION / _DAY
    print(
        f"\nA million runs a day are {a_second:.1f} a second: {a_second * _MEAN_SECONDS:,.0f} in flight at a mean of "
        f"{_MEAN_SECONDS:.0f} s, and with the {requests:.2f} requests a run measured above (without rows)\n"
        f"{a_second * requests:.0f} requests a second; a page of rows for each run makes it "
        f"{a_second * (requests + 1):.0f}. By plan and rate limit, one account does at most"
    )
    for plan in (50, 200, 1_240):
        print(f"  {plan * _DAY / _MEAN_SECONDS:>9,.0f} runs a day with {plan:,} runs at once")
    for rate in (10, 36):
        print(f"  {rate * _DAY / (requests + 1):>9,.0f} runs a day with {rate} requests a second")


async def _main(report: Report) -> float:
    await million(report)
    await large_inputs(report)
    await part_files(report)
    await ledger(report)
    await in_flight(report)
    for runs, most in _SIZES:
        requests = await simulate(report, runs, most)
    return requests


if __name__ == "__main__":
    options = parser(__doc__, _ROUNDS).parse_args()
    forget_proxies()
    table = Report("bench_batch", options.rounds)
    requests_a_run = anyio.run(_main, table)
    table.finish(options.json)
    extrapolate(requests_a_run)
