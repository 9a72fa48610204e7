"""A progress bar on standard error, gone when its block ends."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.progress import Progress, ProgressColumn

from coreclaw_async.cli._process import streams
from coreclaw_async.cli._screen.screen import Screen, plain


class Bar:
    """
    A bar with one task; nothing at all when standard error is no terminal.

    Args:
        screen: Where it is shown.
        columns: What it is made of.
        word: What is going on.
        total: How much is to come, or None when nobody knows: the bar then only shows that something happens.
        is_hidden: Whether to show nothing.
        found: What else there is by now, for columns that show it.
    """

    def __init__(
        self,
        screen: Screen,
        *columns: ProgressColumn,
        word: str,
        total: int | None,
        is_hidden: bool = False,
        found: str = "",
    ) -> None:
        self._screen = screen
        self._is_shown = False
        self._bar = Progress(
            *columns,
            console=screen.err,
            transient=True,
            disable=is_hidden or not screen.shows_progress,
            # Else what goes to a file or another program would be printed above the bar.
            redirect_stdout=False,
        )
        self._task = self._bar.add_task(plain(word), total=total, found=found)

    def __enter__(self) -> Self:
        if not self._bar.disable and self._screen.shows_progress:
            self._is_shown = True
            with _gone_unless_seen():
                self._bar.start()
        return self

    @contextmanager
    def aside(self) -> Generator[None]:
        """Take the bar away while something else is printed."""
        self.__exit__(None, None, None)
        try:
            yield
        finally:
            self.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Some versions of rich write an empty line when a bar stops that was never shown.
        if self._is_shown:
            self._is_shown = False
            with _gone_unless_seen():
                self._bar.stop()


@contextmanager
def _gone_unless_seen() -> Generator[None]:
    """Let no command end because its terminal has gone away, with which its bar has."""
    try:
        yield
    except OSError:
        streams.give_up("stderr")
