"""Callbacks: sent on every change, and as unreliably as a receiver must expect."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from testing.api_session import GOOD_INPUT, STORE_WORKER, ApiSession

from coreclaw_async.testing import CallbackPlan, FakeService, RunScript

URL = "https://receiver.test/hook"
START = 1_786_766_400


class Receiver(httpx.AsyncBaseTransport):
    """Remembers what it gets; fails as often as it is told to."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.failures: list[Exception] = []
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.failures:
            raise self.failures.pop()
        self.bodies.append(json.loads(await request.aread()))
        return httpx.Response(204, request=request)

    @property
    def told(self) -> list[str]:
        return [body["run_status"] for body in self.bodies]


@pytest.fixture
def receiver(service: FakeService) -> Receiver:
    service.callback_transport = Receiver()
    return service.callback_transport


async def test_every_change_is_told_once(api: ApiSession, receiver: Receiver) -> None:
    api.service.next_script = RunScript(ready_for=2, duration=8, rows=4)
    run_id = await api.start(callback_url=URL)
    for seconds in (0, 2, 5, 3, 100):
        api.service.clock.advance(seconds)
        await api.service.deliver_callbacks()

    assert receiver.bodies == [
        {
            "run_slug": run_id,
            "run_status": "running",
            "error_message": "",
            "execution_start_timestamp": START + 2,
            "execution_end_timestamp": 0,
            "running_duration": 0,
            "result_count": 0,
            "result_message": "",
        },
        {
            "run_slug": run_id,
            "run_status": "succeeded",
            "error_message": "",
            "execution_start_timestamp": START + 2,
            "execution_end_timestamp": START + 10,
            "running_duration": 8,
            "result_count": 4,
            "result_message": "",
        },
    ]
    assert [sent.response_status for sent in api.service.callbacks_sent] == [204, 204]
    assert (receiver.requests[0].method, str(receiver.requests[0].url)) == ("POST", URL)
    assert "authorization" not in receiver.requests[0].headers


async def test_a_run_without_a_url_calls_nobody(api: ApiSession, receiver: Receiver) -> None:
    await api.start()
    api.service.clock.advance(60)
    await api.service.deliver_callbacks()

    assert receiver.requests == []


async def test_changes_that_nobody_looked_at_are_told_late_and_in_order(api: ApiSession, receiver: Receiver) -> None:
    api.service.default_script = RunScript(outcome="failed", error_message="x")
    await api.start(callback_url=URL)
    api.service.clock.advance(60)
    await api.service.deliver_callbacks()

    assert receiver.told == ["running", "failed"]
    assert [body["error_message"] for body in receiver.bodies] == ["", "x"]


async def test_only_the_end_can_be_told(api: ApiSession, receiver: Receiver) -> None:
    api.service.callback_plan = CallbackPlan(statuses="final")
    await api.start(callback_url=URL)
    api.service.clock.advance(60)
    await api.service.deliver_callbacks()

    assert receiver.told == ["succeeded"]


async def test_callbacks_can_come_twice(api: ApiSession, receiver: Receiver) -> None:
    api.service.callback_plan = CallbackPlan(copies=2)
    await api.start(callback_url=URL)
    api.service.clock.advance(60)
    await api.service.deliver_callbacks()

    assert receiver.told == ["running", "running", "succeeded", "succeeded"]


async def test_callbacks_can_come_late(api: ApiSession, receiver: Receiver) -> None:
    api.service.callback_plan = CallbackPlan(delay=30)
    await api.start(callback_url=URL)
    told: list[list[str]] = []
    for seconds in (29, 1, 9, 1):
        api.service.clock.advance(seconds)
        await api.service.deliver_callbacks()
        told.append(list(receiver.told))

    assert told == [[], ["running"], ["running"], ["running", "succeeded"]]


async def test_callbacks_can_come_out_of_order_and_none_is_lost(api: ApiSession, receiver: Receiver) -> None:
    api.service.callback_plan = CallbackPlan(shuffle=True)
    ids = [await api.start(callback_url=URL) for _ in range(5)]
    api.service.clock.advance(60)
    await api.service.deliver_callbacks()

    told = [(body["run_slug"], body["run_status"]) for body in receiver.bodies]
    in_order = [(run_id, word) for word in ("running", "succeeded") for run_id in ids]
    assert told != in_order
    assert sorted(told) == sorted(in_order)


async def test_callbacks_can_be_lost(api: ApiSession, receiver: Receiver) -> None:
    api.service.callback_plan = CallbackPlan(lost=True)
    await api.start(callback_url=URL)
    api.service.clock.advance(60)
    await api.service.deliver_callbacks()

    assert (receiver.requests, api.service.callbacks_sent) == ([], [])


