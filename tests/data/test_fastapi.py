"""Models as answers and request bodies of FastAPI, and as members of pydantic models."""

from __future__ import annotations

import datetime as dt
import json
import socket
import threading
import types
from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any, Literal

import anyio
import httpx
import pytest
import uvicorn
from fastapi import Body, FastAPI
from public_records import READABLE, name_of
from pydantic import BaseModel, TypeAdapter, ValidationError
from waiting import join, wait_until

from coreclaw_async import BatchItem, BatchReport, Page, ResultPage, Row, Run, RunSpec, StartedRun, Task
from coreclaw_async.events import RunStarted
from coreclaw_async.models import ResultHeader

MOMENT = dt.datetime(2026, 11, 26, 10, 30, tzinfo=dt.UTC)
RUN = Run(
    run_id="01KKDXV2G26BT7NH4ZQR2R4NPZ",
    status="succeeded",
    usage=Decimal("0.1250"),
    started_at=MOMENT,
    result_count=2,
    extra={"new": [1, {"deep": None}]},
)
ROWS = ResultPage(
    items=({"title": "caf\u00e9", "n": 1.5},), headers=(ResultHeader(key="title", label="Title"),), count=1
)
ODD = StartedRun(run_id="01KKPAID", results=ResultPage(items=({"\ud83d": "\ud83d", "nan": float("nan")},)))
SECRET_TASK = Task(task_id="T", input={"parameters": {"proxy": "http://u:SECRET@p"}})
ITEM = BatchItem(batch="b", key="k", position=0, worker_id="w", input_sha256="", callback_url="https://SECRET")
STARTED = StartedRun(run_id="R", status="succeeded", results=ROWS)


def add_choosing_routes(app: FastAPI) -> None:
    @app.get("/task", response_model_exclude={"input", "extra"})
    async def task() -> Task:
        return SECRET_TASK

    @app.get("/tasks", response_model_exclude={"items": {"__all__": {"input"}}})
    async def tasks() -> Page[Task]:
        return Page(items=(SECRET_TASK, SECRET_TASK))

    @app.get("/id", response_model_include={"run_id"})
    async def run_id() -> Run:
        return RUN

    @app.get("/set", response_model_exclude_none=True)
    async def what_is_set() -> Run:
        return Run(run_id="R")


def add_routes_without_types(app: FastAPI) -> None:
    @app.get("/bare")
    async def bare():  # type: ignore[no-untyped-def]
        return ODD

    @app.get("/unchecked", response_model=None)
    async def unchecked() -> StartedRun:
        return ODD

    @app.get("/any")
    async def anything() -> Any:
        return ODD

    @app.get("/object")
    async def some_object() -> object:
        return ODD

    @app.get("/told")
    async def told() -> dict[str, Any]:
        return {"ok": True, "run": ODD}

    @app.get("/bare-told")
    async def bare_told():  # type: ignore[no-untyped-def]
        return {"ok": True, "run": ODD}

    @app.get("/bare-page")
    async def bare_page():  # type: ignore[no-untyped-def]
        return ResultPage(items=({"a": 1, "b": 2}, {"c": 3, "d": 4}))

    @app.get("/bare-item")
    async def bare_item():  # type: ignore[no-untyped-def]
        return [ITEM, RunStarted(operation="runWorker", run_id="R")]


