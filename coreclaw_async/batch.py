"""AsyncBatch: many runs, each paid for once, through crashes and on several machines."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Self, get_args

import anyio
import anyio.abc
import attrs

from coreclaw_async import errors
from coreclaw_async._batches.admission import Budget, Limits
from coreclaw_async._batches.batch_ledger import BatchLedger
from coreclaw_async._batches.engine import BatchOutcome, Engine
from coreclaw_async._batches.late_callbacks import LateCallbacks
from coreclaw_async._batches.means import Means, OnAmbiguous
from coreclaw_async._batches.part_files import PartFiles
from coreclaw_async._batches.reconcile import SettleTimes
from coreclaw_async._batches.shard import Shard
from coreclaw_async._batches.specs import PlannedSpec, RunSpec, check_key
from coreclaw_async._batches.stores import shown_ledger, store_at
from coreclaw_async._known import KnownIds
from coreclaw_async._resources.context import Context
from coreclaw_async._resources.run_calls import abort_run, read_run
from coreclaw_async._streams import AsyncStream
from coreclaw_async._wire.request import check_id, check_int
from coreclaw_async._wire.retry import RetryPolicy
from coreclaw_async.events import Event, RequestSent, RunsPolled
from coreclaw_async.ledger import BatchItem, BatchItemRun, BatchItemState, IllegalStepError, ItemOrigin

_CHUNK = 1_000
_MOST_HELD = 100
_MOST_WIDTH = 8
_ABORTS_AT_ONCE = 8
# A start under way when the batch is closed may take so long to be answered; after that it counts as lost.
_GRACE_SECONDS = 5.0


@attrs.frozen(kw_only=True)
class BatchReport:
    """
    Where a batch stands.

    Attributes:
        name: Name of the batch.
        counts: Items in each state, also where there are none.
        runs: Runs that its items have had, earlier attempts included.
        result_count: Rows that they have found.
        cost: What they have cost, in US dollars.
        held: The first 100 items that a person must decide on, with their candidates.
        requests: HTTP requests that this object has sent.
        wasted: Starts of those that were refused for the plan or the rate.
        in_flight_limit: Runs in flight that the account's plan is known to bear, or None.
    """

    name: str
    counts: Mapping[BatchItemState, int]
    runs: int
    result_count: int
    cost: Decimal
    held: Sequence[BatchItem]
    requests: int
    wasted: int
    in_flight_limit: int | None

    @property
    def total(self) -> int:
        """All items."""
        return sum(self.counts.values())

    @property
    def is_finished(self) -> bool:
        """Whether `AsyncBatch.run` would find nothing to do."""
        return not any(count for state, count in self.counts.items() if state.is_open)


class AsyncBatch:
    """
    Many runs under one name, whose truth is in a ledger: ``async with client.batch(...) as batch``.

    Before a start is sent its intent is on the disk, and what came of it is written down before the next one of the
    same worker. So a process may be killed at any moment: the next one goes on, pays for nothing twice and loses no
    run. Where nobody can tell whether an item has a run, the item is held for a person (`resolve`).
    """

    def __init__(
        self,
        context: Context,
        name: str,
        *,
        ledger: str | os.PathLike[str],
        exclusive: bool,
        on_ambiguous: OnAmbiguous,
        settle_times: SettleTimes | None,
        shard: Shard | None = None,
    ) -> None:
        check_key(name)
        if on_ambiguous not in get_args(OnAmbiguous):
            raise ValueError(f"on_ambiguous must be one of {', '.join(get_args(OnAmbiguous))}, not {on_ambiguous!r}")
        if settle_times is not None and not isinstance(settle_times, SettleTimes):
            raise TypeError(f"settle_times must be SettleTimes, not {type(settle_times).__name__}")
        self._name = name
        self._shown = shown_ledger(ledger)
        self._requests = 0
        store = store_at(ledger)
        context = self._counting(context)
        self._means = Means(
            context=context,
            starts=_sent_once(context),
            ledger=BatchLedger(store, name, context.transport.settings.credentials.account, shard or Shard()),
            times=settle_times or SettleTimes(),
            exclusive=exclusive,
            on_ambiguous=on_ambiguous,
            requests=lambda: self._requests,
        )
        self._stack: AsyncExitStack | None = None
        self._group: anyio.abc.TaskGroup | None = None
        self._engine: Engine | None = None
        self._late = LateCallbacks(self._means, self._settled)

    def __repr__(self) -> str:
        return f"AsyncBatch({self._name!r}, ledger={self._shown!r})"

    @property
    def name(self) -> str:
        """Name of the batch."""
        return self._name

    async def __aenter__(self) -> Self:
        """
        Open the ledger.

        Raises:
            LedgerError: It cannot be used, or the batch is another account's.
            ConfigurationError: There is no API key, or an extra is missing.
        """
        if self._stack is not None:
            raise RuntimeError("the batch is open already")
        if self._means.context.transport.settings.credentials.is_missing:
            raise errors.ConfigurationError("a batch needs an API key: give api_key= or set CORECLAW_API_KEY")
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._means.ledger.store.aclose)
            await self._means.ledger.open(self._means.clock.time())
            self._group = await stack.enter_async_context(anyio.create_task_group())
            await self._late.listen(self._group)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Start no more runs, let the starts under way be answered (five seconds at most), and close the ledger."""
        stack, self._stack = self._stack, None
        group, self._group = self._group, None
        assert stack is not None, "the batch was opened"
        assert group is not None, "with a group"
        self._late.leave()
        if self._engine is not None:
            self._engine.admission.stop("closed")
        with anyio.CancelScope(shield=True):
            await self._let_starts_end()
        group.cancel_scope.cancel()
        # Without the error of the block, which would come back wrapped in a group.
        await stack.aclose()

    async def plan(self, specs: Iterable[RunSpec] | AsyncIterable[RunSpec]) -> int:
        """
        Add items to the batch, and return how many are new; sends nothing.

        Reads *specs* a thousand at a time, so that a million of them take no memory. What is there already with the
        same input stays as it is, so the same plan may be made any number of times.

        Args:
            specs: What is to be run; any iterable, also an asynchronous one.

        Raises:
            BatchConflictError: A key is there with another worker, version or input.
            LedgerError: The ledger cannot be written to.
            TypeError: Something is no `RunSpec`, or an input holds what JSON has no form for.
            ValueError: A member of a spec is out of range.
        """
        ledger = self._opened()
        position = await ledger.next_position()
        added = 0
        chunk: dict[str, PlannedSpec] = {}
        async with aclosing(_each(specs)) as given:
            async for spec in given:
                planned = PlannedSpec.of(spec)
                before = chunk.setdefault(planned.key, planned)
                if before.sha256 != planned.sha256:
                    raise errors.BatchConflictError(
                        f"key {planned.key!r} occurs twice in the plan, with different inputs",
                        key=planned.key,
                        planned=before.sha256,
                        given=planned.sha256,
                    )
                if len(chunk) == _CHUNK:
                    added += await ledger.plan(list(chunk.values()), position + added)
                    chunk.clear()
        if chunk:
            added += await ledger.plan(list(chunk.values()), position + added)
        return added

    def run(
        self,
        *,
        max_in_flight: int | None = None,
        max_spend: Decimal | None = None,
        output: str | os.PathLike[str] | None = None,
        width: int | None = None,
    ) -> AsyncStream[BatchOutcome]:
        """
        Return an iterator that starts what is planned, waits for all runs, and returns items as they come to their end.

        Goes on where an earlier process has stopped: starts whose answer never came are settled first. Starts, waits
        and files go on while nobody asks for the next outcome; leaving the iteration stops nothing, leaving the
        batch's block does, and the runs go on. ``POST /api/v2/workers/{workerId}/runs`` once for each item, never sent
        again; lists, details and rows as often as needed.

        Args:
            max_in_flight: Most runs that go on at once, 1 or more; None for what the plan bears, which is found out.
            max_spend: US dollars above 0. No run is started any more when what was spent, and for each run in flight
                as much as the dearest so far has cost, reach it; before the first has ended there is one at a time.
                Runs that cost more than any before can overshoot it, and so can several processes at once.
            output: A folder to write the rows to, ``part-<run_id>.jsonl`` for each run, whole before its item is done.
            width: Starts of one worker that may be under way at once, 1 to 8. Above 1 only with a `CallbackHub`, which
                is what tells them apart; None for 8 with a hub, else 1.

        Raises:
            BatchStoppedError: The balance or *max_spend* is used up; raised after the runs in flight have ended.
            LedgerError: The ledger cannot be used any more.
            AuthenticationError: The key was refused.
            RequestNotSentError: The service could not be reached, again and again.
            OSError: A file cannot be written; its item stays ``submitted`` and is written next time.
            ValueError: An argument is out of range.
            RuntimeError: It is running already.
        """
        ledger = self._opened()
        engine = Engine(
            means=self._means,
            limits=Limits(
                most=None if max_in_flight is None else check_int("max_in_flight", max_in_flight, lowest=1),
                budget=None if max_spend is None else Budget(_check_spend(max_spend)),
            ),
            width=self._check_width(width),
            files=None if output is None else PartFiles(Path(output)),
        )
        self._check_idle()
        is_begun = False

        async def advance() -> BatchOutcome | None:
            nonlocal is_begun
            if not is_begun:
                self._opened()
                self._check_idle()
                is_begun = True
                self._engine = engine
                assert self._group is not None, "an open batch has a group"
                if engine.limits.budget is not None:
                    engine.limits.budget.spent = (await ledger.totals()).all.cost
                self._group.start_soon(engine.work)
            return await engine.next()

        return AsyncStream(advance)

    async def report(self) -> BatchReport:
        """
        Return where the batch stands, or its shard where it has one, as its ledger has it; sends nothing.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        ledger = self._opened()
        totals = (await ledger.totals()).all
        limits = None if self._engine is None else self._engine.limits
        return BatchReport(
            name=self._name,
            counts=await ledger.counts(),
            runs=totals.runs,
            result_count=totals.result_count,
            cost=totals.cost,
            held=tuple(await ledger.items(BatchItemState.AMBIGUOUS, most=_MOST_HELD)),
            requests=self._requests,
            wasted=0 if limits is None else limits.wasted,
            in_flight_limit=None if limits is None else limits.learned,
        )

    async def shards(self, size: int) -> list[Shard]:
        """
        Return what is planned or open in parts of at most *size* items, each of one worker; sends nothing.

        Args:
            size: Items of a part, 1 or more.

        Raises:
            LedgerError: The ledger cannot be read.
            ValueError: *size* is out of range.
        """
        return await self._opened().shards(check_int("size", size, lowest=1))

    async def get(self, key: str) -> BatchItem:
        """
        Return one item as its ledger has it; sends nothing.

        Raises:
            KeyError: There is no such item.
            LedgerError: The ledger cannot be read.
        """
        item = await self._opened().item(check_key(key))
        if item is None:
            raise KeyError(key)
        return item

    async def history(self, key: str) -> list[BatchItemRun]:
        """
        Return all runs that an item has had, oldest first; sends nothing.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        return await self._opened().history(check_key(key))

    async def resolve(self, key: str, *, adopt: str | None = None, resubmit: bool = False) -> BatchItem:
        """
        Decide about an item that is ``ambiguous``, and return it as it is then.

        ``GET /api/v2/worker-runs/{runId}`` where a run is adopted.

        Args:
            key: The item's.
            adopt: The run that is its run; it must be one of the item's worker, and no other item's.
            resubmit: Whether it has none and is to be started: if that is wrong, it is paid for twice.

        Raises:
            KeyError: There is no such item.
            ValueError: Both or neither was given, the item is not ambiguous, or the run cannot be its run.
            NotFoundError: There is no such run.
            LedgerError: The ledger cannot be written to.
        """
        if (adopt is None) is not resubmit:
            raise ValueError("either adopt or resubmit must be given")
        item = await self.get(key)
        if item.state is not BatchItemState.AMBIGUOUS:
            raise ValueError(f"item {key!r} is {item.state}, and only what is ambiguous can be resolved")
        if adopt is None:
            after = item.planned_again(ItemOrigin.PERSON)
        else:
            run = await read_run(self._means.context, check_id("adopt", adopt))
            slug = await self._opened().slug_of(item.worker_id)
            if run.worker_id not in {None, slug, item.worker_id}:
                raise ValueError(f"run {adopt} is one of worker {run.worker_id}, and item {key!r} is for {slug}")
            after = item.submitted(adopt, ItemOrigin.PERSON)
        try:
            await self._means.step(item, after)
        except IllegalStepError:
            raise ValueError(f"item {key!r} was resolved meanwhile, or run {adopt} is another item's") from None
        self._settled(after)
        return after

    async def rerun(self, keys: Iterable[str] | None = None) -> int:
        """
        Plan items again that failed, were rejected or taken out, and return how many; what they had is kept.

        Args:
            keys: Which ones; None for all whose run has failed. What may have a run that nobody knows of must be named.

        Raises:
            KeyError: There is no such item.
            ValueError: An item is in another state.
            LedgerError: The ledger cannot be written to.
        """
        if keys is None:
            return await self._opened().plan_failed_again()
        items = [await self.get(key) for key in keys]
        for item in items:
            if item.state not in {BatchItemState.FAILED, BatchItemState.REJECTED, BatchItemState.CANCELLED}:
                raise ValueError(f"item {item.key!r} is {item.state}, and only what has failed can be run again")
        for item in items:
            await self._means.step(item, item.planned_again(ItemOrigin.PERSON))
        return len(items)

    async def cancel(self, *, abort: bool = False) -> int:
        """
        Take out what is planned, and return how many items that were; `rerun` brings them back by key.

        ``POST /api/v2/worker-runs/{runId}/abort`` with *abort*; sent again after a failure.

        Args:
            abort: Whether the runs that go on are aborted too; `run` then returns them as they end.

        Raises:
            LedgerError: The ledger cannot be written to.
        """
        ledger = self._opened()
        if self._engine is not None:
            self._engine.admission.stop("cancelled")
        cancelled = await ledger.cancel_planned()
        if abort:
            slots = anyio.CapacityLimiter(_ABORTS_AT_ONCE)
            async with anyio.create_task_group() as group:
                for item in await ledger.items(BatchItemState.SUBMITTED):
                    group.start_soon(self._abort, item, slots)
        return cancelled

    async def _abort(self, item: BatchItem, slots: anyio.CapacityLimiter) -> None:
        assert item.run_id is not None, "a submitted item has a run"
        async with slots:
            try:
                await abort_run(self._means.context, item.run_id)
            except errors.RunOperationError:  # It has ended.
                return

    def _opened(self) -> BatchLedger:
        if self._stack is None:
            raise RuntimeError("the batch is not open: async with client.batch(...) as batch")
        return self._means.ledger

    def _check_idle(self) -> None:
        if self._engine is not None and not self._engine.is_over:
            raise RuntimeError("the batch is running already; go on with the iterator that you have")

    def _settled(self, item: BatchItem) -> None:
        """Have a running batch go on with an item that was settled beside it."""
        if self._engine is not None:
            self._engine.take_up(item)

    async def _let_starts_end(self) -> None:
        deadline = self._means.clock.monotonic() + _GRACE_SECONDS
        while self._means.sending:
            left = deadline - self._means.clock.monotonic()
            if left <= 0:
                for scope in self._means.sending:
                    scope.cancel()
                return
            await self._means.clock.sleep(min(left, 0.05))

    def _check_width(self, width: int | None) -> int:
        has_hub = self._means.context.joined is not None
        if width is None:
            return _MOST_WIDTH if has_hub else 1
        check_int("width", width, lowest=1, highest=_MOST_WIDTH)
        if width > 1 and not has_hub:
            raise ValueError(f"width must be 1 without a CallbackHub, not {width}: nothing would tell the starts apart")
        return width

    def _counting(self, context: Context) -> Context:
        """Return *context* with its requests counted."""
        transport = context.transport
        hook = transport.settings.on_event
        is_own_hook = hook is not context.shared_transport.settings.on_event

        def count(event: Event) -> None:
            if isinstance(event, RequestSent):
                self._requests += 1
            elif isinstance(event, RunsPolled):  # Looks that are shared tell nobody of their requests but the client.
                self._requests += event.details + event.pages
                if not is_own_hook:
                    return
            if hook is not None:
                hook(event)

        settings = attrs.evolve(transport.settings, on_event=count)
        return attrs.evolve(context, transport=transport.with_settings(settings))


async def _each(specs: Iterable[RunSpec] | AsyncIterable[RunSpec]) -> AsyncGenerator[RunSpec]:
    if isinstance(specs, AsyncIterable):
        async for spec in specs:
            yield spec
    else:
        for spec in specs:
            yield spec


def _check_spend(amount: Decimal) -> Decimal:
    if not isinstance(amount, Decimal):
        raise TypeError(f"max_spend must be a Decimal, not {type(amount).__name__}")
    if not amount.is_finite() or amount <= 0:
        raise ValueError(f"max_spend must be a finite amount above 0, not {amount}")
    return amount


def _sent_once(context: Context) -> Context:
    """
    Return *context* for starts: what may be sent again is decided here, after a look into the ledger.

    It remembers no ids: what an answer has named and the ledger does not know must stay a candidate.
    """
    transport = context.transport
    settings = attrs.evolve(transport.settings, retry=RetryPolicy(max_attempts=1))
    return attrs.evolve(context, transport=transport.with_settings(settings), known=KnownIds())
