"""AsyncBatch: many runs, each paid for once, also after crashes and on several machines."""

from __future__ import annotations

import functools
import os
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, aclosing
from decimal import Decimal
from types import TracebackType
from typing import Any, Self, get_args

import anyio
from anyio.lowlevel import checkpoint

from coreclaw_async import errors
from coreclaw_async._concurrency.groups import first_of, task_group
from coreclaw_async._concurrency.stream import AsyncStream
from coreclaw_async._frames.callers import caller_here
from coreclaw_async._frames.reading import ItemInfo
from coreclaw_async._operations.calls import call_of, with_call_events
from coreclaw_async._operations.context import Context
from coreclaw_async._paging.pager import AsyncPager, PageReader, PagerOptions
from coreclaw_async._progress.reporter import check_progress
from coreclaw_async._wire.request import check_bool, check_int, check_seconds, check_worker_id
from coreclaw_async.batch._aborting import abort_items
from coreclaw_async.batch._arguments import (
    OutputFormat,
    check_format,
    check_libraries,
    check_spend,
    check_width,
    folder_of,
    states_of,
)
from coreclaw_async.batch._context import BatchContext, OnAmbiguous
from coreclaw_async.batch._evidence import SettleTimes
from coreclaw_async.batch._frames import AsyncBatchFrames
from coreclaw_async.batch._item_pages import ItemPages, RowPages
from coreclaw_async.batch._item_steps import to_planned
from coreclaw_async.batch._items import BatchItem, BatchItemRun, BatchItemState, ItemOrigin
from coreclaw_async.batch._late_callbacks import LateCallbacks
from coreclaw_async.batch._ledger.batch_ledger import BatchLedger
from coreclaw_async.batch._ledger.ownership import Owner
from coreclaw_async.batch._ledger.pruning import PrunedBatch, prune
from coreclaw_async.batch._outcomes import BatchOutcome
from coreclaw_async.batch._patience import Patience
from coreclaw_async.batch._planning import Planning
from coreclaw_async.batch._progress import BatchProgress
from coreclaw_async.batch._records import BatchRecord, RecordPages
from coreclaw_async.batch._reports import BatchReport
from coreclaw_async.batch._requests import RequestCount, sent_once
from coreclaw_async.batch._resolving import resolve
from coreclaw_async.batch._runner import Runner, RunOptions
from coreclaw_async.batch._shard import Shard
from coreclaw_async.batch._specs import RunSpec, check_key
from coreclaw_async.batch._store.address import MEMORY, database_at, shown_ledger
from coreclaw_async.models import Page, Row
from coreclaw_async.progress import ProgressOption

_MAX_SHOWN = 100
_SPECS_AT_ONCE = 100