def make_app() -> FastAPI:
    app = FastAPI()
    add_choosing_routes(app)
    add_routes_without_types(app)

    @app.get("/run")
    async def run() -> Run:
        return RUN

    @app.get("/maybe")
    async def maybe() -> Run | None:
        return None

    @app.get("/list")
    async def runs() -> list[Run]:
        return [RUN, Run()]

    @app.get("/page")
    async def page() -> Page[Run]:
        return Page(items=(RUN,), count=1)

    @app.get("/started")
    async def started() -> StartedRun:
        return STARTED

    @app.get("/odd")
    async def odd() -> StartedRun:
        deep: Any = []
        for _ in range(600):
            deep = [deep]
        row = {"\ud800": "half \udc00", "nan": float("nan"), "big": 2**70, "deep": deep}
        return StartedRun(run_id="R", results=ResultPage(items=(row,)), extra={"set": {1}, "inf": float("inf")})

    @app.post("/run")
    async def change(run: Annotated[Run, Body()]) -> Run:
        return run

    @app.post("/pages")
    async def pages(page: Page[Run]) -> Run:
        return page.items[0]

    @app.post("/specs")
    async def specs(specs: list[RunSpec]) -> int:
        return len(specs)

    return app


class InMemory(httpx.BaseTransport):
    """Runs an app without a server, for a blocking client."""

    def __init__(self, app: FastAPI) -> None:
        self._app = httpx.ASGITransport(app)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return anyio.run(self._answer, request)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        sent = httpx.Request(request.method, request.url, headers=request.headers, content=request.read())
        answer = await self._app.handle_async_request(sent)
        return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread())


@pytest.fixture(scope="module", params=["in memory", pytest.param("uvicorn", marks=pytest.mark.endurance)])
def client(request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    app = make_app()
    if request.param == "in memory":
        yield httpx.Client(transport=InMemory(app), base_url="http://testserver")
        return
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        wait_until(lambda: server.started, "the start of the server")
        with httpx.Client(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", trust_env=False) as client:
            yield client
        server.should_exit = True
        join(thread)


def test_a_run_is_answered_as_json_that_reads_back_equal(client: httpx.Client) -> None:
    answer = client.get("/run")

    assert answer.status_code == 200
    assert answer.json() == RUN.to_dict(json=True)
    assert Run.from_dict(answer.json()) == RUN


def test_lists_pages_rows_and_nothing_are_answered(client: httpx.Client) -> None:
    assert client.get("/maybe").json() is None
    assert [Run.from_dict(run) for run in client.get("/list").json()] == [RUN, Run()]
    assert Page[Run].from_dict(client.get("/page").json(), item_type=Run) == Page(items=(RUN,), count=1)
    assert StartedRun.from_dict(client.get("/started").json()) == STARTED


def test_no_value_of_a_row_costs_the_answer(client: httpx.Client) -> None:
    answer = client.get("/odd")
    row = answer.json()["results"]["items"][0]

    assert answer.status_code == 200
    assert row == {"\ufffd\ufffd\ufffd": "half \ufffd\ufffd\ufffd", "nan": None, "big": 2**70, "deep": row["deep"]}
    assert "[[[" in json.dumps(row["deep"])
    assert answer.json()["extra"] == {"set": "{1}", "inf": None}


@pytest.mark.parametrize("path", ["/bare", "/unchecked", "/any", "/object"])
def test_a_route_that_announces_no_model_answers_the_whole_run(client: httpx.Client, path: str) -> None:
    answer = client.get(path)

    assert answer.status_code == 200
    assert answer.json()["run_id"] == "01KKPAID"
    assert list(answer.json()) == list(ODD.to_dict())
    assert answer.json()["results"]["items"] == [{"\ufffd\ufffd\ufffd": "\ufffd\ufffd\ufffd", "nan": None}]


@pytest.mark.parametrize("path", ["/told", "/bare-told"])
def test_a_dictionary_with_a_run_is_answered(client: httpx.Client, path: str) -> None:
    assert client.get(path).json()["run"]["run_id"] == "01KKPAID"


def test_a_page_of_a_route_that_announces_no_model_has_its_members(client: httpx.Client) -> None:
    page = ResultPage(items=({"a": 1, "b": 2}, {"c": 3, "d": 4}))

    assert client.get("/bare-page").json() == page.to_dict(json=True) == dict(page)
    assert dict(Page()) == Page().to_dict()


def test_a_route_that_announces_no_model_sends_no_callback_url_and_the_kind_of_an_event(client: httpx.Client) -> None:
    answer = client.get("/bare-item")

    assert answer.json() == [ITEM.to_dict(json=True), {"type": "RunStarted", "operation": "runWorker", "run_id": "R"}]
    assert "SECRET" not in answer.text


def test_any_member_of_a_pydantic_model_is_written() -> None:
    class Loose(BaseModel):
        value: Any

    assert json.loads(Loose(value=RUN).model_dump_json())["value"] == RUN.to_dict(json=True)


def test_members_that_a_route_excludes_are_not_sent(client: httpx.Client) -> None:
    task, tasks = client.get("/task"), client.get("/tasks")

    assert "SECRET" not in task.text + tasks.text
    assert list(task.json()) == [name for name in SECRET_TASK.to_dict() if name not in {"input", "extra"}]
    assert [item["task_id"] for item in tasks.json()["items"]] == ["T", "T"]
    assert client.get("/id").json() == {"run_id": RUN.run_id}
    assert client.get("/set").json() == {
        name: value for name, value in Run(run_id="R").to_dict(json=True).items() if value is not None
    }


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"exclude": {"run": {"extra": True}}}, {"name", "run", "rows", "answer"}),
        ({"exclude": {"run": {"extra": {"new"}, "usage": ...}}}, {"name", "run", "rows", "answer"}),
        ({"include": {"run": {"run_id", "usage"}}}, {"run"}),
        ({"exclude": {"run"}}, {"name", "rows", "answer"}),
    ],
    ids=["member", "inside", "only", "whole"],
)
def test_pydantic_model_chooses_members_of_its_run(choice: Any, expected: set[str]) -> None:
    made = Job(name="j", run=RUN).model_dump(**choice)

    assert set(made) == expected
    assert "new" not in made.get("run", {}).get("extra", {})


