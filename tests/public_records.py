"""Every public class that can be made into plain data, found by itself, and instances of them."""

from __future__ import annotations

import datetime as dt
import inspect
import types
import typing
from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union

import attrs
from hypothesis import strategies as st

import coreclaw_async
from coreclaw_async import batch, events, models
from coreclaw_async.models import Page, Run

MODELS: list[Any] = [
    kind for kind in (getattr(models, name) for name in models.__all__) if inspect.isclass(kind) and attrs.has(kind)
]
EVENTS: list[Any] = [kind for kind in vars(events).values() if getattr(kind, "__module__", "") == events.__name__]
EVENTS = [kind for kind in EVENTS if inspect.isclass(kind)]
# What a caller gives, beside what is reported.
SETTINGS = {"PollSchedule", "RetryPolicy", "SettleTimes", "Shard", "ShardSpec"}
OTHERS: list[Any] = [
    kind
    for module in (coreclaw_async, batch)
    for name in module.__all__
    if name not in SETTINGS and inspect.isclass(kind := getattr(module, name)) and attrs.has(kind)
]
READABLE: list[Any] = sorted({*MODELS, *OTHERS}, key=lambda kind: str(kind.__name__))
RECORDS: list[Any] = [*READABLE, *EVENTS]

# JSON as the service sends it: without NaN, and without halves of surrogate pairs that JSON would join.
ODD_STRINGS = ["", "\ud800", "a\udfffb", "\x00", "\u2028", "\U0001f600", "ready", "5"]
STRINGS = st.text(max_size=8) | st.sampled_from(ODD_STRINGS)
ZONES = st.sampled_from([dt.UTC, dt.timezone(dt.timedelta(hours=8, seconds=1))])
INTEGERS = st.integers(-(2**70), 2**70)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | INTEGERS | FLOATS | STRINGS,
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(STRINGS, parts, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(STRINGS, JSON_VALUES, max_size=3)
_SINGLE: dict[Any, st.SearchStrategy[Any]] = {
    Any: JSON_VALUES,
    types.NoneType: st.none(),
    str: STRINGS,
    bool: st.booleans(),
    int: INTEGERS,
    float: FLOATS,
    Decimal: st.decimals(allow_nan=False, allow_infinity=False),
    dt.datetime: st.datetimes(dt.datetime(2, 1, 1), dt.datetime(9998, 1, 1), timezones=ZONES),  # noqa: DTZ001
    Path: st.sampled_from([Path("rows/part-1.jsonl"), Path("/a b/\udcff.parquet"), Path()]),
}


def instances(kind: Any) -> st.SearchStrategy[Any]:
    """Return what makes instances of *kind* by the types of its members; pages have runs or rows as items."""
    hints = typing.get_type_hints(kind)
    items = st.lists(instances(Run), max_size=2) if kind is Page else st.lists(OBJECTS, max_size=3)
    made = {
        field.name: items.map(tuple) if field.name == "items" and issubclass(kind, Page) else _of(hints[field.name])
        for field in attrs.fields(kind)
        if not field.metadata
    }
    return st.builds(kind, **made)


def _of(hint: Any) -> st.SearchStrategy[Any]:
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin in {Union, types.UnionType}:
        return st.one_of(*map(_of, inside))
    if origin in {Sequence, tuple}:
        return st.lists(_of(inside[0]), max_size=2).map(tuple)
    if origin in {Mapping, dict}:
        return st.dictionaries(_of(inside[0]), _of(inside[1]), max_size=3)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(hint)
    if origin is Literal:
        return st.sampled_from(inside)
    return instances(hint) if attrs.has(hint) else _SINGLE[hint]


def name_of(kind: Any) -> str:
    return str(kind.__name__)
