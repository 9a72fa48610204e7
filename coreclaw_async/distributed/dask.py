"""A batch on a Dask cluster (extra ``dask``): its workers run the shards, and run them again when one of them dies."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any, Unpack

import anyio
import attrs

from coreclaw_async._client import AsyncCoreClaw
from coreclaw_async._concurrency.calls import call_hook
from coreclaw_async._data.counting import counted
from coreclaw_async._extras import load_library
from coreclaw_async._logs import logger
from coreclaw_async._wire.request import check_hook, check_int
from coreclaw_async.batch import AsyncBatch, Shard
from coreclaw_async.batch._manifest import write_manifest
from coreclaw_async.batch._store.address import MEMORY, database_at, is_postgres
from coreclaw_async.distributed.shards import (
    ShardOptions,
    ShardReport,
    ShardSpec,
    batch_of,
    check_planned,
    report_of,
    run_shard,
)
from coreclaw_async.errors import BatchIncompleteError, ConfigurationError
from coreclaw_async.events import BatchItemChanged, Event, EventHook

# Dask itself gives a shard to another worker three times; then it is asked again, for the ledger makes that safe.
_MAX_SUBMITS = 5
_EVENT_SECONDS = 1.0


def run_batch(
    dask_client: Any,
    batch: str,
    *,
    shard_size: int = 200,
    on_event: EventHook | None = None,
    **options: Unpack[ShardOptions],
) -> ShardReport | None:
    """
    Run the planned and open items of a batch on a Dask cluster, and return the sum of the reports of its shards.

    Returns None if there was nothing to do. Items that are planned meanwhile are run too. If a worker, the scheduler or
    this process dies, call it again, also while another call is running: nothing is paid for twice, and no run is
    lost. A shard that fails does not affect the others. Each thread of a worker runs one shard at a time. An
    interrupted call takes back the shards that no worker has begun; the others run to their end.

    The dashboard shows progress, as do the events of the topic ``coreclaw-<batch>`` (``dask_client.get_events``).

    Args:
        dask_client: A ``distributed.Client``; an asynchronous one is for `arun_batch`.
        batch: Name of a batch that was planned.
        shard_size: Items of a shard, 1 or more; all items of a shard have the same worker.
        on_event: Called with each `coreclaw_async.events.BatchItemChanged` of all workers, in the thread of the Dask
            client's event loop, before the shard counts as ended. Events that a worker had not sent yet when it was
            killed are missing; the ledger has the states. Other events stay on the workers.
        **options: ``ledger``, which is required, ``output``, ``output_format``, ``exclusive``, ``on_ambiguous``,
            ``settle_times``, ``max_spend``, ``patience``, ``account``, ``max_in_flight`` and ``base_url``, as in
            `ShardSpec`. The ledger must be one that all workers reach; a SQLite file only if all of them run on this
            machine. *max_in_flight* is the limit of one shard; *max_spend* is that of the whole batch, written to the
            ledger once. Relative paths start at the folder of this process. ``manifest.jsonl`` is written to *output*
            at the end if this process reaches that folder. The key comes from ``CORECLAW_API_KEY``, here and on each
            worker. Files in ``parquet`` need the extra ``arrow`` on each worker.

    Raises:
        BatchIncompleteError: All shards have ended, and items are open, rows are missing, or a shard has failed (its
            exception is the ``__cause__``). Call it again.
        BatchStoppedError: The same, because the balance or the budget is used up.
        ConfigurationError: The extra is missing, there is no key, or the ledger is not one for these workers.
        LedgerError: The ledger cannot be used, or has no items of this batch.
        TypeError: An argument is of the wrong type, or the client is asynchronous.
        ValueError: An argument is out of range.

    Example::

        from distributed import Client


        def work(cluster: str) -> None:
            with Client(cluster) as dask_client:
                report = run_batch(dask_client, "nightly", ledger="postgresql://host/runs", output="/data/rows")
                print(report)
    """
    reports = _reports(dask_client, batch, shard_size, on_event, options, is_asynchronous=False)
    total: ShardReport | None = dask_client.sync(_sum, reports)
    return total


def arun_batch(
    dask_client: Any,
    batch: str,
    *,
    shard_size: int = 200,
    on_event: EventHook | None = None,
    **options: Unpack[ShardOptions],
) -> AsyncGenerator[ShardReport]:
    """
    Run a batch with an asynchronous Dask client, and yield the report of each shard as it ends.

    *batch*, *shard_size*, *on_event* and the *options* are those of `run_batch`, and *dask_client* is asynchronous. The
    errors are those of `run_batch`, raised while iterating; those of failed shards at the end.

    Example::

        from distributed import Client


        async def work(cluster: str) -> None:
            async with Client(cluster, asynchronous=True) as dask_client:
                async for report in arun_batch(dask_client, "nightly", ledger="postgresql://host/runs"):
                    print(report.counts)
    """
    return _reports(dask_client, batch, shard_size, on_event, options, is_asynchronous=True)


def _reports(
    dask_client: Any,
    batch: str,
    shard_size: int,
    on_event: EventHook | None,
    options: ShardOptions,
    *,
    is_asynchronous: bool,
) -> AsyncGenerator[ShardReport]:
    """Return what runs the batch, on the event loop of *dask_client*."""
    distributed = _distributed()
    if on_event is not None:
        check_hook("on_event", on_event)
    if dask_client.asynchronous is not is_asynchronous:
        raise TypeError(
            "run_batch takes a blocking Dask client outside of its event loop, and arun_batch an asynchronous one"
        )
    _check_names(options)
    spec = _everywhere(ShardSpec(batch=batch, **options))
    driver = _Driver(distributed, dask_client, spec, check_int("shard_size", shard_size, lowest=1), on_event)
    return driver.reports()


def _check_names(options: ShardOptions) -> None:
    """Refuse what is no option in the name of the function that was called, not in that of `ShardSpec`."""
    names = ShardOptions.__annotations__
    for name in options:
        if name not in names:
            raise TypeError(
                f"run_batch has no option {name!r}; it has on_event, shard_size, {', '.join(sorted(names))}"
            )
    if "ledger" not in options:
        raise TypeError("run_batch needs ledger=, the ledger in which the batch was planned")


async def _sum(reports: AsyncGenerator[ShardReport]) -> ShardReport | None:
    total: ShardReport | None = None
    async with aclosing(reports):
        async for report in reports:
            total = report if total is None else total + report
    return total


class _Driver:
    """One call that runs a batch; other calls may run it at the same time."""

    def __init__(
        self, distributed: Any, dask_client: Any, spec: ShardSpec, shard_size: int, on_event: EventHook | None
    ) -> None:
        self._as_completed = distributed.as_completed
        self._killed: type[Exception] = distributed.KilledWorker
        self._client = dask_client
        self._spec = spec
        self._size = shard_size
        self._on_event = on_event
        # Tasks of other calls, and earlier failed ones, must not be taken for tasks of this call.
        self._token = secrets.token_hex(8)
        self._given: dict[str, tuple[ShardSpec, int]] = {}
        self._futures: dict[str, Any] = {}
        self._last = -1
        self._total: ShardReport | None = None
        self._failures: list[Exception] = []

    async def reports(self) -> AsyncGenerator[ShardReport]:
        """Run all there is to run, and yield the report of each shard; raise at the end where that is not all."""
        await _check_ledger(self._client, self._spec.ledger)
        with self._listening():
            while shards := await self._next_shards():
                async with aclosing(self._run(shards)) as reports:
                    async for report in reports:
                        self._total = report if self._total is None else self._total + report
                        yield report
        if self._given:
            await self._check()

    async def _next_shards(self) -> list[Shard]:
        """Return shards of the open items that were not in the shards returned before."""
        async with AsyncCoreClaw(base_url=self._spec.base_url) as client:
            unopened = batch_of(self._spec, client)
            await check_planned(self._spec)
            async with unopened as batch:
                await report_of(batch, self._spec)
                found = await batch.shards(self._size, unwritten=self._spec.output is not None)
        # The budget is in the ledger now, and may be changed there while shards go on.
        self._spec = attrs.evolve(self._spec, max_spend=None)
        last, self._last = self._last, max([self._last, *(shard.last for shard in found)])
        return [attrs.evolve(shard, first=max(shard.first, last + 1)) for shard in found if shard.last > last]

    async def _run(self, shards: list[Shard]) -> AsyncGenerator[ShardReport]:
        try:
            for shard in shards:
                self._submit(attrs.evolve(self._spec, shard=shard), 1)
            completed = self._as_completed(list(self._futures.values()), loop=self._client.loop)
            async for future in completed:
                report, again = await self._ended(future)
                if again is not None:
                    completed.add(again)
                elif report is not None:
                    yield report
        finally:
            for future in self._futures.values():
                future.release()
            self._futures.clear()

    def _submit(self, spec: ShardSpec, attempt: int) -> Any:
        key = f"cc-{spec.batch}-{self._token}-{len(self._given)}"
        self._given[key] = spec, attempt
        topic = None if self._on_event is None else self._topic
        future = self._client.submit(_run_on_worker, spec, topic, key=key, pure=False)
        self._futures[key] = future
        return future

    async def _ended(self, future: Any) -> tuple[ShardReport | None, Any]:
        """Return the report of a shard, or the future of another try after workers died; record failures."""
        del self._futures[future.key]
        try:
            report: ShardReport = await future.result()
        except self._killed as error:
            spec, attempt = self._given[future.key]
            if attempt < _MAX_SUBMITS:
                return None, self._submit(spec, attempt + 1)
            self._failures.append(error)
        except Exception as error:  # noqa: BLE001 - raised when the other shards have ended
            self._failures.append(error)
        else:
            return report, None
        finally:
            future.release()
        return None, None

    async def _check(self) -> None:
        """Raise unless the batch is finished according to its ledger: a failed shard reports nothing."""
        async with AsyncCoreClaw(base_url=self._spec.base_url) as client, batch_of(self._spec, client) as batch:
            now = await report_of(batch, self._spec)
            await self._write_manifest(batch)
        if self._total is not None:
            now = attrs.evolve(now, stopped=self._total.stopped, reasons=self._total.reasons, error=self._total.error)
        cause = self._failures[0] if self._failures else None
        if cause is not None:
            now = attrs.evolve(now, error=f"{counted(len(self._failures), 'failure')}: {type(cause).__name__}: {cause}")
        try:
            now.check()
        except BatchIncompleteError as error:
            raise error from cause

    async def _write_manifest(self, batch: AsyncBatch) -> None:
        """Write the manifest of the whole batch, which no shard knows, if this process reaches the folder."""
        folder = self._spec.output
        if folder is None or not await anyio.Path(folder).is_dir():
            return
        try:
            await write_manifest(Path(folder), batch.items())
        except OSError as error:
            self._failures.append(error)

    @property
    def _topic(self) -> str:
        return f"coreclaw-{self._spec.batch}-{self._token}"

    @contextmanager
    def _listening(self) -> Generator[None]:
        """Pass on the workers' events of items, which the scheduler keeps in order."""
        on_event = self._on_event
        if on_event is None:
            yield
            return

        def hear(event: tuple[float, dict[str, dict[str, Any]]]) -> None:
            try:
                call_hook("on_event", on_event, BatchItemChanged(**event[1]["item"]))
            except Exception:  # noqa: BLE001 - it would end the client's connection to the scheduler
                logger.exception("the on_event hook failed on BatchItemChanged")

        self._client.subscribe_topic(self._topic, hear)
        try:
            yield
        finally:
            if self._client.status == "running":  # pragma: no branch - a client that was closed has no topics
                self._client.unsubscribe_topic(self._topic)


