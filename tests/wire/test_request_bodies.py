"""Bodies hold what was given; what JSON cannot say is refused by the name of the parameter."""

from __future__ import annotations

import ast
import datetime as dt
import gc
import json
import re
import sys
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from types import MappingProxyType
from typing import Any

import attrs
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
HALF_PAIR = "\ud83d"
NO_JSON: list[Any] = [
    float("nan"),
    float("inf"),
    -float("inf"),
    {1, 2},
    frozenset({1}),
    b"bytes",
    bytearray(b"a"),
    Decimal("1.5"),
    1j,
    object(),
    dt.datetime(2026, 8, 1, tzinfo=dt.UTC),
    MappingProxyType({"a": 1}),
    range(3),
    HALF_PAIR,
    "a\udfffb",
    10**5_000,
    {1: "a"},
    {None: 1},
    {True: 1},
    {1.5: 1},
    {b"a": 1},
    {("a", "b"): 1},
    {HALF_PAIR: 1},
]
# At least one of the leaves is none of JSON's.
MIXTURES = st.recursive(
    # By number, for hypothesis shows what it draws from, and nobody can show a number of 5,000 digits.
    st.sampled_from(range(len(NO_JSON))).map(lambda place: NO_JSON[place]),
    lambda inner: (
        st.builds(
            lambda head, bad, tail: [*head, bad, *tail], st.lists(JSON_VALUES), inner, st.lists(JSON_VALUES | inner)
        )
        | st.builds(
            lambda rest, key, bad: {**rest, key: bad}, st.dictionaries(st.text(), JSON_VALUES), st.text(), inner
        )
        | st.tuples(JSON_VALUES, inner)
    ),
    max_leaves=5,
)


class Word(StrEnum):
    TEA = "tea"


class OldWord(str, Enum):  # noqa: UP042 - as programs of before 3.11 have it
    TEA = "tea"


class Number(IntEnum):
    ONE = 1


class Colour(Enum):
    RED = "red"


class Text(str):  # noqa: SLOT000 - as anybody would write it
    """A text of somebody's own class."""


@attrs.frozen
class Place:
    name: str = "Berlin"


Pair = namedtuple("Pair", ["left", "right"])  # noqa: PYI024 - an old one


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


def test_body_takes_enum_members() -> None:
    assert build_body(status=RunStatus.READY, type=ScheduleType.ONCE) == b'{"status":"ready","type":4}'


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([Word.TEA, OldWord.TEA, Text("tea"), Number.ONE, True], '["tea","tea","tea",1,true]'),
        ({Word.TEA: 1, Text("milk"): 2}, '{"tea":1,"milk":2}'),
        ((1, (2, ())), "[1,[2,[]]]"),
        (Pair(1, [2]), "[1,[2]]"),
        (OrderedDict(a=OrderedDict(b=1)), '{"a":{"b":1}}'),
        (2**53 + 1, "9007199254740993"),
        (-(10**400), "-1" + 400 * "0"),
        (1e300, "1e+300"),
        ("caf\u00e9 \U0001f600", '"caf\\u00e9 \\ud83d\\ude00"'),
        ({"\U0001f600": ["\\ud83d"]}, '{"\\ud83d\\ude00":["\\\\ud83d"]}'),
    ],
)
def test_body_takes_what_json_has_a_form_for(value: Any, text: str) -> None:
    assert build_body(input=worker_input({"a": value}, None, None)).decode() == (
        '{"input":{"parameters":{"custom":{"a":' + text + "}}}}"
    )


