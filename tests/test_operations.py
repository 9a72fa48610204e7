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
from documented_operations import BY_NAME, OPERATIONS, Names, Operation, answered, envelope
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


@attrs.frozen(kw_only=True)
class Expected:
    """
    What a call sends besides its method and path, and what is checked of its result besides its type.

    Attributes:
        call: A call with more arguments than the documented one, or None for that one.
        query: Its query.
        body: Its body, with the ids of the service in braces.
        public: Whether it goes without the key.
        check: Says whether the result is right.
    """

    call: Callable[[AsyncCoreClaw, Names], Awaitable[Any]] | None = None
    query: dict[str, str] = attrs.field(factory=dict)
    body: Any = None
    public: bool = False
    check: Callable[[Any, Names], bool] = lambda result, names: True


B3 = {"callback_url": CALLBACK, "is_async": True, "offset": 0, "limit": 20}
# An operation that is not here sends neither query nor body.
EXPECTED: dict[str, Expected] = {
    "listProxyRegions": Expected(
        call=lambda c, w: c.proxies.list_regions("de"),
        query={"language": "de"},
        public=True,
        check=lambda result, w: all(isinstance(region, cc.ProxyRegion) and region.code for region in result),
    ),
    "listStore": Expected(
        call=lambda c, w: c.store.list_page(keyword="maps", limit=5),
        query={"offset": "0", "limit": "5", "keyword": "maps"},
        public=True,
        check=lambda page, w: page.items[0].name == "google-maps-scraper" and page.count is None,
    ),
    "getAccount": Expected(
        check=lambda account, w: isinstance(account.balance, Decimal) and account.balance_expires_at.tzinfo == dt.UTC,
    ),
    "listWorkers": Expected(
        query={"offset": "0", "limit": "20"},
        check=lambda page, w: all(isinstance(item, cc.WorkerSummary) for item in page.items),
    ),
    "getWorker": Expected(
        check=lambda worker, w: worker.name == "google-maps-scraper" and worker.username == "coreclaw",
    ),
    "getWorkerInputSchema": Expected(
        public=True,
        check=lambda schema, w: [p.name for p in schema.properties if p.required] == ["keywords"],
    ),
    "runWorker": Expected(
        call=lambda c, w: c.workers.start_run(WORKER, INPUT, system={"proxy_region": "US"}, callback_url=CALLBACK),
        body={
            "input": {"parameters": {"custom": INPUT, "system": {"proxy_region": "US"}}},
            "callback_url": CALLBACK,
            "is_async": True,
        },
        check=lambda started, w: len(started.run_id) == 26 and started.request_id.startswith("req-"),
    ),
    "listWorkerTasks": Expected(
        call=lambda c, w: c.tasks.list_page(worker_id=WORKER, keyword="sav"),
        query={"offset": "0", "limit": "20", "worker_id": AS_PATH, "keyword": "sav"},
        check=lambda page, w: [task.task_id for task in page.items] == [w.task_id] and page.count == 1,
    ),
    "runWorkerTask": Expected(
        call=lambda c, w: c.tasks.start_run(w.task_id, offset=0, limit=20),
        body={"is_async": True, "offset": 0, "limit": 20},
    ),
    "createWorkerTask": Expected(
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
        check=lambda created, w: bool(created.task_id) and bool(created.request_id),
    ),
    "getWorkerTask": Expected(
        check=lambda task, w: task.task_id == w.task_id and task.internal_id > 2**53 and task.input == WRAPPED,
    ),
    "updateWorkerTask": Expected(
        call=lambda c, w: c.tasks.update(
            w.task_id, title="new", schedule_type=3, schedule_day=31, schedule_once_date="2026-08-01"
        ),
        body={"title": "new", "schedule_type": 3, "schedule_day": 31, "schedule_once_date": "2026-08-01"},
    ),
    "getWorkerTaskInput": Expected(
        check=lambda saved, w: saved.input == WRAPPED,
    ),
    "updateWorkerTaskInput": Expected(
        call=lambda c, w: c.tasks.update_input(w.task_id, {"keywords": ["tea"]}),
        body={"input": {"parameters": {"custom": {"keywords": ["tea"]}}}},
    ),
    "listWorkerRuns": Expected(
        call=lambda c, w: c.runs.list_page(
            worker_id=WORKER,
            status="succeeded",
            limit=100,
            start_time=dt.datetime(2026, 8, 1, tzinfo=dt.timezone(dt.timedelta(hours=8))),
            end_time=dt.datetime(2026, 8, 31, tzinfo=dt.timezone(dt.timedelta(hours=8))),
        ),
        query={
            "offset": "0",
            "limit": "100",
            "worker_id": AS_PATH,
            "status": "succeeded",
            "start_time": "1785513600",
            "end_time": "1788105600",
        },
    ),
    "getLastWorkerRun": Expected(
        check=lambda run, w: run.run_id == w.run_id,
    ),
    "abortLastWorkerRun": Expected(
        call=lambda c, w: c.runs.abort(LastRun(), callback_url=CALLBACK, is_async=True, offset=0, limit=20),
        body=B3,
        check=lambda aborted, w: aborted.run_id is None and aborted.request_id is not None,
    ),
    "exportLastWorkerRunResults": Expected(
        call=lambda c, w: c.runs.export(LastRun(), format="jsonl", fields=["title", "rank"]),
        query={"format": "jsonl", "filter_keys": "title,rank"},
        check=lambda export, w: "jsonl" in export.download_url,
    ),
    "rerunLastWorkerRun": Expected(
        call=lambda c, w: c.runs.rerun(LastRun(), callback_url=CALLBACK, offset=0, limit=20),
        body=B3,
    ),
    "listLastWorkerRunResults": Expected(
        call=lambda c, w: c.runs.list_results_page(LastRun(), limit=2),
        query={"offset": "0", "limit": "2"},
    ),
    "getWorkerRun": Expected(
        check=lambda run, w: (
            run.run_id == w.run_id
            and run.status is cc.RunStatus.RUNNING
            and isinstance(run.usage, Decimal)
            and run.started_at.tzinfo == dt.UTC
        ),
    ),
    "abortWorkerRun": Expected(
        body={},
        check=lambda aborted, w: aborted.run_id == w.run_id,
    ),
    "getWorkerRunLog": Expected(
        check=lambda log, w: log.entries[0].level is cc.LogLevel.INFO and log.all_logs_url is not None,
    ),
    "rerunWorkerRun": Expected(
        body={"is_async": True},
        check=lambda started, w: started.run_id != w.run_id,
    ),
    "listWorkerRunResults": Expected(
        call=lambda c, w: c.runs.list_results_page(w.run_id, offset=0, limit=2),
        query={"offset": "0", "limit": "2"},
        check=lambda page, w: (page.offset, page.limit) == (0, 2) and page.headers[0].key == "title",
    ),
    "exportWorkerRunResults": Expected(
        query={"format": "csv"},
    ),
    "getWorkerLastRun": Expected(
        check=lambda run, w: run.run_id == w.run_id,
    ),
    "abortWorkerLastRun": Expected(
        body={},
        check=lambda aborted, w: aborted.run_id is None,
    ),
    "exportWorkerLastRunResults": Expected(
        query={"format": "csv"},
    ),
    "rerunWorkerLastRun": Expected(
        call=lambda c, w: c.runs.rerun(LastRun(WORKER), callback_url=CALLBACK, offset=0, limit=20),
        body=B3,
    ),
    "listWorkerLastRunResults": Expected(
        query={"offset": "0", "limit": "20"},
    ),
    "queuedRunWorker": Expected(
        call=lambda c, w: c.workers.queue_run(WORKER, INPUT, callback_url=CALLBACK),
        body={"input": WRAPPED, "callback_url": CALLBACK},
        check=lambda queued, w: queued.queued is True and queued.queue_id.isdigit(),
    ),
    "listRunQueueItems": Expected(
        call=lambda c, w: c.run_queue.list_page(status="waiting"),
        query={"offset": "0", "limit": "20", "status": "waiting"},
        check=lambda page, w: [item.queue_id for item in page.items] == [w.queue_id],
    ),
    "activateRunQueueItems": Expected(
        call=lambda c, w: c.run_queue.activate(w.queue_id),
        body={"queue_refs": ["{queue_id}"]},
        check=lambda actions, w: [(a.queue_id, a.success) for a in actions] == [(w.queue_id, True)],
    ),
    "releaseRunQueueItems": Expected(
        call=lambda c, w: c.run_queue.release([w.queue_id, "999"], reason="not needed"),
        body={"queue_refs": ["{queue_id}", "999"], "reason": "not needed"},
        check=lambda actions, w: [a.success for a in actions] == [True, False],
    ),
    "releaseRunQueueItem": Expected(
        body={},
        check=lambda actions, w: [a.success for a in actions] == [True],
    ),
}


