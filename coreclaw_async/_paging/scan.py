"""Reading one list to its end: the right offsets, no item twice, and an error rather than a short list."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

import anyio
import attrs

from coreclaw_async._paging.listing import ListSource
from coreclaw_async._paging.offsets import (
    MIN_TELLING_SIZE,
    PROBE_OFFSET,
    SETTLING_SIZE,
    Mode,
    OffsetCache,
    OffsetDialect,
    possible_modes,
)
from coreclaw_async._paging.seen import SeenKeys
from coreclaw_async._wire.request import MAX_LIMIT
from coreclaw_async.errors import CoreClawError, PaginationError
from coreclaw_async.models import Page

T = TypeVar("T")

_MAX_DOUBTS = 5
_MAX_SWEEPS = 3
# Store and own workers, the lists without a count, have hundreds of entries.
_MAX_PAGES_WITHOUT_COUNT = 2_000


@attrs.define
class _Reading(Generic[T]):
    """A page that was read, with what tells its items apart."""

    page: Page[T]
    keys: list[Hashable]


class PageScan(Generic[T]):
    """One pass over one list; after an error it goes on where it stood."""

    def __init__(
        self, listing: ListSource[T], *, size: int, memory: OffsetCache, dialect: OffsetDialect, prefetch: int
    ) -> None:
        self._listing = listing
        self._size = size if size >= listing.min_probe_size else SETTLING_SIZE
        self._memory = memory
        self._pinned = None if dialect == "auto" else Mode(dialect)
        self._mode = self._pinned
        self._prefetch = prefetch
        self._ahead: deque[tuple[int, Page[T] | CoreClawError]] = deque()
        self._seen = SeenKeys()
        self._first: _Reading[T] | None = None
        self._last: _Reading[T] | None = None
        self._must_hold: frozenset[Hashable] = frozenset()
        self._number = 0
        self._delivered = 0
        self._count: int | None = None
        self._lowest_count: int | None = None
        self._highest_count = 0
        self._counts_are_wrong = False
        self._known_until = 0
        self._has_identity = True
        self._has_shrunk = False
        self._is_spent = False
        self._trusts_page_index = True
        self._accepts_repeats = False
        self._doubts = 0
        self._sweeps = 0
        self.is_over = False

    async def next_page(self) -> Page[T] | None:
        """Return the next page, with those of its items that are new, or None after the last one."""
        while not self.is_over:
            page = await self._step()
            if page is not None and page.items:
                return page
        return None

    async def _step(self) -> Page[T] | None:
        if self._number == 0:
            return await self._begin()
        if self._is_at_end():
            self._finish()
            return None
        try:
            if self._mode is None:
                return await self._settle()
            return await self._accept(*await self._read_next())
        except BaseException:
            self._ahead.clear()  # The page at hand was not taken; what was read ahead of it comes after it.
            raise

    async def _begin(self) -> Page[T]:
        reading = self._look_at(await self._fetch(0))
        page = reading.page
        if page.page_size and page.page_size != self._size and page.page_size <= MAX_LIMIT:
            self._size = page.page_size
        elif len(page.items) < self._size and self._may_be_cut(page):
            # A service that cuts the limit without saying so; stepping by the limit would skip what it cut off.
            self._size = len(page.items)
        self._first = reading
        if self._believable(page) is None and self._number == 0 and not self._known_until:
            self._mode = None  # Nothing else would show that it was pinned to the wrong one.
        return self._deliver(1, reading)

    def _may_be_cut(self, page: Page[T]) -> bool:
        """Whether a first page that is not full may not be the last one."""
        count = self._believable(page)
        if count is None:  # No service would cut pages to fewer than these.
            return len(page.items) >= SETTLING_SIZE
        return 0 < len(page.items) < count

    @staticmethod
    def _believable(page: Page[T]) -> int | None:
        """Return the count of *page*, unless it cannot be right: 0 may mean "not set" (contract, models)."""
        return page.count if page.count is not None and page.count >= len(page.items) else None

    async def _settle(self) -> Page[T] | None:
        """Find out how the second page is asked for, which reads it in the mode that production uses now."""
        first = self._first
        assert first is not None
        if self._memory.mode is Mode.ROW and self._count is not None and self._has_identity:
            self._mode = Mode.ROW  # The count will tell if it has changed.
            return None
        if self._memory.mode is Mode.PAGE and self._pages_ahead(2) > 1:
            await self._read_ahead(Mode.PAGE, 2)
            probe = self._look_at(self._take_ahead()[1])
        else:
            probe = self._look_at(await self._fetch(PROBE_OFFSET))
        mode = await self._judge(first, probe)
        if mode is not Mode.PAGE:
            self._ahead.clear()
        if mode is None:
            self._use_up_doubt("the answers to offset 0 and 2 fit no known meaning of offset")
            again = self._look_at(await self._fetch(0))
            if not self._has_identity and again.keys[: len(first.keys)] != first.keys:
                raise self._error("items that nothing tells apart have moved while the list was read")
            self._number = 0 if self._has_identity else 1
            self._first = again
            return None
        self._check_pin(mode, "pages 1 and 2 were read")
        self._mode = mode
        self._memory.keep(mode)
        if mode is Mode.PAGE:
            return self._deliver(2, probe)
        self._must_hold = frozenset(probe.keys) - frozenset(first.keys)
        return None

    async def _judge(self, first: _Reading[T], probe: _Reading[T]) -> Mode | None:
        """Return the mode that two answers prove, or None when they prove none."""
        if self._size < MIN_TELLING_SIZE:
            raise self._error(f"the service cuts pages to {self._size}, which does not tell what offset means")
        count = self._believable(probe.page)
        if not probe.page.items:
            # By rows there would be all but two of the first page's; so it is page 2 of a list of one page.
            return Mode.PAGE if count is None or count <= self._size else None
        before = self._believable(first.page)
        growth = None if count is None or before is None else count - before
        page_index = probe.page.page_index
        if self._has_identity:
            modes = possible_modes(first.keys, probe.keys, size=self._size, growth=growth, has_identity=True)
            if len(modes) == 1:
                return next(iter(modes))
            said = {1: Mode.ROW, 2: Mode.PAGE}.get(page_index or 0)
            return said if said in modes else None
        if growth:
            return None
        modes = possible_modes(first.keys, probe.keys, size=self._size, growth=0, has_identity=False)
        if len(modes) == 1 and page_index in {None, 2}:
            return Mode.PAGE
        if page_index == 1 and Mode.ROW in modes:
            return Mode.ROW
        return await self._judge_by_length(probe.page)

    async def _judge_by_length(self, page: Page[T]) -> Mode | None:
        """Ask for the last row by its number: as a page number that is far beyond the end."""
        if page.count is None or page.count - 1 <= math.ceil(page.count / self._size):
            return None
        last = await self._fetch(page.count - 1)
        if last.count != page.count:
            return None
        return Mode.ROW if last.items else Mode.PAGE

    async def _read_next(self) -> tuple[int, Page[T]]:
        """Return the next page and its number; read several at once when it is known which there are."""
        assert self._mode is not None
        if not self._ahead:
            number = self._number + 1
            if number == 2 or self._pages_ahead(number) == 1:
                return number, await self._fetch(self._mode.offset(number, self._size))
            await self._read_ahead(self._mode, number)
        return self._take_ahead()

    def _pages_ahead(self, number: int) -> int:
        """Return how many pages may be read at once from *number* on."""
        if self._count is None:
            return 1
        # After a full last page one more is read, to see that it is the last.
        return max(1, min(1 + self._prefetch, self._count // self._size + 1 - number + 1))

    def _take_ahead(self) -> tuple[int, Page[T]]:
        number, page = self._ahead.popleft()
        if isinstance(page, CoreClawError):
            raise page
        return number, page

    async def _read_ahead(self, mode: Mode, first: int) -> None:
        numbers = range(first, first + self._pages_ahead(first))
        pages: dict[int, Page[T] | CoreClawError] = {}

        async def read(number: int) -> None:
            try:
                pages[number] = await self._fetch(mode.offset(number, self._size))
            except CoreClawError as error:  # Raised when its turn comes: the pages before it are whole.
                pages[number] = error

        async with anyio.create_task_group() as group:
            for number in numbers:
                group.start_soon(read, number)
        self._ahead.extend((number, pages[number]) for number in numbers)

    async def _accept(self, number: int, page: Page[T]) -> Page[T] | None:
        reading = self._look_at(page)
        if not self._has_identity and page.count != self._count:
            await self._check_unmoved()
        doubt = self._doubt_about(number, reading)
        if doubt is not None:
            if await self._has_changed_mode(doubt):
                if not self._has_identity:
                    raise self._error("the meaning of offset changed while items were read that nothing tells apart")
                self._restart()
                return None
            self._trusts_page_index = page.page_index in {None, number}
            self._accepts_repeats = True
            if self._has_identity and reading.keys and self._last is not None and reading.keys == self._last.keys:
                raise self._error(f"page {number} repeats the page before it")
        self._must_hold = frozenset()
        return self._deliver(number, reading)

    def _doubt_about(self, number: int, reading: _Reading[T]) -> str | None:
        """Return why the answer may not be page *number*, or None."""
        page = reading.page
        if self._trusts_page_index and page.page_index is not None and page.page_index != number:
            return f"page {number} came as page {page.page_index}"
        if not page.items:
            # Without a count, a full page and nothing after it may also be the wrong offset.
            is_odd = self._lacks_items() if self._count is not None else self._last_was_full()
            return f"page {number} is empty" if is_odd else None
        if self._must_hold and self._must_hold.isdisjoint(reading.keys):
            return f"page {number} does not continue the rows seen before"
        if self._has_identity:
            is_new_to_us = number > self._known_until and self._lacks_items()
            has_new = any(key not in self._seen for key in reading.keys)
            return f"page {number} holds nothing new" if is_new_to_us and not has_new else None
        if self._mode is Mode.PAGE and not self._accepts_repeats:
            by_rows = (number, number // self._size * self._size)
            if any(self._seen.began_with(start, reading.keys) for start in by_rows):
                return f"page {number} came before"
        return None

    def _last_was_full(self) -> bool:
        return self._last is not None and len(self._last.page.items) >= self._size

    async def _has_changed_mode(self, doubt: str) -> bool:
        """Read the first two pages again and say if ``offset`` means something else now."""
        self._use_up_doubt(doubt)
        self._memory.forget()
        self._ahead.clear()
        first = self._look_at(await self._fetch(0))
        probe = self._look_at(await self._fetch(PROBE_OFFSET))
        mode = await self._judge(first, probe)
        if mode is None:
            return False
        self._check_pin(mode, doubt)
        self._memory.keep(mode)
        has_changed = mode is not self._mode
        self._mode = mode
        return has_changed

    def _check_pin(self, mode: Mode, reason: str) -> None:
        if self._pinned is not None and mode is not self._pinned:
            raise self._error(f"{reason}, and offset does not mean what it was pinned to")

    async def _check_unmoved(self) -> None:
        """Raise when the page before is not what it was: without identities nobody could tell what came twice."""
        assert self._last is not None
        mode = self._mode or Mode.PAGE
        again = self._look_at(await self._fetch(mode.offset(self._number, self._size)))
        if again.keys[: len(self._last.keys)] != self._last.keys:
            raise self._error("items that nothing tells apart have moved while the list was read")

    def _look_at(self, page: Page[T]) -> _Reading[T]:
        keys = [self._listing.identity(item) for item in page.items]
        if None in keys:
            self._has_identity = False
            keys = [
                json.dumps(i, sort_keys=True, default=repr) if k is None else k
                for i, k in zip(page.items, keys, strict=True)
            ]
        return _Reading(page, keys)

    def _deliver(self, number: int, reading: _Reading[T]) -> Page[T]:
        """Take *reading* as page *number* and return it with its new items only."""
        page = reading.page
        self._take_note_of(None if self._counts_are_wrong else self._believable(page))
        # A service may repeat the last page beyond the end; what nothing tells apart is known by being all alike.
        is_beyond = self._count is not None and (number - 1) * self._size >= self._count
        is_repeated = is_beyond and self._last is not None and reading.keys == self._last.keys
        items: Sequence[T] = ()
        if not is_repeated:
            items = self._new_items(reading)
        self._is_spent = is_beyond and not items
        self._number = number
        self._last = reading
        self._delivered += len(items)
        if self._count is not None and self._delivered > self._highest_count == self._lowest_count:
            self._counts_are_wrong = True  # More than ever were there: it counts a page, or is cut off itself.
            self._take_note_of(None)
        return page if len(items) == len(page.items) else attrs.evolve(page, items=tuple(items))

    def _new_items(self, reading: _Reading[T]) -> Sequence[T]:
        """Return the items of *reading* that were not delivered before, and remember all."""
        page = reading.page
        if not self._has_identity or self._seen.has_none_of(reading.keys):
            self._seen.extend(reading.keys)
            return page.items
        items: list[T] = []
        for item, key in zip(page.items, reading.keys, strict=True):
            if key not in self._seen:
                self._seen.add(key)
                items.append(item)
        return items

    def _take_note_of(self, count: int | None) -> None:
        if count is None:  # Never told, or told wrong once: then it is no measure any more.
            self._count = self._lowest_count = None
        else:
            self._has_shrunk = self._has_shrunk or (self._count is not None and count < self._count)
            self._count = count
            self._highest_count = max(count, self._highest_count)
            self._lowest_count = count if self._lowest_count is None else min(count, self._lowest_count)

    def _is_at_end(self) -> bool:
        assert self._last is not None
        found = len(self._last.page.items)
        if self._count is None:
            if self._number > _MAX_PAGES_WITHOUT_COUNT:
                raise self._error("the list does not end")
            # A short page may be one that the service has cut, but none would cut pages to fewer items than these.
            return found == 0 or self._is_spent or found < min(self._size, SETTLING_SIZE)
        # A full last page is the end only when another one shows that the count is not cut off itself.
        return found == 0 or self._is_spent or (self._number * self._size >= self._count and found < self._size)

    def _lacks_items(self) -> bool:
        if self._count is None:
            return True
        return self._delivered < ((self._count if self._listing.expects_count else self._lowest_count) or 0)

    def _finish(self) -> None:
        """End the walk, or begin again for what is missing, or raise."""
        if self._count is not None:
            is_short = self._lacks_items()
            is_long = not self._has_identity and self._delivered > self._count
            if is_short or is_long or self._has_shrunk:
                self._sweeps += 1
                if self._sweeps > _MAX_SWEEPS or not self._has_identity or not self._seen.is_whole:
                    what = "items left the list while it was read" if self._has_shrunk else "the pages do not add up"
                    raise self._error(what)
                if is_short and self._pinned is None:
                    self._memory.forget()
                    self._mode = None
                self._restart()
                return
        self.is_over = True

    def _restart(self) -> None:
        """Go through the list again; what was handed out already is left out."""
        self._known_until = max(self._known_until, self._number)
        self._number = 0
        self._is_spent = False
        self._has_shrunk = False
        self._must_hold = frozenset()
        self._ahead.clear()

    def _use_up_doubt(self, reason: str) -> None:
        self._doubts += 1
        if self._doubts > _MAX_DOUBTS:
            raise self._error(reason)

    async def _fetch(self, offset: int) -> Page[T]:
        return await self._listing.fetch(offset, self._size)

    def _error(self, reason: str) -> PaginationError:
        counted = "" if self._count is None else f" of {self._count}"
        return PaginationError(
            f"{self._listing.name}: {reason}; {self._delivered}{counted} items were read before",
            collected=self._delivered,
            expected=self._count,
            run_id=self._listing.run_id,
        )
