"""What aiohttp makes of strange answers, with its parser in C, and with that in Python (AIOHTTP_NO_EXTENSIONS)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time

import pytest
from raw_server import RawServer, answering, envelope, http, read_request, serve_sockets
from tls_tunnel import HOST

from coreclaw_async import (
    AsyncCoreClaw,
    CoreClawError,
    InvalidResponseError,
    NoReplyError,
    RequestNotSentError,
    RetryPolicy,
)
from coreclaw_async.testing import RealClock

aiohttp = pytest.importorskip("aiohttp")

KEY = "scraper_api_SECRETSECRET12345"
COOKIE = "COOKIE_COOKIE_COOKIE"
SIGNED = "X-Amz-Signature=SIGNED_SIGNED_SIGNED"
SECRETS = {secret[start : start + 8] for secret in (KEY[12:], COOKIE, SIGNED[16:]) for start in range(len(secret) - 7)}
ONCE = RetryPolicy(max_attempts=1)
LONG = "a" * 120_000
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])


@pytest.fixture(params=["C", "Python"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have aiohttp use its parser in that language."""
    language: str = request.param
    kind = aiohttp.http_parser.HttpResponseParser
    if language == "Python":
        kind = aiohttp.http_parser.HttpResponseParserPy
    elif kind is aiohttp.http_parser.HttpResponseParserPy:  # pragma: no cover - a wheel without the extension
        pytest.skip("this aiohttp has no parser in C")
    monkeypatch.setattr("aiohttp.client_proto.HttpResponseParser", kind)
    return language


# Bytes left over.


LEFT = {
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "half a status line": b"HTTP/1.1 2",
    "one letter": b"H",
    "a line": b"HTTP/1.1 200 OK\r\n",
    "a header": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n",
    "half a header that is none": b"HTTP/1.1 200 OK\r\nX-A: a\0",
    "a body": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{",
    "an answer": envelope({"balance": "999.00"}),
}


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize("left", LEFT.values(), ids=LEFT.keys())
async def test_a_connection_with_bytes_left_over_is_not_used_again(left: bytes) -> None:
    with serve_sockets(
        answering(lambda request, _: envelope({"balance": f"{request.connection}.00"}) + left)
    ) as server:
        async with AsyncCoreClaw("key", base_url=server.url, backend="aiohttp", retry=ONCE) as client:
            for number in (1, 2, 3):
                assert (await client.account.get()).balance == number

    assert server.connections == len(server.requests) == 3


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize("missing", [1, 5])
async def test_a_connection_whose_answer_was_longer_than_said_is_not_used_again(missing: int) -> None:
    body = b'{"code":0,"data":{"balance":"1"}}' + b" " * (5 - missing) + b"....."[:missing]
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(body) - missing) + body
    with serve_sockets(answering(lambda _request, _server: answer)) as server:
        async with AsyncCoreClaw("key", base_url=server.url, backend="aiohttp", retry=ONCE) as client:
            for _ in range(2):
                with contextlib.suppress(NoReplyError):  # The parser in C may find out before the answer was read.
                    assert (await client.account.get()).balance == 1

    assert server.connections == len(server.requests) == 2


@pytest.mark.usefixtures("parser")
async def test_a_connection_on_which_nothing_is_left_over_is_used_again() -> None:
    answers = [
        envelope({"balance": "1.00"}),
        b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" + envelope({"balance": "1.00"}),
        CHUNKED + b'21\r\n{"code":0,"data":{"balance":"1"}}\r\n0\r\nX-Trailer: 1\r\n\r\n',
        envelope({"balance": "1.00"}),
    ]
    with serve_sockets(answering(lambda _, server: answers[len(server.requests) - 1])) as server:
        async with AsyncCoreClaw("key", base_url=server.url, backend="aiohttp", retry=ONCE) as client:
            for _ in answers:
                assert (await client.account.get()).balance == 1

    assert server.connections == 1
    assert len(server.requests) == len(answers)


@pytest.mark.usefixtures("parser")
async def test_an_answer_that_changes_the_protocol_is_none_and_its_connection_is_not_used_again() -> None:
    answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
    with serve_sockets(answering(lambda _request, _server: answer)) as server:
        async with AsyncCoreClaw("key", base_url=server.url, backend="aiohttp", retry=ONCE) as client:
            for _ in range(2):
                with pytest.raises(InvalidResponseError) as caught:
                    await client.account.get()
                assert caught.value.status_code == 101

    assert server.connections == len(server.requests) == 2


