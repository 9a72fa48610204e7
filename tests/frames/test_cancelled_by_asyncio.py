"""asyncio's own cancellation, from which anyio shields nothing, breaks no writer and leaves no file behind."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from waiting import PATIENCE, until, wait_until

from coreclaw_async import AsyncPager, Page
from coreclaw_async._frames.written_file import FileWork, written_file
from coreclaw_async._paging.pager import PageReader, PagerOptions
from coreclaw_async.batch._manifest import write_manifest
from coreclaw_async.batch._row_files import PartFiles
from coreclaw_async.models import Row

METHODS = ("to_parquet", "to_jsonl", "to_csv")

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])


async def endless_pages() -> AsyncIterator[Page[Row]]:
    while True:
        yield Page[Row](items=tuple({"n": n, "t": "x" * 50} for n in range(1_000)))
        await anyio.lowlevel.checkpoint()


def endless_pager() -> AsyncPager[Row]:
    pages = endless_pages()

    async def next_page() -> Page[Row] | None:
        return await anext(pages)

    return AsyncPager(PageReader(next_page, PagerOptions()))


async def cancelled_twice(task: asyncio.Task[Any], after: int, rounds: int) -> None:
    """Cancel *task* after a while, and once more while it tidies up."""
    for _ in range(after):
        await anyio.sleep(0.0005)
    task.cancel()
    for _ in range(rounds):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_writer_is_closed_after_the_call_that_runs_however_often_the_task_is_cancelled(tmp_path: Path) -> None:
    order: list[str] = []
    has_begun, may_end = threading.Event(), threading.Event()

    def write() -> None:
        has_begun.set()
        may_end.wait(PATIENCE)
        order.append("written")

    async def work_on_file() -> None:
        async with written_file(tmp_path / "rows") as work:
            work.at_end(lambda: order.append("closed"))
            await work.run(write)

    task = asyncio.create_task(work_on_file())
    await until(has_begun.is_set, "the writing", pause=0.001)
    threading.Timer(0.05, may_end.set).start()
    await cancelled_twice(task, 0, 3)

    assert order == ["written", "closed"]
    assert list(tmp_path.iterdir()) == []


async def test_no_call_begins_after_the_end_and_what_fails_in_the_end_hides_nothing(tmp_path: Path) -> None:
    found: list[FileWork] = []
    with pytest.raises(KeyError, match="first"):
        async with written_file(tmp_path / "rows") as work:
            found.append(work)
            work.at_end(lambda: int("second"))
            raise KeyError("first")

    (work,) = found
    with pytest.raises(RuntimeError, match="is over"):
        work.call(list)
    work.end()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("method", METHODS)
async def test_two_cancellations_leave_no_file_of_rows_and_no_open_one(tmp_path: Path, method: str) -> None:
    for case in range(24):
        task = asyncio.create_task(getattr(endless_pager(), method)(tmp_path / "rows"))
        await cancelled_twice(task, case // 4, case % 4)
        # A thread may still make the file, which the tidying up then finds.
        assert list(tmp_path.iterdir()) == []
    gc.collect()  # An open file would be a warning.


async def test_two_cancellations_leave_no_part_of_a_batch(tmp_path: Path) -> None:
    for case in range(24):
        parts = PartFiles(tmp_path)
        task = asyncio.create_task(parts.write("run", endless_pages()))
        await cancelled_twice(task, case // 4, case % 4)
        assert list(tmp_path.iterdir()) == []


async def test_two_cancellations_leave_no_part_of_a_manifest(tmp_path: Path) -> None:
    async def no_items() -> AsyncIterator[Any]:
        await anyio.sleep_forever()
        yield  # pragma: no cover - never comes so far

    for case in range(24):
        task = asyncio.create_task(write_manifest(tmp_path, no_items()))
        await cancelled_twice(task, case // 4, case % 4)
        assert list(tmp_path.iterdir()) == []


INTERRUPTED = """
import pathlib, sys
from coreclaw_async import CoreClaw
from coreclaw_async.testing import FakeService

service, path = FakeService(), pathlib.Path(sys.argv[1])
rows = [{f"c{column}": f"{row * 7919 + column:x}" * 8 for column in range(20)} for row in range(20_000)]
run_id = service.add_run("coreclaw/google-maps-scraper", rows=rows)
with CoreClaw(service.api_key, transport=service, clock=service.clock) as client:
    try:
        client.runs.iterate_results(run_id).to_parquet(path)
    except KeyboardInterrupt:
        sys.exit(3)
"""


@pytest.mark.endurance
@pytest.mark.parametrize("delay", [0.0, 0.008, 0.016])
def test_ctrl_c_while_a_parquet_file_is_written_ends_the_process_in_order(
    tmp_path: Path, delay: float, anyio_backend: str
) -> None:
    path = tmp_path / "rows.parquet"
    path.write_text("old")
    with subprocess.Popen([sys.executable, "-c", INTERRUPTED, path], stderr=subprocess.PIPE) as process:
        wait_until(lambda: any(part.stat().st_size > 4 for part in tmp_path.glob(".*part")), "the first rows")
        threading.Event().wait(delay)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)

    assert process.returncode in {0, 3}, errors
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes()[:3] in {b"old", b"PAR"}
