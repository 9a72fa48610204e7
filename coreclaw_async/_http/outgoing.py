"""RequestBuilder: writes the service's requests as httpx requests, whose only timeout is the one for connecting."""

from __future__ import annotations

import functools
from typing import Any

import httpx

from coreclaw_async._http.body import WholeBody
from coreclaw_async._http.connections import MaskedURL
from coreclaw_async._http.headers import PreparedHeaders
from coreclaw_async._http.pool import SEND_PROGRESS, SendProgress
from coreclaw_async._http.settings import Settings
from coreclaw_async._wire.request import Request

_parse = functools.lru_cache(maxsize=256)(httpx.URL)


class RequestBuilder:
    """Writes requests for one base URL and one key."""

    def __init__(self, base_url: httpx.URL, settings: Settings) -> None:
        self.base_url = str(base_url).rstrip("/")
        self._credentials = settings.credentials
        self._headers = PreparedHeaders(httpx.Headers, base_url.netloc, settings)
        self._timeout = {"connect": settings.retry.connect_timeout, "read": None, "write": None, "pool": None}

    def build(self, request: Request, progress: SendProgress) -> httpx.Request:
        """Return *request* for httpx, with no timeout but that for connecting; *progress* is told how far it comes."""
        query = request.query
        key = "" if request.is_public else self._credentials.query()
        if key:
            query = f"{query}&{key}" if query else key
        text = f"{self.base_url}{request.path}?{query}" if query else self.base_url + request.path
        extensions: dict[str, Any] = {"timeout": self._timeout, SEND_PROGRESS: progress}
        if progress.is_exclusive:  # Where it matters, httpcore tells how far the request has come.
            extensions["trace"] = progress.trace
        outgoing = httpx.Request(
            request.method,
            httpx.URL(text) if key else _parse(text),
            headers=self._headers_of(request),
            stream=WholeBody(request.body or b"") if progress.fenced is None else progress.fenced,
            extensions=extensions,
        )
        if key:
            outgoing.url = MaskedURL(outgoing.url)
        return outgoing

    def _headers_of(self, request: Request) -> httpx.Headers:
        prepared = self._headers.of(request)
        if request.body is None:
            return prepared
        length = str(len(request.body)).encode()
        return httpx.Headers([*prepared.raw, (b"Content-Type", b"application/json"), (b"Content-Length", length)])

    def clear(self, outgoing: httpx.Request, request: Request) -> None:
        """Take the key out of a request that an error may show."""
        outgoing.headers, outgoing.url = self._headers.public, httpx.URL(self.base_url + request.path)
