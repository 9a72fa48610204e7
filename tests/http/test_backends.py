"""Reads go through aiohttp where it can be used, everything else through httpx, and callers see no difference."""

from __future__ import annotations

import gc
import gzip
import socket
import sys
import threading
import zlib
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest
import trustme
from ports import reserved_port
from raw_server import RawRequest, RawServer, answering, envelope, http, read_request, reset, serve_sockets, silent
from tls_tunnel import HOST, https_proxy_to, tls_server_context

from coreclaw_async import (
    AsyncCoreClaw,
    ConfigurationError,
    CoreClaw,
    CoreClawError,
    InvalidResponseError,
    NoReplyError,
    RateLimitedError,
    RequestNotSentError,
    ResponseTooLargeError,
    RetryPolicy,
    ServiceError,
)
from coreclaw_async.events import Event, RequestSent
from coreclaw_async.testing import FakeService, RealClock

aiohttp = pytest.importorskip("aiohttp")

QUICK = RetryPolicy(max_attempts=4, first_delay=0.01, max_delay=0.01)
ONCE = RetryPolicy(max_attempts=1)
ACCOUNT = envelope({"balance": "1.00"})
on_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"])
by_each = pytest.mark.parametrize("backend", ["aiohttp", "httpx"])


def says(*answers: bytes) -> Callable[[RawRequest, RawServer], bytes]:
    """Return what answers with each of *answers*, and then with the last one for good."""
    return lambda request, server: answers[min(len(server.requests), len(answers)) - 1]


async def closing_of(server: RawServer, connections: int) -> None:
    """Wait until the server has seen the end of so many connections."""
    with anyio.fail_after(20):
        while server.closed < connections:
            await anyio.sleep(0.005)


# Which one is used.


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_reads_go_through_aiohttp_on_asyncio_and_through_httpx_on_trio(anyio_backend: str) -> None:
    client = AsyncCoreClaw("key")

    assert client.backend == ("aiohttp" if anyio_backend == "asyncio" else "httpx")
    assert AsyncCoreClaw("key", backend="httpx").backend == "httpx"


def test_a_blocking_client_uses_aiohttp() -> None:
    with serve_sockets(answering(says(ACCOUNT))) as server, CoreClaw("key", base_url=server.url) as client:
        assert client.backend == "aiohttp"
        assert client.account.get().balance == 1


@on_asyncio
async def test_without_the_extra_reads_go_through_httpx(without_aiohttp: None) -> None:
    with serve_sockets(answering(says(ACCOUNT))) as server:
        async with AsyncCoreClaw("key", base_url=server.url) as client:
            assert client.backend == "httpx"
            assert (await client.account.get()).balance == 1
        async with AsyncCoreClaw("key", base_url=server.url, backend="aiohttp") as client:
            with pytest.raises(ConfigurationError, match=r'not installed: pip install "coreclaw-async\[speed\]"'):
                await client.account.get()

    assert len(server.requests) == 1


