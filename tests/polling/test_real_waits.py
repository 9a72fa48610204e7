"""Waiting over real sockets and by the real clock: a server that is gone for a while, and settings of a leader."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from ports import reserved_port
from waiting import until

from coreclaw_async import AsyncCoreClaw, LastRun, PollSchedule, WaitTimeoutError
from coreclaw_async.events import RequestSent
from coreclaw_async.testing import FakeService, RealClock, RunScript, faults

WORKER = "coreclaw/google-maps-scraper"


@pytest.fixture
def port() -> Iterator[int]:
    with reserved_port() as port:
        yield port


def add_runs(service: FakeService, count: int, seconds: float) -> list[str]:
    return [service.add_run(WORKER, script=RunScript(duration=seconds), age=0.0) for _ in range(count)]


@pytest.mark.endurance
async def test_a_server_that_is_gone_for_a_while_costs_a_few_requests_and_no_run(port: int) -> None:
    service = FakeService(clock=RealClock())
    ids = add_runs(service, 20, 2.5)
    failed: list[RequestSent] = []
    seen: list[str] = []

    def note(event: Any) -> None:
        if isinstance(event, RequestSent) and event.error is not None:
            failed.append(event)

    with service.serve(port=port) as server:
        client = AsyncCoreClaw(
            service.api_key, base_url=server.url, poll_schedule=PollSchedule(delays=(0.2,)), on_event=note
        )
        group = anyio.create_task_group()
        await group.__aenter__()

        async def wait() -> None:
            async for run in client.runs.wait_many(ids, on_cancel="abort"):
                seen.append(run.run_id)

        group.start_soon(wait)
        await anyio.sleep(0.7)
    assert seen == []
    await anyio.sleep(2.5)
    await until(lambda: len(failed) >= 3, "three requests that failed", pause=0.05)
    gone = len(failed)
    with service.serve(port=port):
        await group.__aexit__(None, None, None)
        await client.aclose()

    assert sorted(seen) == sorted(ids)
    assert gone <= 8
    assert "abortWorkerRun" not in [request.operation for request in service.requests]


@pytest.mark.endurance
async def test_a_leader_with_a_short_timeout_starves_nobody() -> None:
    service = FakeService(clock=RealClock())
    service.faults.add(faults.delay(0.3), times=10**6)
    ids = add_runs(service, 51, 1.0)
    began = time.monotonic()
    with service.serve() as server:
        schedule = PollSchedule(delays=(0.2,))
        async with AsyncCoreClaw(service.api_key, base_url=server.url, poll_schedule=schedule) as client:
            hasty = client.with_options(timeout=0.1)
            with anyio.fail_after(15):
                async with anyio.create_task_group() as group:
                    group.start_soon(hasty.runs.wait, ids[0])
                    await anyio.sleep(0.1)
                    for run_id in ids[1:]:
                        group.start_soon(client.runs.wait, run_id)
            assert client.connections_in_use == 0

    assert time.monotonic() - began < 10
    assert len(service.requests) < 60


@pytest.mark.endurance
async def test_last_runs_are_asked_for_together_by_the_real_clock() -> None:
    service = FakeService(clock=RealClock())
    service.faults.add(faults.delay(1.0), times=10**6)
    with service.serve() as server:
        async with AsyncCoreClaw(service.api_key, base_url=server.url) as client:
            runs = client.runs.wait_many([LastRun("a/b"), LastRun("c/d"), LastRun("e/f")], timeout=2)
            with anyio.fail_after(15), pytest.raises(WaitTimeoutError):
                await anext(runs)
    first_three = service.requests[:3]
    assert max(asked.at for asked in first_three) < min(asked.ended_at or asked.at + 1.0 for asked in first_three)
