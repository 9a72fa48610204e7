"""AsyncPager: an async iterator over the items of one list or several, which can be continued after an error."""

from __future__ import annotations

import copy
import itertools
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Generic, NoReturn, Self, TypeVar

import attrs

from coreclaw_async._concurrency.calls import NO_CALL
from coreclaw_async._concurrency.stream import AsyncStream
from coreclaw_async._frames.callers import Caller, caller_here
from coreclaw_async._frames.methods import AsyncFrames
from coreclaw_async._frames.reading import ItemInfo, PageSource
from coreclaw_async._paging.listing import ListSource
from coreclaw_async._paging.offsets import SETTLING_SIZE, OffsetCache, OffsetDialect
from coreclaw_async._wire.request import check_int, check_limit
from coreclaw_async.errors import PaginationError
from coreclaw_async.models import Page

if TYPE_CHECKING:
    # Imported late elsewhere: each group knows pagers, and few programs read pages.
    from coreclaw_async._paging.scan import PageScan

T = TypeVar("T")

_MAX_PREFETCH = 100


@attrs.frozen(kw_only=True, eq=False, repr=False)
class PagerOptions:
    """
    How a pager reads.

    Attributes:
        page_size: Items a page, 1 to 100.
        max_items: Most items in all, 1 or more; None for all.
        prefetch: Pages that are read together with the next one, 0 to 100.
    """

    page_size: int = 100
    max_items: int | None = None
    prefetch: int = 0

    def __attrs_post_init__(self) -> None:
        check_limit(self.page_size, "page_size")
        check_int("prefetch", self.prefetch, lowest=0, highest=_MAX_PREFETCH)
        if self.max_items is not None:
            check_int("max_items", self.max_items, lowest=1)


