"""Where time comes from and how it passes, so that tests of long waits take milliseconds."""

from __future__ import annotations

import time
from typing import Protocol, runtime_checkable

import anyio


@runtime_checkable
class Clock(Protocol):
    """
    What the client needs of a clock, as `coreclaw_async.testing.FakeClock` has it too.

    Example::

        clock = FakeClock(start=1_800_000_000)
        async with AsyncCoreClaw(clock=clock) as client:
            assert clock.time() == 1_800_000_000
    """

    def monotonic(self) -> float:
        """Return seconds that never go back, from an unknown start."""
        ...

    def time(self) -> float:
        """Return Unix seconds."""
        ...

    async def sleep(self, seconds: float, /) -> None:
        """Return after *seconds*."""
        ...


class SystemClock:
    """The clock of the machine."""

    def monotonic(self) -> float:
        """Return seconds that never go back, from an unknown start."""
        return time.monotonic()

    def time(self) -> float:
        """Return Unix seconds."""
        return time.time()

    async def sleep(self, seconds: float, /) -> None:
        """Return after *seconds*."""
        await anyio.sleep(seconds)
