"""A running batch: its start queues, the wait for its runs, and when nothing is left to do."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable
from decimal import Decimal

import anyio
import anyio.abc
import attrs

from coreclaw_async import errors
from coreclaw_async._concurrency.groups import first_of, task_group
from coreclaw_async._data.counting import counted
from coreclaw_async._operations.calls import call_of
from coreclaw_async._operations.lists import read_runs
from coreclaw_async._operations.run_reader import run_reader
from coreclaw_async._polling.tracked_run import TrackedRun, ends_every_wait
from coreclaw_async._polling.waiters import Waiter
from coreclaw_async._resources.account import AsyncAccount
from coreclaw_async.batch._aborting import ABORT
from coreclaw_async.batch._admission import Admission, Limits
from coreclaw_async.batch._context import BatchContext
from coreclaw_async.batch._item_pages import ItemPages
from coreclaw_async.batch._items import BatchItem, BatchItemState
from coreclaw_async.batch._ledger.spending import cost_as_told
from coreclaw_async.batch._manifest import write_manifest
from coreclaw_async.batch._outcomes import BatchOutcome, Outcomes
from coreclaw_async.batch._row_files import PartFiles
from coreclaw_async.batch._run_aborts import RunAborts
from coreclaw_async.batch._run_ends import RunEnds
from coreclaw_async.batch._start_queue import StartQueue
from coreclaw_async.batch._start_queue_names import slugs_of
from coreclaw_async.batch._timekeeper import Timekeeper
from coreclaw_async.events import RunChanged
from coreclaw_async.models import Run, RunOutcome

_FEW = 20
_JUST_NOW = 1.0
_MAX_REASONS = 100


@attrs.define(kw_only=True, eq=False)
class Engine:
    """
    One `AsyncBatch.run`.

    Attributes:
        limits: What was learned about the service's limits.
        width: Starts of one start queue that may be sent at once.
        files: Where rows go, or None.
        outcomes: Where ended items are reported; outcomes that were not taken in an earlier run come first.
        is_planning: Returns whether a plan is being read; its items are waited for.
        on_follow: Called with each item whose run begins to be waited for.
        is_over: Whether it has stopped.
        failure: Why something was left undone, or None.
        has_more: Whether items were planned, or started by another process, after everything else was done.
    """

    batch_context: BatchContext
    limits: Limits
    width: int
    files: PartFiles | None
    outcomes: Outcomes = attrs.field(factory=Outcomes)
    is_planning: Callable[[], bool] = bool
    on_follow: Callable[[BatchItem], object] = bool
    is_over: bool = attrs.field(default=False, init=False)
    failure: BaseException | None = attrs.field(default=None, init=False)
    has_more: bool = attrs.field(default=False, init=False)
    admission: Admission = attrs.field(init=False)
    _items: dict[str, BatchItem] = attrs.field(factory=dict[str, BatchItem], init=False)
    _waiter: Waiter = attrs.field(init=False)
    _ends: RunEnds = attrs.field(init=False)
    _aborts: RunAborts = attrs.field(init=False)
    _times: Timekeeper = attrs.field(init=False)
    _group: anyio.abc.TaskGroup | None = attrs.field(default=None, init=False)
    _start_queues: set[str] = attrs.field(factory=set[str], init=False)
    _is_writing: bool = attrs.field(init=False)
    _news: anyio.Event = attrs.field(factory=anyio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self.limits.all_seen = self._were_all_seen
        self.admission = Admission(self.limits, self.batch_context.clock, lambda: len(self.outcomes))
        self._waiter = Waiter.of(
            run_reader(self.batch_context.context), (), float("inf"), self.batch_context.context.settings.hooks
        )
        self._ends = RunEnds(
            batch_context=self.batch_context,
            files=self.files,
            outcomes=self.outcomes,
            may_retry=self._may_retry,
            on_retry=self.wake,
        )
        self._is_writing = self.files is not None
        self._aborts = RunAborts(batch_context=self.batch_context)
        self._times = Timekeeper(
            batch_context=self.batch_context, waiter=self._waiter, aborts=self._aborts, on_unseen=self._unseen
        )

    async def next(self) -> BatchOutcome | None:
        """Return the next outcome, or None after the last one."""
        outcome = await self.outcomes.take(lambda: self.is_over)
        if outcome is None:
            if self.failure is not None:
                raise self.failure
            return None
        self.admission.changed()
        return outcome

    async def work(self) -> None:
        """Do everything; an error is kept for the caller who asks for the next outcome."""
        call = call_of(self.batch_context.context, "batch.run")
        try:
            with call:
                await self._work()
        finally:
            call.end()

    async def _work(self) -> None:
        try:
            if self.files is not None:
                await self.files.prepare()
            # One answer first: it shows the service's clock, and that the key is valid.
            await self.batch_context.patience.call(lambda: read_runs(self.batch_context.probes, offset=0, limit=1))
            await self._ends.read_costs()
            async with task_group() as self._group:
                self._group.start_soon(self._follow_runs)
                self._group.start_soon(self._times.run)
                self._group.start_soon(self._write_earlier)
                await self._supervise(self._group)
                self._group.cancel_scope.cancel()
            if self.files is not None and self.batch_context.ledger.is_whole:
                await write_manifest(self.files.folder, self._all_items())
            self.failure = await self._why_incomplete()
        except Exception as error:  # noqa: BLE001 - raised when the next outcome is asked for
            self.failure = first_of(error)
        except BaseException:
            self.failure = errors.ConfigurationError("the batch was closed before all of its runs had ended")
            raise
        finally:
            self.is_over = True
            self.outcomes.wake()

    def wake(self) -> None:
        """Look for work again: items were planned, or have changed."""
        self._news.set()

    def resumed(self) -> None:
        """Start runs again at once, after a pause."""
        self.limits.resumed_starts()
        self.admission.changed()

    def take_up(self, item: BatchItem) -> None:
        """Wait for the run of an item that another process, a callback or a person has named."""
        if self.is_over or item.run_id is None:
            return
        self._abort_if_asked(item)
        if item.run_id in self._items or item.key in self._ends.left:
            return
        self.limits.resumed()
        self.follow(item)

    def follow(self, item: BatchItem) -> None:
        """Wait for the run of an item."""
        assert item.run_id is not None, "a submitted item has a run"
        self._items[item.run_id] = item
        context, now = self.batch_context.context, self.batch_context.clock.monotonic()
        tracked = TrackedRun(run_id=item.run_id, schedule=context.schedule, began=now)
        context.poller.add(self._waiter, tracked)
        self._times.keep(item)
        self.on_follow(item)

    def _abort_if_asked(self, item: BatchItem) -> None:
        """Abort a run that nobody could abort when its item was cancelled."""
        if item.cancel_requested == ABORT:
            self._abort(item)

    def _abort(self, item: BatchItem) -> None:
        """Abort the run of a cancelled item, for as long as there is patience and the run goes on."""
        # An item that is settled before the work begins is taken up, and its abort requested, when it begins.
        if self._group is not None and item.run_id is not None:  # pragma: no branch
            self._group.start_soon(
                functools.partial(self._aborts.abort, item.run_id, seconds=self.batch_context.patience.seconds)
            )

    async def _supervise(self, group: anyio.abc.TaskGroup) -> None:
        """Return when nothing is left to do, including items that others have planned or started meanwhile."""
        while True:
            self._news = anyio.Event()
            await self._take_up_submitted()
            for slug, names in (await self._slugs()).items():
                if slug not in self._start_queues:
                    self._start_queues.add(slug)
                    group.start_soon(self._run_start_queue, slug, names)
            is_busy = self._start_queues or self._items or self._is_writing or self.is_planning()
            if not (is_busy or self._news.is_set()):
                return
            await self._news.wait()

    async def _all_items(self) -> AsyncGenerator[BatchItem]:
        pages = ItemPages(batch_context=self.batch_context, states=(), worker_id=None)
        while (page := await pages.next()) is not None:
            for item in page.items:
                yield item

    async def _take_up_submitted(self) -> None:
        """Take up the runs that other processes have started."""
        if not self._items:
            for item in await self.batch_context.ledger.items(BatchItemState.SUBMITTED):
                self.take_up(item)

    async def _slugs(self) -> dict[str, list[str]]:
        """Return the start queues with items to start or to settle, each with its worker's names in the plan."""
        states = [BatchItemState.INTENT]
        if self.admission.stopped_by is None:
            states.append(BatchItemState.PLANNED)
        names = await self.batch_context.ledger.workers(*states)
        start_queues: dict[str, list[str]] = {}
        for name, slug in (await slugs_of(self.batch_context, names)).items():
            start_queues.setdefault(slug, []).append(name)
        return dict(sorted(start_queues.items()))

    async def _run_start_queue(self, slug: str, names: list[str]) -> None:
        start_queue = StartQueue(
            batch_context=self.batch_context,
            admission=self.admission,
            slug=slug,
            names=names,
            width=self.width,
            on_change=self._changed,
            on_settled=self._settled,
            on_unaborted=self._abort,
        )
        try:
            await start_queue.run()
        finally:
            self._start_queues.discard(slug)
            self.wake()

    async def _write_earlier(self) -> None:
        if self.files is not None:
            await self._ends.write_earlier()
        self._is_writing = False
        self.wake()

    def _settled(self, item: BatchItem) -> None:
        """Continue with an item whose start had been lost, and was no longer counted as in flight."""
        if item.state is BatchItemState.SUBMITTED and self.batch_context.ledger.owns(item):
            self.limits.resumed()
            self._abort_if_asked(item)
        self._changed(item)

    def _changed(self, item: BatchItem) -> None:
        """Continue with an item that a start queue has started or given back."""
        if not self.batch_context.ledger.owns(item):  # Start queues are shared with other batches and shards.
            return
        if item.state is BatchItemState.SUBMITTED:
            if item.run_id in self._items:  # Found in the ledger before its start queue reported it.
                self.limits.ended()
            else:
                self.follow(item)
        elif not item.state.is_open and item.state is not BatchItemState.CANCELLED:
            self.outcomes.tell(item)

    async def _follow_runs(self) -> None:
        """Handle the ends of runs."""
        assert self._group is not None, "the engine is at work"
        poller = self.batch_context.context.poller
        while True:
            tracked = await poller.news(self._waiter)
            assert tracked is not None, "this wait has no deadline"
            for change in tracked.changes:
                before = None if change.before is None or change.before.status is None else str(change.before.status)
                self.batch_context.emit(RunChanged(run=change.run, previous=before))
            tracked.changes.clear()
            if tracked.error is not None and ends_every_wait(tracked.error):
                raise tracked.error
            if tracked.is_over:
                self._group.start_soon(self._end, tracked)

    def _unseen(self, tracked: TrackedRun) -> None:
        assert self._group is not None, "the engine is at work"
        tracked.error = tracked.failure
        self._group.start_soon(self._end, tracked)

    async def _end(self, tracked: TrackedRun) -> None:
        why_not_aborted = await self._aborts.ended(tracked.run_id)
        try:
            await self._ends.end(self._items[tracked.run_id], tracked.run, tracked.error)
        finally:
            item = self._items.pop(tracked.run_id)
            if item.key in self._ends.left and why_not_aborted is not None:
                self._ends.left[item.key] += f"; it could not be aborted: {why_not_aborted}"
            self.limits.unfollowed += item.key in self._ends.left
            self.limits.ended()
            self.admission.changed()
            if not self._items:
                self.wake()

    def _may_retry(self, item: BatchItem, run: Run) -> bool:
        """Return whether the run has failed by itself, or by its time limit."""
        return run.outcome is RunOutcome.FAILED or item.run_id in self._times.timed_out

    def _were_all_seen(self) -> bool:
        tracked_runs = self._waiter.tracked_runs
        if len(tracked_runs) > _FEW:  # One run more or less makes no difference among so many.
            return True
        now = self.batch_context.clock.monotonic()
        return all(now - tracked.seen_at < _JUST_NOW for tracked in tracked_runs.values())

    async def _why_incomplete(self) -> errors.BatchIncompleteError | None:
        """Return what was left open and why, or None where nothing was."""
        ledger, reason = self.batch_context.ledger, self.admission.stopped_by
        left = {state: count for state, count in (await ledger.counts()).items() if state.is_open and count}
        reasons = dict(list(self._ends.left.items())[:_MAX_REASONS])
        if reason in {"balance", "max_spend"} and BatchItemState.PLANNED in left:
            return await self._why_stopped(reason, left, reasons)
        is_half_planned = await ledger.is_half_planned()
        if not reasons and (left or not is_half_planned):
            self.has_more = bool(left)
            return None
        parts = [f"{count} {state.value}" for state, count in left.items()]
        if is_half_planned:
            parts.append("its plan is incomplete: it broke off, or is still being read")
        what = ", ".join(parts) or "rows are missing"
        first = "".join(f"; {key!r}: {why}" for key, why in list(reasons.items())[:1])
        return errors.BatchIncompleteError(
            f"the batch {ledger.batch!r} is not complete: {what}{first}",
            counts={state.value: count for state, count in left.items()},
            reasons=reasons,
        )

    async def _why_stopped(
        self, reason: str, left: dict[BatchItemState, int], reasons: dict[str, str]
    ) -> errors.BatchStoppedError:
        """Return what kept planned items from being started."""
        spent = (await self.batch_context.ledger.totals()).all
        spending = await self.batch_context.ledger.spending()
        balance = None
        if reason == "balance":
            balance = await self._balance()
            why = "the balance does not cover another run" + ("" if balance is None else f": {balance} US dollars")
        else:
            why = f"the budget of {spending.max_spend if spending else 0} US dollars does not cover another run"
            if spent.unknown_costs:
                runs = counted(spent.unknown_costs, "run has", "runs have")
                why += f", as the service does not tell what {runs} cost"
            if spending and spending.open_runs:
                runs = counted(spending.open_runs, "run")
                why += f"; {runs} of open or held items may come to cost as much as the dearest"
        return errors.BatchStoppedError(
            f"{why}; {counted(left[BatchItemState.PLANNED], 'item is', 'items are')} left as planned; "
            f"spent so far: {cost_as_told(spent.cost, spent.unknown_costs)}",
            reason=reason,
            left=left[BatchItemState.PLANNED],
            spent=spent.cost,
            balance=balance,
            counts={state.value: count for state, count in left.items()},
            reasons=reasons,
        )

    async def _balance(self) -> Decimal | None:
        try:
            return (await AsyncAccount(self.batch_context.context).get()).balance
        except errors.CoreClawError:
            return None
