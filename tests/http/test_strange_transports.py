"""A caller's own transports, hooks and errors: a paid run is always named, and no foreign exception leaves."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import pytest
from either_client import AsyncCoreClaw
from ports import reserved_port
from raw_server import RawServer, envelope, read_request, reset, serve_sockets

from coreclaw_async import (
    ConfigurationError,
    CoreClawError,
    NoReplyError,
    OutcomeUnknownError,
    RequestNotSentError,
    ResponseTooLargeError,
    RetryPolicy,
)
from coreclaw_async.events import Event, RequestSent, RunStarted
from coreclaw_async.testing import FakeService, faults

WORKER = "coreclaw/google-maps-scraper"
INPUT = {"keywords": ["coffee"]}
QUICK = RetryPolicy(max_attempts=2, first_delay=0.01, max_delay=0.01)
RUN = "01KZAZ2B7T3Q0R8C784NCRWC03"


class Failover(httpx.AsyncBaseTransport):
    """Sends a plain copy to a second address when the first cannot be reached."""

    def __init__(self, second: str) -> None:
        self.inner = httpx.AsyncHTTPTransport()
        self.second = second

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return await self.inner.handle_async_request(request)
        except httpx.ConnectError:
            url = httpx.URL(self.second).join(request.url.raw_path.decode())
            copy = httpx.Request(request.method, url, headers=request.headers, content=await request.aread())
            return await self.inner.handle_async_request(copy)

    async def aclose(self) -> None:
        await self.inner.aclose()


async def test_a_transport_that_sends_what_it_does_not_tell_of_sends_a_start_once() -> None:
    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        request = read_request(connection, number)
        if request is not None:
            server.requests.append(request)
            if request.method == "POST":
                reset(connection)
            connection.sendall(envelope({"count": 0, "list": []}))

    with reserved_port() as dead, serve_sockets(handle) as server:
        async with AsyncCoreClaw(
            "key", base_url=f"http://127.0.0.1:{dead}", transport=Failover(server.url), retry=QUICK, timeout=3.0
        ) as client:
            with pytest.raises(OutcomeUnknownError):
                await client.workers.start_run(WORKER, INPUT)

    assert len(server.of("POST")) == 1


REFUSALS: dict[str, tuple[int, dict[str, Any]]] = {
    "429 with slug": (429, {"code": 13000, "data": {"slug": RUN}}),
    "429 with run_id": (429, {"code": 13000, "data": {"run_id": RUN}}),
    "429 with a number": (429, {"code": 13000, "data": {"id": 1786001196232214890}}),
    "429 with a long run_slug": (429, {"code": 13000, "data": {"run_slug": "R" * 120}}),
    "13000 in a 200": (200, {"code": 13000, "data": {"id": RUN}}),
    "11000 with an id": (400, {"code": 11000, "data": {"run_slug": RUN}}),
    "30003 with an id": (400, {"code": 30003, "data": {"run_id": RUN}}),
}


@pytest.mark.parametrize(("status", "body"), REFUSALS.values(), ids=REFUSALS.keys())
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
async def test_a_refusal_that_names_a_run_is_not_believed(status: int, body: dict[str, Any], encoding: str) -> None:
    sent = 0

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal sent
        if request.method == "GET":
            return httpx.Response(200, json={"code": 0, "message": "", "data": {"count": 0, "list": []}})
        sent += 1
        text = httpx.Response(200, json={"message": "no", **body}).text
        return httpx.Response(status, content=text.encode(encoding))

    async with AsyncCoreClaw("key", transport=httpx.MockTransport(answer), retry=QUICK) as client:
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.workers.start_run(WORKER, INPUT)

    assert sent == 1
    data = body["data"]
    if "run_slug" in data or "run_id" in data:
        assert caught.value.run_id == (data.get("run_slug") or data.get("run_id"))


class BrokenTextError(Exception):
    """An error whose text cannot be had."""

    def __str__(self) -> str:
        raise LookupError("no text")

    __repr__ = __str__


class BrokenAttributesError(Exception):
    """Has attributes that fail."""

    @property
    def request(self) -> object:
        raise LookupError("no request")


FOREIGN: dict[str, Exception] = {
    "an HTTP error without a request": httpx.HTTPError("odd"),
    "a status error without a request": httpx.HTTPStatusError("odd", request=None, response=None),  # type: ignore[arg-type]
    "an error without a text": BrokenTextError(),
    "an error whose attributes fail": BrokenAttributesError("odd"),
}


@pytest.mark.parametrize("error", FOREIGN.values(), ids=FOREIGN.keys())
async def test_no_foreign_error_leaves_whatever_it_is_like(error: Exception) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise error

    async with AsyncCoreClaw("key", transport=httpx.MockTransport(fail), retry=QUICK) as client:
        with pytest.raises(NoReplyError):
            await client.account.get()
        with pytest.raises(OutcomeUnknownError):
            await client.workers.start_run(WORKER, INPUT)


@pytest.mark.async_client_only
async def test_a_transport_that_ends_the_program_leaves_the_outcome_of_a_start_in_its_place() -> None:
    def leave(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            raise SystemExit(3)
        return httpx.Response(502)

    async with AsyncCoreClaw("key", transport=httpx.MockTransport(leave), retry=QUICK) as client:
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.workers.start_run(WORKER, INPUT)

    assert isinstance(caught.value.__cause__, NoReplyError)
    assert isinstance(caught.value.__cause__.__cause__, SystemExit)


@pytest.mark.async_client_only
@pytest.mark.parametrize("event", [RequestSent, RunStarted])
async def test_a_hook_that_ends_the_program_leaves_the_run_in_a_note(service: FakeService, event: type[Event]) -> None:
    def leave(told: Event) -> None:
        if isinstance(told, event):
            raise SystemExit(3)

    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, on_event=leave) as client:
        with pytest.raises(SystemExit) as caught:
            await client.workers.start_run(WORKER, INPUT)

    (run_id,) = service.runs
    assert run_id in "".join(caught.value.__notes__)


@pytest.mark.async_client_only
async def test_a_callers_client_that_is_closed_has_sent_nothing(service: FakeService) -> None:
    http = httpx.AsyncClient(transport=service)
    client = AsyncCoreClaw(service.api_key, http_client=http, clock=service.clock)
    await http.aclose()

    with pytest.raises(ConfigurationError, match="http_client is closed"):
        await client.workers.start_run(WORKER, INPUT)


@pytest.mark.async_client_only
async def test_a_stream_that_ignores_closing_is_not_read_to_its_end() -> None:
    pieces = 0

    class Endless(httpx.AsyncByteStream):
        def __aiter__(self) -> AsyncIterator[bytes]:
            return self

        async def __anext__(self) -> bytes:
            nonlocal pieces
            pieces += 1
            return b"x" * 1_000

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Endless())

    async with AsyncCoreClaw("key", transport=httpx.MockTransport(answer), max_response_bytes=10_000) as client:
        with anyio.fail_after(20), pytest.raises(ResponseTooLargeError):
            await client.account.get()

    assert pieces < 100


@pytest.mark.parametrize("password", ["se#cret", "se/cret", "se?cret"])
async def test_the_password_of_a_proxy_is_in_no_error(password: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:{password}@127.0.0.1:9")
    async with AsyncCoreClaw("key", base_url="https://api.coreclaw.test", retry=QUICK) as client:
        with pytest.raises(CoreClawError, match=r"https_proxy|was not sent") as caught:
            await client.account.get()

    error: BaseException | None = caught.value
    while error is not None:
        assert "cret" not in repr(error)
        assert "cret" not in str(error)
        error = error.__cause__ or error.__context__


async def test_a_start_that_cannot_be_sent_is_retried_by_a_fake_service_that_tells_so(service: FakeService) -> None:
    service.faults.add(faults.refuse_connection(), operation="runWorker", times=2)
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, retry=QUICK) as client:
        with pytest.raises(RequestNotSentError):
            await client.workers.start_run(WORKER, INPUT)
        await client.workers.start_run(WORKER, INPUT)

    assert service.runs_created == 1


@pytest.mark.parametrize("status", [502, 403, 200])
async def test_the_clock_of_a_gateway_is_not_the_clock_of_the_service(status: int, service: FakeService) -> None:
    page = faults.reply(b"<html>", status=status, headers={"date": "Sat, 15 Aug 2026 09:00:00 GMT"})
    service.faults.add(page, operation="getAccount", times=9)
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, retry=QUICK) as client:
        await client.proxies.list_regions()
        with pytest.raises(CoreClawError):
            await client.account.get()
        service.faults.add(faults.commit_then_drop(), operation="runWorker")
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.workers.start_run(WORKER, INPUT)

    assert caught.value.candidates == tuple(service.runs)
