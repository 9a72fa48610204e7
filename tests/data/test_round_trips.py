"""Every public model becomes a dictionary or JSON, and is read back equal."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from public_records import EVENTS, READABLE, RECORDS, instances, name_of

from coreclaw_async._data.record import Model, Record
from coreclaw_async.models import Page, Run

JSON_TYPES = {dict, list, str, int, float, bool, type(None)}


def read(kind: Any, mapping: Any) -> Any:
    return kind.from_dict(mapping, item_type=Run) if kind is Page else kind.from_dict(mapping)


def encodable(value: Any) -> Any:
    """Return *value* with U+FFFD for each byte of half a surrogate pair, which UTF-8 cannot encode."""
    return json.loads(re.sub("[\ud800-\udfff]", "\ufffd" * 3, json.dumps(value, ensure_ascii=False)))


def types_in(value: Any) -> set[type]:
    inside = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    return {type(value)}.union(*map(types_in, inside))


def test_every_public_thing_that_is_told_is_a_record() -> None:
    assert [kind for kind in RECORDS if not issubclass(kind, Record)] == []
    assert [kind for kind in READABLE if not issubclass(kind, Model)] == []
    assert len(READABLE) >= 30
    assert len(EVENTS) >= 9


@pytest.mark.parametrize("kind", READABLE, ids=name_of)
@given(data=st.data())
@settings(max_examples=8, deadline=None)
def test_model_is_read_back_equal_from_both_forms_and_from_json(kind: Any, data: st.DataObject) -> None:
    check_round_trips(data.draw(instances(kind)))


@pytest.mark.endurance
@pytest.mark.parametrize("kind", READABLE, ids=name_of)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_many_models_are_read_back_equal(kind: Any, data: st.DataObject) -> None:
    check_round_trips(data.draw(instances(kind)))


def check_round_trips(thing: Any) -> None:
    as_json = thing.to_dict(json=True)

    assert read(type(thing), thing.to_dict()) == thing
    assert as_json == encodable(json.loads(thing.to_json()))
    assert read(type(thing), json.loads(thing.to_json())) == thing
    assert types_in(as_json) <= JSON_TYPES
    was_read = read(type(thing), as_json)
    if as_json == json.loads(thing.to_json()):
        assert was_read == thing
        assert hash(was_read) == hash(thing)
    check_repr(thing)


@pytest.mark.parametrize("kind", EVENTS, ids=name_of)
@given(data=st.data())
@settings(max_examples=8, deadline=None)
def test_event_says_which_it_is_and_all_that_it_holds(kind: Any, data: st.DataObject) -> None:
    event = data.draw(instances(kind))
    told = json.loads(event.to_json())

    assert encodable(told) == event.to_dict(json=True)
    assert told["type"] == kind.__name__
    assert types_in(told) <= JSON_TYPES
    assert hash(event) == hash(copy.copy(event))
    check_repr(event)


def check_repr(thing: Any) -> None:
    shown = repr(thing)

    assert len(shown.splitlines()) == 1
    assert len(shown) <= 300  # Ids are told, whatever room there is.
    assert shown.startswith(f"{type(thing).__name__}(")
    assert "=None" not in shown
