"""Every published operation has a method; each is called once over a real socket, request and model checked."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Awaitable, Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest
from documented_operations import BY_NAME, answered, envelope
from documented_operations import OPERATIONS as DOCUMENTED
from documented_operations import Operation as DocumentedOperation
from either_client import AsyncCoreClaw

import coreclaw_async as cc
from coreclaw_async import LastRun, RetryPolicy
from coreclaw_async.events import Event, RequestSent
from coreclaw_async.testing import FakeService, RealClock, RecordedRequest

CONTRACT = Path(__file__).parent.parent.parent / "shared" / "contract" / "openapi.json"
WORKER = "coreclaw/google-maps-scraper"
AS_PATH = "coreclaw~google-maps-scraper"
INPUT = {"keywords": ["coffee"]}
WRAPPED = {"parameters": {"custom": INPUT}}
CALLBACK = "https://client.example.com/callback"


@attrs.frozen
class World:
    """What the service holds before each call."""

    run_id: str
    task_id: str
    queue_id: str


@attrs.frozen(kw_only=True)
class Operation:
    """A method, the request it makes, and what it returns."""

    call: Callable[[AsyncCoreClaw, World], Awaitable[Any]]
    path: str
    returns: type
    query: dict[str, str] = attrs.field(factory=dict)
    body: Any = None
    public: bool = False
    check: Callable[[Any, World], bool] = lambda result, world: True


B3 = {"callback_url": CALLBACK, "is_async": True, "offset": 0, "limit": 20}
OPERATIONS: dict[str, Operation] = {
    "listProxyRegions": Operation(
        call=lambda c, w: c.proxies.list_regions("de"),
        path="/proxy/region",
        query={"language": "de"},
        returns=tuple,
        public=True,
        check=lambda result, w: all(isinstance(region, cc.ProxyRegion) and region.code for region in result),
    ),
    "listStore": Operation(
        call=lambda c, w: c.store.list_page(keyword="maps", limit=5),
        path="/store",
        query={"offset": "0", "limit": "5", "keyword": "maps"},
        returns=cc.Page,
        public=True,
        check=lambda page, w: page.items[0].name == "google-maps-scraper" and page.count is None,
    ),
    "getAccount": Operation(
        call=lambda c, w: c.account.get(),
        path="/users/account",
        returns=cc.Account,
        check=lambda account, w: isinstance(account.balance, Decimal) and account.balance_expires_at.tzinfo == dt.UTC,
    ),
    "listWorkers": Operation(
        call=lambda c, w: c.workers.list_page(),
        path="/workers",
        query={"offset": "0", "limit": "20"},
        returns=cc.Page,
        check=lambda page, w: all(isinstance(item, cc.WorkerSummary) for item in page.items),
    ),
    "getWorker": Operation(
        call=lambda c, w: c.workers.get(WORKER),
        path=f"/workers/{AS_PATH}",
        returns=cc.Worker,
        check=lambda worker, w: worker.name == "google-maps-scraper" and worker.username == "coreclaw",
    ),
    "getWorkerInputSchema": Operation(
        call=lambda c, w: c.workers.get_input_schema(WORKER),
        path=f"/workers/{AS_PATH}/input-schema",
        returns=cc.InputSchema,
        public=True,
        check=lambda schema, w: [p.name for p in schema.properties if p.required] == ["keywords"],
    ),
    "runWorker": Operation(
        call=lambda c, w: c.workers.start_run(WORKER, INPUT, system={"proxy_region": "US"}, callback_url=CALLBACK),
        path=f"/workers/{AS_PATH}/runs",
        body={
            "input": {"parameters": {"custom": INPUT, "system": {"proxy_region": "US"}}},
            "callback_url": CALLBACK,
            "is_async": True,
        },
        returns=cc.StartedRun,
        check=lambda started, w: len(started.run_id) == 26 and started.request_id.startswith("req-"),
    ),
    "listWorkerTasks": Operation(
        call=lambda c, w: c.tasks.list_page(worker_id=WORKER, keyword="sav"),
        path="/worker-tasks",
        query={"offset": "0", "limit": "20", "worker_id": AS_PATH, "keyword": "sav"},
        returns=cc.Page,
        check=lambda page, w: [task.task_id for task in page.items] == [w.task_id] and page.count == 1,
    ),
    "runWorkerTask": Operation(
        call=lambda c, w: c.tasks.start_run(w.task_id, offset=0, limit=20),
        path="/worker-tasks/{task_id}/runs",
        body={"is_async": True, "offset": 0, "limit": 20},
        returns=cc.StartedRun,
    ),
    "createWorkerTask": Operation(
        call=lambda c, w: c.tasks.create(
            worker_id=WORKER,
            title="nightly",
            input=INPUT,
            description="",
            schedule_enabled=False,
            schedule_type=cc.ScheduleType.WEEKLY,
            schedule_time="09:00",
            schedule_weekday=7,
        ),
        path="/worker-tasks",
        body={
            "worker_id": AS_PATH,
            "title": "nightly",
            "input": WRAPPED,
            "description": "",
            "schedule_enabled": 0,
            "schedule_type": 2,
            "schedule_time": "09:00",
            "schedule_weekday": 7,
        },
        returns=cc.CreatedTask,
        check=lambda created, w: bool(created.task_id) and bool(created.request_id),
    ),
    "getWorkerTask": Operation(
        call=lambda c, w: c.tasks.get(w.task_id),
        path="/worker-tasks/{task_id}",
        returns=cc.Task,
        check=lambda task, w: task.task_id == w.task_id and task.internal_id > 2**53 and task.input == WRAPPED,
    ),
    "updateWorkerTask": Operation(
        call=lambda c, w: c.tasks.update(
            w.task_id, title="new", schedule_type=3, schedule_day=31, schedule_once_date="2026-08-01"
        ),
        path="/worker-tasks/{task_id}",
        body={"title": "new", "schedule_type": 3, "schedule_day": 31, "schedule_once_date": "2026-08-01"},
        returns=type(None),
    ),
    "deleteWorkerTask": Operation(
        call=lambda c, w: c.tasks.delete(w.task_id),
        path="/worker-tasks/{task_id}",
        returns=type(None),
    ),
    "getWorkerTaskInput": Operation(
        call=lambda c, w: c.tasks.get_input(w.task_id),
        path="/worker-tasks/{task_id}/input",
        returns=cc.TaskInput,
        check=lambda saved, w: saved.input == WRAPPED,
    ),
    "updateWorkerTaskInput": Operation(
        call=lambda c, w: c.tasks.update_input(w.task_id, {"keywords": ["tea"]}),
        path="/worker-tasks/{task_id}/input",
        body={"input": {"parameters": {"custom": {"keywords": ["tea"]}}}},
        returns=type(None),
    ),
    "listWorkerRuns": Operation(
        call=lambda c, w: c.runs.list_page(
            worker_id=WORKER,
            status="succeeded",
            limit=100,
            start_time=dt.datetime(2026, 8, 1, tzinfo=dt.timezone(dt.timedelta(hours=8))),
            end_time=dt.datetime(2026, 8, 31, tzinfo=dt.timezone(dt.timedelta(hours=8))),
        ),
        path="/worker-runs",
        query={
            "offset": "0",
            "limit": "100",
            "worker_id": AS_PATH,
            "status": "succeeded",
            "start_time": "1785513600",
            "end_time": "1788105600",
        },
        returns=cc.Page,
    ),
    "getLastWorkerRun": Operation(
        call=lambda c, w: c.runs.get(LastRun()),
        path="/worker-runs/last",
        returns=cc.Run,
        check=lambda run, w: run.run_id == w.run_id,
    ),
    "abortLastWorkerRun": Operation(
        call=lambda c, w: c.runs.abort(LastRun(), callback_url=CALLBACK, is_async=True, offset=0, limit=20),
        path="/worker-runs/last/abort",
        body=B3,
        returns=cc.AbortedRun,
        check=lambda aborted, w: aborted.run_id is None and aborted.request_id is not None,
    ),
    "exportLastWorkerRunResults": Operation(
        call=lambda c, w: c.runs.export(LastRun(), format="jsonl", fields=["title", "rank"]),
        path="/worker-runs/last/export",
        query={"format": "jsonl", "filter_keys": "title,rank"},
        returns=cc.Export,
        check=lambda export, w: "jsonl" in export.download_url,
    ),
    "getLastWorkerRunLog": Operation(
        call=lambda c, w: c.runs.get_log(LastRun()), path="/worker-runs/last/log", returns=cc.RunLog
    ),
    "rerunLastWorkerRun": Operation(
        call=lambda c, w: c.runs.rerun(LastRun(), callback_url=CALLBACK, offset=0, limit=20),
        path="/worker-runs/last/rerun",
        body=B3,
        returns=cc.StartedRun,
    ),
    "listLastWorkerRunResults": Operation(
        call=lambda c, w: c.runs.list_results_page(LastRun(), limit=2),
        path="/worker-runs/last/result",
        query={"offset": "0", "limit": "2"},
        returns=cc.ResultPage,
    ),
    "getWorkerRun": Operation(
        call=lambda c, w: c.runs.get(w.run_id),
        path="/worker-runs/{run_id}",
        returns=cc.Run,
        check=lambda run, w: (
            run.run_id == w.run_id
            and run.status is cc.RunStatus.RUNNING
            and isinstance(run.usage, Decimal)
            and run.started_at.tzinfo == dt.UTC
        ),
    ),
    "abortWorkerRun": Operation(
        call=lambda c, w: c.runs.abort(w.run_id),
        path="/worker-runs/{run_id}/abort",
        body={},
        returns=cc.AbortedRun,
        check=lambda aborted, w: aborted.run_id == w.run_id,
    ),
    "getWorkerRunLog": Operation(
        call=lambda c, w: c.runs.get_log(w.run_id),
        path="/worker-runs/{run_id}/log",
        returns=cc.RunLog,
        check=lambda log, w: log.entries[0].level is cc.LogLevel.INFO and log.all_logs_url is not None,
    ),
    "rerunWorkerRun": Operation(
        call=lambda c, w: c.runs.rerun(w.run_id),
        path="/worker-runs/{run_id}/rerun",
        body={"is_async": True},
        returns=cc.StartedRun,
        check=lambda started, w: started.run_id != w.run_id,
    ),
    "listWorkerRunResults": Operation(
        call=lambda c, w: c.runs.list_results_page(w.run_id, offset=0, limit=2),
        path="/worker-runs/{run_id}/result",
        query={"offset": "0", "limit": "2"},
        returns=cc.ResultPage,
        check=lambda page, w: (page.offset, page.limit) == (0, 2) and page.headers[0].key == "title",
    ),
    "exportWorkerRunResults": Operation(
        call=lambda c, w: c.runs.export(w.run_id),
        path="/worker-runs/{run_id}/result/export",
        query={"format": "csv"},
        returns=cc.Export,
    ),
    "getWorkerLastRun": Operation(
        call=lambda c, w: c.runs.get(LastRun(WORKER)),
        path=f"/workers/{AS_PATH}/runs/last",
        returns=cc.Run,
        check=lambda run, w: run.run_id == w.run_id,
    ),
    "abortWorkerLastRun": Operation(
        call=lambda c, w: c.runs.abort(LastRun(WORKER)),
        path=f"/workers/{AS_PATH}/runs/last/abort",
        body={},
        returns=cc.AbortedRun,
        check=lambda aborted, w: aborted.run_id is None,
    ),
    "exportWorkerLastRunResults": Operation(
        call=lambda c, w: c.runs.export(LastRun(WORKER)),
        path=f"/workers/{AS_PATH}/runs/last/export",
        query={"format": "csv"},
        returns=cc.Export,
    ),
    "getWorkerLastRunLog": Operation(
        call=lambda c, w: c.runs.get_log(LastRun(WORKER)),
        path=f"/workers/{AS_PATH}/runs/last/log",
        returns=cc.RunLog,
    ),
    "rerunWorkerLastRun": Operation(
        call=lambda c, w: c.runs.rerun(LastRun(WORKER), callback_url=CALLBACK, offset=0, limit=20),
        path=f"/workers/{AS_PATH}/runs/last/rerun",
        body=B3,
        returns=cc.StartedRun,
    ),
    "listWorkerLastRunResults": Operation(
        call=lambda c, w: c.runs.list_results_page(LastRun(WORKER)),
        path=f"/workers/{AS_PATH}/runs/last/result",
        query={"offset": "0", "limit": "20"},
        returns=cc.ResultPage,
    ),
    "queuedRunWorker": Operation(
        call=lambda c, w: c.workers.queue_run(WORKER, INPUT, callback_url=CALLBACK),
        path=f"/workers/{AS_PATH}/queued-runs",
        body={"input": WRAPPED, "callback_url": CALLBACK},
        returns=cc.QueuedRun,
        check=lambda queued, w: queued.queued is True and queued.queue_id.isdigit(),
    ),
    "listRunQueueItems": Operation(
        call=lambda c, w: c.run_queue.list_page(status="waiting"),
        path="/run-queue/items",
        query={"offset": "0", "limit": "20", "status": "waiting"},
        returns=cc.Page,
        check=lambda page, w: [item.queue_id for item in page.items] == [w.queue_id],
    ),
    "activateRunQueueItems": Operation(
        call=lambda c, w: c.run_queue.activate(w.queue_id),
        path="/run-queue/items/activate",
        body={"queue_refs": ["{queue_id}"]},
        returns=tuple,
        check=lambda actions, w: [(a.queue_id, a.success) for a in actions] == [(w.queue_id, True)],
    ),
    "releaseRunQueueItems": Operation(
        call=lambda c, w: c.run_queue.release([w.queue_id, "999"], reason="not needed"),
        path="/run-queue/items/release",
        body={"queue_refs": ["{queue_id}", "999"], "reason": "not needed"},
        returns=tuple,
        check=lambda actions, w: [a.success for a in actions] == [True, False],
    ),
    "releaseRunQueueItem": Operation(
        call=lambda c, w: c.run_queue.release(w.queue_id),
        path="/run-queue/items/{queue_id}/release",
        body={},
        returns=tuple,
        check=lambda actions, w: [a.success for a in actions] == [True],
    ),
}


def filled(template: Any, world: World) -> Any:
    """Return *template* with the ids of the world put in."""
    text = json.dumps(template)
    for name, value in attrs.asdict(world).items():
        text = text.replace(f"{{{name}}}", value)
    return json.loads(text)


def test_each_documented_operation_is_called_here() -> None:
    assert BY_NAME.keys() - OPERATIONS.keys() == set(), "these have no call in this file"
    assert OPERATIONS.keys() - BY_NAME.keys() == set(), "these are not in documented_operations.py"


def test_the_operations_are_those_of_the_published_specification() -> None:
    if not CONTRACT.exists():
        pytest.skip("the published openapi.json is not beside this project")
    specification = json.loads(CONTRACT.read_text())
    published = {
        operation["operationId"]: (method.upper(), path, operation.get("security") == [])
        for path, methods in specification["paths"].items()
        for method, operation in methods.items()
    }

    assert published.keys() == OPERATIONS.keys()
    for name, (method, path, is_public) in published.items():
        ours = OPERATIONS[name]
        assert BY_NAME[name].method == method
        assert ours.public == is_public
        assert len(ours.path.split("/")) == len(path.removeprefix("/api/v2").split("/"))


def unread(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the members of an answer, and of what is in it, for which no model has an attribute."""
    if attrs.has(type(value)):
        yield from getattr(value, "extra", {}).items()
        for field in attrs.fields(type(value)):
            yield from unread(getattr(value, field.name))
    elif isinstance(value, tuple):
        for entry in value:
            yield from unread(entry)