@pytest.mark.parametrize(
    ("value", "kind", "problem"),
    [
        ({"a": [float("nan")]}, ValueError, "input.a[0] cannot be sent as JSON: JSON has no number nan"),
        ({"a": -float("inf")}, ValueError, "input.a cannot be sent as JSON: JSON has no number -inf"),
        ({"a": {"b": {1, 2}}}, TypeError, "input.a.b cannot be sent as JSON: it is of type set, and not a dict"),
        ({"a": Decimal("1.5")}, TypeError, "input.a cannot be sent as JSON: it is of type Decimal"),
        ({"a": b"bytes"}, TypeError, "input.a cannot be sent as JSON: it is of type bytes"),
        ({"a": [0, Place()]}, TypeError, "input.a[1] cannot be sent as JSON: it is of type Place"),
        ({"a": Colour.RED}, TypeError, "input.a cannot be sent as JSON: it is of type Colour"),
        ({"a": dt.date(2026, 8, 1)}, TypeError, "input.a cannot be sent as JSON: it is of type date"),
        ({"a": MappingProxyType({})}, TypeError, "input.a cannot be sent as JSON: it is of type mappingproxy"),
        ({"keywords": ["a", {"x": object()}]}, TypeError, "input.keywords[1].x cannot be sent as JSON: it is of type"),
        ({("a", "b"): 1}, TypeError, "input cannot be sent as JSON: its key ('a', 'b') is no str"),
        ({"a": {1: "b", "1": "c"}}, TypeError, "input.a cannot be sent as JSON: its key 1 is no str"),
        ({"a": ({True: "b"},)}, TypeError, "input.a[0] cannot be sent as JSON: its key True is no str"),
        ({"a": [[{None: "b"}]]}, TypeError, "input.a[0][0] cannot be sent as JSON: its key None is no str"),
        ({"a": {"b": {1.5: "b"}}}, TypeError, "input.a.b cannot be sent as JSON: its key 1.5 is no str"),
        ({"a": [HALF_PAIR]}, ValueError, "input.a[0] cannot be sent as JSON: it holds half of a surrogate pair"),
        (
            {"a": {HALF_PAIR: 1}},
            ValueError,
            r"input.a cannot be sent as JSON: its key '\ud83d' holds half of a surrogate",
        ),
        ({"a": 10**5_000}, ValueError, "input.a cannot be sent as JSON: it is a number of more than 4300 digits"),
        ({"a b": {"c.d": {"": {1}}}}, TypeError, "input['a b']['c.d'][''] cannot be sent as JSON: it is of type set"),
        ({"k" * 61 + " ": {1}}, TypeError, f"input['{'k' * 60}'...] cannot be sent as JSON: it is of type set"),
        (cycle(), ValueError, "input.a[0].a cannot be sent as JSON: it contains itself"),
        ({"a": nested(200_000)}, ValueError, "input cannot be sent as JSON: it is nested too deeply"),
    ],
)
def test_member_is_named_when_json_has_no_form_for_it(value: Any, kind: type[Exception], problem: str) -> None:
    # The keys of the outermost object are checked by themselves when it is wrapped.
    given_input = value if any(not isinstance(key, str) for key in value) else worker_input(value, None, None)

    with pytest.raises(kind, match=f"^{re.escape(problem)}"):
        build_body(version="v1", input=given_input, is_async=True)


def test_member_is_named_by_the_argument_that_it_was_given_in() -> None:
    makers: dict[str, Callable[[Any], Any]] = {
        "input": lambda value: build_body(input=worker_input({"a": value}, {}, None)),
        "system": lambda value: build_body(input=worker_input({}, {"a": value}, None)),
        "raw_input": lambda value: build_body(input=worker_input(None, None, {"a": value})),
        "description": lambda value: build_body(title="t", description={"a": value}),
    }
    for name, make in makers.items():
        for value in ([{1}], [{1: 2}], [HALF_PAIR]):
            with pytest.raises((TypeError, ValueError), match=rf"^{name}\.a\[0\] cannot be sent as JSON: "):
                make(value)
        with pytest.raises(ValueError, match=f"^{name} cannot be sent as JSON: it is nested too deeply$"):
            make(nested(500_000))  # Python 3.14 writes 50,000.


def test_text_in_a_body_is_named_when_half_of_a_letter_is_in_it() -> None:
    with pytest.raises(ValueError, match=r"^title cannot be sent as JSON: it holds half of a surrogate pair"):
        build_body(worker_id="w", title=f"a{HALF_PAIR}")


PATH_PART = re.compile(r"\.([^.\[ ]+)|\[(\d+)\]|\[('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")(?:\.\.\.)?\]")


def part_at(value: Any, path: str) -> Any:
    """Return what stands at the path that an error names, which may have cut a long key."""
    while path:
        found = PATH_PART.match(path)
        assert found is not None, path
        plain, place, quoted = found.groups()
        if place is not None:
            value = value[int(place)]
        else:
            wanted = plain if plain is not None else ast.literal_eval(quoted)
            (value,) = [
                item for key, item in value.items() if key == wanted or (found[0][-4:] == "...]" and key[:60] == wanted)
            ][:1]
        path = path[found.end() :]
    return value


