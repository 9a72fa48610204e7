"""``client.request``: any endpoint, with the care of all other calls, and to nowhere but the API."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from documented_operations import OPERATIONS, PAID_ONCE
from either_client import AsyncCoreClaw
from raw_server import RawRequest, RawServer, answering, envelope, http, serve_sockets

import coreclaw_async
from coreclaw_async import (
    AuthenticationError,
    CallbackHub,
    ConfigurationError,
    CoreClaw,
    CoreClawError,
    InvalidArgumentError,
    InvalidResponseError,
    NotFoundError,
    OutcomeUnknownError,
    Reply,
    RetryPolicy,
    ServiceError,
)
from coreclaw_async.events import CallEnded, CallStarted, Event, RequestSent, RunStarted, StartUnknown
from coreclaw_async.testing import CallbackPlan, FakeService, RunScript, faults

WORKER = "coreclaw/google-maps-scraper"
AS_PATH = "coreclaw~google-maps-scraper"
START = f"/api/v2/workers/{AS_PATH}/runs"
BODY = {"input": {"parameters": {"custom": {"keywords": ["coffee"]}}}, "is_async": True}
QUICK = RetryPolicy(max_attempts=4, first_delay=0.01, max_delay=0.01)
MAKERS: list[Callable[..., Any]] = [coreclaw_async.AsyncCoreClaw, CoreClaw]


async def test_a_read_returns_what_came(client: AsyncCoreClaw, service: FakeService) -> None:
    service.faults.add(faults.status(503), operation="listWorkerRuns", times=2)
    run_id = service.add_run(WORKER)

    reply = await client.request("get", "/api/v2/worker-runs", query={"limit": 5, "offset": 0, "status": None})

    assert isinstance(reply, Reply)
    assert reply.status_code == 200
    assert [run["slug"] for run in reply.data["list"]] == [run_id]
    assert (reply.request_id or "").startswith("req-")
    assert reply.attempts == 3
    assert reply.elapsed > 0
    assert reply.headers["content-type"] == "application/json"
    assert service.requests[-1].query == {"limit": "5", "offset": "0"}
    assert Reply.from_dict(json.loads(reply.to_json())) == reply
    assert "slug" not in repr(reply)


@pytest.mark.both_backends
async def test_names_and_values_are_encoded_and_bodies_are_json() -> None:
    with serve_sockets(answering(lambda request, server: envelope({"x": 1}))) as server:
        async with AsyncCoreClaw("key", base_url=f"{server.url}/gate/", retry=QUICK) as client:
            odd: dict[str, str | int | bool | None] = {
                "a b&c": "d=e&f#?",
                "yes": True,
                "n": -(2**70),
                "caf\xe9": "\u5496",
            }
            await client.request("GET", "/api/v2/a-b_c/~d%C3%A9;v=1", query=odd)
            for method in ("POST", "PUT", "PATCH", "DELETE"):
                await client.request(method, "/api/v3/x", body={"caf\xe9": [None, 1.5]}, safety="repeatable")
            await client.request("POST", "/api/v2/search", body=[], safety="safe")
            await client.request("DELETE", "/api/v2/x", safety="once")

    first, *others = server.requests
    assert first.target == (
        f"/gate/api/v2/a-b_c/~d%C3%A9;v=1?a%20b%26c=d%3De%26f%23%3F&yes=true&n={-(2**70)}&caf%C3%A9=%E5%92%96"
    )
    assert [request.method for request in others] == ["POST", "PUT", "PATCH", "DELETE", "POST", "DELETE"]
    assert {json.dumps(json.loads(request.body)) for request in others[:4]} == {json.dumps({"caf\xe9": [None, 1.5]})}
    assert (others[4].body, others[5].body) == (b"[]", b"")
    for request in server.requests:
        head = request.head.lower()
        assert b"authorization: bearer key" in head
        assert (b"content-type:" in head) == (b"content-type: application/json" in head) == bool(request.body)


@pytest.mark.both_backends
@pytest.mark.parametrize("safety", ["once", "repeatable", "safe"])
async def test_a_request_without_a_body_says_so_where_its_method_may_have_one(safety: Any) -> None:
    with serve_sockets(answering(lambda request, server: envelope({}))) as server:
        async with AsyncCoreClaw("key", base_url=server.url, retry=QUICK) as client:
            for method in ("POST", "PUT", "PATCH"):
                await client.request(method, "/api/v2/x", safety=safety)
            await client.request("GET", "/api/v2/x")

    heads = [request.head.lower().split(b"\r\n") for request in server.requests]
    assert [head.count(b"content-length: 0") for head in heads] == [1, 1, 1, 0]
    assert not [line for head in heads for line in head if line.startswith((b"content-type:", b"transfer-encoding:"))]


@pytest.mark.parametrize("safety", ["once", "repeatable", "safe"])
@pytest.mark.parametrize(
    "fault",
    [faults.commit_then_drop(), faults.commit_then_status(502), faults.truncate(keep=5)],
    ids=["drop", "502", "cut"],
)
async def test_what_may_have_worked_is_sent_again_only_as_the_caller_says(safety: Any, fault: Any) -> None:
    service = FakeService()
    task = service.add_task(WORKER, title="saved", input={})
    service.faults.add(fault, operation="updateWorkerTask", times=99)
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, retry=QUICK) as client:
        with pytest.raises(CoreClawError) as caught:
            await client.request("PUT", f"/api/v2/worker-tasks/{task}", body={"title": "new"}, safety=safety)

    sent = [request for request in service.requests if request.operation == "updateWorkerTask"]
    assert len(sent) == (1 if safety == "once" else 4)
    assert isinstance(caught.value, OutcomeUnknownError) == (safety == "once")
    assert caught.value.may_have_taken_effect == (safety != "safe")


async def test_a_lost_start_is_sent_once_and_has_candidates(client: AsyncCoreClaw, service: FakeService) -> None:
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    with pytest.raises(OutcomeUnknownError) as caught:
        await client.request("POST", START, body=BODY, safety="once")

    assert service.runs_created == 1
    assert list(caught.value.candidates or ()) == list(service.runs)


async def test_a_lost_start_of_a_worker_has_no_candidates_of_other_workers(
    client: AsyncCoreClaw, service: FakeService
) -> None:
    other = service.add_worker("coreclaw/other")
    for start, operation in ((START, "runWorker"), (f"{START}/last/rerun", "rerunWorkerLastRun")):
        service.faults.add(faults.commit_then_drop(), operation=operation)
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.request("POST", start, body=BODY if start == START else {}, safety="once")
        assert [service.runs[run_id].worker_id for run_id in caught.value.candidates or ()]
        asked = [request.query.get("worker_id") for request in service.requests if request.method == "GET"]
        assert asked[-1] == AS_PATH
    assert other


async def test_a_lost_request_for_a_task_has_tasks_as_candidates(client: AsyncCoreClaw, service: FakeService) -> None:
    body = {"worker_id": AS_PATH, "title": "nightly", "input": BODY["input"]}
    known = (await client.request("POST", "/api/v2/worker-tasks", body=body, safety="once")).data["slug"]
    service.faults.add(faults.commit_then_drop(), operation="createWorkerTask")
    with pytest.raises(OutcomeUnknownError) as caught:
        await client.request("POST", "/api/v2/worker-tasks", body=body, safety="once")
    service.add_run(WORKER)

    assert list(caught.value.candidates or ()) == [task for task in service.tasks if task != known]


@pytest.mark.parametrize("body", [[], {}, {"title": 1, "worker_id": None}])
async def test_a_lost_request_for_a_task_that_cannot_be_has_no_candidates(body: Any, service: FakeService) -> None:
    service.faults.add(faults.drop_before_commit(), operation="createWorkerTask")
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.request("POST", "/api/v2/worker-tasks", body=body, safety="once")

    assert not caught.value.candidates


async def test_a_lost_request_for_the_queue_has_its_items_as_candidates(
    client: AsyncCoreClaw, service: FakeService
) -> None:
    path = f"/api/v2/workers/{AS_PATH}/queued-runs"
    body = {"input": BODY["input"]}
    known = (await client.request("POST", path, body=body, safety="once")).data["queue_ref"]
    service.faults.add(faults.commit_then_drop(), operation="queuedRunWorker")
    with pytest.raises(OutcomeUnknownError) as caught:
        await client.request("POST", path, body=body, safety="once")
    items = (await client.run_queue.list_page()).items

    assert list(caught.value.candidates or ()) == [item.queue_id for item in items if item.queue_id != known]
    assert len(items) == 2


@pytest.mark.parametrize("data", [None, {}, {"queue_ref": None}])
async def test_an_answer_that_names_no_queue_item_is_returned_as_it_came(
    data: Any, client: AsyncCoreClaw, service: FakeService
) -> None:
    service.faults.add(faults.edit(lambda told: {**told, "data": data}), operation="queuedRunWorker")
    path = f"/api/v2/workers/{AS_PATH}/queued-runs"
    reply = await client.request("POST", path, body={"input": BODY["input"]}, safety="once")

    assert reply.data == data


async def test_a_lost_abort_of_the_last_run_has_no_candidates_as_it_makes_none(service: FakeService) -> None:
    run_id = service.add_run(WORKER, script=RunScript(duration=1000.0))
    service.faults.add(faults.commit_then_drop(), operation="abortLastWorkerRun")
    events: list[Event] = []
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, on_event=events.append) as client:
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.request("POST", "/api/v2/worker-runs/last/abort", body={}, safety="once")

    assert caught.value.candidates is None
    assert not [event for event in events if isinstance(event, StartUnknown)]
    assert service.runs[run_id].status == "aborting"


async def test_a_callback_settles_a_lost_start_whose_body_holds_a_url_of_the_hub() -> None:
    hub = CallbackHub("http://app.test/callbacks")
    service = FakeService(callback_transport=httpx.ASGITransport(app=hub))
    service.callback_plan = CallbackPlan()
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, callbacks=hub) as client:
        url = hub.new_url()
        reply = await client.request("POST", START, body={**BODY, "callback_url": url}, safety="once")
        assert hub.run_id_of(url) == reply.data["run_slug"]
        url = hub.new_url()
        path = f"/api/v2/workers/{AS_PATH}/queued-runs"
        queued = await client.request("POST", path, body={"input": BODY["input"], "callback_url": url}, safety="once")
        assert queued.data["queue_ref"]
        service.faults.add(faults.commit_then_drop(), operation="runWorker")
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.request("POST", START, body={**BODY, "callback_url": (lost := hub.new_url())}, safety="once")

    assert caught.value.callback_url == lost


class LosesAnswers:
    """Answers reads, and loses the answers to all else."""

    def __init__(self, *listed: str) -> None:
        self.listed = listed
        self.read: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method != "GET":
            raise httpx.ReadError("lost")
        self.read.append(request.url.path)
        name = "queue_ref" if "run-queue" in request.url.path else "slug"
        items = [{name: each} for each in self.listed]
        return httpx.Response(200, json={"code": 0, "data": {"count": len(items), "list": items}})


@pytest.mark.parametrize(
    ("path", "listed", "candidates", "looks_at"),
    [
        ("/api/v2/worker-tasks", [], (), ["/api/v2/worker-tasks"]),
        ("/api/v2/worker-tasks/T1/copies", [], None, ["/api/v2/worker-runs"]),
        ("/api/v2/worker-tasks/T1/copies", ["R1"], ("R1",), ["/api/v2/worker-runs"]),
        (START, [], (), ["/api/v2/worker-runs"]),
        (START, ["R1"], ("R1",), ["/api/v2/worker-runs"]),
        (f"/api/v2/workers/{AS_PATH}/queued-runs", [], (), ["/api/v2/run-queue/items"]),
        (f"/api/v2/workers/{AS_PATH}/queued-runs", ["Q1"], ("Q1",), ["/api/v2/run-queue/items"]),
    ],
)
async def test_only_what_was_looked_for_is_said_not_to_be_there(
    path: str, listed: list[str], candidates: Any, looks_at: list[str]
) -> None:
    service = LosesAnswers(*listed)
    async with AsyncCoreClaw("key", transport=httpx.MockTransport(service), retry=QUICK) as client:
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.request("POST", path, body={}, safety="once")

    assert caught.value.candidates == candidates
    assert service.read == looks_at


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@pytest.mark.parametrize(
    "path", ["/api/v2/worker-tasks/T1", "/api/v2/worker-tasks/T1/input", "/api/v2/run-queue/items"]
)
async def test_a_lost_change_or_removal_has_no_runs_as_candidates_as_it_starts_none(method: str, path: str) -> None:
    service = LosesAnswers("R1")
    async with AsyncCoreClaw("key", transport=httpx.MockTransport(service), retry=QUICK) as client:
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.request(method, path, body={}, safety="once")

    assert caught.value.candidates is None
    assert service.read == []


async def test_a_lost_put_to_where_runs_are_started_has_runs_as_candidates() -> None:
    service = LosesAnswers("R1")
    async with AsyncCoreClaw("key", transport=httpx.MockTransport(service), retry=QUICK) as client:
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.request("PUT", START, body={}, safety="once")

    assert caught.value.candidates == ("R1",)


REFUSALS: dict[str, tuple[type[CoreClawError], Any]] = {
    "it is not there": (NotFoundError, lambda: httpx.Response(404, json={"code": 60001, "message": "no task"})),
    "it cannot be reached": (CoreClawError, None),
    "the key is refused": (AuthenticationError, lambda: httpx.Response(401, json={"code": 12001, "message": "no"})),
}


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.parametrize("method", ["DELETE", "PUT"])
async def test_a_refusal_after_a_lost_answer_says_that_the_first_attempt_may_have_worked(
    method: str, name: str
) -> None:
    kind, refuse = REFUSALS[name]
    sent: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.method)
        if len(sent) == 1:
            raise httpx.ReadError("lost")
        if refuse is None:
            raise httpx.ConnectError("refused")
        return refuse()  # type: ignore[no-any-return]

    async with AsyncCoreClaw("key", transport=httpx.MockTransport(answer), retry=QUICK) as client:
        with pytest.raises(kind, match="an earlier attempt, whose answer did not come, may have taken effect") as first:
            await client.request(method, "/api/v2/worker-tasks/T1", safety="repeatable")
        if name == "it cannot be reached":
            return
        with pytest.raises(kind) as second:
            await client.request(method, "/api/v2/worker-tasks/T1", safety="repeatable")

    assert first.value.may_have_taken_effect
    assert first.value.args == (first.value.message,)
    assert not second.value.may_have_taken_effect
    assert "earlier attempt" not in str(second.value)


async def test_a_start_that_was_answered_is_no_candidate_of_another(
    client: AsyncCoreClaw, service: FakeService
) -> None:
    reply = await client.request("POST", START, body=BODY, safety="once")
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    with pytest.raises(OutcomeUnknownError) as caught:
        await client.workers.start_run(WORKER, {"keywords": ["tea"]})

    assert len(caught.value.candidates or ()) == 1
    assert reply.data["run_slug"] not in (caught.value.candidates or ())
    assert service.runs_created == 2


async def test_an_answer_about_a_run_that_it_did_not_start_hides_no_candidate(
    client: AsyncCoreClaw, service: FakeService
) -> None:
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    with pytest.raises(OutcomeUnknownError) as caught:
        await client.workers.start_run(WORKER, {"keywords": ["tea"]})
    (run_id,) = caught.value.candidates or ()
    service.faults.add(faults.edit(lambda told: {**told, "data": {"run_slug": run_id}}), operation="abortWorkerRun")
    await client.request("POST", f"/api/v2/worker-runs/{run_id}/abort", body={}, safety="once")
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    with pytest.raises(OutcomeUnknownError) as caught:
        await client.workers.start_run(WORKER, {"keywords": ["tea"]})

    assert run_id in (caught.value.candidates or ())


@pytest.mark.parametrize(
    "operation", [each for each in OPERATIONS if each.method == "POST"], ids=lambda each: each.name
)
async def test_no_operation_that_pays_each_time_can_be_called_repeatable(operation: Any) -> None:
    sent: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.method)
        return httpx.Response(200, content=envelope({}).partition(b"\r\n\r\n")[2])

    path = f"/api/v2{operation.path}"
    spelled = path.replace("/run", "/%72%75n").replace("tasks", "TASK%2573").replace("last", "LAST")
    async with AsyncCoreClaw("key", transport=httpx.MockTransport(answer)) as client:
        for written in (path, spelled):
            if operation.name in PAID_ONCE:
                for safety in ("repeatable", "safe"):
                    with pytest.raises(ValueError, match="safety must be 'once' for POST"):
                        await client.request("post", written, body={}, safety=safety)
            else:
                await client.request("post", written, body={}, safety="repeatable")

    assert len(sent) == (0 if operation.name in PAID_ONCE else 2)


@pytest.mark.parametrize("data", [None, {}, [], "x", {"run_slug": 1.5}, {"run_slug": None}])
async def test_an_answer_to_a_start_that_names_no_run_loses_none(
    data: Any, client: AsyncCoreClaw, service: FakeService
) -> None:
    service.faults.add(faults.edit(lambda told: {**told, "data": data}), operation="runWorker")
    with pytest.raises(OutcomeUnknownError, match="it names no run") as caught:
        await client.request("POST", START, body=BODY, safety="once")

    assert list(caught.value.candidates or ()) == list(service.runs)


async def test_errors_are_those_of_all_calls(client: AsyncCoreClaw, service: FakeService) -> None:
    with pytest.raises(NotFoundError):
        await client.request("GET", "/api/v2/worker-runs/01KKDXV2G26BT7NH4ZQR2R4NPZ")
    service.faults.add(faults.reply(b"<html>"), operation="getAccount", times=99)
    with pytest.raises(InvalidResponseError):
        await client.with_options(retry=QUICK).request("GET", "/api/v2/users/account")
    service.faults.add(faults.error(12001, status=401), operation="listWorkers")
    with pytest.raises(AuthenticationError):
        await client.request("GET", "/api/v2/workers")
    service.faults.add(faults.error(10000, status=500), operation="listWorkerTasks", times=99)
    with pytest.raises(ServiceError):
        await client.with_options(retry=QUICK).request("GET", "/api/v2/worker-tasks")
    async with AsyncCoreClaw(transport=service) as keyless:
        with pytest.raises(ConfigurationError, match="needs an API key"):
            await keyless.request("GET", "/api/v2/store")


async def test_a_start_is_told_like_any_other(service: FakeService, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="coreclaw_async")
    events: list[Event] = []
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, on_event=events.append) as client:
        await client.request("POST", START, body=BODY, safety="once")

    (run_id,) = service.runs
    assert [each.run_id for each in events if isinstance(each, RunStarted)] == [run_id]
    assert f"run {run_id} was started" in caplog.text


async def test_a_start_that_waits_gets_the_time_that_it_may_take(service: FakeService) -> None:
    service.default_script = RunScript(duration=200.0)
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, timeout=5.0) as client:
        reply = await client.request("POST", START, body={**BODY, "is_async": False}, safety="once")

    assert reply.data["run_slug"] in service.runs
    assert service.clock.monotonic() >= 200.0


async def test_hook_that_ends_the_program_is_told_of_the_run_and_of_nothing_else(service: FakeService) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, RequestSent):
            raise SystemExit

    service.faults.add(
        faults.edit(lambda envelope: {**envelope, "data": {**envelope["data"], "url": "https://f.test/x?sig=hunter2"}}),
        operation="runWorker",
    )
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, on_event=stop) as client:
        with pytest.raises(SystemExit) as caught:
            await client.request("POST", START, body=BODY, safety="once")

    notes = " ".join(caught.value.__notes__)
    assert next(iter(service.runs)) in notes
    assert "hunter2" not in notes


async def test_the_event_hook_is_told(service: FakeService) -> None:
    events: list[Event] = []
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, on_event=events.append) as client:
        await client.request("GET", "/api/v2/users/account")

    assert [each.name for each in events if isinstance(each, CallStarted | CallEnded)] == ["client.request"] * 2
    assert [(each.operation, each.path) for each in events if isinstance(each, RequestSent)] == [
        ("request", "/api/v2/users/account")
    ]


@pytest.mark.both_backends
async def test_headers_of_the_answer_hold_no_secret() -> None:
    key = "scraper_api_Mine"

    def answer(request: RawRequest, server: RawServer) -> bytes:
        lines = ["Set-Cookie: session=hunter2", f"X-Echo: {key}", "X-A: 1", "x-a: 2"]
        lines += ["Link: <https://files.test/next?sig=hunter2>, </next?sig=hunter2;a,b>; rel=next"]
        lines += ["X-Odd: caf\xe9", f"X-{key}: 3"]
        lines += ["Location: /rows.csv?sig=hunter2,hunter2;hunter2", "Content-Location: rows?hunter2"]
        lines += ["Refresh: 5; url=rows?sig=hunter2"]
        return http(200, b'{"code":0,"request_id":"about scraper_api_Mine"}', *lines)

    with serve_sockets(answering(answer)) as server:
        async with AsyncCoreClaw(key, base_url=server.url) as client:
            reply = await client.request("GET", "/api/v2/x")

    assert "set-cookie" not in reply.headers
    assert reply.headers["x-echo"] == "<key>"
    assert reply.headers["x-a"] == "1, 2"
    assert reply.headers["link"] == "<https://files.test/next?<hidden>>, </next?<hidden>>; rel=next"
    assert reply.headers["location"] == "/rows.csv?<hidden>"
    assert reply.headers["content-location"] == "rows?<hidden>"
    assert reply.headers["refresh"] == "5; url=rows?<hidden>"
    assert reply.headers["x-<key>"] == "3"
    assert reply.request_id == "about <key>"
    assert "hunter2" not in reply.to_json()
    assert key.lower() not in reply.to_json().lower()
    assert reply.data is None


BAD_PATHS: list[Any] = [
    "",
    "/",
    "api/v2/x",
    "/users/account",
    "/API/v2/x",
    "/api/",
    "//elsewhere.test/api/v2/x",
    "/api//elsewhere.test",
    "https://elsewhere.test/api/v2/x",
    "/api/v2/../../x",
    "/api/v2/.",
    "/api/v2/..",
    "/api/v2/..;/x",
    "/api/v2/%2e%2e/x",
    "/api/v2/%2E./x",
    "/api/v2/%252e%252e/x",
    "/api/v2/a%2Fb",
    "/api/v2/a%252fb",
    "/api/v2/a%5Cb",
    "/api/v2/a%3Fb",
    "/api/v2/a%23b",
    "/api/v2/a%0d%0ab",
    "/api/v2/a%00",
    "/api/v2/a%20b",
    "/api/v2/a%ff",
    "/api/v2/a%zz",
    "/api/v2/a%",
    "/api/v2/a\\b",
    "/api/v2/a?b=c",
    "/api/v2/a#b",
    "/api/v2/a b",
    "/api/v2/a\r\nEvil: 1",
    "/api/v2/a\n",
    "/api/v2/a\0",
    "/api/v2/caf\xe9",
    "/api/v2/\u2025/x",
    "/api/v2/\ud800",
    "/api/v2/a[b]",
    "/api/v2/@elsewhere.test:80/..",
    "/api/v2/x/",
    "/api/v2/" + "a" * 2_000,
    "/api/v2/scraper_api_mine",
    "/api/v2/%73craper_api_mine",
    "/api/v2/%EF%BC%8E%EF%BC%8E/x",
    "/api/v2/%E2%80%A5/x",
    "/api/v2/a%EF%BC%8Fb",
    "/api/v2/%EF%BC%85%EF%BC%92e%EF%BC%85%EF%BC%92e/x",
    "/api/v2/%" + "25" * 600 + "2e%2e",
    "/api/v2/" + "a " * 42 + "scraper_api_mine",
]


@pytest.mark.parametrize("path", BAD_PATHS, ids=range(len(BAD_PATHS)))
async def test_a_path_that_may_lead_elsewhere_is_refused_and_nothing_is_sent(path: str, service: FakeService) -> None:
    async with AsyncCoreClaw("scraper_api_mine", transport=service, clock=service.clock) as client:
        for method in ("GET", "POST"):
            with pytest.raises(ValueError, match="path must ") as caught:
                await client.request(method, path, safety="once")
            assert "scraper" not in str(caught.value)

    assert service.requests == []


@pytest.mark.parametrize(
    "end",
    [
        "workers/x/runs;v=1",
        "workers/x/runs%3Bjsessionid=1",
        "workers/x/runs.json",
        "workers/x/runs.",
        "worker-tasks;a",
        "workers/x/%EF%BD%92%EF%BD%95ns",  # Full-width letters.
        "workers/x/run%C5%BF",  # A long s.
        "scraper/run",  # Of the version before, as are the next two.
        "task/run",
        "task/rerun",
    ],
)
async def test_a_start_in_another_spelling_of_some_servers_is_one(client: AsyncCoreClaw, end: str) -> None:
    for safety in ("repeatable", "safe"):
        with pytest.raises(ValueError, match="safety must be 'once' for POST"):
            await client.request("POST", f"/api/v2/{end}", body={}, safety=safety)
    with pytest.raises(ValueError, match="safety must be 'once' for POST"):
        await client.request("POST", "/api/v2/worker-runs/last;a/abort", safety="repeatable")


ITSELF: list[Any] = []
ITSELF.append(ITSELF)
BAD_ARGUMENTS: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "no method": ({"method": ""}, ValueError, "method must be one of GET, POST"),
    "HEAD": ({"method": "HEAD"}, ValueError, "method must be one of GET, POST"),
    "CONNECT": ({"method": "CONNECT"}, ValueError, "method must be"),
    "a line break": ({"method": "GET /x HTTP/1.1\r\n"}, ValueError, "method must be"),
    "a long s": ({"method": "PO\u017fT"}, ValueError, "method must be"),
    "bytes": ({"method": b"GET"}, TypeError, "method must be a str, not bytes"),
    "a path of bytes": ({"path": b"/api/v2/x"}, TypeError, "path must be a str, not bytes"),
    "no path": ({"path": None}, TypeError, "path must be a str, not NoneType"),
    "a body of a read": ({"method": "GET", "body": {}}, ValueError, "body must be None for GET"),
    "a body of NaN": ({"body": {"a": [float("nan")]}}, ValueError, r"body\.a\[0\] cannot be sent as JSON"),
    "a body of bytes": ({"body": b"{}"}, TypeError, "body must be a dict or a list, .* not bytes"),
    "a body of text": ({"body": "{}"}, TypeError, "body must be a dict or a list, .* not str"),
    "a body of itself": ({"body": ITSELF}, ValueError, "it contains itself"),
    "a body with a number as key": ({"body": {1: 2}}, TypeError, "body cannot be sent as JSON"),
    "half a surrogate pair": ({"body": ["\ud800"]}, ValueError, r"body\[0\] cannot be sent as JSON"),
    "the key in the body": ({"body": {"a": "scraper_api_mine"}}, ValueError, "must not hold the API key"),
    "the key in the query": ({"query": {"a": "scraper_api_mine"}}, ValueError, "must not hold the API key"),
    "the key as method": ({"method": "scraper_api_mine"}, ValueError, "method must be one of GET, POST"),
    "the key as safety": ({"safety": "scraper_api_mine"}, ValueError, "safety must be one of"),
    "the key as a name": ({"query": {"scraper_api_mine": 1.5}}, TypeError, "must be a str, an int, a bool or None"),
    "another method": ({"query": {"_method": "POST"}}, ValueError, "query must not hold _method"),
    "a token": ({"query": {"Token": "x"}}, ValueError, "query must not hold token"),
    "a query of text": ({"query": "a=b"}, TypeError, "query must be a mapping"),
    "a query with a number as key": ({"query": {1: "b"}}, TypeError, "query must have str keys"),
    "a query without a name": ({"query": {"": "b"}}, ValueError, "query must have names"),
    "half a name": ({"query": {"\ud800": "b"}}, ValueError, "UTF-8"),
    "half a value": ({"query": {"a": "\udfff"}}, ValueError, r"query\['a'\] must be a string that UTF-8"),
    "a number that is not written": ({"query": {"n": 10**5_000}}, ValueError, "a number that Python writes, not a"),
    "a long value": ({"query": {"a": "b" * 16_001}}, ValueError, r"query\['a'\] must have 16,000 characters at most"),
    "a float": ({"query": {"a": 1.5}}, TypeError, r"query\['a'\] must be a str, an int, a bool or None, not float"),
    "a list": ({"query": {"a": ["b"]}}, TypeError, "not list"),
    "a long query": ({"query": {"a": "b" * 16_000}}, ValueError, "query must have 16,000 characters at most"),
    "no safety": ({"safety": None}, ValueError, "safety must be said for POST"),
    "an unknown safety": ({"safety": "idempotent"}, ValueError, "safety must be one of 'safe', 'repeatable', 'once'"),
    "an empty safety": ({"safety": ""}, ValueError, "safety must be one of"),
    "a safety of another type": ({"safety": ["once"]}, TypeError, "safety must be a str, not list"),
}


@pytest.mark.parametrize(("changes", "kind", "said"), BAD_ARGUMENTS.values(), ids=BAD_ARGUMENTS.keys())
async def test_a_wrong_argument_is_refused_and_nothing_is_sent(
    changes: dict[str, Any], kind: type[Exception], said: str, service: FakeService
) -> None:
    arguments: dict[str, Any] = {"method": "POST", "path": "/api/v2/x", "safety": "once", **changes}
    async with AsyncCoreClaw("scraper_api_mine", transport=service, clock=service.clock) as client:
        with pytest.raises(kind, match=said) as caught:
            await client.request(arguments.pop("method"), arguments.pop("path"), **arguments)

    assert "scraper_api_mine" not in str(caught.value)
    assert service.requests == []


async def test_a_start_is_sent_as_it_is_written_and_one_with_a_url_of_the_hub_belongs_to_it(
    service: FakeService,
) -> None:
    hub = CallbackHub("http://127.0.0.1:9/hooks")
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, callbacks=hub) as client:
        await client.request("POST", START, body=BODY, safety="once")
        assert "callback_url" not in (service.requests[-1].body or {})

        url = hub.new_url()
        reply = await client.request("POST", START, body={**BODY, "callback_url": url}, safety="once")
        assert hub.run_id_of(url) == reply.data["run_slug"]

        service.faults.add(faults.commit_then_drop(), operation="runWorker")
        lost = hub.new_url()
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.request("POST", START, body={**BODY, "callback_url": lost}, safety="once")
        with pytest.raises(InvalidArgumentError):
            await client.request("POST", START, body={**BODY, "callback_url": 5}, safety="once")

    assert caught.value.callback_url == lost
    assert "callback_url" not in caught.value.to_dict()
