"""Those who wait for runs: each one, and all of one event loop together."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable

import anyio
import attrs

from coreclaw_async._concurrency.clock import Clock
from coreclaw_async._polling.estimate import FEW
from coreclaw_async._polling.outage import Outage
from coreclaw_async._polling.round import RunReader
from coreclaw_async._polling.tracked_run import LAST_LOOK, TrackedRun
from coreclaw_async.events import RunsPolled

logger = logging.getLogger("coreclaw_async")

# The more runs are waited for, the more of them are worth looking at together.
_SPACING_PER_RUN = 0.001
_MAX_SPACING = 1.0
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
class LoopWaiters:
    """
    Those who wait in one event loop.

    Attributes:
        present: Waiters that are inside `RunPoller.news` now; the runs of others are not looked at.
        leader: The one of them that looks for all.
        outage: What is known about the service as a whole.
        not_before: When the next look may begin.
        wakes: Runs that something is known to have happened to, and since when.
        sleep_scope: The scope of the leader's sleep, or None.
        wakes_at: When that sleep ends by itself.
        is_failing: Whether looks at some runs may be failing.
        warned_at: When a warning was logged last that nothing can be seen.
    """

    present: dict[Waiter, None] = attrs.field(factory=dict[Waiter, None])
    leader: Waiter | None = None
    outage: Outage = attrs.field(factory=Outage)
    not_before: float = float("-inf")
    wakes: dict[str, float] = attrs.field(factory=dict[str, float])
    sleep_scope: anyio.CancelScope | None = None
    wakes_at: float = float("inf")
    is_failing: bool = False
    warned_at: float = float("-inf")

    def hand_over(self) -> None:
        """Have somebody else lead; whoever is woken and cannot hands over in turn."""
        if self.leader is None and self.present:
            next(iter(self.present)).event.set()

    def wake_leader(self) -> None:
        """End the leader's sleep."""
        if self.sleep_scope is not None:
            self.sleep_scope.cancel()

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
        tracked_runs = [tracked for waiter in self.present for tracked in waiter.tracked_runs.values()]
        if self.outage.is_on:
            return tracked_runs
        nearly = [tracked for tracked in tracked_runs if tracked.is_nearly_due(now)]
        if len({tracked.run_id for tracked in nearly}) > FEW:
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

    async def sleep(self, clock: Clock, until: float) -> None:
        """Sleep, at most until somebody may be late, and wake those who are."""
        now = clock.monotonic()
        self.wakes_at = min(until, *(waiter.stirs_at(now) for waiter in self.present))
        with anyio.CancelScope() as scope:
            self.sleep_scope = scope
            try:
                await clock.sleep(max(0.0, self.wakes_at - clock.monotonic()))
            finally:
                self.sleep_scope = None
        self.wake_late(clock.monotonic())
