"""``rows``, ``export``, ``log``: the output of runs."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from coreclaw_async._operations.run_rows import must_be_finished
from coreclaw_async._sync.generated import CoreClaw
from coreclaw_async.cli._screen.bars import RowProgress
from coreclaw_async.cli._screen.output import STDIO, cell, print_json, run_sentence
from coreclaw_async.cli._screen.screen import Screen
from coreclaw_async.cli.failures import ExitCode, tell_failure
from coreclaw_async.cli.guard import guarded
from coreclaw_async.cli.options import (
    AsJson,
    Fields,
    Format,
    RowFormat,
    RunName,
    Seconds,
    check_writable,
    fields_of,
    format_of,
    read_run,
    row_format_of,
    run_of,
)
from coreclaw_async.cli.rows.fields import check_columns_exist, columns_of
from coreclaw_async.cli.rows.files import print_rows, write_export
from coreclaw_async.cli.runs.following import next_command
from coreclaw_async.cli.session import open_client
from coreclaw_async.errors import NotFoundError, RunNotFinishedError, WaitTimeoutError
from coreclaw_async.models import LastRun, LogEntry, Run, RunOutcome

Partial = Annotated[bool, typer.Option("--partial", help="Take the rows so far of a run that has not ended.")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Continue until the run has ended.")]


@guarded
def rows(
    run: Annotated[str, typer.Argument(metavar="WORKER|RUN", help="A run id, or a worker for its newest run.")],
    *,
    limit: Annotated[int | None, typer.Option(min=1, help="Print this many rows at most.")] = None,
    fields: Fields = None,
    format: RowFormat = None,
    partial: Partial = False,
    follow: Follow = False,
    timeout: Seconds = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Write a file, whole or not at all.")
    ] = STDIO,
) -> None:
    """
    Print the rows of a run, every row once or an error: as lines of JSON, as one JSON array, or as CSV.

    A run that has not ended is an error (exit code 5), unless --partial or --follow is given.
    """
    _check_waiting(partial=partial, follow=follow, timeout=timeout)
    names = fields_of(fields)
    instead = next_command("export", run, "-o", str(output))
    wanted = row_format_of(output, format, instead="coreclaw-async export RUN -o FILE" if output == STDIO else instead)
    check_writable(output)
    with open_client() as client:
        found = _run_or_newest(client, run)
        again = _again("rows", found.run_id, output, format=format, fields=fields, limit=limit)
        with _telling_next(found.run_id, again, follow=follow):
            print_rows(
                client,
                found,
                output,
                format=wanted,
                limit=limit,
                fields=names,
                partial=partial,
                follow=follow,
                timeout=timeout,
            )
        _tell_bad_end(client.runs.get(found) if follow else found)


def _check_waiting(*, partial: bool = False, follow: bool, timeout: float | None) -> None:
    if partial and follow:
        raise typer.BadParameter("give either --partial or --follow")
    if timeout is not None and not follow:
        raise typer.BadParameter("--timeout is for --follow: nothing else waits")


def _run_or_newest(client: CoreClaw, name: str) -> Run:
    """Return the run with this id, or the newest run of the worker with this name, as their ids look alike."""
    if re.search(r"[/~]", name):
        return read_run(client, LastRun(name))
    try:
        return read_run(client, run_of(name))
    except NotFoundError as error:
        if name == "last":
            raise
        try:
            return read_run(client, LastRun(name))
        except NotFoundError:
            raise error from None


def _tell_bad_end(run: Run) -> None:
    """Report on standard error that the run of the rows did not succeed."""
    if run.is_finished and run.outcome is not RunOutcome.SUCCEEDED:
        Screen().complain(run_sentence(run))


def _again(command: str, run_id: str, path: Path | None, **options: object) -> str:
    """Return a command with its given options, to be pasted."""
    given = [(f"--{name}", value) for name, value in options.items() if value not in {None, False}]
    to_file = [] if path in {None, STDIO} else ["-o", str(path)]
    words = [part for name, value in given for part in ([name] if value is True else [name, str(value)])]
    return next_command(command, run_id, *to_file, *words)


@contextmanager
def _telling_next(run_id: str, again: str, *, follow: bool, as_json: bool = False) -> Generator[None]:
    """Name the next command if the run has not ended, or if the wait for its end was too short."""
    screen = Screen()
    try:
        yield
    except RunNotFinishedError as error:
        status = "" if error.run is None else f" (its status is {error.run.status})"
        screen.complain(f"Run {run_id} has not ended{status}, so it may still produce rows.")
        _tell_commands(
            screen,
            ("to wait", next_command("wait", run_id)),
            ("all", f"{again} --follow"),
            ("so far", f"{again} --partial"),
        )
        raise typer.Exit(ExitCode.WAIT_TIMEOUT) from None
    except WaitTimeoutError as error:
        code = tell_failure(screen, error, as_json=as_json)
        _tell_commands(screen, ("to go on", f"{again} --follow"), ("to stop it", next_command("abort", run_id)))
        raise typer.Exit(code) from None
    except KeyboardInterrupt as interrupt:
        interrupt.add_note(f"to try again:  {again}{' --follow' if follow else ''}")
        raise


def _tell_commands(screen: Screen, *commands: tuple[str, str]) -> None:
    width = max(len(what) for what, _ in commands) + 1
    for what, command in commands:
        screen.complain(f"  {f'{what}:':{width}}  {command}")


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
    follow: Follow = False,
    timeout: Seconds = None,
    url: Annotated[
        bool, typer.Option("--url", help="Print a temporary URL instead, by which anybody can read the rows.")
    ] = False,
) -> None:
    """
    Write the rows of a run to a file in one of the service's formats, by default the one that its ending names.

    A run that has not ended is an error (exit code 5): --partial takes its rows so far, --follow waits for its end.
    """
    if (output is None) != url:
        raise typer.BadParameter("give either --output FILE or --url")
    if output == STDIO:
        raise typer.BadParameter("export writes files; for standard output: coreclaw-async rows RUN --format csv")
    _check_waiting(partial=partial, follow=follow, timeout=timeout)
    names = fields_of(fields)
    wanted = format_of(output or Path("rows.csv"), format)
    check_writable(output)
    with open_client() as client:
        found = read_run(client, run_of(run))
        again = _again("export", found.run_id, output, format=format, fields=fields, url=url)
        with _telling_next(found.run_id, again, follow=follow):
            if follow:
                found = _ended(client, found, timeout)
            if not partial:
                must_be_finished(found)
            if names is not None:
                _check_fields(client, found, names)
            if output is None:
                Screen().tell(client.runs.export(found, format=wanted, fields=names).download_url)
            else:
                write_export(client, found, output, wanted, fields=names, partial=partial)
            _tell_bad_end(found)


def _ended(client: CoreClaw, run: Run, timeout: float | None) -> Run:
    """Wait for the end of a run; rows can be exported even if it fails."""
    if run.is_finished:
        return run
    with RowProgress(Screen(), "waiting", total=None) as bar:
        return client.runs.wait(
            run,
            timeout=timeout,
            check=False,
            on_update=lambda now: bar.show(str(now.status or ""), now.result_count or 0),
        )


def _check_fields(client: CoreClaw, run: Run, fields: Sequence[str]) -> None:
    """Refuse columns that do not exist, as far as one page tells; otherwise the service decides."""
    page = client.runs.list_results_page(run, limit=100)
    columns = columns_of(page)
    if columns and (columns_of(page, with_rows=False) or page.count == len(page.items)):
        check_columns_exist(fields, columns)


@guarded
def log(run: RunName, *, follow: Follow = False, timeout: Seconds = None, json: AsJson = False) -> None:
    """Print the recent part of a run's log; --follow also prints new entries until the run has ended."""
    _check_waiting(follow=follow, timeout=timeout)
    with open_client() as client:
        if not follow:
            _print_log(client.runs.get_log(run_of(run)).entries, as_json=json)
            return
        run_id = read_run(client, LastRun()).run_id if run == "last" else run
        with _telling_next(run_id, _again("log", run_id, None, json=json), follow=True, as_json=json):
            _print_log(client.runs.follow_log(run_id, timeout=timeout), as_json=json)


def _print_log(entries: Iterable[LogEntry], *, as_json: bool) -> None:
    if as_json:
        print_json(entries)
        return
    screen = Screen()
    for entry in entries:
        screen.say_log(cell(entry.timestamp), str(entry.level or ""), entry.content)
