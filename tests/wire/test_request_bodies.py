"""Bodies hold what was given; what JSON cannot say is refused by the name of the parameter."""

from __future__ import annotations

import json
from collections import OrderedDict
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coreclaw_async._wire.request import Request, Safety, build_body, check_mapping, worker_input
from coreclaw_async.models import RunStatus, ScheduleType

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def cycle() -> dict[str, Any]:
    value: dict[str, Any] = {"a": []}
    value["a"].append(value)
    return value


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@given(st.dictionaries(st.sampled_from(["input", "version", "is_async", "limit"]), JSON_VALUES))
def test_body_holds_what_was_given_and_nothing_for_none(members: dict[str, Any]) -> None:
    body = build_body(**members)

    assert body.isascii()
    assert json.loads(body) == {name: value for name, value in members.items() if value is not None}


def test_body_keeps_what_is_only_false() -> None:
    body = build_body(is_async=False, offset=0, description="", input={}, version=None)

    assert body == b'{"is_async":false,"offset":0,"description":"","input":{}}'


def test_body_is_an_empty_object_when_nothing_is_given() -> None:
    assert build_body() == b"{}"


def test_body_takes_enum_members_and_texts_without_encoding() -> None:
    assert build_body(status=RunStatus.READY, type=ScheduleType.ONCE) == b'{"status":"ready","type":4}'
    assert json.loads(build_body(keyword="\ud800")) == {"keyword": "\ud800"}


@pytest.mark.parametrize(
    ("value", "kind", "problem"),
    [
        ({"a": [float("nan")]}, ValueError, "not JSON compliant"),
        ({"a": float("inf")}, ValueError, "not JSON compliant"),
        ({"a": {"b": {1, 2}}}, TypeError, "set is not JSON serializable"),
        ({"a": Decimal("1.5")}, TypeError, "Decimal is not JSON serializable"),
        ({"a": b"bytes"}, TypeError, "bytes is not JSON serializable"),
        ({("a", "b"): 1}, TypeError, "keys must be str"),
        ({"a": object()}, TypeError, "object is not JSON serializable"),
        ({"a": 10**5_000}, ValueError, "Exceeds the limit"),
        (cycle(), ValueError, "Circular reference"),
        (nested(200_000), ValueError, "it is nested too deeply"),
    ],
    ids=["nan", "infinity", "set", "decimal", "bytes", "key", "object", "huge", "cycle", "deep"],
)
def test_member_is_named_when_json_has_no_form_for_it(value: Any, kind: type[Exception], problem: str) -> None:
    with pytest.raises(kind, match=f"^input cannot be sent as JSON: .*{problem}"):
        build_body(version="v1", input=value, is_async=True)


class Flickering(dict[str, Any]):
    """A mapping that cannot be read the first time, as when another thread changes it."""

    reads = 0

    def items(self) -> Any:
        self.reads += 1
        if self.reads == 1:
            raise ValueError("changed while it was read")
        return super().items()


def test_body_is_refused_when_no_member_can_be_blamed() -> None:
    with pytest.raises(ValueError, match=r"^the body cannot be sent as JSON: changed while it was read$"):
        build_body(input=Flickering(a=1))


def test_input_is_wrapped_as_the_service_takes_it() -> None:
    assert worker_input({"keyword": "coffee"}, None, None) == {"parameters": {"custom": {"keyword": "coffee"}}}
    assert worker_input({}, {"proxy_region": "US"}, None) == {
        "parameters": {"custom": {}, "system": {"proxy_region": "US"}}
    }


def test_input_is_copied_so_that_a_later_change_is_not_sent() -> None:
    own = OrderedDict(keyword="coffee")
    wrapped = worker_input(own, own, None)
    own["keyword"] = "tea"

    assert wrapped == {"parameters": {"custom": {"keyword": "coffee"}, "system": {"keyword": "coffee"}}}


@pytest.mark.parametrize("raw", [{"parameters": {}}, {}, [], "", 0, False])
def test_raw_input_is_sent_as_it_is(raw: Any) -> None:
    assert worker_input(None, None, raw) is raw


@pytest.mark.parametrize(("input", "system"), [({}, None), (None, {}), ({}, {})])
def test_raw_input_excludes_the_other_two(input: dict[str, Any] | None, system: dict[str, Any] | None) -> None:
    with pytest.raises(ValueError, match=r"input \(with system\) and raw_input exclude each other"):
        worker_input(input, system, {})


def test_input_must_be_given() -> None:
    with pytest.raises(ValueError, match=r"input must be given \(or raw_input\), not None"):
        worker_input(None, {"proxy_region": "US"}, None)


@pytest.mark.parametrize("name", ["input", "system"])
@pytest.mark.parametrize(
    ("value", "problem"), [(["a"], "must be a mapping, not list"), ({1: "a"}, "must have str keys, not 1")]
)
def test_input_must_be_a_mapping_of_texts(name: str, value: Any, problem: str) -> None:
    given_members: dict[str, Any] = {"input": {}, "system": {}, name: value}

    with pytest.raises(TypeError, match=f"{name} {problem}"):
        worker_input(given_members["input"], given_members["system"], None)


def test_mapping_is_returned_as_it_is() -> None:
    value = {"a": 1}

    assert check_mapping("input", value) is value


def test_request_is_called_by_method_and_path() -> None:
    request = Request(operation="getRun", method="GET", path="/api/v2/worker-runs/R", query="token=secret")

    assert request.label == "GET /api/v2/worker-runs/R"
    assert (request.safety, request.body, request.is_public, request.reads_for) == (Safety.SAFE, None, False, 0.0)
