"""Checks of what faults are made of, so that a wrong value is named where it is written."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER = re.compile(r"(?:[!-~](?:[\t -~]*[!-~])?)?")


def check_whole(name: str, value: Any, *, low: int, high: int | None = None) -> None:
    """
    Demand a whole number.

    Raises:
        TypeError: It is none.
        ValueError: It is out of range.
    """
    span = f"{low} or more" if high is None else f"{low} to {high}"
    demanded = f"{name} must be a whole number, {span}"
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{demanded}, not {value!r}")
    if value < low or (high is not None and value > high):
        raise ValueError(f"{demanded}, not {value!r}")


def check_number(name: str, value: Any, *, unit: str, is_above: bool = False) -> float:
    """
    Return a finite number of *unit* that is 0 or more, or above 0.

    Raises:
        TypeError: It is no number.
        ValueError: It is out of range.
    """
    demanded = f"{name} must be a finite number of {unit}, {'above 0' if is_above else '0 or more'}, not {value!r}"
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(demanded)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not 0 <= number < math.inf or (is_above and not number):
        raise ValueError(demanded)
    return number


def check_chance(name: str, value: Any) -> float:
    """
    Return a probability above 0.

    Raises:
        TypeError: It is no number.
        ValueError: It is out of range.
    """
    demanded = f"{name} must be above 0 and at most 1, not {value!r}"
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(demanded)
    if not 0 < value <= 1:
        raise ValueError(demanded)
    return float(value)


def check_type(name: str, value: Any, kind: type, *, or_none: bool = False) -> None:
    """
    Demand a value of one type, or None where that is allowed.

    Raises:
        TypeError: It has another type.
    """
    if not isinstance(value, kind) and not (or_none and value is None):
        raise TypeError(f"{name} must be of type {kind.__name__}{' or None' if or_none else ''}, not {value!r}")


def check_text(name: str, text: Any) -> bytes:
    """
    Return a string as UTF-8.

    Raises:
        TypeError: It is none.
        ValueError: It holds half of a surrogate pair.
    """
    check_type(name, text, str)
    try:
        return str(text).encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} cannot be sent as UTF-8: {text!r}") from None


def check_class(name: str, given: Any, base: type) -> None:
    """
    Demand a class that is or inherits from *base*, or None.

    Raises:
        TypeError: It is neither.
    """
    if given is not None and not (isinstance(given, type) and issubclass(given, base)):
        raise TypeError(f"{name} must be a class of {base.__name__} or None, not {given!r}")


def check_callable(name: str, function: Any) -> None:
    """
    Demand something that can be called.

    Raises:
        TypeError: It cannot.
    """
    if not callable(function):
        raise TypeError(f"{name} must be a function, not {function!r}")


def check_status(status: Any) -> None:
    """
    Demand the HTTP status of an answer.

    Raises:
        TypeError: It is no whole number.
        ValueError: It is out of range.
    """
    check_whole("status", status, low=200, high=599)


def check_headers(name: str, headers: Mapping[Any, Any]) -> None:
    """
    Demand headers that can be sent.

    Raises:
        TypeError: They are no mapping of strings.
        ValueError: A name or a value has characters that no header can have.
    """
    if not isinstance(headers, Mapping):
        raise TypeError(f"{name} must be a mapping of strings, not {headers!r}")
    for header, value in headers.items():
        check_type(f"a name in {name}", header, str)
        check_type(f"{name}[{header!r}]", value, str)
        if not _TOKEN.fullmatch(header) or not _HEADER.fullmatch(value):
            raise ValueError(f"{name} cannot be sent: {header!r}: {value!r}")
