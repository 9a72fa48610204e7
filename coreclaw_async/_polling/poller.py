"""RunPoller: those who wait for runs take turns at looking at them all, without a task in the background."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import cast
from weakref import WeakKeyDictionary

import anyio
import attrs

from coreclaw_async._concurrency.clock import Clock
from coreclaw_async._concurrency.loops import EventLoop, call_soon, current_loop
from coreclaw_async._polling.estimate import ListCache
from coreclaw_async._polling.outage import Outage
from coreclaw_async._polling.round import PollRound, RunReader
from coreclaw_async._polling.tracked_run import LAST_LOOK, TrackedRun
from coreclaw_async.errors import CoreClawError
from coreclaw_async.events import RunsPolled
from coreclaw_async.models import Run

logger = logging.getLogger("coreclaw_async")

# The more runs are waited for, the more of them are worth looking at together.
_SPACING_PER_RUN = 0.001
_MAX_SPACING = 1.0
# How long a leader that already has its own result waits for the current look to finish.
_PATIENCE = 5.0
# A request ends by its own deadline, when the transport keeps it.
_GRACE = 1.0
# A look that began so lately need not be made again before a verdict.
_FRESH = 2.0
WARN_SECONDS = 60.0
"""Seconds between two warnings that nothing can be seen."""

_MAX_WAKES = 10_000


@attrs.define(eq=False)
class Waiter:
    """
    Somebody who waits for one run or for many.

    Attributes:
        source: Where to look when it is this one's turn; never with settings of this waiter's own.
        tracked_runs: The runs that have not ended, by id.
        deadline: When to give up, on the monotonic clock; infinity for never.
        emit: Told of the poll rounds that take place meanwhile, or None.
        news: Tracked runs that something happened to, in order.
        last_look: When to look once more before the verdict.
        gives_up_at: When the verdict does not wait for that look any longer.
    """

    source: RunReader
    tracked_runs: dict[str, TrackedRun]
    deadline: float = float("inf")
    emit: Callable[[RunsPolled], None] | None = None
    news: deque[TrackedRun] = attrs.field(factory=deque[TrackedRun], init=False)
    event: anyio.Event = attrs.field(factory=anyio.Event, init=False)
    last_look: float = attrs.field(init=False)
    gives_up_at: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.last_look = self.deadline - LAST_LOOK
        self.gives_up_at = self.deadline + LAST_LOOK

    @classmethod
    def of(
        cls,
        source: RunReader,
        tracked_runs: Iterable[TrackedRun],
        deadline: float,
        emit: Callable[[RunsPolled], None] | None = None,
    ) -> Waiter:
        """Return a waiter for *tracked_runs*."""
        return cls(source, {tracked.run_id: tracked for tracked in tracked_runs}, deadline, emit)

    def come(self, now: float) -> None:
        """Want a look before the verdict also when the deadline passed while nobody was waiting."""
        if now < self.deadline:
            return
        self.last_look = now
        self.gives_up_at = now + _FRESH
        for tracked in self.tracked_runs.values():
            if tracked.looked_at < now - _FRESH:
                tracked.next_look = min(tracked.next_look, max(tracked.not_before, now))

    def is_late(self, now: float, outage: Outage) -> bool:
        """Return whether the deadline has passed, and a last look has been made or takes too long."""
        if now < self.deadline:
            return False
        if now >= self.gives_up_at or outage.was_probed(now):
            return True
        return all(
            now - tracked.looked_at <= _FRESH or tracked.next_look >= self.gives_up_at
            for tracked in self.tracked_runs.values()
        )

    def stirs_at(self, now: float) -> float:
        """Return the next moment at which this waiter may become late."""
        return self.deadline if now < self.deadline else self.gives_up_at

    def next_look(self) -> float:
        """Return when the first of the runs is due."""
        return min((tracked.next_look for tracked in self.tracked_runs.values()), default=float("inf"))

    def tell(self, tracked: TrackedRun) -> None:
        """Wake with news of *tracked*."""
        if tracked.is_over:
            del self.tracked_runs[tracked.run_id]
        if not tracked.is_queued:
            tracked.is_queued = True
            self.news.append(tracked)
        self.event.set()

    def take_news(self) -> TrackedRun:
        """Return the first tracked run that there is news of."""
        tracked = self.news.popleft()
        tracked.is_queued = False
        return tracked


@attrs.define(eq=False)
class _LoopWaiters:
    """
    Those who wait in one event loop.

    Attributes:
        present: Waiters that are inside `RunPoller.news` now; the runs of others are not looked at.
        leader: The one of them that looks for all.
        outage: What is known about the service as a whole.
        not_before: When the next look may begin.
        wakes: Runs that something is known to have happened to, and since when.
        sleep: The scope of the leader's sleep.
        wakes_at: When that sleep ends by itself.
        is_failing: Whether looks at some runs may be failing.
        warned_at: When a warning was logged last that nothing can be seen.
    """

    present: dict[Waiter, None] = attrs.field(factory=dict[Waiter, None])
    leader: Waiter | None = None
    outage: Outage = attrs.field(factory=Outage)
    not_before: float = float("-inf")
    wakes: dict[str, float] = attrs.field(factory=dict[str, float])
    sleep: anyio.CancelScope | None = None
    wakes_at: float = float("inf")
    is_failing: bool = False
    warned_at: float = float("-inf")

    def tracked_runs(self) -> list[TrackedRun]:
        """Return all that is watched, a run once for each who waits for it."""
        return [tracked for waiter in self.present for tracked in waiter.tracked_runs.values()]

    def hand_over(self) -> None:
        """Have somebody else lead; whoever is woken and cannot hands over in turn."""
        if self.leader is None and self.present:
            next(iter(self.present)).event.set()

    def wake_leader(self) -> None:
        """End the leader's sleep."""
        if self.sleep is not None:
            self.sleep.cancel()

    def note_wake(self, run_id: str, now: float) -> None:
        """Remember that something happened to a run, for as long as nobody has looked at it."""
        self.wakes[run_id] = now
        if len(self.wakes) > _MAX_WAKES:
            del self.wakes[next(iter(self.wakes))]
        self.wake_leader()

    def take_wakes(self) -> None:
        """Make the runs due that something happened to."""
        if not self.wakes:
            return
        taken: set[str] = set()
        for waiter in self.present:
            for run_id in self.wakes.keys() & waiter.tracked_runs.keys():
                waiter.tracked_runs[run_id].wake(self.wakes[run_id])
                self.outage.hurry(self.wakes[run_id])
                taken.add(run_id)
        for run_id in taken:
            del self.wakes[run_id]

    def next_turn(self) -> float:
        """Return when to look again."""
        if self.outage.is_on:
            return self.outage.probe_at([waiter.last_look for waiter in self.present])
        soonest = min(waiter.next_look() for waiter in self.present)
        spacing = min(_MAX_SPACING, _SPACING_PER_RUN * sum(len(waiter.tracked_runs) for waiter in self.present))
        return max(soonest, self.not_before + spacing)

    def due(self, now: float) -> list[TrackedRun]:
        """Return what to look at now: all when the service has been out of sight, else who is due, or nearly so."""
        tracked_runs = self.tracked_runs()
        if self.outage.is_on:
            return tracked_runs
        nearly = [tracked for tracked in tracked_runs if tracked.is_nearly_due(now)]
        if PollRound.is_for_many({tracked.run_id for tracked in nearly}):
            return nearly
        return [tracked for tracked in nearly if tracked.is_due(now)]

    def wake_late(self, now: float) -> None:
        """Wake those whose time is up."""
        for waiter in self.present:
            if waiter.is_late(now, self.outage):
                waiter.event.set()

    def warn(self, now: float) -> None:
        """Log once a minute that waits without a deadline see nothing."""
        if not self.is_failing or now - self.warned_at < WARN_SECONDS:
            return
        failing = [
            tracked
            for waiter in self.present
            if waiter.deadline == float("inf")
            for tracked in waiter.tracked_runs.values()
            if tracked.unseen_since is not None
        ]
        self.is_failing = bool(failing)
        unseen = [tracked for tracked in failing if tracked.unseen_for(now) >= WARN_SECONDS]
        if unseen:
            self.warned_at = now
            first = max(unseen, key=lambda tracked: tracked.unseen_for(now))
            others = f" and {len(unseen) - 1} others" if len(unseen) > 1 else ""
            logger.warning(
                "nothing was seen of run %s%s for %.0f s, the wait goes on: %s",
                first.run_id,
                others,
                first.unseen_for(now),
                first.failure,
            )


