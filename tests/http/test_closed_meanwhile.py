"""A client that is closed while calls are under way: each call says so, in whatever stage it is."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any

import anyio
import httpx
import pytest
from raw_server import RawServer, envelope, read_request, serve_sockets

from coreclaw_async import (
    AsyncCoreClaw,
    ConfigurationError,
    CoreClawError,
    NoReplyError,
    OutcomeUnknownError,
    RetryPolicy,
)

WORKER = "coreclaw/google-maps-scraper"
QUICK = RetryPolicy(connect_timeout=0.3, first_delay=0.01)
OURS = "the client is closed"
GIVEN = "the httpx client that was given as http_client is closed"


def handler(stage: str, was_closed: threading.Event | None = None) -> Any:
    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        request = None if stage == "connecting" else read_request(connection, number)
        if stage == "reading":
            connection.sendall(envelope({"balance": "1.00"})[:-5])
        if request is not None:
            server.requests.append(request)
        if stage == "connecting" and was_closed is not None:
            was_closed.wait(20)  # httpcore leaves a connection open whose making is cancelled, so it fails.
            return
        with contextlib.suppress(ConnectionResetError):
            while connection.recv(65_536):
                pass

    return handle


async def closed(stage: str, what: str, given: httpx.AsyncClient | None, **options: Any) -> list[CoreClawError]:
    """Return the errors of calls whose client is closed in a stage."""
    failed: list[CoreClawError] = []
    was_closed = None if given is None else threading.Event()
    with serve_sockets(handler(stage, was_closed)) as server:
        url = server.url.replace("http:", "https:") if stage == "connecting" else server.url
        calls = 2 if stage == "queueing" else 1
        client = AsyncCoreClaw(
            "key", base_url=url, max_connections=1, http_client=given, timeout=60, retry=QUICK, **options
        )

        async def call() -> None:
            with pytest.raises(CoreClawError) as caught:
                await (client.workers.start_run(WORKER, {}) if what == "start" else client.account.get())
            failed.append(caught.value)

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                for _ in range(calls):
                    tasks.start_soon(call)
                while not (server.connections if stage == "connecting" else server.requests):
                    await anyio.sleep(0.002)
                await anyio.wait_all_tasks_blocked()
                await anyio.sleep(0.05)  # Half an answer is on its way.
                await (client if given is None else given).aclose()
                if was_closed is not None:
                    was_closed.set()
            while given is None and server.closed < server.connections:  # We leave no connection open.
                await anyio.sleep(0.002)
        assert len(server.requests) <= 1, "nothing is sent by a client that is closed"
    return failed


STAGES = ["queueing", "connecting", "sent", "reading"]


@pytest.mark.both_backends
@pytest.mark.parametrize("is_given", [False, True])
@pytest.mark.parametrize("stage", STAGES)
async def test_a_read_of_a_client_that_is_closed_meanwhile_says_so(stage: str, is_given: bool) -> None:
    given = httpx.AsyncClient(verify=False) if is_given else None
    failed = await closed(stage, "read", given, **({} if is_given else {"verify": False}))

    assert [type(error) for error in failed] == [ConfigurationError] * len(failed)
    assert all((GIVEN if is_given else OURS) in str(error) for error in failed)


@pytest.mark.parametrize("is_given", [False, True])
@pytest.mark.parametrize("stage", STAGES)
async def test_a_start_of_a_client_that_is_closed_meanwhile_says_what_may_have_happened(
    stage: str, is_given: bool
) -> None:
    given = httpx.AsyncClient(verify=False) if is_given else None
    failed = await closed(stage, "start", given, **({} if is_given else {"verify": False}))

    said = GIVEN if is_given else OURS
    kinds = {type(error) for error in failed}
    assert kinds == {
        "queueing": {OutcomeUnknownError, ConfigurationError},
        "connecting": {ConfigurationError},
    }.get(stage, {OutcomeUnknownError})
    for error in failed:
        assert said in str(error)
        assert (error.may_have_taken_effect, error.candidates) == (isinstance(error, OutcomeUnknownError), None)
        if isinstance(error, OutcomeUnknownError):
            assert isinstance(error.__cause__, NoReplyError)
            assert f"got no whole answer: {said}" in str(error.__cause__)
