"""What a client and its light copies share: the httpx client, the limiter, and whether they are closed."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakMethod

import anyio
import httpx

from coreclaw_async._concurrency.loops import EventLoop, current_loop, is_asyncio, is_task_of_asyncio
from coreclaw_async._extras import why_not_imported
from coreclaw_async._http.backend import BackendChoice
from coreclaw_async._http.leftovers import client_has_leftovers, has_leftovers
from coreclaw_async._http.libraries import HttpClient, kinds
from coreclaw_async._http.pool import ConnectionPool
from coreclaw_async._http.route import Route
from coreclaw_async._wire.timestamps import ClockSteps, SeenDate
from coreclaw_async.errors import ConfigurationError

if TYPE_CHECKING:
    from coreclaw_async._http.aiohttp_sessions import Sessions

_FIRST_WIDTH = 24
_SLOW_ANSWER = 0.25
_CLOSED = "the client is closed; make a new one"


def _tells_what_leaves(transport: object) -> bool:
    return type(transport) in kinds("AsyncHTTPTransport") or getattr(transport, "tells_what_leaves", False) is True


@functools.cache
def _sessions_class() -> type[Sessions] | str:
    """Return what uses aiohttp, or why that cannot be imported; it takes a while."""
    try:
        from coreclaw_async._http.aiohttp_sessions import Sessions
    except Exception as error:  # noqa: BLE001 - a broken library raises anything
        return why_not_imported(error, "aiohttp", need="it", requirement="coreclaw-async[speed]")
    return Sessions


class _NoCookies(httpx.Cookies):
    """A jar that stays empty: reading the cookies of each answer would cost a tenth of a call, for nothing."""

    def extract_cookies(self, response: httpx.Response) -> None:
        """Take nothing."""


class _ApiClient(httpx.AsyncClient):
    """An httpx client without cookies."""

    @property
    def cookies(self) -> httpx.Cookies:
        """The empty jar."""
        return _NO_COOKIES

    @cookies.setter
    def cookies(self, cookies: object) -> None:  # noqa: ARG002 - the name is httpx's
        raise AttributeError("this client keeps no cookies")


_NO_COOKIES = _NoCookies()


class Limiter:
    """
    Limits how many requests of one event loop may be under way.

    A few at first, and one more with each answer and after each quarter of a second in the queue, up to the client's
    ``max_connections``: a service that limits the rate must be able to say so before hundreds were sent.
    """

    def __init__(self, most: int) -> None:
        first = min(most, _FIRST_WIDTH)
        self._semaphore = anyio.Semaphore(first, fast_acquire=True)
        self._room = most - first

    def enter_now(self) -> bool:
        """Enter without waiting and return True, or return False when that is not possible."""
        try:
            self._semaphore.acquire_nowait()
        except anyio.WouldBlock:
            return False
        return True

    async def enter(self) -> None:
        """Wait for a place."""
        while self._room and not self._semaphore.value:
            with anyio.move_on_after(_SLOW_ANSWER) as moment:
                await self._semaphore.acquire()
            if not moment.cancelled_caught:
                return
            self.widen()  # The requests under way may take long by contract.
        await self._semaphore.acquire()

    def leave(self) -> None:
        """Give the place to the next one."""
        self._semaphore.release()

    def widen(self) -> None:
        """Allow one more request at a time, up to ``max_connections``."""
        if self._room:
            self._room -= 1
            self._semaphore.release()


class Connections:
    """
    One `httpx.AsyncClient`, and in front of it a limiter for each event loop.

    Nothing is opened before the first request.
    """

    def __init__(
        self,
        *,
        base_url: httpx.URL,
        max_connections: int,
        http_client: HttpClient | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        backend: BackendChoice = "auto",
        route: Route | None = None,
    ) -> None:
        self.base_url = base_url
        self.route = Route() if route is None else route
        self.max_connections = max_connections
        self.is_closed = False
        self.foreign_transport = transport
        self.last_date = SeenDate()
        """The ``Date`` of the service's latest answer, and when it came."""
        self.clock_steps = ClockSteps()
        """By how much this machine's clock was set while the client was used."""
        self.given_client = http_client
        self._making = threading.Lock()
        self._pool: ConnectionPool | None = None
        self._client = http_client
        self.are_given = http_client is not None or transport is not None
        """Whether the caller's client or transport makes them."""
        self._choice: BackendChoice = "httpx" if self.are_given else backend
        self._sessions: Sessions | None = None
        # For each event loop, as anyio keeps its variables.
        self._limiters: WeakKeyDictionary[EventLoop, Limiter] = WeakKeyDictionary()

    @property
    def connections_in_use(self) -> int:
        """Connections that a request holds now; 0 with a client or transport of the caller."""
        return sum(each.in_use for each in (self._pool, self._sessions) if each is not None)

    @property
    def connections_open(self) -> int:
        """Connections that exist now; 0 with a client or transport of the caller."""
        return sum(each.open for each in (self._pool, self._sessions) if each is not None)

    @property
    def client(self) -> HttpClient:
        """The httpx client that every API request goes through."""
        self.check_open()
        if self._client is None:
            self._make_client()
        client = self._client
        if client is None:  # pragma: no cover - another thread has closed it just now
            raise ConfigurationError(_CLOSED)
        return client

    def _make_client(self) -> None:
        with self._making:  # Several threads may each have an event loop.
            if self._client is not None:  # pragma: no cover - another thread was quicker
                return
            transport = self.foreign_transport
            if transport is None:
                transport = self._pool = ConnectionPool(
                    functools.partial(self.route.transport_to, self.base_url), self.max_connections, self._make_room
                )
            self._client = _ApiClient(transport=transport, trust_env=False)

    def _make_room(self, pooled: int) -> None:
        """Close idle connections of reads where there would be too many with *pooled* others and one more."""
        if self._sessions is not None and is_task_of_asyncio():
            self._sessions.close_idle(at_least=self.max_connections - pooled)

    async def _make_room_for_reads(self, reads: int) -> None:
        """Close idle connections of other requests where there are too many with *reads* connections of reads."""
        if self._pool is not None:
            await self._pool.close_idle(keep=self.max_connections - reads)

    @property
    def is_traced(self) -> bool:
        """Whether nothing can send a request without telling httpcore's ``trace`` extension of it."""
        if self.given_client is not None:
            # A subclass may send requests in its own way.
            transports = [getattr(self.given_client, "_transport", None)]
            transports += getattr(self.given_client, "_mounts", {}).values()
            is_plain = type(self.given_client) in kinds("AsyncClient")
            return is_plain and all(map(_tells_what_leaves, filter(None, transports)))
        return self.foreign_transport is None or _tells_what_leaves(self.foreign_transport)

    @property
    def has_leftovers(self) -> Callable[[], bool] | None:
        """A function that finds bytes left over on connections of the caller, or None for our own."""
        if self.given_client is not None:
            return functools.partial(client_has_leftovers, self.given_client)
        if self.foreign_transport is not None:
            return functools.partial(has_leftovers, self.foreign_transport)
        return None

    def sessions(self) -> Sessions | None:
        """
        Return what sends reads through aiohttp in the running event loop, or None where they go through httpx.

        Raises:
            ConfigurationError: The client is to use aiohttp, and cannot here.
        """
        if self._choice == "httpx":
            return None
        if self._sessions is not None and is_task_of_asyncio():
            return self._sessions
        problem = self._make_sessions()
        if problem is None:
            return self._sessions
        if self._choice == "aiohttp":
            raise ConfigurationError(f"backend='aiohttp' cannot be used: {problem}")
        return None

    def _make_sessions(self) -> str | None:
        """Make the sessions, and return why they cannot be used here, or None when they can."""
        if not is_asyncio():
            return "it works under asyncio only"
        if self._sessions is not None:
            return None
        kind = _sessions_class()
        if isinstance(kind, str):
            return kind
        choice = self.route.proxy_to(self.base_url)
        if choice.url is not None and choice.url.scheme != "http":
            return f"{choice.shown} is a proxy of scheme {choice.url.scheme!r}, and aiohttp can use http only"
        with self._making:
            if self._sessions is None:  # pragma: no branch - another thread was quicker
                context = self.route.context_for(self.base_url) if self.base_url.scheme == "https" else None
                self._sessions = kind(self.base_url, choice.url, context, WeakMethod(self._make_room_for_reads))
        return None

    def limiter(self) -> Limiter:
        """Return the limiter of the running event loop."""
        loop = current_loop()
        limiter = self._limiters.get(loop)
        if limiter is None:
            limiter = self._limiters[loop] = Limiter(self.max_connections)
        return limiter

    async def close_idle(self) -> None:
        """Close our idle connections in this event loop: what silenced one may have silenced all."""
        if self._pool is not None:
            await self._pool.close_idle()
        if self._sessions is not None and is_task_of_asyncio():
            self._sessions.close_idle()

    @property
    def why_closed(self) -> str | None:
        """Why nothing can be sent any more, or None."""
        if self.is_closed:
            return _CLOSED
        if self.given_client is not None and self.given_client.is_closed:
            return "the httpx client that was given as http_client is closed"
        return None

    def check_open(self) -> None:
        """Raise when nothing can be sent any more."""
        why = self.why_closed
        if why is not None:
            raise ConfigurationError(why)

    async def aclose(self) -> None:
        """Close what this client opened, but not the caller's httpx client. A second call does nothing."""
        self.is_closed = True
        if self._sessions is not None:
            await self._sessions.aclose()
        if self._client is not None and self.given_client is None:
            client, self._client = self._client, None
            await client.aclose()
