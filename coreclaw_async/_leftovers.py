"""Bytes that came beyond an answer: httpcore takes those that it has read for the answer to the next request."""

from __future__ import annotations

from typing import Any

import httpx


def spoiled_connections(transport: Any) -> list[Any]:
    """
    Return the connections of an httpx transport on which bytes wait that belong to no request.

    httpcore looks for such bytes in the socket, and not among those that it has read already. Nothing public shows
    them; where its insides are not what they are today, none are found.
    """
    connections = getattr(getattr(transport, "_pool", None), "connections", ())
    return [connection for connection in connections if _is_spoiled(connection)]


def _is_spoiled(connection: Any) -> bool:
    # A connection through a proxy holds a plain one, which holds that of HTTP/1.1.
    while (inner := getattr(connection, "_connection", None)) is not None:
        connection = inner
    state = getattr(connection, "_h11_state", None)
    return state is not None and connection.is_idle() and bool(state.trailing_data[0])


async def close_spoiled(client: httpx.AsyncClient) -> None:
    """Close the connections of *client* on which bytes wait that belong to no request."""
    transports = [getattr(client, "_transport", None), *getattr(client, "_mounts", {}).values()]
    for transport in transports:
        for connection in spoiled_connections(transport):
            await connection.aclose()
