"""Items of a page whose type is somebody else's are checked; errors say where, and repeat no body."""

from __future__ import annotations

import sys
import typing
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol, TypedDict

import httpx
import pytest
from fastapi import Body, FastAPI
from pydantic import BaseModel, TypeAdapter, ValidationError

from coreclaw_async import Page, Run, RunSpec
from coreclaw_async.models import RunLog


class Job(BaseModel):
    name: str
    run: Run | None = None


@dataclass
class Place:
    title: str


class Odd:
    """Nothing that pydantic knows."""


class Shape(TypedDict):
    """Of Pythons before 3.12 pydantic refuses it, and nobody can ask what is one."""

    sides: int


class Drawable(Protocol):
    def draw(self) -> None: ...


@dataclass
class Unfinished:
    part: Missing  # type: ignore[name-defined]  # noqa: F821 - that is what is tried


JOB = Job(name="j", run=Run(run_id="R"))
ODD = Odd()
UNFINISHED = Unfinished(part=1)


@pytest.mark.parametrize(
    ("kind", "items", "read"),
    [
        (Job, [{"name": "j", "run": {"run_id": "R"}}], (JOB,)),
        (Job, [JOB], (JOB,)),
        (Job | None, [None, JOB], (None, JOB)),
        (Place, [{"title": "Cafe"}], (Place("Cafe"),)),
        (list[int], [[1], []], ([1], [])),
        (list[Job], [[{"name": "j", "run": {"run_id": "R"}}]], ([JOB],)),
        (tuple[int, str], [[1, "a"]], ((1, "a"),)),
        (tuple[int, ...], [[1, 2]], ((1, 2),)),
        (set[int], [[1, 1]], ({1},)),
        (Literal[1, "a"], [1, "a"], (1, "a")),
        (Odd, [ODD], (ODD,)),
        (Annotated[Odd, "odd"], [1], (1,)),
        (Any, [{"a": [1]}], ({"a": [1]},)),
        (Shape, [{"sides": 3}], ({"sides": 3},)),
        (Drawable, [5], (5,)),
        (Annotated[int, ["a list, which has no hash"]], [5], (5,)),
        (Unfinished, [UNFINISHED], (UNFINISHED,)),
        ("Missing", [5], (5,)),
        (tuple[()], [()], ((),)),
        (typing.List, [[1]], ([1],)),  # noqa: UP006
        (typing.Dict, [{"a": 1}], ({"a": 1},)),  # noqa: UP006
        (typing.Tuple, [(1,)], ((1,),)),  # noqa: UP006
    ],
)
def test_items_are_read_as_their_type(kind: Any, items: list[Any], read: tuple[Any, ...]) -> None:
    assert Page.from_dict({"items": items}, item_type=kind).items == read


