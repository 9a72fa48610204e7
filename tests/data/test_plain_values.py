"""Odd values on their way into dictionaries and JSON, and out of them."""

from __future__ import annotations

import datetime as dt
import json
import math
import re
import sys
from collections import OrderedDict, UserDict, deque
from collections.abc import Callable
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from fastapi.responses import JSONResponse

from coreclaw_async import (
    BatchIncompleteError,
    BatchItem,
    BatchOutcome,
    BatchReport,
    CoreClawError,
    LogEntry,
    NotFoundError,
    OutcomeUnknownError,
    Page,
    PaginationError,
    Progress,
    QueueItem,
    ResultPage,
    Run,
    RunFailedError,
    RunSpec,
    RunStatus,
    StartedRun,
    Task,
    TaskInput,
    errors,
)
from coreclaw_async._data.plain import ENCODABLE_JSON, JSON, JSON_OR_TEXT, PYTHON, Form, as_plain, to_text
from coreclaw_async.batch import BatchItemState
from coreclaw_async.events import StartUnknown
from coreclaw_async.models import Assessment, ErrorRow, InputCheck, InputProperty, RunLog, ScheduleType, Verdict, Worker

REPORT: dict[str, Any] = {
    "name": "n",
    "counts": dict.fromkeys(BatchItemState, 0),
    "verdicts": dict.fromkeys(Verdict, 0),
    "runs": 0,
    "result_count": 0,
    "cost": "0",
    "unknown_rows": 0,
    "unknown_costs": 0,
    "max_spend": None,
    "by_worker": {},
    "by_day": {},
    "held": [],
    "failures": [],
    "is_paused": False,
    "is_half_planned": False,
    "requests": 0,
    "wasted": 0,
    "in_flight_limit": None,
}


class Color(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Name(str):
    __slots__ = ()


class Share(float):
    __slots__ = ()


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"in": [value]}
    return value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (math.nan, None),
        (-math.inf, None),
        (Decimal("1.10"), "1.10"),
        (Decimal("NaN"), None),
        (Decimal("-Infinity"), None),
        (dt.datetime(2026, 11, 26, tzinfo=dt.UTC), "2026-11-26T00:00:00+00:00"),
        (dt.datetime(2026, 11, 26), "2026-11-26T00:00:00"),  # noqa: DTZ001 - it has no time zone
        (dt.date(2026, 11, 26), "2026-11-26"),
        (dt.time(1, 2), "01:02:00"),
        (Color.RED, "red"),
        (Level.HIGH, 3),
        (Name("n"), "n"),
        (Share(0.5), 0.5),
        (Path("a/b"), "a/b"),
        ({Color.RED: (1, 2)}, {"red": [1, 2]}),
        (OrderedDict(b=1, a=MappingProxyType({"c": UserDict({"d": None})})), {"b": 1, "a": {"c": {"d": None}}}),
        (deque([1]), [1]),
        (range(2), [0, 1]),
        ([True, 2**70, "\ud800"], [True, 2**70, "\ufffd" * 3]),
    ],
    ids=repr,
)
def test_value_in_json(value: Any, expected: Any) -> None:
    made = Task(input=value).to_dict(json=True)["input"]

    assert made == expected
    assert type(made) is type(expected)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({1, 2}, "input: JSON has no form for a set"),
        ({"a": [0, {"b c": b"x"}]}, r"input.a\[1\].b c: JSON has no form for a bytes"),
        ({"a": {1: 2}}, "input.a: JSON has no keys but strings, not a int"),
        (object, "input: JSON has no form for a type"),
    ],
    ids=repr,
)
def test_what_json_has_no_form_for_is_named_and_stays_in_python(value: Any, why: str) -> None:
    thing = TaskInput(input=value)

    with pytest.raises(TypeError, match=f"^{why}$"):
        thing.to_json()
    assert thing.to_dict()["input"] == value


