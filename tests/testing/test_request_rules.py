"""What the service refuses before it looks at what is asked: paths, keys, bodies, queries."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from documented_operations import BY_NAME, Operation
from testing.api_session import API, GOOD_INPUT, STORE_WORKER, ApiSession

from coreclaw_async.testing import FakeService, faults
from coreclaw_async.testing._api import routes

PUBLIC = {"listProxyRegions", "listStore", "getWorkerInputSchema"}


def test_the_service_offers_the_documented_operations_and_no_other() -> None:
    offered = {operation.name for operation in routes.OPERATIONS}

    assert offered - BY_NAME.keys() == set(), "testing/_api declares these, documented_operations.py does not"
    assert BY_NAME.keys() - offered == set(), "documented_operations.py has these, testing/_api does not"


@pytest.mark.parametrize("operation", BY_NAME.values(), ids=lambda operation: operation.name)
async def test_an_operation_is_found_and_asks_for_a_key_unless_it_is_public(
    service: FakeService, operation: Operation
) -> None:
    async with httpx.AsyncClient(transport=service, base_url=API) as client:
        response = await client.request(operation.method, operation.path)

    assert service.requests[0].operation == operation.name
    assert (response.json()["code"] == 12001) is (operation.name not in PUBLIC)


@pytest.mark.parametrize(
    ("credentials", "expected"),
    [
        ({"headers": {"Authorization": "Bearer test-key"}}, (200, 0)),
        ({"headers": {"authorization": "bearer test-key"}}, (200, 0)),
        ({"headers": {"api-key": "test-key"}}, (200, 0)),
        ({"params": {"token": "test-key"}}, (200, 0)),
        ({}, (401, 12001)),
        ({"headers": {"Authorization": "test-key"}}, (401, 12001)),
        ({"headers": {"Authorization": "Bearer wrong"}}, (401, 12002)),
        ({"headers": {"api-key": "wrong"}}, (401, 12002)),
        ({"params": {"token": "wrong"}}, (401, 12002)),
    ],
)
async def test_the_key_is_accepted_in_three_places_and_checked_in_each(
    service: FakeService, credentials: dict[str, Any], expected: tuple[int, int]
) -> None:
    async with httpx.AsyncClient(transport=service, base_url=API) as client:
        response = await client.get("/users/account", **credentials)

    assert (response.status_code, response.json()["code"]) == expected


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/worker-runs/",
        "/worker-runs//abort",
        "/workers/coreclaw%2Fgoogle-maps-scraper",
        "/workers/coreclaw/google-maps-scraper",
        "/a/b/c/d/e/f/g",
    ],
)
async def test_an_unknown_path_is_not_found(api: ApiSession, path: str) -> None:
    assert await api.refusal("GET", path) == (404, 11004)
    assert api.service.requests[0].operation is None


async def test_a_path_outside_the_api_is_not_found(api: ApiSession) -> None:
    assert await api.refusal("GET", "https://openapi.coreclaw.com/api/v1/store") == (404, 11004)


async def test_a_wrong_method_is_refused_and_the_right_ones_are_named(api: ApiSession) -> None:
    response = await api.client.delete("/worker-runs/last")

    assert (response.status_code, response.json()["code"]) == (405, 11004)
    assert response.headers["allow"] == "GET"


async def test_last_is_never_taken_for_a_run_id(api: ApiSession) -> None:
    api.service.add_run("coreclaw/google-maps-scraper")

    assert await api.refusal("GET", "/worker-runs/last/result/export") == (404, 11004)


async def test_every_answer_has_its_own_request_id(api: ApiSession) -> None:
    answers = [await api.client.get(path) for path in ("/store", "/store", "/nothing", "/users/account")]
    ids = {answer.json()["request_id"] for answer in answers}

    assert len(ids) == 4
    assert all(request_id.startswith("req-") for request_id in ids)


async def test_every_answer_has_the_date_of_the_service(api: ApiSession) -> None:
    api.service.clock.advance(61.5)
    api.service.faults.add(faults.status(503), after=2)

    answers = [await api.client.get(path) for path in ("/store", "/nothing", "/store")]

    assert {answer.headers["date"] for answer in answers} == {"Sat, 15 Aug 2026 04:01:01 GMT"}


@pytest.mark.parametrize(
    "body",
    [
        {"input": GOOD_INPUT, "surplus": 1},
        {"input": GOOD_INPUT, "is_async": None},
        {"input": GOOD_INPUT, "is_async": 1},
        {"input": GOOD_INPUT, "callback_url": 5},
        {"input": GOOD_INPUT, "callback_url": None},
        {"input": GOOD_INPUT, "limit": 0},
        {"input": GOOD_INPUT, "limit": 101},
        {"input": GOOD_INPUT, "limit": True},
        {"input": GOOD_INPUT, "limit": 2.0},
        {"input": GOOD_INPUT, "offset": -1},
        {"input": GOOD_INPUT, "offset": 2**63},
        {"input": GOOD_INPUT, "offset": 10**100},
        {"input": GOOD_INPUT, "version": 1},
        {"input": None},
        [],
        "text",
    ],
)
async def test_a_body_that_breaks_the_rules_starts_nothing(api: ApiSession, body: Any) -> None:
    assert await api.refusal("POST", f"/workers/{STORE_WORKER}/runs", json=body) == (400, 11000)
    assert api.service.runs_created == 0


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"", "application/json"),
        (b"{", "application/json"),
        (b"\xff", "application/json"),
        (b'{"input": NaN}', "application/json"),
        (b'{"input": [-Infinity]}', "application/json"),
        (b'{"input": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "application/json"),
        ('{"input": {}}'.encode("utf-16"), "application/json"),
        (b"{}", "text/plain"),
        (b"{}", ""),
    ],
)
async def test_a_body_must_be_json_and_say_so(api: ApiSession, content: bytes, content_type: str) -> None:
    headers = {"content-type": content_type}
    path = f"/workers/{STORE_WORKER}/runs"

    assert await api.refusal("POST", path, content=content, headers=headers) == (400, 11000)


async def test_a_content_type_may_have_parameters(api: ApiSession) -> None:
    headers = {"content-type": "Application/JSON; charset=utf-8"}
    run_id = api.service.add_run("coreclaw/google-maps-scraper")

    response = await api.client.post(f"/worker-runs/{run_id}/rerun", content=b"{}", headers=headers)

    assert response.json()["code"] == 0


async def test_a_refused_body_lists_all_its_faults(api: ApiSession) -> None:
    response = await api.client.post("/worker-tasks", json={"title": 5, "input": {}, "x": 1})

    assert response.json()["details"] == [
        "x is not allowed",
        "worker_id is required",
        "title must be of type string",
    ]


@pytest.mark.parametrize(
    "query",
    [
        {"offset": "-1"},
        {"offset": "9223372036854775808"},
        {"offset": "9" * 5_000},
        {"offset": "1_0"},
        {"offset": "\u0661"},
        {"offset": "x"},
        {"offset": ""},
        {"limit": "0"},
        {"limit": "101"},
        {"limit": "1.5"},
        {"status": "finished"},
        {"start_time": "now", "end_time": "1"},
    ],
)
async def test_a_query_out_of_range_is_unprocessable(api: ApiSession, query: dict[str, str]) -> None:
    assert await api.refusal("GET", "/worker-runs", params=query) == (422, 11000)


@pytest.mark.parametrize("dialect", ["page", "row", "aligned"])
async def test_the_largest_offset_is_beyond_every_list(api: ApiSession, dialect: Any) -> None:
    api.service.offset_dialect = dialect
    run_id = api.service.add_run("coreclaw/google-maps-scraper", rows=3)

    for path in ("/worker-runs", f"/worker-runs/{run_id}/result"):
        assert (await api.get(path, offset=2**63 - 1, limit=100))["list"] == []


async def test_unknown_query_names_are_ignored_and_recorded(api: ApiSession) -> None:
    await api.get("/worker-runs", colour="blue", limit=5)

    assert api.service.requests[0].query == {"colour": "blue", "limit": "5"}


async def test_a_request_is_recorded_as_it_came(api: ApiSession) -> None:
    api.service.clock.advance(7)
    await api.start()
    recorded = api.service.requests[0]

    assert (recorded.method, recorded.host) == ("POST", "openapi.coreclaw.com")
    assert recorded.path == f"/api/v2/workers/{STORE_WORKER}/runs"
    assert recorded.headers["authorization"] == "Bearer test-key"
    assert recorded.body == {"input": GOOD_INPUT}
    assert (recorded.operation, recorded.status, recorded.at) == ("runWorker", 200, 7)


async def test_a_record_shows_no_credential(api: ApiSession) -> None:
    await api.get("/users/account", token="test-key")

    assert "test-key" not in repr(api.service.requests[0])
    assert "test-key" not in repr(api.service)
