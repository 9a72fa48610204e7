"""The value of one member of an input, compared with what the schema says about it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import Any, Self

import attrs

from coreclaw_async._data.counting import counted
from coreclaw_async._wire.check_effort import CheckEffort
from coreclaw_async._wire.json_body import label_of
from coreclaw_async._wire.json_types import is_array, is_object
from coreclaw_async._wire.schema_facts import (
    KINDS,
    SCALARS,
    Scalar,
    choices_of,
    fits,
    is_blank,
    is_editor_known,
    is_nothing,
    is_number,
    kinds_of,
    labelled,
    name_of_kind,
    offers,
    parameters_of,
)
from coreclaw_async.errors import printable
from coreclaw_async.models import InputIssue, InputProperty, IssueSeverity

_MAX_ISSUES = 10
_MAX_LETTERS = 60
_CONTAINERS = ("array", "object")
_DATE_PARTS = re.compile(r"YYYY|MM|DD|HH|mm|ss")


def issue(path: str, severity: IssueSeverity, message: str, suggestion: str | None = None) -> InputIssue:
    """Return an issue; what is not printable in names and texts of the schema is escaped, as it may be anything."""
    return InputIssue(
        path=printable(path),
        severity=severity,
        message=printable(message),
        suggestion=None if suggestion is None else printable(suggestion),
    )


def capped(path: str, found: Iterable[InputIssue], most: int = _MAX_ISSUES) -> Iterator[InputIssue]:
    """Yield the first issues of each severity about the member at *path*, and how many more there are."""
    counts: Counter[IssueSeverity] = Counter()
    for one in found:
        counts[one.severity] += 1
        if counts[one.severity] <= most:
            yield one
    for severity, count in counts.items():
        if count > most:
            more = f"has {counted(count - most, 'more issue')} of severity {severity.value}"
            yield issue(path, IssueSeverity.NOTE, more)


def value_issues(
    prop: InputProperty, value: Any, path: str, *, is_split: bool, effort: CheckEffort
) -> Iterator[InputIssue]:
    """Yield what is wrong with *value*, which is not empty; *is_split* is whether its items become tasks."""
    kinds = kinds_of(prop)
    if kinds is None:
        if prop.type is not None:
            yield issue(path, IssueSeverity.NOTE, f"was not checked: its type {prop.type[:_MAX_LETTERS]!r} is unknown")
    elif not fits(value, kinds) and not (kinds & SCALARS and offers(choices_of(prop), value)):
        if not is_split:  # How it is split says more about a value that is no array.
            yield _kind_issue(value, path, kinds, is_certain=is_editor_known(prop))
        return
    if not is_array(value):
        yield from _choice_issues(prop, {path: value}, effort)
        yield from _range_issues(prop, value, path)
        yield from _date_issues(prop, value, path)
        return
    parameters = {one.name: one for one in parameters_of(prop)}
    items = {f"{path}[{place}]": item for place, item in enumerate(effort.first_of(value, len(parameters)))}
    yield from _choice_issues(prop, items, effort)
    yield from _item_issues(prop, parameters, items)
    if len(items) < len(value):
        first = counted(len(items), "of its items was", "of its items were")
        which = f"only the first {first}" if items else "its items were not"
        yield issue(path, IssueSeverity.NOTE, f"is too large: {which} checked")


def _kind_issue(value: Any, path: str, kinds: set[str], *, is_certain: bool) -> InputIssue:
    """Return the issue about a value of a kind that is not allowed; an error where there is but one, a container."""
    wanted = " or ".join(kind for kind in KINDS if kind in kinds)
    is_certain = is_certain and len(kinds) == 1 and wanted in _CONTAINERS
    severity = IssueSeverity.ERROR if is_certain else IssueSeverity.WARNING
    return issue(path, severity, f"must be of type {wanted}, not {name_of_kind(value)}", _way_out(value, kinds))


def _way_out(value: Any, kinds: set[str]) -> str | None:
    if isinstance(value, str) and kinds & {"integer", "number", "boolean", "object"}:
        return "give the value itself, not a string"
    if kinds == {"array"}:
        return "give a list, also for one item"
    return "give a string" if "string" in kinds and is_number(value) else None


def _choice_issues(prop: InputProperty, items: Mapping[str, Any], effort: CheckEffort) -> Iterator[InputIssue]:
    choices = choices_of(prop)
    if not choices:
        return
    offered = {_marked(choice) for choice in choices}
    words = {str(choice).strip().casefold() for choice in choices if not isinstance(choice, str)}
    how_many = "the one option" if len(choices) == 1 else f"one of the {len(choices)} options"
    wrong = 0
    for path, one in items.items():
        if not isinstance(one, Scalar) or is_blank(one) or _marked(one) in offered:
            continue
        text = str(one)
        if (not isinstance(one, str) and (False, text) in offered) or text.strip().casefold() in words:
            yield issue(path, IssueSeverity.WARNING, "is of another type than the option with the same text")
        else:
            wrong += 1
            meant = _choice_meant(prop, text, choices, effort) if wrong <= _MAX_ISSUES else None
            yield issue(path, IssueSeverity.WARNING, f"is not {how_many}", meant)


def _marked(value: Scalar) -> tuple[bool, Scalar]:
    """Return *value* beside whether it is a boolean, as ``True == 1``."""
    return isinstance(value, bool), value


def _choice_meant(prop: InputProperty, text: str, choices: Sequence[Scalar], effort: CheckEffort) -> str | None:
    """Return which option was probably meant, or all of them where they are few; never the value itself."""
    if len(text) <= _MAX_LETTERS:
        of_label = labelled(prop, text)
        if of_label is not None and len(str(of_label)) <= _MAX_LETTERS:
            return f"that is the label of {of_label!r}"
        near = effort.near_name(text, map(str, choices), cutoff=0.6)
        if near is not None:
            return f"did you mean {near!r}?"
    few = [str(choice) for choice in choices[:_MAX_LETTERS]]
    shown = ", ".join(repr(one) for one in few if len(one) <= _MAX_LETTERS)
    return f"choose from {shown}" if shown and len(few) == len(choices) and len(shown) <= 2 * _MAX_LETTERS else None


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
    if not isinstance(form, str) or len(form) > _MAX_LETTERS or not _DATE_PARTS.search(form):
        return
    digits = "".join(
        rf"[0-9]{{{len(part)}}}" if _DATE_PARTS.fullmatch(part) else re.escape(part)
        for part in re.split(f"({_DATE_PARTS.pattern})", form)
    )
    # Other letters stand for parts that this version does not know, such as names of months.
    if not re.search("[A-Za-z]", _DATE_PARTS.sub("", form).replace("T", "")) and not re.fullmatch(digits, value):
        yield issue(path, IssueSeverity.WARNING, f"is not written as {form}")


def _item_issues(
    prop: InputProperty, parameters: Mapping[str, InputProperty], items: Mapping[str, Any]
) -> Iterator[InputIssue]:
    described = prop.extra.get("items")
    kind = described.get("type") if is_object(described) else None
    shape = _DefaultShape.of(prop.default)
    for path, item in items.items():
        if is_nothing(item):
            continue
        if kind in KINDS and not fits(item, [kind]):
            yield issue(path, IssueSeverity.WARNING, f"must be of type {kind}, not {name_of_kind(item)}")
        elif parameters:
            yield from _parameter_issues(parameters, item, path)
        elif shape is not None and not shape.is_like(item):
            shown = "plain values" if shape.members is None else "objects"
            yield issue(path, IssueSeverity.WARNING, f"differs from the default of this member, which holds {shown}")


def _parameter_issues(parameters: Mapping[str, InputProperty], item: Any, path: str) -> Iterator[InputIssue]:
    if not is_object(item):
        names = ", ".join(islice(parameters, _MAX_ISSUES))[:_MAX_LETTERS]
        yield issue(path, IssueSeverity.WARNING, f"must be an object with {names}, not {name_of_kind(item)}")
        return
    for name, prop in parameters.items():
        if prop.required and is_nothing(item.get(name)):
            state = "empty" if name in item else "missing"
            yield issue(f"{path}{label_of(name)}", IssueSeverity.WARNING, f"is required, and {state}")
    for name in item:
        if name not in parameters:
            yield issue(f"{path}{label_of(name)}", IssueSeverity.WARNING, "is not among the members of these items")


@attrs.frozen
class _DefaultShape:
    """
    The shape of a default's items; an item of another shape may be refused.

    Attributes:
        members: The members of the first, when the items are objects; None when none is.
    """

    members: AbstractSet[str] | None

    @classmethod
    def of(cls, default: Any) -> Self | None:
        """Return the shape of a default; None where it has no items, or items of several shapes."""
        if not is_array(default) or len({is_object(one) for one in default}) != 1:
            return None
        return cls(default[0].keys() if is_object(default[0]) else None)

    def is_like(self, item: Any) -> bool:
        """Return whether an item has this shape."""
        if self.members is None or not is_object(item):
            return is_object(item) == (self.members is not None)
        return not self.members or not item.keys().isdisjoint(self.members)
