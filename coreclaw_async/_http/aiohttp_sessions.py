"""The connections of reads: one connector of aiohttp for each event loop."""

from __future__ import annotations

import asyncio
import base64
import ssl
import weakref
from collections.abc import AsyncGenerator

import anyio
import attrs
import httpx
from multidict import CIMultiDict
from yarl import URL

from coreclaw_async._concurrency.loops import call_soon, is_task_of_asyncio
from coreclaw_async._http.aiohttp_connector import Connector, MakeRoom


@attrs.frozen(eq=False)
class Proxy:
    """
    The proxy of the environment, as aiohttp takes it: with its password in a header, which no error shows.

    Attributes:
        url: Where it is, without user and password; None for no proxy.
        headers: What it is sent.
    """

    url: URL | None = None
    headers: tuple[tuple[bytes, bytes], ...] = attrs.field(default=(), repr=False)

    @classmethod
    def of(cls, url: httpx.URL | None) -> Proxy:
        """Return the proxy at *url*."""
        if url is None:
            return cls()
        bare = URL(str(url.copy_with(userinfo=b"")), encoded=True)
        if not url.userinfo:
            return cls(bare)
        packed = base64.b64encode(f"{url.username}:{url.password}".encode())
        return cls(bare, ((b"Proxy-Authorization", b"Basic " + packed),))


def _multidict(raw: tuple[tuple[bytes, bytes], ...]) -> CIMultiDict[str]:
    return CIMultiDict((name.decode("ascii"), value.decode("ascii")) for name, value in raw)


class Sessions:
    """
    The connectors of one client, one for each event loop; none is made before the first read.

    An `aiohttp.ClientSession` does for each request what reads do not need, and sends some of them twice.

    Args:
        base_url: Where the service is.
        proxy: An HTTP proxy on the way to it, or None.
        context: The TLS context for it, or None without TLS.
        make_room: Closes idle connections of other requests; weak, as nothing here may keep the client alive.
    """

    def __init__(
        self, base_url: httpx.URL, proxy: httpx.URL | None, context: ssl.SSLContext | None, make_room: MakeRoom
    ) -> None:
        self.base_url = base_url
        self.in_use = 0
        self.proxy = Proxy.of(proxy)
        self._context = context
        self._make_room = make_room
        self._loops: dict[asyncio.AbstractEventLoop, Connector] = {}
        # For a client that nobody closes.
        weakref.finalize(self, _close_all, self._loops).atexit = False

    async def here(self) -> Connector:
        """Return the connector of this event loop."""
        loop = asyncio.get_running_loop()
        found = self._found(loop)
        if found is None:
            for other in [other for other in self._loops if other.is_closed()]:
                del self._loops[other]
            url, headers = URL(str(self.base_url), encoded=True), _multidict(self.proxy.headers)
            found = self._loops[loop] = Connector(url, self.proxy.url, headers, self._context, self._make_room)
            found.keeper = _keep(self._loops, loop, found)
            await anext(found.keeper)
        return found

    def _found(self, loop: asyncio.AbstractEventLoop) -> Connector | None:
        """Return the connector of *loop*, unless it is of the parent of a forked child that goes on in it."""
        found = self._loops.get(loop)
        if found is not None and found.closed:  # pragma: no cover - in forked children, which measure nothing
            _inherited.append(self._loops.pop(loop))
            return None
        return found

    @property
    def open(self) -> int:
        """Connections that exist now, in all event loops."""
        return sum(connector.open for connector in list(self._loops.values()))

    def close_idle(self, *, at_least: int = 0) -> None:
        """Close the idle connections of this event loop where it has *at_least* so many with those in use."""
        found = self._found(asyncio.get_running_loop())
        if found is not None and found.open >= at_least:
            found.close_idle()

    async def aclose(self) -> None:
        """Close the connector of this event loop; those of others close with their loops."""
        found = self._loops.get(asyncio.get_running_loop()) if is_task_of_asyncio() else None
        if found is not None and found.keeper is not None:
            await found.keeper.aclose()
        _close_all(self._loops)


async def _keep(
    loops: dict[asyncio.AbstractEventLoop, Connector], loop: asyncio.AbstractEventLoop, connector: Connector
) -> AsyncGenerator[None, None]:
    """Close the connector when its event loop ends, which first closes the async generators that are suspended."""
    try:
        yield
    finally:
        loops.pop(loop, None)
        if not connector.closed:
            with anyio.CancelScope(shield=True):
                await connector.close()


def _close_all(loops: dict[asyncio.AbstractEventLoop, Connector]) -> None:
    """Have each event loop close its connector."""
    for loop, connector in loops.items():
        if not connector.closed:
            call_soon(loop, _close_soon, connector)
    loops.clear()


def _close_soon(connector: Connector) -> None:
    _closing.add(task := asyncio.ensure_future(connector.close()))
    task.add_done_callback(_closing.discard)


_closing: set[asyncio.Future[None]] = set()
# Connectors of a forked child's parent. Ending them there would take their connections out of the parent's loop too.
_inherited: list[Connector] = []
