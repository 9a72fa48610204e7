"""How every command ends: it reports its failure and the runs that it has paid for, and returns an exit code."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast, get_type_hints

import attrs
import typer

from coreclaw_async._sync.loop_thread import NOT_ENDED
from coreclaw_async.cli._process import streams
from coreclaw_async.cli._process.interrupts import exit_code, note_end, signals_that_interrupt
from coreclaw_async.cli._process.receipts import UNDER_WAY, Receipts, current
from coreclaw_async.cli._screen.output import STDIO, print_json
from coreclaw_async.cli._screen.screen import ERR, Screen, error_console
from coreclaw_async.cli.failures import ExitCode, failure_object, tell_error
from coreclaw_async.cli.options import BaseUrl, KeyFile
from coreclaw_async.cli.outage_news import NEWS, OutageNews
from coreclaw_async.cli.session import CONNECTION, NO_KEY, Connection
from coreclaw_async.errors import CoreClawError, OutcomeUnknownError


def guarded(command: Callable[..., None], *, needs_key: bool = True) -> Callable[..., None]:
    """
    Return *command* with the options by which it reaches the service, and with a proper end.

    Its failures become messages and exit codes, and with ``--json`` objects too. However it ends, the runs that it has
    paid for are reported.
    """

    @functools.wraps(command)
    def call(*, api_key_file: Path | None = None, base_url: str | None = None, **kwargs: Any) -> None:
        # Only rows go to a standard output that was asked for rows.
        as_json = bool(kwargs.get("json")) and kwargs.get("output") != STDIO
        connection = Connection(api_key_file, base_url, needs_key)
        with signals_that_interrupt(), _under_way(connection, as_json=as_json) as receipts:
            ending = _Ending(receipts, Screen(), as_json=as_json)
            try:
                try:
                    code = ending.code_of(lambda: command(**kwargs))
                except KeyboardInterrupt as again:  # The user does not want to wait for more messages.
                    code = code_after(again)
                note_end(code)
            finally:
                receipts.tell_left()
            if receipts.is_told_elsewhere:
                code = code or ExitCode.NOT_WRITTEN
                note_end(code)
        if code:
            raise typer.Exit(code)

    options = {"api_key_file": KeyFile, "base_url": BaseUrl} if needs_key else {"base_url": BaseUrl}
    _declare(call, command, options)
    return call


def _declare(call: Callable[..., None], command: Callable[..., None], options: dict[str, Any]) -> None:
    """Give *call* the parameters of *command* and *options*; typer reads types much faster than their source."""
    hints = {**get_type_hints(command, include_extras=True), **options}
    parameters = [
        *inspect.signature(command).parameters.values(),
        *(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None) for name in options),
    ]
    typed = [parameter.replace(annotation=hints[parameter.name]) for parameter in parameters]
    call.__annotations__ = hints
    cast("Any", call).__signature__ = inspect.Signature(typed)


@contextmanager
def _under_way(connection: Connection, *, as_json: bool) -> Generator[Receipts]:
    """Share one connection, set of receipts, console for errors and outage report within this command."""
    receipts = Receipts(as_json)
    set_receipts, set_console = UNDER_WAY.set(receipts), ERR.set(error_console())
    set_news, set_connection = NEWS.set(OutageNews(Screen())), CONNECTION.set(connection)
    try:
        yield receipts
    finally:
        CONNECTION.reset(set_connection)
        NEWS.reset(set_news)
        ERR.reset(set_console)
        UNDER_WAY.reset(set_receipts)


@attrs.frozen
class _Ending:
    """
    Turns the end of a command into messages and an exit code.

    Attributes:
        receipts: The runs that it has paid for.
        screen: Where failures are shown.
        as_json: Whether they are printed as objects too.
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
            return code  # The reader has left.
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
        except typer.Abort as left:  # The user left the prompt for the key.
            return self._failed(ExitCode.USAGE, NO_KEY, left)
        except OSError as error:
            return self._not_written(error)
        except ValueError as error:
            return self._failed(ExitCode.SERVICE if self.receipts.has_paid else ExitCode.USAGE, str(error), error)
        return 0

    def _failed(self, code: ExitCode, why: str, error: Exception) -> int:
        """Report why a command has failed; the error may be the result of an interrupt."""
        interrupts = _in_a_row(error)
        if interrupts:
            return self._interrupted(interrupts[0])
        self.screen.complain(why)
        self._tell_programs(self._failure(code, why))
        return code

    def _not_written(self, error: OSError) -> int:
        """Report a file that could not be written; `code_of` reports standard output."""
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
            with contextlib.suppress(OSError):  # Standard error has it too, and `code_of` checks the stream.
                print_json([failure])

    def _failure(self, code: int, why: str) -> dict[str, Any]:
        return {"run_id": self.receipts.run_id, "exit_code": int(code), "error": why}


def tell_interrupt(screen: Screen, interrupt: KeyboardInterrupt) -> int:
    """Report what an interrupted call may have done, and return the exit code."""
    screen.complain("Interrupted.")
    unknown = _unknown_outcome(interrupt)
    if unknown is not None:
        return tell_error(screen, unknown)
    for note in _notes(interrupt):
        screen.complain(f"  {note}")
    return code_after(interrupt)


def code_after(interrupt: KeyboardInterrupt) -> int:
    """Return the exit code of an interrupted command, and record a start with an unknown outcome."""
    receipts = current()
    # A single interrupt says how the call ended, and a call that was cancelled before it was sent has started no run.
    if receipts.is_starting and (len(_in_a_row(interrupt)) > 1 or NOT_ENDED in _notes(interrupt)):
        receipts.may_have_paid()
    return ExitCode.OUTCOME_UNKNOWN if receipts.is_unknown else exit_code(interrupt)


def _in_a_row(last: BaseException) -> list[KeyboardInterrupt]:
    """Return the interrupts that led to an error, the last one first: each interrupted the handling of the next."""
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
