"""Short reprs of models: one line with what is set."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import Enum
from typing import Any, cast

import attrs

# As Any: type checkers then take the parts of a value that passed `isinstance` for Any, not for unknown.
_MAPPING: Any = Mapping
_LIST_OR_MAPPING: Any = (list, tuple, Mapping)
_MAY_BE_EMPTY: Any = (str, list, tuple, Mapping)
_MOST_LETTERS = 180
_MOST_LETTERS_INSIDE = 90
_MOST_LETTERS_OF_STRING = 48
_MOST_PAIRS = 10


def shown(record: Any, *, most: int = _MOST_LETTERS) -> str:
    """Return a model as one line: the members that are set and not hidden, as many as there is room for."""
    kind: Any = type(record)  # pyright: ignore[reportUnknownVariableType]
    return f"{kind.__name__}({_joined(_members(record), most - len(kind.__name__))})"


def _members(record: Any) -> Iterable[str]:
    for field in attrs.fields(cast("Any", type(record))):
        value = getattr(record, field.name)
        if value is None or field.repr is False:
            continue
        if callable(field.repr):
            yield f"{field.name}={_cut(str(field.repr(value)), _MOST_LETTERS_INSIDE)}"
        elif value or not isinstance(value, _MAY_BE_EMPTY):
            yield f"{field.name}={_mapping(value) if isinstance(value, _MAPPING) else _value(value)}"


def _value(value: Any) -> str:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, str):
        rest = "..." if len(value) > _MOST_LETTERS_OF_STRING else ""
        return repr(value[:_MOST_LETTERS_OF_STRING]) + rest
    if isinstance(value, Decimal | dt.datetime):
        return str(value)
    if hasattr(value, "__attrs_attrs__"):
        return shown(value, most=_MOST_LETTERS_INSIDE)
    if isinstance(value, _LIST_OR_MAPPING):
        return f"<{len(value)} item{'s' * (len(value) != 1)}>"
    return _cut(_safe_repr(value), _MOST_LETTERS_INSIDE)


def _mapping(value: Any) -> str:
    if len(value) > _MOST_PAIRS:
        return _value(value)
    pairs = (f"{_value(key)}: {_value(part)}" for key, part in value.items())
    return f"{{{_joined(pairs, _MOST_LETTERS_INSIDE)}}}"


def _safe_repr(value: object) -> str:
    try:
        return repr(value)
    except ValueError:  # A whole number of more than 4,300 digits.
        return f"<{type(value).__name__}>"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most] + "..."


def _joined(parts: Iterable[str], most: int) -> str:
    """Return *parts* with commas between them; dots stand for those that there is no room for."""
    taken: list[str] = []
    is_whole = True
    for part in parts:
        if len(part) <= most:
            taken.append(part)
            most -= len(part) + 2
        else:
            is_whole = False
    return ", ".join(taken if is_whole else [*taken, "..."])
