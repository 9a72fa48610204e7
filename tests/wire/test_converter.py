"""Wire values into members of models: lenient where the service varies, exact where it counts, by name where wrong."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire.exchanges import PATH, read_as, request_of

from coreclaw_async import models
from coreclaw_async._wire.converter import read_model, read_models
from coreclaw_async._wire.response import Answer
from coreclaw_async.errors import InvalidResponseError
from coreclaw_async.models import LogLevel, RunStatus, ScheduleType

MODELS = [
    kind
    for kind in (getattr(models, name) for name in models.__all__)
    if isinstance(kind, type) and attrs.has(kind) and kind not in {models.LastRun, models.Page, models.InputSchema}
]
NEW_YEAR = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
SECONDS = 1_767_225_600
BIG = 1786001196232214890


def utc(year: int, *rest: int) -> dt.datetime:
    return dt.datetime(year, *rest, tzinfo=dt.UTC)  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    ("model", "wire", "attribute", "value", "expected"),
    [
        (models.Task, "title", "title", "Daily", "Daily"),
        (models.Task, "title", "title", None, ""),
        (models.Task, "slug", "task_id", 123456, "123456"),
        (models.LogEntry, "content", "content", None, ""),
        (models.Run, "slug", "run_id", None, ""),
        (models.Export, "download_url", "download_url", None, ""),
        (models.StartedRun, "run_slug", "run_id", BIG, str(BIG)),
        (models.Run, "version", "version", None, None),
        (models.Run, "version", "version", 7, "7"),
        (models.Run, "results", "result_count", "7", 7),
        (models.Run, "results", "result_count", " -7 ", -7),
        (models.Run, "results", "result_count", 7.0, 7),
        (models.Run, "results", "result_count", None, None),
        (models.Task, "id", "internal_id", BIG, BIG),
        (models.Task, "id", "internal_id", str(BIG), BIG),
        (models.Run, "usage", "usage", "0.0217", Decimal("0.0217")),
        (models.Run, "usage", "usage", "1.00", Decimal("1.00")),
        (models.Run, "usage", "usage", 0.1, Decimal("0.1")),
        (models.Run, "usage", "usage", 2, Decimal(2)),
        (models.Run, "usage", "usage", "", None),
        (models.Run, "usage", "usage", None, None),
        (models.Run, "duration", "duration", 10, 10.0),
        (models.Run, "duration", "duration", 0, 0.0),
        (models.Run, "duration", "duration", "10.5", 10.5),
        (models.Run, "duration", "duration", 10.5, 10.5),
        (models.Run, "duration", "duration", "", None),
        (models.Run, "started_at", "started_at", SECONDS, NEW_YEAR),
        (models.Run, "started_at", "started_at", str(SECONDS), NEW_YEAR),
        (models.Run, "started_at", "started_at", float(SECONDS), NEW_YEAR),
        (models.Run, "started_at", "started_at", SECONDS * 1000, NEW_YEAR),
        (models.Run, "started_at", "started_at", SECONDS * 1000 + 123, NEW_YEAR.replace(microsecond=123_000)),
        (models.Run, "started_at", "started_at", 1, utc(1970, 1, 1, 0, 0, 1)),
        (models.Run, "started_at", "started_at", 10**11 - 1, utc(5138, 11, 16, 9, 46, 39)),
        (models.Run, "started_at", "started_at", 10**11, utc(1973, 3, 3, 9, 46, 40)),
        (models.Run, "started_at", "started_at", 0, None),
        (models.Run, "started_at", "started_at", "0", None),
        (models.Run, "started_at", "started_at", -62_135_596_800, None),
        (models.Run, "started_at", "started_at", None, None),
        (models.Task, "schedule_enabled", "schedule_enabled", 1, True),
        (models.Task, "schedule_enabled", "schedule_enabled", 0, False),
        (models.Task, "schedule_enabled", "schedule_enabled", True, True),
        (models.Task, "schedule_enabled", "schedule_enabled", None, None),
        (models.Run, "status", "status", "running", RunStatus.RUNNING),
        (models.Run, "status", "status", "aborted", "aborted"),
        (models.Run, "status", "status", "RUNNING", "RUNNING"),
        (models.Run, "status", "status", 1, RunStatus.READY),
        (models.Run, "status", "status", 5, RunStatus.ABORTING),
        (models.Run, "status", "status", 9, "9"),
        (models.Run, "status", "status", None, None),
        (models.LogEntry, "type", "level", 4, LogLevel.ERROR),
        (models.LogEntry, "type", "level", "warn", LogLevel.WARN),
        (models.LogEntry, "type", "level", "fatal", "fatal"),
        (models.LogEntry, "type", "level", 9, "9"),
        (models.LogEntry, "type", "level", None, None),
        (models.Task, "schedule_type", "schedule_type", 0, ScheduleType.NONE),
        (models.Task, "schedule_type", "schedule_type", "4", ScheduleType.ONCE),
        (models.Task, "schedule_type", "schedule_type", 5, 5),
        (models.Task, "schedule_type", "schedule_type", None, None),
        (models.Worker, "parameters", "parameters", None, {}),
        (models.InputProperty, "required", "required", True, True),
        (models.InputProperty, "required", "required", "true", False),
        (models.InputProperty, "required", "required", None, False),
        (models.InputProperty, "options", "options", None, []),
        (models.ResultPage, "list", "items", None, ()),
        (models.ResultPage, "headers", "headers", None, ()),
        (models.RunLog, "list", "entries", None, ()),
        (models.StartedRun, "results", "results", None, None),
    ],
)
def test_wire_value_becomes_member(model: Any, wire: str, attribute: str, value: Any, expected: Any) -> None:
    data = {"run_slug": "R", wire: value} if model is models.StartedRun else {wire: value}
    member = getattr(read_as(model, data), attribute)

    assert member == expected
    assert type(member) is type(expected)


@pytest.mark.parametrize(
    ("model", "data", "member"),
    [
        (models.Task, {"title": ["a"]}, "Task.title"),
        (models.Task, {"title": True}, "Task.title"),
        (models.Run, {"version": {"a": 1}}, "Run.version"),
        (models.Run, {"slug": 1.5}, "Run.run_id"),
        (models.Run, {"results": "many"}, "Run.result_count"),
        (models.Run, {"results": "--5"}, "Run.result_count"),
        (models.Run, {"results": 1.5}, "Run.result_count"),
        (models.Run, {"results": True}, "Run.result_count"),
        (models.Run, {"results": {"count": 1}}, "Run.result_count"),
        (models.Run, {"usage": "free"}, "Run.usage"),
        (models.Run, {"usage": "NaN"}, "Run.usage"),
        (models.Run, {"usage": float("inf")}, "Run.usage"),
        (models.Run, {"usage": False}, "Run.usage"),
        (models.Run, {"usage": [1]}, "Run.usage"),
        (models.Run, {"duration": "long"}, "Run.duration"),
        (models.Run, {"duration": 10**400}, "Run.duration"),
        (models.Run, {"started_at": "2026-08-01T00:00:00Z"}, "Run.started_at"),
        (models.Run, {"started_at": 10**18}, "Run.started_at"),
        (models.Run, {"started_at": 10**400}, "Run.started_at"),
        (models.Run, {"status": ["running"]}, "Run.status"),
        (models.Task, {"schedule_enabled": 2}, "Task.schedule_enabled"),
        (models.Task, {"schedule_enabled": "yes"}, "Task.schedule_enabled"),
        (models.Task, {"schedule_type": "daily"}, "Task.schedule_type"),
        (models.LogEntry, {"type": []}, "LogEntry.level"),
        (models.Worker, {"parameters": []}, "Worker.parameters"),
        (models.InputProperty, {"options": {}}, "InputProperty.options"),
        (models.ResultPage, {"list": {}}, "ResultPage.items"),
        (models.ResultPage, {"list": [1]}, "ResultPage.items"),
        (models.ResultPage, {"headers": [{"key": []}]}, "ResultPage.headers"),
        (models.RunLog, {"list": [5]}, "RunLog.entries"),
        (models.StartedRun, {"run_slug": "R", "results": 5}, "StartedRun.results"),
        (models.StartedRun, {"run_slug": "R", "results": {"count": "x"}}, "StartedRun.results.count"),
        (models.StartedRun, {}, "StartedRun"),
    ],
)
def test_member_is_named_when_its_type_is_wrong(model: Any, data: Any, member: str) -> None:
    with pytest.raises(InvalidResponseError) as caught:
        read_as(model, data)

    assert member in caught.value.message
    assert caught.value.message.startswith(f"GET {PATH}: the data of the answer has the wrong shape, ")
    assert (caught.value.request_id, caught.value.__suppress_context__) == ("req-1", True)


@pytest.mark.parametrize(
    ("data", "kind"), [([1], "a list"), ("R", "a text"), (5, "a number"), (True, "a flag"), (1.5, "a fraction")]
)
def test_model_is_refused_by_name_when_its_data_is_no_object(data: Any, kind: str) -> None:
    with pytest.raises(InvalidResponseError, match=f"Run: an object was expected, not {kind}"):
        read_as(models.Run, data)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_unknown_members_are_kept_under_their_wire_names(model: Any) -> None:
    unknown = {"added_in_2027": [1], "extra": {"a": 1}, "request_id": "from the wire", "offset": 1, "limit": 2}
    made = read_as(model, {"run_slug": "R", **unknown} if model is models.StartedRun else unknown)

    assert made.extra == unknown
    assert getattr(made, "request_id", None) is None


@pytest.mark.parametrize("model", [model for model in MODELS if model is not models.StartedRun])
def test_model_is_empty_when_its_data_is_absent_or_null(model: Any) -> None:
    empty = model()

    assert read_model(request_of(), Answer(None), model) == read_as(model, {}) == empty
    assert read_model(request_of(), Answer({"ignored": 1}), model, None) == empty


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
@given(data=st.data())
@settings(max_examples=40)
def test_any_value_of_any_member_is_read_or_is_an_invalid_answer(model: Any, data: st.DataObject) -> None:
    values = (
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers(), max_size=2)
    ) | st.sampled_from(["--1", "9" * 5000, "1e999999", "sNaN", "\ud800", 10**11, 10**18, 10**400, {}, [{}], ["a"]])
    wire_names = ["slug", "list", "results", "usage", "status", "type", "id", "run_slug", "duration", "created_at"]
    wire_names += [field.name for field in attrs.fields(model)]
    record = data.draw(st.dictionaries(st.sampled_from(wire_names), values, max_size=4))

    try:
        made = read_model(request_of(), Answer(record), model)
    except InvalidResponseError as error:
        made, text = None, error.message
    else:
        text = ""

    assert text.isprintable()
    if made is not None:
        assert read_models(request_of(), Answer(None), model, [record]) == (made,)
