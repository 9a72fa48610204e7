"""The way from httpcore to a socket: through anyio, on every event loop, and closed whatever httpcore was doing."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable
from typing import Any

import anyio
import anyio.abc
import httpcore
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSAttribute, TLSStream

from coreclaw_async._http.leftovers import readability

_BROKEN = (anyio.BrokenResourceError, anyio.ClosedResourceError, ssl.SSLError)


class Network(httpcore.AsyncNetworkBackend):
    """
    Makes one TCP connection, and can close it at any moment.

    httpcore forgets a connection that is cancelled during a TLS handshake, or while a SOCKS proxy is asked, and nothing
    would close the socket before the garbage collector finds it.
    """

    def __init__(self) -> None:
        self._stream: anyio.abc.SocketStream | None = None
        self._connecting = anyio.CancelScope()
        self._is_closed = False

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002 - never given
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002 - never given
    ) -> httpcore.AsyncNetworkStream:
        """
        Connect to *host*, trying its addresses as anyio does.

        Raises:
            httpcore.ConnectTimeout: It took longer than *timeout* seconds.
            httpcore.ConnectError: It failed, or this was closed meanwhile.
        """
        if timeout is not None:
            self._connecting.deadline = anyio.current_time() + timeout
        try:
            with self._connecting:
                self._stream = await anyio.connect_tcp(host, port)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        if self._is_closed:
            await self.aclose()
            raise httpcore.ConnectError("the connection was closed while it was made")
        if self._stream is None:
            raise httpcore.ConnectTimeout(f"no connection within {timeout} s")
        return NetworkStream(self._stream)

    async def aclose(self) -> None:
        """Close the connection; one that is being made fails."""
        self._is_closed = True
        if self._stream is not None:
            with anyio.CancelScope(shield=True):
                await self._stream.aclose()
        else:
            self._connecting.cancel()


class NetworkStream(httpcore.AsyncNetworkStream):
    """
    A connection as httpcore uses it.

    Reading and writing take no timeout: each attempt has a time limit of its own, and httpcore gives none.
    """

    def __init__(self, stream: anyio.abc.ByteStream) -> None:
        self._stream = stream
        self._socket = stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - anyio's
        self._is_readable: Callable[[], bool] | None = None

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - never given
        """
        Return the next bytes, or none at the end.

        Raises:
            httpcore.ReadError: The connection broke, or was closed.
        """
        try:
            return await self._stream.receive(max_bytes)
        except anyio.EndOfStream:
            return b""
        except _BROKEN as error:
            raise httpcore.ReadError(str(error)) from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - never given
        """
        Hand all of *buffer* to the operating system.

        Raises:
            httpcore.WriteError: The connection broke, or was closed.
        """
        if not buffer:
            return
        try:
            await self._stream.send(buffer)
        except (*_BROKEN, anyio.EndOfStream) as error:  # TLS tells of the end when it is written to.
            raise httpcore.WriteError(str(error)) from error

    async def aclose(self) -> None:
        """Close it."""
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        """
        Return the same connection with TLS. Whoever made the connection closes it if that fails.

        Raises:
            httpcore.ConnectTimeout: The handshake took longer than *timeout* seconds.
            httpcore.ConnectError: It failed.
        """
        try:
            with anyio.move_on_after(timeout):
                return NetworkStream(
                    await TLSStream.wrap(
                        self._stream,
                        server_side=False,
                        hostname=server_hostname,
                        ssl_context=ssl_context,
                        standard_compatible=False,
                    )
                )
        except (*_BROKEN, anyio.EndOfStream) as error:
            raise httpcore.ConnectError(str(error)) from error
        raise httpcore.ConnectTimeout(f"no TLS handshake within {timeout} s")

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore asks for by name, or None."""
        if info == "is_readable":
            return self._has_more()
        if info == "ssl_object":
            return self._stream.extra(TLSAttribute.ssl_object, None)  # noqa: S610 - anyio's
        return None

    def _has_more(self) -> bool:
        """Return whether something has come that was not read, or the end of the connection."""
        descriptor = self._socket.fileno()
        if descriptor < 0:
            return True
        if self._is_readable is None:
            self._is_readable = readability(descriptor)
        return self._is_readable()
