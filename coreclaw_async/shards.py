"""A part of a batch as one call, for whatever distributes work: it may be run anywhere, any number of times."""

from __future__ import annotations

import time
from collections.abc import Mapping
from decimal import Decimal

import anyio
import attrs

from coreclaw_async._batches.reconcile import SettleTimes
from coreclaw_async._batches.shard import Shard
from coreclaw_async._client import AsyncCoreClaw
from coreclaw_async.errors import BatchStoppedError
from coreclaw_async.events import EventHook


@attrs.frozen(kw_only=True)
class ShardSpec:
    """
    What a worker process needs to run a part of a batch: plain data that can be pickled, and no key.

    Attributes:
        batch: Name of the batch.
        ledger: Its ledger; ``postgresql://...`` unless all processes are on one machine. May hold a password, which no
            ``repr`` shows.
        shard: The part.
        output: A folder that all processes reach, or None.
        exclusive: Whether nobody else starts runs of these workers.
        max_in_flight: Most runs of this part that go on at once, 1 or more; None for what the plan bears.
        settle_times: When a lost start counts as settled.
        base_url: Where the service is; None for the environment's ``CORECLAW_BASE_URL``.
    """

    batch: str
    ledger: str = attrs.field(repr=False)
    shard: Shard = attrs.field(factory=Shard)
    output: str | None = None
    exclusive: bool = False
    max_in_flight: int | None = None
    settle_times: SettleTimes | None = None
    base_url: str | None = None


@attrs.frozen(kw_only=True)
class ShardReport:
    """
    What a part of a batch has come to: counts, never rows.

    Attributes:
        batch: Name of the batch.
        counts: Items of the part in each state (`coreclaw_async.BatchItemState`), also where there are none.
        runs: Runs that its items have had.
        result_count: Rows that they have found.
        cost: What they have cost, in US dollars.
        requests: HTTP requests of this call.
        wasted: Starts of this call that were refused for the plan or the rate.
        seconds: How long this call took.
        stopped: Why planned items were left (`coreclaw_async.BatchStoppedError`), or None.
    """

    batch: str
    counts: Mapping[str, int]
    runs: int
    result_count: int
    cost: Decimal
    requests: int
    wasted: int
    seconds: float
    stopped: str | None = None

    def __add__(self, other: ShardReport) -> ShardReport:
        """Return the report of both parts together."""
        return ShardReport(
            batch=self.batch,
            counts={state: count + other.counts[state] for state, count in self.counts.items()},
            runs=self.runs + other.runs,
            result_count=self.result_count + other.result_count,
            cost=self.cost + other.cost,
            requests=self.requests + other.requests,
            wasted=self.wasted + other.wasted,
            seconds=self.seconds + other.seconds,
            stopped=self.stopped or other.stopped,
        )


def run_shard(spec: ShardSpec, *, on_event: EventHook | None = None) -> ShardReport:
    """
    Run a part of a batch to its end, on an event loop of its own, and return what it has come to.

    The key is that of this process' environment, ``CORECLAW_API_KEY``. It may be run again after whatever has become
    of an earlier call, and at the same time as others: the ledger decides who starts what.

    Args:
        spec: The part.
        on_event: Called with each event (`coreclaw_async.events`).

    Raises:
        CoreClawError: As `AsyncBatch.run`; `BatchStoppedError` apart, which is told in the report.
        RuntimeError: An event loop is running in this thread: await `run_shard_async` there.
    """
    return anyio.run(lambda: run_shard_async(spec, on_event=on_event))


async def run_shard_async(spec: ShardSpec, *, on_event: EventHook | None = None) -> ShardReport:
    """Run a part of a batch to its end; see `run_shard`."""
    began = time.monotonic()
    stopped: str | None = None
    async with (
        AsyncCoreClaw(base_url=spec.base_url, on_event=on_event) as client,
        client.batch(
            spec.batch,
            ledger=spec.ledger,
            exclusive=spec.exclusive,
            settle_times=spec.settle_times,
            shard=spec.shard,
        ) as batch,
    ):
        try:
            async for _ in batch.run(max_in_flight=spec.max_in_flight, output=spec.output):
                pass
        except BatchStoppedError as error:
            stopped = error.reason
        report = await batch.report()
    return ShardReport(
        batch=spec.batch,
        counts={state.value: count for state, count in report.counts.items()},
        runs=report.runs,
        result_count=report.result_count,
        cost=report.cost,
        requests=report.requests,
        wasted=report.wasted,
        seconds=time.monotonic() - began,
        stopped=stopped,
    )
