"""Rows as files of text: lines of JSON, and CSV. They need no extra, and hold few rows in memory."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

import attrs

from coreclaw_async._files.target import FileTarget
from coreclaw_async._frames.callers import awaiting_caller
from coreclaw_async._frames.columns import ColumnKey, Columns
from coreclaw_async._frames.reading import HandOver, ItemInfo, RowReading
from coreclaw_async._frames.values import encodable, is_encodable, json_text, rows_of, text_of
from coreclaw_async._frames.written_file import written_file

_KEY = "key"


async def write_jsonl(hand_over: HandOver, path: Path, reading: RowReading) -> Path:
    """
    Write all rows to a file, each as a line of JSON, and return its path.

    Raises:
        CoreClawError: The rows cannot be read.
        OSError: The file cannot be written.
    """
    async with written_file(path) as work:
        add = partial(work.call, _JsonLines(work.target).add)
        await reading.read(hand_over(reading.options.method), add)
    return path


async def write_csv(hand_over: HandOver, path: Path, reading: RowReading) -> Path:
    """
    Write all rows to a CSV file, and return its path.

    Raises:
        CoreClawError: The rows cannot be read.
        OSError: The file cannot be written.
    """
    async with written_file(path) as work:
        kept = await work.opened(
            lambda folder: tempfile.TemporaryFile("w+", encoding="ascii", dir=folder)  # noqa: SIM115 - closed by *work*
        )
        source = hand_over(reading.options.method)
        lines = _CsvLines(kept, Columns(reading.options))
        await reading.read(source, partial(work.call, lines.add))
        await work.run(lines.begin, work.target, source.info)
        while await work.run(lines.write_some):
            pass
        if lines.changed:
            named = ", ".join(map(repr, lines.changed))
            what = "lone surrogates, which UTF-8 cannot encode, were escaped in these columns"
            awaiting_caller(source.made_at).warn(f"{reading.options.method}: {what}: {named}")
    return path


def _keyed_rows(items: Sequence[Any]) -> Iterable[tuple[str | None, Mapping[str, Any]]]:
    """Return the rows of items as JSON has them, each with the key of its item where it has one."""
    rows, keys = rows_of(items, as_json=True)
    return zip(itertools.repeat(None) if keys is None else keys, rows, strict=False)


@attrs.frozen
class _JsonLines:
    target: FileTarget

    def add(self, items: Sequence[Any]) -> None:
        rows = _keyed_rows(items)
        lines = [json_text(row if key is None else {_KEY: key, "row": row}) + "\n" for key, row in rows]
        self.target.write("".join(lines).encode())


class _CsvLines:
    """Keeps the rows until all columns are known, and then writes them."""

    def __init__(self, kept: IO[str], columns: Columns) -> None:
        self.changed: dict[str, None] = {}
        self._kept = kept
        self._columns = columns
        self._names: dict[ColumnKey, str] = {}
        self._write: Callable[[bytes], None]

    def add(self, items: Sequence[Any]) -> None:
        rows = list(_keyed_rows(items))
        self._columns.has_rows = True
        for name in dict.fromkeys(itertools.chain.from_iterable(row for _, row in rows)):
            self._columns.shape_of(name)
        self._kept.write(json.dumps(rows) + "\n")

    def begin(self, target: FileTarget, info: ItemInfo) -> None:
        """Write the header."""
        self._columns.end(info)
        self._names = self._columns.named()
        self._write = target.write
        if self._names:
            self._write(_csv_lines([self._names.values()]).encode())
        self._kept.seek(0)

    def write_some(self) -> bool:
        """Write the rows that were taken together; return False after the last."""
        line = self._kept.readline()
        if not line:
            return False
        rows = json.loads(line)
        text = _csv_lines(
            [[_cell(key if name is None else row.get(name)) for name in self._names] for key, row in rows]
        )
        if not is_encodable(text):
            self._note_changes(rows)
        self._write(encodable(text).encode())
        return True

    def _note_changes(self, rows: Iterable[tuple[str | None, dict[str, Any]]]) -> None:
        for _, row in rows:
            changed = [key for key, value in row.items() if isinstance(value, str) and not is_encodable(value)]
            self.changed.update((self._names[key], None) for key in changed)


def _csv_lines(rows: Sequence[Iterable[str]]) -> str:
    lines = io.StringIO(newline="")
    # With another line end, a carriage return in a cell would not be quoted.
    csv.writer(lines, lineterminator="\r\n").writerows(rows)
    text = lines.getvalue()
    if text.count("\r") == len(rows):
        return text.replace("\r\n", "\n")
    if len(rows) == 1:
        return text.removesuffix("\r\n") + "\n"
    return "".join(_csv_lines([row]) for row in rows)


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    return text_of(value)
