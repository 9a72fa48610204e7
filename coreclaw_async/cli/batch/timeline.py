"""The course of a batch over time, read item by item: when items ended, and which took longest."""

from __future__ import annotations

import heapq
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

import attrs

from coreclaw_async.batch import BatchItem, BatchItemState

_MAX_POINTS = 120
_MAX_SLOW = 10


@attrs.frozen
class Point:
    """
    The state of a batch at a time.

    Attributes:
        at: The time in Unix seconds.
        started: Items whose runs had started.
        done: Items that were done.
        failed: Items that had failed.
        cost: The cost of the ended runs in US dollars, counting the last run of each item.
    """

    at: float
    started: int
    done: int
    failed: int
    cost: float


@attrs.define
class BatchTimeline:
    """
    The course of a batch.

    Attributes:
        slowest: The items that took longest from start to end, with their seconds, slowest first.
        oldest: The items whose runs have been running longest, with the times of their starts, oldest first.
    """

    slowest: Sequence[tuple[float, BatchItem]] = ()
    oldest: Sequence[tuple[float, BatchItem]] = ()
    _started: array[float] = attrs.field(factory=lambda: array("d"))
    _done: array[float] = attrs.field(factory=lambda: array("d"))
    _failed: array[float] = attrs.field(factory=lambda: array("d"))
    _costs: list[tuple[float, float]] = attrs.field(factory=list[tuple[float, float]])

    @classmethod
    def of(cls, items: Iterable[BatchItem]) -> BatchTimeline:
        """Return the story of *items*; of most items only the times are kept."""
        story = cls()
        slow: list[tuple[float, int, BatchItem]] = []
        going: list[tuple[float, int, BatchItem]] = []
        for item in items:
            story._add(item)
            if item.submitted_at is None:
                continue
            if item.state is BatchItemState.SUBMITTED:
                _keep(going, (-item.submitted_at, -item.position, item))
            elif item.ended_at is not None:
                _keep(slow, (item.ended_at - item.submitted_at, -item.position, item))
        story.slowest = [(max(seconds, 0.0), item) for seconds, _, item in sorted(slow, reverse=True)]
        story.oldest = [(-since, item) for since, _, item in sorted(going, reverse=True)]
        story._sort()
        return story

    def _add(self, item: BatchItem) -> None:
        if item.submitted_at is not None:
            self._started.append(item.submitted_at)
        if item.ended_at is None:
            return
        (self._done if item.state is BatchItemState.DONE else self._failed).append(item.ended_at)
        if item.cost is not None:
            self._costs.append((item.ended_at, float(min(item.cost, Decimal(10) ** 12))))

    def _sort(self) -> None:
        self._started, self._done, self._failed = (
            array("d", sorted(moments)) for moments in (self._started, self._done, self._failed)
        )
        self._costs.sort()

    def points(self) -> list[Point]:
        """Return states from the first start to the last end; none if too little is known."""
        moments = [*self._started[:1], *self._done[:1], *self._done[-1:], *self._failed[:1], *self._failed[-1:]]
        moments += self._started[-1:]
        if not moments or min(moments) == max(moments):
            return []
        first, last = min(moments), max(moments)
        costs = self._sums()
        ends = [at for at, _ in self._costs]
        return [
            Point(
                at=at,
                started=bisect_right(self._started, at),
                done=bisect_right(self._done, at),
                failed=bisect_right(self._failed, at),
                cost=costs[bisect_right(ends, at)],
            )
            for at in _steps(first, last)
        ]

    def _sums(self) -> Sequence[float]:
        sums = array("d", [0.0])
        for _, cost in self._costs:
            sums.append(sums[-1] + cost)
        return sums


def _keep(heap: list[tuple[float, int, BatchItem]], entry: tuple[float, int, BatchItem]) -> None:
    if len(heap) < _MAX_SLOW:
        heapq.heappush(heap, entry)
    else:
        heapq.heappushpop(heap, entry)


def _steps(first: float, last: float) -> Iterator[float]:
    for number in range(_MAX_POINTS):
        yield first + (last - first) * number / (_MAX_POINTS - 1) if number < _MAX_POINTS - 1 else last
