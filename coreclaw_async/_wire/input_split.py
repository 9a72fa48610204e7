"""
How an input is split into tasks, each of which is paid for.

The rules are those of the documentation (developer-guide/worker-definition/input-schema) and of what coreclaw-cli found
out (concurrency-rules).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from coreclaw_async._wire.check_effort import CheckEffort
from coreclaw_async._wire.input_values import capped, issue
from coreclaw_async._wire.json_body import label_of
from coreclaw_async._wire.json_types import as_array, is_array, is_object
from coreclaw_async._wire.schema_facts import is_blank, is_nothing, members_of
from coreclaw_async.models import InputIssue, InputSchema, IssueSeverity

_MANY_TASKS = 100
"""The service has a limit that it does not publish."""
_MAX_NAMED = 5


def split_fields(schema: InputSchema) -> Sequence[str]:
    """Return the members whose items become tasks."""
    named = _names(schema.concurrency.get("fields"))
    old = schema.raw.get("b")  # The name before June 2026, which still works.
    return named or _names([old])


def _names(value: Any) -> list[str]:
    return list(dict.fromkeys(name for name in as_array(value) if isinstance(name, str) and name))


@attrs.frozen(kw_only=True)
class Split:
    """
    How an input is split.

    Attributes:
        count: The number of tasks; None where it cannot be told.
        issues: What is wrong with their items.
        dropped: Members with items that the service leaves out.
    """

    count: int | None
    issues: Sequence[InputIssue] = ()
    dropped: Sequence[str] = ()


def split_input(schema: InputSchema, given: Mapping[str, Any]) -> Split:
    """Return how an input is split into tasks."""
    fields = split_fields(schema)
    if not fields:
        # The shape of the published example does not show how an input is split.
        is_told = is_array(schema.raw.get("properties")) and not schema.raw.get("concurrency")
        return Split(count=1 if is_told else None)
    items = {name: _items_of(given.get(name)) for name in fields}
    odd = [name for name, found in items.items() if found is None]
    if odd:
        return Split(count=None, issues=[_odd_issue(name) for name in odd])
    removed = set(_names(schema.concurrency.get("remove_fields")))
    preferred = [name for name in fields if name not in removed and items[name]]
    active = preferred or [name for name in fields if items[name]]
    if not active:
        return _without_items(schema, given, fields)
    dropped = [name for name in fields if name in removed and items[name] and preferred]
    issues = [_dropped_issue(name, preferred) for name in dropped]
    count, effort = 0, CheckEffort()
    for name in active:
        count += len(items[name] or {})
        issues += capped(f"input{label_of(name)}", _item_issues(name, items[name] or {}, effort))
    if count > _MANY_TASKS:
        why = f"is split into {count} tasks, each paid for; the service's limit is not published"
        issues.append(issue("input", IssueSeverity.WARNING, why))
    return Split(count=count, issues=issues, dropped=dropped)


def _items_of(value: Any) -> dict[int, Any] | None:
    """Return the items that become tasks by their places, or None for what is no array."""
    if is_nothing(value):
        return {}
    return {place: item for place, item in enumerate(value) if not _is_left_out(item)} if is_array(value) else None


def _is_left_out(item: Any) -> bool:
    """Return whether the service leaves an item out."""
    parts = list(item.values()) if is_object(item) else [item]
    return all(map(is_blank, parts))


def _odd_issue(name: str) -> InputIssue:
    # The documentation calls others an error; coreclaw-cli saw one run as a single task.
    why = "must be an array, as its items become tasks"
    return issue(f"input{label_of(name)}", IssueSeverity.WARNING, why, "give a list, also for one item")


def _dropped_issue(name: str, preferred: Sequence[str]) -> InputIssue:
    why = f"is left out by the service, because input{label_of(preferred[0])} has items"
    return issue(f"input{label_of(name)}", IssueSeverity.WARNING, why)


def _without_items(schema: InputSchema, given: Mapping[str, Any], fields: Sequence[str]) -> Split:
    """Return what becomes of an input without any item: the service may fill in a default, else it refuses it."""
    members = members_of(schema)
    path = f"input{label_of(fields[0])}"
    left_out = [name for name in fields if name in members and name not in given]
    if any(not is_nothing(members[name].default) for name in left_out):
        doubt = issue(path, IssueSeverity.WARNING, "has no items, so that there may be nothing to run")
        return Split(count=None, issues=[doubt])
    others = "" if len(fields) == 1 else f", nor has {_list_of(fields[1:])}"
    wrong = issue(path, IssueSeverity.ERROR, f"has no items{others}, so that there is nothing to run")
    return Split(count=0, issues=[wrong])


def _list_of(names: Sequence[str]) -> str:
    shown = [f"input{label_of(name)}" for name in names[:_MAX_NAMED]]
    return " or ".join([*shown, *(["others"] if len(names) > _MAX_NAMED else [])])


def _item_issues(field: str, items: Mapping[int, Any], effort: CheckEffort) -> Iterator[InputIssue]:
    path = f"input{label_of(field)}"
    firsts: dict[tuple[bool, str], int] = {}
    objects = sum(map(is_object, items.values()))
    if 0 < objects < len(items):
        yield issue(path, IssueSeverity.ERROR, "must hold only objects or only plain values, not both")
    checked = effort.first_of(list(items.items()))
    if len(checked) < len(items):
        why = f"only the first {len(checked)} of its {len(items)} tasks were checked"
        yield issue(path, IssueSeverity.NOTE, f"is too large: {why}")
    for place, item in checked:
        where = f"{path}[{place}]"
        if is_array(item):
            yield issue(where, IssueSeverity.ERROR, "must be an object or a plain value, not an array")
        elif is_object(item) and field in item:
            why = "must not have the name of the list"
            yield issue(f"{where}{label_of(field)}", IssueSeverity.ERROR, why)
        is_text = isinstance(item, str)
        first = firsts.setdefault((is_text, item if is_text else json.dumps(item, sort_keys=True)), place)
        if first != place:
            yield issue(where, IssueSeverity.WARNING, f"is the same as item {first}, and is paid for once more")
