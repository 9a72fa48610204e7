"""
One connection to one host, as a transport of httpx.

httpx's own transport has a pool of httpcore's. That looks through its connections with each request and each answer,
and does not close one that is cancelled before it is ready.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import httpcore
import httpx

from coreclaw_async._http.leftovers import connection_has_leftovers
from coreclaw_async._http.network import Network
from coreclaw_async._http.pool import SEND_PROGRESS, SendProgress

_KEEP_ALIVE_SECONDS = 30.0
_ERRORS: dict[type[Exception], type[httpx.TransportError]] = {
    httpcore.ConnectError: httpx.ConnectError,
    httpcore.ConnectTimeout: httpx.ConnectTimeout,
    httpcore.LocalProtocolError: httpx.LocalProtocolError,
    httpcore.ProxyError: httpx.ProxyError,
    httpcore.ReadError: httpx.ReadError,
    httpcore.RemoteProtocolError: httpx.RemoteProtocolError,
    httpcore.WriteError: httpx.WriteError,
}


_HTTPCORE = tuple(_ERRORS)


def _as_httpx_has_it(error: Exception) -> httpx.TransportError:
    return _ERRORS[type(error)](str(error))


class SingleConnection(httpx.AsyncBaseTransport):
    """
    A transport of one connection, for one request at a time; it is made when needed, and again when it was closed.

    Args:
        url: Any URL of the host.
        context: Which certificates are trusted there.
        proxy: The proxy on the way to it, or None.
    """

    def __init__(self, url: httpx.URL, context: ssl.SSLContext, proxy: httpx.Proxy | None) -> None:
        # An HTTP proxy gets the host as it stands in a URL, and httpcore writes what it is given.
        self._has_brackets = proxy is not None and not proxy.url.scheme.startswith("socks")
        self._origin = self._as_httpcore_takes_it(url).origin
        self._context = context
        self._proxy = None if proxy is None else _proxy_of_httpcore(proxy)
        self._network: Network | None = None
        self._connection: httpcore.AsyncConnectionInterface | None = None
        self._is_closed = False

    @property
    def has_leftovers(self) -> bool:
        """Whether it is idle and holds bytes that belong to no request."""
        return self._connection is not None and connection_has_leftovers(self._connection)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send *request*; without an answer, the connection is closed."""
        before, connection = self._connection, await self._ready()
        extensions = request.extensions if connection is before else _traced(request.extensions)
        assert isinstance(request.stream, httpx.AsyncByteStream)
        try:
            reply: Any = await connection.handle_async_request(
                httpcore.Request(
                    request.method,
                    self._as_httpcore_takes_it(request.url),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=extensions,
                )
            )
        except _HTTPCORE as error:
            await self._fail(request)
            raise _as_httpx_has_it(error) from error
        except BaseException:
            await self._fail(request)
            raise
        return httpx.Response(
            reply.status, headers=reply.headers, stream=_Body(reply.stream), extensions=reply.extensions
        )

    def _as_httpcore_takes_it(self, url: httpx.URL) -> httpcore.URL:
        host = b"[%b]" % url.raw_host if self._has_brackets and b":" in url.raw_host else url.raw_host
        return httpcore.URL(scheme=url.raw_scheme, host=host, port=url.port, target=url.raw_path)

    async def _ready(self) -> httpcore.AsyncConnectionInterface:
        """Return the connection, or a new one where it was closed, or has been idle for too long."""
        connection = self._connection
        if connection is not None and not connection.is_closed() and not connection.has_expired():
            return connection
        await self._disconnect()
        if self._is_closed:
            raise httpx.ConnectError("the connection was closed")
        self._network = Network()
        maker = httpcore.AsyncConnectionPool(  # It is used for nothing else.
            ssl_context=self._context,
            proxy=self._proxy,
            keepalive_expiry=_KEEP_ALIVE_SECONDS,
            network_backend=self._network,
        )
        self._connection = maker.create_connection(self._origin)
        return self._connection

    async def _fail(self, request: httpx.Request) -> None:
        """Close the connection, and tell *request* if an answer to it has begun."""
        progress: SendProgress | None = request.extensions.get(SEND_PROGRESS)
        if progress is not None and self._network is not None and self._network.has_heard:
            progress.fenced = None
        await self._disconnect()

    async def _disconnect(self) -> None:
        network, self._network, self._connection = self._network, None, None
        if network is not None:
            await network.aclose()

    async def aclose(self) -> None:
        """Close the connection for good, also while it is being made."""
        self._is_closed = True
        await self._disconnect()


def _traced(extensions: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Return *extensions* with a trace, by which the time that connecting takes is limited."""
    progress: SendProgress | None = extensions.get(SEND_PROGRESS)
    if progress is None or "trace" in extensions:
        return extensions
    return {**extensions, "trace": progress.be_traced()}


def _proxy_of_httpcore(proxy: httpx.Proxy) -> httpcore.Proxy:
    url = proxy.url
    return httpcore.Proxy(
        httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
        auth=proxy.raw_auth,
        headers=proxy.headers.raw,
        ssl_context=proxy.ssl_context,
    )


class _Body(httpx.AsyncByteStream):
    """The body of an answer; closing it makes the connection ready for the next request, or closes it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._parts: AsyncIterator[bytes] = aiter(stream)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._parts)
        except _HTTPCORE as error:
            raise _as_httpx_has_it(error) from error

    async def aclose(self) -> None:
        await self._stream.aclose()
        with contextlib.suppress(Exception):  # trio warns of a generator that is abandoned.
            while True:  # What was read before the connection was closed, in thousands of chunks perhaps.
                await anext(self._parts)
