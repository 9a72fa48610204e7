"""The backend that sends everything: through the client's `httpx.AsyncClient`, or one of the caller's."""

from __future__ import annotations

import httpx

from coreclaw_async import errors
from coreclaw_async._concurrency.clock import Clock
from coreclaw_async._http.backend import no_reply, unreadable
from coreclaw_async._http.body import BodyEncodingError, BodyTooLargeError, raw_header, read_body
from coreclaw_async._http.causes import NO_CONNECTION, described, make_presentable
from coreclaw_async._http.connections import Connections
from coreclaw_async._http.fence import FencedBody
from coreclaw_async._http.libraries import HttpClient, kinds
from coreclaw_async._http.log_filter import failing_by_no_log
from coreclaw_async._http.outgoing import RequestBuilder
from coreclaw_async._http.pool import SendProgress, TimeLimit
from coreclaw_async._http.settings import Settings
from coreclaw_async._logs import facts, logger
from coreclaw_async._wire.request import Request, Safety
from coreclaw_async._wire.response import HttpReply


class HttpxBackend:
    """Sends requests through an httpx client."""

    def __init__(self, connections: Connections, settings: Settings, clock: Clock) -> None:
        self._connections = connections
        self._settings = settings
        self._clock = clock
        self._builder = RequestBuilder(connections.base_url, settings, connections.given_client)
        self.base_url = self._builder.base_url

    def time_limit(self, seconds: float, *, silence: float, connecting: float) -> TimeLimit:
        """Return what ends an attempt after so many seconds."""
        return TimeLimit(seconds, silence=silence, connecting=connecting)

    async def send(self, request: Request, progress: SendProgress) -> HttpReply:
        """Send *request* once and return its whole answer; see `Backend.send`."""
        outgoing, fenced = self._builder.build(request, progress), progress.fenced
        try:
            client = self._connections.client
            progress.hand_over()
            with failing_by_no_log():
                return await self._exchange(client, outgoing, request, progress)
        except BaseException as error:
            self._builder.clear(outgoing, request)
            if isinstance(error, Exception) and not isinstance(error, errors.CoreClawError):
                # No exception of a library leaves this package, and the request may have started a run.
                raise self._no_reply(request, progress, fenced, error) from error
            make_presentable(error, self._settings.credentials, self.base_url)
            raise

    async def _exchange(
        self, client: HttpClient, outgoing: httpx.Request, request: Request, progress: SendProgress
    ) -> HttpReply:
        """Return the answer, whatever a hook of a caller's client raises, or changes, once it has come."""
        given = self._builder.given
        taken: tuple[httpx.Response, HttpReply] | None = None

        async def take(response: httpx.Response) -> None:
            nonlocal taken
            packed: list[bytes] = []
            headers = response.headers.copy()
            taken = response, self._reply(response, headers, await self._read(request, response, progress, packed))
            assert given is not None
            given.give_back(response, packed)

        if given is not None:
            given.take_first(outgoing, take)
        trace, stream = outgoing.extensions.get("trace"), outgoing.stream
        try:
            response = await client.send(outgoing, stream=True, auth=None, follow_redirects=False)
        except Exception as error:
            if taken is None:
                raise
            logger.warning(
                "%s was raised when the answer to %s had come, and changes nothing; does a hook of http_client?",
                type(error).__name__,
                self._settings.credentials.hide(request.label),
                extra=facts(error, operation=request.operation),
            )
            return taken[1]
        finally:
            if (outgoing.extensions or {}).get("trace") is not trace:
                progress.is_traced = False  # A hook of the caller has put another one there, or none.
            if outgoing.stream is not stream:
                progress.fenced = None
        if taken is not None and taken[0] is response:
            return taken[1]
        return self._reply(response, response.headers, await self._read(request, response, progress))

    def _reply(self, response: httpx.Response, headers: httpx.Headers, body: bytes) -> HttpReply:
        return HttpReply(
            status_code=response.status_code,
            headers=headers,
            body=body,
            received_at=self._clock.time(),
            monotonic=self._clock.monotonic(),
            date=raw_header(response, b"date"),
        )

    async def _read(
        self,
        request: Request,
        response: httpx.Response,
        progress: SendProgress,
        packed: list[bytes] | None = None,
    ) -> bytes:
        """Return the body of a response, which came as it is put into *packed*."""

        def hear(chunk: bytes) -> None:
            progress.time_limit.hear()
            if packed is not None:
                packed.append(chunk)

        progress.time_limit.hear()
        progress.fenced = None  # A server that answers may have taken a body that did not leave whole.
        progress.parts.clear()
        try:
            return await read_body(response, self._settings.max_response_bytes, progress.parts, hear)
        except (BodyTooLargeError, BodyEncodingError) as error:
            if response.is_error:  # The status says more than an unreadable body.
                return b"".join(progress.parts)
            raise unreadable(request, response.status_code, error) from None

    def _no_reply(
        self, request: Request, progress: SendProgress, fenced: FencedBody | None, error: Exception
    ) -> errors.CoreClawError:
        if fenced is not None and fenced.withheld is not None and not progress.may_have_left:
            return errors.SendTimeoutError(f"{request.label} was not sent, {fenced.withheld}")
        # The type of an exception is proof enough where sending again is safe anyhow.
        is_early = isinstance(error, kinds(*NO_CONNECTION)) and request.safety is not Safety.ONCE
        # A library tells of something else when its connection is closed under it.
        why = self._connections.why_closed or described(error)
        return no_reply(request, why, is_sent=progress.may_have_left and not is_early)
