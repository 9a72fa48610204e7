"""Blocks of calls for the paired method: one after another, and many at once."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from paired import Measure

if TYPE_CHECKING:  # It needs the peers, and the tests of these blocks do without them.
    from callers import Call

_CALLS = 200


def one_at_a_time(call: Call) -> Measure:
    """Return a block that measures the CPU seconds of one call, in this process alone."""

    async def block() -> float:
        started = time.process_time()
        for _ in range(_CALLS):
            await call()
        return (time.process_time() - started) / _CALLS

    return block


class AtOnce:
    """
    A block of *total* calls, *width* of them under way at a time; it measures the seconds that pass for each answer.

    A call that fails ends the benchmark, unless failures are what is counted. A client all of whose calls have failed
    is called no more: that takes long, and tells nothing new.

    Attributes:
        failures: How many calls have failed, in all blocks.
        made: How many calls were made, in all blocks.
    """

    def __init__(self, call: Call, *, width: int, total: int, counts_failures: bool = False) -> None:
        self._call = call
        self._counts_failures = counts_failures
        self._width = width
        self._total = total
        self.failures = 0
        self.made = 0

    async def __call__(self) -> float:
        if self.failures and self.failures == self.made:
            return math.inf
        numbers = iter(range(self._total))
        failed_before = self.failures
        started = time.perf_counter()
        await asyncio.gather(*(self._work(numbers) for _ in range(self._width)))
        answers = self._total - (self.failures - failed_before)
        return (time.perf_counter() - started) / max(1, answers)

    async def _work(self, numbers: Iterator[int]) -> None:
        for _ in numbers:
            self.made += 1
            try:
                await self._call()
            except Exception:
                if not self._counts_failures:
                    raise
                self.failures += 1


def behind_semaphore(call: Call, width: int) -> Call:
    """Return *call*, at most *width* of it under way at a time."""
    semaphore = asyncio.Semaphore(width)

    async def limited() -> object:
        async with semaphore:
            return await call()

    return limited
