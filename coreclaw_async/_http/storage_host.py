"""Fetching a file from its storage host: without credentials, and from no other host."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Mapping
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import unquote_plus, urljoin, urlsplit

import anyio
import httpx

from coreclaw_async._http.body import Chunks
from coreclaw_async._http.causes import NO_CONNECTION, without_quoted_lines
from coreclaw_async._http.connections import Connections
from coreclaw_async._http.extra_headers import USER_AGENT
from coreclaw_async._http.libraries import HTTPX, HttpClient, MaskedURL, kinds, library_of
from coreclaw_async._http.log_filter import failing_by_no_log
from coreclaw_async._http.route import Route
from coreclaw_async.errors import DownloadReason, printable

T = TypeVar("T")

_NO_HTTPX_TIMEOUT = {"connect": None, "read": None, "write": None, "pool": None}
_MAX_REDIRECTS = 5
_REDIRECTS = (
    HTTPStatus.MOVED_PERMANENTLY,
    HTTPStatus.FOUND,
    HTTPStatus.SEE_OTHER,
    HTTPStatus.TEMPORARY_REDIRECT,
    HTTPStatus.PERMANENT_REDIRECT,
)
# A shorter value in a query is no secret, and may stand in a message by chance.
_MIN_SECRET = 6


class AttemptError(Exception):
    """
    An attempt to fetch a file has failed. Its text shows no more of the URL than the host.

    Attributes:
        reason: As in `coreclaw_async.DownloadError`.
        status_code: HTTP status of the answer, if that was the reason.
        is_final: Whether another attempt would end the same way.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: DownloadReason,
        status_code: int | None = None,
        is_final: bool = False,
    ) -> None:
        super().__init__(message)
        self.reason: DownloadReason = reason
        self.status_code = status_code
        self.is_final = is_final

    def __reduce__(self) -> tuple[Any, ...]:
        # As the cause of an error that goes from one process to another, for example with Dask.
        return type(self).__new__, (type(self), *self.args), self.__dict__.copy()


def parse_url(text: str, *, allow_http: bool) -> MaskedURL:
    """
    Return the URL of a file, which hides its query.

    Raises:
        AttemptError: *text* is no URL, or one without TLS where that is not allowed.
    """
    url = _parse(text)
    if url is None:
        # The text may be as good as a password, and must not be in this frame.
        del text
        raise AttemptError("the service gave something that is no URL for the file", reason="not-a-url", is_final=True)
    del text
    if url.scheme != "https" and not (url.scheme == "http" and allow_http):
        raise AttemptError(
            f"the service gave a URL of scheme {url.scheme!r} for the file, not https", reason="insecure", is_final=True
        )
    return url


def _parse(text: str, base: str = "") -> MaskedURL | None:
    try:
        text = urljoin(base, text)
        url = MaskedURL(text)
        host, _ = url.host, urlsplit(text).port  # These are stricter about brackets, ports and names.
    except (httpx.InvalidURL, ValueError):
        return None
    # Without a host, what has no scheme of its own may be anything, such as a signature alone.
    return url if host or url.scheme not in {"", "http", "https"} else None


