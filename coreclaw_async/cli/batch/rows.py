"""Rows of a batch with their keys."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from coreclaw_async.cli._screen.output import is_terminal, whole_file
from coreclaw_async.cli.rows.formats import row_writer
from coreclaw_async.models import Row


def write_keyed_rows(rows: Iterable[tuple[str, Row]], path: Path, format: str) -> int:
    """
    Write rows with the keys of their items to a file, whole or not at all, or to standard output.

    Args:
        rows: The rows, each behind the key of its item.
        path: Where to.
        format: ``csv``, ``json`` or ``jsonl``.

    Returns:
        How many there were.

    Raises:
        OSError: They cannot be written, or not be read from their files.
    """
    count = 0
    with (
        whole_file(path) as file,
        row_writer(file, format, has_keys=True, is_shown=is_terminal(path)) as writer,
    ):
        for key, row in rows:
            writer.write(row, key)
            count += 1
    return count
