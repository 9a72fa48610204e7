"""
The paired method: two ways of doing the same take turns in one process, and only ratios of neighbours count.

A machine that is busy with something else slows both ways down alike, so their ratio stays when their times do not.
"""

from __future__ import annotations

import gc
import random
import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias

import attrs

Measure: TypeAlias = Callable[[], Awaitable[float]]
"""Does one block of work and returns what a unit of it cost; less is better."""

_RESAMPLES = 2000


@attrs.frozen
class Comparison:
    """
    What two ways cost, pair by pair.

    Attributes:
        first: The costs of the first way.
        second: The costs of the second way, in the same order.
    """

    first: Sequence[float]
    second: Sequence[float]

    @property
    def first_median(self) -> float:
        """The usual cost of the first way."""
        return statistics.median(self.first)

    @property
    def second_median(self) -> float:
        """The usual cost of the second way."""
        return statistics.median(self.second)

    @property
    def ratio(self) -> float:
        """The median of first to second; 2 says that the first costs twice as much."""
        return statistics.median(self._ratios())

    @property
    def interval(self) -> tuple[float, float]:
        """Where that median lies with 95 %, by drawing the pairs again and again (bootstrap)."""
        ratios = self._ratios()
        draw = random.Random(0)
        medians = sorted(statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(_RESAMPLES))
        return medians[_RESAMPLES // 40], medians[-1 - _RESAMPLES // 40]

    def _ratios(self) -> list[float]:
        return [first / second for first, second in zip(self.first, self.second, strict=True)]


async def compare(first: Measure, second: Measure, pairs: int) -> Comparison:
    """Return the costs of *pairs* pairs of blocks, of which every other one begins with the second way."""
    comparison: tuple[list[float], list[float]] = ([], [])
    await measure(first)
    await measure(second)
    for number in range(pairs):
        if number % 2 == 0:
            comparison[0].append(await measure(first))
            comparison[1].append(await measure(second))
        else:
            comparison[1].append(await measure(second))
            comparison[0].append(await measure(first))
    return Comparison(*comparison)


def turns(names: Sequence[str], rounds: int) -> list[list[str]]:
    """Return the order of each round: forwards, the same backwards, then with another name at the beginning."""
    orders = []
    for number in range(rounds):
        begin = number // 2 % len(names)
        order = [*names[begin:], *names[:begin]]
        orders.append(order if number % 2 == 0 else order[::-1])
    return orders


async def take_turns(ways: Mapping[str, Measure], rounds: int) -> dict[str, list[float]]:
    """Return the costs of a block of each way in each round, after a first block that does not count."""
    costs: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        await measure(way)
    for order in turns(list(ways), rounds):
        for name in order:
            costs[name].append(await measure(ways[name]))
    return costs


async def measure(way: Measure) -> float:
    """Return the cost of one block that does not pay for the garbage of the one before."""
    gc.collect()
    return await way()
