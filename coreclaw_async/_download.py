"""A file from a storage host: streamed without the key into a part file, resumed, checked, renamed."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import attrs
import httpx

from coreclaw_async import errors
from coreclaw_async._body import Chunks
from coreclaw_async._connections import MaskedURL, make_transport
from coreclaw_async._transport import USER_AGENT, Transport

_EXPIRED = (HTTPStatus.FORBIDDEN, HTTPStatus.GONE)
# A part that is not there, a host that is busy.
_TRY_AGAIN = (
    *_EXPIRED,
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    HTTPStatus.TOO_MANY_REQUESTS,
)
_CONTENT_RANGE = re.compile(r"bytes ([0-9]+)-([0-9]+)/([0-9]+)")
# A page for people, or a refusal in XML, instead of the file; formats that are such pages themselves.
_PAGES = {"text/html": ("html", "xls"), "application/xml": ("xml", "rss"), "text/xml": ("xml", "rss")}
# A file may take as long as it takes, but not be quiet for longer than this.
_TIMEOUT = {"connect": 30.0, "read": 60.0, "write": 30.0, "pool": 30.0}


class _TryAgainError(Exception):
    """This attempt is over; another one may go on from here."""


class _ExpiredError(_TryAgainError):
    """This address does not work any more."""


@attrs.define(kw_only=True)
class Download:
    """
    One file on its way.

    Attributes:
        transport: Whose clock, retry policy and connections are used; its key is not.
        fresh_url: Returns a new signed URL.
        path: The file to write.
        format: Its format; rows are counted in ``csv`` and ``jsonl``.
        expected_rows: Rows that must be in it at least, or None when nobody knows.
        on_progress: Called with the bytes written and the bytes in all, or None.
        written: Bytes that were written.
    """

    transport: Transport
    fresh_url: Callable[[], Awaitable[str]]
    path: Path
    format: str
    expected_rows: int | None
    on_progress: Callable[[int, int | None], None] | None
    written: int = attrs.field(default=0, init=False)
    _total: int | None = attrs.field(default=None, init=False)
    _version: str | None = attrs.field(default=None, init=False)
    _has_end: bool = attrs.field(default=False, init=False)

    @property
    def _part(self) -> Path:
        return self.path.with_name(self.path.name + ".part")

    async def run(self) -> None:
        """
        Fetch the file.

        Raises:
            DownloadError: It did not come whole.
            OSError: It cannot be written.
        """
        part = anyio.Path(self._part)
        try:
            await self._fetch()
            await self._check_rows()
            await anyio.to_thread.run_sync(os.replace, self._part, self.path)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await part.unlink(missing_ok=True)
            raise

    async def _fetch(self) -> None:
        file = await anyio.open_file(self._part, "wb")
        try:
            await self._fetch_into(file)
            await file.flush()
            await anyio.to_thread.run_sync(os.fsync, file.wrapped.fileno())
        finally:
            with anyio.CancelScope(shield=True):  # Closing hops to a thread, which a cancellation would not let begin.
                await file.aclose()

    async def _fetch_into(self, file: anyio.AsyncFile[bytes]) -> None:
        waits = self.transport.settings.retry.waits()
        most = 0
        url: httpx.URL | None = None
        while True:
            if url is None:
                url = self._checked(await self.fresh_url())
            try:
                async with self._client(url) as client:
                    await self._attempt(client, url, file)
                return
            except _TryAgainError as reason:
                # The same address as long as it works: another export is another file, and no rest of this.
                url = None if isinstance(reason, _ExpiredError) else url
                if self.written > most:  # It gets on; only attempts that do not are counted.
                    most = self.written
                    waits = self.transport.settings.retry.waits()
                wait = next(waits, None)
                if wait is None:
                    raise errors.DownloadError(f"the file could not be fetched: {reason}") from None
                await self.transport.clock.sleep(wait)

    def _checked(self, url: str) -> httpx.URL:
        """Return *url* when it may be fetched: over TLS, unless the service itself is reached without."""
        try:
            parsed = httpx.URL(url)
            _ = parsed.host, urlsplit(url).port  # Stricter about brackets, ports and names.
        except (httpx.InvalidURL, ValueError):
            raise errors.DownloadError("the service named a file to fetch by something that is no URL") from None
        if parsed.scheme != "https" and not (
            parsed.scheme == "http" and self.transport.connections.base_url.scheme == "http"
        ):
            raise errors.DownloadError(f"the service named a file to fetch by {parsed.scheme!r}, not https")
        return parsed

    @contextlib.asynccontextmanager
    async def _client(self, url: httpx.URL) -> AsyncGenerator[httpx.AsyncClient]:
        """Give a client for the storage host: other connections than the API's, unless the caller gave those."""
        connections = self.transport.connections
        if connections.given_client is not None:
            yield connections.given_client
        elif connections.foreign_transport is not None:
            # Not closed here: it is the caller's, and the API is reached through it too.
            yield httpx.AsyncClient(transport=connections.foreign_transport, trust_env=False)
        else:
            with _network(self):
                transport = make_transport(url)
            async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
                yield client

    async def _attempt(self, client: httpx.AsyncClient, url: httpx.URL, file: anyio.AsyncFile[bytes]) -> None:
        headers = {"Accept-Encoding": "identity", "User-Agent": USER_AGENT}
        if self.written and self._version is not None:
            headers |= {"Range": f"bytes={self.written}-", "If-Range": self._version}
        # Built by hand: what a caller's own client adds to each request must not go to a foreign host.
        request = httpx.Request("GET", url, headers=headers, extensions={"timeout": _TIMEOUT})
        request.url = MaskedURL(url)
        with _network(self):
            response = await client.send(request, stream=True, auth=None, follow_redirects=False)
        async with Chunks(response) as chunks:
            await self._begin(response, file)
            while True:
                with _network(self):
                    chunk = await anext(chunks, None)
                if chunk is None:
                    break
                await file.write(chunk)
                self.written += len(chunk)
                if self.on_progress is not None:
                    self.on_progress(self.written, self._total)
        if self._total is not None and self.written != self._total:
            raise _TryAgainError(f"{self.written} of {self._total} bytes came")

    async def _begin(self, response: httpx.Response, file: anyio.AsyncFile[bytes]) -> None:
        """Take note of what the answer promises, and of where it begins."""
        status = response.status_code
        if status in _TRY_AGAIN or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                await self._start_over(file)
            kind = _ExpiredError if status in _EXPIRED else _TryAgainError
            raise kind(f"the storage host answered HTTP {status}")
        if response.headers.get("content-encoding", "identity") != "identity":
            raise errors.DownloadError("the storage host packed the file although it was asked not to")
        media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if response.is_success and media_type in _PAGES and self.format not in _PAGES[media_type]:
            raise errors.DownloadError(f"the storage host answered with {media_type}, which is no {self.format}")
        if status == HTTPStatus.PARTIAL_CONTENT:
            said = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
            is_rest = said is not None and int(said[1]) == self.written and int(said[2]) + 1 == int(said[3])
            if not is_rest or _version_of(response) != self._version:
                await self._start_over(file)
                raise _TryAgainError("the storage host sent another part than was asked for")
            assert said is not None
            self._total = int(said[3])
        elif status == HTTPStatus.OK:
            await self._start_over(file)
            length = response.headers.get("content-length", "")
            self._total = int(length) if length.isdecimal() else None
            self._version = _version_of(response)
            self._has_end = self._total is not None or "chunked" in response.headers.get("transfer-encoding", "")
        else:
            raise errors.DownloadError(f"the storage host answered HTTP {status}", status_code=status)

    async def _start_over(self, file: anyio.AsyncFile[bytes]) -> None:
        await file.seek(0)
        await file.truncate()
        self.written = 0
        self._version = None

    async def _check_rows(self) -> None:
        """Raise when nothing shows where the file ends, or when an ended run has more rows than the file."""
        if not self._has_end and not await anyio.to_thread.run_sync(_is_closed, self._part, self.format):
            raise errors.DownloadError("the storage host did not say how long the file is, and it ends in the middle")
        if self.expected_rows is None or self.format not in _COUNTERS:
            return
        rows = await anyio.to_thread.run_sync(_COUNTERS[self.format], self._part)
        if rows < self.expected_rows:
            raise errors.DownloadError(f"the file holds {rows} of {self.expected_rows} rows")


