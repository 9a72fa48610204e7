"""Running the command that arguments name, from a process that was just begun to its exit code."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import Any, cast

import typer.rich_utils

from coreclaw_async.cli import streams
from coreclaw_async.cli.app import app
from coreclaw_async.cli.failures import ExitCode
from coreclaw_async.cli.output import print_json
from coreclaw_async.cli.screen import Screen
from coreclaw_async.cli.session import USAGE_ERROR


def start(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code."""
    streams.prepare()
    try:
        return _exit_code(arguments)
    finally:
        streams.leave()


def _exit_code(arguments: Sequence[str]) -> int:
    try:
        code = app(list(arguments), prog_name="coreclaw-async", standalone_mode=False)
        sys.stdout.flush()
    except USAGE_ERROR as error:
        return _tell_usage(error, as_json="--json" in arguments)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except OSError as error:  # Of a help, for commands tell theirs.
        streams.give_up("stdout")
        if isinstance(error, BrokenPipeError):
            return 0
        Screen().complain(f"Standard output cannot be written: {error.strerror or error}.")
        return ExitCode.NOT_WRITTEN
    return code if isinstance(code, int) else 0


def _tell_usage(error: Exception, *, as_json: bool) -> int:
    if as_json:
        with contextlib.suppress(OSError):
            print_json([{"run_id": None, "exit_code": int(ExitCode.USAGE), "error": str(error)}])
    with contextlib.suppress(OSError):
        typer.rich_utils.rich_format_error(cast("Any", error))
    return ExitCode.USAGE