def test_no_operation_is_twice_in_the_table() -> None:
    assert len(BY_NAME) == len(DOCUMENTED)


@pytest.mark.parametrize("operation", DOCUMENTED, ids=lambda operation: operation.name)
async def test_documented_answer_is_read(operation: DocumentedOperation) -> None:
    read = await answered(operation, envelope(operation.data))

    assert dict(unread(read)) == {}


@pytest.mark.endurance
@pytest.mark.parametrize("name", OPERATIONS)
async def test_each_operation_over_a_real_socket(name: str) -> None:
    operation = OPERATIONS[name]
    service = FakeService(clock=RealClock())
    world = World(
        run_id=service.add_run(WORKER, status="running", rows=3, age=5.0),
        task_id=service.add_task(WORKER, title="saved", input=WRAPPED),
        queue_id=service.add_queue_item(WORKER, WRAPPED),
    )
    if "export" in name.lower():
        service.finish(world.run_id)
    events: list[Event] = []

    with service.serve() as server:
        once = RetryPolicy(max_attempts=1)
        async with AsyncCoreClaw(service.api_key, base_url=server.url, retry=once, on_event=events.append) as client:
            result = await operation.call(client, world)

    assert len(service.requests) == 1
    request = service.requests[0]
    assert request.operation == name
    assert [event.operation for event in events if isinstance(event, RequestSent)] == [name]
    assert (request.method, request.path) == (BY_NAME[name].method, "/api/v2" + filled(operation.path, world))
    assert request.query == operation.query
    assert request.body == filled(operation.body, world)
    assert ("authorization" not in request.headers) == operation.public
    assert sends_what_the_contract_asks(request)
    assert isinstance(result, operation.returns)
    assert operation.check(result, world)


def sends_what_the_contract_asks(request: RecordedRequest) -> bool:
    """A body has the content type of JSON; without a body there is none."""
    has_type = request.headers.get("content-type") == "application/json"
    return has_type == (request.body is not None) and "cookie" not in request.headers
