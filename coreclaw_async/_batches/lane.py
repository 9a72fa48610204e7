"""One lane: the items of one worker, whose starts leave one after another, each written down before it does."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Sequence

import anyio
import attrs

from coreclaw_async import errors
from coreclaw_async._batches.admission import Admission
from coreclaw_async._batches.means import Means
from coreclaw_async._batches.reconciling import Reconciler
from coreclaw_async._resources.starting import once_request, send_start
from coreclaw_async._wire.retry import RetryPolicy
from coreclaw_async.events import StartUnknown
from coreclaw_async.ledger import How, IllegalStepError, Item

_TAKE_AGAIN = 0.5
_MOST_UNSENT = 8
_READ_AHEAD = 16


@attrs.define(kw_only=True)
class Lane:
    """
    The starts of one worker.

    Attributes:
        means: The batch's.
        admission: The gate that all lanes go through.
        slug: The worker.
        names: What the items call it.
        width: Starts that may be under way at once; above 1 only where each carries a URL of its own.
        on_change: Called with each item that was started, settled or refused.
    """

    means: Means
    admission: Admission
    slug: str
    names: Sequence[str]
    width: int
    on_change: Callable[[Item], None]
    _ahead: deque[tuple[Item, str]] = attrs.field(factory=deque[tuple[Item, str]], init=False)
    _reading: anyio.Lock = attrs.field(factory=anyio.Lock, init=False)
    _is_unsettled: bool = attrs.field(default=False, init=False)
    _has_more: bool = attrs.field(default=True, init=False)
    _unsent: int = attrs.field(default=0, init=False)

    async def run(self) -> None:
        """
        Start all planned items of the lane, and settle what is open in it.

        Raises:
            CoreClawError: Nothing can be started any more: the key, the ledger, or the way to the service.
        """
        reconciler = Reconciler(self.means, self.slug, self.on_change)
        while True:
            await self._take()
            try:
                await reconciler.run()
                self._is_unsettled = False
                await self._burst()
            finally:
                with anyio.CancelScope(shield=True):
                    await self.means.ledger.store.leave_lane(self._lock_name)
            if self._is_unsettled:
                continue
            if not self._has_more or not await self.admission.wait():
                return

    @property
    def _lock_name(self) -> str:
        return f"{self.means.ledger.account}/{self.slug}"

    async def _take(self) -> None:
        """Return when the lane is this process's: nobody else then starts runs of the worker through this ledger."""
        while not await self.means.ledger.store.take_lane(self._lock_name):
            await self.means.clock.sleep(_TAKE_AGAIN)

    async def _burst(self) -> None:
        """Start items for as long as the gate is open, all is settled, and there are any."""
        self._ahead.clear()  # Others may have had the lane meanwhile.
        self._has_more = True
        async with anyio.create_task_group() as group:
            for _ in range(self.width):
                group.start_soon(self._start_many)

    async def _start_many(self) -> None:
        while not self._is_unsettled:
            async with self._reading:
                if not self._ahead:
                    self._ahead.extend(await self.means.ledger.next_planned(self.names, _READ_AHEAD))
                if not self._ahead:
                    self._has_more = False
                    return
                if not self.admission.try_enter():
                    return
                item, given = self._ahead.popleft()
            wait = 0.0
            # What has been sent is written down, whoever loses patience; `AsyncBatch` cancels the scope itself.
            with anyio.CancelScope(shield=True) as scope:
                self.means.sending.add(scope)
                try:
                    wait = await self._start(item, given)
                finally:
                    self.means.sending.discard(scope)
                    self.admission.changed()
            if wait:
                await self.means.clock.sleep(wait)

    async def _start(self, item: Item, given: str) -> float:
        """Start one item; return the seconds to wait before the next one."""
        means, limits, clock = self.means, self.admission.limits, self.means.clock
        joined = means.context.joined
        url = None if joined is None else joined.hub.new_url()
        began = clock.monotonic()
        try:
            intent = await means.step(item, item.intended(at=means.service_time(), callback_url=url))
        except BaseException as error:
            limits.not_started()
            if isinstance(error, IllegalStepError):  # Another process has it.
                return 0.0
            raise
        if clock.monotonic() - began > means.times.send_window:
            # This process stood still; whoever took over meanwhile counts on nothing being sent any more.
            limits.not_started()
            self.on_change(await means.step(intent, intent.planned_again(How.NOT_SENT, "it was too late to send")))
            return 0.0
        request = once_request(
            "runWorker",
            "workers",
            item.worker_id,
            "runs",
            input=json.loads(given),
            version=item.version,
            callback_url=url,
            is_async=True,
        )
        try:
            started = await send_start(means.starts, request, within=means.times.post_timeout)
        except errors.CoreClawError as error:
            return await self._not_answered(intent, error)
        await self._accepted(intent, started.run_id)
        return 0.0

    async def _accepted(self, intent: Item, run_id: str) -> None:
        self._unsent = 0
        self.admission.limits.accepted(self.means.clock.monotonic())
        try:
            item = await self.means.step(intent, intent.submitted(run_id, How.ANSWER))
        except errors.LedgerError as error:
            error.run_id = run_id
            raise
        self.on_change(item)

    async def _not_answered(self, intent: Item, error: errors.CoreClawError) -> float:
        """Do what the failure of a start asks for; return the seconds to wait before the next one."""
        if error.may_have_taken_effect:
            if error.run_id is not None:  # The broken answer still named it.
                await self._accepted(intent, error.run_id)
                return 0.0
            self.means.context.transport.emit(StartUnknown(operation="runWorker", candidates=None))
            self.admission.limits.not_started()
            self._is_unsettled = True
            return 0.0
        return await self._refused(intent, error)

    async def _refused(self, intent: Item, error: errors.CoreClawError) -> float:
        limits, now = self.admission.limits, self.means.clock.monotonic()
        wait: float | None = 0.0
        match error:
            case errors.ConcurrencyLimitError():
                limits.refused_for_plan(now)
            case errors.RateLimitedError():
                limits.refused_for_rate(now, error.retry_after)
            case errors.InsufficientBalanceError():
                limits.not_started()
                self.admission.stop("balance")
            case errors.RequestNotSentError():
                limits.not_started()
                wait = self._wait_for_the_network()
            case errors.AuthenticationError() | errors.ConfigurationError():
                limits.not_started()
            case _:
                limits.not_started()
                self.on_change(await self.means.step(intent, intent.rejected(str(error))))
                return 0.0
        self.on_change(await self.means.step(intent, intent.planned_again(How.NOT_SENT, error.message)))
        self._ahead.clear()  # It comes first again.
        if wait is None or isinstance(error, errors.AuthenticationError | errors.ConfigurationError):
            raise error
        return wait

    def _wait_for_the_network(self) -> float | None:
        """Return the seconds until it is tried again, or None when that was done often enough."""
        self._unsent += 1
        waits = list(RetryPolicy(max_attempts=_MOST_UNSENT).waits())
        return waits[self._unsent - 1] if self._unsent <= len(waits) else None
