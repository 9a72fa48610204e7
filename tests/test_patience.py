"""A read is retried until the deadline of its call; an attempt that falls silent is given up for another one."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import anyio
import httpx
import pytest
from either_client import AsyncCoreClaw
from quick_cases import slowly
from raw_server import RawServer, envelope, read_request, serve_sockets, silent

from coreclaw_async import (
    InvalidResponseError,
    LastRun,
    NoReplyError,
    OutcomeUnknownError,
    PaginationError,
    RequestNotSentError,
    RetryPolicy,
    ServiceError,
)
from coreclaw_async._operations.lists import ALL_RUNS
from coreclaw_async._operations.run_reader import list_reader
from coreclaw_async.testing import FakeService, RunScript, faults

WORKER = "coreclaw/google-maps-scraper"
INPUT = {"keywords": ["coffee"]}
ACCOUNT = envelope({"balance": "1.00"})


def out_for(service: FakeService, seconds: float) -> None:
    """Have every request fail with 502 until *seconds* have passed."""
    service.faults.add(
        faults.status(502, body=b"<html>bad gateway</html>"),
        times=10_000,
        match=lambda request: service.clock.monotonic() < seconds,
    )


async def test_reads_go_on_through_an_outage_that_is_shorter_than_their_deadline(service: FakeService) -> None:
    run_id = service.add_run(WORKER, rows=30)
    out_for(service, 40)
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        assert (await client.runs.get(run_id)).run_id == run_id

    assert 40 <= service.clock.monotonic() < 60


@slowly("outage", 55.0, 1.0, 5.0, 30.0)
async def test_rows_come_whole_through_an_outage(service: FakeService, outage: float) -> None:
    run_id = service.add_run(WORKER, rows=250)
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        pager = client.runs.iterate_results(run_id)
        first = await pager.first()
        out_for(service, service.clock.monotonic() + outage)
        rest = await pager.collect()

    assert first is not None
    assert len(rest) == 249


async def test_a_read_that_never_succeeds_fails_at_its_deadline_and_not_before(service: FakeService) -> None:
    out_for(service, 10_000)
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        with pytest.raises(ServiceError):
            await client.account.get()

    assert 58 <= service.clock.monotonic() <= 60
    assert len(service.requests) < 20


@pytest.mark.parametrize(("policy", "most"), [(RetryPolicy(max_attempts=3), 3), (RetryPolicy(max_elapsed=5.0), 12)])
async def test_a_policy_may_be_less_patient(service: FakeService, policy: RetryPolicy, most: int) -> None:
    out_for(service, 10_000)
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, retry=policy) as client:
        with pytest.raises(ServiceError):
            await client.account.get()

    assert len(service.requests) <= most
    assert service.clock.monotonic() <= 5


async def test_the_look_after_a_lost_start_is_made_within_its_own_time(service: FakeService) -> None:
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    service.faults.add(faults.status(502), operation="listWorkerRuns", times=2)
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.workers.start_run(WORKER, INPUT)

    assert caught.value.candidates == tuple(service.runs)


async def test_a_silent_attempt_of_a_read_is_given_up_for_another_one() -> None:
    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        while (request := read_request(connection, number)) is not None:
            server.requests.append(request)
            if len(server.requests) == 2:
                connection.recv(1)  # Until the client gives up.
                return
            connection.sendall(ACCOUNT)

    policy = RetryPolicy(first_delay=0.01, attempt_timeout=1.0)
    with serve_sockets(handle) as server:
        async with AsyncCoreClaw("key", base_url=server.url, retry=policy, timeout=60) as client:
            await client.account.get()
            began = time.monotonic()
            await client.account.get()
            assert time.monotonic() - began < 30
            assert client.connections_in_use == 0

    assert len(server.requests) == 3


@pytest.mark.async_client_only
async def test_a_silent_connection_takes_the_idle_ones_with_it() -> None:
    """A network that changes silences all connections at once; trying them one after another would take minutes."""
    is_silent = False
    all_are_there = threading.Barrier(5)

    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        while (request := read_request(connection, number)) is not None:
            server.requests.append(request)
            if is_silent and number <= 5:
                connection.recv(1)
                return
            if not is_silent:
                all_are_there.wait(20)  # So that each has a connection of its own.
            connection.sendall(ACCOUNT)

    policy = RetryPolicy(first_delay=0.01, attempt_timeout=1.5)
    with serve_sockets(handle) as server:
        async with AsyncCoreClaw("key", base_url=server.url, retry=policy, timeout=60) as client:
            async with anyio.create_task_group() as group:
                for _ in range(5):
                    group.start_soon(client.account.get)
            is_silent = True
            before = len(server.requests)
            await client.account.get()

    assert len(server.requests) - before == 2


async def test_an_answer_that_comes_slowly_is_not_silent() -> None:
    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        while (request := read_request(connection, number)) is not None:
            server.requests.append(request)
            for byte in ACCOUNT[:-15], *(bytes([byte]) for byte in ACCOUNT[-15:]):
                connection.sendall(byte)
                time.sleep(0.1)

    policy = RetryPolicy(first_delay=0.01, attempt_timeout=1.0)
    with serve_sockets(handle) as server:
        async with AsyncCoreClaw("key", base_url=server.url, retry=policy, timeout=60) as client:
            await client.account.get()

    assert len(server.requests) == 1


async def test_a_start_is_waited_for_however_silent_it_is() -> None:
    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        request = read_request(connection, number)
        if request is not None:
            server.requests.append(request)
            time.sleep(0.4)
            connection.sendall(envelope({"run_slug": "01KZAZ2B7T3Q0R8C784NCRWC03"}))

    policy = RetryPolicy(first_delay=0.01, attempt_timeout=0.1, connect_timeout=0.3)
    with serve_sockets(handle) as server:
        async with AsyncCoreClaw("key", base_url=server.url, retry=policy, timeout=10) as client:
            started = await client.workers.start_run(WORKER, INPUT)

    assert started.run_id == "01KZAZ2B7T3Q0R8C784NCRWC03"
    assert len(server.requests) == 1


async def test_a_proxy_that_does_not_answer_costs_a_start_the_connect_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = RetryPolicy(max_attempts=3, first_delay=0.01, max_delay=0.01, connect_timeout=0.2)
    with serve_sockets(silent) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        async with AsyncCoreClaw("key", base_url="https://api.coreclaw.test", retry=policy, timeout=10) as client:
            with pytest.raises(RequestNotSentError, match=r"no connection within 0\.2 s"):
                await client.workers.start_run(WORKER, INPUT)

    assert len(proxy.requests) == 3


async def test_a_read_that_stays_silent_says_so() -> None:
    policy = RetryPolicy(max_attempts=2, first_delay=0.01, attempt_timeout=0.2)
    with serve_sockets(silent) as server:
        async with AsyncCoreClaw("key", base_url=server.url, retry=policy, timeout=10) as client:
            with pytest.raises(NoReplyError, match=r"got nothing for 0\.2 s"):
                await client.account.get()


async def test_a_start_that_waits_by_contract_is_not_given_up_for_silence() -> None:
    service = FakeService()
    service.script_next(RunScript(duration=120.0, rows=3))
    async with AsyncCoreClaw(
        service.api_key, transport=service, clock=service.clock, retry=RetryPolicy(attempt_timeout=0.05)
    ) as client:
        started = await client.workers.start_run(WORKER, INPUT, is_async=False)

    assert started.status == "succeeded"


@pytest.mark.async_client_only
async def test_a_callers_client_that_stays_silent_is_left_as_it_is() -> None:
    policy = RetryPolicy(max_attempts=1, attempt_timeout=0.2)
    with serve_sockets(silent) as server:
        async with httpx.AsyncClient() as http_client:
            client = AsyncCoreClaw("key", base_url=server.url, http_client=http_client, retry=policy)
            with pytest.raises(NoReplyError, match=r"got nothing for 0\.2 s"):
                await client.account.get()


async def test_a_last_run_whose_id_names_none_is_a_broken_answer(service: FakeService, tmp_path: Path) -> None:
    service.add_run(WORKER)
    change = faults.edit(lambda envelope: {**envelope, "data": {**envelope["data"], "slug": "a/b"}})
    service.faults.add(change, operation="getLastWorkerRun", times=99)
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        with pytest.raises(InvalidResponseError, match="the last run cannot be named"):
            await client.runs.download(LastRun(), tmp_path / "rows.csv")
        with pytest.raises(InvalidResponseError, match="the last run cannot be named"):
            await client.runs.iterate_results(LastRun(), partial=True).collect()


@pytest.mark.async_client_only
async def test_a_list_of_runs_is_left_after_as_many_requests_as_it_is_worth(service: FakeService) -> None:
    for _ in range(250):
        service.add_run(WORKER, age=60.0)
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        with pytest.raises(PaginationError, match="left after 2 requests"):
            await list_reader(client._context, ALL_RUNS, None, most=2, seconds=5.0).collect()

    assert len(service.requests) == 2
