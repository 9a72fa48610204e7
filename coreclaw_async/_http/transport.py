"""Sending: admission, deadline, classification, and a second attempt only where that cannot cost twice."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable
from typing import Any, TypeVar

import attrs
import httpx

from coreclaw_async import errors
from coreclaw_async._concurrency.clock import Clock
from coreclaw_async._http.body import BodyEncodingError, BodyTooLargeError, WholeBody, raw_header, read_body
from coreclaw_async._http.causes import described, make_presentable
from coreclaw_async._http.connections import Connections, MaskedURL
from coreclaw_async._http.fence import FencedBody, SendWindow
from coreclaw_async._http.log_filter import hide_in_logs
from coreclaw_async._http.pool import SEND_PROGRESS, SendProgress, TimeLimit
from coreclaw_async._http.rate_gate import RateGate
from coreclaw_async._version import __version__
from coreclaw_async._wire.credentials import Credentials
from coreclaw_async._wire.error_codes import is_service_code
from coreclaw_async._wire.request import Request, Safety
from coreclaw_async._wire.response import Answer, Reply, is_open_question, read_answer, redact, unknown_outcome
from coreclaw_async._wire.retry import RetryPolicy
from coreclaw_async.events import Event, RequestSent, RetryScheduled

logger = logging.getLogger("coreclaw_async")

T = TypeVar("T")

USER_AGENT = f"coreclaw-async/{__version__}"

# Raised by httpx before a byte of the request has left; good enough where sending again is safe anyhow.
_NOT_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)
# Before its deadline a call is tried once more, rather than given up for a wait that would end after it.
_LAST_CHANCE = 1.0


# A run that is waited for is asked for again and again, and parsing a URL is most of the making of a request.
_parse = functools.lru_cache(maxsize=256)(httpx.URL)


@attrs.frozen(kw_only=True)
class Settings:
    """
    What `with_options` may change from one copy of a client to the next.

    Attributes:
        credentials: The key and how it travels.
        timeout: Seconds one call may take: queueing, attempts and waits together.
        retry: How often and how patiently a request is retried.
        max_response_bytes: Largest answer that is read, unpacked.
        on_event: Called with each event, or None.
    """

    credentials: Credentials
    timeout: float
    retry: RetryPolicy
    max_response_bytes: int
    on_event: Callable[[Event], None] | None = None


class _Headers:
    """The headers of API requests, with and without the key, ready to be copied; in slots, which no repr shows."""

    __slots__ = ("_with_key", "public")

    def __init__(self, host: bytes, credentials: Credentials) -> None:
        common = [
            (b"Host", host),
            (b"Accept", b"application/json"),
            (b"Accept-Encoding", b"gzip"),
            (b"User-Agent", USER_AGENT.encode()),
        ]
        self.public = httpx.Headers(common)
        self._with_key = httpx.Headers([*common, *credentials.headers()])

    def of(self, request: Request) -> httpx.Headers:
        """Return the headers of *request*; they must get into no frame that an error can pass through."""
        prepared = self.public if request.is_public else self._with_key
        if request.body is None:
            return prepared
        length = str(len(request.body)).encode()
        return httpx.Headers([*prepared.raw, (b"Content-Type", b"application/json"), (b"Content-Length", length)])


class Transport:
    """Sends requests for one client (or one light copy of it) and returns their answers."""

    def __init__(self, connections: Connections, settings: Settings, clock: Clock, gate: RateGate) -> None:
        self.connections = connections
        self.gate = gate
        self.settings = settings
        self.clock = clock
        self._base_url = str(connections.base_url).rstrip("/")
        self._headers = _Headers(connections.base_url.netloc, settings.credentials)
        self._httpx_timeout = {
            "connect": settings.retry.connect_timeout,
            "read": None,
            "write": None,
            "pool": None,
        }
        hide_in_logs(settings.credentials)
        self.local_time()

    def with_settings(self, settings: Settings) -> Transport:
        """Return another transport on the same connections; another key has a rate of its own."""
        is_other_key = settings.credentials is not self.settings.credentials
        gate = RateGate(self.clock) if is_other_key else self.gate
        return Transport(self.connections, settings, self.clock, gate)

    def service_time(self) -> float:
        """Return what the service's clock shows, in Unix seconds, as far as its answers told; else this machine's."""
        now = self.connections.last_date.service_time(self.clock.monotonic())
        return self.clock.time() if now is None else now

    @property
    def knows_service_time(self) -> bool:
        """Whether an answer has told the service's clock, and no clock of this machine was set since then."""
        return self.connections.last_date.is_trusted(self.clock.time(), self.clock.monotonic())

    def local_time(self) -> float:
        """Return what this machine's clock shows, in Unix seconds, and record whether it was set."""
        now = self.clock.time()
        self.connections.clock_steps.note(now, self.clock.monotonic())
        return now

    def emit(self, event: Event) -> None:
        """Tell the hook; an error of its own is logged and changes nothing."""
        hook = self.settings.on_event
        if hook is not None:
            try:
                hook(event)
            except Exception:
                logger.exception("the on_event hook failed on %s", type(event).__name__)

    async def call(
        self,
        request: Request,
        read: Callable[[Request, Answer], T],
        *,
        deadline: float | None = None,
        window: SendWindow | None = None,
        is_probe: bool = False,
    ) -> T:
        """
        Send *request*, again where that is safe, and return what *read* makes of the answer.

        Args:
            request: What to send.
            read: Turns a success into its result, or raises InvalidResponseError; a read that was answered with
                something else than the service promises is retried.
            deadline: When to give up, on the client's monotonic clock; None for the client's own timeout from now on.
            window: When its bytes must have left, or never; for a request with a body that must not be sent twice.
            is_probe: Whether to try once only, because whoever asks asks again at a time of his own.

        Raises:
            CoreClawError: See `coreclaw_async.errors`; nothing else but cancellation.
        """
        if self.settings.credentials.is_missing and not request.is_public:
            raise errors.ConfigurationError(f"{request.label} needs an API key: give api_key= or set CORECLAW_API_KEY")
        policy = self.settings.retry
        began = self.clock.monotonic()
        if deadline is None:
            deadline = began + max(self.settings.timeout, request.min_timeout)
        gives_up_at = deadline if policy.max_elapsed is None else min(deadline, began + policy.max_elapsed)
        ticket = self.gate.ticket(is_urgent=request.is_urgent)
        delays = None
        may_have_worked = False
        attempt = 1
        while True:
            self.connections.check_open()
            outcome = await self._attempt(
                request,
                read,
                # In no local of this frame, which an error shows: it holds what came of the answer.
                self._send_progress(request, deadline - self.clock.monotonic(), window),
                ticket,
                deadline,
                attempt,
                is_repeat=may_have_worked,
            )
            if not isinstance(outcome, errors.CoreClawError):
                return outcome
            failure = outcome
            is_settled = request.already_done_error is not None and isinstance(failure, request.already_done_error)
            if may_have_worked and is_settled and is_service_code(failure.code):  # A gateway's page settles nothing.
                return read(request, Answer(None, failure.request_id, is_repeat=True))
            delays = policy.delays() if delays is None else delays
            wait = None if is_probe else policy.next_wait(request, failure, delays)
            if wait is not None:
                wait = self._fitted(wait, failure, gives_up_at)
            if wait is None:
                break
            may_have_worked = may_have_worked or failure.may_have_taken_effect
            kind = type(failure).__name__
            self.emit(RetryScheduled(operation=request.operation, attempt=attempt, wait=wait, error=kind))
            logger.debug("%s is retried in %.2f s after %s", request.label, wait, kind)
            if not isinstance(failure, errors.RateLimitedError):  # Which waits at the gate.
                await self.clock.sleep(wait)
            if self.clock.monotonic() >= gives_up_at:  # The sleep took longer than it was asked to.
                break
            attempt += 1
        try:
            raise failure
        finally:
            del failure, outcome  # Or the error and this frame would keep each other.

    def _fitted(self, wait: float, failure: errors.CoreClawError, gives_up_at: float) -> float | None:
        """Return the seconds to wait before the next attempt, or None when it would come too late."""
        left = gives_up_at - self.clock.monotonic()
        if isinstance(failure, errors.RateLimitedError):
            wait = self.gate.opens_in()
            return wait if wait < left else None
        if wait < left:
            return wait
        return left - _LAST_CHANCE if failure.retry_after is None and left > _LAST_CHANCE else None

    async def _attempt(
        self,
        request: Request,
        read: Callable[[Request, Answer], T],
        progress: SendProgress,
        ticket: int,
        deadline: float,
        attempt: int,
        *,
        is_repeat: bool,
    ) -> T | errors.CoreClawError:
        """
        Send *request* once and return its result, or the error that it ended with.

        The error is returned and not raised: a traceback would show the frames down here to whoever prints local
        variables, with the answer (which may repeat the key) and the request (which carries it) among them.
        """
        started = self.clock.monotonic()
        reply: Reply | None = None
        answer: Answer | None = None
        failure: errors.CoreClawError | None = None
        result: T | errors.CoreClawError
        try:
            reply = await self._exchange(request, progress, ticket, deadline)
            answer = read_answer(request, reply, self.settings.credentials)
            self.connections.last_date = reply.seen_date
            if is_repeat:
                answer = attrs.evolve(answer, is_repeat=True)
            self._note_taken()
            result = read(request, answer)
        except errors.CoreClawError as error:
            failure = error
            if isinstance(error, errors.ApiError) and error.code is not None and reply is not None:
                self.connections.last_date = reply.seen_date
            if reply is not None and isinstance(error, errors.RateLimitedError):
                self.gate.note_refused(self.settings.retry, left_at=progress.admitted_at, retry_after=error.retry_after)
            if is_open_question(request, error):
                failure = unknown_outcome(request, error, b"".join(progress.parts))
                failure.__cause__ = error
            for each in (failure, error):
                redact(each, self.settings.credentials)
            make_presentable(failure, self.settings.credentials, self._base_url)
            result = failure
            if reply is not None and answer is None and not isinstance(error, errors.RateLimitedError):
                self._note_taken()
        except BaseException:
            self._report(request, attempt, self.clock.monotonic() - started, reply, answer, failure)
            raise
        try:
            self._report(request, attempt, self.clock.monotonic() - started, reply, answer, failure)
        except BaseException as error:  # A hook may end the program; what was started goes on.
            error.add_note(f"{request.label} was answered with {result!r}")
            raise
        return result

    def _note_taken(self) -> None:
        """Record that the service did not refuse a request for its rate."""
        self.gate.note_taken()
        self.connections.limiter().widen()

    def _report(
        self,
        request: Request,
        attempt: int,
        elapsed: float,
        reply: Reply | None,
        answer: Answer | None,
        failure: errors.CoreClawError | None,
    ) -> None:
        """Log and emit the end of an attempt; a cancelled one has neither answer nor failure."""
        if self.settings.on_event is None and not logger.isEnabledFor(logging.DEBUG):
            return
        hide = self.settings.credentials.hide  # Mixed-up arguments can put the key into a path.
        said = failure or answer
        outcome = type(failure).__name__ if failure else "success" if answer else "Cancelled"
        code = failure.code if failure else 0 if answer else None
        request_id = hide(said.request_id) if said and said.request_id else None
        status_code = reply.status_code if reply else failure.status_code if failure else None
        logger.debug(
            "%s: %s, HTTP %s, code %s, request_id %s, attempt %d, %.1f ms",
            hide(request.label),
            outcome,
            status_code,
            code,
            request_id,
            attempt,
            elapsed * 1000,
        )
        self.emit(
            RequestSent(
                operation=request.operation,
                method=request.method,
                path=hide(request.path),
                attempt=attempt,
                elapsed=elapsed,
                status_code=status_code,
                code=code,
                request_id=request_id,
                error=outcome if failure or answer is None else None,
            )
        )

    def _send_progress(self, request: Request, seconds: float, window: SendWindow | None) -> SendProgress:
        is_exclusive = request.safety is Safety.ONCE
        policy = self.settings.retry
        # What may take long by contract is silent meanwhile, and what must not be sent twice had better be waited for.
        may_be_silent = is_exclusive or request.min_timeout > 0
        limit = TimeLimit(
            seconds,
            silence=math.inf if may_be_silent else policy.attempt_timeout,
            connecting=policy.connect_timeout,
        )
        if not is_exclusive:
            return SendProgress(time_limit=limit)
        connections = self.connections
        return SendProgress(
            is_exclusive=True,
            is_traced=connections.is_traced,
            is_spoiled=connections.has_leftovers,
            fenced=None if window is None or request.body is None else FencedBody(request.body, window),
            time_limit=limit,
        )

    async def _exchange(self, request: Request, progress: SendProgress, ticket: int, deadline: float) -> Reply:
        """Return the whole HTTP answer to one attempt that ends at *deadline* at the latest."""
        began = self.clock.monotonic()
        limiter = self.connections.limiter()
        leaves_by = deadline if progress.fenced is None else min(deadline, progress.fenced.window.first_by)
        try:
            with progress.time_limit.scope:
                while True:
                    if not await self.gate.pass_through(ticket, leaves_by):
                        raise self._kept_back(request)
                    closings = self.gate.closings
                    async with limiter:
                        if self.gate.closings != closings:  # While this one waited for the others.
                            continue
                        progress.is_admitted = True
                        progress.admitted_at = self.clock.monotonic()
                        progress.time_limit.hear()
                        return await self._send(request, progress)
        except BaseException as error:
            is_end = not isinstance(error, errors.CoreClawError | GeneratorExit)
            if not is_end or request.safety is not Safety.ONCE or not progress.may_have_left:
                raise
            # A cancelled scope would swallow the cancellation, and with it the only trace of a run that is paid for;
            # what else ends a program would end it without a word of the run.
            raise errors.NoReplyError(f"{request.label} was cancelled after it had left") from error
        if progress.time_limit.is_over:
            raise self._late(request, progress, self.clock.monotonic() - began)
        raise await self._silent(request, progress)

    def _kept_back(self, request: Request) -> errors.CoreClawError:
        seconds = self.gate.opens_in()
        return errors.SendTimeoutError(
            f"{request.label} was not sent: the service takes no more requests for now, and the deadline comes first",
            retry_after=seconds or None,
        )

    async def _silent(self, request: Request, progress: SendProgress) -> errors.CoreClawError:
        """Return the error of an attempt that was given up before its deadline, for another one."""
        if not progress.may_have_left:
            seconds = self.settings.retry.connect_timeout
            return errors.RequestNotSentError(f"{request.label} was not sent: no connection within {seconds:.3g} s")
        await self.connections.close_idle()
        return errors.NoReplyError(
            f"{request.label} got nothing for {self.settings.retry.attempt_timeout:.3g} s",
            may_have_taken_effect=request.safety is not Safety.SAFE,
        )

    @staticmethod
    def _late(request: Request, progress: SendProgress, seconds: float) -> errors.CoreClawError:
        if not progress.is_admitted or not progress.may_have_left:
            where = "it had left" if progress.is_admitted and progress.fenced is not None else "a connection was ready"
            return errors.SendTimeoutError(f"{request.label} was not sent: {seconds:.3g} s passed before {where}")
        return errors.RequestTimeoutError(
            f"{request.label} got no whole answer within {seconds:.3g} s",
            may_have_taken_effect=request.safety is not Safety.SAFE,
        )

    async def _send(self, request: Request, progress: SendProgress) -> Reply:
        outgoing = self._prepare(request, progress)
        try:
            client = self.connections.client
            progress.hand_over()
            response = await client.send(outgoing, stream=True, auth=None, follow_redirects=False)
            progress.time_limit.hear()
            body = await self._read(request, response, progress)
        except BaseException as error:
            outgoing.headers, outgoing.url = self._headers.public, httpx.URL(self._base_url + request.path)
            if isinstance(error, Exception) and not isinstance(error, errors.CoreClawError):
                # Nothing foreign may leave, and a start may be under way.
                raise self._no_reply(request, progress, error) from error
            make_presentable(error, self.settings.credentials, self._base_url)
            raise
        return Reply(
            status_code=response.status_code,
            headers=response.headers,
            body=body,
            received_at=self.clock.time(),
            monotonic=self.clock.monotonic(),
            date=raw_header(response, b"date"),
        )

    async def _read(self, request: Request, response: httpx.Response, progress: SendProgress) -> bytes:
        try:
            return await read_body(response, self.settings.max_response_bytes, progress.parts, progress.time_limit.hear)
        except (BodyTooLargeError, BodyEncodingError) as error:
            if response.is_error:  # The status says more than a body that nobody can read.
                return b"".join(progress.parts)
            kind = errors.ResponseTooLargeError if isinstance(error, BodyTooLargeError) else errors.InvalidResponseError
            raise kind(
                f"{request.label}: {error}",
                status_code=response.status_code,
                may_have_taken_effect=request.safety is not Safety.SAFE,
            ) from None

    def _no_reply(self, request: Request, progress: SendProgress, error: Exception) -> errors.CoreClawError:
        if progress.fenced is not None and progress.fenced.withheld is not None and not progress.may_have_left:
            return errors.SendTimeoutError(f"{request.label} was not sent, {progress.fenced.withheld}")
        what = described(error)
        is_early = isinstance(error, _NOT_SENT) and request.safety is not Safety.ONCE
        if is_early or not progress.may_have_left:
            return errors.RequestNotSentError(f"{request.label} was not sent: {what}")
        return errors.NoReplyError(
            f"{request.label} got no whole answer: {what}",
            may_have_taken_effect=request.safety is not Safety.SAFE,
        )

    def _prepare(self, request: Request, progress: SendProgress) -> httpx.Request:
        """Return the httpx request: prepared headers, an encoded body, no timeouts but the deadline."""
        query = request.query
        key = "" if request.is_public else self.settings.credentials.query()
        if key:
            query = f"{query}&{key}" if query else key
        text = f"{self._base_url}{request.path}?{query}" if query else self._base_url + request.path
        extensions: dict[str, Any] = {"timeout": self._httpx_timeout, SEND_PROGRESS: progress}
        if progress.is_exclusive:  # Where it counts, httpcore tells how far the request has come.
            extensions["trace"] = progress.trace
        outgoing = httpx.Request(
            request.method,
            httpx.URL(text) if key else _parse(text),
            headers=self._headers.of(request),
            stream=WholeBody(request.body or b"") if progress.fenced is None else progress.fenced,
            extensions=extensions,
        )
        if key:
            outgoing.url = MaskedURL(outgoing.url)
        return outgoing
