"""What every command that talks to the service begins and ends with: the key, the client, errors in words."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec, cast

import attrs
import typer

from coreclaw_async import events
from coreclaw_async._client import DEFAULT_BASE_URL
from coreclaw_async._sync.generated import CoreClaw
from coreclaw_async._sync.runtime import NOT_ENDED
from coreclaw_async.cli._process import streams
from coreclaw_async.cli._process.interrupts import exit_code, signals_that_interrupt
from coreclaw_async.cli._process.receipts import UNDER_WAY, Receipts, current
from coreclaw_async.cli._screen.output import print_json
from coreclaw_async.cli._screen.screen import ERR, Screen, error_console
from coreclaw_async.cli.failures import ExitCode, failure_object, tell_error
from coreclaw_async.cli.options import STDIO
from coreclaw_async.cli.outage_news import NEWS, OutageNews, current_news
from coreclaw_async.errors import ConfigurationError, CoreClawError, OutcomeUnknownError

P = ParamSpec("P")

NO_KEY = "there is no key: set CORECLAW_API_KEY, or give --api-key-file FILE"
USAGE_ERROR = cast("type[Exception]", typer.BadParameter.__base__)
"""What the parser of the command line raises; typer has no public name for it."""


@attrs.frozen
class Found:
    """
    A setting and where it came from.

    Attributes:
        value: The setting, or None.
        source: Where it came from, for people.
    """

    value: str | None = attrs.field(repr=False)
    source: str


def find_key(key_file: Path | None, *, may_ask: bool) -> Found:
    """
    Return the key from the file, the environment, or somebody at the terminal.

    It is never an option: everybody on a machine can read the arguments of a process.

    Raises:
        typer.BadParameter: The file cannot be read, or is empty.
    """
    if key_file is not None:
        try:
            key = key_file.read_text(encoding="utf-8-sig").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise typer.BadParameter(f"--api-key-file: {error}") from None
        if not key:
            raise typer.BadParameter(f"--api-key-file: {key_file} is empty")
        return Found(key, f"the file {key_file}")
    if os.environ.get("CORECLAW_API_KEY", "").strip():
        return Found(os.environ["CORECLAW_API_KEY"], "CORECLAW_API_KEY")
    if may_ask and sys.stdin.isatty() and sys.stderr.isatty():
        return Found(typer.prompt("API key", hide_input=True, err=True), "the prompt")
    return Found(None, "nowhere")


def find_base_url(given: str | None) -> Found:
    """Return the address of the service."""
    if given is not None:
        return Found(given, "--base-url")
    if os.environ.get("CORECLAW_BASE_URL", "").strip():
        return Found(os.environ["CORECLAW_BASE_URL"], "CORECLAW_BASE_URL")
    return Found(DEFAULT_BASE_URL, "the default")


@contextmanager
def open_client(key_file: Path | None, base_url: str | None, *, is_public: bool = False) -> Generator[CoreClaw]:
    """
    Open the client that the options ask for.

    Args:
        key_file: What ``--api-key-file`` says.
        base_url: What ``--base-url`` says.
        is_public: Whether the command needs no key, so that nobody is asked for one.
    """
    key = find_key(key_file, may_ask=not is_public)
    if key.value is None and not is_public:
        raise ConfigurationError(NO_KEY)
    receipts, news = current(), current_news()

    def note(event: events.Event) -> None:
        receipts.note(event)
        news.note(event)

    # What the environment says the client finds by itself, and names in its errors.
    given = None if key.source == "CORECLAW_API_KEY" else key.value
    with CoreClaw(given, base_url=base_url, on_event=note) as client:
        yield client


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """
    Return *command* with its failures told in words, and as an object with ``--json``; each outcome with an exit code.

    However it ends, the runs that it has paid for are told of.
    """

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
