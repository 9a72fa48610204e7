"""All rows of a batch at once, each with the key of its item, from the part files or the service."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from batch.batches import finish, opened

from coreclaw_async import CoreClaw, RunSpec
from coreclaw_async.testing import FakeService, RunScript

WORKER = "coreclaw/google-maps-scraper"


async def test_rows_have_the_keys_of_their_items(service: FakeService, ledger: str, tmp_path: Path) -> None:
    service.next_script = RunScript(rows=[{"key": "own", "n": 1}, {"n": 2}])
    async with opened(service, ledger, count=2) as batch:
        await finish(batch)
        table = await batch.to_arrow()
        bare = await batch.to_arrow(with_key=False)
        parquet = await batch.to_parquet(tmp_path / "rows.parquet", nested="json")
        lines = await batch.to_jsonl(tmp_path / "rows.jsonl")
        rows = await batch.to_jsonl(tmp_path / "bare.jsonl", with_key=False)
        cells = await batch.to_csv(tmp_path / "rows.csv", labels=True)
        pandas = await batch.to_pandas(dtype_backend="numpy_nullable")
        polars = await batch.to_polars()

    assert table.column_names[:3] == ["item_key", "key", "n"]
    assert table.column("item_key").to_pylist() == ["k0", "k0", "k1", "k1", "k1"]
    assert table.column("key").to_pylist() == ["own", None, None, None, None]
    assert "item_key" not in bare.column_names
    assert bare.num_rows == table.num_rows == len(pandas) == polars.height == 5
    assert pq.read_table(parquet).column("item_key").to_pylist() == table.column("item_key").to_pylist()
    first = json.loads(lines.read_text().splitlines()[0])
    assert (first["key"], first["row"]["key"], first["row"]["n"]) == ("k0", "own", 1)
    assert json.loads(rows.read_text().splitlines()[0]) == first["row"]
    assert cells.read_text().splitlines()[1].startswith("k0,own,1,")


async def test_rows_of_part_files_are_the_same(service: FakeService, ledger: str, tmp_path: Path) -> None:
    async with opened(service, ledger, count=2) as batch:
        await finish(batch, output=tmp_path)
        from_files = await batch.to_arrow()
        for path in tmp_path.glob("part-*"):
            path.unlink()
        from_service = await batch.to_arrow()

    assert from_files.num_rows == 6
    assert from_files.select(from_service.column_names).to_pylist() == from_service.to_pylist()


async def test_a_batch_without_rows_has_its_keys_as_a_column(service: FakeService, ledger: str, tmp_path: Path) -> None:
    async with opened(service, ledger, count=1) as batch:
        table = await batch.to_arrow()
        cells = await batch.to_csv(tmp_path / "rows.csv")
        bare = await batch.to_csv(tmp_path / "bare.csv", with_key=False)

    assert (table.column_names, table.num_rows) == (["key"], 0)
    assert (cells.read_text(), bare.read_text()) == ("key\n", "")


async def test_a_bad_argument_is_refused(service: FakeService, ledger: str) -> None:
    async with opened(service, ledger, count=1) as batch:
        with pytest.raises(TypeError, match="with_key must be a bool, not 'no'"):
            await batch.to_arrow(with_key="no")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="nested must be"):
            await batch.to_polars(nested="list")  # type: ignore[arg-type]


def test_a_blocking_batch_has_them_too(service: FakeService, tmp_path: Path) -> None:
    with (
        CoreClaw(service.api_key, transport=service, clock=service.clock) as client,
        client.batch("nightly", ledger="memory") as batch,
    ):
        batch.plan([RunSpec(key="a", worker_id=WORKER, input={"keywords": ["a"]})])
        list(batch.run())
        assert batch.to_arrow().column("key").to_pylist() == ["a"] * 3
        assert len(batch.to_pandas()) == batch.to_polars().height == 3
        assert batch.to_parquet(tmp_path / "rows.parquet").is_file()
        assert batch.to_jsonl(tmp_path / "rows.jsonl").read_text().count("\n") == 3
        assert batch.to_csv(tmp_path / "rows.csv").read_text().count("\n") == 4
