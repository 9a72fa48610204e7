"""Each value of each row is in the frame, as it was or as the docstring says, whatever came before or after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from frames.row_truth import expected_columns, pieces_of_rows, same
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from coreclaw_async._frames.arrow_tables import Chunk, chunk_of, schema_of, tables
from coreclaw_async._frames.columns import Columns
from coreclaw_async._frames.options import FrameOptions
from coreclaw_async.models import ResultHeader


def table_of(
    pieces: Sequence[Sequence[dict[str, Any]]], *headers: ResultHeader, is_filed: bool = False, **options: Any
) -> Any:
    """Return the rows as a table; each piece is a chunk, as a thousand rows of a pager are."""
    columns = Columns(FrameOptions(method="to_arrow", **options))
    columns.add_headers(headers)
    chunks = [chunk_of(columns, rows, None) for rows in pieces if rows]
    if is_filed:
        chunks = [Chunk.from_bytes(bytes(chunk.to_bytes())) for chunk in chunks]
    finished = columns.finished()
    parts = list(tables(finished, chunks))
    return pa.concat_tables(parts) if parts else schema_of(finished).empty_table()


def check(pieces: list[list[dict[str, Any]]], *, is_filed: bool, nested: str) -> None:
    rows = [row for piece in pieces for row in piece]
    expected = expected_columns(rows, nested=nested)
    assume(expected or not rows)

    table = table_of(pieces, is_filed=is_filed, nested=nested)

    assert table.num_rows == len(rows)
    assert table.num_columns == len(expected)
    for (key, values), column in zip(expected.items(), table.columns, strict=True):
        found = column.to_pylist()
        assert same(found, values), f"{key!r}: {found} and not {values}"


@given(pieces_of_rows(), st.booleans(), st.sampled_from(["struct", "json"]))
def test_each_value_is_the_rows_own_or_its_described_conversion(
    pieces: list[list[dict[str, Any]]], is_filed: bool, nested: str
) -> None:
    check(pieces, is_filed=is_filed, nested=nested)


@pytest.mark.endurance
@settings(max_examples=1_500)
@given(pieces_of_rows(), st.booleans(), st.sampled_from(["struct", "json"]))
def test_each_value_is_the_rows_own_or_its_described_conversion_in_many_more_cases(
    pieces: list[list[dict[str, Any]]], is_filed: bool, nested: str
) -> None:
    check(pieces, is_filed=is_filed, nested=nested)
