"""The items of a page as rows of plain values, and values as text."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from enum import Enum
from typing import Any, TypeAlias

from coreclaw_async._data.plain import names_of

Rows: TypeAlias = Sequence[Mapping[str, Any]]

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
_encode_python = json.JSONEncoder(ensure_ascii=False).encode
_encode_ascii = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
EXTRA = "extra"
# As Any: type checkers then take the parts of a value that passed `isinstance` for Any, not for unknown.
_MAPPING: Any = Mapping
_ARRAY: Any = (list, tuple)


def rows_of(items: Sequence[Any], *, as_json: bool = False) -> tuple[Rows, Sequence[str] | None]:
    """
    Return the rows that the items of a page are or stand for, and the keys of rows of a batch.

    Args:
        items: Rows, pairs of a key and a row, or models.
        as_json: Whether times and decimals of models are strings; rows hold what JSON holds anyway.
    """
    if isinstance(items[0], tuple):
        keys, rows = zip(*items, strict=True)
        return rows, keys
    if isinstance(items[0], Mapping):
        return items, None
    return [plain(item) if as_json else _members_of(item) for item in items], None


def _members_of(model: Any) -> dict[str, Any]:
    """Return a model as a row of its members."""
    return {name: value if _is_scalar(value) else plain(value) for name, value in _members(model)}


def _is_scalar(value: object) -> bool:
    """Return whether *value* has a type of its own as a column: a time with a zone, or a Decimal."""
    return type(value) is Decimal or (type(value) is dt.datetime and value.tzinfo is not None)


def plain(value: Any) -> Any:
    """Return *value* as JSON has it: times in ISO 8601, decimals and paths as strings, models as objects."""
    if isinstance(value, Enum):
        return plain(value.value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, _MAPPING):
        return {str(name): plain(member) for name, member in value.items()}
    if isinstance(value, _ARRAY):
        return [plain(element) for element in value]
    if isinstance(value, dt.date):
        return value.isoformat()
    if hasattr(value, "__attrs_attrs__"):
        return {name: plain(member) for name, member in _members(value)}
    return str(value)


def _members(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield the members of a model that are no secret; the unknown ones are JSON, or None when there are none."""
    kind: Any = model.__class__
    for name in names_of(kind):
        value = getattr(model, name)
        if name == EXTRA:
            value = json_text(plain(value)) if value else None
        yield name, value


def json_text(value: Any) -> str:
    """
    Return *value* as JSON that UTF-8 can encode.

    ``NaN`` and ``Infinity``, which are no JSON, become null.
    """
    try:
        text = _encode(value)
    except ValueError:
        text = _encode(_without_nan(value))
    if text.isascii() or is_encodable(text):
        return text
    return _encode_ascii(_without_nan(value))


def text_of(value: Any) -> str:
    r"""Return *value* as text: a string as it is but for lone surrogates, which become ``\udXXX``, the rest as JSON."""
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, float) and not math.isfinite(value):
        return json.dumps(value)
    if _is_scalar(value):
        return str(plain(value))
    return json_text(value)


def encodable(text: str) -> str:
    r"""Return *text* with ``\udXXX`` for each lone surrogate, as UTF-8 cannot encode them."""
    if text.isascii() or is_encodable(text):
        return text
    return text.encode("utf-8", "backslashreplace").decode()


def is_encodable(text: str) -> bool:
    """Return whether UTF-8 can encode *text*."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _without_nan(value: Any) -> Any:
    # Not by a function that calls itself: json goes twice as deep.
    return json.loads(_encode_python(value), parse_constant=lambda _: None)
