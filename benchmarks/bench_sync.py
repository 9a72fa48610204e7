"""The blocking client against httpx.Client, with latency and without, on one thread and eight; and rows of a list."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
from callers import RUN_ID
from paired import Measure, compare
from report import Report, at_most, cost_row, parser
from stub_server import Stub, forget_proxies

from coreclaw_async import AsyncCoreClaw, CoreClaw

_ROUNDS = 10
_ROWS = 10_000
_LATENCY = 0.02
_CALLS = {0.0: 300, _LATENCY: 20}
_BUDGETS = {0.0: at_most(1.8), _LATENCY: at_most(1.08)}


def calls(call: Callable[[], object], threads: int, total: int) -> Measure:
    """Return a block that measures the seconds that pass for each call, with so many threads calling."""

    def work() -> None:
        for _ in range(total):
            call()

    async def block() -> float:
        started = time.perf_counter()
        if threads == 1:
            work()
        else:
            with ThreadPoolExecutor(threads) as pool:
                for done in [pool.submit(work) for _ in range(threads)]:
                    done.result()
        return (time.perf_counter() - started) / (total * threads)

    return block


async def one_record(report: Report, rounds: int, latency: float, threads: int) -> None:
    """Compare the time of a call at one latency."""
    headers = {"Authorization": "Bearer token"}
    with (
        Stub(latency) as stub,
        CoreClaw("token", base_url=stub.url, backend="httpx") as client,
        httpx.Client(base_url=stub.url, headers=headers) as peer,
    ):

        def get() -> object:
            response = peer.get(f"/api/v2/worker-runs/{RUN_ID}")
            response.raise_for_status()
            return json.loads(response.content)["data"]

        total = _CALLS[latency]
        ours = calls(lambda: client.runs.get(RUN_ID), threads, total)
        found = await compare(ours, calls(get, threads, total), rounds)
    what = f"runs.get, {latency * 1e3:.0f} ms, {threads} thread{'s' if threads > 1 else ''}"
    report.add(cost_row(what, found, "ms", 1e3, budget=_BUDGETS[latency], note="peer: httpx.Client, to a dict"))


async def rows(report: Report, rounds: int) -> None:
    """Compare the time to iterate over a list."""
    with Stub() as stub, CoreClaw("token", base_url=stub.url, backend="httpx") as client:
        async with AsyncCoreClaw("token", base_url=stub.url, backend="httpx") as other:

            async def ours() -> float:
                started = time.perf_counter()
                assert sum(1 for _ in client.runs.iterate_results(str(_ROWS))) == _ROWS
                return time.perf_counter() - started

            async def theirs() -> float:
                started = time.perf_counter()
                count = 0
                async for _ in other.runs.iterate_results(str(_ROWS)):
                    count += 1
                assert count == _ROWS
                return time.perf_counter() - started

            found = await compare(ours, theirs, rounds)
    note = f"peer: AsyncCoreClaw; {_ROWS / found.first_median:,.0f} rows a second"
    report.add(cost_row(f"{_ROWS:,} rows iterated", found, "ms", 1e3, budget=at_most(1.3), note=note))


async def _main(report: Report, rounds: int) -> None:
    for latency in _BUDGETS:
        for threads in (1, 8):
            await one_record(report, rounds, latency, threads)
    await rows(report, rounds)


if __name__ == "__main__":
    options = parser(__doc__, _ROUNDS).parse_args()
    forget_proxies()
    table = Report("bench_sync", options.rounds)
    asyncio.run(_main(table, options.rounds))
    table.finish(options.json)
