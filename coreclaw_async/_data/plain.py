"""Copies of any value made of dictionaries, lists and single values, without recursion, because rows may be deep."""

from __future__ import annotations

import datetime as dt
import functools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from types import NoneType
from typing import Any, NamedTuple, TypeAlias

SECRET = "secret"  # noqa: S105 - the name of a mark
"""Marks a member, in its metadata, that is as good as a password: no copy has it."""

# As Any: type checkers then take the parts of a value that passed `isinstance` for Any, not for unknown.
_MAPPING: Any = Mapping
_SEQUENCE: Any = Sequence
_NOT_A_LIST: Any = (str, bytes, bytearray, memoryview)
# pydantic serializes 255 levels; some are around the value.
_MAX_LEVELS_OF_PYDANTIC = 100


# Types of most values, which need no look at what they are.
_SINGLES: frozenset[type] = frozenset({str, int, float, bool, NoneType, Decimal, dt.datetime})


LeavesOut: TypeAlias = Callable[[Any, str, Any], bool]
"""Takes the class of a model, the name of a member and its value."""


class Form(NamedTuple):
    """
    What a copy may hold besides dictionaries and lists.

    Attributes:
        kept: Types whose values are right as they are.
        single: Returns what stands for a value of another type, or raises TypeError.
        most_levels: Lists and dictionaries that may be around each other; a deeper one becomes its JSON text.
    """

    kept: frozenset[type]
    single: Callable[[Any], Any]
    most_levels: float = math.inf


def _as_it_is(value: Any) -> Any:
    return value


