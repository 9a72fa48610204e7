"""The run queue: what was put there, what waits there, and what became of it."""

from __future__ import annotations

from typing import Any

import attrs

from coreclaw_async._data.record import Model
from coreclaw_async.models.fields import extra_field


@attrs.frozen(kw_only=True, repr=False)
class QueuedRun(Model):
    """
    The answer to `workers.queue_run`: an item that waits until it is activated.

    Attributes:
        queue_id: Name of the item, digits in a string; the wire calls it ``queue_ref``.
        queued: Whether the service took it, or None.
        queue_status: ``waiting``, or another status.
        request_id: The service's name for the request.
        extra: Members that this version does not know, or cannot read, as they came, under their wire names.

    Example::

        queued = await client.workers.queue_run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]})
        await client.run_queue.activate(queued.queue_id)
    """

    queue_id: str = ""
    queued: bool | None = None
    queue_status: str | None = None
    request_id: str | None = None
    extra: dict[str, Any] = extra_field()


@attrs.frozen(kw_only=True, repr=False)
class QueueItem(Model):
    """
    One item of the run queue.

    Attributes:
        queue_id: Name of the item, digits in a string; the wire calls it ``queue_ref``.
        status: ``waiting``, ``inactive``, another status, or None when not told; the wire calls it ``queue_status``.
        extra: Members that this version does not know, or cannot read, as they came, under their wire names.

    Example::

        async for item in client.run_queue.iterate(status="waiting"):
            print(item.queue_id)
    """

    queue_id: str = ""
    status: str | None = None
    extra: dict[str, Any] = extra_field()


@attrs.frozen(kw_only=True, repr=False)
class QueueAction(Model):
    """
    What became of one item that was to be activated or released.

    The service answers code 0 though single items failed, so look at `success` of each.

    Attributes:
        queue_id: Name of the item; the wire calls it ``queue_ref``.
        success: False when the item had already run or been released; None when the service did not say, or when that
            cannot be told: see `may_be_ours`.
        error: The reason, where the service gives one.
        may_be_ours: Whether the answer to an earlier attempt of this call was lost, so that the attempt may have done
            what the service now refuses: the item may have been activated (and cost money) or released by this call.
            Look at the queue, or at the list of runs.
        extra: Members that this version does not know, or cannot read, as they came, under their wire names.

    Example::

        for action in await client.run_queue.activate([queue_id]):
            print(action.queue_id, "started" if action.success else action.error)
    """

    queue_id: str = ""
    success: bool | None = None
    error: str | None = None
    may_be_ours: bool = False
    extra: dict[str, Any] = extra_field()
