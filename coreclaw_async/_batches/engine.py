"""A batch at work: its lanes, the wait for its runs, and what becomes of their ends."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import anyio
import anyio.abc
import attrs

from coreclaw_async import errors
from coreclaw_async._batches.admission import Admission, Limits
from coreclaw_async._batches.lane import Lane
from coreclaw_async._batches.lane_names import slugs_of
from coreclaw_async._batches.means import Means, logger
from coreclaw_async._batches.part_files import PartFiles
from coreclaw_async._poller import Waiter, first_of
from coreclaw_async._resources.account import AsyncAccount
from coreclaw_async._resources.run_lists import read_runs
from coreclaw_async._resources.runs import AsyncRuns
from coreclaw_async._resources.waiting import poll_hook, run_source
from coreclaw_async._watch import Watch
from coreclaw_async.events import RunChanged
from coreclaw_async.ledger import BatchItem, BatchItemState, IllegalStepError
from coreclaw_async.models import Run, RunOutcome

_AT_ONCE = 8
_FEW = 20
_JUST_NOW = 1.0
_WRITE_AGAIN = (2.0, 5.0, 15.0)


@attrs.frozen(kw_only=True)
class BatchOutcome:
    """
    How an item of a batch came to an end, or why it could not.

    Attributes:
        key: The item's.
        state: Where it stands: ``done``, ``failed``, ``rejected`` or ``ambiguous``; ``submitted`` when its run has
            ended but its rows could not be read, which the next `AsyncBatch.run` tries again.
        run_id: Its run, or None.
        run: The run as it ended, or None.
        attempt: Number of the attempt, from 1; 0 when it never was about to be sent.
        error: Why it is not done, or None.
        candidates: For an ambiguous item, the runs that may be its run.
        path: The file with its rows, or None.
    """

    key: str
    state: BatchItemState
    run_id: str | None = None
    run: Run | None = None
    attempt: int = 0
    error: str | None = None
    candidates: Sequence[str] = ()
    path: Path | None = None


@attrs.define(kw_only=True, eq=False)
class Engine:
    """
    One `AsyncBatch.run`.

    Attributes:
        means: The batch's.
        limits: What was learned of the service's limits.
        width: Starts of one lane that may be under way at once.
        files: Where rows go, or None.
        is_over: Whether nothing is going on any more.
        failure: Why not all was done, or None.
    """

    means: Means
    limits: Limits
    width: int
    files: PartFiles | None
    is_over: bool = attrs.field(default=False, init=False)
    failure: BaseException | None = attrs.field(default=None, init=False)
    admission: Admission = attrs.field(init=False)
    _outcomes: deque[BatchOutcome] = attrs.field(factory=deque[BatchOutcome], init=False)
    _news: anyio.Event = attrs.field(factory=anyio.Event, init=False)
    _items: dict[str, BatchItem] = attrs.field(factory=dict[str, BatchItem], init=False)
    _waiter: Waiter = attrs.field(init=False)
    _ending: int = attrs.field(default=0, init=False)
    _quiet: anyio.Event = attrs.field(factory=anyio.Event, init=False)
    _slots: anyio.CapacityLimiter = attrs.field(factory=lambda: anyio.CapacityLimiter(_AT_ONCE), init=False)

    def __attrs_post_init__(self) -> None:
        self.limits.all_seen = self._were_all_seen
        self.admission = Admission(self.limits, self.means.clock, lambda: len(self._outcomes))
        self._waiter = Waiter.of(run_source(self.means.context), (), float("inf"), poll_hook(self.means.context))

    async def next(self) -> BatchOutcome | None:
        """Return the next outcome, or None after the last one."""
        while not self._outcomes:
            if self.is_over:
                failure, self.failure = self.failure, None
                if failure is not None:
                    raise failure
                return None
            await self._news.wait()
            self._news = anyio.Event()
        outcome = self._outcomes.popleft()
        self.admission.changed()
        return outcome

    async def work(self) -> None:
        """Do all there is to do; what keeps it from that is told to whoever asks for the next outcome."""
        try:
            if self.files is not None:
                await self.files.prepare()
            # An answer first: it tells the service's clock, and that the key is right.
            await read_runs(self.means.context, 0, 1)
            async with anyio.create_task_group() as group:
                await self._resume()
                group.start_soon(self._watch_runs, group)
                await self._start_all()
                await self._all_ended()
                group.cancel_scope.cancel()
            self.failure = await self._why_stopped()
        except Exception as error:  # noqa: BLE001 - whoever asks for the next outcome gets it
            self.failure = first_of(error)
        except BaseException:
            self.failure = errors.ConfigurationError("the batch was closed before all of its runs had ended")
            raise
        finally:
            self.is_over = True
            self._news.set()

    def follow(self, item: BatchItem) -> None:
        """Wait for the end of an item's run."""
        assert item.run_id is not None, "a submitted item has a run"
        self._items[item.run_id] = item
        now = self.means.clock.monotonic()
        watch = Watch(run_id=item.run_id, schedule=self.means.context.schedule, began=now)
        self.means.context.watcher.add(self._waiter, watch)

    def take_up(self, item: BatchItem) -> None:
        """Go on with an item whose run an earlier process, a callback or a person has told."""
        if self.is_over or item.run_id is None or item.run_id in self._items:
            return
        self.limits.resumed()
        self.follow(item)

    async def _resume(self) -> None:
        """Take up the runs that an earlier process has started."""
        for item in await self.means.ledger.items(BatchItemState.SUBMITTED):
            self.take_up(item)

    async def _start_all(self) -> None:
        """Start what is planned, also what is planned meanwhile."""
        while self.admission.stopped_by is None or await self.means.ledger.items(BatchItemState.INTENT, most=1):
            names = await self.means.ledger.workers()
            if not names:
                return
            slugs = await slugs_of(self.means.context, self.means.ledger, names)
            async with anyio.create_task_group() as group:
                for slug in sorted(set(slugs.values())):
                    lane = Lane(
                        means=self.means,
                        admission=self.admission,
                        slug=slug,
                        names=[name for name in names if slugs[name] == slug],
                        width=self.width,
                        on_change=self._changed,
                        on_settled=self._settled,
                    )
                    group.start_soon(lane.run)

    def _settled(self, item: BatchItem) -> None:
        """Go on with an item whose start had been lost, and did not count as in flight any more."""
        if item.state is BatchItemState.SUBMITTED and item.batch == self.means.ledger.batch:
            self.limits.resumed()
        self._changed(item)

    def _changed(self, item: BatchItem) -> None:
        """Go on with an item that a lane has started or given back."""
        if item.batch != self.means.ledger.batch:
            return
        match item.state:
            case BatchItemState.SUBMITTED:
                self.follow(item)
            case BatchItemState.REJECTED | BatchItemState.AMBIGUOUS | BatchItemState.FAILED:
                self._tell(item)
            case _:
                pass

    async def _watch_runs(self, group: anyio.abc.TaskGroup) -> None:
        """See to the ends of runs."""
        while True:
            watch = await self.means.context.watcher.news(self._waiter)
            assert watch is not None, "this wait has no deadline"
            for change in watch.changes:
                before = None if change.before is None or change.before.status is None else str(change.before.status)
                self.means.context.transport.emit(RunChanged(run=change.run, previous=before))
            watch.changes.clear()
            if isinstance(watch.error, errors.AuthenticationError | errors.ConfigurationError):
                raise watch.error
            if watch.is_over:
                self._ending += 1
                group.start_soon(self._end, watch)

    async def _end(self, watch: Watch) -> None:
        item = self._items[watch.run_id]
        try:
            async with self._slots:
                await self._write_and_tell(item, watch.run, watch.error)
        finally:
            del self._items[watch.run_id]
            self._ending -= 1
            self._quiet.set()
            self.admission.changed()

    async def _write_and_tell(self, item: BatchItem, run: Run | None, error: errors.CoreClawError | None) -> None:
        """Bring the rows of an ended run to their file, then the item to its end."""
        cost = None if run is None else run.usage
        path: Path | None = None
        try:
            path = await self._write_rows(item, run)
        except (errors.AuthenticationError, errors.ConfigurationError):
            raise
        except errors.CoreClawError as failure:
            self.limits.ended(cost)
            self._tell(item, run=run, error=f"its rows could not be read: {failure}")
            return
        is_success = run is not None and run.outcome is RunOutcome.SUCCEEDED
        why = None if is_success else _why(run, error)
        result_count = None if run is None else run.result_count
        try:
            ended = await self.means.step(
                item, item.ended(is_success=is_success, result_count=result_count, cost=cost, error=why)
            )
        except IllegalStepError:  # Another process works on this batch too, and was quicker.
            self.limits.ended(cost)
            return
        self.limits.ended(cost)
        self._tell(ended, run=run, path=path)

    async def _write_rows(self, item: BatchItem, run: Run | None) -> Path | None:
        if self.files is None or run is None or item.run_id is None:
            return None
        if run.outcome is not RunOutcome.SUCCEEDED and not run.result_count:
            return None
        # What is known of the run says how many rows there are; one that stays ``aborting`` gives what it has.
        ended = attrs.evolve(run, run_id=item.run_id)
        waits = iter(_WRITE_AGAIN)
        while True:
            try:
                runs = AsyncRuns(self.means.context)
                pages = runs.iterate_results(ended, partial=not ended.is_finished).pages()
                return await self.files.write(item.run_id, pages)
            except (errors.AuthenticationError, errors.ConfigurationError):
                raise
            except errors.CoreClawError as error:
                wait = next(waits, None)
                if wait is None:
                    raise
                logger.debug("the rows of run %s could not be read, which is tried again: %s", item.run_id, error)
                await self.means.clock.sleep(wait)

    def _tell(
        self, item: BatchItem, *, run: Run | None = None, path: Path | None = None, error: str | None = None
    ) -> None:
        self._outcomes.append(
            BatchOutcome(
                key=item.key,
                state=item.state,
                run_id=item.run_id,
                run=run,
                attempt=item.attempt,
                error=item.error if error is None else error,
                candidates=item.candidates,
                path=path,
            )
        )
        self._news.set()

    def _were_all_seen(self) -> bool:
        watches = self._waiter.watches
        if len(watches) > _FEW:  # One start more or less does not count among so many.
            return True
        now = self.means.clock.monotonic()
        return all(now - watch.seen_at < _JUST_NOW for watch in watches.values())

    async def _all_ended(self) -> None:
        while self._items or self._ending:
            await self._quiet.wait()
            self._quiet = anyio.Event()

    async def _why_stopped(self) -> errors.BatchStoppedError | None:
        """Return what kept planned items from being started, or None."""
        reason = self.admission.stopped_by
        counts = await self.means.ledger.counts()
        left = counts[BatchItemState.PLANNED]
        if reason is None or reason == "cancelled" or not left:
            return None
        spent = (await self.means.ledger.totals()).all.cost
        balance = None
        why = f"the budget of {self.limits.budget.most} US dollars is used up" if self.limits.budget else ""
        if reason == "balance":
            balance = await self._balance()
            why = "the balance does not cover another run" + ("" if balance is None else f": {balance} US dollars")
        return errors.BatchStoppedError(
            f"{why}; {left} items are left as planned, {spent} US dollars were spent",
            reason=reason,
            left=left,
            spent=spent,
            balance=balance,
        )

    async def _balance(self) -> Decimal | None:
        try:
            return (await AsyncAccount(self.means.context).get()).balance
        except errors.CoreClawError:
            return None


def _why(run: Run | None, error: errors.CoreClawError | None) -> str:
    """Return why a run is no success, in a line."""
    if run is None or error is not None:
        return f"its run cannot be read: {error}"
    if not run.is_finished:
        return "its run is still aborting, and nothing says that it has ended"
    return run.error_message or f"its run ended as {run.status}"
