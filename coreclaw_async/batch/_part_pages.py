"""The rows of an item from its file, of either format, which must be those that were written to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import anyio.to_thread

from coreclaw_async._data.counting import counted
from coreclaw_async._frames.options import load_libraries
from coreclaw_async._frames.reading import NoRowsError
from coreclaw_async._wire.answer_json import load_usual
from coreclaw_async._wire.json_types import is_object
from coreclaw_async.batch._items import BatchItem
from coreclaw_async.errors import PaginationError
from coreclaw_async.models import Page, Row

_ROWS_AT_ONCE = 1_000


class _PartReader(Protocol):
    def read(self, place: int, most: int) -> tuple[list[dict[str, Any]], int]:
        """
        Return the rows from *place* on, none after the last, and the place of the next; the first place is 0.

        Raises:
            NoRowsError: The file is damaged, or is another one.
            OSError: It cannot be read.
        """
        ...


async def part_pages(item: BatchItem, path: Path) -> AsyncIterator[Page[Row]]:
    """
    Return the rows in the file of an item.

    Raises:
        ConfigurationError: The extra for such a file is not installed.
    """
    if path.suffix != ".parquet":
        return _PartPages(item, path, _JsonLines(path))
    await load_libraries("arrow", f"the file {path} of item {item.key!r}")
    from coreclaw_async._frames.parquet_rows import ParquetRows

    return _PartPages(item, path, ParquetRows(path))


class _PartPages(AsyncIterator[Page[Row]]):
    def __init__(self, item: BatchItem, path: Path, reader: _PartReader) -> None:
        self._item = item
        self._path = path
        self._reader = reader
        self._place = 0
        self._read_so_far = 0

    async def __anext__(self) -> Page[Row]:
        try:
            # A thread whose task asyncio has cancelled goes on, so it must not change the place.
            rows, place = await anyio.to_thread.run_sync(self._reader.read, self._place, _ROWS_AT_ONCE)
        except FileNotFoundError:
            raise self._damaged("was removed while it was read") from None
        except NoRowsError as error:
            raise self._damaged(str(error)) from error.__cause__
        if not rows:
            expected = self._item.row_count
            if expected is not None and expected != self._read_so_far:
                raise self._damaged(f"has {counted(self._read_so_far, 'row')}, not the {expected:,} that were written")
            raise StopAsyncIteration
        self._place = place
        self._read_so_far += len(rows)
        return Page(items=tuple(rows))

    def _damaged(self, how: str) -> PaginationError:
        item = self._item
        return PaginationError(
            f"the file {self._path} of item {item.key!r} {how}; the run is unharmed: without the file "
            "a new rows() reads its rows from the service",
            collected=self._read_so_far,
            expected=item.row_count,
            run_id=item.run_id,
        )


class _JsonLines:
    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, place: int, most: int) -> tuple[list[dict[str, Any]], int]:
        # Opened for each page, so that a loop that is left early leaves no file open.
        with self._path.open("rb") as file:
            file.seek(place)
            return [_row_of(line) for line in islice(file, most)], file.tell()


def _row_of(line: bytes) -> dict[str, Any]:
    try:
        row = load_usual(line)
    except ValueError:
        row = None
    if not is_object(row):
        raise NoRowsError("has a line that is not a row")
    return row