@contextlib.contextmanager
def _network(download: Download) -> Generator[None]:
    """Have whatever fails on the way end the attempt; what fails on the disk is the caller's to see."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - httpx, anyio, a caller's own transport
        raise _TryAgainError(f"{type(error).__name__} after {download.written} bytes") from None


def _version_of(response: httpx.Response) -> str | None:
    """Return what tells this version of the file from another of the same length, or None: a weak tag does not."""
    tag = response.headers.get("etag", "")
    date: str | None = response.headers.get("last-modified")
    return tag if tag and not tag.startswith("W/") else date


def _is_closed(path: Path, format: str) -> bool:
    """Return whether a file of this format ends as it must; of formats that show no end nobody can say."""
    data = path.read_bytes()
    if format == "json":
        try:
            json.loads(data)
        except (ValueError, RecursionError):
            return False
        return True
    if format == "xlsx":
        return b"PK\x05\x06" in data[-65_557:]
    if format in {"xml", "rss", "html", "xls"}:
        return data.rstrip().endswith(b">") or format == "xls"
    return data == b"" or data.endswith(b"\n")


def _count_csv(path: Path) -> int:
    before = csv.field_size_limit(sys.maxsize)
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            return max(0, sum(1 for _ in csv.reader(file)) - 1)
    finally:
        csv.field_size_limit(before)


def _count_jsonl(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for line in file if line.strip())


_COUNTERS: dict[str, Callable[[Path], int]] = {"csv": _count_csv, "jsonl": _count_jsonl}
