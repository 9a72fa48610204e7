"""What a frame must hold, said row by row and without any library: a second reading of the docstring of `to_arrow`."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

ANY_TEXT = st.text(st.characters(), max_size=4) | st.sampled_from(
    ["2024-02-30", "2024-01-01T00:00:00Z", "", "\ud83d", "NaN"]
)
INTEGERS = st.integers(-5, 5) | st.sampled_from(
    [2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**40]
)
SCALARS = st.none() | st.booleans() | INTEGERS | st.floats() | ANY_TEXT
NAMES = st.sampled_from(["a", "b", "c.d", "", "é", "\udc00"]) | st.text(max_size=2)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)
# Columns of one kind are what rows mostly have; free mixtures alone would almost never make one.
ONE_KIND = st.sampled_from(
    [
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.integers(-(2**53), 2**53) | st.floats(),
        INTEGERS,
        st.floats(),
        ANY_TEXT,
        st.text(max_size=4),
        st.lists(st.integers(0, 3), max_size=3),
        st.lists(st.dictionaries(st.sampled_from("xy"), st.booleans(), min_size=1, max_size=2), max_size=2),
        st.fixed_dictionaries(
            {"n": st.integers(0, 9)}, optional={"t": ANY_TEXT, "l": st.lists(st.floats(), max_size=2)}
        ),
        VALUES,
    ]
)


@st.composite
def pieces_of_rows(draw: st.DrawFn) -> list[list[dict[str, Any]]]:
    """Return rows in pieces; each column has values of one kind in most pieces, and is missing from some rows."""
    kinds = draw(st.dictionaries(NAMES, ONE_KIND, max_size=4))
    pieces: list[list[dict[str, Any]]] = []
    for _ in range(draw(st.integers(0, 3))):
        here = {name: values for name, values in kinds.items() if draw(st.booleans())}
        row = st.fixed_dictionaries({}, optional={name: values | st.none() for name, values in here.items()})
        pieces.append(draw(st.lists(row, max_size=4)))
    return pieces


def expected_columns(rows: Sequence[dict[str, Any]], *, nested: str) -> dict[str, list[Any]]:
    """Return the columns that the rows must become, under their keys."""
    keys = dict.fromkeys(key for row in rows for key in row)
    return {key: expected_values([row.get(key) for row in rows], nested=nested) for key in keys}


def expected_values(values: Sequence[Any], *, nested: str) -> list[Any]:
    """Return what a column must hold instead of *values*."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {dict, list}:
        if nested == "struct" and kinds and (shape := shape_of(values)) is not None:
            return [None if value is None else fill(value, shape) for value in values]
        return [None if value is None else as_json(value) for value in values]
    whole = [value for value in values if type(value) is int]
    if kinds == {int} and all(-(2**63) <= value < 2**63 for value in whole):
        return list(values)
    if kinds == {int, float} and all(abs(value) <= 2**53 for value in whole):
        return [None if value is None else float(value) for value in values]
    if len(kinds) == 1 and kinds < {bool, float}:
        return list(values)
    return [None if value is None else as_text(value) for value in values]


def shape_of(values: Sequence[Any]) -> Any:
    """Return the members and elements that nested values have all together, or None when no type holds them."""
    values = [value for value in values if value is not None]
    kinds = {type(value) for value in values}
    if kinds == {dict}:
        members: dict[str, list[Any]] = {}
        for value in values:
            for name, member in value.items():
                members.setdefault(name, []).append(member)
        shapes = {name: shape_of(found) for name, found in members.items()}
        fits = shapes and None not in shapes.values() and is_encodable("".join(shapes))
        fits = fits and "\0" not in "".join(shapes)
        return shapes if fits else None
    if kinds == {list}:
        shape = shape_of([element for value in values for element in value])
        return None if shape is None else [shape]
    if not has_type(kinds, values):
        return None
    return "number" if kinds == {int, float} else "scalar"


def has_type(kinds: set[type], values: Sequence[Any]) -> bool:
    """Return whether an Arrow type of scalars holds all values as they are."""
    if kinds == {int}:
        return all(-(2**63) <= value < 2**63 for value in values)
    if kinds == {int, float}:
        return all(abs(value) <= 2**53 for value in values if type(value) is int)
    return len(kinds) < 2 and all(is_encodable(value) for value in values if isinstance(value, str))


def fill(value: Any, shape: Any) -> Any:
    """Return a nested value with null for each member that others have."""
    if value is None or shape == "scalar":
        return value
    if shape == "number":
        return float(value)
    if isinstance(value, dict):
        return {name: fill(value.get(name), member) for name, member in shape.items()}
    return [fill(element, shape[0]) for element in value]


def is_encodable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def as_text(value: Any) -> str:
    if isinstance(value, str):
        return "".join(c if is_encodable(c) else f"\\u{ord(c):04x}" for c in value)
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return as_json(value)


def as_json(value: Any) -> str:
    """Return JSON that every reader takes: compact, in ASCII only where it must be."""
    text = json.dumps(
        json.loads(json.dumps(value), parse_constant=lambda _: None), ensure_ascii=False, separators=(",", ":")
    )
    return text if is_encodable(text) else json.dumps(json.loads(text), separators=(",", ":"))


def same(value: Any, other: Any) -> bool:
    """Return whether two values are equal, NaN included; 1, 1.0 and True are not."""
    if type(value) is not type(other):
        return False
    if isinstance(value, dict):
        return list(value) == list(other) and all(same(value[name], other[name]) for name in value)
    if isinstance(value, list):
        return len(value) == len(other) and all(map(same, value, other))
    return bool(value == other or (value != value and other != other))