def filled(template: Any, names: Names) -> Any:
    """Return *template* with *names* put in."""
    text = json.dumps(template)
    for name, value in attrs.asdict(names).items():
        text = text.replace(f"{{{name}}}", value)
    return json.loads(text)


def test_nothing_is_expected_of_other_operations() -> None:
    assert EXPECTED.keys() - BY_NAME.keys() == set(), "these are not in documented_operations.py"


def test_the_operations_are_those_of_the_published_specification() -> None:
    if not CONTRACT.exists():
        pytest.skip("the published openapi.json is not beside this project")
    specification = json.loads(CONTRACT.read_text())
    published = {
        operation["operationId"]: (method.upper(), path, operation.get("security") == [])
        for path, methods in specification["paths"].items()
        for method, operation in methods.items()
    }

    assert published.keys() == BY_NAME.keys()
    for name, (method, path, is_public) in published.items():
        assert BY_NAME[name].method == method
        assert EXPECTED.get(name, Expected()).public == is_public
        assert len(BY_NAME[name].path.split("/")) == len(path.removeprefix("/api/v2").split("/"))


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
    assert len(BY_NAME) == len(OPERATIONS)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
async def test_documented_answer_is_read(operation: Operation) -> None:
    read = await answered(operation, envelope(operation.data))

    assert dict(unread(read)) == {}


