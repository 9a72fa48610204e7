"""What a call whose answer was lost may have brought about: one look for runs, for tasks, for queue items."""

from __future__ import annotations

import functools

from coreclaw_async._resources.context import Context
from coreclaw_async._resources.run_lists import find_started
from coreclaw_async._resources.starting import Look
from coreclaw_async._wire.moments import moment_of
from coreclaw_async._wire.pages import read_page
from coreclaw_async._wire.request import MAX_LIMIT, Request, build_path, build_query
from coreclaw_async.models import QueueItem, Task


def lost_runs(context: Context, worker_id: str | None) -> Look:
    """Return a look for runs of the worker (None: of any) that are started from now on."""
    since = moment_of(context.transport.clock.time())

    async def look() -> list[str]:
        return [run.run_id for run in await find_started(context, worker_id, since)]

    return look


def lost_tasks(context: Context, worker_id: str, title: str) -> Look:
    """Return a look for tasks of the worker with that very title which this client was not told of."""

    async def look() -> list[str]:
        request = Request(
            operation="listWorkerTasks",
            method="GET",
            path=build_path("worker-tasks"),
            query=build_query(offset=0, limit=MAX_LIMIT, worker_id=worker_id, keyword=title),
        )
        page = await context.transport.call(
            request, functools.partial(read_page, model=Task, offset=0, limit=MAX_LIMIT)
        )
        return [t.task_id for t in page.items if t.title == title and t.task_id and t.task_id not in context.known]

    return look


def lost_queue_items(context: Context) -> Look:
    """Return a look for waiting queue items that this client was not told of."""

    async def look() -> list[str]:
        request = Request(
            operation="listRunQueueItems",
            method="GET",
            path=build_path("run-queue", "items"),
            query=build_query(offset=0, limit=MAX_LIMIT, status="waiting"),
        )
        page = await context.transport.call(
            request, functools.partial(read_page, model=QueueItem, offset=0, limit=MAX_LIMIT)
        )
        return [item.queue_id for item in page.items if item.queue_id and item.queue_id not in context.known]

    return look
