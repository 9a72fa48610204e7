"""A call that costs money shares its connection with nothing, and no answer is taken for that of another request."""

from __future__ import annotations

import contextlib
import gc
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest
import trustme
from either_client import AsyncCoreClaw
from quick_cases import slowly
from raw_server import RUN_IDS, RawRequest, RawServer, answering, envelope, http, read_request, reset, serve_sockets
from tls_tunnel import tls_server_context
from waiting import until

from coreclaw_async import CoreClawError, OutcomeUnknownError, RetryPolicy

WORKER = "coreclaw/google-maps-scraper"
INPUT = {"keywords": ["coffee"]}
ACCOUNT = envelope({"balance": "1.00"})
QUICK = RetryPolicy(max_attempts=4, first_delay=0.01, max_delay=0.01)

SURPLUS = {
    "a refusal for the rate": http(429, b'{"code":13000,"message":"slow down"}'),
    "a refusal of the input": http(400, b'{"code":11000,"message":"no"}'),
    "a refusal of the plan": http(400, b'{"code":30003,"message":"wait"}'),
    "a success with another run": envelope({"run_slug": RUN_IDS[99]}),
    "half an answer": b"HTTP/1.1 200 OK\r\nContent-Le",
    "garbage": b"\x00\x01garbage\r\n\r\n",
}


def start_answer(request: RawRequest, server: RawServer) -> bytes:
    return envelope({"run_slug": RUN_IDS[len(server.of("POST"))]})


@pytest.mark.both_backends
@slowly("surplus", *SURPLUS.values())
async def test_bytes_beyond_an_answer_are_not_taken_for_that_of_a_start(surplus: bytes) -> None:
    def answer(request: RawRequest, server: RawServer) -> bytes:
        return ACCOUNT + surplus if request.method == "GET" else start_answer(request, server)

    with serve_sockets(answering(answer)) as server:
        async with AsyncCoreClaw("key", base_url=server.url, retry=QUICK, timeout=20.0) as client:
            await client.account.get()
            started = await client.workers.start_run(WORKER, INPUT)

    assert started.run_id == RUN_IDS[1]
    assert len(server.of("POST")) == 1


@pytest.mark.async_client_only
@slowly("surplus", *SURPLUS.values())
async def test_bytes_beyond_an_answer_are_not_taken_for_that_of_a_start_by_a_callers_own_client(surplus: bytes) -> None:
    def answer(request: RawRequest, server: RawServer) -> bytes:
        return ACCOUNT + surplus if request.method == "GET" else start_answer(request, server) + surplus

    with serve_sockets(answering(answer)) as server:
        async with httpx.AsyncClient(mounts={"all://": httpx.AsyncHTTPTransport()}) as http:
            client = AsyncCoreClaw("key", base_url=server.url, http_client=http, retry=QUICK, timeout=20.0)
            await client.account.get()
            ids = [(await client.workers.start_run(WORKER, INPUT)).run_id for _ in range(3)]

    assert ids == RUN_IDS[1:4]
    assert len(server.of("POST")) == 3


@slowly("surplus", *SURPLUS.values())
async def test_bytes_beyond_an_answer_to_a_start_are_not_taken_for_that_of_the_next(surplus: bytes) -> None:
    def answer(request: RawRequest, server: RawServer) -> bytes:
        return start_answer(request, server) + surplus

    with serve_sockets(answering(answer)) as server:
        async with AsyncCoreClaw("key", base_url=server.url, retry=QUICK, timeout=20.0) as client:
            ids = [(await client.workers.start_run(WORKER, INPUT)).run_id for _ in range(3)]

    assert ids == RUN_IDS[1:4]
    assert [request.connection for request in server.requests] == [1, 2, 3]


