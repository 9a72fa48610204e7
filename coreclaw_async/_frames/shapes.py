"""What the values of a column are, and which type holds all of them without changing any."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Literal, TypeAlias, cast

import attrs

from coreclaw_async._frames.values import is_encodable, plain

Kind: TypeAlias = Literal["boolean", "integer", "number", "text", "object", "array", "time", "decimal"]
Target: TypeAlias = Literal["boolean", "integer", "number", "text", "time", "decimal", "nested", "json"]

KINDS: dict[type, Kind] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "text",
    dict: "object",
    list: "array",
    tuple: "array",
    dt.datetime: "time",
    Decimal: "decimal",
}
NESTED = frozenset({"object", "array"})
_FORMATS: dict[str | None, Target] = {"integer": "integer", "number": "number", "boolean": "boolean"}
_MAX_INTEGER = 2**63
_MAX_EXACT = 2**53  # Beyond it a float does not hold every integer.
_MAX_DIGITS = 38
_MAX_DEPTH = 30
_NO_MEMBERS = "objects without members"
_MAX_MEMBERS = 1_000  # Objects whose keys are data would make a type without end.

UNKNOWN_TARGET: Target = "text"
"""The type of a column of which nothing is known: what most columns are, and what every reader of Parquet knows."""


@attrs.define
class Shape:
    """
    What was seen of values that get one type: those of a column, of a member of an object, or of an array.

    Attributes:
        kinds: The kinds of the values, in the order in which they came.
        has_long: Whether an integer needs more than 64 bits.
        has_inexact: Whether a float may not hold an integer exactly.
        has_surrogates: Whether a string holds a lone surrogate, which UTF-8 cannot encode.
        has_null_names: Whether the name of a member holds a null character, where other libraries end it.
        has_nan: Whether a decimal is none, as ``NaN``.
        scale: Digits that the decimals need after the point.
        digits: Digits that they need before it.
        members: The members of the objects, in the order in which they came.
        element: The elements of the arrays, if there are any.
        is_too_large: Whether the objects are too deep or have too many members.
    """

    kinds: dict[Kind, None] = attrs.field(factory=dict["Kind", None])
    has_long: bool = False
    has_inexact: bool = False
    has_surrogates: bool = False
    has_null_names: bool = False
    has_nan: bool = False
    scale: int = 0
    digits: int = 0
    members: dict[str, Shape] = attrs.field(factory=dict[str, "Shape"])
    element: Shape | None = None
    is_too_large: bool = False

    def observe(self, values: Sequence[Any], *, depth: int = 0, is_inside: bool = True) -> dict[Kind, None]:
        """Record *values*, some of which may be None, and what is inside of them; return their kinds."""
        kinds: dict[Kind, None] = {KINDS[kind]: None for kind in dict.fromkeys(map(type, values)) if kind in KINDS}
        self.kinds.update(kinds)
        if "integer" in kinds and not self.has_long:
            whole = _of_types(values, int)
            lowest, highest = min(whole), max(whole)
            self.has_inexact |= lowest < -_MAX_EXACT or highest > _MAX_EXACT
            self.has_long = lowest < -_MAX_INTEGER or highest >= _MAX_INTEGER
        if "decimal" in kinds:
            self._measure(_of_types(values, Decimal))
        if "text" in kinds and depth and not self.has_surrogates:
            self.has_surrogates = not is_encodable("".join(_of_types(values, str)))
        if depth > _MAX_DEPTH:
            self.is_too_large = True
        elif is_inside and not self.is_too_large:
            self._look_inside(values, kinds, depth + 1)
        return kinds

    def _look_inside(self, values: Sequence[Any], kinds: dict[Kind, None], depth: int) -> None:
        if "array" in kinds:
            self.element = self.element or Shape()
            elements = [one for value in _of_types(values, list, tuple) for one in value]
            self.element.observe(elements, depth=depth)
        if "object" in kinds:
            objects = _of_types(values, dict)
            names: dict[str, None] = dict.fromkeys(name for value in objects for name in value)
            joined = "".join(names)
            self.has_surrogates |= not is_encodable(joined)
            self.has_null_names |= "\0" in joined
            for name in names:
                if name not in self.members and len(self.members) == _MAX_MEMBERS:
                    self.is_too_large = True
                    return
                shape = self.members.setdefault(name, Shape())
                shape.observe([value[name] for value in objects if name in value], depth=depth)

    def _measure(self, decimals: Iterable[Decimal]) -> None:
        for value in decimals:
            _, digits, exponent = value.as_tuple()
            if not isinstance(exponent, int):
                self.has_nan = True
                continue
            self.scale = max(self.scale, -exponent)
            self.digits = max(self.digits, len(digits) + exponent)


@attrs.frozen
class ColumnType:
    """
    The type that a column gets.

    Attributes:
        target: The type.
        reason: Why it is another type than that of the values, or None when it is not.
    """

    target: Target
    reason: str | None = None

    @property
    def is_final(self) -> bool:
        """Whether no further value changes that there is a reason."""
        return self.reason not in {None, _NO_MEMBERS}


def normalised(values: Sequence[Any]) -> Sequence[Any]:
    """Return *values*, with those of types that JSON does not have as JSON has them."""
    if all(kind in KINDS or kind is type(None) for kind in set(map(type, values))):
        return values
    return [value if type(value) in KINDS else plain(value) for value in values]


def type_of(shape: Shape, *, as_json: bool, format: str | None) -> ColumnType:
    """
    Return the type for all values of a column.

    Args:
        shape: What was seen of them.
        as_json: Whether objects and arrays are to be JSON.
        format: What the header says the column holds; for a column without values.
    """
    kinds = shape.kinds
    if not kinds:
        return ColumnType(_FORMATS.get(format, UNKNOWN_TARGET))
    if NESTED.issuperset(kinds):
        if as_json:
            return ColumnType("json")
        reason = _reason_against_struct(shape)
        return ColumnType("nested") if reason is None else ColumnType("json", reason)
    if len(kinds) > 1 and kinds.keys() != {"integer", "number"}:
        return ColumnType("text", ", then ".join(kinds))
    if shape.has_long:
        return ColumnType("text", "integers of more than 64 bits")
    if len(kinds) > 1:
        return ColumnType("text", "numbers and integers beyond 2**53") if shape.has_inexact else ColumnType("number")
    if "decimal" in kinds and (shape.has_nan or shape.digits + shape.scale > _MAX_DIGITS):
        return ColumnType("text", f"decimals of more than {_MAX_DIGITS} digits, or none")
    target = cast("Target", next(iter(kinds)))  # The kinds that are no targets are nested.
    return ColumnType(target, "lone surrogates, which UTF-8 cannot encode" if shape.has_surrogates else None)


def _reason_against_struct(shape: Shape) -> str | None:
    """Return why no struct or list holds the nested values of *shape*, or None when one does."""
    kinds = shape.kinds
    if shape.is_too_large:
        return f"objects with more than {_MAX_MEMBERS} members or more than {_MAX_DEPTH} levels"
    if "object" in kinds and not shape.members:
        return _NO_MEMBERS
    if len(kinds) > 1 and kinds.keys() != {"integer", "number"}:
        return f"nested values that differ: {', then '.join(kinds)}"
    if shape.has_long or (len(kinds) > 1 and shape.has_inexact):
        return "nested integers that are too long"
    if shape.has_surrogates:
        return "nested lone surrogates, which UTF-8 cannot encode"
    if shape.has_null_names:
        return "members with a null character in their names"
    inner = [*shape.members.values(), *([] if shape.element is None else [shape.element])]
    found = (_reason_against_struct(one) for one in inner)
    return next((reason for reason in found if reason is not None), None)


def _of_types(values: Sequence[Any], *types: type) -> list[Any]:
    return [value for value in values if type(value) in types]
