"""What the checks of the doctor share: a client with the remaining time, findings, and messages for errors."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Literal, TypeAlias

import attrs
import httpx

from coreclaw_async import errors
from coreclaw_async._http.body import raw_header
from coreclaw_async._http.route import Route
from coreclaw_async._paging.offsets import Mode
from coreclaw_async._sync.generated import CoreClaw
from coreclaw_async._wire.error_codes import is_service_code
from coreclaw_async._wire.timestamps import SeenDate
from coreclaw_async.events import Event, RetryScheduled

_TOTAL_SECONDS = 28.0
_LOOK_SECONDS = 8.0
_MIN_SECONDS = 0.2
_MAX_TEXT = 200
# Codes of the service have five digits; a longer number may be private.
_MAX_CODE = 6


State: TypeAlias = Literal["OK", "WARN", "FAIL"]
Verdict: TypeAlias = Literal["holds", "does not hold", "not checked"]
_VERDICTS: dict[State, Verdict] = {"OK": "holds", "WARN": "does not hold", "FAIL": "not checked"}


@attrs.frozen
class Finding:
    """
    The result of a check.

    Attributes:
        check: The name of the check.
        state: Whether the result is as it should be.
        detail: What was found, and what to do about it; nothing that belongs to the account.
        verdict: What it says about the assumption of this name, if there is one; else by the state.
        on: What was read, where that is not the same each time.
    """

    check: str
    state: State
    detail: str
    verdict: Verdict = attrs.field(
        default=attrs.Factory(lambda self: _VERDICTS[self.state], takes_self=True), kw_only=True
    )
    on: str = attrs.field(default="", kw_only=True)


def unchecked(check: str, detail: str) -> Finding:
    """Return a finding of *check* that shows nothing, and why."""
    return Finding(check, "OK", detail, verdict="not checked")


class NotingTransport(httpx.AsyncBaseTransport):
    """
    The client's normal transport, which also records the ``Date`` of answers and the number of retries.

    Attributes:
        seen: The ``Date`` of the latest answer, and when it arrived.
        repeats: The number of retries.
    """

    def __init__(self) -> None:
        self.seen = SeenDate()
        self.repeats = 0
        self._transport: httpx.AsyncBaseTransport | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send *request* as the client does."""
        if self._transport is None:
            self._transport = Route().transport_to(request.url)
        response = await self._transport.handle_async_request(request)
        self.seen = SeenDate(raw_header(response, b"date"), time.time(), time.monotonic())
        return response

    async def aclose(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            await self._transport.aclose()

    def note(self, event: Event) -> None:
        """Count retries."""
        self.repeats += isinstance(event, RetryScheduled)


class OutOfTimeError(Exception):
    """The time for all checks is used up."""


@attrs.define(kw_only=True)
class Examination:
    """
    What the checks work with.

    Attributes:
        way: Records the time of answers.
        origin: Scheme, host and port of the service.
        meanings: What ``offset`` counts in the lists so far; the client expects the same for all lists.
        seconds: How long all checks together may take, from the creation of this object on.
        look_seconds: How long one request may take.
    """

    _client: CoreClaw = attrs.field(alias="client")
    way: NotingTransport
    origin: tuple[str, str, int | None] | None = attrs.field(default=None, init=False)
    meanings: set[Mode] = attrs.field(factory=set[Mode], init=False)
    seconds: float = _TOTAL_SECONDS
    look_seconds: float = _LOOK_SECONDS
    _began: float = attrs.field(factory=time.monotonic, init=False)

    @property
    def client(self) -> CoreClaw:
        """
        The client, with the time that its next request may take as its timeout.

        Raises:
            OutOfTimeError: There is no time left.
        """
        self.check_time()
        return self._client.with_options(timeout=min(self._left, self.look_seconds))

    def check_time(self) -> None:
        """
        Check that there is time left.

        Raises:
            OutOfTimeError: There is no time left.
        """
        if self._left < _MIN_SECONDS:
            raise OutOfTimeError

    @property
    def _left(self) -> float:
        return self._began + self.seconds - time.monotonic()

    @property
    def service_time(self) -> float:
        """The Unix time of the service's clock if its answers tell it, otherwise of this machine's clock."""
        now = self.way.seen.service_time(time.monotonic())
        return time.time() if now is None else now


def looked(examination: Examination, check: str, findings: Iterable[Finding]) -> Iterator[Finding]:
    """
    Yield *findings*, and a failure of *check* if an error of the client ends them.

    Raises:
        OutOfTimeError: There is no time left.
    """
    try:
        yield from findings
    except errors.CoreClawError as error:
        examination.check_time()
        yield Finding(check, "FAIL", trouble(error))


def trouble(error: errors.CoreClawError) -> str:
    """Return what went wrong without any message of the service, which may be about the account."""
    status = "an answer" if error.status_code is None else f"HTTP {error.status_code}"
    if isinstance(error, errors.ApiError):
        if error.code is None or not is_service_code(error.code):
            return f"{status}, which does not come from the service: a page of a proxy or gateway?"
        code = str(error.code) if len(str(error.code)) <= _MAX_CODE else "out of range"
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
    """Return why a public operation got no answer, with the error of the network."""
    text = error.message
    if not isinstance(error, errors.ConfigurationError):
        text = text.partition(": ")[2] or text  # Without the name of the request.
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}..."