@pytest.mark.both_backends
@pytest.mark.parametrize("surplus", [envelope({"balance": "999.00"}), b"HTTP/1.1 200 OK\r\nContent-Le"])
async def test_bytes_beyond_an_answer_are_not_taken_for_that_of_a_read(surplus: bytes) -> None:
    def answer(request: RawRequest, server: RawServer) -> bytes:
        return envelope({"balance": f"{len(server.requests)}.00"}) + surplus

    with serve_sockets(answering(answer)) as server:
        async with AsyncCoreClaw("key", base_url=server.url, retry=QUICK, timeout=20.0) as client:
            balances = [str((await client.account.get()).balance) for _ in range(4)]

    assert balances == ["1.00", "2.00", "3.00", "4.00"]
    assert [request.connection for request in server.requests] == [1, 2, 3, 4]


def filling(size: int) -> bytes:
    """Return an answer of exactly so many bytes."""
    short = envelope({"balance": "1.00"}, 0, 200, "X-Filler: ")
    return short.replace(b"X-Filler: ", b"X-Filler: " + b"x" * (size - len(short)))


@pytest.mark.both_backends
async def test_bytes_that_an_event_loop_has_read_too_are_not_taken_for_the_answer_to_a_read() -> None:
    def answer(request: RawRequest, server: RawServer) -> bytes:
        return filling(65_536) + envelope({"balance": "999.00"})

    with serve_sockets(answering(answer)) as server:
        async with AsyncCoreClaw("key", base_url=server.url, retry=QUICK, timeout=20.0) as client:
            balances = [str((await client.account.get()).balance) for _ in range(4)]

    assert balances == ["1.00"] * 4
    assert [request.connection for request in server.requests] == [1, 2, 3, 4]


@pytest.mark.async_client_only
@pytest.mark.parametrize("library", ["httpx", "httpx2"])
async def test_bytes_that_an_event_loop_has_read_too_are_not_taken_for_the_answer_to_a_start(library: str) -> None:
    def answer(request: RawRequest, server: RawServer) -> bytes:
        if request.method == "GET":
            return filling(65_536) + envelope({"run_slug": RUN_IDS[99]})
        return start_answer(request, server)

    with serve_sockets(answering(answer)) as server:
        async with pytest.importorskip(library).AsyncClient() as http:
            client = AsyncCoreClaw("key", base_url=server.url, http_client=http, retry=QUICK, timeout=20.0)
            await client.account.get()
            started = await client.workers.start_run(WORKER, INPUT)

    assert started.run_id == RUN_IDS[1]
    assert len(server.of("POST")) == 1


def over_tls(
    authority: trustme.CA, answer: Callable[[RawRequest, RawServer], bytes], surplus: bytes
) -> Callable[[socket.socket, int, RawServer], None]:
    """Return a handler that sends the surplus bytes in a TLS record of their own, but in the same packet."""
    context = tls_server_context(authority)

    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        with context.wrap_socket(connection, server_side=True) as tls:
            while (request := read_request(tls, number)) is not None:
                server.requests.append(request)
                tls.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
                tls.sendall(answer(request, server))
                tls.sendall(surplus if request.method == "GET" else b"")
                tls.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)

    return handle


@pytest.mark.both_backends
@pytest.mark.skipif(not hasattr(socket, "TCP_CORK"), reason="needs to hold a packet back until it is whole")
@pytest.mark.parametrize("surplus", [SURPLUS["a refusal for the rate"], SURPLUS["a success with another run"]])
async def test_bytes_that_wait_for_tls_are_not_taken_for_that_of_a_read(surplus: bytes, trusted: trustme.CA) -> None:
    def answer(request: RawRequest, server: RawServer) -> bytes:
        return envelope({"balance": f"{len(server.requests)}.00"})

    with serve_sockets(over_tls(trusted, answer, surplus)) as server:
        url = f"https://localhost:{server.port}"
        async with AsyncCoreClaw("key", base_url=url, retry=QUICK, timeout=20.0) as client:
            balances = [str((await client.account.get()).balance) for _ in range(3)]

    assert balances == ["1.00", "2.00", "3.00"]


