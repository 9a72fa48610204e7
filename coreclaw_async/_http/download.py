"""A file from a storage host: fetched into a temporary file, resumed, checked, and moved to its place."""

from __future__ import annotations

import functools
import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import NoReturn, ParamSpec, TypeVar

import anyio
import anyio.to_thread
import attrs
import httpx

from coreclaw_async import errors
from coreclaw_async._data.counting import counted
from coreclaw_async._files.contents import read_contents
from coreclaw_async._files.target import FileTarget, tidy_up
from coreclaw_async._http.body import Chunks
from coreclaw_async._http.storage_host import AttemptError, StorageHost, open_storage_host, parse_url
from coreclaw_async._http.transport import Transport
from coreclaw_async._wire.timestamps import http_date
from coreclaw_async.models import Export

P = ParamSpec("P")
T = TypeVar("T")

_EXPIRED = (HTTPStatus.FORBIDDEN, HTTPStatus.GONE)
# Also a part that does not exist, and a busy host.
_TRY_AGAIN = (
    *_EXPIRED,
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    HTTPStatus.TOO_MANY_REQUESTS,
)
# Formats whose end shows; so does that of a workbook, but tables in HTML are served as workbooks too.
_WITH_END = ("json", "xml", "rss", "html")
# So many attempts are made even if each takes the whole timeout of the client.
_MIN_ATTEMPTS = 4
_LENGTH = re.compile(r"[0-9]{1,18}")
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
# Media types of error pages, with the formats that are served as these types.
_PAGES = {"text/html": ("html", "xls"), "application/xml": ("xml", "rss"), "text/xml": ("xml", "rss")}


