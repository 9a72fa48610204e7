"""By which slug the workers of a batch go: a worker that is named in two ways has one start queue all the same."""

from __future__ import annotations

from collections.abc import Sequence

from coreclaw_async import errors
from coreclaw_async._operations.context import Context
from coreclaw_async._operations.lists import STORE, WORKERS
from coreclaw_async._paging.pager import PagerOptions
from coreclaw_async._wire.request import MAX_LIMIT
from coreclaw_async.batch._context import BatchContext
from coreclaw_async.batch._ledger.start_queues import is_path
from coreclaw_async.batch._patience import is_passing

_LISTS = (WORKERS, STORE)


def may_pass(error: errors.CoreClawError) -> bool:
    """Return whether a list may be read yet; one that contradicts itself, too."""
    return is_passing(error) or isinstance(error, errors.PaginationError)


async def slugs_of(batch_context: BatchContext, names: Sequence[str]) -> dict[str, str]:
    """
    Return the start queue of each of the workers.

    One that the lists of workers do not have goes by its name for as long as the batch is open, which nobody writes
    down: it may be listed later.

    Raises:
        CoreClawError: The lists could not be read for as long as the batch has patience.
    """
    start_queues = batch_context.ledger.start_queues
    found: dict[str, str] = {}
    for name in names:
        found[name] = name
        if name in batch_context.guessed:
            continue
        start_queue = await start_queues.find(name)
        if start_queue is None:
            slug = await current_slug(batch_context, name)
            if slug is None:
                batch_context.guessed.add(name)
                continue
            start_queue = await start_queues.name(name, slug)
        found[name] = start_queue
    return found


async def current_slug(batch_context: BatchContext, name: str) -> str | None:
    """
    Return the slug that a worker has now, or None when no list shows it.

    Raises:
        CoreClawError: The lists could not be read for as long as the batch has patience.
    """
    if not is_path(name):
        return name
    return await batch_context.patience.call(lambda: find_slug(batch_context.probes, name), passes=may_pass)


async def find_slug(context: Context, name: str) -> str | None:
    """Return the slug of a worker out of the lists of workers, or None."""
    if not is_path(name):
        return name
    options = PagerOptions(page_size=MAX_LIMIT)
    for workers in _LISTS:
        async for worker in workers.pager(context, options, keyword=name.rpartition("~")[2]):
            if worker.path is not None and worker.path.replace("/", "~") == name and worker.worker_id:
                return worker.worker_id
    return None
