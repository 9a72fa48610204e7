"""RunWatcher: those who wait for runs take turns at looking at them all, without a task in the background."""

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
from coreclaw_async._polling.estimate import ListMemory
from coreclaw_async._polling.outage import Outage
from coreclaw_async._polling.round import RunSource, Survey
from coreclaw_async._polling.tracked_run import LAST_LOOK, Watch
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
        watches: The runs that have not ended, by id.
        deadline: When to give up, on the monotonic clock; infinity for never.
        emit: Told of the surveys that take place meanwhile, or None.
        news: Watches that something happened to, in order.
        last_look: When to look once more before the verdict.
        gives_up_at: When the verdict does not wait for that look any longer.
    """

    source: RunSource
    watches: dict[str, Watch]
    deadline: float = float("inf")
    emit: Callable[[RunsPolled], None] | None = None
    news: deque[Watch] = attrs.field(factory=deque[Watch], init=False)
    event: anyio.Event = attrs.field(factory=anyio.Event, init=False)
    last_look: float = attrs.field(init=False)
    gives_up_at: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.last_look = self.deadline - LAST_LOOK
        self.gives_up_at = self.deadline + LAST_LOOK

    @classmethod
    def of(
        cls,
        source: RunSource,
        watches: Iterable[Watch],
        deadline: float,
        emit: Callable[[RunsPolled], None] | None = None,
    ) -> Waiter:
        """Return a waiter for *watches*."""
        return cls(source, {watch.run_id: watch for watch in watches}, deadline, emit)

    def come(self, now: float) -> None:
        """Want a look before the verdict also when the deadline passed while nobody was waiting."""
        if now < self.deadline:
            return
        self.last_look = now
        self.gives_up_at = now + _FRESH
        for watch in self.watches.values():
            if watch.looked_at < now - _FRESH:
                watch.next_look = min(watch.next_look, max(watch.not_before, now))

    def is_late(self, now: float, outage: Outage) -> bool:
        """Return whether the deadline has passed, and a last look has been made or takes too long."""
        if now < self.deadline:
            return False
        if now >= self.gives_up_at or outage.was_probed(now):
            return True
        return all(
            now - watch.looked_at <= _FRESH or watch.next_look >= self.gives_up_at for watch in self.watches.values()
        )

    def stirs_at(self, now: float) -> float:
        """Return the next moment at which this waiter may become late."""
        return self.deadline if now < self.deadline else self.gives_up_at

    def next_look(self) -> float:
        """Return when the first of the runs is due."""
        return min((watch.next_look for watch in self.watches.values()), default=float("inf"))

    def tell(self, watch: Watch) -> None:
        """Wake with news of *watch*."""
        if watch.is_over:
            del self.watches[watch.run_id]
        if not watch.is_queued:
            watch.is_queued = True
            self.news.append(watch)
        self.event.set()

    def take_news(self) -> Watch:
        """Return the first watch that there is news of."""
        watch = self.news.popleft()
        watch.is_queued = False
        return watch


@attrs.define(eq=False)
class _Room:
    """
    Those who wait in one event loop.

    Attributes:
        present: Waiters that are inside `RunWatcher.news` now; the runs of others are not looked at.
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

    def watches(self) -> list[Watch]:
        """Return all that is watched, a run once for each who waits for it."""
        return [watch for waiter in self.present for watch in waiter.watches.values()]

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
            for run_id in self.wakes.keys() & waiter.watches.keys():
                waiter.watches[run_id].wake(self.wakes[run_id])
                self.outage.hurry(self.wakes[run_id])
                taken.add(run_id)
        for run_id in taken:
            del self.wakes[run_id]

    def next_turn(self) -> float:
        """Return when to look again."""
        if self.outage.is_on:
            return self.outage.probe_at([waiter.last_look for waiter in self.present])
        soonest = min(waiter.next_look() for waiter in self.present)
        spacing = min(_MAX_SPACING, _SPACING_PER_RUN * sum(len(waiter.watches) for waiter in self.present))
        return max(soonest, self.not_before + spacing)

    def due(self, now: float) -> list[Watch]:
        """Return what to look at now: all when the service has been out of sight, else who is due, or nearly so."""
        watches = self.watches()
        if self.outage.is_on:
            return watches
        nearly = [watch for watch in watches if watch.is_nearly_due(now)]
        if Survey.is_for_many({watch.run_id for watch in nearly}):
            return nearly
        return [watch for watch in nearly if watch.is_due(now)]

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
            watch
            for waiter in self.present
            if waiter.deadline == float("inf")
            for watch in waiter.watches.values()
            if watch.unseen_since is not None
        ]
        self.is_failing = bool(failing)
        unseen = [watch for watch in failing if watch.unseen_for(now) >= WARN_SECONDS]
        if unseen:
            self.warned_at = now
            first = max(unseen, key=lambda watch: watch.unseen_for(now))
            others = f" and {len(unseen) - 1} others" if len(unseen) > 1 else ""
            logger.warning(
                "nothing was seen of run %s%s for %.0f s, the wait goes on: %s",
                first.run_id,
                others,
                first.unseen_for(now),
                first.failure,
            )


