"""The errors of a wait whose run has failed, was aborted, or was not seen to end, with the end of the run's log."""

from __future__ import annotations

from coreclaw_async import errors
from coreclaw_async._operations.context import Context
from coreclaw_async._operations.runs import read_log
from coreclaw_async._polling.tracked_run import TrackedRun
from coreclaw_async.models import LogLevel, Run, RunOutcome

_LOG_SECONDS = 5.0
_LOG_LINES = 10


def raise_without_end(tracked: TrackedRun) -> None:
    """Raise why the end of a run was not seen, if it was not."""
    if tracked.error is not None:
        raise tracked.error
    assert tracked.run is not None, "a run that is over without an error was seen"
    _raise_unless_ended(tracked.run)


def _raise_unless_ended(run: Run) -> None:
    if not run.is_finished:
        raise errors.RunAbortedError(
            f"run {run.run_id} is still aborting; the service has not confirmed its end, so it may still cost money",
            run_id=run.run_id,
            run=run,
            confirmed=False,
        )


async def raise_unless_succeeded(context: Context, run: Run) -> None:
    """Raise the error that the end of *run* is, unless the run has succeeded."""
    _raise_unless_ended(run)
    if run.outcome is RunOutcome.SUCCEEDED:
        return
    if run.outcome is RunOutcome.FAILED:
        log = await last_log_lines(context, run.run_id)
        why = f": {run.error_message}" if run.error_message else ""
        raise errors.RunFailedError(f"run {run.run_id} ended as {run.status}{why}", run_id=run.run_id, run=run, log=log)
    raise errors.RunAbortedError(f"run {run.run_id} was aborted", run_id=run.run_id, run=run, confirmed=True)


async def last_log_lines(context: Context, run_id: str) -> list[str]:
    """Return the last error lines of the log, or its last lines; nothing when it cannot be read soon."""
    try:
        log = await read_log(context, run_id, deadline=context.clock.monotonic() + _LOG_SECONDS)
    except errors.CoreClawError:
        return []
    lines = [entry.content for entry in log.entries if entry.level is LogLevel.ERROR]
    return (lines or [entry.content for entry in log.entries])[-_LOG_LINES:]
