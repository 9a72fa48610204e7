"""Bytes that came after an answer and would be taken for the answer to the next request on that connection."""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any

from coreclaw_async._http.libraries import HttpClient, kinds

# How many transports may wrap the one that has the connections.
_MAX_WRAPPERS = 4


def has_leftovers(transport: Any, wrappers: int = _MAX_WRAPPERS) -> bool:
    """
    Return whether an idle connection of *transport*, or of one that it wraps, holds bytes.

    httpcore looks for such bytes in the socket, but not among those that it or a layer below has already read. No
    public attribute shows these; should httpcore's private ones be renamed, none are found.
    """
    connections = getattr(getattr(transport, "_pool", None), "connections", ())
    if any(connection_has_leftovers(connection) for connection in connections):
        return True
    parts: dict[str, Any] = getattr(transport, "__dict__", {}) if wrappers else {}
    return any(
        has_leftovers(one, wrappers - 1) for one in parts.values() if isinstance(one, kinds("AsyncBaseTransport"))
    )


def client_has_leftovers(client: HttpClient) -> bool:
    """Return the same for all transports of *client*."""
    transports = [getattr(client, "_transport", None), *getattr(client, "_mounts", {}).values()]
    return any(has_leftovers(transport) for transport in transports if transport is not None)


def connection_has_leftovers(connection: Any) -> bool:
    """Return the same for one connection of httpcore."""
    # A connection through a proxy holds a plain one, which holds that of HTTP/1.1.
    while (inner := getattr(connection, "_connection", None)) is not None:
        connection = inner
    state = getattr(connection, "_h11_state", None)
    if state is None or str(state.our_state) != "IDLE":  # Its answer is on the way.
        return False
    return bool(state.trailing_data[0]) or _has_unread(connection)


def _has_unread(connection: Any) -> bool:
    """Return whether bytes have left the socket, and wait in a stream of anyio or trio, or in one that is below it."""
    stream = getattr(getattr(connection, "_network_stream", None), "_stream", None)
    while stream is not None:
        arrived = getattr(stream, "_read_bio", None) or getattr(stream, "_incoming", None)
        unpacked = getattr(stream, "_ssl_object", None)
        # anyio reads as much as asyncio gives it at once, and keeps what is more than 64 KiB.
        queue = getattr(getattr(stream, "_protocol", None), "read_queue", None)
        if getattr(arrived, "pending", 0) or (unpacked is not None and unpacked.pending()) or queue:
            return True
        stream = getattr(stream, "transport_stream", None)
    return False


def readability(descriptor: int) -> Callable[[], bool]:
    """Return what tells whether something has come over an open socket, or the end of its connection."""
    if not hasattr(select, "poll"):  # pragma: no cover - Windows
        return lambda: bool(select.select([descriptor], [], [], 0)[0])
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return lambda: bool(poll.poll(0))