@pytest.mark.endurance
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
async def test_each_operation_over_a_real_socket(operation: Operation) -> None:
    expected = EXPECTED.get(operation.name, Expected())
    service = FakeService(clock=RealClock())
    names = Names(
        run_id=service.add_run(WORKER, status="running", rows=3, age=5.0),
        worker_id=WORKER,
        task_id=service.add_task(WORKER, title="saved", input=WRAPPED),
        queue_id=service.add_queue_item(WORKER, WRAPPED),
    )
    if "export" in operation.name.lower():
        service.finish(names.run_id)
    events: list[Event] = []

    with service.serve() as server:
        once = RetryPolicy(max_attempts=1)
        async with AsyncCoreClaw(service.api_key, base_url=server.url, retry=once, on_event=events.append) as client:
            result = await (expected.call or operation.call)(client, names)

    assert len(service.requests) == 1
    request = service.requests[0]
    assert request.operation == operation.name
    assert [event.operation for event in events if isinstance(event, RequestSent)] == [operation.name]
    path = operation.path_for(attrs.evolve(names, worker_id=AS_PATH))
    assert (request.method, request.path) == (operation.method, f"/api/v2{path}")
    assert request.query == expected.query
    assert request.body == filled(expected.body, names)
    assert ("authorization" not in request.headers) == expected.public
    assert sends_what_the_contract_asks(request)
    assert type(result) is type(await answered(operation, envelope(operation.data)))
    assert expected.check(result, names)


def sends_what_the_contract_asks(request: RecordedRequest) -> bool:
    """A body has the content type of JSON; without a body there is none."""
    has_type = request.headers.get("content-type") == "application/json"
    return has_type == (request.body is not None) and "cookie" not in request.headers
