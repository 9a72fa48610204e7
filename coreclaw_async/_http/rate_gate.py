"""How fast a client may send: without limit, until the service refuses a request for its rate."""

from __future__ import annotations

import heapq
import itertools
from weakref import WeakKeyDictionary

import anyio

from coreclaw_async._concurrency.clock import Clock
from coreclaw_async._concurrency.loops import EventLoop, current_loop
from coreclaw_async._wire.retry import RetryPolicy

# The share by which the rate grows in a second: fast while no limit is known or near, then slowly.
_GROWTH = 0.1
_SLOW_GROWTH = 0.02
_NEAR = 0.9
_SHRINKAGE = 0.7
# Requests a second.
_MIN_GROWTH = 0.1
_MIN_RATE = 0.5
# A higher rate is no limit any more, and an older refusal does not count.
_MAX_RATE = 1_000.0
_MEMORY = 600.0
_URGENT = 2**62


class _Line:
    """
    The queue at the gate of one event loop, first come, first served.

    Attributes:
        is_taken: Whether a request is at its front.
        waiting: The others, by ticket.
    """

    def __init__(self) -> None:
        self.is_taken = False
        self.waiting: list[tuple[int, anyio.Event]] = []

    async def come_to_front(self, ticket: int) -> None:
        if not self.is_taken:
            self.is_taken = True
            return
        mine = (ticket, anyio.Event())
        heapq.heappush(self.waiting, mine)
        try:
            await mine[1].wait()
        except BaseException:
            if mine[1].is_set():
                self.leave_front()
            else:
                self.waiting.remove(mine)
                heapq.heapify(self.waiting)
            raise

    def leave_front(self) -> None:
        if self.waiting:
            heapq.heappop(self.waiting)[1].set()
        else:
            self.is_taken = False


class RateGate:
    """
    Where the requests of one client and its copies wait after the service has refused one for its rate.

    It is open until the first refusal, and then closed until the service's ``Retry-After`` or a pause has passed. From
    then on requests leave one by one. Their rate begins with what the service accepted in the second before, grows with
    each accepted request, and shrinks with each refusal.

    Attributes:
        closings: How often it was closed; a request that passed before the last time must pass again.
    """

    def __init__(self, clock: Clock) -> None:
        self.closings = 0
        self._clock = clock
        self._tickets = itertools.count()
        self._rate: float | None = None
        self._ceiling = float("inf")  # The rate at which the service refused last.
        self._opens_at = float("-inf")
        self._next_at = float("-inf")
        self._closed_at = float("-inf")
        self._closings_in_a_row = 0
        self._second_began = float("-inf")
        self._taken_in_second = 0
        # One for each event loop: an event of one loop cannot wake a task of another.
        self._lines: WeakKeyDictionary[EventLoop, _Line] = WeakKeyDictionary()

    def ticket(self, *, is_urgent: bool = False) -> int:
        """Return a place in the queue, which a call keeps for all its attempts; urgent ones come first."""
        number = next(self._tickets)
        return number - _URGENT if is_urgent else number

    def opens_in(self) -> float:
        """Return the seconds until the gate opens, 0 or more."""
        return max(0.0, self._opens_at - self._clock.monotonic())

    async def pass_through(self, ticket: int, deadline: float) -> bool:
        """Wait until a request may be sent and return True, or return False when none may before *deadline*."""
        if self._rate is None:
            return True
        line = self._lines.setdefault(current_loop(), _Line())
        await line.come_to_front(ticket)
        try:
            while True:
                now = self._clock.monotonic()
                at = max(self._opens_at, self._next_at)
                if at > deadline or now > deadline:
                    return False
                if at <= now:
                    break
                await self._clock.sleep(at - now)
            self._next_at = now + self._spacing()
            return True
        finally:
            line.leave_front()

    def _spacing(self) -> float:
        return 0.0 if self._rate is None else 1 / self._rate

    def note_taken(self) -> None:
        """Record that the service did not refuse a request for its rate."""
        now = self._clock.monotonic()
        if self._rate is None:
            if now - self._second_began >= 1:
                self._second_began, self._taken_in_second = now, 0
            self._taken_in_second += 1
            return
        self._closings_in_a_row = 0
        is_near = self._rate > _NEAR * self._ceiling
        # Each answer adds its part of the growth of a second.
        self._rate += (_SLOW_GROWTH if is_near else _GROWTH) + _MIN_GROWTH / self._rate
        if self._rate > _MAX_RATE or now - self._closed_at > _MEMORY:
            self._rate = None
            self._ceiling = float("inf")
            self._taken_in_second = 0

    def note_refused(self, policy: RetryPolicy, *, left_at: float, retry_after: float | None) -> None:
        """Record that the service refused, for its rate, a request that was sent at *left_at*."""
        now = self._clock.monotonic()
        if retry_after is not None:
            # A longer one ends its call; other requests wait for this long.
            retry_after = min(retry_after, policy.max_retry_after)
            self._opens_at = max(self._opens_at, now + retry_after + policy.jitter(policy.first_delay))
        if left_at <= self._closed_at:  # It was under way when the gate was closed, so this is the same refusal.
            return
        if retry_after is None:
            pause = min(policy.max_delay, policy.first_delay * 2.0 ** min(self._closings_in_a_row, 30))
            self._opens_at = max(self._opens_at, now + (pause + policy.jitter(pause)) / 2)
        self._closed_at = now
        self.closings += 1
        self._closings_in_a_row += 1
        if self._rate is None:
            self._rate = max(_MIN_RATE, self._taken_in_second)
        else:
            self._ceiling = self._rate
            self._rate = max(_MIN_RATE, self._rate * _SHRINKAGE)
