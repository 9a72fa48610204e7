"""RunPoller: the tasks that wait for runs take turns at polling all of them, without a background task."""

from __future__ import annotations

import functools
import threading
from contextvars import copy_context
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import anyio

from coreclaw_async._concurrency.clock import Clock
from coreclaw_async._concurrency.loops import EventLoop, call_soon, current_loop

if TYPE_CHECKING:
    # Imported late elsewhere: each client has a poller, and not every program waits for runs.
    from coreclaw_async._polling.estimate import ListCache
    from coreclaw_async._polling.tracked_run import TrackedRun
    from coreclaw_async._polling.waiters import LoopWaiters, Waiter


class RunPoller:
    """Polls all runs that the tasks of one client wait for, in each event loop separately."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._loops: WeakKeyDictionary[EventLoop, LoopWaiters] = WeakKeyDictionary()
        self._lock = threading.Lock()

    @functools.cached_property
    def _cache(self) -> ListCache:
        from coreclaw_async._polling.estimate import ListCache

        return ListCache()

    async def news(self, waiter: Waiter) -> TrackedRun | None:
        """
        Return one of the waiter's runs that something happened to, or None when its deadline has passed.

        A last look is made shortly before the deadline and may end a second after it, or two seconds after the call if
        the deadline had already passed. One task at a time for each waiter.
        """
        waiters = self._waiters()
        waiters.present[waiter] = None
        waiter.context = copy_context()
        waiter.come(self._clock.monotonic())
        try:
            while True:
                waiter.raise_failure()
                if waiter.news:
                    return waiter.take_news()
                if waiter.is_late(self._clock.monotonic(), waiters.outage):
                    return None
                if waiters.leader is None:
                    await self._lead(waiters, waiter)
                else:
                    await self._follow(waiters, waiter)
        finally:
            del waiters.present[waiter]
            waiters.hand_over()

    def add(self, waiter: Waiter, tracked: TrackedRun) -> None:
        """Have *waiter* wait for one more run; call it in the event loop of *waiter*."""
        waiter.tracked_runs[tracked.run_id] = tracked
        self._waiters().note_due(tracked.next_look)

    def wake(self, run_id: str) -> None:
        """Have the run looked at soon; works from any thread."""
        with self._lock:
            loops = list(self._loops.items())
        for loop, waiters in loops:
            call_soon(loop, waiters.note_wake, run_id, self._clock.monotonic())

    def _waiters(self) -> LoopWaiters:
        from coreclaw_async._polling.waiters import LoopWaiters

        loop = current_loop()
        with self._lock:
            waiters = self._loops.get(loop)
            if waiters is None:
                waiters = self._loops[loop] = LoopWaiters()
            return waiters

    async def _follow(self, waiters: LoopWaiters, waiter: Waiter) -> None:
        waiters.note_due(waiter.next_look())
        if waiter.stirs_at(self._clock.monotonic()) < waiters.wakes_at:
            waiters.wake_leader()
        await waiter.event.wait()
        waiter.event = anyio.Event()

    async def _lead(self, waiters: LoopWaiters, leader: Waiter) -> None:
        """Poll for all waiters until there is news for the leader, or its deadline has passed."""
        waiters.leader = leader
        try:
            while not leader.has_to_go and not leader.is_late(self._clock.monotonic(), waiters.outage):
                await self._take_turn(waiters, leader)
        finally:
            waiters.leader = None

    async def _take_turn(self, waiters: LoopWaiters, leader: Waiter) -> None:
        """Look at what is due, or sleep until something is."""
        waiters.take_wakes()
        now = self._clock.monotonic()
        begin = waiters.next_turn()
        if begin > now:
            waiters.looks_at = begin
            await waiters.sleep(self._clock, begin)
            waiters.looks_at = float("-inf")
        else:
            from coreclaw_async._polling.leader_turn import LeaderTurn

            await LeaderTurn(waiters, leader, self._clock, self._cache).take()
            waiters.not_before = self._clock.monotonic()
        waiters.warn(self._clock.monotonic())
