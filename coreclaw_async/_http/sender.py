"""Sender: one attempt, from the rate gate to a complete answer or an error that says what may have happened."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from coreclaw_async import errors
from coreclaw_async._concurrency.clock import Clock
from coreclaw_async._http.backend import Backend
from coreclaw_async._http.connections import Connections, Limiter
from coreclaw_async._http.fence import FencedBody, SendWindow
from coreclaw_async._http.httpx_backend import HttpxBackend
from coreclaw_async._http.pool import SendProgress
from coreclaw_async._http.rate_gate import RateGate
from coreclaw_async._http.settings import Settings
from coreclaw_async._wire.request import Request, Safety
from coreclaw_async._wire.response import HttpReply

if TYPE_CHECKING:
    from coreclaw_async._http.aiohttp_backend import AiohttpBackend


class Sender:
    """Sends a request once."""

    def __init__(self, connections: Connections, settings: Settings, clock: Clock, gate: RateGate) -> None:
        self._connections = connections
        self._settings = settings
        self._clock = clock
        self._gate = gate
        self._httpx = HttpxBackend(connections, settings, clock)
        self._aiohttp: AiohttpBackend | None = None
        self.base_url = self._httpx.base_url

    def _backend_for(self, request: Request) -> Backend:
        """Return what sends *request*: reads by GET may go through aiohttp, and nothing else ever does."""
        if request.safety is not Safety.SAFE or request.method != "GET":
            return self._httpx
        sessions = self._connections.sessions()
        if sessions is None:
            return self._httpx
        if self._aiohttp is None:
            from coreclaw_async._http.aiohttp_backend import AiohttpBackend

            self._aiohttp = AiohttpBackend(sessions, self._settings, self._clock)
        return self._httpx if self._clock.monotonic() < self._aiohttp.rests_until else self._aiohttp

    def progress_of(self, request: Request, deadline: float, window: SendWindow | None) -> SendProgress:
        """Return the record of a new attempt that ends at *deadline* and must be sent within *window*."""
        is_exclusive = request.safety is Safety.ONCE
        policy = self._settings.retry
        # Some operations may take long by contract, and one that must not be sent twice is waited for.
        may_be_silent = is_exclusive or request.min_timeout > 0
        backend = self._backend_for(request)
        limit = backend.time_limit(
            deadline - self._clock.monotonic(),  # Only now: the first read has imported aiohttp.
            silence=math.inf if may_be_silent else policy.attempt_timeout,
            connecting=policy.connect_timeout,
        )
        connections = self._connections
        if not is_exclusive:
            return SendProgress(backend.send, limit, is_traced=connections.are_given and connections.is_traced)
        return SendProgress(
            backend.send,
            limit,
            is_exclusive=True,
            is_traced=connections.is_traced,
            is_spoiled=connections.has_leftovers,
            fenced=None if window is None or request.body is None else FencedBody(request.body, window),
        )

    async def exchange(
        self,
        request: Request,
        progress: SendProgress,
        limiter: Limiter,
        ticket: int,
        deadline: float,
        began: float,
    ) -> HttpReply:
        """Return the complete HTTP answer to one attempt, which *began* and ends at *deadline* at the latest."""
        leaves_by = deadline if progress.fenced is None else min(deadline, progress.fenced.window.first_by)
        try:
            with progress.time_limit:
                while True:
                    if not await self._gate.pass_through(ticket, leaves_by):
                        raise self._kept_back(request)
                    closings = self._gate.closings
                    if not limiter.enter_now():
                        await limiter.enter()
                    try:
                        if self._gate.closings != closings:  # It was closed while this request waited for the others.
                            continue
                        self._connections.check_open()  # It may have been closed meanwhile.
                        progress.is_admitted = True
                        progress.admitted_at = self._clock.monotonic()
                        progress.time_limit.hear()
                        return await progress.send(request, progress)
                    finally:
                        limiter.leave()
        except BaseException as error:
            is_end = not isinstance(error, errors.CoreClawError | GeneratorExit)
            if not is_end or request.safety is not Safety.ONCE or not progress.may_have_left:
                raise
            # A cancelled scope would swallow this exception, and with it the only trace of a run that costs money; any
            # other one would end the program without naming the run.
            raise errors.NoReplyError(f"{request.label} was cancelled after it was sent") from error
        if progress.time_limit.is_over:
            raise self._late(request, progress, self._clock.monotonic() - began)
        raise await self._silent(request, progress)

    def _kept_back(self, request: Request) -> errors.CoreClawError:
        seconds = self._gate.opens_in()
        return errors.SendTimeoutError(
            f"{request.label} was not sent: the service limits the rate, and nothing may be sent before the deadline",
            retry_after=seconds or None,
        )

    async def _silent(self, request: Request, progress: SendProgress) -> errors.CoreClawError:
        """Return the error of an attempt that was given up before the deadline, so that there is time for another."""
        if not progress.may_have_left:
            seconds = self._settings.retry.connect_timeout
            return errors.RequestNotSentError(f"{request.label} was not sent: no connection within {seconds:.3g} s")
        await self._connections.close_idle()
        return errors.NoReplyError(
            f"{request.label} got nothing for {self._settings.retry.attempt_timeout:.3g} s",
            may_have_taken_effect=request.safety is not Safety.SAFE,
        )

    @staticmethod
    def _late(request: Request, progress: SendProgress, seconds: float) -> errors.CoreClawError:
        if not progress.is_admitted or not progress.may_have_left:
            step = "it was sent" if progress.is_admitted and progress.fenced is not None else "a connection was ready"
            return errors.SendTimeoutError(f"{request.label} was not sent: {seconds:.3g} s passed before {step}")
        return errors.RequestTimeoutError(
            f"{request.label} got no whole answer within {seconds:.3g} s",
            may_have_taken_effect=request.safety is not Safety.SAFE,
        )
