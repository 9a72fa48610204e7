"""A transport of one connection: how it ends, at each step, and what it raises then."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator

import anyio
import httpcore
import httpx
import pytest
import trustme
from raw_server import RawServer, answering, http, reset, serve_sockets
from tls_tunnel import tls_server_context

from coreclaw_async._http.body import WholeBody
from coreclaw_async._http.network import Network
from coreclaw_async._http.route import Route
from coreclaw_async._http.single_connection import SingleConnection

LARGE = 30_000_000


@pytest.fixture
def full_port() -> Iterator[int]:
    """A port on which connecting never ends: nobody accepts, and no other connection may wait for it."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
        for each in waiting:
            each.close()


def connection_to(url: str) -> SingleConnection:
    return Route().transport_to(httpx.URL(url))


def request_to(url: str, *, connect: float = 20.0, body: bytes = b"") -> httpx.Request:
    timeout = {"connect": connect, "read": None, "write": None, "pool": None}
    headers = {"Host": "service", "Content-Length": str(len(body))}
    return httpx.Request("POST", url, headers=headers, stream=WholeBody(body), extensions={"timeout": timeout})


async def ask(connection: SingleConnection, request: httpx.Request) -> bytes:
    response = await connection.handle_async_request(request)
    body = await response.aread()
    await response.aclose()
    return body


async def test_connecting_ends_with_its_timeout(full_port: int) -> None:
    url = f"http://127.0.0.1:{full_port}/"
    with anyio.fail_after(20), pytest.raises(httpx.ConnectTimeout, match=r"no connection within 0\.1 s"):
        await ask(connection_to(url), request_to(url, connect=0.1))


async def test_a_handshake_ends_with_the_timeout_of_connecting() -> None:
    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        while connection.recv(65_536):
            pass

    with serve_sockets(handle) as server:
        url = f"https://127.0.0.1:{server.port}/"
        with anyio.fail_after(20), pytest.raises(httpx.ConnectTimeout, match=r"no TLS handshake within 0\.1 s"):
            await ask(connection_to(url), request_to(url, connect=0.1))


async def test_closing_ends_connecting(full_port: int) -> None:
    url = f"http://127.0.0.1:{full_port}/"
    connection = connection_to(url)
    failures: list[httpx.ConnectError] = []

    async def send() -> None:
        try:
            await ask(connection, request_to(url))
        except httpx.ConnectError as error:
            failures.append(error)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(send)
            await anyio.wait_all_tasks_blocked()
            await connection.aclose()

    assert [str(failure) for failure in failures] == ["the connection was closed while it was made"]


async def test_what_was_closed_connects_no_more() -> None:
    with serve_sockets(answering(lambda request, server: http(200, b"body"))) as server:
        connection = connection_to(server.url)
        assert await ask(connection, request_to(server.url)) == b"body"
        await connection.aclose()
        await connection.aclose()
        with pytest.raises(httpx.ConnectError, match="was closed"):
            await ask(connection, request_to(server.url))

    assert server.connections == 1


async def test_a_connection_that_the_server_closes_is_made_anew_before_anything_is_sent() -> None:
    def answer_once(connection: socket.socket, number: int, server: RawServer) -> None:
        connection.recv(65_536)
        connection.sendall(http(200, b"body"))

    with serve_sockets(answer_once) as server:
        connection = connection_to(server.url)
        for number in (1, 2, 3):
            assert await ask(connection, request_to(server.url)) == b"body"
            with anyio.fail_after(20):
                while server.closed < number:
                    await anyio.sleep(0.01)
        await connection.aclose()

    assert server.connections == 3


async def test_a_connection_that_is_reset_while_it_is_written_to_breaks() -> None:
    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        connection.recv(100)
        reset(connection)

    with serve_sockets(handle) as server:
        connection = connection_to(server.url)
        with anyio.fail_after(20), pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await ask(connection, request_to(server.url, body=bytes(LARGE)))
        assert not connection.has_leftovers
        await connection.aclose()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", httpx.RemoteProtocolError),
        (b"SSH-2.0\r\n\r\n", httpx.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", httpx.RemoteProtocolError),
    ],
)
async def test_errors_are_those_of_httpx(answer: bytes, kind: type[httpx.TransportError]) -> None:
    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        connection.recv(65_536)
        connection.sendall(answer)

    with serve_sockets(handle) as server:
        connection = connection_to(server.url)
        with pytest.raises(kind) as caught:
            await ask(connection, request_to(server.url))
        await connection.aclose()

    assert type(caught.value) is kind


async def test_a_body_that_cannot_be_given_out_closes_the_connection() -> None:
    class Refusing(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"first"
            raise LookupError("no more")

    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        while connection.recv(65_536):
            pass

    with serve_sockets(handle) as server:
        connection = connection_to(server.url)
        request = httpx.Request(
            "POST", server.url, stream=Refusing(), headers={"Host": "service", "Content-Length": "10"}
        )
        with pytest.raises(LookupError):
            await connection.handle_async_request(request)
        with anyio.fail_after(20):
            while not server.closed:
                await anyio.sleep(0.01)


@pytest.mark.parametrize("is_polite", [True, False])
async def test_a_connection_that_was_closed_below_tls_raises_no_error_but_those_of_httpcore(
    is_polite: bool, authority: trustme.CA
) -> None:
    context = tls_server_context(authority)

    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        with context.wrap_socket(connection, server_side=True) as tls:
            if is_polite:
                tls.unwrap()

    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with serve_sockets(handle) as server:
        network = Network()
        plain = await network.connect_tcp("127.0.0.1", server.port)
        with anyio.fail_after(20):
            stream = await plain.start_tls(trusting, "localhost")
            assert await stream.read(100) == b""
            with contextlib.suppress(httpcore.WriteError):
                await stream.write(b"too late")
            await network.aclose()
            for late in (b"too late", b"x" * 100_000):
                with pytest.raises(httpcore.WriteError):
                    await stream.write(late)


async def test_a_stream_tells_httpcore_what_it_asks_for_and_nothing_else() -> None:
    with serve_sockets(answering(lambda request, server: http(200, b""))) as server:
        network = Network()
        stream = await network.connect_tcp("127.0.0.1", server.port)
        assert [stream.get_extra_info(name) for name in ("is_readable", "ssl_object", "socket")] == [False, None, None]
        await network.aclose()
        assert stream.get_extra_info("is_readable")


@pytest.mark.parametrize("is_answered", [True, False])
async def test_an_answer_that_came_before_writing_failed_is_read(is_answered: bool) -> None:
    is_over = threading.Event()
    answer = http(413, b"x" * 100_000) if is_answered else b""

    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        connection.recv(1)
        connection.sendall(answer)
        reset(connection)
        is_over.set()

    with serve_sockets(handle) as server:
        network = Network()
        stream = await network.connect_tcp("127.0.0.1", server.port)
        await stream.write(b"x")
        assert is_over.wait(20), "the event loop has read nothing meanwhile"
        with pytest.raises(httpcore.WriteError):
            for _ in range(100):  # asyncio tells of it when it is written to once more.
                await stream.write(b"x" * 65_536)
        got = b""
        with pytest.raises(httpcore.ReadError):
            while chunk := await stream.read(65_536):
                got += chunk
            raise httpcore.ReadError("the end")
        await network.aclose()

    assert got == answer
