"""Items of a batch, and the rows that their runs have found, page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import anyio
import anyio.to_thread
import attrs

from coreclaw_async._concurrency.stream import AsyncStream
from coreclaw_async._operations.runs import read_run
from coreclaw_async._paging.pager import AsyncPager
from coreclaw_async._resources.runs import AsyncRuns
from coreclaw_async.batch._context import BatchContext
from coreclaw_async.batch._items import BatchItem, BatchItemState
from coreclaw_async.batch._part_pages import part_pages
from coreclaw_async.models import Page, ResultHeader, ResultPage, Row

_ITEMS_AT_ONCE = 1_000


@attrs.define(kw_only=True)
class ItemPages:
    """
    Items in the order of the plan.

    Attributes:
        states: Only those in one of these states; empty for all.
        worker_id: Only those of this worker, as planned; None for all.
    """

    batch_context: BatchContext
    states: Sequence[BatchItemState]
    worker_id: str | None
    _after: BatchItem | None = attrs.field(default=None, init=False)

    async def next(self) -> Page[BatchItem] | None:
        """Return the next items, or None after the last."""
        items = await self.batch_context.ledger.items(
            *self.states, worker_id=self.worker_id, after=self._after, most=_ITEMS_AT_ONCE
        )
        if not items:
            return None
        self._after = items[-1]
        return Page(items=tuple(items))


@attrs.define(kw_only=True)
class RowPages:
    """The rows of items, each with the key of its item: from its file, or else from the service."""

    batch_context: BatchContext
    items: AsyncPager[BatchItem]
    _item: BatchItem | None = attrs.field(default=None, init=False)
    _pages: AsyncIterator[Page[Row]] | None = attrs.field(default=None, init=False)
    _headers: dict[str, ResultHeader] = attrs.field(factory=dict[str, ResultHeader], init=False)

    async def next(self) -> Page[tuple[str, Row]] | None:
        """Return the next rows, each with the key of its item, or None after the last."""
        page = await self.next_rows()
        if page is None or self._item is None:
            return None
        return Page(items=tuple((self._item.key, row) for row in page.items))

    def headers(self) -> Sequence[ResultHeader]:
        """Return the columns that the pages so far have named."""
        return tuple(self._headers.values())

    async def next_rows(self) -> Page[Row] | None:
        """Return the next rows, or None after the last."""
        while True:
            # An item stays until its rows were read, so that after an error iterating again goes on with it.
            self._item = self._item or await self.items.first()
            if self._item is None:
                return None
            if self._pages is None:
                self._pages = await self._open(self._item)
            async for page in self._pages:
                if isinstance(page, ResultPage):
                    self._headers.update((one.key, one) for one in page.headers if one.key not in self._headers)
                return page
            self._pages = self._item = None

    async def _open(self, item: BatchItem) -> AsyncIterator[Page[Row]]:
        if item.path is not None and await anyio.to_thread.run_sync(item.path.is_file):
            return await part_pages(item, item.path)
        if item.run_id is None:
            return AsyncStream(_no_page)
        run = await read_run(self.batch_context.context, item.run_id)
        return AsyncRuns(self.batch_context.context).iterate_results(run, partial=not run.is_finished).pages()


async def _no_page() -> Page[Row] | None:
    return None
