"""Operations on the run queue: submit, list, activate and release."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from coreclaw_async.testing._api.calls import Call
from coreclaw_async.testing._api.run_starts import check_input, check_version, why_not_now
from coreclaw_async.testing._state.records import FakeQueueItem
from coreclaw_async.testing._state.world import World

_NOT_WAITING = "item is not in waiting state"


def queue_run(call: Call) -> Any:
    """Answer `POST /workers/{workerId}/queued-runs`; `is_async`, `limit` and `offset` do nothing."""
    worker = call.worker()
    version = check_version(worker, call.body.get("version"))
    check_input(worker, call.body.get("input"))
    item = add_queue_item(
        call.world,
        worker_id=worker.slug,
        version=version,
        input=call.body["input"],
        callback_url=call.body.get("callback_url"),
    )
    call.world.queue_items_created += 1
    return {"queued": True, "queue_ref": item.queue_ref, "queue_status": item.status}


def add_queue_item(world: World, **members: Any) -> FakeQueueItem:
    """Store an item that waits; it never starts by itself."""
    created_at = int(world.switches.clock.time())
    item = FakeQueueItem(queue_ref=world.ids.queue_ref(), created_at=created_at, **members)
    world.queue_items[item.queue_ref] = item
    return item


def list_queue_items(call: Call) -> Any:
    """Answer `GET /run-queue/items`."""
    status = call.query.get("status")
    fitting = [item for item in call.world.queue_items.values() if status in {None, "", item.status}]
    window = call.window
    page = [_show_item(item) for item in fitting[window.start : window.stop]]
    echo = window.echo if call.switches.echo_page_index else {}
    return {"count": len(fitting), "list": call.switches.show_list(page), **echo}


def activate_items(call: Call) -> Any:
    """Answer `POST /run-queue/items/activate`; each item that waits becomes a paid run."""
    return _for_each(call, call.body["queue_refs"], lambda item: _activate(call.world, item))


def release_items(call: Call) -> Any:
    """Answer `POST /run-queue/items/release`; a released item never runs."""
    return _for_each(call, call.body["queue_refs"], lambda item: _release(item, call.body.get("reason")))


def release_item(call: Call) -> Any:
    """Answer `POST /run-queue/items/{queueId}/release`."""
    refs = [call.parameters["queueId"]]
    return _for_each(call, refs, lambda item: _release(item, call.body.get("reason")))


def _for_each(call: Call, refs: list[str], act: Callable[[FakeQueueItem], str | None]) -> Any:
    """Act on each item and tell of each whether it went well; `act` returns what went wrong."""
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
