"""By which slug the workers of a batch go: a worker that is named in two ways has one lane all the same."""

from __future__ import annotations

from collections.abc import Sequence

from coreclaw_async._batches.batch_ledger import BatchLedger
from coreclaw_async._paging.pager import AsyncPager, PagerOptions
from coreclaw_async._resources.context import Context
from coreclaw_async._resources.worker_lists import workers_pager
from coreclaw_async._wire.moments import creation_time
from coreclaw_async._wire.request import MAX_LIMIT
from coreclaw_async.models import WorkerSummary

_LISTS = ("listWorkers", "listStore")


async def slugs_of(context: Context, ledger: BatchLedger, names: Sequence[str]) -> dict[str, str]:
    """Return the slug of each of the workers, or its name where the lists of workers do not have it."""
    slugs: dict[str, str] = {}
    for name in names:
        slug = await ledger.slug_of(name)
        if slug is None:
            slug = await _slug_of(context, name)
            await ledger.name_lane(name, slug)
        slugs[name] = slug
    return slugs


async def _slug_of(context: Context, name: str) -> str:
    if creation_time(name) is not None:  # It has the form of a slug.
        return name
    for operation in _LISTS:
        pager: AsyncPager[WorkerSummary] = workers_pager(
            context, operation, PagerOptions(page_size=MAX_LIMIT), name.rpartition("~")[2]
        )
        async for worker in pager:
            if worker.path is not None and worker.path.replace("/", "~") == name and worker.worker_id:
                return worker.worker_id
    return name
