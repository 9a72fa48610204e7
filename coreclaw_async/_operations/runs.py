"""Plain operations on one run."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Generator
from typing import Any

from coreclaw_async import errors
from coreclaw_async._operations.context import Context
from coreclaw_async._operations.start import is_usable_id, min_timeout_of, read_created
from coreclaw_async._wire.converter import read_model, read_named
from coreclaw_async._wire.json_types import as_object
from coreclaw_async._wire.pages import read_result_page
from coreclaw_async._wire.request import Safety, build_body, build_query
from coreclaw_async._wire.response import Answer, named_run
from coreclaw_async._wire.run_paths import RunOperation, run_id_of, run_request
from coreclaw_async.models import AbortedRun, LastRun, ResultPage, Run, RunLog, RunRef

_GET = RunOperation("getWorkerRun", last=("getLastWorkerRun", "getWorkerLastRun"))
_ABORT = RunOperation("abortWorkerRun", ("abort",), "POST", last=("abortLastWorkerRun", "abortWorkerLastRun"))
_LOG = RunOperation("getWorkerRunLog", ("log",), last=("getLastWorkerRunLog", "getWorkerLastRunLog"))
_RESULTS = RunOperation(
    "listWorkerRunResults", ("result",), last=("listLastWorkerRunResults", "listWorkerLastRunResults")
)


@contextlib.contextmanager
def errors_about(run: RunRef) -> Generator[None]:
    """Put the run's id, where it is known, into the errors of the block."""
    try:
        yield
    except errors.CoreClawError as error:
        error.run_id = error.run_id or run_id_of(run)
        raise


async def read_run(context: Context, run: RunRef, *, deadline: float | None = None, is_probe: bool = False) -> Run:
    """Return the run as it is now."""
    request = run_request(_GET, run)
    run_id = run_id_of(run)
    read = functools.partial(read_named, model=Run, name="run_id", asked=run_id)
    try:  # `errors_about` costs more, and nothing is called more often.
        return await context.transport.call(request, read, deadline=deadline, is_probe=is_probe)
    except errors.CoreClawError as error:
        error.run_id = error.run_id or run_id
        raise


async def concrete_id(context: Context, run: RunRef) -> str:
    """Return the id of *run*; asks once which one it is where it is named as the last."""
    run_id = run_id_of(run)
    if run_id is not None:
        return run_id
    return id_of_last(await read_run(context, run))


def id_of_last(run: Run) -> str:
    """Return the id of what the service called the last run; raise InvalidResponseError when it cannot be one."""
    if not is_usable_id(run.run_id):
        raise errors.InvalidResponseError(f"the last run cannot be named: its slug is {run.run_id!r}")
    return run.run_id


async def abort_run(context: Context, run: RunRef, *, deadline: float | None = None, **members: Any) -> AbortedRun:
    """
    Ask the service to abort the run and return which one it is.

    Always sends an object, as the contract's own page requires a body.
    """
    request = run_request(
        _ABORT,
        run,
        is_urgent=True,
        body=build_body(**members),
        # The last run may be another one when the request is retried.
        safety=Safety.ONCE if isinstance(run, LastRun) else Safety.REPEATABLE,
        min_timeout=min_timeout_of(members),
        already_done_error=errors.RunOperationError,
    )
    with errors_about(run):
        reader = functools.partial(_read_aborted, given_id=run_id_of(run))
        return await context.transport.call(request, reader, deadline=deadline)


def _read_aborted(answer: Answer, *, given_id: str | None) -> AbortedRun:
    """Return what the service says about the run; whatever that is, it has accepted the abort."""
    members = as_object(answer.data)
    named = named_run(members)
    run_id = named if named is not None and is_usable_id(named) else given_id
    return read_created(answer, AbortedRun, {**members, "run_slug": run_id})


async def read_log(context: Context, run: RunRef, *, deadline: float | None = None, is_probe: bool = False) -> RunLog:
    """Return the recent part of the run's log."""
    request = run_request(_LOG, run)
    with errors_about(run):
        return await context.transport.call(
            request, functools.partial(read_model, model=RunLog), deadline=deadline, is_probe=is_probe
        )


async def read_results(
    context: Context, run: RunRef, *, offset: int, limit: int, keeps_numbers: bool = False
) -> ResultPage:
    """Return one page of the run's rows; *keeps_numbers* is that of `Request`."""
    query = build_query(offset=offset, limit=limit)
    request = run_request(_RESULTS, run, query=query, keeps_numbers=keeps_numbers)
    with errors_about(run):
        return await context.transport.call(request, functools.partial(read_result_page, offset=offset, limit=limit))
