"""Starts that wait until the plan has room for one more running run."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import anyio

from coreclaw_async import errors
from coreclaw_async._concurrency.clock import Clock
from coreclaw_async._concurrency.groups import task_group
from coreclaw_async._concurrency.loops import EventLoop, current_loop

if TYPE_CHECKING:
    from coreclaw_async._polling.schedule import PollSchedule
    from coreclaw_async.models import StartedRun

_LAST_TRY = 1.0


class SlotQueue:
    """The starts that wait for a slot, in order: the first one is retried at the pace of the poll schedule."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Keyed by the event loop itself: a lock of one loop is none in another.
        self._fronts: WeakKeyDictionary[EventLoop, anyio.Lock] = WeakKeyDictionary()

    async def start(
        self, start: Callable[[], Awaitable[StartedRun]], schedule: PollSchedule, deadline: float
    ) -> StartedRun:
        """
        Return what *start* returns once there is a slot for it.

        Raises:
            ConcurrencyLimitError: There was none before *deadline*; nothing was started.
        """
        front = self._fronts.setdefault(current_loop(), anyio.Lock())
        if not front.locked():
            with contextlib.suppress(errors.ConcurrencyLimitError):  # Which means that nothing was started.
                return await start()
        await self._come_to_front(front, deadline)
        try:
            delays = schedule.jittered_delays()
            while True:
                try:
                    return await start()
                except errors.ConcurrencyLimitError as error:
                    left = deadline - self._clock.monotonic()
                    if left <= _LAST_TRY:
                        raise
                    # A slot may be free shortly before the deadline.
                    delay = min(max(next(delays), error.retry_after or 0.0), left - _LAST_TRY)
                await self._clock.sleep(delay)
        finally:
            front.release()

    async def _come_to_front(self, front: anyio.Lock, deadline: float) -> None:
        is_there = False
        try:
            async with task_group() as group:

                async def expire() -> None:
                    await self._clock.sleep(max(0.0, deadline - self._clock.monotonic()))
                    group.cancel_scope.cancel()

                if deadline != math.inf:
                    group.start_soon(expire)
                await front.acquire()
                is_there = True
                group.cancel_scope.cancel()
            if not is_there or self._clock.monotonic() >= deadline:
                raise errors.ConcurrencyLimitError("no run was started: the plan had no room for it within the timeout")
        except BaseException:
            if is_there:  # pragma: no branch
                front.release()  # pragma: no cover - the deadline passed or a cancellation came at the same time
            raise
