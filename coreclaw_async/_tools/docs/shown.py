"""What the reference shows that a docstring has otherwise: defaults, values of enumerations, guides without notes."""

from __future__ import annotations

import enum
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, get_origin

import attrs

_DISPLAYS: dict[type, str] = {dict: "{}", list: "[]", tuple: "()"}


class MadeDefault:
    """A default that is made for each object, shown as an expression for it."""

    def __init__(self, factory: Callable[..., object] | None) -> None:
        kind = get_origin(factory) or factory  # Of dict[str, Any], say.
        self._shown = "..."
        if inspect.isclass(kind):
            self._shown = _DISPLAYS.get(kind, f"{kind.__name__}()")

    def __repr__(self) -> str:
        return self._shown


def signature_of(constructor: Callable[..., Any], kind: type) -> inspect.Signature:
    """Return a signature of the *constructor* of an attrs class, where each default is what an object then has."""
    made = {field.alias: getattr(field.default, "factory", None) for field in attrs.fields(kind)}
    given = inspect.signature(constructor)
    return given.replace(
        parameters=[
            each.replace(default=MadeDefault(made.get(each.name))) if each.default is attrs.NOTHING else each
            for each in given.parameters.values()
        ]
    )


def with_values(kind: type[enum.Enum], lines: Sequence[str]) -> Iterator[str]:
    """Yield the *lines* about an enumeration, with the value below the name of each member."""
    for line in lines:
        yield line
        found = re.fullmatch(r"\.\. attribute:: (\w+)", line)
        if found and found[1] in kind.__members__:
            yield f"   :value: {kind[found[1]].value!r}"


def without_notes(lines: Sequence[str]) -> Iterator[str]:
    """Yield the *lines* about a module, without the paragraph about what may live there."""
    is_note = False
    for line in lines:
        is_note = line.startswith("Belongs here:") or (is_note and bool(line))
        if not is_note:
            yield line
