"""What a service holds as text for people to read, cut to a length, whatever it is."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from reprlib import Repr
from typing import Any, TypeVar, cast

_T = TypeVar("_T")
_MAX_OTHER = 2_000
_ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"

_repr = Repr()
_repr.maxother = _MAX_OTHER


class _Beginning:
    """Copies as much of a value as there is room for, so that of a huge one only the beginning is written."""

    def __init__(self, room: int) -> None:
        self._room = room

    def of(self, value: Any) -> Any:
        """Return the beginning of `value`; what it has in it takes at most as much room as it has as JSON."""
        if isinstance(value, str):
            kept = value[: max(self._room, 0)]
            self._room -= len(kept) + 2
            return kept
        self._room -= 1
        if isinstance(value, dict):
            members: dict[Any, Any] = {}
            for key, member in cast("Mapping[Any, Any]", value).items():
                if self._room <= 0:
                    break
                begin = self.of(key)  # The key first, as it is written first.
                members[begin] = self.of(member)
            return members
        if isinstance(value, list | tuple):
            items: list[Any] = []
            for item in cast("Sequence[Any]", value):
                if self._room <= 0:
                    break
                items.append(self.of(item))
            return items
        return value


def excerpt(value: Any, limit: int, *, indent: int | None = None) -> str:
    """Return the beginning of `value` as JSON, `limit` characters at most and an ellipsis where it goes on."""

    def write() -> str:
        begin = _Beginning(limit + 1).of(value)
        return cut(json.dumps(begin, ensure_ascii=False, indent=indent, default=_repr.repr), limit)

    return shown_or(write, str)


def shown_or(show: Callable[[], _T], otherwise: Callable[[str], _T]) -> _T:
    """Return what `show` returns; where it raises, what `otherwise` makes of a sentence that says so."""
    try:
        return show()
    except Exception as error:  # noqa: BLE001 - a test may put into a service what raises anything
        return otherwise(f"This cannot be shown: {type(error).__name__}.")


def cut(text: object, limit: int) -> str:
    """Return the first `limit` characters of `text`, and an ellipsis where it goes on."""
    text = str(text)
    return text if len(text) <= limit else text[:limit] + _ELLIPSIS


def finite(number: float) -> float | None:
    """Return `number`, or None where JSON has none for it."""
    return number if math.isfinite(number) else None
