"""The methods of a batch that return all of its rows at once, or write them to a file."""

# The libraries have no complete types of their own.
# pyright: reportMissingTypeStubs=false, reportUnknownParameterType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import os
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

from coreclaw_async._frames.methods import AsyncFrames
from coreclaw_async._frames.options import DtypeBackend, Nested, OnConflict
from coreclaw_async.progress import ProgressOption

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa


class AsyncBatchFrames:
    """All rows of a batch at once: as a table, or in a file."""

    @abstractmethod
    def _rows_out(self, with_key: bool) -> AsyncFrames:  # noqa: FBT001 - a caller's argument
        """Return a pager over the rows of all items that are done."""

    async def to_arrow(
        self,
        *,
        with_key: bool = True,
        on_conflict: OnConflict = "string",
        nested: Nested = "struct",
        labels: bool = False,
        progress: ProgressOption = False,
    ) -> pa.Table:
        """
        Return the rows of all items that are done as a ``pyarrow.Table``; extra ``arrow``.

        As `Pager.to_arrow` of the pager that `rows` returns, which takes other states too.

        Args:
            with_key: Whether the first column, ``key``, has the key of each row's item (``item_key`` where the rows
                have a column ``key``).
            on_conflict: What to do about values without a common type: ``string`` or ``raise``.
            nested: What objects and arrays become: ``struct`` or ``json``.
            labels: Whether columns have the labels of the headers as names.
            progress: True to show how many rows have been read, below the cell of a notebook or in a terminal; or a
                function that is called with each `Progress`, as in `runs.wait`.

        Raises:
            ColumnConflictError: The values of a column have no common type, and *on_conflict* is ``raise``.
            ConfigurationError: The extra is not installed; nothing was read.
            CoreClawError: The ledger or rows cannot be read. A note on this and later errors says how many rows were.
            OSError: A file of rows cannot be read.
            TypeError: An argument has another type.
            ValueError: An argument is none of those values.

        Example::

            table = await batch.to_arrow()
            print(table.schema)
        """
        rows = self._rows_out(with_key)
        return await rows.to_arrow(on_conflict=on_conflict, nested=nested, labels=labels, progress=progress)

    async def to_pandas(
        self,
        *,
        with_key: bool = True,
        dtype_backend: DtypeBackend = "pyarrow",
        on_conflict: OnConflict = "string",
        nested: Nested = "struct",
        labels: bool = False,
        progress: ProgressOption = False,
    ) -> pd.DataFrame:
        """
        Return the rows of all items that are done as a ``pandas.DataFrame``; extra ``pandas``.

        As `Pager.to_pandas` of the pager that `rows` returns, which takes other states too.

        Args:
            with_key: Whether the first column, ``key``, has the key of each row's item (``item_key`` where the rows
                have a column ``key``).
            dtype_backend: ``pyarrow`` or ``numpy_nullable``.
            on_conflict: What to do about values without a common type: ``string`` or ``raise``.
            nested: What objects and arrays become: ``struct`` or ``json``.
            labels: Whether columns have the labels of the headers as names.
            progress: True to show how many rows have been read, below the cell of a notebook or in a terminal; or a
                function that is called with each `Progress`, as in `runs.wait`.

        Raises:
            ColumnConflictError: The values of a column have no common type, and *on_conflict* is ``raise``.
            ConfigurationError: The extra is not installed; nothing was read.
            CoreClawError: The ledger or rows cannot be read. A note on this and later errors says how many rows were.
            OSError: A file of rows cannot be read.
            TypeError: An argument has another type.
            ValueError: An argument is none of those values.

        Example::

            frame = await batch.to_pandas()
            print(frame.dtypes)
        """
        rows = self._rows_out(with_key)
        return await rows.to_pandas(
            dtype_backend=dtype_backend, on_conflict=on_conflict, nested=nested, labels=labels, progress=progress
        )

    async def to_polars(
        self,
        *,
        with_key: bool = True,
        on_conflict: OnConflict = "string",
        nested: Nested = "struct",
        labels: bool = False,
        progress: ProgressOption = False,
    ) -> pl.DataFrame:
        """
        Return the rows of all items that are done as a ``polars.DataFrame``; extra ``polars``.

        As `Pager.to_polars` of the pager that `rows` returns, which takes other states too.

        Args:
            with_key: Whether the first column, ``key``, has the key of each row's item (``item_key`` where the rows
                have a column ``key``).
            on_conflict: What to do about values without a common type: ``string`` or ``raise``.
            nested: What objects and arrays become: ``struct`` or ``json``.
            labels: Whether columns have the labels of the headers as names.
            progress: True to show how many rows have been read, below the cell of a notebook or in a terminal; or a
                function that is called with each `Progress`, as in `runs.wait`.

        Raises:
            ColumnConflictError: The values of a column have no common type, and *on_conflict* is ``raise``.
            ConfigurationError: The extra is not installed; nothing was read.
            CoreClawError: The ledger or rows cannot be read. A note on this and later errors says how many rows were.
            OSError: A file of rows cannot be read.
            TypeError: An argument has another type.
            ValueError: An argument is none of those values.

        Example::

            frame = await batch.to_polars()
            print(frame.schema)
        """
        rows = self._rows_out(with_key)
        return await rows.to_polars(on_conflict=on_conflict, nested=nested, labels=labels, progress=progress)

    async def to_parquet(
        self,
        path: str | os.PathLike[str],
        *,
        with_key: bool = True,
        on_conflict: OnConflict = "string",
        nested: Nested = "struct",
        labels: bool = False,
        progress: ProgressOption = False,
    ) -> Path:
        """
        Write the rows of all items that are done to a Parquet file, and return its path; extra ``arrow``.

        As `Pager.to_parquet` of the pager that `rows` returns, which takes other states too.

        Args:
            path: The file to write; an existing one is replaced. Its folder must exist.
            with_key: Whether the first column, ``key``, has the key of each row's item (``item_key`` where the rows
                have a column ``key``).
            on_conflict: What to do about values without a common type: ``string`` or ``raise``.
            nested: What objects and arrays become: ``struct`` or ``json``.
            labels: Whether columns have the labels of the headers as names.
            progress: True to show how many rows have been read, below the cell of a notebook or in a terminal; or a
                function that is called with each `Progress`, as in `runs.wait`.

        Raises:
            ColumnConflictError: The values of a column have no common type, and *on_conflict* is ``raise``.
            ConfigurationError: The extra is not installed; nothing was read.
            CoreClawError: The ledger or rows cannot be read. A note on this and later errors says how many rows were.
            OSError: The file cannot be written. As far as that can be told before, nothing was read.
            TypeError: An argument has another type.
            ValueError: An argument is none of those values.

        Example::

            path = await batch.to_parquet("rows.parquet")
        """
        rows = self._rows_out(with_key)
        return await rows.to_parquet(path, on_conflict=on_conflict, nested=nested, labels=labels, progress=progress)

    async def to_jsonl(
        self, path: str | os.PathLike[str], *, with_key: bool = True, progress: ProgressOption = False
    ) -> Path:
        """
        Write the rows of all items that are done to a file of lines of JSON, and return its path.

        As `Pager.to_jsonl` of the pager that `rows` returns, which takes other states too.

        Args:
            path: The file to write; an existing one is replaced. Its folder must exist.
            with_key: Whether a line is ``{"key": ..., "row": {...}}``, else only the row.
            progress: True to show how many rows have been read, below the cell of a notebook or in a terminal; or a
                function that is called with each `Progress`, as in `runs.wait`.

        Raises:
            CoreClawError: The ledger or rows cannot be read. A note on this and later errors says how many rows were.
            OSError: The file cannot be written. As far as that can be told before, nothing was read.
            TypeError: An argument has another type.
            ValueError: An argument is none of those values.

        Example::

            path = await batch.to_jsonl("rows.jsonl")
        """
        rows = self._rows_out(with_key)
        return await rows.to_jsonl(path, progress=progress)

    async def to_csv(
        self,
        path: str | os.PathLike[str],
        *,
        with_key: bool = True,
        labels: bool = False,
        progress: ProgressOption = False,
    ) -> Path:
        """
        Write the rows of all items that are done to a CSV file, and return its path.

        As `Pager.to_csv` of the pager that `rows` returns, which takes other states too.

        Args:
            path: The file to write; an existing one is replaced. Its folder must exist.
            with_key: Whether the first column, ``key``, has the key of each row's item (``item_key`` where the rows
                have a column ``key``).
            labels: Whether columns have the labels of the headers as names.
            progress: True to show how many rows have been read, below the cell of a notebook or in a terminal; or a
                function that is called with each `Progress`, as in `runs.wait`.

        Raises:
            CoreClawError: The ledger or rows cannot be read. A note on this and later errors says how many rows were.
            OSError: The file cannot be written. As far as that can be told before, nothing was read.
            TypeError: An argument has another type.
            ValueError: An argument is none of those values.

        Example::

            path = await batch.to_csv("rows.csv")
        """
        rows = self._rows_out(with_key)
        return await rows.to_csv(path, labels=labels, progress=progress)
