"""The rows in a Parquet file, in order, some at a time."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from coreclaw_async._frames.reading import NoRowsError

# These have no types of their own.
pa: Any = importlib.import_module("pyarrow")
pq: Any = importlib.import_module("pyarrow.parquet")


class ParquetRows:
    """
    The rows of a file; what a row lacks is None.

    A group of rows is in memory at a time, and the file is open only while one is read. After an error, the same rows
    are read again.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._group = 0
        self._table: Any = None
        self._place = 0

    def read(self, most: int) -> list[dict[str, Any]]:
        """
        Return the next rows, at most *most*; none after the last.

        Raises:
            FileNotFoundError: The file is gone.
            NoRowsError: It is damaged, or not one of rows.
            OSError: It cannot be read.
        """
        try:
            return self._next(most)
        except OSError as error:
            if error.errno is not None:
                raise
            raise _damaged(error) from error  # Arrow's own, about what is in the file.
        except (pa.ArrowException, ValueError) as error:
            raise _damaged(error) from error

    def _next(self, most: int) -> list[dict[str, Any]]:
        while self._table is None or self._place == self._table.num_rows:
            self._table = self._next_table()
            self._place = 0
            if self._table is None:
                return []
        rows: list[dict[str, Any]] = self._table.slice(self._place, most).to_pylist()
        self._place += len(rows)
        return rows

    def _next_table(self) -> Any:
        with self._path.open("rb") as file:
            groups = pq.ParquetFile(file)
            _check_types(groups.schema_arrow)
            if self._group == groups.num_row_groups:
                return None
            table = groups.read_row_group(self._group)
        self._group += 1
        return table


def _check_types(schema: Any) -> None:
    for field in schema:
        if not _is_json(field.type):
            raise NoRowsError(f"has a column {field.name!r} of type {field.type}, which rows do not have")


def _is_json(type: Any) -> bool:
    """Return whether values of an Arrow type are JSON; any program may have written the file again."""
    types = pa.types
    if types.is_struct(type):
        return all(_is_json(member.type) for member in type)
    if types.is_list(type) or types.is_large_list(type) or types.is_dictionary(type):
        return _is_json(type.value_type)
    is_number = types.is_integer(type) or types.is_float32(type) or types.is_float64(type)
    is_text = types.is_string(type) or types.is_large_string(type)
    return bool(is_number or is_text or types.is_boolean(type) or types.is_null(type))


def _damaged(error: Exception) -> NoRowsError:
    return NoRowsError(f"cannot be read as Parquet ({' '.join(str(error).split())})")
