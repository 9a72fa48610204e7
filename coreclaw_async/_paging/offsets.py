"""
What ``offset`` means to the service.

It has had three meanings (docs, api/index at 865b635, b74c2ea, 188677b and c616e62; coreclaw-mcp-server 0d22581,
1738139): a row number, a row number rounded down to a whole page, and a page number from 1. The first two are read the
same way, in steps of whole pages, so there are two modes. Page 1 is ``offset=0`` in all three. After it, ``offset=2``
tells them apart: page 2 is the page number, rows shifted by two are the row number, page 1 again is the rounded one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from coreclaw_async._concurrency.clock import Clock

if TYPE_CHECKING:
    # Imported late elsewhere: each client has an `OffsetCache`, and not every program reads lists to their end.
    from coreclaw_async._paging.listing import Reading
    from coreclaw_async.models import Page

OffsetDialect: TypeAlias = Literal["auto", "row", "page"]
"""What ``offset`` means to the service: found out, or pinned to rows or pages."""

PROBE_OFFSET = 2
SETTLING_SIZE = 10
"""Page size that is used instead of sizes too small to tell the meanings apart."""
_VERDICT_SECONDS = 600.0
# Items may share an identity: up to one of so many neither shows that items have moved nor that they have not.
_SHARE_BY_CHANCE = 10


class Mode(Enum):
    """How the offset of page n is written."""

    PAGE = "page"
    ROW = "row"

    def offset(self, number: int, size: int) -> int:
        """Return the offset of page *number* (from 1) of *size* items."""
        if number == 1:
            return 0
        return number if self is Mode.PAGE else (number - 1) * size


class Unclear(Enum):
    """Why two answers do not tell the mode."""

    MOVED = "moved"
    """They fit no meaning or several: items came or went between them."""
    ALIKE = "alike"
    """Their items are alike; only the length of the list can tell."""
    NO_ROWS = "no rows"
    """They are not the rows that were asked for; only the length of the list can tell whether they are pages."""


async def find_mode(
    first: Reading[Any],
    probe: Reading[Any],
    *,
    size: int,
    fetch: Callable[[int, int], Awaitable[Page[Any]]],
    is_stable: bool = False,
) -> Mode | None:
    """Return the mode that page 1 and the answer to ``offset=2`` prove, or None; may fetch four more pages."""
    from coreclaw_async._paging.listing import MIN_PROBE_SIZE

    found = decide_mode(first, probe, size=size, is_stable=is_stable)
    if isinstance(found, Mode):
        return found
    if found is Unclear.MOVED:
        return None
    count = probe.page.count
    if count is None or count - 1 <= math.ceil(count / size):
        return None
    # As a row number this is the last row, as a page number it is far beyond the end.
    last = await fetch(count - 1, size)
    if last.count != count or (last.items and found is Unclear.NO_ROWS):
        return None
    if found is Unclear.NO_ROWS:
        return Mode.PAGE
    rows = list(first.page.items)
    # Rows that differ hardly come a second time, all of them in the same order; three of them may, on many pages.
    keys = max(first.keys, probe.keys, key=len)
    are_different = len(set(keys)) == len(keys) > MIN_PROBE_SIZE
    # As a page number, the last page is shown for what is beyond the end; of two pages, that is page 2.
    if last.items and (are_different or (size < count <= 2 * size and last.items != probe.page.items)):
        return Mode.ROW
    if not last.items or count <= size:
        # The count may be wrong: the last row not there, or a page behind it. As a page number this is page 1.
        one = await fetch(1, size)
        if last.items and one.count != count:
            return None
        shifted = list(one.items)
        if shifted[: len(rows)] != rows:  # Page 1 may have become longer meanwhile.
            # A page 1 of a single row proves nothing.
            return Mode.ROW if len(rows) > 1 and shifted[: len(rows) - 1] == rows[1:] else None
        if list(probe.keys) != list(first.keys):
            return Mode.PAGE
    return await _mode_beyond(rows, last, size=size, fetch=fetch)


async def _mode_beyond(
    rows: Sequence[Any], last: Page[Any], *, size: int, fetch: Callable[[int, int], Awaitable[Page[Any]]]
) -> Mode | None:
    """
    Return the mode of a list whose page 2 may be like page 1, by the page after its last one, or None.

    Args:
        rows: Page 1.
        last: What is at the row number of the last row.
        size: Items a page holds.
        fetch: Returns the page at an offset with a limit.
    """
    assert last.count is not None, "nothing is beyond the end of a list without a count"
    are_alike = all(row == rows[0] for row in rows)
    number = math.ceil(last.count / size) + 1
    is_on_first = number < len(rows)
    if not is_on_first and number >= last.count - 1:  # That is what was asked for last.
        return Mode.ROW if last.items else Mode.PAGE if are_alike else None
    beyond = await fetch(number, size)
    if beyond.count != last.count:
        return None
    shown = list(beyond.items)
    if not shown:
        return Mode.PAGE if not last.items and (is_on_first or are_alike) else None
    is_page_1 = shown[: len(rows)] == rows
    is_row = is_page_1 or not is_on_first or shown[: len(rows) - number] == rows[number:]
    if shown != list(last.items) or is_page_1:
        return Mode.ROW if is_row else None
    # The last page may be shown again for each number beyond the end. By rows a page ends early only at the end.
    if not is_row or all(len(shown) != min(size, last.count - row) for row in (number, number // size * size)):
        return Mode.PAGE
    # A service that shows nothing behind the last row shows no page again either.
    behind = await fetch((number - 1) * size, size)
    return Mode.ROW if behind.count == last.count and not behind.items else None


def decide_mode(first: Reading[Any], probe: Reading[Any], *, size: int, is_stable: bool = False) -> Mode | Unclear:
    """
    Return the mode that page 1 (*first*) and the answer to ``offset=2`` (*probe*) prove.

    Args:
        first: Page 1.
        probe: The answer to ``offset=2``.
        size: Items a page holds.
        is_stable: Whether both were the same the time before. Then nothing has moved in between, and what is on both
            is in the list twice.
    """
    before, count = first.count, probe.count
    if not probe.page.items:
        # By rows it would hold all but two rows of page 1; so it is page 2 of a list of one page.
        return Mode.PAGE if count is None or count <= size or is_stable else Unclear.MOVED
    growth = 0 if is_stable else None if count is None or before is None else count - before
    page_index = probe.page.page_index
    if first.has_names:
        modes = possible_modes(first.keys, probe.keys, size=size, growth=growth, has_identity=True)
        if len(modes) == 1:
            return next(iter(modes))
        said = {1: Mode.ROW, 2: Mode.PAGE}.get(page_index or 0)
        if said in modes:
            return said
        if is_stable and not modes:
            is_on_few = 2 * len(set(probe.keys).intersection(first.keys)) < len(probe.keys)
            # Two replicas that differ can show page 1 shifted by any number of rows, time after time.
            return Mode.PAGE if is_on_few else Unclear.MOVED
        if first.is_named and probe.is_named:
            return Unclear.MOVED
    if growth:
        return Unclear.MOVED
    modes = possible_modes(first.keys, probe.keys, size=size, growth=0, has_identity=False)
    if len(modes) == 1:
        if page_index == 2 or (page_index is None and not _is_mostly_shifted(first.keys, probe.keys)):
            return Mode.PAGE
        return Unclear.NO_ROWS if is_stable else Unclear.MOVED
    if page_index == 1 and Mode.ROW in modes:
        return Mode.ROW
    return Unclear.ALIKE


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
        growth: By how much the count has changed between the two answers, or None if unknown. Items inserted at the
            front shift all others back by as many places, removed ones shift them forward.
        has_identity: Whether to compare identities: nearly all of those that are on both pages must be shifted by the
            same number, since two items may share one. Otherwise equal items prove nothing, and only an answer that
            cannot be the shifted page 1 excludes a mode.
    """
    from coreclaw_async._paging.listing import MIN_PROBE_SIZE

    added = max(growth or 0, 0)
    removed = max(-(growth or 0), 0)
    shifts_of_rows = range(-added, PROBE_OFFSET + removed + 1)
    # All rows of page 1 are gone from the answer only if a whole page was added or removed.
    is_far = added >= size or removed >= size - PROBE_OFFSET
    if not has_identity:
        is_too_short = bool(probe) and len(first) <= PROBE_OFFSET
        is_row = is_far or is_too_short or any(_is_shifted(first, probe, shift) for shift in shifts_of_rows)
        return frozenset({Mode.PAGE, Mode.ROW} if is_row else {Mode.PAGE})
    places, places_of_probe = _places_of_names(first), _places_of_names(probe)
    shifts = Counter(places[key] - place for key, place in places_of_probe.items() if key in places)
    most_by_chance = len(probe) // _SHARE_BY_CHANCE
    # Without a count, it is more likely that a few rows were removed than that most of a page was added.
    lowest_of_pages = max(MIN_PROBE_SIZE, (size + 1) // 2) if growth is None else size - added
    modes: set[Mode] = set()
    for shift, alike in shifts.items():
        overlap = _overlap(first, places_of_probe, places, shift)
        if 2 * alike <= shifts.total() or alike * _SHARE_BY_CHANCE < overlap * (_SHARE_BY_CHANCE - 1):
            continue
        is_row = shift in shifts_of_rows
        if is_row:
            modes.add(Mode.ROW)
        if shift >= lowest_of_pages or (is_row and alike <= most_by_chance):
            modes.add(Mode.PAGE)
    if modes or shifts.total() > most_by_chance:
        return frozenset(modes)
    may_be_row = is_far or any(
        all(not 0 <= place - shift < size for place in places.values()) for shift in shifts_of_rows
    )
    return frozenset({Mode.PAGE, Mode.ROW} if may_be_row else {Mode.PAGE})


def _overlap(
    first: Sequence[Hashable], places_of_probe: Mapping[Hashable, int], places: Mapping[Hashable, int], shift: int
) -> int:
    """Return how many keys of the answer stand where page 1, shifted, has the key of a single item too."""
    return sum(0 <= place + shift < len(first) and first[place + shift] in places for place in places_of_probe.values())


def _places_of_names(keys: Sequence[Hashable]) -> dict[Hashable, int]:
    """Return the place of each key that only one item has."""
    from coreclaw_async._paging.listing import Nameless

    times = Counter(keys)
    return {key: place for place, key in enumerate(keys) if times[key] == 1 and not isinstance(key, Nameless)}


def _is_shifted(first: Sequence[Hashable], probe: Sequence[Hashable], shift: int) -> bool:
    pairs = [(first[place + shift], key) for place, key in enumerate(probe) if 0 <= place + shift < len(first)]
    return bool(pairs) and all(old == new for old, new in pairs)


def _is_mostly_shifted(first: Sequence[Hashable], probe: Sequence[Hashable]) -> bool:
    """Return whether *probe* looks like page 1 shifted by about two rows, some of which have changed since."""
    for shift in (PROBE_OFFSET - 1, PROBE_OFFSET, PROBE_OFFSET + 1):
        pairs = list(zip(first[shift:], probe, strict=False))
        if 2 * sum(old == new for old, new in pairs) > len(pairs):
            return True
    return False


class OffsetCache:
    """What a client found out about ``offset``, for ten minutes: deployments have changed it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._mode: Mode | None = None
        self._until = 0.0

    @property
    def mode(self) -> Mode | None:
        """The mode, or None if it is unknown or too old."""
        return self._mode if self._clock.monotonic() < self._until else None

    def keep(self, mode: Mode) -> None:
        """Remember *mode* from now on."""
        self._mode = mode
        self._until = self._clock.monotonic() + _VERDICT_SECONDS

    def forget(self) -> None:
        """Find out again next time."""
        self._mode = None
