"""Activations and releases whose answer was lost: their own first effect is not reported as a failure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from either_client import AsyncCoreClaw

from coreclaw_async import QueueAction
from coreclaw_async.testing import FakeService, faults

WORKER = "coreclaw/google-maps-scraper"

Act = Callable[[AsyncCoreClaw, list[str]], Awaitable[Sequence[QueueAction]]]


async def activate(client: AsyncCoreClaw, ids: list[str]) -> Sequence[QueueAction]:
    return await client.run_queue.activate(ids)


async def release_several(client: AsyncCoreClaw, ids: list[str]) -> Sequence[QueueAction]:
    return await client.run_queue.release(ids)


async def release_one(client: AsyncCoreClaw, ids: list[str]) -> Sequence[QueueAction]:
    return await client.run_queue.release(ids[0])


ACTIONS: dict[str, tuple[str, Act]] = {
    "activate": ("activateRunQueueItems", activate),
    "release several": ("releaseRunQueueItems", release_several),
    "release one": ("releaseRunQueueItem", release_one),
}


def add_items(service: FakeService, count: int) -> list[str]:
    return [service.add_queue_item(WORKER, {"parameters": {"custom": {}}}) for _ in range(count)]


@pytest.mark.parametrize("loss", [faults.commit_then_drop(), faults.commit_then_status(502)], ids=["drop", "502"])
@pytest.mark.parametrize("name", ACTIONS)
async def test_what_a_lost_answer_may_have_done_is_not_told_as_a_failure(
    client: AsyncCoreClaw, service: FakeService, name: str, loss: Any
) -> None:
    operation, act = ACTIONS[name]
    ids = add_items(service, 1 if name == "release one" else 2)
    service.faults.add(loss, operation=operation)

    actions = await act(client, ids)

    assert [(action.queue_id, action.success, action.may_be_ours) for action in actions] == [
        (queue_id, None, True) for queue_id in ids
    ]
    assert all(action.error for action in actions)
    assert {item.status for item in service.queue_items.values()} == {"inactive"}
    assert len(service.runs) == (len(ids) if name == "activate" else 0)


@pytest.mark.parametrize("code", [70002, 11004])
@pytest.mark.parametrize("name", ACTIONS)
async def test_a_repetition_that_is_refused_as_a_whole_leaves_open_what_the_first_send_did(
    client: AsyncCoreClaw, service: FakeService, name: str, code: int
) -> None:
    operation, act = ACTIONS[name]
    ids = add_items(service, 1)
    service.faults.add(faults.commit_then_drop(), operation=operation)
    service.faults.add(faults.error(code, status=404), operation=operation)

    assert await act(client, ids) == (QueueAction(queue_id=ids[0], success=None, may_be_ours=True),)


@pytest.mark.parametrize("name", ACTIONS)
async def test_a_request_that_did_nothing_is_answered_plainly_when_it_is_retried(
    client: AsyncCoreClaw, service: FakeService, name: str
) -> None:
    operation, act = ACTIONS[name]
    ids = add_items(service, 1)
    service.faults.add(faults.refuse_connection(), operation=operation)

    (action,) = await act(client, ids)

    assert (action.success, action.may_be_ours) == (True, False)


@pytest.mark.parametrize("name", ACTIONS)
async def test_an_item_that_is_not_waiting_is_a_failure_when_no_answer_was_lost(
    client: AsyncCoreClaw, service: FakeService, name: str
) -> None:
    _, act = ACTIONS[name]
    ids = add_items(service, 1)
    await client.run_queue.release(ids)

    (action,) = await act(client, ids)

    assert (action.success, action.may_be_ours) == (False, False)


async def test_after_a_lost_answer_only_what_is_refused_is_in_doubt(
    client: AsyncCoreClaw, service: FakeService
) -> None:
    ids = add_items(service, 1)
    service.faults.add(faults.drop_before_commit(), operation="releaseRunQueueItems")

    known, unknown = await client.run_queue.release([*ids, "999"])

    assert (known.success, known.may_be_ours) == (True, False)
    assert (unknown.success, unknown.may_be_ours) == (None, True)


async def test_what_the_wire_says_is_not_taken_for_what_this_side_adds(
    client: AsyncCoreClaw, service: FakeService
) -> None:
    body = b'{"code":0,"message":"ok","data":{"results":[{"queue_ref":"7","success":true,"may_be_ours":true}]}}'
    service.faults.add(faults.reply(body), operation="activateRunQueueItems")

    (action,) = await client.run_queue.activate("7")

    assert not action.may_be_ours
    assert action.extra == {"may_be_ours": True}
