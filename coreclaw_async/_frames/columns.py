"""The columns of a frame: all keys of all rows, in the order of the headers, and what they are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import attrs

from coreclaw_async._frames.callers import Caller, awaiting_caller
from coreclaw_async._frames.members import complete_all, shapes_of_members
from coreclaw_async._frames.options import FrameOptions
from coreclaw_async._frames.reading import ItemInfo, UnfitRowsError
from coreclaw_async._frames.shapes import ColumnType, Shape, type_of
from coreclaw_async._frames.values import encodable
from coreclaw_async.errors import ColumnConflictError
from coreclaw_async.models import ResultHeader

_KEY_NAME = "key"
_MAX_COLUMNS = 5_000  # Where the keys of rows are data, a table would take memory without end.

ColumnKey: TypeAlias = str | None
"""The key of a column in each row; None for the column with the keys of a batch's items."""


@attrs.frozen
class Column:
    """
    A column of the finished frame.

    Attributes:
        key: Its key in the rows.
        name: What it is called.
        shape: What was seen of its values.
        type: Its type.
    """

    key: ColumnKey
    name: str
    shape: Shape
    type: ColumnType


@attrs.define
class Columns:
    """
    What is known of the columns so far.

    Attributes:
        options: How rows become columns.
        shapes: What was seen of each, in the order in which they came.
        headers: What the service says about them, in its order.
        has_rows: Whether there are rows.
    """

    options: FrameOptions
    shapes: dict[ColumnKey, Shape] = attrs.field(factory=dict["ColumnKey", Shape])
    headers: dict[str, ResultHeader] = attrs.field(factory=dict[str, ResultHeader])
    has_rows: bool = False

    def add_headers(self, headers: Iterable[ResultHeader]) -> None:
        """Add what the service says about the columns."""
        for header in headers:
            if header.key:
                self.headers.setdefault(header.key, header)

    def end(self, info: ItemInfo) -> None:
        """Add what is known without rows; there are no more of them."""
        self.add_headers(info.headers())
        if info.has_keys:
            self.shape_of(None)
        if info.model is not None:
            complete_all(self.shapes, shapes_of_members(info.model))

    def shape_of(self, key: ColumnKey) -> Shape:
        """
        Return what was seen of a column.

        Raises:
            UnfitRowsError: It is one too many.
        """
        shape = self.shapes.get(key)
        if shape is None:
            if len(self.shapes) == _MAX_COLUMNS:
                raise UnfitRowsError(
                    f"{self.options.method}: the rows have more than {_MAX_COLUMNS:,} different members, too "
                    "many columns for a table; lines of JSON can hold them"
                )
            shape = self.shapes[key] = Shape()
        return shape

    def named(self) -> dict[ColumnKey, str]:
        """
        Return the keys of the columns in their order, each with its name.

        Raises:
            UnfitRowsError: There are rows, and no columns.
        """
        first: list[ColumnKey] = [None] if None in self.shapes else []
        keys = list(dict.fromkeys([*first, *self.headers, *self.shapes]))
        if self.has_rows and not keys:
            raise UnfitRowsError(
                f"{self.options.method}: there are rows, but none has a member, so no table can hold them"
            )
        return dict(zip(keys, self._names(keys), strict=True))

    def finished(self) -> list[Column]:
        """
        Return the columns in their order.

        Raises:
            ColumnConflictError: The values of one have no common type, and that is not to be a string.
            UnfitRowsError: There are rows, and no columns.
        """
        columns = self._typed()
        if self.options.on_conflict == "raise":
            self._refuse([column for column in columns if column.type.reason is not None])
        return columns

    def check(self) -> None:
        """Raise as `finished` does, as soon as a column has a conflict that no further row takes away."""
        if self.options.on_conflict == "raise" and any(self._type(key).is_final for key in self.shapes):
            self._refuse([column for column in self._typed() if column.type.is_final])

    def _typed(self) -> list[Column]:
        return [Column(key, name, self.shape_of(key), self._type(key)) for key, name in self.named().items()]

    def _refuse(self, columns: Sequence[Column]) -> None:
        if columns:
            raise ColumnConflictError(
                f"{self.options.method}: these columns have values without a common type: {_described(columns)}",
                columns=[column.name for column in columns],
            )

    def _type(self, key: ColumnKey) -> ColumnType:
        header = None if key is None else self.headers.get(key)
        as_json = self.options.nested == "json"
        return type_of(self.shape_of(key), as_json=as_json, format=None if header is None else header.format)

    def _names(self, keys: Sequence[ColumnKey]) -> list[str]:
        """Return the names of columns, no two of them equal; labels that repeat are told apart by their keys."""
        labels = {key: encodable(self._label(key)) for key in keys if key is not None}
        count = Counter(labels.values())
        names: dict[ColumnKey, str] = {}
        taken: set[str] = set()
        for key, label in labels.items():
            name = wanted = label if count[label] == 1 else f"{label} ({encodable(key)})"
            number = 1
            while name in taken or (name != label and name in count):
                number += 1
                name = f"{wanted} {number}"
            taken.add(name)
            names[key] = name
        name = _KEY_NAME
        while name in taken:  # As the command line names it.
            name = f"item_{name}"
        return [names.get(key, name) for key in keys]

    def _label(self, key: str) -> str:
        header = self.headers.get(key)
        return header.label if self.options.labels and header is not None and header.label else key


def _described(columns: Sequence[Column]) -> str:
    """Return columns that have another type than their values, with the reasons."""
    return "; ".join(f"{column.name!r} ({column.type.reason})" for column in columns)


def tell_changes(method: str, made_at: Caller, columns: Iterable[Column]) -> None:
    """Warn once of the columns that have another type than their values, where `awaiting_caller` says."""
    changed = [column for column in columns if column.type.reason is not None]
    if changed:
        what = f"{method}: these columns are strings, as their values have no common type: {_described(changed)}"
        awaiting_caller(made_at).warn(what)
