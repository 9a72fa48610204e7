"""
The backend for reads on asyncio and uvloop: one `aiohttp.ClientSession` for each event loop.

Nothing else imports aiohttp, and this module is imported by the first read that may use it. A read costs a third of
what it costs through httpx. Requests that change something never come here: aiohttp's errors do not prove well enough
that a request was not sent.

aiohttp repeats a GET by itself when a connection that it kept was closed. That is turned off, so that each attempt is
counted, logged, and let through the rate gate.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import math
import os
import select
import ssl
import weakref
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Any

import aiohttp
import anyio
import attrs
import httpx
from aiohttp import hdrs
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from multidict import CIMultiDict
from yarl import URL

from coreclaw_async import errors
from coreclaw_async._concurrency.clock import Clock
from coreclaw_async._concurrency.loops import call_soon
from coreclaw_async._http.backend import no_reply, unreadable
from coreclaw_async._http.body import BodyEncodingError, BodyTooLargeError, Unpacker
from coreclaw_async._http.headers import api_headers
from coreclaw_async._http.pool import SendProgress, TimeLimit
from coreclaw_async._http.settings import Settings
from coreclaw_async._wire.request import Request
from coreclaw_async._wire.response import Reply

if tuple(map(int, aiohttp.__version__.split(".")[:2])) < (3, 12):  # It may be there for something else.
    raise ImportError(f"aiohttp {aiohttp.__version__} is too old")

_KEEP_ALIVE_SECONDS = 30.0
_MAX_HEADER = 65_536
# How long a task that should have ended is waited for before it is cancelled once more.
_AGAIN = 0.05
_FIRST_ERROR = 400

_parse = functools.lru_cache(maxsize=256)(functools.partial(URL, encoded=True))


class TaskTimeLimit(TimeLimit):
    """
    The time limit of an attempt, as a timer of the event loop that cancels the task.

    It costs a fifth of a cancel scope. Hearing something does not move the timer, which looks for itself what was heard
    when it is due.
    """

    __slots__ = ("_cancelling", "_cancels", "_loop", "_silent_at", "_task", "_timer")

    def __init__(self, seconds: float, silence: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._ends_at = self._loop.time() + seconds
        self._silence = silence
        self._silent_at = math.inf
        self._cancels = 0

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        self._timer = self._loop.call_at(self._next_look(), self._look)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self._timer.cancel()
        if not self._cancels:
            return False
        for _ in range(self._cancels):
            left = self._task.uncancel()
        # Somebody else may have cancelled the task too, and that is not ours to swallow.
        return kind is asyncio.CancelledError and left <= self._cancelling

    @property
    def is_over(self) -> bool:
        """Whether the deadline itself has passed."""
        return self._loop.time() >= self._ends_at

    def hear(self) -> None:
        """Begin to count silence anew: something was sent or received."""
        self._silent_at = self._loop.time() + self._silence

    def _next_look(self) -> float:
        return min(self._ends_at, self._silent_at, self._loop.time() + self._silence)

    def _look(self) -> None:
        if self._loop.time() < min(self._ends_at, self._silent_at):
            self._timer = self._loop.call_at(self._next_look(), self._look)
            return
        self._cancels += 1
        self._task.cancel()
        # A cancellation can be lost, when a scope within ends in the same moment.
        self._timer = self._loop.call_later(_AGAIN, self._look)


class _NoConnectionError(aiohttp.ClientConnectionError):
    """No connection was made, so nothing was sent."""


class _Connector(aiohttp.TCPConnector):
    """A connector that gives out no connection which holds bytes of another answer, and leaves none half closed."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        super().__init__(
            limit=0,  # The client's own limiter stands in front of it.
            ssl=True if context is None else context,
            keepalive_timeout=_KEEP_ALIVE_SECONDS,
            resolver=aiohttp.ThreadedResolver(),  # As httpx looks names up, also where aiodns is installed.
        )
        self._process = os.getpid()
        self._made = 0

    @property
    def closed(self) -> bool:
        """Whether nothing can be sent: also in a forked child, whose connections belong to its parent."""
        return super().closed or self._process != os.getpid() or self._loop.is_closed()

    def __del__(self, _warnings: Any = None) -> None:
        """Do nothing: in a forked child, closing would take the parent's connections out of its event loop."""

    async def connect(self, req: aiohttp.ClientRequest, traces: Any, timeout: aiohttp.ClientTimeout) -> Connection:
        """Return a connection on which nothing has come that belongs to no request."""
        while True:
            made = self._made
            try:
                connection = await super().connect(req, traces, timeout)
            except TimeoutError:
                raise _NoConnectionError(f"no connection within {timeout.connect:.3g} s") from None
            except (aiohttp.ClientError, OSError) as error:
                raise _NoConnectionError(_described(error)) from None
            if made != self._made or _is_clean(connection):
                return connection
            connection.close()

    async def _create_connection(self, *args: Any, **kwargs: Any) -> ResponseHandler:
        self._made += 1
        return await super()._create_connection(*args, **kwargs)

    def _release(self, key: Any, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        if should_close or protocol.should_close:
            _abort(protocol)
        super()._release(key, protocol, should_close=should_close)

    @property
    def open(self) -> int:
        """Connections that exist, or are being made."""
        return len(self._acquired) + sum(map(len, self._conns.values()))

    def close_idle(self) -> None:
        """Close the connections that no request holds."""
        for idle in self._conns.values():
            for protocol, _since in idle:
                _abort(protocol)
        self._conns.clear()


def _abort(protocol: ResponseHandler) -> None:
    """Close a connection now; TLS would wait up to half a minute for the other side to say goodbye."""
    if protocol.transport is not None:
        protocol.transport.abort()


def _is_clean(connection: Connection) -> bool:
    """Return whether nothing has come since the last answer, not even the end of the connection."""
    protocol = connection.protocol
    if protocol is None or protocol.should_close or protocol.transport is None or _has_half_an_answer(protocol):
        return False
    return not _is_readable(protocol.transport.get_extra_info("socket").fileno())


def _has_half_an_answer(protocol: ResponseHandler) -> bool:
    """Return whether the parser of the last answer has read the beginning of another one; only a private name tells."""
    parser: Any = getattr(protocol, "_parser", None)
    try:
        return parser is not None and parser.feed_eof() is not None
    except Exception:  # noqa: BLE001 - what it has read is no HTTP
        return True


def _is_readable(descriptor: int) -> bool:
    if not hasattr(select, "poll"):  # pragma: no cover - Windows
        return bool(select.select([descriptor], [], [], 0)[0])
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


@attrs.frozen(eq=False)
class _Proxy:
    """The proxy of the environment, as aiohttp takes it: its password in a header, which no error shows."""

    url: URL | None = None
    authorization: str | None = attrs.field(default=None, repr=False)

    @classmethod
    def of(cls, url: httpx.URL | None) -> _Proxy:
        if url is None:
            return cls()
        bare = URL(str(url.copy_with(userinfo=b"")), encoded=True)
        if not url.userinfo:
            return cls(bare)
        packed = base64.b64encode(f"{url.username}:{url.password}".encode()).decode()
        return cls(bare, f"Basic {packed}")


class Sessions:
    """
    The sessions of one client, one for each event loop; none is opened before the first read.

    Args:
        base_url: Where the service is.
        proxy: An HTTP proxy on the way to it, or None.
        context: The TLS context for it, or None without TLS.
    """

    def __init__(self, base_url: httpx.URL, proxy: httpx.URL | None, context: ssl.SSLContext | None) -> None:
        self.base_url = base_url
        self.in_use = 0
        self.proxy = _Proxy.of(proxy)
        self._context = context
        self._loops: dict[asyncio.AbstractEventLoop, _LoopSession] = {}
        # For a client that nobody closes.
        weakref.finalize(self, _close_all, self._loops).atexit = False

    def backend(self, settings: Settings, clock: Clock) -> AiohttpBackend:
        """Return a backend for one client or light copy of it."""
        return AiohttpBackend(self, settings, clock)

    @staticmethod
    def is_here() -> bool:
        """Return whether the caller is a task of asyncio."""
        try:
            return asyncio.current_task() is not None
        except RuntimeError:  # No event loop runs, or one of trio.
            return False

    async def here(self) -> aiohttp.ClientSession:
        """Return the session of this event loop."""
        loop = asyncio.get_running_loop()
        found = self._loops.get(loop)
        if found is None:
            for other in [other for other in self._loops if other.is_closed()]:
                del self._loops[other]
            found = self._loops[loop] = _open(self._context)
            found.keeper = _keep(self._loops, loop, found.session)
            await anext(found.keeper)
        return found.session

    def make_room(self, most: int) -> None:
        """Close the idle connections of this event loop unless there are fewer than *most* with those in use."""
        found = self._loops.get(asyncio.get_running_loop())
        if found is not None and found.connector.open >= most:
            found.connector.close_idle()

    def close_idle(self) -> None:
        """Close the idle connections of this event loop."""
        found = self._loops.get(asyncio.get_running_loop())
        if found is not None:
            found.connector.close_idle()

    async def aclose(self) -> None:
        """Close the session of this event loop; those of others close with their loops."""
        found = self._loops.get(asyncio.get_running_loop()) if self.is_here() else None
        if found is not None and found.keeper is not None:
            await found.keeper.aclose()
        _close_all(self._loops)


@attrs.define(eq=False)
class _LoopSession:
    session: aiohttp.ClientSession
    connector: _Connector
    keeper: AsyncGenerator[None, None] | None = None


def _open(context: ssl.SSLContext | None) -> _LoopSession:
    connector = _Connector(context)
    session = aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        timeout=aiohttp.ClientTimeout(total=None),
        max_line_size=_MAX_HEADER,
        max_field_size=_MAX_HEADER,
    )
    # Without a public name; the tests count what is sent.
    session._retry_connection = False  # noqa: SLF001
    return _LoopSession(session, connector)


