"""From a request to an answer: route, key, query, body, handler, envelope."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen

from coreclaw_async.testing._api.answers import (
    Answer,
    RefusedError,
    answer_json,
    error_envelope,
    success_envelope,
)
from coreclaw_async.testing._api.calls import Call, Pending
from coreclaw_async.testing._api.operation import Operation
from coreclaw_async.testing._api.request_rules import check_body, check_query
from coreclaw_async.testing._api.routes import Route
from coreclaw_async.testing._state.fake_run import FakeRun
from coreclaw_async.testing._state.world import World


@frozen(kw_only=True)
class IncomingRequest:
    """
    A request as it arrives, from a socket or in memory.

    Attributes:
        site: Which server it reached, `api` or `files`.
        host: Host, with the port where one is given.
        path: Percent-encoded, without the query.
        headers: With names in lower case.
    """

    site: str
    method: str
    host: str
    path: str
    query: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@frozen
class PendingAnswer:
    """
    A `Pending` answer with its envelope.

    Attributes:
        finish: Returns the answer once the waiting is over.
    """

    run: FakeRun
    finish: Callable[[], Answer]


def answer_call(world: World, request: IncomingRequest, route: Route) -> Answer | PendingAnswer:
    """Execute `request` and return the answer."""
    request_id = world.ids.request_id()
    try:
        data = _call(world, request, route)
    except RefusedError as refused:
        headers = {"allow": ", ".join(route.allowed)} if refused.status == 405 else None
        return answer_json(error_envelope(refused, request_id), status=refused.status, headers=headers)
    if isinstance(data, Pending):
        render = data.render
        return PendingAnswer(data.run, lambda: answer_json(success_envelope(render(), request_id)))
    return answer_json(success_envelope(data, request_id))


def _call(world: World, request: IncomingRequest, route: Route) -> Any:
    operation = route.operation
    if operation is None:
        raise RefusedError(405 if route.allowed else 404, 11004)
    if not operation.public:
        _check_key(request, world.switches.api_key)
    call = Call(
        world=world,
        parameters=route.parameters,
        query=check_query(operation.query, request.query),
        body=_read_body(world, request, operation),
    )
    return operation.handler(call)


def _check_key(request: IncomingRequest, api_key: str) -> None:
    """Accept the key in any of the three places."""
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    given = [
        bearer.strip() if scheme.lower() == "bearer" else None,
        request.headers.get("api-key"),
        request.query.get("token"),
    ]
    if api_key not in given:
        raise RefusedError(401, 12002 if any(given) else 12001)


def _read_body(world: World, request: IncomingRequest, operation: Operation) -> dict[str, Any]:
    if operation.body is None:
        return {}
    if operation.lenient_body and not request.body and not world.switches.abort_requires_body:
        return {}
    return check_body(operation.body, request.body, request.headers.get("content-type", ""))
