"""Checks of what a fake service is told, so that a wrong value is named where it is written."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, get_args
from urllib.parse import urlsplit

from attrs import Attribute

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_KEY = re.compile(r"[!-~]+")
_HEADER = re.compile(r"(?:[!-~](?:[\t -~]*[!-~])?)?")


def checked(check: Callable[..., object], **options: Any) -> Callable[[Any, Attribute[Any], Any], None]:
    """Return an attrs validator that calls *check* with the name of the attribute, its value and *options*."""

    def validate(_: Any, attribute: Attribute[Any], value: Any) -> None:
        check(attribute.name, value, **options)

    return validate


def one_of(kind: Any) -> Callable[[Any, Attribute[Any], Any], None]:
    """Return an attrs validator that demands one of the strings of a ``Literal``."""
    return checked(check_choice, choices=get_args(kind))


def check_whole(name: str, value: Any, *, low: int, high: int | None = None, or_none: bool = False) -> None:
    """
    Demand a whole number, or None where that is allowed.

    Raises:
        TypeError: It is none.
        ValueError: It is out of range.
    """
    if or_none and value is None:
        return
    span = f"{low} or more" if high is None else f"{low} to {high}"
    demanded = f"{name} must be a whole number, {span}{' or None' if or_none else ''}"
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


def check_rate(name: str, value: Any) -> None:
    """
    Demand a finite number a second above 0, or None.

    Raises:
        TypeError: It is no number.
        ValueError: It is out of range.
    """
    if value is not None:
        check_number(name, value, unit="requests a second", is_above=True)


def check_amount(name: str, value: Any, *, is_signed: bool = False) -> Decimal:
    """
    Return a finite decimal that is 0 or more, unless it may be negative.

    Raises:
        TypeError: It is no number, and no string.
        ValueError: It is out of range.
    """
    demanded = f"{name} must be a finite decimal{'' if is_signed else ', 0 or more'}, not {value!r}"
    if not isinstance(value, str | int | float | Decimal) or isinstance(value, bool):
        raise TypeError(demanded)
    try:
        amount = Decimal(value)
    except InvalidOperation:
        raise ValueError(demanded) from None
    if not amount.is_finite() or (amount < 0 and not is_signed):
        raise ValueError(demanded)
    return amount


def check_origin(name: str, url: Any) -> str:
    """
    Return the URL of a site, without a slash at its end.

    Raises:
        TypeError: It is no string.
        ValueError: It is no URL of http or https, or has more than a host and a port.
    """
    check_type(name, url, str)
    demanded = f"{name} must be an http or https URL of a host, without path and query, not {url!r}"
    origin = str(url).rstrip("/")
    try:
        parts = urlsplit(origin)
        _ = parts.port
    except ValueError:
        raise ValueError(demanded) from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or origin != f"{parts.scheme}://{parts.netloc}":
        raise ValueError(demanded)
    return origin


def check_choice(name: str, value: Any, *, choices: Collection[str]) -> None:
    """
    Demand one of some strings.

    Raises:
        ValueError: It is none of them.
    """
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}")


def check_rows(name: str, value: Any, *, or_function: bool = False) -> None:
    """
    Demand a number of rows, or rows, or a function of the input where that is allowed.

    Raises:
        TypeError: It is none of these.
        ValueError: The number is negative.
    """
    if or_function and callable(value):
        return
    if isinstance(value, int) and not isinstance(value, bool):
        check_whole(name, value, low=0)
        return
    kinds = (
        "a whole number, a sequence of rows or a function" if or_function else "a whole number or a sequence of rows"
    )
    check_mappings(name, value, kinds=kinds)


def check_mappings(name: str, value: Any, *, kinds: str) -> None:
    """
    Demand a sequence of mappings.

    Raises:
        TypeError: It is none; it must be *kinds*.
    """
    if not _is_sequence(value):
        raise TypeError(f"{name} must be {kinds}, not {value!r}")
    for place, each in enumerate(value):
        check_type(f"{name}[{place}]", each, Mapping)


def _is_sequence(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def check_key(name: str, value: Any) -> None:
    """
    Demand a key that a client can send.

    Raises:
        TypeError: It is no string.
        ValueError: It is empty, or has other characters than printable ASCII, or spaces.
    """
    demanded = f"{name} must be a string of printable ASCII without spaces, 1 letter or more"
    if not isinstance(value, str):
        raise TypeError(demanded)
    if not _KEY.fullmatch(value):
        raise ValueError(demanded)  # Which does not repeat it.


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
