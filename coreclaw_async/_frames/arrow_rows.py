"""All rows as one Arrow table, or as a Parquet file."""

from __future__ import annotations

import importlib
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import anyio.to_thread

from coreclaw_async._concurrency.stream import AsyncStream
from coreclaw_async._frames.arrow_tables import Chunk, chunk_of, schema_of, tables
from coreclaw_async._frames.columns import Column, Columns, tell_changes
from coreclaw_async._frames.reading import HandOver, ItemInfo, PageSource, RowReading, RowSource
from coreclaw_async._frames.values import rows_of
from coreclaw_async._frames.written_file import FileWork, written_file

# These have no types of their own.
pa: Any = importlib.import_module("pyarrow")
pq: Any = importlib.import_module("pyarrow.parquet")

_LENGTH_BYTES = 8


class _Spool(Protocol):
    """Keeps chunks until all rows were seen."""

    def put(self, chunk: Chunk) -> None: ...

    def drain(self) -> Iterator[Chunk]: ...


class _MemorySpool:
    def __init__(self) -> None:
        self._chunks: deque[Chunk] = deque()

    def put(self, chunk: Chunk) -> None:
        self._chunks.append(chunk)

    def drain(self) -> Iterator[Chunk]:
        while self._chunks:
            yield self._chunks.popleft()  # Nothing else needs it, so its memory is free after its conversion.


class _FileSpool:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def put(self, chunk: Chunk) -> None:
        data = chunk.to_bytes()
        self._file.write(data.size.to_bytes(_LENGTH_BYTES, "big"))
        self._file.write(data)

    def drain(self) -> Iterator[Chunk]:
        self._file.seek(0)
        while length := self._file.read(_LENGTH_BYTES):
            yield Chunk.from_bytes(self._file.read(int.from_bytes(length, "big")))


class _ArrowSink:
    """
    Turns rows into chunks.

    Args:
        reading: Reads the rows.
        spool: Keeps the chunks.
        call: Calls, in a thread, what uses the spool.
    """

    def __init__(self, reading: RowReading, spool: _Spool, call: Callable[..., Any]) -> None:
        self.columns = Columns(reading.options)
        self._reading = reading
        self._spool = spool
        self._call = call

    def add(self, info: ItemInfo, items: Sequence[Any]) -> None:
        self._spool.put(chunk_of(self.columns, *rows_of(items)))
        self.columns.add_headers(info.headers())
        self.columns.check()

    async def read(
        self, source: RowSource, tell: Callable[[Sequence[Column]], None]
    ) -> tuple[list[Column], AsyncStream[Any]]:
        """Read all rows, and *tell* the columns; return these, and the rows as tables."""
        await self._reading.read(source, partial(self._call, self.add, source.info))
        self.columns.end(source.info)
        columns = self.columns.finished()
        tell(columns)
        steps = tables(columns, self._spool.drain())
        return columns, AsyncStream(lambda: anyio.to_thread.run_sync(self._call, next, steps, None))


async def read_table(source: PageSource, reading: RowReading) -> Any:
    """
    Return all rows as one Arrow table.

    Raises:
        ColumnConflictError: See `Columns.finished`.
        CoreClawError: The rows cannot be read.
    """
    tell = partial(tell_changes, reading.options.method, source.made_at)
    columns, parts = await _ArrowSink(reading, _MemorySpool(), _call).read(source, tell)
    found = [part async for part in parts]
    return pa.concat_tables(found) if found else schema_of(columns).empty_table()


async def write_parquet(hand_over: HandOver, path: Path, reading: RowReading) -> Path:
    """
    Write all rows to a Parquet file, and return its path.

    Raises:
        ColumnConflictError: See `Columns.finished`.
        CoreClawError: The rows cannot be read.
        OSError: The file cannot be written.
    """
    async with written_file(path) as work:
        source = hand_over(reading.options.method)
        await write_tables(work, source, reading, partial(tell_changes, reading.options.method, source.made_at))
    return path


async def write_tables(
    work: FileWork, source: RowSource, reading: RowReading, tell: Callable[[Sequence[Column]], None]
) -> None:
    """
    Write all rows to a file as Parquet, in groups of a size that fits into memory, and *tell* its columns.

    Raises:
        ColumnConflictError: See `Columns.finished`.
        CoreClawError: The rows cannot be read.
        OSError: The file cannot be written.
    """
    kept = await work.opened(lambda folder: tempfile.TemporaryFile(dir=folder))  # noqa: SIM115 - closed by *work*
    spool = _FileSpool(kept)
    columns, parts = await _ArrowSink(reading, spool, work.call).read(source, tell)
    writer = pq.ParquetWriter(work.target.file, schema_of(columns))
    # A writer that is forgotten would write to the closed file.
    work.at_end(writer.close)
    async for part in parts:
        await work.run(writer.write_table, part)
    await work.run(writer.close)


def _call(function: Callable[..., Any], *args: Any) -> Any:
    return function(*args)
