"""`workers.check_input`: one request that costs nothing, for both shapes of a schema; none for what cannot be sent."""

from __future__ import annotations

from typing import Any

import pytest
from either_client import AsyncCoreClaw

from coreclaw_async import InvalidArgumentError, NotFoundError, RetryPolicy
from coreclaw_async.testing import FakeService, faults

WORKER = "coreclaw/google-maps-scraper"
SCHEMA: dict[str, Any] = {
    "concurrency": {"fields": ["urls"]},
    "properties": [
        {"name": "urls", "type": "array", "editor": "requestList", "required": True},
        {"name": "area", "type": "object", "editor": "json"},
    ],
}


@pytest.mark.parametrize(
    ("shape", "count"), [("list", 2), ("map", None)], ids=["a list of properties", "a map of properties"]
)
async def test_an_input_is_checked_with_one_request_that_needs_no_key(shape: Any, count: int | None) -> None:
    service = FakeService(input_schema=shape)
    async with AsyncCoreClaw(transport=service, clock=service.clock) as client:
        good = await client.workers.check_input(WORKER, {"keywords": ["coffee", "tea"]})
        bad = await client.workers.check_input(WORKER, {"keyword": ["coffee"]})

    assert (good.ok, good.worker_id, good.issues, good.task_count) == (True, "coreclaw/google-maps-scraper", (), count)
    assert (bad.ok, [issue.path for issue in bad.errors]) == (False, ["input.keywords"])
    assert [(sent.operation, "authorization" in sent.headers) for sent in service.requests] == [
        ("getWorkerInputSchema", False)
    ] * 2
    assert service.runs_created == 0


@pytest.mark.parametrize(
    "given",
    [
        {"keywords": [" ", None, {"x": ""}]},
        {"urls": [{}]},
        {"keywords": ["a", {"x": 1}]},
        {"keywords": [["a"]]},
        {"urls": [{"urls": 1}]},
        {"keywords": ["a"], "urls": [["b"]]},
        {"keywords": ["a"], "urls": "b"},
        {"keywords": [{"x": 1}, {"y": 2}]},
        {"keywords": ["a", 0], "urls": []},
    ],
)
@pytest.mark.parametrize("dropped", [[], ["urls"]])
async def test_what_cannot_be_split_is_an_error_as_at_the_service(given: dict[str, Any], dropped: list[str]) -> None:
    service = FakeService()
    concurrency = {"fields": ["keywords", "urls"], "remove_fields": dropped}
    properties = [{"name": "keywords", "type": "array"}, {"name": "urls", "type": "array"}]
    service.add_worker("me/one", schema={"concurrency": concurrency, "properties": properties})
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        found = await client.workers.check_input("me/one", given)
        try:
            await client.workers.start_run("me/one", given)
        except InvalidArgumentError:
            assert found.issues
        else:
            assert found.ok


@pytest.mark.parametrize("shape", ["list", "map"])
@pytest.mark.parametrize(
    "given", [{}, {"urls": []}, {"urls": "u"}, {"urls": ["u"], "area": "[1]"}, {"parameters": {"custom": {"urls": 1}}}]
)
async def test_what_is_an_error_is_refused_by_the_service_too(given: dict[str, Any], shape: Any) -> None:
    service = FakeService(input_schema=shape)
    service.add_worker("me/one", schema=SCHEMA)
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        found = await client.workers.check_input("me/one", given)
        with pytest.raises(InvalidArgumentError):
            await client.workers.start_run("me/one", given)

    is_left_open = given == {"urls": "u"} and shape == "list"
    assert found.ok is is_left_open, "a list that is split may be given as one value, as some say"


@pytest.mark.parametrize("odd", [["urls"], {"a": 1}, 5, None], ids=repr)
async def test_names_of_split_members_that_are_none_are_ignored(odd: Any) -> None:
    service = FakeService()
    concurrency = {"fields": [odd, "urls"], "remove_fields": [odd]}
    service.add_worker("me/one", schema={"concurrency": concurrency, "properties": [{"name": "urls"}]})
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        assert (await client.workers.check_input("me/one", {"urls": ["a"]})).task_count == 1
        await client.workers.start_run("me/one", {"urls": ["a"]})


async def test_a_worker_without_a_schema_is_not_held_against_an_input() -> None:
    service = FakeService(input_schema="missing")
    async with AsyncCoreClaw(transport=service, clock=service.clock) as client:
        found = await client.workers.check_input(WORKER, {"a": 1})

    assert (found.ok, found.task_count) == (True, None)
    assert "was not checked" in found.issues[0].message


async def test_a_schema_that_cannot_be_read_gives_a_note_and_no_error() -> None:
    service = FakeService()
    service.faults.add(faults.edit(lambda answer: {**answer, "data": None}), operation="getWorkerInputSchema", times=9)
    async with AsyncCoreClaw(transport=service, clock=service.clock, retry=RetryPolicy(max_attempts=2)) as client:
        found = await client.workers.check_input(WORKER, {"a": 1})

    assert (found.ok, len(found.issues), len(service.requests)) == (True, 1, 2)


async def test_a_worker_that_the_service_does_not_show_may_be_private() -> None:
    service = FakeService()
    async with AsyncCoreClaw(transport=service, clock=service.clock) as client:
        found = await client.workers.check_input("me/none", {})

    assert (found.ok, found.worker_id, [issue.path for issue in found.issues]) == (True, "me/none", ["worker_id"])
    assert found.issues[0].severity == "warning"


@pytest.mark.parametrize("code", [12001, 12002])
async def test_a_schema_that_is_refused_gives_a_note_and_no_error(code: int) -> None:
    service = FakeService()
    service.faults.add(faults.error(code), operation="getWorkerInputSchema", times=9)
    async with AsyncCoreClaw(transport=service, clock=service.clock) as client:
        found = await client.workers.check_input(WORKER, {})

    assert (found.ok, len(found.issues), len(service.requests)) == (True, 1, 1)


@pytest.mark.parametrize(
    ("worker", "given", "version", "named"),
    [
        ("", {}, None, "worker_id"),
        ("a/b/c", {}, None, "worker_id"),
        (WORKER, None, None, "input"),
        (WORKER, ["a"], None, "input"),
        (WORKER, {1: 2}, None, "input"),
        (WORKER, {"a": [float("inf")]}, None, r"input\.a\[0\]"),
        (WORKER, {"a": {1, 2}}, None, r"input\.a"),
        (WORKER, {}, "", "version"),
        (WORKER, {}, 5, "version"),
    ],
)
async def test_what_a_start_refuses_is_refused_before_anything_is_sent(
    worker: str, given: Any, version: Any, named: str
) -> None:
    service = FakeService()
    async with AsyncCoreClaw(transport=service, clock=service.clock) as client:
        for call in (client.workers.check_input, client.workers.start_run):
            with pytest.raises((TypeError, ValueError), match=named):
                await call(worker, given, version=version)

    assert service.requests == []


@pytest.mark.parametrize("shape", ["list", "map"])
async def test_the_type_of_an_input_is_written_with_one_request_that_needs_no_key(shape: Any) -> None:
    service = FakeService(input_schema=shape)
    async with AsyncCoreClaw(transport=service, clock=service.clock) as client:
        source = await client.workers.input_type(WORKER)
        with pytest.raises(NotFoundError):
            await client.workers.input_type("me/none")

    assert "class GoogleMapsScraperInput(TypedDict):" in source
    assert [request.operation for request in service.requests] == ["getWorkerInputSchema"] * 2
