"""The two scenes of a demo: an emulator on this machine, or the service."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from coreclaw_async import testing
from coreclaw_async._client import DEFAULT_BASE_URL, AsyncCoreClaw
from coreclaw_async._polling.schedule import PollSchedule
from coreclaw_async.cli.demo.tour import Scene

_RUN_SECONDS = 3.0
_LOOK_EVERY = 0.25


@contextmanager
def emulated_scene(rows: int) -> Generator[Scene]:
    """Give a scene against an emulator, which ends with the block."""
    service = testing.FakeService(
        clock=testing.RealClock(), default_script=testing.RunScript(rows=rows, duration=_RUN_SECONDS)
    )
    with service.serve() as server:
        yield Scene(
            client=AsyncCoreClaw(
                service.api_key,
                base_url=server.url,
                poll_schedule=PollSchedule(delays=(_LOOK_EVERY,), jitter=0.0),
            ),
            opening=f"One run against an emulator at {server.url}: it stays on this machine and costs play money.",
            total_rows=rows,
            left_run="Run {run_id} has gone with the emulator.",
            next_step="With a key of your own in CORECLAW_API_KEY, for example in python -m asyncio:",
            next_code=(
                "from coreclaw_async import AsyncCoreClaw",
                "async with AsyncCoreClaw() as client:",
                "    run = await client.workers.run({worker_id}, {input})",
                "    async for row in client.runs.iterate_results(run): print(row)",
            ),
        )


@contextmanager
def live_scene(worker_id: str, given: Mapping[str, Any], timeout: int) -> Generator[Scene]:
    """Give a scene against the service, with key and address from the environment."""
    address = os.environ.get("CORECLAW_BASE_URL") or DEFAULT_BASE_URL
    yield Scene(
        client=AsyncCoreClaw(),
        opening=f"One run of {worker_id} at {address}: this costs money.",
        worker_id=worker_id,
        input=given,
        timeout=timeout,
        left_run=(
            "Run {run_id} is still running and costs money: client.runs.wait('{run_id}') follows it, "
            "client.runs.abort('{run_id}') stops it."
        ),
        next_step="To read the rows again, for example in python -m asyncio:",
        next_code=(
            "from coreclaw_async import AsyncCoreClaw",
            "async with AsyncCoreClaw() as client:",
            "    async for row in client.runs.iterate_results({run_id}):",
            "        print(row)",
        ),
    )
