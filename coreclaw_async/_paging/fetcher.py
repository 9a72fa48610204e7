"""PageFetcher: reads the pages of one list by their numbers, several at once where that is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

import attrs

from coreclaw_async._concurrency.groups import task_group
from coreclaw_async._paging.listing import MIN_PROBE_SIZE, ListSource, Reading, reading_of
from coreclaw_async._paging.offsets import Mode
from coreclaw_async._wire.request import MAX_LIMIT

T = TypeVar("T")


def pages_at_once(number: int, *, count: int | None, size: int, prefetch: int) -> range:
    """
    Return the numbers of the pages to read at the same time, from page *number* on.

    Args:
        number: The first of them, which is always read.
        count: Items in the whole list, or None if unknown; then nothing is read ahead.
        size: Items a page holds.
        prefetch: Most pages to read ahead.
    """
    if count is None:
        return range(number, number + 1)
    # After a full last page one more is read, to see that it is the last.
    last = count // size + 1
    return range(number, max(number, min(number + prefetch, last)) + 1)


def page_over(first: int, last: int) -> tuple[int, int] | None:
    """Return the number and length of a page that holds the places *first* to *last*, from 0, or None."""
    for length in range(max(last - first + 1, MIN_PROBE_SIZE), MAX_LIMIT + 1):
        if first // length == last // length:
            return first // length + 1, length
    return None


@attrs.define(eq=False, repr=False)
class PageFetcher(Generic[T]):
    """
    Reads the pages of one list by their numbers.

    Attributes:
        source: The list.
        size: Items to ask for at once.
        prefetch: Most pages to read ahead.
    """

    source: ListSource[T]
    size: int
    prefetch: int
    _ahead: dict[int, Reading[T] | Exception] = attrs.field(factory=dict["int", "Reading[T] | Exception"], init=False)

    async def at(self, offset: int, number: int, count: int | None) -> Reading[T]:
        """Return what is at *offset* as page *number*; *count* items are known of now."""
        page = await self.source.fetch(offset, self.size)
        return reading_of(self.source.identity, number, page, count)

    async def part(self, number: int, length: int, mode: Mode, count: int | None) -> Reading[T]:
        """Return page *number* of a list in pages of *length* items, read now."""
        page = await self.source.fetch(mode.offset(number, length), length)
        return reading_of(self.source.identity, number, page, count)

    async def page(self, number: int, mode: Mode, count: int | None) -> Reading[T]:
        """Return page *number*, read now."""
        return await self.at(mode.offset(number, self.size), number, count)

    async def next(self, number: int, mode: Mode, count: int | None) -> Reading[T]:
        """Return page *number*, which follows the last one; others may be read with it."""
        if number not in self._ahead:
            numbers = pages_at_once(number, count=count, size=self.size, prefetch=self.prefetch)
            wanted = [page for page in numbers if page not in self._ahead]
            if len(wanted) == 1:
                return await self.page(number, mode, count)
            self._ahead.update(await self._read_at_once(wanted, mode, count))
        found = self._ahead.pop(number)
        if isinstance(found, Exception):  # The pages before it were returned; those after it are kept.
            raise found
        return found

    def drop(self) -> None:
        """Forget what was read ahead."""
        self._ahead.clear()

    async def _read_at_once(
        self, numbers: Sequence[int], mode: Mode, count: int | None
    ) -> Mapping[int, Reading[T] | Exception]:
        found: dict[int, Reading[T] | Exception] = {}

        async def read(number: int) -> None:
            try:
                found[number] = await self.page(number, mode, count)
            except Exception as error:  # noqa: BLE001 - raised when its turn comes
                found[number] = error

        async with task_group() as group:
            for number in numbers:
                group.start_soon(read, number)
        return found