def _run_on_worker(spec: ShardSpec, topic: str | None) -> ShardReport:
    """Run a shard in a thread of a Dask worker, on a loop of its own: the worker's is for Dask alone."""
    log_event = _distributed().get_worker().log_event
    progress = _progress(spec.batch, log_event)

    def note(event: Event) -> None:
        if isinstance(event, BatchItemChanged):
            progress(event)
            if topic is not None:
                log_event(topic, {"item": attrs.asdict(event)})  # Dask adds a member of its own.

    return run_shard(spec, on_event=note)


def _progress(batch: str, log_event: Callable[[str, Any], None]) -> Callable[[BatchItemChanged], None]:
    """Return a hook that logs to the cluster, at most once a second, how many items have come to which state."""
    counts: dict[str, int] = {}
    told = float("-inf")

    def note(event: BatchItemChanged) -> None:
        nonlocal told
        counts[event.state] = counts.get(event.state, 0) + 1
        now = time.monotonic()
        if now - told >= _EVENT_SECONDS:
            told = now
            log_event(f"coreclaw-{batch}", dict(counts))

    return note


def _distributed() -> Any:
    return load_library("distributed", need="a batch on Dask", requirement="coreclaw-async[dask]")


def _everywhere(spec: ShardSpec) -> ShardSpec:
    """Return *spec* with absolute paths, for processes in other folders."""
    database_at(spec.ledger)
    if spec.ledger == MEMORY:
        raise ConfigurationError(
            "a ledger in memory cannot be shared between processes: use postgresql://, or a file on one machine"
        )
    if not is_postgres(spec.ledger):
        spec = attrs.evolve(spec, ledger=Path(os.fspath(spec.ledger).removeprefix("sqlite:///")).absolute())
    return spec if spec.output is None else attrs.evolve(spec, output=Path(spec.output).absolute())


async def _check_ledger(dask_client: Any, ledger: str | os.PathLike[str]) -> None:
    """Raise where the workers cannot share the ledger."""
    if is_postgres(ledger):
        return
    # `Client.scheduler_info` of an asynchronous client knows of no workers.
    identity: dict[str, dict[str, Any]] = await dask_client.scheduler.identity(n_workers=-1)
    others = sorted({worker["host"] for worker in identity["workers"].values() if not _is_here(worker["host"])})
    if others:
        raise ConfigurationError(
            f"workers on other machines cannot use a SQLite file, and there are some on {', '.join(others)}: "
            "use postgresql://"
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
