"""Behind a proxy of the environment, what did not get past it was not sent, and what did is sent once."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable

import anyio
import pytest
import trustme
from either_client import AsyncCoreClaw
from ports import reserved_port
from raw_server import RawServer, http, read_request, reset, serve_sockets
from tls_tunnel import HOST, https_proxy_to

from coreclaw_async import ConfigurationError, OutcomeUnknownError, RequestNotSentError, RetryPolicy, SendTimeoutError
from coreclaw_async.testing import FakeService, RealClock, faults
from coreclaw_async.testing.faults import Fault

WORKER = "coreclaw/google-maps-scraper"
INPUT = {"keywords": ["coffee"]}
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
        async with AsyncCoreClaw("key", base_url=f"https://{HOST}", retry=QUICK, timeout=0.3) as client:
            with anyio.fail_after(20), pytest.raises(SendTimeoutError) as caught:
                await client.workers.start_run(WORKER, INPUT)

    assert not caught.value.may_have_taken_effect
    assert [request.method for request in proxy.requests] == ["CONNECT"]


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
        "http://me:pa55@xn--0.test:9",
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
