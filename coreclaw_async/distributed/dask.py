"""A batch on a Dask cluster (extra ``dask``): shards go to its workers, and again when a worker dies."""

from __future__ import annotations

import importlib
import socket
import time
from collections.abc import AsyncGenerator, Callable
from functools import reduce
from operator import add
from typing import Any

import attrs

from coreclaw_async._batches.reconcile import SettleTimes
from coreclaw_async._batches.shard import Shard
from coreclaw_async._batches.stores import MEMORY, is_postgres
from coreclaw_async._client import AsyncCoreClaw
from coreclaw_async._sync_generated import CoreClaw
from coreclaw_async.errors import ConfigurationError
from coreclaw_async.events import BatchItemChanged, Event
from coreclaw_async.shards import ShardReport, ShardSpec, run_shard

# Dask itself gives a shard to another worker three times; then it is asked again, for the ledger makes that safe.
_MOST_SUBMITS = 5
_EVENT_SECONDS = 1.0


def run_batch(
    dask_client: Any,
    batch: str,
    *,
    ledger: str,
    output: str | None = None,
    shard_size: int = 200,
    exclusive: bool = False,
    max_in_flight: int | None = None,
    settle_times: SettleTimes | None = None,
    base_url: str | None = None,
) -> ShardReport | None:
    """
    Run what is planned and open of a batch on a Dask cluster, and return what it has come to; None if that is nothing.

    Whatever dies, worker, scheduler, this process or all of them, call it again: nothing is paid for twice, and no run
    is lost. Each thread of a worker runs one shard at a time. Progress stands in the dashboard, and in the events of
    the topic ``coreclaw-<batch>`` (``dask_client.get_events``).

    Args:
        dask_client: A ``distributed.Client``.
        batch: Name of the batch, which was planned before.
        ledger: ``postgresql://...`` that all machines reach; a SQLite file only where all workers run on this one.
        output: A folder that all workers reach, for the rows.
        shard_size: Items of a shard, 1 or more; all those of a shard are of one worker.
        exclusive: Whether nobody else starts runs of these workers.
        max_in_flight: Most runs that go on at once in one shard; None for what the plan bears.
        settle_times: When a lost start counts as settled.
        base_url: Where the service is; None for the environment's. The key comes from ``CORECLAW_API_KEY``, here and
            on each worker.

    Raises:
        ConfigurationError: The extra is missing, there is no key, or the ledger is not one for these workers.
        LedgerError: The ledger cannot be used.
        Exception: What a shard has failed with; the others go on until they end.
        ValueError: *shard_size* is out of range.
    """
    distributed = _distributed()
    _check_ledger(dask_client, ledger)
    template = ShardSpec(
        batch=batch,
        ledger=ledger,
        output=output,
        exclusive=exclusive,
        max_in_flight=max_in_flight,
        settle_times=settle_times,
        base_url=base_url,
    )
    with CoreClaw(base_url=base_url) as client, client.batch(batch, ledger=ledger) as planned:
        shards = planned.shards(shard_size)
    work = _Work(distributed, dask_client, shards, template)
    completed = distributed.as_completed(work.submit_all(), loop=dask_client.loop)
    for future in completed:
        again = work.ended(future, future.exception())
        if again is not None:
            completed.add(again)
        else:
            work.reports.append(future.result())
    return reduce(add, work.reports) if work.reports else None


async def arun_batch(
    dask_client: Any,
    batch: str,
    *,
    ledger: str,
    output: str | None = None,
    shard_size: int = 200,
    exclusive: bool = False,
    max_in_flight: int | None = None,
    settle_times: SettleTimes | None = None,
    base_url: str | None = None,
) -> AsyncGenerator[ShardReport]:
    """Run a batch with an asynchronous Dask client, and yield what each shard has come to; see `run_batch`."""
    distributed = _distributed()
    _check_ledger(dask_client, ledger)
    template = ShardSpec(
        batch=batch,
        ledger=ledger,
        output=output,
        exclusive=exclusive,
        max_in_flight=max_in_flight,
        settle_times=settle_times,
        base_url=base_url,
    )
    async with AsyncCoreClaw(base_url=base_url) as client, client.batch(batch, ledger=ledger) as planned:
        shards = await planned.shards(shard_size)
    work = _Work(distributed, dask_client, shards, template)
    completed = distributed.as_completed(work.submit_all(), loop=dask_client.loop)
    async for future in completed:
        again = work.ended(future, await future.exception())
        if again is not None:
            completed.add(again)
        else:
            yield await future.result()


class _Work:
    """The shards of a batch on their way through a cluster."""

    def __init__(self, distributed: Any, dask_client: Any, shards: list[Shard], template: ShardSpec) -> None:
        self._killed: type[Exception] = distributed.KilledWorker
        self._client = dask_client
        self._specs = [attrs.evolve(template, shard=shard) for shard in shards]
        self._submits = [0] * len(shards)
        self._numbers: dict[str, int] = {}
        self.reports: list[ShardReport] = []

    def submit_all(self) -> list[Any]:
        """Return the futures of all shards."""
        return [self._submit(number) for number in range(len(self._specs))]

    def ended(self, future: Any, error: BaseException | None) -> Any:
        """Return the future of another try where a worker has died once too often for Dask; else None."""
        number = self._numbers[future.key]
        if not isinstance(error, self._killed) or self._submits[number] >= _MOST_SUBMITS:
            return None
        return self._submit(number)

    def _submit(self, number: int) -> Any:
        spec = self._specs[number]
        key = f"cc-{spec.batch}-{number}-{self._submits[number]}"
        self._submits[number] += 1
        self._numbers[key] = number
        return self._client.submit(_run_on_worker, spec, key=key, pure=False)


def _run_on_worker(spec: ShardSpec) -> ShardReport:
    """Run a shard in a thread of a Dask worker, on a loop of its own: the worker's is for Dask alone."""
    return run_shard(spec, on_event=_progress(spec.batch, _distributed().get_worker().log_event))


def _progress(batch: str, log_event: Callable[[str, Any], None]) -> Callable[[Event], None]:
    """Return a hook that tells the cluster, once a second at most, how many items have come to which state."""
    counts: dict[str, int] = {}
    told = float("-inf")

    def note(event: Event) -> None:
        nonlocal told
        if not isinstance(event, BatchItemChanged):
            return
        counts[event.state] = counts.get(event.state, 0) + 1
        now = time.monotonic()
        if now - told >= _EVENT_SECONDS:
            told = now
            log_event(f"coreclaw-{batch}", dict(counts))

    return note


def _distributed() -> Any:
    try:
        return importlib.import_module("distributed")
    except ImportError:
        raise ConfigurationError('a batch on Dask needs the extra: pip install "coreclaw-async[dask]"') from None


def _check_ledger(dask_client: Any, ledger: str) -> None:
    """Raise where the workers cannot share the ledger."""
    if is_postgres(ledger):
        return
    if ledger == MEMORY:
        raise ConfigurationError("a ledger in memory cannot be shared: take postgresql://, or a file on one machine")
    workers: dict[str, dict[str, Any]] = dask_client.scheduler_info(n_workers=-1)["workers"]
    others = sorted({worker["host"] for worker in workers.values() if not _is_here(worker["host"])})
    if others:
        raise ConfigurationError(
            f"a SQLite file is for workers on this machine, and there are some on {', '.join(others)}: "
            "take postgresql://"
        )


def _is_here(host: str) -> bool:
    """Return whether *host* is an address of this machine."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True
