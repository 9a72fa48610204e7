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

    One group of rows is kept in memory, and the file is open only while a group is read.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept: tuple[int, Any] | None = None

    def read(self, place: int, most: int) -> tuple[list[dict[str, Any]], int]:
        """
        Return at most *most* rows from the one at *place* on, none after the last, and the place of the next.

        Raises:
            FileNotFoundError: The file is gone.
            NoRowsError: It is damaged, or not one of rows.
            OSError: It cannot be read.
        """
        try:
            group = self._kept
            if group is None or not group[0] <= place < group[0] + group[1].num_rows:
                group = self._kept = self._group_at(place)
            if group is None:
                return [], place
            first, table = group
            rows = table.slice(place - first, most).to_pylist()
        except OSError as error:
            if error.errno is not None:
                raise
            raise _damaged(error) from error  # Arrow's own, about what is in the file.
        except (pa.ArrowException, ValueError) as error:
            raise _damaged(error) from error
        return rows, place + len(rows)

    def _group_at(self, place: int) -> tuple[int, Any] | None:
        """Return the rows of the group with the row at *place*, after the number of its first row."""
        first = 0
        with self._path.open("rb") as file:
            groups = pq.ParquetFile(file)
            _check_types(groups.schema_arrow)
            for number in range(groups.num_row_groups):
                count = groups.metadata.row_group(number).num_rows
                if place < first + count:
                    return first, groups.read_row_group(number)
                first += count
        return None


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
