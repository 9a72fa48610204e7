"""The public store of workers."""

from __future__ import annotations

from coreclaw_async._operations.calls import with_call_events
from coreclaw_async._operations.context import Context
from coreclaw_async._operations.lists import STORE
from coreclaw_async._paging.pager import AsyncPager, PagerOptions
from coreclaw_async.models import Page, WorkerSummary


@with_call_events("store")
class AsyncStore:
    """The public store of workers: ``client.store``."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def list_page(self, *, keyword: str | None = None, offset: int = 0, limit: int = 20) -> Page[WorkerSummary]:
        """
        Return one page of the store.

        ``GET /api/v2/store``. Needs no key and sends none. Reads only: retried after a failure.

        Args:
            keyword: Part of a title, id or path.
            offset: 0 to 2**63 - 1, sent as it is. What the service counts with it has changed over time: only 0 is
                certain to be the first page.
            limit: Workers a page, 1 to 100.

        Raises:
            ValueError: *offset* or *limit* is out of range.

        Example::

            page = await client.store.list_page(keyword="maps", limit=10)
            print([worker.path for worker in page])
        """
        return await STORE.read(self._context, offset=offset, limit=limit, keyword=keyword)

    def iterate(
        self,
        *,
        keyword: str | None = None,
        page_size: int = 100,
        max_items: int | None = None,
        prefetch: int = 0,
    ) -> AsyncPager[WorkerSummary]:
        """
        Return an iterator over all workers of the store.

        ``GET /api/v2/store``, once a page. Needs no key and sends none. Reads only: retried after a failure.

        Args:
            keyword: Part of a title, id or path.
            page_size: Workers a page, 1 to 100.
            max_items: Most workers in all, 1 or more; None for all.
            prefetch: Has no effect here: the service does not say how many workers there are.

        Raises:
            PaginationError: The pages that came do not add up to one list.
            ValueError: A number is out of range.

        Example::

            async for worker in client.store.iterate(keyword="maps"):
                print(worker.path, worker.title)
        """
        options = PagerOptions(page_size=page_size, max_items=max_items, prefetch=prefetch)
        return STORE.pager(self._context, options, keyword=keyword)