async def _keep(
    loops: dict[asyncio.AbstractEventLoop, _LoopSession],
    loop: asyncio.AbstractEventLoop,
    session: aiohttp.ClientSession,
) -> AsyncGenerator[None, None]:
    """Close the session when its event loop ends, which first closes the async generators that are suspended."""
    try:
        yield
    finally:
        loops.pop(loop, None)
        with anyio.CancelScope(shield=True):
            await session.close()


def _close_all(loops: dict[asyncio.AbstractEventLoop, _LoopSession]) -> None:
    """Have each event loop close its session."""
    for loop, found in loops.items():
        if not found.session.closed:
            call_soon(loop, _close_soon, found.session)
    loops.clear()


def _close_soon(session: aiohttp.ClientSession) -> None:
    _closing.add(task := asyncio.ensure_future(session.close()))
    task.add_done_callback(_closing.discard)


_closing: set[asyncio.Future[None]] = set()


class _Prepared:
    """The headers of reads with and without the key, prepared once; in slots, so that no repr shows them."""

    __slots__ = ("_public", "_with_key")

    def __init__(self, sessions: Sessions, settings: Settings) -> None:
        host = sessions.base_url.netloc
        self._public = _multidict(api_headers(host))
        self._with_key = _multidict(api_headers(host, settings.credentials))
        if sessions.proxy.authorization is not None and sessions.base_url.scheme == "http":
            for headers in (self._public, self._with_key):
                headers["Proxy-Authorization"] = sessions.proxy.authorization

    def of(self, request: Request) -> CIMultiDict[str]:
        return self._public if request.is_public else self._with_key


