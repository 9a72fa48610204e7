"""Rows of a batch in Parquet files: what a pager's `to_parquet` writes, as whole and as safe as lines of JSON."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from anyio.lowlevel import checkpoint
from batch.batches import WORKER, finish, opened, specs, take_until
from batch.test_exact_numbers import NUMBERS, envelope
from batch.test_part_files import half_written

from coreclaw_async import (
    AsyncCoreClaw,
    BatchIncompleteError,
    BatchItemState,
    BatchOutcome,
    ConfigurationError,
    CoreClaw,
    PaginationError,
    ShardSpec,
    Verdict,
    events,
    run_shard_async,
)
from coreclaw_async._frames.parquet_rows import ParquetRows
from coreclaw_async._wire.answer_json import load_usual
from coreclaw_async.batch._row_files import PartFile, PartFiles
from coreclaw_async.models import Page, ResultHeader, Row
from coreclaw_async.testing import FakeService, RunScript, faults

ROWS: list[dict[str, Any]] = [
    {"title": "caf\u00e9 \u6771", "n": 1, "place": {"a": 1, "tags": ["x"]}, "late": 1, "sum": 0.1, "huge": 1},
    {"title": None, "n": 2.5, "place": {"b": None}, "only_here": True},
    {"title": "", "n": 3, "place": None, "late": "text", "huge": 2**70},
]
CHANGED = {"late": "integer, then text", "huge": "integers of more than 64 bits"}
# As they are read from a Parquet file: each has all members.
READ: list[dict[str, Any]] = [
    {
        "title": "caf\u00e9 \u6771", "n": 1.0, "place": {"a": 1, "tags": ["x"], "b": None}, "late": "1", "sum": 0.1,
        "huge": "1", "only_here": None,
    },
    {
        "title": None, "n": 2.5, "place": {"a": None, "tags": None, "b": None}, "late": None, "sum": None,
        "huge": None, "only_here": True,
    },
    {
        "title": "", "n": 3.0, "place": None, "late": "text", "sum": None, "huge": str(2**70), "only_here": None,
    },
]  # fmt: skip


def path_of(outcome: BatchOutcome) -> Path:
    assert outcome.path is not None
    return outcome.path


async def pages(*rows: Row, then: Callable[[], object] = bool) -> AsyncIterator[Page[Row]]:
    """Yield a page if there are rows, and call *then*."""
    await checkpoint()
    if rows:
        yield Page(items=rows)
    then()


async def test_a_part_file_is_what_to_parquet_writes(service: FakeService, tmp_path: Path) -> None:
    service.default_script = RunScript(rows=ROWS, row_ids=False)
    async with opened(service, "memory", count=1) as batch:
        (outcome,) = await finish(batch, output=tmp_path / "rows", output_format="parquet")
        item = await batch.get("k0")
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        with pytest.warns(UserWarning, match="'late'"):
            whole = await client.runs.iterate_results(str(item.run_id)).to_parquet(tmp_path / "whole.parquet")

    assert path_of(outcome) == tmp_path / "rows" / f"part-{item.run_id}.parquet"
    assert path_of(outcome).read_bytes() == whole.read_bytes()
    assert pq.read_table(whole).to_pylist() == READ
    assert (outcome.state, item.row_count, item.verdict) == (BatchItemState.DONE, 3, Verdict.PASS)


async def test_whatever_the_service_sends_is_written_as_numbers_and_strings_that_parquet_has(
    service: FakeService, tmp_path: Path
) -> None:
    numbers = {f"n{place}": number for place, number in enumerate([*NUMBERS, "NaN", "-Infinity"])}
    members = [f'"{name}":{number}' for name, number in numbers.items()]
    body = envelope(f'[{{{",".join(members)},"half":"\\ud83d","nested":[{{"c":[{NUMBERS[5]},"x\\ud83d"]}}]}}]')
    service.script_next(RunScript(rows=1))
    service.faults.add(faults.reply(body), operation="listWorkerRunResults", times=1_000)
    async with opened(service, "memory", count=1) as batch:
        (outcome,) = await finish(batch, output=tmp_path, output_format="parquet")
        ((_, row),) = await batch.rows().collect()

    assert outcome.state is BatchItemState.DONE
    for name, number in numbers.items():
        usual = load_usual(number.encode())
        is_long = isinstance(usual, int) and abs(usual) >= 2**63
        assert repr(row[name]) == repr(str(usual) if is_long else usual), number
    assert row["half"] == "\\ud83d"
    assert json.loads(row["nested"]) == [{"c": [NUMBERS[5], "x\ud83d"]}]


async def test_columns_that_become_strings_are_told_by_events_and_once_in_the_log(
    service: FakeService, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service.default_script = RunScript(rows=ROWS, row_ids=False)
    seen: list[events.Event] = []
    async with opened(service, "memory", count=2, on_event=seen.append) as batch:
        outcomes = await finish(batch, output=tmp_path, output_format="parquet")

    told = [event for event in seen if isinstance(event, events.BatchColumnsChanged)]
    assert {(event.batch, event.key, event.run_id, event.path) for event in told} == {
        ("nightly", outcome.key, outcome.run_id, outcome.path) for outcome in outcomes
    }
    assert [event.columns for event in told] == [CHANGED, CHANGED]
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "'late' (integer, then text); 'huge' (integers of more than 64 bits)" in record.message
    assert "the batch 'nightly'" in record.message


async def test_columns_without_a_conflict_are_not_told(
    service: FakeService, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[events.Event] = []
    async with opened(service, "memory", count=1, on_event=seen.append) as batch:
        await finish(batch, output=tmp_path, output_format="parquet")

    assert not [event for event in seen if isinstance(event, events.BatchColumnsChanged)]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_rows_are_read_from_parquet_files_and_the_manifest_names_them(
    service: FakeService, tmp_path: Path
) -> None:
    service.default_script = RunScript(rows=ROWS, row_ids=False)
    async with opened(service, "memory", count=2) as batch:
        await finish(batch, output=tmp_path / "rows", output_format="parquet")
        before = len(service.requests)
        rows = await batch.rows().collect()
        table = await batch.to_arrow()
        cells = await batch.to_csv(tmp_path / "rows.csv")
        items = await batch.items().collect()
        assert len(service.requests) == before

    assert rows == [(key, row) for key in ("k0", "k1") for row in READ]
    assert table.drop_columns(["key"]).slice(0, 3).equals(pq.read_table(items[0].path))
    assert cells.read_text("utf-8").count("\n") == 7
    lines = [json.loads(line) for line in (tmp_path / "rows" / "manifest.jsonl").read_bytes().splitlines()]
    assert [(line["key"], line["file"], line["rows"]) for line in lines] == [
        (item.key, f"part-{item.run_id}.parquet", 3) for item in items
    ]


async def test_files_of_both_kinds_stand_side_by_side_and_each_item_has_its_own(
    service: FakeService, tmp_path: Path
) -> None:
    service.default_script = RunScript(rows=[{"a": 1}, {"b": [1, None]}], row_ids=False)
    async with opened(service, "memory", count=2) as batch:
        await finish(batch, output=tmp_path)
        await batch.plan(specs(2, first=2))
        await finish(batch, output=tmp_path, output_format="parquet")
        items = await batch.items().collect()
        rows = await batch.rows().collect()
        (tmp_path / f"part-{items[0].run_id}.parquet").write_text("not the file of this item")
        (tmp_path / f"part-{items[3].run_id}.jsonl").write_text("nor this")
        assert await batch.rows().collect() == rows

    assert [item.path and item.path.suffix for item in items] == [".jsonl", ".jsonl", ".parquet", ".parquet"]
    assert rows[:2] == [("k0", {"a": 1}), ("k0", {"b": [1, None]})]
    assert rows[4:6] == [("k2", {"a": 1, "b": None}), ("k2", {"a": None, "b": [1, None]})]
    assert service.runs_created == 4


async def test_what_ended_without_a_file_and_what_has_lost_its_file_get_one(
    service: FakeService, tmp_path: Path
) -> None:
    async with opened(service, "memory", count=1) as batch:
        await finish(batch)
        assert await finish(batch, output=tmp_path, output_format="parquet") == []
        (path,) = tmp_path.glob("part-*.parquet")
        path.unlink()
        await finish(batch, output=tmp_path, output_format="parquet")
        assert path.is_file()
        assert len(await batch.rows().collect()) == 3
    assert service.runs_created == 1


async def test_a_run_without_rows_has_a_file(service: FakeService, tmp_path: Path) -> None:
    service.default_script = RunScript(rows=0)
    async with opened(service, "memory", count=1) as batch:
        (outcome,) = await finish(batch, output=tmp_path, output_format="parquet")
        item = await batch.get("k0")
        assert await batch.rows().collect() == []

    assert pq.read_metadata(path_of(outcome)).num_rows == 0
    assert (item.row_count, item.verdict) == (0, Verdict.EMPTY)


async def test_a_file_has_the_columns_that_the_service_names_in_its_order(tmp_path: Path) -> None:
    headers = [ResultHeader(key="b", label="B", format="integer"), ResultHeader(key="a", label="A")]

    empty = await PartFiles(tmp_path, "parquet").write("1", pages(), lambda: headers)
    full = await PartFiles(tmp_path, "parquet").write("2", pages({"c": 1, "a": "x"}), lambda: headers)

    assert pq.read_schema(empty.path) == pa.schema({"b": pa.int64(), "a": pa.string()})
    assert pq.read_table(full.path).to_pylist() == [{"b": None, "a": "x", "c": 1}]


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def garbled(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4:400] = bytes(396)
    path.write_bytes(data)


def as_lines(path: Path) -> None:
    path.write_text('{"title": "a"}\n' * 1_200)


def rewritten(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def rewrite(path: Path) -> None:
        pq.write_table(change(pq.read_table(path)), path)

    return rewrite


def with_column(name: str, values: Any) -> Callable[[Any], Any]:
    return lambda table: table.append_column(name, pa.array([values] * table.num_rows))


@pytest.mark.parametrize(
    ("damage", "how"),
    [
        (emptied, r"cannot be read as Parquet \(.*size is 0 bytes"),
        (truncated, r"cannot be read as Parquet \(.*magic bytes"),
        (garbled, r"cannot be read as Parquet \("),
        (as_lines, r"cannot be read as Parquet \(.*magic bytes"),
        (rewritten(lambda table: table.slice(0, 1_100)), "has 1,100 rows, not the 1,200 that were written"),
        (rewritten(lambda table: pa.concat_tables([table, table])), "has 2,400 rows, not the 1,200 that were written"),
        (rewritten(lambda table: table.slice(0, 0)), "has 0 rows, not the 1,200 that were written"),
        (rewritten(with_column("raw", b"x")), "has a column 'raw' of type binary, which rows do not have"),
        (rewritten(with_column("in", [{"b": b"x"}])), "has a column 'in' of type list<.*, which rows do not have"),
    ],
)
async def test_a_damaged_or_foreign_file_is_never_taken_for_the_rows_of_its_item(
    service: FakeService, tmp_path: Path, damage: Callable[[Path], None], how: str
) -> None:
    async with opened(service, "memory", count=1) as batch:
        service.default_script = RunScript(rows=1_200)
        await finish(batch, output=tmp_path, output_format="parquet")
        item = await batch.get("k0")
        assert item.path is not None
        damage(item.path)
        pager = batch.rows()
        for _ in range(2):  # No page is left out by asking again.
            with pytest.raises(PaginationError, match=how) as raised:
                await pager.collect()
        item.path.unlink()
        with pytest.raises(PaginationError, match=f"was removed while it was read.*{item.run_id}"):
            await pager.collect()
        assert len(await batch.rows().collect()) == 1_200

    assert (raised.value.run_id, raised.value.expected) == (item.run_id, 1_200)
    assert f"the file {item.path} of item 'k0' " in str(raised.value)


async def test_a_file_that_another_program_has_written_again_is_as_good(service: FakeService, tmp_path: Path) -> None:
    service.default_script = RunScript(rows=ROWS, row_ids=False)
    async with opened(service, "memory", count=1) as batch:
        (outcome,) = await finish(batch, output=tmp_path, output_format="parquet")
        table = pq.read_table(path_of(outcome))
        place = table.column_names.index("title")
        changed = table.set_column(place, "title", table["title"].cast(pa.large_string()).dictionary_encode())
        pq.write_table(changed, path_of(outcome), row_group_size=1)
        assert [row for _, row in await batch.rows().collect()] == READ


def test_the_same_place_has_the_same_rows_whatever_was_read_before(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"n": list(range(10))}), path, row_group_size=4)
    rows = ParquetRows(path)

    for place in (0, 0, 9, 3, 4, 10, 8, 0):
        found, after = rows.read(place, 3)
        most = min(place + 3, 4 * (place // 4) + 4, 10)
        assert [row["n"] for row in found] == list(range(place, most))
        assert after == most
    path.unlink()
    with pytest.raises(FileNotFoundError):
        rows.read(4, 3)


async def test_a_file_that_may_not_be_read_is_no_damaged_one(service: FakeService, tmp_path: Path) -> None:
    async with opened(service, "memory", count=1) as batch:
        (outcome,) = await finish(batch, output=tmp_path, output_format="parquet")
        pq.write_table(pq.read_table(path_of(outcome)), path_of(outcome), row_group_size=1)
        pager = batch.rows()
        await pager.first()
        path_of(outcome).unlink()
        path_of(outcome).symlink_to(path_of(outcome))
        with pytest.raises(OSError, match="symbolic links"):
            await pager.collect()


@pytest.mark.parametrize("value", ["csv", "Parquet", "", None, 3, ["parquet"], float("nan")])
async def test_a_format_that_there_is_not_is_an_error_before_anything_is_sent(
    service: FakeService, tmp_path: Path, value: Any
) -> None:
    message = "output_format must be 'jsonl' or 'parquet', not "
    async with opened(service, "memory", count=1) as batch:
        with pytest.raises(ValueError, match=message):
            batch.run(output=tmp_path / "rows", output_format=value)
        with pytest.raises(ValueError, match=message):
            ShardSpec(batch="nightly", ledger="memory", output=tmp_path, output_format=value)
        assert service.requests == []
    assert not (tmp_path / "rows").exists()


async def test_a_format_without_a_folder_is_an_error(service: FakeService) -> None:
    async with opened(service, "memory", count=1) as batch:
        with pytest.raises(ValueError, match="output_format='parquet' needs output, the folder"):
            batch.run(output_format="parquet")
        with pytest.raises(ValueError, match="output_format='parquet' needs output, the folder"):
            ShardSpec(batch="nightly", ledger="memory", output_format="parquet")
        assert len(await finish(batch, output_format="jsonl")) == 1  # As nothing is given.


async def test_another_format_is_another_run(service: FakeService, tmp_path: Path) -> None:
    async with opened(service, "memory", count=2) as batch:
        outcomes = batch.run(output=tmp_path, output_format="parquet")
        await anext(outcomes)
        with pytest.raises(RuntimeError, match="with other arguments"):
            batch.run(output=tmp_path)


async def test_a_missing_extra_is_named_before_anything_is_sent(
    service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = r"^output_format='parquet' needs pyarrow, .*pip install \"coreclaw-async\[arrow\]\""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    async with opened(service, "memory", count=1) as batch:
        with pytest.raises(ConfigurationError, match=needs):
            batch.run(output=tmp_path / "rows", output_format="parquet")
        assert service.requests == []
    assert not (tmp_path / "rows").exists()


async def test_a_broken_library_is_found_before_anything_is_sent(
    service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    async with opened(service, "memory", count=1) as batch:
        with pytest.raises(ConfigurationError, match=r"^output_format='parquet' needs pyarrow"):
            await finish(batch, output=tmp_path / "rows", output_format="parquet")
        assert service.requests == []


async def test_reading_a_parquet_file_without_the_extra_names_file_and_extra(
    service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(service, "memory", count=1) as batch:
        (outcome,) = await finish(batch, output=tmp_path, output_format="parquet")
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(ConfigurationError, match=r"of item 'k0' needs pyarrow, .*\[arrow\]") as raised:
            await batch.rows().collect()
    assert str(outcome.path) in str(raised.value)


async def test_a_shard_without_the_extra_starts_nothing(
    service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = f"sqlite:///{tmp_path / 'runs.db'}"
    async with opened(service, ledger, count=1):
        pass
    monkeypatch.setenv("CORECLAW_API_KEY", service.api_key)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    spec = ShardSpec(batch="nightly", ledger=ledger, output=tmp_path / "rows", output_format="parquet")
    with pytest.raises(ConfigurationError, match="output_format='parquet' needs pyarrow"):
        await run_shard_async(spec)

    async with opened(service, ledger) as batch:
        assert (await batch.get("k0")).state is BatchItemState.PLANNED


async def test_rows_that_no_table_holds_leave_their_item_open_and_are_not_waited_for(
    service: FakeService, tmp_path: Path
) -> None:
    service.script_next(RunScript(rows=[{}, {}], row_ids=False))
    async with opened(service, "memory", count=2) as batch:
        began = service.clock.monotonic()
        with pytest.raises(
            BatchIncompleteError, match="its rows could not be written: output_format='parquet': "
        ) as no:
            await finish(batch, output=tmp_path, output_format="parquet")
        assert service.clock.monotonic() - began < 60
        assert (await batch.get("k0")).state is BatchItemState.SUBMITTED
        assert [path.suffix for path in tmp_path.glob("*part*")] == [".parquet"]  # Of the other item.
        await finish(batch, output=tmp_path)
        found = [row for key, row in await batch.rows().collect() if key == "k0"]

    assert "files of output_format='jsonl' hold any rows" in no.value.reasons["k0"]
    assert found == [{}, {}]
    assert service.runs_created == 2


async def test_rows_that_do_not_add_up_are_not_written(service: FakeService, tmp_path: Path) -> None:
    def cut(envelope: dict[str, Any]) -> dict[str, Any]:
        return {**envelope, "data": {**envelope["data"], "list": envelope["data"]["list"][:-1]}}

    service.faults.add(faults.edit(cut), operation="listWorkerRunResults", times=1_000)
    async with opened(service, "memory", count=1, patience=0.0) as batch:
        with pytest.raises(BatchIncompleteError, match="its rows could not be read"):
            await finish(batch, output=tmp_path, output_format="parquet")
        assert list(tmp_path.glob("*part*")) == []
        service.faults.clear()
        (outcome,) = await finish(batch, output=tmp_path, output_format="parquet")

    assert pq.read_metadata(path_of(outcome)).num_rows == 3
    assert service.runs_created == 1


async def test_a_file_that_was_being_written_when_its_process_stopped_is_written_by_the_next(
    service: FakeService, tmp_path: Path
) -> None:
    ledger = f"sqlite:///{tmp_path / 'runs.db'}"
    folder = tmp_path / "rows"
    service.default_script = RunScript(rows=250)

    def is_reading_rows() -> bool:
        return any(request.operation == "listWorkerRunResults" for request in service.requests)

    async with opened(service, ledger, count=1) as batch:
        await take_until(batch.run(output=folder, output_format="parquet"), is_reading_rows)
    left = half_written(folder, f"part-{next(iter(service.runs))}.parquet")
    async with opened(service, ledger) as batch:
        (outcome,) = await finish(batch, output=folder, output_format="parquet")

    assert not left.exists()
    assert {path.name for path in folder.iterdir()} == {path_of(outcome).name, "manifest.jsonl"}
    assert pq.read_metadata(path_of(outcome)).num_rows == 250
    assert service.runs_created == 1


async def test_a_file_that_stands_from_before_its_process_was_killed_is_written_again(
    service: FakeService, tmp_path: Path
) -> None:
    service.default_script = RunScript(duration=5)
    async with opened(service, "memory", count=1) as batch:
        stream = batch.run(output=tmp_path, output_format="parquet")
        await take_until(stream, lambda: service.runs)
        old = tmp_path / f"part-{next(iter(service.runs))}.parquet"
        old.write_bytes(b"whole, but not of a done item")
        old.chmod(0o640)
        outcomes = [outcome async for outcome in stream]

    assert [outcome.path for outcome in outcomes] == [old]
    assert pq.read_metadata(old).num_rows == 3
    assert old.stat().st_mode & 0o777 == 0o640


async def test_a_file_that_another_process_wrote_and_tidied_up_after_is_as_good(tmp_path: Path) -> None:
    path = tmp_path / "part-1.parquet"

    def tidy_up() -> None:
        path.write_bytes(b"theirs")
        for found in tmp_path.glob(".*"):
            found.unlink()

    files = PartFiles(tmp_path, "parquet")
    await files.prepare()

    assert await files.write("1", pages({"a": "\ud83d"}, then=tidy_up)) == PartFile(
        path, 1, {"a": "lone surrogates, which UTF-8 cannot encode"}
    )
    assert path.read_bytes() == b"theirs"


async def test_rows_that_break_off_leave_no_file(tmp_path: Path) -> None:
    def fail() -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await PartFiles(tmp_path, "parquet").write("1", pages({"a": 1}, then=fail))

    assert list(tmp_path.iterdir()) == []


def test_the_blocking_batch_writes_them_too(tmp_path: Path) -> None:
    service = FakeService()
    with (
        CoreClaw(service.api_key, transport=service, clock=service.clock) as client,
        client.batch("nightly", ledger="memory") as batch,
    ):
        batch.plan(specs(2, WORKER))
        outcomes = list(batch.run(output=tmp_path, output_format="parquet"))
        assert [path_of(outcome).suffix for outcome in outcomes] == [".parquet"] * 2
        assert len(batch.rows().collect()) == 6
        assert batch.to_arrow().num_rows == 6