class RunPoller:
    """Looks at all runs that the tasks of one client wait for; each of its event loops waits for itself."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._cache = ListCache()
        self._loops: WeakKeyDictionary[EventLoop, _LoopWaiters] = WeakKeyDictionary()
        self._lock = threading.Lock()

    async def news(self, waiter: Waiter) -> TrackedRun | None:
        """
        Return one of the waiter's runs that something happened to, or None when its deadline has passed.

        Before the deadline passes its runs are looked at once more, which may take a second beyond it; two seconds
        when the deadline had passed already. One task at a time for each waiter.
        """
        waiters = self._waiters()
        waiters.present[waiter] = None
        waiter.come(self._clock.monotonic())
        try:
            while not waiter.news:
                if waiter.is_late(self._clock.monotonic(), waiters.outage):
                    return None
                if waiters.leader is None:
                    await self._lead(waiters, waiter)
                else:
                    await self._follow(waiters, waiter)
            return waiter.take_news()
        finally:
            del waiters.present[waiter]
            waiters.hand_over()

    def add(self, waiter: Waiter, tracked: TrackedRun) -> None:
        """Have *waiter* wait for one more run; in the event loop that it waits in."""
        waiter.tracked_runs[tracked.run_id] = tracked
        waiters = self._waiters()
        if tracked.next_look < waiters.wakes_at:
            waiters.wake_leader()

    def wake(self, run_id: str) -> None:
        """Have the run looked at soon; may be called from any thread."""
        with self._lock:
            loops = list(self._loops.items())
        for loop, waiters in loops:
            call_soon(loop, waiters.note_wake, run_id, self._clock.monotonic())

    def _waiters(self) -> _LoopWaiters:
        loop = current_loop()
        with self._lock:
            waiters = self._loops.get(loop)
            if waiters is None:
                waiters = self._loops[loop] = _LoopWaiters()
            return waiters

    async def _follow(self, waiters: _LoopWaiters, waiter: Waiter) -> None:
        if min(waiter.next_look(), waiter.stirs_at(self._clock.monotonic())) < waiters.wakes_at:
            waiters.wake_leader()
        await waiter.event.wait()
        waiter.event = anyio.Event()

    async def _lead(self, waiters: _LoopWaiters, leader: Waiter) -> None:
        """Look for all until there is news for the leader, or its deadline has passed."""
        waiters.leader = leader
        try:
            while not leader.news and not leader.is_late(self._clock.monotonic(), waiters.outage):
                await self._take_turn(waiters, leader)
        finally:
            waiters.leader = None

    async def _take_turn(self, waiters: _LoopWaiters, leader: Waiter) -> None:
        """Look at what is due, or sleep until something is."""
        waiters.take_wakes()
        now = self._clock.monotonic()
        begin = waiters.next_turn()
        if begin > now:
            await sleep(waiters, self._clock, begin)
        else:
            await _LeaderTurn(waiters, leader, self._clock, self._cache).take()
            waiters.not_before = self._clock.monotonic()
        waiters.warn(self._clock.monotonic())


class _LeaderTurn:
    """
    One turn of a leader: a poll round beside which the deadlines of all waiters are kept.

    Args:
        waiters: Those who wait.
        leader: The one of them whose task this is.
        clock: What time it is.
        cache: What the lists looked like.
    """

    def __init__(self, waiters: _LoopWaiters, leader: Waiter, clock: Clock, cache: ListCache) -> None:
        self._waiters = waiters
        self._leader = leader
        self._clock = clock
        self._began = clock.monotonic()
        self._watched: dict[str, list[tuple[Waiter, TrackedRun]]] = {}
        for waiter in waiters.present:
            for run_id, tracked in waiter.tracked_runs.items():
                self._watched.setdefault(run_id, []).append((waiter, tracked))
        waiters.outage.keep(set(self._watched))
        due = waiters.due(self._began)
        self._poll_round = PollRound(
            leader.source,
            clock,
            cache,
            waiters.outage,
            due={tracked.run_id: tracked.run for tracked in due if not tracked.is_name},
            names={tracked.run_id for tracked in due if tracked.is_name},
            watched=len(self._watched),
            report=self._report,
        )
        self._is_done = False
        self._is_whole = False

    async def take(self) -> None:
        """Look, until all was looked at, nothing is heard any more, or the leader must go."""
        patience: float | None = None
        try:
            async with anyio.create_task_group() as group:
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
        if self._waiters.outage.is_on and (self._is_whole or patience is not None):
            self._waiters.outage.note_probe(now)
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
        Return when the poll round is over, or must be.

        Returns:
            How long a request must have been under way to count as failed when the poll round is cancelled now; None
            when none has failed.
        """
        leaves_at = float("inf")
        limit = self._leader.source.timeout + _GRACE
        while True:
            await sleep(self._waiters, self._clock, min(leaves_at, self._poll_round.heard_at + limit))
            now = self._clock.monotonic()
            if self._is_done or self._leader.is_late(now, self._waiters.outage):
                return None
            if now >= self._poll_round.heard_at + limit or now >= leaves_at:
                return min(limit, _PATIENCE)
            if self._leader.news:
                leaves_at = min(leaves_at, now + _PATIENCE)

    def _report(self, run_id: str, found: Run | CoreClawError) -> bool:
        """Tell all who wait for a run what was found of it; return whether anybody does."""
        now = self._clock.monotonic()
        self._waiters.is_failing = self._waiters.is_failing or isinstance(found, CoreClawError)
        for waiter, tracked in self._watched.get(run_id, ()):
            if tracked.take(found, now=now, began=self._began):
                waiter.tell(tracked)
                if waiter is self._leader:
                    self._waiters.wake_leader()
        return run_id in self._watched

    def _tell_polled(self) -> None:
        """Tell the client, and those of the waiters that want to know, what was done."""
        polled = self._poll_round.polled
        hooks = {waiter.emit for waiter in self._waiters.present if waiter.emit is not None}
        for emit in (self._leader.source.emit, *hooks):
            emit(polled)


async def sleep(waiters: _LoopWaiters, clock: Clock, until: float) -> None:
    """Sleep, at most until somebody may be late, and wake those who are."""
    now = clock.monotonic()
    waiters.wakes_at = min(until, *(waiter.stirs_at(now) for waiter in waiters.present))
    with anyio.CancelScope() as scope:
        waiters.sleep = scope
        try:
            await clock.sleep(max(0.0, waiters.wakes_at - clock.monotonic()))
        finally:
            waiters.sleep = None
    waiters.wake_late(clock.monotonic())


def first_of(error: BaseException) -> BaseException:
    """Return what a task of the leader's broke with, as if there had been no task."""
    if isinstance(error, BaseExceptionGroup):
        return first_of(cast("BaseExceptionGroup[BaseException]", error).exceptions[0])
    return error
