"""Sending: connections, deadlines, answers that are not answers, event loops, and many calls at once."""

from __future__ import annotations

import gc
import json
import random
import threading
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import httpx
import pytest
from interrupting import cancelling_once
from waiting import join

from coreclaw_async import (
    ApiError,
    AsyncCoreClaw,
    AuthenticationError,
    ConfigurationError,
    CoreClawError,
    InvalidArgumentError,
    InvalidResponseError,
    NoReplyError,
    NotFoundError,
    RateLimitedError,
    RequestTimeoutError,
    ResponseTooLargeError,
    RetryPolicy,
    SendTimeoutError,
    ServiceError,
)
from coreclaw_async.events import Event, PageRead, RequestSent, RetryScheduled, RunStarted
from coreclaw_async.testing import FakeService, RealClock, faults
from coreclaw_async.testing.faults import Fault

WORKER = "coreclaw/google-maps-scraper"
INPUT = {"keywords": ["coffee"]}


def no_retries() -> RetryPolicy:
    return RetryPolicy(max_attempts=1)


BAD_ANSWERS: dict[str, tuple[Fault, type[CoreClawError], int | None, int | None]] = {
    "HTML of a gateway": (faults.status(502, body=b"<html>Bad Gateway</html>"), ServiceError, 502, None),
    "HTML with 200": (faults.reply(b"<html>"), InvalidResponseError, 200, None),
    "HTML with 404": (faults.status(404, body=b"<html>"), NotFoundError, 404, None),
    "HTML with 403": (faults.status(403, body=b"<html>"), AuthenticationError, 403, None),
    "HTML with 418": (faults.status(418, body=b"<html>"), ApiError, 418, None),
    "empty": (faults.reply(b""), InvalidResponseError, 200, None),
    "no content": (faults.reply(b"", status=204), InvalidResponseError, 204, None),
    "cut short": (faults.truncate(keep=5), NoReplyError, None, None),
    "half JSON": (faults.reply(b'{"code": 0, "mess'), InvalidResponseError, 200, None),
    "an array": (faults.reply(b"[]"), InvalidResponseError, 200, None),
    "a text": (faults.reply(b'"fine"'), InvalidResponseError, 200, None),
    "no code": (faults.reply(b'{"message":"success","data":{}}'), InvalidResponseError, 200, None),
    "code null": (faults.reply(b'{"code":null,"message":"","data":{}}'), InvalidResponseError, 200, None),
    "code true": (faults.reply(b'{"code":true,"message":"","data":{}}'), InvalidResponseError, 200, None),
    "code as text": (faults.reply(b'{"code":"0","message":"success","data":{}}'), InvalidResponseError, 200, 0),
    "error code as text": (
        faults.reply(b'{"code":"11000","message":"bad","request_id":"r"}', status=400),
        InvalidArgumentError,
        400,
        11000,
    ),
    "error in a 200": (faults.reply(b'{"code":70001,"message":"no run"}'), NotFoundError, 200, 70001),
    "success in a 500": (faults.reply(b'{"code":0,"message":"ok"}', status=500), ServiceError, 500, 0),
    "unknown code": (faults.error(98765, status=409), ApiError, 409, 98765),
    "invalid UTF-8": (faults.reply(b'{"code":0,"message":"\xff","data":{}}'), InvalidResponseError, 200, None),
    "nested 20,000 deep": (faults.reply(b'{"code":0,"data":' + b"[" * 20_000), InvalidResponseError, 200, None),
    "a number of 5,000 digits": (
        faults.reply(b'{"code":0,"message":"","data":{"results":' + b"9" * 5000 + b"}}"),
        InvalidResponseError,
        200,
        0,
    ),
    "data a list": (faults.reply(b'{"code":0,"message":"","data":[1]}'), InvalidResponseError, 200, 0),
    "wrong type": (
        faults.reply(b'{"code":0,"message":"","data":{"slug":"x","status":["running"]}}'),
        InvalidResponseError,
        200,
        0,
    ),
    "a redirect": (faults.redirect("/elsewhere"), InvalidResponseError, 307, None),
    "broken gzip": (
        faults.reply(b"not gzip", headers={"content-encoding": "gzip"}),
        InvalidResponseError,
        200,
        None,
    ),
    "half gzip": (
        faults.reply(b"\x1f\x8b\x08\x00\x00\x00\x00\x00", headers={"content-encoding": "gzip"}),
        InvalidResponseError,
        200,
        None,
    ),
    "an encoding nobody asked for": (
        faults.reply(b"{}", headers={"content-encoding": "br"}),
        InvalidResponseError,
        200,
        None,
    ),
}


