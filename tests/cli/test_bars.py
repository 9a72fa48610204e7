"""The progress bars: what they show in a terminal, and that they write nothing elsewhere."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from decimal import Decimal

import pytest
from cli.command_line import Terminal, without_escapes

from coreclaw_async.cli._screen.bars import RowProgress, RunProgress, TransferProgress
from coreclaw_async.cli._screen.screen import Screen
from coreclaw_async.models import Run


def progress_on(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch, *, total: int | None) -> str:
    """Return what a bar writes to *stream* for a run with 7 rows at its end."""
    monkeypatch.setenv("TERM", "xterm")
    with contextlib.redirect_stderr(stream), RowProgress(Screen(), "started", total=total) as progress:
        progress.show("running", 3)
        progress.show("[b]done\x1b[8m", 7, total=7)
    return stream.getvalue()


@pytest.mark.parametrize("total", [7, None])
def test_bar_in_a_terminal_shows_the_last_word_as_it_came_and_the_rows(
    monkeypatch: pytest.MonkeyPatch, total: int | None
) -> None:
    text = progress_on(Terminal(), monkeypatch, total=total)

    assert re.search(r"\[b\]done .* 7 rows", without_escapes(text))
    assert "\x1b[8m" not in text


@pytest.mark.parametrize("total", [4500, None])
def test_bar_shows_how_many_rows_there_are_once_that_is_known(
    monkeypatch: pytest.MonkeyPatch, total: int | None
) -> None:
    stream = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    with contextlib.redirect_stderr(stream), RowProgress(Screen(), "reading", total=None) as progress:
        progress.show("reading", 123, total)

    assert ("123 of 4,500 rows" if total else "123 rows") in without_escapes(stream.getvalue())


def test_bars_fit_eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    with contextlib.redirect_stderr(stream):
        with RowProgress(Screen(), "reading", total=None) as progress:
            progress.show("reading", 12_345_678, 123_456_789)
        with TransferProgress(Screen(), "a-name-that-has-no-end-" * 5) as transfer:
            transfer.show(999_000_000, 1_234_000_000)

    lines = [line.rstrip() for line in re.split(r"[\r\n]+", without_escapes(stream.getvalue()))]
    assert max(map(len, lines)) <= 80
    assert any("12,345,678 of 123,456,789 rows" in line for line in lines)
    assert any("a-name-that-has-no-" in line and "GB" in line for line in lines)


def test_bar_is_gone_when_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    assert progress_on(Terminal(), monkeypatch, total=7).endswith("\x1b[2K")


def test_nothing_is_written_when_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert progress_on(io.StringIO(), monkeypatch, total=7) == ""


def test_nothing_is_written_into_a_file_when_colours_are_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")

    assert progress_on(io.StringIO(), monkeypatch, total=7) == ""


def test_costs_are_shown_as_far_as_they_are_known(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    with RunProgress(Screen(), 2) as bar:
        bar.update(Run(run_id="A", status="ready"))
    told = without_escapes(capsys.readouterr().err)
    assert "ready" not in told
    assert "2 left" in told
    assert "rows" not in told
    with RunProgress(Screen(), 2) as bar:
        bar.update(Run(run_id="A", status="running", result_count=1_200))
    with RunProgress(Screen(), 2) as bar:
        bar.update(Run(run_id="A", status="running", result_count=1_200))
        bar.update(Run(run_id="B", status="running", usage=Decimal("0.25")))
        bar.end()

    first, _, second = without_escapes(capsys.readouterr().err).rpartition("1,200 rows  $0.25")
    assert "1,200 rows" in first
    assert "1 left" in first + second
