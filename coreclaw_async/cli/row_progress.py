"""A progress bar that counts rows: those a run has produced so far, or those read of it."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from coreclaw_async.cli.screen import Screen, plain

_WORD_WIDTH = 10


class RowProgress:
    """
    A bar on standard error, gone when the ``with`` block ends; nothing at all when that is no terminal.

    Args:
        screen: Where it is shown.
        word: What is going on.
        total: Rows to come, or None when nobody knows: the bar then only shows that something happens.
        is_hidden: Whether to show nothing, because the rows themselves are shown.
    """

    def __init__(self, screen: Screen, word: str, *, total: int | None, is_hidden: bool = False) -> None:
        self._bar = Progress(
            TextColumn(f"{{task.description:{_WORD_WIDTH}}}", markup=False),
            BarColumn(complete_style="cyan", finished_style="green"),
            TextColumn("{task.completed} rows"),
            TimeElapsedColumn(),
            console=screen.err,
            transient=True,
            disable=is_hidden or not screen.shows_progress,
        )
        self._task = self._bar.add_task(word, total=total)

    def __enter__(self) -> Self:
        if not self._bar.disable:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Some versions of rich write an empty line when a bar stops that was never shown.
        if not self._bar.disable:
            self._bar.stop()

    def show(self, word: str, rows: int) -> None:
        """Show that there are so many *rows* by now."""
        self._bar.update(self._task, description=plain(word), completed=rows)

    def end(self, word: str, rows: int) -> None:
        """Show that no further rows come."""
        self._bar.update(self._task, description=plain(word), completed=rows, total=rows)
