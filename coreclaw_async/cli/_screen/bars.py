"""Progress bars on standard error, gone when their blocks end: for rows, for runs, and for bytes."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from decimal import Decimal
from types import TracebackType
from typing import Self

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)
from rich.table import Column

from coreclaw_async._data.counting import counted
from coreclaw_async.cli._process import streams
from coreclaw_async.cli._screen.screen import Screen, money, plain
from coreclaw_async.models import Run

# With these all fits 80 columns, up to a hundred million rows.
_WORD_WIDTH = 10
_BAR_WIDTH = 20
_NAME_WIDTH = 20


class Bar:
    """
    A bar with one task; nothing at all when standard error is no terminal.

    Args:
        screen: Where it is shown.
        columns: Its parts.
        word: What is in progress.
        total: The expected amount, or None when nobody knows: the bar then only shows that something happens.
        is_hidden: Whether to show nothing.
    """

    def __init__(
        self, screen: Screen, *columns: ProgressColumn, word: str, total: int | None, is_hidden: bool = False
    ) -> None:
        self._screen = screen
        self._is_shown = False
        self._bar = Progress(
            *columns,
            console=screen.err,
            transient=True,
            disable=is_hidden or not screen.shows_progress,
            # Otherwise rich prints above the bar what goes to a file or to another program.
            redirect_stdout=False,
        )
        self._task = self._bar.add_task(plain(word), total=total, found="")

    def __enter__(self) -> Self:
        if not self._bar.disable and self._screen.shows_progress:
            self._is_shown = True
            with _ended_by_no_lost_terminal():
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
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Some versions of rich write an empty line when they stop a bar that was never shown.
        if self._is_shown:
            self._is_shown = False
            with _ended_by_no_lost_terminal():
                self._bar.stop()


@contextmanager
def _ended_by_no_lost_terminal() -> Generator[None]:
    """Let the command go on when its terminal, and with it the bar, has gone."""
    try:
        yield
    except OSError:
        streams.give_up("stderr")


class _CountingBar(Bar):
    """A bar between a word and what was found so far, and the time that it has taken."""

    def __init__(self, screen: Screen, word: str, total: int | None, *, is_hidden: bool = False) -> None:
        super().__init__(
            screen,
            TextColumn(f"{{task.description:{_WORD_WIDTH}}}", markup=False),
            BarColumn(_BAR_WIDTH, complete_style="cyan", finished_style="green"),
            TextColumn("{task.fields[found]}", markup=False),
            TimeElapsedColumn(),
            word=word,
            total=total,
            is_hidden=is_hidden,
        )


class RowProgress(_CountingBar):
    """
    A bar that counts rows: those that a run has produced so far, or those that were read.

    Args:
        screen: Where it is shown.
        word: What is in progress.
        total: The expected rows, or None when nobody knows.
        is_hidden: Whether to show nothing, because the rows themselves are shown.
    """

    def __init__(self, screen: Screen, word: str, *, total: int | None, is_hidden: bool = False) -> None:
        super().__init__(screen, word, total, is_hidden=is_hidden)
        self._total = total
        self.show(word, 0)

    def show(self, word: str, rows: int, total: int | None = None) -> None:
        """Show the number of *rows* so far, and a *total* that has become known."""
        self._total = self._total if total is None else total
        most = self._total
        found = counted(rows, "row") if most is None or rows >= most else f"{rows:,} of {counted(most, 'row')}"
        self._bar.update(self._task, description=plain(word), completed=rows, total=self._total, found=found)


class RunProgress(_CountingBar):
    """A bar for runs that are waited for: how many are left, their rows, and what they cost so far."""

    def __init__(self, screen: Screen, runs: int) -> None:
        super().__init__(screen, "waiting", None if runs == 1 else runs)
        self._left = runs
        self._rows: dict[str, int] = {}
        self._costs: dict[str, Decimal] = {}

    def update(self, run: Run) -> None:
        """Show a run as it is now; the client calls this in its own thread."""
        if run.result_count is not None:
            self._rows[run.run_id] = run.result_count
        if run.usage is not None:
            self._costs[run.run_id] = run.usage
        self._show(str(run.status or "") if self._left == 1 else f"{self._left} left")

    def end(self) -> None:
        """Show that one of the runs has ended."""
        self._left -= 1
        self._bar.advance(self._task)
        self._show(f"{self._left} left")

    def _show(self, word: str) -> None:
        found: list[str] = []
        if self._rows:
            found.append(counted(sum(list(self._rows.values())), "row"))
        if self._costs:
            found.append(money(sum(list(self._costs.values()), Decimal(0))))
        self._bar.update(self._task, description=plain(word), found="  ".join(found))


class TransferProgress(Bar):
    """A bar that counts the bytes of a file."""

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
        """Show how many bytes of *total* have arrived."""
        self._bar.update(self._task, completed=done, total=total)
