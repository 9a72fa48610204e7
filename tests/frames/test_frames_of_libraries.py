"""Frames of pandas and polars hold the values of the Arrow table, and read the Parquet file that is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
from either_client import AsyncCoreClaw

from coreclaw_async.testing import FakeService

WORKER = "coreclaw/google-maps-scraper"
ROWS: list[dict[str, Any]] = [
    {
        "title": "Café 😀",
        "id": 2**63 - 1,
        "stars": 4.5,
        "open": True,
        "tags": ["a", None],
        "where": {"lat": 1.5, "name": None},
        "day": "2024-02-30",
        "": 0,
        "a.b": "dot",
        "nothing": None,
        "none in it": [],
    },
    {"title": None, "id": None, "stars": None, "open": None, "tags": None, "where": None, "late": [{"x": [1]}]},
    {"title": "", "id": -(2**63), "stars": -0.0, "open": False, "tags": [], "where": {"lat": None}, "late": []},
]
FILLED: list[dict[str, Any]] = [
    {"__coreclaw_data_id__": None, **dict.fromkeys([*ROWS[0], "late"]), **row} for row in ROWS
]
FILLED[2]["where"] = {"lat": None, "name": None}


def without_ids(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "__coreclaw_data_id__"} for row in rows]


EXPECTED = without_ids(FILLED)


async def test_pandas_has_each_value_and_arrows_types(service: FakeService, client: AsyncCoreClaw) -> None:
    frame: pd.DataFrame = await client.runs.iterate_results(service.add_run(WORKER, rows=ROWS)).to_pandas()

    assert str(frame.dtypes["id"]) == "int64[pyarrow]"
    assert str(frame.dtypes["where"]).startswith("struct<lat: double")
    assert frame["id"].tolist()[0] == 2**63 - 1
    assert frame["id"].isna().tolist() == [False, True, False]
    assert frame["where"].tolist()[0] == {"lat": 1.5, "name": None}
    assert frame["day"].tolist()[0] == "2024-02-30"
    assert len(frame.columns) == len(EXPECTED[0]) + 1


async def test_pandas_has_its_own_nullable_types_where_they_are_asked_for(
    service: FakeService, client: AsyncCoreClaw
) -> None:
    pager = client.runs.iterate_results(service.add_run(WORKER, rows=ROWS))
    frame: pd.DataFrame = await pager.to_pandas(dtype_backend="numpy_nullable")

    assert [str(frame.dtypes[name]) for name in ("id", "stars", "open", "title")] == [
        "Int64", "Float64", "boolean", "string",
    ]  # fmt: skip
    assert frame["id"].tolist()[2] == -(2**63)


async def test_nested_whole_numbers_beside_nulls_stay_exact_in_nullable_frames(
    service: FakeService, client: AsyncCoreClaw
) -> None:
    odd = 2**53 + 1  # No float.
    rows: list[dict[str, Any]] = [
        {"a": [odd, None], "b": {"x": odd, "y": [{"z": odd}, {"z": None}]}},
        {"a": [1], "b": {"x": None, "y": []}},
    ]
    pager = client.runs.iterate_results(service.add_run(WORKER, rows=rows))
    frame: pd.DataFrame = await pager.to_pandas(dtype_backend="numpy_nullable")

    assert list(frame["a"][0]) == [odd, None]
    assert frame["b"][0]["x"] == odd
    assert [part["z"] for part in frame["b"][0]["y"]] == [odd, None]


async def test_polars_has_each_value(service: FakeService, client: AsyncCoreClaw) -> None:
    frame: pl.DataFrame = await client.runs.iterate_results(service.add_run(WORKER, rows=ROWS)).to_polars()

    assert frame.drop("__coreclaw_data_id__").to_dicts() == EXPECTED


@pytest.mark.parametrize("method", ["to_arrow", "to_pandas", "to_polars"])
async def test_no_rows_are_an_empty_frame(service: FakeService, client: AsyncCoreClaw, method: str) -> None:
    frame = await getattr(client.runs.iterate_results(service.add_run(WORKER)), method)()

    assert len(frame) == 0


async def test_three_libraries_read_the_same_from_the_parquet_file(
    service: FakeService, client: AsyncCoreClaw, tmp_path: Path
) -> None:
    pager = client.runs.iterate_results(service.add_run(WORKER, rows=ROWS))
    path = await pager.to_parquet(tmp_path / "rows.parquet")

    assert path == tmp_path / "rows.parquet"
    assert without_ids(pq.read_table(path).to_pylist()) == EXPECTED
    assert without_ids(pl.read_parquet(path).to_dicts()) == EXPECTED
    read = pd.read_parquet(path, dtype_backend="pyarrow")
    assert read["id"].tolist()[0] == 2**63 - 1
    assert read["where"].tolist()[2] == {"lat": None, "name": None}
    assert read["late"].tolist()[1][0] == {"x": [1]}
    assert list(tmp_path.iterdir()) == [path]


async def test_a_run_without_rows_is_a_parquet_file_with_its_columns(
    service: FakeService, client: AsyncCoreClaw, tmp_path: Path
) -> None:
    path = await client.runs.iterate_results(service.add_run(WORKER)).to_parquet(str(tmp_path / "rows.parquet"))

    assert pq.read_table(path).num_rows == 0
    assert pl.read_parquet(path).height == 0