class RunWatcher:
    """Looks at all runs that the tasks of one client wait for; each of its event loops waits for itself."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._memory = ListMemory()
        self._rooms: WeakKeyDictionary[EventLoop, _Room] = WeakKeyDictionary()
        self._lock = threading.Lock()

    async def news(self, waiter: Waiter) -> Watch | None:
        """
        Return one of the waiter's runs that something happened to, or None when its deadline has passed.

        Before the deadline passes its runs are looked at once more, which may take a second beyond it; two seconds
        when the deadline had passed already. One task at a time for each waiter.
        """
        room = self._room()
        room.present[waiter] = None
        waiter.come(self._clock.monotonic())
        try:
            while not waiter.news:
                if waiter.is_late(self._clock.monotonic(), room.outage):
                    return None
                if room.leader is None:
                    await self._lead(room, waiter)
                else:
                    await self._follow(room, waiter)
            return waiter.take_news()
        finally:
            del room.present[waiter]
            room.hand_over()

    def add(self, waiter: Waiter, watch: Watch) -> None:
        """Have *waiter* wait for one more run; in the event loop that it waits in."""
        waiter.watches[watch.run_id] = watch
        room = self._room()
        if watch.next_look < room.wakes_at:
            room.wake_leader()

    def wake(self, run_id: str) -> None:
        """Have the run looked at soon; may be called from any thread."""
        with self._lock:
            rooms = list(self._rooms.items())
        for loop, room in rooms:
            call_soon(loop, room.note_wake, run_id, self._clock.monotonic())

    def _room(self) -> _Room:
        loop = current_loop()
        with self._lock:
            room = self._rooms.get(loop)
            if room is None:
                room = self._rooms[loop] = _Room()
            return room

    async def _follow(self, room: _Room, waiter: Waiter) -> None:
        if min(waiter.next_look(), waiter.stirs_at(self._clock.monotonic())) < room.wakes_at:
            room.wake_leader()
        await waiter.event.wait()
        waiter.event = anyio.Event()

    async def _lead(self, room: _Room, leader: Waiter) -> None:
        """Look for all until there is news for the leader, or its deadline has passed."""
        room.leader = leader
        try:
            while not leader.news and not leader.is_late(self._clock.monotonic(), room.outage):
                await self._take_turn(room, leader)
        finally:
            room.leader = None

    async def _take_turn(self, room: _Room, leader: Waiter) -> None:
        """Look at what is due, or sleep until something is."""
        room.take_wakes()
        now = self._clock.monotonic()
        begin = room.next_turn()
        if begin > now:
            await sleep(room, self._clock, begin)
        else:
            await _Round(room, leader, self._clock, self._memory).take()
            room.not_before = self._clock.monotonic()
        room.warn(self._clock.monotonic())


class _Round:
    """
    One turn of a leader: a survey beside which the deadlines of all waiters are kept.

    Args:
        room: Those who wait.
        leader: The one of them whose task this is.
        clock: What time it is.
        memory: What the lists looked like.
    """

    def __init__(self, room: _Room, leader: Waiter, clock: Clock, memory: ListMemory) -> None:
        self._room = room
        self._leader = leader
        self._clock = clock
        self._began = clock.monotonic()
        self._watched: dict[str, list[tuple[Waiter, Watch]]] = {}
        for waiter in room.present:
            for run_id, watch in waiter.watches.items():
                self._watched.setdefault(run_id, []).append((waiter, watch))
        room.outage.keep(set(self._watched))
        due = room.due(self._began)
        self._survey = Survey(
            leader.source,
            clock,
            memory,
            room.outage,
            due={watch.run_id: watch.run for watch in due if not watch.is_name},
            names={watch.run_id for watch in due if watch.is_name},
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
                group.start_soon(self._take_survey)
                patience = await self._attend()
                group.cancel_scope.cancel()
        except BaseExceptionGroup as errors:
            raise first_of(errors) from None
        finally:
            self._tell_polled()
        now = self._clock.monotonic()
        if patience is not None:
            self._survey.abandon(patience)
        if self._room.outage.is_on and (self._is_whole or patience is not None):
            self._room.outage.note_probe(now)
        self._room.wake_late(now)

    async def _take_survey(self) -> None:
        try:
            await self._survey.take()
            self._is_whole = True
        finally:
            self._is_done = True
            self._room.wake_leader()

    async def _attend(self) -> float | None:
        """
        Return when the survey is over, or must be.

        Returns:
            How long a request must have been under way to count as failed when the survey is cancelled now; None when
            none has failed.
        """
        leaves_at = float("inf")
        limit = self._leader.source.timeout + _GRACE
        while True:
            await sleep(self._room, self._clock, min(leaves_at, self._survey.heard_at + limit))
            now = self._clock.monotonic()
            if self._is_done or self._leader.is_late(now, self._room.outage):
                return None
            if now >= self._survey.heard_at + limit or now >= leaves_at:
                return min(limit, _PATIENCE)
            if self._leader.news:
                leaves_at = min(leaves_at, now + _PATIENCE)

    def _report(self, run_id: str, found: Run | CoreClawError) -> bool:
        """Tell all who wait for a run what was found of it; return whether anybody does."""
        now = self._clock.monotonic()
        self._room.is_failing = self._room.is_failing or isinstance(found, CoreClawError)
        for waiter, watch in self._watched.get(run_id, ()):
            if watch.take(found, now=now, began=self._began):
                waiter.tell(watch)
                if waiter is self._leader:
                    self._room.wake_leader()
        return run_id in self._watched

    def _tell_polled(self) -> None:
        """Tell the client, and those of the waiters that want to know, what was done."""
        polled = self._survey.polled
        hooks = {waiter.emit for waiter in self._room.present if waiter.emit is not None}
        for emit in (self._leader.source.emit, *hooks):
            emit(polled)


async def sleep(room: _Room, clock: Clock, until: float) -> None:
    """Sleep, at most until somebody may be late, and wake those who are."""
    now = clock.monotonic()
    room.wakes_at = min(until, *(waiter.stirs_at(now) for waiter in room.present))
    with anyio.CancelScope() as scope:
        room.sleep = scope
        try:
            await clock.sleep(max(0.0, room.wakes_at - clock.monotonic()))
        finally:
            room.sleep = None
    room.wake_late(clock.monotonic())


def first_of(error: BaseException) -> BaseException:
    """Return what a task of the leader's broke with, as if there had been no task."""
    if isinstance(error, BaseExceptionGroup):
        return first_of(cast("BaseExceptionGroup[BaseException]", error).exceptions[0])
    return error
