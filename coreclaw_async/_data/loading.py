"""Models from the dictionaries that they were made into, by the types of their members."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import math
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from enum import Enum
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar, Union, cast

import attrs

from coreclaw_async._data.misfits import MisfitError, misfit
from coreclaw_async._data.plain import PYTHON, as_plain

M = TypeVar("M")

Loader: TypeAlias = Callable[[Any], Any]
"""Takes a value of either form and returns that of the member, or raises `MisfitError`."""

_ANYTHING: Any = (Any, object)
_MAPPING: Any = Mapping
_LIST: Any = (list, tuple)


def load(kind: type[M], mapping: Any, arguments: tuple[Any, ...] = ()) -> M:
    """
    Return *mapping* as a *kind*.

    Args:
        kind: The model.
        mapping: Values by the names of the members.
        arguments: What its type variables stand for; Any when left out.

    Raises:
        TypeError: *mapping* is no mapping.
        ValueError: A member is missing, unknown or of the wrong type.
    """
    if not isinstance(mapping, _MAPPING):
        raise TypeError(f"{kind.__name__} is read from a mapping, not from a {type(mapping).__name__}")
    try:
        return cast(M, load_part(kind, arguments, mapping))
    except MisfitError as error:
        raise ValueError(f"{kind.__name__}{error.path} {error.why}") from None


def load_part(kind: Any, arguments: tuple[Any, ...], value: Any) -> Any:
    """
    Do the same with any value.

    Raises:
        MisfitError: It is no such model, and no mapping that can be read as one.
    """
    if isinstance(value, kind):
        if arguments:
            _check_members(kind, arguments, value)
        return value
    if not isinstance(value, _MAPPING):
        raise misfit("an object", value)
    loaders, required = _members(kind, arguments)
    for name in value:
        if name not in loaders:
            raise MisfitError(f"has no member {name!a:.80}; these are its members: {', '.join(loaders)}", value)
    lacking = [name for name in required if name not in value]
    if lacking:
        raise MisfitError(f"lacks {', '.join(lacking)}", value)
    values: dict[str, Any] = {}
    for name, part in value.items():
        try:
            values[name] = loaders[name](part)
        except MisfitError as error:
            raise error.inside(name, f".{name}") from None
    return kind(**values)


def _check_members(kind: Any, arguments: tuple[Any, ...], value: Any) -> None:
    """Check that a model with type variables holds what they stand for."""
    for name, loader in _members(kind, arguments)[0].items():
        try:
            loader(getattr(value, name))
        except MisfitError as error:
            raise error.inside(name, f".{name}") from None


def _members(kind: Any, arguments: tuple[Any, ...]) -> tuple[dict[str, Loader], list[str]]:
    """Return the loader of each member, and the names of those that have no default."""
    try:
        return _known_members(kind, arguments)
    except TypeError:  # An argument that cannot be hashed.
        return _known_members.__wrapped__(kind, arguments)


@functools.cache
def _known_members(kind: Any, arguments: tuple[Any, ...]) -> tuple[dict[str, Loader], list[str]]:
    bound = variables_of(kind, arguments)
    hints = typing.get_type_hints(kind)
    fields = attrs.fields(kind)
    loaders = {field.name: _loader(hints[field.name], bound) for field in fields}
    return loaders, [field.name for field in fields if field.default is attrs.NOTHING]


def variables_of(kind: Any, arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """Return what the type variables stand for in the members of *kind*, inherited ones included."""
    bound = dict(zip(getattr(kind, "__parameters__", ()), arguments, strict=False))
    for base in getattr(kind, "__orig_bases__", ()):
        origin: Any = typing.get_origin(base)
        if origin is not None and attrs.has(origin):
            bound.update(zip(getattr(origin, "__parameters__", ()), typing.get_args(base), strict=True))
    return bound


def _loader(hint: Any, bound: Mapping[Any, Any]) -> Loader:
    hint = bound.get(hint, Any) if isinstance(hint, TypeVar) else hint
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin in {Union, types.UnionType}:
        return functools.partial(_load_any_of, [_loader(part, bound) for part in inside], types.NoneType in inside)
    if origin in {Sequence, tuple} and inside and inside[1:] in {(), (...,)}:
        return functools.partial(_load_items, _loader(inside[0], bound))
    if origin is list and inside:
        return functools.partial(_load_list, _loader(inside[0], bound))
    if origin in {Mapping, dict} and inside:
        if inside == (str, Any):
            return _load_object
        return functools.partial(_load_mapping, _loader(inside[0], bound), _loader(inside[1], bound))
    if origin is Literal:
        return functools.partial(_load_one_of, inside)
    if attrs.has(origin or hint):
        return functools.partial(load_part, origin or hint, inside)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return functools.partial(_load_enum, hint)
    if isinstance(hint, type) and hint in _SINGLE:
        return _SINGLE[hint]
    return _copy if hint in _ANYTHING else functools.partial(_load_foreign, hint)


def _copy(value: Any) -> Any:
    try:
        return as_plain(value, PYTHON)
    except ValueError as error:
        raise MisfitError(f"cannot be read: {error}", value) from None


def _refuse(value: Any) -> None:
    """Refuse what is not None, which `_load_any_of` has tried."""
    raise misfit("None", value)


def _load_any_of(loaders: Sequence[Loader], may_be_none: bool, value: Any) -> Any:  # noqa: FBT001 - bound by position
    if value is None and may_be_none:
        return None
    refusals: list[MisfitError] = []
    for loader in loaders:
        try:
            return loader(value)
        except MisfitError as error:
            refusals.append(error)
    deepest = max(refusals, key=lambda error: len(error.path))
    raise deepest if deepest.path else misfit(" or ".join(error.expected for error in refusals), value)


def _load_items(loader: Loader, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, _LIST):
        raise misfit("a list", value)
    items: list[Any] = []
    for part in value:
        try:
            items.append(loader(part))
        except MisfitError as error:
            raise error.inside(len(items), f"[{len(items)}]") from None
    return tuple(items)


def _load_list(loader: Loader, value: Any) -> list[Any]:
    return list(_load_items(loader, value))


def _load_foreign(hint: Any, value: Any) -> Any:
    """Read a type of somebody else's by pydantic where that is in use, as it reads types of routes; else as it is."""
    if "pydantic" in sys.modules:
        from coreclaw_async._data.foreign_types import UnknownTypeError, read_by_pydantic

        with contextlib.suppress(UnknownTypeError):
            return read_by_pydantic(hint, value)
    try:
        is_one = isinstance(value, hint)
    except TypeError:  # Nobody can ask that of some types, as a `TypedDict`.
        return _copy(value)
    if not is_one:
        raise misfit(f"a {hint.__name__}", value)
    return value


