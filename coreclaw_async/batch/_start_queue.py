"""One start queue: it starts the items of one worker one after another, each recorded before it is sent."""

from __future__ import annotations

import contextlib
import json
from collections import deque
from collections.abc import Callable, Sequence

import anyio
import attrs

from coreclaw_async import errors
from coreclaw_async._concurrency.calls import belonging_to
from coreclaw_async._concurrency.groups import task_group
from coreclaw_async._http.fence import SendWindow
from coreclaw_async._logs import facts, logger
from coreclaw_async._operations.lists import read_runs
from coreclaw_async._operations.start import once_request, send_start
from coreclaw_async._polling.tracked_run import ends_every_wait
from coreclaw_async._polling.waiters import WARN_SECONDS
from coreclaw_async._wire.error_codes import is_service_code
from coreclaw_async._wire.request import shown_worker, worker_in_path
from coreclaw_async.batch._aborting import ABORT, abort_patiently
from coreclaw_async.batch._admission import Admission
from coreclaw_async.batch._context import BatchContext
from coreclaw_async.batch._evidence import leaves_within
from coreclaw_async.batch._item_steps import to_intent, to_planned, to_rejected, to_submitted
from coreclaw_async.batch._items import BatchItem, BatchItemState, IllegalStepError, ItemOrigin
from coreclaw_async.batch._ledger.ownership import start_queue_lock
from coreclaw_async.batch._ledger.spending import OverBudgetError, Spending
from coreclaw_async.batch._ledger.steps import PausedError
from coreclaw_async.batch._patience import is_passing
from coreclaw_async.batch._reconciler import Reconciler
from coreclaw_async.batch._store.database import Database, StartQueueLostError
from coreclaw_async.events import StartUnknown

_TAKE_AGAIN = 0.5
_FIRST_PAUSE, _MAX_PAUSE = 1.0, 30.0
_READ_AHEAD = 16


