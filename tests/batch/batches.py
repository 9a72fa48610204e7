"""What tests of batches have in common: plans, batches that run to their end, and who started what."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from coreclaw_async import AsyncBatch, AsyncCoreClaw, BatchOutcome, RunSpec
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


async def take_until(outcomes: AsyncIterator[BatchOutcome], is_time: Callable[[], object]) -> None:
    """Take outcomes, and be cancelled when *is_time* is true; what was begun by then stays as it is."""

    async def stop() -> None:
        while not is_time():
            await checkpoint()  # A virtual clock would jump while this one rests.
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(stop)
        async for _ in outcomes:
            pass
        group.cancel_scope.cancel()
    assert is_time(), "the batch has ended before"


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
