"""The ids of paid runs are always shown somewhere, whatever the streams are and however a command ends."""

from __future__ import annotations

import io
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
import typer
from cli.command_line import Failing

from coreclaw_async import OutcomeUnknownError, ServiceError, events
from coreclaw_async._sync.loop_thread import NOT_ENDED
from coreclaw_async.cli._process.interrupts import TerminatedError
from coreclaw_async.cli._process.receipts import Receipts, current
from coreclaw_async.cli._process.streams import Unwritable
from coreclaw_async.cli._screen.output import STDIO
from coreclaw_async.cli.failures import ExitCode
from coreclaw_async.cli.guard import guarded

STARTED = events.RunStarted(operation="runWorker", run_id="01A")
UNKNOWN = events.StartUnknown(operation="runWorker", candidates=None)
LOOK = "A run may have been started, and may cost money; to look:  coreclaw-async runs --since 1h\n"


@pytest.fixture(autouse=True)
def last_resort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "coreclaw-async" / "untold-runs.txt"


class Interrupted(io.StringIO):
    """A stream during whose writing somebody presses Ctrl-C."""

    def write(self, text: str) -> int:
        raise KeyboardInterrupt


def ended(command: Callable[..., None], *, json: bool = False, output: Path | None = None) -> int:
    """Run a command as the command line does; return its exit code."""
    try:
        guarded(command)(json=json, output=output)
    except typer.Exit as left:
        return left.exit_code
    return 0


def test_a_run_is_told_of_on_standard_output_where_standard_error_is_closed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stderr", Unwritable("stderr"))
    receipts = Receipts()
    receipts.note(STARTED)

    receipts.tell_left()
    receipts.tell_left()

    assert capsys.readouterr().out == "Run 01A was started and costs money.\n"
    assert not receipts.is_told_elsewhere


