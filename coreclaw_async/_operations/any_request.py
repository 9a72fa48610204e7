"""Requests that a caller writes himself, sent with the key, the deadline and the care of all others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from coreclaw_async._operations.calls import telling_calls
from coreclaw_async._operations.candidates import lost_runs
from coreclaw_async._operations.context import Context
from coreclaw_async._operations.start import create, is_usable_id, note_started, reading_time
from coreclaw_async._wire.any_request import RequestSafety, any_request, starts_a_run
from coreclaw_async._wire.credentials import Credentials
from coreclaw_async._wire.json_types import is_object
from coreclaw_async._wire.request import Request, Safety
from coreclaw_async._wire.response import Answer, named_run, without_queries, wrong_shape
from coreclaw_async.models import Reply

# They may hold what opens a session, or say how to get one.
_NOT_SHOWN = frozenset({"set-cookie", "set-cookie2", "authorization", "proxy-authorization", "api-key"})


@telling_calls("client")
class AnyRequests:
    """What ``client.request`` does."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int | bool | None] | None,
        body: Any,
        safety: RequestSafety | None,
    ) -> Reply:
        """Send a request and return what it was answered with."""
        context = self._context
        credentials = context.settings.credentials
        request = any_request(method, path, query=query, body=body, safety=safety, credentials=credentials)
        if starts_a_run(request) and is_object(body):
            request = attrs.evolve(request, min_timeout=reading_time(body))
        began = context.clock.monotonic()
        if request.safety is Safety.ONCE:
            answer = await create(context, request, lost_runs(context, None), _whole)
        else:
            answer = await context.transport.call(request, _whole)
        run_id = _started_run(answer) if starts_a_run(request) else None
        if run_id is not None:
            note_started(context, request, run_id)
        return attrs.evolve(_reply_of(answer, credentials), elapsed=context.clock.monotonic() - began)


def _whole(request: Request, answer: Answer) -> Answer:
    if starts_a_run(request) and _started_run(answer) is None:
        raise wrong_shape(request, answer, "it names no run")
    return answer


def _started_run(answer: Answer) -> str | None:
    run_id = named_run(answer.data) if is_object(answer.data) else None
    return run_id if run_id is not None and is_usable_id(run_id) else None


def _reply_of(answer: Answer, credentials: Credentials) -> Reply:
    reply = answer.reply
    assert reply is not None  # An answer that was read is one that came.
    headers: dict[str, str] = {}
    for name, value in reply.headers.items():
        key, text = name.lower(), without_queries(credentials.hide(value))
        if key not in _NOT_SHOWN:
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return Reply(
        status_code=reply.status_code,
        data=answer.data,
        headers=headers,
        request_id=answer.request_id,
        attempts=answer.attempt,
    )
