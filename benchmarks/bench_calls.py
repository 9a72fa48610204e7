"""Getting one run: the CPU of a call, many calls at once, and a second client."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

import callers
import httpx
from load import AtOnce, behind_semaphore, one_at_a_time
from paired import Measure, compare, measure
from report import Report, Row, at_least, at_most, cost_row, parser, rate_row
from stub_server import Stub, forget_proxies

from coreclaw_async import AsyncCoreClaw
from coreclaw_async._http.route import Route

_ROUNDS = 30
_LATENCY = 0.02
_MAX_CONNECTIONS = 100
_FEW = 16
_CLIENTS = 20
_MICROSECONDS = 1e6
_MILLISECONDS = 1e3


async def calls_in_turn(report: Report, rounds: int) -> None:
    """Compare the CPU of a call, one after another without latency."""
    with Stub() as stub:
        async with AsyncExitStack() as stack:
            ours, other, raw, apify, sdk = map(one_at_a_time, await callers.all_of_them(stack, stub.url))
            what = "one at a time, CPU per call, to "
            against_raw = await compare(ours, raw, rounds)
            report.add(cost_row(f"{what}raw httpx", against_raw, "us", _MICROSECONDS, budget=at_most(1)))
            for name, peer in (("itself (null test)", other), ("apify-client", apify), ("openai", sdk)):
                found = await compare(ours, peer, max(3, rounds // 3))
                report.add(cost_row(what + name, found, "us", _MICROSECONDS))


async def hundred_at_once(report: Report, rounds: int) -> None:
    """Compare requests per second with 100 under way, without latency: of new clients, and of clients in use."""
    with Stub() as stub:

        def new_client(open_client: callers.Client) -> Measure:
            async def block() -> float:
                async with open_client(stub.url) as call:
                    return await AtOnce(call, width=100, total=1000)()

            return block

        what = "100 at once, times as fast as "
        found = await compare(new_client(callers.raw_httpx), new_client(callers.ours), max(3, rounds // 4))
        note = "clients that are new"
        report.add(rate_row(f"{what}raw httpx", found, budget=at_least(4), note=note))
        async with AsyncExitStack() as stack:
            blocks = [AtOnce(call, width=100, total=500) for call in await callers.all_of_them(stack, stub.url)]
            ours, other, raw, apify, sdk = blocks
            peers = {"raw httpx": raw, "itself (null test)": other, "apify-client": apify, "openai": sdk}
            for name, peer in peers.items():
                found = await compare(peer, ours, max(3, rounds // 6))
                report.add(rate_row(what + name, found, note="clients in use"))


async def thousand_at_once(report: Report, rounds: int) -> None:
    """Compare requests per second with 1,000 under way, 20 ms each."""
    with Stub(_LATENCY) as stub:
        what = "1,000 at once, 20 ms, "
        async with AsyncExitStack() as stack:
            call = await stack.enter_async_context(callers.ours(stub.url))
            ours = AtOnce(call, width=1000, total=2000, counts_failures=True)
            await measure(ours)
            await measure(ours)
            opened = stub.counts()["connections"]
            limits = httpx.Limits(max_connections=_FEW)
            few = await stack.enter_async_context(callers.raw_httpx(stub.url, limits=limits))
            peer = AtOnce(behind_semaphore(few, _FEW), width=1000, total=2000)
            found = await compare(peer, ours, max(3, rounds // 6))
            name = f"times as fast as httpx behind semaphore({_FEW})"
            report.add(rate_row(what + name, found, budget=at_least(2)))
            for name, open_client in (("apify-client", callers.apify), ("openai", callers.openai_sdk)):
                theirs = await stack.enter_async_context(open_client(stub.url))
                block = AtOnce(theirs, width=1000, total=2000, counts_failures=True)
                found = await compare(block, ours, 1)
                note = f"{block.failures:,} of its {block.made:,} calls failed"
                report.add(rate_row(f"{what}times as fast as {name}", found, note=note))
    report.add(
        Row(
            what=f"{what}connections opened",
            unit="in 4,000 calls",
            ours=opened,
            value=opened,
            budget=at_most(_MAX_CONNECTIONS),
        )
    )
    failures = await failures_of_httpx()
    report.add(
        Row(
            what=f"{what}calls that failed",
            unit=f"of {ours.made:,} and 1,000",
            ours=ours.failures,
            peer=failures,
            value=ours.failures,
            budget=at_most(0),
            note="peer: raw httpx, defaults",
        )
    )


async def failures_of_httpx() -> int:
    """Return how many of 1,000 calls at once fail with httpx as it comes; that takes a while."""
    with Stub(_LATENCY) as stub:
        async with callers.raw_httpx(stub.url) as call:
            block = AtOnce(call, width=1000, total=1000, counts_failures=True)
            await measure(block)
            return block.failures


async def second_client(report: Report, rounds: int) -> None:
    """Compare how long it takes to make another client, ours with its first connection's transport."""
    url = httpx.URL("https://127.0.0.1")

    async def ours() -> float:
        started = time.perf_counter()
        made = [_client_and_transport(url) for _ in range(_CLIENTS)]
        passed = time.perf_counter() - started
        for client, transport in made:
            await transport.aclose()
            await client.aclose()
        return passed / _CLIENTS

    async def peer() -> float:
        started = time.perf_counter()
        client = httpx.AsyncClient()
        passed = time.perf_counter() - started
        await client.aclose()
        return passed

    found = await compare(ours, peer, rounds)
    report.add(
        Row(
            what="a second client and its first TLS transport",
            unit="ms",
            ours=found.first_median * _MILLISECONDS,
            peer=found.second_median * _MILLISECONDS,
            value=found.first_median * _MILLISECONDS,
            budget=at_most(0.5),
            note="peer: httpx.AsyncClient()",
        )
    )


def _client_and_transport(url: httpx.URL) -> tuple[AsyncCoreClaw, httpx.AsyncBaseTransport]:
    """Return a client that has made all that its first request needs, short of connecting."""
    client = AsyncCoreClaw("token", base_url=str(url))
    _ = client._context.transport.connections.client
    return client, Route().transport_to(url)


async def _main(report: Report, rounds: int) -> None:
    await calls_in_turn(report, rounds)
    await hundred_at_once(report, rounds)
    await thousand_at_once(report, rounds)
    await second_client(report, rounds)


if __name__ == "__main__":
    options = parser(__doc__, _ROUNDS).parse_args()
    forget_proxies()
    table = Report("bench_calls", options.rounds)
    asyncio.run(_main(table, options.rounds))
    table.finish(options.json)