@pytest.mark.parametrize("call", [TaskInput.to_dict, TaskInput.to_json], ids=lambda call: str(call.__name__))
def test_what_contains_itself_is_named(call: Callable[[TaskInput], object]) -> None:
    value: dict[str, Any] = {"a": [1, 2]}
    value["a"].append(value)
    twice: list[Any] = []
    twice += [twice, twice]

    with pytest.raises(ValueError, match=r"^input.a\[2\]: it contains itself$"):
        call(TaskInput(input=value))
    with pytest.raises(ValueError, match=r"^input\[0\]: it contains itself$"):
        call(TaskInput(input=twice))
    with pytest.raises(ValueError, match=r"^TaskInput.input cannot be read: \[0\]: it contains itself$"):
        TaskInput.from_dict({"input": twice})


def test_one_object_at_two_places_is_copied_twice() -> None:
    shared = {"a": [1]}
    made = TaskInput(input=[shared, shared], extra=shared).to_dict()
    made["input"][0]["a"].append(2)

    assert made == {"input": [{"a": [1, 2]}, {"a": [1]}], "version": None, "extra": {"a": [1]}}
    assert shared == {"a": [1]}


def test_nothing_is_shared_with_what_a_model_was_read_from() -> None:
    came = {"extra": {"new": [1]}, "worker_title": "t"}
    run = Run.from_dict(came)
    run.extra["new"].append(2)

    assert came == {"extra": {"new": [1]}, "worker_title": "t"}


def test_deep_rows_are_copied() -> None:
    page = ResultPage(items=(nested(2_000),))

    assert ResultPage.from_dict(page.to_dict()).items[0]["in"]
    assert page.to_dict(json=True)["items"][0]["in"]


def test_what_is_nested_too_deeply_is_no_json() -> None:
    deep = nested(100_000)

    with pytest.raises(ValueError, match="cannot be written as JSON: it is nested too deeply"):
        to_text(deep)
    while deep != 1:  # Python frees what is nested this deeply by recursion.
        deep = deep.pop("in").pop()


def test_a_number_of_too_many_digits_is_no_json() -> None:
    run = Run(extra={"digits": 10**5000})

    assert Run.from_dict(run.to_dict(json=True)) == run
    with pytest.raises(ValueError, match=f"cannot be written as JSON: .*{sys.get_int_max_str_digits()}"):
        run.to_json()
    assert repr(InputProperty(default=10**5000)) == "InputProperty(required=False, default=<int>)"


def test_json_can_be_encoded_and_keeps_halves_of_pairs() -> None:
    entry = LogEntry(content="caf\u00e9 \ud83d", extra={"\udc00": "\\\ud800"})
    text = entry.to_json()

    assert "caf\u00e9" in text
    assert LogEntry.from_dict(json.loads(text.encode())) == entry


def test_what_pydantic_gets_is_encodable_and_not_deep() -> None:
    made = as_plain({"a\ud800": nested(150), "b": [Name("\udfff"), Color.RED]}, ENCODABLE_JSON)
    text = json.dumps(made, ensure_ascii=False).encode()

    assert json.loads(text)["b"] == ["\ufffd\ufffd\ufffd", "red"]
    assert as_plain(nested(3), ENCODABLE_JSON) == nested(3)
    assert as_plain(nested(5000), ENCODABLE_JSON)


@pytest.mark.parametrize("form", [PYTHON, JSON, JSON_OR_TEXT, ENCODABLE_JSON])
def test_single_values_are_values_too(form: Form) -> None:
    assert as_plain(None, form) is None
    assert as_plain("a", form) == "a"
    assert as_plain((), form) == []
    assert to_text(as_plain({}, form)) == "{}"


def test_members_can_be_left_out_of_models_alone() -> None:
    page = ResultPage(items=({"extra": 1},), extra={"a": 1})

    made = as_plain(
        page, JSON, leaves_out=lambda kind, name, value: (kind, name, value) == (ResultPage, "extra", {"a": 1})
    )

    assert "extra" not in made
    assert made["items"] == [{"extra": 1}]