@pytest.mark.parametrize(
    ("kind", "items", "why"),
    [
        (Job, [{"bogus": 1}], r"^Page\.items\[0\]\.'name' is refused: Field required$"),
        (Job, [JOB, {"name": "j", "run": {"usage": "x"}}], r"^Page\.items\[1\]\.'run'\.'usage' .*must be an amount"),
        (Job, [5], r"^Page\.items\[0\] is refused: Input should be a valid dictionary"),
        (Place, [{}], r"\.'title' is refused"),
        (list[int], [["x"]], r"^Page\.items\[0\]\[0\] must be a whole number, not 'x'$"),
        (list[int], [5], r"^Page\.items\[0\] must be a list, not int$"),
        (tuple[int, str], [[1]], r"items\[0\]\[1\] is refused: Field required"),
        (set[int], [["x"]], r"items\[0\]\[0\] is refused: Input should be a valid integer"),
        (Literal[1, "a"], [True], r"must be one of 1, a, not bool"),
        (Odd, [1], r"^Page\.items\[0\] must be a Odd, not int$"),
        (Unfinished, [{"part": 1}], r"^Page\.items\[0\] must be a Unfinished, not dict$"),
        (Annotated[int, ["a list"]], ["x"], r"^Page\.items\[0\] is refused: Input should be a valid integer"),
    ],
)
def test_item_of_another_type_is_named(kind: Any, items: list[Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Page.from_dict({"items": items}, item_type=kind)


def test_without_pydantic_classes_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pydantic")
    assert Page.from_dict({"items": [Place("a")]}, item_type=Place).items == (Place("a"),)
    with pytest.raises(ValueError, match=r"items\[0\] must be a Place, not dict"):
        Page.from_dict({"items": [{"title": "a"}]}, item_type=Place)


def test_page_with_other_items_is_not_the_page_that_is_announced() -> None:
    runs = Page(items=(Run(run_id="R"),))
    assert TypeAdapter(Page[Run]).validate_python(runs) is runs
    with pytest.raises(ValidationError, match=r"Page\.items\[0\] must be an object, not int"):
        TypeAdapter(Page[Run]).validate_python(Page(items=(1,)))


@pytest.fixture
async def web() -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()

    @app.post("/jobs")
    async def jobs(page: Annotated[Page[Job], Body()]) -> int:
        return sum(isinstance(job, Job) for job in page.items)

    @app.post("/numbers")
    async def numbers(page: Annotated[Page[list[int]], Body()]) -> int:
        return sum(map(sum, page.items))

    @app.post("/spec")
    async def spec(spec: Annotated[RunSpec, Body()]) -> str:
        return spec.key

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        yield client


async def test_bodies_of_a_route_are_checked_and_read(web: httpx.AsyncClient) -> None:
    assert (await web.post("/jobs", json={"items": [{"name": "a"}]})).json() == 1
    assert (await web.post("/numbers", json={"items": [[1, 2], []]})).json() == 3
    wrong = await web.post("/jobs", json={"items": [{"name": "a"}, {"bogus": 1}]})
    (told,) = wrong.json()["detail"]
    assert (wrong.status_code, told["loc"]) == (422, ["body", "items", 1, "name"])
    (told,) = (await web.post("/numbers", json={"items": [[1, 2], ["x"]]})).json()["detail"]
    assert (told["loc"], told["input"]) == (["body", "items", 1, 0], "x")


@pytest.mark.parametrize(
    ("change", "place", "shown"),
    [
        ({"worker_id": 5}, ["body", "worker_id"], 5),
        ({"worker_id": None}, ["body", "worker_id"], None),
        ({"worker_id": {"a": "hunter2"}}, ["body", "worker_id"], "<dict>"),
        ({"unknown": 1}, ["body"], "<dict>"),
    ],
)
async def test_refusal_does_not_repeat_the_body(
    web: httpx.AsyncClient, change: dict[str, Any], place: list[Any], shown: Any
) -> None:
    body = {"key": "k", "worker_id": "o/n", "input": {"password": "hunter2"}, **change}
    answer = await web.post("/spec", json=body)

    assert answer.status_code == 422
    assert "hunter2" not in answer.text
    (told,) = answer.json()["detail"]
    assert (told["loc"], told["input"]) == (place, shown)


def test_members_without_a_value_are_left_out_at_every_level() -> None:
    page = Page(items=(Run(run_id="R", extra={"a": None}),), count=1)
    made = TypeAdapter(Page[Run]).dump_python(page, exclude_none=True)
    (run,) = made["items"]
    assert None not in run.values()
    assert run["extra"] == {"a": None}  # It is the service's own.
    assert "page_index" not in made

    made = TypeAdapter(Page[Run]).dump_python(page, exclude_defaults=True)
    assert made == {"items": [{"run_id": "R", "extra": {"a": None}}], "count": 1}
    log = RunLog()
    assert TypeAdapter(RunLog).dump_python(log, exclude_defaults=True) == {}
    assert Job(name="j", run=Run(run_id="R")).model_dump(exclude_defaults=True) == {"name": "j", "run": {"run_id": "R"}}
