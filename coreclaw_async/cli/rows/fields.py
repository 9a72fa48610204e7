"""Checks that the columns of ``--fields`` exist, as a misspelt one would be an empty column."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from typing import IO

import typer

from coreclaw_async.cli._screen.screen import plain
from coreclaw_async.models import Page, ResultPage, Row

_MAX_NAMES = 50


def columns_of(page: Page[Row], *, with_rows: bool = True) -> dict[str, None]:
    """Return the columns of a page: those that the service names, then any others of its rows."""
    headers = page.headers if isinstance(page, ResultPage) else ()
    columns = dict.fromkeys(header.key for header in headers if header.key)
    if with_rows:
        for row in page.items:
            columns.update(dict.fromkeys(row))
    return columns


def check_columns_exist(fields: Iterable[str], columns: Collection[str]) -> None:
    """
    Refuse columns that do not exist.

    Raises:
        typer.BadParameter: There is no such column; the message names the existing ones.
    """
    if unknown := [name for name in fields if name not in columns]:
        shown = ", ".join(map(plain, list(columns)[:_MAX_NAMES]))
        more = f" and {len(columns) - _MAX_NAMES} more" if len(columns) > _MAX_NAMES else ""
        raise typer.BadParameter(f"--fields: no column is called {' or '.join(unknown)}; the columns are {shown}{more}")


def checked_rows(pages: Iterable[Page[Row]], fields: Sequence[str]) -> Generator[Iterable[Row]]:
    """
    Yield the rows of pages once all requested columns are known to exist.

    If the service names its columns, the first page decides. If not, rows are kept in a temporary file until each
    column has appeared, as any row may have a column that no earlier row has.

    Raises:
        typer.BadParameter: There is no such column; no rows were yielded.
    """
    columns: dict[str, None] = {}
    is_known = False
    with tempfile.TemporaryFile("w+", encoding="ascii") as kept:
        for page in pages:
            if not is_known:
                columns.update(columns_of(page))
                if columns_of(page, with_rows=False):
                    check_columns_exist(fields, columns)
                is_known = columns.keys() >= set(fields)
                if not is_known:
                    kept.writelines(json.dumps(row) + "\n" for row in page.items)
                    continue
                yield _read_back(kept)
            yield page.items
        if columns:
            check_columns_exist(fields, columns)


def _read_back(kept: IO[str]) -> Iterator[Row]:
    kept.seek(0)
    return map(json.loads, kept)
