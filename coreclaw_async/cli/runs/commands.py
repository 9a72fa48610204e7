"""``run``, ``runs``, ``show``, ``wait``, ``abort``, ``rerun``: starting, listing, following and stopping runs."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated

import typer

from coreclaw_async._operations.once import ledger_of
from coreclaw_async._sync.generated import CoreClaw
from coreclaw_async._wire.run_paths import run_id_of
from coreclaw_async.cli._screen.output import print_json, show_one
from coreclaw_async.cli._screen.screen import Screen
from coreclaw_async.cli._screen.tables import Column, show_list
from coreclaw_async.cli.failures import ExitCode, tell_failure, worst
from coreclaw_async.cli.guard import guarded
from coreclaw_async.cli.options import (
    TIMES,
    AbortOnInterrupt,
    AsJson,
    Format,
    Input,
    Limit,
    Once,
    OnceAccount,
    OnceExclusive,
    OnceLedger,
    RunName,
    Seconds,
    Status,
    Wide,
    read_input,
    read_run,
    run_of,
    time_of,
)
from coreclaw_async.cli.runs import checking
from coreclaw_async.cli.runs.checking import Assess, DryRun
from coreclaw_async.cli.runs.following import Following, next_command
from coreclaw_async.cli.runs.starting import Output, Starting, Waits
from coreclaw_async.cli.session import open_client
from coreclaw_async.errors import CoreClawError, NotFoundError
from coreclaw_async.models import LastRun

Since = Annotated[str | None, typer.Option(metavar="TIME", help=f"Only runs that were created then or later: {TIMES}.")]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Only runs that were created before; needs --since.")]

_RUN_COLUMNS = [
    Column("run", lambda run: run.run_id, "id"),
    Column("status", lambda run: run.status),
    Column("rows", lambda run: run.result_count, "number"),
    Column("cost", lambda run: run.usage, "money"),
    Column("started", lambda run: run.started_at, "datetime"),
    Column("worker", lambda run: run.worker_title or run.worker_id),
    Column("seconds", lambda run: run.duration, "number"),
]


@guarded
def run(
    worker: Annotated[str, typer.Argument(metavar="WORKER", help="A worker: its id or owner/name.")],
    *,
    input: Input = "{}",
    wait: Waits = False,
    output: Output = None,
    format: Format = None,
    once: Once = None,
    ledger: OnceLedger = None,
    exclusive: OnceExclusive = False,
    account: OnceAccount = None,
    timeout: Seconds = None,
    abort_on_interrupt: AbortOnInterrupt = False,
    assess: Assess = False,
    dry_run: DryRun = False,
    json: AsJson = False,
) -> None:
    """
    Start a run of a worker, which costs money, and print its id; --wait and --output follow it to its end.

    With --once the run belongs to a key: the same command, given again, follows the same run and pays nothing, also
    after a crash.
    """
    if once is None and (ledger is not None or exclusive or account is not None):
        raise typer.BadParameter("--ledger, --exclusive and --account are for --once KEY")
    starting = Starting(
        waits=wait or once is not None,
        output=output,
        format=format,
        timeout=timeout,
        abort=abort_on_interrupt,
        as_json=json,
        assesses=assess,
    )
    given = read_input(input)
    with open_client(needs_key=not dry_run) as client:
        if dry_run:
            checking.dry_run(client, worker, given, as_json=json)
        elif once is None:
            starting.perform(client, lambda: client.workers.start_run(worker, given))
        else:
            where = os.fspath(ledger_of(ledger or None))
            run_once = functools.partial(
                client.workers.run_once, once, worker, given, ledger=where, exclusive=exclusive, account=account
            )
            starting.perform_once(client, once, where, account, run_once)


@guarded
def runs(
    *,
    worker: Annotated[str | None, typer.Option(metavar="WORKER", help="Only runs of this worker.")] = None,
    status: Status = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 20,
    wide: Wide = False,
    json: AsJson = False,
) -> None:
    """List runs, the newest first; without --since those of the current month in UTC+8, as the service counts it."""
    if until is not None and since is None:
        raise typer.BadParameter("--until needs --since")
    with open_client() as client:
        found = client.runs.iterate(
            worker_id=worker,
            status=status,
            since=time_of("--since", since),
            until=time_of("--until", until),
            page_size=min(limit, 100),
            max_items=limit,
        )
        show_list(found, _RUN_COLUMNS, as_json=json, wide=wide, limit=limit)


@guarded
def show(run: RunName, *, json: AsJson = False) -> None:
    """Show one run as it is now."""
    with open_client() as client:
        show_one(client.runs.get(run_of(run)), as_json=json)


@guarded
def wait(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Run ids; last for the newest run.")],
    *,
    timeout: Seconds = None,
    abort_on_interrupt: AbortOnInterrupt = False,
    json: AsJson = False,
) -> None:
    """Wait for runs to end, and say how each ended; the worst of their exit codes is returned."""
    _check(runs)
    with open_client() as client:
        screen, codes = Screen(), set[ExitCode]()
        run_ids: list[str] = []
        for name in dict.fromkeys(runs):
            try:
                run_ids.append(_concrete(client, name))
            except CoreClawError as error:
                codes.add(tell_failure(screen, error, name=name, as_json=json))
        following = Following(client=client, timeout=timeout, abort=abort_on_interrupt, as_json=json)
        succeeded, others = following.follow(run_ids)
        if len(runs) == len(succeeded) == 1:
            screen.hint("its rows", next_command("rows", succeeded[0].run_id, "-o", "rows.csv"))
    if codes | others:
        raise typer.Exit(worst(codes | others))


@guarded
def abort(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Run ids; last for the newest run.")],
    *,
    json: AsJson = False,
) -> None:
    """
    Ask the service to stop runs. They may take a while to stop: use wait to see their ends.

    All of them are asked to stop, even if one of them cannot be stopped.
    """
    _check(runs)
    screen, codes, asked = Screen(), set[ExitCode](), list[str]()
    with open_client() as client:
        for name in dict.fromkeys(runs):
            try:
                # The last run may be another one with each request.
                aborted = client.runs.abort(_concrete(client, name))
            except CoreClawError as error:
                codes.add(tell_failure(screen, error, name=name, as_json=json))
                if not isinstance(error, NotFoundError):
                    screen.hint("how it is now", next_command("show", name))
                continue
            asked.append(str(aborted.run_id))
            screen.complain(f"Asked to abort run {aborted.run_id}.")
            if name not in {"last", aborted.run_id}:
                screen.complain(f"This is not the run that you named: look at run {name} too.")
                codes.add(ExitCode.SERVICE)
            if json:
                with suppress(OSError):  # The others still have to be stopped; the end checks the stream.
                    print_json([aborted])
    if asked:
        screen.hint("to see the end", next_command("wait", *asked))
    if codes:
        raise typer.Exit(worst(codes))


@guarded
def rerun(
    run: RunName,
    *,
    wait: Waits = False,
    output: Output = None,
    format: Format = None,
    timeout: Seconds = None,
    abort_on_interrupt: AbortOnInterrupt = False,
    json: AsJson = False,
) -> None:
    """Start a new run with the input of another, which costs money; with the options of run."""
    starting = Starting(
        waits=wait, output=output, format=format, timeout=timeout, abort=abort_on_interrupt, as_json=json
    )
    with open_client() as client:
        starting.perform(client, lambda: client.runs.rerun(run_of(run)))


def _check(names: Sequence[str]) -> None:
    """Refuse names that cannot name a run, before anything is done with the others."""
    for name in names:
        run_id_of(run_of(name))


def _concrete(client: CoreClaw, name: str) -> str:
    """Return the id of the run, so that it can be named when the wait ends early."""
    return read_run(client, LastRun()).run_id if name == "last" else name
