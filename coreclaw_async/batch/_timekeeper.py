"""Runs in flight that take too long, or that nobody has seen for too long."""

from __future__ import annotations

import functools
from collections.abc import Callable
from heapq import heappop, heappush

import anyio
import attrs

from coreclaw_async._concurrency.groups import task_group
from coreclaw_async._polling.tracked_run import TrackedRun
from coreclaw_async._polling.waiters import Waiter
from coreclaw_async.batch._context import BatchContext
from coreclaw_async.batch._items import BatchItem
from coreclaw_async.batch._run_aborts import RunAborts

_MAX_NAP = 60.0


@attrs.define(kw_only=True, eq=False)
class Timekeeper:
    """
    Aborts runs that take too long, and reports those that nobody has seen for too long.

    Attributes:
        waiter: What waits for the runs.
        aborts: What aborts runs.
        on_unseen: Called with each run that nobody has seen for longer than patience allows.
        timed_out: Runs whose abort the service has accepted because they took longer than their spec allows.
    """

    batch_context: BatchContext
    waiter: Waiter
    aborts: RunAborts
    on_unseen: Callable[[TrackedRun], None]
    timed_out: set[str] = attrs.field(factory=set[str], init=False)
    _due: list[tuple[float, str]] = attrs.field(factory=list[tuple[float, str]], init=False)
    _news: anyio.Event = attrs.field(factory=anyio.Event, init=False)
    _nap: anyio.CancelScope | None = attrs.field(default=None, init=False)

    def keep(self, item: BatchItem) -> None:
        """Watch the run of *item* from now on, and abort it when it takes longer than its spec allows."""
        self._news.set()
        if item.run_timeout is None or item.run_id is None:
            return
        clock = self.batch_context.clock
        began = self.batch_context.service_time() if item.submitted_at is None else item.submitted_at
        heappush(
            self._due, (clock.monotonic() + began + item.run_timeout - self.batch_context.service_time(), item.run_id)
        )
        if self._nap is not None and self._due[0][1] == item.run_id:
            self._nap.cancel()

    async def run(self) -> None:
        """Watch the runs until cancelled."""
        async with task_group() as group:
            while True:
                await self._nap_until_due()
                now = self.batch_context.clock.monotonic()
                while self._due and self._due[0][0] <= now:
                    _, run_id = heappop(self._due)
                    if run_id in self.waiter.tracked_runs:
                        abort = functools.partial(self.aborts.abort, on_accepted=self.timed_out.add)
                        group.start_soon(abort, run_id)
                self._give_up(now)

    async def _nap_until_due(self) -> None:
        """Return when a run may have taken too long, or after a minute."""
        if not self.waiter.tracked_runs:
            await self._news.wait()
            self._news = anyio.Event()
        nap = min(_MAX_NAP, self._due[0][0] - self.batch_context.clock.monotonic() if self._due else _MAX_NAP)
        with anyio.CancelScope() as self._nap:
            await self.batch_context.clock.sleep(max(nap, 0.0))
        self._nap = None

    def _give_up(self, now: float) -> None:
        patience = self.batch_context.patience.seconds
        for tracked in [tracked for tracked in self.waiter.tracked_runs.values() if tracked.unseen_for(now) > patience]:
            tracked.is_over = True  # A look that is under way reports nothing about it any more.
            del self.waiter.tracked_runs[tracked.run_id]
            self.on_unseen(tracked)
