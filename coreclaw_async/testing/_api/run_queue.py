"""The run queue: list, activate and release."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from coreclaw_async.testing._api.calls import Call
from coreclaw_async.testing._api.operation import operation
from coreclaw_async.testing._api.request_rules import WINDOW, Member
from coreclaw_async.testing._api.run_starts import why_not_now
from coreclaw_async.testing._state.records import FakeQueueItem
from coreclaw_async.testing._state.world import World

_ITEMS = "/run-queue/items"
_REFS = {"queue_refs": Member("strings or null", required=True)}
_REASON = {"reason": Member("string")}
_NOT_WAITING = "item is not in waiting state"


@operation("listRunQueueItems", "GET", _ITEMS, query={**WINDOW, "status": Member("string")})
def list_queue_items(call: Call) -> Any:
    """Return one page of the items, all of them or those of one status."""
    status = call.query.get("status")
    fitting = [item for item in call.world.queue_items.values() if status in {None, "", item.status}]
    return call.page_of(fitting, _show_item)


@operation("activateRunQueueItems", "POST", f"{_ITEMS}/activate", body=_REFS)
def activate_items(call: Call) -> Any:
    """Start a paid run for each item that waits."""
    return _for_each(call, call.body["queue_refs"] or [], lambda item: _activate(call.world, item))


@operation("releaseRunQueueItems", "POST", f"{_ITEMS}/release", body={**_REFS, **_REASON})
def release_items(call: Call) -> Any:
    """Release items, which then never run."""
    return _for_each(call, call.body["queue_refs"] or [], lambda item: _release(item, call.body.get("reason")))


@operation("releaseRunQueueItem", "POST", f"{_ITEMS}/{{queueId}}/release", body=_REASON)
def release_item(call: Call) -> Any:
    """Release one item."""
    refs = [call.parameters["queueId"]]
    return _for_each(call, refs, lambda item: _release(item, call.body.get("reason")))


def _for_each(call: Call, refs: list[str], act: Callable[[FakeQueueItem], str | None]) -> Any:
    """Act on each item and return which succeeded; `act` returns what went wrong, or None."""
    results: list[dict[str, Any]] = []
    for ref in refs:
        item = call.world.queue_items.get(ref)
        error = _NOT_WAITING if item is None or item.status != "waiting" else act(item)
        outcome: dict[str, Any] = {"queue_ref": ref, "success": error is None}
        results.append(outcome if error is None else outcome | {"error": error})
    return {"results": results}


def _activate(world: World, item: FakeQueueItem) -> str | None:
    refusal = why_not_now(world)
    if refusal is not None:
        return refusal.message
    worker = world.workers[item.worker_id]
    run = world.create_run(
        worker,
        item.input,
        script=world.script_for(worker),
        version=item.version,
        callback_url=item.callback_url,
        queue_ref=item.queue_ref,
        paid=True,
    )
    item.status, item.run_id = "inactive", run.run_id
    return None


def _release(item: FakeQueueItem, reason: str | None) -> str | None:
    item.status, item.release_reason = "inactive", reason
    return None


def _show_item(item: FakeQueueItem) -> dict[str, Any]:
    return {
        "queue_ref": item.queue_ref,
        "queue_status": item.status,
        "worker_slug": item.worker_id,
        "version": item.version,
        "created_at": item.created_at,
    }
