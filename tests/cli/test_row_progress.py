"""The progress bar: what it shows in a terminal, and that it keeps quiet elsewhere."""

from __future__ import annotations

import contextlib
import io
import re

import pytest
from cli.command_line import without_escapes

from coreclaw_async.cli.row_progress import RowProgress
from coreclaw_async.cli.screen import Screen


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def progress_on(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch, *, total: int | None) -> str:
    """Return what a bar writes to *stream* for a run with 7 rows at its end."""
    monkeypatch.setenv("TERM", "xterm")
    with contextlib.redirect_stderr(stream), RowProgress(Screen(), "started", total=total) as progress:
        progress.show("running", 3)
        progress.end("[b]done\x1b[8m", 7)
    return stream.getvalue()


@pytest.mark.parametrize("total", [7, None])
def test_bar_in_a_terminal_shows_the_last_word_as_it_came_and_the_rows(
    monkeypatch: pytest.MonkeyPatch, total: int | None
) -> None:
    text = progress_on(Terminal(), monkeypatch, total=total)

    assert re.search(r"\[b\]done .* 7 rows", without_escapes(text))
    assert "\x1b[8m" not in text


def test_bar_is_gone_when_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    assert progress_on(Terminal(), monkeypatch, total=7).endswith("\x1b[2K")


def test_nothing_is_written_when_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert progress_on(io.StringIO(), monkeypatch, total=7) == ""


def test_nothing_is_written_into_a_file_when_colours_are_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")

    assert progress_on(io.StringIO(), monkeypatch, total=7) == ""
