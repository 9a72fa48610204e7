"""
A tool for an agent: it starts a run, waits for a while, hands back the id, and reads the rows later, also elsewhere.

The model's id of a tool call is the key of the run, so a repeated call returns the same run and pays nothing:

    python agent_tool.py scrape call_1 coffee --seconds 20
    python agent_tool.py fetch 01M8B1QYTYP0TYP0TYP0TYP0TY
"""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import Any

from coreclaw_async import AsyncCoreClaw, OutcomeUnknownError, Run, WaitTimeoutError

WORKER = "coreclaw/google-maps-scraper"
ROWS = 5


async def scrape(client: AsyncCoreClaw, call_id: str, keyword: str, seconds: float) -> dict[str, Any]:
    """Start a run, or find the one of an earlier call; return its rows, or its id once *seconds* have passed."""
    try:
        # Known before its end, so that a time limit cannot lose the id.
        run = await client.workers.run_once(call_id, WORKER, {"keywords": [keyword]}, wait=False)
    except OutcomeUnknownError as error:
        return {"status": "unknown", "may_have_been_started": error.candidates, "next": "ask a person"}
    return await fetch(client, run.run_id, seconds)


async def fetch(client: AsyncCoreClaw, run_id: str, seconds: float) -> dict[str, Any]:
    """Return the first rows of a run, or that it still runs."""
    try:
        run = await client.runs.wait(run_id, timeout=seconds, check=False)
    except WaitTimeoutError:
        return {"run_id": run_id, "status": "running", "next": f"call fetch with run_id={run_id!r} later"}
    return await report(client, run)


async def report(client: AsyncCoreClaw, run: Run) -> dict[str, Any]:
    rows = await client.runs.iterate_results(run, max_items=ROWS).collect() if run.result_count else []
    return {"run_id": run.run_id, "status": run.status, "rows_in_all": run.result_count, "rows": rows}


async def main() -> None:
    parser = argparse.ArgumentParser()
    tools = parser.add_subparsers(dest="tool", required=True)
    scraping, fetching = tools.add_parser("scrape"), tools.add_parser("fetch")
    scraping.add_argument("call_id")
    scraping.add_argument("keyword")
    fetching.add_argument("run_id")
    for tool in (scraping, fetching):
        tool.add_argument("--seconds", type=float, default=20.0)
    given = parser.parse_args()
    async with AsyncCoreClaw() as client:
        if given.tool == "scrape":
            answer = await scrape(client, given.call_id, given.keyword, given.seconds)
        else:
            answer = await fetch(client, given.run_id, given.seconds)
    print(json.dumps(answer, default=str))


if __name__ == "__main__":
    asyncio.run(main())
