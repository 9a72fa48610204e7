"""One-connection transports, taken from the top of a list and given back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest

from coreclaw_async._http.pool import SEND_PROGRESS, ConnectionPool, SendProgress, TimeLimit
from coreclaw_async._wire.request import Request
from coreclaw_async._wire.response import HttpReply


class Connection(httpx.AsyncBaseTransport):
    """A connection whose connecting can be held up."""

    has_leftovers = False

    def __init__(self, connected: anyio.Event | None = None) -> None:
        self.connected = connected
        self.is_closed = False
        self.sent = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        trace = request.extensions.get("trace")
        if trace is not None:
            await trace("connection.connect_tcp.started", {})
        if self.connected is not None:
            await self.connected.wait()
        if trace is not None:
            await trace("connection.connect_tcp.complete", {})
            await trace("http11.send_request_headers.started", {"request": None})
        self.sent += 1
        return httpx.Response(200, stream=httpx.ByteStream(b"body"))

    async def aclose(self) -> None:
        self.is_closed = True


def new_progress(**options: Any) -> SendProgress:
    async def send(request: Request, progress: SendProgress) -> HttpReply:
        raise NotImplementedError("the pool is called directly")

    return SendProgress(send, TimeLimit(), **options)


def request_with(progress: SendProgress) -> httpx.Request:
    extensions: dict[str, Any] = {SEND_PROGRESS: progress, "trace": progress.trace}
    return httpx.Request("POST", "https://service.test/", extensions=extensions)


def pool_of(make: Callable[[], Connection], max_connections: int = 100) -> tuple[ConnectionPool, list[Any]]:
    made: list[Any] = []

    def keep() -> Any:
        made.append(make())
        return made[-1]

    return ConnectionPool(keep, max_connections), made


async def test_the_connection_that_was_used_last_is_used_next() -> None:
    pool, made = pool_of(Connection)
    first = await pool.handle_async_request(request_with(new_progress()))
    second = await pool.handle_async_request(request_with(new_progress()))
    assert (pool.in_use, pool.open) == (2, 2)
    for response in (first, second):
        await response.aread()
    third = await pool.handle_async_request(request_with(new_progress()))
    await third.aread()

    assert [connection.sent for connection in made] == [1, 2]
    assert (pool.in_use, pool.open) == (0, 2)
    await pool.aclose()
    assert all(connection.is_closed for connection in made)


async def test_a_connection_whose_answer_was_not_read_is_thrown_away() -> None:
    pool, made = pool_of(Connection)
    response = await pool.handle_async_request(request_with(new_progress()))
    assert isinstance(response.stream, httpx.AsyncByteStream)
    await response.stream.aclose()
    await response.stream.aclose()

    assert (pool.in_use, pool.open) == (0, 0)
    assert made[0].is_closed
    await pool.aclose()


async def test_an_idle_connection_makes_room_for_one_that_shares_nothing() -> None:
    pool, made = pool_of(Connection, max_connections=1)
    await (await pool.handle_async_request(request_with(new_progress()))).aread()
    await (await pool.handle_async_request(request_with(new_progress(is_exclusive=True)))).aread()

    assert [connection.is_closed for connection in made] == [True, True]
    await pool.aclose()


async def test_what_is_connecting_when_the_connections_close_is_not_sent() -> None:
    connected = anyio.Event()
    pool, made = pool_of(lambda: Connection(connected))
    progress = new_progress(is_exclusive=True, is_traced=True)
    failures: list[BaseException] = []

    async def send() -> None:
        try:
            await pool.handle_async_request(request_with(progress))
        except RuntimeError as error:
            failures.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(send)
        await anyio.wait_all_tasks_blocked()
        await pool.aclose()
        connected.set()

    assert len(failures) == 1
    assert made[0].sent == 0
    assert not progress.may_have_left


async def test_a_start_does_not_leave_on_a_connection_that_holds_bytes_of_another_answer() -> None:
    pool, made = pool_of(Connection)
    progress = new_progress(is_exclusive=True, is_traced=True, is_spoiled=lambda: True)

    with pytest.raises(RuntimeError, match="bytes that belong to no request"):
        await pool.handle_async_request(request_with(progress))

    assert made[0].sent == 0
    assert not progress.may_have_left
    await pool.aclose()


async def test_an_answer_that_is_read_after_closing_closes_its_connection() -> None:
    pool, made = pool_of(Connection)
    response = await pool.handle_async_request(request_with(new_progress()))
    await pool.aclose()
    await response.aread()

    assert made[0].is_closed
    assert pool.open == 0


def test_a_loop_that_was_closed_without_a_word_is_forgotten() -> None:
    import asyncio

    pool, _ = pool_of(Connection)

    async def send() -> None:
        await (await pool.handle_async_request(request_with(new_progress()))).aread()

    lasting = asyncio.new_event_loop()
    lasting.run_until_complete(send())
    for _round in range(3):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(send())
        loop.close()  # Without shutdown_asyncgens.

    assert pool.open == 2, "that of the last one, and that of the loop that is still open"
    lasting.run_until_complete(lasting.shutdown_asyncgens())
    lasting.close()


async def test_closing_what_is_idle_after_the_connections_were_closed_does_nothing() -> None:
    pool, _ = pool_of(Connection)
    await (await pool.handle_async_request(request_with(new_progress()))).aread()
    await pool.aclose()

    await pool.close_idle()

    assert pool.open == 0
