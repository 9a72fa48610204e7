"""Names in an input that its schema does not have: what was meant, and whether the whole is nested wrongly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from coreclaw_async._wire.check_effort import CheckEffort
from coreclaw_async._wire.input_values import issue
from coreclaw_async._wire.json_body import label_of
from coreclaw_async._wire.json_types import is_object
from coreclaw_async._wire.schema_facts import members_of, parameters_of
from coreclaw_async.models import InputIssue, InputProperty, InputSchema, IssueSeverity

# Each from the whole member of a start to the worker's own part; a caller may give any of them by mistake.
_WRAPPINGS = (("input", "parameters", "custom"), ("parameters", "custom"), ("custom",))
_SYSTEM = {
    "proxy_region",
    "cpus",
    "memory",
    "execute_limit_time_seconds",
    "max_total_charge",
    "max_total_traffic",
}


def meant_members(unknown: Sequence[str], members: Mapping[str, InputProperty], effort: CheckEffort) -> dict[str, str]:
    """Return for names that the schema does not have those of its members that were probably meant."""
    near = {name: effort.near_name(name, members, cutoff=0.75) for name in unknown}
    return {name: known for name, known in near.items() if known is not None}


def suggestions(unknown: Sequence[str], schema: InputSchema, meant: Mapping[str, str]) -> dict[str, str]:
    """Return for names that the schema does not have what to do about them, where that can be guessed."""
    members = members_of(schema)
    inner = {one.name: name for name, prop in reversed(members.items()) for one in parameters_of(prop)}
    told = {name: f"did you mean input{label_of(known)}?" for name, known in meant.items()}
    for name in unknown:
        if name in inner:
            told[name] = f"it is a member of the items of input{label_of(inner[name])}"
        elif name in _SYSTEM and name not in told:
            told[name] = "it is a setting of the platform, which is given as system"
    return told


def wrapped_issue(schema: InputSchema, given: dict[str, Any]) -> InputIssue | None:
    """Return an error when what was given is already wrapped as the service takes it, and would be wrapped again."""
    members = members_of(schema)
    for names in _WRAPPINGS:
        inner = _inner(given, names)
        if inner is None or names[0] in members or any(name in members for name in given):
            continue
        # A single name says little: a worker may ignore its schema, and know a member called `custom`.
        if len(names) > 1 or any(name in members for name in inner):
            path = "input" + "".join(map(label_of, names))
            why = "would be wrapped again, and the worker would not see it"
            return issue(path, IssueSeverity.ERROR, why, "give this object alone")
    return None


def _inner(given: dict[str, Any], names: Sequence[str]) -> dict[str, Any] | None:
    inner: Any = given
    for name in names:
        inner = inner.get(name) if is_object(inner) else None
    return inner if is_object(inner) else None
