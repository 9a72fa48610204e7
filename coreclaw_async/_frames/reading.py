"""Reads pages to their end, and hands their rows over in pieces, in a thread, so that the event loop is not blocked."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Self, TypeAlias

import anyio.to_thread
import attrs

from coreclaw_async._data.counting import counted
from coreclaw_async._frames.callers import Caller
from coreclaw_async._frames.options import FrameOptions
from coreclaw_async._progress.reporter import Reporter
from coreclaw_async._tracebacks import hide_own_frames
from coreclaw_async.errors import CoreClawError
from coreclaw_async.models import Page, ResultHeader

_ROWS_AT_ONCE = 1_000


class UnfitRowsError(CoreClawError):
    """No table can hold the rows; reading them again changes nothing."""


class NoRowsError(Exception):
    """A file holds something else than rows, or is damaged; the message goes on where the file was named."""


@attrs.frozen(kw_only=True, eq=False, repr=False)
class ItemInfo:
    """
    What is known of the items of pages without reading them.

    Attributes:
        headers: Returns the columns that the pages so far have named, also those without items.
        has_keys: Whether an item is a row with the key of a batch's item.
        model: The class of the items, where they are models.
        now: Returns the seconds of a clock.
    """

    headers: Callable[[], Sequence[ResultHeader]] = tuple
    has_keys: bool = False
    model: type | None = None
    now: Callable[[], float] = time.monotonic


@attrs.frozen(eq=False, repr=False)
class RowSource:
    """
    Where rows come from.

    Attributes:
        next_page: Returns the next page, or None after the last.
        info: What is known of its items.
    """

    next_page: Callable[[], Awaitable[Page[Any] | None]]
    info: ItemInfo


@attrs.frozen(eq=False, repr=False)
class PageSource(RowSource):
    """
    The rest of a pager.

    Attributes:
        made_at: The line that made the pager, or the batch.
    """

    made_at: Caller


HandOver: TypeAlias = Callable[[str], PageSource]
"""Returns what a method, which it is given the name of, reads the pages from; nobody else can read them then."""


@attrs.define(eq=False, repr=False)
class RowReading:
    """
    The reading of rows for one call: a block around all that the call does.

    An error in the block, or a cancellation, gets a note that says how many rows had been read, if reading had begun.

    Attributes:
        options: What the caller wants of the rows.
        rows_at_once: After how many rows, at the end of a page, they are handed over.
        count: How many rows have been read.
    """

    options: FrameOptions
    rows_at_once: int = _ROWS_AT_ONCE
    count: int = attrs.field(default=0, init=False)
    _reporter: Reporter | None = attrs.field(default=None, init=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, OSError) or (error is not None and not isinstance(error, Exception)):
            hide_own_frames(error)  # A file that cannot be written, or a cancellation: the message says enough.
        if self._reporter is None:  # Reading has not begun.
            return
        self._reporter.__exit__(kind, error, traceback)
        self._reporter.end()
        if error is not None:
            again = "; they can be read again" if self.count else ""
            error.add_note(f"{self.options.method}() had read {counted(self.count, 'row')}{again}")

    async def read(self, source: RowSource, add: Callable[[Sequence[Any]], None]) -> None:
        """
        Hand all items over to *add*, about `rows_at_once` at a time.

        Raises:
            CoreClawError: They cannot be read.
            UnfitRowsError: One is nested too deeply.
        """
        self._reporter = Reporter(self.options.progress, "rows", source.info.now)
        items: list[Any] = []
        self._tell(self._reporter)
        while (page := await source.next_page()) is not None:
            self.count += len(page.items)
            self._tell(self._reporter)
            items.extend(page.items)
            if len(items) >= self.rows_at_once:
                await self._hand_over(add, items)
                items = []
        if items:
            await self._hand_over(add, items)

    def _tell(self, reporter: Reporter) -> None:
        reporter.tell(f"{self.options.method}: {counted(self.count, 'row')} read", done=self.count, rows=self.count)

    async def _hand_over(self, add: Callable[[Sequence[Any]], None], items: Sequence[Any]) -> None:
        try:
            await anyio.to_thread.run_sync(add, items)
        except RecursionError:
            first = self.count - len(items) + 1
            raise UnfitRowsError(
                f"{self.options.method}: one of the rows {first:,} to {self.count:,} is nested too deeply to be "
                "converted; collect() returns it as it is"
            ) from None