def is_at_fault(part: Any) -> bool:
    """Return whether JSON has no form for this very part, found in another way than the code does."""
    if isinstance(part, dict):
        return any(not isinstance(key, str) or HALF.search(key) for key in part)
    if isinstance(part, str):
        return HALF.search(part) is not None
    if isinstance(part, list | tuple):
        return False
    try:
        json.dumps(part, allow_nan=False)
    except (TypeError, ValueError):
        return True
    return False


HALF = re.compile("[\ud800-\udfff]")


@pytest.mark.endurance
@given(MIXTURES)
def test_any_mixture_with_something_else_is_refused_by_the_path_of_it(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        build_body(input=worker_input({"given": value}, {}, None))

    path, separator, _ = str(caught.value).partition(" cannot be sent as JSON: ")
    assert separator
    assert path.startswith("input.given")
    assert is_at_fault(part_at(value, path.removeprefix("input.given")))


@given(JSON_VALUES)
def test_any_value_of_json_arrives_as_it_was_given(value: Any) -> None:
    sent = json.loads(build_body(input=worker_input({"a": value}, {"b": value}, None)))

    assert sent == {"input": {"parameters": {"custom": {"a": value}, "system": {"b": value}}}}
    if value is not None:
        assert json.loads(build_body(input=worker_input(None, None, value))) == {"input": value}


def test_checking_an_input_calls_no_function_for_each_of_its_values() -> None:
    def calls_for(rows: int) -> int:
        value = {"rows": [{"url": f"https://example.com/{n}", "n": n, "tags": ["a", "b"]} for n in range(rows)]}
        members = {"input": worker_input(value, None, None)}
        events: list[str] = []
        gc.disable()  # Libraries of the tests have it call functions of theirs.
        sys.setprofile(lambda frame, event, argument: events.append(event))
        try:
            build_body(**members)
        finally:
            sys.setprofile(None)
            gc.enable()
        return events.count("call")

    assert 0 < calls_for(5_000) == calls_for(5)


def test_a_fault_is_found_behind_many_and_deep_members() -> None:
    value = [nested(300), [[n] for n in range(20_000)], {1}]

    with pytest.raises(TypeError, match=r"^input\[2\] cannot"):
        build_body(input=value)


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
    assert worker_input({"keyword": "coffee"}, None, None).value == {"parameters": {"custom": {"keyword": "coffee"}}}
    assert worker_input({}, {"proxy_region": "US"}, None).value == {
        "parameters": {"custom": {}, "system": {"proxy_region": "US"}}
    }


def test_input_is_copied_so_that_a_later_change_is_not_sent() -> None:
    own = OrderedDict(keyword="coffee")
    wrapped = worker_input(own, own, None)
    own["keyword"] = "tea"

    assert wrapped.value == {"parameters": {"custom": {"keyword": "coffee"}, "system": {"keyword": "coffee"}}}


@pytest.mark.parametrize("raw", [{"parameters": {}}, {}, [], "", 0, False])
def test_raw_input_is_sent_as_it_is(raw: Any) -> None:
    assert worker_input(None, None, raw).value is raw


@pytest.mark.parametrize(("input", "system"), [({}, None), (None, {}), ({}, {})])
def test_raw_input_excludes_the_other_two(input: dict[str, Any] | None, system: dict[str, Any] | None) -> None:
    with pytest.raises(ValueError, match=r"give either input \(with system\) or raw_input, not both"):
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


def test_repr_of_a_request_shows_neither_its_body_nor_its_callback_url() -> None:
    url = "https://example.org/hooks/secret"
    request = Request(operation="run", method="POST", path="/api/v2/x", body=b'{"password": 1}', callback_url=url)

    assert repr(request) == "Request('run', 'POST /api/v2/x', '', Safety.SAFE)"


def test_request_is_called_by_method_and_path() -> None:
    request = Request(operation="getRun", method="GET", path="/api/v2/worker-runs/R", query="token=secret")

    assert request.label == "GET /api/v2/worker-runs/R"
    assert (request.safety, request.body, request.is_public, request.min_timeout) == (Safety.SAFE, None, False, 0.0)
