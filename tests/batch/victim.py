"""
A process that runs a batch and dies in the middle of it: ``victim.py URL LEDGER FOLDER STAGE COUNT FORMAT``.

It kills itself with SIGKILL at the COUNT-th time that it comes to STAGE, or lives on where that is none of its own.
With ``naive`` as its ledger it does the same work without one: what is in the folder is done, and all else is started.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn, cast

import anyio

from coreclaw_async import AsyncCoreClaw, PollSchedule, SettleTimes, events
from coreclaw_async.batch import OutputFormat

KEYS = 600
WORKERS = ("me/one", "me/two", "me/three")
# The service's Date has whole seconds only, which the skew must allow for.
TIMES = SettleTimes(send_window=0.3, post_timeout=1.0, skew=1.5, list_lag=0.2)
SCHEDULE = PollSchedule(delays=(0.2,), jitter=0.0)


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("dead")


class Death:
    """Counts how often a stage was reached."""

    def __init__(self, stage: str, count: int) -> None:
        self._stage = stage
        self._left = count
        self.is_near = False
        self._is_renamed = False
        if stage in {"before_rename", "after_rename"}:
            sys.addaudithook(self._hear)

    def reach(self, stage: str) -> None:
        if stage == self._stage:
            self._left -= 1
            if self._left <= 0:
                die()

    def note(self, event: events.Event) -> None:
        match event:
            case events.BatchItemChanged(state="intent"):
                self.reach("after_intent")
            case events.BatchItemChanged(state="submitted"):
                self.reach("after_run_id")
                # The clock is read next for the next intent, or for a poll before it.
                self._left -= self._stage == "before_intent"
                self.is_near = self._stage == "before_intent" and self._left <= 0
            case events.RunChanged():
                self.reach("polling")
            case _:
                pass

    def is_consumer_slow(self) -> bool:
        self._left -= self._stage == "slow_consumer"
        return self._stage == "slow_consumer" and self._left <= 0

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "os.rename" and "part-" in str(arguments[0]):
            self.reach("before_rename")
            self._is_renamed = True
        elif event == "open" and self._is_renamed and Path(str(arguments[0])).is_dir():  # To have the name on the disk.
            self._is_renamed = False
            self.reach("after_rename")


class DeathClock:
    """The machine's clock, which is read before each intent."""

    def __init__(self, death: Death) -> None:
        self._death = death

    def monotonic(self) -> float:
        return time.monotonic()

    def time(self) -> float:
        if self._death.is_near:
            die()
        return time.time()

    async def sleep(self, seconds: float, /) -> None:
        await anyio.sleep(seconds)


async def run(url: str, ledger: str, folder: Path, death: Death, output_format: OutputFormat) -> None:
    async with (
        AsyncCoreClaw(
            "test-key", base_url=url, on_event=death.note, clock=DeathClock(death), poll_schedule=SCHEDULE
        ) as client,
        client.batch("crashes", ledger=ledger, exclusive=True, settle_times=TIMES) as batch,
    ):
        async for _ in batch.run(output=folder, output_format=output_format):
            if death.is_consumer_slow():
                await anyio.sleep(1.0)  # The batch goes on meanwhile, and nobody takes its outcomes.
                die()


async def run_naively(url: str, folder: Path) -> None:
    """Start, wait, and only then record what is done, as code without a ledger does."""
    slots = anyio.CapacityLimiter(8)
    async with AsyncCoreClaw("test-key", base_url=url, poll_schedule=SCHEDULE) as client:

        async def one(key: str, worker: str) -> None:
            if (folder / key).exists():
                return
            async with slots:
                started = await client.workers.start_run(worker, {"keywords": [key]})
                await client.runs.wait(started)
                (folder / key).touch()

        async with anyio.create_task_group() as group:
            for number in range(KEYS):
                group.start_soon(one, f"k{number}", WORKERS[number % len(WORKERS)])


def main(url: str, ledger: str, folder: str, stage: str, count: str, output_format: str) -> None:
    if ledger == "naive":
        anyio.run(run_naively, url, Path(folder))
    else:
        death = Death(stage, int(count))
        anyio.run(run, url, ledger, Path(folder), death, cast("OutputFormat", output_format))


if __name__ == "__main__":
    main(*sys.argv[1:])
