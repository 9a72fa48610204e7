"""
Backends: what sends one request and returns its whole answer.

There are two, and `Sender` chooses between them for each request:

* `coreclaw_async._http.httpx_backend`: sends everything, on asyncio, uvloop and trio. What must not be done twice goes
  through it alone, because it can prove that a request was not sent.
* `coreclaw_async._http.aiohttp_backend`: sends reads only (``Safety.SAFE``), on asyncio and uvloop, where the extra
  ``[speed]`` is installed, and not for a minute after an answer that aiohttp could not read.
"""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias

from coreclaw_async import errors
from coreclaw_async._http.body import BodyTooLargeError
from coreclaw_async._http.pool import SendProgress, TimeLimit
from coreclaw_async._wire.request import Request, Safety
from coreclaw_async._wire.response import HttpReply

BackendName: TypeAlias = Literal["httpx", "aiohttp"]
"""What sends reads."""
BackendChoice: TypeAlias = Literal["auto", "httpx", "aiohttp"]
"""What a client is asked to send reads through; ``auto`` takes aiohttp where it can, see `AsyncCoreClaw`."""


class Backend(Protocol):
    """Sends a request once and returns the answer; made for the settings of one client or light copy."""

    def time_limit(self, seconds: float, *, silence: float, connecting: float) -> TimeLimit:
        """Return what ends an attempt in this backend, after so many seconds; see `TimeLimit`."""
        ...

    async def send(self, request: Request, progress: SendProgress) -> HttpReply:
        """
        Send *request* once, without redirects and cookies, and return its whole answer.

        *progress* is told when the request is handed over, when something was heard, and what has come of the body.
        Its time limit has been entered, and ends this call by a cancellation.

        Raises:
            RequestNotSentError: It was not sent.
            NoReplyError: It may have been sent, and no whole answer came.
            InvalidResponseError: The body of a success cannot be unpacked, or is larger than allowed.
            ConfigurationError: The client is closed, or cannot connect as it is set up.
        """
        ...


def no_reply(request: Request, what: str, *, is_sent: bool) -> errors.CoreClawError:
    """Return the error of a request that a library could not send, or got no whole answer to, because of *what*."""
    if not is_sent:
        return errors.RequestNotSentError(f"{request.label} was not sent: {what}")
    return errors.NoReplyError(
        f"{request.label} got no whole answer: {what}", may_have_taken_effect=request.safety is not Safety.SAFE
    )


def unreadable(request: Request, status_code: int, error: Exception) -> errors.CoreClawError:
    """Return the error of an answer whose body is too large or cannot be unpacked."""
    kind = errors.ResponseTooLargeError if isinstance(error, BodyTooLargeError) else errors.InvalidResponseError
    return kind(
        f"{request.label}: {error}",
        status_code=status_code,
        may_have_taken_effect=request.safety is not Safety.SAFE,
    )
