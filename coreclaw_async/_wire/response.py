"""Answers: from a HttpReply to its data, or to the error that it means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from coreclaw_async._wire.answer_json import load_usual
from coreclaw_async._wire.credentials import Credentials
from coreclaw_async._wire.error_codes import error_class, is_refusal
from coreclaw_async._wire.json_types import is_array, is_object
from coreclaw_async._wire.request import Request, Safety
from coreclaw_async._wire.timestamps import SeenDate, date_of, http_date
from coreclaw_async.errors import (
    ApiError,
    CoreClawError,
    InvalidResponseError,
    NoReplyError,
    OutcomeUnknownError,
    RunOperationError,
    printable,
)

_SUCCESS = range(200, 300)
_SNIPPET_BYTES = 200
# Also a URL without a query is matched, so that no part of a text is looked at twice: a service may send megabytes.
_URL = r"""((?:\\?/){2}[^\s"'?<>]*+)(\?[^\s"'<>]++)?"""
# One of several values; a date may have a comma behind its day.
_RETRY_AFTER = r"(?i)\s*(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,[^,]*|[^,]+"
# A longer value is a mistake: a client that obeyed it might sleep for years.
_MAX_RETRY_AFTER = 86_400.0
_JSON_START = (b"{", b"[")
_RUN_SLUG = rb'"run_slug"\s*:\s*"([^"\\]{1,128})"'
# Names under which the id of a run has been seen (coreclaw-mcp-server extractRunSlug, n8n-nodes-coreclaw extractRunId).
_RUN_MEMBERS = ("run_slug", "slug", "run_id", "id")
_MADE_MEMBERS = (*_RUN_MEMBERS, "queue_ref")
# Diagnostics are lists of strings; they are not nested deeper than this.
_MAX_DEPTH = 50


class HttpReply(NamedTuple):
    """
    One whole HTTP answer.

    Attributes:
        status_code: HTTP status.
        headers: Headers with lower-case names.
        body: The decoded content.
        received_at: When it came, in Unix seconds; a ``Retry-After`` date is compared with it.
        monotonic: The same moment by the monotonic clock.
        date: The ``Date`` header, or an empty string.
    """

    status_code: int
    headers: Mapping[str, str]
    body: bytes
    received_at: float
    monotonic: float = 0.0
    date: str = ""

    def __repr__(self) -> str:
        return f"HttpReply({self.status_code}, {len(self.body)} bytes)"  # The body may hold signed URLs.

    @property
    def seen_date(self) -> SeenDate:
        """The ``Date``, and when it came."""
        return SeenDate(self.date, self.received_at, self.monotonic)


def _shown_data(data: Any) -> str:
    """Return of data that may hold signed URLs and echo the key only which run they are about."""
    return repr({"run_slug": run_id}) if is_object(data) and (run_id := named_run(data)) is not None else "..."


class Answer:
    """
    The content of a success.

    Attributes:
        request: What it answers.
        data: The ``data`` member; None when it is absent or null.
        request_id: The id that the service gave the request.
        is_repeat: Whether an earlier send of the same request may have taken effect, and have caused a refusal of this
            one.
        attempt: How often the request has been sent, or tried to be.
        reply: The whole HTTP answer; None where the service said that the work had been done before.
    """

    __slots__ = ("attempt", "data", "is_repeat", "reply", "request", "request_id")

    def __init__(
        self,
        request: Request,
        data: Any,
        request_id: str | None = None,
        *,
        is_repeat: bool = False,
        reply: HttpReply | None = None,
    ) -> None:
        self.request = request
        self.data = data
        self.request_id = request_id
        self.is_repeat = is_repeat
        self.attempt = 1
        self.reply = reply

    def __repr__(self) -> str:
        members = f"request_id={self.request_id!r}, is_repeat={self.is_repeat}, attempt={self.attempt}"
        return f"Answer(data={_shown_data(self.data)}, {members})"


def read_answer(request: Request, reply: HttpReply, credentials: Credentials) -> Answer:
    """
    Return the answer in *reply*; an error that quotes its body does not show the key.

    Raises:
        ApiError: The service refused or failed, in the envelope, in the HTTP status, or in both.
        InvalidResponseError: A success without the service's envelope.
    """
    envelope, problem = _parse(reply.body, keeps_numbers=request.keeps_numbers)
    code = _code_of(envelope)
    is_success_status = reply.status_code in _SUCCESS
    if is_success_status and problem is None and code == 0:
        request_id = _text_or_none(envelope.get("request_id"))
        return Answer(request, envelope.get("data"), request_id and credentials.hide(request_id), reply=reply)
    if code or (not is_success_status and reply.status_code >= HTTPStatus.BAD_REQUEST):
        raise _refusal(request, reply, envelope, code, credentials)
    raise _not_an_answer(request, reply, envelope, problem, credentials)


def _parse(body: bytes, *, keeps_numbers: bool = False) -> tuple[dict[str, Any], str | None]:
    """Return the envelope and None, or what can be read of it and what is wrong."""
    if not body.strip():
        return {}, "it is empty"
    try:
        parsed = _load_exact(body) if keeps_numbers else load_usual(body)
    except RecursionError:
        return {}, "its JSON is nested too deeply"
    except ValueError:
        return {}, "it is not JSON" if not body.lstrip().startswith(_JSON_START) else "its JSON is broken"
    if not is_object(parsed):
        return {}, f"it is a JSON {type(parsed).__name__}, not an object"
    code = parsed.get("code")
    if isinstance(code, bool) or not isinstance(code, int):
        return parsed, "it has no whole number as code"
    return parsed, None


def _load_exact(body: bytes) -> Any:
    from coreclaw_async._wire.exact_numbers import load_exact  # Few programs need it.

    return load_exact(body)


def _code_of(envelope: Mapping[str, Any]) -> int | None:
    """Return the code, also where it came as a string of digits."""
    code = envelope.get("code")
    if isinstance(code, bool):
        return None
    if isinstance(code, int):
        return code
    if isinstance(code, str) and code.isascii() and code.isdigit() and len(code) < 10:
        return int(code)
    return None


def _refusal(
    request: Request, reply: HttpReply, envelope: Mapping[str, Any], code: int | None, credentials: Credentials
) -> ApiError:
    said = _text_or_none(envelope.get("message"))
    if said is None:
        said = f"HTTP {reply.status_code}, body {snippet(reply.body, credentials)}"
    kind = error_class(reply.status_code, code)
    return kind(
        f"{request.label} was answered with: {printable(said)}",
        status_code=reply.status_code,
        code=code,
        request_id=_text_or_none(envelope.get("request_id")),
        details=envelope.get("details"),
        # A date in the header is by the service's clock, so it is compared with that clock where the answer shows it.
        retry_after=parse_retry_after(reply.headers, date_of(reply.headers) or reply.received_at),
        may_have_taken_effect=request.safety is not Safety.SAFE
        and (not is_refusal(reply.status_code, code) or _names_what_was_made(envelope, reply.body)),
    )


def _names_what_was_made(envelope: Mapping[str, Any], body: bytes) -> bool:
    """Return whether a refusal contradicts itself by naming a run or a queue item."""
    data = envelope.get("data")
    is_named = is_object(data) and first_id(data, _MADE_MEMBERS) is not None
    return is_named or re.search(_RUN_SLUG, body) is not None


def named_run(data: Mapping[str, Any]) -> str | None:
    """Return the id of the run that the data of an answer names, unchanged, or None."""
    return first_id(data, _RUN_MEMBERS)


def first_id(data: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    """Return the first of the members *names* that can be an id, unchanged, or None."""
    for name in names:
        value = data.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool) and value:
            return str(value)
    return None


def _not_an_answer(
    request: Request, reply: HttpReply, envelope: Mapping[str, Any], problem: str | None, credentials: Credentials
) -> InvalidResponseError:
    what = problem if reply.status_code in _SUCCESS else f"HTTP {reply.status_code} is not followed"
    begins = f"; it begins {snippet(reply.body, credentials)}" if reply.body.strip() else ""
    return InvalidResponseError(
        f"{request.label}: the answer does not come from the API ({what}){begins}",
        status_code=reply.status_code,
        code=_code_of(envelope),
        request_id=_text_or_none(envelope.get("request_id")),
        may_have_taken_effect=request.safety is not Safety.SAFE,
    )


def no_data(answer: Answer) -> None:
    """Read a success that has no data."""


def wrong_shape(answer: Answer, problem: str, *, run_id: str | None = None) -> InvalidResponseError:
    """Return the error for a success whose ``data`` cannot be read; *run_id* is a run that it names all the same."""
    return InvalidResponseError(
        f"{answer.request.label}: the data of the answer has the wrong shape, {printable(problem)}",
        status_code=HTTPStatus.OK.value,
        code=0,
        request_id=answer.request_id,
        run_id=run_id,
        may_have_taken_effect=answer.request.safety is not Safety.SAFE,
    )


def unknown_outcome(request: Request, error: CoreClawError, body: bytes = b"") -> OutcomeUnknownError:
    """
    Return the error for a request that may have taken effect, with the id of the run if *body* names it.

    *body* is the part of the answer that came: even half of it may hold the id.
    """
    run_id = error.run_id or _run_in(body)
    return OutcomeUnknownError(
        f"{request.label} may have taken effect and is not retried: {error.message}",
        status_code=error.status_code,
        code=error.code,
        request_id=error.request_id,
        details=error.details,
        retry_after=error.retry_after,
        run_id=run_id,
        candidates=None if run_id is None else (run_id,),
    )


def _run_in(body: bytes) -> str | None:
    """Return the id of the run that *body*, whole or cut, names; None without one."""
    envelope, _ = _parse(body)
    data = envelope.get("data")
    if is_object(data) and (run_id := first_id(data, ("run_slug", "run_id"))) is not None:
        return run_id
    named = re.search(_RUN_SLUG, body)
    return None if named is None else named[1].decode("utf-8", "replace")


def is_open_question(request: Request, error: CoreClawError) -> bool:
    """
    Return whether *error* leaves open if a request that must not be sent twice took effect.

    Not a `RunOperationError`, which is the service's own word for what happened, and says that a run may exist.
    """
    if request.safety is not Safety.ONCE or isinstance(error, RunOperationError):
        return False
    return error.may_have_taken_effect or isinstance(error, NoReplyError | InvalidResponseError)


def snippet(body: bytes, credentials: Credentials) -> str:
    """Return the first bytes of a body as one printable line, without the key and without half of it at the end."""
    window = _SNIPPET_BYTES + credentials.longest
    text = credentials.hide(body[:window].decode("utf-8", "replace"))
    if len(body) > window:  # The end of the window may halve the key.
        text = text[: len(text) - credentials.longest]
    return ascii(without_queries(text)[:_SNIPPET_BYTES])


def without_queries(text: str) -> str:
    """Return *text* without the queries of its URLs: those of files hold signatures, which are as good as passwords."""
    return re.sub(_URL, _without_query, text)


def _without_query(url: re.Match[str]) -> str:
    return url[0] if url[2] is None else f"{url[1]}?<hidden>"


def redact(error: CoreClawError, credentials: Credentials) -> None:
    """Remove the key from every string that the service put into *error*."""
    error.message = without_queries(credentials.hide(error.message))
    error.args = (error.message,)
    error.request_id = None if error.request_id is None else credentials.hide(error.request_id)
    error.run_id = None if error.run_id is None else credentials.hide(error.run_id)
    error.candidates = None if error.candidates is None else tuple(map(credentials.hide, error.candidates))
    error.details = _clean(error.details, credentials, _MAX_DEPTH)


def _clean(value: Any, credentials: Credentials, depth: int) -> Any:
    if isinstance(value, str):
        return without_queries(credentials.hide(value))
    if depth == 0 and isinstance(value, list | dict):
        return "<nested too deeply>"
    if is_array(value):
        return [_clean(item, credentials, depth - 1) for item in value]
    if is_object(value):
        return {credentials.hide(key): _clean(item, credentials, depth - 1) for key, item in value.items()}
    return value


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def parse_retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """
    Return the seconds that ``Retry-After`` asks for, 0 to a day; None without a readable one.

    Both forms of RFC 9110 (10.2.3): seconds, and a date. The service documents neither; a gateway may send either, and
    may add its own header to that of the service: several stand here with commas between them, and the longest counts.
    """
    values = re.findall(_RETRY_AFTER, headers.get("retry-after", ""))
    asked = [_seconds_of(value.strip(), now) for value in values]
    return max((seconds for seconds in asked if seconds is not None), default=None)


def _seconds_of(value: str, now: float) -> float | None:
    try:
        seconds = float(value)
    except ValueError:
        date = http_date(value)
        if date is None:
            return None
        seconds = date - now
    if seconds != seconds or seconds == float("inf"):
        return None
    return min(max(0.0, seconds), _MAX_RETRY_AFTER)
