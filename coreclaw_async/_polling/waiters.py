"""Waiter: somebody who waits for runs; LoopWaiters: all of them in one event loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from contextvars import Context, copy_context
from operator import attrgetter
from typing import TYPE_CHECKING

import anyio
import attrs

from coreclaw_async._concurrency.calls import call_hook
from coreclaw_async._concurrency.clock import Clock
from coreclaw_async._data.counting import counted
from coreclaw_async._logs import facts, logger
from coreclaw_async._polling.estimate import FEW
from coreclaw_async._polling.outage import Outage
from coreclaw_async._polling.round import Hooks, RunReader
from coreclaw_async._polling.tracked_run import LAST_LOOK, TrackedRun

if TYPE_CHECKING:
    from coreclaw_async.events import Event

# The more runs are waited for, the longer the pause before a look and between two, so that more are due together.
_SPACING_PER_RUN = 0.001
_MAX_SPACING = 1.0
# A younger look need not be repeated before a wait times out.
_FRESH = 2.0
WARN_SECONDS = 60.0
"""Seconds between two warnings that runs cannot be read."""

_MAX_WAKES = 10_000
_NEXT_LOOK: Callable[[TrackedRun], float] = attrgetter("next_look")


@attrs.define(eq=False, repr=False)
class Waiter:
    """
    Somebody who waits for one run or for many.

    Attributes:
        source: Reads runs when it is this waiter's turn, with the settings of the client.
        tracked_runs: The runs that have not ended, by id.
        deadline: When to give up, on the monotonic clock; infinity for never.
        hooks: Called with the requests for its runs, and with the poll rounds that take place meanwhile.
        news: Tracked runs with news, in order.
        failure: What one of the hooks has raised that must end this wait, or None.
        context: The context variables of the wait, which its hooks see.
        last_look: When to look once more before the wait times out.
        gives_up_at: When it times out even if that look has not ended.
    """

    source: RunReader
    tracked_runs: dict[str, TrackedRun]
    deadline: float = float("inf")
    hooks: Hooks = ()
    news: deque[TrackedRun] = attrs.field(factory=deque[TrackedRun], init=False)
    failure: BaseException | None = attrs.field(default=None, init=False)
    context: Context = attrs.field(factory=copy_context, init=False)
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
        hooks: Hooks = (),
    ) -> Waiter:
        """Return a waiter for *tracked_runs*."""
        return cls(source, {tracked.run_id: tracked for tracked in tracked_runs}, deadline, hooks)

    def come(self, now: float) -> None:
        """Ask for a last look too if the deadline passed while nobody called `RunPoller.news`."""
        if now < self.deadline:
            return
        self.last_look = now
        self.gives_up_at = now + _FRESH
        for tracked in self.tracked_runs.values():
            if tracked.looked_at < now - _FRESH:
                tracked.next_look = min(tracked.next_look, max(tracked.not_before, now))

    def is_late(self, now: float, outage: Outage) -> bool:
        """Return whether the deadline has passed and the last look was made or takes too long."""
        if now < self.deadline:
            return False
        if now >= self.gives_up_at or outage.was_probed(now):
            return True
        return all(
            now - tracked.looked_at <= _FRESH or tracked.next_look >= self.gives_up_at
            for tracked in self.tracked_runs.values()
        )

    def stirs_at(self, now: float) -> float:
        """Return the next time at which this waiter may become late."""
        return self.deadline if now < self.deadline else self.gives_up_at

    def next_look(self) -> float:
        """Return when the first of the runs is due."""
        return min(map(_NEXT_LOOK, self.tracked_runs.values()), default=float("inf"))

    def call_hook(self, hook: Callable[[Event], None], event: Event) -> None:
        """Call one of the hooks, as a part of this wait: another task may poll for it, and must not end with it."""
        try:
            self.context.run(call_hook, "on_event", hook, event)
        except Exception:
            raise
        except BaseException as error:  # noqa: BLE001 - a hook may end the program, by the task that has it
            self.failure = error
            self.event.set()

    @property
    def has_to_go(self) -> bool:
        """Whether there is something to return or to raise."""
        return bool(self.news) or self.failure is not None

    def raise_failure(self) -> None:
        """Raise what a hook has raised to end this wait."""
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure

    def tell(self, tracked: TrackedRun) -> None:
        """Wake the waiter with news of *tracked*."""
        if tracked.is_over:
            del self.tracked_runs[tracked.run_id]
        if not tracked.is_queued:
            tracked.is_queued = True
            self.news.append(tracked)
        self.event.set()

    def take_news(self) -> TrackedRun:
        """Return the first tracked run with news."""
        tracked = self.news.popleft()
        tracked.is_queued = False
        return tracked


@attrs.define(eq=False, repr=False)
class LoopWaiters:
    """
    The waiters of one event loop.

    Attributes:
        present: Waiters in `RunPoller.news` now; only their runs are looked at.
        leader: The waiter that polls for all.
        outage: What is known about the service as a whole.
        not_before: When the next look may begin.
        wakes: Runs that something has happened to, and when.
        sleep_scope: The scope of the leader's sleep, or None.
        wakes_at: When that sleep ends by itself.
        looks_at: When the leader looks next; while it does, the time is not found out yet, and nothing is earlier.
        is_failing: Whether some runs may be unreadable now.
        warned_at: When it was last warned that runs cannot be read.
    """

    present: dict[Waiter, None] = attrs.field(factory=dict[Waiter, None])
    leader: Waiter | None = None
    outage: Outage = attrs.field(factory=Outage)
    not_before: float = float("-inf")
    wakes: dict[str, float] = attrs.field(factory=dict[str, float])
    sleep_scope: anyio.CancelScope | None = None
    wakes_at: float = float("inf")
    looks_at: float = float("-inf")
    is_failing: bool = False
    warned_at: float = float("-inf")

    def hand_over(self) -> None:
        """Wake another waiter to lead; if it cannot, it hands over in turn."""
        if self.leader is None and self.present:
            next(iter(self.present)).event.set()

    def wake_leader(self) -> None:
        """End the leader's sleep."""
        if self.sleep_scope is not None:
            self.sleep_scope.cancel()

    def note_due(self, begin: float) -> None:
        """End the leader's sleep if it is too long for new runs, of which the first is due at *begin*."""
        if self.turn_at(begin) < self.looks_at:
            self.wake_leader()

    def note_wake(self, run_id: str, now: float) -> None:
        """Record that something happened to a run, until somebody looks at it."""
        self.wakes[run_id] = now
        if len(self.wakes) > _MAX_WAKES:
            del self.wakes[next(iter(self.wakes))]
        self.wake_leader()

    def take_wakes(self) -> None:
        """Make the runs due to which something happened."""
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
        return self.turn_at(min(waiter.next_look() for waiter in self.present))

    def turn_at(self, begin: float) -> float:
        """Return when to look, while the service can be seen, at runs of which the first is due at *begin*."""
        watched = sum(len(waiter.tracked_runs) for waiter in self.present)
        spacing = min(_MAX_SPACING, _SPACING_PER_RUN * watched)
        if watched > FEW:
            last_looks = (waiter.last_look for waiter in self.present if waiter.last_look >= begin)
            begin = min([begin + spacing, *last_looks])
        return max(begin, self.not_before + spacing)

    def due(self, now: float) -> list[TrackedRun]:
        """Return the runs to look at now: those that are due or nearly due, and in an outage all."""
        tracked_runs = [tracked for waiter in self.present for tracked in waiter.tracked_runs.values()]
        if self.outage.is_on:
            return tracked_runs
        nearly = [tracked for tracked in tracked_runs if tracked.is_nearly_due(now)]
        if len({tracked.run_id for tracked in nearly}) > FEW:
            return nearly
        return [tracked for tracked in nearly if tracked.is_due(now)]

    def wake_late(self, now: float) -> None:
        """Wake the waiters that are late."""
        for waiter in self.present:
            if waiter.is_late(now, self.outage):
                waiter.event.set()

    def warn(self, now: float) -> None:
        """Log once a minute that runs which are waited for without a deadline cannot be read."""
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
            others = f" and {counted(len(unseen) - 1, 'other')}" if len(unseen) > 1 else ""
            logger.warning(
                "nothing was seen of run %s%s for %.0f s, the wait goes on: %s",
                first.run_id,
                others,
                first.unseen_for(now),
                first.failure,
                extra=facts(first.failure, run_ids=[tracked.run_id for tracked in unseen]),
            )

    async def sleep(self, clock: Clock, until: float) -> None:
        """Sleep until *until* or until a waiter may be late, and wake those that are."""
        now = clock.monotonic()
        self.wakes_at = min(until, *(waiter.stirs_at(now) for waiter in self.present))
        with anyio.CancelScope() as scope:
            self.sleep_scope = scope
            try:
                await clock.sleep(max(0.0, self.wakes_at - clock.monotonic()))
            finally:
                self.sleep_scope = None
        self.wake_late(clock.monotonic())
