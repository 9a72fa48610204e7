"""
A web backend that the service calls back, so that a wait ends as soon as its run does.

    PUBLIC_URL=https://... uvicorn callback_backend:app --timeout-graceful-shutdown 3
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI, HTTPException, Query

from coreclaw_async import AsyncCoreClaw, CallbackHub, OutcomeUnknownError, Page, Run, StartedRun, WaitTimeoutError

# The address at which the service can reach this program.
hub = CallbackHub(os.environ.get("PUBLIC_URL", "http://127.0.0.1:8000") + "/coreclaw")
client = AsyncCoreClaw(callbacks=hub)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    async with client:
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/coreclaw", hub)


@app.post("/runs", status_code=202)
async def start(keyword: str) -> StartedRun:
    """Start a run, whose end the service tells."""
    try:
        return await client.workers.start_run("coreclaw/google-maps-scraper", {"keywords": [keyword]})
    except OutcomeUnknownError as error:
        raise HTTPException(502, {"may have been started": error.candidates}) from error


@app.get("/runs/{run_id}")
async def report(run_id: str, seconds: Annotated[float, Query(gt=0, le=25)] = 20.0) -> Run:
    """Wait for a run for a few seconds, and return it as it then is."""
    try:
        return await client.runs.wait(run_id, timeout=seconds, check=False)
    except WaitTimeoutError as error:
        return error.run or Run(run_id=run_id)


@app.get("/runs")
async def runs(limit: int = 20) -> Page[Run]:
    """Return the newest runs."""
    return await client.runs.list_page(limit=limit)
