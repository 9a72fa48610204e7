"""A fake service as an ASGI app: real sockets, real resets, real truncation."""

from __future__ import annotations

import socket
import struct
from collections.abc import Awaitable, Callable, Coroutine, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl

import anyio

from coreclaw_async.testing._api.dispatch import IncomingRequest
from coreclaw_async.testing._api.signed_urls import FILES_PREFIX
from coreclaw_async.testing._serving.pieces import body_pieces

if TYPE_CHECKING:
    from coreclaw_async.testing._api.answers import Answer
    from coreclaw_async.testing._serving.backend import Backend
    from coreclaw_async.testing.faults import Fault

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Console(Protocol):
    """What answers the paths that are not of the API, as `_console` does."""

    def claims(self, path: str) -> bool:
        """Return whether it answers a path, still percent-encoded."""
        ...

    async def answer(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request to such a path."""
        ...

    def stop(self) -> None:
        """End answers that would go on for ever."""
        ...


_CALLBACK_INTERVAL = 0.02
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, for zero seconds: close sends RST.


class AsgiApp:
    """
    The API and the file server as one ASGI app.

    Args:
        backend: Called for each request; returns the backend that answers it.
        deliver_callbacks: Sends the callbacks that are due to one site; called again and again while the app runs,
            whether or not earlier calls have ended.
        sites: The role of each listening port, `api` or `files`. For other ports the path decides.
        console: Answers paths of its own on the port of the API; None for none.
    """

    def __init__(
        self,
        backend: Callable[[], Backend],
        deliver_callbacks: Callable[[], Coroutine[Any, Any, None]],
        sites: Mapping[int, str],
        console: Console | None = None,
    ) -> None:
        self._backend = backend
        self._deliver_callbacks = deliver_callbacks
        self._sites = sites
        self._console = console

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one HTTP request, or run for as long as the server does."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] != "http":
            raise RuntimeError(f"the fake service speaks HTTP only, not {scope['type']}")
        elif self._console is not None and self._site_of(scope) == "api" and self._console.claims(_path_of(scope)):
            await self._console.answer(scope, receive, send)
        else:
            await self._answer(scope, receive, send)

    def stop(self) -> None:
        """End answers that would go on for ever; the server calls this when it begins to stop."""
        if self._console is not None:
            self._console.stop()

    async def _live(self, receive: Receive, send: Send) -> None:
        """Send callbacks in the background from the start of the server to its end."""
        await receive()
        await send({"type": "lifespan.startup.complete"})
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._keep_delivering)
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            tasks.cancel_scope.cancel()

    async def _keep_delivering(self) -> None:
        async with anyio.create_task_group() as tasks:
            while True:
                tasks.start_soon(self._deliver_callbacks)
                await anyio.sleep(_CALLBACK_INTERVAL)

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        body = await _read_body(receive)
        if body is None:
            return
        backend = self._backend()
        clock = backend.world.clock
        request = self._read(scope, body)
        delivery = await backend.exchange(request, pause=anyio.sleep, wait=clock.sleep)
        fault, answer = delivery.fault, delivery.answer
        if answer is not None:
            await self._send_answer(send, answer, fault)
            if fault.ending != "truncate":
                return
            _transport_of(send).close()
        elif fault.ending != "stall":
            _reset(send)
        # The body has been read, so this waits for the disconnect; returning earlier would send an answer.
        await receive()

    def _read(self, scope: Message, body: bytes) -> IncomingRequest:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        return IncomingRequest(
            site=self._site_of(scope),
            method=scope["method"],
            host=headers.get("host", ""),
            path=_path_of(scope),
            query=dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)),
            headers=headers,
            body=body,
        )

    def _site_of(self, scope: Message) -> str:
        by_path = "files" if _path_of(scope).startswith(FILES_PREFIX) else "api"
        _, port = scope["server"]
        return self._sites.get(port, by_path)

    async def _send_answer(self, send: Send, answer: Answer, fault: Fault) -> None:
        """Send `answer`, or the part of it that the fault lets through."""
        headers = [
            (name.encode(), value.encode("latin-1"))
            for name, value in answer.header_items
            if name != "date" or self._sites  # Other servers set the date themselves.
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        for number, chunk in enumerate(body_pieces(answer, fault)):
            if number:
                await anyio.sleep(fault.pause)
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if fault.ending != "truncate":
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def _path_of(scope: Message) -> str:
    path: str = scope["raw_path"].decode("ascii").partition("?")[0]
    return path


async def _read_body(receive: Receive) -> bytes | None:
    """Return the body; None when the client leaves before it is complete."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body)


def _reset(send: Send) -> None:
    """Reset the connection, as a crashed server does."""
    transport = _transport_of(send)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()


def _transport_of(send: Send) -> Any:
    """Return the transport of the socket, which uvicorn keeps behind `send`."""
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is None:
        raise RuntimeError("a connection can be lost on purpose only directly under uvicorn")
    return transport
