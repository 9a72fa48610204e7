"""The clocks a fake service can run on: a virtual one that jumps, and the real one."""

from __future__ import annotations

import math
import threading
import time
from bisect import insort
from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol

import anyio
from anyio.lowlevel import checkpoint
from attrs import define, field

FAKE_START = 1_786_766_400.0
"""2026-08-15T04:00:00Z, noon in the time zone in which the service counts its months."""

_LOOK_AGAIN = 0.005
"""Real seconds after which a sleeper looks at the clock again, unless something in its event loop wakes it."""

_THREAD_LIMIT = 0.5
"""Real seconds for which work in threads stops a virtual clock."""

_REST = 0.001
"""Real seconds between two looks while threads work."""

_MAX_ROUND = 0.01
"""Most real seconds that one round of an event loop counts for."""


class Clock(Protocol):
    """
    What the fake service asks of a clock, and what a client under test may share with it.

    Example::

        def hours_later(clock: Clock, hours: float) -> None:
            clock.advance(hours * 3600)


        hours_later(service.clock, 2)
    """

    def monotonic(self) -> float:
        """Return the seconds since an arbitrary time; they never go back."""
        ...

    def time(self) -> float:
        """Return the wall clock in Unix seconds."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds``."""
        ...

    def advance(self, seconds: float) -> None:
        """Move the clock forward by ``seconds`` at once."""
        ...

    def set_time(self, unix: float) -> None:
        """Set the wall clock to ``unix`` seconds, without touching the monotonic time."""
        ...


@define(eq=False)
class _Sleeper:
    """One pending `sleep`, waiting in the event loop it was called in."""

    deadline: float
    order: int
    event: anyio.Event = field(factory=anyio.Event)


def _wakes_first(sleeper: _Sleeper) -> tuple[float, int]:
    return sleeper.deadline, sleeper.order


class FakeClock:
    """
    A virtual clock: an hour passes as fast as the program does its work.

    While all tasks sleep, the clock jumps to the earliest deadline. All tasks count as asleep when ``quiet_cycles``
    rounds of the event loop have passed without a request, and without a sleep that began or ended. Sleepers wake one
    after the other in the order of their deadlines, so a thousand concurrent sleeps of one second take one second.

    Work in anyio's worker threads stops the clock too, for half a real second at most. Work in other threads or behind
    a real socket does not: use ``autojump=False`` then, and move the clock with `advance`.

    It runs under asyncio and trio, and holds nothing of an event loop once its sleepers are gone.

    Args:
        start: The wall clock at the beginning, in Unix seconds.
        autojump: Whether the clock jumps by itself. Without it only `advance` moves it.
        quiet_cycles: Rounds of the event loop without activity before a jump, 1 or more.

    Example::

        clock = FakeClock(start=1_800_000_000)
        await clock.sleep(3600)  # Takes no time.
        assert clock.time() == 1_800_003_600
    """

    def __init__(self, start: float = FAKE_START, *, autojump: bool = True, quiet_cycles: int = 25) -> None:
        if quiet_cycles < 1:
            raise ValueError(f"quiet_cycles must be 1 or more, not {quiet_cycles}")
        self._wall_offset = start
        self._now = 0.0
        self._autojump = autojump
        self._quiet_cycles = quiet_cycles
        self._activity = 0
        self._order = 0
        # One queue per event loop, by its thread, earliest deadline first. Only the first sleeper of each looks at the
        # clock; the others wait for an event, so ten thousand sleepers cost as much as one.
        self._queues: dict[int, list[_Sleeper]] = {}
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        """Show the virtual seconds that have passed and how many sleep."""
        if not hasattr(self, "_queues"):  # A traceback with local variables shows it when `__init__` has failed.
            return "FakeClock(...)"
        return f"FakeClock(monotonic={self._now}, sleepers={sum(map(len, self._queues.values()))})"

    def monotonic(self) -> float:
        """Return the virtual seconds since the clock was made."""
        return self._now

    def time(self) -> float:
        """Return the virtual wall clock in Unix seconds."""
        return self._wall_offset + self._now

    def set_time(self, unix: float) -> None:
        """Set the wall clock to ``unix`` seconds; sleepers and `monotonic` are not affected."""
        with self._lock:
            self._wall_offset = unix - self._now

    def advance(self, seconds: float) -> None:
        """
        Move the clock forward at once and wake the sleepers that are due.

        May be called from any thread.

        Args:
            seconds: How far, 0 or more.

        Raises:
            ValueError: ``seconds`` is negative or not finite.
        """
        if not 0 <= seconds < math.inf:
            raise ValueError(f"seconds must be finite and 0 or more, not {seconds}")
        with self._lock:
            self._now += seconds
            self._activity += 1
            thread = threading.get_ident()
            if thread in self._queues:
                # The first sleeper of another thread's loop looks at the clock by itself.
                self._queues[thread][0].event.set()

    async def sleep(self, seconds: float) -> None:
        """
        Return after ``seconds`` of virtual time.

        Args:
            seconds: 0 or less only lets others run; infinity sleeps until cancelled.
        """
        if seconds <= 0:
            await checkpoint()
            return
        if seconds == math.inf:
            await anyio.sleep_forever()
        thread = threading.get_ident()
        sleeper = self._add(thread, self._now + seconds)
        try:
            # One that is due still waits for those before it: it may look at the clock in the same round as they do.
            while self._now < sleeper.deadline or self._queues[thread][0] is not sleeper:
                if self._queues[thread][0] is sleeper:
                    await self._watch(thread, sleeper)
                else:
                    await sleeper.event.wait()
                sleeper.event = anyio.Event()
        finally:
            self._remove(thread, sleeper)

    async def _watch(self, thread: int, sleeper: _Sleeper) -> None:
        """Watch the clock until `sleeper` is due or no longer the first; move it when all is quiet."""
        if not self._autojump:
            with anyio.move_on_after(_LOOK_AGAIN):
                await sleeper.event.wait()
            return
        threads = anyio.to_thread.current_default_thread_limiter()
        quiet, seen, held = 0, self._activity, 0.0
        while self._now < sleeper.deadline and self._queues[thread][0] is sleeper:
            if threads.borrowed_tokens:
                # A loop without a pause would hardly let the threads work.
                before = time.monotonic()
                await anyio.sleep(_REST)
                # If the machine stood still, the threads did not have that time.
                held += min(time.monotonic() - before, _MAX_ROUND)
            else:
                await checkpoint()
            if self._activity != seen:
                quiet, seen, held = 0, self._activity, 0.0
            elif not threads.borrowed_tokens or held > _THREAD_LIMIT:
                quiet += 1
                if quiet >= self._quiet_cycles:
                    self._jump()

    def _jump(self) -> None:
        with self._lock:
            earliest = min(queue[0].deadline for queue in self._queues.values())
            self._now = max(self._now, earliest)
            self._activity += 1

    def _add(self, thread: int, deadline: float) -> _Sleeper:
        with self._lock:
            self._order += 1
            self._activity += 1
            sleeper = _Sleeper(deadline, self._order)
            insort(self._queues.setdefault(thread, []), sleeper, key=_wakes_first)
            return sleeper

    def _remove(self, thread: int, sleeper: _Sleeper) -> None:
        """Remove `sleeper`; the one that is first now takes over, or wakes when it is due."""
        with self._lock:
            self._activity += 1
            queue = self._queues[thread]
            queue.remove(sleeper)
            if queue:
                queue[0].event.set()
            else:
                del self._queues[thread]


