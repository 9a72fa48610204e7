"""What the members of a model become, known from its types: for a list without items, and members without values."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union

import attrs

from coreclaw_async._data.plain import names_of
from coreclaw_async._frames.shapes import KINDS, Kind, Shape
from coreclaw_async._frames.values import EXTRA

_UNIONS = frozenset({Union, types.UnionType})
_HAS_OWN_TYPE: frozenset[Kind] = frozenset({"time", "decimal"})


def shapes_of_members(model: type) -> dict[str, Shape]:
    """Return the shape of each member of a *model* as `values.rows_of` has it; without kinds where any may come."""
    hints = typing.get_type_hints(model)
    shapes = {name: _shape_of(hints[name], is_inside=False) for name in names_of(model)}
    if EXTRA in shapes:
        shapes[EXTRA] = Shape({"text": None})  # JSON.
    return shapes


def _shape_of(hint: Any, *, is_inside: bool) -> Shape:
    """Return the shape of values of a type; *is_inside* of others, where times and decimals are strings."""
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin in _UNIONS:
        return _common(_shape_of(one, is_inside=is_inside) for one in inside if one is not types.NoneType)
    if origin in {Sequence, tuple}:
        return Shape({"array": None}, element=_shape_of(inside[0], is_inside=True))
    if attrs.has(hint):
        hints = typing.get_type_hints(hint)
        members = {name: _shape_of(hints[name], is_inside=True) for name in names_of(hint)}
        return Shape({"object": None}, members=members)
    kinds: set[Kind] = {KINDS[kind] for kind in _types_of(hint, origin, inside) if kind in KINDS}
    if is_inside and not kinds.isdisjoint(_HAS_OWN_TYPE):
        return Shape({"text": None})
    return Shape(dict.fromkeys(kinds) if len(kinds) == 1 else {})


def _types_of(hint: Any, origin: Any, inside: Sequence[Any]) -> list[type]:
    """Return the types that values of a type have in a row."""
    if origin is Literal:
        return [type(value) for value in inside]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return [type(member.value) for member in hint]
    return [str] if hint is Path else [hint]


def _common(shapes: Iterable[Shape]) -> Shape:
    """Return what the shapes agree about."""
    first, *others = shapes
    return first if all(other.kinds == first.kinds for other in others) else Shape()


def complete(shape: Shape, known: Shape) -> None:
    """Give *shape* what is *known* where no value was seen."""
    if not shape.kinds:
        shape.kinds, shape.members, shape.element = known.kinds, known.members, known.element
    elif "object" in shape.kinds:
        complete_all(shape.members, known.members)
    elif shape.element is not None and known.element is not None:
        complete(shape.element, known.element)


def complete_all(shapes: dict[Any, Shape], known: Mapping[str, Shape]) -> None:
    """Give each of *shapes* what is *known* of it where no value was seen, and add those that are lacking."""
    for name, shape in known.items():
        complete(shapes.setdefault(name, Shape()), shape)
