"""What the service demands of bodies and queries: names, types and ranges."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

from attrs import frozen

from coreclaw_async.testing._api.answers import RefusedError

_MAX_INT64 = 2**63 - 1
_INTEGER = re.compile(r"[+-]?[0-9]{1,40}")


def _is_strings(value: Any) -> bool:
    return value.__class__ is list and all(isinstance(item, str) for item in value)


_KINDS: Mapping[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "strings or null": lambda value: value is None or _is_strings(value),
    "any": lambda value: value is not None,
}


@frozen
class Member:
    """
    What values a member of a body, or a query parameter, may have.

    Attributes:
        kind: `string`, `integer`, `boolean`, `strings or null` or `any`, which is anything but null.
        low: The smallest integer.
        high: The largest integer.
    """

    kind: str
    required: bool = False
    low: int | None = None
    high: int | None = None

    def fault_of(self, value: Any) -> str | None:
        """Return what is wrong with `value`, or None."""
        if not _KINDS[self.kind](value):
            return f"must be of type {self.kind}"
        if self.low is not None and value < self.low:
            return f"must be {self.low} or more"
        if self.high is not None and value > self.high:
            return f"must be {self.high} or less"
        return None


WINDOW = {"limit": Member("integer", low=1, high=100), "offset": Member("integer", low=0, high=_MAX_INT64)}
RUN_OPTIONS = {"is_async": Member("boolean"), "callback_url": Member("string"), **WINDOW}
RUN_BODY = {"input": Member("any"), "version": Member("string"), **RUN_OPTIONS}


def check_body(members: Mapping[str, Member], body: bytes, content_type: str) -> dict[str, Any]:
    """
    Return the parsed body of a request.

    Raises:
        RefusedError: 400 with 11000 for a body that is not the expected JSON object.
    """
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise RefusedError(400, 11000, "content type must be application/json")
    try:
        parsed: Any = json.loads(body.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise RefusedError(400, 11000, "the body is no valid JSON") from None
    if not isinstance(parsed, dict):
        raise RefusedError(400, 11000, "the body must be a JSON object")
    found = cast("dict[str, Any]", parsed)
    faults = _faults(members, found)
    if faults:
        raise RefusedError(400, 11000, faults[0], details=faults)
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _faults(members: Mapping[str, Member], found: dict[str, Any]) -> list[str]:
    faults = [f"{name} is not allowed" for name in found if name not in members]
    for name, member in members.items():
        if name in found:
            fault = member.fault_of(found[name])
            faults += [] if fault is None else [f"{name} {fault}"]
        elif member.required:
            faults.append(f"{name} is required")
    return faults


def check_query(members: Mapping[str, Member], query: Mapping[str, str]) -> dict[str, Any]:
    """
    Return the query parameters that `members` names, converted; others are ignored.

    Raises:
        RefusedError: 422 with 11000 for a value out of range.
    """
    return {name: _read_parameter(name, member, query[name]) for name, member in members.items() if name in query}


def _read_parameter(name: str, member: Member, text: str) -> Any:
    value: Any = text
    if member.kind == "integer":
        value = int(text) if _INTEGER.fullmatch(text) else None
    fault = member.fault_of(value)
    if fault is not None:
        raise RefusedError(422, 11000, f"{name} {fault}", details=[f"query.{name}: {fault}"])
    return value
