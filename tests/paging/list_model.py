"""A list of the service as a model: every meaning of ``offset``, every change, and every wrong count."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Literal, TypeAlias

import anyio
import anyio.lowlevel
import attrs
from quick_cases import slowly

from coreclaw_async import PaginationError
from coreclaw_async._paging.listing import ListSource
from coreclaw_async._paging.offsets import OffsetCache, OffsetDialect
from coreclaw_async._paging.pager import AsyncPager, ListPages, PageReader, PagerOptions
from coreclaw_async.models import Page
from coreclaw_async.testing import FakeClock

Dialect: TypeAlias = Literal["page", "row", "aligned"]
DIALECTS: tuple[Dialect, ...] = ("page", "row", "aligned")


EACH_DIALECT = slowly("dialect", *DIALECTS)
EACH_ECHO = slowly("echo", False, True)
Item: TypeAlias = dict[str, Any]
Change: TypeAlias = "Callable[[ModelList], None]"


def numbered(count: int, start: int = 0) -> list[Item]:
    """Return items that have an identity each."""
    return [{"id": f"i{number}", "n": number} for number in range(start, start + count)]


def nameless(count: int, start: int = 0) -> list[Item]:
    """Return different items without identity."""
    return [{"n": number} for number in range(start, start + count)]


@attrs.define
class ModelList:
    """
    A list and the service that shows it.

    Attributes:
        items: What it holds now.
        dialect: The meaning of ``offset``.
        echo: Whether a page says its number and size.
        cap: A larger ``limit`` is silently taken for this; None turns it off.
        repeats_last: Whether the last page is shown again beyond the end.
        count: What is told as ``count``: a function of the list and of the page's items, or None for no count.
        changes: What happens just before the answer to the request of a number (from 0) is made.
        each: What happens after each answer.
        out_of_order: Whether of the requests under way the latest is answered first.
        requests: The offsets and limits that were asked for.
    """

    items: list[Item]
    dialect: Dialect = "page"
    echo: bool = True
    cap: int | None = None
    repeats_last: bool = False
    count: Callable[[ModelList, Sequence[Item]], int | None] = lambda model, page: len(model.items)
    changes: dict[int, Change] = attrs.field(factory=dict["int", "Change"])
    each: Change | None = None
    out_of_order: bool = False
    requests: list[tuple[int, int]] = attrs.field(factory=list[tuple[int, int]], init=False)
    most_at_once: int = attrs.field(default=0, init=False)
    _under_way: int = attrs.field(default=0, init=False)

    async def fetch(self, offset: int, limit: int) -> Page[Item]:
        """Return the page that the service shows."""
        number = len(self.requests)
        self.requests.append((offset, limit))
        self._under_way += 1
        self.most_at_once = max(self.most_at_once, self._under_way)
        try:
            for _ in range(max(1, 40 - number % 37) if self.out_of_order else 1):
                await anyio.lowlevel.checkpoint()
        finally:
            self._under_way -= 1
        if number in self.changes:
            self.changes[number](self)
        page = self._page(offset, limit)
        if self.each is not None:
            self.each(self)
        return page

    def _page(self, offset: int, limit: int) -> Page[Item]:
        size = limit if self.cap is None else min(limit, self.cap)
        if self.dialect == "page":
            place = max(offset, 1)
            start = (place - 1) * size
        else:
            start = offset if self.dialect == "row" else offset // size * size
            place = start // size + 1
        if self.repeats_last and start >= len(self.items) and self.items:
            place = -(-len(self.items) // size)
            start = (place - 1) * size
        items = tuple(self.items[start : start + size])
        return Page(
            items=items,
            count=self.count(self, items),
            page_index=place if self.echo else None,
            page_size=size if self.echo else None,
            offset=offset,
            limit=limit,
        )


def identity(item: Item) -> Hashable | None:
    """Return what tells an item from the others, or None."""
    return item.get("id")


def pager_of(
    model: ModelList,
    *,
    page_size: int = 10,
    prefetch: int = 0,
    max_items: int | None = None,
    dialect: OffsetDialect = "auto",
    cache: OffsetCache | None = None,
    expects_count: bool = True,
    fetch: Any = None,
    **source: Any,
) -> AsyncPager[Item]:
    """Return a pager over the list."""
    listed = ListSource(
        name="model", fetch=fetch or model.fetch, identity=identity, expects_count=expects_count, **source
    )

    async def open_lists() -> Sequence[ListSource[Item]]:
        return (listed,)

    options = PagerOptions(page_size=page_size, prefetch=prefetch, max_items=max_items)
    lists = ListPages(open_lists, options, cache=cache or OffsetCache(FakeClock()), dialect=dialect)
    return AsyncPager(PageReader(lists.next, options))


async def read(pager: AsyncPager[Item]) -> tuple[list[Item], PaginationError | None]:
    """Return all items of a pager, and the error that it ends with, or None."""
    items: list[Item] = []
    try:
        async for item in pager:
            items.append(item)
    except PaginationError as error:
        return items, error
    return items, None
