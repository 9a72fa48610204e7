"""Standard streams that are closed, full or abandoned: lost output is an error, and exit is silent."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from coreclaw_async.__main__ import main
from coreclaw_async.cli._process import streams
from coreclaw_async.cli._screen.bars import RunProgress
from coreclaw_async.cli._screen.screen import Screen
from coreclaw_async.testing import FakeService, RunScript

WORKER = "coreclaw/google-maps-scraper"


@pytest.fixture(autouse=True)
def _streams_as_they_were(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("stdin", "stdout", "stderr", "__stdout__", "__stderr__"):
        monkeypatch.setattr(sys, name, getattr(sys, name))
    yield
    streams.restore()


def full(name: streams.Name, monkeypatch: pytest.MonkeyPatch) -> io.TextIOWrapper:
    """Put a full disk behind a stream."""
    stream = Path("/dev/full").open("w", encoding="utf-8")  # noqa: SIM115 - the test closes it
    monkeypatch.setattr(sys, name, stream)
    monkeypatch.setattr(sys, f"__{name}__", stream)
    streams.prepare()
    return stream


def terminal_behind_standard_error(monkeypatch: pytest.MonkeyPatch) -> tuple[int, TextIO, Screen]:
    """Put a terminal behind standard error; return its other end, the stream, which the test closes, and a screen."""
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs = pty.openpty()
    terminal = open(theirs, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - a number has no path
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(sys, "__stderr__", terminal)
    streams.prepare()
    return ours, terminal, Screen()


def test_a_full_disk_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = full("stdout", monkeypatch)
    sys.stdout.write("x")

    with pytest.raises(OSError, match="No space left"):
        sys.stdout.flush()
    failure = streams.failure_of("stdout")
    streams.give_up("stdout")
    raw.close()

    assert isinstance(failure, OSError)
    assert failure.strerror == "No space left on device"


def test_long_text_fails_as_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = full("stdout", monkeypatch)

    with pytest.raises(OSError, match="No space left"):
        sys.stdout.write("x" * 2 * io.DEFAULT_BUFFER_SIZE)
    assert streams.failure_of("stdout") is not None
    streams.give_up("stdout")
    raw.close()


def test_what_was_given_up_takes_nothing_and_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = full("stdout", monkeypatch)
    assert not sys.stdout.isatty()
    streams.give_up("stdout")

    with pytest.raises(OSError, match="given up"):
        sys.stdout.write("x")
    assert not sys.stdout.isatty()
    streams.restore()
    assert sys.stdout is raw
    raw.close()  # The stream below is not the watcher's to close, and its buffer must still be written.


def test_a_stream_that_is_no_file_is_given_up_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())

    streams.give_up("stderr")

    assert not Screen().complain("x")


def test_a_closed_stream_is_an_error_and_not_a_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    streams.prepare()

    assert sys.stdin.read() == ""
    assert sys.stdout.write("") == 0
    assert not sys.stdout.isatty()
    with pytest.raises(io.UnsupportedOperation):
        sys.stdout.fileno()
    assert streams.failure_of("stdout") is None  # Nobody has tried.
    with pytest.raises(OSError, match="standard output is closed"):
        sys.stdout.write("x")
    assert streams.failure_of("stdout") is not None


@pytest.mark.parametrize("is_aside", [True, False])
def test_a_terminal_that_goes_away_while_a_bar_is_shown_ends_no_command_and_swallows_no_word(
    monkeypatch: pytest.MonkeyPatch, *, is_aside: bool
) -> None:
    ours, terminal, screen = terminal_behind_standard_error(monkeypatch)
    with RunProgress(screen, 1) as bar:
        os.close(ours)
        with bar.aside() if is_aside else contextlib.nullcontext():
            assert not screen.complain("Run 01A is running")
        assert not screen.complain("Run 01A is running")
    assert not screen.complain("Run 01A is running")
    with RunProgress(screen, 1):
        pass
    assert not screen.shows_progress
    terminal.close()


def test_a_bar_whose_terminal_has_gone_ends_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, terminal, screen = terminal_behind_standard_error(monkeypatch)
    with RunProgress(screen, 1):
        os.close(ours)

    assert not screen.shows_progress
    terminal.close()


def told(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> tuple[object, str]:
    """Run a command whose standard output is closed; return its exit code and what stands on standard error."""
    err = io.StringIO()
    monkeypatch.setattr(sys, "argv", ["coreclaw-async", *arguments])
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", err)
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code, err.getvalue()


def test_the_place_of_a_closed_descriptor_is_taken_by_nothing_that_could_be_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = os.dup(0)
    monkeypatch.setattr(sys, "stdin", None)
    os.close(0)
    try:
        streams.prepare()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(0, b"x")
    finally:
        os.dup2(kept, 0)
        os.close(kept)


def test_all_runs_are_stopped_also_where_nothing_can_be_printed(
    served: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [served.add_run(WORKER, script=RunScript(duration=600)) for _ in range(2)]

    code, err = told(["abort", *runs, "01M8B1QYTYP0TYP0TYP0TYP0TY", "--json"], monkeypatch)

    assert code == 3
    assert [f"Asked to abort run {run_id}." in err for run_id in runs] == [True, True]
    assert "Standard output cannot be written" in err


def test_all_runs_are_waited_for_also_where_nothing_can_be_printed(
    served: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [served.add_run(WORKER, script=RunScript(duration=0, outcome="failed")) for _ in range(2)]

    code, err = told(["wait", *runs], monkeypatch)

    assert code == 1
    assert [f"run {run_id} ended as failed" in err for run_id in runs] == [True, True]


def test_a_run_that_nobody_has_seen_is_not_said_to_go_on(served: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, unseen = served.add_run(WORKER, script=RunScript(duration=600)), "01M8B1QYTYP0TYP0TYP0TYP0TY"

    code, err = told(["wait", seen, unseen, "--timeout", "0.6", "--json"], monkeypatch)

    assert code == 5
    assert f"Never seen: {unseen}. It is unknown whether that is running.\n" in err
    assert f"Run {seen} is still running and costs money.\n" in err


def test_a_wait_for_a_run_that_nobody_has_seen_says_no_more(
    served: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, err = told(["wait", "01M8B1QYTYP0TYP0TYP0TYP0TY", "--timeout", "0.3"], monkeypatch)

    assert code == 5
    assert "is still running and costs" not in err
