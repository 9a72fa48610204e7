"""ScanState: how far a scan of a list has come, what it has returned, and what contradicts that. No I/O."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

import attrs

from coreclaw_async._paging.listing import MIN_PROBE_SIZE, ListSource, Nameless, Reading
from coreclaw_async._paging.offsets import SETTLING_SIZE, Mode
from coreclaw_async._paging.seen import Deduplicator
from coreclaw_async._paging.tally import Tally
from coreclaw_async.errors import PaginationError
from coreclaw_async.models import Page

T = TypeVar("T")

_MAX_PAGES_RECHECKED = 4
# Store and own workers, the lists without a count, have hundreds of entries.
_MAX_PAGES_WITHOUT_COUNT = 2_000
_MAX_PAGES_BEYOND = 2


@attrs.define(eq=False, repr=False)
class ScanState(Generic[T]):
    """
    What a scan knows about the pages that it has read.

    Attributes:
        source: The list.
        size: Items that a full page holds.
        tally: How many items were returned, and how many there should be.
        new: Which items were returned.
        first: The first page as it was read last.
        last: The page that was read last; None when the scan begins or begins again.
        short: The pages that were not full, by number.
        must_hold: Keys of which at least one must be on the next page, if there are any.
        is_nameless: Whether nothing tells the items apart.
        is_spent: Whether the last page lies beyond the end and brought nothing.
        trusts_page_index: Whether the page number that the service gives is believed.
        accepts_repeats: Whether a page of nameless items may equal one that came before.
        known_until: The number of the last page before the scan began again.
        stood_at: The last page at that time, if only new items can be missing.
    """

    source: ListSource[T]
    size: int
    tally: Tally
    new: Deduplicator[T]
    first: Reading[T] | None = attrs.field(default=None, init=False)
    last: Reading[T] | None = attrs.field(default=None, init=False)
    short: dict[int, Reading[T]] = attrs.field(factory=dict["int", "Reading[T]"], init=False)
    must_hold: frozenset[Hashable] = attrs.field(default=frozenset(), init=False)
    is_nameless: bool = attrs.field(default=False, init=False)
    is_spent: bool = attrs.field(default=False, init=False)
    trusts_page_index: bool = attrs.field(default=True, init=False)
    accepts_repeats: bool = attrs.field(default=False, init=False)
    known_until: int = attrs.field(default=0, init=False)
    stood_at: Reading[T] | None = attrs.field(default=None, init=False)

    def deliver(self, reading: Reading[T]) -> Page[T]:
        """Accept *reading* as the next page and return it with its new items only."""
        self._judge(reading)
        self.tally.note(reading.count, reading.known_count)
        is_beyond = self._is_beyond(reading)
        items: Sequence[T] = ()
        # A service may repeat the last page beyond the end.
        if not (is_beyond and self.repeats_last(reading)):
            if self.is_nameless:
                items = self.new.take_all(reading)
            else:
                items = self.new.take(reading, has_moved=self.tally.has_changed)
        self.is_spent = is_beyond and not items
        self.last = reading
        return self._hand_out(reading, items)

    def deliver_again(self, before: Reading[T], reading: Reading[T]) -> Page[T]:
        """Accept a page that was read before and return what is new on it."""
        self._judge(reading)
        if self.is_nameless:
            self.must_begin_like(before, reading)
            items = self.new.take_all(reading, known=len(before.keys))
        else:
            items = self.new.take(reading, has_moved=True)
        self.tally.note(reading.count, reading.known_count)
        if self.last is not None and self.last.number == reading.number:
            self.last = reading
            self.is_spent = self.is_spent and not items
        return self._hand_out(reading, items)

    def _judge(self, reading: Reading[T]) -> None:
        """Decide by the first page that has items whether the list has identities."""
        if not self.tally.delivered:
            self.is_nameless = bool(reading.keys) and not reading.has_names

    def _hand_out(self, reading: Reading[T], items: Sequence[T]) -> Page[T]:
        page = reading.page
        if reading.number == 1:
            self.first = reading
        if len(page.items) < self.size:
            self.short[reading.number] = reading
        else:
            self.short.pop(reading.number, None)
        self.tally.add(len(items))
        return page if len(items) == len(page.items) else attrs.evolve(page, items=tuple(items))

    def restart(self) -> None:
        """Begin the list again; items that were returned are left out."""
        assert self.last is not None, "a page was read"
        self.known_until = max(self.known_until, self.last.number)
        self.last = None
        self.stood_at = None
        self.is_spent = False
        self.must_hold = frozenset()
        self.short.clear()
        self.tally.begin_sweep()
        self.new.begin_sweep()

    def may_be_cut(self, reading: Reading[T]) -> bool:
        """Whether a first page that is not full may not be the last one."""
        found = len(reading.page.items)
        if reading.count is None:  # Services hardly cut pages to fewer items than these.
            return SETTLING_SIZE <= found < self.size
        return MIN_PROBE_SIZE <= found < min(self.size, reading.count)

    def is_at_end(self, last: Reading[T]) -> bool:
        """Whether no page comes after *last*."""
        found, size, count = len(last.page.items), self.size, self.tally.count
        if self.stood_at is not None and self.tally.has_all:
            return True  # The list was read again for missing items, and these have come.
        if count is None:
            if last.number > _MAX_PAGES_WITHOUT_COUNT:
                raise self.error("the list does not end")
            # The service may have cut a short page, but hardly to fewer items than these.
            return found == 0 or self.is_spent or found < min(size, SETTLING_SIZE)
        # After a full last page one more is read, since the count may be cut off itself.
        is_far = last.number > count // size + 1 + _MAX_PAGES_BEYOND
        return found == 0 or self.is_spent or is_far or (last.number * size >= count and found < size)

    def doubt_about(self, reading: Reading[T], mode: Mode | None) -> str | None:
        """Return why this may not be the page that was asked for, or None."""
        number, page = reading.number, reading.page
        is_beyond = self._is_beyond(reading)
        if is_beyond and (self.repeats_last(reading) or not page.items):
            return None  # There is nothing beyond the end, or the last page again.
        if self.trusts_page_index and page.page_index is not None and page.page_index != number:
            return f"page {number} came as page {page.page_index}"
        if not page.items:
            # Without a count, an empty page after a full one may come from a wrong offset.
            is_odd = self._last_was_full() if self.tally.count is None else self.tally.may_lack
            return f"page {number} is empty" if is_odd else None
        if self.must_hold and self.must_hold.isdisjoint(reading.keys):
            return f"page {number} does not continue the rows seen before"
        if not self.is_nameless:
            is_new_to_us = number > self.known_until and self.tally.may_lack and reading.has_names
            has_new = any(key not in self.new.seen for key in reading.keys if not isinstance(key, Nameless))
            return f"page {number} holds nothing new" if is_new_to_us and not has_new else None
        if mode is Mode.PAGE and not self.accepts_repeats:
            by_rows = (number, number // self.size * self.size)
            if any(self.new.seen.began_with(start, reading.keys) for start in by_rows):
                return f"page {number} came before"
        return None

    def _is_beyond(self, reading: Reading[T]) -> bool:
        return self.tally.is_beyond(reading.number, self.size, reading.count)

    def repeats_last(self, reading: Reading[T]) -> bool:
        """Whether the page equals the last one."""
        return bool(reading.keys) and self.last is not None and reading.keys == self.last.keys

    def _last_was_full(self) -> bool:
        return self.last is not None and len(self.last.page.items) >= self.size

    def must_begin_like(self, before: Reading[T], reading: Reading[T]) -> None:
        """Raise PaginationError when a page of nameless items does not begin as it did before."""
        if list(reading.keys[: len(before.keys)]) != list(before.keys):
            raise self.error("items without an identity have moved while the list was read")

    def may_have_skipped(self) -> bool:
        """Whether others may have been skipped because items left the list."""
        return self.tally.has_shrunk if self.is_nameless else self.tally.may_have_skipped

    def to_recheck(self) -> list[int]:
        """Return the numbers of the few pages on which missing items may be, or none."""
        missing, size, count = self.tally.missing, self.size, self.tally.count or 0
        if self.is_nameless and (self.may_have_skipped() or self.tally.has_surplus):
            return []
        short = {n for n, reading in self.short.items() if len(reading.keys) < min(size, count - (n - 1) * size)}
        if len(self.new.spares) == missing:
            short.update(number for spare in self.new.spares for number in spare.pages)
        return sorted(short) if 0 < len(short) <= _MAX_PAGES_RECHECKED else []

    def lacks_earlier(self, numbers: Sequence[int]) -> bool:
        """Whether a page before the last two is short; the last one may be empty."""
        assert self.last is not None, "a page was read"
        return numbers[0] < self.last.number - 1

    def error(self, reason: str) -> PaginationError:
        """Return the error that ends the scan because of *reason*."""
        delivered, count = self.tally.delivered, self.tally.count
        of_all = "" if count is None else f" of {count}"
        return PaginationError(
            f"{self.source.name}: {reason}; items read before: {delivered}{of_all}",
            collected=delivered,
            expected=count,
            run_id=self.source.run_id,
        )
