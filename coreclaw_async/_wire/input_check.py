"""
Compares an input with the schema of its worker.

Only what certainly fails, or pays for nothing, is an error: the platform runs many inputs that contradict their schema
(coreclaw-cli, known-gaps). What cannot be read of a schema gives no error.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from typing import Any

import attrs

from coreclaw_async._data.counting import counted
from coreclaw_async._wire.check_effort import CheckEffort
from coreclaw_async._wire.input_names import meant_members, suggestions, wrapped_issue
from coreclaw_async._wire.input_split import split_fields, split_input
from coreclaw_async._wire.input_values import capped, issue, value_issues
from coreclaw_async._wire.json_body import WorkerInput, label_of
from coreclaw_async._wire.request import shown_worker
from coreclaw_async._wire.schema_facts import is_nothing, members_of
from coreclaw_async.errors import AuthenticationError, CoreClawError, InvalidResponseError, NotFoundError
from coreclaw_async.models import InputCheck, InputIssue, InputProperty, InputSchema, IssueSeverity

NO_SCHEMA = (NotFoundError, AuthenticationError, InvalidResponseError)
"""Errors that say nothing about a start: its schema is asked for without a key, and may be shown to nobody."""

_MAX_UNKNOWN = 10
_MAX_ISSUES = 100
_MAX_SHOWN = 80
_ORDER = list(IssueSeverity)


def sent_input(given: WorkerInput) -> dict[str, Any]:
    """
    Return the worker's own part of an input as the service gets it: a tuple is an array there.

    Raises:
        TypeError: It holds a key that is no string, or something that JSON cannot express.
        ValueError: It holds a number or a string that JSON cannot express, or is nested too deeply.
    """
    sent: dict[str, Any] = json.loads(given.to_json())["parameters"]["custom"]
    return sent


def no_schema(error: CoreClawError) -> InputIssue:
    """Return what to tell instead of a check, when the schema of a worker was not to be had for *error*."""
    match error:
        case NotFoundError():
            why = "has no schema that is shown (it may be private, or not exist): nothing was checked"
            return issue("worker_id", IssueSeverity.WARNING, why)
        case AuthenticationError():
            return _unchecked("the service refused to show the worker's schema")
        case _:
            return _unchecked("the worker's schema could not be read")


def check_input(
    worker_id: str, schema: InputSchema | InputIssue, given: dict[str, Any], *, version: str | None = None
) -> InputCheck:
    """
    Return what is wrong with an input.

    Args:
        worker_id: The worker, as a path takes it.
        schema: The schema of its newest version, or what `no_schema` returned.
        given: What `sent_input` returned.
        version: The version that is to run, which may take another input than the newest; None for the newest.
    """
    try:
        count, found = _compare(schema, given)
    except RecursionError:
        count, found = None, [_unchecked("it or the worker's schema is nested too deeply")]
    issues = [*_version_issues(version), *capped("input", _about_schema(found, version), _MAX_ISSUES)]
    issues.sort(key=lambda one: _ORDER.index(one.severity))
    # Another version may be split in another way.
    return InputCheck(
        worker_id=shown_worker(worker_id), issues=tuple(issues), task_count=count if version is None else None
    )


def _compare(found: InputSchema | InputIssue, given: dict[str, Any]) -> tuple[int | None, list[InputIssue]]:
    """Return the number of tasks, and what is wrong with the input of the newest version."""
    schema = InputSchema() if isinstance(found, InputIssue) else found
    wrapped = wrapped_issue(schema, given)
    if not members_of(schema):
        nothing = _unchecked("the worker's schema names no members that could be read")
        doubts = [] if wrapped is None else [attrs.evolve(wrapped, severity=IssueSeverity.WARNING)]
        return None, [*doubts, found if isinstance(found, InputIssue) else nothing]
    if wrapped is not None:
        return None, [wrapped]
    split = split_input(schema, given)
    issues = list(_member_issues(schema, given, set(split.dropped)))
    wrong = {one.path for one in issues if one.severity is IssueSeverity.ERROR}
    return split.count, [*issues, *(one for one in split.issues if one.path not in wrong)]


def _unchecked(why: str) -> InputIssue:
    return issue("input", IssueSeverity.NOTE, f"was not checked, because {why}")


def _version_issues(version: str | None) -> Iterator[InputIssue]:
    if version is None:
        return
    if version.strip().lower() == "latest":
        why = "is refused by the service for real workers (50003)"
        yield issue("version", IssueSeverity.ERROR, why, "leave it out to run the newest version")
    else:
        why = "may take another input: the service shows the schema of the newest version only"
        yield issue("version", IssueSeverity.NOTE, f"{why}, so nothing about the input is an error")


def _about_schema(found: Iterable[InputIssue], version: str | None) -> Iterator[InputIssue]:
    """Yield issues, with warnings for errors when the schema is perhaps not that of the version."""
    for one in found:
        if version is None or one.severity is not IssueSeverity.ERROR:
            yield one
        else:
            yield attrs.evolve(one, severity=IssueSeverity.WARNING)


def _member_issues(schema: InputSchema, given: dict[str, Any], dropped: AbstractSet[str]) -> Iterator[InputIssue]:
    members = members_of(schema)
    unknown = [name for name in given if name not in members]
    effort = CheckEffort()
    meant = meant_members(unknown[:_MAX_UNKNOWN], members, effort)
    split = set(split_fields(schema))
    for name, prop in members.items():
        path, value = f"input{label_of(name)}", given.get(name)
        if name in dropped:
            continue
        if not is_nothing(value):
            yield from capped(path, value_issues(prop, value, path, is_split=name in split, effort=effort))
        elif prop.required:
            state = "empty" if name in given else "missing"
            suggestion = _how_to_fill(prop, [other for other, known in meant.items() if known == name])
            yield issue(path, IssueSeverity.ERROR, f"is required, and {state}", suggestion)
    told = suggestions(unknown[:_MAX_UNKNOWN], schema, meant)
    for name in unknown[:_MAX_UNKNOWN]:
        yield issue(f"input{label_of(name)}", IssueSeverity.WARNING, "is not in the worker's schema", told.get(name))
    if len(unknown) > _MAX_UNKNOWN:
        more = counted(len(unknown) - _MAX_UNKNOWN, "more member that is", "more members that are")
        yield issue("input", IssueSeverity.WARNING, f"has {more} not in the worker's schema")


def _how_to_fill(prop: InputProperty, given_instead: list[str]) -> str | None:
    if given_instead:
        return f"is input{label_of(given_instead[0])} meant for it?"
    if is_nothing(prop.default):
        return None
    shown = json.dumps(prop.default, ensure_ascii=False)
    return f"the console fills in {shown}" if len(shown) <= _MAX_SHOWN else "the console fills in its default"
