"""aiohttp's connector, stricter about the connections that it gives out, and about closing them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import re
import ssl
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable
from time import monotonic
from typing import Any, TypeAlias

import aiohttp
from aiohttp import hdrs
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http_parser import RawResponseMessage
from aiohttp.streams import StreamReader
from multidict import CIMultiDict
from yarl import URL

from coreclaw_async._http.leftovers import readability
from coreclaw_async.errors import printable

# It may be there for something else. Before, nothing limited the number of headers.
if not (3, 13, 4) <= tuple(map(int, re.findall(r"\d+", aiohttp.__version__)[:3])) < (4,):
    raise ImportError(f"version {aiohttp.__version__}, and 3.13.4 is the lowest that can be used, below 4")

MAX_HEAD = 102_400
"""Most bytes of the head of an answer, as httpx has it; a body has a limit of its own."""
_MAX_HEADERS = 1_000
# Event loops read so much at once, and the parser in Python may keep it for a moment before it gives out the body.
_MAX_TRAILERS = MAX_HEAD + 262_144
_KEEP_ALIVE_SECONDS = 30.0
_INTERIM = range(100, 200)
_OTHER_PROTOCOL = 101  # After that one, the connection does not speak HTTP any more.


MakeRoom: TypeAlias = weakref.WeakMethod[Callable[[int], Awaitable[None]]]
"""Called with the number of connections of reads in this event loop when one of them is to be made."""


class NoConnectionError(aiohttp.ClientConnectionError):
    """No connection was made, so nothing was sent."""


class HeadTooLargeError(aiohttp.ClientError):
    """The head of an answer is larger than `MAX_HEAD`; aiohttp limits only the number of headers, and each of them."""


class Handler(ResponseHandler):
    """What writes and reads a connection, with a limit of all that comes without a byte of a body."""

    _room = MAX_HEAD
    _body: Any = None
    _seen = 0

    _is_readable: Callable[[], bool] | None = None

    def begin(self) -> asyncio.WriteTransport:
        """
        Expect an answer, and return what the request is written to.

        Raises:
            aiohttp.ServerDisconnectedError: The connection was closed.
        """
        self._room, self._body, self._seen = MAX_HEAD, None, 0
        if self.transport is None:
            raise aiohttp.ServerDisconnectedError
        self.set_response_params(
            read_until_eof=True,
            auto_decompress=False,
            max_line_size=MAX_HEAD,
            max_field_size=MAX_HEAD,
            max_headers=_MAX_HEADERS,
        )
        return self.transport

    async def answer(self) -> tuple[RawResponseMessage, StreamReader]:
        """Return the head of the answer, and what its body is read from; interim answers do not count."""
        while True:
            message, content = await self.read()
            if message.code == _OTHER_PROTOCOL:
                self.force_close()
            elif message.code in _INTERIM:
                continue
            return message, content

    def is_clean(self) -> bool:
        """Return whether nothing has come since the last answer, not even the end of the connection."""
        if self.should_close or not self.is_connected() or _has_half_an_answer(self):
            return False
        if self._is_readable is None:
            assert self.transport is not None
            self._is_readable = readability(self.transport.get_extra_info("socket").fileno())
        return not self._is_readable()

    def resume_reading(self, *arguments: Any, **named: Any) -> None:
        """Read on where that was stopped; aiohttp would ask the parser and the transport after each answer."""
        if getattr(self, "_reading_paused", True):  # It is private, but only saves time.
            super().resume_reading(*arguments, **named)

    def feed_data(self, data: Any, size: int = 0) -> None:
        """Take a head, and what its body will be read from."""
        self._body = data[1]
        super().feed_data(data, size)

    def close(self) -> None:
        """Close the connection, and tell whoever reads a body from it, whom aiohttp would leave waiting."""
        body, self._body = self._body, None
        super().close()
        if body is not None and not body.is_eof():
            body.set_exception(aiohttp.ServerDisconnectedError())

    def data_received(self, data: bytes) -> None:
        """Take what has come."""
        super().data_received(data)
        if self._body is not None and self._body.total_bytes != self._seen:
            self._room, self._seen = _MAX_TRAILERS, self._body.total_bytes
            return
        self._room -= len(data)
        if self._room < 0:
            self.set_exception(HeadTooLargeError())
            _abort(self)


class Connector(aiohttp.TCPConnector):
    """
    The connections to one host in one event loop.

    It gives out none which holds bytes of another answer, and leaves none half closed.

    Args:
        url: Any URL of the host.
        proxy: The proxy on the way to it, or None.
        proxy_headers: What the proxy is sent for a tunnel.
        context: The TLS context for it, or None without TLS.
        make_room: Closes idle connections of other requests.

    Attributes:
        keeper: Closes it where its event loop ends.
    """

    def __init__(
        self,
        url: URL,
        proxy: URL | None,
        proxy_headers: CIMultiDict[str],
        context: ssl.SSLContext | None,
        make_room: MakeRoom,
    ) -> None:
        super().__init__(  # pyright: ignore[reportUnknownMemberType]
            limit=0,  # The client's own limiter stands in front of it.
            ssl=True if context is None else context,
            keepalive_timeout=_KEEP_ALIVE_SECONDS,
            resolver=aiohttp.ThreadedResolver(),  # As httpx looks names up, also where aiodns is installed.
        )
        # It is never sent, but says where to. Idle connections are found by what it says, so nothing is added later.
        self._wanted = aiohttp.ClientRequest("GET", url, loop=self._loop, proxy=proxy, proxy_headers=proxy_headers)
        proxy_headers[hdrs.HOST] = self._wanted.headers[hdrs.HOST]
        self._factory = functools.partial(Handler, loop=self._loop)  # type: ignore[assignment] # It is invariant.
        self._room_maker = make_room
        self._key = self._wanted.connection_key
        self.keeper: AsyncGenerator[None, None] | None = None
        self._process = os.getpid()
        self._making: set[asyncio.Timeout] = set()
        _connectors.add(self)

    @property
    def closed(self) -> bool:
        """Whether nothing can be sent: also in a forked child, whose connections belong to its parent."""
        return self._closed or self._process != os.getpid() or self._loop.is_closed()

    def __del__(self, _warnings: Any = None) -> None:
        """Do nothing: in a forked child, closing would take the parent's connections out of its event loop."""

    async def lend(self, timeout: aiohttp.ClientTimeout) -> tuple[Connection, Handler]:
        """
        Return a connection on which nothing has come that belongs to no request.

        Raises:
            NoConnectionError: There is none, and none can be made.
        """
        idle = self._take_idle()
        if idle is not None:
            return Connection(self, self._key, idle, self._loop), idle
        try:
            connection = await self.connect(self._wanted, [], timeout)
        except TimeoutError:
            why = "the client was closed" if self._closed else f"no connection within {timeout.connect:.3g} s"
            raise NoConnectionError(why) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:  # The last one of a name that is none.
            raise NoConnectionError(described(error)) from None
        made = connection.protocol
        assert isinstance(made, Handler)
        return connection, made

    def _take_idle(self) -> Handler | None:
        """Return what has been idle for longest and can be used, and close all that cannot."""
        idle = self._conns.get(self._key)
        while idle:
            handler, since = idle.popleft()
            assert isinstance(handler, Handler)
            if monotonic() - since <= _KEEP_ALIVE_SECONDS and handler.is_clean():
                self._acquired.add(handler)
                return handler
            _abort(handler)
        return None

    async def _create_connection(self, *args: Any, **kwargs: Any) -> ResponseHandler:
        make_room = self._room_maker()
        if make_room is not None:  # pragma: no branch - the client is gone
            await make_room(self.open)
        async with asyncio.timeout(None) as limit:
            self._making.add(limit)
            try:
                return await super()._create_connection(*args, **kwargs)
            finally:
                self._making.discard(limit)

    async def _wrap_create_connection(self, *args: Any, **kwargs: Any) -> Any:
        """Close what was made where the call ends at that moment: uvloop would go on with its handshake, and log."""
        made: list[Handler] = []
        make, *others = args

        def make_noted() -> Handler:
            made.append(make())
            return made[-1]

        try:
            return await super()._wrap_create_connection(  # pyright: ignore[reportUnknownMemberType]
                make_noted, *others, **kwargs
            )
        except BaseException:
            for handler in made:
                _abort(handler)
            raise

    async def close(self, *, abort_ssl: bool = False) -> None:
        """Close all connections, also those that are being made: aiohttp would wait for these."""
        while self._making:
            self._making.pop().reschedule(0)
        await super().close(abort_ssl=abort_ssl)

    def _release(self, key: Any, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        if should_close or protocol.should_close:
            _abort(protocol)
        super()._release(key, protocol, should_close=should_close)

    @property
    def open(self) -> int:
        """Connections that exist, or are being made."""
        return len(self._acquired) + sum(map(len, list(self._conns.values())))  # Another thread may ask.

    def leave_to_parent(self) -> None:  # pragma: no cover - run in forked children, which measure nothing
        """
        Have a forked child read nothing of its parent's connections, should it go on in the parent's event loop.

        Both watch the same sockets there. Closing one, or watching it no more, would do so in the parent too.
        """
        nothing = os.open(os.devnull, os.O_RDONLY)
        idle = (protocol for idles in self._conns.values() for protocol, _since in idles)
        for protocol in (*self._acquired, *idle):
            transport = getattr(protocol, "transport", None)  # None of a connection that is being made.
            if transport is not None:
                with contextlib.suppress(OSError):  # It was closed a moment ago.
                    os.dup2(nothing, transport.get_extra_info("socket").fileno())
        os.close(nothing)

    def close_idle(self) -> None:
        """Close the connections that no request holds."""
        for idle in self._conns.values():
            for protocol, _since in idle:
                _abort(protocol)
        self._conns.clear()


_connectors: weakref.WeakSet[Connector] = weakref.WeakSet()


def _leave_to_parent() -> None:  # pragma: no cover - run in forked children, which measure nothing
    for connector in list(_connectors):
        connector.leave_to_parent()


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows cannot fork
    os.register_at_fork(after_in_child=_leave_to_parent)


def _abort(protocol: ResponseHandler) -> None:
    """Close a connection now; TLS would wait up to half a minute for the other side to say goodbye."""
    if protocol.transport is not None:
        protocol.transport.abort()


def _has_half_an_answer(protocol: ResponseHandler) -> bool:
    """Return whether the parser of the last answer has read the beginning of another one; only private names tell."""
    parser: Any = getattr(protocol, "_parser", None)
    try:
        # The parser in C returns what it has; that in Python returns nothing of half a line, and keeps it.
        return parser is not None and (parser.feed_eof() is not None or bool(getattr(parser, "_lines", None)))
    except Exception:  # noqa: BLE001 - half a header that is none
        return True


def described(error: BaseException) -> str:
    """
    Return on one line what went wrong.

    aiohttp's texts quote what a server or a proxy said, cut somewhere: half a key, cookies, signatures. So the text is
    told of errors of the operating system and of TLS alone, and of others their type and that of their first cause.
    """
    name = type(error).__name__
    if isinstance(error, OSError):
        return f"{name}: {printable(str(error))}" if str(error) else name
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"{name}: status {error.status}"
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return name if cause is error else f"{name}: {type(cause).__name__}"
