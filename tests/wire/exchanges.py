"""Requests and answers as the tests of the wire need them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

import pytest

from coreclaw_async._wire.converter import read_model, read_models
from coreclaw_async._wire.credentials import Credentials
from coreclaw_async._wire.request import Request, Safety
from coreclaw_async._wire.response import Answer, HttpReply, read_answer
from coreclaw_async.errors import CoreClawError

T = TypeVar("T")

PATH = "/api/v2/worker-runs/R"


def request_of(safety: Safety = Safety.SAFE) -> Request:
    """Return a request whose safety alone matters."""
    return Request(operation="op", method="GET" if safety is Safety.SAFE else "POST", path=PATH, safety=safety)


def reply_of(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpReply:
    """Return an answer with *body*: bytes as they are, anything else as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpReply(status_code=status, headers=headers or {}, body=content, received_at=1_000.0)


def failure_of(
    body: Any,
    status: int = 200,
    safety: Safety = Safety.SAFE,
    headers: Mapping[str, str] | None = None,
    credentials: Credentials = Credentials(None),  # noqa: B008 - immutable
) -> CoreClawError:
    """Return the error that an answer is read as."""
    with pytest.raises(CoreClawError) as caught:
        read_answer(request_of(safety), reply_of(body, status, headers), credentials)
    return caught.value


def read_record(model: type[T], data: Any) -> T:
    """Return *data*, as it came over the wire, as the only entry of a list of *model*."""
    (made,) = read_models(Answer(request_of(), None, "req-1"), model, [json.loads(json.dumps(data))])
    return made


def read_as(model: type[T], data: Any) -> T:
    """Return *data*, as it came over the wire as the whole answer, as *model*."""
    return read_model(Answer(request_of(), json.loads(json.dumps(data)), "req-1"), model)
