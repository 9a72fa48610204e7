"""``rows``, ``export``, ``log``: what runs have produced."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from coreclaw_async._resources.run_rows import must_be_finished
from coreclaw_async._sync_generated import CoreClaw
from coreclaw_async.cli.options import (
    STDIO,
    AsJson,
    BaseUrl,
    Fields,
    Format,
    KeyFile,
    RunName,
    Seconds,
    check_folder,
    fields_of,
    format_of,
    run_of,
)
from coreclaw_async.cli.output import cell, print_json
from coreclaw_async.cli.row_files import print_rows
from coreclaw_async.cli.screen import Screen
from coreclaw_async.cli.session import guarded, open_client
from coreclaw_async.cli.transfer_progress import TransferProgress
from coreclaw_async.errors import NotFoundError
from coreclaw_async.models import LastRun, LogEntry, RunRef

Partial = Annotated[bool, typer.Option("--partial", help="Take the rows so far of a run that goes on.")]


@guarded
def rows(
    name: Annotated[str, typer.Argument(metavar="WORKER|RUN", help="A run id, or a worker for its newest run.")],
    *,
    limit: Annotated[int | None, typer.Option(min=1, help="Print this many rows at most.")] = None,
    fields: Fields = None,
    partial: Partial = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")] = False,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Write a file, whole or not at all.")
    ] = STDIO,
    api_key_file: KeyFile = None,
    base_url: BaseUrl = None,
) -> None:
    """
    Print the rows of a run as lines of JSON, every row once or an error.

    A run that goes on is an error (exit code 5), unless --partial or --follow says what to do.
    """
    if partial and follow:
        raise typer.BadParameter("give either --partial or --follow")
    check_folder(output)
    with open_client(api_key_file, base_url) as client:
        run = _run_or_newest(client, name)
        print_rows(client, run, output, limit=limit, fields=fields_of(fields), partial=partial, follow=follow)


def _run_or_newest(client: CoreClaw, name: str) -> RunRef:
    """Return the run of this name, or the newest run of the worker of this name: their ids look alike."""
    if re.search(r"[/~]", name):
        return client.runs.get(LastRun(name))
    try:
        return client.runs.get(run_of(name))
    except NotFoundError as error:
        try:
            return client.runs.get(LastRun(name))
        except NotFoundError:
            raise error from None


@guarded
def export(
    run: RunName,
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="The file to write, whole or not at all.")
    ] = None,
    format: Format = None,
    fields: Fields = None,
    partial: Partial = False,
    url: Annotated[
        bool, typer.Option("--url", help="Print a temporary URL instead, by which anybody can read the rows.")
    ] = False,
    api_key_file: KeyFile = None,
    base_url: BaseUrl = None,
) -> None:
    """
    Write the rows of a run to a file in one of the service's formats, by default the one that its ending names.

    A run that goes on is an error (exit code 5), unless --partial says to take its rows so far.
    """
    if (output is None) != url:
        raise typer.BadParameter("give either --output FILE or --url")
    check_folder(output)
    wanted = format_of(output or Path("rows.csv"), format)
    with open_client(api_key_file, base_url) as client:
        if output is None:
            if not partial:
                must_be_finished(client.runs.get(run_of(run)))
            found = client.runs.export(run_of(run), format=wanted, fields=fields_of(fields))
            Screen().tell(found.download_url)
            return
        screen = Screen()
        with TransferProgress(screen, output.name) as bar:
            path = client.runs.download(
                run_of(run), output, format=wanted, fields=fields_of(fields), partial=partial, on_progress=bar.show
            )
        screen.complain(f"{path} ({path.stat().st_size:,} bytes)")


@guarded
def log(
    run: RunName,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")] = False,
    timeout: Seconds = None,
    json: AsJson = False,
    api_key_file: KeyFile = None,
    base_url: BaseUrl = None,
) -> None:
    """Print the recent part of a run's log; with --follow, what comes until the run has ended too."""
    with open_client(api_key_file, base_url) as client:
        entries: Iterable[LogEntry]
        if follow:
            entries = client.runs.follow_log(run_of(run), timeout=timeout)
        else:
            entries = client.runs.get_log(run_of(run)).entries
        if json:
            print_json(entries)
            return
        screen = Screen()
        for entry in entries:
            screen.say_log(cell(entry.timestamp), str(entry.level or ""), entry.content)
