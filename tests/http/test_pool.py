"""One-connection transports, taken from the top of a list and given back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import httpx

from coreclaw_async._http.pool import FLIGHT, Flight, Lanes


class Lane(httpx.AsyncBaseTransport):
    """A transport whose connecting can be held up."""

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


def request_with(flight: Flight) -> httpx.Request:
    extensions: dict[str, Any] = {FLIGHT: flight, "trace": flight.trace}
    return httpx.Request("POST", "https://service.test/", extensions=extensions)


def lanes_of(make: Callable[[], httpx.AsyncBaseTransport]) -> tuple[Lanes, list[Any]]:
    made: list[Any] = []

    def keep() -> httpx.AsyncBaseTransport:
        made.append(make())
        return made[-1]  # type: ignore[no-any-return]

    return Lanes(keep, max_connections=100), made


async def test_the_lane_that_was_used_last_is_used_next() -> None:
    lanes, made = lanes_of(Lane)
    first = await lanes.handle_async_request(request_with(Flight()))
    second = await lanes.handle_async_request(request_with(Flight()))
    assert (lanes.in_use, lanes.open) == (2, 2)
    for response in (first, second):
        await response.aread()
    third = await lanes.handle_async_request(request_with(Flight()))
    await third.aread()

    assert [lane.sent for lane in made] == [1, 2]
    assert (lanes.in_use, lanes.open) == (0, 2)
    await lanes.aclose()
    assert all(lane.is_closed for lane in made)


async def test_a_lane_whose_answer_was_not_read_is_thrown_away() -> None:
    lanes, made = lanes_of(Lane)
    response = await lanes.handle_async_request(request_with(Flight()))
    assert isinstance(response.stream, httpx.AsyncByteStream)
    await response.stream.aclose()
    await response.stream.aclose()

    assert (lanes.in_use, lanes.open) == (0, 0)
    assert made[0].is_closed
    await lanes.aclose()


async def test_what_is_connecting_when_the_lanes_close_is_not_sent() -> None:
    connected = anyio.Event()
    lanes, made = lanes_of(lambda: Lane(connected))
    flight = Flight(is_exclusive=True)
    failures: list[BaseException] = []

    async def send() -> None:
        try:
            await lanes.handle_async_request(request_with(flight))
        except RuntimeError as error:
            failures.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(send)
        await anyio.wait_all_tasks_blocked()
        await lanes.aclose()
        connected.set()

    assert len(failures) == 1
    assert made[0].sent == 0
    assert not flight.may_have_left


async def test_an_answer_that_is_read_after_closing_closes_its_lane() -> None:
    lanes, made = lanes_of(Lane)
    response = await lanes.handle_async_request(request_with(Flight()))
    await lanes.aclose()
    await response.aread()

    assert made[0].is_closed
    assert lanes.open == 0


def test_a_loop_that_was_closed_without_a_word_is_forgotten() -> None:
    import asyncio

    lanes, _ = lanes_of(Lane)

    async def send() -> None:
        await (await lanes.handle_async_request(request_with(Flight()))).aread()

    for _round in range(3):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(send())
        loop.close()  # Without shutdown_asyncgens.

    assert lanes.open == 1


async def test_closing_what_is_idle_after_the_lanes_were_closed_does_nothing() -> None:
    lanes, _ = lanes_of(Lane)
    await (await lanes.handle_async_request(request_with(Flight()))).aread()
    await lanes.aclose()

    await lanes.close_idle()

    assert lanes.open == 0
