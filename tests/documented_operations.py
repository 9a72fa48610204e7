"""The operations of the API, once for all tests: request, call, and the data of the documented answer of each."""

from __future__ import annotations

import copy
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs
import httpx
from either_client import AsyncCoreClaw

from coreclaw_async import LastRun, RetryPolicy

RUN_ID = "01KKDXV2G26BT7NH4ZQR2R4NPZ"
WORKER = "demo-worker"
TASK_ID = "demo-task"
QUEUE_ID = "123456"
INPUT = {"keyword": "coffee"}
_PARAMETERS = {RUN_ID: "{runId}", WORKER: "{workerId}", TASK_ID: "{workerTaskId}", QUEUE_ID: "{queueId}"}


@attrs.frozen
class Names:
    """What a call is about; by default what the documented answers are about."""

    run_id: str = RUN_ID
    worker_id: str = WORKER
    task_id: str = TASK_ID
    queue_id: str = QUEUE_ID


NAMES = Names()

RUN: dict[str, Any] = {
    "duration": 10,
    "err_msg": "",
    "finished_at": 1782091210,
    "origin": "openapi",
    "results": 1,
    "scraper_slug": WORKER,
    "scraper_title": "Demo Worker",
    "slug": RUN_ID,
    "started_at": 1782091200,
    "status": "running",
    "traffic": 0,
    "usage": "1.00",
    "version": "latest",
}
WORKERS = {
    "scraper": [
        {
            "description": "Example Worker",
            "name": "demo-worker",
            "path": "owner~demo-worker",
            "slug": WORKER,
            "title": "Demo Worker",
            "username": "owner",
        }
    ]
}
TASK: dict[str, Any] = {
    "description": "Example task",
    "id": 1,
    "schedule_enabled": 0,
    "schedule_time": "",
    "schedule_type": 0,
    "slug": TASK_ID,
    "title": "Demo Task",
    "version": "latest",
    "worker_path": "owner~demo-worker",
    "worker_slug": WORKER,
}
RESULTS: dict[str, Any] = {
    "count": 1,
    "headers": [{"key": "title", "label": "Title"}],
    "list": [{"title": "Example result"}],
    "page_index": 1,
    "page_size": 20,
}
LOG: dict[str, Any] = {
    "all_logs_url": "https://files.example.com/log.txt?signature=s",
    "list": ["2026-06-22 started", {"type": 2, "group": "0", "content": "going", "timestamp": 1782091200123}],
    "result_count": 1,
}
EXPORT = {"download_url": "https://files.example.com/export.csv?signature=s"}
STARTED: dict[str, Any] = {
    "run_slug": RUN_ID,
    "run_status": "succeeded",
    "error_message": "",
    "result_message": "",
    "execution_start_timestamp": 1782091200,
    "execution_end_timestamp": 1782091210,
    "running_duration": 10,
    "is_finished": True,
    "results": RESULTS,
}
ACTIONS = {"results": [{"queue_ref": QUEUE_ID, "success": True}, {"queue_ref": "7", "success": False, "error": "no"}]}
REGIONS = {"list": [{"code": "US", "name": "United States"}]}
SCHEMA: dict[str, Any] = {
    "input_schema": {
        "description": "Example",
        "concurrency": {"fields": ["keyword"]},
        "properties": [
            {"name": "keyword", "type": "string", "editor": "input", "required": True, "default": "coffee"},
            {"name": "n", "type": "integer", "editor": "number", "minimum": 1, "maximum": 5, "options": []},
        ],
    }
}
WORKER_DETAIL: dict[str, Any] = {
    "name": "demo-worker",
    "parameters": {"custom": {"type": "object"}, "system": {"proxy_region": "US"}},
    "readme": "# Demo",
    "username": "owner",
    "version": "latest",
}
QUEUE: dict[str, Any] = {"count": 1, "list": [{"queue_ref": QUEUE_ID, "queue_status": "waiting"}]}
NOTHING: Any = None