def test_items_of_a_page_are_chosen_by_their_places() -> None:
    write = TypeAdapter(Page[Run]).dump_python
    page = Page(items=(Run(run_id="a"), Run(run_id="b")))

    assert write(page, include={"items": {0: {"run_id"}, -1: True}})["items"] == [
        {"run_id": "a"},
        page.items[1].to_dict(),
    ]
    assert write(page, exclude={"items": {-1}})["items"] == [page.items[0].to_dict()]
    assert write(page, exclude={"items": {0: {}}})["items"] == [run.to_dict() for run in page]


def test_openapi_describes_members_with_types(client: httpx.Client) -> None:
    described = client.get("/openapi.json").json()
    schemas = described["components"]["schemas"]
    answers = {
        path: methods["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        for path, methods in described["paths"].items()
        if "get" in methods
    }
    members = schemas["Run"]["properties"]

    assert answers["/run"] == {"$ref": "#/components/schemas/Run"}
    assert answers["/list"]["items"] == answers["/run"]
    assert answers["/maybe"]["anyOf"] == [answers["/run"], {"type": "null"}]
    assert answers["/page"] == {"$ref": "#/components/schemas/Page_Run_"}
    assert schemas["Run"]["description"] == "One run of a worker, as details and lists report it."
    assert list(members) == list(RUN.to_dict())
    assert members["result_count"]["anyOf"] == [{"type": "integer"}, {"type": "null"}]
    assert members["usage"]["anyOf"] == [{"type": "string", "format": "decimal"}, {"type": "null"}]
    assert members["started_at"]["anyOf"] == [{"type": "string", "format": "date-time"}, {"type": "null"}]
    assert members["status"]["anyOf"][0]["enum"] == ["ready", "running", "succeeded", "failed", "aborting"]
    assert members["usage"]["description"].startswith("What the run cost, in US dollars; None when")
    assert schemas["Page_Run_"]["properties"]["items"]["items"] == answers["/run"]
    assert schemas["StartedRun"]["required"] == ["run_id"]
    assert schemas["ResultPage"]["properties"]["count"]["description"].startswith("Items in the whole listing")
    assert schemas["ResultPage"]["properties"]["items"]["items"]["type"] == "object"


def test_a_run_is_taken_as_a_body(client: httpx.Client) -> None:
    assert client.post("/run", json=RUN.to_dict(json=True)).json() == RUN.to_dict(json=True)
    assert client.post("/pages", json={"items": [RUN.to_dict(json=True)]}).json()["run_id"] == RUN.run_id
    assert client.post("/specs", json=[{"key": "a", "worker_id": "o/n", "input": {"a": [1]}}]).json() == 1


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ('{"duration": "long"}', "Run.duration must be a number or None, not 'long'"),
        (f'{{"duration": 1{"0" * 400}}}', "Run.duration must be a finite number or None, not int"),
        ('{"result_count": true}', "Run.result_count must be a whole number or None, not bool"),
        ('{"usage": "much"}', "Run.usage must be an amount or None, not 'much'"),
        ('{"usage": "NaN"}', "Run.usage must be a finite amount or None, not 'NaN'"),
        ('{"started_at": "2026-11-26T10:00:00"}', "must be a time with a time zone"),
        ('{"started_at": "0001-01-01T00:00:00+09:00"}', "Run.started_at must be a time in ISO 8601 or None"),
        ('{"started_at": 1}', "Run.started_at must be a time in ISO 8601 or None, not int"),
        ('{"run_id": null}', "Run.run_id must be a string, not None"),
        ('{"extra": []}', "Run.extra must be an object, not list"),
        ('{"slug": "R"}', "Run has no member 'slug'"),
        ('{"{x}": 1}', "Run has no member '{x}'"),
        ('{"duration": NaN}', "Run.duration must be a finite number or None, not float"),
        ('{"duration": -Infinity}', "Run.duration must be a finite number or None, not float"),
        ('{"usage": 1e400}', "Run.usage must be a finite amount or None, not float"),
        ('{"\\ud800": 1}', "Run has no member '\\ud800'"),
        ('{"run_id": "\\ud800", "usage": "x"}', "Run.usage must be an amount or None, not 'x'"),
        ('{"run_id": ' + "[" * 500 + "]" * 500 + "}", "Run.run_id must be a string, not list"),
        ("[]", "Run must be an object, not list"),
    ],
)
def test_a_body_that_does_not_fit_is_refused(client: httpx.Client, body: str, why: str) -> None:
    answer = client.post("/run", content=body, headers={"content-type": "application/json"})

    assert answer.status_code == 422
    assert why in answer.json()["detail"][0]["msg"]