def _load_object(value: Any) -> dict[str, Any]:
    if not isinstance(value, _MAPPING):
        raise misfit("an object", value)
    if not all(isinstance(key, str) for key in value):
        raise MisfitError("must have strings as keys", value)
    copied: dict[str, Any] = _copy(value)
    return copied


def _load_mapping(load_key: Loader, load_value: Loader, value: Any) -> dict[Any, Any]:
    if not isinstance(value, _MAPPING):
        raise misfit("an object", value)
    made: dict[Any, Any] = {}
    for key, part in value.items():
        try:
            made[load_key(key)] = load_value(part)
        except MisfitError as error:
            raise error.inside(str(key), f"[{key!a:.80}]") from None
    return made


def _load_enum(kind: type[Enum], value: Any) -> Enum:
    try:
        return kind(value)
    except (TypeError, ValueError):
        raise misfit(f"one of {', '.join(str(member.value) for member in kind)}", value) from None


def _load_one_of(choices: Sequence[Any], value: Any) -> Any:
    for choice in choices:
        # True is 1, but not the same choice.
        if choice == value and isinstance(choice, bool) is isinstance(value, bool):
            return choice
    raise misfit(f"one of {', '.join(map(str, choices))}", value)


def _load_str(value: Any) -> str:
    if not isinstance(value, str):
        raise misfit("a string", value)
    return str(value)


def _load_bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise misfit("true or false", value)
    return value


def _load_int(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise misfit("a whole number", value)
    return value


def _load_float(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise misfit("a number", value)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise misfit("a finite number", value)
    return number


def _load_decimal(value: Any) -> Decimal:
    if not isinstance(value, str | int | float | Decimal) or isinstance(value, bool):
        raise misfit("an amount", value)
    try:
        amount = value if isinstance(value, Decimal) else Decimal(str(value))
    except (InvalidOperation, ValueError):
        raise misfit("an amount", value) from None
    if not amount.is_finite():
        raise misfit("a finite amount", value)
    return amount


def _load_datetime(value: Any) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(value) if isinstance(value, str) else value
        if not isinstance(moment, dt.datetime):
            raise misfit("a time in ISO 8601", value)
        if moment.utcoffset() is None:
            raise misfit("a time with a time zone", value)
        return moment.astimezone(dt.UTC)
    except MisfitError:
        raise
    except (ValueError, OverflowError):
        raise misfit("a time in ISO 8601", value) from None


def _load_path(value: Any) -> Path:
    if not isinstance(value, str | Path):
        raise misfit("a path", value)
    return Path(value)


_SINGLE: dict[Any, Loader] = {
    types.NoneType: _refuse,
    str: _load_str,
    bool: _load_bool,
    int: _load_int,
    float: _load_float,
    Decimal: _load_decimal,
    dt.datetime: _load_datetime,
    Path: _load_path,
}
