"""RunWatcher: those who wait for runs take turns at looking at them all, without a task in the background."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Mapping
from typing import cast
from weakref import WeakKeyDictionary

import anyio
import attrs

from coreclaw_async._clock import Clock
from coreclaw_async._event_loops import EventLoop, call_soon, current_loop
from coreclaw_async._list_shape import ListMemory
from coreclaw_async._run_survey import RunSource, Survey
from coreclaw_async._watch import Watch
from coreclaw_async.errors import CoreClawError
from coreclaw_async.models import Run

# The more runs are waited for, the more of them are worth looking at together.
_SPACING_PER_RUN = 0.001
_MAX_SPACING = 1.0
# Looks that are due within this share of their delay come along, so that jitter does not part what began together.
_TOGETHER = 0.2
# So long a leader with news of its own lets a look at the other runs come to its end.
_PATIENCE = 5.0
_MAX_WAKES = 10_000


@attrs.define(eq=False)
class Waiter:
    """
    Somebody who waits for one run or for many.

    Attributes:
        source: Where to look when it is this one's turn.
        watches: The runs that have not ended, by id.
        deadline: When to give up, on the monotonic clock; infinity for never.
        news: Watches that something happened to, in order.
    """

    source: RunSource
    watches: dict[str, Watch]
    deadline: float = float("inf")
    news: deque[Watch] = attrs.field(factory=deque[Watch], init=False)
    event: anyio.Event = attrs.field(factory=anyio.Event, init=False)

    @classmethod
    def of(cls, source: RunSource, watches: Iterable[Watch], deadline: float) -> Waiter:
        """Return a waiter for *watches*."""
        return cls(source, {watch.run_id: watch for watch in watches}, deadline)

    def is_late(self, now: float) -> bool:
        """Whether the deadline has passed."""
        return now >= self.deadline

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
        not_before: When the next look may begin.
        wakes: Runs that something is known to have happened to, and since when.
        sleep: The scope of the leader's sleep.
        wakes_at: When that sleep ends by itself.
    """

    present: dict[Waiter, None] = attrs.field(factory=dict[Waiter, None])
    leader: Waiter | None = None
    not_before: float = float("-inf")
    wakes: dict[str, float] = attrs.field(factory=dict[str, float])
    sleep: anyio.CancelScope | None = None
    wakes_at: float = float("inf")

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
                taken.add(run_id)
        for run_id in taken:
            del self.wakes[run_id]


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

        One task at a time for each waiter.
        """
        room = self._room()
        room.present[waiter] = None
        try:
            while not waiter.news:
                if waiter.is_late(self._clock.monotonic()):
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

    @staticmethod
    async def _follow(room: _Room, waiter: Waiter) -> None:
        if min(waiter.next_look(), waiter.deadline) < room.wakes_at:
            room.wake_leader()
        await waiter.event.wait()
        waiter.event = anyio.Event()

    async def _lead(self, room: _Room, leader: Waiter) -> None:
        """Look for all until there is news for the leader, or its deadline has passed."""
        room.leader = leader
        try:
            while not leader.news and not leader.is_late(self._clock.monotonic()):
                await self._take_turn(room, leader)
        finally:
            room.leader = None

    async def _take_turn(self, room: _Room, leader: Waiter) -> None:
        """Look at what is due, or sleep until something is."""
        room.take_wakes()
        now = self._clock.monotonic()
        soonest = min(waiter.next_look() for waiter in room.present)
        spacing = min(_MAX_SPACING, _SPACING_PER_RUN * sum(len(waiter.watches) for waiter in room.present))
        begin = max(soonest, room.not_before + spacing)
        if begin > now:
            await self._sleep(room, begin)
            return
        due = _due(room, now)
        await self._look(room, leader, due)
        room.not_before = self._clock.monotonic()

    async def _look(self, room: _Room, leader: Waiter, due: Mapping[str, Run | None]) -> None:
        """Look at runs while the deadlines of all waiters are kept."""
        watched: dict[str, list[tuple[Waiter, Watch]]] = {}
        for waiter in room.present:
            for run_id, watch in waiter.watches.items():
                watched.setdefault(run_id, []).append((waiter, watch))

        def report(run_id: str, found: Run | CoreClawError) -> bool:
            now = self._clock.monotonic()
            for waiter, watch in watched.get(run_id, ()):
                if watch.take(found, now=now, was_due=run_id in due):
                    waiter.tell(watch)
                    if waiter is leader:
                        room.wake_leader()
            return run_id in watched

        survey = Survey(leader.source, self._clock, self._memory, due, report)
        is_done = False

        async def take_survey() -> None:
            nonlocal is_done
            try:
                await survey.take()
            finally:
                is_done = True
                room.wake_leader()

        leaves_at = float("inf")
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(take_survey)
                while not is_done:
                    await self._sleep(room, leaves_at)
                    now = self._clock.monotonic()
                    if leader.is_late(now) or now >= leaves_at:
                        group.cancel_scope.cancel()
                        return
                    if leader.news:
                        leaves_at = min(leaves_at, now + _PATIENCE)
        except BaseExceptionGroup as errors:
            raise first_of(errors) from None

    async def _sleep(self, room: _Room, until: float) -> None:
        """Sleep, at most until the first deadline, and wake those whose deadline has passed."""
        room.wakes_at = min(until, *(waiter.deadline for waiter in room.present))
        with anyio.CancelScope() as scope:
            room.sleep = scope
            try:
                await self._clock.sleep(max(0.0, room.wakes_at - self._clock.monotonic()))
            finally:
                room.sleep = None
        now = self._clock.monotonic()
        for waiter in room.present:
            if waiter.is_late(now):
                waiter.event.set()


def _due(room: _Room, now: float) -> dict[str, Run | None]:
    """Return the runs to look at now, each as it was last seen; many together take along who is nearly due."""
    watches = [watch for waiter in room.present for watch in waiter.watches.values()]
    due = {watch.run_id: watch.run for watch in watches if watch.next_look <= now}
    nearly = {watch.run_id: watch.run for watch in watches if watch.next_look - _TOGETHER * watch.delay <= now}
    return nearly if Survey.is_for_many(nearly) else due


def first_of(error: BaseException) -> BaseException:
    """Return what a task of the leader's broke with, as if there had been no task."""
    if isinstance(error, BaseExceptionGroup):
        return first_of(cast("BaseExceptionGroup[BaseException]", error).exceptions[0])
    return error
