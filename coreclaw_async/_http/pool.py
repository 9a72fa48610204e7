"""
Pooled connections: httpx transports of one connection each, in a LIFO free list for each event loop.

httpx's pool looks at every connection on every request, and leaks a slot when a request that queues in it is cancelled
(encode/httpcore#1093). A transport that may hold one connection has nothing to search, and because the admission
limiter stands in front of the connections, nothing ever queues inside one.

A request that costs money gets a new connection, which is closed after the answer. So a server that closes an idle
connection cannot leave its outcome open, and bytes left over from another answer cannot be taken for its answer.
"""

from __future__ import annotations

import math
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Any, Protocol, Self

import anyio
import httpx

from coreclaw_async._concurrency.loops import EventLoop, current_loop
from coreclaw_async._http.fence import FencedBody
from coreclaw_async._http.log_filter import failing_by_no_log
from coreclaw_async._wire.request import Request
from coreclaw_async._wire.response import HttpReply

SEND_PROGRESS = "coreclaw_send_progress"
Trace = Callable[[str, dict[str, Any]], Awaitable[None]]
"""Is told of each step of a request, the coming of its answer included."""
# The steps of setting up a connection, as httpcore's events name them; any other step is about the request itself.
_SETTING_UP = ("connection.", "proxy.", "socks.", "http2.send_connection_init.")
# This step comes after any other, also after a refused tunnel, so it tells nothing.
_CLOSING = ("http11.response_closed.", "http2.response_closed.")


class TimeLimit:
    """
    When an attempt is given up: at its deadline, after a silence, or when no connection is made in time.

    A context, whose block then ends without an exception.
    """

    __slots__ = ("_connecting", "_ends_at", "_is_connecting", "_scope", "_silence")

    def __init__(self, seconds: float = math.inf, *, silence: float = math.inf, connecting: float = math.inf) -> None:
        self._ends_at = math.inf if seconds == math.inf else anyio.current_time() + seconds
        self._silence = silence
        self._connecting = connecting
        self._is_connecting = False
        self._scope = anyio.CancelScope(deadline=self._ends_at)

    def __enter__(self) -> Self:
        self._scope.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        return self._scope.__exit__(kind, error, traceback)

    @property
    def is_over(self) -> bool:
        """Whether the deadline itself has passed."""
        return anyio.current_time() >= self._ends_at

    def hear(self) -> None:
        """Begin to count silence anew: something was sent or received."""
        if self._silence != math.inf:
            self._scope.deadline = min(self._ends_at, anyio.current_time() + self._silence)

    def begin_connecting(self) -> None:
        """Begin to count the time that connecting takes, unless that has begun."""
        if not self._is_connecting:
            self._is_connecting = True
            self._scope.deadline = min(self._ends_at, anyio.current_time() + self._connecting)

    def end_connecting(self) -> None:
        """Count silence from now on, and no longer the time that connecting takes: the connection is made."""
        self._scope.deadline = min(self._ends_at, anyio.current_time() + self._silence)


