"""
How the costs of a batch grow: requests, processor time and memory of 10 to 100,000 items on a virtual clock.

The fake service and its clock run in the same process. Their processor time is measured and left out: rows of its own
show it, with what the measuring itself takes, which is known from calls of the timer alone and left out too. What the
event loop does for their tasks counts as the batch's. The memory that as many runs take in another service is left out.
So is what full garbage collections take longer than before that service was there: they go through all that it holds.

The ledger is a file, in memory where the system has a place for that: processor time does not depend on the disk.
"""

from __future__ import annotations

import gc
import math
import multiprocessing
import statistics
import tempfile
import threading
import time
from collections.abc import Coroutine, Generator
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import anyio
import attrs
import httpx
from bench_batch import scene, specs
from report import Report, Row, at_most, parser

from coreclaw_async import AsyncCoreClaw
from coreclaw_async.testing import RunScript

_ROUNDS = 1
_SMALL, _MIDDLE, _LARGEST = 10, 1_000, 100_000
_IN_FLIGHT = 1_000
_REPEATED = {_SMALL: 20, _MIDDLE: 3}
_MEGABYTE = 1e6
_PAGE = 4_096 / _MEGABYTE
_MEASURES = (
    ("requests", "requests", at_most(1.8)),
    ("seconds", "s of processor time", at_most(2)),
    ("megabytes", "MB", None),
)
_LEFT_OUT = (
    ("service_seconds", "s of processor time of the fake service and its clock"),
    ("metering_seconds", "s of processor time of measuring that"),
    ("collecting_seconds", "s of processor time for looking for garbage in the fake service"),
)
_USUAL = ("requests", "seconds", "service_seconds", "metering_seconds", "collecting_seconds")
_FULL = 2
_LINEAR = at_most(1.05)
_STAMPS = 20_000
_IN_MEMORY = Path("/dev/shm")
_Result = TypeVar("_Result")


@attrs.frozen
class Cost:
    """
    What a batch took.

    Attributes:
        requests: How many.
        seconds: Of processor time, without the service's.
        service_seconds: Of processor time, the service's and its clock's.
        metering_seconds: Of processor time, for measuring these.
        collecting_seconds: Of processor time, what full garbage collections took longer because of the service.
        megabytes: The most memory on top of what was there before, without the service's.
    """

    requests: float
    seconds: float
    service_seconds: float
    metering_seconds: float
    collecting_seconds: float
    megabytes: float


def seconds_of_stamp() -> float:
    """Return the processor time that one call of the timer takes."""
    began = time.thread_time()
    for _ in range(_STAMPS):
        time.thread_time()
    return (time.thread_time() - began) / _STAMPS


@attrs.define
class Meter:
    """
    The processor time of some tasks.

    Attributes:
        seconds: What passed between two calls of the timer, one before and one after each step.
        steps: How many steps there were.
        is_inside: Whether one of them is being made.
        stamp: What one of these calls takes.
    """

    seconds: float = 0.0
    steps: int = 0
    is_inside: bool = False
    stamp: float = attrs.field(factory=seconds_of_stamp)

    @property
    def used(self) -> float:
        """The seconds of the tasks themselves: between two calls passes about one more."""
        return self.seconds - self.steps * self.stamp

    @property
    def metering(self) -> float:
        """The seconds that the timer took."""
        return 2 * self.steps * self.stamp