@pytest.mark.parametrize(
    ("kind", "mapping", "why"),
    [
        (StartedRun, {}, "StartedRun lacks run_id"),
        (
            StartedRun,
            {"run_id": "R", "results": {"items": [{}, 3]}},
            r"StartedRun.results.items\[1\] must be an object, not int",
        ),
        (StartedRun, {"run_id": "R", "results": 1}, "StartedRun.results must be an object or None, not int"),
        (
            StartedRun,
            {"run_id": "R", "is_finished": 1},
            "is_finished must be true or false or None, not int",
        ),
        (RunLog, {"entries": "abc"}, "RunLog.entries must be a list, not 'abc'"),
        (
            RunLog,
            {"entries": [{"level": 1}]},
            r"entries\[0\].level must be one of debug, .* or a string or None",
        ),
        (Worker, {"parameters": {1: 2}}, "Worker.parameters must have strings as keys"),
        (BatchOutcome, {"key": "k", "state": "odd"}, "BatchOutcome.state must be one of planned, .*, not 'odd'"),
        (BatchOutcome, {"key": "k", "state": []}, "BatchOutcome.state must be one of planned, .*, not list"),
        (
            Progress,
            {"kind": "odd", "done": 0, "elapsed": 0.0, "text": ""},
            "kind must be one of run, .*, not 'odd'",
        ),
        (
            Progress,
            {"kind": [], "done": 0, "elapsed": 0.0, "text": ""},
            "kind must be one of run, .*, not list",
        ),
        (BatchOutcome, {"key": "k", "state": "done", "path": 1}, "BatchOutcome.path must be a path or None, not int"),
        (
            BatchOutcome,
            {"key": "k", "state": "done", "run": {"usage": True}},
            "run.usage must be an amount",
        ),
        (BatchReport, {"counts": {}}, "BatchReport lacks name, verdicts, runs"),
        (BatchReport, {**REPORT, "counts": 1}, "BatchReport.counts must be an object, not int"),
        (BatchReport, {**REPORT, "counts": {"odd": 1}}, r"counts\['odd'\] must be one of planned, .*, not 'odd'"),
        (BatchReport, {**REPORT, "by_day": {"d": {"runs": "1"}}}, r"by_day\['d'\].runs must be a whole number"),
        (Run, {"status": "\ud800", "x" * 200: 1}, "Run has no member 'xxx"),
        (Run, {"worker_id": "\ud800", "usage": "\ud800"}, r"Run.usage must be an amount or None, not '\\ud800'"),
        (Run, {"started_at": "0001-01-01T00:00:00+09:00"}, "Run.started_at must be a time in ISO 8601 or None"),
        (Run, {"started_at": dt.datetime(2026, 1, 1)}, "must be a time with a time zone"),  # noqa: DTZ001
        (Run, {"started_at": dt.date(2026, 1, 1)}, "must be a time in ISO 8601"),
        (Run, {"usage": Decimal("NaN")}, "Run.usage must be a finite amount or None, not Decimal"),
        (Run, {"usage": "9" * 5000 + "x"}, "Run.usage must be an amount"),
        (Run, {"usage": 10**5000}, "Run.usage must be an amount or None, not int"),
    ],
)
def test_what_does_not_fit_is_named(kind: Any, mapping: Any, why: str) -> None:
    with pytest.raises(ValueError, match=f"^{kind.__name__}.*{why.removeprefix(kind.__name__)}"):
        kind.from_dict(mapping)


@pytest.mark.parametrize("mapping", [None, [], "{}", Run()])
def test_only_a_mapping_is_read(mapping: Any) -> None:
    with pytest.raises(TypeError, match="Run is read from a mapping, not from a"):
        Run.from_dict(mapping)


