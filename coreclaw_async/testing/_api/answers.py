"""Answers of the fake service: envelopes, errors, and bodies that may be too big to hold."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import field, frozen

NO_DATA = object()
"""What a handler returns when the envelope has no `data` member."""

MESSAGES = {
    0: "success",
    10000: "internal server error",
    11000: "invalid argument",
    11004: "resource not found",
    12001: "authentication required",
    12002: "invalid token",
    13000: "too many requests",
    14000: "database error",
    16000: "not implemented",
    30001: "insufficient balance",
    30003: "plan concurrency limit reached",
    50001: "worker not found",
    50002: "worker run failed",
    50003: "worker version unavailable",
    60001: "task not found",
    70001: "run not found",
    70002: "run operation failed",
}
"""The message of each documented application code."""


class RefusedError(Exception):
    """
    The service refuses a request with an error envelope.

    Attributes:
        status: The HTTP status.
        code: The application code.
    """

    def __init__(self, status: int, code: int, message: str | None = None, *, details: list[str] | None = None) -> None:
        super().__init__(status, code, message, details)
        self.status = status
        self.code = code
        self.message = MESSAGES[code] if message is None else message
        self.details = details


@frozen(kw_only=True)
class Answer:
    """
    An HTTP answer.

    Attributes:
        status: The HTTP status.
        headers: Names in lower case, without `content-length`.
        chunks: The body in pieces.
        length: The length of the body in bytes.
    """

    status: int = 200
    headers: Mapping[str, str] = field(factory=dict[str, str])
    chunks: Iterable[bytes] = ()
    length: int = 0

    @property
    def header_items(self) -> list[tuple[str, str]]:
        """The headers as they go out, with `content-length`."""
        return [*self.headers.items(), ("content-length", str(self.length))]


def answer_bytes(body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an answer with a body that is at hand; JSON unless `headers` say otherwise."""
    all_headers = {"content-type": "application/json"} | {
        name.lower(): value for name, value in (headers or {}).items()
    }
    return Answer(status=status, headers=all_headers, chunks=(body,), length=len(body))


def answer_json(content: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an answer with `content` as JSON."""
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    return answer_bytes(body, status=status, headers=headers)


def success_envelope(data: Any, request_id: str) -> dict[str, Any]:
    """Return the envelope of a success; `NO_DATA` leaves `data` out."""
    envelope = {"code": 0, "data": data, "message": MESSAGES[0], "request_id": request_id}
    if data is NO_DATA:
        del envelope["data"]
    return envelope


def error_envelope(refused: RefusedError, request_id: str) -> dict[str, Any]:
    """Return the envelope of an error."""
    envelope: dict[str, Any] = {"code": refused.code, "message": refused.message, "request_id": request_id}
    if refused.details is not None:
        envelope["details"] = refused.details
    return envelope