class StorageHost:
    """
    The host of one URL.

    Args:
        client: Sends the requests; its headers, cookies and credentials are not sent.
        url: The URL of the file.
        timeout: Longest silence of the host, in seconds.
    """

    def __init__(self, client: HttpClient, url: MaskedURL, timeout: float) -> None:
        self._client = client
        self._library = library_of(client, "AsyncClient") or HTTPX
        self._url = url
        self._timeout = timeout

    async def get(self, headers: Mapping[str, str]) -> httpx.Response:
        """
        Return the answer for the file, with its body unread; redirects that stay on the host are followed.

        Args:
            headers: All headers but ``Host``, ``User-Agent`` and ``Accept-Encoding``.

        Raises:
            AttemptError: No answer came, or a redirect leads elsewhere.
        """
        url = self._url
        followed = 0
        while True:
            response = await self._send(url, headers)
            if response.status_code not in _REDIRECTS or "location" not in response.headers:
                return response
            async with Chunks(response):
                pass
            if followed == _MAX_REDIRECTS:
                raise AttemptError(
                    f"the storage host redirects more than {_MAX_REDIRECTS} times",
                    reason="redirected",
                    status_code=response.status_code,
                    is_final=True,
                )
            followed += 1
            url = self._target_of(url, response)

    async def read(self, chunks: Chunks) -> bytes | None:
        """
        Return the next bytes of a body, or None at its end.

        Raises:
            AttemptError: The connection broke, or the host was silent for too long.
        """
        return await self._attempt(anext(chunks, None))

    async def _send(self, url: MaskedURL, headers: Mapping[str, str]) -> httpx.Response:
        # Built by hand: what a caller's client adds to its requests must not go to a foreign host.
        request = self._library.module.Request(
            "GET",
            self._library.module.URL(httpx.URL.__str__(url)),
            headers={"Accept-Encoding": "identity", "User-Agent": USER_AGENT, **headers},
            extensions={"timeout": _NO_HTTPX_TIMEOUT},
        )
        request.url = self._library.masked_url(request.url)
        return await self._attempt(self._client.send(request, stream=True, auth=None, follow_redirects=False))

    async def _attempt(self, step: Awaitable[T]) -> T:
        failure: AttemptError | None = None
        with anyio.move_on_after(self._timeout), failing_by_no_log():
            try:
                return await step
            except Exception as error:  # noqa: BLE001 - httpx, anyio, a caller's own transport
                failure = self._failure(error)
            except BaseException as error:
                error.__traceback__ = None  # The frames below hold the URL.
                raise
        if failure is None:
            failure = AttemptError(f"the storage host was silent for {self._timeout:.3g} s", reason="stalled")
        # Raised outside of the handler: its context would hold the URL.
        raise failure

    def _failure(self, error: Exception) -> AttemptError:
        text = without_quoted_lines(str(error))
        is_told = (
            isinstance(error, kinds("TransportError")) and text and not any(map(text.__contains__, self._secrets()))
        )
        what = f"{type(error).__name__}: {printable(text)}" if is_told else type(error).__name__
        reason: DownloadReason = "unreachable" if isinstance(error, kinds(*NO_CONNECTION)) else "incomplete"
        return AttemptError(what, reason=reason)

    def _secrets(self) -> set[str]:
        query = self._url.query.decode("ascii")
        values = {part.partition("=")[2] for part in query.split("&")}
        values |= {unquote_plus(value) for value in values}
        return {query or "?", "?", self._url.password or "?"} | {v for v in values if len(v) >= _MIN_SECRET}

    def _target_of(self, url: MaskedURL, response: httpx.Response) -> MaskedURL:
        target = _parse(response.headers["location"], base=httpx.URL.__str__(url))
        if target is not None and origin_of(target) == origin_of(self._url):
            # Without user information, of which httpx would make credentials.
            return MaskedURL(target.copy_with(userinfo=b""))
        where = "something that is no URL" if target is None else f"{target.scheme}://{target.netloc.decode('ascii')}"
        raise AttemptError(
            f"the storage host redirects to {where}, and files are fetched from their own host only",
            reason="redirected",
            status_code=response.status_code,
            is_final=True,
        )


@contextlib.asynccontextmanager
async def open_storage_host(
    connections: Connections, url: MaskedURL, timeout: float
) -> AsyncGenerator[StorageHost, None]:
    """
    Connect to the storage host: not by the API's connections, unless the caller gave these.

    Raises:
        AttemptError: The proxy that the environment names cannot be used.
    """
    if connections.given_client is not None:
        yield StorageHost(connections.given_client, url, timeout)
    elif connections.foreign_transport is not None:
        # Not closed here: it belongs to the caller, and the API is called through it too.
        client = httpx.AsyncClient(transport=connections.foreign_transport, trust_env=False)
        yield StorageHost(client, url, timeout)
    else:
        async with httpx.AsyncClient(transport=_transport_to(url, connections.route), trust_env=False) as client:
            yield StorageHost(client, url, timeout)


def _transport_to(url: MaskedURL, route: Route) -> httpx.AsyncBaseTransport:
    try:
        return route.transport_to(url)
    except Exception as error:  # noqa: BLE001 - whatever the proxy of the environment is
        failure = AttemptError(type(error).__name__, reason="unreachable")
    raise failure


def origin_of(url: httpx.URL) -> tuple[str, str, int | None]:
    """Return scheme, host and port; the port is None where it is the usual one."""
    return url.scheme, url.host, url.port
