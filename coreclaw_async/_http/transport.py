"""Transport: a call with all its attempts; it is retried only where that cannot cost twice."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

from coreclaw_async import errors
from coreclaw_async._concurrency.calls import call_hook
from coreclaw_async._concurrency.clock import Clock
from coreclaw_async._http.causes import make_presentable
from coreclaw_async._http.connections import Connections, Limiter
from coreclaw_async._http.fence import SendWindow
from coreclaw_async._http.log_filter import hide_in_logs
from coreclaw_async._http.pool import SendProgress
from coreclaw_async._http.rate_gate import RateGate
from coreclaw_async._http.sender import Sender
from coreclaw_async._http.settings import Settings
from coreclaw_async._logs import facts, logger
from coreclaw_async._wire.error_codes import is_service_code
from coreclaw_async._wire.request import Request, Safety
from coreclaw_async._wire.response import Answer, HttpReply, is_open_question, read_answer, redact, unknown_outcome
from coreclaw_async._wire.retry import load_backoff, next_wait

if TYPE_CHECKING:
    from coreclaw_async.events import Event

T = TypeVar("T")

# A wait that would end after the deadline is cut, so that a last attempt has this many seconds.
_LAST_CHANCE = 1.0
_PORTS = {"http": 80, "https": 443}


class Transport:
    """Sends the requests of one client, or of one light copy of it, and returns what their answers say."""

    def __init__(self, connections: Connections, settings: Settings, clock: Clock, gate: RateGate) -> None:
        self.connections = connections
        self.gate = gate
        self.settings = settings
        self.clock = clock
        self._sender = Sender(connections, settings, clock, gate)
        hide_in_logs(settings.credentials)
        self.local_time()

    def with_settings(self, settings: Settings) -> Transport:
        """Return a transport with other settings on the same connections; another key has its own rate gate."""
        is_other_key = settings.credentials is not self.settings.credentials
        gate = RateGate(self.clock) if is_other_key else self.gate
        return Transport(self.connections, settings, self.clock, gate)

    def telling(self, hooks: tuple[Callable[[Event], None], ...]) -> Transport:
        """Return this transport with other hooks."""
        told = copy.copy(self)
        told.settings = self.settings._replace(hooks=hooks)
        return told

    def service_time(self) -> float:
        """Return the service's time in Unix seconds, as its answers told it; before the first, this machine's."""
        now = self.connections.last_date.service_time(self.clock.monotonic())
        return self.clock.time() if now is None else now

    @property
    def knows_service_time(self) -> bool:
        """Whether an answer has told the service's time, and no clock of this machine was set since."""
        return self.connections.last_date.is_trusted(self.clock.time(), self.clock.monotonic())

    def local_time(self) -> float:
        """Return this machine's time in Unix seconds, and record whether its clock was set since the last call."""
        now = self.clock.time()
        self.connections.clock_steps.note(now, self.clock.monotonic())
        return now

    def emit(self, event: Event) -> None:
        """Call the on_event hooks; an exception that one raises is logged and changes nothing."""
        for hook in self.settings.hooks:
            try:
                call_hook("on_event", hook, event)
            except Exception:  # noqa: BLE001 - it is logged
                kind = type(event).__name__
                logger.exception("the on_event hook failed on %s", kind, extra=facts(event=kind))

    async def call(
        self,
        request: Request,
        read: Callable[[Answer], T],
        *,
        deadline: float | None = None,
        window: SendWindow | None = None,
        is_probe: bool = False,
    ) -> T:
        """
        Send *request*, retry it where that is safe, and return what *read* makes of the answer.

        Args:
            request: What to send.
            read: Turns a success into its result, or raises InvalidResponseError, which is retried where the request
                may be.
            deadline: When to give up, on the client's monotonic clock; None for the client's timeout from now on.
            window: When its bytes must leave, or never; for a request with a body that must not be sent twice.
            is_probe: Whether to send it once only: the caller repeats it on a schedule.

        Raises:
            CoreClawError: See `coreclaw_async.errors`; nothing else but cancellation.
        """
        if self.settings.credentials.is_missing and not request.is_public:
            raise errors.ConfigurationError(f"{request.label} needs an API key: give api_key= or set CORECLAW_API_KEY")
        load_backoff()
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
                # Not a local variable, which a traceback could show: it holds what came of the answer.
                self._sender.progress_of(request, deadline, window),
                ticket,
                deadline,
                attempt,
                is_repeat=may_have_worked,
            )
            if not isinstance(outcome, errors.CoreClawError):
                return outcome
            failure = outcome
            if may_have_worked and _is_already_done(request, failure):
                return read(Answer(request, None, failure.request_id, is_repeat=True))
            delays = policy.delays() if delays is None else delays
            wait = None if is_probe else self._wait_before_retry(request, failure, delays, gives_up_at)
            if wait is None:
                break
            may_have_worked = may_have_worked or failure.may_have_taken_effect
            kind = type(failure).__name__
            if self.settings.hooks:
                from coreclaw_async.events import RetryScheduled  # Not every program listens.

                self.emit(RetryScheduled(operation=request.operation, attempt=attempt, wait=wait, error=kind))
            logger.info(
                "%s is retried in %.2f s after %s",
                self.settings.credentials.hide(request.label),
                wait,
                kind,
                extra=facts(failure, operation=request.operation, attempt=attempt, wait=wait),
            )
            if not isinstance(failure, errors.RateLimitedError):  # That one waits at the gate.
                await self.clock.sleep(wait)
            if self.clock.monotonic() >= gives_up_at:  # The sleep took longer than asked.
                break
            attempt += 1
        if may_have_worked and not failure.may_have_taken_effect:
            failure.may_have_taken_effect = True
            failure.message += "; an earlier attempt, whose answer did not come, may have taken effect"
            failure.args = (failure.message,)
        try:
            raise failure
        finally:
            del failure, outcome  # Otherwise the error and this frame would keep each other alive.

    def _wait_before_retry(
        self, request: Request, failure: errors.CoreClawError, delays: Iterator[float], gives_up_at: float
    ) -> float | None:
        """Return the seconds to wait before a retry, or None when there is none or it would come too late."""
        wait = next_wait(self.settings.retry, request, failure, delays)
        if wait is None:
            return None
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
        read: Callable[[Answer], T],
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
        limiter = self.connections.limiter()
        reply: HttpReply | None = None
        answer: Answer | None = None
        failure: errors.CoreClawError | None = None
        result: T | errors.CoreClawError
        try:
            reply = await self._sender.exchange(request, progress, limiter, ticket, deadline, started)
            answer = read_answer(request, reply, self.settings.credentials)
            self.connections.last_date = reply.seen_date
            if attempt > 1:
                answer.is_repeat, answer.attempt = is_repeat, attempt
            self._note_taken(limiter)
            result = read(answer)
        except errors.CoreClawError as error:
            self._note_failure(error, reply, progress, limiter, is_answer=answer is not None)
            result = failure = self._presentable(request, error, progress)
        except BaseException as error:
            if reply is None or request.safety is not Safety.ONCE:
                self._report(request, attempt, started, reply, answer, failure)
                raise
            # Ctrl-C on trio, which may come anywhere; as in `Sender.exchange`, it must not hide which run was started.
            interrupted = errors.NoReplyError(f"{request.label} was interrupted when it had been answered")
            interrupted.__cause__ = error
            result = failure = self._presentable(request, interrupted, progress)
        try:
            self._report(request, attempt, started, reply, answer, failure)
        except BaseException as error:  # A hook may end the program, but not the run that was started.
            error.add_note(f"{request.label} was answered with {result!r}")
            raise
        return result

    def _note_failure(
        self,
        error: errors.CoreClawError,
        reply: HttpReply | None,
        progress: SendProgress,
        limiter: Limiter,
        *,
        is_answer: bool,
    ) -> None:
        """Record what a failure says about the service's clock and its rate limit."""
        if reply is None:
            return
        if isinstance(error, errors.ApiError) and error.code is not None:
            self.connections.last_date = reply.seen_date
        if isinstance(error, errors.RateLimitedError):
            self.gate.note_refused(self.settings.retry, left_at=progress.admitted_at, retry_after=error.retry_after)
        elif not is_answer:
            self._note_taken(limiter)

    def _note_taken(self, limiter: Limiter) -> None:
        """Record that the service did not refuse a request for its rate."""
        self.gate.note_taken()
        limiter.widen()

    def _presentable(
        self, request: Request, error: errors.CoreClawError, progress: SendProgress
    ) -> errors.CoreClawError:
        """Return *error* without the key, or an OutcomeUnknownError where the request may have started something."""
        failure = error
        if is_open_question(request, error):
            failure = unknown_outcome(request, error, b"".join(progress.parts))
            failure.__cause__ = error
        for each in (failure, error):
            redact(each, self.settings.credentials)
        make_presentable(failure, self.settings.credentials, self._sender.base_url)
        return failure

    def _report(
        self,
        request: Request,
        attempt: int,
        started: float,
        reply: HttpReply | None,
        answer: Answer | None,
        failure: errors.CoreClawError | None,
    ) -> None:
        """Log and emit the end of an attempt; a cancelled one has neither answer nor failure."""
        if not self.settings.hooks and not logger.is_on(logging.DEBUG):
            return
        elapsed = self.clock.monotonic() - started
        hide = self.settings.credentials.hide  # Mixed-up arguments can put the key into a path.
        said = failure or answer
        from coreclaw_async.events import RequestSent  # Not every program listens.

        event = RequestSent(
            operation=request.operation,
            method=request.method,
            path=hide(request.path),
            attempt=attempt,
            elapsed=elapsed,
            status_code=reply.status_code if reply else failure.status_code if failure else None,
            code=failure.code if failure else 0 if answer else None,
            request_id=hide(said.request_id) if said and said.request_id else None,
            error=type(failure).__name__ if failure else None if answer else "Cancelled",
            server_address=self.connections.base_url.host,
            server_port=self.connections.base_url.port or _PORTS.get(self.connections.base_url.scheme),
        )
        if logger.is_on(logging.DEBUG):
            logger.debug(
                "%s: %s, HTTP %s, code %s, request_id %s, attempt %d, %.1f ms",
                hide(request.label),
                event.error or "success",
                event.status_code,
                event.code,
                event.request_id,
                attempt,
                elapsed * 1000,
                extra=facts(**{name: value for name, value in event.to_dict().items() if name != "type"}),
            )
        self.emit(event)


def _is_already_done(request: Request, failure: errors.CoreClawError) -> bool:
    """Return whether the service itself, and no gateway, says that *request* has already done its work."""
    done = request.already_done_error
    return done is not None and isinstance(failure, done) and is_service_code(failure.code)
