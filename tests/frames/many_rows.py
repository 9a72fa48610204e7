"""Reads a quarter of a million rows in a process of its own, and prints by how many megabytes it grew."""

from __future__ import annotations

import resource
import sys
import warnings
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pandas as pd
import polars as pl
import pyarrow.parquet as pq

from coreclaw_async import AsyncPager, BatchItem, Page
from coreclaw_async._concurrency.stream import AsyncStream
from coreclaw_async._paging.pager import PageReader, PagerOptions
from coreclaw_async.batch._part_pages import part_pages
from coreclaw_async.batch._row_files import PartFiles

ROWS = 250_000
PAGE = 100


def row(number: int) -> dict[str, Any]:
    return {
        "title": f"Coffee place number {number}",
        "address": f"{number} Main Street, Springfield",
        "rating": number % 50 / 10,
        "reviews": number % 3_000 if number < ROWS - 5 else "many",
        "is_open": number % 3 == 0,
        "phone": None if number % 5 else "+1 555 0100",
        "tags": ["coffee", "wifi"],
        "seen_at": "2026-11-26T10:00:00Z",
    }


class Pages:
    """Pages of rows that are made when they are asked for."""

    def __init__(self) -> None:
        self._first = 0

    async def next(self) -> Page[Any] | None:
        await anyio.lowlevel.checkpoint()
        if self._first == ROWS:
            return None
        numbers = range(self._first, self._first + PAGE)
        self._first += PAGE
        return Page(items=tuple(map(row, numbers)))


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def main(method: str, folder: Path) -> None:
    assert pd.DataFrame([row(0)]).shape == pl.DataFrame([row(0)]).shape  # What they load counts as theirs.
    pager: AsyncPager[Any] = AsyncPager(PageReader(Pages().next, PagerOptions()))
    before = peak()
    if method == "DataFrame":
        rows = len(pd.DataFrame(await pager.collect()))
    elif method == "part":
        rows = await written_and_read(folder)
    elif method in {"to_arrow", "to_pandas", "to_polars"}:
        rows = len(await getattr(pager, method)())
    else:
        rows = rows_in(await getattr(pager, method)(folder / "rows"))
    sys.stdout.write(f"{peak() - before:.0f} {rows}\n")


async def written_and_read(folder: Path) -> int:
    """Return how many rows a part file of a batch has, as they are read from it."""
    part = await PartFiles(folder, "parquet").write("1", AsyncStream(Pages().next))
    item = BatchItem(batch="b", key="k", position=0, worker_id="w", input_sha256="", row_count=ROWS)
    pages = await part_pages(item, part.path)
    return sum([len(page.items) async for page in pages])


def rows_in(path: Path) -> int:
    """Return how many rows a Parquet file has, or lines another file."""
    with path.open("rb") as file:
        if file.read(4) == b"PAR1":
            return int(pq.read_metadata(path).num_rows)
        file.seek(0)
        return sum(1 for _ in file)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # One column changes its type.
    anyio.run(main, sys.argv[1], Path(sys.argv[2]))
