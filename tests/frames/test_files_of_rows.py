"""Files of rows are whole or not there, whatever happens meanwhile, and leave nothing beside them."""

from __future__ import annotations

import csv
import json
import math
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pyarrow.parquet as pq
import pytest
from either_client import AsyncCoreClaw
from frames.made_pagers import pager_of
from waiting import join, until

from coreclaw_async import ColumnConflictError, CoreClawError, NotFoundError, Page, ResultHeader, ResultPage
from coreclaw_async.testing import FakeService, faults

WORKER = "coreclaw/google-maps-scraper"
METHODS = ("to_parquet", "to_jsonl", "to_csv")
ROW_ID = "__coreclaw_data_id__"
ODD: list[dict[str, Any]] = [
    {"a": "é😀", "b": 1, "c": [1, {"x": None}]},
    {"a": 'say "hi",\r\nyou', "b": 2.5, "d": True},
    {"a": None, "b": 2**70, "e": {}},
    {},
    {"a": "", "b": -0.0},
]


def without_id(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != ROW_ID}


async def test_lines_of_json_are_the_rows(service: FakeService, client: AsyncCoreClaw, tmp_path: Path) -> None:
    path = await client.runs.iterate_results(service.add_run(WORKER, rows=ODD)).to_jsonl(tmp_path / "rows.jsonl")

    lines = path.read_text("utf-8").splitlines()
    assert [without_id(json.loads(line)) for line in lines] == ODD
    assert "é😀" in lines[0]


async def test_csv_has_all_columns_in_each_row(service: FakeService, client: AsyncCoreClaw, tmp_path: Path) -> None:
    path = await client.runs.iterate_results(service.add_run(WORKER, rows=ODD)).to_csv(tmp_path / "rows.csv")

    with path.open(encoding="utf-8", newline="") as file:
        head, *rows = list(csv.reader(file))
    assert head == ["a", "b", "c", "d", "e", ROW_ID]
    assert [row[:5] for row in rows] == [
        ["é😀", "1", '[1,{"x":null}]', "", ""],
        ['say "hi",\r\nyou', "2.5", "", "true", ""],
        ["", str(2**70), "", "", "{}"],
        ["", "", "", "", ""],
        ["", "-0.0", "", "", ""],
    ]


async def test_what_is_no_json_and_no_utf_8_is_written_as_described(tmp_path: Path) -> None:
    rows = [{"n": math.nan, "t": "\ud83d!", "in": ["\udc00", math.inf], "\udc01": 1}, {"n": 1.5, "t": "é"}]

    path = await pager_of(Page(items=rows)).to_jsonl(tmp_path / "rows.jsonl")
    with pytest.warns(UserWarning, match=r"^to_csv: lone surrogates, .* in these columns: 't'$"):
        table = await pager_of(Page(items=rows)).to_csv(tmp_path / "rows.csv")
    with pytest.warns(
        UserWarning, match=r"^to_parquet: .*: 't' \(lone surrogates, .*\); 'in' \(nested values that"
    ) as told:
        parquet = await pager_of(Page(items=rows)).to_parquet(tmp_path / "rows.parquet")

    first, second = path.read_text("utf-8").splitlines()
    assert json.loads(first) == {"n": None, "t": "\ud83d!", "in": ["\udc00", None], "\udc01": 1}
    assert second == '{"n":1.5,"t":"é"}'
    assert table.read_text("utf-8").splitlines() == [
        "n,t,in,\\udc01",
        ',\\ud83d!,"[""\\udc00"",null]",1',
        "1.5,é,,",
    ]
    assert [warning.filename for warning in told] == [__file__]
    found = pq.read_table(parquet)
    assert found.column_names == ["n", "t", "in", "\\udc01"]
    assert found.column("t").to_pylist() == ["\\ud83d!", "é"]
    assert found.column("in").to_pylist() == ['["\\udc00",null]', None]
    assert math.isnan(found.column("n").to_pylist()[0])


async def test_labels_name_the_columns_and_repeated_ones_have_their_keys_too(tmp_path: Path) -> None:
    headers = [
        ResultHeader(key="a", label="Name"),
        ResultHeader(key="b", label="Name"),
        ResultHeader(key="c", label=""),
        ResultHeader(key="d", label="e"),
        ResultHeader(key="Name (a)", label=""),
    ]
    page = ResultPage(items=({"a": 1, "b": 2, "c": 3, "d": 4, "e": 5},), headers=headers)

    plain = await pager_of(page).to_csv(tmp_path / "plain.csv")
    labelled = await pager_of(page).to_csv(tmp_path / "labelled.csv", labels=True)
    table = await pager_of(page).to_arrow(labels=True)

    assert plain.read_text("utf-8").splitlines()[0] == "a,b,c,d,Name (a),e"
    names = ["Name (a) 2", "Name (b)", "c", "e (d)", "Name (a)", "e (e)"]
    assert labelled.read_text("utf-8").splitlines()[0].split(",") == names
    assert table.column_names == names


async def test_keys_that_are_written_alike_stay_two_columns(tmp_path: Path) -> None:
    table = await pager_of(Page(items=[{"\ud83d": 1, "\\ud83d": 2}])).to_arrow()

    assert [column.to_pylist() for column in table.columns] == [[1], [2]]
    assert len(set(table.column_names)) == 2


@pytest.mark.parametrize("method", METHODS)
async def test_rows_without_any_member_are_an_error_where_a_table_would_lose_them(tmp_path: Path, method: str) -> None:
    pager = pager_of(Page(items=[{}, {}]))
    if method == "to_jsonl":
        path = await pager.to_jsonl(tmp_path / "rows")
        assert path.read_text() == "{}\n{}\n"
        return

    with pytest.raises(CoreClawError, match=f"{method}: there are rows, but none has a member"):
        await getattr(pager, method)(tmp_path / "rows")
    assert list(tmp_path.iterdir()) == []