class ListPages(Generic[T]):
    """
    The pages of one list of the service, or of several, one after another.

    Args:
        open_sources: Returns the lists; called for the first page.
        options: How they are read.
        cache: Remembers what ``offset`` means.
        dialect: What it means, or ``"auto"``.
    """

    def __init__(
        self,
        open_sources: Callable[[], Awaitable[Sequence[ListSource[T]]]],
        options: PagerOptions,
        *,
        cache: OffsetCache,
        dialect: OffsetDialect,
    ) -> None:
        self._open_sources = open_sources
        self._options = options
        self._cache = cache
        self._dialect: OffsetDialect = dialect
        self._sources: deque[ListSource[T]] | None = None
        self._scan: PageScan[T] | None = None

    async def next(self) -> Page[T] | None:
        """Return the next page of the current list, or the first one of the next list that has any."""
        if self._sources is None:
            self._sources = deque(await self._open_sources())
        while True:
            if self._scan is None:
                from coreclaw_async._paging.scan import PageScan

                if not self._sources:
                    return None
                source = self._sources.popleft()
                size = self._options.page_size
                size = size if size >= source.min_probe_size else SETTLING_SIZE
                self._scan = PageScan(
                    source,
                    size=size,
                    cache=self._cache,
                    dialect=self._dialect,
                    prefetch=self._useful_prefetch(size),
                )
            page = await self._scan.next_page()
            if page is not None:
                return page
            self._scan = None

    def _useful_prefetch(self, size: int) -> int:
        """Return how many pages of *size* items to read ahead so that none is read in vain."""
        most = self._options.max_items
        if most is None:
            return self._options.prefetch
        return min(self._options.prefetch, -(-most // size) - 1)


class PageReader(Generic[T]):
    """
    Reads a list page by page, and knows its position.

    Args:
        read_page: Returns the next page of the list, or None after the last.
        options: Size and number of the pages.
        keep: Tells which items are wanted; None for all.
        info: What is known of the items without reading them.

    Attributes:
        items: What is left of the current page.
        is_over: Whether all was asked for, in a loop or in one list, and the end was reached.
        info: As given.
        call: What the event hook is told of the reading; set by the method that returns the pager.
    """

    def __init__(
        self,
        read_page: Callable[[], Awaitable[Page[T] | None]],
        options: PagerOptions,
        *,
        keep: Callable[[T], bool] | None = None,
        info: ItemInfo = ItemInfo(),  # noqa: B008 - it is frozen
    ) -> None:
        self.items: Iterator[T] = iter(())
        self.is_over = False
        self.info = info
        self.call = NO_CALL
        self._read_page = read_page
        self._options = options
        self._keep = keep
        self._cut: deque[Page[T]] = deque()
        self._page: Page[T] | None = None
        self._is_reading = False
        self._has_ended = False
        self._taken_by: str | None = None
        self._left = options.max_items

    async def turn(self) -> bool:
        """Make the next page the current one; return whether there was one."""
        if self._is_reading:
            raise RuntimeError("this pager is being read by another task; give each task its own pager")
        self._is_reading = True
        try:
            with self.call:
                page = await self._read_next_page()
        except BaseException:
            self.call.interrupt()
            raise
        finally:
            self._is_reading = False
        if page is None:
            self._has_ended = True
            self.call.end()
            return False
        self._page = page
        self.items = iter(page.items)
        return True

    def begin(self) -> None:
        """
        Check that there can be something to iterate over; a second iteration would silently give nothing.

        Raises:
            RuntimeError: All was read before.
        """
        if self.is_over:
            raise RuntimeError(
                "this pager was read to its end, and nothing is left: keep the list that collect() returned, or call "
                "the method again for a new pager"
            )

    def take_rest(self) -> Page[T] | None:
        """Return the rest of the current page, or None."""
        page, self._page = self._page, None
        left = tuple(self.items)
        self.items = iter(())
        if not left:
            return None
        return Page(items=left) if page is None else attrs.evolve(page, items=left)

    def put_back(self, items: Sequence[T]) -> None:
        """Put items back that were taken last."""
        self.items = itertools.chain(items, self.items)

    def hand_over(self, method: str) -> Self:
        """
        Return a reader of the rest, for *method*; this one reads nothing from then on.

        Raises:
            RuntimeError: The rest has been read, or is being read.
        """
        if self._is_reading:
            raise RuntimeError("this pager is being read by another task; give each task its own pager")
        if self._taken_by is not None:
            self._refuse(self._taken_by)
        if self._has_ended:
            raise RuntimeError(f"this pager has been read to its end: {method}() needs a new one")
        rest = copy.copy(self)

        async def refuse() -> Page[T] | None:
            self._refuse(method)

        self.items, self._page, self._cut, self._left = iter(()), None, deque(), None
        self._read_page = refuse
        self._taken_by = method
        return rest

    @staticmethod
    def _refuse(method: str) -> NoReturn:
        raise RuntimeError(f"{method}() has read this pager, as far as it came: make a new one to read its items")

    async def _read_next_page(self) -> Page[T] | None:
        if self._left == 0:
            return None
        while not self._cut:
            page = await self._read_page()
            if page is None:
                return None
            self._cut.extend(self._fit(page))
        page = self._cut.popleft()
        if self._left is not None:
            if len(page.items) > self._left:
                page = attrs.evolve(page, items=page.items[: self._left])
            self._left -= len(page.items)
        return page

    def _fit(self, page: Page[T]) -> list[Page[T]]:
        """Return the wanted items of *page*, in pages of the size that was asked for."""
        items = page.items if self._keep is None else tuple(item for item in page.items if self._keep(item))
        size = self._options.page_size
        if len(items) == len(page.items) <= size:
            return [page]
        return [attrs.evolve(page, items=items[start : start + size]) for start in range(0, len(items), size)]


class AsyncPager(AsyncFrames, AsyncIterator[T], Generic[T]):
    """
    An async iterator over the items of a list, read page by page.

    It reads the list correctly under all three meanings that the service's ``offset`` has had, or it raises
    `PaginationError`; it never passes off a short list as complete. Items that others insert meanwhile shift the rest,
    but none is returned twice.

    Nothing is read before the first item is asked for, and nothing runs in the background: with ``prefetch`` several
    pages are read at the same time while the next item is awaited. After an error, iterating again continues where it
    stopped. Once all was read, iterating again is a RuntimeError.

    Example::

        rows = client.runs.iterate_results(run, page_size=100)
        async for row in rows:
            print(row)
    """

    # Not an async generator: an abandoned one is cleaned up at an unknown time, and trio warns about it.

    def __init__(self, reader: PageReader[T], made_at: Caller | None = None) -> None:
        self._reader = reader
        self._made_at = made_at or caller_here()

    def __aiter__(self) -> Self:
        self._reader.begin()
        return self

    async def __anext__(self) -> T:
        reader = self._reader
        while True:
            for item in reader.items:
                return item
            if not await reader.turn():
                reader.is_over = True
                raise StopAsyncIteration

    def pages(self) -> AsyncIterator[Page[T]]:
        """
        Return an iterator over pages, starting with what is left of the current one; not after the end.

        Example::

            async for page in client.runs.iterate_results(run).pages():
                print(len(page), "of", page.count)
        """
        self._reader.begin()
        return AsyncStream(self._next_of_all_pages)

    async def _next_of_all_pages(self) -> Page[T] | None:
        page = await self.next_page()
        self._reader.is_over = page is None
        return page

    async def next_page(self) -> Page[T] | None:
        """
        Return the rest of the current page or, if there is none, the next page; None after the last.

        Raises:
            PaginationError: The pages that came do not add up to one list.

        Example::

            rows = client.runs.iterate_results(run)
            while (page := await rows.next_page()) is not None:
                print(len(page))
        """
        page = self._reader.take_rest()
        if page is None and await self._reader.turn():
            page = self._reader.take_rest()
        return page

    async def collect(self, max_items: int | None = None) -> list[T]:
        """
        Return the remaining items, at most *max_items* of them.

        Args:
            max_items: Most items to return, 1 or more; None for all, which must fit into memory.

        Raises:
            PaginationError: The pages do not add up. Its ``items`` are those collected so far; another call returns
                them again.
            RuntimeError: All items were read before, in a loop or by a call without a limit.

        Example::

            rows = await client.runs.iterate_results(run).collect(10)
        """
        if max_items is not None:
            check_int("max_items", max_items, lowest=1)
        self._reader.begin()
        items: list[T] = []
        try:
            while max_items is None or len(items) < max_items:
                items.append(await anext(self))
        except StopAsyncIteration:
            self._reader.is_over = max_items is None
            return items
        except BaseException as error:
            # The items would be lost with this list; another call returns them again.
            self._reader.put_back(items)
            if isinstance(error, PaginationError):
                error.items = tuple(items)
            raise
        return items

    async def first(self) -> T | None:
        """
        Return the next item, or None when there is none; a RuntimeError when all were read before.

        Raises:
            PaginationError: The pages that came do not add up to one list.
            RuntimeError: All was read before.

        Example::

            row = await client.runs.iterate_results(run).first()
        """
        self._reader.begin()
        item = await anext(self, None)
        self._reader.is_over = False  # One was asked for, and not all.
        return item

    def _hand_over(self, method: str) -> PageSource:
        rest = self._reader.hand_over(method)
        return PageSource(AsyncPager(rest, self._made_at).next_page, rest.info, self._made_at)


def reader_of(pager: AsyncPager[T]) -> PageReader[T]:
    """Return the reader of *pager*, for its blocking twin."""
    return pager._reader  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - callers must not see it
