"""``coreclaw-async demo``: one run from the store to its rows, against an emulator or the service."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, TypeAlias, cast, get_args

import anyio
import typer

from coreclaw_async._operations.exports import ExportFormat
from coreclaw_async._wire.request import check_worker_id
from coreclaw_async.cli._screen.screen import Screen
from coreclaw_async.cli.demo.scenes import emulated_scene, live_scene
from coreclaw_async.cli.demo.tour import Scene, Tour
from coreclaw_async.cli.failures import ExitCode, tell_error
from coreclaw_async.cli.options import read_input
from coreclaw_async.errors import CoreClawError

_DEFAULT_ROWS = 250
_DEFAULT_TIMEOUT = 900


RowsOption: TypeAlias = Annotated[
    int | None,
    typer.Option(min=1, max=10_000, show_default=str(_DEFAULT_ROWS), help="Rows that the emulated run produces."),
]
Output: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        dir_okay=False,
        show_default="a CSV file in a temporary folder",
        help=f"Where to write the rows; the ending is one of {', '.join(get_args(ExportFormat))}.",
    ),
]
Live: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="WORKER",
        help="Run this worker of the real service instead. This costs money, and takes the key from "
        "CORECLAW_API_KEY and the address from CORECLAW_BASE_URL.",
    ),
]
Input: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--input", "-i", metavar="FILE", exists=True, dir_okay=False, help="The live worker's input, a JSON object."
    ),
]
Timeout: TypeAlias = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="SECONDS",
        show_default=str(_DEFAULT_TIMEOUT),
        help="How long to wait for the live run, which is not stopped after that.",
    ),
]


def demo(
    *,
    rows: RowsOption = None,
    output: Output = None,
    live: Live = None,
    input: Input = None,
    timeout: Timeout = None,
) -> None:
    """
    Show one run from start to file: store, start, progress, pages of rows, export, cost.

    Without --live it needs no key and no network: it runs against an emulator on this machine.
    """
    _check_together(rows=rows, live=live, input=input, timeout=timeout)
    format = _format_of(output)
    if live is None or input is None:
        opened = emulated_scene(_DEFAULT_ROWS if rows is None else rows)
    else:
        opened = live_scene(live, read_input(str(input.absolute())), _DEFAULT_TIMEOUT if timeout is None else timeout)
    screen = Screen()
    try:
        raise typer.Exit(anyio.run(_play, screen, opened, output, format))
    except KeyboardInterrupt:
        screen.complain("Interrupted.")
        raise typer.Exit(ExitCode.INTERRUPTED) from None


async def _play(
    screen: Screen, opened: AbstractContextManager[Scene], output: Path | None, format: ExportFormat
) -> int:
    """Play the demo and return the exit code."""
    try:
        with opened as scene:
            tour = Tour(scene=scene, screen=screen, output=output, format=format)
            try:
                await tour.take()
            finally:
                tour.tell_left_run()
    except CoreClawError as error:
        return tell_error(screen, error)
    except OSError as error:
        screen.complain(str(error))
        return ExitCode.USAGE
    return 0


def _check_together(*, rows: int | None, live: str | None, input: Path | None, timeout: int | None) -> None:
    if live is None:
        if input is not None or timeout is not None:
            raise typer.BadParameter("--input and --timeout belong to --live")
        return
    if rows is not None:
        raise typer.BadParameter("--rows is for the emulated run; the input of a live one decides its rows")
    if input is None:
        raise typer.BadParameter("--live needs --input FILE")
    if not os.environ.get("CORECLAW_API_KEY"):
        raise typer.BadParameter("--live needs a key in the environment variable CORECLAW_API_KEY")
    try:
        check_worker_id("WORKER", live)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _format_of(output: Path | None) -> ExportFormat:
    """Return the format that the ending names; refuse a file that cannot be written, before anything costs money."""
    if output is None:
        return "csv"
    ending = output.suffix.lower().removeprefix(".")
    if ending not in get_args(ExportFormat):
        raise typer.BadParameter(f"--output must end in .{', .'.join(get_args(ExportFormat))}")
    if not output.parent.is_dir():
        raise typer.BadParameter(f"--output: there is no folder {output.parent}")
    return cast("ExportFormat", ending)
