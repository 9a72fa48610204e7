"""``client.request``: requests that the caller writes, sent with the key, the deadline and the care of all others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import attrs

from coreclaw_async._operations.calls import with_call_events
from coreclaw_async._operations.candidates import lost_queue_items, lost_runs, lost_tasks
from coreclaw_async._operations.context import Context
from coreclaw_async._operations.start import (
    FindCandidates,
    Found,
    bind_callbacks,
    create,
    is_usable_id,
    min_timeout_of,
    note_started,
)
from coreclaw_async._wire.any_request import any_request, made_by, makes_nothing, worker_of
from coreclaw_async._wire.credentials import Credentials
from coreclaw_async._wire.json_types import as_object, is_object
from coreclaw_async._wire.request import Request, RequestSafety, Safety
from coreclaw_async._wire.response import Answer, first_id, named_run, without_queries, wrong_shape
from coreclaw_async.models import Reply

_ADDRESSES = frozenset({"location", "content-location", "link", "refresh"})
_QUERY = re.compile(r"""\?(?!<hidden>)[^\s"'>]+""")
# They may hold what opens a session, or say how to get one.
_NOT_SHOWN = frozenset({"set-cookie", "set-cookie2", "authorization", "proxy-authorization", "api-key"})

_OF_A_TASK = ("worker_id", "title")
_ID_MEMBERS = {"queue item": ("queue_ref",), "task": ("slug",)}


@with_call_events("client")
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
        members = as_object(body)
        if made_by(request) is not None:
            url = members.get("callback_url")
            request = request._replace(
                min_timeout=min_timeout_of(members), callback_url=url if isinstance(url, str) else None
            )
        began = context.clock.monotonic()
        if request.safety is Safety.ONCE and not makes_nothing(request):
            answer = await create(context, request, _look_for(context, request, members), _whole)
        else:
            answer = await context.transport.call(request, _whole)
        _note_made(context, answer)
        return attrs.evolve(_reply_of(answer, credentials), elapsed=context.clock.monotonic() - began)


def _look_for(context: Context, request: Request, members: Mapping[str, Any]) -> FindCandidates:
    """Return a look for what *request* may have made, if its answer is lost."""
    made = made_by(request)
    if made == "queue item":
        return lost_queue_items(context)
    if made == "task":
        worker_id, title = (value if isinstance(value := members.get(name), str) else "" for name in _OF_A_TASK)
        return lost_tasks(context, worker_id, title)
    find_runs = lost_runs(context, worker_of(request))
    if made == "run":
        return find_runs

    async def find_candidates(found: Found) -> None:
        await find_runs(found)
        raise LookupError("it may have made something else, which cannot be looked for")

    return find_candidates


def _note_made(context: Context, answer: Answer) -> None:
    """Record what a request has made, so that it is no candidate of another call."""
    request = answer.request
    made = made_by(request)
    if made == "run":
        run_id = _started_run(answer)
        assert run_id is not None  # See `_whole`.
        note_started(context, request, run_id)
    elif made is not None and is_object(answer.data):
        name = first_id(answer.data, _ID_MEMBERS[made])
        if name is not None:
            context.known.add(name)
            if made == "queue item":
                bind_callbacks(context, request, queue_id=name)


def _whole(answer: Answer) -> Answer:
    if made_by(answer.request) == "run" and _started_run(answer) is None:
        raise wrong_shape(answer, "it names no run")
    return answer


def _started_run(answer: Answer) -> str | None:
    run_id = named_run(answer.data) if is_object(answer.data) else None
    return run_id if run_id is not None and is_usable_id(run_id) else None


def _reply_of(answer: Answer, credentials: Credentials) -> Reply:
    reply = answer.reply
    assert reply is not None  # An answer that was read is one that came.
    headers: dict[str, str] = {}
    for name, value in reply.headers.items():
        key, text = credentials.hide(name.lower()), without_queries(credentials.hide(value))
        if key in _ADDRESSES:  # They may begin with the path.
            text = _QUERY.sub("?<hidden>", text)
        if key not in _NOT_SHOWN:
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return Reply(
        status_code=reply.status_code,
        data=answer.data,
        headers=headers,
        request_id=answer.request_id,
        attempts=answer.attempt,
    )
