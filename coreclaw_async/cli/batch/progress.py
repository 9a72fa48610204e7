"""A live line about a working batch: items in each state, money spent, and speed."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

from rich.progress import BarColumn, TextColumn, TimeElapsedColumn

from coreclaw_async.batch import BatchItemState, BatchReport
from coreclaw_async.cli._screen.bars import Bar
from coreclaw_async.cli._screen.screen import Screen
from coreclaw_async.cli.batch.state_tables import rows_of, spent
from coreclaw_async.errors import CoreClawError
from coreclaw_async.events import BatchItemChanged, Event

_MINUTE = 60.0
_JOIN_SECONDS = 1.0
_BAR_WIDTH = 10
_ELAPSED_WIDTH = 8
_GAPS = 2


class BatchBar(Bar):
    """
    A bar for items, updated by the events of this process and every three seconds from the ledger.

    The ledger knows what other processes do, what was spent, and whether the batch is paused.
    """

    def __init__(self, screen: Screen) -> None:
        super().__init__(
            screen,
            BarColumn(bar_width=_BAR_WIDTH, complete_style="cyan", finished_style="green"),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            word="",
            total=None,
        )
        self._screen = screen
        self._report: BatchReport | None = None
        self._is_paused = False
        self._counts: dict[BatchItemState, int] = {}
        self._started: deque[float] = deque(maxlen=10_000)
        self._is_over = threading.Event()

    @contextmanager
    def following(self, read: Callable[[], BatchReport], *, every: float = 3.0) -> Generator[None]:
        """Show the state of the batch while the block runs, and read its ledger *every* so many seconds."""
        if self._bar.disable:
            yield
            return
        self._take(read())
        looks = threading.Thread(target=self._look, args=(read, every), daemon=True)
        looks.start()
        try:
            with self:
                yield
        finally:
            self._is_over.set()
            looks.join(_JOIN_SECONDS)

    def note(self, event: Event) -> None:
        """Record an event; the client calls this in another thread."""
        if not isinstance(event, BatchItemChanged) or not self._counts:
            return
        self._counts[BatchItemState(event.previous)] -= 1
        self._counts[BatchItemState(event.state)] += 1
        self._is_paused = self._is_paused and event.state != BatchItemState.INTENT
        if event.state == BatchItemState.SUBMITTED:
            self._started.append(time.monotonic())
        self._show()

    def _look(self, read: Callable[[], BatchReport], every: float) -> None:
        while not self._is_over.wait(every):
            try:
                self._take(read())
            except (CoreClawError, RuntimeError):  # The batch itself reports what is wrong with its ledger.
                continue

    def _take(self, report: BatchReport) -> None:
        self._report = report
        self._is_paused = report.is_paused
        self._counts = dict(report.counts)
        self._show()

    def _show(self) -> None:
        assert self._report is not None, "the counts came with it"
        room = self._screen.err.width - _BAR_WIDTH - _ELAPSED_WIDTH - _GAPS
        ended = sum(count for state, count in self._counts.items() if not state.is_open)
        self._bar.update(
            self._task,
            description=_fitting(self._parts(self._report), room),
            completed=ended,
            total=sum(self._counts.values()),
        )

    def _parts(self, report: BatchReport) -> list[str]:
        """Return the parts of the line, the most important first."""
        counts = self._counts
        failed = counts[BatchItemState.FAILED] + counts[BatchItemState.REJECTED]
        held = counts[BatchItemState.AMBIGUOUS]
        since = time.monotonic() - _MINUTE
        recent = sum(1 for started in tuple(self._started) if started > since)
        return [
            *(["paused"] if self._is_paused else []),
            f"{counts[BatchItemState.PLANNED]} planned",
            f"{counts[BatchItemState.INTENT] + counts[BatchItemState.SUBMITTED]} running",
            f"{counts[BatchItemState.DONE]} done",
            *([f"{failed} failed"] if failed else []),
            *([f"{held} held"] if held else []),
            spent(report),
            rows_of(report),
            f"{recent} starts/min",
        ]


def _fitting(parts: Sequence[str], room: int) -> str:
    """Return as many of *parts* as fit into *room*, as a longer line would push out the bar and the time."""
    shown = parts[0]
    for part in parts[1:]:
        if len(shown) + len(", ") + len(part) > room:
            break
        shown += f", {part}"
    return shown