def test_an_item_of_a_page_that_does_not_fit_is_named(client: httpx.Client) -> None:
    answer = client.post("/pages", json={"items": [{}, {"traffic": "1"}]})

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["msg"].startswith("Page.items[1].traffic must be a whole number or None, not '1'")


class Job(BaseModel):
    name: str
    run: Run
    rows: Page[Row] | None = None
    answer: StartedRun | Run | None = None


def test_pydantic_model_holds_a_run() -> None:
    job = Job(name="j", run=RUN, answer=RUN)
    read = Job.model_validate_json(job.model_dump_json())

    assert job.run is RUN
    assert read.run == RUN
    assert job.model_dump()["run"] == RUN.to_dict()
    assert job.model_dump(mode="json")["run"] == RUN.to_dict(json=True)
    assert Job.model_validate(job.model_dump()).run == RUN
    assert Job.model_validate({"name": "j", "run": {}, "rows": {"items": [{"a": 1}]}}).rows == Page(items=({"a": 1},))
    with pytest.raises(ValidationError, match=r"Page.items\[0\] must be an object, not int"):
        Job.model_validate({"name": "j", "run": {}, "rows": {"items": [1]}})


def test_page_of_pydantic_models_is_written_by_pydantic() -> None:
    page = Page(items=(Job(name="j", run=RUN),))
    written = json.loads(TypeAdapter(Page[Job]).dump_json(page))

    assert written["items"] == [json.loads(Job(name="j", run=RUN).model_dump_json())]


