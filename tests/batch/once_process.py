"""
A process that asks for the run of a key: ``once_process.py URL LEDGER BASE STAGE EXCLUSIVE``.

It kills itself with SIGKILL when it comes to STAGE, if that is one of its own. Otherwise it writes the id of the run
and its status, or the type of the error and its candidates. Its clock, like the service's, runs fast from BASE on.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import anyio

from coreclaw_async import CoreClaw, CoreClawError, events
from coreclaw_async.testing import RealClock

RATE = 20.0
WORKER = "coreclaw/google-maps-scraper"
INPUT = {"keywords": ["coffee"]}


class FastClock(RealClock):
    """The real time, *RATE* times as fast."""

    def __init__(self, base: float) -> None:
        super().__init__()
        self._base = base

    def monotonic(self) -> float:
        return time.monotonic() * RATE

    def time(self) -> float:
        return self._base + (time.time() - self._base) * RATE

    async def sleep(self, seconds: float, /) -> None:
        await anyio.sleep(seconds / RATE)


def stage_of(event: events.Event) -> str | None:
    match event:
        case events.RequestSent(operation="listWorkerRuns"):
            return "before_intent"
        case events.BatchItemChanged(state="intent"):
            return "after_intent"
        case events.RequestSent(operation="runWorker"):
            return "answered"
        case events.BatchItemChanged(state="submitted"):
            return "after_run_id"
        case events.RunChanged():
            return "polling"
        case events.BatchItemChanged(state="done"):
            return "recorded"
        case _:
            return None


def main(url: str, ledger: str, base: str, stage: str, exclusive: str) -> None:
    def note(event: events.Event) -> None:
        if stage_of(event) == stage:
            os.kill(os.getpid(), signal.SIGKILL)

    with CoreClaw("test-key", base_url=url, on_event=note, clock=FastClock(float(base))) as client:
        try:
            run = client.workers.run_once(
                "coffee", WORKER, INPUT, ledger=Path(ledger), exclusive=exclusive == "exclusive"
            )
        except CoreClawError as error:
            told = [type(error).__name__, *(error.candidates or ())]
        else:
            told = [run.run_id, str(run.status)]
    sys.stdout.write(" ".join(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
