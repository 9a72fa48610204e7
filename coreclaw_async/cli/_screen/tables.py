"""Lists of models: tables that fit the terminal, columns separated by tabs in a pipe, or lines of JSON."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any, Literal, TypeAlias, cast

import attrs

from coreclaw_async.cli._screen.output import cell, print_json
from coreclaw_async.cli._screen.screen import Screen, money, plain
from coreclaw_async.cli._screen.table_layout import CellKind, LaidColumn, lay_out, needed

ColumnKind: TypeAlias = CellKind | Literal["money", "datetime"]
_LAID_AS: dict[ColumnKind, CellKind] = {"money": "number", "datetime": "number"}


@attrs.frozen
class Column:
    """
    A column of a table; in a narrow terminal the rightmost columns are left out first.

    Attributes:
        name: Its header.
        read: Reads the cell from a model. A tuple is several ids, which are shown one below the other.
        kind: How it is shown; see `CellKind`. Money has its currency; a datetime is shortened if there is little room.
    """

    name: str
    read: Callable[[Any], object]
    kind: ColumnKind = "text"


def show_list(
    values: Iterable[Any],
    columns: Sequence[Column],
    *,
    as_json: bool,
    wide: bool | None = None,
    limit: int | None = None,
) -> None:
    """
    Print models as lines of JSON or as a table.

    Args:
        values: The models.
        columns: The columns of the table.
        as_json: The value of ``--json``.
        wide: The value of ``--wide``; None for a command without it.
        limit: The value of ``--limit``, which is mentioned when that many were found; None for all.
    """
    if as_json:
        print_json(values)
        return
    found = list(values)
    if found:
        screen = Screen()
        say_table(screen, found, columns, wide=wide)
        if len(found) == limit and screen.is_looked_at:
            screen.complain(f"These are the first {limit}; --limit shows more.", style="dim")
    else:
        Screen().complain("Nothing found.")


def say_table(screen: Screen, values: Sequence[Any], columns: Sequence[Column], *, wide: bool | None = None) -> None:
    """Print a table that fits the terminal; if standard output is no terminal, print everything separated by tabs."""
    if not screen.is_looked_at:
        screen.tell_cells([column.name for column in columns])
        for value in values:
            screen.tell_cells([_piped(column.read(value)) for column in columns])
        return
    room = None if wide else screen.width
    laid = [_lay(column, values, is_short=False) for column in columns]
    if room is not None and needed(laid) > room:
        laid = [_lay(column, values, is_short=True) for column in columns]
    hint = "--wide shows all." if wide is False else "A wider terminal shows all."
    screen.say_layout(lay_out(laid, room), hint=hint)


def _piped(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(map(cell, cast("tuple[object, ...]", value)))
    return cell(value)


def _lay(column: Column, values: Sequence[Any], *, is_short: bool) -> LaidColumn:
    cells = [_shown(column.read(value), is_money=column.kind == "money", is_short=is_short) for value in values]
    return LaidColumn(column.name, cast("CellKind", _LAID_AS.get(column.kind, column.kind)), cells)


def _shown(value: object, *, is_money: bool, is_short: bool) -> Sequence[str]:
    """Return the lines of a cell."""
    if isinstance(value, tuple):
        return [plain(cell(one)) for one in cast("tuple[object, ...]", value)] or [""]
    if is_money and isinstance(value, Decimal):
        return [money(value)]
    if is_short and isinstance(value, dt.datetime):
        return [_short(value)]
    return [plain(cell(value))]


def _short(time: dt.datetime) -> str:
    """Return a time of this year without year and seconds, any other time as a date."""
    text = cell(time)
    return text[5:16] if text[:4] == f"{dt.datetime.now().astimezone():%Y}" else text[:10]
