"""The formats in which commands write rows: lines of JSON, one JSON array, CSV. They never hold all rows in memory."""

from __future__ import annotations

import csv
import io
import json
import math
import tempfile
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any, Protocol, TextIO

from coreclaw_async.cli._screen.output import cell
from coreclaw_async.cli._screen.screen import escaped, plain
from coreclaw_async.models import Row

_KEY = "key"


class RowWriter(Protocol):
    """Writes rows in one format."""

    def name_columns(self, names: Iterable[str]) -> None:
        """Add columns; rows may have others."""

    def write(self, row: Row, key: str | None = None) -> None:
        """Write a row, with the key of its item where it has one."""

    def finish(self) -> None:
        """Write the rest."""


@contextmanager
def row_writer(
    file: TextIO,
    format: str,
    *,
    fields: Sequence[str] | None = None,
    has_keys: bool = False,
    is_shown: bool,
) -> Generator[RowWriter]:
    """
    Yield a writer of rows to *file*; it writes the rest when the block ends without an error.

    Args:
        file: The file.
        format: ``csv``, ``json`` or ``jsonl``.
        fields: The columns to write; None for all, and CSV is then written at the end, as any row may have a column
            that no earlier row has.
        has_keys: Whether each row has a key.
        is_shown: Whether a terminal shows the rows, which must not control it.
    """
    if format != "csv":
        writer: RowWriter = (_JsonArray if format == "json" else _JsonLines)(file, fields, is_shown=is_shown)
        yield writer
        writer.finish()
        return
    with tempfile.TemporaryFile("w+", encoding="ascii") as kept:
        writer = _Csv(file, kept, fields, has_keys=has_keys, show=plain if is_shown else str)
        yield writer
        writer.finish()


class _JsonLines:
    def __init__(self, file: TextIO, fields: Sequence[str] | None, *, is_shown: bool) -> None:
        self._file = file
        self._fields = fields
        self._show: Callable[[str], str] = escaped if is_shown else str

    def name_columns(self, names: Iterable[str]) -> None:
        """Do nothing: each row has its own names."""

    def write(self, row: Row, key: str | None = None) -> None:
        self._file.write(self._text(row, key) + "\n")

    def finish(self) -> None:
        """Do nothing: everything is written."""

    def _text(self, row: Row, key: str | None) -> str:
        kept = row if self._fields is None else {name: row.get(name) for name in self._fields}
        return self._show(row_json(kept if key is None else {_KEY: key, "row": kept}))


class _JsonArray(_JsonLines):
    _before = "[\n"

    def write(self, row: Row, key: str | None = None) -> None:
        self._file.write(self._before + self._text(row, key))
        self._before = ",\n"

    def finish(self) -> None:
        self._file.write("[]\n" if self._before.startswith("[") else "\n]\n")


class _Csv:
    def __init__(
        self,
        file: TextIO,
        kept: IO[str],
        fields: Sequence[str] | None,
        *,
        has_keys: bool,
        show: Callable[[str], str],
    ) -> None:
        self._file = file
        self._kept = kept
        self._columns = dict.fromkeys(fields or ())
        self._is_open = fields is None
        self._has_keys = has_keys
        self._show = show
        self._has_head = False

    def name_columns(self, names: Iterable[str]) -> None:
        if self._is_open:
            self._columns.update(dict.fromkeys(names))

    def write(self, row: Row, key: str | None = None) -> None:
        if self._is_open:
            self.name_columns(row)
            self._kept.write(json.dumps([key, row]) + "\n")
        else:
            self._write(row, key)

    def finish(self) -> None:
        self._kept.seek(0)
        for line in self._kept:
            key, row = json.loads(line)
            self._write(row, key)
        self._write_head()

    def _write(self, row: Row, key: str | None) -> None:
        self._write_head()
        self._line([*([key] if self._has_keys else []), *(row.get(column) for column in self._columns)])

    def _write_head(self) -> None:
        if self._has_head:
            return
        self._has_head = True
        if not self._columns and not self._has_keys:
            return
        name = _KEY
        while name in self._columns:  # A row may have a column of this name too.
            name = f"item_{name}"
        self._line([*([name] if self._has_keys else []), *self._columns])

    def _line(self, values: Sequence[object]) -> None:
        line = io.StringIO()
        # With another line end, a carriage return in a value would not be quoted.
        csv.writer(line, lineterminator="\r\n").writerow([self._show(_cell(value)) for value in values])
        self._file.write(line.getvalue().removesuffix("\r\n") + "\n")


def row_json(value: Any) -> str:
    """Return a row as one line of JSON; numbers that no float can hold become null, as in JavaScript."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError:
        return json.dumps(json.loads(json.dumps(value), parse_constant=lambda _: None), ensure_ascii=False)


def _cell(value: object) -> str:
    """Return a cell of CSV; nested values are JSON."""
    if isinstance(value, float) and not math.isfinite(value):
        return ""
    return row_json(value) if isinstance(value, bool | float | Mapping | list) else cell(value)
