"""Faults that come by time and by chance, and faults that are written in JSON."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest
from testing.api_session import GOOD_INPUT, STORE_WORKER, ApiSession

from coreclaw_async.testing import FakeService, Fault, faults

MINUTE = 60.0
RUNS = f"/workers/{STORE_WORKER}/runs"


async def outcome(api: ApiSession, path: str = "/store") -> int | str:
    """Return the HTTP status of an answer, or the name of what was raised instead."""
    try:
        return (await api.client.get(path, timeout=5)).status_code
    except httpx.TransportError as error:
        return type(error).__name__


async def outcomes_at(api: ApiSession, *minutes: float) -> list[int | str]:
    """Return the outcomes of requests at these minutes of the service's clock."""
    found: list[int | str] = []
    for minute in minutes:
        api.service.clock.advance(max(minute * MINUTE - api.service.clock.monotonic(), 0))
        found.append(await outcome(api))
    return found


async def outcomes(api: ApiSession, count: int) -> list[int | str]:
    return [await outcome(api) for _ in range(count)]


async def test_in_an_outage_every_request_gets_a_gateways_page_until_it_is_over(api: ApiSession) -> None:
    api.service.faults.add(faults.outage(minutes=20))
    page = await api.client.get("/store")

    assert (page.status_code, page.headers["content-type"], api.service.faults.pending) == (502, "text/html", 1)
    assert await outcomes_at(api, 1, 19.99, 20, 21) == [502, 502, 200, 200]
    assert api.service.faults.pending == 0


async def test_an_outage_starts_no_runs(api: ApiSession) -> None:
    api.service.faults.add(faults.outage(minutes=1))

    answer = await api.client.post(RUNS, json={"input": GOOD_INPUT})

    assert (answer.status_code, api.service.runs_created) == (502, 0)


async def test_an_outage_is_counted_from_when_it_is_planned(api: ApiSession) -> None:
    api.service.clock.advance(0.3)
    api.service.faults.add(faults.outage(minutes=1, after_minutes=5))

    assert await outcomes_at(api, 1) == [200]
    api.service.clock.advance(0.3)
    assert await outcomes_at(api, 4.99, 5.01, 5.99, 6.01) == [200, 502, 502, 200]


