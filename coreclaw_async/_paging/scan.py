"""PageScan: reads one list to its end, each item once, or raises an error rather than give a short list."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from typing import Generic, TypeVar

import attrs

from coreclaw_async._paging.fetcher import PageFetcher, page_over
from coreclaw_async._paging.listing import MIN_PROBE_SIZE, ListSource, Reading
from coreclaw_async._paging.offsets import Mode, OffsetCache, OffsetDialect
from coreclaw_async._paging.probe import OffsetProbe
from coreclaw_async._paging.scan_state import ScanState
from coreclaw_async._paging.seen import Deduplicator, Spare, shown_twice
from coreclaw_async._paging.tally import Tally
from coreclaw_async._wire.request import MAX_LIMIT
from coreclaw_async.errors import PaginationError
from coreclaw_async.models import Page

T = TypeVar("T")

_MAX_SWEEPS = 3
_MAX_RECHECKS = 2
_LOOKS = 6


class PageScan(Generic[T]):
    """
    Reads one list; after an error it continues where it stopped.

    `OffsetProbe` finds what ``offset`` means, `PageFetcher` reads the next pages, `Deduplicator` picks what is new on
    them, and `Tally` tells whether that is all. `ScanState` holds the position and finds contradictions between them.
    This class decides what to do about a contradiction: read as few pages again as will solve it, or raise.
    """

    def __init__(
        self, source: ListSource[T], *, size: int, cache: OffsetCache, dialect: OffsetDialect, prefetch: int
    ) -> None:
        self._source = source
        self._fetcher = PageFetcher(source, size, prefetch)
        self._tally = Tally(source.expects_count, is_in_order=prefetch == 0)
        self._new: Deduplicator[T] = Deduplicator()
        self._state = ScanState(source, size, self._tally, self._new)
        self._offsets = OffsetProbe(self._fetcher, cache, dialect, self._state.error)
        self._reset_patience()
        self.is_over = False

    async def next_page(self) -> Page[T] | None:
        """Return the next page with its new items, or None after the last one."""
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
        last, mode = self._state.last, self._offsets.mode
        if last is None:
            return await self._begin()
        if self._state.is_at_end(last):
            return await self._finish()
        reading = None if mode is None else await self._fetcher.next(last.number + 1, mode, self._tally.count)
        try:
            return await (self._settle() if reading is None else self._accept(reading))
        except BaseException:
            self._fetcher.drop()  # This page was not accepted; what was read ahead may be wrong too.
            raise

    async def _begin(self) -> Page[T]:
        reading = await self._offsets.first_page(self._tally.count)
        told, found, asked = reading.page.page_size, len(reading.page.items), self._fetcher.size
        if found > asked:
            reading = await self._ask_for_as_many(reading)
        elif told and found <= told <= asked:  # The page itself contradicts any other size.
            self._set_size(told)
        elif self._state.may_be_cut(reading):
            reading = await self._look_for_cut(reading)
        if reading.count is None and not self._state.known_until:
            self._offsets.mode = None  # Without a count, only the probe can show that the wrong meaning was pinned.
        return self._state.deliver(reading)

    def _set_size(self, size: int) -> None:
        self._fetcher.size = self._state.size = size

    async def _ask_for_as_many(self, reading: Reading[T]) -> Reading[T]:
        """Return page 1 in the length that the service gives it whatever was asked for; steps of less would overlap."""
        found = len(reading.page.items)
        if found == reading.count:
            told = reading.page.page_size
            if told and found <= told <= MAX_LIMIT:
                self._set_size(told)
            return reading
        if found <= MAX_LIMIT:
            self._set_size(found)
            reading = await self._offsets.first_page(self._tally.count)
        self._check_length(reading)
        return reading

    def _check_length(self, reading: Reading[T]) -> None:
        """Raise when a page holds more items than were asked for: nobody could tell which page has them too."""
        found, size = len(reading.page.items), self._fetcher.size
        if found > size:
            raise self._state.error(f"page {reading.number} holds {found} items, and {size} were asked for")

    async def _look_for_cut(self, reading: Reading[T]) -> Reading[T]:
        """Find out whether the service cuts pages without saying so, and set the size to theirs; return page 1."""
        found = len(reading.page.items)
        if reading.count is not None:  # The page may also be behind its count, as on a replica.
            again = await self._offsets.first_page(self._tally.count)
            if len(again.page.items) != found:
                return max(reading, again, key=lambda look: len(look.page.items))
        # Steps of the whole limit would skip what was cut off.
        self._set_size(found)
        return reading

    async def _settle(self) -> Page[T] | None:
        """Find out what ``offset`` means; where it is a page number, as in production now, this reads page 2."""
        state, offsets, count = self._state, self._offsets, self._tally.count
        first = state.first
        assert first is not None, "the first page was read"
        if offsets.cached is Mode.ROW and count is not None and not state.is_nameless:
            offsets.mode = Mode.ROW  # The count will tell if that has changed.
            return None
        if offsets.cached is Mode.PAGE:
            second = await self._fetcher.next(2, Mode.PAGE, count)
        else:
            second = await offsets.second_answer(count)
        is_settled = await offsets.settle(first, second)
        if offsets.mode is Mode.PAGE:
            return state.deliver(second)
        self._fetcher.drop()
        if not is_settled:
            return state.deliver_again(first, await offsets.first_page(count))
        state.must_hold = frozenset(second.keys) - frozenset(first.keys)
        return None

    async def _accept(self, reading: Reading[T]) -> Page[T] | None:
        """Accept the next page, unless something shows that it is another one."""
        state = self._state
        if self._offsets.mode is Mode.ROW and (state.is_nameless or self._tally.count is None):
            self._check_length(reading)
        if state.is_nameless and reading.page.count != self._tally.count:
            await self._check_unmoved(state.last)
            if self._fetcher.prefetch:  # It may have been read before the previous page.
                await self._check_unmoved(reading)
        doubt = state.doubt_about(reading, self._offsets.mode)
        if doubt is not None:
            if await self._offsets.has_changed(doubt, self._tally.count):
                if state.is_nameless:
                    raise state.error("the meaning of offset changed while items without an identity were read")
                self._restart()
                return None
            state.trusts_page_index = reading.page.page_index in {None, reading.number}
            state.accepts_repeats = True
            if not state.is_nameless and state.repeats_last(reading):
                raise state.error(f"page {reading.number} repeats the page before it")
        state.must_hold = frozenset()
        return state.deliver(reading)

    async def _check_unmoved(self, before: Reading[T] | None) -> None:
        """Read a page again and raise if it has changed: without identities nobody could tell what came twice."""
        assert before is not None, "a page was read"
        self._state.must_begin_like(before, await self._read_again(before.number))

    async def _read_again(self, number: int) -> Reading[T]:
        return await self._fetcher.page(number, self._offsets.mode or Mode.PAGE, self._tally.count)

    async def _finish(self) -> Page[T] | None:
        """End the scan, or look for what is missing, or raise."""
        state = self._state
        tally = self._tally
        if state.stood_at is not None and tally.has_all:
            state.last, state.stood_at = state.stood_at, None
        if not (tally.missing or state.may_have_skipped() or (state.is_nameless and tally.has_surplus)):
            return await self._end()
        numbers = state.to_recheck()
        can_recheck = numbers and self._rechecks < _MAX_RECHECKS
        has_moved = state.may_have_skipped() or self._new.spares
        is_at_the_end = not has_moved and not (can_recheck and state.lacks_earlier(numbers))
        if is_at_the_end and await self._goes_on_or_was_missed():
            return await self._recheck_after_wait()
        if can_recheck:
            return await self._recheck(numbers)
        if self._can_sweep():
            self._sweeps += 1
            # Items that were only added may all be on early pages; in other cases any page may have been skipped.
            is_growth = not state.may_have_skipped() and len(self._new.spares) <= tally.growth
            stood_at = state.last if is_growth else None
            self._restart()
            state.stood_at = stood_at
            return None
        return await self._wait_or_fail()

    async def _end(self) -> Page[T] | None:
        """Check the end once more where there is no count, and end the scan unless more may come."""
        state = self._state
        assert state.first is not None, "the first page was read"
        assert state.last is not None, "a page was read"
        is_long = state.last.number > 1
        if state.is_nameless and is_long:
            await self._check_unmoved(state.first)
        if (
            is_long
            and self._offsets.mode is Mode.ROW
            and self._tally.count is None
            and await self._offsets.has_changed("the list ends", self._tally.count)
        ):
            # Page numbers were read as rows, so most of the list was left out, and no count shows it.
            self._restart()
            return None
        if self._tally.count is None:
            # Different items of one page are two, even with one identity; equal ones may have moved here.
            spares = self._new.take_spares([spare for spare in self._new.spares if spare.differs])
            if spares:
                self._tally.add(len(spares))
                return attrs.evolve(state.last.page, items=spares)
        if await self._goes_on():
            self._offsets.begin_again()  # The number of waits limits these looks too.
            return await self._recheck([state.last.number])
        self.is_over = True
        return None

    async def _goes_on(self) -> bool:
        return self._source.goes_on is not None and await self._source.goes_on(self._tally.delivered)

    async def _goes_on_or_was_missed(self) -> bool:
        """Wait for what is missing; return False if nothing more comes, or if there is another way to find it."""
        try:
            return await self._goes_on()
        except PaginationError:
            if not self._can_sweep():
                raise
            return False

    async def _recheck(self, numbers: Sequence[int]) -> Page[T]:
        """Read some pages again and return what is new on them, or the items that share an identity."""
        state = self._state
        pairs: list[tuple[Reading[T], Reading[T]]] = []
        for number in numbers:
            before = state.short.get(number, state.last)
            assert before is not None, "a page was read"
            reading = await self._read_again(number)
            if state.is_nameless:  # Before any is accepted: the error would lose what other pages brought.
                state.must_begin_like(before, reading)
            pairs.append((before, reading))
        self._rechecks += 1
        readings = [reading for _, reading in pairs]
        spares = tuple(self._new.spares)
        items: list[T] = []
        for before, reading in pairs:
            items.extend(state.deliver_again(before, reading).items)
        are_all = spares and not items and len(spares) == self._tally.missing
        if are_all and shown_twice(spares, readings) and await self._are_two(spares, readings):
            items.extend(self._new.take_spares(self._new.spares))
            self._tally.add(len(items))
        if items:
            self._reset_patience()
        return attrs.evolve(readings[-1].page, items=tuple(items))

    async def _are_two(self, spares: Sequence[Spare[T]], readings: Sequence[Reading[T]]) -> bool:
        """
        Whether the items of different pages that have one identity are different items.

        An item may move from one page to the next between two answers, and replicas may have it on different pages. So
        one answer has to show all of them; where no page can, each page is read several times in a row.
        """
        size, is_proved = self._fetcher.size, True
        for key in {spare.key for spare in spares if spare.pages[0] != spare.pages[1]}:
            places = [
                (reading.number - 1) * size + place
                for reading in readings
                for place, other in enumerate(reading.keys)
                if other == key
            ]
            spanning = page_over(places[0], places[-1])
            if spanning is None:
                is_proved = False
                continue
            shown = await self._keys_of_part(*spanning)
            if shown is None:
                is_proved = False
            elif shown.count(key) != len(places):
                return False
        return is_proved or await self._are_unchanged(readings, {spare.key for spare in spares})

    async def _are_unchanged(self, readings: Sequence[Reading[T]], keys: Collection[Hashable]) -> bool:
        """
        Whether items stay where they were, several times in a row.

        Replicas may answer in turns, at random, or each some of the offsets: so pages of several lengths are read.
        """
        size = self._fetcher.size
        for reading in readings:
            for look in range(_LOOKS):
                length = MIN_PROBE_SIZE + look * (size - MIN_PROBE_SIZE) // _LOOKS
                for place, key in enumerate(reading.keys, (reading.number - 1) * size):
                    if key in keys and not await self._is_at(place, key, length, reading):
                        return False
        return True

    async def _is_at(self, place: int, key: Hashable, length: int, before: Reading[T]) -> bool:
        shown = await self._keys_of_part(place // length + 1, length)
        if shown is None:
            return (await self._read_again(before.number)).keys == before.keys
        return shown[place % length : place % length + 1] == [key]

    async def _keys_of_part(self, number: int, length: int) -> list[Hashable] | None:
        """Return the keys of a page of another length, or None if the service cuts pages or has a length of its own."""
        count = self._tally.count
        answer = await self._fetcher.part(number, length, self._offsets.mode or Mode.PAGE, count)
        left = length if count is None else count - (number - 1) * length
        return list(answer.keys) if len(answer.keys) == min(length, left) else None

    def _can_sweep(self) -> bool:
        """Whether reading the whole list again can find what is missing: only if items have moved."""
        state = self._state
        has_moved = state.may_have_skipped() or self._tally.has_changed or self._new.spares or state.known_until
        is_remembered = not state.is_nameless and self._new.seen.is_whole
        return bool(has_moved) and is_remembered and self._sweeps < _MAX_SWEEPS

    async def _wait_or_fail(self) -> Page[T]:
        if await self._goes_on():
            return await self._recheck_after_wait()  # pragma: no cover - too long to be read again, and late
        has_left = self._state.may_have_skipped()
        raise self._state.error("items left the list while it was read" if has_left else "the pages do not add up")

    async def _recheck_after_wait(self) -> Page[T]:
        assert self._state.last is not None, "a page was read"
        self._reset_patience()
        return await self._recheck(self._state.to_recheck() or [self._state.last.number])

    def _restart(self) -> None:
        """Read the list again from its beginning; items that were returned are left out."""
        self._fetcher.drop()
        self._state.restart()

    def _reset_patience(self) -> None:
        """Allow as many rechecks, sweeps and probes as at the beginning."""
        self._offsets.begin_again()
        self._rechecks = 0
        self._sweeps = 0
