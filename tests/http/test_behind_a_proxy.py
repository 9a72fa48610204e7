"""Behind a proxy of the environment, what did not get past it was not sent, and what did is sent once."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from typing import Any

import anyio
import pytest
import trustme
from either_client import AsyncCoreClaw
from ports import reserved_port
from raw_server import RawServer, http, read_request, reset, serve_sockets
from tls_tunnel import HOST, https_proxy_to, tunnel_to

from coreclaw_async import (
    ConfigurationError,
    CoreClawError,
    NoReplyError,
    OutcomeUnknownError,
    RequestNotSentError,
    RetryPolicy,
    SendTimeoutError,
)
from coreclaw_async.testing import FakeService, RealClock, faults
from coreclaw_async.testing.faults import Fault

WORKER = "coreclaw/google-maps-scraper"
INPUT = {"keywords": ["coffee"]}
SOON = RetryPolicy(max_attempts=1, connect_timeout=0.2)
QUICK = RetryPolicy(max_attempts=2, first_delay=0.01, max_delay=0.01)
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


def says(answer: bytes) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(answer)


def then(answer: bytes, end: Callable[[socket.socket], None]) -> Callable[[socket.socket], None]:
    def say(connection: socket.socket) -> None:
        connection.sendall(answer)
        end(connection)

    return say


REFUSALS: dict[str, Callable[[socket.socket], None]] = {
    "407": says(http(407, b"who are you?", 'Proxy-Authenticate: Basic realm="proxy"')),
    "407 with half a body": says(b"HTTP/1.1 407 X\r\nContent-Length: 100\r\n\r\nwho"),
    "502": says(http(502, b"<html>bad gateway</html>")),
    "403": says(http(403, b"")),
    "a close": lambda connection: None,
    "a reset": reset,
    "half an answer": says(b"HTTP/1.1 2"),
    "no HTTP": says(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "a tunnel that closes": says(ESTABLISHED),
    "a tunnel that is reset": then(ESTABLISHED, reset),
    "a tunnel to something without TLS": says(ESTABLISHED + b"220 smtp ready\r\n"),
    "a tunnel with half a handshake": says(ESTABLISHED + b"\x16\x03\x03\x00\x7a\x02"),
}


@pytest.mark.parametrize("refuse", REFUSALS.values(), ids=REFUSALS.keys())
async def test_a_proxy_that_makes_no_tunnel_means_that_nothing_was_sent(
    refuse: Callable[[socket.socket], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        request = read_request(connection, number)
        if request is not None:
            server.requests.append(request)
            refuse(connection)

    with serve_sockets(handle) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        async with AsyncCoreClaw("key", base_url=f"https://{HOST}", retry=QUICK, timeout=20.0) as client:
            with pytest.raises(RequestNotSentError) as caught:
                await client.workers.start_run(WORKER, INPUT)
            assert client.connections_in_use == 0

    assert not caught.value.may_have_taken_effect
    assert [request.method for request in proxy.requests] == ["CONNECT", "CONNECT"], "retried, for that is safe"


def falling_silent_after(said: bytes) -> Callable[[socket.socket, int, RawServer], None]:
    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        connection.recv(65_536)
        connection.sendall(said)
        while connection.recv(65_536):
            pass

    return handle


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200", ESTABLISHED], ids=["nothing", "half an answer", "no handshake"])
async def test_a_proxy_that_falls_silent_means_that_nothing_was_sent(
    said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        request = read_request(connection, number)
        if request is not None:
            server.requests.append(request)
            connection.sendall(said)
            while connection.recv(65_536):
                pass

    with serve_sockets(handle) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        async with AsyncCoreClaw("key", base_url=f"https://{HOST}", retry=QUICK, timeout=1.5) as client:
            with anyio.fail_after(20), pytest.raises(SendTimeoutError) as caught:
                await client.workers.start_run(WORKER, INPUT)

    assert not caught.value.may_have_taken_effect
    assert [request.method for request in proxy.requests] == ["CONNECT"]


@pytest.mark.both_backends
@pytest.mark.parametrize(
    ("scheme", "said"),
    [("http", b""), ("http", b"HTTP/1.1 200"), ("http", ESTABLISHED), ("socks5", b""), ("socks5", b"\x05\x00")],
    ids=range(5),
)
async def test_a_read_waits_for_a_silent_proxy_as_long_as_for_any_connection(
    scheme: str, said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_sockets(falling_silent_after(said)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("http", scheme))
        async with AsyncCoreClaw("key", base_url=f"https://{HOST}", retry=SOON) as client:
            with anyio.fail_after(10), pytest.raises(RequestNotSentError, match=r"no connection within 0\.2 s"):
                await client.store.list_page()
            assert client.connections_in_use == 0


@pytest.mark.parametrize(("library", "is_transport"), [("httpx", False), ("httpx2", False), ("httpx", True)])
async def test_a_read_of_a_given_client_waits_for_a_silent_proxy_as_long_as_for_any_connection(
    library: str, is_transport: bool
) -> None:
    module: Any = pytest.importorskip(library)
    with serve_sockets(falling_silent_after(b"")) as proxy:
        transport = module.AsyncHTTPTransport(proxy=proxy.url)
        own: Any = (
            {"transport": transport} if is_transport else {"http_client": module.AsyncClient(transport=transport)}
        )
        async with AsyncCoreClaw("key", base_url=f"https://{HOST}", retry=SOON, **own) as client:
            with anyio.fail_after(10), pytest.raises(RequestNotSentError, match=r"no connection within 0\.2 s"):
                await client.store.list_page()
        await transport.aclose()


async def test_silence_counts_from_the_end_of_connecting_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        request = read_request(connection, number)
        if request is not None:
            server.requests.append(request)
            connection.recv(1)

    retry = RetryPolicy(max_attempts=1, attempt_timeout=0.3, connect_timeout=30)
    with serve_sockets(handle) as server:
        async with AsyncCoreClaw("key", base_url=server.url, retry=retry, backend="httpx") as client:
            with anyio.fail_after(10), pytest.raises(NoReplyError, match=r"got nothing for 0\.3 s"):
                await client.account.get()


@pytest.mark.both_backends
async def test_a_socks_proxy_without_its_package_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv("ALL_PROXY", "socks5://me:pa55@127.0.0.1:1080")
    async with AsyncCoreClaw("key", base_url=f"https://{HOST}") as client:
        with (
            anyio.fail_after(20),
            pytest.raises(ConfigurationError, match="in all_proxy needs socksio, which is not") as caught,
        ):
            await client.store.list_page()

    assert "pa55" not in str(caught.value)


@pytest.mark.both_backends
@pytest.mark.parametrize(
    "proxy",
    [
        *("http://", "http://me:12#pa55@127.0.0.1:9", "http://me:12/pa55@127.0.0.1:9"),
        *("http://me:pa55@127.0.0.1:65536", "http://me:pa55@127.0.0.1:-1", "socks5://me:pa55@127.0.0.1:99999"),
        *("http://me:pa55@xn--0.test:9", "http://me:pa55@127.1:9"),
    ],
)
async def test_a_proxy_whose_host_is_not_what_was_meant_is_refused(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    async with AsyncCoreClaw("key", base_url=f"https://{HOST}") as client:
        with anyio.fail_after(20), pytest.raises(ConfigurationError, match="no URL that httpx can use") as caught:
            await client.store.list_page()

    assert "pa55" not in str(caught.value)


async def test_a_proxy_that_cannot_be_reached_means_that_nothing_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with reserved_port() as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        async with AsyncCoreClaw("key", base_url=f"https://{HOST}", retry=QUICK, timeout=20.0) as client:
            with pytest.raises(RequestNotSentError):
                await client.workers.start_run(WORKER, INPUT)


@pytest.mark.both_backends
@pytest.mark.endurance
@pytest.mark.parametrize(
    "fault",
    [faults.commit_then_drop(), faults.commit_then_status(502), faults.stall(), faults.truncate(keep=10)],
    ids=["reset", "502", "timeout", "truncated"],
)
async def test_a_start_through_a_tunnel_is_paid_for_once(
    fault: Fault,
    trusted: trustme.CA,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = FakeService(clock=RealClock())
    service.faults.add(fault, operation="runWorker")

    with service.serve() as server, https_proxy_to(int(server.url.rpartition(":")[2]), trusted, monkeypatch) as proxy:
        async with AsyncCoreClaw(service.api_key, base_url=f"https://{HOST}", retry=QUICK, timeout=1.5) as client:
            with pytest.raises(OutcomeUnknownError) as caught:
                await client.workers.start_run(WORKER, INPUT)
            second = await client.workers.start_run(WORKER, INPUT)

    assert service.runs_created == 2
    assert caught.value.candidates is not None
    assert {*caught.value.candidates, second.run_id} == set(service.runs)
    assert {request.target for request in proxy.requests} == {f"{HOST}:443"}
    assert b"key" not in b"".join(request.head for request in proxy.requests)


async def test_a_certificate_that_nobody_trusts_means_that_nothing_was_sent(
    authority: trustme.CA,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = FakeService(clock=RealClock())
    with service.serve() as server, https_proxy_to(int(server.url.rpartition(":")[2]), authority, monkeypatch):
        async with AsyncCoreClaw(service.api_key, base_url=f"https://{HOST}", retry=QUICK, timeout=20.0) as client:
            with pytest.raises(RequestNotSentError, match="certificate"):
                await client.workers.start_run(WORKER, INPUT)

    assert service.runs_created == 0


ADDRESS = "[2001:db8::7]"


@pytest.mark.both_backends
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_an_ipv6_address_is_named_to_a_proxy_as_urls_have_it(scheme: str) -> None:
    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        request = read_request(connection, number)
        if request is not None:
            server.requests.append(request)
            connection.sendall(http(403, b""))

    with serve_sockets(handle) as proxy:
        async with AsyncCoreClaw(
            "key", base_url=f"{scheme}://{ADDRESS}:8443/x", proxy=proxy.url, retry=QUICK, timeout=20.0
        ) as client:
            with pytest.raises(CoreClawError):
                await client.account.get()
            with pytest.raises(CoreClawError):
                await client.workers.start_run(WORKER, INPUT)

    targets = {request.target.removeprefix("http://").partition("/")[0] for request in proxy.requests}
    hosts = {line for request in proxy.requests for line in request.head.split(b"\r\n") if line[:5] == b"Host:"}
    assert (targets, hosts) == ({f"{ADDRESS}:8443"}, {f"Host: {ADDRESS}:8443".encode()})


@pytest.mark.both_backends
async def test_the_certificate_of_an_ipv6_address_is_checked_behind_a_proxy(
    trusted: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = FakeService(clock=RealClock())
    for address, is_right in ((ADDRESS, True), ("[2001:db8::8]", False)):
        with (
            service.serve() as server,
            serve_sockets(tunnel_to(int(server.url.rpartition(":")[2]), trusted, ADDRESS.strip("[]"))) as proxy,
        ):
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            async with AsyncCoreClaw(service.api_key, base_url=f"https://{address}", retry=QUICK) as client:
                if is_right:
                    await client.account.get()
                    await client.workers.start_run(WORKER, INPUT)
                else:
                    with pytest.raises(RequestNotSentError, match="certificate"):
                        await client.workers.start_run(WORKER, INPUT)

    assert service.runs_created == 1
