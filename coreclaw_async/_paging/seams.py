"""Whether two pages that follow each other join: without a count, only a third answer over both shows it."""

from __future__ import annotations

from typing import Any

from coreclaw_async._paging.listing import MIN_PROBE_SIZE, Reading


def page_over_seam(place: int, longest: int) -> tuple[int, int] | None:
    """
    Return the number and length of the page that holds most items on both sides of a place, or None.

    Args:
        place: Place of the first item of a page, from 0.
        longest: Most items the answer may have.
    """

    def margin(length: int) -> int:
        return min(place % length, length - place % length) if place % length else 0

    length = max(range(MIN_PROBE_SIZE, longest + 1), key=margin, default=0)
    return (place // length + 1, length) if length and margin(length) else None


def joins(before: Reading[Any], after: Reading[Any], over: Reading[Any], *, is_nameless: bool) -> bool:
    """
    Return whether an answer over the end of one page and the begin of the next shows that nothing is between them.

    Args:
        before: The earlier page.
        after: The page that follows it.
        over: The answer.
        is_nameless: Whether nothing tells the items apart. Then they must be those of the two pages, one by one;
            otherwise some of each page must be there, and whatever is new stands in the answer itself.
    """
    if not is_nameless:
        return not (set(over.keys).isdisjoint(before.keys) or set(over.keys).isdisjoint(after.keys))
    both = [*before.keys, *after.keys]
    end = len(before.keys)
    return any(
        both[start : start + len(over.keys)] == list(over.keys[: len(both) - start])
        for start in range(end)
        if start + len(over.keys) > end
    )