@pytest.mark.parametrize(("fault", "kind", "status", "code"), BAD_ANSWERS.values(), ids=BAD_ANSWERS.keys())
async def test_a_bad_answer_is_a_typed_error(
    service: FakeService, fault: Fault, kind: type[CoreClawError], status: int | None, code: int | None
) -> None:
    run_id = service.add_run(WORKER)
    service.faults.add(fault, operation="getWorkerRun", times=9)
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, retry=no_retries()) as client:
        with pytest.raises(kind) as caught:
            await client.runs.get(run_id)

    assert type(caught.value) is kind
    assert (caught.value.status_code, caught.value.code) == (status, code)
    assert caught.value.run_id == run_id
    assert not caught.value.may_have_taken_effect


@pytest.mark.parametrize("usage", [{}, {"usage": None}], ids=["absent", "null"])
async def test_absent_and_null_members_never_raise(service: FakeService, usage: dict[str, None]) -> None:
    run_id = service.add_run(WORKER)
    data = {"slug": run_id, "status": "running", **usage}
    service.faults.add(faults.edit(lambda envelope: {**envelope, "data": data}), operation="getWorkerRun")
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        run = await client.runs.get(run_id)

    assert (run.run_id, run.status, run.usage, run.result_count, run.extra) == (run_id, "running", None, None, {})


async def test_a_call_without_a_key_says_what_to_give(service: FakeService) -> None:
    async with AsyncCoreClaw(transport=service, clock=service.clock) as client:
        with pytest.raises(ConfigurationError, match="needs an API key"):
            await client.account.get()
        assert await client.proxies.list_regions()

    assert len(service.requests) == 1


async def test_a_deletion_that_did_its_work_although_its_answer_was_lost_is_a_success(service: FakeService) -> None:
    task_id = service.add_task("coreclaw/google-maps-scraper", title="t", input={})
    service.faults.add(faults.commit_then_drop(), operation="deleteWorkerTask")
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        await client.tasks.delete(task_id)

    assert len(service.requests) == 2


async def test_an_abort_that_is_sent_twice_is_a_success(service: FakeService) -> None:
    run_id = service.add_run("coreclaw/google-maps-scraper", status="running")
    service.faults.add(faults.drop_before_commit(), operation="abortWorkerRun")
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        assert not client._context.transport.knows_service_time
        await client.runs.abort(run_id)
        assert client._context.transport.knows_service_time

    assert len(service.requests) == 2


async def test_an_answer_that_a_hook_has_read_may_be_too_large_too(service: FakeService) -> None:
    async def read(response: httpx.Response) -> None:
        await response.aread()

    async with httpx.AsyncClient(transport=service, event_hooks={"response": [read]}) as http_client:
        client = AsyncCoreClaw(service.api_key, http_client=http_client, max_response_bytes=10)
        with pytest.raises(ResponseTooLargeError, match="more than 10 bytes"):
            await client.account.get()


async def test_an_error_keeps_what_the_service_said(service: FakeService) -> None:
    service.faults.add(
        faults.error(11000, status=422, message="bad field", details=["limit is too high"]), operation="getAccount"
    )
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        with pytest.raises(InvalidArgumentError, match="bad field") as caught:
            await client.account.get()

    assert (caught.value.status_code, caught.value.code) == (422, 11000)
    assert caught.value.request_id is not None
    assert caught.value.details == ["limit is too high"]