class FullCollections:
    """
    The processor time of full garbage collections, beyond what one took when this was made.

    Args:
        meter: Measures the steps of others; the collections in these are theirs.
    """

    def __init__(self, meter: Meter) -> None:
        self.seconds = 0.0
        self._meter = meter
        self._began = 0.0
        self._usual = 0.0
        gc.collect()
        began = time.thread_time()
        gc.collect()
        self._usual = time.thread_time() - began

    def __enter__(self) -> Self:
        """Begin to measure."""
        gc.callbacks.append(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        """Measure no more."""
        gc.callbacks.remove(self._note)

    def _note(self, phase: str, info: dict[str, int]) -> None:
        if info["generation"] != _FULL:
            return
        if phase == "start":
            self._began = time.thread_time()
        elif not (self._meter.is_inside and threading.current_thread() is threading.main_thread()):
            self.seconds += max(time.thread_time() - self._began - self._usual, 0.0)


class Metered(Generic[_Result]):
    """Awaits a coroutine, and adds the processor time of its steps to *meter*."""

    def __init__(self, coroutine: Coroutine[Any, Any, _Result], meter: Meter) -> None:
        self._coroutine = coroutine
        self._meter = meter

    def __await__(self) -> Generator[Any, Any, _Result]:
        """Do it step by step."""
        step, value = self._coroutine.send, None
        while True:
            self._meter.is_inside, began = True, time.thread_time()
            try:
                wanted = step(value)
            except StopIteration as end:
                result: _Result = end.value
                return result
            finally:
                self._meter.seconds += time.thread_time() - began
                self._meter.is_inside = False
                self._meter.steps += 1
            try:
                step, value = self._coroutine.send, (yield wanted)
            except BaseException as error:
                step, value = self._coroutine.throw, error


class Scene(httpx.AsyncBaseTransport):
    """
    A service whose runs last as real ones do, and its clock; both are metered.

    Attributes:
        service: The service.
        requests: How many have come.
        meter: The processor time of both.
    """

    def __init__(self, runs: int, meter: Meter) -> None:
        self.service = scene(runs)
        self.requests = 0
        self.meter = meter

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer, and keep no record."""
        self.requests += 1
        answer = await Metered(self.service.handle_async_request(request), self.meter)
        self.service.requests.clear()
        return answer

    def monotonic(self) -> float:
        """Return the virtual seconds."""
        return self.service.clock.monotonic()

    def time(self) -> float:
        """Return the virtual wall clock."""
        return self.service.clock.time()

    async def sleep(self, seconds: float) -> None:
        """Sleep on the virtual clock."""
        await Metered(self.service.clock.sleep(seconds), self.meter)


async def run_batch(scene: Scene, items: int, ledger: Path) -> None:
    """Run a batch of so many items to their ends."""
    async with (
        AsyncCoreClaw(scene.service.api_key, transport=scene, clock=scene) as client,
        client.batch("bench", ledger=ledger) as batch,
    ):
        await batch.plan(specs(items))
        ended = 0
        async for outcome in batch.run(max_in_flight=_IN_FLIGHT):
            ended += outcome.state == "done"
        assert ended == items


def _megabytes(name: str) -> float:
    """Return a figure of this process that Linux gives in kB, in MB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 1024 / _MEGABYTE


def _batch(items: int) -> Cost:
    """Run a batch once, where the memory of the service counts too."""
    meter = Meter()
    collections = FullCollections(meter)
    scene = Scene(items, meter)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before, began = _megabytes("VmRSS"), time.process_time()
    with collections, tempfile.TemporaryDirectory(dir=_IN_MEMORY if _IN_MEMORY.is_dir() else None) as folder:
        anyio.run(run_batch, scene, items, Path(folder) / "runs.db")
    seconds = time.process_time() - began
    return Cost(
        requests=scene.requests,
        seconds=seconds - meter.used - meter.metering - collections.seconds,
        service_seconds=meter.used,
        metering_seconds=meter.metering,
        collecting_seconds=collections.seconds,
        megabytes=_megabytes("VmHWM") - before,
    )


def batches(items: int) -> Cost:
    """Return what a batch of so many items takes: the first one's memory, and the usual time of some."""
    _batch(_SMALL)  # What is loaded late is loaded now.
    costs = [_batch(items) for _ in range(_REPEATED.get(items, 1))]
    usual = {name: statistics.median(getattr(cost, name) for cost in costs) for name in _USUAL}
    return attrs.evolve(costs[0], **usual)


def memory_of_service(items: int) -> float:
    """Return the MB that so many runs take in a service."""
    service = scene(0)
    scripts = [RunScript(duration=float(number)) for number in range(items)]
    gc.collect()
    before = _megabytes("VmRSS")
    for spec, script in zip(specs(items), scripts, strict=True):
        service.add_run(spec.worker_id, script=script, input=spec.input, age=0.0)
    return _megabytes("VmRSS") - before


def measure(items: int) -> Cost:
    """Return what a batch of so many items takes, in processes that have done nothing else."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn, max_tasks_per_child=1) as pool:
        cost, service = pool.submit(batches, items), pool.submit(memory_of_service, items)
        return attrs.evolve(cost.result(), megabytes=max(cost.result().megabytes - service.result(), _PAGE))


def exponent(few: int, many: int, cost_of_few: float, cost_of_many: float) -> float:
    """Return the slope between two sizes, both logarithmic: 1 for a cost that grows as the number of items does."""
    return math.log(cost_of_many / cost_of_few) / math.log(many / few)


def _main(report: Report, largest: int) -> None:
    sizes = (_SMALL, _MIDDLE, largest)
    costs = {items: measure(items) for items in sizes}
    for name, unit, budget in _MEASURES:
        for items, cost in costs.items():
            total = getattr(cost, name)
            report.add(
                Row(
                    what=f"{items:,} items, {unit}",
                    unit=unit,
                    ours=total,
                    value=total / items * (1_000 if name == "seconds" else 1),
                    budget=budget if items == largest else None,
                    note="value: ms an item" if name == "seconds" else "value: an item",
                    key=f"growth/{items}/{name}",
                )
            )
        for few, many in pairwise(sizes):
            slope = exponent(few, many, getattr(costs[few], name), getattr(costs[many], name))
            report.add(
                Row(
                    what=f"{few:,} to {many:,} items, exponent of {unit}",
                    value=slope,
                    budget=_LINEAR if many == largest else None,
                    key=f"growth/{few}-{many}/{name}",
                )
            )
    for name, unit in _LEFT_OUT:
        for items, cost in costs.items():
            total = getattr(cost, name)
            report.add(
                Row(
                    what=f"{items:,} items, {unit}",
                    unit="s of processor time",
                    ours=total,
                    value=total / items * 1_000,
                    note="value: ms an item; left out above",
                    key=f"growth/{items}/{name}",
                )
            )


if __name__ == "__main__":
    command_line = parser(__doc__, _ROUNDS)
    command_line.add_argument("--largest", type=int, default=_LARGEST, help="items of the largest batch (%(default)s)")
    options = command_line.parse_args()
    if options.largest <= _MIDDLE:
        command_line.error(f"--largest must be above {_MIDDLE:,}, not {options.largest:,}")
    table = Report("bench_growth", options.rounds)
    _main(table, options.largest)
    table.finish(options.json)
