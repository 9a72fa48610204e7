"""What tests of batches have in common: plans, batches that run to their end, and who started what."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import attrs

from coreclaw_async import AsyncBatch, AsyncCoreClaw, BatchOutcome, RunSpec, events
from coreclaw_async.testing import FakeService

WORKER = "coreclaw/google-maps-scraper"


def specs(count: int, worker_id: str = WORKER, first: int = 0) -> Iterator[RunSpec]:
    for number in range(first, first + count):
        yield RunSpec(key=f"k{number}", worker_id=worker_id, input={"keywords": [f"k{number}"]})


def runs_by_key(service: FakeService) -> Counter[str]:
    """Return the number of paid runs by key."""
    return Counter(run.input["parameters"]["custom"]["keywords"][0] for run in service.runs.values() if run.paid)


def key_of(service: FakeService, run_id: str) -> str:
    return str(service.runs[run_id].input["parameters"]["custom"]["keywords"][0])


async def finish(batch: AsyncBatch, **options: Any) -> list[BatchOutcome]:
    return [outcome async for outcome in batch.run(**options)]


@asynccontextmanager
async def opened(service: FakeService, ledger: str, *, count: int = 0, **options: Any) -> AsyncIterator[AsyncBatch]:
    """A batch with a plan, of a client of its own."""
    client_options = {name: options.pop(name) for name in ("on_event", "callbacks", "retry") if name in options}
    async with (
        AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, **client_options) as client,
        client.batch("nightly", ledger=ledger, **options) as batch,
    ):
        await batch.plan(specs(count))
        yield batch


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
