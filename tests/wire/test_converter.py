"""Wire values into members of models: lenient where the service varies, exact where it counts, by name where wrong."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire.exchanges import PATH, read_as, read_record, request_of

from coreclaw_async import models
from coreclaw_async._wire.converter import read_model, read_models, read_named
from coreclaw_async._wire.response import Answer
from coreclaw_async.errors import InvalidResponseError
from coreclaw_async.models import LogLevel, RunStatus, ScheduleType

NOT_FROM_THE_WIRE: set[Any] = {models.InputCheck, models.InputIssue, models.InputSchema, models.LastRun, models.Page}
NOT_FROM_THE_WIRE |= {models.Assessment, models.ErrorRow, models.Reply}
MODELS = [
    kind
    for kind in (getattr(models, name) for name in models.__all__)
    if isinstance(kind, type) and attrs.has(kind) and kind not in NOT_FROM_THE_WIRE
]
# Members that a record must have wherever it stands.
LEAST: dict[Any, dict[str, Any]] = {models.StartedRun: {"run_slug": "R"}, models.ResultPage: {"list": []}}
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
        (models.ResultPage, "list", "items", [], ()),
        (models.ResultPage, "headers", "headers", None, ()),
        (models.RunLog, "list", "entries", None, ()),
        (models.StartedRun, "results", "results", None, None),
    ],
)
def test_wire_value_becomes_member(model: Any, wire: str, attribute: str, value: Any, expected: Any) -> None:
    made = read_record(model, {**LEAST.get(model, {}), wire: value})
    member = getattr(made, attribute)

    assert member == expected
    assert type(member) is type(expected)
    assert made.extra == {}


ODD = [
    (models.Task, "title", "title", [["a"], {"a": 1}, True, 1.5]),
    (models.Run, "slug", "run_id", [1.5, ["R"], {}, True]),
    (models.Run, "version", "version", [1.2, {"a": 1}, [], False]),
    (models.Run, "err_msg", "error_message", [{}, [], 0.5, True]),
    (models.Run, "results", "result_count", ["many", "--5", "", 1.5, True, {"count": 1}, "9" * 5000, float("nan")]),
    (models.Run, "traffic", "traffic", [12.5, "", [], float("inf"), float("-inf"), "\ud800"]),
    (models.Run, "usage", "usage", ["free", "NaN", "sNaN", float("inf"), False, [1], "1e999999", "1e-999999", 10**400]),
    (models.Run, "usage", "usage", ["9" * 5000, 1e300, "\ud800", float("nan"), {"usd": 1}]),
    (models.Run, "duration", "duration", ["abc", 10**400, float("nan"), "Infinity", "1e999999", True, []]),
    (models.Run, "started_at", "started_at", ["2026-08-01T00:00:00Z", "", 10**20, 10**18, 10**400, 1.5, True]),
    (models.Run, "finished_at", "finished_at", ["", float("nan"), float("inf"), "9" * 5000, [0], {}]),
    (models.Run, "status", "status", [["running"], {}, "", True, 1.5]),
    (models.Task, "schedule_enabled", "schedule_enabled", [2, "yes", [], 0.5]),
    (models.Task, "schedule_type", "schedule_type", ["daily", 1.5, True, {}]),
    (models.LogEntry, "type", "level", [[], {}, True, 4.0]),
    (models.LogEntry, "content", "content", [["a"], {}, 1.5]),
    (models.Worker, "parameters", "parameters", [[], "x", 5]),
    (models.InputProperty, "options", "options", [{}, "x", 5]),
    (models.InputProperty, "maximum", "maximum", ["high", [], float("inf"), 10**400]),
    (models.Account, "balance", "balance", [{"usd": 1}, "much", True]),
    (models.QueueAction, "success", "success", ["yes", 7, {}]),
    (models.ResultPage, "headers", "headers", [{}, "x", 5]),
    (models.ResultPage, "count", "count", ["many", True, 1.5, -1, [], float("nan")]),
    (models.ResultPage, "page_size", "page_size", [-20, "x"]),
    (
        models.StartedRun,
        "results",
        "results",
        [5, [], "x", {}, {"list": [1]}, {"list": {}}, {"count": "x"}, {"count": 3}],
    ),
    (models.StartedRun, "run_status", "status", [[], "", True]),
    (models.StartedRun, "execution_end_timestamp", "finished_at", ["", 10**20]),
]


@pytest.mark.parametrize(
    ("model", "wire", "attribute", "value"),
    [(model, wire, attribute, value) for model, wire, attribute, values in ODD for value in values],
    ids=lambda value: repr(value)[:20] if not isinstance(value, type) else value.__name__,
)
def test_member_of_an_odd_type_is_not_set_and_kept_as_it_came(
    model: Any, wire: str, attribute: str, value: Any
) -> None:
    least = LEAST.get(model, {})
    made = read_record(model, {**least, wire: value, "name": "n"} if model is models.Worker else {**least, wire: value})
    expected = attrs.evolve(read_record(model, least), extra={wire: value})
    shown = repr(getattr(made, attribute))

    assert shown == repr(getattr(expected, attribute)) == repr(getattr(read_record(model, least), attribute))
    assert repr(made.extra) == repr({wire: value})


def test_odd_members_leave_the_others_as_they_are() -> None:
    record = {"slug": "R", "status": "succeeded", "results": 7, "traffic": 12.5, "err_msg": {}, "new": 1}

    assert read_as(models.Run, record) == models.Run(
        run_id="R",
        status=RunStatus.SUCCEEDED,
        result_count=7,
        extra={"traffic": 12.5, "err_msg": {}, "new": 1},
    )


def test_start_that_is_named_is_a_start_whatever_else_came() -> None:
    names = ["run_status", "execution_start_timestamp", "execution_end_timestamp", "running_duration", "is_finished"]
    odd = {name: ["odd"] for name in [*names, "error_message", "result_message", "results"]}

    assert read_as(models.StartedRun, {"run_slug": "R", **odd}) == models.StartedRun(run_id="R", extra=odd)


@pytest.mark.parametrize(
    ("model", "data", "member"),
    [
        (models.Run, {"status": "running"}, "slug"),
        (models.Run, {"slug": None, "status": "running"}, "slug"),
        (models.Run, {"slug": 1.5, "status": "running"}, "slug"),
        (models.Run, {"slug": "R"}, "status"),
        (models.Run, {"slug": "R", "status": None}, "status"),
        (models.Run, {"slug": "R", "status": ["running"]}, "status"),
        (models.Run, {"slug": "R", "status": ""}, "status"),
        (models.Task, {"title": "t"}, "slug"),
        (models.Worker, {"version": "v1"}, "name"),
        (models.Export, {"url": "https://x.example"}, "download_url"),
        (models.Export, {"download_url": ["https://x.example"]}, "download_url"),
        (models.CreatedTask, {"slug": ""}, "slug"),
        (models.QueuedRun, {"queued": True}, "queue_ref"),
        (models.TaskInput, {"version": "v1"}, "input"),
        (models.RunLog, {"all_logs_url": "https://x.example"}, "list"),
        (models.RunLog, {"list": {}}, "list"),
        (models.RunLog, {"list": "line"}, "list"),
        (models.ResultPage, {"list": {}}, "list"),
        (models.ResultPage, {"list": [1]}, "list"),
        (models.ResultPage, {"list": [{}, None]}, "list"),
        (models.ResultPage, {"page_index": 1}, "list"),
        (models.StartedRun, {"run_slug": None}, "run_slug"),
        (models.StartedRun, {"run_slug": 1.5}, "run_slug"),
        (models.StartedRun, {"other": 1}, "StartedRun"),
    ],
)
def test_answer_is_invalid_when_it_does_not_say_what_it_speaks_of(model: Any, data: Any, member: str) -> None:
    with pytest.raises(InvalidResponseError) as caught:
        read_as(model, data)

    assert member in caught.value.message
    assert caught.value.message.startswith(f"GET {PATH}: the data of the answer has the wrong shape, ")
    assert (caught.value.request_id, caught.value.__suppress_context__) == (
        "req-1",
        caught.value.__context__ is not None,
    )


@pytest.mark.parametrize(
    ("data", "kind"), [([1], "a list"), ("R", "a string"), (5, "a number"), (True, "a boolean"), (1.5, "a fraction")]
)
def test_model_is_refused_by_name_when_its_data_is_no_object(data: Any, kind: str) -> None:
    with pytest.raises(InvalidResponseError, match=f"data: expected an object, got {kind}"):
        read_as(models.Run, data)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_unknown_members_are_kept_under_their_wire_names(model: Any) -> None:
    unknown = {"added_in_2027": [1], "extra": {"a": 1}, "request_id": "from the wire", "offset": 1, "limit": 2}
    made = read_record(model, {**LEAST.get(model, {}), **unknown})

    assert made.extra == unknown
    assert getattr(made, "request_id", None) is None


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
@pytest.mark.parametrize(("data", "problem"), [(None, "data is missing"), ({}, "data is empty"), ([], "a list")])
def test_answer_is_invalid_when_it_has_no_data(model: Any, data: Any, problem: str) -> None:
    with pytest.raises(InvalidResponseError, match=problem):
        read_as(model, data)


@pytest.mark.parametrize("value", [None, 5, "text", True, 1.5, ["slug"]])
@pytest.mark.parametrize(
    "model", [models.Run, models.Task, models.QueueItem, models.ResultHeader, models.InputProperty]
)
def test_entry_of_a_list_that_is_no_object_stays_in_its_place_without_an_identity(model: Any, value: Any) -> None:
    before, odd, after = read_models(Answer(request_of(), None), model, [{"a": 1}, value, {"a": 2}])

    assert (before.extra, after.extra) == ({"a": 1}, {"a": 2})
    assert odd == model(extra={} if value is None else {"": value})


def test_line_of_a_log_is_kept_whatever_it_is() -> None:
    log = read_as(models.RunLog, {"list": ["text", 5, None, {"content": "c"}]})

    assert log.entries == (
        models.LogEntry(content="text"),
        models.LogEntry(extra={"": 5}),
        models.LogEntry(),
        models.LogEntry(content="c"),
    )


@pytest.mark.parametrize(("told", "asked"), [("R", "R"), ("01kkdxv2", "01KKDXV2"), ("any", None)])
def test_answer_is_taken_when_it_speaks_of_what_was_asked_for(told: str, asked: str | None) -> None:
    answer = Answer(request_of(), {"slug": told, "status": "running"})

    assert read_named(answer, models.Run, name="run_id", asked=asked).run_id == told


def test_answer_is_invalid_when_it_speaks_of_another_thing() -> None:
    with pytest.raises(InvalidResponseError, match="the request was about R, the answer is about S"):
        read_named(Answer(request_of(), {"slug": "S", "status": "failed"}), models.Run, name="run_id", asked="R")


@attrs.frozen(kw_only=True)
class Parcel:
    run_id: str = ""
    weight: float | None = None
    runs: Sequence[models.Run] = ()
    extra: dict[str, Any] = attrs.field(factory=dict[str, Any])


def test_model_that_no_table_names_is_read_as_the_others_are() -> None:
    record = {"run_id": 5, "weight": "heavy", "runs": [{"slug": "R"}, None], "new": 1}

    assert read_as(Parcel, record) == Parcel(
        run_id="5", runs=(models.Run(run_id="R"), models.Run()), extra={"weight": "heavy", "new": 1}
    )


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
@given(data=st.data())
@settings(max_examples=15)
def test_any_value_of_any_member_is_read_or_is_an_invalid_answer(model: Any, data: st.DataObject) -> None:
    values = (
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers(), max_size=2)
    ) | st.sampled_from(["--1", "9" * 5000, "1e999999", "sNaN", "\ud800", 10**11, 10**18, 10**400, {}, [{}], ["a"]])
    wire_names = ["slug", "list", "results", "usage", "status", "type", "id", "run_slug", "duration", "created_at"]
    wire_names += [field.name for field in attrs.fields(model)]
    record = data.draw(st.dictionaries(st.sampled_from(wire_names), values, max_size=4))

    try:
        made = read_model(Answer(request_of(), record), model)
    except InvalidResponseError as error:
        made, text = None, error.message
    else:
        text = ""

    assert text.isprintable()
    if made is None:
        return
    assert set(made.extra) <= set(record)
    (listed,) = read_models(Answer(request_of(), None), model, [record])
    assert repr(listed) == repr(made)
