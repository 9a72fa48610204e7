"""Rows as an Arrow table: every row and every key of all pages, and nothing lost without a word."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any

import anyio
import pyarrow as pa
import pytest
from either_client import AsyncCoreClaw

from coreclaw_async import AsyncPager as TheAsyncPager
from coreclaw_async import ColumnConflictError, ConfigurationError, CoreClaw, NotFoundError, PaginationError
from coreclaw_async.testing import FakeService, faults

WORKER = "coreclaw/google-maps-scraper"
ROW_ID = "__coreclaw_data_id__"
METHODS = ("to_arrow", "to_pandas", "to_polars", "to_parquet", "to_jsonl", "to_csv")


async def table_of(service: FakeService, client: AsyncCoreClaw, rows: list[dict[str, Any]], **options: Any) -> pa.Table:
    run_id = service.add_run(WORKER, rows=rows)
    table = await client.runs.iterate_results(run_id).to_arrow(**options)
    return table.drop_columns([ROW_ID])


def with_headers(*headers: dict[str, Any]) -> faults.Fault:
    def change(envelope: dict[str, Any]) -> dict[str, Any]:
        envelope["data"]["headers"] = list(headers)
        return envelope

    return faults.edit(change)


async def test_a_column_that_comes_late_is_there_and_null_before(service: FakeService, client: AsyncCoreClaw) -> None:
    rows: list[dict[str, Any]] = [{"title": f"place {number}"} for number in range(250)]
    rows[240] = {"late": 1, "title": None}

    table = await table_of(service, client, rows)

    assert table.schema == pa.schema([("title", pa.string()), ("late", pa.int64())])
    assert table.to_pylist() == [{"title": row["title"], "late": row.get("late")} for row in rows]


async def test_a_late_change_of_type_is_a_string_column_with_a_warning_that_names_it(
    service: FakeService, client: AsyncCoreClaw
) -> None:
    rows: list[dict[str, Any]] = [{"stars": 4, "n": 1} for _ in range(1_100)]
    rows[1_050] = {"stars": "many", "n": 2}

    with pytest.warns(UserWarning, match=r"^to_arrow: .*: 'stars' \(integer, then text\)$") as told:
        table = await table_of(service, client, rows)

    assert len(told) == 1
    assert table.schema == pa.schema([("stars", pa.string()), ("n", pa.int64())])
    assert table.column("stars").to_pylist() == [str(row["stars"]) for row in rows]


async def test_a_conflict_is_an_error_where_that_is_asked_for(service: FakeService, client: AsyncCoreClaw) -> None:
    rows: list[dict[str, Any]] = [{"stars": 4}] * 999 + [{"stars": "many"}] * 2_000

    with pytest.raises(ColumnConflictError, match=r"'stars' \(integer, then text\)") as raised:
        await table_of(service, client, rows, on_conflict="raise")

    assert raised.value.columns == ("stars",)
    assert "had read 1,000 rows" in raised.value.__notes__[0]
    assert sum(request.operation == "listWorkerRunResults" for request in service.requests) < 15


async def test_no_conflict_is_no_error(service: FakeService, client: AsyncCoreClaw) -> None:
    table = await table_of(service, client, [{"stars": 4}, {"stars": 4.5}], on_conflict="raise")

    assert table.column("stars").to_pylist() == [4.0, 4.5]


@pytest.mark.async_client_only
async def test_a_pager_that_another_task_reads_says_so(service: FakeService, client: AsyncCoreClaw) -> None:
    service.faults.add(faults.stall(), operation="listWorkerRunResults")
    pager = client.runs.iterate_results(service.add_run(WORKER, rows=5))
    async with anyio.create_task_group() as group:
        group.start_soon(pager.first)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(RuntimeError, match="being read by another task"):
            await pager.to_arrow()
        group.cancel_scope.cancel()


def test_the_blocking_pager_returns_and_writes_rows(service: FakeService, tmp_path: Path) -> None:
    run_id = service.add_run(WORKER, rows=3)
    with CoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        assert client.runs.iterate_results(run_id).to_arrow().num_rows == 3
        assert len(client.runs.iterate_results(run_id).to_pandas()) == 3
        assert client.runs.iterate_results(run_id).to_polars().height == 3
        assert client.runs.iterate_results(run_id).to_parquet(tmp_path / "a").stat().st_size > 100
        assert client.runs.iterate_results(run_id).to_jsonl(tmp_path / "b").read_text().count("\n") == 3
        assert client.runs.iterate_results(run_id).to_csv(tmp_path / "c").read_text().count("\n") == 4
        pager = client.runs.iterate_results(run_id)
        pager.to_arrow()
        with pytest.raises(RuntimeError, match="make a new one"):
            list(pager)


async def test_columns_are_those_of_the_headers_and_then_the_others(
    service: FakeService, client: AsyncCoreClaw
) -> None:
    headers = [{"key": "b"}, {"key": "never", "format": "integer"}, {"key": ""}, {"key": "a"}, {"key": "unknown"}]
    service.faults.add(with_headers(*headers), operation="listWorkerRunResults", times=9)

    table = await table_of(service, client, [{"a": 1, "c": 2.5, "b": True}])

    assert table.schema.names == ["b", "never", "a", "unknown", "c"]
    assert table.schema.field("never").type == pa.int64()
    assert table.schema.field("unknown").type == pa.string()
    assert table.to_pylist() == [{"b": True, "never": None, "a": 1, "unknown": None, "c": 2.5}]


async def test_no_rows_are_an_empty_table_with_the_columns_of_the_headers(
    service: FakeService, client: AsyncCoreClaw
) -> None:
    headers = [
        {"key": "title", "label": "Title", "format": "text"},
        {"key": "stars", "label": "Stars", "format": "number"},
        {"key": "open", "label": "Open?", "format": "boolean"},
        {"key": "tags", "format": "array"},
    ]
    service.faults.add(with_headers(*headers), operation="listWorkerRunResults", times=9)

    table = await client.runs.iterate_results(service.add_run(WORKER)).to_arrow(labels=True)

    types = [("Title", pa.string()), ("Stars", pa.float64()), ("Open?", pa.bool_()), ("tags", pa.string())]
    assert (table.num_rows, table.schema) == (0, pa.schema(types))


async def test_models_are_rows_of_their_members(service: FakeService, client: AsyncCoreClaw) -> None:
    run_id = service.add_run(WORKER, rows=3)

    table = await client.runs.iterate().to_arrow()
    run = await client.runs.get(run_id)

    (row,) = table.to_pylist()
    assert (row["run_id"], row["status"], row["result_count"]) == (run_id, "succeeded", 3)
    assert row["started_at"] == run.started_at
    assert table.schema.field("started_at").type == pa.timestamp("us", "UTC")
    assert row["usage"] == run.usage
    assert pa.types.is_decimal(table.schema.field("usage").type)
    assert "extra" in row


async def test_the_rest_of_a_pager_is_taken_and_nobody_reads_it_after_that(
    service: FakeService, client: AsyncCoreClaw
) -> None:
    pager = client.runs.iterate_results(service.add_run(WORKER, rows=250), page_size=100)
    async for row in pager:
        if row["rank"] == 150:
            break

    table = await pager.to_arrow()

    assert table.column("rank").to_pylist() == list(range(151, 251))
    for again in (pager.to_arrow, pager.to_arrow, pager.collect, pager.first):
        with pytest.raises(RuntimeError, match=r"to_arrow\(\) has read this pager.*: make a new one"):
            await again()


async def test_a_pager_that_was_read_to_its_end_says_so(service: FakeService, client: AsyncCoreClaw) -> None:
    pager = client.runs.iterate_results(service.add_run(WORKER, rows=5))
    await pager.collect()

    with pytest.raises(RuntimeError, match=r"read to its end: to_arrow\(\) needs a new one"):
        await pager.to_arrow()


async def test_an_error_in_the_middle_says_how_many_rows_were_read(service: FakeService, client: AsyncCoreClaw) -> None:
    run_id = service.add_run(WORKER, rows=2_500)
    pager = client.runs.iterate_results(run_id)
    await anext(aiter(pager))
    service.faults.add(faults.error(50001, 404), operation="listWorkerRunResults", after=12)

    with pytest.raises(NotFoundError) as raised:
        await pager.to_arrow()

    assert re.match(r"to_arrow\(\) had read 1,[0-9]99 rows; they can be read again$", raised.value.__notes__[-1])


async def test_a_list_that_lacks_rows_is_an_error_and_no_table(service: FakeService, client: AsyncCoreClaw) -> None:
    def promise_more(envelope: dict[str, Any]) -> dict[str, Any]:
        envelope["data"]["count"] = 40
        return envelope

    service.faults.add(faults.edit(promise_more), operation="listWorkerRunResults", times=1_000)
    pager = client.runs.iterate_results(service.add_run(WORKER, rows=30))

    with pytest.raises(PaginationError) as raised:
        await pager.to_arrow()

    assert (raised.value.collected, raised.value.expected) == (30, 40)
    assert "to_arrow() had read 30 rows" in raised.value.__notes__[-1]


BAD_ARGUMENTS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"on_conflict": "null"}, ValueError, "on_conflict must be 'string' or 'raise', not 'null'"),
    ({"nested": None}, ValueError, "nested must be 'struct' or 'json', not None"),
    ({"labels": "yes"}, TypeError, "labels must be a bool, not 'yes'"),
    ({"progress": 5}, TypeError, "progress must be True, False or a function, not 5"),
    ({"progress": anyio.sleep}, TypeError, "progress must be a plain function: nobody would await"),
    ({"dtype_backend": "numpy"}, ValueError, "dtype_backend must be 'pyarrow' or 'numpy_nullable', not 'numpy'"),
    ({"path": ""}, ValueError, "path must be the name of a file"),
    ({"path": "a\0b"}, ValueError, "path must be the name of a file"),
    ({"path": 5}, TypeError, "path must be a str or a path of str, not int"),
    ({"path": "\ud83d/rows"}, ValueError, r"path must be a name that files can have, not '\\ud83d/rows'"),
    ({"path": b"rows"}, TypeError, "path must be a str or a path of str, not bytes"),
]


@pytest.mark.parametrize(
    ("method", "options", "kind", "message"),
    [
        (method, options, kind, message)
        for method in METHODS
        for options, kind, message in BAD_ARGUMENTS
        if inspect.signature(getattr(TheAsyncPager, method)).parameters.keys() >= options.keys()
    ],
)
async def test_a_bad_argument_is_refused_before_anything_is_read(
    service: FakeService,
    client: AsyncCoreClaw,
    method: str,
    options: dict[str, Any],
    kind: type[Exception],
    message: str,
) -> None:
    if method in {"to_parquet", "to_jsonl", "to_csv"}:
        options = {"path": "rows", **options}
    run_id = service.add_run(WORKER, rows=5)

    pager = client.runs.iterate_results(run_id)
    with pytest.raises(kind, match=message):
        await getattr(pager, method)(**options)

    assert service.requests == []
    assert len(await pager.collect()) == 5


@pytest.mark.parametrize(
    ("method", "missing", "extra"),
    [
        ("to_arrow", "pyarrow", "arrow"),
        ("to_pandas", "pandas", "pandas"),
        ("to_pandas", "pyarrow", "pandas"),
        ("to_polars", "polars", "polars"),
        ("to_parquet", "pyarrow.parquet", "arrow"),
    ],
)
async def test_a_missing_extra_is_named_before_anything_is_read(
    service: FakeService, client: AsyncCoreClaw, monkeypatch: pytest.MonkeyPatch, method: str, missing: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    pager = client.runs.iterate_results(service.add_run(WORKER, rows=5))

    needed = missing.partition(".")[0]
    with pytest.raises(
        ConfigurationError, match=rf"^{method} needs {needed}, .* pip install \"coreclaw-async\[{extra}\]\""
    ):
        await getattr(pager, method)(*(["rows"] if method == "to_parquet" else []))

    assert service.requests == []
    assert len(await pager.collect()) == 5
