"""An httpx transport to a fake service in memory: no sockets, and connections that are lost on purpose."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qsl

import httpx
from anyio.lowlevel import checkpoint
from attrs import define

from coreclaw_async.testing._api.dispatch import IncomingRequest
from coreclaw_async.testing._serving.pieces import body_pieces

if TYPE_CHECKING:
    from coreclaw_async.testing._api.answers import Answer
    from coreclaw_async.testing._serving.backend import Backend, Delivery
    from coreclaw_async.testing._state.clock import Clock
    from coreclaw_async.testing.faults import Fault

_LOSSES = (httpx.ReadError, httpx.RemoteProtocolError)


@define(eq=False)
class _Patience:
    """
    The client's read timeout, measured by the service's clock.

    Attributes:
        limit: Seconds for which the client waits for the next bytes, or infinity.
        spent: Seconds it has waited for them so far.
    """

    request: httpx.Request
    clock: Clock
    limit: float
    spent: float = 0.0

    async def sleep(self, seconds: float) -> None:
        """Let the client wait, for `limit` seconds in all."""
        left = self.limit - self.spent
        if seconds > left:
            await self.clock.sleep(left)
            raise httpx.ReadTimeout("no answer within the read timeout", request=self.request)
        await self.clock.sleep(seconds)
        self.spent += seconds


Trace: TypeAlias = Callable[[str, dict[str, Any]], Awaitable[None]]


class MemoryTransport:
    """Carries requests to a backend and answers back, within one process."""

    def __init__(self, backend: Callable[[], Backend]) -> None:
        self._backend = backend
        self._lost = 0

    async def handle(self, request: httpx.Request) -> httpx.Response:
        """
        Answer `request`.

        Raises:
            httpx.TransportError: A fault, a read timeout, or a host that does not exist here.
        """
        trace: Trace | None = request.extensions.get("trace")
        if trace is not None:  # As httpcore reports its progress.
            await trace("connection.connect_tcp.started", {})
        body = await request.aread()
        await checkpoint()  # Sent: from here on the request may have taken effect although its client is cancelled.
        backend = self._backend()
        incoming = self._read(request, body, backend)
        if not incoming.site:
            with backend.lock:
                backend.keep(backend.record(incoming, None))
            own = backend.world.switches.base_url
            raise httpx.ConnectError(
                f"no such host: {incoming.host}; this fake service is {own}: give the client its base_url "
                "(CORECLAW_BASE_URL may name another one)",
                request=request,
            )
        sent = None if trace is None else partial(trace, "http11.send_request_headers.started", {"request": None})
        patience = _patience_for(request, backend.world.clock)
        delivery = await backend.exchange(incoming, pause=patience.sleep, wait=patience.sleep, accepted=sent)
        await checkpoint()
        return await self._deliver(delivery, request, patience)

    def _read(self, request: httpx.Request, body: bytes, backend: Backend) -> IncomingRequest:
        raw_path, _, raw_query = request.url.raw_path.decode("ascii").partition("?")
        return IncomingRequest(
            site=_site_of(request.url, backend),
            method=request.method,
            host=request.url.netloc.decode("ascii"),
            path=raw_path,
            query=dict(parse_qsl(raw_query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in request.headers.items()},
            body=body,
        )

    async def _deliver(self, delivery: Delivery, request: httpx.Request, patience: _Patience) -> httpx.Response:
        fault, answer = delivery.fault, delivery.answer
        if fault.ending == "refuse":
            raise httpx.ConnectError("connection refused", request=request)
        if fault.ending == "stall":
            await patience.sleep(math.inf)
        if answer is None:
            raise self._loss(fault)("the connection was lost", request=request)
        loss = self._loss(fault) if fault.ending == "truncate" else None
        return httpx.Response(
            answer.status,
            headers=answer.header_items,
            stream=_BodyStream(answer, fault, patience, loss),
            extensions={"http_version": b"HTTP/1.1"},
            request=request,
        )

    def _loss(self, fault: Fault) -> type[httpx.TransportError]:
        """Return the exception for a lost connection; httpx has two for the same loss, so they take turns."""
        if fault.error is not None:
            return fault.error
        self._lost += 1
        return _LOSSES[self._lost % 2]


class _BodyStream(httpx.AsyncByteStream):
    """The body of an answer: in pieces, with pauses, or cut short."""

    def __init__(
        self, answer: Answer, fault: Fault, patience: _Patience, loss: type[httpx.TransportError] | None
    ) -> None:
        self._chunks = body_pieces(answer, fault)
        self._pause = fault.pause
        self._patience = patience
        self._loss = loss
        self._begun = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        chunk = next(self._chunks, None)
        if chunk is None and self._loss is not None:
            raise self._loss("peer closed connection without sending complete message body")
        if chunk is None:
            raise StopAsyncIteration
        if self._begun:
            self._patience.spent = 0.0
            await self._patience.sleep(self._pause)
        self._begun = True
        return chunk


def _site_of(url: httpx.URL, backend: Backend) -> str:
    """Return which server `url` leads to, or an empty string."""
    switches = backend.world.switches
    origin = url.copy_with(raw_path=b"/")
    sites = {"api": switches.base_url, "files": switches.files_url}
    return next((site for site, base in sites.items() if httpx.URL(base + "/") == origin), "")


def _patience_for(request: httpx.Request, clock: Clock) -> _Patience:
    timeout = request.extensions.get("timeout", {}).get("read")
    return _Patience(request, clock, math.inf if timeout is None else timeout)
