"""Tally: whether as many items came as the service says there are."""

from __future__ import annotations

import attrs


@attrs.define
class Tally:
    """
    How many items came, and how many there should be.

    Attributes:
        expects_count: Whether every item that is counted must come, also those that were added meanwhile. Otherwise as
            many must come as there ever were at least.
        is_in_order: Whether pages are read one after another. Otherwise a page may be read before one that stands in
            front of it, and items may move from this to that in between, unread: then new ones do not make up for them.
        delivered: Items that were handed out.
        count: The latest count, or None when none was told or it is proved wrong.
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
        """Watch for changes of the list from now on."""
        self.has_shrunk = self.has_changed = False
        self._before_sweep = self.delivered
        self._first_count = None

    def note(self, count: int | None, known: int | None) -> None:
        """
        Record the count of a page.

        Args:
            count: What the page says, or None when it says nothing that can be right.
            known: The count that was known when the page was asked for: pages that are read at the same time may be
                answered in any order, so a lower count than that of another page does not mean that items have left.
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
        """Record that items were handed out."""
        self.delivered += items
        if self.count is not None and self.delivered > self._highest == self._lowest:
            # More than ever were there: it counts the items of a page, or is cut off itself.
            self._is_wrong = True
            self.count = self._lowest = None

    @property
    def missing(self) -> int:
        """Items that are counted and have not come; 0 where no count is known."""
        expected = self._lowest if self.is_in_order and not self.expects_count else self.count
        return 0 if self.count is None or expected is None else max(0, expected - self.delivered)

    @property
    def growth(self) -> int:
        """By how much the count has grown since `begin_sweep`."""
        return 0 if self.count is None or self._first_count is None else max(0, self.count - self._first_count)

    @property
    def has_all(self) -> bool:
        """Whether as many items came as are counted now."""
        return self.count is not None and self.delivered >= self.count

    @property
    def may_lack(self) -> bool:
        """Whether items may be missing: they are, or there is no count to tell."""
        return self.count is None or self.missing > 0

    @property
    def may_have_skipped(self) -> bool:
        """Whether items that left the list may have pushed others over the border of two pages, unread."""
        if not self.has_shrunk or self.delivered < self._highest:
            return self.has_shrunk
        # As many came as ever were counted. Rows of a run do not leave it, so the count had lagged behind; of other
        # lists a whole further sweep that brought nothing new shows the same.
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
