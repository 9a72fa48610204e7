"""
The backend for reads on asyncio and uvloop: aiohttp, called directly.

The modules whose names begin with ``aiohttp`` are all that imports it, and the first read that may use it imports them.
A read costs a fraction of what it costs through httpx. Requests that change something never come here: the errors of
aiohttp do not prove well enough that a request was not sent.

A session of aiohttp would repeat a GET by itself when a connection that it kept was closed. So requests are written
here, from prepared headers, and each attempt is counted, logged, and let through the rate gate.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import hdrs
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import RawResponseMessage
from aiohttp.streams import StreamReader
from multidict import CIMultiDict, CIMultiDictProxy

from coreclaw_async import errors
from coreclaw_async._concurrency.clock import Clock
from coreclaw_async._http.aiohttp_connector import NoConnectionError, described
from coreclaw_async._http.aiohttp_sessions import Sessions
from coreclaw_async._http.backend import no_reply, unreadable
from coreclaw_async._http.body import BodyEncodingError, BodyTooLargeError, Unpacker
from coreclaw_async._http.headers import PreparedHeaders
from coreclaw_async._http.pool import SendProgress, TimeLimit
from coreclaw_async._http.settings import Settings
from coreclaw_async._wire.request import Request
from coreclaw_async._wire.response import HttpReply

# How long a task that should have ended is waited for before it is cancelled once more.
_AGAIN = 0.05
_FIRST_ERROR = 400
# So long reads go through httpx after an answer that aiohttp could not read.
_REST = 60.0


class TimeWatch:
    """
    One timer for all time limits of an event loop.

    It is set to when the first of them may be over, and looks at all of them then. Limits that come later usually end
    later too, so hardly any of them sets the timer.
    """

    __slots__ = ("_due", "_limits", "_timer", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._limits: set[TaskTimeLimit] = set()
        self._due = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def add(self, limit: TaskTimeLimit, due: float) -> None:
        """Look at *limit* when it is *due*, by the clock of the event loop, or earlier."""
        self._limits.add(limit)
        if due < self._due:
            self._set_to(due)

    def remove(self, limit: TaskTimeLimit) -> None:
        """Look at *limit* no more."""
        self._limits.discard(limit)

    def _set_to(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = self.loop.call_at(due, self._look)

    def _look(self) -> None:
        self._due, self._timer = math.inf, None
        now = self.loop.time()
        due = min((limit.look(now) for limit in self._limits), default=math.inf)
        if due != math.inf:
            self._set_to(due)


class TaskTimeLimit(TimeLimit):
    """
    The time limit of an attempt, which cancels the task when a timer shows that it is over.

    It costs a tenth of a cancel scope. Hearing something does not move the timer: it is found out when that is due.

    Attributes:
        ends_at: The deadline, on the clock of the event loop.
    """

    __slots__ = ("_cancelling", "_cancels", "_clock", "_silent_at", "_task", "_watch", "ends_at")

    def __init__(self, seconds: float, silence: float, watch: TimeWatch) -> None:
        self._watch = watch
        self._clock = watch.loop.time
        self.ends_at = self._clock() + seconds
        self._silence = silence
        self._silent_at = math.inf
        self._cancels = 0

    def __enter__(self) -> Self:
        task = asyncio.current_task(self._watch.loop)
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        self._watch.add(self, min(self.ends_at, self._clock() + self._silence))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self._watch.remove(self)
        if not self._cancels:
            return False
        for _ in range(self._cancels):
            self._task.uncancel()
        # Somebody else may have cancelled the task too, and that is not ours to swallow.
        return kind is asyncio.CancelledError and self._task.cancelling() <= self._cancelling

    @property
    def is_over(self) -> bool:
        """Whether the deadline itself has passed."""
        return self._clock() >= self.ends_at

    def hear(self) -> None:
        """Begin to count silence anew: something was sent or received."""
        self._silent_at = self._clock() + self._silence

    def look(self, now: float) -> float:
        """Cancel the task if the time is over, and return when to look again."""
        over_at = min(self.ends_at, self._silent_at)
        if now < over_at:
            return min(over_at, now + self._silence)
        self._cancels += 1
        self._task.cancel()
        # A cancellation can be lost, when a scope within ends in the same moment.
        return now + _AGAIN


def _as_sent(raw: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join([b"%b: %b\r\n" % header for header in raw]) + b"\r\n"


def _with_one_retry_after(headers: CIMultiDictProxy[str]) -> Mapping[str, str]:
    """Return *headers* with all values of ``Retry-After`` in one, as httpx shows them."""
    if hdrs.RETRY_AFTER not in headers or len(values := headers.getall(hdrs.RETRY_AFTER)) < 2:
        return headers
    joined = CIMultiDict(headers)
    joined[hdrs.RETRY_AFTER] = ", ".join(values)
    return joined


class AiohttpBackend:
    """
    Sends reads over the connections of the running event loop.

    Attributes:
        rests_until: When it may be used again, on the client's clock. aiohttp refuses an answer that more bytes follow,
            and one with two equal lengths. httpx reads both, and a server that sends one will send more of them.
    """

    def __init__(self, sessions: Sessions, settings: Settings, clock: Clock) -> None:
        self._sessions = sessions
        self._settings = settings
        self._clock = clock
        self.rests_until = -math.inf
        self._watch: TimeWatch | None = None
        proxy, base_url = sessions.proxy, sessions.base_url
        # Requests to a proxy name the host, but those through a tunnel, which it does not see.
        is_to_proxy = proxy.url is not None and base_url.scheme == "http"
        self._beginning = (str(base_url) if is_to_proxy else base_url.raw_path.decode("ascii")).rstrip("/")
        self._headers = PreparedHeaders(_as_sent, base_url.netloc, settings, proxy.headers if is_to_proxy else ())
        # Only for making a connection: the whole attempt has a time limit of its own.
        self._timeout = aiohttp.ClientTimeout(
            total=None, connect=settings.retry.connect_timeout, ceil_threshold=math.inf
        )

    def time_limit(self, seconds: float, *, silence: float, connecting: float) -> TimeLimit:  # noqa: ARG002 - aiohttp's
        """Return what ends an attempt after so many seconds."""
        loop, watch = asyncio.get_running_loop(), self._watch
        if watch is None or watch.loop is not loop:  # Each limit keeps its own: another thread may have another loop.
            watch = self._watch = TimeWatch(loop)
        return TaskTimeLimit(seconds, silence, watch)

    async def send(self, request: Request, progress: SendProgress) -> HttpReply:
        """Send *request* once and return its whole answer; see `Backend.send`."""
        sessions = self._sessions
        connector = await sessions.here()
        sessions.in_use += 1
        connection: Connection | None = None
        failure: errors.CoreClawError
        try:
            progress.hand_over()
            connection, handler = await connector.lend(self._timeout)
            handler.begin().write(self._target(request) + self._headers.of(request))
            message, content = await handler.answer()
            progress.time_limit.hear()
            try:
                body = await self._read(request, message, content, progress)
            finally:
                connection.release()  # It is closed where the body has not come to its end.
        except errors.CoreClawError:
            raise
        except Exception as error:  # noqa: BLE001 - aiohttp, asyncio, ssl
            is_sent = not isinstance(error, NoConnectionError)
            if isinstance(error, HttpProcessingError):
                self.rests_until = self._clock.monotonic() + _REST
            failure = no_reply(request, described(error) if is_sent else str(error), is_sent=is_sent)
        except BaseException as error:
            error.__traceback__ = None  # The frames of what was written to may hold the headers.
            raise
        else:
            return HttpReply(
                status_code=message.code,
                headers=_with_one_retry_after(message.headers),
                body=body,
                received_at=self._clock.time(),
                monotonic=self._clock.monotonic(),
                date=message.headers.get(hdrs.DATE, ""),
            )
        finally:
            sessions.in_use -= 1
            if connection is not None:
                connection.close()  # Where nobody has released it.
        # Raised outside of the handler: those frames stand in the context of what is raised in it.
        raise failure

    def _target(self, request: Request) -> bytes:
        """Return the first line of *request*."""
        key = "" if request.is_public else self._settings.credentials.query()
        query = f"{request.query}&{key}" if request.query and key else request.query or key
        mark = "?" if query else ""
        return f"{request.method} {self._beginning}{request.path}{mark}{query} HTTP/1.1\r\n".encode("ascii")

    async def _read(
        self, request: Request, message: RawResponseMessage, content: StreamReader, progress: SendProgress
    ) -> bytes:
        try:
            unpacker = Unpacker(
                message.headers.get(hdrs.CONTENT_ENCODING, ""), self._settings.max_response_bytes, progress.parts
            )
            while not content.is_eof():
                chunk = await content.readany()
                progress.time_limit.hear()
                unpacker.feed(chunk)
            if not content.at_eof():  # The rest has come, with the end.
                unpacker.feed(content.read_nowait())
            return unpacker.finish()
        except (BodyTooLargeError, BodyEncodingError) as error:
            if message.code >= _FIRST_ERROR:  # The status says more than an unreadable body.
                return b"".join(progress.parts)
            raise unreadable(request, message.code, error) from None
