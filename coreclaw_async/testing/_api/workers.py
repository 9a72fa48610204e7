"""Workers: those of the account, their detail and input schema, and starting their runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from coreclaw_async.testing._api.answer_style import shown_list, shown_path
from coreclaw_async.testing._api.calls import Call
from coreclaw_async.testing._api.operation import operation
from coreclaw_async.testing._api.request_rules import RUN_BODY, WINDOW, Member
from coreclaw_async.testing._api.run_starts import check_input, check_version, start_run
from coreclaw_async.testing._state.records import FakeWorker
from coreclaw_async.testing._state.switches import Switches

PAGED_BY_KEYWORD = {**WINDOW, "keyword": Member("string")}


@operation("listWorkers", "GET", "/workers", query=PAGED_BY_KEYWORD)
def list_workers(call: Call) -> Any:
    """Return one page of the account's own Workers."""
    return page_of_workers(call, (worker for worker in call.world.workers.values() if worker.owned))


@operation("getWorker", "GET", "/workers/{workerId}")
def get_worker(call: Call) -> Any:
    """Return the detail, with the input schema under another name."""
    worker = call.worker()
    return {
        "name": worker.name,
        "username": worker.username,
        "version": worker.version,
        "readme": f"# {worker.title}\n\n{worker.description}\n",
        "parameters": {"custom": _show_schema(worker, call.switches), "system": {"proxy_region": "US"}},
    }


@operation("getWorkerInputSchema", "GET", "/workers/{workerId}/input-schema", public=True)
def get_input_schema(call: Call) -> Any:
    """Return the input schema, in the shape that `input_schema` says."""
    worker = call.worker()
    if call.switches.input_schema == "missing":
        return {}
    return {"input_schema": _show_schema(worker, call.switches)}


@operation("runWorker", "POST", "/workers/{workerId}/runs", body=RUN_BODY)
def run_worker(call: Call) -> Any:
    """Start a run that is paid for."""
    worker, version = _checked_start(call)
    return start_run(call, worker, call.body["input"], version=version)


@operation("queuedRunWorker", "POST", "/workers/{workerId}/queued-runs", body=RUN_BODY)
def queue_run(call: Call) -> Any:
    """Put a run into the queue; `is_async`, `limit` and `offset` do nothing."""
    worker, version = _checked_start(call)
    item = call.world.add_queue_item(
        worker_id=worker.slug,
        version=version,
        input=call.body["input"],
        callback_url=call.body.get("callback_url"),
    )
    call.world.queue_items_created += 1
    return {"queued": True, "queue_ref": item.queue_ref, "queue_status": item.status}


def _checked_start(call: Call) -> tuple[FakeWorker, str]:
    """Return the Worker and the version that runs."""
    worker = call.worker()
    version = check_version(worker, call.body.get("version"))
    check_input(worker, call.body.get("input"))
    return worker, version


def page_of_workers(call: Call, workers: Iterable[FakeWorker]) -> Any:
    """Return one page of `workers`; this list has neither a count nor page numbers."""
    keyword = call.query.get("keyword", "").lower()
    window = call.window
    fitting = [worker for worker in workers if keyword in f"{worker.title}\n{worker.slug}\n{worker.path}".lower()]
    page = [_show_worker(worker, call.switches) for worker in fitting[window.start : window.stop]]
    return {"scraper": shown_list(page, call.switches)}


def _show_worker(worker: FakeWorker, switches: Switches) -> dict[str, Any]:
    return {
        "slug": worker.slug,
        "name": worker.name,
        "path": shown_path(worker.path, switches),
        "title": worker.title,
        "username": worker.username,
        "description": worker.description,
    }


def _show_schema(worker: FakeWorker, switches: Switches) -> dict[str, Any]:
    """Return the input schema as a list of properties, or as the map of the published example."""
    if switches.input_schema != "map":
        return {"description": worker.description, **worker.extra_schema, "properties": list(worker.properties)}
    return {
        "type": "object",
        "properties": {entry["name"]: _without_name(entry) for entry in worker.properties},
        "required": [entry["name"] for entry in worker.properties if entry.get("required") is True],
    }


def _without_name(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if name not in {"name", "required"}}
