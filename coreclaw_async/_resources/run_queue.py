"""The run queue: items that wait until they are activated or released."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import attrs

from coreclaw_async._operations.calls import with_call_events
from coreclaw_async._operations.context import Context
from coreclaw_async._operations.lists import QUEUE
from coreclaw_async._paging.pager import AsyncPager, PagerOptions
from coreclaw_async._wire.converter import read_models, read_object
from coreclaw_async._wire.request import Request, Safety, build_body, build_path, check_id, check_text
from coreclaw_async._wire.response import Answer
from coreclaw_async.errors import NotFoundError, RunOperationError
from coreclaw_async.models import Page, QueueAction, QueueItem

# What the service may answer for items that are no longer waiting.
_SAYS_DONE = (NotFoundError, RunOperationError)


@with_call_events("run_queue")
class AsyncRunQueue:
    """The run queue: ``client.run_queue``."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def list_page(self, *, status: str | None = None, offset: int = 0, limit: int = 20) -> Page[QueueItem]:
        """
        Return one page of the queue.

        ``GET /api/v2/run-queue/items``. Reads only: retried after a failure.

        Args:
            status: ``waiting`` or ``inactive``; passed on unchecked.
            offset: 0 to 2**63 - 1, sent as it is. What the service counts with it has changed over time: only 0 is
                certain to be the first page.
            limit: Items a page, 1 to 100.

        Raises:
            ValueError: *offset* or *limit* is out of range.

        Example::

            page = await client.run_queue.list_page(status="waiting")
            print([item.queue_id for item in page])
        """
        return await QUEUE.read(self._context, offset=offset, limit=limit, status=status)

    def iterate(
        self,
        *,
        status: str | None = None,
        page_size: int = 100,
        max_items: int | None = None,
        prefetch: int = 0,
    ) -> AsyncPager[QueueItem]:
        """
        Return an iterator over the queue.

        ``GET /api/v2/run-queue/items``, once a page. Reads only: retried after a failure.

        Args:
            status: ``waiting`` or ``inactive``; passed on unchecked.
            page_size: Items a page, 1 to 100.
            max_items: Most items in all, 1 or more; None for all.
            prefetch: Pages that are read at the same time as the next one, 0 to 100.

        Raises:
            PaginationError: The pages that came do not add up to one list.
            ValueError: A number is out of range.

        Example::

            async for item in client.run_queue.iterate():
                print(item.queue_id, item.status)
        """
        options = PagerOptions(page_size=page_size, max_items=max_items, prefetch=prefetch)
        return QUEUE.pager(self._context, options, status=status)

    async def activate(self, queue_ids: str | Sequence[str]) -> tuple[QueueAction, ...]:
        """
        Start the runs of waiting items, which costs money.

        ``POST /api/v2/run-queue/items/activate``. Retried after a failure: an item that was activated already
        answers with ``success`` False and is not started twice. When an earlier answer of this call was lost, such an
        item has ``success`` None and ``may_be_ours`` True instead: this call may have activated it. The answer names no
        runs; a ``callback_url`` or the list of runs does.

        Args:
            queue_ids: One item or several.

        Returns:
            What became of each item; look at every ``success``, the call itself succeeds when single items fail.

        Raises:
            ValueError: No item was given, or an id cannot be one.

        Example::

            for action in await client.run_queue.activate([queue_id]):
                print(action.queue_id, action.success, action.error)
        """
        return await self._act("activateRunQueueItems", "activate", _ids(queue_ids), None)

    async def release(self, queue_ids: str | Sequence[str], *, reason: str | None = None) -> tuple[QueueAction, ...]:
        """
        Take waiting items out of the queue for good; their runs will never start.

        ``POST /api/v2/run-queue/items/{queueId}/release`` for one item given as a str,
        ``POST /api/v2/run-queue/items/release`` for a sequence. Retried after a failure: an item that was released
        already answers with ``success`` False, or, when an earlier answer of this call was lost, has ``success`` None
        and ``may_be_ours`` True.

        Args:
            queue_ids: One item or several.
            reason: A reason for the service's records.

        Returns:
            What became of each item; look at every ``success``, the call itself succeeds when single items fail.

        Raises:
            ValueError: No item was given, or an id cannot be one.

        Example::

            (action,) = await client.run_queue.release(queue_id, reason="not needed")
            print(action.success)
        """
        if not isinstance(queue_ids, str):
            return await self._act("releaseRunQueueItems", "release", _ids(queue_ids), reason)
        request = Request(
            operation="releaseRunQueueItem",
            method="POST",
            path=build_path("run-queue", "items", check_id("queue_ids", queue_ids), "release"),
            body=build_body(reason=_reason(reason)),
            safety=Safety.REPEATABLE,
            already_done_error=_SAYS_DONE,
        )
        reader = functools.partial(_read_actions, queue_ids=[queue_ids])
        return await self._context.transport.call(request, reader)

    async def _act(
        self, operation: str, action: str, queue_ids: list[str], reason: str | None
    ) -> tuple[QueueAction, ...]:
        request = Request(
            operation=operation,
            method="POST",
            path=build_path("run-queue", "items", action),
            body=build_body(queue_refs=queue_ids, reason=_reason(reason)),
            safety=Safety.REPEATABLE,
            already_done_error=_SAYS_DONE,
        )
        reader = functools.partial(_read_actions, queue_ids=queue_ids)
        return await self._context.transport.call(request, reader)


def _read_actions(answer: Answer, *, queue_ids: Sequence[str]) -> tuple[QueueAction, ...]:
    """Return what became of each item; what a repetition refuses may be what the first send has done."""
    if answer.data is None:  # The service has answered these with nothing but its code.
        return tuple(QueueAction(queue_id=queue_id, may_be_ours=True) for queue_id in queue_ids if answer.is_repeat)
    actions = read_models(answer, QueueAction, read_object(answer).get("results"))
    if not answer.is_repeat:
        return actions
    return tuple(
        action if action.success else attrs.evolve(action, success=None, may_be_ours=True) for action in actions
    )


def _ids(queue_ids: str | Sequence[str]) -> list[str]:
    ids = [queue_ids] if isinstance(queue_ids, str) else list(queue_ids)
    if not ids:
        raise ValueError("queue_ids must name at least one item, not none")
    return [check_id("queue_ids", queue_id) for queue_id in ids]


def _reason(reason: str | None) -> str | None:
    return None if reason is None else check_text("reason", reason)