def _multidict(raw: list[tuple[bytes, bytes]]) -> CIMultiDict[str]:
    return CIMultiDict((name.decode("ascii"), value.decode("ascii")) for name, value in raw)


class AiohttpBackend:
    """Sends reads through the session of the running event loop."""

    def __init__(self, sessions: Sessions, settings: Settings, clock: Clock) -> None:
        self._sessions = sessions
        self._settings = settings
        self._clock = clock
        self._base_url = str(sessions.base_url).rstrip("/")
        self._headers = _Prepared(sessions, settings)
        self._options: dict[str, Any] = {
            "allow_redirects": False,
            # Only for making a connection: the whole attempt has a time limit of its own.
            "timeout": aiohttp.ClientTimeout(
                total=None, connect=settings.retry.connect_timeout, ceil_threshold=math.inf
            ),
        }
        if sessions.proxy.url is not None:
            self._options["proxy"] = sessions.proxy.url
            if sessions.proxy.authorization is not None and sessions.base_url.scheme == "https":
                self._options["proxy_headers"] = {"Proxy-Authorization": sessions.proxy.authorization}

    def time_limit(self, seconds: float, *, silence: float, connecting: float) -> TimeLimit:  # noqa: ARG002 - aiohttp's
        """Return what ends an attempt after so many seconds."""
        return TaskTimeLimit(seconds, silence)

    async def send(self, request: Request, progress: SendProgress) -> Reply:
        """Send *request* once and return its whole answer; see `Backend.send`."""
        sessions = self._sessions
        session = await sessions.here()
        sessions.in_use += 1
        failure: errors.CoreClawError
        try:
            progress.hand_over()
            response = await session.request(
                request.method, self._url(request), headers=self._headers.of(request), **self._options
            )
            progress.time_limit.hear()
            try:
                body = await self._read(request, response, progress)
            finally:
                if not response.closed:  # Its body has not come to its end.
                    response.close()
        except errors.CoreClawError:
            raise
        except Exception as error:  # noqa: BLE001 - aiohttp, asyncio, ssl
            is_sent = not isinstance(error, _NoConnectionError)
            failure = no_reply(request, _described(error) if is_sent else str(error), is_sent=is_sent)
        except BaseException as error:
            error.__traceback__ = None  # The frames of aiohttp hold the headers.
            raise
        else:
            return Reply(
                status_code=response.status,
                headers=response.headers,
                body=body,
                received_at=self._clock.time(),
                monotonic=self._clock.monotonic(),
                date=response.headers.get(hdrs.DATE, ""),
            )
        finally:
            sessions.in_use -= 1
        # Raised outside of the handler: aiohttp's errors and their frames hold the headers.
        raise failure

    def _url(self, request: Request) -> URL:
        path = self._base_url + request.path
        key = "" if request.is_public else self._settings.credentials.query()
        if key:
            return URL(f"{path}?{request.query}&{key}" if request.query else f"{path}?{key}", encoded=True)
        return _parse(f"{path}?{request.query}" if request.query else path)

    async def _read(self, request: Request, response: aiohttp.ClientResponse, progress: SendProgress) -> bytes:
        try:
            unpacker = Unpacker(
                response.headers.get(hdrs.CONTENT_ENCODING, ""), self._settings.max_response_bytes, progress.parts
            )
            content = response.content
            while not content.at_eof():
                chunk = await content.readany()
                progress.time_limit.hear()
                unpacker.feed(chunk)
            return unpacker.finish()
        except (BodyTooLargeError, BodyEncodingError) as error:
            if response.status >= _FIRST_ERROR:  # The status says more than an unreadable body.
                return b"".join(progress.parts)
            raise unreadable(request, response.status, error) from None
