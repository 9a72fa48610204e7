"""The headers that all requests to the API carry."""

from __future__ import annotations

from coreclaw_async._version import __version__
from coreclaw_async._wire.credentials import Credentials

USER_AGENT = f"coreclaw-async/{__version__}"


def api_headers(host: bytes, credentials: Credentials | None = None) -> list[tuple[bytes, bytes]]:
    """Return the raw headers of a request to *host*, with the key of *credentials* unless the query carries it."""
    return [
        (b"Host", host),
        (b"Accept", b"application/json"),
        (b"Accept-Encoding", b"gzip"),
        (b"User-Agent", USER_AGENT.encode()),
        *(() if credentials is None else credentials.headers()),
    ]
