"""A progress bar that counts bytes."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from coreclaw_async.cli.screen import Screen, plain


class TransferProgress:
    """
    A bar on standard error, gone when the ``with`` block ends; nothing at all when that is no terminal.

    Args:
        screen: Where it is shown.
        name: What is transferred.
    """

    def __init__(self, screen: Screen, name: str) -> None:
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(complete_style="cyan", finished_style="green"),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=screen.err,
            transient=True,
            disable=not screen.shows_progress,
        )
        self._task = self._bar.add_task(plain(name), total=None)

    def __enter__(self) -> Self:
        if not self._bar.disable:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Some versions of rich write an empty line when a bar stops that was never shown.
        if not self._bar.disable:
            self._bar.stop()

    def show(self, done: int, total: int | None) -> None:
        """Show that so many bytes of *total* are there."""
        self._bar.update(self._task, completed=done, total=total)
