"""What it costs that a paid start has a connection of its own: time of a start, without and with TLS."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import trustme
from paired import Measure, compare
from report import Report, cost_row, parser
from stub_server import Stub, forget_proxies

from coreclaw_async import AsyncCoreClaw

_ROUNDS = 30
_STARTS = 40
_MILLISECONDS = 1e3
_PATH = "/api/v2/workers/demo/runs"
_BODY = {"input": {"parameters": {"custom": {"keywords": ["coffee"]}}}, "is_async": True}


def _in_turn(start: Callable[[], Awaitable[object]]) -> Measure:
    async def block() -> float:
        began = time.perf_counter()
        for _ in range(_STARTS):
            await start()
        return (time.perf_counter() - began) / _STARTS

    return block


async def starts(report: Report, rounds: int, what: str, certificate: str | None) -> None:
    """Compare a start with a POST on a connection that is kept, and with one on a new connection each time."""
    headers = {"Authorization": "Bearer token"}
    with Stub(posts="started", certificate=certificate) as stub:
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(AsyncCoreClaw("token", base_url=stub.url))
            kept = await stack.enter_async_context(httpx.AsyncClient(base_url=stub.url, headers=headers))
            limits = httpx.Limits(max_keepalive_connections=0)
            new = await stack.enter_async_context(httpx.AsyncClient(base_url=stub.url, headers=headers, limits=limits))

            async def ours() -> object:
                return await client.workers.start_run("demo", {"keywords": ["coffee"]})

            async def post(http: httpx.AsyncClient) -> object:
                response = await http.post(_PATH, json=_BODY)
                response.raise_for_status()
                return json.loads(response.content)["data"]

            found = await compare(_in_turn(ours), _in_turn(lambda: post(kept)), rounds)
            report.add(cost_row(f"a start, {what}, to httpx on a kept connection", found, "ms", _MILLISECONDS))
            found = await compare(_in_turn(ours), _in_turn(lambda: post(new)), max(3, rounds // 3))
            report.add(cost_row(f"a start, {what}, to httpx on a new connection", found, "ms", _MILLISECONDS))


async def _main(report: Report, rounds: int) -> None:
    await starts(report, rounds, "plain", None)
    with tempfile.TemporaryDirectory() as folder:
        authority, chain = Path(folder) / "ca.pem", Path(folder) / "server.pem"
        made = trustme.CA()
        made.cert_pem.write_to_path(str(authority))
        made.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(chain))
        os.environ["SSL_CERT_FILE"] = str(authority)
        await starts(report, rounds, "TLS", str(chain))


if __name__ == "__main__":
    options = parser(__doc__, _ROUNDS).parse_args()
    forget_proxies()
    table = Report("bench_starts", options.rounds)
    asyncio.run(_main(table, options.rounds))
    table.finish(options.json)
