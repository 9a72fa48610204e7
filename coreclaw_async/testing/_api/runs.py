"""Runs: list, detail, abort, rerun, log, results and exports."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from coreclaw_async.testing._api.answer_style import shown_list
from coreclaw_async.testing._api.answers import NO_DATA, RefusedError
from coreclaw_async.testing._api.calls import Call, Pending
from coreclaw_async.testing._api.export_formats import CONTENT_TYPES, write_export
from coreclaw_async.testing._api.logs import log_lines, show_entries, write_log
from coreclaw_async.testing._api.months import run_window
from coreclaw_async.testing._api.operation import operation
from coreclaw_async.testing._api.paging import show_headers, show_results
from coreclaw_async.testing._api.request_rules import RUN_OPTIONS, WINDOW, Member
from coreclaw_async.testing._api.run_starts import start_run, sync_reply
from coreclaw_async.testing._api.signed_urls import sign
from coreclaw_async.testing._state.fake_run import FakeRun
from coreclaw_async.testing._state.scripts import NOT_FINAL

_RUN = "/worker-runs/{runId}"
_LAST = "/worker-runs/last"
_WORKER_LAST = "/workers/{workerId}/runs/last"

_STATUSES = ("ready", "running", "succeeded", "failed", "aborting")
_TIME = Member("integer", low=0, high=253_370_764_800)  # The year 9999; later months cannot be computed with.
_LIST_QUERY = {
    **WINDOW,
    "worker_id": Member("string"),
    "status": Member("string"),
    "start_time": _TIME,
    "end_time": _TIME,
}
_EXPORT_QUERY = {"format": Member("string"), "filter_keys": Member("string")}


@operation("rerunWorkerRun", "POST", f"{_RUN}/rerun", body=RUN_OPTIONS)
@operation("rerunLastWorkerRun", "POST", f"{_LAST}/rerun", body=RUN_OPTIONS)
@operation("rerunWorkerLastRun", "POST", f"{_WORKER_LAST}/rerun", body=RUN_OPTIONS)
def rerun(call: Call) -> Any:
    """Start a new run with the input of the old one, which is paid for."""
    old = call.run(reading=False)
    worker = call.world.workers[old.worker_id]
    return start_run(call, worker, old.input, version=old.version, repeated=True, task_id=old.task_id)


@operation("abortWorkerRun", "POST", f"{_RUN}/abort", body=RUN_OPTIONS, lenient_body=True)
@operation("abortLastWorkerRun", "POST", f"{_LAST}/abort", body=RUN_OPTIONS, lenient_body=True)
@operation("abortWorkerLastRun", "POST", f"{_WORKER_LAST}/abort", body=RUN_OPTIONS, lenient_body=True)
def abort(call: Call) -> Any:
    """Begin to abort a run; answers without data, or with the run and its rows once it has ended."""
    run = call.run(reading=False)
    if not run.abort() and run.is_final:
        raise RefusedError(400, 70002, "the run can no longer be aborted")
    if "callback_url" in call.body:
        call.world.call_back(run, call.body["callback_url"])
    if call.body.get("is_async", True):
        return NO_DATA
    return Pending(run, lambda: sync_reply(call, run, repeated=True))


@operation("getWorkerRun", "GET", _RUN)
@operation("getLastWorkerRun", "GET", _LAST)
@operation("getWorkerLastRun", "GET", _WORKER_LAST)
def get_run(call: Call) -> Any:
    """Return the detail of a run."""
    shown = _show_run(call.run())
    if not call.switches.detail_err_msg:
        del shown["err_msg"]
    return shown


@operation("listWorkerRuns", "GET", "/worker-runs", query=_LIST_QUERY)
def list_runs(call: Call) -> Any:
    """Return one page of the runs of one month, newest first."""
    switches = call.switches
    status = call.query.get("status")
    if status is not None and status not in _STATUSES:
        raise RefusedError(422, 11000, f"status must be one of {', '.join(_STATUSES)}")
    worker_id = call.wanted_worker_id
    since, until = run_window(call.query, switches.clock.time())
    fitting: Sequence[FakeRun] = call.world.runs_created_between(
        since, until, worker_id, may_have_ended=status not in NOT_FINAL
    )
    if status is not None or switches.list_lag:  # With 100,000 runs it takes ten milliseconds.
        fitting = [
            run
            for run in fitting
            if (status is None or run.status == status) and (not switches.list_lag or run.age >= switches.list_lag)
        ]
    return call.page_of(fitting, _show_run, echo=switches.run_list_echo)


@operation("listWorkerRunResults", "GET", f"{_RUN}/result", query=WINDOW)
@operation("listLastWorkerRunResults", "GET", f"{_LAST}/result", query=WINDOW)
@operation("listWorkerLastRunResults", "GET", f"{_WORKER_LAST}/result", query=WINDOW)
def list_results(call: Call) -> Any:
    """Return one page of the rows of a run."""
    return show_results(call.run(), call.window, call.switches)


@operation("getWorkerRunLog", "GET", f"{_RUN}/log")
@operation("getLastWorkerRunLog", "GET", f"{_LAST}/log")
@operation("getWorkerLastRunLog", "GET", f"{_WORKER_LAST}/log")
def get_log(call: Call) -> Any:
    """Return the newest lines of the log, and where all of them are."""
    run = call.run()
    lines = log_lines(run)
    whole = write_log(lines).encode()
    return {
        "all_logs_url": sign(call.world, run, "log.txt", "text/plain; charset=utf-8", lambda: iter((whole,))),
        "list": shown_list(show_entries(lines, call.switches.log_entries), call.switches),
        "result_count": run.result_count,
    }


@operation("exportWorkerRunResults", "GET", f"{_RUN}/result/export", query=_EXPORT_QUERY)
@operation("exportLastWorkerRunResults", "GET", f"{_LAST}/export", query=_EXPORT_QUERY)
@operation("exportWorkerLastRunResults", "GET", f"{_WORKER_LAST}/export", query=_EXPORT_QUERY)
def export_results(call: Call) -> Any:
    """
    Return a URL of a new file with the rows as they are now.

    Raises:
        RefusedError: 400 with 11000 for an unknown format or column.
    """
    run = call.run()
    form = call.query.get("format", "csv").lower()
    if form not in CONTENT_TYPES:
        raise RefusedError(400, 11000, "Unsupported export format")
    headers = _chosen_headers(show_headers(run.row_list), call.query.get("filter_keys"))
    write = partial(write_export, form, headers, run.row_list.copy(), run.visible_rows)
    return {"download_url": sign(call.world, run, f"results.{form}", CONTENT_TYPES[form], write)}


def _chosen_headers(headers: list[dict[str, str]], filter_keys: str | None) -> list[dict[str, str]]:
    if not filter_keys:
        return headers
    by_key = {header["key"]: header for header in headers}
    asked = filter_keys.split(",")
    unknown = [key for key in asked if key not in by_key]
    if unknown:
        raise RefusedError(400, 11000, f"filter_keys has unknown keys: {', '.join(unknown)}")
    return [by_key[key] for key in asked]


def _show_run(run: FakeRun) -> dict[str, Any]:
    # One look at the clock: all members tell of the same moment, and lists of a hundred runs take less time.
    age = run.age
    began, ended = _past(run.started_after, age), _past(run.ended_after, age)
    result_count = run.results_after(age)
    return {
        "slug": run.run_id,
        "scraper_slug": run.worker_id,
        "scraper_title": run.worker_title,
        "version": run.version,
        "status": run.status_after(age),
        "results": result_count,
        "usage": f"{run.cost_of(result_count):f}",
        "traffic": result_count * 1024,
        "origin": run.origin,
        "started_at": 0 if began is None else int(run.created_at + began),
        "finished_at": 0 if ended is None else int(run.created_at + ended),
        "duration": 0 if began is None else int((age if ended is None else ended) - began),
        "err_msg": "" if ended is None else run.script.error_message,
    }


def _past(after: float | None, age: float) -> float | None:
    """Return when something has happened, in seconds after the creation; None where it has not by *age*."""
    return None if after is None or after > age else after
