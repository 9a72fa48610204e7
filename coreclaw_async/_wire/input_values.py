"""The value of one member of an input, compared with what the schema says about it."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from coreclaw_async._wire.json_body import label_of
from coreclaw_async._wire.json_types import is_array, is_object
from coreclaw_async._wire.schema_facts import (
    KINDS,
    Scalar,
    choices_of,
    fits,
    is_nothing,
    is_number,
    kinds_of,
    labelled,
    name_of_kind,
    offers,
    parameters_of,
)
from coreclaw_async.models import InputIssue, InputProperty, IssueSeverity

_MOST_ISSUES = 10
_MOST_CHOICES = 500
_MOST_LETTERS = 60
_CONTAINERS = ("array", "object")
_DATE_PARTS = re.compile(r"YYYY|MM|DD|HH|mm|ss")


def issue(path: str, severity: IssueSeverity, message: str, suggestion: str | None = None) -> InputIssue:
    """Return an issue."""
    return InputIssue(path=path, severity=severity, message=message, suggestion=suggestion)


def capped(path: str, found: Iterable[InputIssue]) -> Iterator[InputIssue]:
    """Yield the first issues of each severity about the member at *path*, and how many more there are."""
    counts: Counter[IssueSeverity] = Counter()
    for one in found:
        counts[one.severity] += 1
        if counts[one.severity] <= _MOST_ISSUES:
            yield one
    for severity, count in counts.items():
        if count > _MOST_ISSUES:
            more = f"has {count - _MOST_ISSUES} more issues of severity {severity.value}"
            yield issue(path, IssueSeverity.NOTE, more)


def value_issues(prop: InputProperty, value: Any, path: str, *, is_split: bool) -> Iterator[InputIssue]:
    """Yield what is wrong with *value*, which is not empty; *is_split* is whether its items become tasks."""
    kinds = kinds_of(prop)
    if kinds is None:
        if prop.type is not None:
            yield issue(path, IssueSeverity.NOTE, f"was not checked: its type {prop.type[:_MOST_LETTERS]!r} is unknown")
    elif not fits(value, kinds) and not offers(choices_of(prop), value):
        if not is_split:  # How it is split says more about a value that is no array.
            yield _kind_issue(value, path, kinds)
        return
    yield from _choice_issues(prop, value, path)
    yield from _range_issues(prop, value, path)
    yield from _date_issues(prop, value, path)
    if is_array(value):
        yield from _item_issues(prop, value, path)


def _kind_issue(value: Any, path: str, kinds: set[str]) -> InputIssue:
    """Return the issue about a value of a kind that is not allowed; an error where there is but one, a container."""
    wanted = " or ".join(kind for kind in KINDS if kind in kinds)
    is_certain = len(kinds) == 1 and wanted in _CONTAINERS
    severity = IssueSeverity.ERROR if is_certain else IssueSeverity.WARNING
    return issue(path, severity, f"must be of type {wanted}, not {name_of_kind(value)}", _way_out(value, kinds))


def _way_out(value: Any, kinds: set[str]) -> str | None:
    if isinstance(value, str) and kinds & {"integer", "number", "boolean", "object"}:
        return "give the value itself, not a string"
    if kinds == {"array"}:
        return "give a list, also for one item"
    return "give a string" if "string" in kinds and is_number(value) else None


def _choice_issues(prop: InputProperty, value: Any, path: str) -> Iterator[InputIssue]:
    choices = choices_of(prop)
    if not choices:
        return
    offered = {_marked(choice) for choice in choices}
    words = {str(choice).strip().casefold() for choice in choices if not isinstance(choice, str)}
    for place, one in enumerate(value if is_array(value) else [value]):
        if not isinstance(one, Scalar) or _marked(one) in offered:
            continue
        where = f"{path}[{place}]" if is_array(value) else path
        if (not isinstance(one, str) and str(one) in choices) or str(one).strip().casefold() in words:
            yield issue(where, IssueSeverity.WARNING, "is of another type than the option with the same text")
        else:
            how_many = "the one option" if len(choices) == 1 else f"one of the {len(choices)} options"
            yield issue(where, IssueSeverity.ERROR, f"is not {how_many}", _choice_meant(prop, one, choices))


def _marked(value: Scalar) -> tuple[bool, Scalar]:
    """Return *value* beside whether it is a boolean, as ``True == 1``."""
    return isinstance(value, bool), value


def _choice_meant(prop: InputProperty, value: Scalar, choices: Sequence[Scalar]) -> str | None:
    """Return which option was probably meant, or all of them where they are few; never the value itself."""
    texts = [str(choice) for choice in choices[:_MOST_CHOICES] if len(str(choice)) <= _MOST_LETTERS]
    text = str(value)
    if len(text) <= _MOST_LETTERS:
        of_label = labelled(prop, text)
        if of_label is not None and len(str(of_label)) <= _MOST_LETTERS:
            return f"that is the label of {of_label!r}"
        folded = {one.casefold(): one for one in reversed(texts)}
        close = difflib.get_close_matches(text.casefold(), folded, n=1, cutoff=0.6)
        if close:
            return f"did you mean {folded[close[0]]!r}?"
    shown = ", ".join(map(repr, texts))
    return f"choose from {shown}" if texts and len(shown) <= 2 * _MOST_LETTERS else None


def _range_issues(prop: InputProperty, value: Any, path: str) -> Iterator[InputIssue]:
    if not is_number(value):
        return
    if prop.minimum is not None and value < prop.minimum:
        yield issue(path, IssueSeverity.WARNING, f"is less than {prop.minimum:g}, the smallest number allowed")
    if prop.maximum is not None and value > prop.maximum:
        yield issue(path, IssueSeverity.WARNING, f"is more than {prop.maximum:g}, the largest number allowed")


def _date_issues(prop: InputProperty, value: Any, path: str) -> Iterator[InputIssue]:
    if prop.editor != "datepicker" or not isinstance(value, str):
        return
    form = prop.extra.get("valueFormat")
    if not isinstance(form, str) or not _DATE_PARTS.search(form):
        return
    digits = "".join(
        rf"[0-9]{{{len(part)}}}" if _DATE_PARTS.fullmatch(part) else re.escape(part)
        for part in re.split(f"({_DATE_PARTS.pattern})", form)
    )
    # Other letters stand for parts that this version does not know, such as names of months.
    if not re.search("[A-Za-z]", _DATE_PARTS.sub("", form).replace("T", "")) and not re.fullmatch(digits, value):
        yield issue(path, IssueSeverity.WARNING, f"is not written as {form[:_MOST_LETTERS]}")


def _item_issues(prop: InputProperty, items: Sequence[Any], path: str) -> Iterator[InputIssue]:
    parameters = {one.name: one for one in parameters_of(prop)}
    described = prop.extra.get("items")
    kind = described.get("type") if is_object(described) else None
    for place, item in enumerate(items):
        if is_nothing(item):
            continue
        where = f"{path}[{place}]"
        if kind in KINDS and not fits(item, [kind]):
            yield issue(where, IssueSeverity.WARNING, f"must be of type {kind}, not {name_of_kind(item)}")
        elif parameters:
            yield from _parameter_issues(parameters, item, where)
        elif not _is_like(item, prop.default):
            shown = "objects" if is_object(prop.default[0]) else "plain values"
            yield issue(where, IssueSeverity.WARNING, f"differs from the default of this member, which holds {shown}")


def _parameter_issues(parameters: dict[str, InputProperty], item: Any, path: str) -> Iterator[InputIssue]:
    if not is_object(item):
        names = ", ".join(parameters)[:_MOST_LETTERS]
        yield issue(path, IssueSeverity.WARNING, f"must be an object with {names}, not {name_of_kind(item)}")
        return
    for name, prop in parameters.items():
        if prop.required and is_nothing(item.get(name)):
            state = "empty" if name in item else "missing"
            yield issue(f"{path}{label_of(name)}", IssueSeverity.WARNING, f"is required, and {state}")
    for name in item.keys() - parameters.keys():
        yield issue(f"{path}{label_of(name)}", IssueSeverity.WARNING, "is not among the members of these items")


def _is_like(item: Any, default: Any) -> bool:
    """Return whether an item has the shape of the default's items; an item of another shape may be refused."""
    if not is_array(default) or not default or len({is_object(one) for one in default}) > 1:
        return True
    if not is_object(default[0]) or not is_object(item):
        return is_object(item) == is_object(default[0])
    return not default[0] or not item.keys().isdisjoint(default[0])
