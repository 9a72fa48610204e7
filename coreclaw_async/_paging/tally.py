"""Tally: whether as many items came as the service says there are."""

from __future__ import annotations

import attrs


@attrs.define(eq=False, repr=False)
class Tally:
    """
    How many items came and how many there should be.

    Attributes:
        expects_count: Whether all counted items must come, also those added meanwhile. Otherwise at least the lowest
            count must come.
        is_in_order: Whether pages are read one after another. Otherwise a page may be read before the one in front of
            it, and items may move to the later page in between, unread; new items do not make up for these.
        delivered: Items that were returned.
        count: The latest count, or None if none was told or it has proved wrong.
        has_shrunk: Whether items have left the list since `begin_sweep`.
        has_changed: Whether the count has changed since `begin_sweep`.
    """

    expects_count: bool
    is_in_order: bool
    delivered: int = attrs.field(default=0, init=False)
    count: int | None = attrs.field(default=None, init=False)
    has_shrunk: bool = attrs.field(default=False, init=False)
    has_changed: bool = attrs.field(default=False, init=False)
    _before_sweep: int | None = attrs.field(default=None, init=False)
    _first_count: int | None = attrs.field(default=None, init=False)
    _lowest: int | None = attrs.field(default=None, init=False)
    _highest: int = attrs.field(default=0, init=False)
    _is_wrong: bool = attrs.field(default=False, init=False)

    def begin_sweep(self) -> None:
        """Begin to watch for changes of the list."""
        self.has_shrunk = self.has_changed = False
        self._before_sweep = self.delivered
        self._first_count = None

    def note(self, count: int | None, known: int | None) -> None:
        """
        Record the count of a page.

        Args:
            count: The count that the page tells, or None if that cannot be right.
            known: The count that was known when the page was asked for. Pages that are read at the same time may be
                answered in any order, so a lower count than that of another page does not mean that items left.
        """
        if count is None or self._is_wrong:
            return
        if self._first_count is None:
            self._first_count = count
        if self.count is not None and count != self.count:
            self.has_changed = True
        if known is not None and count < known:
            self.has_shrunk = True
            self.count = count
        else:
            self.count = count if self.count is None else max(count, self.count)
        self._highest = max(count, self._highest)
        self._lowest = count if self._lowest is None else min(count, self._lowest)

    def add(self, items: int) -> None:
        """Record that items were returned."""
        self.delivered += items
        if self.count is not None and self.delivered > self._highest == self._lowest:
            # More came than were ever counted: the count is that of a page, or is cut off.
            self._is_wrong = True
            self.count = self._lowest = None

    @property
    def missing(self) -> int:
        """Counted items that have not come; 0 if no count is known."""
        expected = self._lowest if self.is_in_order and not self.expects_count else self.count
        return 0 if self.count is None or expected is None else max(0, expected - self.delivered)

    @property
    def growth(self) -> int:
        """By how much the count has grown since `begin_sweep`."""
        return 0 if self.count is None or self._first_count is None else max(0, self.count - self._first_count)

    @property
    def has_all(self) -> bool:
        """Whether all items that are counted now have come."""
        return self.count is not None and self.delivered >= self.count

    @property
    def may_lack(self) -> bool:
        """Whether items are missing, or there is no count to tell."""
        return self.count is None or self.missing > 0

    @property
    def may_have_skipped(self) -> bool:
        """Whether items that left the list may have moved others to a page that was already read."""
        if not self.has_shrunk or self.delivered < self._highest:
            return self.has_shrunk
        # As many came as were ever counted. Rows do not leave their run, so its count had lagged behind; for other
        # lists a further sweep that brings nothing new shows the same.
        return not (self.expects_count or self.delivered == self._before_sweep)

    @property
    def has_surplus(self) -> bool:
        """Whether more items came than are counted."""
        return self._is_wrong or (self.count is not None and self.delivered > self.count)

    def is_beyond(self, number: int, size: int, told: int | None) -> bool:
        """Whether page *number*, which came with the count *told*, lies behind the last item."""
        if self.count is None:
            return False
        return (number - 1) * size >= (self.count if told is None else told)