class SendProgress:
    """
    How far one attempt has come, as far as there is evidence.

    The type of an exception is no evidence that a request was not sent: another transport may use the same types for
    other things, and a hook of the caller may fail after the answer. A request was certainly not sent

    * while no transport has it;
    * while httpcore's ``trace`` extension was told of nothing but setting up a connection, if each transport that may
      send the request tells it of all its steps. Only the beginning of a step counts: at its end httpcore does not say
      which request it belongs to, and the end of asking a proxy for a tunnel would look like the end of sending;
    * while a transport has not asked for the last byte of a `FencedBody`, no answer has begun to come, and no hook of
      the caller has put another body there.

    Attributes:
        send: Sends it: the `Backend.send` of what was chosen.
        is_exclusive: Whether the request must not share its connection.
        is_traced: Whether `trace` is told before it is sent.
        is_spoiled: Returns whether its connection may hold bytes of another answer.
        fenced: The body, where it may be sent within a window only; None where it proves nothing, or no longer.
        time_limit: Ends the attempt when it takes too long, or a part of it does.
        is_admitted: Whether it got past the gate and the limiter.
        admitted_at: When it did, on the client's clock.
        parts: What has come of the body of the answer, unpacked.
    """

    __slots__ = (
        "_has_left",
        "_is_handed_over",
        "admitted_at",
        "fenced",
        "is_admitted",
        "is_exclusive",
        "is_spoiled",
        "is_traced",
        "parts",
        "pool",
        "send",
        "time_limit",
    )

    def __init__(
        self,
        send: Callable[[Request, SendProgress], Awaitable[HttpReply]],
        time_limit: TimeLimit,
        *,
        is_exclusive: bool = False,
        is_traced: bool = False,
        is_spoiled: Callable[[], bool] | None = None,
        fenced: FencedBody | None = None,
    ) -> None:
        self.send = send
        self.is_exclusive = is_exclusive
        self.is_traced = is_traced
        self.is_spoiled = is_spoiled
        self.fenced = fenced
        self.time_limit = time_limit
        self.is_admitted = False
        self.admitted_at = 0.0
        self.parts: list[bytes] = []
        self.pool: _LoopPool | None = None
        self._is_handed_over = False
        self._has_left = False

    @property
    def may_have_left(self) -> bool:
        """Whether the request, or a part of it, may have left this machine; a `FencedBody` counts as a whole."""
        if self.fenced is not None and not self.fenced.is_whole:
            return False
        return self._has_left or (self._is_handed_over and not self.is_traced)

    def hand_over(self) -> None:
        """Record that a transport has the request now."""
        self._is_handed_over = True

    def be_traced(self) -> Trace:
        """Return `trace`, which a new connection of our own tells of all steps of its first request."""
        self.is_traced = True
        return self.trace

    def take_back(self) -> None:
        """Record that no transport has the request yet: a pooled connection is still to be chosen."""
        self._is_handed_over = False

    async def trace(self, event: str, info: dict[str, Any]) -> None:
        """Record what httpcore tells its ``trace`` extension, and stop a request that must not leave."""
        if self._has_left or not event.endswith(".started") or event.startswith(_CLOSING):
            return
        # CONNECT asks a proxy for a tunnel; the request itself comes after it.
        is_tunnel = getattr(info.get("request"), "method", None) == b"CONNECT"
        if is_tunnel or event.startswith(_SETTING_UP):
            if self.is_traced:
                self.time_limit.begin_connecting()
            return
        if self.pool is not None and self.pool.is_closed:
            raise RuntimeError("the client was closed")
        if self.is_spoiled is not None and self.is_spoiled():
            raise RuntimeError("the connection holds bytes that belong to no request")
        if self.fenced is not None:
            self.fenced.begin()
        self.time_limit.end_connecting()
        self._has_left = True