async def test_a_gzip_bomb_is_refused_while_it_is_small(service: FakeService) -> None:
    service.faults.add(faults.gzip_bomb(50_000_000), operation="getAccount", times=2)
    async with AsyncCoreClaw(
        service.api_key, transport=service, clock=service.clock, max_response_bytes=100_000
    ) as client:
        with pytest.raises(ResponseTooLargeError, match="more than 100000 bytes"):
            await client.account.get()

    assert len(service.requests) == 1


@pytest.mark.both_backends
async def test_a_big_answer_is_refused_over_a_socket_and_the_next_call_works() -> None:
    service = FakeService(clock=RealClock())
    service.faults.add(faults.reply(b"x" * 3_000_000), operation="getAccount")
    service.faults.add(faults.gzip_bomb(30_000_000), operation="getAccount")
    with service.serve() as server:
        async with AsyncCoreClaw(service.api_key, base_url=server.url, max_response_bytes=1_000_000) as client:
            for _ in range(2):
                with pytest.raises(ResponseTooLargeError, match="more than 1000000 bytes"):
                    await client.account.get()
                assert client.connections_in_use == 0
            await client.account.get()


async def test_a_packed_answer_is_unpacked(service: FakeService) -> None:
    service.faults.add(faults.gzip_bomb(200), operation="getAccount", times=99)
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        with pytest.raises(InvalidResponseError, match="wrong shape"):
            await client.account.get()


async def test_one_deadline_covers_attempts_and_waits() -> None:
    service = FakeService(clock=RealClock())
    service.faults.add(faults.status(503), operation="getAccount", times=9999)
    async with AsyncCoreClaw(
        service.api_key,
        transport=service,
        timeout=0.5,
        retry=RetryPolicy(max_attempts=5000, first_delay=0.02, max_delay=0.02),
    ) as client:
        # The deadline may pass between two attempts, or within one on a busy machine.
        with anyio.fail_after(20), pytest.raises((ServiceError, RequestTimeoutError, SendTimeoutError)):
            await client.account.get()

    assert 1 < len(service.requests) < 5000


