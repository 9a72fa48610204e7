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
from coreclaw_async.cli import streams
from coreclaw_async.cli.failures import ExitCode, failure_object, tell_error
from coreclaw_async.cli.interrupts import exit_code, signals_that_interrupt
from coreclaw_async.cli.outage_news import OutageNews
from coreclaw_async.cli.output import print_json
from coreclaw_async.cli.receipts import UNDER_WAY, Receipts, current
from coreclaw_async.cli.screen import ERR, Screen, error_console
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
            key = key_file.read_text(encoding="utf-8").strip()
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
    receipts, news = current(), OutageNews(Screen())

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
        with signals_that_interrupt(), _under_way() as receipts:
            ending = _Ending(receipts, Screen(), as_json=bool(kwargs.get("json")))
            try:
                code = ending.code_of(lambda: command(*args, **kwargs))
            except KeyboardInterrupt as again:  # Of somebody who does not want to wait for more words.
                code = exit_code(again)
            finally:
                receipts.tell_left()
        if code or receipts.is_told_elsewhere:
            raise typer.Exit(code or ExitCode.NOT_WRITTEN)

    return call


@contextmanager
def _under_way() -> Generator[Receipts]:
    """Have all that this command does share what it has paid for, and what writes to standard error."""
    receipts = Receipts()
    set_receipts, set_console = UNDER_WAY.set(receipts), ERR.set(error_console())
    try:
        yield receipts
    finally:
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
            self._tell_programs(failure_object(error, code))
            return code
        except KeyboardInterrupt as interrupt:
            return self._interrupted(interrupt)
        except typer.Abort as left:  # Somebody left the prompt for the key.
            if isinstance(left.__context__, KeyboardInterrupt):
                return ExitCode.INTERRUPTED
            return self._failed(ExitCode.USAGE, NO_KEY)
        except OSError as error:
            return self._not_written(error)
        except ValueError as error:
            return self._failed(ExitCode.SERVICE if self.receipts.has_paid else ExitCode.USAGE, str(error))
        return 0

    def _failed(self, code: ExitCode, why: str) -> ExitCode:
        self.screen.complain(why)
        self._tell_programs(_failure(code, why))
        return code

    def _not_written(self, error: OSError) -> int:
        """Say what could not be written; of standard output the end says it."""
        if streams.failure_of("stdout") is not None:
            return 0
        return self._failed(ExitCode.NOT_WRITTEN, f"It could not be written: {error}")

    def _interrupted(self, interrupt: KeyboardInterrupt) -> int:
        code = tell_interrupt(self.screen, interrupt)
        cause = interrupt.__cause__
        if isinstance(cause, OutcomeUnknownError):
            self._tell_programs(failure_object(cause, code))
        else:
            self._tell_programs(_failure(code, "interrupted"))
        return code

    def _tell_programs(self, failure: dict[str, Any]) -> None:
        if self.as_json:
            with contextlib.suppress(OSError):  # It was told on standard error too, and the end looks at the stream.
                print_json([failure])


def _failure(code: int, why: str) -> dict[str, Any]:
    return {"run_id": None, "exit_code": int(code), "error": why}


def tell_interrupt(screen: Screen, interrupt: KeyboardInterrupt) -> int:
    """Say what an interrupted call may have brought about, and return the exit code."""
    screen.complain("Interrupted.")
    if isinstance(interrupt.__cause__, OutcomeUnknownError):
        return tell_error(screen, interrupt.__cause__)
    for note in getattr(interrupt, "__notes__", ()):
        screen.complain(f"  {note}")
    return exit_code(interrupt)
