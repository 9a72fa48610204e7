"""Each value of each row is in the frame, as it was or as the docstring says, whatever came before or after it."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from frames.row_truth import expected_columns, pieces_of_rows, same
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from coreclaw_async._frames.arrow_tables import Chunk, chunk_of, schema_of, tables
from coreclaw_async._frames.columns import Columns
from coreclaw_async._frames.options import FrameOptions
from coreclaw_async._frames.values import rows_of
from coreclaw_async.errors import ColumnConflictError
from coreclaw_async.models import ResultHeader, ResultPage, Run, RunStatus, StartedRun


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
@settings(max_examples=800)
@given(pieces_of_rows(), st.booleans(), st.sampled_from(["struct", "json"]))
def test_each_value_is_the_rows_own_or_its_described_conversion_in_many_more_cases(
    pieces: list[list[dict[str, Any]]], is_filed: bool, nested: str
) -> None:
    check(pieces, is_filed=is_filed, nested=nested)


@given(pieces_of_rows(), st.sampled_from(["struct", "json"]))
def test_an_error_is_asked_for_where_a_warning_would_be_and_never_too_early(
    pieces: list[list[dict[str, Any]]], nested: Any
) -> None:
    assume(any(row for piece in pieces for row in piece))
    told, asked = (
        Columns(FrameOptions(method="to_arrow", nested=nested, on_conflict=choice)) for choice in ("string", "raise")
    )
    is_refused = False
    for rows in filter(None, pieces):
        chunk_of(told, rows, None)
        chunk_of(asked, rows, None)
        try:
            asked.check()
        except ColumnConflictError:
            is_refused = True
    try:
        asked.finished()
    except ColumnConflictError:
        is_refused = True

    assert is_refused == any(column.type.reason for column in told.finished())


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"in": value}
    return value


MANY = {str(number): number for number in range(1_001)}
UTC_TIME = dt.datetime(2024, 1, 2, 3, 4, 5, 678_901, tzinfo=dt.UTC)
KINDS: dict[str, tuple[list[Any], Any, list[Any] | None, str | None]] = {
    "booleans": ([True, None, False], pa.bool_(), None, None),
    "integers of 64 bits": ([2**63 - 1, -(2**63)], pa.int64(), None, None),
    "longer integers": ([2**63, 1], pa.string(), ["9223372036854775808", "1"], "integers of more than 64 bits"),
    "whole and other numbers": ([1, 2.5, 2**53], pa.float64(), [1.0, 2.5, 9007199254740992.0], None),
    "numbers that a float cannot hold": (
        [0.5, 2**53 + 1], pa.string(), ["0.5", "9007199254740993"], "numbers and integers beyond 2**53",
    ),
    "numbers and longer integers": ([2**64, 0.5], pa.string(), ["18446744073709551616", "0.5"], "more than 64 bits"),
    "booleans and integers": ([True, 1], pa.string(), ["true", "1"], "boolean, then integer"),
    "dates": (["2024-02-30", "2024-01-01T00:00:00Z"], pa.string(), None, None),
    "nothing": ([None, None], pa.string(), None, None),
    "text and objects": (["a", {"b": 1}, [2]], pa.string(), ["a", '{"b":1}', "[2]"], "text, then object, then array"),
    "text and no number": (["a", math.nan, -math.inf], pa.string(), ["a", "NaN", "-Infinity"], "text, then number"),
    "objects": ([{"a": 1}, {"b": "x"}], pa.struct([("a", pa.int64()), ("b", pa.string())]),
                [{"a": 1, "b": None}, {"a": None, "b": "x"}], None),
    "objects and arrays": ([{"a": 1}, [1]], pa.string(), ['{"a":1}', "[1]"], "that differ: object, then array"),
    "objects without members": ([{}, {}], pa.string(), ["{}", "{}"], "objects without members"),
    "arrays of nothing": ([[], [None]], pa.list_(pa.string()), None, None),
    "arrays of numbers": ([[1], [0.5]], pa.list_(pa.float64()), [[1.0], [0.5]], None),
    "arrays that differ inside": ([[1], ["x"]], pa.string(), ["[1]", '["x"]'], "that differ: integer, then text"),
    "long integers inside": ([[2**63]], pa.string(), ["[9223372036854775808]"], "nested integers that are too long"),
    "inexact numbers inside": ([[2**53 + 1, 0.5]], pa.string(), ["[9007199254740993,0.5]"], "nested integers that are"),
    "surrogates inside": ([["\ud83d"]], pa.string(), ['["\\ud83d"]'], "nested lone surrogates"),
    "surrogates in names inside": ([{"\ud83d": 1}], pa.string(), ['{"\\ud83d":1}'], "nested lone surrogates"),
    "surrogates": (["a\ud83d", "é"], pa.string(), ["a\\ud83d", "é"], "lone surrogates"),
    "very deep objects": ([deep(40)], pa.string(), None, "more than 30 levels"),
    "objects whose names are data": ([MANY], pa.string(), None, "more than 1000 members"),
    "tuples": ([(1, 2)], pa.list_(pa.int64()), [[1, 2]], None),
    "times": ([UTC_TIME, None], pa.timestamp("us", "UTC"), None, None),
    "times and text": ([UTC_TIME, "x"], pa.string(), ["2024-01-02T03:04:05.678901+00:00", "x"], "time, then text"),
    "decimals": ([Decimal("1.5"), Decimal("-0.25"), Decimal("1E+2")], pa.decimal128(38, 2),
                 [Decimal("1.50"), Decimal("-0.25"), Decimal("100.00")], None),
    "decimals and integers": ([Decimal("1.50"), 2], pa.string(), ["1.50", "2"], "decimal, then integer"),
    "long decimals": ([Decimal("1E-40")], pa.string(), ["1E-40"], "decimals of more than 38 digits"),
    "decimals that are none": ([Decimal("NaN"), Decimal(1)], pa.string(), ["NaN", "1"], "decimals"),
    "paths and words": ([Path("a/b"), RunStatus.FAILED], pa.string(), ["a/b", "failed"], None),
}  # fmt: skip


@pytest.mark.parametrize("is_late", [False, True], ids=["together", "each in a chunk of its own"])
@pytest.mark.parametrize(("values", "type", "expected", "reason"), KINDS.values(), ids=KINDS)
def test_a_column_gets_the_type_that_holds_all_of_its_values(
    values: list[Any], type: Any, expected: list[Any] | None, reason: str | None, is_late: bool
) -> None:
    rows = [{"x": value} for value in values]
    pieces = [[row] for row in rows] if is_late else [rows]
    columns = Columns(FrameOptions(method="to_arrow"))
    for piece in pieces:
        chunk_of(columns, piece, None)
    (column,) = columns.finished()
    field = table_of(pieces, is_filed=is_late).schema.field("x")
    found = table_of(pieces, is_filed=is_late).column("x").to_pylist()

    assert type is None or field.type == type
    assert (column.type.reason or "").find(reason or "") >= 0
    assert (column.type.reason is None) == (reason is None)
    if expected is not None:
        assert same(found, expected), found
    elif reason is not None:
        assert [json.loads(value) for value in found] == values
    elif type is not None:
        assert same(found, values), found


def test_members_of_models_are_values_or_what_json_has_for_them() -> None:
    naive = UTC_TIME.replace(tzinfo=None)
    runs = [
        Run(run_id="a", started_at=UTC_TIME, finished_at=naive, status=RunStatus.FAILED, usage=Decimal("0.10")),
        Run(run_id="b", extra={"new": (UTC_TIME.date(), {"x": Decimal(1)})}),
        StartedRun(run_id="c", results=ResultPage(items=({"n": 1},), headers=(ResultHeader(key="n"),))),
    ]

    (first, second, third), keys = rows_of(runs)

    assert keys is None
    assert (first["started_at"], first["finished_at"]) == (UTC_TIME, "2024-01-02T03:04:05.678901")
    assert (first["status"], type(first["status"]), first["usage"]) == ("failed", str, Decimal("0.10"))
    assert (first["extra"], second["extra"]) == (None, '{"new":["2024-01-02",{"x":"1"}]}')
    assert third["results"]["items"] == [{"n": 1}]
    assert third["results"]["headers"] == [{"key": "n", "label": "", "format": None, "extra": None}]


@pytest.mark.parametrize("nested", ["struct", "json"])
def test_a_conflict_after_nested_values_keeps_each_as_json(nested: str) -> None:
    pieces: list[list[dict[str, Any]]] = [[{"x": {"a": math.nan}}], [{"x": ["é"]}, {"x": None}], [{"x": "é"}]]

    table = table_of(pieces, nested=nested)

    assert table.column("x").to_pylist() == ['{"a":null}', '["é"]', None, "é"]


def test_many_rows_are_a_few_large_pieces() -> None:
    table = table_of([[{"n": 1}] * 70_000, [{"n": 2}]])

    assert table.column("n").num_chunks == 2
    assert table.num_rows == 70_001