@pytest.mark.endurance
@pytest.mark.async_client_only
@pytest.mark.skipif(not hasattr(socket, "TCP_CORK"), reason="needs to hold a packet back until it is whole")
@pytest.mark.parametrize("surplus", [SURPLUS["a refusal for the rate"], SURPLUS["a success with another run"]])
@pytest.mark.parametrize("way", ["http_client", "httpx2", "transport", "a transport in a transport"])
async def test_bytes_that_wait_for_tls_are_not_taken_for_that_of_a_start(
    way: str, surplus: bytes, trusted: trustme.CA
) -> None:
    class Passing(httpx.AsyncBaseTransport):
        def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
            self.inner = inner

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return await self.inner.handle_async_request(request)

        async def aclose(self) -> None:
            await self.inner.aclose()

    def answer(request: RawRequest, server: RawServer) -> bytes:
        said = ACCOUNT if request.target.endswith("/account") else envelope({"count": 0, "list": []})
        return said if request.method == "GET" else start_answer(request, server)

    context = ssl.create_default_context()
    trusted.configure_trust(context)
    library: Any = pytest.importorskip("httpx2") if way == "httpx2" else httpx
    with serve_sockets(over_tls(trusted, answer, surplus)) as server:
        async with library.AsyncClient(verify=context) as http_client:
            plain = httpx.AsyncHTTPTransport(verify=context)
            ways: dict[str, Any] = {
                "http_client": {"http_client": http_client},
                "httpx2": {"http_client": http_client},
                "transport": {"transport": plain},
                "a transport in a transport": {"transport": Passing(Passing(plain))},
            }
            url = f"https://localhost:{server.port}"
            async with AsyncCoreClaw("key", base_url=url, retry=QUICK, timeout=20.0, **ways[way]) as client:
                await client.account.get()
                if way == "a transport in a transport":  # It may have sent the request without telling anybody.
                    with pytest.raises(OutcomeUnknownError):
                        await client.workers.start_run(WORKER, INPUT)
                    assert server.of("POST") == []
                else:
                    assert (await client.workers.start_run(WORKER, INPUT)).run_id == RUN_IDS[1]
                    assert len(server.of("POST")) == 1


@pytest.mark.async_client_only
@pytest.mark.parametrize("surplus", [SURPLUS["a refusal for the rate"], SURPLUS["a success with another run"]])
async def test_a_start_that_queues_in_a_callers_pool_is_not_answered_by_what_came_before(surplus: bytes) -> None:
    may_answer = threading.Event()

    def answer(request: RawRequest, server: RawServer) -> bytes:
        if request.method == "GET":
            may_answer.wait(20)
            return ACCOUNT + surplus
        return start_answer(request, server)

    started = []
    with serve_sockets(answering(answer)) as server:
        async with httpx.AsyncClient(limits=httpx.Limits(max_connections=1)) as http_client:
            client = AsyncCoreClaw("key", base_url=server.url, http_client=http_client, retry=QUICK, timeout=20.0)

            async def start() -> None:
                started.append(await client.workers.start_run(WORKER, INPUT))

            async with anyio.create_task_group() as group:
                group.start_soon(client.account.get)
                await until(lambda: server.requests, "the read", pause=0.01)
                group.start_soon(start)
                await anyio.wait_all_tasks_blocked()
                may_answer.set()

    assert [run.run_id for run in started] == [RUN_IDS[1]]
    assert len(server.of("POST")) == 1


@pytest.mark.both_backends
@pytest.mark.async_client_only
@slowly("turns", 2, 0, 1, 3, 4, 5)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_closing_a_client_while_a_request_connects_leaves_no_connection_open(method: str, turns: int) -> None:
    def answer(request: RawRequest, server: RawServer) -> bytes:
        return ACCOUNT if request.method == "GET" else start_answer(request, server)

    async def ask(client: AsyncCoreClaw) -> None:
        with contextlib.suppress(CoreClawError):
            await (client.account.get() if method == "GET" else client.workers.start_run(WORKER, INPUT))

    with serve_sockets(answering(answer)) as server:
        client = AsyncCoreClaw("key", base_url=server.url, retry=QUICK, timeout=20.0)
        gc.disable()  # Which would close what was forgotten.
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(ask, client)
                await until(lambda: client.connections_in_use, "the connection")
                for _ in range(turns):
                    await anyio.lowlevel.checkpoint()
                await client.aclose()
            with anyio.fail_after(20):
                while server.closed < server.connections:
                    await anyio.sleep(0.01)
        finally:
            gc.enable()


