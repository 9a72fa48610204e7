"""The way from httpcore to a socket: through anyio, on every event loop, and closed whatever httpcore was doing."""

from __future__ import annotations

import contextlib
import math
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import anyio
import anyio.abc
import httpcore
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSAttribute, TLSStream

from coreclaw_async._concurrency.groups import task_group
from coreclaw_async._concurrency.loops import is_asyncio
from coreclaw_async._http.leftovers import readability

# An operating system takes so much at once, also where the other side reads nothing.
_TAKEN_AT_ONCE = 16_384
# How much of an answer is read while its request is still being sent.
_MAX_EARLY = 65_536
# So much is sent at once where a server may answer early, and so long it may take none of it when it has answered.
_PIECE = 65_536
_STALLED = 2.0
_REFUSALS = (b"4", b"5")
_BROKEN = (anyio.BrokenResourceError, anyio.ClosedResourceError, ssl.SSLError)


class Network(httpcore.AsyncNetworkBackend):
    """
    Makes one TCP connection, and can close it at any moment.

    httpcore forgets a connection that is cancelled during a TLS handshake, or while a SOCKS proxy is asked, and nothing
    would close the socket before the garbage collector finds it.
    """

    def __init__(self) -> None:
        self._stream: TcpStream | None = None
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
                self._stream = TcpStream(await anyio.connect_tcp(host, port))
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        if self._is_closed:
            await self.aclose()
            raise httpcore.ConnectError("the connection was closed while it was made")
        if self._stream is None:
            raise httpcore.ConnectTimeout(f"no connection within {timeout} s")
        return NetworkStream(self._stream, self._stream)

    @property
    def has_heard(self) -> bool:
        """Whether something has come, be it the beginning of an answer; behind TLS where there is TLS."""
        return self._stream is not None and self._stream.has_heard

    async def aclose(self) -> None:
        """Close the connection; one that is being made fails."""
        self._is_closed = True
        if self._stream is not None:
            with anyio.CancelScope(shield=True):
                await self._stream.aclose()
        else:
            self._connecting.cancel()


class TcpStream(anyio.abc.ByteStream):
    """
    A TCP connection from which an answer can still be read when a request was not sent whole.

    Otherwise asyncio closes a socket that it cannot write to, with what has come over it, and anyio's TLS reads no more
    once something was not sent. So what is above is not told.

    Args:
        stream: The connection, as anyio has it.

    Attributes:
        has_heard: Whether something has come, behind TLS where there is TLS.
        has_stopped: Whether nothing more is sent, as something was not sent whole.
        stops_at: When sending stops, on the clock of the event loop.
    """

    def __init__(self, stream: anyio.abc.SocketStream) -> None:
        self.transport_stream = stream  # As the streams of anyio call what is below them.
        self.has_heard = False
        self.has_stopped = False
        self.stops_at = math.inf
        self._keeps_answer = False
        self._sending: anyio.CancelScope | None = None
        self._spare: socket.socket | None = None

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """What anyio knows about the connection."""
        return self.transport_stream.extra_attributes

    def keep_answer(self) -> None:
        """Have what comes from now on be readable also where not all is sent."""
        if self._keeps_answer:
            return
        self._keeps_answer = True
        if is_asyncio():
            raw = self.transport_stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - anyio's
            with contextlib.suppress(OSError):  # It was closed, or the process can open no more files.
                self._spare = socket.fromfd(raw.fileno(), raw.family, raw.type)
                self._spare.settimeout(0)

    def stop_by(self, time: float) -> None:
        """Send nothing more after *time*, on the clock of the event loop."""
        self.stops_at = time
        if self._sending is not None:  # pragma: no branch - an answer that comes before all else is a matter of chance
            self._sending.deadline = time

    def stop(self) -> None:
        """Send nothing more."""
        self.has_stopped = True
        if self._sending is not None:  # pragma: no branch - as above
            self._sending.cancel()

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        """Return the next bytes, also of a connection that broke when it was written to."""
        try:
            return await self.transport_stream.receive(max_bytes)
        except (anyio.BrokenResourceError, anyio.EndOfStream):
            rest = b""
            if self._spare is not None:
                with contextlib.suppress(OSError):
                    rest = self._spare.recv(max_bytes)
            if rest:
                return rest
            raise

    async def send(self, item: bytes) -> None:
        """Hand all of *item* to the operating system, or to asyncio."""
        if not self._keeps_answer:
            await self.transport_stream.send(item)
            return
        with contextlib.suppress(anyio.BrokenResourceError), anyio.CancelScope(deadline=self.stops_at) as scope:
            self._sending = scope
            await self.transport_stream.send(item)
            return
        self.has_stopped = True

    async def send_eof(self) -> None:  # pragma: no cover - a `ByteStream` has it, and nobody calls it
        """Send nothing more."""
        await self.transport_stream.send_eof()

    async def aclose(self) -> None:
        """Close the connection."""
        if self._spare is not None:
            self._spare.close()
        await self.transport_stream.aclose()