@pytest.mark.parametrize(
    ("failure", "seen"),
    [
        (None, 502),
        (faults.status(503), 503),
        (faults.refuse_connection(), "ConnectError"),
        (faults.stall(), "ReadTimeout"),
        (faults.rate_limited(1), 429),
        (faults.delay(30), "ReadTimeout"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
async def test_an_outage_has_the_kind_of_failure_that_was_asked_for(
    api: ApiSession, failure: Fault | None, seen: int | str
) -> None:
    api.service.faults.add(faults.outage(minutes=20, failure=failure))

    assert await outcomes(api, 2) == [seen, seen]


async def test_an_outage_may_be_of_one_operation_or_of_some_requests(api: ApiSession) -> None:
    api.service.faults.add(faults.outage(minutes=20), operation="listStore", after=1, times=2)

    assert await outcomes(api, 4) == [200, 502, 502, 200]
    assert await outcome(api, "/workers") == 200
    assert api.service.faults.pending == 0


async def test_a_service_that_flaps_is_down_and_up_by_turns(api: ApiSession) -> None:
    api.service.faults.add(faults.flap(down_minutes=1, up_minutes=2, minutes=5, after_minutes=1))

    seen = await outcomes_at(api, 0, 0.99, 1, 1.99, 2, 3.99, 4, 4.99, 5, 6, 7, 10)

    assert seen == [200, 200, 502, 502, 200, 200, 502, 502, 200, 200, 200, 200]
    assert api.service.faults.pending == 0


async def test_a_service_flaps_for_ever_unless_told_for_how_long(api: ApiSession) -> None:
    api.service.faults.add(faults.flap(down_minutes=1, up_minutes=1, failure=faults.refuse_connection()))

    assert await outcomes_at(api, 10_000, 10_001) == ["ConnectError", 200]
    assert api.service.faults.pending == 1


async def test_faults_go_on_when_an_outage_is_not_there(api: ApiSession) -> None:
    api.service.faults.add(faults.outage(minutes=1, after_minutes=1))
    api.service.faults.add(faults.status(503), times=2)

    assert await outcomes_at(api, 0, 1, 2, 3) == [503, 502, 503, 200]


async def test_requests_that_pass_first_are_those_in_the_outage(api: ApiSession) -> None:
    api.service.faults.add(faults.outage(minutes=5, after_minutes=5), after=1)

    assert await outcomes_at(api, 0, 1, 5, 6) == [200, 200, 200, 502]


async def test_chance_takes_about_as_many_requests_as_it_says(api: ApiSession) -> None:
    api.service.faults.add(faults.status(503), probability=0.25)

    seen = await outcomes(api, 200)

    assert 30 <= seen.count(503) <= 70
    assert api.service.faults.pending == 1


async def test_the_same_seed_takes_the_same_requests(api: ApiSession) -> None:
    def plan(seed: int) -> None:
        api.service.faults.clear()
        api.service.faults.add(faults.status(503), probability=0.5, seed=seed)

    seen: list[list[int | str]] = []
    for seed in (1, 1, 2):
        plan(seed)
        seen.append(await outcomes(api, 30))

    assert seen[0] == seen[1] != seen[2]


async def test_two_faults_with_the_same_seed_do_not_always_strike_together(api: ApiSession) -> None:
    api.service.faults.add(faults.delay(1), probability=0.5)
    api.service.faults.add(faults.status(503), probability=0.5)
    seen: set[tuple[int | str, float]] = set()
    for _ in range(30):
        before = api.service.clock.monotonic()
        seen.add((await outcome(api), api.service.clock.monotonic() - before))

    assert seen == {(200, 0), (200, 1), (503, 0), (503, 1)}


async def test_chance_goes_together_with_count_and_time(api: ApiSession) -> None:
    api.service.faults.add(faults.outage(minutes=5), probability=0.5, times=3, seed=7)

    seen = await outcomes(api, 40)

    assert seen.count(502) == 3
    assert seen[-10:] == [200] * 10


async def test_certainty_takes_every_request(api: ApiSession) -> None:
    api.service.faults.add(faults.status(503), probability=1)

    assert await outcomes(api, 5) == [503] * 5


async def test_a_connection_is_refused_only_before_anything_is_told_to_be_sent(api: ApiSession) -> None:
    """A client that was told nothing takes a refused connection for a request that was certainly not sent."""
    api.service.faults.add(faults.refuse_connection(), probability=0.5)
    told: list[str] = []

    async def trace(event: str, info: Any) -> None:
        told.append(event)

    for _ in range(30):
        told.clear()
        try:
            await api.client.get("/store", extensions={"trace": trace})
            assert "http11.send_request_headers.started" in told
        except httpx.ConnectError:
            assert told == ["connection.connect_tcp.started"]


@pytest.mark.parametrize(
    ("make", "wrong", "message"),
    [
        (faults.outage, {"minutes": 0}, "minutes must be a finite number of minutes, above 0, not 0"),
        (faults.outage, {"minutes": math.nan}, "minutes must be a finite number of minutes, above 0, not nan"),
        (faults.outage, {"minutes": math.inf}, "minutes must be a finite number of minutes, above 0, not inf"),
        (faults.outage, {"minutes": 10**400}, "minutes must be a finite number of minutes, above 0, not 10"),
        (faults.outage, {"minutes": "20"}, "minutes must be a finite number of minutes, above 0, not '20'"),
        (faults.outage, {"minutes": True}, "minutes must be a finite number of minutes, above 0, not True"),
        (faults.outage, {"minutes": Decimal(2)}, "minutes must be a finite number of minutes, above 0, not Decimal"),
        (faults.outage, {"minutes": 1, "after_minutes": -1}, "after_minutes must be .* 0 or more, not -1"),
        (faults.outage, {"minutes": 1, "failure": 502}, "failure must be of type Fault or None, not 502"),
        (faults.outage, {"minutes": 1, "failure": faults.outage(minutes=1)}, "must not have times of its own, as out"),
        (faults.flap, {"down_minutes": 0, "up_minutes": 1}, "down_minutes must be .* above 0, not 0"),
        (faults.flap, {"down_minutes": 1, "up_minutes": 0}, "up_minutes must be .* above 0, not 0"),
        (faults.flap, {"down_minutes": 1, "up_minutes": 1, "minutes": -5}, "^minutes must be .* above 0, not -5"),
        (faults.flap, {"down_minutes": 1, "up_minutes": 1, "after_minutes": None}, "after_minutes must be .* not None"),
        (faults.status, {"status": 99}, "status must be a whole number, 200 to 599, not 99"),
        (faults.status, {"status": "502"}, "status must be a whole number, 200 to 599, not '502'"),
        (faults.status, {"headers": {"a b": "c"}}, "headers cannot be sent: 'a b': 'c'"),
        (faults.reply, {"body": b"", "headers": {"a": "b\r\nc: d"}}, "headers cannot be sent: 'a'"),
        (faults.reply, {"body": b"", "headers": {"a": 1}}, r"headers\['a'\] must be of type str, not 1"),
        (faults.reply, {"body": b"", "headers": {1: "a"}}, "a name in headers must be of type str, not 1"),
        (faults.reply, {"body": b"", "headers": ["a"]}, r"headers must be a mapping of strings, not \['a'\]"),
        (faults.reply, {"body": "text"}, "body must be of type bytes, not 'text'"),
        (faults.reply, {"body": b"", "commit": 1}, "commit must be of type bool, not 1"),
        (faults.error, {"code": 2**63}, "code must be a whole number"),
        (faults.error, {"code": 1, "details": "no"}, "details must be of type list or None, not 'no'"),
        (faults.error, {"code": 1, "message": 5}, "message must be of type str, not 5"),
        (faults.error, {"code": 1, "message": "\ud800"}, r"message cannot be sent as UTF-8: '\\ud800'"),
        (faults.error, {"code": 1, "details": ["a", 2]}, r"details\[1\] must be of type str, not 2"),
        (faults.commit_then_drop, {"error": "x"}, "error must be a class of TransportError or None, not 'x'"),
        (faults.drop_before_commit, {"error": OSError}, "error must be a class of TransportError or None, not <"),
        (faults.edit, {"change": "x"}, "change must be a function, not 'x'"),
        (faults.rate_limited, {"retry_after": "a\nb"}, "headers cannot be sent"),
        (faults.rate_limited, {"in_200": "yes"}, "in_200 must be of type bool, not 'yes'"),
        (faults.stall, {"commit": None}, "commit must be of type bool, not None"),
        (faults.truncate, {"keep": -1}, "keep must be a whole number, 0 or more, not -1"),
        (faults.truncate, {"keep": 1.5}, "keep must be a whole number, 0 or more, not 1.5"),
        (faults.delay, {"seconds": -1}, "seconds must be a finite number of seconds, 0 or more, not -1"),
        (faults.drip, {"chunk": 0}, "chunk must be a whole number, 1 or more, not 0"),
        (faults.drip, {"pause": math.inf}, "pause must be a finite number of seconds, 0 or more, not inf"),
        (faults.redirect, {"location": None}, "location must be of type str, not None"),
        (faults.redirect, {"location": "\ud800"}, "headers cannot be sent"),
        (faults.insert_front, {"count": 0}, "count must be a whole number, 1 or more, not 0"),
        (faults.gzip_bomb, {"size": 10}, "size must be a whole number, 50 or more, not 10"),
    ],
)
def test_a_fault_that_cannot_be_is_refused_where_it_is_made(
    make: Callable[..., Fault], wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        make(**wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"operation": 5}, "operation must be of type str or None, not 5"),
        ({"times": 1.5}, "times must be a whole number, 1 or more, not 1.5"),
        ({"times": True}, "times must be a whole number, 1 or more, not True"),
        ({"after": None}, "after must be a whole number, 0 or more, not None"),
        ({"probability": 0}, "probability must be above 0 and at most 1, not 0"),
        ({"probability": 1.01}, "probability must be above 0 and at most 1, not 1.01"),
        ({"probability": math.nan}, "probability must be above 0 and at most 1, not nan"),
        ({"probability": "0.5"}, "probability must be above 0 and at most 1, not '0.5'"),
        ({"match": "x"}, "match must be a function, not 'x'"),
        ({"seed": -1}, "seed must be a whole number, 0 or more, not -1"),
        ({"seed": "x"}, "seed must be a whole number, 0 or more, not 'x'"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(service: FakeService, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        service.faults.add(faults.status(), **wrong)

    assert service.faults.pending == 0


def test_what_is_planned_must_be_a_fault(service: FakeService) -> None:
    with pytest.raises(TypeError, match="fault must be of type Fault, not 'status'"):
        service.faults.add("status")  # type: ignore[arg-type]


async def test_faults_can_be_written_in_json(api: ApiSession) -> None:
    plan = """[
        {"fault": "status", "status": 500, "body": "\u00e4", "operation": "listStore"},
        {"fault": "outage", "minutes": 2, "after_minutes": 1, "failure": {"fault": "refuse_connection"}},
        {"fault": "flap", "down_minutes": 1, "up_minutes": 1, "after_minutes": 5, "failure": null},
        {"fault": "delay", "seconds": 7, "after": 1},
        {"fault": "rate_limited", "retry_after": 3, "probability": 1, "seed": 5}
    ]"""
    api.service.faults.load(json.loads(plan))

    first = await api.client.get("/store")
    second = await api.client.get("/store")

    assert (first.status_code, first.text) == (500, "\u00e4")
    assert (second.status_code, second.headers["retry-after"], api.service.clock.monotonic()) == (429, "3", 7)
    assert await outcomes_at(api, 1, 3, 5.5, 6.5) == ["ConnectError", 429, 502, 429]


def test_every_fault_that_json_can_hold_can_be_written(service: FakeService) -> None:
    needed: dict[str, dict[str, Any]] = {
        "outage": {"minutes": 1},
        "flap": {"down_minutes": 1, "up_minutes": 1},
        "error": {"code": 11000},
        "reply": {"body": "{}"},
        "delay": {"seconds": 1},
        "redirect": {"location": "/"},
        "insert_front": {"count": 1},
        "gzip_bomb": {"size": 100},
    }
    makers = [
        name
        for name, made in inspect.getmembers(faults, inspect.isfunction)
        if made.__module__ == faults.__name__ and not name.startswith("_") and name != "edit"
    ]
    service.faults.load([{"fault": name, **needed.get(name, {})} for name in makers])

    assert service.faults.pending == len(makers) == 17


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("status", "entry 2: an entry must be an object with the member 'fault', not 'status'"),
        (None, "entry 2: an entry must be an object with the member 'fault', not None"),
        ({"status": 502}, "entry 2: an entry must be an object with the member 'fault', not {'status': 502}"),
        ({"fault": "edit"}, "entry 2: fault must be one of outage, flap, commit_then_drop, .*, not 'edit'"),
        ({"fault": ["a"]}, r"entry 2: fault must be one of .*, not \['a'\]"),
        ({"fault": "outage"}, "entry 2: outage needs the member 'minutes'"),
        ({"fault": "delay", "second": 1}, "entry 2: delay has no member 'second'; it takes seconds, operation, times"),
        ({"fault": "commit_then_drop", "error": "x"}, "entry 2: commit_then_drop has no member 'error'; it takes op"),
        ({"fault": "stall", "match": "x"}, "entry 2: stall has no member 'match'"),
        ({"fault": "outage", "minutes": -1}, "entry 2: minutes must be a finite number of minutes, above 0, not -1"),
        ({"fault": "status", "body": 5}, "entry 2: body must be of type str, not 5"),
        ({"fault": "status", "body": "\ud800"}, r"entry 2: body cannot be sent as UTF-8: '\\ud800'"),
        ({"fault": "stall", "operation": "startRun"}, "entry 2: operation must be one of "),
        ({"fault": "stall", "times": 0}, "entry 2: times must be a whole number, 1 or more, not 0"),
        ({"fault": "stall", "probability": 2}, "entry 2: probability must be above 0 and at most 1, not 2"),
        ({"fault": "outage", "minutes": 1, "failure": "stall"}, "entry 2: failure must be an object with the member"),
        ({"fault": "outage", "minutes": 1, "failure": {"fault": "flap"}}, "entry 2: fault must be one of commit_"),
        (
            {"fault": "outage", "minutes": 1, "failure": {"fault": "refuse_connection", "times": 1}},
            "entry 2: refuse_connection has no member 'times'; it takes nothing",
        ),
    ],
)
def test_a_wrong_entry_is_named_and_nothing_is_planned(service: FakeService, wrong: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        service.faults.load([{"fault": "stall"}, wrong])

    assert service.faults.pending == 0


@pytest.mark.parametrize("wrong", [{"fault": "stall"}, "stall", None, b"[]"])
def test_a_plan_is_a_list(service: FakeService, wrong: Any) -> None:
    with pytest.raises(ValueError, match="a plan must be a list of faults, not "):
        service.faults.load(wrong)
