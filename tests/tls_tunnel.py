"""An HTTPS proxy on the loopback interface: CONNECT, then TLS to a service that is served without."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
from raw_server import RawServer, read_request, serve_sockets

from coreclaw_async._http import route

HOST = "api.coreclaw.test"


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[trustme.CA]:
    """Have the process trust the certificates of the tests, as if an administrator had installed them."""
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    route._tls_context.cache_clear()
    yield authority
    route._tls_context.cache_clear()


def tls_server_context(authority: trustme.CA, *more: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(HOST, "localhost", *more).configure_cert(context)
    return context


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError, ValueError):
        while chunk := source.recv(65_536):
            target.sendall(chunk)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


def tunnel_to(port: int, authority: trustme.CA, *hosts: str) -> Callable[[socket.socket, int, RawServer], None]:
    """Return a handler that makes a tunnel whose other end is the plain service on *port*."""
    context = tls_server_context(authority, *hosts)

    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        request = read_request(connection, number)
        if request is None:
            return
        server.requests.append(request)
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with (
            context.wrap_socket(connection, server_side=True) as inner,
            socket.create_connection(("127.0.0.1", port)) as plain,
        ):
            back = threading.Thread(target=_pump, args=(plain, inner), daemon=True)
            back.start()
            _pump(inner, plain)
            back.join(5)

    return handle


@contextlib.contextmanager
def https_proxy_to(port: int, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> Iterator[RawServer]:
    """Have the environment name an HTTPS proxy behind which ``https://api.coreclaw.test`` is the service on *port*."""
    with serve_sockets(tunnel_to(port, authority)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        yield proxy