def note_activity(clock: Clock) -> None:
    """Have a virtual clock count its quiet rounds from 0 again; for every request. Real time cannot be stopped."""
    if isinstance(clock, FakeClock):
        with clock._lock:  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - callers must not see it
            clock._activity += 1  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


class RealClock:
    """
    The real time, for a service that others use over a socket.

    `advance` and `set_time` shift what the clock shows; a `sleep` that has begun is not shortened.

    Example::

        with FakeService(clock=RealClock()).serve() as server:
            print(server.url)
    """

    def __init__(self) -> None:
        self._ahead = 0.0
        self._wall_ahead = 0.0

    def monotonic(self) -> float:
        """Return the seconds since an arbitrary time."""
        return time.monotonic() + self._ahead

    def time(self) -> float:
        """Return the wall clock in Unix seconds."""
        return time.time() + self._ahead + self._wall_ahead

    def set_time(self, unix: float) -> None:
        """Set the wall clock to ``unix`` seconds; it runs on from there."""
        self._wall_ahead += unix - self.time()

    def advance(self, seconds: float) -> None:
        """
        Put the clock forward by ``seconds``.

        Raises:
            ValueError: ``seconds`` is negative or not finite.
        """
        if not 0 <= seconds < math.inf:
            raise ValueError(f"seconds must be finite and 0 or more, not {seconds}")
        self._ahead += seconds

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds`` of real time."""
        await anyio.sleep(seconds)


class DefaultClock(FakeClock):
    """The clock of a service that was given none: virtual, but the real time and date for as long as it is served."""

    def __init__(self) -> None:
        super().__init__()
        self._real: RealClock | None = None
        self._blocks = 0
        self._counting = threading.Lock()

    def monotonic(self) -> float:
        """Return the seconds since the clock was made, virtual and real ones."""
        real = self._real
        return super().monotonic() if real is None else real.monotonic()

    def time(self) -> float:
        """Return the wall clock in Unix seconds."""
        real = self._real
        return super().time() if real is None else real.time()

    def set_time(self, unix: float) -> None:
        """Set the wall clock, in Unix seconds."""
        real = self._real
        if real is None:
            super().set_time(unix)
        else:
            real.set_time(unix)

    def advance(self, seconds: float) -> None:
        """Move the clock forward by ``seconds`` at once."""
        real = self._real
        if real is None:
            super().advance(seconds)
        else:
            real.advance(seconds)

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds``."""
        real = self._real
        await (super().sleep(seconds) if real is None else real.sleep(seconds))

    @contextmanager
    def in_real_time(self) -> Generator[float]:
        """Follow the real time until all such blocks end; yield how many seconds later the date is now than before."""
        with self._counting:
            later = 0.0
            if self._real is None:
                real = _ContinuingClock(self)
                later = real.time() - self.time()
                self._real = real
            self._blocks += 1
        try:
            yield later
        finally:
            with self._counting:
                self._blocks -= 1
                if not self._blocks:
                    self._end_real_time()

    def _end_real_time(self) -> None:
        real, self._real = self._real, None
        assert real is not None, "a block has begun"
        self.advance(max(real.monotonic() - self.monotonic(), 0.0))
        self.set_time(real.time())


class _ContinuingClock(RealClock):
    """The real time with today's date, whose monotonic time goes on from where *before* stands."""

    def __init__(self, before: Clock) -> None:
        super().__init__()
        self._ahead = before.monotonic() - self.monotonic()
        self.set_time(time.time())
