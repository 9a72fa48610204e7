"""A live line about a batch at work: how many items are where, what was spent, and how fast it goes."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.progress import BarColumn, TextColumn, TimeElapsedColumn

from coreclaw_async._batches.reports import BatchReport
from coreclaw_async.cli.bar import Bar
from coreclaw_async.cli.batch_standing import spent
from coreclaw_async.cli.screen import Screen
from coreclaw_async.errors import CoreClawError
from coreclaw_async.events import BatchItemChanged, Event, RequestSent, RunsPolled
from coreclaw_async.ledger import BatchItemState

_MINUTE = 60.0
_LOOK_SECONDS = 3.0
_JOIN_SECONDS = 1.0


class BatchProgress(Bar):
    """
    A bar for items, fed by the events of this process, and by a look into the ledger every three seconds.

    The ledger tells what other processes do, what was spent, and whether the batch is paused.

    Args:
        screen: Where it is shown.
    """

    def __init__(self, screen: Screen) -> None:
        super().__init__(
            screen,
            BarColumn(bar_width=20, complete_style="cyan", finished_style="green"),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            word="",
            total=None,
        )
        self._report: BatchReport | None = None
        self._is_paused = False
        self._counts: dict[BatchItemState, int] = {}
        self._requests = 0
        self._started: deque[float] = deque(maxlen=10_000)
        self._is_over = threading.Event()

    @contextmanager
    def following(self, read: Callable[[], BatchReport]) -> Generator[None]:
        """Show where the batch stands while the block runs, as *read* and the events tell."""
        if self._bar.disable:
            yield
            return
        self._take(read())
        looks = threading.Thread(target=self._look, args=(read,), daemon=True)
        looks.start()
        try:
            with self:
                yield
        finally:
            self._is_over.set()
            looks.join(_JOIN_SECONDS)

    def note(self, event: Event) -> None:
        """Take note of an event; the client calls this in another thread."""
        if isinstance(event, RequestSent):
            self._requests += 1
        elif isinstance(event, RunsPolled):
            self._requests += event.details + event.pages
        elif isinstance(event, BatchItemChanged) and self._counts:
            self._counts[BatchItemState(event.previous)] -= 1
            self._counts[BatchItemState(event.state)] += 1
            self._is_paused = self._is_paused and event.state != BatchItemState.INTENT
            if event.state == BatchItemState.SUBMITTED:
                self._started.append(time.monotonic())
        else:
            return
        self._show()

    def _look(self, read: Callable[[], BatchReport]) -> None:
        while not self._is_over.wait(_LOOK_SECONDS):
            try:
                self._take(read())
            except (CoreClawError, RuntimeError):  # Whoever works with the ledger tells what is wrong with it.
                continue

    def _take(self, report: BatchReport) -> None:
        self._report = report
        self._is_paused = report.is_paused
        self._counts = dict(report.counts)
        self._show()

    def _show(self) -> None:
        if self._report is None:
            return
        counts = self._counts
        running = counts[BatchItemState.INTENT] + counts[BatchItemState.SUBMITTED]
        failed = counts[BatchItemState.FAILED] + counts[BatchItemState.REJECTED]
        since = time.monotonic() - _MINUTE
        recent = sum(1 for started in tuple(self._started) if started > since)
        done, held = counts[BatchItemState.DONE], counts[BatchItemState.AMBIGUOUS]
        words = (
            f"{'paused, ' if self._is_paused else ''}"
            f"{counts[BatchItemState.PLANNED]} planned, {running} running, {done} done, {failed} failed, {held} held, "
            f"{spent(self._report)}, {self._requests} requests, {recent} starts/min"
        )
        ended = sum(count for state, count in counts.items() if not state.is_open)
        self._bar.update(self._task, description=words, completed=ended, total=sum(counts.values()))
