"""
The faults of a fake service, each made by one function of this module.

`FaultPlan.add` says for which requests: by operation, count and chance. `outage` and `flap` last for some time.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import httpx
from attrs import evolve, field, frozen

from coreclaw_async.testing._api.answers import (
    MESSAGES,
    Answer,
    RefusedError,
    answer_bytes,
    answer_json,
    error_envelope,
)
from coreclaw_async.testing._state.arguments import (
    check_callable,
    check_class,
    check_headers,
    check_number,
    check_status,
    check_text,
    check_type,
    check_whole,
)

_HTML = {"content-type": "text/html"}
_BAD_GATEWAY = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
_UNAVAILABLE = b"<html><head><title>503 Service Unavailable</title></head><body>nginx</body></html>"

Change = Callable[[dict[str, Any]], Any]
"""Takes the envelope of an answer and returns what to answer instead."""


@frozen(kw_only=True)
class Period:
    """
    When a fault shows, in seconds of the service's clock since it was planned.

    Attributes:
        begin: When it begins.
        end: When it is over; may be infinite.
        down: For how long it shows at a time; may be infinite.
        up: For how long it then does not show.

    Example::

        fault = faults.flap(down_minutes=1, up_minutes=4)
        assert fault.period is not None
        assert fault.period.is_down(30)
    """

    begin: float
    end: float
    down: float
    up: float

    def is_down(self, passed: float) -> bool:
        """Return whether the fault shows after *passed* seconds."""
        return self.begin <= passed < self.end and (passed - self.begin) % (self.down + self.up) < self.down


@frozen(kw_only=True)
class Fault:
    """
    Something that goes wrong with a request. Make it with a function of this module.

    Attributes:
        name: The function it was made with; several names, with commas, for combined ones.
        processes: Whether the service does what was asked.
        ending: Whether the answer comes, or how it is lost.
        error: The exception for a lost connection in memory; None takes ``ReadError`` and ``RemoteProtocolError`` in
            turn.
        keep: How many bytes of a truncated body are sent.
        replacement: An answer that is sent instead of the service's.
        change: Changes the envelope of the answer.
        seconds: How long the answer is held back.
        chunk: Bytes in each piece of the answer; 0 for all at once.
        pause: Seconds between the pieces.
        new_items: How many rows or runs are inserted at the front of the requested list.
        period: When it shows; None for at any time.

    Example::

        fault = faults.status(502)
        print(fault.name, fault.processes)
    """

    name: str
    processes: bool = True
    ending: Literal["answer", "refuse", "drop", "truncate", "stall"] = "answer"
    error: type[httpx.TransportError] | None = None
    keep: int = 0
    replacement: Answer | None = field(default=None, repr=False)
    change: Change | None = field(default=None, repr=False)
    seconds: float = 0.0
    chunk: int = 0
    pause: float = 0.0
    new_items: int = 0
    period: Period | None = None


def outage(*, minutes: float, after_minutes: float = 0.0, failure: Fault | None = None) -> Fault:
    """
    Let requests fail for some time, by the service's clock.

    Args:
        minutes: How long it lasts, above 0.
        after_minutes: How long after it was planned it begins, 0 or more.
        failure: How each request fails, for example ``status(502)``, `refuse_connection()` or `stall()`. None takes
            ``status(502)``, the page of a gateway.

    Raises:
        ValueError: A time is out of range, or ``failure`` has times of its own.
        TypeError: An argument has another type.

    Example::

        service.faults.add(faults.outage(minutes=20, failure=faults.refuse_connection()))
        run = await client.runs.wait(run)  # A wait goes through it.
    """
    lasts = check_number("minutes", minutes, unit="minutes", is_above=True) * 60
    begin = check_number("after_minutes", after_minutes, unit="minutes") * 60
    return _at_times("outage", Period(begin=begin, end=begin + lasts, down=math.inf, up=0.0), failure)


def flap(
    *,
    down_minutes: float,
    up_minutes: float,
    minutes: float | None = None,
    after_minutes: float = 0.0,
    failure: Fault | None = None,
) -> Fault:
    """
    Let requests fail and succeed by turns, by the service's clock; it begins with failing.

    Args:
        down_minutes: For how long requests fail each time, above 0.
        up_minutes: For how long they then do not, above 0.
        minutes: How long this goes on in all, above 0; None for ever.
        after_minutes: How long after it was planned it begins, 0 or more.
        failure: How each request fails, see `outage`.

    Raises:
        ValueError: A time is out of range, or ``failure`` has times of its own.
        TypeError: An argument has another type.

    Example::

        service.faults.add(faults.flap(down_minutes=2, up_minutes=5, minutes=60))
        run = await client.runs.wait(run)
    """
    down = check_number("down_minutes", down_minutes, unit="minutes", is_above=True) * 60
    up = check_number("up_minutes", up_minutes, unit="minutes", is_above=True) * 60
    begin = check_number("after_minutes", after_minutes, unit="minutes") * 60
    lasts = math.inf if minutes is None else check_number("minutes", minutes, unit="minutes", is_above=True) * 60
    return _at_times("flap", Period(begin=begin, end=begin + lasts, down=down, up=up), failure)


def _at_times(name: str, period: Period, failure: Fault | None) -> Fault:
    check_type("failure", failure, Fault, or_none=True)
    if failure is None:
        failure = status(502, _BAD_GATEWAY)
    if failure.period is not None:
        raise ValueError(f"failure must not have times of its own, as {failure.name} has")
    return evolve(failure, name=name, period=period)


def commit_then_drop(*, error: type[httpx.TransportError] | None = None) -> Fault:
    """
    Process the request, then lose the connection without an answer.

    Raises:
        TypeError: *error* is no class of ``httpx.TransportError``.

    Example::

        service.faults.add(faults.commit_then_drop(), operation="runWorker")
        with contextlib.suppress(OutcomeUnknownError):
            await client.workers.start_run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]})
        assert service.runs_created == 1
    """
    check_class("error", error, httpx.TransportError)
    return Fault(name="commit_then_drop", ending="drop", error=error)


def drop_before_commit(*, error: type[httpx.TransportError] | None = None) -> Fault:
    """
    Read the request, then lose the connection; nothing is processed.

    Raises:
        TypeError: *error* is no class of ``httpx.TransportError``.

    Example::

        service.faults.add(faults.drop_before_commit(), operation="runWorker")
        with contextlib.suppress(OutcomeUnknownError):
            await client.workers.start_run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]})
        assert service.runs_created == 0
    """
    check_class("error", error, httpx.TransportError)
    return Fault(name="drop_before_commit", ending="drop", processes=False, error=error)


def refuse_connection() -> Fault:
    """
    Refuse the connection, so that the request has certainly not been sent.

    In memory this is `httpx.ConnectError`. A real socket is already accepted at that point and is reset instead, which
    tells a client less.

    Example::

        service.faults.add(faults.refuse_connection(), operation="runWorker")
        await client.workers.start_run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]})
        assert service.runs_created == 1  # It was sent again, as the first had certainly not been.
    """
    return Fault(name="refuse_connection", ending="refuse", processes=False)


def commit_then_status(status: int = 502, body: bytes = _BAD_GATEWAY, headers: Mapping[str, str] = _HTML) -> Fault:
    """
    Process the request, then answer as a gateway that lost the service would.

    Args:
        status: The HTTP status.
        body: The body of the answer.
        headers: Its headers.

    Raises:
        ValueError: An argument is out of range.
        TypeError: An argument has another type.

    Example::

        service.faults.add(faults.commit_then_status(504), operation="runWorker")
        with contextlib.suppress(OutcomeUnknownError):
            await client.workers.start_run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]})
        assert service.runs_created == 1
    """
    return evolve(reply(body, status=status, headers=headers), name="commit_then_status")


def status(status: int = 503, body: bytes = _UNAVAILABLE, headers: Mapping[str, str] = _HTML) -> Fault:
    """
    Answer with an HTTP status and no envelope, without processing the request.

    Args:
        status: The HTTP status.
        body: The body of the answer.
        headers: Its headers.

    Raises:
        ValueError: An argument is out of range.
        TypeError: An argument has another type.

    Example::

        service.faults.add(faults.status(503), times=2)
        account = await client.account.get()  # The third attempt.
    """
    return evolve(reply(body, status=status, headers=headers, commit=False), name="status")


def error(
    code: int,
    status: int = 400,
    message: str | None = None,
    details: list[str] | None = None,
    *,
    commit: bool = False,
) -> Fault:
    """
    Answer with an error envelope.

    Args:
        code: The application code.
        status: The HTTP status; 200 is possible.
        message: None takes the documented one.
        details: The ``details`` member; None leaves it out.
        commit: Whether the request is processed nevertheless.

    Raises:
        ValueError: An argument is out of range.
        TypeError: An argument has another type.

    Example::

        service.faults.add(faults.error(30001), operation="runWorker")
        with contextlib.suppress(InsufficientBalanceError):
            await client.workers.start_run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]})
    """
    check_whole("code", code, low=-(2**63), high=2**63 - 1)
    check_status(status)
    check_type("details", details, list, or_none=True)
    check_type("commit", commit, bool)
    for place, detail in enumerate(details or ()):
        check_text(f"details[{place}]", detail)
    text = MESSAGES.get(code, "error") if message is None else message
    check_text("message", text)
    refused = RefusedError(status, code, text, details=details)
    answer = answer_json(error_envelope(refused, "req-fault"), status=status)
    return Fault(name="error", processes=commit, replacement=answer)


def rate_limited(retry_after: float | str | None = None, *, in_200: bool = False) -> Fault:
    """
    Answer 429 with 13000, without processing the request.

    Args:
        retry_after: The ``Retry-After`` header: seconds, or an HTTP date as a string. None for no header.
        in_200: Answer 13000 inside HTTP 200.

    Raises:
        ValueError: An argument is out of range.
        TypeError: An argument has another type.

    Example::

        service.faults.add(faults.rate_limited(retry_after=5))
        account = await client.account.get()  # Five seconds later.
    """
    status = 200 if in_200 else 429
    check_type("in_200", in_200, bool)
    headers = {} if retry_after is None else {"retry-after": str(retry_after)}
    check_headers("headers", headers)
    envelope = error_envelope(RefusedError(status, 13000), "req-fault")
    answer = answer_json(envelope, status=status, headers=headers)
    return Fault(name="rate_limited", processes=False, replacement=answer)


def truncate(keep: int = 20) -> Fault:
    """
    Process the request, send ``keep`` bytes of the answer's body, then lose the connection.

    Raises:
        ValueError: An argument is out of range.
        TypeError: An argument has another type.

    Example::

        service.faults.add(faults.truncate(keep=20), operation="getAccount")
        account = await client.account.get()
    """
    check_whole("keep", keep, low=0)
    return Fault(name="truncate", ending="truncate", keep=keep)


def reply(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None, *, commit: bool = True) -> Fault:
    """
    Answer with any bytes.

    Args:
        body: The body.
        status: The HTTP status.
        headers: Headers; without a content type it is JSON.
        commit: Whether the request is processed before.

    Raises:
        ValueError: An argument is out of range.
        TypeError: An argument has another type.

    Example::

        service.faults.add(faults.reply(b"<html>Sign in to the Wi-Fi</html>"), operation="getAccount")
        account = await client.account.get()
    """
    check_type("body", body, bytes)
    check_status(status)
    check_headers("headers", {} if headers is None else headers)
    check_type("commit", commit, bool)
    return Fault(name="reply", processes=commit, replacement=answer_bytes(body, status=status, headers=headers))


def edit(change: Change) -> Fault:
    """
    Process the request, and answer with what ``change`` returns for the envelope.

    Raises:
        TypeError: *change* cannot be called.

    Example::

        def without_balance(envelope: dict[str, Any]) -> dict[str, Any]:
            del envelope["data"]["balance"]
            return envelope


        service.faults.add(faults.edit(without_balance), operation="getAccount")
        assert (await client.account.get()).balance is None
    """
    check_callable("change", change)
    return Fault(name="edit", change=change)


def stall(*, commit: bool = True) -> Fault:
    """
    Accept the request and never answer; it ends when the client leaves or its read timeout is over.

    In memory, the read timeout of an httpx client passes by the service's clock. `AsyncCoreClaw` measures silence by
    real time: give it a short ``RetryPolicy(attempt_timeout=...)``, or ``timeout=`` where it starts runs.

    Raises:
        TypeError: *commit* is no bool.

    Example::

        service.faults.add(faults.stall(), operation="getAccount")
        hasty = client.with_options(retry=RetryPolicy(attempt_timeout=0.05))
        account = await hasty.account.get()
    """
    check_type("commit", commit, bool)
    return Fault(name="stall", ending="stall", processes=commit)


def delay(seconds: float) -> Fault:
    """
    Process the request, and hold the answer back for *seconds*.

    They are those of the service's clock in memory, real ones on a socket. Can be combined with another fault.

    Raises:
        ValueError: An argument is out of range.
        TypeError: An argument has another type.

    Example::

        service.faults.add(faults.delay(5), operation="getAccount")
        account = await client.account.get()
    """
    return Fault(name="delay", seconds=check_number("seconds", seconds, unit="seconds"))


def drip(chunk: int = 16, pause: float = 0.05) -> Fault:
    """
    Process the request, and send the answer's body in small pieces.

    Args:
        chunk: Bytes in a piece.
        pause: Seconds between two pieces, by the service's clock in memory and real ones on a socket.

    Raises:
        ValueError: An argument is out of range.
        TypeError: An argument has another type.

    Example::

        service.faults.add(faults.drip(chunk=64, pause=0.1), operation="getAccount")
        account = await client.account.get()
    """
    check_whole("chunk", chunk, low=1)
    return Fault(name="drip", chunk=chunk, pause=check_number("pause", pause, unit="seconds"))


def redirect(location: str, status: int = 307) -> Fault:
    """
    Send the client elsewhere, without processing the request.

    Args:
        location: The URL in the ``Location`` header.
        status: The HTTP status.

    Raises:
        ValueError: An argument is out of range.
        TypeError: An argument has another type.

    Example::

        service.faults.add(faults.redirect("https://elsewhere.example.com/"), operation="getAccount")
        with contextlib.suppress(CoreClawError):
            await client.account.get()
        assert service.requests[-1].host != "elsewhere.example.com"
    """
    check_type("location", location, str)
    return evolve(reply(b"", status=status, headers={"location": location}, commit=False), name="redirect")


def insert_front(count: int) -> Fault:
    """
    Insert ``count`` new rows or runs at the front of a list of results or runs before it is answered.

    Raises:
        ValueError: An argument is out of range.
        TypeError: An argument has another type.

    Example::

        service.faults.add(faults.insert_front(1), operation="listWorkerRuns", after=1)
        runs = await client.runs.iterate(page_size=1).collect()
    """
    check_whole("count", count, low=1)
    return Fault(name="insert_front", new_items=count)


def gzip_bomb(size: int) -> Fault:
    """
    Process the request, and answer with a small body that unpacks to ``size`` bytes of JSON.

    Raises:
        ValueError: An argument is out of range.
        TypeError: An argument has another type.

    Example::

        service.faults.add(faults.gzip_bomb(2_000_000), operation="getAccount")
        with contextlib.suppress(ResponseTooLargeError):
            await client.with_options(max_response_bytes=1_000_000).account.get()
    """
    check_whole("size", size, low=50)
    packer = zlib.compressobj(level=9, wbits=31)
    packed = b"".join(packer.compress(piece) for piece in _padded_envelope(size)) + packer.flush()
    return evolve(reply(packed, headers={"content-encoding": "gzip"}), name="gzip_bomb")


def _padded_envelope(size: int) -> Iterator[bytes]:
    head, tail = b'{"code":0,"message":"success","data":"', b'"}'
    block = b"a" * 65_536
    yield head
    left = size - len(head) - len(tail)
    while left > 0:
        yield block[:left]
        left -= len(block)
    yield tail
