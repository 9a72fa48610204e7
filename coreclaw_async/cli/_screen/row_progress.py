"""A progress bar that counts rows: those a run has produced so far, or those read of it."""

from __future__ import annotations

from rich.progress import BarColumn, TextColumn, TimeElapsedColumn

from coreclaw_async.cli._screen.bar import Bar
from coreclaw_async.cli._screen.screen import Screen, plain

_WORD_WIDTH = 10
_BAR_WIDTH = 24  # So that all fits 80 columns, up to a hundred million rows.


class RowProgress(Bar):
    """
    A bar for rows.

    Args:
        screen: Where it is shown.
        word: What is going on.
        total: Rows to come, or None when nobody knows: the bar then only shows that something happens.
        is_hidden: Whether to show nothing, because the rows themselves are shown.
    """

    def __init__(self, screen: Screen, word: str, *, total: int | None, is_hidden: bool = False) -> None:
        super().__init__(
            screen,
            TextColumn(f"{{task.description:{_WORD_WIDTH}}}", markup=False),
            BarColumn(_BAR_WIDTH, complete_style="cyan", finished_style="green"),
            TextColumn("{task.fields[rows]}"),
            TimeElapsedColumn(),
            word=word,
            total=total,
            is_hidden=is_hidden,
        )
        self._total = total
        self._show(word, 0)

    def show(self, word: str, rows: int, total: int | None = None) -> None:
        """Show that there are so many *rows* by now, of *total* where that is known by now."""
        self._total = self._total if total is None else total
        self._show(word, rows)

    def end(self, word: str, rows: int) -> None:
        """Show that no further rows come."""
        self.show(word, rows, rows)

    def _show(self, word: str, rows: int) -> None:
        told = f"{rows:,} rows" if self._total is None or rows >= self._total else f"{rows:,} of {self._total:,} rows"
        self._bar.update(self._task, description=plain(word), completed=rows, total=self._total, rows=told)
