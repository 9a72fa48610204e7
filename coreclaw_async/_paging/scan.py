"""PageScan: one list to its end, each item once, and an error rather than a short list."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

import attrs

from coreclaw_async._paging.listing import MIN_PROBE_SIZE, ListSource, Nameless, Reading
from coreclaw_async._paging.offsets import (
    SETTLING_SIZE,
    Mode,
    OffsetCache,
    OffsetDialect,
)
from coreclaw_async._paging.plan import PageFetcher
from coreclaw_async._paging.probe import OffsetProbe
from coreclaw_async._paging.seen import Deduplicator, shown_twice
from coreclaw_async._paging.tally import Tally
from coreclaw_async._wire.request import MAX_LIMIT
from coreclaw_async.errors import PaginationError
from coreclaw_async.models import Page

T = TypeVar("T")

_MAX_SWEEPS = 3
_MAX_RECHECKS = 2
_MAX_PAGES_RECHECKED = 4
# Store and own workers, the lists without a count, have hundreds of entries.
_MAX_PAGES_WITHOUT_COUNT = 2_000
_MAX_PAGES_BEYOND = 2


class PageScan(Generic[T]):
    """
    One pass over one list; after an error it goes on where it stood.

    What ``offset`` means is found by `OffsetProbe`, which pages are read next by `PageFetcher`, what of them is new by
    `Deduplicator`, and whether that is all by `Tally`. This class holds the position, and decides what to do where two
    of them contradict each other: look again, at as few pages as will tell, or raise.
    """

    def __init__(
        self, source: ListSource[T], *, size: int, cache: OffsetCache, dialect: OffsetDialect, prefetch: int
    ) -> None:
        self._source = source
        self._fetcher = PageFetcher(source, size, prefetch)
        self._offsets = OffsetProbe(self._fetcher, cache, dialect, self._error)
        self._tally = Tally(source.expects_count, is_in_order=prefetch == 0)
        self._new: Deduplicator[T] = Deduplicator()
        self._first: Reading[T] | None = None
        self._last: Reading[T] | None = None
        self._short: dict[int, Reading[T]] = {}
        self._must_hold: frozenset[Hashable] = frozenset()
        self._is_nameless = False
        self._is_spent = False
        self._trusts_page_index = True
        self._accepts_repeats = False
        self._known_until = 0
        self._stood_at: Reading[T] | None = None
        self._reset_patience()
        self.is_over = False

    async def next_page(self) -> Page[T] | None:
        """Return the next page, with those of its items that are new, or None after the last one."""
        try:
            while not self.is_over:
                page = await self._step()
                if page is not None and page.items:
                    return page
        except PaginationError:
            self._reset_patience()
            raise
        return None

    async def _step(self) -> Page[T] | None:
        if self._last is None:
            return await self._begin()
        if self._is_at_end(self._last):
            return await self._finish()
        mode = self._offsets.mode
        reading = None if mode is None else await self._fetcher.next(self._last.number + 1, mode, self._tally.count)
        try:
            return await (self._settle() if reading is None else self._accept(reading))
        except BaseException:
            self._fetcher.drop()  # The page at hand was not taken; what was read ahead may be as wrong.
            raise

    async def _begin(self) -> Page[T]:
        reading = await self._offsets.first_page(self._tally.count)
        told = reading.page.page_size
        if told and told <= MAX_LIMIT:
            self._fetcher.size = told
        elif self._may_be_cut(reading):
            reading = await self._look_for_cut(reading)
        if reading.count is None and not self._known_until:
            self._offsets.mode = None  # Nothing else would show that it was pinned to the wrong one.
        return self._deliver(reading)

    async def _look_for_cut(self, reading: Reading[T]) -> Reading[T]:
        """Step by what page 1 holds where the service cuts the limit without saying so; return page 1."""
        found = len(reading.page.items)
        if reading.count is not None:  # It may as well be behind its count, as replicas are.
            again = await self._offsets.first_page(self._tally.count)
            if len(again.page.items) != found:
                return max(reading, again, key=lambda look: len(look.page.items))
        # Stepping by the limit would skip what was cut off.
        self._fetcher.size = found
        return reading

    def _may_be_cut(self, reading: Reading[T]) -> bool:
        """Whether a first page that is not full may not be the last one."""
        found = len(reading.page.items)
        if reading.count is None:  # No service would cut pages to fewer than these.
            return SETTLING_SIZE <= found < self._fetcher.size
        return MIN_PROBE_SIZE <= found < min(self._fetcher.size, reading.count)

    async def _settle(self) -> Page[T] | None:
        """Find out how the second page is asked for, which reads it in the mode that production uses now."""
        first, offsets, count = self._first, self._offsets, self._tally.count
        assert first is not None, "the first page was read"
        if offsets.cached is Mode.ROW and count is not None and not self._is_nameless:
            offsets.mode = Mode.ROW  # The count will tell if it has changed.
            return None
        if offsets.cached is Mode.PAGE:
            second = await self._fetcher.next(2, Mode.PAGE, count)
        else:
            second = await offsets.second_answer(count)
        is_settled = await offsets.settle(first, second)
        if offsets.mode is Mode.PAGE:
            return self._deliver(second)
        self._fetcher.drop()
        if not is_settled:
            return self._deliver_again(first, await offsets.first_page(count))
        self._must_hold = frozenset(second.keys) - frozenset(first.keys)
        return None

    async def _accept(self, reading: Reading[T]) -> Page[T] | None:
        """Take the next page, unless something says that it is another one."""
        if self._is_nameless and reading.page.count != self._tally.count:
            await self._check_unmoved(self._last)
            if self._fetcher.prefetch:  # It may have been read before the page in front of it.
                await self._check_unmoved(reading)
        doubt = self._doubt_about(reading)
        if doubt is not None:
            if await self._offsets.has_changed(doubt, self._tally.count):
                if self._is_nameless:
                    raise self._error("the meaning of offset changed while items were read that nothing tells apart")
                self._restart()
                return None
            self._trusts_page_index = reading.page.page_index in {None, reading.number}
            self._accepts_repeats = True
            if not self._is_nameless and self._repeats_last(reading):
                raise self._error(f"page {reading.number} repeats the page before it")
        self._must_hold = frozenset()
        return self._deliver(reading)

    def _doubt_about(self, reading: Reading[T]) -> str | None:
        """Return why the answer may not be the page that was asked for, or None."""
        number, page = reading.number, reading.page
        is_beyond = self._is_beyond(reading)
        if is_beyond and (self._repeats_last(reading) or not page.items):
            return None  # Nothing is there, and some services show the last page again.
        if self._trusts_page_index and page.page_index is not None and page.page_index != number:
            return f"page {number} came as page {page.page_index}"
        if not page.items:
            # Without a count, a full page and nothing after it may also be the wrong offset.
            is_odd = self._last_was_full() if self._tally.count is None else self._tally.may_lack
            return f"page {number} is empty" if is_odd else None
        if self._must_hold and self._must_hold.isdisjoint(reading.keys):
            return f"page {number} does not continue the rows seen before"
        if not self._is_nameless:
            is_new_to_us = number > self._known_until and self._tally.may_lack and reading.has_names
            has_new = any(key not in self._new.seen for key in reading.keys if not isinstance(key, Nameless))
            return f"page {number} holds nothing new" if is_new_to_us and not has_new else None
        if self._offsets.mode is Mode.PAGE and not self._accepts_repeats:
            by_rows = (number, number // self._fetcher.size * self._fetcher.size)
            if any(self._new.seen.began_with(start, reading.keys) for start in by_rows):
                return f"page {number} came before"
        return None

    def _is_beyond(self, reading: Reading[T]) -> bool:
        return self._tally.is_beyond(reading.number, self._fetcher.size, reading.count)

    def _repeats_last(self, reading: Reading[T]) -> bool:
        return bool(reading.keys) and self._last is not None and reading.keys == self._last.keys

    def _last_was_full(self) -> bool:
        return self._last is not None and len(self._last.page.items) >= self._fetcher.size

    async def _check_unmoved(self, before: Reading[T] | None) -> None:
        """Raise when a page is not what it was: without identities nobody could tell what came twice."""
        assert before is not None, "a page was read"
        self._must_begin_like(before, await self._read_again(before.number))

    def _must_begin_like(self, before: Reading[T], reading: Reading[T]) -> None:
        if list(reading.keys[: len(before.keys)]) != list(before.keys):
            raise self._error("items that nothing tells apart have moved while the list was read")

    async def _read_again(self, number: int) -> Reading[T]:
        return await self._fetcher.page(number, self._offsets.mode or Mode.PAGE, self._tally.count)

    def _deliver(self, reading: Reading[T]) -> Page[T]:
        """Take *reading* as the next page and return it with its new items only."""
        self._judge(reading)
        self._tally.note(reading.count, reading.known_count)
        is_beyond = self._is_beyond(reading)
        items: Sequence[T] = ()
        # A service may repeat the last page beyond the end; what nothing tells apart is known by being all alike.
        if not (is_beyond and self._repeats_last(reading)):
            if self._is_nameless:
                items = self._new.take_all(reading)
            else:
                items = self._new.take(reading, has_moved=self._tally.has_changed)
        self._is_spent = is_beyond and not items
        self._last = reading
        return self._hand_out(reading, items)

    def _deliver_again(self, before: Reading[T], reading: Reading[T]) -> Page[T]:
        """Take a page that was read before and return what is new on it."""
        self._judge(reading)
        if self._is_nameless:
            self._must_begin_like(before, reading)
            items = self._new.take_all(reading, known=len(before.keys))
        else:
            items = self._new.take(reading, has_moved=True)
        self._tally.note(reading.count, reading.known_count)
        if self._last is not None and self._last.number == reading.number:
            self._last = reading
            self._is_spent = self._is_spent and not items
        return self._hand_out(reading, items)

    def _judge(self, reading: Reading[T]) -> None:
        """Decide whether the list has identities; an empty page does not tell, so the first that has items does."""
        if not self._tally.delivered:
            self._is_nameless = bool(reading.keys) and not reading.has_names

    def _hand_out(self, reading: Reading[T], items: Sequence[T]) -> Page[T]:
        page = reading.page
        if reading.number == 1:
            self._first = reading
        if len(page.items) < self._fetcher.size:
            self._short[reading.number] = reading
        else:
            self._short.pop(reading.number, None)
        self._tally.add(len(items))
        return page if len(items) == len(page.items) else attrs.evolve(page, items=tuple(items))

    def _is_at_end(self, last: Reading[T]) -> bool:
        """Whether no page comes after *last*."""
        found, size, count = len(last.page.items), self._fetcher.size, self._tally.count
        if self._stood_at is not None and self._tally.has_all:
            return True  # The list was gone through again for what was missing, and that has come.
        if count is None:
            if last.number > _MAX_PAGES_WITHOUT_COUNT:
                raise self._error("the list does not end")
            # A short page may be one that the service has cut, but none would cut pages to fewer items than these.
            return found == 0 or self._is_spent or found < min(size, SETTLING_SIZE)
        # A full last page is the end only when another one shows that the count is not cut off itself.
        is_far = last.number > count // size + 1 + _MAX_PAGES_BEYOND
        return found == 0 or self._is_spent or is_far or (last.number * size >= count and found < size)

    async def _finish(self) -> Page[T] | None:
        """End the scan, or return what was missing, or begin again for it, or raise."""
        if self._stood_at is not None and self._tally.has_all:
            self._last, self._stood_at = self._stood_at, None
        tally = self._tally
        if not (tally.missing or self._may_have_skipped() or (self._is_nameless and tally.has_surplus)):
            return await self._end()
        numbers = self._to_recheck()
        can_recheck = numbers and self._rechecks < _MAX_RECHECKS
        has_moved = self._may_have_skipped() or self._new.spares
        is_at_the_end = not has_moved and not (can_recheck and self._lacks_earlier(numbers))
        if is_at_the_end and await self._goes_on_or_was_missed():
            return await self._recheck_after_wait()
        if can_recheck:
            return await self._recheck(numbers)
        if self._can_sweep():
            self._sweeps += 1
            # Items that were only added may all come early; what moved for another reason was skipped anywhere.
            is_growth = not self._may_have_skipped() and len(self._new.spares) <= tally.growth
            stood_at = self._last if is_growth else None
            self._restart()
            self._stood_at = stood_at
            return None
        return await self._wait_or_fail()

    async def _end(self) -> Page[T] | None:
        """Look once more where the count tells nothing, and be over unless more may come."""
        assert self._first is not None, "the first page was read"
        assert self._last is not None, "a page was read"
        is_long = self._last.number > 1
        if self._is_nameless and is_long:
            await self._check_unmoved(self._first)
        if (
            is_long
            and self._offsets.mode is Mode.ROW
            and self._tally.count is None
            and await self._offsets.has_changed("the list ends", self._tally.count)
        ):
            # By rows in place of pages, most of it was left out, and no count tells.
            self._restart()
            return None
        if self._tally.count is None:
            # Two items of one page that differ are two, whatever their identity; what is equal may have moved here.
            spares = self._new.take_spares([spare for spare in self._new.spares if spare.differs])
            if spares:
                self._tally.add(len(spares))
                return attrs.evolve(self._last.page, items=spares)
        if await self._goes_on():
            self._offsets.begin_again()  # The waits bound what is doubted at each of these ends.
            return await self._recheck([self._last.number])
        self.is_over = True
        return None

    async def _goes_on(self) -> bool:
        return self._source.goes_on is not None and await self._source.goes_on(self._tally.delivered)

    def _lacks_earlier(self, numbers: Sequence[int]) -> bool:
        """Whether a page is short that stands before the last two, of which the last may be empty."""
        assert self._last is not None, "a page was read"
        return numbers[0] < self._last.number - 1

    async def _goes_on_or_was_missed(self) -> bool:
        """Wait for what is missing; return False when that was all, or was in vain and there is another way."""
        try:
            return await self._goes_on()
        except PaginationError:
            if not self._can_sweep():
                raise
            return False

    def _may_have_skipped(self) -> bool:
        return self._tally.has_shrunk if self._is_nameless else self._tally.may_have_skipped

    def _to_recheck(self) -> list[int]:
        """Return the few pages that may tell where the missing items are, or none."""
        missing, size, count = self._tally.missing, self._fetcher.size, self._tally.count or 0
        if self._is_nameless and (self._may_have_skipped() or self._tally.has_surplus):
            return []
        short = {n for n, reading in self._short.items() if len(reading.keys) < min(size, count - (n - 1) * size)}
        if len(self._new.spares) == missing:
            short.update(number for spare in self._new.spares for number in spare.pages)
        return sorted(short) if 0 < len(short) <= _MAX_PAGES_RECHECKED else []

    async def _recheck(self, numbers: Sequence[int]) -> Page[T]:
        """Read some pages once more and return what is new on them, or the items that share an identity."""
        pairs: list[tuple[Reading[T], Reading[T]]] = []
        for number in numbers:
            before = self._short.get(number, self._last)
            assert before is not None, "a page was read"
            reading = await self._read_again(number)
            if self._is_nameless:  # Before any is taken: what one has brought would be lost with the error of another.
                self._must_begin_like(before, reading)
            pairs.append((before, reading))
        self._rechecks += 1
        readings = [reading for _, reading in pairs]
        spares = tuple(self._new.spares)
        items: list[T] = []
        for before, reading in pairs:
            items.extend(self._deliver_again(before, reading).items)
        if spares and not items and len(spares) == self._tally.missing and shown_twice(spares, readings):
            items.extend(self._new.take_spares(self._new.spares))
            self._tally.add(len(items))
        if items:
            self._reset_patience()
        return attrs.evolve(readings[-1].page, items=tuple(items))

    def _can_sweep(self) -> bool:
        """Whether going through the list again can bring what is missing: only where something has moved."""
        has_moved = self._may_have_skipped() or self._tally.has_changed or self._new.spares or self._known_until
        is_remembered = not self._is_nameless and self._new.seen.is_whole
        return bool(has_moved) and is_remembered and self._sweeps < _MAX_SWEEPS

    async def _wait_or_fail(self) -> Page[T]:
        if await self._goes_on():
            return await self._recheck_after_wait()  # pragma: no cover - too long to be gone through again, and late
        has_left = self._may_have_skipped()
        raise self._error("items left the list while it was read" if has_left else "the pages do not add up")

    async def _recheck_after_wait(self) -> Page[T]:
        assert self._last is not None, "a page was read"
        self._reset_patience()
        return await self._recheck(self._to_recheck() or [self._last.number])

    def _restart(self) -> None:
        """Go through the list again; what was handed out already is left out."""
        assert self._last is not None, "a page was read"
        self._known_until = max(self._known_until, self._last.number)
        self._last = None
        self._stood_at = None
        self._is_spent = False
        self._must_hold = frozenset()
        self._short.clear()
        self._fetcher.drop()
        self._tally.begin_sweep()
        self._new.begin_sweep()

    def _reset_patience(self) -> None:
        """Allow as many further looks as at the beginning."""
        self._offsets.begin_again()
        self._rechecks = 0
        self._sweeps = 0

    def _error(self, reason: str) -> PaginationError:
        delivered, count = self._tally.delivered, self._tally.count
        counted = "" if count is None else f" of {count}"
        return PaginationError(
            f"{self._source.name}: {reason}; {delivered}{counted} items were read before",
            collected=delivered,
            expected=count,
            run_id=self._source.run_id,
        )
