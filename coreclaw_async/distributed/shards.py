"""A part of a batch as one call, for engines that distribute work: run it anywhere, any number of times."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from decimal import Decimal
from typing import NotRequired, Self, TypedDict

import anyio
import attrs

from coreclaw_async._client import AsyncCoreClaw
from coreclaw_async._data.counting import counted
from coreclaw_async._data.record import Model
from coreclaw_async._wire.request import check_int
from coreclaw_async.batch import AsyncBatch, BatchItemState, OnAmbiguous, OutputFormat, SettleTimes, Shard
from coreclaw_async.batch._arguments import check_format
from coreclaw_async.batch._ledger.spending import cost_as_told, exact_sum
from coreclaw_async.batch._store.address import is_postgres, shown_ledger
from coreclaw_async.batch._store.lookup import batches_in
from coreclaw_async.errors import BatchIncompleteError, BatchStoppedError, CoreClawError, LedgerError
from coreclaw_async.events import EventHook

_MAX_REASONS = 100
_WHY_STOPPED = {
    "balance": "the balance does not cover another run",
    "max_spend": "the budget does not cover another run",
}


class ShardOptions(TypedDict):
    """The members of a `ShardSpec` that are the same for all parts of a batch, as keyword arguments."""

    ledger: str | os.PathLike[str]
    output: NotRequired[str | os.PathLike[str] | None]
    output_format: NotRequired[OutputFormat]
    exclusive: NotRequired[bool]
    on_ambiguous: NotRequired[OnAmbiguous]
    settle_times: NotRequired[SettleTimes | None]
    max_spend: NotRequired[Decimal | None]
    patience: NotRequired[float]
    account: NotRequired[str | None]
    max_in_flight: NotRequired[int | None]
    base_url: NotRequired[str | None]


def _most(_: object, attribute: attrs.Attribute[int | None], value: int | None) -> None:
    if value is not None:
        check_int(attribute.name, value, lowest=1)


def _fitting(spec: ShardSpec, _: object, value: OutputFormat) -> None:
    check_format(value, has_output=spec.output is not None)


@attrs.frozen(kw_only=True)
class ShardSpec:
    """
    What a worker process needs to run a part of a batch: plain data that can be pickled, without the key.

    It has all options of `AsyncCoreClaw.batch` and `AsyncBatch.run` except ``width``: several starts at once need a
    `CallbackHub`, which no process that runs a part has.

    Attributes:
        batch: Name of the batch.
        ledger: Its ledger; ``postgresql://...`` unless all processes run on one machine. It may hold a password, so no
            ``repr`` shows it.
        shard: The part.
        output: A folder that all processes reach, or None.
        output_format: What the files of rows are, as in `AsyncBatch.run`: ``jsonl`` or ``parquet`` (extra ``arrow``,
            in the process that runs the part).
        exclusive: Whether nobody else starts runs of these workers.
        on_ambiguous: What to do with an item when it cannot be found out whether it has a run: ``hold``, ``fail`` or
            ``resubmit``.
        settle_times: When a start that was not answered counts as settled; None for the default.
        max_spend: The budget of the whole batch, all of its parts, in US dollars above 0; written to the ledger
            whenever a part begins. None for the budget in the ledger.
        patience: Seconds since the first failure in a row for which to keep trying while the service cannot be used; 0
            or more.
        account: Name of the account if the batch was planned with one; or None.
        max_in_flight: Most runs of this part at once, 1 or more; None for as many as the plan allows.
        base_url: Where the service is; None for the environment's ``CORECLAW_BASE_URL``.

    Raises:
        TypeError: *max_in_flight* is not a whole number.
        ValueError: *max_in_flight* is out of range, or there is no such *output_format*, or no *output* for it; the
            other members are checked when the part is run.

    Example::

        shards = await batch.shards(200)
        specs = [ShardSpec(batch="nightly", ledger="sqlite:////data/runs.db", shard=shard) for shard in shards]
    """

    batch: str
    ledger: str | os.PathLike[str] = attrs.field(repr=False)
    shard: Shard = attrs.field(factory=Shard)
    output: str | os.PathLike[str] | None = None
    output_format: OutputFormat = attrs.field(default="jsonl", validator=_fitting)
    exclusive: bool = False
    on_ambiguous: OnAmbiguous = "hold"
    settle_times: SettleTimes | None = None
    max_spend: Decimal | None = None
    patience: float = 1800.0
    account: str | None = None
    max_in_flight: int | None = attrs.field(default=None, validator=_most)
    base_url: str | None = None


@attrs.frozen(kw_only=True, repr=False)
class ShardReport(Model):
    """
    The result of a part of a batch: counts, never rows. Look at `is_finished`, or call `check`.

    Reports of parts that have no item in common can be added: numbers are summed, money exactly, and the first 100
    reasons are kept.

    Attributes:
        batch: Name of the batch.
        counts: Items of the part in each state (`coreclaw_async.BatchItemState`), zeros included.
        runs: Runs that its items have had.
        result_count: Rows that they have found, as far as it is known.
        unknown_rows: Ended runs whose rows the service has not counted.
        cost: What they have cost, in US dollars, as far as it is known; exact.
        unknown_costs: Ended runs of unknown cost.
        requests: HTTP requests of this call.
        wasted: Starts of this call that were refused for the plan or the rate.
        seconds: How long this call took; the sum where reports were added, which is more than the time that passed
            where calls ran in parallel.
        stopped: Why planned items were left: ``balance`` or ``max_spend`` (`BatchStoppedError`), or None.
        reasons: Why items are open or rows are missing, by key; the first 100.
        error: The error that ended the call early, or None.

    Example::

        def work(spec: ShardSpec) -> dict[str, object]:  # In a worker process.
            report = run_shard(spec)
            return report.to_dict()
    """

    batch: str
    counts: Mapping[str, int] = attrs.field(hash=False)
    runs: int
    result_count: int
    unknown_rows: int
    cost: Decimal
    unknown_costs: int
    requests: int
    wasted: int
    seconds: float
    stopped: str | None = None
    reasons: Mapping[str, str] = attrs.field(factory=dict[str, str], hash=False)
    error: str | None = None

    @property
    def is_finished(self) -> bool:
        """Whether another call would have nothing to do, as no item is open, no row missing, and nothing went wrong."""
        return not (self.open_counts or self.reasons or self.error)

    @property
    def open_counts(self) -> Mapping[str, int]:
        """Items in each open state, ``planned``, ``intent`` and ``submitted``, where there are any."""
        return {state: count for state, count in self.counts.items() if count and BatchItemState(state).is_open}

    def check(self) -> Self:
        """
        Return this report if the part is finished.

        Raises:
            BatchIncompleteError: It is not (`is_finished`): run it again.
            BatchStoppedError: The same, because the balance or the budget is used up.
        """
        if self.is_finished:
            return self
        left = self.open_counts
        what = ", ".join(f"{count} {state}" for state, count in left.items())
        what = what or ("rows are missing" if self.reasons else "a part of it has failed")
        why = [why for why in (self.error, _WHY_STOPPED.get(self.stopped or "")) if why]
        why += [f"{key!r}: {reason}" for key, reason in list(self.reasons.items())[:1]]
        done = counted(self.counts.get("done", 0), "item is", "items are")
        cost = cost_as_told(self.cost, self.unknown_costs)
        came_to = f"{done} done, {counted(self.runs, 'run has', 'runs have')} cost {cost}"
        message = "; ".join([f"the batch {self.batch!r} is not complete: {what}", *why, came_to])
        if self.stopped is not None and "planned" in left:
            raise BatchStoppedError(
                message,
                reason=self.stopped,
                left=left["planned"],
                spent=self.cost,
                counts=left,
                reasons=self.reasons,
            )
        raise BatchIncompleteError(message, counts=left, reasons=self.reasons)

    def __add__(self, other: ShardReport) -> ShardReport:
        """
        Return the report of both parts together.

        Raises:
            ValueError: They are of different batches.
        """
        if not isinstance(other, ShardReport):
            return NotImplemented
        if other.batch != self.batch:
            raise ValueError(f"reports of different batches cannot be added: {self.batch!r} and {other.batch!r}")
        reasons = {**other.reasons, **self.reasons}
        return ShardReport(
            batch=self.batch,
            counts={
                state: self.counts.get(state, 0) + other.counts.get(state, 0)
                for state in {**self.counts, **other.counts}
            },
            runs=self.runs + other.runs,
            result_count=self.result_count + other.result_count,
            unknown_rows=self.unknown_rows + other.unknown_rows,
            cost=exact_sum([(self.cost, 1), (other.cost, 1)]),
            unknown_costs=self.unknown_costs + other.unknown_costs,
            requests=self.requests + other.requests,
            wasted=self.wasted + other.wasted,
            seconds=self.seconds + other.seconds,
            stopped=self.stopped or other.stopped,
            reasons={key: reasons[key] for key in [*self.reasons, *other.reasons][:_MAX_REASONS]},
            error=self.error or other.error,
        )


def run_shard(spec: ShardSpec, *, on_event: EventHook | None = None) -> ShardReport:
    """
    Run a part of a batch on an event loop of its own, and return its report.

    The key is read from the environment, ``CORECLAW_API_KEY``. The same part may be run again, however an earlier call
    ended, and by several processes at once: the ledger decides who starts what.

    A report is returned even if not everything could be done, so that an engine that runs many parts does not lose them
    to the failure of one. It then says what is open and why, and ``is_finished`` is false. Call `ShardReport.check` to
    get an exception, for example in a task that should be retried.

    Args:
        spec: The part.
        on_event: Called with each event (``coreclaw_async.events``).

    Raises:
        ConfigurationError: There is no key, or an extra is missing.
        LedgerError: The ledger cannot be used, or has no items of this part: it is another ledger, batch or account.
        RuntimeError: An event loop is running in this thread: await `run_shard_async` there.
        ValueError: A member of *spec* is out of range.

    Example::

        def work(spec: ShardSpec) -> ShardReport:  # In a worker process, of any engine.
            return run_shard(spec).check()
    """
    return anyio.run(lambda: run_shard_async(spec, on_event=on_event))


async def run_shard_async(spec: ShardSpec, *, on_event: EventHook | None = None) -> ShardReport:
    """
    Run a part of a batch, and return its report; *spec*, *on_event* and errors are those of `run_shard`.

    Example::

        async def work(spec: ShardSpec) -> ShardReport:
            report = await run_shard_async(spec)
            return report.check()
    """
    async with AsyncCoreClaw(base_url=spec.base_url, on_event=on_event) as client:
        return await run_with(client, spec)


def batch_of(spec: ShardSpec, client: AsyncCoreClaw) -> AsyncBatch:
    """Return the part as a batch of *client*; nothing is opened before its block begins."""
    return client.batch(
        spec.batch,
        ledger=spec.ledger,
        exclusive=spec.exclusive,
        on_ambiguous=spec.on_ambiguous,
        settle_times=spec.settle_times,
        shard=spec.shard,
        max_spend=spec.max_spend,
        patience=spec.patience,
        account=spec.account,
    )


async def run_with(client: AsyncCoreClaw, spec: ShardSpec) -> ShardReport:
    """Run a part of a batch with *client*, and return its report; see `run_shard`."""
    began = time.monotonic()
    stopped: str | None = None
    reasons: Mapping[str, str] = {}
    failure: str | None = None
    is_incomplete = False
    unopened = batch_of(spec, client)
    await check_planned(spec)
    async with unopened as batch:
        outcomes = batch.run(max_in_flight=spec.max_in_flight, output=spec.output, output_format=spec.output_format)
        try:
            async for _ in outcomes:
                pass
        except BatchIncompleteError as error:
            stopped = error.reason if isinstance(error, BatchStoppedError) else None
            reasons, is_incomplete, failure = error.reasons, True, error.message
        except (CoreClawError, OSError) as error:
            failure = f"{type(error).__name__}: {error}"
        report = attrs.evolve(
            await report_of(batch, spec), seconds=time.monotonic() - began, stopped=stopped, reasons=dict(reasons)
        )
    # An error that left no open item and no missing row, such as a plan that broke off, must not look finished.
    return report if is_incomplete and not report.is_finished else attrs.evolve(report, error=failure)


async def check_planned(spec: ShardSpec) -> None:
    """
    Raise where a ledger in SQLite does not know the batch: opening it would make the file, or a batch without items.

    Raises:
        LedgerError: There is no such file or batch, or it cannot be read.
    """
    if not is_postgres(spec.ledger) and spec.batch not in (await batches_in(spec.ledger) or ()):
        raise _no_items(spec)


async def report_of(batch: AsyncBatch, spec: ShardSpec) -> ShardReport:
    """
    Return the report of *batch*, which *spec* names, or of its part, from its ledger.

    Raises:
        LedgerError: The ledger has no such items: the name or the address is wrong.
    """
    report = await batch.report()
    if not report.total:
        raise _no_items(spec)
    return ShardReport(
        batch=batch.name,
        counts={state.value: count for state, count in report.counts.items()},
        runs=report.runs,
        result_count=report.result_count,
        unknown_rows=report.unknown_rows,
        cost=report.cost,
        unknown_costs=report.unknown_costs,
        requests=report.requests,
        wasted=report.wasted,
        seconds=0.0,
    )


def _no_items(spec: ShardSpec) -> LedgerError:
    part = "" if spec.shard == Shard() else f" in {spec.shard}"
    return LedgerError(
        f"ledger {shown_ledger(spec.ledger)} has no items of batch {spec.batch!r}{part}, so nothing was run: "
        "use the name, the ledger and the account that it was planned with"
    )
