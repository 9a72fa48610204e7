"""
Reprs of models: one line with what is set, of some 200 characters.

Ids and keys are never cut, since people copy them: an id is there whole, or left out where there is no room. What tells
which run was paid for, or may have been, is always there, and makes a line longer that has many or long ids.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from enum import Enum
from typing import Any, cast

import attrs

from coreclaw_async._data.counting import counted

# As Any: type checkers then take the parts of a value that passed `isinstance` for Any, not for unknown.
_MAPPING: Any = Mapping
_LIST_OR_MAPPING: Any = (list, tuple, Mapping)
_MAY_BE_EMPTY: Any = (str, list, tuple, Mapping)
_MAX_LETTERS = 180
_MAX_LETTERS_INSIDE = 90
_MAX_LETTERS_OF_STRING = 48
_MAX_LETTERS_OF_MAPPING = 130
_MAX_PAIRS = 10
# Which run was paid for, or may have been.
_ALWAYS_SHOWN = frozenset({"run_id", "candidates", "run", "key", "state"})
# What people look for, beside the first member.
_SHOWN_FIRST = frozenset({"status", "state", "run_id", "counts", "result_count", "usage", "cost", "error"})


def shown(record: Any, *, most: int = _MAX_LETTERS) -> str:
    """Return a model as one line: the members that are set and not hidden, as many as there is room for."""
    kind: Any = type(record)  # pyright: ignore[reportUnknownVariableType]
    members = dict(_members(record))
    parts = [f"{name}={text}" for name, text in members.items()]
    always = [place for place, name in enumerate(members) if not place or name in _ALWAYS_SHOWN]
    first = [place for place, name in enumerate(members) if name in _SHOWN_FIRST]
    return f"{kind.__name__}({_joined(parts, most - len(kind.__name__), always, first)})"


def _members(record: Any) -> Iterator[tuple[str, str]]:
    for field in attrs.fields(cast("Any", type(record))):
        value = getattr(record, field.name, None)  # It is not there where making the record has failed.
        if value is None or field.repr is False:
            continue
        if field.name == "candidates" and value:
            yield field.name, _ids(value)
        elif value and isinstance(value, str) and (field.name == "key" or field.name.endswith("_id")):
            yield field.name, repr(value)
        elif callable(field.repr):
            yield field.name, _cut(str(field.repr(value)), _MAX_LETTERS_INSIDE)
        elif value or not isinstance(value, _MAY_BE_EMPTY):
            yield field.name, _mapping(value) if isinstance(value, _MAPPING) else _value(value)


def _ids(values: Sequence[Any]) -> str:
    told = [repr(value) if isinstance(value, str) else _value(value) for value in values]
    return f"({', '.join(told)}{',' * (len(told) == 1)})"


def _value(value: Any) -> str:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, str):
        rest = "..." if len(value) > _MAX_LETTERS_OF_STRING else ""
        return repr(value[:_MAX_LETTERS_OF_STRING]) + rest
    if isinstance(value, Decimal | dt.datetime):
        return str(value)
    if hasattr(value, "__attrs_attrs__"):
        return shown(value, most=_MAX_LETTERS_INSIDE)
    if isinstance(value, _LIST_OR_MAPPING):
        return f"<{counted(len(value), 'item')}>"
    return _cut(_safe_repr(value), _MAX_LETTERS_INSIDE)


def _mapping(value: Any) -> str:
    if len(value) > _MAX_PAIRS:
        return _value(value)
    pairs = [f"{_value(key)}: {_value(part)}" for key, part in value.items()]
    return f"{{{_joined(pairs, _MAX_LETTERS_OF_MAPPING)}}}"


def _safe_repr(value: object) -> str:
    try:
        return repr(value)
    except ValueError:  # A whole number of more than 4,300 digits.
        return f"<{type(value).__name__}>"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most] + "..."


def _joined(parts: Sequence[str], most: int, always: Sequence[int] = (), first: Sequence[int] = ()) -> str:
    """Return *parts* in order with commas between them: those of *always*, of *first* and of the rest that fit."""
    taken: set[int] = set()
    for place in (*always, *first, *range(len(parts))):
        if place not in taken and (len(parts[place]) <= most or place in always):
            taken.add(place)
            most -= len(parts[place]) + 2
    chosen = [part for place, part in enumerate(parts) if place in taken]
    return ", ".join(chosen if len(chosen) == len(parts) else [*chosen, "..."])
