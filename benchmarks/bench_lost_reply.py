"""Paid starts when a reply is lost: the service does the work of a POST, and drops the connection."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta

import apify_client
import openai
from report import Report, Row, at_most, parser
from stub_server import Stub, forget_proxies

from coreclaw_async import AsyncCoreClaw

_ROUNDS = 1


async def lost_reply(report: Report) -> None:
    """Count what arrives at a service that does the work of a POST and drops the connection."""
    with Stub() as stub:

        async def ours() -> None:
            async with AsyncCoreClaw("token", base_url=stub.url) as client:
                await client.workers.start_run("demo", {})

        async def apify() -> None:
            pause = timedelta(milliseconds=10)
            client = apify_client.ApifyClientAsync("token", api_url=stub.url, min_delay_between_retries=pause)
            await client.actor("demo").start(run_input={})

        async def sdk() -> None:
            async with openai.AsyncOpenAI(api_key="token", base_url=f"{stub.url}/v1") as client:
                await client.chat.completions.create(model="demo", messages=[])

        starts = []
        for start in (ours, apify, sdk):
            before = stub.counts()["POST"]
            with contextlib.suppress(Exception):  # Each has an error of its own for it.
                await start()
            starts.append(stub.counts()["POST"] - before)
        assert all(starts), "not every client has sent its start"
        for name, count in zip(("apify-client", "openai"), starts[1:], strict=True):
            report.add(
                Row(
                    what="paid starts when a reply is lost",
                    ours=starts[0],
                    peer=count,
                    value=starts[0],
                    budget=at_most(1),
                    note=f"peer: {name}",
                    key=f"lost_reply/{name}",
                )
            )


if __name__ == "__main__":
    options = parser(__doc__, _ROUNDS).parse_args()
    forget_proxies()
    table = Report("bench_lost_reply", options.rounds)
    asyncio.run(lost_reply(table))
    table.finish(options.json)
