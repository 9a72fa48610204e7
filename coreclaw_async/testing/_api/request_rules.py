"""What the service demands of bodies and queries: names, types, ranges, words."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

from attrs import frozen

from coreclaw_async.testing._api.answers import RefusedError

RUN_STATUSES = ("ready", "running", "succeeded", "failed", "aborting")
_LARGEST_INT64 = 2**63 - 1
_INTEGER = re.compile(r"[+-]?[0-9]{1,40}")
_LATEST_MOMENT = 253_370_764_800  # The year 9999; later months cannot be computed with.


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_string(value: Any) -> bool:
    return isinstance(value, str)


def _is_boolean(value: Any) -> bool:
    return isinstance(value, bool)


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def _is_strings(value: Any) -> bool:
    return _is_list(value) and all(isinstance(item, str) for item in value)


def _is_any(value: Any) -> bool:
    return value is not None


_KINDS: Mapping[str, Callable[[Any], bool]] = {
    "string": _is_string,
    "integer": _is_integer,
    "boolean": _is_boolean,
    "strings": _is_strings,
    "any": _is_any,
}


@frozen
class Member:
    """
    What a member of a body, or a query parameter, may be.

    Attributes:
        kind: `string`, `integer`, `boolean`, `strings` or `any`; none of them takes null.
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


_WINDOW = {"limit": Member("integer", low=1, high=100), "offset": Member("integer", low=0, high=_LARGEST_INT64)}
_RERUN = {"is_async": Member("boolean"), "callback_url": Member("string"), **_WINDOW}
_SCHEDULE = {
    "schedule_enabled": Member("integer", low=0, high=1),
    "schedule_type": Member("integer", low=1, high=4),
    "schedule_time": Member("string"),
    "schedule_weekday": Member("integer", low=1, high=7),
    "schedule_day": Member("integer", low=1, high=31),
    "schedule_once_date": Member("string"),
}
BODIES: Mapping[str, Mapping[str, Member]] = {
    "run": {"input": Member("any"), "version": Member("string"), **_RERUN},
    "rerun": _RERUN,
    "abort": _RERUN,
    "create_task": {
        "worker_id": Member("string", required=True),
        "title": Member("string", required=True),
        "input": Member("any", required=True),
        "version": Member("string"),
        "description": Member("string"),
        **_SCHEDULE,
    },
    "update_task": {"title": Member("string"), "description": Member("string"), **_SCHEDULE},
    "update_input": {"input": Member("any", required=True), "version": Member("string")},
    "queue_refs": {"queue_refs": Member("strings", required=True)},
    "release_items": {"queue_refs": Member("strings", required=True), "reason": Member("string")},
    "release_item": {"reason": Member("string")},
}
"""The members of each kind of body; no other member is allowed."""

_QUERY: Mapping[str, Member] = {
    **_WINDOW,
    "start_time": Member("integer", low=0, high=_LATEST_MOMENT),
    "end_time": Member("integer", low=0, high=_LATEST_MOMENT),
}


def check_body(kind: str, body: bytes, content_type: str) -> dict[str, Any]:
    """
    Return the parsed body of a request.

    Raises:
        RefusedError: 400 with 11000 for anything that is not the JSON object it should be.
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
    faults = _faults(BODIES[kind], found)
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


def check_query(names: tuple[str, ...], query: Mapping[str, str]) -> dict[str, Any]:
    """
    Return the query parameters of `names`, converted; others are ignored.

    Raises:
        RefusedError: 422 with 11000 for a value out of range.
    """
    found: dict[str, Any] = {}
    for name in names:
        if name in query:
            found[name] = _check_parameter(name, query[name])
    return found


def _check_parameter(name: str, text: str) -> Any:
    member = _QUERY.get(name, Member("string"))
    value: Any = text
    if member.kind == "integer":
        value = int(text) if _INTEGER.fullmatch(text) else None
    fault = member.fault_of(value)
    if fault is not None:
        raise RefusedError(422, 11000, f"{name} {fault}", details=[f"query.{name}: {fault}"])
    return value