@attrs.define(kw_only=True, eq=False, repr=False)
class Download:
    """
    One file on its way.

    Attributes:
        transport: Gives the clock, timeout, retry policy and connections; its key is not used.
        run_id: The run that the rows belong to; every error names it.
        fresh_export: Asks for a new signed URL.
        target: Where the file goes.
        format: Its format; rows are counted in ``csv``, ``jsonl`` and ``json``.
        expected_rows: Lowest number of rows that the file must have, or None if unknown.
        on_progress: Called with the bytes written and the bytes in total, or None.
    """

    transport: Transport
    run_id: str
    fresh_export: Callable[[], Awaitable[Export]]
    target: FileTarget
    format: str
    expected_rows: int | None
    on_progress: Callable[[int, int | None], None] | None
    _written: int = attrs.field(default=0, init=False)
    _total: int | None = attrs.field(default=None, init=False)
    _version: str | None = attrs.field(default=None, init=False)
    _has_end: bool = attrs.field(default=False, init=False)

    async def run(self) -> None:
        """
        Fetch the file.

        Raises:
            DownloadError: It did not come complete.
            OSError: It cannot be written.
        """
        try:
            await self._on_disk(self.target.create)
            await self._fetch()
            await self._check_contents()
            while (wait := await self._on_disk(self.target.place)) is not None:
                await self.transport.clock.sleep(wait)
        finally:
            await tidy_up(self.target.discard)

    async def _on_disk(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call *function*, which uses the disk, in a thread; its errors then name the run that was paid for."""
        try:
            return await anyio.to_thread.run_sync(functools.partial(function, *args, **kwargs))
        except OSError as error:
            what = f"{error.strerror or error}; the rows of run {self.run_id} are not written"
            raise OSError(error.errno, what, str(self.target.path)) from error

    async def _fetch(self) -> None:
        clock, settings = self.transport.clock, self.transport.settings
        delays, since, attempts = settings.retry.delays(), clock.monotonic(), 0
        most = 0
        export: Export | None = None
        while True:
            if export is None:
                export = await self.fresh_export()
            try:
                await self._attempt(export)
                return
            except AttemptError as error:
                failure = error
            # The same URL as long as it works: another export is another file, and no rest of this.
            if failure.reason == "expired":
                export = self._version = None
            if self._written > most:  # It gets on; only what does not is counted.
                most = self._written
                delays, since, attempts = settings.retry.delays(), clock.monotonic(), 0
            attempts += 1
            delay = None if failure.is_final else next(delays, None)
            is_late = delay is not None and clock.monotonic() + delay - since > settings.timeout
            if delay is None or (is_late and attempts >= _MIN_ATTEMPTS):
                self._give_up(failure)
            await clock.sleep(delay)

    def _give_up(self, failure: AttemptError) -> NoReturn:
        text = str(failure) if failure.is_final else f"the file could not be fetched: {failure}"
        raise errors.DownloadError(
            text,
            reason=failure.reason,
            status_code=failure.status_code,
            run_id=self.run_id,
            bytes_received=self._written,
        ) from failure

    async def _attempt(self, export: Export) -> None:
        api = self.transport.connections
        url = parse_url(export.download_url, allow_http=api.base_url.scheme == "http")
        async with open_storage_host(api, url, self.transport.settings.timeout) as host:
            headers: dict[str, str] = {}
            if self._written and self._version is not None:
                headers = {"Range": f"bytes={self._written}-", "If-Range": self._version}
            response = await host.get(headers)
            async with Chunks(response) as chunks:
                await self._begin(response)
                await self._receive(host, chunks)

    async def _receive(self, host: StorageHost, chunks: Chunks) -> None:
        while (data := await host.read(chunks)) is not None:
            await self._on_disk(self.target.write, data)
            self._written += len(data)
            if self.on_progress is not None:
                self.on_progress(self._written, self._total)
        if self._total is not None and self._written != self._total:
            raise AttemptError(f"{self._written:,} of {counted(self._total, 'byte')} came", reason="incomplete")

    async def _begin(self, response: httpx.Response) -> None:
        """Record the length and version that the answer tells, and go to the place where it begins."""
        status = response.status_code
        if status in _TRY_AGAIN or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                await self._start_over()
            reason: errors.DownloadReason = "expired" if status in _EXPIRED else "refused"
            raise AttemptError(f"the storage host answered HTTP {status}", reason=reason, status_code=status)
        if status not in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
            raise AttemptError(
                f"the storage host answered HTTP {status}", reason="refused", status_code=status, is_final=True
            )
        self._check_kind(response)
        if status == HTTPStatus.PARTIAL_CONTENT:
            await self._go_on(response)
        else:
            await self._start_over()
            length = response.headers.get("content-length", "")
            self._total = int(length) if _LENGTH.fullmatch(length) else None
            self._version = _version_of(response) if _is_exact(response) else None
            self._has_end = self._total is not None or "chunked" in response.headers.get("transfer-encoding", "")

    def _check_kind(self, response: httpx.Response) -> None:
        """Raise when an answer is certainly not the file."""
        status = response.status_code
        if response.headers.get("content-encoding", "identity") != "identity":
            raise AttemptError(
                "the storage host compressed the file although it was asked not to",
                reason="wrong-content",
                status_code=status,
                is_final=True,
            )
        media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type in _PAGES and self.format not in _PAGES[media_type]:
            raise AttemptError(
                f"the storage host answered with {media_type}, which is no {self.format}",
                reason="wrong-content",
                status_code=status,
                is_final=True,
            )

    async def _go_on(self, response: httpx.Response) -> None:
        """Accept a partial answer as the rest of the file, or begin anew if it is another part."""
        said = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
        is_rest = (
            said is not None
            and int(said[1]) == self._written
            and int(said[2]) + 1 == int(said[3])
            and self._total in {None, int(said[3])}
        )
        if said is None or not is_rest or _version_of(response) != self._version:
            await self._start_over()
            raise AttemptError(
                "the storage host sent another part of the file than was asked for", reason="wrong-content"
            )
        self._total = int(said[3])
        self._has_end = True

    async def _start_over(self) -> None:
        await self._on_disk(self.target.start_over)
        self._written = 0
        self._version = None

    async def _check_contents(self) -> None:
        """Raise when the file is cut off, or holds fewer rows than the run."""
        await self._on_disk(self.target.flush)
        found = await self._on_disk(read_contents, self.target.temporary, self.format)
        if not found.is_closed and (not self._has_end or self.format in _WITH_END):
            message = f"the file ends in the middle, or is no {self.format}"
            self._give_up(AttemptError(message, reason="incomplete", is_final=True))
        if self._written == 0 and self.expected_rows:
            message = f"the file is empty, and the run has {counted(self.expected_rows, 'row')}"
            self._give_up(AttemptError(message, reason="rows-missing", is_final=True))
        if found.rows is not None and self.expected_rows is not None and found.rows < self.expected_rows:
            message = f"the file holds {found.rows:,} of {counted(self.expected_rows, 'row')}"
            self._give_up(AttemptError(message, reason="rows-missing", is_final=True))


def _version_of(response: httpx.Response) -> str | None:
    """Return what identifies this version of the file, or None: a weak tag does not."""
    return _tag_of(response) or response.headers.get("last-modified")


def _tag_of(response: httpx.Response) -> str | None:
    tag: str = response.headers.get("etag", "")
    return tag if tag and not tag.startswith("W/") else None


def _is_exact(response: httpx.Response) -> bool:
    """
    Return whether no other version of the file has the same tag or date.

    The file may change again in the second of its date, so that has to be over (RFC 9110, 8.8.2.2).
    """
    if _tag_of(response) is not None:
        return True
    changed, now = (http_date(response.headers.get(name, "")) for name in ("last-modified", "date"))
    return changed is not None and now is not None and changed < now
