"""Reading 10,000 rows in 100 pages, and how much a million of them make a process grow."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import AsyncIterable, Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import apify_client
from paired import Measure, compare
from report import Report, Row, at_least, at_most, parser, time_row
from stub_server import Stub, forget_proxies

from coreclaw_async import AsyncCoreClaw

_ROUNDS = 6
_ROWS = 10_000
_PAGE_SIZE = 100
_PREFETCH = 16
_MANY_ROWS = 1_000_000
_BUDGETS = {0.02: at_least(10), 0.1: at_least(13)}


async def _count(rows: AsyncIterable[object]) -> int:
    count = 0
    async for _ in rows:
        count += 1
    return count


def whole_list(open_rows: Callable[[], AsyncIterable[object]]) -> Measure:
    """Return a block that measures the seconds until all rows were handed over."""

    async def block() -> float:
        started = time.perf_counter()
        assert await _count(open_rows()) == _ROWS
        return time.perf_counter() - started

    return block


async def list_of_rows(report: Report, rounds: int, latency: float) -> None:
    """Compare the time for a whole list at one latency."""
    with Stub(latency) as stub:
        apify = apify_client.ApifyClientAsync("token", api_url=stub.url)
        async with AsyncCoreClaw("token", base_url=stub.url, backend="httpx") as client:
            ahead = whole_list(lambda: client.runs.iterate_results(str(_ROWS), prefetch=_PREFETCH))
            in_turn = whole_list(lambda: client.runs.iterate_results(str(_ROWS)))
            peer = whole_list(lambda: apify.dataset(str(_ROWS)).iterate_items(chunk_size=_PAGE_SIZE))
            what = f"{_ROWS:,} rows, {latency * 1e3:.0f} ms, "
            # A list in turn takes 10 s at 100 ms, and then the latency is nearly all of it.
            pairs = max(2, round(rounds * 0.02 / latency))
            found = await compare(peer, ahead, pairs)
            note = "peer: apify-client, iterate_items"
            budget = _BUDGETS[latency]
            report.add(time_row(f"{what}prefetch={_PREFETCH}", found, budget=budget, note=note))
            if latency < min(_BUDGETS) * 2:
                found = await compare(ahead, ahead, rounds)
                report.add(time_row(f"{what}prefetch={_PREFETCH} (null test)", found, note="peer: the same"))
                found = await compare(peer, in_turn, 2)
                report.add(time_row(f"{what}one page after another", found, note=note))


def _memory(name: str) -> float:
    """Return a figure of this process that Linux gives in kB, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 1024 / 1e6


async def _stream(url: str) -> tuple[float, float, float]:
    async with AsyncCoreClaw("token", base_url=url, backend="httpx") as client:
        await _count(client.runs.iterate_results(str(_PAGE_SIZE * 5)))
        before = _memory("VmRSS")
        started = time.perf_counter()
        assert await _count(client.runs.iterate_results(str(_MANY_ROWS))) == _MANY_ROWS
        return before, _memory("VmHWM") - before, time.perf_counter() - started


def stream(url: str) -> tuple[float, float, float]:
    """Return the MB before, the most MB that came on top, and the seconds, of reading many rows one page at a time."""
    return asyncio.run(_stream(url))


def growth(report: Report) -> None:
    """Measure how much memory streaming takes, in a process that has done nothing else."""
    with Stub() as stub, ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        before, grown, seconds = pool.submit(stream, stub.url).result()
    report.add(
        Row(
            what=f"growth while {_MANY_ROWS:,} rows are streamed",
            unit="MB",
            ours=grown,
            value=grown,
            budget=at_most(10),
            note=f"from {before:.0f} MB, {_MANY_ROWS / seconds:,.0f} rows a second",
        )
    )


async def _main(report: Report, rounds: int) -> None:
    for latency in _BUDGETS:
        await list_of_rows(report, rounds, latency)
    growth(report)


if __name__ == "__main__":
    options = parser(__doc__, _ROUNDS).parse_args()
    forget_proxies()
    table = Report("bench_pagination", options.rounds)
    asyncio.run(_main(table, options.rounds))
    table.finish(options.json)