async def test_nothing_is_written_to_a_connection_that_was_closed() -> None:
    from coreclaw_async._http.aiohttp_connector import Handler

    with pytest.raises(aiohttp.ServerDisconnectedError):
        Handler(loop=asyncio.get_running_loop()).begin()


async def test_a_connection_that_was_idle_for_too_long_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve_sockets(answering(lambda _request, _server: envelope({"balance": "1.00"}))) as server:
        async with AsyncCoreClaw("key", base_url=server.url, backend="aiohttp", retry=ONCE) as client:
            for seconds in (29.0, 31.0, 0.0):
                monkeypatch.setattr("aiohttp.connector.monotonic", lambda ago=seconds: time.monotonic() - ago)
                await client.account.get()
            assert client._context.transport.connections.connections_open == 1

    assert [request.connection for request in server.requests] == [1, 1, 2]


# Answers that only httpx reads, and those that nobody reads to their end.


@pytest.mark.parametrize(
    "answer",
    [envelope({"balance": "1.00"}) + b"{}", http(200, b'{"code":0,"data":{"balance":"1"}}', "Content-Length: 33")],
    ids=["bytes follow", "two lengths"],
)
async def test_an_answer_that_only_httpx_reads_is_read_at_the_second_attempt(answer: bytes) -> None:
    clock = RealClock()
    retry = RetryPolicy(max_attempts=2, first_delay=0.01)
    attempts: list[int] = []
    with serve_sockets(answering(lambda _request, _server: answer)) as server:
        async with AsyncCoreClaw("key", base_url=server.url, backend="aiohttp", retry=retry, clock=clock) as client:
            for _ in range(4):
                assert (await client.account.get()).balance == 1
                attempts.append(len(server.requests))
            clock.advance(61.0)
            assert (await client.account.get()).balance == 1
            attempts.append(len(server.requests))

    assert attempts == [2, 3, 4, 5, 7], "for a minute reads go through httpx at once"


@pytest.mark.usefixtures("parser")
async def test_endless_trailers_are_given_up() -> None:
    sent = 0

    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        nonlocal sent
        if (request := read_request(connection, number)) is not None:
            server.requests.append(request)
            connection.sendall(CHUNKED + b"2\r\n{}\r\n0\r\n")
            while True:
                connection.sendall(b"X-A: " + b"a" * 50_000 + b"\r\n")
                sent += 50_000

    with serve_sockets(handle) as server:
        async with AsyncCoreClaw("key", base_url=server.url, backend="aiohttp", retry=ONCE) as client:
            with pytest.raises(NoReplyError):
                await client.account.get()

    assert sent < 20_000_000, "1,000 of them would be allowed"


@pytest.mark.usefixtures("parser")
async def test_a_large_body_in_chunks_of_any_size_is_no_trailer() -> None:
    body = b'{"code":0,"data":{"balance":"1"}}' + b" " * 3_000_000
    for size in (70_000, 300_000, 65_536):
        pieces = [body[start : start + size] for start in range(0, len(body), size)]
        chunks = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (*pieces, b"")]
        with serve_sockets(answering(lambda _request, _server: CHUNKED + b"".join(chunks))) as server:  # noqa: B023
            async with AsyncCoreClaw("key", base_url=server.url, backend="aiohttp", retry=ONCE) as client:
                assert (await client.account.get()).balance == 1


@pytest.mark.usefixtures("parser")
async def test_a_body_in_so_many_chunks_that_reading_pauses_is_read_to_its_end() -> None:
    body = b'{"code":0,"data":{"balance":"1"}}' + b" " * 40_000
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    with serve_sockets(answering(lambda _request, _server: CHUNKED + chunks)) as server:
        async with AsyncCoreClaw("key", base_url=server.url, backend="aiohttp", retry=ONCE) as client:
            for _ in range(2):
                assert (await client.account.get()).balance == 1

    assert server.connections == 1


# Errors that quote nothing.