def _json_value(value: Any) -> Any:
    """Return the JSON value for *value*; a number that is not finite becomes None, as JSON has none."""
    if type(value) is float:
        return value if math.isfinite(value) else None
    if isinstance(value, Enum):
        return _json_value(value.value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return value if type(value) in {bool, int} else int(value)
    if isinstance(value, float):
        return _json_value(float(value))
    if isinstance(value, Decimal):
        return str(value) if value.is_finite() else None
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if value is None or isinstance(value, PurePath):
        return None if value is None else str(value)
    raise TypeError(f"JSON has no form for a {type(value).__name__}")


def _json_value_or_text(value: Any) -> Any:
    try:
        return _json_value(value)
    except TypeError:
        return str(value)


def _encodable_value(value: Any) -> Any:
    if type(value) is str and value.isascii():
        return value
    if type(value) not in _SINGLES and (
        hasattr(value, "__pydantic_serializer__") or hasattr(value, "__dataclass_fields__")
    ):
        return value  # An item of somebody else's, which pydantic knows how to write.
    return _encodable_json_value_or_text(value)


def _encodable(value: Any) -> Any:
    """Return *value*; in a string U+FFFD for what UTF-8 cannot encode."""
    if not isinstance(value, str) or value.isascii():
        return value
    return value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def _encodable_json_value(value: Any) -> Any:
    return _encodable(_json_value(value))


def _encodable_json_value_or_text(value: Any) -> Any:
    return _encodable(_json_value_or_text(value))


PYTHON = Form(_SINGLES, _as_it_is)
"""Single values are not changed."""
JSON = Form(frozenset({str, int, bool, NoneType}), _json_value)
"""JSON values; what JSON has no form for is a TypeError."""
JSON_OR_TEXT = Form(JSON.kept, _json_value_or_text)
"""JSON values, and the text of what JSON has no form for."""
UTF8_JSON = Form(frozenset({int, bool, NoneType}), _encodable_json_value)
"""As `JSON`, and UTF-8 can encode it: lone surrogates become U+FFFD."""
UTF8_JSON_OR_TEXT = Form(UTF8_JSON.kept, _encodable_json_value_or_text)
"""As `JSON_OR_TEXT`, and UTF-8 can encode it."""
ENCODABLE_JSON = Form(frozenset({int, bool, NoneType}), _encodable_value, _MAX_LEVELS_OF_PYDANTIC)
"""What pydantic can write: without lone surrogates, which become U+FFFD, and not nested deeply."""


def as_plain(value: Any, form: Form, *, leaves_out: LeavesOut | None = None) -> Any:
    """
    Return a copy of *value*, with dictionaries for models and mappings, and lists for tuples and other sequences.

    Args:
        value: Anything.
        form: What the copy may hold.
        leaves_out: Returns whether a member of a model is left out; None for none.

    Raises:
        TypeError: *form* has nothing for a part of it.
        ValueError: It contains itself.
    """
    whole: Any = [value]
    # The copy of each list or dictionary around the current part, its parts to come, itself, and its name.
    frames: list[tuple[Any, Iterator[tuple[Any, Any]], Any, Any]] = [(whole, iter([(0, value)]), whole, "")]
    around: set[int] = set()
    kept, single, most_levels = form
    while frames:
        copy, parts, this, _ = frames[-1]
        for key, part in parts:
            if type(part) in kept:
                continue
            try:
                inner = None if type(part) in _SINGLES else _opened(part, form, leaves_out)
                if inner is None:
                    copy[key] = single(part)
                    continue
            except TypeError as error:
                raise TypeError(f"{_path(frames, key)}{error}") from None
            if id(part) in around:
                raise ValueError(f"{_path(frames, key)}it contains itself")
            if len(frames) > most_levels:
                copy[key] = _as_text(part)
                continue
            copy[key] = inner
            around.add(id(part))
            frames.append((inner, _parts_of(inner), part, key))
            break
        else:
            frames.pop()
            around.discard(id(this))
    return whole[0]


def to_text(plain: Any) -> str:
    """
    Return plain JSON values as JSON; a lone surrogate, which UTF-8 cannot encode, becomes its JSON escape.

    Raises:
        ValueError: They are nested too deeply, or hold a whole number that is too long for Python to write.
    """
    try:
        text = json.dumps(plain, ensure_ascii=False)
    except RecursionError:
        raise ValueError("it cannot be written as JSON: it is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"it cannot be written as JSON: {error}") from None
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


@functools.cache
def names_of(kind: Any) -> tuple[str, ...]:
    """Return the names of the members of an attrs class that are not secret."""
    import attrs  # Errors are imported with the client, which then need not wait for it.

    return tuple(field.name for field in attrs.fields(kind) if not field.metadata.get(SECRET))


def _opened(part: Any, form: Form, leaves_out: LeavesOut | None) -> Any:
    """Return a copy of *part* alone if it is a model, a mapping or a sequence, else None."""
    kind: Any = type(part)  # pyright: ignore[reportUnknownVariableType]
    if kind is dict or isinstance(part, _MAPPING):
        if form.single is _as_it_is or ({str}.issuperset(map(type, part)) and str in form.kept):
            return dict(part)
        return {_json_key(key, form): value for key, value in part.items()}
    if kind in {list, tuple} or (isinstance(part, _SEQUENCE) and not isinstance(part, _NOT_A_LIST)):
        return list(part)
    if hasattr(kind, "__attrs_attrs__"):
        members = {name: getattr(part, name) for name in names_of(kind)}
        if leaves_out is not None:
            members = {name: value for name, value in members.items() if not leaves_out(kind, name, value)}
        return {"type": kind.__name__, **members} if getattr(kind, "_says_type", False) else members
    return None


def _json_key(key: Any, form: Form) -> str:
    name = form.single(key)
    if isinstance(name, str):
        return name
    if form in {JSON, UTF8_JSON}:
        raise TypeError(f"JSON has no keys but strings, not a {type(key).__name__}")
    return str(name)


def _parts_of(copy: Any) -> Iterator[tuple[Any, Any]]:
    # Values of keys that are there are replaced meanwhile, which iterators allow.
    return iter(copy.items()) if isinstance(copy, dict) else enumerate(copy)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def _path(frames: list[tuple[Any, Iterator[tuple[Any, Any]], Any, Any]], key: Any) -> str:
    """Return the name of a part, such as ``extra.rows[3]``, and a colon; nothing for the value itself."""
    names = [name for _, _, _, name in frames[2:]] + [key] if len(frames) > 1 else []
    path = "".join(f"[{name}]" if isinstance(name, int) else f".{name}" for name in names)
    return f"{path.removeprefix('.')}: " if path else ""


def _as_text(part: Any) -> str:
    try:
        return json.dumps(as_plain(part, JSON_OR_TEXT))
    except (RecursionError, ValueError):
        return "..."