def test_programs_read_an_object(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stderr", Unwritable("stderr"))
    receipts = Receipts(as_json=True)
    receipts.note(STARTED)
    receipts.may_have_paid()

    receipts.tell_left()

    assert [json.loads(line)["run_id"] for line in capsys.readouterr().out.splitlines()] == ["01A", None]


def test_an_interrupt_does_not_keep_a_run_from_being_told_of(
    monkeypatch: pytest.MonkeyPatch, last_resort: Path
) -> None:
    monkeypatch.setattr(sys, "stderr", Interrupted())
    receipts = Receipts()
    receipts.note(STARTED)

    receipts.tell_left()

    # At the terminal of whoever runs the tests, where there is one.
    assert receipts.is_told_elsewhere
    assert not last_resort.exists() or "01A" in last_resort.read_text()


def test_each_candidate_is_told_of_and_one_without_a_name_too(capsys: pytest.CaptureFixture[str]) -> None:
    receipts = Receipts()
    receipts.note(attrs.evolve(UNKNOWN, candidates=["01B", "01C"], run_id="01A"))
    receipts.note(UNKNOWN)

    receipts.tell_left()

    assert capsys.readouterr().err == (
        "".join(f"Run {run_id} may have been started by this command.\n" for run_id in ("01A", "01B", "01C")) + LOOK
    )
    assert receipts.is_unknown


def test_nobody_is_told_twice(capsys: pytest.CaptureFixture[str]) -> None:
    receipts = Receipts()
    receipts.note(STARTED)
    receipts.may_have_paid()
    receipts.was_written("run 01A")
    receipts.was_written("A run may have been started, and may cost money. Look before you start another one:")

    receipts.tell_left()

    assert capsys.readouterr().err == ""


def test_an_interrupt_right_after_the_answer_names_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    def command(*, json: bool, output: Path | None) -> None:
        current().is_starting = True
        current().note(STARTED)
        raise KeyboardInterrupt

    assert ended(command, json=True) == 130
    out, err = capsys.readouterr()
    assert json.loads(out) == {"run_id": "01A", "exit_code": 130, "error": "interrupted"}
    assert err == "Interrupted.\n"


def test_an_interrupt_before_the_start_has_left_is_an_interrupt(capsys: pytest.CaptureFixture[str]) -> None:
    def command(*, json: bool, output: Path | None) -> None:
        current().is_starting = True
        raise TerminatedError(15)

    assert ended(command) == 143
    assert capsys.readouterr().err == "Interrupted.\n"


def test_a_start_that_nobody_waits_for_any_more_may_have_brought_about_a_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def command(*, json: bool, output: Path | None) -> None:
        current().is_starting = True
        interrupt = KeyboardInterrupt()
        interrupt.add_note(NOT_ENDED)
        raise interrupt

    assert ended(command, json=True) == 4
    out, err = capsys.readouterr()
    assert json.loads(out)["exit_code"] == 4
    assert err == f"Interrupted.\n  {NOT_ENDED}\n{LOOK}"


def test_two_interrupts_leave_a_start_open(capsys: pytest.CaptureFixture[str]) -> None:
    def command(*, json: bool, output: Path | None) -> None:
        current().is_starting = True
        try:
            raise KeyboardInterrupt
        finally:
            raise KeyboardInterrupt

    assert ended(command) == 4
    assert LOOK in capsys.readouterr().err


def test_the_second_interrupt_does_not_hide_what_the_first_has_found(capsys: pytest.CaptureFixture[str]) -> None:
    def command(*, json: bool, output: Path | None) -> None:
        current().is_starting = True
        try:
            raise KeyboardInterrupt from OutcomeUnknownError("lost", candidates=["01B"])
        finally:
            raise KeyboardInterrupt

    assert ended(command, json=True) == 4
    out, err = capsys.readouterr()
    assert json.loads(out)["candidates"] == ["01B"]
    assert "candidate: run 01B" in err


def test_an_interrupt_of_the_words_about_an_interrupt_ends_them_and_no_more(
    monkeypatch: pytest.MonkeyPatch, last_resort: Path
) -> None:
    def command(*, json: bool, output: Path | None) -> None:
        current().note(UNKNOWN)
        monkeypatch.setattr(sys, "stderr", Interrupted())
        raise KeyboardInterrupt

    assert ended(command) == 4
    assert not last_resort.exists() or LOOK.strip() in last_resort.read_text()


def test_what_fails_after_an_interrupt_is_told_as_the_interrupt(capsys: pytest.CaptureFixture[str]) -> None:
    def command(*, json: bool, output: Path | None) -> None:
        try:
            raise TerminatedError(1)
        finally:
            raise OSError(5, "Input/output error")

    assert ended(command, json=True) == 129
    out, err = capsys.readouterr()
    assert json.loads(out) == {"run_id": None, "exit_code": 129, "error": "interrupted"}
    assert err == "Interrupted.\n"


def test_a_failure_after_a_start_names_the_run_and_is_no_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    def command(*, json: bool, output: Path | None) -> None:
        current().note(STARTED)
        raise ValueError("odd")

    assert ended(command, json=True) == ExitCode.SERVICE
    assert json.loads(capsys.readouterr().out) == {"run_id": "01A", "exit_code": 3, "error": "odd"}


def test_nothing_but_rows_stands_among_rows(capsys: pytest.CaptureFixture[str]) -> None:
    def command(*, json: bool, output: Path | None) -> None:
        current().note(STARTED)
        raise ServiceError("busy")

    assert ended(command, json=True, output=STDIO) == ExitCode.SERVICE
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "busy\nRun 01A was started and costs money.\n"


def test_a_signal_that_would_end_the_process_is_an_interrupt(capsys: pytest.CaptureFixture[str]) -> None:
    def command(*, json: bool, output: Path | None) -> None:
        signal.raise_signal(signal.SIGTERM)

    assert ended(command) == 143
    assert capsys.readouterr().err == "Interrupted.\n"


def test_who_leaves_the_prompt_for_the_key_is_told_that_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    def command(*, json: bool, output: Path | None) -> None:
        raise typer.Abort

    assert ended(command) == 2
    assert "there is no key" in capsys.readouterr().err


@pytest.mark.parametrize(("error", "code"), [(OSError(28, "No space left on device"), 7), (BrokenPipeError(), 0)])
def test_standard_output_that_cannot_be_written_is_told_unless_the_reader_has_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: OSError, code: int
) -> None:
    def command(*, json: bool, output: Path | None) -> None:
        sys.stdout.write("x")

    monkeypatch.setattr(sys, "stdout", Failing(error))

    assert ended(command) == code
    assert ("Standard output cannot be written" in capsys.readouterr().err) is (code == 7)
