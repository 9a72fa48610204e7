"""Aborting the runs of a batch: each is tried, whatever becomes of the others."""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from coreclaw_async import errors
from coreclaw_async._concurrency.groups import first_of, task_group
from coreclaw_async._data.counting import counted
from coreclaw_async._logs import facts, logger
from coreclaw_async._operations.context import Context
from coreclaw_async._operations.runs import abort_run
from coreclaw_async.batch._context import BatchContext
from coreclaw_async.batch._items import BatchItem

AT_ONCE = 8
ABORT = 2
HAS_ENDED = 70002
# The service may not know for some seconds of a run that it has just started.
WAITS = (1.0, 2.0, 5.0, 10.0)


async def abort_items(context: Context, items: Sequence[BatchItem], cancelled: int) -> None:
    """
    Abort the runs of *items*.

    Raises:
        BatchAbortError: Some could not be aborted.
    """
    slots = anyio.CapacityLimiter(AT_ONCE)
    left: dict[str, str] = {}

    async def abort(item: BatchItem) -> None:
        async with slots:
            reason = await _abort(context, item)
        if reason is not None:
            left[item.key] = reason

    try:
        async with task_group() as group:
            for item in items:
                group.start_soon(abort, item)
    except BaseExceptionGroup as failures:
        raise first_of(failures) from None
    if left:
        kept = [item for item in items if item.key in left]
        raise errors.BatchAbortError(
            f"{len(left)} of {counted(len(items), 'run was', 'runs were')} not aborted, and may keep running: "
            f"{kept[0].run_id} of item {kept[0].key!r} ({left[kept[0].key]}){' and others' if len(left) > 1 else ''}",
            cancelled=cancelled,
            keys=[item.key for item in kept],
            not_aborted=[str(item.run_id) for item in kept],
            reasons=[left[item.key] for item in kept],
        )


async def abort_patiently(batch_context: BatchContext, item: BatchItem) -> bool:
    """Abort the run of an item that was cancelled before its run was known; return whether that was done."""
    reason: str | None = None
    for wait in (0.0, *WAITS):
        await batch_context.clock.sleep(wait)
        reason = await _abort(batch_context.context, item)
        if reason is None:
            return True
    told = facts(run_id=item.run_id, batch=item.batch, key=item.key)
    logger.warning(
        "run %s of item %r was not aborted, and may keep running: %s", item.run_id, item.key, reason, extra=told
    )
    return False


async def _abort(context: Context, item: BatchItem) -> str | None:
    """Return why the run could not be aborted, or None where it was or has ended."""
    assert item.run_id is not None, "a submitted item has a run"
    try:
        await abort_run(context, item.run_id)
    except errors.CoreClawError as error:
        return None if error.code == HAS_ENDED else str(error)
    return None
