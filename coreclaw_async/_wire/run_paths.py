"""The request of an operation on one run: for a run that is named by its id, or for a last run."""

from __future__ import annotations

from typing import Any

import attrs

from coreclaw_async._wire.request import Request, build_path, check_id, check_worker_id
from coreclaw_async.models import LastRun, Run, RunRef, StartedRun


@attrs.frozen(eq=False, repr=False)
class RunOperation:
    """
    An operation on one run.

    Attributes:
        by_id: Its operationId for a run that is named by its id.
        tail: What its path has behind the run.
        method: HTTP method.
        last: operationIds of the same for the account's last run and for a worker's last run; None where the service
            has no such operations.
        last_tail: What their paths have behind the run, where that differs.
    """

    by_id: str
    tail: tuple[str, ...] = ()
    method: str = "GET"
    last: tuple[str, str] | None = attrs.field(default=None, kw_only=True)
    last_tail: tuple[str, ...] | None = attrs.field(default=None, kw_only=True)


_LAST = "/last"
_WITH_ID = (Run, StartedRun)  # Made once: `Run | StartedRun` would be made with each call.


def run_id_of(run: RunRef) -> str | None:
    """Return the id of *run*, or None for a `LastRun`."""
    return None if isinstance(run, LastRun) else _id(run)


def last_run_name(run: LastRun) -> str:
    """Return a name for a last run whose id is not known yet; no id looks like it."""
    return f"{run.worker_id or ''}{_LAST}"


def run_named(name: str) -> RunRef:
    """Return the run for an id or for a name made by `last_run_name`."""
    return LastRun(name.removesuffix(_LAST) or None) if name.endswith(_LAST) else name


def run_request(operation: RunOperation, run: RunRef, **members: Any) -> Request:
    """
    Return the request that does *operation* to *run*.

    Raises:
        TypeError: *run* is the last one, and the service has no such operation for it.
    """
    if isinstance(run, LastRun):
        name, path = _last(operation, run)
    else:
        name, path = operation.by_id, build_path("worker-runs", _id(run), *operation.tail)
    return Request(operation=name, method=operation.method, path=path, **members)


def _id(run: str | Run | StartedRun) -> str:
    run_id = run.run_id if isinstance(run, _WITH_ID) else run
    return check_id("run", run_id, "its id (a str), a Run, a StartedRun or a LastRun")


def _last(operation: RunOperation, run: LastRun) -> tuple[str, str]:
    """Return operationId and path of *operation* for a last run."""
    if operation.last is None:
        raise TypeError(f"run must be named by its id: the service has no {operation.by_id} for {run!r}")
    of_account, of_worker = operation.last
    tail = operation.tail if operation.last_tail is None else operation.last_tail
    if run.worker_id is None:
        return of_account, build_path("worker-runs", "last", *tail)
    return of_worker, build_path("workers", check_worker_id("worker_id", run.worker_id), "runs", "last", *tail)
