"""ListSource: a list of the service, as a scan needs it; Reading: one page of it with its keys."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

import attrs

from coreclaw_async.models import Page

T = TypeVar("T")

MIN_PROBE_SIZE = 3
"""Pages of one or two rows look alike in all meanings of ``offset=2``."""


@attrs.frozen(repr=False)
class Nameless:
    """
    The key of an item without an identity. Two such items may be equal, so equal keys prove nothing.

    Attributes:
        content: The whole item as JSON.
    """

    content: str


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Reading(Generic[T]):
    """
    A page that was read.

    Attributes:
        number: The page that was asked for, from 1.
        page: The page.
        keys: One key for each item, in the same order: its identity, or `Nameless`.
        is_named: Whether all items have an identity.
        known_count: The count that was known when this page was asked for, or None.
    """

    number: int
    page: Page[T]
    keys: Sequence[Hashable]
    is_named: bool = True
    known_count: int | None = None

    @property
    def count(self) -> int | None:
        """The count that came with the page, or None if it cannot be right: 0 may mean "not set"."""
        page = self.page
        return page.count if page.count is not None and page.count >= len(page.items) else None

    @property
    def has_names(self) -> bool:
        """Whether at least one item has an identity."""
        return self.is_named or not all(isinstance(key, Nameless) for key in self.keys)


@attrs.frozen(kw_only=True, eq=False, repr=False)
class ListSource(Generic[T]):
    """
    A list of the service.

    Attributes:
        name: Its name in errors.
        fetch: Returns the page at an offset with a limit.
        identity: Returns what identifies an item, or None if nothing does.
        expects_count: Whether all counted items must come, also those added meanwhile.
        min_probe_size: Smallest page size to ask for; for smaller ones, larger pages are read and cut.
        run_id: The run that the list belongs to, or None.
        goes_on: Called at the end with the number of items that came. Waits until there may be more and returns True,
            or returns False if that was all. None if nothing comes after the last page.
    """

    name: str
    fetch: Callable[[int, int], Awaitable[Page[T]]]
    identity: Callable[[T], Hashable | None]
    expects_count: bool = False
    min_probe_size: int = MIN_PROBE_SIZE
    run_id: str | None = None
    goes_on: Callable[[int], Awaitable[bool]] | None = None


def reading_of(
    identity: Callable[[T], Hashable | None], number: int, page: Page[T], known_count: int | None = None
) -> Reading[T]:
    """Return *page* with the keys of its items."""
    keys = [identity(item) for item in page.items]
    is_named = None not in keys
    if not is_named:
        keys = [
            Nameless(json.dumps(item, sort_keys=True, default=repr)) if key is None else key
            for item, key in zip(page.items, keys, strict=True)
        ]
    return Reading(number=number, page=page, keys=keys, is_named=is_named, known_count=known_count)