QUOTED = {
    "a header that is too long": http(200, b"{}", f"X-A: {'a' * 74}{KEY}{LONG}"),
    "a cookie that is too long": http(200, b"{}", f"Set-Cookie: session={COOKIE}; {LONG}"),
    "a place that is too long": http(200, b"{}", f"Location: /x?{SIGNED}&{LONG}"),
    "folded lines that are too long": http(200, b"{}", f"X-A: {KEY}", *(f" {LONG[:60_000]}" for _ in range(3))),
    "a zero byte": http(200, b"{}", f"Set-Cookie: session={COOKIE}\0"),
    "a zero byte in a place": http(200, b"{}", f"Location: /x?{SIGNED}\0"),
    "half a key": http(200, b"{}", f"X-A: {KEY[:-2]}\0"),
    "no colon": http(200, b"{}", KEY[:-2]),
    "a header that is no name": http(200, b"{}", f"{KEY[:-2]}@ : x"),
    "a length that is none": http(200, b"{}", f"Content-Length: {KEY[:-2]}"),
    "no HTTP": f"{KEY[:-2]} {COOKIE} {SIGNED}\r\n\r\n".encode(),
    "a status that is none": f"HTTP/1.1 {KEY[:-2]} OK\r\n\r\n".encode(),
    "a status line that is too long": f"HTTP/1.1 200 {KEY[:-2]}{LONG}\r\n\r\n".encode(),
    "half a head": http(200, b"", f"Set-Cookie: session={COOKIE}", f"Location: /x?{SIGNED}", f"X-A: {KEY[:-2]}")[:-4],
    "a chunk that is none": CHUNKED + f"{KEY[:-2]}\r\n{COOKIE}".encode(),
    "a chunk whose extension is odd": CHUNKED + f"1;{SIGNED}\0\n\r\n\r\n".encode(),
    "a chunk whose size is too long": CHUNKED + f"{COOKIE}{LONG}".encode(),
    "trailers that are odd": CHUNKED + f"0\r\n{COOKIE} {KEY[:-2]}\r\n\r\n".encode(),
    "trailers that are too long": CHUNKED + f"0\r\nSet-Cookie: {COOKIE}{LONG}\r\n\r\n".encode(),
}


def shown(error: BaseException | None) -> str:
    text = ""
    while error is not None:
        text += f"{error!s} {error!r} {vars(error)!r} "
        error = error.__cause__ or error.__context__
    return text


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize("answer", QUOTED.values(), ids=QUOTED.keys())
async def test_no_error_quotes_what_a_server_said(answer: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        if (request := read_request(connection, number)) is not None:
            server.requests.append(request)
            connection.sendall(answer)

    with serve_sockets(handle) as server:
        async with AsyncCoreClaw(KEY, base_url=server.url, backend="aiohttp", retry=ONCE) as client:
            with pytest.raises(CoreClawError) as caught:
                await client.account.get()

    text = shown(caught.value) + caplog.text
    assert not [secret for secret in SECRETS if secret in text], text
    assert str(caught.value).isprintable()


PROXY_SAYS = {
    "a reason": f"HTTP/1.1 403 {COOKIE} {KEY[:-2]}\r\nContent-Length: 0\r\n\r\n".encode(),
    "half a head": f"HTTP/1.1 200 OK\r\nSet-Cookie: session={COOKIE}\r\nX-A: {KEY[:-2]}".encode(),
    "a zero byte": f"HTTP/1.1 200 OK\r\nSet-Cookie: session={COOKIE}\0\r\n\r\n".encode(),
    "no HTTP": f"{KEY[:-2]} {COOKIE}\r\n\r\n".encode(),
    "a header that is too long": f"HTTP/1.1 200 OK\r\nX-A: {COOKIE}{LONG}\r\n\r\n".encode(),
}


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize("said", PROXY_SAYS.values(), ids=PROXY_SAYS.keys())
async def test_no_error_quotes_what_a_proxy_said(
    said: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        read_request(connection, number)
        connection.sendall(said)

    with serve_sockets(handle) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        async with AsyncCoreClaw(KEY, base_url=f"https://{HOST}", backend="aiohttp", retry=ONCE) as client:
            with pytest.raises(RequestNotSentError) as caught:
                await client.account.get()

    text = shown(caught.value) + caplog.text
    assert not [secret for secret in SECRETS if secret in text], text
    assert ("403" in str(caught.value)) == (said == PROXY_SAYS["a reason"])
