"""``run``, ``wait``, ``abort``, ``rerun``: starting runs, following and stopping them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coreclaw_async._sync_generated import CoreClaw
from coreclaw_async.cli.following import follow_run, follow_runs
from coreclaw_async.cli.options import (
    STDIO,
    AbortOnInterrupt,
    AsJson,
    BaseUrl,
    Format,
    Input,
    KeyFile,
    RunName,
    Seconds,
    check_folder,
    format_of,
    read_input,
    run_of,
)
from coreclaw_async.cli.output import print_json
from coreclaw_async.cli.row_files import write_rows
from coreclaw_async.cli.screen import Screen
from coreclaw_async.cli.session import guarded, open_client
from coreclaw_async.models import StartedRun

Waits = Annotated[bool, typer.Option("--wait", "-w", help="Wait for the end of the run.")]
Output = Annotated[
    Path | None,
    typer.Option("--output", "--out", "-o", metavar="FILE", help="Write the rows to this file; - for lines of JSON."),
]


@guarded
def run(
    worker: Annotated[str, typer.Argument(metavar="WORKER", help="A worker: slug or owner/name.")],
    *,
    input: Input = "{}",
    wait: Waits = False,
    output: Output = None,
    format: Format = None,
    timeout: Seconds = None,
    abort_on_interrupt: AbortOnInterrupt = False,
    json: AsJson = False,
    api_key_file: KeyFile = None,
    base_url: BaseUrl = None,
) -> None:
    """
    Start a run of a worker, which costs money, and print its id; --wait and --output follow it to its end.

    Exit codes: 0 success, 1 the run failed or was aborted, 2 usage, 3 the service refused or failed, 4 a run may have
    been started and nobody can tell, 5 the run goes on after the timeout, 130 interrupted.
    """
    given = read_input(input)
    check_folder(output)
    wanted = None if output is None or output == STDIO else format_of(output, format)
    with open_client(api_key_file, base_url) as client:
        started = client.workers.start_run(worker, given)
        if not wait and output is None:
            _print_started(started, as_json=json)
            return
        _tell_started(started)
        ended = follow_run(
            client,
            started.run_id,
            timeout=timeout,
            abort=abort_on_interrupt,
            as_json=json,
            quiet=output == STDIO,
        )
        if output is not None:
            write_rows(client, ended, output, wanted)


@guarded
def wait(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Run ids; last for the newest run.")],
    *,
    timeout: Seconds = None,
    abort_on_interrupt: AbortOnInterrupt = False,
    json: AsJson = False,
    api_key_file: KeyFile = None,
    base_url: BaseUrl = None,
) -> None:
    """Wait for runs to end, and say how each did; exit code 0 when all succeeded, 1 when one did not."""
    with open_client(api_key_file, base_url) as client:
        run_ids = [_concrete(client, name) for name in runs]
        if len(run_ids) > 1:
            follow_runs(client, run_ids, timeout=timeout, abort=abort_on_interrupt, as_json=json)
        else:
            follow_run(client, run_ids[0], timeout=timeout, abort=abort_on_interrupt, as_json=json)


@guarded
def abort(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Run ids.")],
    *,
    api_key_file: KeyFile = None,
    base_url: BaseUrl = None,
) -> None:
    """Ask the service to stop runs; that it agrees does not mean that they have stopped: wait tells."""
    with open_client(api_key_file, base_url) as client:
        for run_id in runs:
            aborted = client.runs.abort(run_of(run_id))
            named = "the last run" if aborted.run_id is None else f"run {aborted.run_id}"
            Screen().complain(f"Asked to abort {named}.")


@guarded
def rerun(
    run: RunName,
    *,
    wait: Waits = False,
    timeout: Seconds = None,
    abort_on_interrupt: AbortOnInterrupt = False,
    json: AsJson = False,
    api_key_file: KeyFile = None,
    base_url: BaseUrl = None,
) -> None:
    """Start a new run with the input of another, which costs money, and print its id."""
    with open_client(api_key_file, base_url) as client:
        started = client.runs.rerun(run_of(run))
        if not wait:
            _print_started(started, as_json=json)
            return
        _tell_started(started)
        follow_run(client, started.run_id, timeout=timeout, abort=abort_on_interrupt, as_json=json)


def start_task(client: CoreClaw, task_id: str, *, waits: bool, timeout: float | None, as_json: bool) -> None:
    """Start a saved task; see `run`."""
    started = client.tasks.start_run(task_id)
    if not waits:
        _print_started(started, as_json=as_json)
        return
    _tell_started(started)
    follow_run(client, started.run_id, timeout=timeout, abort=False, as_json=as_json)


def _concrete(client: CoreClaw, name: str) -> str:
    """Return the id of the run, so that it can be named when the wait ends before it."""
    return client.runs.get(run_of(name)).run_id if name == "last" else name


def _print_started(started: StartedRun, *, as_json: bool) -> None:
    try:
        if as_json:
            print_json([started])
        else:
            Screen().tell(started.run_id)
    except OSError:  # A reader who is gone, a full disk: the run is paid for all the same.
        _tell_started(started)
        raise


def _tell_started(started: StartedRun) -> None:
    """Say the id at once: it is what must not be lost when the terminal is."""
    Screen().complain(f"Run {started.run_id} started.")
