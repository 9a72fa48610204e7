"""JSON for people to read, cut to a length, whatever it holds."""

from __future__ import annotations

import json
from typing import Any


def excerpt(value: Any, limit: int, *, indent: int | None = None) -> str:
    """Return the beginning of `value` as JSON, `limit` characters at most and an ellipsis where it goes on."""
    pieces: list[str] = []
    size = 0
    try:
        # Piece by piece, so that of a huge value only the beginning is written.
        for piece in json.JSONEncoder(ensure_ascii=False, indent=indent, default=repr).iterencode(value):
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                break
    except (RecursionError, TypeError, ValueError) as error:
        return f"This cannot be shown as JSON: {type(error).__name__}."
    return cut("".join(pieces), limit)


def cut(text: str, limit: int) -> str:
    """Return the first `limit` characters of `text`, and an ellipsis where it goes on."""
    return text if len(text) <= limit else text[:limit] + "\N{HORIZONTAL ELLIPSIS}"
