"""What a notebook shows of a run, a page or a report: a short table, escaped, whatever the service sent."""

from __future__ import annotations

import datetime as dt
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import attrs

from coreclaw_async._data.counting import counted

_MAX_ROWS = 10
_MAX_COLUMNS = 12
_MAX_LETTERS = 80
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _MAX_LETTERS


def facts_table(title: str, facts: Mapping[str, object]) -> str:
    """Return a table of two columns; a fact that is None is left out."""
    known = [(name, value) for name, value in facts.items() if value is not None]
    lines = (f"<tr><th>{_cell(name)}</th><td>{_cell(value)}</td></tr>" for name, value in known)
    return _table(title, lines)


def items_table(title: str, items: Sequence[object]) -> str:
    """Return a table of the first items: models with their members in columns, and anything else in one column."""
    shown = items[:_MAX_ROWS]
    rows = [_members(cast("attrs.AttrsInstance", item)) for item in shown if attrs.has(type(item))]
    if len(rows) < len(shown):
        return grid(title, {"item": "item"}, [{"item": item} for item in shown], total=len(items))
    names = dict.fromkeys(name for row in rows for name, value in row.items() if value is not None)
    return grid(title, {name: name for name in names}, rows, total=len(items))


def grid(title: str, columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]], *, total: int) -> str:
    """
    Return a table with a heading above each column.

    Args:
        title: What stands above it.
        columns: The heading of each column, by its key.
        rows: The first rows, or all.
        total: How many rows there are.
    """
    keys = list(columns)[:_MAX_COLUMNS]
    heads = "".join(f"<th>{_cell(columns[key])}</th>" for key in keys)
    lines = [f"<tr>{''.join(f'<td>{_cell(row.get(key))}</td>' for key in keys)}</tr>" for row in rows[:_MAX_ROWS]]
    left = [
        counted(count, f"more {what}")
        for count, what in ((total - len(lines), "row"), (len(columns) - len(keys), "column"))
        if count > 0
    ]
    return _table(f"{title}; {' and '.join(left)} not shown" if left else title, [f"<tr>{heads}</tr>", *lines])


def _table(title: str, lines: Iterable[str]) -> str:
    return f"<table><caption>{_cell(title)}</caption>{''.join(lines)}</table>"


def _members(item: attrs.AttrsInstance) -> dict[str, Any]:
    """Return the members that a repr shows, as it shows them where they are secret in part."""
    found: dict[str, Any] = {}
    for field in attrs.fields(type(item)):
        if field.repr is True:
            found[field.name] = getattr(item, field.name)
        elif callable(field.repr):
            found[field.name] = field.repr(getattr(item, field.name))
    return found


def _cell(value: object) -> str:
    try:
        text = _text(value)
    except Exception:  # noqa: BLE001 - a value of the caller's own may fail at anything
        text = "?"
    if len(text) > _MAX_LETTERS:
        text = f"{text[: _MAX_LETTERS - 1]}\u2026"
    import html  # Late: few programs show tables.

    # Characters that cannot be encoded, or that turn the text around, are none that people read.
    return html.escape("".join(letter if letter.isprintable() else " " for letter in text))


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case str():
            return str(value)
        case dt.datetime():
            return value.isoformat(sep=" ", timespec="seconds")
        case list() | tuple() | dict():
            return _SHORT.repr(value)
        case _:
            return str(value)
