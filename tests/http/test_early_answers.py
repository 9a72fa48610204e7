"""A server that answers before it has read a request: its refusal is read, and the rest is not waited for."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import trustme
from either_client import AsyncCoreClaw
from raw_server import RawServer, envelope, http, serve_sockets
from tls_tunnel import tls_server_context

from coreclaw_async import ApiError, OutcomeUnknownError, RetryPolicy

WORKER = "coreclaw/google-maps-scraper"
RUN_ID = "01KKDXV2G26BT7NH4ZQR2R4NPZ"
LARGE = {"urls": "x" * 8_000_000}
TOO_LARGE = http(413, b"<html>too large</html>")
STARTED = envelope({"run_slug": RUN_ID})
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
ONCE = RetryPolicy(max_attempts=1)

Handler = Callable[[socket.socket, int, RawServer], None]


def answering_early(
    *parts: bytes,
    context: ssl.SSLContext | None = None,
    reads: bool = False,
    until: threading.Event | None = None,
    pause: float = 0.0,
) -> Handler:
    """
    Return a handler that sends *parts* after a request's head, and then reads the rest or waits *until* then.

    Between the parts, it waits *pause* seconds.
    """

    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # What waits to be sent is lost at a reset.
        with contextlib.ExitStack() as stack:
            if context is not None:
                connection = stack.enter_context(context.wrap_socket(connection, server_side=True))
            head = b""
            while b"\r\n\r\n" not in head:
                chunk = connection.recv(1024)
                if not chunk:
                    return
                head += chunk
            for part in parts:
                connection.sendall(part)
                time.sleep(pause)
            length = head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]
            left = int(length or 0) - len(head.partition(b"\r\n\r\n")[2])
            while reads and left:
                left -= len(connection.recv(min(left, 65_536)))
            if until is not None:
                until.wait(20)

    return handle


@pytest.mark.parametrize("parts", [[TOO_LARGE], [CONTINUE, TOO_LARGE], [TOO_LARGE[:6], TOO_LARGE[6:]]])
@pytest.mark.parametrize("is_encrypted", [False, True])
async def test_a_refusal_is_read_while_the_request_is_still_being_sent(
    is_encrypted: bool, parts: list[bytes], authority: trustme.CA, trusted: trustme.CA
) -> None:
    answered = threading.Event()
    context = tls_server_context(authority) if is_encrypted else None
    with serve_sockets(answering_early(*parts, context=context, until=answered)) as server:
        url = server.url.replace("http://127.0.0.1", "https://localhost") if is_encrypted else server.url
        async with AsyncCoreClaw("key", base_url=url, timeout=20, retry=ONCE) as client:
            try:
                with pytest.raises(ApiError) as caught:
                    await client.workers.start_run(WORKER, LARGE)
            finally:
                answered.set()

    assert (caught.value.status_code, caught.value.may_have_taken_effect) == (413, False)


@pytest.mark.parametrize("is_encrypted", [False, True])
async def test_the_rest_of_a_refusal_is_read_when_the_request_was_ended(
    is_encrypted: bool, authority: trustme.CA, trusted: trustme.CA
) -> None:
    answered = threading.Event()
    context = tls_server_context(authority) if is_encrypted else None
    parts = TOO_LARGE[:-10], TOO_LARGE[-10:]
    with serve_sockets(answering_early(*parts, context=context, until=answered, pause=0.1)) as server:
        url = server.url.replace("http://127.0.0.1", "https://localhost") if is_encrypted else server.url
        async with AsyncCoreClaw("key", base_url=url, timeout=20, retry=ONCE) as client:
            try:
                with pytest.raises(ApiError, match="too large") as caught:
                    await client.workers.start_run(WORKER, LARGE)
            finally:
                answered.set()

    assert not caught.value.may_have_taken_effect


@pytest.mark.parametrize("size", [10, 500_000])
@pytest.mark.parametrize("before", [b"", CONTINUE])
async def test_a_success_that_comes_early_does_not_end_the_request(before: bytes, size: int) -> None:
    answer = before + envelope({"run_slug": RUN_ID, "more": "x" * size})
    with serve_sockets(answering_early(answer, reads=True)) as server:
        async with AsyncCoreClaw("key", base_url=server.url, timeout=20, retry=ONCE) as client:
            assert (await client.workers.start_run(WORKER, LARGE)).run_id == RUN_ID


@pytest.mark.parametrize("before", [b"", CONTINUE])
@pytest.mark.parametrize("is_encrypted", [False, True])
async def test_the_run_of_a_success_is_named_when_its_server_reads_no_more(
    is_encrypted: bool, before: bytes, authority: trustme.CA, trusted: trustme.CA
) -> None:
    answered = threading.Event()
    context = tls_server_context(authority) if is_encrypted else None
    with serve_sockets(answering_early(before + STARTED, context=context, until=answered)) as server:
        url = server.url.replace("http://127.0.0.1", "https://localhost") if is_encrypted else server.url
        async with AsyncCoreClaw("key", base_url=url, timeout=20, retry=ONCE) as client:
            try:
                assert (await client.workers.start_run(WORKER, LARGE)).run_id == RUN_ID
            finally:
                answered.set()


@pytest.mark.parametrize("is_encrypted", [False, True])
async def test_an_answer_is_read_also_where_its_server_closes_with_most_of_the_request_unread(
    is_encrypted: bool, authority: trustme.CA, trusted: trustme.CA
) -> None:
    context = tls_server_context(authority) if is_encrypted else None
    for answer in (STARTED, TOO_LARGE) * 3:  # The end of the connection may come at any moment.
        with serve_sockets(answering_early(answer, context=context)) as server:
            url = server.url.replace("http://127.0.0.1", "https://localhost") if is_encrypted else server.url
            async with AsyncCoreClaw("key", base_url=url, timeout=20, retry=ONCE) as client:
                if answer is STARTED:
                    assert (await client.workers.start_run(WORKER, LARGE)).run_id == RUN_ID
                else:
                    with pytest.raises(ApiError, match="too large"):
                        await client.workers.start_run(WORKER, LARGE)


async def test_a_server_that_closes_without_an_answer_leaves_the_outcome_open() -> None:
    with serve_sockets(answering_early()) as server:
        async with AsyncCoreClaw("key", base_url=server.url, timeout=20, retry=ONCE) as client:
            with pytest.raises(OutcomeUnknownError):
                await client.workers.start_run(WORKER, LARGE)


async def test_a_connection_is_used_again_after_a_large_request() -> None:
    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        answering_early(envelope({"balance": "1"}), reads=True)(connection, number, server)
        answering_early(envelope({"balance": "2"}), reads=True)(connection, number, server)

    with serve_sockets(handle) as server:
        async with AsyncCoreClaw("key", base_url=server.url, timeout=20, retry=ONCE) as client:
            for number in (1, 2):
                reply = await client.request("PUT", "/api/v2/own", body=LARGE, safety="repeatable")
                assert reply.data == {"balance": str(number)}
        assert server.connections == 1


async def test_what_follows_an_early_answer_is_no_answer_to_the_next_request() -> None:
    answer = envelope({"balance": "1", "more": ""})
    answer = envelope({"balance": "1", "more": "x" * (65_536 - len(answer) - 3)})  # The length has three digits more.
    with serve_sockets(answering_early(answer, envelope({"balance": "7"}), reads=True)) as server:
        async with AsyncCoreClaw("key", base_url=server.url, timeout=20, retry=ONCE) as client:
            for _ in range(2):
                reply = await client.request("PUT", "/api/v2/own", body=LARGE, safety="repeatable")
                assert reply.data["balance"] == "1"

    assert (len(answer), server.connections) == (65_536, 2)


def reading_slowly(connection: socket.socket, number: int, server: RawServer) -> None:
    """Read a large request, its first half in about a second, and answer it."""
    head = connection.recv(1024)
    left = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]) - len(head.partition(b"\r\n\r\n")[2])
    half = left / 2
    while left:
        left -= len(connection.recv(min(left, 500_000)))
        if left > half:
            time.sleep(0.05)
    connection.sendall(envelope({"balance": "1"}))
    connection.recv(1)


@pytest.mark.endurance
@pytest.mark.async_client_only
@pytest.mark.parametrize("is_given", [False, True])
async def test_a_body_that_takes_long_to_send_is_no_silence(is_given: bool) -> None:
    retry = RetryPolicy(attempt_timeout=1.0)
    with serve_sockets(reading_slowly) as server:
        async with httpx.AsyncClient() as own:
            given: dict[str, Any] = {"http_client": own} if is_given else {}
            async with AsyncCoreClaw("key", base_url=server.url, timeout=30, retry=retry, **given) as client:
                body = {"urls": "x" * 20_000_000}
                reply = await client.request("PUT", "/api/v2/own", body=body, safety="repeatable")

    assert (reply.data, reply.attempts, server.connections) == ({"balance": "1"}, 1, 1)
