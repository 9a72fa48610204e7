"""Operations on runs: list, detail, abort, rerun, log and results."""

from __future__ import annotations

from typing import Any

from coreclaw_async.testing._api.answers import NO_DATA, RefusedError
from coreclaw_async.testing._api.calls import Call, Pending
from coreclaw_async.testing._api.logs import log_lines, show_entries
from coreclaw_async.testing._api.months import run_window
from coreclaw_async.testing._api.request_rules import RUN_STATUSES
from coreclaw_async.testing._api.result_pages import show_results
from coreclaw_async.testing._api.run_starts import check_input, check_version, start_run, sync_reply
from coreclaw_async.testing._api.signed_urls import log_url
from coreclaw_async.testing._state.fake_run import FakeRun


def run_worker(call: Call) -> Any:
    """Answer `POST /workers/{workerId}/runs`."""
    worker = call.worker()
    version = check_version(worker, call.body.get("version"))
    check_input(worker, call.body.get("input"))
    return start_run(call, worker, call.body["input"], version=version)


def rerun(call: Call) -> Any:
    """Answer the three rerun operations: a new run with the input of the old one."""
    old = call.run(reading=False)
    worker = call.world.workers[old.worker_id]
    return start_run(call, worker, old.input, version=old.version, repeated=True, task_id=old.task_id)


def abort(call: Call) -> Any:
    """Answer the three abort operations: without data, or with the run and its rows once it has ended."""
    run = call.run(reading=False)
    if run.is_final:
        raise RefusedError(400, 70002, "the run can no longer be aborted")
    run.abort()
    if "callback_url" in call.body:
        call.world.call_back(run, call.body["callback_url"])
    if call.body.get("is_async", True):
        return NO_DATA
    return Pending(run, lambda: sync_reply(call, run, repeated=True))


def get_run(call: Call) -> Any:
    """Answer the three detail operations."""
    shown = _show_run(call.run())
    if not call.switches.detail_err_msg:
        del shown["err_msg"]
    return shown


def list_runs(call: Call) -> Any:
    """Answer `GET /worker-runs`: the runs of one month, newest first."""
    switches = call.switches
    status = call.query.get("status")
    if status is not None and status not in RUN_STATUSES:
        raise RefusedError(422, 11000, f"status must be one of {', '.join(RUN_STATUSES)}")
    worker_id = call.worker_named(call.query["worker_id"]).slug if "worker_id" in call.query else None
    since, until = run_window(call.query, switches.clock.time())
    fitting = [
        run
        for run in call.world.runs_created_between(since, until)
        if (worker_id is None or run.worker_id == worker_id)
        and (status is None or run.status == status)
        and (not switches.list_lag or run.age >= switches.list_lag)
    ]
    window = call.window
    echo = switches.echo_page_index if switches.run_list_echo is None else switches.run_list_echo
    page = [_show_run(run) for run in fitting[window.start : window.stop]]
    return {"count": len(fitting), "list": switches.show_list(page), **(window.echo if echo else {})}


def list_results(call: Call) -> Any:
    """Answer the three result operations."""
    return show_results(call.run(), call.window, call.switches)


def get_log(call: Call) -> Any:
    """Answer the three log operations: the newest lines, and where all of them are."""
    run = call.run()
    return {
        "all_logs_url": log_url(call.world, run),
        "list": call.switches.show_list(show_entries(log_lines(run), call.switches.log_entries)),
        "result_count": run.result_count,
    }


def _show_run(run: FakeRun) -> dict[str, Any]:
    began, ended = run.started_after, run.ended_after
    return {
        "slug": run.run_id,
        "scraper_slug": run.worker_id,
        "scraper_title": run.worker_title,
        "version": run.version,
        "status": run.status,
        "results": run.result_count,
        "usage": f"{run.usage:f}",
        "traffic": run.result_count * 1024,
        "origin": run.origin,
        "started_at": 0 if began is None or began > run.age else int(run.created_at + began),
        "finished_at": 0 if ended is None or ended > run.age else int(run.created_at + ended),
        "duration": int(run.duration),
        "err_msg": run.error_message,
    }
