"""How every command ends: its failures in words and as an object, the exit code, and the runs that it has paid for."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, ParamSpec, get_type_hints

import attrs
import typer

from coreclaw_async._sync.loop_thread import NOT_ENDED
from coreclaw_async.cli._process import streams
from coreclaw_async.cli._process.interrupts import exit_code, signals_that_interrupt
from coreclaw_async.cli._process.receipts import UNDER_WAY, Receipts, current
from coreclaw_async.cli._screen.output import STDIO, print_json
from coreclaw_async.cli._screen.screen import ERR, Screen, error_console
from coreclaw_async.cli.failures import ExitCode, failure_object, tell_error
from coreclaw_async.cli.outage_news import NEWS, OutageNews
from coreclaw_async.cli.session import NO_KEY
from coreclaw_async.errors import CoreClawError, OutcomeUnknownError

P = ParamSpec("P")


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """
    Return *command* with its failures told in words, and as an object with ``--json``; each outcome with an exit code.

    However it ends, the runs that it has paid for are told of.
    """
    # Typer asks for them three times, and would else compile their source each time.
    command.__annotations__ = get_type_hints(command, include_extras=True)

    @functools.wraps(command)
    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        # Among rows nothing stands that is none.
        as_json = bool(kwargs.get("json")) and kwargs.get("output") != STDIO
        with signals_that_interrupt(), _under_way(as_json=as_json) as receipts:
            ending = _Ending(receipts, Screen(), as_json=as_json)
            try:
                code = ending.code_of(lambda: command(*args, **kwargs))
            except KeyboardInterrupt as again:  # Of somebody who does not want to wait for more words.
                code = code_after(again)
            finally:
                receipts.tell_left()
        if code or receipts.is_told_elsewhere:
            raise typer.Exit(code or ExitCode.NOT_WRITTEN)

    return call


@contextmanager
def _under_way(*, as_json: bool) -> Generator[Receipts]:
    """Have all that this command does share what it has paid for, and what writes to standard error."""
    receipts = Receipts(as_json)
    set_receipts, set_console = UNDER_WAY.set(receipts), ERR.set(error_console())
    set_news = NEWS.set(OutageNews(Screen()))
    try:
        yield receipts
    finally:
        NEWS.reset(set_news)
        ERR.reset(set_console)
        UNDER_WAY.reset(set_receipts)


@attrs.frozen
class _Ending:
    """
    The end of a command.

    Attributes:
        receipts: What it has paid for.
        screen: Where failures are told.
        as_json: Whether programs are told too.
    """

    receipts: Receipts
    screen: Screen
    as_json: bool = attrs.field(kw_only=True)

    def code_of(self, command: Callable[[], None]) -> int:
        """Run a command and return its exit code."""
        code = self._run(command)
        lost = streams.failure_of("stdout")
        if lost is None:
            return code
        streams.give_up("stdout")
        if isinstance(lost, BrokenPipeError) and not self.receipts.has_paid:
            return code  # Whoever read has had enough.
        self.screen.complain(f"Standard output cannot be written: {lost.strerror or lost}.")
        return code or ExitCode.NOT_WRITTEN

    def _run(self, command: Callable[[], None]) -> int:
        try:
            command()
        except typer.Exit as ended:
            return ended.exit_code
        except CoreClawError as error:
            code = tell_error(self.screen, error)
            self._tell_programs(failure_object(error, code, self.receipts.run_id))
            return code
        except KeyboardInterrupt as interrupt:
            return self._interrupted(interrupt)
        except typer.Abort as left:  # Somebody left the prompt for the key.
            return self._failed(ExitCode.USAGE, NO_KEY, left)
        except OSError as error:
            return self._not_written(error)
        except ValueError as error:
            return self._failed(ExitCode.SERVICE if self.receipts.has_paid else ExitCode.USAGE, str(error), error)
        return 0

    def _failed(self, code: ExitCode, why: str, error: Exception) -> int:
        """Say why a command has failed; what it failed with may have come of an interrupt."""
        interrupts = _in_a_row(error)
        if interrupts:
            return self._interrupted(interrupts[0])
        self.screen.complain(why)
        self._tell_programs(self._failure(code, why))
        return code

    def _not_written(self, error: OSError) -> int:
        """Say what could not be written; of standard output the end says it."""
        if streams.failure_of("stdout") is not None:
            return 0
        return self._failed(ExitCode.NOT_WRITTEN, f"It could not be written: {error}", error)

    def _interrupted(self, interrupt: KeyboardInterrupt) -> int:
        code = tell_interrupt(self.screen, interrupt)
        unknown = _unknown_outcome(interrupt)
        if unknown is not None:
            self._tell_programs(failure_object(unknown, code))
        else:
            self._tell_programs(self._failure(code, "interrupted"))
        return code

    def _tell_programs(self, failure: dict[str, Any]) -> None:
        if self.as_json:
            with contextlib.suppress(OSError):  # It was told on standard error too, and the end looks at the stream.
                print_json([failure])

    def _failure(self, code: int, why: str) -> dict[str, Any]:
        return {"run_id": self.receipts.run_id, "exit_code": int(code), "error": why}


def tell_interrupt(screen: Screen, interrupt: KeyboardInterrupt) -> int:
    """Say what an interrupted call may have brought about, and return the exit code."""
    screen.complain("Interrupted.")
    unknown = _unknown_outcome(interrupt)
    if unknown is not None:
        return tell_error(screen, unknown)
    for note in _notes(interrupt):
        screen.complain(f"  {note}")
    return code_after(interrupt)


def code_after(interrupt: KeyboardInterrupt) -> int:
    """Return the exit code of an interrupted command, and record a start whose end nobody has seen."""
    receipts = current()
    # An interrupt that came alone says how the call ended; a call that was cancelled before it left ends without a run.
    if receipts.is_starting and (len(_in_a_row(interrupt)) > 1 or NOT_ENDED in _notes(interrupt)):
        receipts.may_have_paid()
    return ExitCode.OUTCOME_UNKNOWN if receipts.is_unknown else exit_code(interrupt)


def _in_a_row(last: BaseException) -> list[KeyboardInterrupt]:
    """Return the interrupts that an error has come of, the last one first: each has interrupted what the next began."""
    found: list[KeyboardInterrupt] = []
    error: BaseException | None = last
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            found.append(error)
        error = error.__context__
    return found


def _notes(interrupt: KeyboardInterrupt) -> list[str]:
    return [note for one in _in_a_row(interrupt) for note in getattr(one, "__notes__", ())]


def _unknown_outcome(interrupt: KeyboardInterrupt) -> OutcomeUnknownError | None:
    causes = (one.__cause__ for one in _in_a_row(interrupt))
    return next((cause for cause in causes if isinstance(cause, OutcomeUnknownError)), None)