async def test_old_callbacks_name_the_run_by_a_number(api: ApiSession, receiver: Receiver) -> None:
    api.service.callback_plan = CallbackPlan(generation="run_id")
    run_id = await api.start(callback_url=URL)
    await api.service.deliver_callbacks()

    assert receiver.bodies[0]["run_id"] == api.service.runs[run_id].number
    assert "run_slug" not in receiver.bodies[0]


@pytest.mark.parametrize(("outcome", "number"), [("succeeded", 3), ("failed", 4), ("aborted", 5)])
async def test_the_oldest_callbacks_have_numbers_for_statuses(
    api: ApiSession, receiver: Receiver, outcome: str, number: int
) -> None:
    api.service.callback_plan = CallbackPlan(generation="v1")
    api.service.next_script = RunScript(outcome=outcome, rows=2)
    run_id = await api.start(callback_url=URL)
    api.service.clock.advance(60)
    await api.service.deliver_callbacks()

    assert [body["status"] for body in receiver.bodies] == [2, number]
    assert receiver.bodies[1] == {"run_slug": run_id, "status": number, "results": 2, "usage": "0.002"}


@pytest.mark.parametrize("failure", [httpx.ConnectError("no"), httpx.ReadTimeout("late")])
async def test_a_receiver_that_fails_is_not_asked_again(
    api: ApiSession, receiver: Receiver, failure: Exception
) -> None:
    receiver.failures = [failure]
    await api.start(callback_url=URL)
    await api.service.deliver_callbacks()
    await api.service.deliver_callbacks()

    assert len(receiver.requests) == 1
    assert api.service.callbacks_sent[0].response_status is None


@pytest.mark.parametrize("url", ["", "no url", "https://[::1", "ftp://receiver.test/"])
async def test_a_url_that_is_none_harms_nobody(service: FakeService, api: ApiSession, url: str) -> None:
    await api.start(callback_url=url)
    await service.deliver_callbacks()

    assert [(sent.url, sent.response_status) for sent in service.callbacks_sent] == [(url, None)]


@pytest.mark.parametrize("host", [f"xn--{'a' * 80}.test", f"{'a' * 300}.test"])
async def test_a_host_that_cannot_be_one_keeps_no_other_callback_back(api: ApiSession, host: str) -> None:
    api.service.callback_plan = CallbackPlan(statuses="final")
    lost, good = [await api.start(callback_url=url) for url in (f"http://{host}/hook", "http://127.0.0.1:1/")]
    api.service.clock.advance(100)

    await api.service.deliver_callbacks()

    sent = [(callback.run_id, callback.response_status) for callback in api.service.callbacks_sent]
    assert sent == [(lost, None), (good, None)]


async def test_an_aborted_run_tells_its_end(api: ApiSession, receiver: Receiver) -> None:
    run_id = await api.start(callback_url=URL)
    await api.service.deliver_callbacks()
    await api.post(f"/worker-runs/{run_id}/abort")
    await api.service.deliver_callbacks()
    api.service.clock.advance(5)
    await api.service.deliver_callbacks()

    assert receiver.told == ["running", "aborted"]


async def test_a_url_given_to_an_abort_gets_what_comes_after_it(api: ApiSession, receiver: Receiver) -> None:
    run_id = await api.start()
    await api.post(f"/worker-runs/{run_id}/abort", {"callback_url": URL})
    api.service.clock.advance(5)
    await api.service.deliver_callbacks()

    assert receiver.told == ["aborted"]


async def test_a_url_given_to_an_abort_replaces_the_first_one(api: ApiSession, receiver: Receiver) -> None:
    run_id = await api.start(callback_url=URL)
    await api.post(f"/worker-runs/{run_id}/abort", {"callback_url": URL + "/abort"})
    api.service.clock.advance(5)
    await api.service.deliver_callbacks()

    assert {str(request.url) for request in receiver.requests} == {URL + "/abort"}
    assert receiver.told == ["running", "aborted"]


async def test_an_activated_queue_item_calls_back(api: ApiSession, receiver: Receiver) -> None:
    body = {"input": GOOD_INPUT, "callback_url": URL}
    item = await api.post(f"/workers/{STORE_WORKER}/queued-runs", body)
    await api.post("/run-queue/items/activate", {"queue_refs": [item["queue_ref"]]})
    await api.service.deliver_callbacks()

    assert receiver.told == ["running"]


@pytest.mark.parametrize("wrong", [{"copies": 0}, {"delay": -1}, {"generation": "v3"}, {"statuses": "some"}])
def test_a_plan_does_not_take_impossible_values(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        CallbackPlan(**wrong)
