"""A server of plain sockets, for answers that no well-behaved server would give."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import attrs

RUN_IDS = [f"01KZAZ2B7T3Q0R8C784NCRW{number:03d}" for number in range(100)]


@attrs.define
class RawRequest:
    """What came over a connection, as far as a test needs it."""

    connection: int
    method: str
    target: str
    head: bytes
    body: bytes


@attrs.define
class RawServer:
    """Where it listens, and what came."""

    url: str
    port: int
    requests: list[RawRequest] = attrs.field(factory=list)
    connections: int = 0
    closed: int = 0

    def of(self, method: str) -> list[RawRequest]:
        return [request for request in self.requests if request.method == method]


def http(status: int, body: bytes, *headers: str) -> bytes:
    """Return a whole HTTP/1.1 answer."""
    head = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def envelope(data: Any, code: int = 0, status: int = 200, *headers: str) -> bytes:
    """Return a whole answer of the service."""
    return http(status, json.dumps({"code": code, "message": "said", "data": data}).encode(), *headers)


def read_request(connection: socket.socket, number: int, rest: bytes = b"") -> RawRequest | None:
    """Return the next request, or None when the client has closed."""
    while b"\r\n\r\n" not in rest:
        chunk = connection.recv(65_536)
        if not chunk:
            return None
        rest += chunk
    head, _, body = rest.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    while len(body) < length:
        chunk = connection.recv(65_536)
        if not chunk:
            return None
        body += chunk
    method, target, _ = head.split(b"\r\n")[0].decode().split(" ", 2)
    return RawRequest(number, method, target, head, body)


def reset(connection: socket.socket) -> None:
    """Close *connection* the rude way."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@contextlib.contextmanager
def serve_sockets(handle: Callable[[socket.socket, int, RawServer], None]) -> Iterator[RawServer]:
    """Serve each connection in a thread of its own with *handle*, which gets the socket and the connection's number."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    server = RawServer(f"http://127.0.0.1:{port}", port)
    threads: list[threading.Thread] = []
    sockets: list[socket.socket] = []

    def work(connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError), connection:
            handle(connection, number, server)
        server.closed += 1

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            server.connections += 1
            sockets.append(connection)
            threads.append(threading.Thread(target=work, args=(connection, server.connections), daemon=True))
            threads[-1].start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield server
    finally:
        with contextlib.suppress(OSError):  # Wakes the acceptor, which closing alone does not.
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in sockets:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        acceptor.join(20)
        for thread in threads:
            thread.join(20)


def silent(connection: socket.socket, number: int, server: RawServer) -> None:
    """Read one request and say nothing until the client gives up."""
    request = read_request(connection, number)
    if request is not None:
        server.requests.append(request)
        connection.recv(1)


def answering(
    answer: Callable[[RawRequest, RawServer], bytes],
) -> Callable[[socket.socket, int, RawServer], None]:
    """Return a handler that keeps its connection and sends what *answer* returns; empty bytes close it."""

    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        while (request := read_request(connection, number)) is not None:
            server.requests.append(request)
            said = answer(request, server)
            if not said:
                return
            connection.sendall(said)

    return handle