async def test_rows_whose_members_are_data_are_refused_before_they_fill_the_memory(tmp_path: Path) -> None:
    rows = [{f"{row}-{number}": 1 for number in range(100)} for row in range(51)]

    with pytest.raises(CoreClawError, match=r"^to_parquet: the rows have more than 5,000 different members, .* JSON"):
        await pager_of(Page(items=rows)).to_parquet(tmp_path / "rows.parquet")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("method", METHODS)
async def test_nothing_at_all_is_a_file_without_rows(tmp_path: Path, method: str) -> None:
    path = await getattr(pager_of(), method)(tmp_path / "rows")

    assert path.is_file()
    if method == "to_parquet":
        assert pq.read_table(path).num_rows == 0
    else:
        assert path.read_bytes() == b""


@pytest.mark.parametrize("method", METHODS)
async def test_an_error_in_the_middle_leaves_the_old_file_and_nothing_else(
    service: FakeService, client: AsyncCoreClaw, tmp_path: Path, method: str
) -> None:
    path = tmp_path / "rows"
    path.write_text("old")
    service.faults.add(faults.error(50001, 404), operation="listWorkerRunResults", after=12)

    with pytest.raises(NotFoundError) as raised:
        await getattr(client.runs.iterate_results(service.add_run(WORKER, rows=2_000)), method)(path)

    assert f"{method}() had read 1," in raised.value.__notes__[-1]
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.async_client_only
@pytest.mark.parametrize("method", METHODS)
async def test_cancellation_leaves_the_old_file_and_nothing_else(
    service: FakeService, client: AsyncCoreClaw, tmp_path: Path, method: str
) -> None:
    path = tmp_path / "rows"
    path.write_text("old")
    service.faults.add(faults.stall(), operation="listWorkerRunResults", after=12)
    run_id = service.add_run(WORKER, rows=2_000)

    async with anyio.create_task_group() as group:
        group.start_soon(getattr(client.runs.iterate_results(run_id), method), path)
        await until(
            lambda: sum(request.operation == "listWorkerRunResults" for request in service.requests) >= 13, "the pages"
        )
        assert len(list(tmp_path.iterdir())) == 2
        group.cancel_scope.cancel()

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


async def test_a_conflict_that_is_an_error_leaves_the_old_file(
    service: FakeService, client: AsyncCoreClaw, tmp_path: Path
) -> None:
    path = tmp_path / "rows.parquet"
    path.write_text("old")
    rows: list[dict[str, Any]] = [{"a": 1}, {"a": "x"}]

    with pytest.raises(ColumnConflictError):
        await client.runs.iterate_results(service.add_run(WORKER, rows=rows)).to_parquet(path, on_conflict="raise")

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("method", METHODS)
async def test_a_replaced_file_keeps_its_mode_and_a_link_stays_one(
    service: FakeService, client: AsyncCoreClaw, tmp_path: Path, method: str
) -> None:
    path, link = tmp_path / "rows", tmp_path / "link"
    path.write_text("old")
    path.chmod(0o640)
    link.symlink_to(path)

    await getattr(client.runs.iterate_results(service.add_run(WORKER, rows=3)), method)(link)

    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert path.stat().st_size > 20


@pytest.mark.parametrize("method", METHODS)
async def test_a_path_that_cannot_be_written_is_refused_before_anything_is_read(
    service: FakeService, client: AsyncCoreClaw, tmp_path: Path, method: str
) -> None:
    run_id = service.add_run(WORKER, rows=3)
    pager = client.runs.iterate_results(run_id)
    for path in (tmp_path, tmp_path / "none" / "rows"):
        with pytest.raises(OSError, match=str(tmp_path)):
            await getattr(pager, method)(path)

    assert service.requests == []
    assert len(await pager.collect()) == 3


@pytest.mark.async_client_only
async def test_a_pipe_is_written_to_once_the_file_is_whole(
    service: FakeService, client: AsyncCoreClaw, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    thread = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)

    async with anyio.create_task_group() as group:
        group.start_soon(client.runs.iterate_results(service.add_run(WORKER, rows=3)).to_jsonl, pipe)
        await anyio.sleep(0.05)  # It finds nobody who reads.
        thread.start()
    join(thread)

    assert read[0].count(b"\n") == 3


class Watched(dict[str, Any]):
    """A row that remembers the threads which read it."""

    def __init__(self, row: dict[str, Any]) -> None:
        super().__init__(row)
        self.readers = set[int]()

    def __iter__(self) -> Iterator[str]:
        self.readers.add(threading.get_ident())
        return super().__iter__()

    def items(self) -> Any:
        self.readers.add(threading.get_ident())
        return super().items()

    def get(self, *arguments: Any) -> Any:
        self.readers.add(threading.get_ident())
        return super().get(*arguments)


@pytest.mark.async_client_only
@pytest.mark.parametrize("method", ["to_arrow", "to_pandas", "to_polars", *METHODS])
async def test_no_row_is_converted_in_the_thread_of_the_event_loop(tmp_path: Path, method: str) -> None:
    row = Watched({"title": "x", "n": 5, "tags": ["a", "b"], "where": {"lat": 1.5}})

    await getattr(pager_of(Page(items=[row] * 1_000)), method)(*([tmp_path / "rows"] if method in METHODS else []))

    assert row.readers
    assert threading.get_ident() not in row.readers
