"""The console over HTTP: the page, its stream, the details of a run, and its actions."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import anyio
from attrs import define, field

from coreclaw_async.testing._console.actions import act, find_run
from coreclaw_async.testing._console.feed import Feed
from coreclaw_async.testing._console.guard import RefusedError, check_host, check_origin
from coreclaw_async.testing._console.page import SAFE_HEADERS, read_page
from coreclaw_async.testing._console.run_details import show_details
from coreclaw_async.testing._console.survey import RunWindow, Surveyor, read_window

if TYPE_CHECKING:
    from coreclaw_async.testing._serving.asgi_app import Message, Receive, Send
    from coreclaw_async.testing._serving.backend import Backend

PREFIX = "/__console__"

MAX_STREAMS = 5
"""How many pages are told news at a time: a browser opens six connections to a host, and one is for the buttons."""

_BIGGEST_BODY = 10_000
_PAUSE = 0.1
_MAX_PAUSE = 5.0
_SHARE = 10
"""A page is told news so seldom that counting takes at most one part in so many of the time."""

_PAGES = ("/", PREFIX, f"{PREFIX}/")
_EVENTS = f"{PREFIX}/events"
_RUNS = f"{PREFIX}/runs/"
_ACTIONS = f"{PREFIX}/actions"
_ICON = "/favicon.ico"
"""Browsers ask for it by themselves; it must not look like a request of a client."""


@define(eq=False)
class _OpenStream:
    """
    A page that is told news. Made in its own task: what waits belongs to the event loop that it is made in.

    Attributes:
        scope: Cancelled when the server stops.
        acted: Set when something was done that the page shows at once.
    """

    scope: anyio.CancelScope
    acted: anyio.Event = field(factory=anyio.Event)


class Console:
    """
    The console of one server.

    Args:
        backend: Returns the backend that it shows.
        host: The name that the server was told to listen on, by which the page may be opened.
    """

    def __init__(self, backend: Callable[[], Backend], host: str) -> None:
        self._backend = backend
        self._host = host
        self._surveyor = Surveyor()
        self._streams: set[_OpenStream] = set()

    def claims(self, path: str) -> bool:
        """Return whether a path, still percent-encoded, belongs to the console."""
        return path in {*_PAGES, _ICON} or path.startswith(f"{PREFIX}/")

    def stop(self) -> None:
        """End the streams, as the server is about to stop."""
        for stream in self._streams:
            stream.scope.cancel()

    async def answer(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request to one of its paths."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            check_host(headers, self._host)
            await self._route(scope, headers, receive, send)
        except RefusedError as refused:
            await _send_json(send, {"error": refused.reason}, status=refused.status, headers=refused.headers)

    async def _route(self, scope: Message, headers: Mapping[str, str], receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["raw_path"].decode("ascii").partition("?")[0]
        if path in _PAGES:
            _check_method(method, "GET", "HEAD")
            page = read_page()
            await _send(send, page.body, headers=page.headers)
            return
        _check_method(method, "POST" if path == _ACTIONS else "GET")
        check_origin(headers, acts=path == _ACTIONS)
        if path == _ACTIONS:
            done = act(self._backend(), await _read_body(headers, receive))
            for stream in self._streams:
                stream.acted.set()
            await _send_json(send, {"done": done})
        elif path == _EVENTS:
            query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
            await self._stream(receive, send, read_window(query))
        elif path.startswith(_RUNS):
            await _send_json(send, self._details(path.removeprefix(_RUNS)))
        else:
            raise RefusedError(404, "The console has no such page.")

    def _details(self, run_id: str) -> dict[str, Any]:
        backend = self._backend()
        with backend.lock:
            run = find_run(backend, run_id)
            return self._surveyor.show(backend.world, run) | show_details(run)

    async def _stream(self, receive: Receive, send: Send, window: RunWindow) -> None:
        """Tell the news until the page leaves or the server stops."""
        if len(self._streams) >= MAX_STREAMS:
            reason = f"The console is open {MAX_STREAMS} times already, which is as often as it can be."
            raise RefusedError(503, reason, {"retry-after": "2"})
        stream = _OpenStream(anyio.CancelScope())
        self._streams.add(stream)
        try:
            await send(_head(200, {"content-type": "text/event-stream"}))
            with stream.scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._tell, send, window, stream)
                    await _until_gone(receive)
                    tasks.cancel_scope.cancel()
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._streams.remove(stream)

    async def _tell(self, send: Send, window: RunWindow, stream: _OpenStream) -> None:
        feed = Feed(self._backend, self._surveyor, window)
        while True:
            began = time.thread_time()
            news = await feed.read()
            took = time.thread_time() - began
            body = f"data: {json.dumps(news)}\n\n".encode()
            await send({"type": "http.response.body", "body": body, "more_body": True})
            with anyio.move_on_after(min(max(_PAUSE, _SHARE * took), _MAX_PAUSE)):
                await stream.acted.wait()
                stream.acted = anyio.Event()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _check_method(method: str, *allowed: str) -> None:
    if method not in allowed:
        raise RefusedError(405, f"This takes {allowed[0]}.", {"allow": ", ".join(allowed)})


async def _read_body(headers: Mapping[str, str], receive: Receive) -> bytes:
    """
    Return the body of an action.

    Raises:
        RefusedError: 415 when it is not said to be JSON, which a form of another site cannot say; 413 when it is too
            big, of which no more is read; 400 when the client leaves before its end.
    """
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise RefusedError(415, "The content type must be application/json.")
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RefusedError(400, "The body is not complete.")
        body += message.get("body", b"")
        if len(body) > _BIGGEST_BODY:
            raise RefusedError(413, f"The body must have at most {_BIGGEST_BODY:,} bytes.")
        more = message.get("more_body", False)
    return bytes(body)


def _head(status: int, headers: Mapping[str, str]) -> Message:
    sent = [(name.encode(), value.encode("latin-1")) for name, value in {**SAFE_HEADERS, **headers}.items()]
    return {"type": "http.response.start", "status": status, "headers": sent}


async def _send(send: Send, body: bytes, *, status: int = 200, headers: Mapping[str, str]) -> None:
    await send(_head(status, {**headers, "content-length": str(len(body))}))
    await send({"type": "http.response.body", "body": body})


async def _send_json(
    send: Send, content: dict[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> None:
    typed = {"content-type": "application/json", **(headers or {})}
    await _send(send, json.dumps(content).encode(), status=status, headers=typed)
