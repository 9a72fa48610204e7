"""The JSON of answers, with whole numbers of any length."""

from __future__ import annotations

import json
from typing import Any

_decode = json.JSONDecoder().raw_decode


def load_usual(body: bytes) -> Any:
    """
    Return the JSON in *body*; whole numbers that are too long for Python become strings.

    Raises:
        ValueError: It is no JSON.
    """
    text: str | bytes = body
    try:
        # Half of the time of json would go into finding the encoding of bytes, which begin like this in UTF-8 only, and
        # a fifth into looking for space around an object.
        if body.startswith(b'{"'):
            text = body.decode("utf-8", "surrogatepass")
            value, end = _decode(text)
            if end == len(text):
                return value
        return json.loads(text)
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise
    except ValueError:  # int() refuses more than 4,300 digits; one such number must not take a whole page with it.
        return json.loads(body, parse_int=_int_or_digits)


def _int_or_digits(digits: str) -> int | str:
    try:
        return int(digits)
    except ValueError:
        return digits
