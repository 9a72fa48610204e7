"""A progress bar that counts bytes."""

from __future__ import annotations

from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
from rich.table import Column

from coreclaw_async.cli._screen.bar import Bar
from coreclaw_async.cli._screen.screen import Screen

# So that all fits 80 columns.
_NAME_WIDTH = 20
_BAR_WIDTH = 20


class TransferProgress(Bar):
    """
    A bar for a file.

    Args:
        screen: Where it is shown.
        name: What is transferred.
    """

    def __init__(self, screen: Screen, name: str) -> None:
        super().__init__(
            screen,
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, max_width=_NAME_WIDTH)),
            BarColumn(_BAR_WIDTH, complete_style="cyan", finished_style="green"),
            DownloadColumn(),
            TransferSpeedColumn(),
            word=name,
            total=None,
        )

    def show(self, done: int, total: int | None) -> None:
        """Show that so many bytes of *total* are there."""
        self._bar.update(self._task, completed=done, total=total)
