"""The manifest: one line of plain JSON for each item, whole or not at all, in little memory."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import textwrap
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest
from named_pipes import late_reader
from waiting import join, wait_until

from coreclaw_async import BatchItem, BatchItemState
from coreclaw_async.batch._manifest import write_manifest
from coreclaw_async.models import Verdict


def item(key: str, **members: Any) -> BatchItem:
    return BatchItem(batch="nightly", key=key, position=0, worker_id="a/b", input_sha256="0" * 64, **members)


async def each(items: Iterable[BatchItem]) -> AsyncIterator[BatchItem]:
    for one in items:
        yield one


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


async def test_each_item_has_a_line_in_their_order(tmp_path: Path) -> None:
    done = item(
        "caf\u00e9 \u2028",
        state=BatchItemState.DONE,
        run_id="run-1",
        result_count=7,
        row_count=5,
        verdict=Verdict.ERROR_ROWS,
        cost=Decimal("0.10000000000000000001"),
        path=tmp_path / "part-run-1.jsonl",
    )
    refused = item("k1", state=BatchItemState.REJECTED, error='no\nsuch "worker"')

    path = await write_manifest(tmp_path, each([done, refused, item("k2")]))

    assert path == tmp_path / "manifest.jsonl"
    assert path.read_bytes().isascii()
    assert lines_of(path) == [
        {
            "key": "caf\u00e9 \u2028",
            "run_id": "run-1",
            "state": "done",
            "rows": 5,
            "verdict": "error_rows",
            "cost": "0.10000000000000000001",
            "file": "part-run-1.jsonl",
            "error": None,
        },
        {
            "key": "k1",
            "run_id": None,
            "state": "rejected",
            "rows": None,
            "verdict": None,
            "cost": None,
            "file": None,
            "error": 'no\nsuch "worker"',
        },
        {
            "key": "k2",
            "run_id": None,
            "state": "planned",
            "rows": None,
            "verdict": None,
            "cost": None,
            "file": None,
            "error": None,
        },
    ]


async def test_the_folder_is_made_and_a_batch_without_items_has_no_lines(tmp_path: Path) -> None:
    path = await write_manifest(tmp_path / "a" / "b", each([]))

    assert path == tmp_path / "a" / "b" / "manifest.jsonl"
    assert path.read_bytes() == b""


async def test_files_are_named_from_the_folder_where_they_lie_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    (folder / "day").mkdir(parents=True)
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    paths = [
        folder / "part-1.jsonl",
        folder / "day" / "part-2.jsonl",
        folder / "day" / ".." / "part-3.jsonl",
        Path("out/part-4.jsonl"),
        tmp_path / "link" / "part-5.jsonl",
        tmp_path / "output" / "part-6.jsonl",
        folder / ".." / "part-7.jsonl",
        Path("part-8.jsonl"),
        folder / os.fsdecode(b"part-\xff.jsonl"),
    ]

    async def files(of: Path) -> list[str]:
        path = await write_manifest(of, each(item(f"k{place}", path=path) for place, path in enumerate(paths)))
        return [line["file"] for line in lines_of(path)]

    within = ["part-1.jsonl", "day/part-2.jsonl", "part-3.jsonl", "part-4.jsonl"]
    outside = [str(path) for path in paths[5:8]]
    by_link = str(tmp_path / "link" / "part-5.jsonl")
    assert await files(folder) == [*within, by_link, *outside, "part-\udcff.jsonl"]
    assert await files(Path("out")) == [*within, by_link, *outside, "part-\udcff.jsonl"]
    assert await files(tmp_path / "link") == [*within, "part-5.jsonl", *outside, "part-\udcff.jsonl"]


async def test_a_manifest_that_is_there_is_replaced_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    path.touch(0o600)

    await write_manifest(tmp_path, each([item("k0")]))

    assert [line["key"] for line in lines_of(path)] == ["k0"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_manifest_may_be_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    os.mkfifo(path)
    got: list[bytes] = []
    reader = late_reader(path, got)
    keys = [f"k{number}" for number in range(2_000)]

    await write_manifest(tmp_path, each(map(item, keys)))

    join(reader)
    assert [json.loads(line)["key"] for line in got[0].splitlines()] == keys


async def test_a_manifest_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").symlink_to("/dev/full")

    with pytest.raises(OSError, match=r"No space left on device: '.*/manifest\.jsonl'$"):
        await write_manifest(tmp_path, each([item("k0")]))


async def test_what_breaks_on_the_way_leaves_the_manifest_that_was_there(tmp_path: Path) -> None:
    await write_manifest(tmp_path, each([item("before")]))

    async def broken() -> AsyncIterator[BatchItem]:
        for number in range(2_500):
            yield item(f"k{number}")
        raise LookupError("the ledger is gone")

    with pytest.raises(LookupError, match="the ledger is gone"):
        await write_manifest(tmp_path, broken())

    assert [file.name for file in tmp_path.iterdir()] == ["manifest.jsonl"]
    assert [line["key"] for line in lines_of(tmp_path / "manifest.jsonl")] == ["before"]


async def test_a_cancelled_manifest_leaves_nothing(tmp_path: Path) -> None:
    with anyio.move_on_after(60) as scope:

        async def slow() -> AsyncIterator[BatchItem]:
            yield item("k0")
            scope.cancel()
            await anyio.sleep_forever()

        await write_manifest(tmp_path, slow())

    assert scope.cancelled_caught
    assert not list(tmp_path.iterdir())


async def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(OSError, match="file"):
        await write_manifest(tmp_path / "file" / "out", each([]))


@pytest.mark.endurance
async def test_many_items_take_little_memory(tmp_path: Path) -> None:
    count = 10_000
    tracemalloc.start()
    try:
        path = await write_manifest(tmp_path, each(item(f"k{number}", error="x" * 600) for number in range(count)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert path.stat().st_size > 6_000_000
    assert peak < 3_500_000
    with path.open("rb") as file:
        assert sum(1 for _ in file) == count


WRITER = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    import anyio
    from coreclaw_async import BatchItem
    from coreclaw_async.batch._manifest import write_manifest

    async def items(name, count):
        for number in range(count):
            yield BatchItem(batch="b", key=f"{name}-{number}", position=number, worker_id="a/b", input_sha256="")

    async def main():
        folder, name, count, times = sys.argv[1:]
        for _ in range(int(times)):
            await write_manifest(Path(folder), items(name, int(count)))

    anyio.run(main)
    """
)


