"""The operations of the API: method, path, whether a key is needed, which query and which body they take."""

from __future__ import annotations

from urllib.parse import unquote

from attrs import field, frozen

API_PREFIX = "/api/v2"

_PAGED = ("offset", "limit")
_EXPORT = ("format", "filter_keys")
_LAST = "/worker-runs/last"
_RUN = "/worker-runs/{runId}"
_WORKER_LAST = "/workers/{workerId}/runs/last"
_TASK = "/worker-tasks/{workerTaskId}"
_QUEUE = "/run-queue/items"


@frozen
class Operation:
    """
    One operation of the API.

    Attributes:
        name: The operation id.
        path: Below `/api/v2`, with `{parameters}`.
        query: The names of the query parameters it reads.
        body: The name of its body's rules, or None.
        public: Whether it needs no key.
    """

    name: str
    method: str
    path: str
    query: tuple[str, ...] = field(default=(), kw_only=True)
    body: str | None = field(default=None, kw_only=True)
    public: bool = field(default=False, kw_only=True)

    @property
    def parts(self) -> tuple[str, ...]:
        """The segments of the path."""
        return tuple(self.path.split("/")[1:])


OPERATIONS = (
    Operation("listProxyRegions", "GET", "/proxy/region", query=("language",), public=True),
    Operation("listStore", "GET", "/store", query=(*_PAGED, "keyword"), public=True),
    Operation("getAccount", "GET", "/users/account"),
    Operation("listWorkers", "GET", "/workers", query=(*_PAGED, "keyword")),
    Operation("getWorker", "GET", "/workers/{workerId}"),
    Operation("getWorkerInputSchema", "GET", "/workers/{workerId}/input-schema", public=True),
    Operation("runWorker", "POST", "/workers/{workerId}/runs", body="run"),
    Operation("listWorkerTasks", "GET", "/worker-tasks", query=(*_PAGED, "worker_id", "keyword")),
    Operation("runWorkerTask", "POST", f"{_TASK}/runs", body="rerun"),
    Operation("createWorkerTask", "POST", "/worker-tasks", body="create_task"),
    Operation("getWorkerTask", "GET", _TASK),
    Operation("updateWorkerTask", "PUT", _TASK, body="update_task"),
    Operation("deleteWorkerTask", "DELETE", _TASK),
    Operation("getWorkerTaskInput", "GET", f"{_TASK}/input"),
    Operation("updateWorkerTaskInput", "PUT", f"{_TASK}/input", body="update_input"),
    Operation(
        "listWorkerRuns",
        "GET",
        "/worker-runs",
        query=(*_PAGED, "worker_id", "status", "start_time", "end_time"),
    ),
    Operation("getLastWorkerRun", "GET", _LAST),
    Operation("abortLastWorkerRun", "POST", f"{_LAST}/abort", body="abort"),
    Operation("exportLastWorkerRunResults", "GET", f"{_LAST}/export", query=_EXPORT),
    Operation("getLastWorkerRunLog", "GET", f"{_LAST}/log"),
    Operation("rerunLastWorkerRun", "POST", f"{_LAST}/rerun", body="rerun"),
    Operation("listLastWorkerRunResults", "GET", f"{_LAST}/result", query=_PAGED),
    Operation("getWorkerRun", "GET", _RUN),
    Operation("abortWorkerRun", "POST", f"{_RUN}/abort", body="abort"),
    Operation("getWorkerRunLog", "GET", f"{_RUN}/log"),
    Operation("rerunWorkerRun", "POST", f"{_RUN}/rerun", body="rerun"),
    Operation("listWorkerRunResults", "GET", f"{_RUN}/result", query=_PAGED),
    Operation("exportWorkerRunResults", "GET", f"{_RUN}/result/export", query=_EXPORT),
    Operation("getWorkerLastRun", "GET", _WORKER_LAST),
    Operation("abortWorkerLastRun", "POST", f"{_WORKER_LAST}/abort", body="abort"),
    Operation("exportWorkerLastRunResults", "GET", f"{_WORKER_LAST}/export", query=_EXPORT),
    Operation("getWorkerLastRunLog", "GET", f"{_WORKER_LAST}/log"),
    Operation("rerunWorkerLastRun", "POST", f"{_WORKER_LAST}/rerun", body="rerun"),
    Operation("listWorkerLastRunResults", "GET", f"{_WORKER_LAST}/result", query=_PAGED),
    Operation("queuedRunWorker", "POST", "/workers/{workerId}/queued-runs", body="run"),
    Operation("listRunQueueItems", "GET", _QUEUE, query=(*_PAGED, "status")),
    Operation("activateRunQueueItems", "POST", f"{_QUEUE}/activate", body="queue_refs"),
    Operation("releaseRunQueueItems", "POST", f"{_QUEUE}/release", body="release_items"),
    Operation("releaseRunQueueItem", "POST", f"{_QUEUE}/{{queueId}}/release", body="release_item"),
)
"""Every published operation, in the order of the service's own table."""


@frozen
class Route:
    """
    What a method and a path lead to.

    Attributes:
        operation: The operation, or None.
        parameters: The decoded path parameters.
        allowed: The methods that the path knows, when `operation` is None.
    """

    operation: Operation | None = None
    parameters: dict[str, str] = field(factory=dict[str, str])
    allowed: tuple[str, ...] = ()


def find_route(method: str, raw_path: str) -> Route:
    """
    Return where `raw_path`, still percent-encoded and without its query, leads.

    A literal segment wins over a parameter, so `last` is never a run id. An encoded slash is
    no slash and no part of an id: nothing is found.
    """
    if not raw_path.startswith(API_PREFIX + "/"):
        return Route()
    segments = tuple(unquote(part) for part in raw_path.removeprefix(API_PREFIX + "/").split("/"))
    if any("/" in part or not part for part in segments):
        return Route()
    fitting = [operation for operation in _BY_LENGTH.get(len(segments), ()) if _fits(operation, segments)]
    for operation in fitting:
        if operation.method == method:
            names = zip(operation.parts, segments, strict=True)
            return Route(operation, {name[1:-1]: value for name, value in names if name[0] == "{"})
    return Route(allowed=tuple(dict.fromkeys(operation.method for operation in fitting)))


def _fits(operation: Operation, segments: tuple[str, ...]) -> bool:
    pairs = zip(operation.parts, segments, strict=True)
    return all(part[0] == "{" or part == segment for part, segment in pairs)


def _literals_first(operation: Operation) -> list[bool]:
    return [part[0] == "{" for part in operation.parts]


_BY_LENGTH: dict[int, list[Operation]] = {}
for _operation in sorted(OPERATIONS, key=_literals_first):
    _BY_LENGTH.setdefault(len(_operation.parts), []).append(_operation)
