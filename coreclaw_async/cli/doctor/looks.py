"""What each look of the doctor has: the client with the time that is left, a finding, and words for what went wrong."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Literal

import attrs
import httpx

from coreclaw_async import errors
from coreclaw_async._http.body import raw_header
from coreclaw_async._http.connections import make_transport
from coreclaw_async._paging.offsets import Mode
from coreclaw_async._sync.generated import CoreClaw
from coreclaw_async._wire.error_codes import is_service_code
from coreclaw_async._wire.timestamps import SeenDate
from coreclaw_async.events import Event, RetryScheduled

_TOTAL_SECONDS = 28.0
_LOOK_SECONDS = 8.0
_LEAST_SECONDS = 0.2
_LONGEST_TEXT = 200
# Codes of the service have five digits; anything longer may be what nobody else is to see.
_LONGEST_CODE = 6


@attrs.frozen
class Finding:
    """
    One thing that was looked at.

    Attributes:
        check: What it is.
        state: Whether it is as it should be.
        detail: What was found, and what to do about it; nothing that belongs to the account.
    """

    check: str
    state: Literal["OK", "WARN", "FAIL"]
    detail: str


class NotingTransport(httpx.AsyncBaseTransport):
    """
    The client's own way to the service, which notes what its answers say of the time, and what was retried.

    Attributes:
        seen: The ``Date`` of the latest answer, and when it came.
        repeats: How often a request was sent once more.
    """

    def __init__(self) -> None:
        self.seen = SeenDate()
        self.repeats = 0
        self._transport: httpx.AsyncBaseTransport | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send *request* as the client does by itself."""
        if self._transport is None:
            self._transport = make_transport(request.url)
        response = await self._transport.handle_async_request(request)
        self.seen = SeenDate(raw_header(response, b"date"), time.time(), time.monotonic())
        return response

    async def aclose(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            await self._transport.aclose()

    def note(self, event: Event) -> None:
        """Count what is retried."""
        self.repeats += isinstance(event, RetryScheduled)


class OutOfTimeError(Exception):
    """The time for all looks is used up."""


@attrs.define(kw_only=True)
class Examination:
    """
    The means of the looks.

    Attributes:
        way: Notes the time of answers.
        meanings: What ``offset`` was found to count; the client takes it to be the same in all lists.
        seconds: How long all looks together may take, from when this is made.
        look_seconds: How long one request may take.
    """

    _client: CoreClaw = attrs.field(alias="client")
    way: NotingTransport
    meanings: set[Mode] = attrs.field(factory=set[Mode], init=False)
    seconds: float = _TOTAL_SECONDS
    look_seconds: float = _LOOK_SECONDS
    _began: float = attrs.field(factory=time.monotonic, init=False)

    @property
    def client(self) -> CoreClaw:
        """
        The client, with the time that its next request may take.

        Raises:
            OutOfTimeError: There is none left.
        """
        self.check_time()
        return self._client.with_options(timeout=min(self._left, self.look_seconds))

    def check_time(self) -> None:
        """
        Go on while there is time.

        Raises:
            OutOfTimeError: There is none left.
        """
        if self._left < _LEAST_SECONDS:
            raise OutOfTimeError

    @property
    def _left(self) -> float:
        return self._began + self.seconds - time.monotonic()

    @property
    def service_time(self) -> float:
        """What the service's clock shows in Unix seconds, as far as its answers tell; else this machine's."""
        now = self.way.seen.service_time(time.monotonic())
        return time.time() if now is None else now


def looked(examination: Examination, check: str, findings: Iterable[Finding]) -> Iterator[Finding]:
    """
    Yield *findings*, and a failure of *check* when the service ends them.

    Raises:
        OutOfTimeError: What ended them is that there is no time left.
    """
    try:
        yield from findings
    except errors.CoreClawError as error:
        examination.check_time()
        yield Finding(check, "FAIL", trouble(error))


def trouble(error: errors.CoreClawError) -> str:
    """Return what went wrong without anything that the service has said: that may be about the account."""
    status = "an answer" if error.status_code is None else f"HTTP {error.status_code}"
    if isinstance(error, errors.ApiError):
        if error.code is None or not is_service_code(error.code):
            return f"{status}, which is not the service's own word: a page of a proxy or gateway?"
        code = str(error.code) if len(str(error.code)) <= _LONGEST_CODE else "out of range"
        return f"{status} and code {code} ({type(error).__name__})"
    if isinstance(error, errors.ResponseTooLargeError):
        return f"{status} and more data than the client reads"
    if isinstance(error, errors.InvalidResponseError):
        is_envelope = error.code == 0 and error.status_code == HTTPStatus.OK
        what = "data that the client cannot read" if is_envelope else "no envelope of the service: another server?"
        return f"{status} and {what}"
    if isinstance(error, TimeoutError):
        return "no whole answer in time"
    return f"no whole answer ({type(error).__name__})"


def way_trouble(error: errors.CoreClawError) -> str:
    """Return why nothing came from a public operation, in the words of the network."""
    text = error.message
    if not isinstance(error, errors.ConfigurationError):
        text = text.partition(": ")[2] or text  # Without the name of the request.
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}..."
