"""The layout of a table that fits a terminal and keeps ids whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

import attrs
from rich.cells import cell_len, set_cell_size

_GAP = 2
_MIN_TEXT = 12
_MIN_ID = 26
"""The width of a run's id. A wider id that does not fit into the first column gets its own line."""

CellKind: TypeAlias = Literal["id", "number", "text", "prose"]
"""
How a cell may be shortened: an id and a number are never cut, a text that does not fit ends in an ellipsis, and prose,
which must be the last column, continues in the next line of the terminal.
"""


@attrs.frozen
class LaidColumn:
    """
    A column with its cells as they are shown; names and cells have no control characters.

    Attributes:
        name: The header.
        kind: How its cells may be shortened.
        cells: The lines of each cell.
    """

    name: str
    kind: CellKind
    cells: Sequence[Sequence[str]]

    @property
    def whole(self) -> int:
        """The width at which nothing is cut."""
        return max(cell_len(line) for lines in ((self.name,), *self.cells) for line in lines)

    def least(self, *, is_first: bool) -> int:
        """Return the width below which the column is not worth showing."""
        if self.kind in {"text", "prose"}:
            return min(self.whole, max(_MIN_TEXT, cell_len(self.name)))
        return self.widest_within(_MIN_ID) if is_first and self.kind == "id" else self.whole

    def widest_within(self, room: int) -> int:
        """Return the width of the widest cell that fits; a wider one gets its own line."""
        lengths = [cell_len(line) for lines in ((self.name,), *self.cells) for line in lines]
        return max((length for length in lengths if length <= room), default=room)


@attrs.frozen
class Layout:
    """
    A table that fits.

    Attributes:
        header: The line of names.
        lines: The lines below it.
        missing: The columns that did not fit.
        shortened: The columns in which cells were cut.
    """

    header: str
    lines: Sequence[str]
    missing: Sequence[str]
    shortened: Sequence[str]


def needed(columns: Sequence[LaidColumn]) -> int:
    """Return the width at which nothing is cut."""
    return _total([column.whole for column in columns])


def lay_out(columns: Sequence[LaidColumn], room: int | None) -> Layout:
    """
    Lay out a table.

    Args:
        columns: At least one. Those that do not fit are left out from the right, and before them those without cells.
        room: The width of the terminal, or None to show all.
    """
    if room is not None and needed(columns) > room:
        columns = [columns[0], *(column for column in columns[1:] if any(map(any, column.cells)))]
    widths = _widths(columns, room)
    shown = columns[: len(widths)]
    lines = [line for row in zip(*(column.cells for column in shown), strict=True) for line in _row(shown, widths, row)]
    return Layout(
        header=_line(shown, widths, [column.name for column in shown]),
        lines=lines,
        missing=[column.name for column in columns[len(widths) :]],
        shortened=[
            column.name
            for column, width in zip(shown, widths, strict=True)
            if column.kind == "text" and column.whole > width
        ],
    )


def _widths(columns: Sequence[LaidColumn], room: int | None) -> list[int]:
    """Return the widths of those columns, from the left, that are shown."""
    whole = [column.whole for column in columns]
    if room is None or _total(whole) <= room:
        return whole
    widths = [column.least(is_first=place == 0) for place, column in enumerate(columns)]
    while len(widths) > 1 and _total(widths) > room:
        widths.pop()
    if columns[0].kind == "id":
        widths[0] = columns[0].widest_within(room - _total(widths[1:]) - _GAP * (len(widths) > 1))
        whole[0] = widths[0]
    for _ in range(room - _total(widths)):
        wanting = [place for place, width in enumerate(widths) if width < whole[place]]
        if not wanting:
            break
        widths[min(wanting, key=widths.__getitem__)] += 1
    return widths


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _row(columns: Sequence[LaidColumn], widths: Sequence[int], row: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a row: as many as its tallest cell has, and one for an id that is too wide for its column."""
    for number in range(max(map(len, row))):
        cells = [lines[number] if number < len(lines) else "" for lines in row]
        if columns[0].kind == "id" and cell_len(cells[0]) > widths[0]:
            yield cells[0]
            cells[0] = ""
            if not any(cells):
                continue
        yield _line(columns, widths, cells)


def _line(columns: Sequence[LaidColumn], widths: Sequence[int], cells: Sequence[str]) -> str:
    fitted = [_fit(column.kind, width, text) for column, width, text in zip(columns, widths, cells, strict=True)]
    return (" " * _GAP).join(fitted).rstrip()


def _fit(kind: CellKind, width: int, text: str) -> str:
    """Return a cell as wide as its column."""
    length = cell_len(text)
    if kind == "text" and length > width:
        text = f"{set_cell_size(text, width - 1).rstrip()}…"
        length = cell_len(text)
    padding = " " * (width - length)
    return padding + text if kind == "number" else text + padding
