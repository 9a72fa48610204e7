"""What becomes of many runs whose wait was left with ``on_cancel="abort"``: all are tried, and the rest is named."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import httpx
import pytest
from waiting import until

from coreclaw_async import AsyncCoreClaw, WaitTimeoutError
from coreclaw_async.testing import FakeService, RunScript, faults

WORKER = "coreclaw/google-maps-scraper"


def add_runs(service: FakeService, count: int) -> list[str]:
    return [service.add_run(WORKER, script=RunScript(duration=10_000), age=0.0) for _ in range(count)]


def client_of(service: FakeService, **options: Any) -> AsyncCoreClaw:
    return AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, **options)


def aborted(service: FakeService) -> set[str]:
    return {run_id for run_id, run in service.runs.items() if run.status != "running"}


async def leave_all(client: AsyncCoreClaw, ids: list[str]) -> WaitTimeoutError:
    with pytest.raises(WaitTimeoutError) as caught:
        await anext(client.runs.wait_many(ids, timeout=30, on_cancel="abort"))
    return caught.value


@pytest.mark.endurance
async def test_seven_hundred_runs_are_aborted_though_that_takes_longer_than_for_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    service = FakeService()
    ids = add_runs(service, 700)

    class Slow(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.method == "POST":
                await anyio.sleep(0.3)
            return await service.handle_async_request(request)

    client = AsyncCoreClaw(service.api_key, transport=Slow(), clock=service.clock, max_connections=40)
    real = anyio.current_time()
    async with client:
        error = await leave_all(client, ids)

    assert anyio.current_time() - real > 5
    assert aborted(service) == set(ids)
    assert error.not_aborted == ()
    assert getattr(error, "__notes__", []) == []
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("fault", [faults.error(70002), faults.status(502), faults.error(12002, 401)])
async def test_what_could_not_be_aborted_is_told_and_stops_nothing_else(
    service: FakeService, fault: Any, caplog: pytest.LogCaptureFixture
) -> None:
    ids = add_runs(service, 40)
    bad = set(ids[::7])
    service.faults.add(
        fault,
        operation="abortWorkerRun",
        times=10**6,
        match=lambda request: request.path.split("/")[-2] in bad,
    )
    async with client_of(service) as client:
        error = await leave_all(client, ids)

    assert aborted(service) == set(ids) - bad
    assert error.not_aborted == tuple(run_id for run_id in ids if run_id in bad)
    (note,) = error.__notes__
    assert f"{len(bad)} runs not aborted" in note
    assert all(run_id in note for run_id in bad)
    assert note in caplog.text


async def test_one_run_that_could_not_be_aborted_is_told_too(
    service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    (run_id,) = add_runs(service, 1)
    service.faults.add(faults.error(70002), operation="abortWorkerRun", times=10)
    async with client_of(service) as client:
        with pytest.raises(WaitTimeoutError) as caught:
            await client.runs.wait(run_id, timeout=30, on_cancel="abort")

    assert caught.value.not_aborted == (run_id,)
    assert f"1 run not aborted, which may go on and cost money: {run_id}" in caplog.text


async def test_a_cancelled_wait_tells_what_it_could_not_abort(
    service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    ids = add_runs(service, 5)
    service.faults.add(faults.error(70002), operation="abortWorkerRun", times=1)
    async with client_of(service) as client, anyio.create_task_group() as group:

        async def wait() -> None:
            async for _ in client.runs.wait_many(ids, on_cancel="abort"):
                pass

        group.start_soon(wait)
        await service.clock.sleep(50)
        group.cancel_scope.cancel()

    assert len(aborted(service)) == 4
    assert "run not aborted" in caplog.text


@pytest.mark.endurance
async def test_aborting_ends_in_time_when_the_service_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    service = FakeService()
    ids = add_runs(service, 3)

    class Silent(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.method == "POST":
                await anyio.sleep_forever()
            return await service.handle_async_request(request)

    real = anyio.current_time()
    async with AsyncCoreClaw(service.api_key, transport=Silent(), clock=service.clock) as client:
        error = await leave_all(client, ids)
        assert client.connections_in_use == 0

    assert 5 <= anyio.current_time() - real <= 12
    assert error.not_aborted == tuple(ids)
    assert "3 runs not aborted" in caplog.text


async def test_a_hook_that_breaks_an_abort_comes_out_alone(service: FakeService) -> None:
    class Broken(BaseException):
        pass

    class Breaking(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.method == "POST":
                raise Broken
            return await service.handle_async_request(request)

    ids = add_runs(service, 3)
    async with AsyncCoreClaw(service.api_key, transport=Breaking(), clock=service.clock) as client:
        with pytest.raises(Broken):
            await anext(client.runs.wait_many(ids, timeout=30, on_cancel="abort"))


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("times", [1, 2, 5])
async def test_however_often_asyncio_cancels_a_wait_its_runs_are_aborted_and_named(times: int) -> None:
    import asyncio

    service = FakeService()
    ids = add_runs(service, 3)
    async with client_of(service) as client:
        for run_id in ids:
            task = asyncio.create_task(client.runs.wait(run_id, on_cancel="abort"))
            for _ in range(40):
                await asyncio.sleep(0)
            for _ in range(times):
                task.cancel()
                await asyncio.sleep(0)
            with pytest.raises(asyncio.CancelledError) as caught:
                await task
            assert caught.value.__notes__ == [f"the wait for run {run_id} was left"]

    assert aborted(service) == set(ids)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("is_refused", [False, True])
async def test_a_cancellation_by_asyncio_while_runs_are_aborted_is_kept_and_names_what_was_not(
    is_refused: bool,
) -> None:
    import asyncio

    service = FakeService()
    (run_id,) = add_runs(service, 1)
    service.faults.add(faults.delay(1.0), operation="abortWorkerRun")
    if is_refused:
        service.faults.add(faults.error(10003, 403), operation="abortWorkerRun", times=99)
    async with client_of(service) as client:
        task = asyncio.create_task(client.runs.wait(run_id, timeout=30, on_cancel="abort"))
        await until(lambda: any(one.operation == "abortWorkerRun" for one in service.requests), "the abort")
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task

    assert aborted(service) == (set() if is_refused else {run_id})
    assert (run_id in str(getattr(caught.value, "__notes__", ""))) == is_refused
