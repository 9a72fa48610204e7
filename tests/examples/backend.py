"""
A web backend: it answers with runs as JSON, described in its OpenAPI page, and waits no longer than a request may take.

    uvicorn backend:app
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI, HTTPException, Query, Response

from coreclaw_async import AsyncCoreClaw, InvalidArgumentError, OutcomeUnknownError, Row, Run, WaitTimeoutError

WORKER = "coreclaw/google-maps-scraper"
Seconds = Annotated[float, Query(gt=0, le=25)]
client = AsyncCoreClaw()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    async with client:
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/orders/{order}/run", status_code=202)
async def start(order: str, keyword: str, seconds: Seconds = 20.0) -> Run:
    """Start the run of an order. A browser that sends it twice gets the same run, and pays for one."""
    given = {"keywords": [keyword]}
    try:
        return await client.workers.run_once(f"order-{order}", WORKER, given, wait=False, timeout=seconds)
    except InvalidArgumentError as error:
        raise HTTPException(422, error.message) from error
    except OutcomeUnknownError as error:
        raise HTTPException(502, {"may_have_been_started": error.candidates}) from error
    except WaitTimeoutError as error:  # The plan has no room, or another order's start was not answered so far.
        raise HTTPException(503, "not started so far; send it again") from error


@app.get("/runs/{run_id}")
async def look(run_id: str, response: Response, seconds: Seconds = 20.0) -> Run:
    """Wait for a run for a few seconds; 202 says that it still runs."""
    try:
        return await client.runs.wait(run_id, timeout=seconds, check=False)
    except WaitTimeoutError as error:
        if error.run is None:  # A new run may be missing for a while, so the wait goes on.
            raise HTTPException(404, f"there is no run {run_id} so far") from error
        response.status_code = 202
        return error.run


@app.get("/runs/{run_id}/rows")
async def rows(run_id: str, limit: Annotated[int, Query(ge=1, le=100)] = 20) -> list[Row]:
    """Return the first rows of a run, also while it runs."""
    return await client.runs.iterate_results(run_id, max_items=limit, partial=True).collect()
