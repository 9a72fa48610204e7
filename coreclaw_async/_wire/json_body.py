"""From the arguments of a caller to JSON, or to an error that names the member that JSON cannot express."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping
from itertools import chain
from types import NoneType
from typing import Any

_SCALARS = frozenset({str, int, float, bool, NoneType})
_ARRAYS = frozenset({list, tuple})
# As Any: type checkers then take the members of a part that passed `isinstance` for Any, not for unknown.
_OBJECT: Any = dict
_ARRAY: Any = (list, tuple)
_MAX_KEY_LETTERS = 60


class WorkerInput:
    """
    The ``input`` member of a start, a task or a spec.

    Attributes:
        value: What is sent.
        parts: What the caller gave, by the names of the arguments, which errors mention.
    """

    def __init__(self, value: Any, parts: Mapping[str, Any]) -> None:
        self.value = value
        self.parts = parts

    def to_json(self) -> str:
        """
        Return what is sent as JSON.

        Raises:
            TypeError: A part holds a key that is no string, or something that JSON cannot express.
            ValueError: A part holds a number or a string that JSON cannot express, or contains itself.
        """
        return to_json(self.value, self.parts)


def to_json(value: Any, parts: Mapping[str, Any]) -> str:
    """
    Return *value* as JSON in ASCII; errors call its *parts* by their names.

    `json.dumps` alone would send the key 1 as ``"1"``, also beside a key ``"1"``, and half of a surrogate pair, which
    the service would replace by another letter.
    """
    try:
        text = json.dumps(value, allow_nan=False, separators=(",", ":"))
        if _has_string_keys(value, may_hold_surrogates="\\ud" in text):
            return text
        cause = None
    except (TypeError, ValueError, RecursionError) as error:
        cause = error
    raise _refusal(parts, cause) from cause


def _has_string_keys(value: Any, *, may_hold_surrogates: bool) -> bool:
    """
    Return whether all keys are strings. Goes level by level, which takes less time than `json.dumps`.

    Raises:
        UnicodeEncodeError: A string holds half of a surrogate pair.
    """
    level: list[Any] = [value]
    while level:
        is_flat = _ARRAYS.issuperset(map(type, level))
        objects = [] if is_flat else [part for part in level if isinstance(part, _OBJECT)]
        arrays = level if is_flat else [part for part in level if isinstance(part, _ARRAY)]
        if not all(issubclass(kind, str) for kind in set(map(type, chain.from_iterable(objects)))):
            return False
        parts: list[Any] = [*chain.from_iterable(map(dict[str, Any].values, objects)), *chain.from_iterable(arrays)]
        if may_hold_surrogates:
            "".join(chain.from_iterable(objects)).encode()
            "".join([part for part in parts if isinstance(part, str)]).encode()
        level = [part for part in parts if type(part) not in _SCALARS]
    return True


def _refusal(parts: Mapping[str, Any], cause: Exception | None) -> Exception:
    """Return the error about the first part, and the first member in it, that cannot be sent."""
    if isinstance(cause, RecursionError):
        name = next(name for name, value in parts.items() if _is_too_deep(value))
        return ValueError(f"{name} cannot be sent as JSON: it is nested too deeply")
    for name, value in parts.items():
        fault = _find_fault(name, value)
        if fault is not None:
            return fault
    return ValueError(f"the body cannot be sent as JSON: {cause}")


def _is_too_deep(value: Any) -> bool:
    try:
        json.dumps(value)
    except RecursionError:
        return True
    return False


def _find_fault(name: str, value: Any) -> Exception | None:
    """Return the error about the first member of *value* that cannot be sent; without recursion, as it may be deep."""
    labels: dict[int, str] = {}
    """Labels of the objects and arrays around the current member, by `id`, outermost first."""
    members: list[Iterator[tuple[str, Any]]] = [iter(((name, value),))]
    while members:
        for label, part in members[-1]:
            fault = ValueError("it contains itself") if id(part) in labels else _fault_of(part)
            if fault is not None:
                path = "".join((*labels.values(), label))
                return type(fault)(f"{path} cannot be sent as JSON: {fault}")
            if isinstance(part, (_OBJECT, *_ARRAY)):
                labels[id(part)] = label
                members.append(_members_of(part))
                break
        else:
            members.pop()
            if members:
                labels.popitem()
    return None


def _members_of(part: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(part, _OBJECT):
        return ((label_of(key), value) for key, value in part.items())
    return ((f"[{place}]", value) for place, value in enumerate(part))


def label_of(key: str) -> str:
    """Return how the path of a member ends that is called *key*."""
    if key.isidentifier() and len(key) <= _MAX_KEY_LETTERS:
        return f".{key}"
    return f"[{key!r}]" if len(key) <= _MAX_KEY_LETTERS else f"[{key[:_MAX_KEY_LETTERS]!r}...]"


def _fault_of(part: Any) -> Exception | None:
    """Return what is wrong with *part* itself, apart from its members."""
    if isinstance(part, _OBJECT):
        return _fault_of_keys(part)
    match part:
        case str():
            return _fault_of_text(part)
        case float() if not math.isfinite(part):
            return ValueError(f"JSON has no number {float(part)}")
        case int() if not _has_digits(part):
            return ValueError(f"it is a number of more than {sys.get_int_max_str_digits()} digits")
        case None | int() | float() | list() | tuple():
            return None
        case _:
            kind = type(part).__name__
            return TypeError(f"it is of type {kind}, and not a dict, list, str, int, float, bool or None")


def _fault_of_keys(part: Mapping[Any, Any]) -> Exception | None:
    for key in part:
        if not isinstance(key, str):
            return TypeError(f"its key {key!r:.80} is no str, and JSON has no other keys")
        if _fault_of_text(key) is not None:
            return ValueError(f"its key {key!r:.80} holds half of a surrogate pair, which is no letter")
    return None


def _fault_of_text(text: str) -> Exception | None:
    try:
        text.encode()
    except UnicodeEncodeError:
        return ValueError("it holds half of a surrogate pair, which is no letter")
    return None


def _has_digits(number: int) -> bool:
    try:
        int.__repr__(number)
    except ValueError:  # Python does not write longer ones.
        return False
    return True
