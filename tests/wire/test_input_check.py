"""What is told about an input before it is paid for: errors only where a start fails for certain, no value shown."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire.exchanges import request_of

from coreclaw_async import (
    AuthenticationError,
    CoreClawError,
    InputCheck,
    InputIssue,
    InputSchema,
    InvalidResponseError,
    IssueSeverity,
    NotFoundError,
)
from coreclaw_async._wire.input_check import check_input, no_schema, sent_input
from coreclaw_async._wire.input_schema import read_input_schema
from coreclaw_async._wire.request import worker_input
from coreclaw_async._wire.response import Answer

# One property of each kind that the documentation names (developer-guide/worker-definition/input-schema).
PROPERTIES: list[dict[str, Any]] = [
    {"name": "keywords", "type": "array", "editor": "stringList", "required": True},
    {"name": "title", "type": "string", "editor": "input"},
    {"name": "note", "type": "string", "editor": "textarea"},
    {"name": "pages", "type": "integer", "editor": "number", "minimum": 1, "maximum": 50},
    {"name": "radius", "type": "number", "editor": "input"},
    {"name": "deep", "type": "boolean", "editor": "switch"},
    {
        "name": "country",
        "type": "string",
        "editor": "select",
        "options": [{"label": "Germany", "value": "DE"}, {"label": "France", "value": "FR"}],
    },
    {"name": "languages", "type": "string", "editor": "select", "multiple": True, "options": [{"value": "en"}]},
    {"name": "depth", "type": "integer", "editor": "radio", "options": [{"value": 1}, {"value": 2}]},
    {"name": "fields", "type": "array", "editor": "checkbox", "options": [{"value": "name"}, {"value": "phone"}]},
    {"name": "since", "type": "string", "editor": "datepicker", "format": "DD/MM/YYYY", "valueFormat": "YYYY-MM-DD"},
    {"name": "pages_of", "type": "array", "editor": "requestList", "default": [{"url": "https://example.test"}]},
    {
        "name": "posts",
        "type": "array",
        "editor": "requestListSource",
        "param_list": [
            {"param": "url", "required": True, "type": "string"},
            {"param": "num_of_posts", "type": "integer"},
        ],
    },
    {"name": "area", "type": "object", "editor": "json"},
    {"name": "anything"},
    {"name": "place", "type": "geo", "editor": "map"},
    {"name": "tags", "type": "array", "editor": "input"},
]
FINE: dict[str, Any] = {"keywords": ["coffee"]}


def schema_of(properties: Any = PROPERTIES, *, shape: str = "list", **members: Any) -> InputSchema:
    if shape == "map":
        required = [entry["name"] for entry in properties if entry.get("required")]
        named = {
            entry["name"]: {key: value for key, value in entry.items() if key not in {"name", "required"}}
            for entry in properties
        }
        properties, members = named, {"type": "object", "required": required, **members}
    return read_input_schema(Answer(request_of(), {"input_schema": {**members, "properties": properties}}, "req"))


def check(given: Any, schema: InputSchema | None = None, **options: Any) -> InputCheck:
    sent = sent_input(worker_input(given, None, None))
    return check_input("me~one", schema_of() if schema is None else schema, sent, **options)


def told(found: InputCheck) -> list[str]:
    return [f"{issue.severity.value}: {issue}" for issue in found.issues]


TABLE: dict[str, tuple[Mapping[str, Any], list[str]]] = {
    "all members": (
        {
            "keywords": ["coffee", "tea"],
            "title": "t",
            "note": "two\nlines",
            "pages": 3,
            "radius": 2.5,
            "deep": False,
            "country": "DE",
            "languages": ["en"],
            "depth": 2,
            "fields": ["phone", "name"],
            "since": "2026-11-26",
            "pages_of": [{"url": "https://example.test/1"}],
            "posts": [{"url": "https://example.test/2", "num_of_posts": "10"}],
            "area": {"type": "Point", "coordinates": [1, 2]},
            "anything": [1, {"a": None}],
            "tags": "a",
        },
        [],
    ),
    "flat, as it is right here": ({"keywords": ["coffee"], "pages": 1}, []),
    "a tuple": ({"keywords": ("coffee",)}, []),
    "nothing": ({}, ["error: input.keywords is required, and missing"]),
    "a required member that is null": ({"keywords": None}, ["error: input.keywords is required, and empty"]),
    "a required member that is an empty list": ({"keywords": []}, ["error: input.keywords is required, and empty"]),
    "a required member that is an empty string": ({"keywords": ""}, ["error: input.keywords is required, and empty"]),
    "a required member that is an empty object": ({"keywords": {}}, ["error: input.keywords is required, and empty"]),
    "an optional member that is null": ({**FINE, "pages": None, "area": {}, "country": ""}, []),
    "zero and false are values": ({"keywords": ["coffee"], "radius": 0, "deep": False}, []),
    "a string for a list": (
        {"keywords": "coffee"},
        ["error: input.keywords must be of type array, not a string: give a list, also for one item"],
    ),
    "an object for a list": (
        {"keywords": {"0": "coffee"}},
        ["error: input.keywords must be of type array, not an object: give a list, also for one item"],
    ),
    "JSON text for an object": (
        {**FINE, "area": '{"a": 1}'},
        ["error: input.area must be of type object, not a string: give the value itself, not a string"],
    ),
    "a list for an object": ({**FINE, "area": [1]}, ["error: input.area must be of type object, not an array"]),
    "a list for a string": (
        {**FINE, "title": ["a"]},
        ["warning: input.title must be of type string, not an array"],
    ),
    "a number for a string": (
        {**FINE, "title": 5},
        ["warning: input.title must be of type string, not a number: give a string"],
    ),
    "a boolean for an integer": (
        {**FINE, "pages": True},
        ["warning: input.pages must be of type integer, not a boolean"],
    ),
    "an integer for a boolean": ({**FINE, "deep": 1}, ["warning: input.deep must be of type boolean, not a number"]),
    "a string for an integer": (
        {**FINE, "pages": "3"},
        [
            "warning: input.pages must be of type integer, not a string: give the value itself, not a string"
        ],
    ),
    "a string for a number whose editor takes strings": (
        {**FINE, "radius": "2.5"},
        [
            "warning: input.radius must be of type number, not a string: give the value itself, not a string"
        ],
    ),
    "a fraction for an integer": (
        {**FINE, "pages": 2.5},
        ["warning: input.pages must be of type integer, not a number"],
    ),
    "a whole float for an integer": ({**FINE, "pages": 2.0}, []),
    "a huge integer": (
        {**FINE, "pages": 10**400},
        ["warning: input.pages is more than 50, the largest number allowed"],
    ),
    "a number that is too small": (
        {**FINE, "pages": 0},
        ["warning: input.pages is less than 1, the smallest number allowed"],
    ),
    "a value that is no option": (
        {**FINE, "country": "GE"},
        ["warning: input.country is not one of the 2 options: choose from 'DE', 'FR'"],
    ),
    "an option in another case": (
        {**FINE, "country": "de"},
        ["warning: input.country is not one of the 2 options: did you mean 'DE'?"],
    ),
    "the label of an option": (
        {**FINE, "country": "germany"},
        ["warning: input.country is not one of the 2 options: that is the label of 'DE'"],
    ),
    "a very long value that is no option": (
        {**FINE, "country": "x" * 100_000},
        ["warning: input.country is not one of the 2 options: choose from 'DE', 'FR'"],
    ),
    "an option as a string": (
        {**FINE, "depth": "2"},
        [
            "warning: input.depth must be of type integer, not a string: give the value itself, not a string"
        ],
    ),
    "a boolean that equals an option": (
        {**FINE, "depth": True},
        ["warning: input.depth must be of type integer, not a boolean"],
    ),
    "one of several options without a list": ({**FINE, "languages": "en"}, []),
    "several values, of which one is no option": (
        {**FINE, "fields": ["name", "fone"]},
        ["warning: input.fields[1] is not one of the 2 options: did you mean 'phone'?"],
    ),
    "a value that is not the one option": (
        {**FINE, "languages": ["de"]},
        ["warning: input.languages[0] is not the one option: choose from 'en'"],
    ),
    "an option without the list": (
        {**FINE, "fields": "phone"},
        ["error: input.fields must be of type array, not a string: give a list, also for one item"],
    ),
    "an object among options": ({**FINE, "fields": [{"value": "name"}]}, []),
    "a date in another form": (
        {**FINE, "since": "26/11/2026"},
        ["warning: input.since is not written as YYYY-MM-DD"],
    ),
    "a date that is a number": (
        {**FINE, "since": 20261126},
        ["warning: input.since must be of type string, not a number: give a string"],
    ),
    "plain values where the default has objects": (
        {**FINE, "pages_of": ["https://example.test"]},
        ["warning: input.pages_of[0] differs from the default of this member, which holds objects"],
    ),
    "objects with other members than the default's": (
        {**FINE, "pages_of": [{"link": "https://example.test"}]},
        ["warning: input.pages_of[0] differs from the default of this member, which holds objects"],
    ),
    "an item without what it needs": (
        {**FINE, "posts": [{"num_of_posts": 1}, {"url": ""}]},
        [
            "warning: input.posts[0].url is required, and missing",
            "warning: input.posts[1].url is required, and empty",
        ],
    ),
    "an item with a member too many": (
        {**FINE, "posts": [{"url": "u", "number of posts": 1}]},
        ["warning: input.posts[0]['number of posts'] is not among the members of these items"],
    ),
    "an item that is no object": (
        {**FINE, "posts": ["https://example.test", None]},
        ["warning: input.posts[0] must be an object with url, num_of_posts, not a string"],
    ),
    "a member with a slip": (
        {"keyword": ["coffee"]},
        [
            "error: input.keywords is required, and missing: is input.keyword meant for it?",
            "warning: input.keyword is not in the worker's schema: did you mean input.keywords?",
        ],
    ),
    "a member in another spelling": (
        {**FINE, "Pages-Of": []},
        ["warning: input['Pages-Of'] is not in the worker's schema: did you mean input.pages_of?"],
    ),
    "a member that nothing is like": (
        {**FINE, "\u20ac" * 5: 1},
        [f"warning: input['{chr(0x20AC) * 5}'] is not in the worker's schema"],
    ),
    "a member of items outside of them": (
        {**FINE, "num_of_posts": 10},
        [
            "warning: input.num_of_posts is not in the worker's schema: it is a member of the items of input.posts",
        ],
    ),
    "a setting of the platform": (
        {**FINE, "proxy_region": "US"},
        [
            ("warning: input.proxy_region is not in the worker's schema: it is a setting of the platform, which is "
            "given as system"),
        ],
    ),
    "wrapped": (
        {"parameters": {"custom": {"keywords": ["coffee"]}}},
        [("error: input.parameters.custom would be wrapped again, and the worker would not see it: "
         "give this object alone")],
    ),
    "wrapped, with the name of the whole": (
        {"input": {"parameters": {"custom": {}, "system": {}}}},
        [("error: input.input.parameters.custom would be wrapped again, and the worker would not see it: "
         "give this object alone")],
    ),
    "half wrapped": (
        {"custom": {"keywords": ["coffee"]}},
        ["error: input.custom would be wrapped again, and the worker would not see it: give this object alone"],
    ),
    "an unknown member that is called as a wrapping": (
        {"custom": {"other": 1}, "keywords": ["coffee"]},
        ["warning: input.custom is not in the worker's schema"],
    ),
    "a member that is called as a wrapping and holds nothing known": (
        {"custom": {"other": 1}},
        ["error: input.keywords is required, and missing", "warning: input.custom is not in the worker's schema"],
    ),
    "null among options": (
        {**FINE, "fields": [None]},
        [],
    ),
    "a member of an unknown type": (
        {**FINE, "place": "here"},
        ["note: input.place was not checked: its type 'geo' is unknown"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("shape", ["list", "map"])
@pytest.mark.parametrize("case", TABLE)
def test_verdict_and_messages(case: str, shape: str) -> None:
    given, expected = TABLE[case]

    found = check(given, schema_of(shape=shape))

    assert told(found) == expected
    assert found.ok is not any(line.startswith("error") for line in expected)
    assert len(found.errors) == sum(line.startswith("error") for line in expected)


@pytest.mark.parametrize(
    "given", [None, [], "text", 5, {1: 2}, {"keywords": {1}}, {"a": float("nan")}, {"a": "\ud800"}]
)
def test_what_a_start_refuses_before_it_sends_is_refused_in_the_same_way(given: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="input"):
        check(given)


def test_an_input_that_is_nested_too_deeply_is_a_clear_error() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]

    with pytest.raises(ValueError, match="nested too deeply"):
        check({"keywords": deep})


@pytest.mark.parametrize("depth", [900, 940, 960, 980, 990])
def test_a_schema_or_input_near_the_limit_of_depth_stops_nobody(depth: int) -> None:
    deep: list[Any] = []
    for _ in range(depth):
        deep = [deep]
    keywords = {"name": "keywords", "type": "array", "required": True}
    schema = schema_of([{**keywords, "default": deep}], concurrency={"fields": ["keywords"]})

    assert check({}, schema).task_count is None
    try:
        assert check({"keywords": [deep, deep]}, schema).task_count in {2, None}
    except ValueError as error:
        assert "nested too deeply" in str(error)  # noqa: PT017 - where that begins differs between Pythons


def test_no_value_of_an_input_is_in_what_is_told() -> None:
    secret = "SECRET-SECRET"
    wrong = {entry["name"]: secret for entry in PROPERTIES} | {"fields": [secret], "posts": [secret, {"x": secret}]}

    for wrapped in (wrong, {"parameters": {"custom": {"a": secret}}}, {"nothing": secret}):
        assert secret not in repr(check(wrapped))


@pytest.mark.parametrize("raw", [{}, {"properties": 5}, {"properties": []}, {"properties": [5, {"title": "nameless"}]}])
def test_a_schema_that_names_no_members_gives_a_note_and_no_error(raw: dict[str, Any]) -> None:
    schema = read_input_schema(Answer(request_of(), {"input_schema": raw}, "req"))

    found = check({"any": 1, "custom": {}}, schema)

    why = "the worker's schema names no members that could be read"
    assert (found.ok, found.task_count, told(found)) == (
        True,
        None,
        [f"note: input was not checked, because {why}"],
    )


@pytest.mark.parametrize("schema", [InputSchema(), no_schema(InvalidResponseError("odd"))])
def test_a_wrapped_input_is_doubtful_also_without_a_schema(schema: InputSchema | InputIssue) -> None:
    found = check_input("me~one", schema, {"parameters": {"custom": {}}})

    assert [issue.severity.value for issue in found.issues] == ["warning", "note"]
    assert found.issues[0].path == "input.parameters.custom"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            InvalidResponseError("odd"),
            "note: input was not checked, because the worker's schema could not be read",
        ),
        (
            AuthenticationError("no"),
            "note: input was not checked, because the service refused to show the worker's schema",
        ),
        (
            NotFoundError("none"),
            "warning: worker_id has no schema that is shown (it may be private, or not exist): nothing was checked",
        ),
    ],
)
def test_without_a_schema_there_is_no_error(error: CoreClawError, expected: str) -> None:
    found = check_input("me~one", no_schema(error), {"any": 1})

    assert (told(found), found.ok, found.task_count) == ([expected], True, None)


@pytest.mark.parametrize(
    "odd",
    [
        {"options": "DE"},
        {"options": [{"label": "Germany"}]},
        {"options": [["DE"]]},
        {"enum": {"DE": 1}},
        {"param_list": [5]},
        {"param_list": "url"},
        {"items": 5},
        {"items": {"type": "geo"}},
        {"editor": "datepicker", "valueFormat": "DD MMM YYYY"},
        {"editor": "datepicker", "valueFormat": "whenever"},
        {"editor": "datepicker", "valueFormat": 5},
        {"editor": "new", "default": 5},
        {"type": ["string", "array"]},
        {"type": None, "options": None},
        {"default": [1, {"a": 1}]},
        {"default": [{}]},
        {"minimum": "least", "maximum": None},
    ],
    ids=repr,
)
@pytest.mark.parametrize("value", ["SK", 5, ["SK"], [{"a": 1}]], ids=repr)
def test_what_cannot_be_read_of_a_property_gives_no_error(odd: dict[str, Any], value: Any) -> None:
    assert check({"a": value}, schema_of([{"name": "a", **odd}])).ok


def test_the_first_of_two_properties_with_one_name_counts() -> None:
    schema = schema_of([{"name": "a", "type": "object"}, {"name": "a", "type": "array"}])

    assert check({"a": {"b": 1}}, schema).issues == ()


def test_an_enumeration_of_json_schema_is_one_of_options() -> None:
    schema = schema_of([{"name": "a", "enum": ["x", 1, True, None]}, {"name": "b", "enum": ["x", 1]}], shape="map")

    assert told(check({"a": "z", "b": "X"}, schema)) == [
        "warning: input.b is not one of the 2 options: did you mean 'x'?",
    ]


@pytest.mark.parametrize(("value", "options"), [("2", [1, 2]), (2, ["1", "2"])])
def test_an_option_of_another_type_is_a_warning(value: Any, options: list[Any]) -> None:
    found = check({"a": value}, schema_of([{"name": "a", "options": options}]))

    assert told(found) == ["warning: input.a is of another type than the option with the same text"]


def test_options_of_an_editor_that_takes_any_value_are_proposals() -> None:
    assert check({"a": "z"}, schema_of([{"name": "a", "editor": "input", "options": ["x"]}])).issues == ()


def test_items_may_have_a_type_as_in_json_schema() -> None:
    schema = schema_of([{"name": "a", "type": "array", "items": {"type": "integer"}}], shape="map")

    assert told(check({"a": [1, "2", None]}, schema)) == ["warning: input.a[1] must be of type integer, not a string"]


def test_a_long_option_that_is_meant_by_its_label_is_told_short() -> None:
    schema = schema_of([{"name": "a", "options": [{"label": "x", "value": "v" * 10_000}]}])

    assert told(check({"a": "X"}, schema)) == ["warning: input.a is not the one option"]


def test_many_options_are_not_listed() -> None:
    found = check({"a": "zzz"}, schema_of([{"name": "a", "options": [f"option {n}" for n in range(1000)]}]))

    assert told(found) == ["warning: input.a is not one of the 1000 options"]


def test_of_a_million_wrong_items_the_first_are_told_and_the_others_counted() -> None:
    schema = schema_of([{"name": "a", "type": "array", "options": ["x"]}])

    found = check({"a": ["y"] * 20_000}, schema)

    assert (found.ok, len(found.issues)) == (True, 11)
    assert told(found)[-1] == "note: input.a has 19,990 more issues of severity warning"


@pytest.mark.parametrize("odd", [{}, {"editor": "combobox"}, {"type": "geo"}, {"type": None}], ids=repr)
def test_a_value_that_is_no_option_is_never_an_error(odd: dict[str, Any]) -> None:
    property_of_a = {"name": "a", "type": "string", "editor": "select", "options": ["DE"], **odd}

    for value in ("IT", ["IT"]):
        assert check({"a": value}, schema_of([property_of_a])).ok


@pytest.mark.parametrize("empty", ["", " ", None, [], {}], ids=repr)
def test_an_empty_item_is_no_wrong_option(empty: Any) -> None:
    schema = schema_of([{"name": "a", "type": "array", "editor": "checkbox", "options": ["DE"]}])

    assert check({"a": ["DE", empty]}, schema).issues == ()


@pytest.mark.parametrize("kind", ["array", "object"])
@pytest.mark.parametrize("editor", ["csvBox", ""])
def test_an_unknown_editor_makes_no_error_of_another_kind_of_value(kind: str, editor: str) -> None:
    (found,) = check({"a": "a,b"}, schema_of([{"name": "a", "type": kind, "editor": editor}])).issues

    assert (found.severity, found.message) == (IssueSeverity.WARNING, f"must be of type {kind}, not a string")


def test_a_member_that_the_service_leaves_out_is_not_judged() -> None:
    schema = schema_of(
        [{"name": "k", "type": "array"}, {"name": "u", "type": "array", "options": ["a"], "default": [{"x": 1}]}],
        concurrency={"fields": ["k", "u"], "remove_fields": ["u"]},
    )

    assert told(check({"k": ["x"], "u": ["zz"]}, schema)) == [
        "warning: input.u is left out by the service, because input.k has items",
    ]


def near_options(count: int) -> list[str]:
    return [f"{'ab' * 15}{number:04}{'ba' * 3}" for number in range(count)]


HUGE: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "wrong values and many options": (
        [{"name": f"a{n}", "type": "array", "options": near_options(500)} for n in range(20)],
        {f"a{n}": ["ab" * 19] * 500 for n in range(20)},
    ),
    "unknown names like many others": (
        [{"name": name} for name in near_options(2_000)],
        {f"{'ab' * 18}{n:02}": 1 for n in range(10)},
    ),
    "a long default": (
        [{"name": "a", "type": "array", "default": [f"{n}" for n in range(50_000)]}],
        {"a": ["x"] * 20_000},
    ),
    "many members of items": (
        [{"name": "a", "type": "array", "param_list": [{"param": f"p{n}", "required": True} for n in range(20_000)]}],
        {"a": [{}] * 20_000},
    ),
    "many required names": ([{"name": f"a{n}", "required": True} for n in range(20_000)], {"a1": 1}),
    "a long form of dates": (
        [{"name": "a", "type": "string", "editor": "datepicker", "valueFormat": "YYYY-" * 600_000}],
        {"a": "2026"},
    ),
    "long labels": (
        [{"name": "a", "type": "array", "options": [{"label": "x" * 50, "value": str(n)} for n in range(20_000)]}],
        {"a": ["x"] * 20_000},
    ),
    "members that are split": ([{"name": f"a{n}", "type": "array"} for n in range(20_000)], {"a1": ["x"]}),
}


@pytest.mark.parametrize("case", HUGE)
def test_no_schema_makes_a_check_long(case: str) -> None:
    """All of these took minutes, or grew with the square of the sizes; now the longest takes a fifth of a second."""
    properties, given = HUGE[case]
    schema = schema_of(properties, shape="map", concurrency={"fields": [entry["name"] for entry in properties]})
    began = time.process_time()

    check(given, schema)

    assert time.process_time() - began < 10


def test_items_that_are_too_many_to_check_are_told() -> None:
    schema = schema_of([{"name": "a", "type": "array", "options": ["x"]}, {"name": "b", "type": "array"}])

    found = check({"a": ["x"] * 100_001, "b": ["y"]}, schema)

    assert told(found) == [
        "note: input.a is too large: only the first 100,000 of its items were checked",
        "note: input.b is too large: its items were not checked",
    ]


def test_tasks_that_are_too_many_to_check_are_counted() -> None:
    schema = schema_of([{"name": "a", "type": "array"}], concurrency={"fields": ["a"]})

    found = check({"a": [*map(str, range(100_001)), {"b": 1}]}, schema)

    assert found.task_count == 100_002
    assert [issue.severity.value for issue in found.issues] == ["error", "warning", "note", "note"]
    assert str(found.issues[-1]) == ("input.a is too large: only the first 100000 of its 100002 tasks were checked")


def test_of_many_required_members_the_first_are_told_and_the_others_counted() -> None:
    found = check({}, schema_of([{"name": f"a{number}", "required": True} for number in range(1_000)]))

    assert (found.ok, len(found.errors), len(found.issues)) == (False, 100, 101)
    assert told(found)[-1] == "note: input has 900 more issues of severity error"


def test_of_many_unknown_members_the_first_are_told_and_the_others_counted() -> None:
    found = check({**FINE, **{f"member {number}": 1 for number in range(100)}})

    assert len(found.issues) == 11
    assert told(found)[-1] == "warning: input has 90 more members that are not in the worker's schema"


@pytest.mark.parametrize(
    "name", ["n" * 100_000, "n" * 100_000 + " ", "\u202e\x1b[31m\x9b" * 1_000], ids=["a", "b", "c"]
)
def test_a_name_of_any_length_is_told_short_and_in_printable_characters(name: str) -> None:
    fields = {"fields": ["first", name, *(f"more{n}" for n in range(1_000))]}
    properties = [
        {"name": name, "required": True, "type": name},
        {"name": "posts", "type": "array", "param_list": [{"param": name}]},
        {"name": "first", "type": "array"},
    ]
    schema = schema_of(properties, concurrency=fields)

    assert all(len(str(one)) < 1_000 for one in check({**FINE, name: 1}).issues)
    for wrong in ({**FINE, name: 1}, {"posts": ["u", {name: 1}]}, {"first": [{"first": 1}], name: [{name: 1}]}, {}):
        for one in check(wrong, schema).issues:
            assert len(str(one)) < 1_000
            assert str(one).isprintable()


def test_a_default_that_is_long_is_not_quoted() -> None:
    schema = schema_of([{"name": "a", "required": True, "default": "x" * 1000}])

    assert told(check({}, schema)) == ["error: input.a is required, and missing: the console fills in its default"]


@pytest.mark.parametrize("text", ["\ud800", "\u202e", "\x85\x1b[2J", "\n"], ids=ascii)
def test_texts_of_a_schema_are_told_in_printable_characters(text: str) -> None:
    properties: list[dict[str, Any]] = [
        {"name": "a", "required": True, "default": text},
        {"name": "b", "options": [text, "c"]},
        {"name": "c", "editor": "datepicker", "type": "string", "valueFormat": f"YYYY{text[:1]}"},
    ]
    found = check({"b": "d", "c": "e"}, schema_of(properties))

    assert len(found.issues) >= 2
    assert "".join(map(str, found.issues)).isprintable()
    assert "the console fills in" in str(found.issues[0])


def test_the_version_that_is_called_latest_is_refused() -> None:
    assert told(check(FINE, version=" Latest ")) == [
        "error: version is refused by the service for real workers (50003): leave it out to run the newest version",
    ]


def test_with_a_version_nothing_about_the_input_is_an_error() -> None:
    found = check({}, version="v1.2.6")

    assert check(FINE, version="v1.2.6").task_count is None
    assert (found.ok, [issue.severity for issue in found.issues]) == (
        True,
        [IssueSeverity.WARNING, IssueSeverity.NOTE],
    )
    assert "newest version" in str(found.issues[-1])


SPLIT = [
    {"name": "keywords", "type": "array"},
    {"name": "urls", "type": "array"},
    {"name": "other", "type": "string"},
]
BOTH = {"fields": ["keywords", "urls"]}
PREFERRED = {"fields": ["keywords", "urls"], "remove_fields": ["urls"]}


@pytest.mark.parametrize(
    ("concurrency", "given", "count", "expected"),
    [
        (None, {"keywords": ["a", "b"]}, 1, []),
        ({}, {"keywords": ["a", "b"]}, 1, []),
        ({"fields": []}, {"keywords": ["a"]}, None, []),
        ("odd", {"keywords": ["a"]}, None, []),
        ({"fields": "keywords"}, {"keywords": ["a"]}, None, []),
        (BOTH, {"keywords": ["a", "b"]}, 2, []),
        (BOTH, {"keywords": ["a", "b"], "urls": ["c"]}, 3, []),
        (BOTH, {"keywords": ["a", "", " ", None, {}, {"x": ""}, {"x": "y", "z": None}]}, 2, ...),
        (BOTH, {"keywords": [0, False, "0", "false"]}, 4, []),
        (PREFERRED, {"urls": ["a", "b"]}, 2, []),
        (
            PREFERRED,
            {"keywords": ["a"], "urls": ["b", "c"]},
            1,
            ["warning: input.urls is left out by the service, because input.keywords has items"],
        ),
        (
            BOTH,
            {},
            0,
            ["error: input.keywords has no items, nor has input.urls, so that there is nothing to run"],
        ),
        (
            BOTH,
            {"keywords": ["", "  "], "urls": []},
            0,
            ["error: input.keywords has no items, nor has input.urls, so that there is nothing to run"],
        ),
        (
            {"fields": ["keywords"]},
            {"keywords": [None]},
            0,
            ["error: input.keywords has no items, so that there is nothing to run"],
        ),
        (
            BOTH,
            {"keywords": "a"},
            None,
            ["warning: input.keywords must be an array, as its items become tasks: give a list, also for one item"],
        ),
        (
            BOTH,
            {"keywords": ["a", {"x": 1}]},
            2,
            ["error: input.keywords must hold only objects or only plain values, not both"],
        ),
        (
            BOTH,
            {"keywords": [["a"], "b"]},
            2,
            ["error: input.keywords[0] must be an object or a plain value, not an array"],
        ),
        (
            BOTH,
            {"urls": [{"urls": "a"}]},
            1,
            ["error: input.urls[0].urls must not have the name of the list"],
        ),
        (
            BOTH,
            {"keywords": ["a", "b", "a"], "urls": [{"x": 1, "y": 2}, {"y": 2, "x": 1}]},
            5,
            [
                "warning: input.keywords[2] is the same as item 0, and is paid for once more",
                "warning: input.urls[1] is the same as item 0, and is paid for once more",
            ],
        ),
        (
            BOTH,
            {"keywords": [str(number) for number in range(101)]},
            101,
            [
                "warning: input is split into 101 tasks, each paid for; the service's limit is not published",
            ],
        ),
    ],
)
def test_tasks_are_counted_as_the_service_splits_an_input(
    concurrency: Any, given: dict[str, Any], count: int | None, expected: Any
) -> None:
    schema = schema_of(SPLIT) if concurrency is None else schema_of(SPLIT, concurrency=concurrency)

    found = check(given, schema)

    assert found.task_count == count
    assert expected is ... or told(found) == expected


def test_the_old_name_of_the_field_that_is_split_still_counts() -> None:
    assert check({"keywords": ["a", "b"]}, schema_of(SPLIT, b="keywords")).task_count == 2
    assert check({"keywords": ["a", "b"]}, schema_of(SPLIT, b="keywords", concurrency=BOTH)).task_count == 2


def test_the_published_example_does_not_tell_how_an_input_is_split() -> None:
    assert check({"keywords": ["a", "b"]}, schema_of(SPLIT, shape="map")).task_count is None


def test_a_default_may_be_what_is_split() -> None:
    schema = schema_of([{"name": "keywords", "type": "array", "default": ["x"]}], concurrency={"fields": ["keywords"]})

    left_out, emptied = check({}, schema), check({"keywords": []}, schema)

    assert (left_out.ok, left_out.task_count) == (True, None)
    assert told(left_out) == ["warning: input.keywords has no items, so that there may be nothing to run"]
    assert (emptied.ok, emptied.task_count) == (False, 0)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(["name", "type", "editor", "required", "default", "options", "enum", "param_list", "items"])
WORDS = st.sampled_from(["array", "object", "string", "integer", "checkbox", "select", "json", "a", True])
PROPERTY = st.dictionaries(NAMES, ANY | WORDS, max_size=6)


@given(
    properties=st.lists(PROPERTY, max_size=4) | ANY, concurrency=ANY, given=st.dictionaries(st.text(max_size=8), ANY)
)
def test_no_schema_and_no_input_ends_in_a_foreign_error(properties: Any, concurrency: Any, given: Any) -> None:
    schema = schema_of(properties, concurrency=concurrency)
    try:
        found = check(given, schema)
    except ValueError as error:
        assert "cannot be sent as JSON" in str(error)  # noqa: PT017 - which strings those are is not of interest
        return

    assert found.task_count is None or found.task_count >= 0