@pytest.mark.parametrize("kind", READABLE, ids=name_of)
def test_every_model_has_a_schema_that_describes_its_members(kind: Any) -> None:
    schema = TypeAdapter(kind).json_schema()
    members = schema["properties"]

    assert schema["title"] == kind.__name__
    assert schema["description"]
    assert [name for name, member in members.items() if not member.get("description")] == []
    assert "callback_url" not in members


def test_pages_of_different_things_have_different_schemas() -> None:
    arguments: list[Any] = [Run, dict[str, int], dict[str, str], int, Run | None, Literal["a b"], Literal["a_b"]]
    page: Any = Page
    kinds: tuple[Any, ...] = (Page, ResultPage, *(page[argument] for argument in arguments))
    everything: Any = types.GenericAlias(tuple, kinds * 2)
    schema = TypeAdapter(everything).json_schema()

    assert len([name for name in schema["$defs"] if "Page" in name]) == len(kinds)
    assert Page.from_dict({"items": [3]}, item_type=int) == Page(items=(3,))


def test_reports_of_batches_are_described_to_the_last_item() -> None:
    definitions = TypeAdapter(BatchReport).json_schema()["$defs"]

    assert {"BatchItem", "RunTotals"} <= set(definitions)
    assert definitions["BatchItem"]["properties"]["state"]["enum"][0] == "planned"
    assert set(definitions["BatchItem"]["required"]) == {"batch", "key", "position", "worker_id", "input_sha256"}


class PlainTask(BaseModel):
    task_id: str
    title: str | None
    input: dict[str, Any] | None


class PlainPage(BaseModel):
    items: list[PlainTask]


@pytest.mark.parametrize("way", ["exclude", "include"])
@pytest.mark.parametrize(
    "items",
    [
        {"__all__": {"input"}, 0: {"title"}},
        {"__all__": {"input"}, 0: {"input": {"user"}}},
        {"__all__": True, 1: {"input": {"user"}}},
        {"__all__": {"input": {"user"}}, 0: True},
        {0: {"title"}, "__all__": {"input"}},
        {"__all__": {"input": {"password"}}, 1: {"input": {"user"}}},
        {"__all__": {"input": ...}, 1: {"task_id": True}},
        {"__all__": {"input": {"password"}}, 0: {"input"}},
        {-1: {"task_id"}, "__all__": {"input"}},
        {0: ..., "__all__": {"title"}},
        {1: {"input"}, -1: {"title"}},
        {-1: {"title"}, 1: {"input"}, "__all__": {"task_id"}},
    ],
)
def test_what_is_left_out_of_one_item_and_of_all_is_left_out_as_pydantic_does(way: str, items: Any) -> None:
    tasks = [Task(task_id=name, title=name, input={"password": "p", "user": "u"}) for name in "ab"]
    plain = PlainPage(items=[PlainTask(task_id=task.task_id, title=task.title, input=task.input) for task in tasks])

    choice: dict[str, Any] = {way: {"items": items}}
    written = TypeAdapter(Page[Task]).dump_python(Page(items=tasks), **choice)["items"]
    expected = plain.model_dump(**choice)["items"]

    assert [{name: task[name] for name in PlainTask.model_fields if name in task} for task in written] == expected


def test_a_callback_url_leaves_by_no_way() -> None:
    item = BatchItem(batch="b", key="k", position=0, worker_id="w", input_sha256="", callback_url="https://SECRET")

    assert "SECRET" not in repr(item) + item.to_json() + str(item.to_dict())
    assert b"SECRET" not in TypeAdapter(BatchItem).dump_json(item)
    assert "SECRET" not in str(TypeAdapter(BatchItem).dump_python(item))
