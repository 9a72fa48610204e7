"""What the store and the list of own workers share: one shape, no count."""

from __future__ import annotations

import functools
from collections.abc import Awaitable

from coreclaw_async._operations.context import Context
from coreclaw_async._paging.offsets import SETTLING_SIZE
from coreclaw_async._paging.pager import AsyncPager, PagerOptions
from coreclaw_async._wire.pages import read_page
from coreclaw_async._wire.request import Request, build_path, build_query, check_limit, check_offset
from coreclaw_async.models import Page, WorkerSummary


async def read_workers(
    context: Context, operation: str, offset: int, limit: int, keyword: str | None
) -> Page[WorkerSummary]:
    """Return one page of the store (``listStore``, public) or of the own workers (``listWorkers``)."""
    request = Request(
        operation=operation,
        method="GET",
        path=build_path("store" if operation == "listStore" else "workers"),
        query=build_query(offset=check_offset(offset), limit=check_limit(limit), keyword=keyword),
        is_public=operation == "listStore",
    )
    read = functools.partial(read_page, model=WorkerSummary, offset=offset, limit=limit, member="scraper")
    return await context.transport.call(request, read)


def workers_pager(
    context: Context, operation: str, options: PagerOptions, keyword: str | None
) -> AsyncPager[WorkerSummary]:
    """Return a pager over one of the two lists; pages below ten items are read ten at a time, as there is no count."""

    def fetch(offset: int, limit: int) -> Awaitable[Page[WorkerSummary]]:
        return read_workers(context, operation, offset, limit, keyword)

    return context.one_listing(
        operation, fetch, lambda worker: worker.worker_id or None, options, min_probe_size=SETTLING_SIZE
    )
