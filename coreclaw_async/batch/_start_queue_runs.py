"""The runs of one start queue: of its worker, whatever it is or was called."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import attrs

from coreclaw_async import errors
from coreclaw_async._operations.lists import RunFilter, runs_pager
from coreclaw_async._paging.pager import AsyncPager, PagerOptions
from coreclaw_async._wire.error_codes import is_service_code
from coreclaw_async._wire.request import MAX_LIMIT
from coreclaw_async.batch._context import BatchContext
from coreclaw_async.batch._ledger.start_queues import is_path
from coreclaw_async.batch._start_queue_names import current_slug, may_pass
from coreclaw_async.models import Run


@attrs.frozen
class StartQueueRuns:
    """
    What the lists show of a start queue.

    Attributes:
        names: All that its worker is or was called.
        runs: Its runs, and those that may be its.
        doubtful: Those of them whose worker nobody knows.
    """

    names: Sequence[str]
    runs: Sequence[Run]
    doubtful: frozenset[str] = frozenset()


async def read_start_queue(batch_context: BatchContext, start_queue: str, since: dt.datetime) -> StartQueueRuns:
    """
    Return the runs of a start queue that were created at *since* or later.

    A worker that was published anew has another slug under the same name, so the name is looked up again first. The
    service may know an old slug no more: then its runs are looked for among all runs of the account.

    Raises:
        CoreClawError: The lists could not be read for as long as the batch has patience.
    """
    start_queues = batch_context.ledger.start_queues
    unlisted: list[str] = []
    for name in await start_queues.names(start_queue):
        slug = await current_slug(batch_context, name)
        if slug is None:
            unlisted.append(name)
        else:
            await start_queues.name(name, slug)
    names = await start_queues.names(start_queue)
    found: list[Run] = []
    is_whole = True
    for name in (*(name for name in names if not is_path(name)), *unlisted):
        try:
            runs = await _listed(batch_context, since, name)
        except errors.NotFoundError as error:
            if not is_service_code(error.code):  # A gateway's page says nothing of a worker.
                raise
            is_whole = False
            continue
        found += runs
        slugs = {run.worker_id for run in runs if run.worker_id}
        if name in unlisted and len(slugs) == 1:  # Its runs tell what no list of workers does.
            await start_queues.name(name, slugs.pop())
    names = await start_queues.names(start_queue)
    doubtful: set[str] = set()
    if not is_whole:
        others = await start_queues.others(names)
        for run in await _listed(batch_context, since, None):
            if run.worker_id in names:
                found.append(run)
            elif not run.worker_id or (unlisted and run.worker_id not in others):
                found.append(run)
                doubtful.add(run.run_id)
    return StartQueueRuns(names, found, frozenset(doubtful))


async def _listed(batch_context: BatchContext, since: dt.datetime, worker_id: str | None) -> list[Run]:
    """Return the runs of a worker, or of all workers."""
    runs = await _collected(batch_context, since, worker_id)
    if not batch_context.knows_service_time:
        # It may be another month there than it is here.
        runs += await _collected(batch_context, None, worker_id)
    return runs


async def _collected(batch_context: BatchContext, since: dt.datetime | None, worker_id: str | None) -> list[Run]:
    pager: AsyncPager[Run] | None = None

    async def read() -> list[Run]:
        nonlocal pager
        if pager is None:
            pager = runs_pager(
                batch_context.probes, PagerOptions(page_size=MAX_LIMIT), RunFilter(worker_id=worker_id), since=since
            )
        try:
            return await pager.collect()  # Goes on where it was when a page could not be read.
        except errors.PaginationError:
            pager = None
            raise

    return await batch_context.patience.call(read, passes=may_pass)
