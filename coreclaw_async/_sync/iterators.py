"""Pager and Stream: the blocking twins of the async iterators, with one call on the loop for each page or item."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, Self, TypeVar

from coreclaw_async._concurrency.stream import AsyncStream
from coreclaw_async._paging.pager import AsyncPager, PageReader, reader_of
from coreclaw_async._sync.generated_frames import Frames
from coreclaw_async._sync.runtime import Bridge
from coreclaw_async._wire.request import check_int
from coreclaw_async.errors import PaginationError
from coreclaw_async.models import Page

T = TypeVar("T")


class Pager(Frames, Iterator[T], Generic[T]):
    """
    An iterator over the items of a list, read page by page.

    It is right under all three meanings that the service's ``offset`` has had, or it raises `PaginationError`; a short
    list is never passed off as a whole one. When items are inserted while it reads, none is returned twice.

    Nothing is read before the first item is requested, and nothing runs in the background. After an error or Ctrl-C it
    keeps its place, so iterating again continues there. Once all was read, iterating again is a RuntimeError.

    Example::

        rows = client.runs.iterate_results(run, page_size=100)
        for row in rows:
            print(row)
    """

    def __init__(self, bridge: Bridge, pager: AsyncPager[T]) -> None:
        super().__init__(pager, bridge)
        # The loop keeps the items of a page there, so that an interrupt between two lines here loses none.
        self._reader = reader_of(pager)

    def __iter__(self) -> Self:
        self._reader.begin()
        return self

    def __next__(self) -> T:
        reader = self._reader
        while True:
            for item in reader.items:
                return item
            if not self._bridge.run(reader.turn).result():
                reader.is_over = True
                raise StopIteration

    def pages(self) -> Iterator[Page[T]]:
        """
        Return an iterator over pages, starting with what is left of the current one; not after the end.

        Example::

            for page in client.runs.iterate_results(run).pages():
                print(len(page), "of", page.count)
        """
        self._reader.begin()
        return _Pages(self, self._reader)

    def next_page(self) -> Page[T] | None:
        """
        Return the rest of the current page or, if there is none, the next page; None after the last.

        Raises:
            PaginationError: The pages that came do not add up to one list.

        Example::

            rows = client.runs.iterate_results(run)
            while (page := rows.next_page()) is not None:
                print(len(page))
        """
        page = self._reader.take_rest()
        if page is None and self._bridge.run(self._reader.turn).result():
            page = self._reader.take_rest()
        return page

    def collect(self, max_items: int | None = None) -> list[T]:
        """
        Return the remaining items, at most *max_items* of them.

        Args:
            max_items: Most items to return, 1 or more; None for all, which must fit into memory.

        Raises:
            PaginationError: The pages do not add up. Its ``items`` are those collected so far; another call returns
                them again.
            RuntimeError: All items were read before, in a loop or by a call without a limit.

        Example::

            rows = client.runs.iterate_results(run).collect(10)
        """
        if max_items is not None:
            check_int("max_items", max_items, lowest=1)
        self._reader.begin()
        items: list[T] = []
        try:
            while max_items is None or len(items) < max_items:
                items.append(next(self))
        except StopIteration:
            self._reader.is_over = max_items is None
            return items
        except BaseException as error:
            # The items would be lost with this list; the next call returns them.
            self._reader.put_back(items)
            if isinstance(error, PaginationError):
                error.items = tuple(items)
            raise
        return items

    def first(self) -> T | None:
        """
        Return the next item, or None when there is none; a RuntimeError when all were read before.

        Raises:
            PaginationError: The pages that came do not add up to one list.
            RuntimeError: All was read before.

        Example::

            row = client.runs.iterate_results(run).first()
        """
        self._reader.begin()
        item = next(self, None)
        self._reader.is_over = False  # One was asked for, and not all.
        return item


class _Pages(Iterator[Page[T]]):
    """The pages of a pager, one after another."""

    def __init__(self, pager: Pager[T], reader: PageReader[T]) -> None:
        self._pager = pager
        self._reader = reader

    def __next__(self) -> Page[T]:
        page = self._pager.next_page()
        if page is None:
            self._reader.is_over = True
            raise StopIteration
        return page


class Stream(Iterator[T], Generic[T]):
    """
    An iterator over items as they arrive: ``for item in stream``.

    Nothing runs between two items, so leaving the loop early leaves nothing behind. After an error or Ctrl-C, iterating
    again continues where it stopped. One thread at a time.

    Example::

        for run in client.runs.wait_many([run], timeout=900):
            print(run.status)
    """

    def __init__(self, bridge: Bridge, stream: AsyncStream[T]) -> None:
        self._bridge = bridge
        self._stream = stream
        # Items that arrived and were not returned yet: an interrupt can come between the two.
        self._items: deque[T] = deque()

    def __next__(self) -> T:
        if not self._items and not self._bridge.run(self._advance).result():
            raise StopIteration
        return self._items.popleft()

    async def _advance(self) -> bool:
        async for item in self._stream:
            self._items.append(item)
            return True
        return False
