"""A line that is updated in place: below a cell of a notebook, or in a terminal."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any, Protocol

from coreclaw_async.progress import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

# Kernels pass on a limited number of messages a second.
_NOTEBOOK_SECONDS = 0.1


class Line(Protocol):
    """A line about one call."""

    def show(self, progress: Progress) -> None:
        """Show how far the call is."""
        ...

    def hide(self) -> None:
        """Leave the place to what the caller writes, where it is the same; the line may be shown again."""
        ...

    def end(self) -> None:
        """Show the last state where the line stays."""
        ...


def find_line() -> Line | None:
    """Return a line where somebody looks, or None: nothing is written into a pipe or a file."""
    shell = _shell()
    if hasattr(shell, "kernel"):
        return NotebookLine(sys.modules["IPython.display"])
    if sys.stderr is None or sys.stderr.closed or not sys.stderr.isatty():
        return None
    return TerminalLine(_terminal())


def _shell() -> Any:
    """Return the IPython that runs this program, or None; IPython is not imported for that."""
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()


class NotebookLine:
    """
    A line below the cell, which stays there in its last state.

    Args:
        display: The module ``IPython.display``.
    """

    def __init__(self, display: Any) -> None:
        self._display = display
        self._id = f"coreclaw-{uuid.uuid4().hex}"
        self._is_shown = False
        self._shown_at = float("-inf")
        self._waiting: Progress | None = None

    def show(self, progress: Progress) -> None:
        self._waiting = progress
        if time.monotonic() - self._shown_at >= _NOTEBOOK_SECONDS:
            self.end()

    def hide(self) -> None:
        """Do nothing: what a cell writes has another place."""

    def end(self) -> None:
        progress, self._waiting = self._waiting, None
        if progress is None:
            return
        self._shown_at = time.monotonic()
        text = {"text/plain": f"{progress.text}, {_duration(progress.elapsed)}"}
        self._display.display(text, raw=True, display_id=self._id, update=self._is_shown)
        self._is_shown = True


class TerminalLine:
    """
    A line in the terminal, gone when nothing is awaited any more.

    Args:
        lines: Those of all calls.
    """

    def __init__(self, lines: TerminalLines) -> None:
        self._lines = lines

    def show(self, progress: Progress) -> None:
        self._lines.show(self, progress)

    def hide(self) -> None:
        self._lines.hide(self)

    def end(self) -> None:
        """Do nothing: it is gone."""


class TerminalLines(Protocol):
    """The lines of all calls that are under way in this process; calls may come from several threads."""

    def show(self, line: TerminalLine, progress: Progress) -> None:
        """Show *line*."""
        ...

    def hide(self, line: TerminalLine) -> None:
        """Take *line* away, if it is there."""
        ...


class BarLines:
    """Lines with bars, by rich."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bars: Bars | None = None
        self._tasks: dict[TerminalLine, TaskID] = {}

    def show(self, line: TerminalLine, progress: Progress) -> None:
        with self._lock:
            if self._bars is None:
                self._bars = _new_bars()
            if line not in self._tasks:
                self._tasks[line] = self._bars.add_task(progress.text)
            # A task that is complete stops its clock.
            total = None if progress.total is None or progress.total <= progress.done else progress.total
            self._bars.update(self._tasks[line], description=progress.text, completed=progress.done, total=total)
            self._bars.start()

    def hide(self, line: TerminalLine) -> None:
        with self._lock:
            task = self._tasks.pop(line, None)
            if self._bars is None or task is None:
                return
            self._bars.remove_task(task)
            if not self._tasks:
                bars, self._bars = self._bars, None
                bars.stop()


def _new_bars() -> Bars:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )


class PlainLines:
    """One line for all calls, without rich."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._texts: dict[TerminalLine, str] = {}

    def show(self, line: TerminalLine, progress: Progress) -> None:
        with self._lock:
            self._texts[line] = f"{progress.text}, {_duration(progress.elapsed)}"
            self._draw()

    def hide(self, line: TerminalLine) -> None:
        with self._lock:
            if self._texts.pop(line, None) is not None:
                self._draw()

    def _draw(self) -> None:
        # A line that reached the last column would begin another one.
        room = shutil.get_terminal_size().columns - 1
        sys.stderr.write(f"\r{' | '.join(self._texts.values())[:room]}\x1b[K")
        sys.stderr.flush()


_BARS, _PLAIN = BarLines(), PlainLines()


def _terminal() -> TerminalLines:
    """Return the lines of this process."""
    return _PLAIN if importlib.util.find_spec("rich") is None else _BARS


def _duration(seconds: float) -> str:
    minutes, left = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{left:02}"
    return f"{minutes}:{left:02}" if minutes else f"{left} s"
