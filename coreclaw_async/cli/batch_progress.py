"""A live line about a batch at work: how many items are where, what was spent, and how fast it goes."""

from __future__ import annotations

import time
from collections import deque
from decimal import Decimal

from rich.progress import BarColumn, TextColumn, TimeElapsedColumn

from coreclaw_async._batches.reports import BatchReport
from coreclaw_async.cli.bar import Bar
from coreclaw_async.cli.screen import Screen, money
from coreclaw_async.events import BatchItemChanged, Event, RequestSent, RunsPolled
from coreclaw_async.ledger import BatchItemState

_MINUTE = 60.0
_ENDS = (
    BatchItemState.DONE,
    BatchItemState.FAILED,
    BatchItemState.REJECTED,
    BatchItemState.AMBIGUOUS,
    BatchItemState.CANCELLED,
)


class BatchProgress(Bar):
    """
    A bar for items, fed by events, so that the ledger need not be asked again and again.

    Args:
        screen: Where it is shown.
        report: Where the batch stands at first.
    """

    def __init__(self, screen: Screen, report: BatchReport) -> None:
        super().__init__(
            screen,
            BarColumn(bar_width=20, complete_style="cyan", finished_style="green"),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            word="",
            total=report.total,
        )
        self._counts = dict(report.counts)
        self._cost = report.cost
        self._requests = 0
        self._started: deque[float] = deque(maxlen=10_000)
        self._show()

    def note(self, event: Event) -> None:
        """Take note of an event; the client calls this in another thread."""
        if isinstance(event, RequestSent):
            self._requests += 1
        elif isinstance(event, RunsPolled):
            self._requests += event.details + event.pages
        elif isinstance(event, BatchItemChanged):
            self._counts[BatchItemState(event.previous)] -= 1
            self._counts[BatchItemState(event.state)] += 1
            if event.state == BatchItemState.SUBMITTED:
                self._started.append(time.monotonic())
        else:
            return
        self._show()

    def spend(self, cost: Decimal | None) -> None:
        """Take note of what a run has cost."""
        self._cost += cost or 0
        self._show()

    def _show(self) -> None:
        counts = self._counts
        running = counts[BatchItemState.INTENT] + counts[BatchItemState.SUBMITTED]
        failed = counts[BatchItemState.FAILED] + counts[BatchItemState.REJECTED]
        since = time.monotonic() - _MINUTE
        recent = sum(1 for started in tuple(self._started) if started > since)
        done, held = counts[BatchItemState.DONE], counts[BatchItemState.AMBIGUOUS]
        words = (
            f"{counts[BatchItemState.PLANNED]} planned, {running} running, {done} done, {failed} failed, {held} held, "
            f"{money(self._cost)}, {self._requests} requests, {recent} starts/min"
        )
        self._bar.update(self._task, description=words, completed=sum(counts[state] for state in _ENDS))
