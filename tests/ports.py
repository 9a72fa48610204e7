"""Ports for servers that begin to listen after a while, or for a second time."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Generator


@contextlib.contextmanager
def reserved_port() -> Generator[int]:
    """
    Yield a port that the system gives to nobody else in the block.

    Who asks for it by its number, as servers do, can listen there; until then connections are refused.
    """
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
