"""Runs the command that the arguments name and returns its exit code."""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
from collections.abc import Sequence
from typing import Any, cast

import typer.main
import typer.rich_utils

from coreclaw_async.cli._process import interrupts, streams
from coreclaw_async.cli._screen.output import print_json
from coreclaw_async.cli._screen.screen import Screen
from coreclaw_async.cli.app import app
from coreclaw_async.cli.failures import ExitCode

_USAGE_ERROR = cast("type[Exception]", typer.BadParameter.__base__)
"""What the parser of the command line raises; typer has no public name for it."""


def run_command(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code."""
    # Otherwise the first call imports it, and an interrupt there would leave a half imported module behind.
    importlib.import_module("asyncio")
    streams.prepare()
    interrupts.begin()
    try:
        return _exit_code(arguments)
    except KeyboardInterrupt as interrupt:
        return interrupts.code_at_end(interrupt)
    finally:
        streams.restore()


def _exit_code(arguments: Sequence[str]) -> int:
    stdout, stderr = sys.stdout, sys.stderr
    try:
        code = _commands().main(list(arguments), prog_name="coreclaw-async", standalone_mode=False)
        sys.stdout.flush()
    except _USAGE_ERROR as error:
        return _tell_usage(error, as_json="--json" in arguments)
    except typer.Abort:  # pragma: no cover - some parsers turn an interrupt before the command into this
        return interrupts.code_at_end()
    except OSError as error:  # Of a help text: commands report their own.
        return _not_written(error)
    except SystemExit:  # From the parser or rich when nobody reads the pipe; or the end of a completion.
        sys.stdout, sys.stderr = stdout, stderr
        broken = streams.failure_of("stdout")
        if broken is None:
            raise
        return _not_written(broken)
    return code if isinstance(code, int) else 0


@functools.cache
def _commands() -> Any:
    """Return all commands; building them takes longer than most of them run."""
    return typer.main.get_command(app)


def _not_written(error: OSError) -> int:
    streams.give_up("stdout")
    if isinstance(error, BrokenPipeError):
        return 0  # The reader has left.
    Screen().complain(f"Standard output cannot be written: {error.strerror or error}.")
    return ExitCode.NOT_WRITTEN


def _tell_usage(error: Exception, *, as_json: bool) -> int:
    if as_json:
        with contextlib.suppress(OSError):
            print_json([{"run_id": None, "exit_code": int(ExitCode.USAGE), "error": str(error)}])
    with contextlib.suppress(OSError, SystemExit):  # The latter comes from rich when nobody reads the pipe.
        typer.rich_utils.rich_format_error(cast("Any", error))
    return ExitCode.USAGE