@attrs.define(kw_only=True)
class StartQueue:
    """
    The starts of one worker.

    Attributes:
        admission: The gate that all start queues go through.
        slug: The worker.
        names: What the items call it.
        width: Starts that may be sent at once; above 1 only if each has a callback URL of its own.
        on_change: Called with each item that was started, refused, or given back.
        on_settled: Called with each item whose lost start was settled.
        on_unaborted: Called with each item that was cancelled during its start, and whose run could not be aborted.
    """

    batch_context: BatchContext
    admission: Admission
    slug: str
    names: Sequence[str]
    width: int
    on_change: Callable[[BatchItem], None]
    on_settled: Callable[[BatchItem], None]
    on_unaborted: Callable[[BatchItem], None]
    _database: Database = attrs.field(init=False)
    _lock_name: str = attrs.field(init=False)
    _ahead: deque[tuple[BatchItem, str]] = attrs.field(factory=deque[tuple[BatchItem, str]], init=False)
    _under_way: set[str] = attrs.field(factory=set[str], init=False)
    _ended: anyio.Event = attrs.field(factory=anyio.Event, init=False)
    _pause: float = attrs.field(default=0.0, init=False)
    _is_unsettled: bool = attrs.field(default=False, init=False)
    _has_more: bool = attrs.field(default=True, init=False)
    _unsent_since: float | None = attrs.field(default=None, init=False)
    _longer_pause: float = attrs.field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        self._database = self.batch_context.ledger.database
        self._lock_name = start_queue_lock(self.batch_context.ledger.account, self.slug)

    async def run(self) -> None:
        """
        Start all planned items of the start queue, and settle its open starts.

        Raises:
            CoreClawError: Nothing can be started any more: the key, the ledger or the network fails.
        """
        reconciler = Reconciler(self.batch_context, self.slug, self.on_settled)
        while True:
            await self._take()
            try:
                await reconciler.run()
                self._is_unsettled = False
                await self._burst()
            finally:
                with anyio.CancelScope(shield=True):
                    await self._database.leave_start_queue(self._lock_name)
            if self._is_unsettled:
                continue
            if not self._has_more or not await self.admission.wait():
                return

    async def _take(self) -> None:
        """Return when the start queue is held, so that nobody else starts runs of the worker through this ledger."""
        clock = self.batch_context.clock
        began = told_at = clock.monotonic()
        while not await self._database.take_start_queue(self._lock_name):
            await clock.sleep(_TAKE_AGAIN)
            now = clock.monotonic()
            if now - told_at >= WARN_SECONDS:
                told_at = now
                logger.warning(
                    "waiting for another call, batch or process that starts runs of worker %s through this ledger, for "
                    "%.0f s now: it finds out what became of a start that was not answered, has many runs to start, or "
                    "stands still; only one may start them at a time",
                    shown_worker(self.slug),
                    now - began,
                    extra=facts(batch=self.batch_context.ledger.batch, worker_id=shown_worker(self.slug)),
                )

    async def _burst(self) -> None:
        """Start items while there are any, the gate is open, and no start is unsettled."""
        self._ahead.clear()  # Others may have had the start queue meanwhile.
        async with task_group() as group:
            # What is under way may be given back, so the start queue has not ended before that has.
            while not self._is_unsettled and (await self._read_ahead() or self._under_way):
                if self._ahead and len(self._under_way) < self.width and self.admission.try_enter():
                    item, given = self._ahead.popleft()
                    self._under_way.add(item.key)
                    group.start_soon(self._start_next, item, given)
                elif self._under_way:
                    await self._ended.wait()
                    self._ended = anyio.Event()
                else:
                    return
                if self._pause:
                    pause, self._pause = self._pause, 0.0
                    await self.batch_context.clock.sleep(pause)
                    if self._unsent_since is not None:
                        # One request at a time, of all start queues, until the service can be used again.
                        await self.batch_context.patience.call(
                            lambda: read_runs(self.batch_context.probes, offset=0, limit=1)
                        )

    async def _read_ahead(self) -> bool:
        """Return whether there are more items, besides those under way."""
        if not self._ahead:
            # Starts whose intents are about to be written are still planned in the ledger.
            most = _READ_AHEAD + len(self._under_way)
            found = await self.batch_context.ledger.next_planned(self.names, most)
            self._ahead.extend(pair for pair in found if pair[0].key not in self._under_way)
        self._has_more = bool(self._ahead)
        return self._has_more

    async def _start_next(self, item: BatchItem, given: str) -> None:
        # A cancellation must not lose the answer to a start that was sent; `AsyncBatch` cancels the scope itself.
        with anyio.CancelScope(shield=True) as scope:
            self.batch_context.sending.add(scope)
            try:
                await self._start(item, given)
            except BaseException:
                self._is_unsettled = True  # No other start is sent while the error propagates.
                raise
            finally:
                self.batch_context.sending.discard(scope)
                self._under_way.discard(item.key)
                self._ended.set()
                self.admission.changed()

    async def _start(self, item: BatchItem, given: str) -> None:
        """Start one item."""
        batch_context, limits, clock = self.batch_context, self.admission.limits, self.batch_context.clock
        url = None if batch_context.hub is None else batch_context.hub.new_url()
        request = once_request(
            "runWorker",
            "workers",
            worker_in_path(item.worker_id),
            "runs",
            input=json.loads(given),
            version=item.version,
            callback_url=url,
            is_async=True,
        )
        # A process that takes over relies on nothing being sent after that.
        last = leaves_within(batch_context.times, len(request.body or b""))
        window = SendWindow.open(clock, first=batch_context.times.send_window, last=last)
        intent = await self._intend(item, url)
        if intent is None:
            return
        if window.passed() > window.first:  # The ledger was slow, or the process stood still: no failure.
            limits.not_started()
            await self._step(intent, to_planned(intent, ItemOrigin.NOT_SENT, "it was too late to send"))
            self._pause = _TAKE_AGAIN
            return
        deadline = clock.monotonic() + batch_context.times.post_timeout
        try:
            with belonging_to((intent.batch, intent.key)):
                started = await send_start(batch_context.starts, request, deadline=deadline, window=window)
        except errors.CoreClawError as error:
            await self._not_answered(intent, error)
            return
        await self._accepted(intent, started.run_id)

    async def _intend(self, item: BatchItem, callback_url: str | None) -> BatchItem | None:
        """Write down that the start of an item is about to leave; return None where it may not."""
        limits = self.admission.limits
        try:
            intended = to_intent(item, at=self.batch_context.service_time(), callback_url=callback_url)
            return await self.batch_context.step(item, intended, start_queue=self._lock_name)
        except PausedError:
            limits.paused(self.batch_context.clock.monotonic())
            self._ahead.clear()
        except OverBudgetError as error:
            await self._over_budget(error.spending)
            self._ahead.clear()
        except StartQueueLostError as error:
            # Others may have had the start queue meanwhile: it is taken again, and its open starts are settled first.
            limits.not_started()
            told = facts(error, batch=item.batch, key=item.key, worker_id=shown_worker(self.slug))
            logger.warning("%s; it is taken again", error, extra=told)
            self._is_unsettled = True
        except IllegalStepError:  # Another process has the item.
            limits.not_started()
        except BaseException:
            limits.not_started()
            raise
        return None

    async def _over_budget(self, spending: Spending) -> None:
        """Start nothing until a run has ended, here or in another process: it may cost less than was reserved."""
        limits, ledger = self.admission.limits, self.batch_context.ledger
        others = await ledger.going_on() - (limits.in_flight - 1) - limits.unfollowed
        is_expected = others > 0 or await ledger.spending() != spending  # The last of them may have ended just now.
        limits.over_budget(
            self.batch_context.clock.monotonic(),
            spending if is_expected else None,
            patience=self.batch_context.patience.seconds,
        )

    async def _accepted(self, intent: BatchItem, run_id: str) -> None:
        self._was_answered()
        self.admission.limits.accepted(self.batch_context.clock.monotonic())
        try:
            accepted = to_submitted(intent, run_id, ItemOrigin.ANSWER, at=self.batch_context.service_time())
            item = await self.batch_context.step(intent, accepted)
        except IllegalStepError:
            item = await self._settled_elsewhere(intent, run_id)
        except errors.LedgerError as error:
            self.batch_context.unrecorded[intent.batch, intent.key, intent.attempt] = error.run_id = run_id
            # Other start queues may fail too, and only one error is raised.
            logger.error(
                "run %s of item %r was started and could not be recorded in the ledger: %s",
                run_id,
                intent.key,
                error,
                extra=facts(error, run_id=run_id, batch=intent.batch, key=intent.key),
            )
            raise
        except anyio.get_cancelled_exc_class():  # The batch is closed while its ledger cannot be reached.
            self.batch_context.unrecorded[intent.batch, intent.key, intent.attempt] = run_id
            logger.warning(
                "run %s of item %r was started and could not be recorded in the ledger; it is looked for later",
                run_id,
                intent.key,
                extra=facts(run_id=run_id, batch=intent.batch, key=intent.key),
            )
            raise
        if item.state is not BatchItemState.SUBMITTED:
            self.admission.limits.ended()
        self.on_change(item)
        if item.cancel_requested == ABORT and not await abort_patiently(self.batch_context, item):
            self.on_unaborted(item)

    def _was_answered(self) -> None:
        """Reset how long nothing could be sent: the service has just answered a start."""
        self._unsent_since, self._longer_pause = None, 0.0

    async def _settled_elsewhere(self, intent: BatchItem, run_id: str) -> BatchItem:
        """
        Return an item that another process or a person has settled before the answer was recorded here.

        Raises:
            LedgerError: It was given another run, or none: this run was paid for and belongs to no item. Or nobody has
                settled it, and the run is another item's.
        """
        item = await self.batch_context.ledger.item(intent.key)
        if item is not None and item.run_id == run_id:
            return item
        if item is not None and item.state is BatchItemState.AMBIGUOUS and item.attempt == intent.attempt:
            # It was held because its run was unknown: the answer names it.
            accepted = to_submitted(item, run_id, ItemOrigin.ANSWER, at=self.batch_context.service_time())
            with contextlib.suppress(IllegalStepError):
                return await self.batch_context.step(item, accepted)
        if item is not None and item.state is BatchItemState.INTENT and item.attempt == intent.attempt:
            raise errors.LedgerError(
                f"the service has answered the start of item {intent.key!r} with run {run_id}, which another item of "
                "the ledger has: nobody knows whether a run was started for this one",
                run_id=run_id,
            )
        raise errors.LedgerError(
            f"item {intent.key!r} was settled before its start was answered: "
            f"its run {run_id} is paid for and belongs to no item",
            run_id=run_id,
        )

    async def _not_answered(self, intent: BatchItem, error: errors.CoreClawError) -> None:
        """Handle the failure of a start."""
        if isinstance(error, errors.RateLimitedError) or is_service_code(error.code):
            self._was_answered()
        if not error.may_have_taken_effect:
            await self._refused(intent, error)
        elif error.run_id is not None:  # The broken answer still named it.
            await self._accepted(intent, error.run_id)
        else:
            with belonging_to((intent.batch, intent.key)):
                self.batch_context.emit(StartUnknown(operation="runWorker", candidates=None))
            told = facts(error, batch=intent.batch, key=intent.key, worker_id=shown_worker(self.slug))
            logger.info("the answer to a start of item %r was lost: %s", intent.key, error, extra=told)
            self.admission.limits.not_started()
            self._is_unsettled = True

    async def _refused(self, intent: BatchItem, error: errors.CoreClawError) -> None:
        limits, now = self.admission.limits, self.batch_context.clock.monotonic()
        is_fatal = False
        match error:
            case errors.ConcurrencyLimitError():
                limits.refused_for_plan(now)
            case errors.RateLimitedError():
                limits.refused_for_rate(now, error.retry_after)
            case errors.InsufficientBalanceError():
                limits.not_started()
                self.admission.stop("balance")
            case _ if ends_every_wait(error):
                limits.not_started()
                is_fatal = True
            case _ if is_passing(error):
                limits.not_started()
                is_fatal = not self._may_retry(error.retry_after)
            case _:
                limits.not_started()
                self.batch_context.refusal = error
                await self._step(intent, to_rejected(intent, str(error)))
                return
        await self._step(intent, to_planned(intent, ItemOrigin.NOT_SENT, error.message))
        self._ahead.clear()  # It comes first again.
        if is_fatal:
            raise error

    async def _step(self, intent: BatchItem, after: BatchItem) -> None:
        """Record the end of a start that created no run."""
        try:
            self.on_change(await self.batch_context.step(intent, after))
        except IllegalStepError:
            # This process stood still so long that another one has settled the item, and may have started it again.
            logger.warning(
                "item %r was settled by another process before its start was given up here",
                intent.key,
                extra=facts(batch=intent.batch, key=intent.key),
            )

    def _may_retry(self, retry_after: float | None) -> bool:
        """Have the start queue pause before it tries again; return whether the batch has patience left."""
        if retry_after is not None:  # The client's rate limit holds it back; the network is not to blame.
            self._pause = retry_after
            return True
        now, patience = self.batch_context.clock.monotonic(), self.batch_context.patience
        self._unsent_since = now if self._unsent_since is None else self._unsent_since
        if now - self._unsent_since >= patience.seconds:
            return False
        self._pause = self._longer_pause = min(max(self._longer_pause * 2, _FIRST_PAUSE), _MAX_PAUSE)
        return True
