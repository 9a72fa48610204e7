"""Faults in memory: what is committed, what comes back, and which request gets which fault."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest
from testing.api_session import API, GOOD_INPUT, STORE_WORKER, ApiSession, sign_in

from coreclaw_async.testing import FakeService, Fault, faults

RUNS = f"/workers/{STORE_WORKER}/runs"
START = {"input": GOOD_INPUT}


async def start(api: ApiSession) -> httpx.Response:
    return await api.client.post(RUNS, json=START, timeout=30)


async def start_with(api: ApiSession, fault: Fault) -> httpx.Response:
    api.service.faults.add(fault, operation="runWorker")
    return await start(api)


@pytest.mark.parametrize(
    ("fault", "committed"),
    [
        (faults.commit_then_drop(), 1),
        (faults.drop_before_commit(), 0),
        (faults.truncate(), 1),
        (faults.stall(), 1),
        (faults.stall(commit=False), 0),
        (faults.delay(31), 1),
    ],
    ids=lambda value: getattr(value, "name", None),
)
async def test_without_an_answer_nobody_can_tell_what_happened(api: ApiSession, fault: Fault, committed: int) -> None:
    with pytest.raises(httpx.TransportError) as raised:
        await start_with(api, fault)

    assert not isinstance(raised.value, httpx.ConnectError)
    assert api.service.runs_created == committed
    assert len(api.service.requests) == 1


async def test_a_refused_connection_never_reaches_the_service(api: ApiSession) -> None:
    with pytest.raises(httpx.ConnectError):
        await start_with(api, faults.refuse_connection())

    assert (api.service.runs_created, api.service.requests) == (0, [])


async def test_a_lost_connection_has_two_names_in_turn(api: ApiSession) -> None:
    names: list[str] = []
    for _ in range(4):
        with pytest.raises(httpx.TransportError) as raised:
            await start_with(api, faults.commit_then_drop())
        names.append(type(raised.value).__name__)

    assert sorted(names[:2]) == ["ReadError", "RemoteProtocolError"]
    assert names[2:] == names[:2]


@pytest.mark.parametrize("make", [faults.commit_then_drop, faults.drop_before_commit])
async def test_the_name_of_a_loss_can_be_chosen(api: ApiSession, make: Callable[..., Fault]) -> None:
    with pytest.raises(httpx.WriteError):
        await start_with(api, make(error=httpx.WriteError))


@pytest.mark.parametrize("fault", [faults.stall(), faults.delay(1000)], ids=["stall", "delay"])
async def test_a_silent_service_costs_the_read_timeout(api: ApiSession, fault: Fault) -> None:
    with pytest.raises(httpx.ReadTimeout):
        await start_with(api, fault)

    assert api.service.clock.monotonic() == 30


async def test_without_a_read_timeout_a_stall_lasts_until_the_client_leaves(api: ApiSession) -> None:
    api.service.faults.add(faults.stall())
    with anyio.move_on_after(0.01) as scope:
        await api.get("/store")

    assert scope.cancelled_caught


async def test_a_delayed_answer_comes_late_and_whole(api: ApiSession) -> None:
    answer = await start_with(api, faults.delay(12))

    assert answer.json()["code"] == 0
    assert api.service.clock.monotonic() == 12


@pytest.mark.parametrize(("keep", "expected"), [(0, 0), (20, 20), (10**6, None)])
async def test_a_truncated_body_breaks_off(api: ApiSession, keep: int, expected: int | None) -> None:
    api.service.faults.add(faults.truncate(keep))
    got: list[bytes] = []

    async def read(answer: httpx.Response) -> None:
        async for piece in answer.aiter_raw():
            got.append(piece)

    async with api.client.stream("GET", "/store") as answer:
        with pytest.raises(httpx.TransportError):
            await read(answer)

    length = int(answer.headers["content-length"])
    assert len(b"".join(got)) == (length - 1 if expected is None else expected)


async def test_a_dripping_body_comes_in_pieces_with_pauses(api: ApiSession) -> None:
    api.service.faults.add(faults.drip(chunk=10, pause=2))
    async with api.client.stream("GET", "/store", timeout=5) as answer:
        pieces = [piece async for piece in answer.aiter_raw()]

    assert {len(piece) for piece in pieces[:-1]} == {10}
    assert sum(map(len, pieces)) == int(answer.headers["content-length"])
    assert api.service.clock.monotonic() == 2 * (len(pieces) - 1)


async def test_a_pause_longer_than_the_read_timeout_ends_the_body(api: ApiSession) -> None:
    api.service.faults.add(faults.drip(chunk=10, pause=6))
    with pytest.raises(httpx.ReadTimeout):
        await api.client.get("/store", timeout=5)


@pytest.mark.parametrize(
    ("fault", "status", "committed"),
    [
        (faults.commit_then_status(), 502, 1),
        (faults.commit_then_status(504, b"gone", {"x-gateway": "yes"}), 504, 1),
        (faults.status(), 503, 0),
        (faults.status(401, b"", {}), 401, 0),
    ],
    ids=["502", "504", "503", "401"],
)
async def test_a_gateway_answers_in_place_of_the_service(
    api: ApiSession, fault: Fault, status: int, committed: int
) -> None:
    answer = await start_with(api, fault)

    assert (answer.status_code, api.service.runs_created) == (status, committed)
    assert api.service.requests[0].status == status


async def test_a_gateway_speaks_html_unless_told_otherwise(api: ApiSession) -> None:
    plain = await start_with(api, faults.status())
    told = await start_with(api, faults.status(503, b"{}", {"Content-Type": "application/json", "X-A": "1"}))

    assert plain.headers["content-type"] == "text/html"
    assert plain.text.startswith("<html>")
    assert (told.headers["content-type"], told.headers["x-a"]) == ("application/json", "1")


async def test_an_error_envelope_can_come_with_any_status(api: ApiSession) -> None:
    bare = await start_with(api, faults.error(14000, 200))
    full = await start_with(api, faults.error(11000, 422, "no", ["body.x: wrong"], commit=True))
    strange = await start_with(api, faults.error(77777))

    assert (bare.status_code, bare.json()["code"], bare.json()["message"]) == (200, 14000, "database error")
    assert "details" not in bare.json()
    assert full.json() == {
        "code": 11000,
        "message": "no",
        "request_id": full.json()["request_id"],
        "details": ["body.x: wrong"],
    }
    assert (strange.status_code, strange.json()["message"]) == (400, "error")
    assert api.service.runs_created == 1


@pytest.mark.parametrize(
    ("fault", "status", "retry_after"),
    [
        (faults.rate_limited(), 429, None),
        (faults.rate_limited(7), 429, "7"),
        (faults.rate_limited("Wed, 21 Oct 2026 07:28:00 GMT"), 429, "Wed, 21 Oct 2026 07:28:00 GMT"),
        (faults.rate_limited(0.5, in_200=True), 200, "0.5"),
    ],
)
async def test_a_rate_limit_may_say_how_long(
    api: ApiSession, fault: Fault, status: int, retry_after: str | None
) -> None:
    answer = await start_with(api, fault)

    assert (answer.status_code, answer.json()["code"]) == (status, 13000)
    assert answer.headers.get("retry-after") == retry_after
    assert api.service.runs_created == 0


async def test_any_bytes_can_be_the_answer(api: ApiSession) -> None:
    done = await start_with(api, faults.reply(b"\x00\x01", 201, {"x-odd": "1"}))
    not_done = await start_with(api, faults.reply(b"[]", commit=False))

    assert (done.status_code, done.content, done.headers["x-odd"]) == (201, b"\x00\x01", "1")
    assert not_done.headers["content-type"] == "application/json"
    assert api.service.runs_created == 1


async def test_the_envelope_can_be_edited(api: ApiSession) -> None:
    def drop_slug(envelope: dict[str, Any]) -> dict[str, Any]:
        return {**envelope, "code": "0", "data": {}}

    answer = await start_with(api, faults.edit(drop_slug))

    assert (answer.json()["code"], answer.json()["data"]) == ("0", {})
    assert api.service.runs_created == 1


async def test_an_edited_answer_keeps_its_status(api: ApiSession) -> None:
    api.service.faults.add(faults.edit(lambda envelope: [envelope]))
    answer = await api.client.get("/nothing")

    assert (answer.status_code, answer.json()[0]["code"]) == (404, 11004)


async def test_a_redirect_points_elsewhere_and_starts_nothing(api: ApiSession) -> None:
    answer = await start_with(api, faults.redirect("https://evil.test/x", 308))

    assert (answer.status_code, answer.headers["location"]) == (308, "https://evil.test/x")
    assert api.service.runs_created == 0


async def test_a_strange_host_does_not_exist_and_what_it_would_have_got_is_recorded(
    service: FakeService,
) -> None:
    service.faults.add(faults.redirect("https://evil.test/x"))
    async with sign_in(service, follow_redirects=True) as client:
        with pytest.raises(httpx.ConnectError) as caught:
            await client.get("/store")

    assert str(caught.value) == (
        "no such host: evil.test; this fake service is https://openapi.coreclaw.com: give the client its base_url "
        "(CORECLAW_BASE_URL may name another one)"
    )

    stray = service.requests[-1]
    assert (stray.host, stray.path, stray.operation, stray.status) == ("evil.test", "/x", None, None)
    assert "authorization" not in stray.headers


async def test_rows_come_to_the_front_just_before_the_answer(api: ApiSession) -> None:
    run_id = api.service.add_run("coreclaw/google-maps-scraper", rows=3)
    api.service.faults.add(faults.insert_front(2), times=2)

    first = await api.get(f"/worker-runs/{run_id}/result")
    second = await api.get("/worker-runs/last/result")

    assert (first["count"], second["count"]) == (5, 7)
    assert [row["rank"] for row in second["list"]] == [6, 7, 4, 5, 1, 2, 3]


async def test_runs_come_to_the_front_just_before_the_answer(api: ApiSession) -> None:
    other = api.service.add_worker("owner/other")
    old = api.service.add_run(other)
    api.service.faults.add(faults.insert_front(2), times=2)

    listed = await api.get("/worker-runs", worker_id="owner~other")
    everything = await api.get("/worker-runs")

    assert (listed["count"], listed["list"][-1]["slug"]) == (3, old)
    assert everything["count"] == 5
    assert api.service.runs_created == 0


async def test_nothing_comes_to_the_front_of_anything_else(api: ApiSession) -> None:
    api.service.faults.add(faults.insert_front(2), times=2)
    await api.get("/store")

    assert await api.refusal("GET", "/worker-runs/last/result") == (404, 11004)
    assert len(api.service.runs) == 0


@pytest.mark.parametrize("size", [10_000_000, 50])
async def test_a_bomb_is_small_and_unpacks_to_its_size(api: ApiSession, size: int) -> None:
    api.service.faults.add(faults.gzip_bomb(size))

    answer = await api.client.get("/store")

    assert len(answer.content) == size
    assert answer.json()["code"] == 0
    assert int(answer.headers["content-length"]) <= max(size // 500, 100)


async def test_a_fault_waits_for_its_operation_its_turn_and_its_match(api: ApiSession) -> None:
    api.service.faults.add(
        faults.status(503),
        operation="listStore",
        times=2,
        after=1,
        match=lambda request: request.query.get("limit") == "7",
    )
    plan = [("/workers", 7), ("/store", 1), ("/store", 7), ("/store", 7), ("/store", 1), ("/store", 7)]

    statuses = [
        (await api.client.get(path, params={"limit": limit})).status_code for path, limit in [*plan, ("/store", 7)]
    ]

    assert statuses == [200, 200, 200, 503, 200, 503, 200]
    assert api.service.faults.pending == 0


async def test_faults_come_in_the_order_in_which_they_were_added(api: ApiSession) -> None:
    api.service.faults.add(faults.status(501))
    api.service.faults.add(faults.status(502), after=1)
    api.service.faults.add(faults.status(503))

    statuses = [(await api.client.get("/store")).status_code for _ in range(4)]

    assert statuses == [501, 502, 503, 200]


async def test_a_delay_goes_together_with_another_fault(api: ApiSession) -> None:
    api.service.faults.add(faults.delay(5), times=3)
    api.service.faults.add(faults.drip(chunk=1000, pause=9))
    api.service.faults.add(faults.status(503))

    statuses = [(await api.client.get("/store")).status_code for _ in range(3)]

    assert statuses == [503, 200, 200]
    assert api.service.clock.monotonic() == 5 + 5 + 5


async def test_a_fault_without_an_operation_does_not_touch_downloads(api: ApiSession) -> None:
    run_id = api.service.add_run("coreclaw/google-maps-scraper", rows=1)
    url = (await api.get(f"/worker-runs/{run_id}/result/export"))["download_url"]
    api.service.faults.add(faults.status(503))

    async with httpx.AsyncClient(transport=api.service) as plain:
        assert (await plain.get(url)).status_code == 200
    assert (await api.client.get("/nothing")).status_code == 503


async def test_planned_faults_can_be_looked_at(api: ApiSession) -> None:
    plan, lost = api.service.faults, faults.commit_then_drop()
    plan.add(faults.outage(minutes=1), operation="listStore")
    plan.add(lost, operation="runWorker", times=3, after=2, match=lambda _: True)
    plan.add(faults.stall(), operation="listWorkers", probability=0.5)
    plan.add(faults.outage(minutes=5, after_minutes=10), operation="listStore")
    api.service.clock.advance(20)
    await start(api)

    told = [(one.fault.name, one.operation, one.probability, one.after, one.left, one.seconds) for one in plan.planned]
    begins = [one.begins_in for one in plan.planned]
    api.service.clock.advance(620)
    begun = plan.planned[-1]

    assert told == [
        ("outage", "listStore", 1, 0, math.inf, 40),
        ("commit_then_drop", "runWorker", 1, 1, 3, math.inf),
        ("stall", "listWorkers", 0.5, 0, math.inf, math.inf),
        ("outage", "listStore", 1, 0, math.inf, 300),
    ]
    assert begins == [0, 0, 0, 580]
    assert (begun.begins_in, begun.seconds) == (0, 260)
    assert [one.match is None for one in plan.planned] == [False, True, True]
    assert plan.planned[0].fault is lost


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        (faults.reply(b""), "reply"),
        (faults.status(503), "status"),
        (faults.commit_then_status(502), "commit_then_status"),
        (faults.redirect("https://elsewhere.test"), "redirect"),
        (faults.gzip_bomb(50), "gzip_bomb"),
        (faults.outage(minutes=1, failure=faults.stall()), "outage"),
    ],
)
def test_a_fault_has_the_name_of_the_function_it_was_made_with(fault: Fault, name: str) -> None:
    assert fault.name == name


async def test_a_request_tells_the_faults_it_met_and_when_it_ended(api: ApiSession) -> None:
    api.service.faults.add(faults.delay(2), times=2)
    api.service.faults.add(faults.commit_then_status(502))

    for _ in range(3):
        await api.client.get("/store", timeout=None)

    told = [(one.status, one.fault, one.ended_at and one.ended_at - one.at) for one in api.service.requests]
    assert told == [(502, "delay, commit_then_status", 2), (200, "delay", 2), (200, None, 0)]


async def test_an_answer_that_is_lost_ends_its_request_too(api: ApiSession) -> None:
    api.service.faults.add(faults.commit_then_drop())
    with pytest.raises(httpx.TransportError):
        await start(api)
    (request,) = api.service.requests

    assert (request.status, request.fault, request.ended_at) == (None, "commit_then_drop", request.at)


async def test_cleared_faults_are_forgotten(api: ApiSession) -> None:
    api.service.faults.add(faults.status(503), times=5)
    assert api.service.faults.pending == 5
    api.service.faults.clear()

    assert api.service.faults.pending == 0
    assert (await api.client.get("/store")).status_code == 200


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"operation": "startRun"}, r"operation must be one of abort.*, download, .*, runWorker, .*, not 'startRun'"),
        ({"times": 0}, "times must be a whole number, 1 or more, not 0"),
        ({"after": -1}, "after must be a whole number, 0 or more, not -1"),
    ],
)
def test_a_fault_that_could_never_show_is_refused(service: FakeService, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        service.faults.add(faults.status(), **wrong)


async def test_a_client_that_leaves_before_it_is_heard_starts_nothing(api: ApiSession) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await api.start()

    assert scope.cancelled_caught
    assert api.service.runs_created == 0


async def test_one_service_carries_many_clients(service: FakeService) -> None:
    for _ in range(2):
        async with sign_in(service) as client:
            assert (await client.get(f"{API}/store")).status_code == 200

    assert len(service.requests) == 2
