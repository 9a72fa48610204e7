"""What one property of an input schema says about its values, as far as it can be read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from coreclaw_async._wire.json_types import as_array, is_array, is_object
from coreclaw_async.models import InputProperty, InputSchema

Scalar: TypeAlias = str | int | float | bool

KINDS = ("string", "integer", "number", "boolean", "array", "object")
# What each editor of the console submits (docs, developer-guide/worker-definition/input-schema). The platform runs
# inputs whose type and editor disagree, so each of the two only allows more.
_EDITORS: dict[str, tuple[str, ...]] = {
    "input": ("string", "integer", "number"),
    "textarea": ("string",),
    "number": ("integer", "number"),
    "switch": ("boolean",),
    "select": ("string", "integer"),
    "radio": ("string", "integer"),
    "checkbox": ("array",),
    "datepicker": ("string",),
    "stringList": ("array",),
    "requestList": ("array",),
    "requestListSource": ("array",),
    "requestListSources": ("array",),
    "json": ("object",),
}
SCALARS = frozenset({"string", "integer", "number", "boolean"})
_CHOOSING = ("select", "radio", "checkbox")
_NOTHING: tuple[Any, ...] = (None, "", [], {})


def is_nothing(value: Any) -> bool:
    """Return whether *value* leaves a member empty, as the service sees it."""
    return value in _NOTHING


def is_blank(value: Any) -> bool:
    """Return whether *value* is empty, or a string of spaces; the service leaves such items out."""
    return is_nothing(value) or (isinstance(value, str) and not value.strip())


def is_editor_known(prop: InputProperty) -> bool:
    """Return whether it is known what the console submits for *prop*; without an editor the type alone says it."""
    return prop.editor is None or prop.editor in _EDITORS


def kinds_of(prop: InputProperty) -> set[str] | None:
    """Return the kinds of value that type and editor allow, or None when the type is missing or unknown."""
    if prop.type not in KINDS:
        return None
    submitted = _EDITORS.get(prop.editor or "", ())
    # Between scalars the type decides: an editor for numbers may submit them as strings, but need not.
    kinds = {prop.type, *(submitted if not SCALARS.issuperset({prop.type, *submitted}) else ())}
    return kinds | {"array"} if prop.extra.get("multiple") is True else kinds


def fits(value: Any, kinds: Iterable[str]) -> bool:
    """Return whether a JSON value is of one of *kinds*; ``True`` is no number, and 3.0 is an integer."""
    return any(_is(value, kind) for kind in kinds)


def _is(value: Any, kind: str) -> bool:
    match kind:
        case "array":
            return is_array(value)
        case "object":
            return is_object(value)
        case "boolean":
            return isinstance(value, bool)
        case "string":
            return isinstance(value, str)
        case "number":
            return is_number(value)
        case _:
            return is_number(value) and value % 1 == 0


def is_number(value: Any) -> bool:
    """Return whether *value* is a number, which ``True`` is not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def name_of_kind(value: Any) -> str:
    """Return what a JSON value is, for messages that must not show it."""
    match value:
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case _:
            return "an array" if is_array(value) else "an object"


def offers(choices: Sequence[Scalar], value: Any) -> bool:
    """Return whether *value* is one of *choices*; ``True`` is not 1."""
    return any(value == choice and isinstance(value, bool) == isinstance(choice, bool) for choice in choices)


def choices_of(prop: InputProperty) -> list[Scalar]:
    """Return the values that a property offers; none when it lets one type any, or they cannot be read."""
    if prop.editor in _EDITORS and prop.editor not in _CHOOSING:
        return []
    told = [*prop.options] or as_array(prop.extra.get("enum"))
    values: list[Any] = [option.get("value") if is_object(option) else option for option in told]
    return values if all(isinstance(value, Scalar) for value in values) else []


def labelled(prop: InputProperty, label: str) -> Scalar | None:
    """Return the value of the option that the console shows as *label*, or None."""
    options = [option for option in prop.options if is_object(option)]
    found = (one.get("value") for one in options if str(one.get("label")).casefold() == label.casefold())
    return next(found, None)


def parameters_of(prop: InputProperty) -> list[InputProperty]:
    """Return the members of each item of a ``requestListSource``; none when they cannot be read."""
    found: list[InputProperty] = []
    for entry in as_array(prop.extra.get("param_list")):
        name = (entry.get("param") or entry.get("name")) if is_object(entry) else None
        if not isinstance(name, str):
            return []
        found.append(_parameter(name, entry))
    return found


def _parameter(name: str, entry: dict[str, Any]) -> InputProperty:
    texts = {key: entry[key] for key in ("type", "title", "description") if isinstance(entry.get(key), str)}
    return InputProperty(name=name, required=entry.get("required") is True, **texts)


def members_of(schema: InputSchema) -> dict[str, InputProperty]:
    """Return the properties by name; the first of several that share one, and none without a name."""
    members: dict[str, InputProperty] = {}
    for prop in schema.properties:
        if prop.name:
            members.setdefault(prop.name, prop)
    return members
