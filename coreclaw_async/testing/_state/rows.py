"""The rows of a run, generated or given; generated ones take no memory."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any, overload

from attrs import define, field

Row = Mapping[str, Any]
"""One result row: any JSON object."""

ROW_ID = "__coreclaw_data_id__"
"""The internal key under which the service names a row."""


_FORMATS: Mapping[object, str] = {bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}


class GeneratedRows(Sequence[Row]):
    """Rows that are made when they are read; the same number always gives the same row."""

    def __init__(self, numbers: range, *, run_id: str, with_ids: bool) -> None:
        self._numbers = numbers
        self._run_id = run_id
        self._with_ids = with_ids

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> GeneratedRows: ...

    def __getitem__(self, index: int | slice) -> Row | GeneratedRows:
        if isinstance(index, slice):
            return GeneratedRows(self._numbers[index], run_id=self._run_id, with_ids=self._with_ids)
        number = self._numbers[operator.index(index)]
        row: dict[str, Any] = {
            "title": f"Result {number}",
            "address": f"{number} Example Street, New York, NY",
            "rank": number,
            "url": f"https://example.test/results/{number}",
            "details": {"rating": number % 50 / 10, "tags": ["generated", f"group-{number % 7}"]},
        }
        if self._with_ids:
            row[ROW_ID] = _row_id(self._run_id, number)
        return row


@define(eq=False)
class RowList:
    """
    All rows of a run in order, as a list of pieces that never change.

    A copy shares the pieces and does not change when rows are inserted later.
    """

    run_id: str
    with_ids: bool
    pieces: list[Sequence[Row]] = field(factory=list[Sequence[Row]])
    made: int = 0
    _columns: dict[str, str] | None = None

    def __len__(self) -> int:
        return sum(map(len, self.pieces))

    def insert(self, rows: int | Sequence[Row], *, at: int) -> int:
        """Insert `rows`, or a number of generated ones, before row `at`; return how many."""
        new = self._make(rows)
        before = self.slice(0, at)
        after = self.slice(at, len(self))
        self.pieces = [piece for piece in (*before, new, *after) if piece]
        self._columns = None
        return len(new)

    def columns(self) -> dict[str, str]:
        """Return the columns of all rows in order of appearance, each with its format."""
        if self._columns is None:
            self._columns = {}
            for piece in self.pieces:
                # Generated rows are all alike.
                for row in piece[:1] if isinstance(piece, GeneratedRows) else piece:
                    for key, value in row.items():
                        self._columns.setdefault(key, _FORMATS.get(value.__class__, "text"))
            self._columns.pop(ROW_ID, None)
        return self._columns

    def slice(self, start: int, stop: int) -> list[Sequence[Row]]:
        """Return the pieces that make up the rows from `start` up to and without `stop`."""
        found: list[Sequence[Row]] = []
        position = 0
        for piece in self.pieces:
            first, last = max(start - position, 0), min(stop - position, len(piece))
            if first < last:
                found.append(piece[first:last])
            position += len(piece)
        return found

    def read(self, start: int, stop: int) -> list[Row]:
        """Return the rows from `start` up to and without `stop`."""
        return [row for piece in self.slice(start, stop) for row in piece]

    def copy(self) -> RowList:
        """Return the rows as they are now."""
        return RowList(self.run_id, self.with_ids, list(self.pieces), self.made)

    def _make(self, rows: int | Sequence[Row]) -> Sequence[Row]:
        first = self.made + 1
        count = rows if isinstance(rows, int) else len(rows)
        self.made += count
        if isinstance(rows, int):
            return GeneratedRows(range(first, first + rows), run_id=self.run_id, with_ids=self.with_ids)
        if not self.with_ids:
            return tuple(rows)
        return tuple({ROW_ID: _row_id(self.run_id, number), **row} for number, row in enumerate(rows, start=first))


def _row_id(run_id: str, number: int) -> str:
    return f"{run_id}-{number:07d}"
