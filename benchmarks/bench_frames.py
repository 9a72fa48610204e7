"""Pages of rows into frames and files: time for 100,000 rows, and the memory that a million take."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
from paired import Measure, compare
from report import Report, Row, cost_row, parser

from coreclaw_async import AsyncPager, Page
from coreclaw_async._paging.pager import PageReader, PagerOptions

_ROUNDS = 5
_ROWS = 100_000
_MANY_ROWS = 1_000_000
_PAGE_SIZE = 100
_MANY_PAGES = _MANY_ROWS // _PAGE_SIZE
_FRAMES = ("to_arrow", "to_pandas", "to_polars")
_FILES = ("to_parquet", "to_jsonl", "to_csv")
_PEER = "DataFrame"
_IN_README = ("to_parquet", "to_pandas", "to_polars")


def row(number: int) -> dict[str, Any]:
    """Return a row as a worker for maps has them; one in a hundred has a key that others lack."""
    made = {
        "title": f"Coffee place number {number}",
        "address": f"{number} Main Street, Springfield",
        "rating": number % 50 / 10,
        "reviews": number % 3_000,
        "is_open": number % 3 == 0,
        "phone": None if number % 5 else "+1 555 0100",
        "url": f"https://example.test/places/{number}",
        "tags": ["coffee", "wifi"],
        "location": {"lat": 1.5 + number, "lng": -0.5},
        "seen_at": "2026-11-26T10:00:00Z",
    }
    return made if number % 100 else {**made, "note": "seldom"}


class Pages:
    """
    Pages of rows in JSON, of which ten are made and come again and again.

    Args:
        count: How many pages.
    """

    def __init__(self, count: int) -> None:
        self._left = count

    async def next(self) -> Page[Any] | None:
        """Return the next page, read from its JSON."""
        if self._left == 0:
            return None
        self._left -= 1
        return Page(items=tuple(json.loads(_BODIES[self._left % len(_BODIES)])))


_BODIES = [
    json.dumps([row(number) for number in range(first, first + _PAGE_SIZE)]) for first in range(0, 1_000, _PAGE_SIZE)
]


async def make(method: str, pages: int, folder: str) -> int:
    """Do with all pages what *method* says, and return the number of rows where it is at hand."""
    pager: AsyncPager[Any] = AsyncPager(PageReader(Pages(pages).next, PagerOptions()))
    if method == _PEER:
        rows: list[Any] = []
        while (page := await pager.next_page()) is not None:
            rows.extend(page.items)
        return len(pd.DataFrame(rows))
    if method in _FRAMES:
        return len(await getattr(pager, method)())
    await getattr(pager, method)(Path(folder, "rows"))
    return pages * _PAGE_SIZE


def repeated(method: str, folder: str) -> Measure:
    """Return a block that measures the CPU seconds of all threads."""

    async def block() -> float:
        started = time.process_time()
        assert await make(method, _ROWS // _PAGE_SIZE, folder) == _ROWS
        return time.process_time() - started

    return block


def _memory(name: str) -> float:
    """Return a figure of this process that Linux gives in kB, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 1024 / 1e6


def grown(method: str, folder: str) -> tuple[float, float]:
    """Return the most MB that many rows took on top of what a few took, and the seconds."""
    asyncio.run(make(method, 1, folder))
    before = _memory("VmRSS")
    started = time.perf_counter()
    assert asyncio.run(make(method, _MANY_PAGES, folder)) == _MANY_ROWS
    return _memory("VmHWM") - before, time.perf_counter() - started


def growth(report: Report, folder: str, methods: Sequence[str]) -> None:
    """Measure the memory of each, in a process that has done nothing else."""
    peer = 0.0
    for method in (_PEER, *methods):
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            megabytes, seconds = pool.submit(grown, method, folder).result()
        peer = peer or megabytes
        report.add(
            Row(
                what=f"memory for {_MANY_ROWS:,} rows, {method}",
                unit="MB",
                ours=megabytes,
                peer=peer,
                value=megabytes / peer,
                note=f"peer: pd.DataFrame(list); {seconds:.0f} s",
                key=f"memory/{method}",
            )
        )


async def _main(report: Report, rounds: int, folder: str) -> None:
    peer = repeated(_PEER, folder)
    for method in (*_FRAMES, *_FILES, _PEER):
        found = await compare(repeated(method, folder), peer, rounds)
        what = f"{_ROWS:,} rows, {method}" + (" (null test)" if method == _PEER else "")
        report.add(cost_row(what, found, "s", 1, note="peer: json + pd.DataFrame(list)"))


if __name__ == "__main__":
    options = parser(__doc__, _ROUNDS).parse_args()
    table = Report("bench_frames", options.rounds)
    with tempfile.TemporaryDirectory() as place:
        if not options.readme:
            asyncio.run(_main(table, options.rounds, place))
        growth(table, place, _IN_README if options.readme else (*_FRAMES, *_FILES))
    table.finish(options.json)
