"""Decisions of a person about an item, checked with the service and the ledger."""

from __future__ import annotations

from coreclaw_async._operations.runs import read_run
from coreclaw_async._wire.request import check_id, worker_in_path
from coreclaw_async.batch._context import BatchContext
from coreclaw_async.batch._item_steps import to_planned, to_submitted
from coreclaw_async.batch._items import BatchItem, BatchItemState, IllegalStepError, ItemOrigin
from coreclaw_async.batch._ledger.start_queues import is_path
from coreclaw_async.batch._start_queue_names import find_slug
from coreclaw_async.models import Run


async def resolve(batch_context: BatchContext, item: BatchItem, adopt: str | None) -> BatchItem:
    """
    Continue an item with the run *adopt*, or without a run (None), and return it as it is then.

    Raises:
        ValueError: The item is in another state, or the run cannot be its run.
        CoreClawError: The run cannot be read.
    """
    _check_state(item, adopt)
    if adopt is None:
        after = to_planned(item, ItemOrigin.PERSON)
    else:
        run = await read_run(batch_context.context, check_id("adopt", adopt))
        if adopt != item.run_id:
            await _check_worker(batch_context, item, adopt, run)
        after = to_submitted(item, adopt, ItemOrigin.PERSON, at=batch_context.service_time())
    try:
        return await batch_context.step(item, after)
    except IllegalStepError:
        raise ValueError(f"item {item.key!r} was resolved meanwhile, or run {adopt} is another item's") from None


def _check_state(item: BatchItem, adopt: str | None) -> None:
    if item.state is BatchItemState.AMBIGUOUS:
        return
    if item.state is not BatchItemState.FAILED:
        raise ValueError(f"item {item.key!r} is {item.state}, and only ambiguous or failed items can be resolved")
    if adopt is None:
        raise ValueError(f"item {item.key!r} is failed: start it again with rerun([{item.key!r}])")
    if item.run_id not in {None, adopt}:
        raise ValueError(f"item {item.key!r} is failed with run {item.run_id}, and only that run can be adopted again")


async def _check_worker(batch_context: BatchContext, item: BatchItem, adopt: str, run: Run) -> None:
    """Raise if the run is certainly of another worker."""
    start_queues = batch_context.ledger.start_queues
    worker_id = worker_in_path(item.worker_id)
    names = await start_queues.names(await start_queues.find(worker_id) or worker_id)
    if run.worker_id is None or run.worker_id in names:
        return
    slug = await find_slug(batch_context.context, worker_id)
    if run.worker_id == slug or (slug is None and all(map(is_path, names))):  # A new slug, or nobody knows any.
        return
    known = " or ".join(name for name in {*names, slug or ""} if name and not is_path(name))
    raise ValueError(f"run {adopt} is of worker {run.worker_id}, and item {item.key!r} is for {known}")
