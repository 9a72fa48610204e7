"""The line that `progress=True` shows: below a cell, in a terminal with and without rich, and nowhere else."""

from __future__ import annotations

import io
import re
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from coreclaw_async._progress.reporter import Reporter
from coreclaw_async.progress import ProgressKind


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class BrokenTerminal(Terminal):
    def write(self, text: str) -> int:
        raise OSError("gone")


class Display:
    """Stands for ``IPython.display``."""

    def __init__(self) -> None:
        self.shown: dict[str, list[str]] = {}

    def display(self, data: dict[str, str], *, raw: bool, display_id: str, update: bool) -> None:
        assert raw
        assert update == (display_id in self.shown)
        self.shown.setdefault(display_id, []).append(data["text/plain"])


@pytest.fixture
def terminal_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Terminal]:
    """Make standard error a terminal; in the test itself, as pytest sets it anew after fixtures."""

    def begin() -> Terminal:
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        return terminal

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    return begin


@pytest.fixture
def no_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Display:
    display = Display()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=display)))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return display


def shown_reporter(kind: ProgressKind = "wait", now: Any = time.monotonic) -> Reporter:
    return Reporter(True, kind, now)


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)


def test_nothing_is_written_into_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.StringIO()
    monkeypatch.setattr(sys, "stderr", pipe)
    with shown_reporter() as reporter:
        reporter.tell("working", done=0)
    reporter.end()

    assert not reporter.is_on
    assert pipe.getvalue() == ""


def test_program_without_standard_error_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)

    assert not shown_reporter().is_on


def test_closed_standard_error_ends_no_call(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    closed = Terminal()
    monkeypatch.setattr(closed, "isatty", closed.fileno)
    monkeypatch.setattr(sys, "stderr", closed)

    with shown_reporter() as reporter:
        reporter.tell("working", done=0)
    assert caplog.text.count("progress could not be told") == 1


@pytest.mark.usefixtures("no_rich")
def test_plain_line_is_updated_in_place_and_gone_at_the_end(terminal_of: Callable[[], Terminal]) -> None:
    terminal = terminal_of()
    seconds = iter([0.0, 0.0, 75.0, 4_000.0])
    with shown_reporter(now=lambda: next(seconds)) as reporter:
        for done in range(3):
            reporter.tell(f"{done} of 3", done=done, total=3)
    reporter.end()

    assert terminal.getvalue() == "\r0 of 3, 0 s\x1b[K\r1 of 3, 1:15\x1b[K\r2 of 3, 1:06:40\x1b[K\r\x1b[K"


@pytest.mark.usefixtures("no_rich")
def test_plain_lines_of_several_calls_share_one_line_that_fits_the_terminal(
    terminal_of: Callable[[], Terminal],
) -> None:
    terminal = terminal_of()
    with shown_reporter(now=float) as first, shown_reporter(now=float) as second:
        first.tell("first", done=0)
        second.tell("second " + "x" * 200, done=0)
        assert all(len(plain(line)) < 80 for line in terminal.getvalue().split("\r"))
        first.__exit__(None, None, None)
        assert plain(terminal.getvalue().split("\r")[-1]).startswith("second xxx")
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_bars_are_shown_by_rich_and_gone_at_the_end(terminal_of: Callable[[], Terminal]) -> None:
    terminal = terminal_of()
    with shown_reporter() as first, shown_reporter() as second:
        first.tell("run 1: [bold]running[/]", done=0, total=1)
        second.tell("run 2: running", done=0, total=1)
        second.tell("run 2: succeeded", done=1, total=1)
    with first:
        first.tell("again", done=0)
    with first:
        pass

    text = plain(terminal.getvalue())
    assert "run 1: [bold]running[/]" in text
    assert "again" in text
    written = terminal.getvalue()
    assert "\x1b[2K" in written[written.rindex("again") :], "the line is erased"
    assert written.count("\x1b[?25l") == written.count("\x1b[?25h"), "the cursor is back"


def test_line_below_a_cell_is_updated_and_stays(notebook: Display) -> None:
    with shown_reporter(now=float) as reporter:
        for done in range(1_000):
            reporter.tell(f"{done} of 1000", done=done, total=1_000)
    reporter.end()
    reporter.end()

    ((lines),) = notebook.shown.values()
    assert lines[0] == "0 of 1000, 0 s"
    assert lines[-1] == "999 of 1000, 0 s"
    assert len(lines) < 100, "kernels pass on a limited number of messages a second"


def test_calls_in_one_cell_have_a_line_each(notebook: Display) -> None:
    for name in ("first", "second"):
        shown_reporter().tell(name, done=0)

    assert list(notebook.shown.values()) == [["first, 0 s"], ["second, 0 s"]]


def test_ipython_in_a_terminal_is_a_terminal(
    monkeypatch: pytest.MonkeyPatch, terminal_of: Callable[[], Terminal]
) -> None:
    terminal = terminal_of()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    with shown_reporter() as reporter:
        reporter.tell("working", done=0)

    assert "working" in terminal.getvalue()


@pytest.mark.usefixtures("no_rich")
def test_lost_terminal_ends_no_call(
    monkeypatch: pytest.MonkeyPatch, terminal_of: Callable[[], Terminal], caplog: pytest.LogCaptureFixture
) -> None:
    terminal_of()
    with shown_reporter() as reporter:
        reporter.tell("working", done=0)
        monkeypatch.setattr(sys, "stderr", BrokenTerminal())
        reporter.tell("working", done=1)
        reporter.tell("working", done=2)

    assert caplog.text.count("progress could not be told") == 1
    terminal = terminal_of()
    with shown_reporter() as other:
        other.tell("other", done=0)
    assert "other" in terminal.getvalue()
    assert "working" not in terminal.getvalue(), "what failed is shown beside no later call"
