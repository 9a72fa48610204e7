"""Waiting for a run: what its end means, and what becomes of it when the wait does not last that long."""

from __future__ import annotations

import logging
from typing import Literal, get_args

import anyio

from coreclaw_async import errors
from coreclaw_async._poller import RunFollower, UpdateHook
from coreclaw_async._resources.context import Context
from coreclaw_async._resources.run_calls import abort_run, concrete_id, read_log, read_run
from coreclaw_async._wire.request import check_seconds
from coreclaw_async.events import RunChanged
from coreclaw_async.models import LogLevel, Run, RunOutcome, RunRef

logger = logging.getLogger("coreclaw_async")

OnCancel = Literal["leave", "abort"]

_ABORT_SECONDS = 5.0
_LOG_SECONDS = 5.0
_LOG_LINES = 10


def check_wait(timeout: float | None, on_update: UpdateHook | None, on_cancel: str) -> None:
    """Raise when a wait cannot be meant like this; for a start and a wait in one, before anything is paid for."""
    if on_update is not None and not callable(on_update):
        raise TypeError(f"on_update must be callable, not {on_update!r}")
    if timeout is not None:
        check_seconds("timeout", timeout)
    if on_cancel not in get_args(OnCancel):
        raise ValueError(f"on_cancel must be 'leave' or 'abort', not {on_cancel!r}")


async def wait_for_run(
    context: Context,
    run: RunRef,
    *,
    timeout: float | None,
    check: bool,
    on_update: UpdateHook | None,
    on_cancel: OnCancel,
) -> Run:
    """Wait for the end of *run*; see `AsyncRuns.wait`."""
    check_wait(timeout, on_update, on_cancel)
    began = context.transport.clock.monotonic()
    run_id = await concrete_id(context, run, within=timeout)
    if timeout is not None:  # What it took to find out which run is meant is part of the wait.
        timeout = max(timeout - (context.transport.clock.monotonic() - began), 0.0)
    follower = RunFollower(
        run_id=run_id,
        look=lambda within: read_run(context, run_id, within=within),
        clock=context.transport.clock,
        schedule=context.schedule,
        on_change=lambda now, before: context.transport.emit(
            RunChanged(run=now, previous=None if before is None or before.status is None else str(before.status))
        ),
        on_update=on_update,
    )
    try:
        ended = await follower.follow(timeout)
    except BaseException as error:
        if not isinstance(error, errors.CoreClawError):
            # A cancellation takes nothing along; whoever looks at it, or at the log, shall know which run it left.
            error.add_note(f"the wait for run {run_id} was left")
            logger.info("the wait for run %s was left by %s", run_id, type(error).__name__)
        if on_cancel == "abort":
            await _abort_quickly(context, run_id)
        raise
    if check:
        await _raise_unless_succeeded(context, ended)
    return ended


async def _abort_quickly(context: Context, run_id: str) -> None:
    """Abort the run in a short time that no cancellation cuts; a failure must not hide why the wait ended."""
    try:
        with anyio.move_on_after(_ABORT_SECONDS, shield=True):
            await abort_run(context, run_id)
    except errors.CoreClawError:
        return


async def _raise_unless_succeeded(context: Context, run: Run) -> None:
    if run.outcome is RunOutcome.SUCCEEDED:
        return
    if run.outcome is RunOutcome.FAILED:
        log = await _last_lines(context, run.run_id)
        why = f": {run.error_message}" if run.error_message else ""
        raise errors.RunFailedError(f"run {run.run_id} ended as {run.status}{why}", run_id=run.run_id, run=run, log=log)
    confirmed = run.outcome is RunOutcome.ABORTED
    what = "was aborted" if confirmed else "is still aborting, and nothing says that it has ended"
    raise errors.RunAbortedError(f"run {run.run_id} {what}", run_id=run.run_id, run=run, confirmed=confirmed)


async def _last_lines(context: Context, run_id: str) -> list[str]:
    """Return the end of the log that speaks of errors, or its very end; nothing when it cannot be read soon."""
    try:
        log = await read_log(context, run_id, within=_LOG_SECONDS)
    except errors.CoreClawError:
        return []
    lines = [entry.content for entry in log.entries if entry.level is LogLevel.ERROR]
    return (lines or [entry.content for entry in log.entries])[-_LOG_LINES:]