class SlowClock:
    """A clock on which a sleep takes longer than it was asked to, as on a machine that is busy or was suspended."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 1786766400.0 + self.now

    async def sleep(self, seconds: float, /) -> None:
        self.now += seconds + 100


async def test_a_sleep_that_outlasts_the_deadline_ends_with_the_last_failure(service: FakeService) -> None:
    service.faults.add(faults.status(503), operation="getAccount")
    async with AsyncCoreClaw(service.api_key, transport=service, clock=SlowClock()) as client:
        with pytest.raises(ServiceError):
            await client.account.get()

    assert len(service.requests) == 1


async def test_a_silent_service_is_a_timeout(service: FakeService) -> None:
    service.faults.add(faults.stall(), operation="getAccount")
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, timeout=0.05) as client:
        with pytest.raises(RequestTimeoutError) as caught:
            await client.account.get()

    assert isinstance(caught.value, TimeoutError)
    assert not caught.value.may_have_taken_effect


async def test_a_repeatable_request_without_reply_may_have_taken_effect(service: FakeService) -> None:
    task_id = service.add_task(WORKER, title="t", input={"parameters": {"custom": INPUT}})
    service.faults.add(faults.stall(), operation="updateWorkerTask")
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, timeout=0.05) as client:
        with pytest.raises(RequestTimeoutError) as caught:
            await client.tasks.update(task_id, title="new")

    assert caught.value.may_have_taken_effect


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_a_wait_is_never_shorter_than_retry_after(service: FakeService, form: str) -> None:
    asked = 7 if form == "seconds" else formatdate(service.clock.time() + 7, usegmt=True)
    service.faults.add(faults.rate_limited(retry_after=asked), operation="getAccount")
    before = service.clock.monotonic()
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        await client.account.get()

    assert 7 <= service.clock.monotonic() - before <= 7.5


async def test_a_retry_after_beyond_the_policy_ends_the_call(service: FakeService) -> None:
    service.faults.add(faults.rate_limited(retry_after=40), operation="getAccount")
    async with AsyncCoreClaw(
        service.api_key, transport=service, clock=service.clock, retry=RetryPolicy(max_retry_after=30)
    ) as client:
        with pytest.raises(RateLimitedError) as caught:
            await client.account.get()

    assert caught.value.retry_after == 40


@pytest.mark.both_backends
@pytest.mark.endurance
async def test_a_thousand_calls_at_once_with_latency() -> None:
    service = FakeService(clock=RealClock())
    run_id = service.add_run(WORKER)
    service.faults.add(faults.delay(0.02), times=1000)

    with service.serve() as server:
        async with AsyncCoreClaw(service.api_key, base_url=server.url) as client:
            async with anyio.create_task_group() as group:
                for _ in range(1000):
                    group.start_soon(client.runs.get, run_id)
            assert client.connections_in_use == 0
            assert client._context.transport.connections.connections_open <= 100

    assert len(service.requests) == 1000


@pytest.mark.both_backends
@pytest.mark.endurance
async def test_cancelling_calls_at_random_moments_leaks_no_connection() -> None:
    service = FakeService(clock=RealClock())
    run_id = service.add_run(WORKER)
    dice = random.Random(7)
    ended = 0

    with service.serve() as server:
        async with AsyncCoreClaw(service.api_key, base_url=server.url, max_connections=20) as client:

            async def call(patience: float | None) -> None:
                nonlocal ended
                with anyio.move_on_after(patience):
                    await client.runs.get(run_id)
                ended += 1

            async with anyio.create_task_group() as group:
                for _ in range(2000):
                    group.start_soon(call, dice.uniform(0, 1.5) if dice.random() < 0.7 else None)
            assert ended == 2000
            assert client.connections_in_use == 0
            assert (await client.runs.get(run_id)).run_id == run_id
            assert client.connections_in_use == 0


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_cancelling_tasks_of_asyncio_leaks_no_connection() -> None:
    import asyncio

    service = FakeService(clock=RealClock())
    run_id = service.add_run(WORKER)
    dice = random.Random(11)

    with service.serve() as server:
        async with AsyncCoreClaw(service.api_key, base_url=server.url, max_connections=5) as client:
            tasks = [asyncio.create_task(client.runs.get(run_id)) for _ in range(300)]
            for task in tasks:
                if dice.random() < 0.7:
                    asyncio.get_running_loop().call_later(dice.uniform(0, 0.3), task.cancel)
            await asyncio.gather(*tasks, return_exceptions=True)
            assert client.connections_in_use == 0
            assert (await client.runs.get(run_id)).run_id == run_id


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_client_serves_one_event_loop_after_another(backend: str) -> None:
    service = FakeService(clock=RealClock())
    with service.serve() as server:
        client = AsyncCoreClaw(service.api_key, base_url=server.url)

        async def main() -> None:
            await client.account.get()
            await client.account.get()

        async def last() -> None:
            async with client:
                await client.account.get()

        anyio.run(main, backend=backend)
        assert client._context.transport.connections.connections_open == 0, "closed with its loop"
        anyio.run(main, backend=backend)
        anyio.run(last, backend=backend)
        gc.collect()

    assert len(service.requests) == 5


def test_a_client_serves_two_event_loops_at_once() -> None:
    service = FakeService(clock=RealClock())
    with service.serve() as server:
        client = AsyncCoreClaw(service.api_key, base_url=server.url)
        failures: list[BaseException] = []

        async def main() -> None:
            for _ in range(30):
                await client.account.get()

        def work() -> None:
            try:
                anyio.run(main)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        join(*threads)
        anyio.run(client.aclose)
        gc.collect()

    assert failures == []
    assert len(service.requests) == 90


async def test_a_closed_client_says_so(service: FakeService) -> None:
    client = AsyncCoreClaw(service.api_key, transport=service)
    await client.aclose()
    await client.aclose()

    with pytest.raises(ConfigurationError, match="closed"):
        await client.account.get()


async def test_a_callers_own_client_is_used_and_left_open(service: FakeService) -> None:
    async with httpx.AsyncClient(transport=service, auth=("user", "password")) as http:
        async with AsyncCoreClaw(service.api_key, http_client=http, clock=service.clock) as client:
            await client.account.get()
            assert client.connections_in_use == 0
        assert not http.is_closed

    assert service.requests[0].headers["authorization"] == f"Bearer {service.api_key}"


async def test_a_transport_that_fails_in_its_own_way_is_no_foreign_error() -> None:
    class Broken(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise RuntimeError("the cable is broken")

    async with AsyncCoreClaw("key", transport=Broken(), retry=no_retries()) as client:
        with pytest.raises(NoReplyError, match="the cable is broken"):
            await client.account.get()
        with pytest.raises(CoreClawError) as caught:
            await client.workers.start_run(WORKER, INPUT)

    assert caught.value.may_have_taken_effect


@pytest.mark.parametrize("key", ["s3cr3t", r"S3cr\3t"])
@pytest.mark.parametrize("change", [str, str.lower])
async def test_a_cause_that_quotes_the_key_is_left_out(change: Callable[[str], str], key: str) -> None:
    class Talkative(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise RuntimeError(f"could not send {change(request.headers['authorization'])}")

    async with AsyncCoreClaw(key, transport=Talkative(), retry=no_retries()) as client:
        with pytest.raises(NoReplyError) as caught:
            await client.account.get()

    assert caught.value.__cause__ is None
    assert change(key) not in str(caught.value)


async def test_options_of_a_copy_are_its_own(service: FakeService) -> None:
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        copy = client.with_options(
            api_key="wrong",
            auth="api-key",
            timeout=5,
            retry=no_retries(),
            max_response_bytes=10_000,
            offset_dialect="row",
            on_event=lambda event: None,
        )
        async with copy:
            with pytest.raises(AuthenticationError):
                await copy.account.get()
        await client.account.get()
        await client.with_options().account.get()

    assert [request.headers.get("api-key") for request in service.requests] == ["wrong", None, None]


async def test_a_key_is_only_needed_where_the_service_needs_one(service: FakeService) -> None:
    async with AsyncCoreClaw(transport=service, clock=service.clock) as client:
        assert await client.store.iterate().collect()
        with pytest.raises(ConfigurationError, match="CORECLAW_API_KEY"):
            await client.account.get()

    assert [request.operation for request in service.requests] == ["listStore"]


async def test_settings_come_from_the_environment(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORECLAW_API_KEY", f" {service.api_key}\n")
    monkeypatch.setenv("CORECLAW_BASE_URL", "https://openapi.coreclaw.com/")
    async with AsyncCoreClaw(transport=service, clock=service.clock) as client:
        await client.account.get()

    assert service.requests[0].path == "/api/v2/users/account"


@pytest.mark.parametrize("blank", ["", " ", "\n"])
async def test_blank_settings_of_the_environment_are_none(
    service: FakeService, monkeypatch: pytest.MonkeyPatch, blank: str
) -> None:
    monkeypatch.setenv("CORECLAW_API_KEY", blank)
    monkeypatch.setenv("CORECLAW_BASE_URL", blank)
    async with AsyncCoreClaw(transport=service, clock=service.clock) as client:
        await client.store.list_page()
        with pytest.raises(ConfigurationError, match="set CORECLAW_API_KEY"):
            await client.account.get()

    assert [request.host for request in service.requests] == ["openapi.coreclaw.com"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CORECLAW_BASE_URL", "openapi.coreclaw.com"),
        ("CORECLAW_BASE_URL", "https://x.test/api/v2"),
        ("CORECLAW_BASE_URL", "https://x.test?a=1"),
        ("CORECLAW_BASE_URL", "https://user@x.test"),
        ("CORECLAW_API_KEY", "two words"),
        ("CORECLAW_API_KEY", "k\u00e9y"),
    ],
)
def test_a_setting_of_the_environment_is_named_as_such(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=f"^{name} must ") as caught:
        AsyncCoreClaw()

    assert "words" not in str(caught.value)


@pytest.mark.parametrize(
    "tail", ["/api/v2", "/api/v2/", "/api/v1", "/API/V2", "//api//v2//", "/Api/v10", "/api/v2/ \n"]
)
@pytest.mark.parametrize("base", ["https://openapi.coreclaw.com", "http://gw.example:8443/coreclaw"])
def test_a_base_url_with_the_path_of_the_api_is_answered_with_the_right_one(base: str, tail: str) -> None:
    with pytest.raises(ConfigurationError, match="must be the URL up to /api/v2") as caught:
        AsyncCoreClaw("key", base_url=base + tail)

    assert f"which is added: {base!r}, not " in str(caught.value)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("https://gw.example/coreclaw", "https://gw.example/coreclaw"),
        (" https://gw.example/coreclaw/\n", "https://gw.example/coreclaw"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("HTTPS://GW.example:8443//", "https://gw.example:8443"),
        ("https://gw.example/api", "https://gw.example/api"),
        ("https://gw.example/api/v2/tenant", "https://gw.example/api/v2/tenant"),
        ("https://gw.example/myapi/v2", "https://gw.example/myapi/v2"),
        ("https://[::1]:8443/x", "https://[::1]:8443/x"),
        ("https://[::ffff:127.0.0.1]", "https://[::ffff:127.0.0.1]"),
        ("https://5.example", "https://5.example"),
        ("https://0xfeed.example", "https://0xfeed.example"),
    ],
)
async def test_a_base_url_of_a_private_deployment_is_taken(given: str, sent: str) -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        return httpx.Response(200, json={"code": 0, "message": "success", "data": {"balance": "1"}})

    async with AsyncCoreClaw("key", base_url=given, transport=httpx.MockTransport(answer)) as client:
        await client.account.get()

    assert seen == [f"{sent}/api/v2/users/account"]


async def test_a_base_url_may_have_a_path() -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        return httpx.Response(200, json={"code": 0, "message": "success", "data": {"balance": "1"}})

    async with AsyncCoreClaw(
        "key", base_url="https://gateway.test/coreclaw/", transport=httpx.MockTransport(answer)
    ) as client:
        await client.account.get()

    assert seen == ["https://gateway.test/coreclaw/api/v2/users/account"]


async def test_events_tell_what_happened(service: FakeService) -> None:
    events: list[Event] = []
    service.faults.add(faults.status(503), operation="runWorker")
    service.faults.add(faults.rate_limited(), operation="getAccount")
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, on_event=events.append) as client:
        await client.account.get()
        with pytest.raises(CoreClawError):
            await client.workers.start_run(WORKER, INPUT)
        started = await client.workers.start_run(WORKER, INPUT)
        await client.runs.iterate().collect()

    requests = [event for event in events if isinstance(event, RequestSent)]
    assert [(event.operation, event.attempt, event.status_code, event.error) for event in requests] == [
        ("getAccount", 1, 429, "RateLimitedError"),
        ("getAccount", 2, 200, None),
        ("runWorker", 1, 503, "OutcomeUnknownError"),
        ("listWorkerRuns", 1, 200, None),
        ("runWorker", 1, 200, None),
        ("listWorkerRuns", 1, 200, None),
    ]
    assert [event.operation for event in events if isinstance(event, RetryScheduled)] == ["getAccount"]
    assert [event.run_id for event in events if isinstance(event, RunStarted)] == [started.run_id]
    assert [event.items for event in events if isinstance(event, PageRead)] == [0, 1]


async def test_a_hook_that_fails_changes_nothing(service: FakeService, caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: Event) -> None:
        raise ZeroDivisionError

    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, on_event=broken) as client:
        await client.account.get()

    assert "the on_event hook failed on RequestSent" in caplog.text


async def test_each_request_is_one_line_at_debug(service: FakeService, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="coreclaw_async")
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        await client.account.get()

    (record,) = [record for record in caplog.records if record.name == "coreclaw_async"]
    assert record.getMessage().startswith("GET /api/v2/users/account: success, HTTP 200, code 0, request_id req-")


async def test_a_cancelled_read_is_told_as_such(service: FakeService) -> None:
    events: list[Any] = []
    service.faults.add(faults.stall(), operation="getAccount")
    async with (
        AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, on_event=events.append) as client,
        cancelling_once(lambda: service.requests) as scope,
    ):
        with scope:
            await client.account.get()

    sent, ended = events[1:]
    assert sent.error == "Cancelled"
    assert ended.error in {"Cancelled", "CancelledError"}


@pytest.mark.parametrize(
    ("names", "bypass", "expected"),
    [
        ({}, "", None),
        ({"HTTP_PROXY": "127.0.0.1:3128"}, "", "http://127.0.0.1:3128"),
        ({"http_proxy": "http://127.0.0.1:3128"}, "", "http://127.0.0.1:3128"),
        ({"all_proxy": "http://127.0.0.1:1080"}, "", "http://127.0.0.1:1080"),
        ({"http_proxy": "http://127.0.0.1:3128"}, "service.test", None),
    ],
)
def test_the_proxy_of_the_environment_is_used(
    monkeypatch: pytest.MonkeyPatch, names: dict[str, str], bypass: str, expected: str | None
) -> None:
    from coreclaw_async._http.route import choose_proxy

    for name, value in names.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("no_proxy", bypass)

    proxy = choose_proxy(httpx.URL("http://service.test/")).url
    assert (None if proxy is None else str(proxy)) == expected


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "[::1]"])
def test_a_loopback_address_is_reached_without_a_proxy(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    from coreclaw_async._http.route import choose_proxy

    monkeypatch.setenv("http_proxy", "http://127.0.0.1:3128")

    assert choose_proxy(httpx.URL(f"http://{host}:8787/")).url is None


async def test_a_tls_connection_is_prepared_with_one_context() -> None:
    """Nothing listens there; the point is that the request fails as not sent, over TLS settings that were made."""
    async with AsyncCoreClaw("key", base_url="https://127.0.0.1:9", retry=no_retries()) as client:
        with pytest.raises(CoreClawError, match="was not sent"):
            await client.account.get()


async def test_no_cookie_is_kept() -> None:
    seen: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("cookie"))
        return httpx.Response(
            200, headers={"set-cookie": "a=b"}, json={"code": 0, "message": "", "data": {"balance": "1"}}
        )

    async with AsyncCoreClaw("key", transport=httpx.MockTransport(answer)) as client:
        await client.account.get()
        await client.account.get()
        inner = client._context.transport.connections.client
        assert not inner.cookies
        with pytest.raises(AttributeError, match="no cookies"):
            inner.cookies = httpx.Cookies()  # type: ignore[misc]

    assert seen == [None, None]


def test_making_a_client_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    client = AsyncCoreClaw("key")

    assert client._context.transport.connections._client is None


def mutual(check: Callable[[], object]) -> str:
    with pytest.raises((ValueError, TypeError)) as caught:
        check()
    return str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"api_key": ""}, ["api_key"]),
        ({"api_key": "two\nlines"}, ["api_key", "line breaks"]),
        ({"api_key": "k\u00e9y"}, ["api_key"]),
        ({"api_key": 7}, ["api_key", "int"]),
        ({"auth": "cookie"}, ["auth", "cookie"]),
        ({"base_url": "openapi.coreclaw.com"}, ["base_url", "openapi.coreclaw.com"]),
        ({"base_url": "ftp://openapi.coreclaw.com"}, ["base_url", "ftp"]),
        ({"base_url": "https://"}, ["base_url"]),
        ({"base_url": "https://x.test?token=1"}, ["base_url"]),
        ({"base_url": "https://user:secret@x.test"}, ["base_url"]),
        ({"base_url": "https://[x"}, ["base_url"]),
        ({"base_url": 7}, ["base_url"]),
        ({"timeout": 0}, ["timeout", "0"]),
        ({"timeout": -1}, ["timeout", "-1"]),
        ({"timeout": float("nan")}, ["timeout", "nan"]),
        ({"timeout": float("inf")}, ["timeout", "inf"]),
        ({"timeout": "5"}, ["timeout", "'5'"]),
        ({"timeout": True}, ["timeout", "True"]),
        ({"max_connections": 0}, ["max_connections", "0"]),
        ({"max_connections": 1.5}, ["max_connections", "1.5"]),
        ({"max_response_bytes": 0}, ["max_response_bytes"]),
        ({"offset_dialect": "rows"}, ["offset_dialect", "rows"]),
        ({"backend": "requests"}, ["backend", "requests", "auto, httpx, aiohttp"]),
        ({"backend": "s3cr3t"}, ["backend", "<hidden>"]),
        ({"backend": None}, ["backend", "None"]),
        ({"backend": ["httpx"]}, ["backend", "['httpx']"]),
        ({"http_client": object(), "transport": object()}, ["http_client", "transport"]),
        ({"http_client": 5}, ["http_client", "int"]),
        ({"transport": httpx.HTTPTransport()}, ["transport", "HTTPTransport"]),
        ({"auth": "s3cr3t"}, ["auth", "<hidden>"]),
        ({"base_url": "s3cr3t"}, ["base_url", "<hidden>"]),
        ({"base_url": "https://[s3cr3t"}, ["base_url", "<hidden>"]),
        ({"offset_dialect": "s3cr3t"}, ["offset_dialect", "<hidden>"]),
        ({"api_key": None, "auth": "scraper_api_123"}, ["auth", "<hidden>"]),
        ({"retry": 5}, ["retry", "int"]),
        ({"poll_schedule": 5}, ["poll_schedule", "int"]),
        ({"on_event": 5}, ["on_event", "int"]),
        ({"base_url": "http://x.test:99999"}, ["base_url", "99999"]),
        ({"base_url": "http://xn--/"}, ["base_url"]),
        ({"base_url": "https://x.test?"}, ["base_url", "query"]),
        ({"base_url": "https://x.test/#"}, ["base_url", "query"]),
        ({"base_url": "https://x.test/a b"}, ["base_url", "spaces"]),
        ({"base_url": "https://x.test/a\tb"}, ["base_url"]),
        ({"base_url": " "}, ["base_url", "' '"]),
        ({"base_url": "http://127.1"}, ["base_url", "such as 127.0.0.1, not 'http://127.1'"]),
        ({"base_url": "http://2130706433:80/x"}, ["base_url", "such as 127.0.0.1"]),
        ({"base_url": "http://0x7f.0.0.1"}, ["base_url", "such as 127.0.0.1"]),
        ({"base_url": "http://127.0.0.1."}, ["base_url", "such as 127.0.0.1"]),
        ({"base_url": "http://gw.example.5"}, ["base_url", "such as 127.0.0.1"]),
        ({"proxy": "http://127.1:3128"}, ["proxy", "IP addresses in full"]),
        ({"base_url": "https://x.test/s3cr3t/api/v2"}, ["base_url", "/api/v2", "<hidden>"]),
    ],
)
def test_a_setting_that_cannot_be_right_is_named(options: dict[str, Any], words: list[str]) -> None:
    message = mutual(lambda: AsyncCoreClaw(**{"api_key": "s3cr3t", **options}))

    assert all(word in message for word in words)
    assert "s3cr3t" not in message
    assert "two" not in message


def test_json_is_what_is_sent(service: FakeService) -> None:
    async def main() -> None:
        async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
            await client.workers.start_run(WORKER, {"keywords": ["caf\u00e9 \U0001f600"], "n": 10**30})

    anyio.run(main)

    assert json.dumps(service.requests[0].body)
    assert service.requests[0].body["input"]["parameters"]["custom"] == {
        "keywords": ["caf\u00e9 \U0001f600"],
        "n": 10**30,
    }