def test_numbers_of_other_programs_are_read() -> None:
    run = Run.from_dict({"usage": 0.1, "duration": 3, "started_at": "2026-11-26T18:00:00.5+08:00"})

    assert (run.usage, run.duration) == (Decimal("0.1"), 3.0)
    assert repr(run.started_at) == repr(dt.datetime(2026, 11, 26, 10, 0, 0, 500_000, tzinfo=dt.UTC))
    assert Run.from_dict({"usage": 2}).usage == 2
    assert type(run.duration) is float


def test_known_states_become_their_names_and_new_ones_stay() -> None:
    assert Run.from_dict({"status": "ready"}).status is RunStatus.READY
    assert Run.from_dict({"status": "odd \U0001f600"}).status == "odd \U0001f600"
    assert Task.from_dict({"schedule_type": 4}).schedule_type is ScheduleType.ONCE
    assert Task.from_dict({"schedule_type": 9}).schedule_type == 9


def test_page_iterates_and_its_items_are_read_as_what_is_asked_for() -> None:
    page = Page(items=(Run(run_id="a"), Run(run_id="b")), count=2)
    made = page.to_dict(json=True)

    assert [run.run_id for run in page] == ["a", "b"]
    assert len(page) == 2
    assert Page.from_dict(made, item_type=Run) == page
    assert Page.from_dict(made).items == tuple(made["items"])
    assert ResultPage.from_dict({"items": [{"a": 1}]}).items == ({"a": 1},)


def test_models_are_kept_where_they_stand_in_a_mapping() -> None:
    run = Run(run_id="R")

    assert Page.from_dict({"items": [run]}, item_type=Run).items[0] is run


def test_models_are_members_of_sets() -> None:
    rows = ResultPage(items=({"a": [1]},))
    things = [Run(extra={"a": [1]}), rows, StartedRun(run_id="R", results=rows), RunLog(entries=[LogEntry()])]

    assert len({*things, *things}) == 4
    assert len({BatchReport.from_dict(REPORT) for _ in range(2)}) == 1


def test_json_members_can_be_encoded_and_json_text_is_exact() -> None:
    run = Run(run_id="R", error_message="tail \ud83d", extra={"\udc00": ["\ud83d", math.nan, "caf\u00e9"]})
    error = OutcomeUnknownError("said \ud83d", candidates=["01KKPAID"], details=["\ud83d", {1}], run_id="R")
    made = run.to_dict(json=True)

    assert JSONResponse(made).body
    assert made["error_message"] == "tail \ufffd\ufffd\ufffd"
    assert made["extra"] == {"\ufffd\ufffd\ufffd": ["\ufffd\ufffd\ufffd", None, "caf\u00e9"]}
    assert json.loads(bytes(JSONResponse(error.to_dict(json=True)).body))["candidates"] == ["01KKPAID"]
    assert json.loads(error.to_json())["message"] == "said \ud83d"
    assert Run.from_dict(json.loads(run.to_json())).error_message == run.error_message
    with pytest.raises(TypeError, match=r"extra: JSON has no keys but strings"):
        Run(extra={"a": 1, 2: 3}).to_dict(json=True)  # type: ignore[dict-item]


def test_models_hash_with_lists_in_their_sequences() -> None:
    assessment = Assessment(verdict=Verdict.PASS, run=Run(), error_rows=[ErrorRow(number=1, members=["a"])])
    check = InputCheck(worker_id="w", issues=[])

    assert len({assessment, assessment, check, check}) == 2
    assert hash(assessment.error_rows[0])


def test_members_are_found_by_their_names_as_json() -> None:
    run = Run(run_id="R", usage=Decimal("0.10"))

    assert dict(run) == {**run} == run.to_dict(json=True)
    for wrong in ("slug", "callback_url", "keys", "type"):
        with pytest.raises(KeyError, match=wrong):
            run[wrong]


def test_a_run_is_not_iterated() -> None:
    run: Any = Run()

    with pytest.raises(TypeError, match="members of a Run have names, not the number or object 0"):
        list(run)