@on_asyncio
@pytest.mark.parametrize("version", ["3.9.5", "3.13.3", "4.0.0a1"])
async def test_an_aiohttp_that_is_too_old_or_too_new_is_not_used(
    without_aiohttp: None, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    with monkeypatch.context() as patch:  # Undone before the fixture is.
        patch.setitem(sys.modules, "aiohttp", aiohttp)
        patch.setattr(aiohttp, "__version__", version)

        assert AsyncCoreClaw("key").backend == "httpx"
        with pytest.raises(ConfigurationError, match=f"version {version}, and 3.13.4 is the lowest that can be used"):
            _ = AsyncCoreClaw("key", backend="aiohttp").backend


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_insisting_on_aiohttp_where_it_cannot_be_used_is_an_error() -> None:
    client = AsyncCoreClaw("key", backend="aiohttp")

    with pytest.raises(ConfigurationError, match="works under asyncio only"):
        await client.account.get()
    with pytest.raises(ConfigurationError, match="works under asyncio only"):
        _ = client.backend


@on_asyncio
async def test_what_the_caller_brings_is_what_sends(service: FakeService) -> None:
    async with httpx.AsyncClient() as own:
        assert AsyncCoreClaw("key", http_client=own).backend == "httpx"
    assert AsyncCoreClaw("key", transport=service).backend == "httpx"
    with pytest.raises(ConfigurationError, match="excludes http_client and transport"):
        AsyncCoreClaw("key", transport=service, backend="aiohttp")


@on_asyncio
async def test_only_reads_go_through_aiohttp() -> None:
    def answer(request: RawRequest, server: RawServer) -> bytes:
        return ACCOUNT if request.target.endswith("/account") else envelope({"run_slug": "01KZAZ2B7T3Q0R8C784NCRW001"})

    with serve_sockets(answering(answer)) as server:
        async with AsyncCoreClaw("key", base_url=server.url) as client:
            await client.account.get()
            await client.runs.abort("01KZAZ2B7T3Q0R8C784NCRW001")
            await client.workers.start_run("a/b", {})
            await client.account.get()
            await client.runs.abort("01KZAZ2B7T3Q0R8C784NCRW001")
            assert client.connections_in_use == 0

    # Each backend keeps a connection of its own, and the start had another one.
    assert [request.connection for request in server.requests] == [1, 2, 3, 1, 2]


@on_asyncio
@pytest.mark.parametrize("auth", ["bearer", "api-key", "query"])
@pytest.mark.parametrize("where", ["", "/", "/a%20b/c~/"])
async def test_both_backends_send_the_same_bytes(auth: Any, where: str) -> None:
    with serve_sockets(answering(says(http(404, b"")))) as server:
        for backend in ("aiohttp", "httpx"):
            options: dict[str, Any] = {"base_url": server.url + where, "backend": backend, "retry": ONCE}
            async with AsyncCoreClaw("k~/e", auth=auth, headers={"X-Mine": "a\tb"}, **options) as client:
                for call in (
                    client.account.get(),
                    client.runs.list_page(status="running", limit=5),
                    client.workers.get("owner/na~me%20\u00e9"),
                    client.proxies.list_regions("d e"),
                ):
                    with pytest.raises(CoreClawError):
                        await call

    heads = [request.head for request in server.requests]
    assert len(heads) == 8
    assert heads[:4] == heads[4:]


# What callers see.


JSON = b'{"code":0,"data":{"balance":"1"}}'
PACKED = "Content-Encoding: gzip"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ANSWERS: dict[str, tuple[bytes, type[CoreClawError] | None, int | None]] = {
    "gzip": (http(200, gzip.compress(JSON), PACKED), None, None),
    "deflate": (http(200, zlib.compress(JSON), "Content-Encoding: deflate"), None, None),
    "an interim answer": (b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" + ACCOUNT, None, None),
    "no length": (b"HTTP/1.1 200 OK\r\n\r\n" + JSON, None, None),
    "chunks": (CHUNKED + b"8\r\n" + JSON[:8] + b"\r\n19\r\n" + JSON[8:] + b"\r\n0\r\n\r\n", None, None),
    "a header of 20,000 letters": (http(200, JSON, f"X-Long: {'x' * 20_000}"), None, None),
    "a header of 70,000 letters": (http(200, JSON, f"X-Long: {'x' * 70_000}"), None, None),
    "200 headers": (http(200, JSON, *["X-Many: x"] * 200), None, None),
    "a cookie": (http(200, JSON, "Set-Cookie: a=b; Path=/"), None, None),
    "gzip that is none": (http(200, b"{}", PACKED), InvalidResponseError, 200),
    "half gzip": (http(200, gzip.compress(b"{}")[:-9], PACKED), InvalidResponseError, 200),
    "br": (http(200, b"\x8b", "Content-Encoding: br"), InvalidResponseError, 200),
    "502 packed by br": (http(502, b"\x8b", "Content-Encoding: br"), ServiceError, 502),
    "too large": (http(200, b" " * 20_000), ResponseTooLargeError, 200),
    "a bomb": (http(200, gzip.compress(b" " * 9_000_000), PACKED), ResponseTooLargeError, 200),
    "502 too large": (http(502, b" " * 20_000), ServiceError, 502),
    "a redirect": (http(307, b"", "Location: /api/v2/elsewhere"), InvalidResponseError, 307),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", InvalidResponseError, 204),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", NoReplyError, None),
    "garbage behind half an answer": (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\x00\r\n", NoReplyError, None),
    "a head of 600,000 letters": (http(200, JSON, *[f"X-Long: {'x' * 6_000}"] * 100), NoReplyError, None),
    "half an answer": (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", NoReplyError, None),
    "broken chunks": (CHUNKED + b"zz\r\n", NoReplyError, None),
    "a close": (b"", NoReplyError, None),
}


@on_asyncio
@by_each
@pytest.mark.parametrize(("answer", "error", "status"), ANSWERS.values(), ids=ANSWERS.keys())
async def test_an_answer_means_the_same_through_both(
    backend: Any, answer: bytes, error: type[CoreClawError] | None, status: int | None
) -> None:
    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        while (request := read_request(connection, number)) is not None:
            server.requests.append(request)
            connection.sendall(answer)
            if error is NoReplyError or answer == ANSWERS["no length"][0]:
                return

    with serve_sockets(handle) as server:
        url = f"http://localhost:{server.port}"  # aiohttp keeps no cookies of an address.
        async with AsyncCoreClaw("key", base_url=url, backend=backend, retry=ONCE, max_response_bytes=10_000) as client:
            for _ in range(2):
                if error is None:
                    assert (await client.account.get()).balance == 1
                    continue
                with pytest.raises(error) as caught:
                    await client.account.get()
                assert type(caught.value) is error
                assert caught.value.status_code == status
                assert str(caught.value).isprintable()
                assert not caught.value.may_have_taken_effect
            assert client.connections_in_use == 0

    assert len(server.requests) == 2, "nothing is repeated, and no redirect followed"
    assert b"cookie" not in b"".join(request.head for request in server.requests).lower()


@on_asyncio
@by_each
async def test_what_follows_the_end_of_the_packing_counts_and_is_not_kept(backend: Any) -> None:
    more = b" " * 200_000

    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        while (request := read_request(connection, number)) is not None:
            server.requests.append(request)
            packed = gzip.compress(JSON)
            length = len(packed) + len(more) * (2 if len(server.requests) == 1 else 9)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % length)
            connection.sendall(packed)
            for _ in range(length // len(more)):
                connection.sendall(more)

    with serve_sockets(handle) as server:
        options: dict[str, Any] = {"base_url": server.url, "backend": backend, "retry": ONCE}
        async with AsyncCoreClaw("key", max_response_bytes=1_000_000, **options) as client:
            assert (await client.account.get()).balance == 1
            with pytest.raises(ResponseTooLargeError, match="more than 1000000 bytes"):
                await client.account.get()

    assert len(server.requests) == 2


@on_asyncio
@by_each
async def test_headers_of_the_answer_mean_the_same_through_both(backend: Any) -> None:
    date = "Sat, 15 Aug 2026 09:00:00 GMT"
    refusal = http(429, b'{"code":13000}', "RETRY-AFTER: 7", f"date: {date}")
    with serve_sockets(answering(says(refusal))) as server:
        async with AsyncCoreClaw("key", base_url=server.url, backend=backend, retry=ONCE) as client:
            with pytest.raises(RateLimitedError) as caught:
                await client.account.get()
            transport = client._context.transport
            assert transport.knows_service_time
            assert transport.gate.opens_in() > 6

    assert caught.value.retry_after == 7
    assert transport.connections.last_date.date == date


@on_asyncio
@by_each
@pytest.mark.parametrize("values", [("1", "3"), ("3", "1"), ("soon", "3"), ("3",)])
async def test_the_longest_of_several_retry_after_headers_counts_through_both(
    backend: Any, values: tuple[str, ...]
) -> None:
    refusal = http(429, b'{"code":13000}', *(f"Retry-After: {value}" for value in values))
    with serve_sockets(answering(says(refusal))) as server:
        async with AsyncCoreClaw("key", base_url=server.url, backend=backend, retry=ONCE) as client:
            with pytest.raises(RateLimitedError) as caught:
                await client.account.get()

    assert caught.value.retry_after == 3


@on_asyncio
@by_each
async def test_each_attempt_is_told_also_those_on_a_connection_that_the_server_had_closed(backend: Any) -> None:
    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        for _ in range(2):
            request = read_request(connection, number)
            if request is None:
                return
            server.requests.append(request)
            if request is not first_of(server, number):  # The second one on each connection gets no answer.
                reset(connection)
                return
            connection.sendall(ACCOUNT)

    def first_of(server: RawServer, number: int) -> RawRequest:
        return next(request for request in server.requests if request.connection == number)

    events: list[Event] = []
    with serve_sockets(handle) as server:
        async with AsyncCoreClaw(
            "key", base_url=server.url, backend=backend, retry=QUICK, on_event=events.append
        ) as client:
            for _ in range(5):
                await client.account.get()

    sent = [event for event in events if isinstance(event, RequestSent)]
    assert len(sent) == len(server.requests) == 9
    assert [event.error for event in sent].count("NoReplyError") == 4


@on_asyncio
@by_each
@pytest.mark.parametrize("has_come", [True, False])
async def test_bytes_that_come_to_an_idle_connection_are_no_answer(backend: Any, has_come: bool) -> None:
    may_send, has_sent = threading.Event(), threading.Event()

    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        while (request := read_request(connection, number)) is not None:
            server.requests.append(request)
            connection.sendall(envelope({"balance": f"{len(server.requests)}.00"}))
            if number == 1:
                may_send.wait(20)
                connection.sendall(envelope({"balance": "999.00"}))
                has_sent.set()

    with serve_sockets(handle) as server:
        async with AsyncCoreClaw("key", base_url=server.url, backend=backend) as client:
            assert (await client.account.get()).balance == 1
            may_send.set()
            has_sent.wait(20)
            if has_come:  # Otherwise they wait in the socket, and the event loop has not seen them.
                await anyio.sleep(0.02)
            assert (await client.account.get()).balance == 2

    assert [request.connection for request in server.requests] == [1, 2]


# Deadlines and cancellation.


@on_asyncio
@by_each
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("way", ["scope", "task", "deadline"])
async def test_a_call_that_is_given_up_leaves_no_connection_open(
    way: str, scheme: str, backend: Any, trusted: trustme.CA
) -> None:
    import asyncio

    context = tls_server_context(trusted)

    def secretly(connection: socket.socket, number: int, server: RawServer) -> None:
        with context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=True) as tls:
            request = read_request(tls, number)
            if request is not None:
                server.requests.append(request)
            while socket.socket.recv(tls, 1):  # Beneath TLS, where no goodbye is answered.
                pass

    gc.collect()
    gc.disable()  # Which would close what was forgotten.
    try:
        with serve_sockets(silent if scheme == "http" else secretly) as server:
            url = f"{scheme}://localhost:{server.port}"
            client = AsyncCoreClaw("key", base_url=url, backend=backend, timeout=20.0)
            if way == "deadline":
                for seconds in (0.2, 2.0, 20.0):  # On a slow machine the first may end before the request is sent.
                    with pytest.raises(TimeoutError):
                        await client.with_options(timeout=seconds).account.get()
                    if server.requests:
                        break
            elif way == "scope":
                async with anyio.create_task_group() as group:
                    group.start_soon(client.account.get)
                    await requests_of(server, 1)
                    group.cancel_scope.cancel()
            else:
                task = asyncio.create_task(client.account.get())
                await requests_of(server, 1)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert client.connections_in_use == 0
            await closing_of(server, 1)
            await client.aclose()
    finally:
        gc.enable()


async def requests_of(server: RawServer, count: int) -> None:
    with anyio.fail_after(20):
        while len(server.requests) < count:
            await anyio.sleep(0.005)


@on_asyncio
@by_each
async def test_a_silent_attempt_is_given_up_for_another_one_on_a_new_connection(backend: Any) -> None:
    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        while (request := read_request(connection, number)) is not None:
            server.requests.append(request)
            if len(server.requests) in {3, 4}:
                connection.recv(1)
                return
            connection.sendall(ACCOUNT)

    retry = RetryPolicy(attempt_timeout=1.0, first_delay=0.01, max_delay=0.01)
    with serve_sockets(handle) as server:
        async with AsyncCoreClaw("key", base_url=server.url, backend=backend, retry=retry) as client:
            async with anyio.create_task_group() as group:
                for _ in range(2):
                    group.start_soon(client.account.get)
            await client.account.get()
            await closing_of(server, 3)  # Also the one that was idle.

    *_, given_up, again, answered = (request.connection for request in server.requests)
    assert answered not in {given_up, again}


@pytest.mark.endurance
@on_asyncio
@by_each
async def test_a_body_that_comes_slowly_is_no_silence(backend: Any) -> None:
    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        request = read_request(connection, number)
        assert request is not None
        server.requests.append(request)
        pause = threading.Event()
        for byte in ACCOUNT[:-15], *(bytes([byte]) for byte in ACCOUNT[-15:]):
            connection.sendall(byte)
            pause.wait(0.2)

    retry = RetryPolicy(attempt_timeout=2.0)
    with serve_sockets(handle) as server:
        async with AsyncCoreClaw("key", base_url=server.url, backend=backend, retry=retry) as client:
            await client.account.get()

    assert len(server.requests) == 1


@on_asyncio
async def test_the_time_that_importing_aiohttp_takes_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = RealClock()

    class Slow:
        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            if name == "coreclaw_async._http.aiohttp_backend":
                clock.advance(30.0)

    monkeypatch.delitem(sys.modules, "coreclaw_async._http.aiohttp_backend", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Slow, *sys.meta_path])
    with serve_sockets(silent) as server:
        async with AsyncCoreClaw("key", base_url=server.url, clock=clock, timeout=30.1, retry=ONCE) as client:
            with anyio.fail_after(20), pytest.raises(TimeoutError):
                await client.account.get()


@on_asyncio
@by_each
async def test_calls_that_queue_hold_their_deadline(backend: Any) -> None:
    with serve_sockets(silent) as server:
        async with AsyncCoreClaw(
            "key", base_url=server.url, backend=backend, max_connections=1, timeout=0.15, retry=ONCE
        ) as client:
            failures: list[CoreClawError] = []

            async def call() -> None:
                try:
                    await client.account.get()
                except CoreClawError as error:
                    failures.append(error)

            with anyio.fail_after(20):
                async with anyio.create_task_group() as group:
                    for _ in range(3):
                        group.start_soon(call)

    assert all(isinstance(error, TimeoutError) for error in failures)
    assert len(failures) == 3


# Ways to the service.


@on_asyncio
@by_each
async def test_what_cannot_be_connected_to_was_not_sent(backend: Any) -> None:
    with reserved_port() as port:
        async with AsyncCoreClaw("key", base_url=f"http://127.0.0.1:{port}", backend=backend, retry=ONCE) as client:
            with pytest.raises(RequestNotSentError) as caught:
                await client.account.get()

    assert "key" not in repr(caught.value)
    assert not type(caught.value.__cause__).__module__.startswith("aiohttp")


@on_asyncio
@by_each
@pytest.mark.parametrize("host", ["no-such-host.invalid", f"{'a' * 64}.invalid"])
async def test_a_name_that_nobody_knows_was_not_sent(backend: Any, host: str) -> None:
    async with AsyncCoreClaw("key", base_url=f"http://{host}", backend=backend, retry=ONCE) as client:
        with pytest.raises(RequestNotSentError):
            await client.account.get()


@on_asyncio
@by_each
async def test_a_connection_that_takes_too_long_was_not_sent(backend: Any, trusted: trustme.CA) -> None:
    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        while connection.recv(65_536):  # It never begins with TLS.
            pass

    retry = RetryPolicy(max_attempts=1, connect_timeout=0.3)
    with serve_sockets(handle) as server:
        url = f"https://localhost:{server.port}"
        async with AsyncCoreClaw("key", base_url=url, backend=backend, retry=retry) as client:
            with anyio.fail_after(20), pytest.raises(RequestNotSentError):
                await client.account.get()
        await closing_of(server, 1)


@on_asyncio
@by_each
async def test_reads_go_through_the_tunnel_of_a_proxy(
    backend: Any, trusted: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = FakeService(clock=RealClock())
    with service.serve() as server, https_proxy_to(int(server.url.rpartition(":")[2]), trusted, monkeypatch) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//m%C3%A9:p%40ss@"))
        async with AsyncCoreClaw(service.api_key, base_url=f"https://{HOST}", backend=backend) as client:
            await client.account.get()
            await client.account.get()
            assert client.backend == backend

    assert [request.target for request in proxy.requests] == [f"{HOST}:443"]
    assert b"Proxy-Authorization: Basic bcOpOnBAc3M=" in proxy.requests[0].head
    assert all("proxy-authorization" not in request.headers for request in service.requests)
    assert len(service.requests) == 2


@on_asyncio
@by_each
@pytest.mark.parametrize("user", ["me:secret@", ""])
async def test_reads_go_through_a_proxy_without_tls(backend: Any, user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve_sockets(answering(says(ACCOUNT))) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("//", f"//{user}"))
        async with AsyncCoreClaw("key", base_url="http://api.coreclaw.test/x", backend=backend) as client:
            for _ in range(3):
                await client.account.get()

    assert [request.target for request in proxy.requests] == ["http://api.coreclaw.test/x/api/v2/users/account"] * 3
    assert proxy.connections == 1
    assert (b"Proxy-Authorization: Basic bWU6c2VjcmV0" in proxy.requests[0].head.split(b"\r\n")) == bool(user)
    assert b"Host: api.coreclaw.test" in proxy.requests[0].head.split(b"\r\n")


@on_asyncio
@by_each
@pytest.mark.parametrize(
    "said", [http(407, b"who?"), http(502, b"<html>"), b"HTTP/1.1 2", b"SSH-2.0\r\n\r\n", b""], ids=range(5)
)
async def test_a_proxy_that_makes_no_tunnel_means_that_a_read_was_not_sent(
    backend: Any, said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        read_request(connection, number)
        connection.sendall(said)

    with serve_sockets(handle) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//me:secret@"))
        async with AsyncCoreClaw("key", base_url=f"https://{HOST}", backend=backend, retry=ONCE) as client:
            with pytest.raises(RequestNotSentError) as caught:
                await client.account.get()
            assert client.connections_in_use == 0
        await closing_of(proxy, 1)

    assert "secret" not in f"{caught.value!r} {caught.value.__cause__!r}"


@on_asyncio
async def test_a_proxy_that_aiohttp_cannot_use_leaves_reads_to_httpx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://me:pa55@127.0.0.1:1080")

    assert AsyncCoreClaw("key").backend == "httpx"
    with pytest.raises(ConfigurationError, match="proxy of scheme 'socks5'") as caught:
        _ = AsyncCoreClaw("key", backend="aiohttp").backend
    assert "pa55" not in str(caught.value)


@on_asyncio
@by_each
async def test_a_read_trusts_whom_ssl_cert_file_names_and_nobody_else(
    backend: Any, trusted: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    for authority, host, is_trusted in (
        (trusted, "localhost", True),
        (trusted, "127.0.0.1", False),
        (trustme.CA(), "localhost", False),
    ):
        context = tls_server_context(authority)

        def handle(connection: socket.socket, number: int, server: RawServer, context: Any = context) -> None:
            with context.wrap_socket(connection, server_side=True) as tls:
                answering(says(ACCOUNT))(tls, number, server)

        with serve_sockets(handle) as server:
            url = f"https://{host}:{server.port}"
            async with AsyncCoreClaw("key", base_url=url, backend=backend, retry=ONCE) as client:
                if is_trusted:
                    await client.account.get()
                else:
                    with pytest.raises(RequestNotSentError, match="certificate"):
                        await client.account.get()
        assert len(server.requests) == is_trusted


# Event loops, and closing.


@by_each
def test_a_session_closes_with_its_event_loop(backend: Any) -> None:
    with serve_sockets(answering(says(ACCOUNT))) as server:
        client = AsyncCoreClaw("key", base_url=server.url, backend=backend)
        for number in (1, 2):
            anyio.run(client.account.get)
            anyio.run(closing_of, server, number)
        anyio.run(client.aclose)

    assert [request.connection for request in server.requests] == [1, 2]


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # Its sockets.
def test_a_session_whose_event_loop_was_closed_without_a_word_is_forgotten() -> None:
    import asyncio

    with serve_sockets(answering(says(ACCOUNT))) as server:
        client = AsyncCoreClaw("key", base_url=server.url)
        for _ in range(3):
            loop = asyncio.new_event_loop()
            loop.run_until_complete(client.account.get())
            loop.close()  # Without shutdown_asyncgens.
        assert client.backend == "aiohttp", "also where no event loop runs"
        anyio.run(client.aclose)
        del loop
        gc.collect()

    assert len(server.requests) == 3


@on_asyncio
async def test_a_client_that_nobody_closed_closes_its_session_all_the_same() -> None:
    with serve_sockets(answering(says(ACCOUNT))) as server:
        client = AsyncCoreClaw("key", base_url=server.url)
        await client.account.get()
        del client
        gc.collect()
        await closing_of(server, 1)


@on_asyncio
@by_each
async def test_closing_a_client_ends_what_is_under_way_and_sends_nothing_that_waits(backend: Any) -> None:
    failures: list[BaseException] = []

    async def call(client: AsyncCoreClaw) -> None:
        try:
            await client.account.get()
        except CoreClawError as error:
            failures.append(error)

    with serve_sockets(silent) as server:
        client = AsyncCoreClaw("key", base_url=server.url, backend=backend, retry=QUICK, max_connections=1)
        async with anyio.create_task_group() as group:
            group.start_soon(call, client)
            await requests_of(server, 1)
            group.start_soon(call, client)
            await anyio.wait_all_tasks_blocked()
            await client.aclose()
            await client.aclose()
        await closing_of(server, 1)

    assert [type(failure) for failure in failures] == [ConfigurationError, ConfigurationError]
    assert server.connections == 1
    with pytest.raises(ConfigurationError, match="closed"):
        await client.account.get()


def test_a_client_closed_in_one_event_loop_closes_its_sessions_in_others() -> None:
    import asyncio

    with serve_sockets(answering(says(ACCOUNT))) as server:
        client = AsyncCoreClaw("key", base_url=server.url)
        other = asyncio.new_event_loop()
        other.run_until_complete(client.account.get())
        anyio.run(client.aclose)
        other.run_until_complete(closing_of(server, 1))
        other.run_until_complete(other.shutdown_asyncgens())
        other.close()


@on_asyncio
async def test_the_connections_of_both_backends_together_are_at_most_max_connections() -> None:
    both = threading.Barrier(2)

    def answer(request: RawRequest, server: RawServer) -> bytes:
        both.wait(20)
        return ACCOUNT

    with serve_sockets(answering(answer)) as server:
        async with AsyncCoreClaw("key", base_url=server.url, max_connections=2) as client:
            calls: list[Callable[[], Any]] = [
                lambda: client.runs.abort("01KZAZ2B7T3Q0R8C784NCRW001"),
                client.account.get,
            ]
            for turn in range(4):
                async with anyio.create_task_group() as group:
                    for _ in range(2):
                        group.start_soon(calls[turn % 2])
                await closing_of(server, 2 * turn)

    assert server.connections == 8


@pytest.mark.endurance
@on_asyncio
@by_each
async def test_a_thousand_reads_at_once_share_a_hundred_connections(backend: Any) -> None:
    with serve_sockets(answering(says(ACCOUNT))) as server:
        async with AsyncCoreClaw("key", base_url=server.url, backend=backend) as client:
            async with anyio.create_task_group() as group:
                for _ in range(1000):
                    group.start_soon(client.account.get)
            assert client.connections_in_use == 0

    assert len(server.requests) == 1000
    assert server.connections <= 100