def listed(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data of a list with one record."""
    return {"count": 1, "list": [record], "page_index": 1, "page_size": 20}


@attrs.frozen
class Operation:
    """
    One operation.

    Attributes:
        name: Its operationId.
        method: GET, POST, PUT or DELETE.
        path: Behind ``/api/v2``, with ids put in.
        data: The data of its documented answer.
        call: Makes it; for `NAMES`, the answer is about the same.
    """

    name: str
    method: str
    path: str
    data: Any
    call: Callable[[AsyncCoreClaw, Names], Awaitable[Any]]

    @property
    def endpoint(self) -> str:
        """Method and path as docstrings name them, with the ids in braces."""
        return f"{self.method} {'/'.join(_PARAMETERS.get(part, part) for part in self.path.split('/'))}"

    def path_for(self, names: Names) -> str:
        """Return the path of a call for *names*."""
        given = dict(zip(attrs.astuple(NAMES), attrs.astuple(names), strict=True))
        return "/".join(given.get(part, part) for part in self.path.split("/"))


LAST = LastRun()
LAST_OF_WORKER = LastRun(WORKER)
BY_ID, BY_LAST, BY_WORKER = f"/worker-runs/{RUN_ID}", "/worker-runs/last", f"/workers/{WORKER}/runs/last"

OPERATIONS = (
    Operation("listProxyRegions", "GET", "/proxy/region", REGIONS, lambda c, w: c.proxies.list_regions()),
    Operation("listStore", "GET", "/store", WORKERS, lambda c, w: c.store.list_page()),
    Operation(
        "getAccount",
        "GET",
        "/users/account",
        {"balance": "100.00", "balance_expiration_at": 1782091200},
        lambda c, w: c.account.get(),
    ),
    Operation("listWorkers", "GET", "/workers", WORKERS, lambda c, w: c.workers.list_page()),
    Operation("getWorker", "GET", f"/workers/{WORKER}", WORKER_DETAIL, lambda c, w: c.workers.get(w.worker_id)),
    Operation(
        "getWorkerInputSchema",
        "GET",
        f"/workers/{WORKER}/input-schema",
        SCHEMA,
        lambda c, w: c.workers.get_input_schema(w.worker_id),
    ),
    Operation(
        "runWorker",
        "POST",
        f"/workers/{WORKER}/runs",
        STARTED,
        lambda c, w: c.workers.start_run(w.worker_id, INPUT),
    ),
    Operation("listWorkerTasks", "GET", "/worker-tasks", listed(TASK), lambda c, w: c.tasks.list_page()),
    Operation(
        "runWorkerTask",
        "POST",
        f"/worker-tasks/{TASK_ID}/runs",
        STARTED,
        lambda c, w: c.tasks.start_run(w.task_id),
    ),
    Operation(
        "createWorkerTask",
        "POST",
        "/worker-tasks",
        {"slug": TASK_ID},
        lambda c, w: c.tasks.create(worker_id=w.worker_id, title="Demo Task", input=INPUT),
    ),
    Operation("getWorkerTask", "GET", f"/worker-tasks/{TASK_ID}", TASK, lambda c, w: c.tasks.get(w.task_id)),
    Operation(
        "updateWorkerTask",
        "PUT",
        f"/worker-tasks/{TASK_ID}",
        NOTHING,
        lambda c, w: c.tasks.update(w.task_id, title="t"),
    ),
    Operation(
        "deleteWorkerTask", "DELETE", f"/worker-tasks/{TASK_ID}", NOTHING, lambda c, w: c.tasks.delete(w.task_id)
    ),
    Operation(
        "getWorkerTaskInput",
        "GET",
        f"/worker-tasks/{TASK_ID}/input",
        {"input": {"parameters": {"custom": INPUT}}, "version": "latest"},
        lambda c, w: c.tasks.get_input(w.task_id),
    ),
    Operation(
        "updateWorkerTaskInput",
        "PUT",
        f"/worker-tasks/{TASK_ID}/input",
        NOTHING,
        lambda c, w: c.tasks.update_input(w.task_id, INPUT),
    ),
    Operation("listWorkerRuns", "GET", "/worker-runs", listed(RUN), lambda c, w: c.runs.list_page()),
    Operation("getLastWorkerRun", "GET", BY_LAST, RUN, lambda c, w: c.runs.get(LAST)),
    Operation("abortLastWorkerRun", "POST", f"{BY_LAST}/abort", NOTHING, lambda c, w: c.runs.abort(LAST)),
    Operation("exportLastWorkerRunResults", "GET", f"{BY_LAST}/export", EXPORT, lambda c, w: c.runs.export(LAST)),
    Operation("getLastWorkerRunLog", "GET", f"{BY_LAST}/log", LOG, lambda c, w: c.runs.get_log(LAST)),
    Operation("rerunLastWorkerRun", "POST", f"{BY_LAST}/rerun", STARTED, lambda c, w: c.runs.rerun(LAST)),
    Operation(
        "listLastWorkerRunResults",
        "GET",
        f"{BY_LAST}/result",
        RESULTS,
        lambda c, w: c.runs.list_results_page(LAST),
    ),
    Operation("getWorkerRun", "GET", BY_ID, RUN, lambda c, w: c.runs.get(w.run_id)),
    Operation("abortWorkerRun", "POST", f"{BY_ID}/abort", NOTHING, lambda c, w: c.runs.abort(w.run_id)),
    Operation("getWorkerRunLog", "GET", f"{BY_ID}/log", LOG, lambda c, w: c.runs.get_log(w.run_id)),
    Operation("rerunWorkerRun", "POST", f"{BY_ID}/rerun", STARTED, lambda c, w: c.runs.rerun(w.run_id)),
    Operation(
        "listWorkerRunResults", "GET", f"{BY_ID}/result", RESULTS, lambda c, w: c.runs.list_results_page(w.run_id)
    ),
    Operation("exportWorkerRunResults", "GET", f"{BY_ID}/result/export", EXPORT, lambda c, w: c.runs.export(w.run_id)),
    Operation("getWorkerLastRun", "GET", BY_WORKER, RUN, lambda c, w: c.runs.get(LastRun(w.worker_id))),
    Operation(
        "abortWorkerLastRun",
        "POST",
        f"{BY_WORKER}/abort",
        NOTHING,
        lambda c, w: c.runs.abort(LastRun(w.worker_id)),
    ),
    Operation(
        "exportWorkerLastRunResults",
        "GET",
        f"{BY_WORKER}/export",
        EXPORT,
        lambda c, w: c.runs.export(LastRun(w.worker_id)),
    ),
    Operation("getWorkerLastRunLog", "GET", f"{BY_WORKER}/log", LOG, lambda c, w: c.runs.get_log(LastRun(w.worker_id))),
    Operation(
        "rerunWorkerLastRun",
        "POST",
        f"{BY_WORKER}/rerun",
        STARTED,
        lambda c, w: c.runs.rerun(LastRun(w.worker_id)),
    ),
    Operation(
        "listWorkerLastRunResults",
        "GET",
        f"{BY_WORKER}/result",
        RESULTS,
        lambda c, w: c.runs.list_results_page(LastRun(w.worker_id)),
    ),
    Operation(
        "queuedRunWorker",
        "POST",
        f"/workers/{WORKER}/queued-runs",
        {"queued": True, "queue_ref": QUEUE_ID, "queue_status": "waiting"},
        lambda c, w: c.workers.queue_run(w.worker_id, INPUT),
    ),
    Operation("listRunQueueItems", "GET", "/run-queue/items", QUEUE, lambda c, w: c.run_queue.list_page()),
    Operation(
        "activateRunQueueItems",
        "POST",
        "/run-queue/items/activate",
        ACTIONS,
        lambda c, w: c.run_queue.activate([w.queue_id]),
    ),
    Operation(
        "releaseRunQueueItems",
        "POST",
        "/run-queue/items/release",
        ACTIONS,
        lambda c, w: c.run_queue.release([w.queue_id]),
    ),
    Operation(
        "releaseRunQueueItem",
        "POST",
        f"/run-queue/items/{QUEUE_ID}/release",
        ACTIONS,
        lambda c, w: c.run_queue.release(w.queue_id),
    ),
)
BY_NAME = {operation.name: operation for operation in OPERATIONS}
STARTS = {"runWorker", "runWorkerTask", "rerunWorkerRun", "rerunLastWorkerRun", "rerunWorkerLastRun"}
PAID_ONCE = {*STARTS, "createWorkerTask", "queuedRunWorker", "abortLastWorkerRun", "abortWorkerLastRun"}
# What changes something, and is the same when it is done twice.
REPEATABLE = {
    "updateWorkerTask",
    "updateWorkerTaskInput",
    "deleteWorkerTask",
    "abortWorkerRun",
    "activateRunQueueItems",
    "releaseRunQueueItems",
    "releaseRunQueueItem",
}


@attrs.define
class RawService(httpx.AsyncBaseTransport):
    """
    Answers every request with a body, whatever it is.

    Attributes:
        bodies: By path behind ``/api/v2``; others get a refusal.
        requests: Method and path of each request.
    """

    bodies: Mapping[str, bytes]
    requests: list[tuple[str, str]] = attrs.field(factory=list[tuple[str, str]])

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/api/v2")
        self.requests.append((request.method, path))
        body = self.bodies.get(path, b'{"code":11004,"message":"not found"}')
        return httpx.Response(200, content=body, headers={"content-type": "application/json"})


def envelope(data: Any = ...) -> bytes:
    """Return a success with *data*, or without any."""
    told = {} if data is ... else {"data": data}
    return json.dumps({"code": 0, "message": "success", "request_id": "req-1", **told}).encode()


def client_of(service: RawService) -> Any:
    """Return a client that sends each request once."""
    return AsyncCoreClaw("key", transport=service, retry=RetryPolicy(max_attempts=1))


async def answered(operation: Operation, body: bytes) -> Any:
    """Return what the call makes of *body*."""
    async with client_of(RawService({operation.path: body})) as client:
        return await operation.call(client, NAMES)


def example(name: str) -> Any:
    """Return a copy of the documented data of an operation."""
    return copy.deepcopy(BY_NAME[name].data)