def writer(folder: Path, name: str, *, count: int, times: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(folder), name, str(count), str(times)])


@pytest.mark.endurance
def test_of_several_processes_that_write_it_at_once_each_writes_a_whole_one(tmp_path: Path) -> None:
    count = 3_000
    writers = [writer(tmp_path, name, count=count, times=10) for name in ("a", "b", "c")]
    seen: set[str] = set()
    try:
        while any(process.poll() is None for process in writers):
            if (path := tmp_path / "manifest.jsonl").exists():
                keys = [line["key"] for line in lines_of(path)]
                name = keys[0].partition("-")[0]
                assert keys == [f"{name}-{number}" for number in range(count)]
                seen.add(name)
            time.sleep(0.01)
    finally:
        codes = [process.wait(timeout=60) for process in writers]

    assert codes == [0, 0, 0]
    assert seen
    assert [file.name for file in tmp_path.iterdir()] == ["manifest.jsonl"]


@pytest.mark.endurance
def test_a_killed_process_leaves_the_manifest_that_was_there(tmp_path: Path) -> None:
    assert writer(tmp_path, "whole", count=10, times=1).wait(timeout=60) == 0
    process = writer(tmp_path, "killed", count=10_000_000, times=1)
    try:
        parts = ".manifest.jsonl.*.coreclaw-part"
        wait_until(lambda: any(file.stat().st_size > 100_000 for file in tmp_path.glob(parts)), "the lines of the plan")
    finally:
        process.kill()
        process.wait(timeout=60)

    assert [line["key"] for line in lines_of(tmp_path / "manifest.jsonl")] == [f"whole-{n}" for n in range(10)]