@with_call_events("batch", "rows", "resolve", "cancel")  # Others send nothing; `run` works in a task of its own.
class AsyncBatch(AsyncBatchFrames):
    """
    Many runs under one name, recorded in a ledger: ``async with client.batch(...) as batch``.

    The intent to start a run is on the disk before the request is sent, and its result before the next start of the
    same worker. So a process may be killed at any time: the next one continues, pays for nothing twice and loses no
    run. An item is held for a person (`resolve`) where it cannot be found out whether it has a run.

    Example::

        async with client.batch("weekly", ledger="sqlite:///runs.db") as batch:
            await batch.plan(
                [RunSpec(key="mate", worker_id="coreclaw/google-maps-scraper", input={"keywords": ["mate"]})]
            )
            async for outcome in batch.run():
                print(outcome.key, outcome.state)
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
        check_seconds("patience", patience, allow_zero=True)
        database = database_at(ledger, patience=patience)
        self._shown = shown_ledger(ledger)
        self._requests = RequestCount()
        context = self._context = self._requests.counting(context)
        self._batch_context = BatchContext(
            context=context,
            starts=sent_once(context),
            ledger=BatchLedger(database, name, owner, shard or Shard()),
            times=settle_times or SettleTimes(),
            exclusive=check_bool("exclusive", exclusive),
            patience=Patience(context.transport.clock, patience),
            on_ambiguous=on_ambiguous,
        )
        self._made_at = caller_here()
        self._stack: AsyncExitStack | None = None
        self._runner = Runner(self._batch_context)
        self._late = LateCallbacks(self._batch_context, self._runner.take_up)

    def __repr__(self) -> str:
        if "_shown" not in vars(self):  # A traceback with local variables shows it when `__init__` has failed.
            return "AsyncBatch(...)"
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
            await self._open_ledger()
            if self._max_spend is not None:
                await ledger.limit_spending(self._max_spend)
            await self._late.listen()
            # Last, so that what fails before is not wrapped in a group.
            group = await stack.enter_async_context(task_group())
            group.start_soon(self._late.serve)
            self._stack, self._runner.group = stack.pop_all(), group
        return self

    async def _open_ledger(self) -> None:
        await self._batch_context.ledger.open(self._batch_context.clock)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """
        Start no more runs, let the starts under way be answered, and close the ledger.

        This waits for a start for at most `SettleTimes.send_window` plus `SettleTimes.post_timeout`. Its answer is
        recorded, however the block ends. The runs keep running; those of a ledger in memory, which is gone then, are
        named in the log and in a note of the error, and so are runs that have ended and whose outcome nobody took.
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
                if self._shown == MEMORY:
                    await self._runner.tell_forgotten(error)
        finally:
            group.cancel_scope.cancel()
            try:
                # Without the error of the block, which would come back wrapped in a group.
                await stack.aclose()
            except BaseExceptionGroup as failures:
                raise first_of(failures) from None
            except anyio.get_cancelled_exc_class() as cancelled:
                # The cancellation that ended the block goes on: its notes name the runs that were left.
                if not isinstance(error, type(cancelled)):
                    raise

    async def plan(self, specs: Iterable[RunSpec] | AsyncIterable[RunSpec]) -> int:
        """
        Add items to the batch, and return how many are new; sends nothing.

        Reads *specs* in chunks of a thousand items or four megabytes of inputs, whichever comes first, so that memory
        stays small. An item that is there already with the same input stays as it is, so the same plan may be made any
        number of times.

        A plan that breaks off (an exception of *specs*, one of those below, cancellation, a killed process) leaves the
        items that it had written in the batch. `BatchReport.is_half_planned` is then true until another plan of at
        least one item is complete; it is also true while a plan is being read.

        Args:
            specs: The runs to start; any iterable, also an asynchronous one.

        Raises:
            BatchConflictError: A key is there with another worker, version or input.
            LedgerError: The ledger cannot be written to.
            TypeError: Something is not a `RunSpec`, or an input holds a value that JSON cannot express.
            ValueError: A member of a spec is out of range.

        Example::

            words = ("coffee", "tea", "mate")
            new = await batch.plan(
                RunSpec(key=word, worker_id="coreclaw/google-maps-scraper", input={"keywords": [word]})
                for word in words
            )
        """
        with self._runner.planning():
            planning = await self._begin_plan()
            async with aclosing(_each(specs)) as given:
                taken = 0
                async for spec in given:
                    taken += 1
                    if planning.take(spec):
                        await planning.write()
                    elif taken % _SPECS_AT_ONCE == 0:
                        await checkpoint()  # A thousand specs would keep other tasks waiting for 30 ms.
            return await planning.end()

    async def _begin_plan(self) -> Planning:
        """Return a plan that has begun, for `plan` here and in `Batch`."""
        planning = Planning(ledger=self._opened(), on_added=self._runner.wake)
        await planning.begin()
        return planning

    def run(
        self,
        *,
        output: str | os.PathLike[str] | None = None,
        output_format: OutputFormat = "jsonl",
        max_spend: Decimal | None = None,
        max_in_flight: int | None = None,
        width: int | None = None,
        progress: ProgressOption = False,
    ) -> AsyncStream[BatchOutcome]:
        """
        Return an iterator that starts planned items, waits for all runs, and returns items as they end.

        It continues where an earlier process stopped: starts that were never answered are settled first. It ends when
        nothing is left to do. Items that are planned meanwhile are started, and runs that another process has started
        are waited for. Starts, waits and writing of files continue between two outcomes. Leaving the iteration stops
        nothing, and a second call with the same arguments continues it. Leaving the batch's block stops it, but not
        the runs. Outcomes that were not taken are in `items`.

        ``POST /api/v2/workers/{workerId}/runs`` once for each item, never retried; lists, details and rows as often
        as needed. While the service cannot be used, it keeps trying for the batch's ``patience``.

        Args:
            output: A folder to write the rows to, ``part-<run_id>.jsonl`` for each run, complete before its item is
                done; items that ended earlier without a file get theirs too. Rows are written only if there are as
                many as the service counts for the run. ``manifest.jsonl`` beside them lists the file of each item.
            output_format: What the files of rows are; files that are there stay as they are, and `rows` reads both.
                ``jsonl``: a row a line, as the service sent it, with each number digit by digit. ``parquet``
                (``part-<run_id>.parquet``; extra ``arrow``): columns with types, as `Pager.to_parquet` writes them.
                There, numbers are 64-bit integers and floats, and a member that a row lacks is null. Each file has the
                columns and types of its own rows; `to_parquet` makes one file of all. A column whose values have no
                common type is of strings: a `coreclaw_async.events.BatchColumnsChanged` tells of each file with such
                columns, and a warning in the log of each such column once.
            max_spend: The budget of the batch from now on, as in ``client.batch(max_spend=)``; None to leave it as it
                is.
            max_in_flight: Most runs at once, 1 or more; None for as many as the plan allows, which is found out.
            width: Starts of one worker that may be sent at once, 1 to 8. Above 1 only with a `CallbackHub`, which tells
                them apart; None for 8 with a hub, else 1.
            progress: As in `runs.wait`, for all items of the batch, from the ledger, so for all processes; shown
                between two outcomes.

        Raises:
            BatchIncompleteError: Some items have not ended, and nothing more can be done now: their runs or rows could
                not be read, no file of this format can hold their rows, or the plan is incomplete.
            BatchStoppedError: The balance or the budget is used up; raised after the running runs have ended.
            LedgerError: The ledger cannot be used any more.
            AuthenticationError: The key was refused.
            RequestNotSentError: The service could not be reached for longer than ``patience``.
            ConfigurationError: The extra is missing or broken; nothing was sent.
            OSError: A file cannot be written; its item stays ``submitted`` and is written next time.
            ValueError: An argument is out of range, or a format is given without a folder.
            RuntimeError: It is running already, with other arguments.

        Example::

            async for outcome in batch.run(output="rows", max_spend=Decimal(20)):
                print(outcome.key, outcome.state, outcome.path)
        """
        self._opened()
        options = RunOptions(
            None if max_in_flight is None else check_int("max_in_flight", max_in_flight, lowest=1),
            None if output is None else folder_of(output),
            check_format(output_format, has_output=output is not None),
            check_width(width, has_hub=self._batch_context.hub is not None),
        )
        budget = None if max_spend is None else check_spend(max_spend)
        check_libraries(options.output_format)
        outcomes = self._runner.stream(options, budget)
        if not check_progress(progress):
            return outcomes
        told = BatchProgress(self._batch_context, progress, lambda: self._runner.group)
        return AsyncStream(functools.partial(told.next, outcomes))

    async def report(self) -> BatchReport:
        """
        Return counts, costs and problems of the batch, or of its shard, from the ledger; sends nothing.

        Raises:
            LedgerError: The ledger cannot be read.

        Example::

            report = await batch.report()
            print(report.counts, report.cost, report.is_finished)
        """
        ledger = self._opened()
        totals, spending = await ledger.totals(), await ledger.spending()
        limits = self._runner.limits
        return BatchReport(
            name=self._name,
            counts=await ledger.counts(),
            verdicts=await ledger.verdicts(),
            runs=totals.all.runs,
            result_count=totals.all.result_count,
            unknown_rows=totals.all.unknown_rows,
            cost=totals.all.cost,
            unknown_costs=totals.all.unknown_costs,
            max_spend=None if spending is None else spending.max_spend,
            by_worker=totals.by_worker,
            by_day=totals.by_day,
            held=tuple(await ledger.items(BatchItemState.AMBIGUOUS, most=_MAX_SHOWN)),
            failures=tuple(await ledger.items(BatchItemState.FAILED, BatchItemState.REJECTED, most=_MAX_SHOWN)),
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

        Each is as the ledger has it when its page is read; items that are planned meanwhile are included.

        Args:
            state: Only items in this state, or in one of these; None for all.
            worker_id: Only items of this worker, as planned; None for all.

        Raises:
            LedgerError: The ledger cannot be read; raised while iterating.
            ValueError: There is no such state, or *worker_id* cannot be the name of a worker.

        Example::

            async for item in batch.items(state=BatchItemState.DONE):
                print(item.key, item.run_id, item.cost)
        """
        self._opened()
        pages = ItemPages(
            batch_context=self._batch_context,
            states=states_of(state),
            worker_id=None if worker_id is None else check_worker_id("worker_id", worker_id),
        )
        return AsyncPager(PageReader(pages.next, PagerOptions(), info=self._info(model=BatchItem)))

    def rows(
        self,
        *,
        state: BatchItemState | str | Iterable[BatchItemState | str] | None = "done",
        worker_id: str | None = None,
    ) -> AsyncPager[tuple[str, Row]]:
        """
        Return a pager over the rows of the items, each with the key of its item, in the order of the plan.

        An item has the rows of its last run, not those of failed attempts before it.

        Rows are read from the files that `run` wrote, as these hold them; where a file is missing, from
        ``GET /api/v2/worker-runs/{runId}/result``, retried after failures.

        Args:
            state: Only rows of items in this state, or in one of these; None for all items that have a run.
            worker_id: Only rows of this worker, as planned; None for all.

        Raises:
            ConfigurationError: A file is in Parquet, and the extra ``arrow`` is not installed; raised while iterating.
            CoreClawError: The ledger or rows cannot be read; raised while iterating.
            OSError: A file cannot be read; raised while iterating.
            PaginationError: A file is damaged, or has other rows than were written; raised while iterating.
            ValueError: There is no such state, or *worker_id* cannot be the name of a worker.

        Example::

            async for key, row in batch.rows():
                print(key, row["title"])
        """
        pages = RowPages(batch_context=self._batch_context, items=self.items(state=state, worker_id=worker_id))
        return AsyncPager(PageReader(pages.next, PagerOptions(), info=self._info(headers=pages.headers, has_keys=True)))

    def _rows_out(self, with_key: bool) -> AsyncPager[Any]:  # noqa: FBT001 - a caller's argument
        pages = RowPages(batch_context=self._batch_context, items=self.items(state="done"))
        info = self._info(headers=pages.headers, has_keys=check_bool("with_key", with_key))
        read: Callable[[], Awaitable[Page[Any] | None]] = pages.next if with_key else pages.next_rows
        reader: PageReader[Any] = PageReader(read, PagerOptions(), info=info)
        reader.call = call_of(self._context, "batch.rows")
        return AsyncPager(reader, self._made_at)

    def _info(self, **known: Any) -> ItemInfo:
        return ItemInfo(now=self._batch_context.clock.monotonic, **known)

    def export(self, *, with_inputs: bool = False) -> AsyncPager[BatchRecord]:
        """
        Return a pager over the items of the batch, or of its shard, each with all of its runs; sends nothing.

        They come in the order of the plan.

        Args:
            with_inputs: Whether to include the inputs, which may be large or confidential.

        Raises:
            LedgerError: The ledger cannot be read; raised while iterating.

        Example::

            async for record in batch.export():
                print(record.item.key, [run.run_id for run in record.runs])
        """
        pages = RecordPages(ledger=self._opened(), with_inputs=check_bool("with_inputs", with_inputs))
        return AsyncPager(PageReader(pages.next, PagerOptions(), info=self._info(model=BatchRecord)))

    async def prune(self, *, older_than_days: float) -> PrunedBatch | None:
        """
        Delete the batch from its ledger if it was finished long ago, and return what was deleted; else None.

        Deletes all shards. A batch with a planned, open or held item, or with an incomplete plan, is never deleted.
        The ids of its runs are kept for two months, and longer while an older start is open, so that none of them is
        taken for the run of a start whose answer was lost. Planning the same items again would pay for them again.
        Processes that still have the batch open cannot plan anything in it. Files of rows are kept.

        Args:
            older_than_days: Days, 0 to 36,500, since the last run ended or was about to be started.

        Raises:
            LedgerError: The ledger cannot be written to.
            ValueError: *older_than_days* is out of range.

        Example::

            pruned = await batch.prune(older_than_days=30)
            print("kept" if pruned is None else pruned.items)
        """
        return await prune(self._opened(), older_than_days, self._batch_context.clock.time())

    async def reset_foreign(self, worker_id: str) -> None:
        """
        Forget that runs of a worker were seen that belong to no item: nobody else starts any from now on.

        ``exclusive=True`` then holds again for this worker, in all batches of the account in the ledger.

        Args:
            worker_id: The worker, as planned.

        Raises:
            KeyError: The ledger has no such worker.
            LedgerError: The ledger cannot be written to.
            ValueError: *worker_id* cannot be the name of a worker.

        Example::

            await batch.reset_foreign("coreclaw/google-maps-scraper")
        """
        start_queues = self._opened().start_queues
        start_queue = await start_queues.find(check_worker_id("worker_id", worker_id))
        if start_queue is None:
            raise KeyError(worker_id)
        await start_queues.forget_foreign(start_queue)

    async def pause(self) -> None:
        """
        Keep all processes from starting runs of the batch until `resume`; `run` waits, also for running runs.

        Raises:
            LedgerError: The ledger cannot be written to.

        Example::

            await batch.pause()
        """
        await self._opened().pause(is_paused=True)

    async def resume(self) -> None:
        """
        Let runs of the batch be started again; other processes notice within seconds.

        Raises:
            LedgerError: The ledger cannot be written to.

        Example::

            await batch.resume()
        """
        await self._opened().pause(is_paused=False)
        self._runner.resume()

    async def shards(self, size: int, *, unwritten: bool = False) -> list[Shard]:
        """
        Return planned and open items as parts of at most *size* items, each of one worker; sends nothing.

        Args:
            size: Items of a part, 1 or more.
            unwritten: Whether to include items that have ended and whose rows are in no file: for parts that will be
                run with ``output=``.

        Raises:
            LedgerError: The ledger cannot be read.
            ValueError: *size* is out of range.

        Example::

            for shard in await batch.shards(200):
                print(shard.worker_id, shard.first, shard.last)
        """
        check_bool("unwritten", unwritten)
        return await self._opened().shards(check_int("size", size, lowest=1), is_unwritten=unwritten)

    async def get(self, key: str) -> BatchItem:
        """
        Return the item with *key* from the ledger; sends nothing.

        Raises:
            KeyError: There is no such item.
            LedgerError: The ledger cannot be read.

        Example::

            item = await batch.get("coffee")
            print(item.state, item.run_id)
        """
        item = await self._opened().item(check_key(key))
        if item is None:
            raise KeyError(key)
        return item

    async def history(self, key: str) -> list[BatchItemRun]:
        """
        Return all runs that the item with *key* has had, oldest first; sends nothing.

        Raises:
            LedgerError: The ledger cannot be read.

        Example::

            for earlier in await batch.history("coffee"):
                print(earlier.attempt, earlier.run_id, earlier.state)
        """
        return await self._opened().history(check_key(key))

    async def resolve(self, key: str, *, adopt: str | None = None, resubmit: bool = False) -> BatchItem:
        """
        Decide about an item that is ``ambiguous`` or ``failed``, and return the changed item.

        ``GET /api/v2/worker-runs/{runId}`` where a run is adopted, and the lists of workers where the run has a worker
        that was not known to be the item's.

        Args:
            key: Key of the item.
            adopt: The run of the item: one of its worker that belongs to no other item. For an item that has failed
                with a run, that run: it is read once more, and `run` waits for it again.
            resubmit: Whether the item has no run and is to be started: if that is wrong, it is paid for twice.

        Raises:
            KeyError: There is no such item.
            ValueError: Both or neither were given, the item is in another state, or the run cannot be its run.
            NotFoundError: There is no such run.
            CoreClawError: The run cannot be read.
            LedgerError: The ledger cannot be written to.

        Example::

            async for item in batch.items(state="ambiguous"):
                if item.candidates:
                    await batch.resolve(item.key, adopt=item.candidates[0])
        """
        if (adopt is None) is not check_bool("resubmit", resubmit):
            raise ValueError(f"give either adopt or resubmit=True, not {'both' if resubmit else 'neither'}")
        self._opened()
        after = await resolve(self._batch_context, await self.get(key), adopt)
        self._runner.take_up(after)
        self._runner.wake()
        return after

    async def rerun(self, keys: Iterable[str] | None = None) -> int:
        """
        Plan items again that failed, were rejected or taken out, and return how many; their history is kept.

        Args:
            keys: Which items; None for all items whose run has failed. Items that may have an unknown run, or a run
                that could not be read, must be named.

        Raises:
            KeyError: There is no such item.
            ValueError: An item is in another state.
            LedgerError: The ledger cannot be written to.

        Example::

            planned = await batch.rerun()  # All that failed, were refused or were cancelled.
        """
        if keys is None:
            planned = await self._opened().plan_failed_again()
            self._runner.wake()
            return planned
        items = [await self.get(key) for key in keys]
        for item in items:
            if item.state not in {BatchItemState.FAILED, BatchItemState.REJECTED, BatchItemState.CANCELLED}:
                raise ValueError(
                    f"item {item.key!r} is {item.state}, and only failed, rejected or cancelled items can be run again"
                )
        for item in items:
            await self._batch_context.step(item, to_planned(item, ItemOrigin.PERSON))
        self._runner.wake()
        return len(items)

    async def cancel(self, *, abort: bool = False) -> int:
        """
        Take out all planned items, and return how many there were; `rerun` plans them again by key.

        An item whose start is being sent does not count: if no run comes of it, it is taken out too; otherwise its run
        is waited for as any other. The request is kept in the ledger, so it holds for all processes that work on the
        batch now or later; what is planned after it is started. ``POST /api/v2/worker-runs/{runId}/abort`` with
        *abort*; retried after a failure.

        Args:
            abort: Whether to abort the running runs too, also those of starts that are being sent, once their runs are
                known; `run` then returns them as they end.

        Raises:
            BatchAbortError: Some runs could not be aborted. All others were, and the planned items are taken out. Call
                it again to retry these runs.
            LedgerError: The ledger cannot be written to.

        Example::

            cancelled = await batch.cancel(abort=True)
        """
        check_bool("abort", abort)
        ledger = self._opened()
        with self._runner.cancelling():
            cancelled = await ledger.cancel(abort=abort)
        if abort:
            await abort_items(self._batch_context.context, await ledger.items(BatchItemState.SUBMITTED), cancelled)
        return cancelled

    def _opened(self) -> BatchLedger:
        if self._stack is None:
            raise RuntimeError("the batch is not open: use it in the block of (async) with client.batch(...) as batch")
        self._batch_context.ledger.database.check_process()
        return self._batch_context.ledger


async def _each(specs: Iterable[RunSpec] | AsyncIterable[RunSpec]) -> AsyncGenerator[RunSpec]:
    if isinstance(specs, AsyncIterable):
        async for spec in specs:
            yield spec
    else:
        for spec in specs:
            yield spec
