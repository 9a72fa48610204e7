"""Waiting for runs at a terminal: progress, how they ended, and what an interrupted wait leaves behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import typer

from coreclaw_async._sync_generated import CoreClaw
from coreclaw_async.cli.failures import ExitCode, tell_error
from coreclaw_async.cli.output import print_json, run_sentence
from coreclaw_async.cli.row_progress import RowProgress
from coreclaw_async.cli.screen import Screen
from coreclaw_async.errors import CoreClawError, WaitTimeoutError
from coreclaw_async.models import Run, RunOutcome

_LOOK_SECONDS = 5.0


def follow_run(
    client: CoreClaw,
    run_id: str,
    *,
    timeout: float | None,
    abort: bool,
    as_json: bool,
    quiet: bool = False,
) -> Run:
    """
    Wait for the end of a run, with a bar, and say how it ended.

    Raises:
        RunFailedError: It failed.
        RunAbortedError: It was aborted.
        typer.Exit: The wait was interrupted or took too long; what becomes of the run was said.
    """
    screen = Screen()
    on_cancel: Literal["leave", "abort"] = "abort" if abort else "leave"
    try:
        with RowProgress(screen, "waiting", total=None) as bar:
            ended = client.runs.wait(
                run_id,
                timeout=timeout,
                on_cancel=on_cancel,
                on_update=lambda now: bar.show(str(now.status or ""), now.result_count or 0),
            )
    except WaitTimeoutError as error:
        code = tell_error(screen, error)
        _tell_left(client, screen, [run_id], abort=abort)
        raise typer.Exit(code) from None
    except KeyboardInterrupt:
        screen.complain("Interrupted.")
        _tell_left(client, screen, [run_id], abort=abort)
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    _tell_end(screen, ended, as_json=as_json, to_stderr=quiet)
    return ended


def follow_runs(client: CoreClaw, run_ids: Sequence[str], *, timeout: float | None, abort: bool, as_json: bool) -> None:
    """Wait for the ends of several runs, and say how each ended as it does; exit with the worst."""
    screen = Screen()
    on_cancel: Literal["leave", "abort"] = "abort" if abort else "leave"
    left = set(run_ids)
    is_success = True
    try:
        with RowProgress(screen, "waiting", total=None) as bar:
            for run in client.runs.wait_many(run_ids, timeout=timeout, on_cancel=on_cancel):
                left.discard(run.run_id)
                bar.show(f"{len(left)} left", run.result_count or 0)
                is_success = is_success and run.outcome is RunOutcome.SUCCEEDED
                with bar.aside():
                    _tell_end(screen, run, as_json=as_json)
    except WaitTimeoutError as error:
        code = tell_error(screen, error)
        _tell_left(client, screen, error.pending, abort=abort)
        raise typer.Exit(code) from None
    except KeyboardInterrupt:
        screen.complain("Interrupted.")
        _tell_left(client, screen, sorted(left), abort=abort)
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    if not is_success:
        raise typer.Exit(ExitCode.RUN_FAILED)


def _tell_end(screen: Screen, run: Run, *, as_json: bool, to_stderr: bool = False) -> None:
    if to_stderr:
        screen.complain(run_sentence(run))
    elif as_json:
        print_json([run])
    else:
        screen.tell(run_sentence(run))


def _tell_left(client: CoreClaw, screen: Screen, run_ids: Sequence[str], *, abort: bool) -> None:
    """Say what becomes of runs whose ends nobody saw."""
    if abort:
        for run_id in run_ids:
            screen.complain(f"Asked to abort run {run_id}: {_state(client, run_id)}.")
        screen.complain(f"  to see the end:  {_command('wait', run_ids)}")
        return
    it_goes_on = "goes on and costs what it costs" if len(run_ids) == 1 else "go on and cost what they cost"
    screen.complain(f"{'Run' if len(run_ids) == 1 else 'Runs'} {', '.join(run_ids)} {it_goes_on}.")
    screen.complain(f"  to wait again:  {_command('wait', run_ids)}")
    screen.complain(f"  to stop:        {_command('abort', run_ids)}")


def _state(client: CoreClaw, run_id: str) -> str:
    """Look once more: that the service agrees does not mean that the run has stopped."""
    try:
        return f"it is {client.with_options(timeout=_LOOK_SECONDS).runs.get(run_id).status}"
    except CoreClawError:
        return "its state could not be read"


def _command(name: str, run_ids: Sequence[str]) -> str:
    return f"coreclaw-async {name} {' '.join(run_ids)}"
