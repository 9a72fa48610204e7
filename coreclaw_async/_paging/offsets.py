"""
What ``offset`` means to the service: judged from two answers, without I/O.

It has had three meanings (docs, api/index at 865b635, b74c2ea, 188677b and c616e62; coreclaw-mcp-server 0d22581,
1738139): a row number, a row number rounded down to a whole page, and a page number from 1. The first two are read the
same way, in steps of whole pages, so there are two modes. Page 1 is ``offset=0`` in all three. After it, ``offset=2``
tells them apart: page 2 is the page number, rows shifted by two are the row number, page 1 again is the rounded one.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from enum import Enum
from typing import Literal, TypeAlias

from coreclaw_async._clock import Clock

OffsetDialect: TypeAlias = Literal["auto", "row", "page"]

PROBE_OFFSET = 2
_VERDICT_SECONDS = 600.0
MIN_TELLING_SIZE = 3
"""Pages of one or two rows look alike in all meanings of ``offset=2``."""
SETTLING_SIZE = 10
"""What is read at once instead, so that positions are unmistakable."""


class Mode(Enum):
    """How the offset of page n is written."""

    PAGE = "page"
    ROW = "row"

    def offset(self, number: int, size: int) -> int:
        """Return the offset of page *number* (from 1) of *size* items."""
        if number == 1:
            return 0
        return number if self is Mode.PAGE else (number - 1) * size


def possible_modes(
    first: Sequence[Hashable],
    probe: Sequence[Hashable],
    *,
    size: int,
    growth: int | None,
    has_identity: bool,
) -> frozenset[Mode]:
    """
    Return the modes in which *probe* can be the answer to ``offset=2`` after *first* was page 1.

    Args:
        first: What tells the items of page 1 apart.
        probe: The same of the answer to ``offset=2``.
        size: Items a page holds, 3 or more.
        growth: By how much the count has changed between the two answers, or None when it is not known. Items that were
            inserted at the front shift all others back by as many places, those that were removed forward.
        has_identity: Whether an item can stand in the list only once. Without, equal items prove nothing, and only what
            cannot be the shifted page 1 is told apart.
    """
    added = max(growth or 0, 0)
    removed = max(-(growth or 0), 0)
    shifts_of_rows = range(-added, PROBE_OFFSET + removed + 1)
    # Rows have left the view altogether only when as many as a page were added or removed.
    is_far = added >= size or removed >= size - PROBE_OFFSET
    if not has_identity:
        is_row = is_far or any(_is_shifted(first, probe, shift) for shift in shifts_of_rows)
        return frozenset({Mode.PAGE, Mode.ROW} if is_row else {Mode.PAGE})
    places = {key: place for place, key in enumerate(first)}
    shifts = {places[key] - place for place, key in enumerate(probe) if key in places}
    if not shifts:
        return frozenset({Mode.PAGE, Mode.ROW} if is_far else {Mode.PAGE})
    if len(shifts) > 1:
        return frozenset()
    shift = shifts.pop()
    lowest_of_pages = MIN_TELLING_SIZE if growth is None else size - added
    modes: set[Mode] = set()
    if shift in shifts_of_rows:
        modes.add(Mode.ROW)
    if shift >= lowest_of_pages:
        modes.add(Mode.PAGE)
    return frozenset(modes)


def _is_shifted(first: Sequence[Hashable], probe: Sequence[Hashable], shift: int) -> bool:
    pairs = [(first[place + shift], key) for place, key in enumerate(probe) if 0 <= place + shift < len(first)]
    return bool(pairs) and all(old == new for old, new in pairs)


class OffsetCache:
    """What a client found out about ``offset``, kept for ten minutes: a deployment can change it, and has."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._mode: Mode | None = None
        self._until = 0.0

    @property
    def mode(self) -> Mode | None:
        """The mode, or None when it is not known or too old."""
        return self._mode if self._clock.monotonic() < self._until else None

    def keep(self, mode: Mode) -> None:
        """Remember *mode* from now on."""
        self._mode = mode
        self._until = self._clock.monotonic() + _VERDICT_SECONDS

    def forget(self) -> None:
        """Find out again next time."""
        self._mode = None
