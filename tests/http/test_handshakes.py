"""A call that ends while its connection is being made leaves no connection open, whatever was reached by then."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest
import trustme
from either_client import AsyncCoreClaw
from interrupting import cancelling_once
from quick_cases import slowly
from raw_server import RawServer, answering, envelope, serve_sockets
from tls_tunnel import HOST, tls_server_context

from coreclaw_async import CoreClawError, RetryPolicy

WORKER = "coreclaw/google-maps-scraper"
RUN_ID = "01KKDXV2G26BT7NH4ZQR2R4NPZ"
ONCE = RetryPolicy(max_attempts=1)
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
NO_PASSWORD, REACHED = b"\x05\x00", b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50"


@attrs.frozen
class Way:
    """
    How a client gets to a server that falls silent on it.

    Attributes:
        handle: What the server says first, over a socket; then it waits for the end of the connection.
        proxy: The scheme by which the server is the client's proxy; None when it is the host itself.
    """

    handle: Callable[[socket.socket, trustme.CA], object]
    proxy: str | None = None


def _says(*answers: bytes) -> Callable[[socket.socket, trustme.CA], object]:
    def handle(connection: socket.socket, authority: trustme.CA) -> None:
        for answer in answers:
            connection.recv(65_536)
            connection.sendall(answer)

    return handle


def _says_within_tls(connection: socket.socket, authority: trustme.CA) -> object:
    tls = tls_server_context(authority).wrap_socket(connection, server_side=True)
    tls.recv(65_536)
    tls.sendall(ESTABLISHED)
    return tls


WAYS = {
    "no handshake": Way(_says()),
    "no TLS to the proxy": Way(_says(), "https"),
    "no answer of the proxy": Way(_says(), "http"),
    "no handshake in the tunnel": Way(_says(ESTABLISHED), "http"),
    "no handshake in a tunnel in TLS": Way(_says_within_tls, "https"),
    "no answer of the SOCKS proxy": Way(_says(), "socks5"),
    "no handshake behind the SOCKS proxy": Way(_says(NO_PASSWORD, REACHED), "socks5"),
}


@contextlib.contextmanager
def silent_server(way: Way, authority: trustme.CA) -> Iterator[tuple[RawServer, list[int]]]:
    """Serve *way*, and yield also a list of the connections on which everything was said."""
    reached: list[int] = []

    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        kept = way.handle(connection, authority)
        current = kept if isinstance(kept, ssl.SSLSocket) else connection
        with contextlib.suppress(OSError):
            while current.recv(65_536):
                reached.append(number)
        current.close()

    gc.disable()  # It would close what was forgotten.
    try:
        with serve_sockets(handle) as server:
            yield server, reached
    finally:
        gc.enable()


async def no_connection_is_open(server: RawServer) -> None:
    with anyio.fail_after(20):
        while server.closed < server.connections:
            await anyio.sleep(0.01)
    assert server.connections


def client_on(way: Way, server: RawServer, authority: trustme.CA, **options: Any) -> AsyncCoreClaw:
    if (way.proxy or "").startswith("socks"):
        pytest.importorskip("socksio")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    options = {"base_url": f"https://localhost:{server.port}", "verify": context, "retry": ONCE, **options}
    if way.proxy is not None:
        options |= {"base_url": f"https://{HOST}", "proxy": f"{way.proxy}://localhost:{server.port}"}
    return AsyncCoreClaw("key", **options)


async def ask(client: AsyncCoreClaw, method: str) -> None:
    with contextlib.suppress(CoreClawError):
        await (client.account.get() if method == "GET" else client.workers.start_run(WORKER, {}))


@pytest.mark.both_backends
@pytest.mark.async_client_only
@pytest.mark.parametrize("method", ["GET", "POST"])
@slowly("way", *WAYS)
async def test_a_call_that_is_cancelled_while_it_connects_leaves_no_connection_open(
    way: str, method: str, authority: trustme.CA
) -> None:
    with silent_server(WAYS[way], authority) as (server, reached):
        async with client_on(WAYS[way], server, authority) as client:
            async with cancelling_once(lambda: reached) as scope:
                with scope:
                    await ask(client, method)
            await no_connection_is_open(server)


@pytest.mark.both_backends
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("limit", ["the call", "connecting"])
@slowly("way", *WAYS)
async def test_a_call_whose_time_is_over_while_it_connects_leaves_no_connection_open(
    way: str, limit: str, method: str, authority: trustme.CA
) -> None:
    options: dict[str, Any] = {"timeout": 1.5}  # The first read imports aiohttp.
    if limit == "connecting":
        options = {"timeout": 20.0, "retry": RetryPolicy(max_attempts=1, connect_timeout=0.5)}
        if method == "GET" and WAYS[way].proxy is not None:
            options["timeout"] = 2.0  # httpcore limits the time of a connection, but not that of what a proxy says.
    with silent_server(WAYS[way], authority) as (server, _reached):
        async with client_on(WAYS[way], server, authority, **options) as client:
            await ask(client, method)
            await no_connection_is_open(server)


@pytest.mark.both_backends
@pytest.mark.async_client_only
@pytest.mark.parametrize("method", ["GET", "POST"])
@slowly("way", *WAYS)
async def test_closing_a_client_that_connects_closes_the_connection_at_once(
    way: str, method: str, authority: trustme.CA
) -> None:
    with silent_server(WAYS[way], authority) as (server, reached):
        client = client_on(WAYS[way], server, authority, timeout=60.0, retry=RetryPolicy(connect_timeout=60.0))
        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                group.start_soon(ask, client, method)
                while not reached:
                    await anyio.sleep(0.01)
                await client.aclose()
                await no_connection_is_open(server)
        assert server.connections == 1


@pytest.mark.async_client_only
@slowly("way", *WAYS)
async def test_a_download_that_is_cancelled_while_it_connects_leaves_no_connection_open(
    way: str, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with silent_server(WAYS[way], authority) as (silent, reached):
        host = f"localhost:{silent.port}"
        if WAYS[way].proxy is not None:
            monkeypatch.setenv("HTTPS_PROXY", f"{WAYS[way].proxy}://{host}")
            host = HOST
        run = {"slug": RUN_ID, "status": "succeeded", "results": 1, "download_url": f"https://{host}/rows.csv"}
        with serve_sockets(answering(lambda request, server: envelope(run))) as api:
            async with client_on(Way(_says()), silent, authority, base_url=api.url) as client:
                async with cancelling_once(lambda: reached) as scope:
                    with scope:
                        await client.runs.download(RUN_ID, tmp_path / "rows.csv")
                await no_connection_is_open(silent)
                assert scope.cancel_called


class ForgettingLoop(asyncio.SelectorEventLoop):
    """An event loop that leaves a connection as it is when the call is cancelled at the end of its handshake."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[asyncio.BaseTransport] = []

    async def create_connection(self, *arguments: Any, **named: Any) -> Any:
        transport, _ = await super().create_connection(*arguments, **named)
        self.made.append(transport)
        await asyncio.sleep(60)


def test_a_read_that_is_cancelled_at_the_end_of_its_handshake_closes_what_the_event_loop_does_not() -> None:
    pytest.importorskip("aiohttp")

    async def read(url: str) -> bool:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, ForgettingLoop)
        async with AsyncCoreClaw("key", base_url=url, backend="aiohttp") as client:
            reading = asyncio.ensure_future(client.account.get())
            while not loop.made:
                await asyncio.sleep(0.01)
            reading.cancel()
            await asyncio.wait([reading])
            return loop.made[0].is_closing()

    with (
        serve_sockets(answering(lambda request, server: envelope({}))) as server,
        asyncio.Runner(loop_factory=ForgettingLoop) as runner,
    ):
        assert runner.run(read(server.url))
