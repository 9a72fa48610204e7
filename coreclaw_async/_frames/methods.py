"""The methods of a pager that return all of its rows at once, or write them to a file."""

# The libraries have no complete types of their own.
# pyright: reportMissingTypeStubs=false, reportUnknownParameterType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import os
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from coreclaw_async._frames.options import (
    DtypeBackend,
    Extra,
    FrameOptions,
    Nested,
    OnConflict,
    check_choice,
    load_libraries,
    target_path,
)
from coreclaw_async._frames.reading import PageSource, RowReading
from coreclaw_async.progress import ProgressOption

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa


class AsyncFrames:
    """
    All rows at once: as a table, or in a file.

    A method reads the pager to its end, and nothing else can read it from then on. Models are rows of their members.
    """

    @abstractmethod
    def _hand_over(self, method: str) -> PageSource:
        """Return what reads the rest of the pages; nobody else can read them from then on."""

    async def to_arrow(
        self,
        *,
        on_conflict: OnConflict = "string",
        nested: Nested = "struct",
        labels: bool = False,
        progress: ProgressOption = False,
    ) -> pa.Table:
        r"""
        Return the remaining rows as a ``pyarrow.Table``, which must fit into memory; extra ``arrow``.

        The columns are the keys of all rows, on whichever page they appear: first those that the service names, in its
        order, then others as they appear. What a row lacks is null. Without rows there are the columns that the service
        names. Models have their members as columns, also without items; secrets are left out. More than 5,000 columns
        are refused.

        Whole numbers are ``int64``, others ``double``, true and false ``bool``, strings ``string``: also dates, which
        are never guessed. Objects are structs, in which a member that one lacks is null, and arrays are lists. Members
        of models may also be ``timestamp[us, UTC]`` or ``decimal128``. A column of whole and other numbers is
        ``double`` if that holds each whole number exactly (up to 2**53).

        Any other column whose values have no common type is ``string``, with one warning (`UserWarning`) that names all
        such columns, at your line or, where a task of its own reads, at the line that made the pager: strings as they
        are, other values as JSON. So are whole numbers of more than 64 bits, and objects and arrays that differ in
        shape, have no members, or hold strings with lone surrogates or names with null characters. In other strings, a
        lone surrogate becomes six characters such as ``\ud83d``. A column without any value has the type that the
        header names (``integer``, ``number``, ``boolean``) or that the member of the model has, else ``string``.

        Args:
            on_conflict: ``string``: as described. ``raise``: raise an error instead, as soon as no further row can take
                the conflict away.
            nested: ``struct``: as described. ``json``: objects and arrays are strings of JSON, in which ``NaN`` and
                ``Infinity`` are null.
            labels: Whether columns have the labels of the headers as names. Labels that repeat are followed by the key
                in parentheses.
            progress: True to show how many rows have been read, below the cell of a notebook or in a terminal; or a
                function that is called with each `Progress`, as in `runs.wait`.

        Raises:
            ColumnConflictError: The values of a column have no common type, and *on_conflict* is ``raise``.
            ConfigurationError: The extra is not installed; nothing was read.
            CoreClawError: The rows cannot be read. A note on this and later errors says how many were.
            RuntimeError: The pager was read before by such a method, or to its end.
            TypeError: An argument has another type.
            ValueError: An argument is none of those values.

        Example::

            table = await client.runs.iterate_results(run).to_arrow()
            print(table.schema)
        """
        options = FrameOptions(
            method="to_arrow", on_conflict=on_conflict, nested=nested, labels=labels, progress=progress
        )
        return await self._read("arrow", options)

    async def to_pandas(
        self,
        *,
        dtype_backend: DtypeBackend = "pyarrow",
        on_conflict: OnConflict = "string",
        nested: Nested = "struct",
        labels: bool = False,
        progress: ProgressOption = False,
    ) -> pd.DataFrame:
        """
        Return the remaining rows as a ``pandas.DataFrame``, which must fit into memory; extra ``pandas``.

        The columns are those of `to_arrow`. Missing values are ``pandas.NA``, and whole numbers stay whole.

        Args:
            dtype_backend: ``pyarrow``: columns in Arrow's types, with structs and lists. ``numpy_nullable``: pandas'
                own nullable types; objects and arrays are Python objects, and ``NaN`` may become ``pandas.NA``.
            on_conflict: What to do about values without a common type, as in `to_arrow`: ``string`` or ``raise``.
            nested: What objects and arrays become, as in `to_arrow`: ``struct`` or ``json``.
            labels: Whether columns have the labels of the headers as names, as in `to_arrow`.
            progress: True to show how many rows have been read, below the cell of a notebook or in a terminal; or a
                function that is called with each `Progress`, as in `runs.wait`.

        Raises:
            ColumnConflictError: The values of a column have no common type, and *on_conflict* is ``raise``.
            ConfigurationError: The extra is not installed; nothing was read.
            CoreClawError: The rows cannot be read. A note on this and later errors says how many were.
            RuntimeError: The pager was read before by such a method, or to its end.
            TypeError: An argument has another type.
            ValueError: An argument is none of those values.

        Example::

            frame = await client.runs.iterate_results(run).to_pandas()
            print(frame.dtypes)
        """
        check_choice("dtype_backend", dtype_backend, DtypeBackend)
        options = FrameOptions(
            method="to_pandas", on_conflict=on_conflict, nested=nested, labels=labels, progress=progress
        )
        frame: pd.DataFrame = await self._read("pandas", options, dtype_backend)
        return frame

    async def to_polars(
        self,
        *,
        on_conflict: OnConflict = "string",
        nested: Nested = "struct",
        labels: bool = False,
        progress: ProgressOption = False,
    ) -> pl.DataFrame:
        """
        Return the remaining rows as a ``polars.DataFrame``, which must fit into memory; extra ``polars``.

        The columns are those of `to_arrow`.

        Args:
            on_conflict: What to do about values without a common type, as in `to_arrow`: ``string`` or ``raise``.
            nested: What objects and arrays become, as in `to_arrow`: ``struct`` or ``json``.
            labels: Whether columns have the labels of the headers as names, as in `to_arrow`.
            progress: True to show how many rows have been read, below the cell of a notebook or in a terminal; or a
                function that is called with each `Progress`, as in `runs.wait`.

        Raises:
            ColumnConflictError: The values of a column have no common type, and *on_conflict* is ``raise``.
            ConfigurationError: The extra is not installed; nothing was read.
            CoreClawError: The rows cannot be read. A note on this and later errors says how many were.
            RuntimeError: The pager was read before by such a method, or to its end.
            TypeError: An argument has another type.
            ValueError: An argument is none of those values.

        Example::

            frame = await client.runs.iterate_results(run).to_polars()
            print(frame.schema)
        """
        options = FrameOptions(
            method="to_polars", on_conflict=on_conflict, nested=nested, labels=labels, progress=progress
        )
        frame: pl.DataFrame = await self._read("polars", options)
        return frame

    async def to_parquet(
        self,
        path: str | os.PathLike[str],
        *,
        on_conflict: OnConflict = "string",
        nested: Nested = "struct",
        labels: bool = False,
        progress: ProgressOption = False,
    ) -> Path:
        """
        Write the remaining rows to a Parquet file, and return its path; extra ``arrow``.

        The columns are those of `to_arrow`. Memory stays small whatever the number of rows: they are kept in a file
        without a name, in the same folder, until all types are known.

        The file appears whole or not at all: it is written beside *path* and then moved there. After an error, a file
        that was there is as it was; after a cancellation too, unless that came while the file was being moved, and
        then it may be the new one, whole. A replaced file keeps its mode, and a link stays a link. What is no regular
        file, such as a pipe, is written to once all rows are there, and may have got some of them before an error.

        Args:
            path: The file to write; an existing one is replaced. Its folder must exist.
            on_conflict: What to do about values without a common type, as in `to_arrow`: ``string`` or ``raise``.
            nested: What objects and arrays become, as in `to_arrow`: ``struct`` or ``json``.
            labels: Whether columns have the labels of the headers as names, as in `to_arrow`.
            progress: True to show how many rows have been read, below the cell of a notebook or in a terminal; or a
                function that is called with each `Progress`, as in `runs.wait`.

        Raises:
            ColumnConflictError: The values of a column have no common type, and *on_conflict* is ``raise``.
            ConfigurationError: The extra is not installed; nothing was read.
            CoreClawError: The rows cannot be read. A note on this and later errors says how many were.
            OSError: The file cannot be written. As far as that can be told before, nothing was read.
            RuntimeError: The pager was read before by such a method, or to its end.
            TypeError: An argument has another type.
            ValueError: An argument is none of those values.

        Example::

            path = await client.runs.iterate_results(run).to_parquet("rows.parquet")
        """
        target = target_path(path)
        options = FrameOptions(
            method="to_parquet", on_conflict=on_conflict, nested=nested, labels=labels, progress=progress
        )
        await load_libraries("arrow", options.method)
        from coreclaw_async._frames.arrow_rows import write_parquet

        with RowReading(options) as reading:
            return await write_parquet(self._hand_over, target, reading)

    async def to_jsonl(self, path: str | os.PathLike[str], *, progress: ProgressOption = False) -> Path:
        """
        Write the remaining rows to a file, each as one line of JSON, and return its path.

        A row has the members that it came with, in UTF-8; a row with a lone surrogate is written in ASCII. ``NaN`` and
        ``Infinity``, which are no JSON, become null. Times, decimals and paths of models are strings.

        The file appears whole or not at all: it is written beside *path* and then moved there. After an error, a file
        that was there is as it was; after a cancellation too, unless that came while the file was being moved, and
        then it may be the new one, whole. A replaced file keeps its mode, and a link stays a link. What is no regular
        file, such as a pipe, is written to once all rows are there, and may have got some of them before an error.

        Args:
            path: The file to write; an existing one is replaced. Its folder must exist.
            progress: True to show how many rows have been read, below the cell of a notebook or in a terminal; or a
                function that is called with each `Progress`, as in `runs.wait`.

        Raises:
            CoreClawError: The rows cannot be read. A note on this and later errors says how many were.
            OSError: The file cannot be written. As far as that can be told before, nothing was read.
            RuntimeError: The pager was read before by such a method, or to its end.
            TypeError: An argument has another type.
            ValueError: *path* cannot be the name of a file.

        Example::

            path = await client.runs.iterate_results(run).to_jsonl("rows.jsonl")
        """
        target = target_path(path)
        options = FrameOptions(method="to_jsonl", progress=progress)
        from coreclaw_async._frames.text_files import write_jsonl

        with RowReading(options) as reading:
            return await write_jsonl(self._hand_over, target, reading)

    async def to_csv(
        self, path: str | os.PathLike[str], *, labels: bool = False, progress: ProgressOption = False
    ) -> Path:
        r"""
        Write the remaining rows to a CSV file with a header, in UTF-8, and return its path.

        The columns are those of `to_arrow`; a cell has text as it is, and everything else as JSON. A missing value, an
        empty string, ``NaN`` and ``Infinity`` are empty cells. A lone surrogate becomes six characters such as
        ``\ud83d``, with a warning (`UserWarning`). Lines end with a line feed. Memory stays small: the rows are kept
        in a file without a name, in the same folder, until all columns are known.

        The file appears whole or not at all: it is written beside *path* and then moved there. After an error, a file
        that was there is as it was; after a cancellation too, unless that came while the file was being moved, and
        then it may be the new one, whole. A replaced file keeps its mode, and a link stays a link. What is no regular
        file, such as a pipe, is written to once all rows are there, and may have got some of them before an error.

        Args:
            path: The file to write; an existing one is replaced. Its folder must exist.
            labels: Whether columns have the labels of the headers as names, as in `to_arrow`.
            progress: True to show how many rows have been read, below the cell of a notebook or in a terminal; or a
                function that is called with each `Progress`, as in `runs.wait`.

        Raises:
            CoreClawError: The rows cannot be read. A note on this and later errors says how many were.
            OSError: The file cannot be written. As far as that can be told before, nothing was read.
            RuntimeError: The pager was read before by such a method, or to its end.
            TypeError: An argument has another type.
            ValueError: An argument is none of those values.

        Example::

            path = await client.runs.iterate_results(run).to_csv("rows.csv")
        """
        target = target_path(path)
        options = FrameOptions(method="to_csv", labels=labels, progress=progress)
        from coreclaw_async._frames.text_files import write_csv

        with RowReading(options) as reading:
            return await write_csv(self._hand_over, target, reading)

    async def _read(self, extra: Extra, options: FrameOptions, dtype_backend: DtypeBackend = "pyarrow") -> Any:
        """Return the rows as a frame of the extra, once the libraries are there."""
        await load_libraries(extra, options.method)
        from coreclaw_async._frames.arrow_rows import read_table
        from coreclaw_async._frames.data_frames import frame_of

        with RowReading(options) as reading:
            table = await read_table(self._hand_over(options.method), reading)
            return await anyio.to_thread.run_sync(frame_of, table, extra, dtype_backend)