class OneConnection(Protocol):
    """What a pool lends: a transport of one connection, a `SingleConnection`."""

    @property
    def has_leftovers(self) -> bool:
        """Whether it is idle and holds bytes that belong to no request."""
        ...

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send *request*."""
        ...

    async def aclose(self) -> None:
        """Close the connection."""
        ...


class _PooledConnection:
    def __init__(self, transport: OneConnection, *, is_exclusive: bool) -> None:
        self.transport = transport
        self.is_exclusive = is_exclusive


class _LoopPool:
    """The connections of one event loop."""

    def __init__(self) -> None:
        self.free: list[_PooledConnection] = []
        self.all: set[_PooledConnection] = set()
        self.keeper: AsyncGenerator[None, None] | None = None
        self.is_closed = False

    async def discard(self, connection: _PooledConnection) -> None:
        self.all.discard(connection)
        with anyio.CancelScope(shield=True), failing_by_no_log():
            await connection.transport.aclose()


class ConnectionPool(httpx.AsyncBaseTransport):
    """An httpx transport that lends each request a connection until its answer was read."""

    def __init__(
        self,
        make_transport: Callable[[], OneConnection],
        max_connections: int,
        make_room: Callable[[int], None] | None = None,
    ) -> None:
        """
        Make an empty pool.

        Args:
            make_transport: Returns a new transport of one connection.
            max_connections: Most connections of one event loop.
            make_room: Called with the number of connections in this event loop before there is one more.
        """
        self._make_transport = make_transport
        self._max_connections = max_connections
        self._make_room = make_room
        self._loops: dict[EventLoop, _LoopPool] = {}
        self._process = os.getpid()

    @property
    def in_use(self) -> int:
        """Connections that a request holds now, in all event loops."""
        return sum(len(pool.all) - len(pool.free) for pool in list(self._loops.values()))

    @property
    def open(self) -> int:
        """Connections that exist now, in all event loops."""
        return sum(len(pool.all) for pool in list(self._loops.values()))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send *request* on the connection that was used last, or on a new one where it must not share any."""
        progress: SendProgress = request.extensions[SEND_PROGRESS]
        progress.take_back()
        pool = await self._here()
        connection = await self._take(pool, is_exclusive=progress.is_exclusive)
        progress.pool = pool
        progress.hand_over()
        try:
            response = await connection.transport.handle_async_request(request)
        except BaseException:
            await pool.discard(connection)
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _PooledStream(response.stream, pool, connection)
        return response

    async def _here(self) -> _LoopPool:
        loop = current_loop()
        self._leave_to_parent()
        pool = self._loops.get(loop)
        if pool is None:
            self._forget_closed_loops()
            pool = self._loops[loop] = _LoopPool()
            pool.keeper = _keep(self._loops, loop, pool)
            await anext(pool.keeper)
        return pool

    def _leave_to_parent(self) -> None:
        """Start afresh in a forked child, which may even go on in the event loop of its parent."""
        if self._process != os.getpid():  # pragma: no cover - in forked children, which measure nothing
            _inherited.append(self._loops)
            self._loops, self._process = {}, os.getpid()

    def _forget_closed_loops(self) -> None:
        """Forget loops that were closed without ending their async generators: their connections work no more."""
        for loop in tuple(self._loops):
            is_closed = getattr(loop, "is_closed", None)  # asyncio's have it, trio's do not.
            if is_closed is not None and is_closed():
                del self._loops[loop]

    async def _take(self, pool: _LoopPool, *, is_exclusive: bool) -> _PooledConnection:
        if pool.free and not is_exclusive:
            return pool.free.pop()
        if pool.free and len(pool.all) >= self._max_connections:
            await pool.discard(pool.free.pop(0))
        if self._make_room is not None:
            self._make_room(len(pool.all))
        connection = _PooledConnection(self._make_transport(), is_exclusive=is_exclusive)
        pool.all.add(connection)
        return connection

    async def close_idle(self, *, keep: int = 0) -> None:
        """Close connections of this event loop that no request holds, the oldest first, until there are *keep*."""
        self._leave_to_parent()
        pool = self._loops.get(current_loop())
        while pool is not None and pool.free and len(pool.all) > keep:  # None: the client was closed meanwhile.
            await pool.discard(pool.free.pop(0))

    async def aclose(self) -> None:
        """Close the connections of this event loop; those of others close with their loops."""
        self._leave_to_parent()
        pool = self._loops.get(current_loop())
        if pool is not None and pool.keeper is not None:
            await pool.keeper.aclose()
        self._loops.clear()


# Connections of the parent of a forked child. Closing them there would take them out of the parent's event loop too.
_inherited: list[dict[EventLoop, _LoopPool]] = []


async def _keep(loops: dict[EventLoop, _LoopPool], loop: EventLoop, pool: _LoopPool) -> AsyncGenerator[None, None]:
    """
    Close the connections when their event loop ends.

    asyncio and trio close the async generators that are still suspended before a loop ends, so a client that outlives
    its loop (one for two calls of `asyncio.run`) leaves no open socket behind. A forked child closes none.
    """
    process = os.getpid()
    try:
        yield
    finally:
        if process == os.getpid():  # pragma: no branch - forked children measure nothing
            loops.pop(loop, None)
            pool.is_closed = True
            for connection in tuple(pool.all):
                await pool.discard(connection)
            pool.free.clear()


class _PooledStream(httpx.AsyncByteStream):
    """The body of an answer; closing it gives the connection back."""

    def __init__(self, stream: httpx.AsyncByteStream, pool: _LoopPool, connection: _PooledConnection) -> None:
        self._stream = stream
        self._pool = pool
        self._connection: _PooledConnection | None = connection
        self._is_whole = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk
        self._is_whole = True

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        is_reusable = False
        try:
            await self._stream.aclose()
            is_reusable = (
                self._is_whole
                and not self._pool.is_closed
                and not connection.is_exclusive
                and not connection.transport.has_leftovers
            )
        finally:
            if is_reusable:
                self._pool.free.append(connection)
            else:
                await self._pool.discard(connection)
