"""AsyncBatch: many runs, each paid for once, through crashes and on several machines."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import AsyncExitStack, aclosing
from decimal import Decimal
from types import TracebackType
from typing import Self, get_args

import anyio
import anyio.abc

from coreclaw_async import errors
from coreclaw_async._concurrency.groups import first_of
from coreclaw_async._concurrency.stream import AsyncStream
from coreclaw_async._operations.context import Context
from coreclaw_async._paging.pager import AsyncPager, PageReader, PagerOptions
from coreclaw_async._wire.request import check_int, check_seconds, check_worker_id
from coreclaw_async.batch._aborting import abort_all
from coreclaw_async.batch._arguments import check_spend, check_width, folder_of, states_of
from coreclaw_async.batch._context import BatchContext, OnAmbiguous
from coreclaw_async.batch._evidence import SettleTimes
from coreclaw_async.batch._item_pages import ItemPages, RowPages
from coreclaw_async.batch._items import BatchItem, BatchItemRun, BatchItemState, ItemOrigin
from coreclaw_async.batch._late_callbacks import LateCallbacks
from coreclaw_async.batch._ledger.batch_ledger import BatchLedger
from coreclaw_async.batch._ledger.ownership import Owner
from coreclaw_async.batch._ledger.pruning import PrunedBatch, prune
from coreclaw_async.batch._outcomes import BatchOutcome
from coreclaw_async.batch._patience import Patience
from coreclaw_async.batch._planning import Planning
from coreclaw_async.batch._records import BatchRecord, RecordPages
from coreclaw_async.batch._reports import BatchReport
from coreclaw_async.batch._requests import RequestCount, sent_once
from coreclaw_async.batch._resolving import resolve
from coreclaw_async.batch._runner import Runner, RunOptions
from coreclaw_async.batch._shard import Shard
from coreclaw_async.batch._specs import RunSpec, check_key
from coreclaw_async.batch._store.address import database_at, shown_ledger
from coreclaw_async.models import Row

_MOST_SHOWN = 100


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
        max_spend: Decimal | None = None,
        patience: float = 1800.0,
        account: str | None = None,
    ) -> None:
        check_key(name)
        if on_ambiguous not in get_args(OnAmbiguous):
            raise ValueError(f"on_ambiguous must be one of {', '.join(get_args(OnAmbiguous))}, not {on_ambiguous!r}")
        if settle_times is not None and not isinstance(settle_times, SettleTimes):
            raise TypeError(f"settle_times must be SettleTimes, not {type(settle_times).__name__}")
        credentials = context.transport.settings.credentials
        owner = Owner.of(credentials, account)
        self._has_no_key = credentials.is_missing
        self._name = name
        self._max_spend = None if max_spend is None else check_spend(max_spend)
        self._shown = shown_ledger(ledger)
        check_seconds("patience", patience, allow_zero=True)
        self._requests = RequestCount()
        context = self._requests.counting(context)
        self._batch_context = BatchContext(
            context=context,
            starts=sent_once(context),
            ledger=BatchLedger(database_at(ledger, patience=patience), name, owner, shard or Shard()),
            times=settle_times or SettleTimes(),
            exclusive=exclusive,
            patience=Patience(context.transport.clock, patience),
            on_ambiguous=on_ambiguous,
        )
        self._stack: AsyncExitStack | None = None
        self._runner = Runner(self._batch_context)
        self._late = LateCallbacks(self._batch_context, self._runner.take_up)

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
        if self._has_no_key:
            raise errors.ConfigurationError("a batch needs an API key: give api_key= or set CORECLAW_API_KEY")
        async with AsyncExitStack() as stack:
            ledger = self._batch_context.ledger
            stack.push_async_callback(ledger.database.aclose)
            await ledger.open(self._batch_context.clock)
            if self._max_spend is not None:
                await ledger.limit_spending(self._max_spend)
            self._runner.group = group = await stack.enter_async_context(anyio.create_task_group())
            await self._late.listen(group)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """
        Start no more runs, let the starts under way be answered, and close the ledger.

        A start may take as long as the batch's settle times let it, `SettleTimes.send_window` and
        `SettleTimes.post_timeout` together; what its answer says is written down, whatever ends the block. The runs go
        on.
        """
        stack, self._stack = self._stack, None
        group, self._runner.group = self._runner.group, None
        assert stack is not None, "the batch was opened"
        assert group is not None, "with a group"
        self._late.leave()
        self._runner.stop("closed")
        try:
            with anyio.CancelScope(shield=True):
                await self._runner.let_starts_end()
        finally:
            group.cancel_scope.cancel()
            try:
                # Without the error of the block, which would come back wrapped in a group.
                await stack.aclose()
            except BaseExceptionGroup as failures:
                raise first_of(failures) from None

    async def plan(self, specs: Iterable[RunSpec] | AsyncIterable[RunSpec]) -> int:
        """
        Add items to the batch, and return how many are new; sends nothing.

        Reads *specs* in chunks of a thousand, or of four megabytes of inputs where that is less, so that neither many
        nor large ones take much memory. What is there already with the same input stays as it is, so the same plan may
        be made any number of times.

        A plan that breaks off (an exception of *specs*, one of those below, cancellation, a killed process) leaves in
        the batch what it had written, and `BatchReport.is_half_planned` is true until the next plan of at least one
        item has come to its end. It is true while a plan is under way, too.

        Args:
            specs: What is to be run; any iterable, also an asynchronous one.

        Raises:
            BatchConflictError: A key is there with another worker, version or input.
            LedgerError: The ledger cannot be written to.
            TypeError: Something is no `RunSpec`, or an input holds what JSON has no form for.
            ValueError: A member of a spec is out of range.
        """
        with self._runner.planning():
            planning = await self._begin_plan()
            async with aclosing(_each(specs)) as given:
                async for spec in given:
                    if planning.take(spec):
                        await planning.write()
            return await planning.end()

    async def _begin_plan(self) -> Planning:
        """Return a plan that has begun, for `plan` here and in `Batch`."""
        planning = Planning(ledger=self._opened(), on_added=self._runner.wake)
        await planning.begin()
        return planning

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

        Goes on where an earlier process has stopped: starts whose answer never came are settled first. It ends when
        nothing is left that it could do: what is planned meanwhile is started, and what another process has started is
        waited for. Starts, waits and files go on while nobody asks for the next outcome; leaving the iteration stops
        nothing, and a second call with the same arguments goes on with it. Leaving the batch's block stops it, and the
        runs go on. An outcome that nobody has taken can be had from `items`.

        ``POST /api/v2/workers/{workerId}/runs`` once for each item, never retried; lists, details and rows as often
        as needed. While the service cannot be used it goes on trying for as long as the batch has patience.

        Args:
            max_in_flight: Most runs that go on at once, 1 or more; None for what the plan bears, which is found out.
            max_spend: The budget of the batch from now on, as in ``client.batch(max_spend=)``; None for what it is.
            output: A folder to write the rows to, ``part-<run_id>.jsonl`` for each run, whole before its item is done;
                items that ended without one get theirs too. Rows are written only if there are as many as the service
                says that the run has found. ``manifest.jsonl`` beside them says which file is whose.
            width: Starts of one worker that may be under way at once, 1 to 8. Above 1 only with a `CallbackHub`, which
                is what tells them apart; None for 8 with a hub, else 1.

        Raises:
            BatchIncompleteError: Nothing more can be done now, and some items have not come to their end: their runs
                or rows could not be read, or the plan is not whole.
            BatchStoppedError: The balance or the budget is used up; raised after the runs in flight have ended.
            LedgerError: The ledger cannot be used any more.
            AuthenticationError: The key was refused.
            RequestNotSentError: The service could not be reached for longer than the batch has patience.
            OSError: A file cannot be written; its item stays ``submitted`` and is written next time.
            ValueError: An argument is out of range.
            RuntimeError: It is running already, with other arguments.
        """
        self._opened()
        options = RunOptions(
            None if max_in_flight is None else check_int("max_in_flight", max_in_flight, lowest=1),
            None if output is None else folder_of(output),
            check_width(width, has_hub=self._batch_context.hub is not None),
        )
        budget = None if max_spend is None else check_spend(max_spend)
        return self._runner.stream(options, budget)

    async def report(self) -> BatchReport:
        """
        Return where the batch stands, or its shard where it has one, as its ledger has it; sends nothing.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        ledger = self._opened()
        totals, spending = await ledger.totals(), await ledger.spending()
        limits = self._runner.limits
        return BatchReport(
            name=self._name,
            counts=await ledger.counts(),
            runs=totals.all.runs,
            result_count=totals.all.result_count,
            cost=totals.all.cost,
            unknown_costs=totals.all.unknown_costs,
            max_spend=None if spending is None else spending.max_spend,
            by_worker=totals.by_worker,
            by_day=totals.by_day,
            held=tuple(await ledger.items(BatchItemState.AMBIGUOUS, most=_MOST_SHOWN)),
            failures=tuple(await ledger.items(BatchItemState.FAILED, BatchItemState.REJECTED, most=_MOST_SHOWN)),
            is_paused=await ledger.is_paused(),
            is_half_planned=await ledger.is_half_planned(),
            requests=self._requests.count,
            wasted=0 if limits is None else limits.wasted,
            in_flight_limit=None if limits is None else limits.learned,
        )

    def items(
        self,
        *,
        state: BatchItemState | str | Iterable[BatchItemState | str] | None = None,
        worker_id: str | None = None,
    ) -> AsyncPager[BatchItem]:
        """
        Return a pager over the items of the batch, or of its shard, in the order of the plan; sends nothing.

        Each stands as it is in the ledger when its page is read; one that is planned meanwhile comes too.

        Args:
            state: Only those in this state, or in one of these; None for all.
            worker_id: Only those of this worker, as it was planned; None for all.

        Raises:
            LedgerError: The ledger cannot be read; raised while iterating.
            ValueError: There is no such state, or no worker can be called so.
        """
        self._opened()
        pages = ItemPages(
            batch_context=self._batch_context,
            states=states_of(state),
            worker_id=None if worker_id is None else check_worker_id("worker_id", worker_id),
        )
        return AsyncPager(PageReader(pages.next, PagerOptions()))

    def rows(
        self,
        *,
        state: BatchItemState | str | Iterable[BatchItemState | str] | None = "done",
        worker_id: str | None = None,
    ) -> AsyncPager[tuple[str, Row]]:
        """
        Return a pager over the rows that the runs of the batch have found, each with the key of its item.

        They come from the files of `run`, in the order of the plan; where there is none any more, from
        ``GET /api/v2/worker-runs/{runId}/results``, retried after failures.

        Args:
            state: Only those of items in this state, or in one of these; None for all that have a run.
            worker_id: Only those of this worker, as it was planned; None for all.

        Raises:
            CoreClawError: Ledger or rows cannot be read; raised while iterating.
            OSError: A file cannot be read; raised while iterating.
            ValueError: There is no such state, or no worker can be called so.
        """
        pages = RowPages(batch_context=self._batch_context, items=self.items(state=state, worker_id=worker_id))
        return AsyncPager(PageReader(pages.next, PagerOptions()))

    def export(self, *, with_inputs: bool = False) -> AsyncPager[BatchRecord]:
        """
        Return a pager over all that the ledger has of the items, with each run that they have had; sends nothing.

        They come in the order of the plan, those of a shard where the batch has one.

        Args:
            with_inputs: Whether the inputs come too, which may be large, or not for everybody's eyes.

        Raises:
            LedgerError: The ledger cannot be read; raised while iterating.
        """
        pages = RecordPages(ledger=self._opened(), with_inputs=with_inputs)
        return AsyncPager(PageReader(pages.next, PagerOptions()))

    async def prune(self, *, older_than: float) -> PrunedBatch | None:
        """
        Delete the batch from its ledger if it has long been finished, and return what it was; else None.

        Deletes all shards. A batch with an item that is planned, open or held is never deleted, nor is one whose plan
        is not whole. The ids of its runs stay known for two months, and longer while an older start is open, so that
        none of them is taken for the run of a start whose answer was lost. The same plan would be paid for again.
        What still has the batch open can plan nothing more in it. Files of rows stay where they are.

        Args:
            older_than: Days, 0 to 36,500, since the last run ended or was about to be started.

        Raises:
            LedgerError: The ledger cannot be written to.
            ValueError: *older_than* is out of range.
        """
        return await prune(self._opened(), older_than, self._batch_context.clock.time())

    async def reset_foreign(self, worker_id: str) -> None:
        """
        Forget that runs of a worker were seen that no item explains: nobody else starts any from now on.

        ``exclusive=True`` is believed again for this worker, in all batches of the account in the ledger.

        Args:
            worker_id: The worker, as it was planned.

        Raises:
            KeyError: The ledger knows no such worker.
            LedgerError: The ledger cannot be written to.
            ValueError: No worker can be called so.
        """
        start_queues = self._opened().start_queues
        start_queue = await start_queues.find(check_worker_id("worker_id", worker_id))
        if start_queue is None:
            raise KeyError(worker_id)
        await start_queues.forget_foreign(start_queue)

    async def pause(self) -> None:
        """
        Have no process start runs of the batch until `resume`; those that go on are waited for, and `run` waits.

        Raises:
            LedgerError: The ledger cannot be written to.
        """
        await self._opened().pause(is_paused=True)

    async def resume(self) -> None:
        """
        Have runs of the batch started again; other processes notice within seconds.

        Raises:
            LedgerError: The ledger cannot be written to.
        """
        await self._opened().pause(is_paused=False)
        self._runner.resume()

    async def shards(self, size: int, *, unwritten: bool = False) -> list[Shard]:
        """
        Return what is planned or open in parts of at most *size* items, each of one worker; sends nothing.

        Args:
            size: Items of a part, 1 or more.
            unwritten: Whether to include items that have ended and whose rows are in no file: for parts that are to be
                run with ``output=``.

        Raises:
            LedgerError: The ledger cannot be read.
            ValueError: *size* is out of range.
        """
        return await self._opened().shards(check_int("size", size, lowest=1), is_unwritten=unwritten)

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
        Decide about an item that is ``ambiguous`` or ``failed``, and return it as it is then.

        ``GET /api/v2/worker-runs/{runId}`` where a run is adopted, and the lists of workers where the run is of a
        worker that was not known to be the item's.

        Args:
            key: The item's.
            adopt: The run that is its run; it must be one of the item's worker, and no other item's. For an item that
                has failed with a run, that run: it is read once more, and followed by `run` again.
            resubmit: Whether it has none and is to be started: if that is wrong, it is paid for twice.

        Raises:
            KeyError: There is no such item.
            ValueError: Both or neither was given, the item is in another state, or the run cannot be its run.
            NotFoundError: There is no such run.
            CoreClawError: The run cannot be read.
            LedgerError: The ledger cannot be written to.
        """
        if (adopt is None) is not resubmit:
            raise ValueError("either adopt or resubmit must be given")
        self._opened()
        after = await resolve(self._batch_context, await self.get(key), adopt)
        self._runner.take_up(after)
        return after

    async def rerun(self, keys: Iterable[str] | None = None) -> int:
        """
        Plan items again that failed, were rejected or taken out, and return how many; what they had is kept.

        Args:
            keys: Which ones; None for all whose run has failed. What may have a run that nobody knows of, or one that
                could not be read, must be named.

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
            await self._batch_context.step(item, item.planned_again(ItemOrigin.PERSON))
        return len(items)

    async def cancel(self, *, abort: bool = False) -> int:
        """
        Take out what is planned, and return how many items that were; `rerun` brings them back by key.

        An item whose start is under way is not among them: if that brings nothing about, it is taken out too, and else
        its run is followed as any other. The request is kept in the ledger, so it holds for all processes that work on
        the batch, and for those that go on with it later. ``POST /api/v2/worker-runs/{runId}/abort`` with *abort*;
        retried after a failure.

        Args:
            abort: Whether the runs that go on are aborted too, also those of starts under way when they are known;
                `run` then returns them as they end.

        Raises:
            BatchAbortError: Some runs could not be aborted; all others were, and what was planned was taken out. Call
                it again to try these again.
            LedgerError: The ledger cannot be written to.
        """
        ledger = self._opened()
        self._runner.stop("cancelled")
        cancelled = await ledger.cancel(abort=abort)
        if abort:
            await abort_all(self._batch_context.context, await ledger.items(BatchItemState.SUBMITTED), cancelled)
        return cancelled

    def _opened(self) -> BatchLedger:
        if self._stack is None:
            raise RuntimeError("the batch is not open: async with client.batch(...) as batch")
        return self._batch_context.ledger


async def _each(specs: Iterable[RunSpec] | AsyncIterable[RunSpec]) -> AsyncGenerator[RunSpec]:
    if isinstance(specs, AsyncIterable):
        async for spec in specs:
            yield spec
    else:
        for spec in specs:
            yield spec
