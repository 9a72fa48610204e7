"""Rows as an Arrow table: every row and every key of all pages, in types that hold each value."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from either_client import AsyncCoreClaw

from coreclaw_async import ColumnConflictError
from coreclaw_async.testing import FakeService

WORKER = "coreclaw/google-maps-scraper"
ROW_ID = "__coreclaw_data_id__"


async def table_of(service: FakeService, client: AsyncCoreClaw, rows: list[dict[str, Any]], **options: Any) -> pa.Table:
    run_id = service.add_run(WORKER, rows=rows)
    table = await client.runs.iterate_results(run_id).to_arrow(**options)
    return table.drop_columns([ROW_ID])


async def test_a_column_that_comes_late_is_there_and_null_before(service: FakeService, client: AsyncCoreClaw) -> None:
    rows = [{"title": f"place {number}"} for number in range(250)]
    rows[240] = {"late": 1, "title": None}

    table = await table_of(service, client, rows)

    assert table.schema == pa.schema([("title", pa.string()), ("late", pa.int64())])
    assert table.to_pylist() == [{"title": row["title"], "late": row.get("late")} for row in rows]


async def test_a_late_change_of_type_is_a_string_column_with_a_warning_that_names_it(
    service: FakeService, client: AsyncCoreClaw
) -> None:
    rows: list[dict[str, Any]] = [{"stars": 4, "n": 1} for _ in range(2_500)]
    rows[2_400] = {"stars": "many", "n": 2}

    with pytest.warns(UserWarning, match=r"^to_arrow: .*: 'stars' \(integer, then text\)$") as told:
        table = await table_of(service, client, rows)

    assert len(told) == 1
    assert table.schema == pa.schema([("stars", pa.string()), ("n", pa.int64())])
    assert table.column("stars").to_pylist() == [str(row["stars"]) for row in rows]


async def test_a_conflict_is_an_error_where_that_is_asked_for(service: FakeService, client: AsyncCoreClaw) -> None:
    with pytest.raises(ColumnConflictError, match=r"'stars' \(integer, then text\)") as raised:
        await table_of(service, client, [{"stars": 4}, {"stars": "many"}], on_conflict="raise")

    assert raised.value.columns == ("stars",)