@pytest.mark.both_backends
async def test_reads_share_a_connection_and_starts_have_one_each() -> None:
    def answer(request: RawRequest, server: RawServer) -> bytes:
        return ACCOUNT if request.method == "GET" else start_answer(request, server)

    with serve_sockets(answering(answer)) as server:
        async with AsyncCoreClaw("key", base_url=server.url) as client:
            for _ in range(3):
                await client.account.get()
                await client.workers.start_run(WORKER, INPUT)
            with anyio.fail_after(20):
                while server.closed < 3:  # Those of the starts, which end with their answers.
                    await anyio.sleep(0.01)
            assert client.connections_in_use == 0

    assert len({request.connection for request in server.of("GET")}) == 1
    assert len({request.connection for request in server.of("POST")}) == 3
    assert server.connections == 4


@pytest.mark.both_backends
async def test_a_server_that_closes_idle_connections_leaves_no_start_open() -> None:
    def answer(request: RawRequest, server: RawServer) -> bytes:
        return ACCOUNT if request.method == "GET" else start_answer(request, server)

    def handle_once(connection: socket.socket, number: int, server: RawServer) -> None:
        request = read_request(connection, number)
        if request is not None:
            server.requests.append(request)
            connection.sendall(answer(request, server))

    with serve_sockets(handle_once) as server:
        async with AsyncCoreClaw("key", base_url=server.url, retry=QUICK, timeout=20.0) as client:
            for _ in range(5):
                await client.account.get()
                await client.workers.start_run(WORKER, INPUT)

    assert len(server.of("POST")) == 5


@pytest.mark.both_backends
async def test_no_more_connections_are_open_than_requests_may_be_under_way() -> None:
    def answer(request: RawRequest, server: RawServer) -> bytes:
        return ACCOUNT if request.method == "GET" else start_answer(request, server)

    with serve_sockets(answering(answer)) as server:
        async with AsyncCoreClaw("key", base_url=server.url, max_connections=1) as client:
            await client.account.get()
            await client.workers.start_run(WORKER, INPUT)
            await client.account.get()
            with anyio.fail_after(20):
                while server.closed < 2:
                    await anyio.sleep(0.01)

    assert server.connections == 3


@pytest.mark.both_backends
async def test_a_start_whose_connection_is_reset_is_sent_once() -> None:
    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        request = read_request(connection, number)
        if request is None:
            return
        server.requests.append(request)
        if request.method == "POST":
            reset(connection)
        else:
            connection.sendall(envelope({"count": 0, "list": []}))

    with serve_sockets(handle) as server:
        async with AsyncCoreClaw("key", base_url=server.url, retry=QUICK, timeout=20.0) as client:
            with pytest.raises(OutcomeUnknownError) as caught:
                await client.workers.start_run(WORKER, INPUT)

    assert caught.value.candidates == ()
    assert len(server.of("POST")) == 1


@pytest.mark.async_client_only
async def test_a_start_is_sent_while_a_callers_client_waits_for_another_answer() -> None:
    may_answer = threading.Event()

    def answer(request: RawRequest, server: RawServer) -> bytes:
        if request.method == "GET":
            may_answer.wait(20)
            return ACCOUNT
        return start_answer(request, server)

    with serve_sockets(answering(answer)) as server:
        async with httpx.AsyncClient() as http_client, anyio.create_task_group() as group:
            client = AsyncCoreClaw("key", base_url=server.url, http_client=http_client, retry=QUICK, timeout=20.0)
            group.start_soon(client.account.get)
            await until(lambda: server.requests, "the read", pause=0.01)
            started = await client.workers.start_run(WORKER, INPUT)
            may_answer.set()

    assert started.run_id == RUN_IDS[1]