def test_a_look_for_a_serializer_imports_no_pydantic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pydantic")

    assert not hasattr(Run, "__pydantic_serializer__")
    assert "pydantic" not in sys.modules


ERRORS: list[type[CoreClawError]] = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, CoreClawError)
]


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: str(kind.__name__))
def test_error_tells_all_its_members_and_its_class(kind: type[CoreClawError]) -> None:
    error = kind.__new__(kind)
    CoreClawError.__init__(error, "it happened", code=5, details={"a": (1,)}, candidates=["a"])
    told = json.loads(error.to_json())

    assert told == error.to_dict(json=True)
    assert (told["type"], told["message"], told["code"]) == (kind.__name__, "it happened", 5)
    assert (told["details"], told["candidates"]) == ({"a": [1]}, ["a"])
    assert set(told) == {"type", *vars(error)}


def test_error_tells_its_run_and_its_items_as_dictionaries() -> None:
    run = Run(run_id="R", usage=Decimal("0.10"))
    failed = RunFailedError("it failed", run_id="R", run=run, log=["a line"])
    gap = PaginationError("a gap", items=[run, {"row": 1}])

    assert failed.to_dict(json=True)["run"] == run.to_dict(json=True)
    assert failed.to_dict()["run"]["usage"] == Decimal("0.10")
    assert failed.to_dict()["log"] == ["a line"]
    assert gap.to_dict()["items"] == [run.to_dict(), {"row": 1}]
    counts = BatchIncompleteError("open", counts={BatchItemState.INTENT: 1}, reasons={}).to_dict(json=True)["counts"]
    assert counts == {"intent": 1}
    assert type(next(iter(counts))) is str


def test_error_hides_its_callback_url_and_its_notes_and_is_always_json() -> None:
    error = OutcomeUnknownError("it may have worked", details={"a": {1}, 2: math.nan})
    error.callback_url = "https://x/SECRET"
    error.add_note("a note")
    told = error.to_dict(json=True)

    assert "SECRET" not in str(told) + error.to_json() + str(error.to_dict())
    assert told["details"] == {"a": "{1}", "2": None}
    assert told["may_have_taken_effect"] is True
    assert not [name for name in told if name.startswith("_")]
    assert NotFoundError("no").to_dict() == {**NotFoundError("no").to_dict(json=True)}


