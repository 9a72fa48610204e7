"""The operation for an action on a run: each action has three, for a run id, the last run, and a worker's last run."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from coreclaw_async._wire.request import Request, build_path, check_id, check_worker_id
from coreclaw_async.models import LastRun, Run, RunRef, StartedRun

RunAction: TypeAlias = Literal["get", "abort", "rerun", "log", "result", "export"]

# operationId for a concrete run, for the account's last run, for a worker's last run.
_OPERATIONS: dict[RunAction, tuple[str, str, str]] = {
    "get": ("getWorkerRun", "getLastWorkerRun", "getWorkerLastRun"),
    "abort": ("abortWorkerRun", "abortLastWorkerRun", "abortWorkerLastRun"),
    "rerun": ("rerunWorkerRun", "rerunLastWorkerRun", "rerunWorkerLastRun"),
    "log": ("getWorkerRunLog", "getLastWorkerRunLog", "getWorkerLastRunLog"),
    "result": ("listWorkerRunResults", "listLastWorkerRunResults", "listWorkerLastRunResults"),
    "export": ("exportWorkerRunResults", "exportLastWorkerRunResults", "exportWorkerLastRunResults"),
}
_TAILS: dict[RunAction, tuple[str, ...]] = {
    "get": (),
    "abort": ("abort",),
    "rerun": ("rerun",),
    "log": ("log",),
    "result": ("result",),
    "export": ("export",),
}
_LAST = "/last"


def run_id_of(run: RunRef) -> str | None:
    """Return the id of *run*, or None for a `LastRun`."""
    if isinstance(run, LastRun):
        return None
    return check_id("run", run.run_id if isinstance(run, Run | StartedRun) else run)


def last_run_name(run: LastRun) -> str:
    """Return a name for a last run whose id is not known yet; no id looks like it."""
    return f"{run.worker_id or ''}{_LAST}"


def run_named(name: str) -> RunRef:
    """Return the run for an id or for a name made by `last_run_name`."""
    return LastRun(name.removesuffix(_LAST) or None) if name.endswith(_LAST) else name


def run_request(action: RunAction, run: RunRef, *, method: str = "GET", **members: Any) -> Request:
    """Return the request that does *action* to *run*."""
    by_id, last, last_of_worker = _OPERATIONS[action]
    tail = _TAILS[action]
    run_id = run_id_of(run)
    if run_id is not None:
        # The export of a concrete run lies below its results, those of last runs do not (openapi.json).
        below = ("result", *tail) if action == "export" else tail
        return Request(operation=by_id, method=method, path=build_path("worker-runs", run_id, *below), **members)
    assert isinstance(run, LastRun)
    if run.worker_id is None:
        return Request(operation=last, method=method, path=build_path("worker-runs", "last", *tail), **members)
    worker_id = check_worker_id("worker_id", run.worker_id)
    path = build_path("workers", worker_id, "runs", "last", *tail)
    return Request(operation=last_of_worker, method=method, path=path, **members)
