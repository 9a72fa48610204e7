"""Whatever the rows hold: pandas, polars and Parquet have the values of the Arrow table, and give them back."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from frames.row_truth import pieces_of_rows, same
from frames.test_every_value import table_of
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from coreclaw_async._frames.data_frames import pandas_of, polars_of


@pytest.mark.endurance
@settings(max_examples=400)
@given(pieces_of_rows(), st.sampled_from(["struct", "json"]))
def test_three_libraries_and_parquet_hold_each_value(pieces: list[list[dict[str, Any]]], nested: str) -> None:
    rows = [row for piece in pieces for row in piece]
    assume(any(rows))
    table = table_of(pieces, nested=nested)
    truth = table.to_pylist()
    file = io.BytesIO()
    pq.write_table(table, file)

    assert same(polars_of(table).to_dicts(), truth)
    assert same(pa.Table.from_pandas(pandas_of(table, "pyarrow"), preserve_index=False).to_pylist(), truth)
    assert pandas_of(table, "numpy_nullable").shape == table.shape
    file.seek(0)
    assert same(pq.read_table(file).to_pylist(), truth)
    file.seek(0)
    assert same(pl.read_parquet(file).to_dicts(), truth)
    file.seek(0)
    assert pd.read_parquet(file, dtype_backend="pyarrow").shape == table.shape
