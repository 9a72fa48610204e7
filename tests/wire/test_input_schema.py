"""Both published shapes of an input schema are read as one, and no shape is an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire.exchanges import request_of

from coreclaw_async._wire.input_schema import read_input_schema
from coreclaw_async._wire.response import Answer
from coreclaw_async.errors import InvalidResponseError
from coreclaw_async.models import InputProperty, InputSchema

DESCRIPTORS: dict[str, Any] = {
    "description": "Maps",
    "concurrency": {"fields": ["keywords"], "remove_fields": []},
    "properties": [
        {
            "name": "keywords",
            "type": "array",
            "editor": "stringList",
            "title": "Keywords",
            "description": "What to look for",
            "required": True,
            "default": ["coffee"],
            "param_list": [{"param": "keyword"}],
        },
        {"name": "limit", "type": "integer", "editor": "number", "minimum": 1, "maximum": "100", "required": False},
        {"name": "lang", "editor": "select", "options": [{"label": "English", "value": "en"}], "multiple": False},
    ],
}
MAP: dict[str, Any] = {
    "type": "object",
    "required": ["keyword"],
    "properties": {"keyword": {"type": "string"}, "page": {"type": "integer", "required": True, "name": "other"}},
}


def read(data: Any) -> InputSchema:
    return read_input_schema(Answer(request_of(), data, "req"))


def test_list_of_descriptors_is_read_in_its_order() -> None:
    schema = read({"input_schema": DESCRIPTORS})
    keywords, limit, lang = schema.properties

    assert (schema.description, schema.concurrency, schema.raw) == ("Maps", DESCRIPTORS["concurrency"], DESCRIPTORS)
    assert keywords == InputProperty(
        name="keywords",
        type="array",
        editor="stringList",
        title="Keywords",
        description="What to look for",
        required=True,
        default=["coffee"],
        extra={"param_list": [{"param": "keyword"}]},
    )
    assert (limit.minimum, limit.maximum, limit.required) == (1.0, 100.0, False)
    assert (lang.options, lang.type, lang.extra) == ([{"label": "English", "value": "en"}], None, {"multiple": False})


def test_map_of_properties_is_read_with_the_keys_as_names() -> None:
    keyword, page = read({"input_schema": MAP}).properties

    assert keyword == InputProperty(name="keyword", type="string", required=True)
    assert page == InputProperty(name="page", type="integer", required=True)


def test_data_itself_may_be_the_schema() -> None:
    assert read(DESCRIPTORS) == read({"input_schema": DESCRIPTORS})


@pytest.mark.parametrize("required", ["yes", 1, "false", None, [], {}])
def test_property_is_optional_when_required_is_not_true(required: Any) -> None:
    (prop,) = read({"input_schema": {"properties": [{"name": "a", "required": required}]}}).properties

    assert prop.required is False


def test_nested_object_is_required_when_the_schema_lists_it_though_it_lists_members_of_its_own() -> None:
    schema = {"required": ["area"], "properties": {"area": {"type": "object", "required": ["lat"]}}}
    (area,) = read({"input_schema": schema}).properties

    assert area.required


@pytest.mark.parametrize(
    ("kinds", "kind"),
    [
        (["string"], "string"),
        (["string", "null"], "string"),
        (["string", "integer"], None),
        (["null"], None),
        ([], None),
    ],
)
@pytest.mark.parametrize("shape", [lambda prop: [{"name": "a", **prop}], lambda prop: {"a": prop}])
def test_type_is_the_one_that_is_not_null_when_it_is_a_list_as_json_schema_allows(
    shape: Callable[[Any], Any], kinds: list[str], kind: str | None
) -> None:
    (prop,) = read({"input_schema": {"properties": shape({"type": kinds, "title": "A"})}}).properties

    assert (prop.name, prop.type, prop.title) == ("a", kind, "A")


@pytest.mark.parametrize(
    "data", [{}, {"input_schema": None}, {"input_schema": []}, {"input_schema": "text"}, {"input_schema": {}}]
)
def test_schema_is_empty_when_its_shape_is_unknown(data: Any) -> None:
    schema = read(data)

    assert (schema.description, schema.properties, schema.concurrency) == ("", (), {})
    assert schema.raw == data


@pytest.mark.parametrize("properties", [None, "text", 5, [], {}, [None, "a", 3], {"required": 3}])
def test_properties_are_those_that_are_objects(properties: Any) -> None:
    schema = read({"input_schema": {"properties": properties, "description": 5, "concurrency": [], "required": "a"}})

    assert [prop.name for prop in schema.properties] == (
        ["required"] if isinstance(properties, dict) and properties else []
    )
    assert (schema.description, schema.concurrency) == ("", {})


def test_odd_member_of_a_property_is_not_set_and_kept_as_it_came() -> None:
    odd = {"minimum": "low", "title": 1.5, "options": {}}
    (prop,) = read({"input_schema": {"properties": [{"name": "a", **odd}]}}).properties

    assert prop == InputProperty(name="a", extra=odd)


def test_data_is_refused_when_it_did_not_come() -> None:
    with pytest.raises(InvalidResponseError, match="data is missing"):
        read(None)


def test_data_is_refused_when_it_is_no_object() -> None:
    with pytest.raises(InvalidResponseError, match="data: expected an object, got a list"):
        read([DESCRIPTORS])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["input_schema", "properties", "required", "name", "type", "options"]) | st.text(),
                inner,
                max_size=4,
            )
        ),
    )
)
def test_any_data_is_a_schema_or_an_invalid_answer(data: Any) -> None:
    try:
        schema = read(data)
    except InvalidResponseError:
        return
    assert all(isinstance(prop, InputProperty) for prop in schema.properties)