class NetworkStream(httpcore.AsyncNetworkStream):
    """
    A connection as httpcore uses it.

    Reading and writing take no timeout: each attempt has a time limit of its own, and httpcore gives none.

    Args:
        stream: What is read and written.
        tcp: The connection below it.
    """

    def __init__(self, stream: anyio.abc.ByteStream, tcp: TcpStream) -> None:
        self._stream = stream
        self._tcp = tcp
        self._socket = stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - anyio's
        self._is_readable: Callable[[], bool] | None = None
        self._early = b""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - never given
        """
        Return the next bytes, or none at the end.

        Raises:
            httpcore.ReadError: The connection broke, or was closed.
        """
        early, self._early = self._early[:max_bytes], self._early[max_bytes:]
        if early:
            return early
        try:
            return await self._receive(max_bytes)
        except anyio.EndOfStream:
            return b""
        except _BROKEN as error:
            raise httpcore.ReadError(str(error)) from error

    async def _receive(self, max_bytes: int) -> bytes:
        received = await self._stream.receive(max_bytes)
        self._tcp.has_heard = True
        return received

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - never given
        """
        Hand all of *buffer* to the operating system.

        Raises:
            httpcore.WriteError: The connection broke, or was closed; or the server has refused what it has not read
                yet, or has answered it and reads no more. httpcore then reads the answer.
        """
        if not buffer:
            return
        try:
            if len(buffer) <= _TAKEN_AT_ONCE:
                await self._stream.send(buffer)
            else:
                await self._send_unless_answered(buffer)
        except (*_BROKEN, anyio.EndOfStream) as error:  # TLS tells of the end when it is written to.
            raise httpcore.WriteError(str(error)) from error
        if self._tcp.has_stopped:
            raise httpcore.WriteError("not all was sent")

    async def _send_unless_answered(self, buffer: bytes) -> None:
        """Send *buffer*, unless the server answers before it has read all of it: with an error, or to read no more."""
        tcp, failure = self._tcp, None
        tcp.keep_answer()
        async with task_group() as group:
            group.start_soon(self._hear_answer)
            try:
                for start in range(0, len(buffer), _PIECE):
                    await self._stream.send(buffer[start : start + _PIECE])
                    if tcp.has_stopped:
                        break
                    if tcp.stops_at != math.inf:
                        tcp.stop_by(anyio.current_time() + _STALLED)
            except (*_BROKEN, anyio.EndOfStream) as error:
                failure = error
            group.cancel_scope.cancel()
        tcp.stops_at = math.inf
        if failure is not None:
            raise failure

    async def _hear_answer(self) -> None:
        """Read what comes while a request is sent; stop sending at a refusal, or when it stalls after a success."""
        with contextlib.suppress(*_BROKEN, anyio.EndOfStream):
            while (kind := _kind_of(self._early)) not in _REFUSALS:
                if kind and self._tcp.stops_at == math.inf:
                    self._tcp.stop_by(anyio.current_time() + _STALLED)
                if len(self._early) > _MAX_EARLY:
                    return
                self._early += await self._receive(_MAX_EARLY)
            self._tcp.stop()

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
                stream = await TLSStream.wrap(
                    self._stream,
                    server_side=False,
                    hostname=None if server_hostname is None else server_hostname.strip("[]"),
                    ssl_context=ssl_context,
                    standard_compatible=False,
                )
                self._tcp.has_heard = False
                return NetworkStream(stream, self._tcp)
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
        if self._early or descriptor < 0:
            return True
        if self._is_readable is None:
            self._is_readable = readability(descriptor)
        return self._is_readable()


def _kind_of(answer: bytes) -> bytes:
    """Return the first digit of the status of *answer*, behind interim answers; nothing before its status line."""
    while answer[:7] == b"HTTP/1." and answer[9:10] == b"1":
        answer = answer.partition(b"\r\n\r\n")[2]
    return answer[9:10] if answer[:7] == b"HTTP/1." else b""
