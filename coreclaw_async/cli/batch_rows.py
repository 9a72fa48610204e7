"""Rows of a batch with their keys, as lines of JSON or as CSV."""

from __future__ import annotations

import csv
import json
import math
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast

import attrs
import typer

from coreclaw_async.cli.output import cell, whole_file
from coreclaw_async.models import Row

ROW_FORMATS = ("jsonl", "csv")
_KEY = "key"


@attrs.frozen
class RowWriter:
    """
    Writes rows in one format.

    Attributes:
        format: Which one.
    """

    format: str

    @classmethod
    def of(cls, path: Path, given: str | None) -> RowWriter:
        """
        Return the writer for a file.

        Raises:
            typer.BadParameter: There is no such format.
        """
        if given is not None and given not in ROW_FORMATS:
            raise typer.BadParameter(f"--format must be one of {', '.join(ROW_FORMATS)}, not {given!r}")
        return cls(given or ("csv" if path.suffix.lower() == ".csv" else "jsonl"))

    def write(self, rows: Iterable[tuple[str, Row]], path: Path) -> int:
        """
        Write rows to a file, whole or not at all, or to standard output; return how many there were.

        Raises:
            OSError: They cannot be written.
        """
        if self.format == "csv":
            return _write_csv(rows, path)
        count = 0
        with whole_file(path) as file:
            for key, row in rows:
                file.write(_json_line({_KEY: key, "row": row}) + "\n")
                count += 1
            file.flush()
        return count


def _write_csv(rows: Iterable[tuple[str, Row]], path: Path) -> int:
    """Write rows to a file once all of them have told their columns."""
    columns: dict[str, None] = {}
    count = 0
    with tempfile.TemporaryFile("w+", encoding="ascii") as kept:
        for key, row in rows:
            columns.update(dict.fromkeys(row))
            kept.write(json.dumps([key, row]) + "\n")
            count += 1
        kept.seek(0)
        with whole_file(path) as file:
            _copy(kept, list(columns), file)
            file.flush()
    return count


def _copy(kept: IO[str], columns: Sequence[str], file: IO[str]) -> None:
    name = _KEY
    while name in columns:  # A row may have a column of this name too.
        name = f"item_{name}"
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([name, *columns])
    for line in kept:
        key, row = json.loads(line)
        writer.writerow([key, *(_text(row.get(column)) for column in columns)])


def _text(value: object) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return ""
    return json.dumps(value) if isinstance(value, bool | float) else cell(value)


def _json_line(value: Any) -> str:
    """Return a line of JSON, with null for numbers that are beyond a float, as JavaScript has it."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), ensure_ascii=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(member) for name, member in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, list):
        return [_finite(member) for member in cast("list[object]", value)]
    return None if isinstance(value, float) and not math.isfinite(value) else value
