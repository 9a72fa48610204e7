"""RequestBuilder: writes the service's requests as httpx requests, whose only timeout is the one for connecting."""

from __future__ import annotations

import functools
from typing import Any

import httpx

from coreclaw_async._http.body import WholeBody
from coreclaw_async._http.given_client import GivenClient
from coreclaw_async._http.headers import PreparedHeaders
from coreclaw_async._http.libraries import HTTPX, HttpClient
from coreclaw_async._http.pool import SEND_PROGRESS, SendProgress
from coreclaw_async._http.settings import Settings
from coreclaw_async._wire.request import Request

# Servers may ask for the length of what they have, also where that is nothing (RFC 9110, 8.6).
_WITH_BODIES = frozenset({"POST", "PUT", "PATCH"})

_parse = functools.lru_cache(maxsize=256)(httpx.URL)


def _joined(query: str, more: str) -> str:
    return f"{query}&{more}" if query else more


def _body_of(request: Request, progress: SendProgress) -> httpx.AsyncByteStream:
    if progress.fenced is not None:
        return progress.fenced
    # What may be sent twice is given up when nothing goes on, and a large body may take long to send.
    return WholeBody(request.body or b"", None if progress.is_exclusive else progress.time_limit.hear)


class RequestBuilder:
    """
    Writes requests for one base URL and one key, with the types of httpx, or of the library of a caller's client.

    Args:
        base_url: Where the service is.
        settings: They hold the key, and what the caller adds.
        client: The caller's client that they go through, or None.

    Attributes:
        base_url: Where the service is.
        given: The caller's client, or None.
    """

    def __init__(self, base_url: httpx.URL, settings: Settings, client: HttpClient | None) -> None:
        self.base_url = str(base_url).rstrip("/")
        self._credentials = settings.credentials
        self.given = None if client is None else GivenClient(client, settings)
        self._library = HTTPX if self.given is None else self.given.library
        make: type[httpx.Headers] = self._library.module.Headers
        self._headers = PreparedHeaders(make, base_url.netloc, settings)
        self._timeout = {"connect": settings.retry.connect_timeout, "read": None, "write": None, "pool": None}

    def build(self, request: Request, progress: SendProgress) -> httpx.Request:
        """Return *request* for httpx, with no timeout but that for connecting; *progress* is told how far it comes."""
        key = "" if request.is_public else self._credentials.query()
        query = _joined(request.query, key) if key else request.query
        more = "" if self.given is None else self.given.query(query)
        query = _joined(query, more) if more else query
        text = f"{self.base_url}{request.path}?{query}" if query else self.base_url + request.path
        extensions: dict[str, Any] = {"timeout": self._timeout, SEND_PROGRESS: progress}
        if progress.is_exclusive or progress.is_traced:  # httpcore tells how far the request has come.
            extensions["trace"] = progress.trace
        outgoing: httpx.Request = self._library.module.Request(
            request.method,
            _parse(text) if self._library is HTTPX and not key and not more else self._library.module.URL(text),
            headers=self._headers_of(request),
            stream=self._library.stream(_body_of(request, progress)),
            extensions=extensions,
        )
        if self.given is not None:
            self.given.add_cookies(outgoing)
        if key or more:
            outgoing.url = self._library.masked_url(outgoing.url)
        return outgoing

    def _headers_of(self, request: Request) -> httpx.Headers:
        prepared = self._headers.of(request)
        if request.body is None and self.given is None and request.method not in _WITH_BODIES:
            return prepared
        raw = prepared.raw
        if request.body is not None:
            length = str(len(request.body)).encode()
            raw = [*raw, (b"Content-Type", b"application/json"), (b"Content-Length", length)]
        elif request.method in _WITH_BODIES:
            raw = [*raw, (b"Content-Length", b"0")]
        if self.given is not None:
            raw = self.given.with_headers(raw, self._headers.names)
        headers: httpx.Headers = self._library.module.Headers(raw)
        return headers

    def clear(self, outgoing: httpx.Request, request: Request) -> None:
        """Take the key out of a request that an error may show."""
        outgoing.headers, outgoing.url = self._headers.public, self._library.module.URL(self.base_url + request.path)
