"""What a call whose answer was lost may have brought about: one look for runs, for tasks, for queue items."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import TypeVar

from coreclaw_async._operations.context import Context
from coreclaw_async._operations.run_lists import report_started
from coreclaw_async._operations.start import FindCandidates, Found
from coreclaw_async._paging.pager import AsyncPager, PagerOptions
from coreclaw_async._wire.pages import read_page
from coreclaw_async._wire.request import MAX_LIMIT, Request, build_path, build_query
from coreclaw_async._wire.timestamps import moment_of
from coreclaw_async.errors import InvalidResponseError
from coreclaw_async.models import Page, QueueItem, Task

T = TypeVar("T")

# An item that was put into the queue a moment ago waits; one that was activated or released is another one's.
_INACTIVE = "inactive"


def lost_runs(context: Context, worker_id: str | None) -> FindCandidates:
    """Return a look for runs of the worker (None: of any) that are started from now on."""
    since = moment_of(context.transport.local_time())

    async def find_candidates(found: Found) -> None:
        await report_started(context, worker_id, since, None, lambda run: found(run.run_id))

    return find_candidates


def lost_tasks(context: Context, worker_id: str, title: str) -> FindCandidates:
    """Return a look for tasks of the worker with that title which this client was not told of."""
    titles = {title.strip(), ""}  # A title that did not come, or cannot be read, may be that one.

    async def find_candidates(found: Found) -> None:
        query = functools.partial(build_query, worker_id=worker_id, keyword=title)
        tasks = _items(context, "listWorkerTasks", build_path("worker-tasks"), query, Task, _task_id)
        await _report(context, tasks, found, _task_id, lambda task: task.title.strip() in titles)

    return find_candidates


def lost_queue_items(context: Context) -> FindCandidates:
    """Return a look for queue items that wait, as far as they tell, and that this client was not told of."""

    async def find_candidates(found: Found) -> None:
        path = build_path("run-queue", "items")
        items = _items(context, "listRunQueueItems", path, build_query, QueueItem, _queue_id)
        await _report(context, items, found, _queue_id, lambda item: item.status != _INACTIVE)

    return find_candidates


def _task_id(task: Task) -> str | None:
    return task.task_id or None


def _queue_id(item: QueueItem) -> str | None:
    return item.queue_id or None


def _items(
    context: Context,
    operation: str,
    path: str,
    query: Callable[..., str],
    model: type[T],
    identity: Callable[[T], str | None],
) -> AsyncPager[T]:
    def fetch(offset: int, limit: int) -> Awaitable[Page[T]]:
        request = Request(operation=operation, method="GET", path=path, query=query(offset=offset, limit=limit))
        return context.transport.call(request, functools.partial(read_page, model=model, offset=offset, limit=limit))

    return context.one_listing(operation, fetch, identity, PagerOptions(page_size=MAX_LIMIT))


async def _report(
    context: Context,
    items: AsyncPager[T],
    found: Found,
    identity: Callable[[T], str | None],
    may_be_it: Callable[[T], bool],
) -> None:
    """Report those of *items* that may be what is looked for; raise at the end when one of them does not say its id."""
    nameless = 0
    async for item in items:
        if not may_be_it(item):
            continue
        name = identity(item)
        if name is None:
            nameless += 1
        elif name not in context.known:
            found(name)
    if nameless:
        raise InvalidResponseError(f"{nameless} items that may be what was looked for do not say their id")
