"""LeaderTurn: one poll round for all waiters, in the task of their leader."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterable
from typing import TYPE_CHECKING

from coreclaw_async._concurrency.clock import Clock
from coreclaw_async._concurrency.groups import first_of, task_group
from coreclaw_async._polling.estimate import ListCache
from coreclaw_async._polling.round import Hooks, PollRound
from coreclaw_async._polling.tracked_run import TrackedRun
from coreclaw_async._polling.waiters import LoopWaiters, Waiter
from coreclaw_async.errors import CoreClawError
from coreclaw_async.models import Run

if TYPE_CHECKING:
    from coreclaw_async.events import Event

# How long a leader with news of its runs waits for the current poll round to finish.
_PATIENCE = 5.0
# Beyond its deadline, a request is given up even if the transport hangs.
_GRACE = 1.0


class LeaderTurn:
    """One turn of a leader: a poll round, during which the deadlines of all waiters are kept."""

    def __init__(self, waiters: LoopWaiters, leader: Waiter, clock: Clock, cache: ListCache) -> None:
        self._waiters = waiters
        self._leader = leader
        self._source = leader.source
        self._outage = waiters.outage
        self._clock = clock
        self._began = clock.monotonic()
        self._watched: dict[str, list[tuple[Waiter, TrackedRun]]] = {}
        for waiter in waiters.present:
            for run_id, tracked in waiter.tracked_runs.items():
                self._watched.setdefault(run_id, []).append((waiter, tracked))
        self._outage.keep(set(self._watched))
        due = waiters.due(self._began)
        self._poll_round = PollRound(
            self._source,
            clock,
            cache,
            self._outage,
            due={tracked.run_id: tracked.run for tracked in due if not tracked.is_name},
            names={tracked.run_id for tracked in due if tracked.is_name},
            watched=len(self._watched),
            report=self._report,
            hooks_of=self._hooks_of,
        )
        self._is_done = False
        self._is_whole = False

    async def take(self) -> None:
        """Poll until every run was looked at, the service falls silent, or the leader must leave."""
        patience: float | None = None
        try:
            async with task_group() as group:
                group.start_soon(self._take_poll_round)
                patience = await self._attend()
                group.cancel_scope.cancel()
        except BaseExceptionGroup as errors:
            raise first_of(errors) from None
        finally:
            self._tell_polled()
        now = self._clock.monotonic()
        if patience is not None:
            self._poll_round.abandon(patience)
        if self._outage.is_on and (self._is_whole or patience is not None):
            self._outage.note_probe(now)
        self._waiters.wake_late(now)

    async def _take_poll_round(self) -> None:
        try:
            await self._poll_round.take()
            self._is_whole = True
        finally:
            self._is_done = True
            self._waiters.wake_leader()

    async def _attend(self) -> float | None:
        """
        Return when the poll round has ended or must be cancelled.

        Returns:
            None if no request failed; else how many seconds a request must have been under way to count as failed when
            the poll round is cancelled now.
        """
        leaves_at = float("inf")
        limit = self._source.timeout + _GRACE
        while True:
            await self._waiters.sleep(self._clock, min(leaves_at, self._poll_round.heard_at + limit))
            now = self._clock.monotonic()
            if self._is_done or self._leader.is_late(now, self._outage):
                return None
            if now >= self._poll_round.heard_at + limit or now >= leaves_at:
                return min(limit, _PATIENCE)
            if self._leader.has_to_go:
                leaves_at = min(leaves_at, now + _PATIENCE)

    def _report(self, run_id: str, found: Run | CoreClawError) -> bool:
        """Tell all waiters of a run what was found, and return whether there are any."""
        watching = self._watched.get(run_id)
        if watching is None:  # Lists are full of runs that nobody waits for.
            return False
        now = self._clock.monotonic()
        self._waiters.is_failing = self._waiters.is_failing or isinstance(found, CoreClawError)
        for waiter, tracked in watching:
            if tracked.take(found, now=now, began=self._began):
                if waiter is self._leader and not waiter.has_to_go:
                    self._waiters.wake_leader()
                waiter.tell(tracked)
        return True

    def _tell_polled(self) -> None:
        """Tell the waiters with a hook what was done."""
        hooks = self._told_by(self._waiters.present)
        if hooks:
            self._source.tell(self._poll_round.polled, hooks)

    def _hooks_of(self, run_ids: Iterable[str]) -> Hooks:
        """Return the hooks of those who wait for any of the runs."""
        return self._told_by(waiter for run_id in run_ids for waiter, _ in self._watched.get(run_id, ()))

    def _told_by(self, waiters: Iterable[Waiter]) -> Hooks:
        """Return the hooks of *waiters*, each once; the events belong to the call of the waiter, first the leader."""
        told: dict[Hashable, tuple[Callable[[Event], None], Waiter]] = {}
        for waiter in waiters:
            for hook in waiter.hooks:
                key = _key_of(hook)
                if key not in told or waiter is self._leader:
                    told[key] = hook, waiter
        return tuple(functools.partial(self._call_hook, waiter, hook) for hook, waiter in told.values())

    def _call_hook(self, waiter: Waiter, hook: Callable[[Event], None], event: Event) -> None:
        waiter.call_hook(hook, event)
        if waiter is self._leader and waiter.has_to_go:
            self._waiters.wake_leader()


def _key_of(hook: Hashable) -> Hashable:
    try:
        return hash(hook), hook
    except TypeError:
        return id(hook)
