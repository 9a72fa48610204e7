"""Numbers in rows as the service wrote them: read from an answer and written again, digit by digit."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from coreclaw_async._wire.answer_json import load_usual
from coreclaw_async._wire.json_types import is_object

_ROWS = "list"
# Python reads these, but they are no JSON: JavaScript writes null in their place.
_NO_NUMBERS = frozenset({"NaN", "Infinity", "-Infinity"})


@attrs.frozen
class ExactNumber:
    """
    A number that would be written in another way once it is an `int` or a `float`.

    Attributes:
        text: How it was written.
    """

    text: str

    def __bool__(self) -> bool:
        """Return whether it is not 0, as of other numbers."""
        return bool(float(self.text))


def load_exact(body: bytes) -> Any:
    """
    Return what `load_usual` does, with an `ExactNumber` where another type would change a number in a row.

    Raises:
        ValueError: It is no JSON.
    """
    numbers: list[ExactNumber] = []

    def keep(text: str) -> ExactNumber:
        numbers.append(ExactNumber(text))
        return numbers[-1]

    def whole(text: str) -> int | ExactNumber:
        try:
            return keep(text) if text == "-0" else int(text)
        except ValueError:  # It has too many digits.
            return keep(text)

    def fraction(text: str) -> float | ExactNumber:
        number = float(text)
        return number if repr(number) == text else keep(text)

    exact = json.loads(body, parse_float=fraction, parse_int=whole, parse_constant=keep)
    if not numbers:
        return exact
    usual = load_usual(body)
    if is_object(usual) and is_object(data := usual.get("data")) and _ROWS in data:
        data[_ROWS] = exact["data"][_ROWS]
    return usual


def json_lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """
    Return *rows* as JSON, one per line, in ASCII, because UTF-8 cannot encode a lone half of a surrogate pair.

    Raises:
        TypeError: A row holds something that JSON cannot express.
        ValueError: A row holds a `float` that JSON cannot express.
    """
    import secrets  # Few programs write rows.

    # Random, so that no string in a row can contain it.
    mark = secrets.token_hex(16)

    def marked(value: object) -> str | None:
        if not isinstance(value, ExactNumber):
            raise TypeError(f"a row holds a {type(value).__name__}")
        return None if value.text in _NO_NUMBERS else mark + value.text

    encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, default=marked).encode
    text = "".join([encode(row) + "\n" for row in rows])
    if mark in text:
        text = re.sub(f'"{mark}([^"]*)"', r"\1", text)
    return text.encode("ascii")
