"""The run queue: items wait, become paid runs when activated, or are released for good."""

from __future__ import annotations

import pytest
from testing.api_session import GOOD_INPUT, STORE_WORKER, ApiSession

from coreclaw_async.testing import RunScript

MAPS = "coreclaw/google-maps-scraper"
ITEMS = "/run-queue/items"
NOT_WAITING = "item is not in waiting state"


async def submit(api: ApiSession) -> str:
    answer = await api.post(f"/workers/{STORE_WORKER}/queued-runs", {"input": GOOD_INPUT})
    queue_ref: str = answer["queue_ref"]
    assert answer == {"queued": True, "queue_ref": queue_ref, "queue_status": "waiting"}
    return queue_ref


async def test_a_submitted_item_waits_and_costs_nothing(api: ApiSession) -> None:
    api.service.balance = "0"
    queue_ref = await submit(api)
    api.service.clock.advance(86_400)

    assert queue_ref.isdecimal()
    assert api.service.queue_items[queue_ref].status == "waiting"
    assert (api.service.queue_items_created, api.service.runs_created) == (1, 0)


async def test_submitting_checks_as_a_start_does(api: ApiSession) -> None:
    path = f"/workers/{STORE_WORKER}/queued-runs"

    assert await api.refusal("POST", path, json={"input": {}}) == (400, 11000)
    assert await api.refusal("POST", path, json={"input": GOOD_INPUT, "version": "latest"}) == (400, 50003)
    assert await api.refusal("POST", "/workers/a~b/queued-runs", json={"input": {}}) == (404, 11004)
    assert api.service.queue_items_created == 0


async def test_the_mode_of_a_queued_run_has_no_effect(api: ApiSession) -> None:
    body = {"input": GOOD_INPUT, "is_async": False, "limit": 5, "offset": 0}
    await api.post(f"/workers/{STORE_WORKER}/queued-runs", body)

    assert api.service.clock.monotonic() == 0


async def test_the_list_is_filtered_by_status(api: ApiSession) -> None:
    waiting, released = (api.service.add_queue_item(MAPS, GOOD_INPUT) for _ in range(2))
    await api.post(f"{ITEMS}/{released}/release")

    async def listed(**query: str) -> list[str]:
        return [item["queue_ref"] for item in (await api.get(ITEMS, **query))["list"]]

    assert await listed() == [waiting, released]
    assert await listed(status="waiting") == [waiting]
    assert await listed(status="inactive") == [released]
    assert await listed(status="strange") == []
    assert api.service.queue_items_created == 0


async def test_an_activated_item_becomes_a_paid_run_once(api: ApiSession) -> None:
    queue_ref = await submit(api)
    body = {"queue_refs": [queue_ref, queue_ref, "404"]}

    answer = await api.post(f"{ITEMS}/activate", body)

    assert answer == {
        "results": [
            {"queue_ref": queue_ref, "success": True},
            {"queue_ref": queue_ref, "success": False, "error": NOT_WAITING},
            {"queue_ref": "404", "success": False, "error": NOT_WAITING},
        ]
    }
    run_id = api.service.queue_items[queue_ref].run_id
    assert [(run.run_id, run.queue_ref) for run in api.service.runs.values()] == [(run_id, queue_ref)]
    assert api.service.runs_created == 1


async def test_an_activated_item_follows_the_next_script(api: ApiSession) -> None:
    queue_ref = api.service.add_queue_item(MAPS, GOOD_INPUT)
    api.service.next_script = RunScript(rows=9)
    await api.post(f"{ITEMS}/activate", {"queue_refs": [queue_ref]})

    assert next(iter(api.service.runs.values())).script.rows == 9


async def test_an_item_goes_on_waiting_without_credit_or_a_free_place(api: ApiSession) -> None:
    queue_ref = await submit(api)
    api.service.balance = "0"
    poor = await api.post(f"{ITEMS}/activate", {"queue_refs": [queue_ref]})
    api.service.balance = "1"
    api.service.plan_limit = 0
    full = await api.post(f"{ITEMS}/activate", {"queue_refs": [queue_ref]})

    assert [answer["results"][0]["error"] for answer in (poor, full)] == [
        "insufficient balance",
        "plan concurrency limit reached",
    ]
    assert api.service.queue_items[queue_ref].status == "waiting"


async def test_released_items_never_run(api: ApiSession) -> None:
    first, second = [await submit(api), await submit(api)]

    one = await api.post(f"{ITEMS}/{first}/release", {"reason": "changed my mind"})
    many = await api.post(f"{ITEMS}/release", {"queue_refs": [first, second], "reason": "all"})

    assert one == {"results": [{"queue_ref": first, "success": True}]}
    assert [entry["success"] for entry in many["results"]] == [False, True]
    assert api.service.queue_items[first].release_reason == "changed my mind"
    activated = await api.post(f"{ITEMS}/activate", {"queue_refs": [first, second]})
    assert [entry["success"] for entry in activated["results"]] == [False, False]
    assert api.service.runs_created == 0


@pytest.mark.parametrize("path", ["activate", "release"])
async def test_null_for_items_is_accepted_and_means_none(api: ApiSession, path: str) -> None:
    await submit(api)

    assert await api.post(f"{ITEMS}/{path}", {"queue_refs": None}) == {"results": []}
    assert [item.status for item in api.service.queue_items.values()] == ["waiting"]


@pytest.mark.parametrize("path", ["activate", "release"])
@pytest.mark.parametrize("body", [{}, {"queue_refs": [None]}, {"queue_refs": [5]}, {"queue_refs": "5"}])
async def test_items_are_named_by_a_list_of_texts(api: ApiSession, path: str, body: dict[str, object]) -> None:
    assert await api.refusal("POST", f"{ITEMS}/{path}", json=body) == (400, 11000)