@pytest.mark.parametrize(
    ("thing", "expected"),
    [
        (Run(), "Run()"),
        (
            Run(run_id="R", status="odd", result_count=0, usage=Decimal("0.10"), extra={"a": 1}),
            "Run(run_id='R', status='odd', result_count=0, usage=0.10)",
        ),
        (Run(started_at=dt.datetime(2026, 11, 26, tzinfo=dt.UTC)), "Run(started_at=2026-11-26 00:00:00+00:00)"),
        (Run(worker_title="a\nb" * 50), "Run(worker_title='" + ("a\\nb" * 50)[:64] + "'...)"),
        (Page(items=(1,)), "Page(items=<1 item>, offset=0, limit=20)"),
        (
            StartedRun(run_id="R", status=RunStatus.READY, results=ResultPage()),
            "StartedRun(run_id='R', status='ready', results=ResultPage(offset=0, limit=20))",
        ),
        (Worker(parameters={"a": {"b": 1}, "c": None}), "Worker(parameters={'a': <1 item>, 'c': None})"),
        (Worker(parameters={str(n): n for n in range(11)}), "Worker(parameters=<11 items>)"),
        (
            Worker(name="n", readme="x" * 300, version="v" * 300),
            f"Worker(name='n', version='{'v' * 48}'..., readme='{'x' * 48}'...)",
        ),
        (InputProperty(default={1: 2}.keys()), "InputProperty(required=False, default=dict_keys([1]))"),
        (InputProperty(default=b"x" * 200), f"InputProperty(required=False, default=b'{'x' * 88}...)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_repr_shows_what_is_set(thing: Any, expected: str) -> None:
    assert repr(thing) == expected


ID = "01KKDXV2G26BT7NH4ZQR2R4NPZ"


def make_item(**members: Any) -> BatchItem:
    return BatchItem(batch="b" * 60, key="k", position=0, worker_id="w", input_sha256="0" * 64, **members)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_repr_tells_the_candidates(size: int) -> None:
    ids = tuple(f"{number}{ID[1:]}" for number in range(size))
    unknown = StartUnknown(operation="runWorker", candidates=list(ids))
    outcome = BatchOutcome(key="k", state=BatchItemState.AMBIGUOUS, candidates=ids)

    assert repr(unknown) == f"StartUnknown(operation='runWorker', candidates={ids})"
    for told in (repr(outcome), repr(make_item(state=BatchItemState.AMBIGUOUS, candidates=ids))):
        assert f"candidates={ids}" in told
        assert "'ambiguous'" in told


@pytest.mark.parametrize("candidates", [[f"{n:03}{ID}" for n in range(100)], ["r" * 500]], ids=["many", "long"])
def test_repr_tells_all_candidates_whole(candidates: list[str]) -> None:
    things = (
        StartUnknown(operation="runWorker", candidates=candidates, run_id=ID),
        BatchOutcome(key="k", state=BatchItemState.AMBIGUOUS, candidates=candidates),
        make_item(state=BatchItemState.AMBIGUOUS, candidates=tuple(candidates)),
    )

    for thing in things:
        assert [one for one in candidates if repr(one) not in repr(thing)] == []
        assert len(repr(thing).splitlines()) == 1
    assert f"run_id='{ID}'" in repr(things[0])
    assert repr(StartUnknown(operation="o", candidates=[5], run_id=None)).endswith("candidates=(5,))")  # type: ignore[list-item]


@pytest.mark.parametrize("run_id", ["r" * 64, "r" * 500, "\u200b" * 40])
def test_repr_tells_the_whole_run_id(run_id: str) -> None:
    for thing in (StartedRun(run_id=run_id), make_item(run_id=run_id), Run(run_id=run_id, worker_title="t" * 100)):
        assert f"run_id={run_id!r}" in repr(thing)
    outcome = BatchOutcome(key="k" * 60, state=BatchItemState.DONE, run=Run(run_id=run_id))
    assert f"run_id={run_id!r}" in repr(outcome)


@pytest.mark.parametrize("letters", [48, 49, 90, 200])
def test_repr_cuts_no_id_and_no_key(letters: int) -> None:
    text = "x" * letters
    named = (
        BatchOutcome(key=text, state=BatchItemState.DONE),
        Task(task_id=text, worker_id=text),
        QueueItem(queue_id=text),
        InputCheck(worker_id=text),
        RunSpec(key=text, worker_id=text, input={}),
    )
    others = (Run(run_id=ID, worker_id=text, worker_title="t" * 100), StartedRun(run_id=ID, request_id=text))

    assert [thing for thing in named if repr(text) not in repr(thing)] == []
    assert [thing for thing in (*named, *others) if re.search(r"(_id|\bkey)='[^']*'\.\.\.", repr(thing))] == []
    assert [thing for thing in others if "x" in repr(thing) and repr(text) not in repr(thing)] == []


def test_repr_leaves_out_what_there_is_no_room_for() -> None:
    worker = Worker(name="n" * 90, username="u" * 90, version="v" * 90, readme="r" * 90, parameters={"a": "b" * 90})
    outcome = BatchOutcome(
        key="k", state=BatchItemState.DONE, run=Run(run_id="R" * 26, worker_title="t" * 50, version="v")
    )

    assert repr(worker).endswith(", ...)")
    assert len(repr(worker)) <= 200
    assert (
        repr(outcome)
        == f"BatchOutcome(key='k', state='done', run=Run(run_id='{'R' * 26}', version='v', ...), attempt=0)"
    )
