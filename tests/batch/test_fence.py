"""A start that was not sent within its window is never sent: a process that stood still does not pay twice."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import attrs
import httpx
import postgres_server
import pytest
import trustme
from batch import stopped
from batch.batches import WORKER, finish, opened, runs_by_key, specs
from raw_server import RUN_IDS, RawRequest, RawServer, envelope, read_request, reset, serve_sockets
from tls_tunnel import tls_server_context
from waiting import until

from coreclaw_async import (
    AsyncBatch,
    AsyncCoreClaw,
    BatchOutcome,
    LedgerError,
    OutcomeUnknownError,
    RequestNotSentError,
    RetryPolicy,
    RunSpec,
    SettleTimes,
)
from coreclaw_async._http.fence import FencedBody, SendWindow, TooLateError
from coreclaw_async._operations.start import once_request, send_start
from coreclaw_async.batch import BatchItemState
from coreclaw_async.batch._evidence import leaves_within, settled_at
from coreclaw_async.errors import SendTimeoutError
from coreclaw_async.events import BatchItemChanged, Event, RequestSent
from coreclaw_async.models import StartedRun
from coreclaw_async.testing import FakeService, RealClock, RunScript, faults

LARGE = 12_000_000  # More than the two ends of a connection hold.
PATIENCE = 120.0


@attrs.define
class Clock:
    """The machine's clocks, which the test moves on: both, or one of them."""

    monotonic_ahead: float = 0.0
    time_ahead: float = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.monotonic_ahead

    def time(self) -> float:
        return time.time() + self.time_ahead

    async def sleep(self, seconds: float, /) -> None:
        await anyio.sleep(seconds)

    def stand_still(self) -> None:
        """The process is stopped for a minute."""
        self.monotonic_ahead += 60.0
        self.time_ahead += 60.0

    def suspend(self) -> None:
        """The machine is suspended, and its monotonic clock stands still."""
        self.time_ahead += 60.0

    def set_back(self) -> None:
        """The process is stopped, and the wall clock is set back meanwhile."""
        self.monotonic_ahead += 60.0
        self.time_ahead -= 60.0


async def send(client: AsyncCoreClaw, size: int, *, first: float = 5.0, last: float = 10.0) -> StartedRun:
    context = client._context
    request = once_request("runWorker", "workers", "w", "runs", input={"x": "x" * size}, is_async=True)
    window = SendWindow.open(context.transport.clock, first=first, last=last)
    return await send_start(context, request, deadline=context.transport.clock.monotonic() + 300.0, window=window)


def receive(
    connection: socket.socket, number: int, server: RawServer, at: int = -1, then: Callable[[], object] = bool
) -> None:
    """Read one request, call *then* when *at* bytes of its body are there, and answer when it is whole."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65_536)
        if not chunk:
            return
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    got = bytearray(body)
    is_told = False
    while len(got) < length:
        if len(got) >= at >= 0 and not is_told:
            is_told = True
            then()
        chunk = connection.recv(65_536)
        if not chunk:
            return
        got += chunk
    method, target, _ = head.split(b"\r\n")[0].decode().split(" ", 2)
    server.requests.append(RawRequest(number, method, target, head, bytes(got)))
    connection.sendall(envelope({"run_slug": RUN_IDS[1]}))


WAYS = ["own connections", "a caller's client", "a caller's httpx2 client", "a caller's transport"]


@contextlib.asynccontextmanager
async def client_by(way: str, url: str, clock: Clock, context: ssl.SSLContext | bool = True) -> AsyncIterator[Any]:
    async with contextlib.AsyncExitStack() as stack:
        options: dict[str, Any] = {}
        if way.endswith("client"):
            library: Any = pytest.importorskip("httpx2") if "httpx2" in way else httpx
            options["http_client"] = await stack.enter_async_context(library.AsyncClient(verify=context))
        if way == "a caller's transport":
            options["transport"] = httpx.AsyncHTTPTransport(verify=context)
        client = AsyncCoreClaw("key", base_url=url, clock=clock, timeout=300.0, **options)
        yield await stack.enter_async_context(client)


HALTS = [Clock.stand_still, Clock.suspend, Clock.set_back]


@pytest.mark.parametrize("halt", HALTS)
@pytest.mark.parametrize("way", WAYS)
async def test_what_is_too_late_before_its_first_byte_is_not_sent(
    way: str, halt: Callable[[Clock], None], trusted: trustme.CA
) -> None:
    clock, tls = Clock(), tls_server_context(trusted)

    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        halt(clock)  # Connected, and not yet encrypted.
        with tls.wrap_socket(connection, server_side=True) as inner:
            receive(inner, number, server)

    context = ssl.create_default_context()
    trusted.configure_trust(context)
    with serve_sockets(handle) as server:
        async with client_by(way, f"https://localhost:{server.port}", clock, context) as client:
            with pytest.raises(SendTimeoutError, match=r"was not sent, it was too late: \S+ s have passed") as caught:
                await send(client, 100)
            assert (caught.value.may_have_taken_effect, server.requests) == (False, [])
            clock.monotonic_ahead = clock.time_ahead = 0.0
            assert (await send(client, 100, first=math.inf, last=math.inf)).run_id == RUN_IDS[1]

    assert len(server.requests) == 1, "without the window it is sent: that is what the test proves"


@pytest.mark.endurance
@pytest.mark.parametrize("halt", HALTS)
@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("way", WAYS)
async def test_a_body_that_was_held_up_in_its_middle_never_becomes_whole(
    way: str, is_tls: bool, halt: Callable[[Clock], None], trusted: trustme.CA
) -> None:
    clock, tls = Clock(), tls_server_context(trusted)

    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        with tls.wrap_socket(connection, server_side=True) if is_tls else connection as inner:
            receive(inner, number, server, 1_000_000, lambda: halt(clock))

    context = ssl.create_default_context()
    trusted.configure_trust(context)
    with serve_sockets(handle) as server:
        url = f"{'https' if is_tls else 'http'}://localhost:{server.port}"
        async with client_by(way, url, clock, context) as client:
            with pytest.raises(SendTimeoutError, match=r"its 120000\d\d bytes had not left in time") as caught:
                await send(client, LARGE)
            assert (caught.value.may_have_taken_effect, server.requests) == (False, [])
            assert (await send(client, LARGE, first=math.inf, last=math.inf)).run_id == RUN_IDS[1]

    assert len(server.requests) == 1, "without the window it is sent: that is what the test proves"


@pytest.mark.parametrize("size", [0, 1, 65_500, 65_520, 65_521, 65_522, 65_523, 131_060, 300_000])
@pytest.mark.parametrize("way", WAYS)
async def test_a_body_in_pieces_comes_as_it_is(way: str, size: int) -> None:
    with serve_sockets(receive) as server:
        async with client_by(way, server.url, Clock()) as client:
            assert (await send(client, size)).run_id == RUN_IDS[1]

    (request,) = server.requests
    assert request.body == b'{"input":{"x":"%b"},"is_async":true}' % (b"x" * size)
    assert b"transfer-encoding" not in request.head.lower()


@pytest.mark.parametrize("size", [0, 1, 2, 65_536, 65_537, 65_538, 200_000])
async def test_the_last_piece_is_one_byte_and_is_given_out_in_time_only(size: int) -> None:
    clock = Clock()
    content = os.urandom(size)
    body = FencedBody(content, SendWindow.open(clock, first=5.0, last=10.0))
    pieces = [piece async for piece in body]

    assert b"".join(pieces) == content
    assert body.is_whole is (size > 0)
    assert [len(piece) for piece in pieces[-1:]] == [1] * (size > 0)
    assert max(map(len, pieces), default=0) <= 65_536

    late = FencedBody(content, SendWindow.open(clock, first=5.0, last=10.0))
    given = aiter(late)
    for _ in pieces[:-1]:
        await anext(given)
    clock.stand_still()
    if size:
        with pytest.raises(TooLateError, match="it was too late" if size == 1 else "had not left in time"):
            await anext(given)
        clock.time_ahead = clock.monotonic_ahead = 0.0
        with pytest.raises(TooLateError):  # A withheld request stays withheld, whatever the clocks show.
            await anext(aiter(late))
    assert not late.is_whole


async def test_a_body_that_breaks_off_in_its_middle_was_not_sent() -> None:
    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        receive(connection, number, server, 1_000_000, lambda: reset(connection))

    with serve_sockets(handle) as server:
        async with AsyncCoreClaw("key", base_url=server.url, retry=RetryPolicy(max_attempts=1)) as client:
            with pytest.raises(RequestNotSentError) as caught:
                await send(client, LARGE)

    assert not caught.value.may_have_taken_effect


@pytest.mark.parametrize(("left", "run_id"), [(-1, RUN_IDS[1]), (20, None)], ids=["body", "head"])
async def test_a_start_whose_answer_begins_before_its_last_byte_and_breaks_off_may_have_started_a_run(
    left: int, run_id: str | None
) -> None:
    goes_on = threading.Event()

    def answer(connection: socket.socket) -> None:
        connection.sendall(envelope({"run_slug": RUN_IDS[1]})[:left])
        connection.shutdown(socket.SHUT_WR)
        goes_on.wait(20)

    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        receive(connection, number, server, 1_000_000, lambda: answer(connection))

    with serve_sockets(handle) as server:
        async with AsyncCoreClaw("key", base_url=server.url, retry=RetryPolicy(max_attempts=1)) as client:
            try:
                with pytest.raises(OutcomeUnknownError) as caught:
                    await send(client, LARGE)
            finally:
                goes_on.set()

    assert caught.value.run_id == run_id


async def send_another_body(request: Any) -> None:
    request.stream = httpx.ByteStream(b"{}")
    request.headers["Content-Length"] = "2"


async def read_the_body(request: Any) -> None:
    await request.aread()


@pytest.mark.parametrize("hook", [send_another_body, read_the_body])
async def test_a_start_whose_body_a_hook_has_changed_or_read_may_have_started_a_run(hook: Any) -> None:
    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        request = read_request(connection, number)
        assert request is not None
        server.requests.append(request)

    with serve_sockets(handle) as server:
        async with httpx.AsyncClient(event_hooks={"request": [hook]}, verify=False) as own:
            client = AsyncCoreClaw("key", base_url=server.url, http_client=own, timeout=2)
            with pytest.raises(OutcomeUnknownError):
                await send(client, 10)

    assert len(server.of("POST")) == 1


@pytest.mark.endurance
async def test_the_deadline_of_a_call_that_comes_in_the_middle_of_a_body_says_so() -> None:
    goes_on = threading.Event()

    def handle(connection: socket.socket, number: int, server: RawServer) -> None:
        receive(connection, number, server, 1_000_000, lambda: goes_on.wait(10))

    with serve_sockets(handle) as server:
        async with AsyncCoreClaw("key", base_url=server.url) as client:
            request = once_request("runWorker", "workers", "w", "runs", input={"x": "x" * LARGE})
            window = SendWindow.open(client._context.transport.clock, first=5.0, last=10.0)
            deadline = client._context.transport.clock.monotonic() + 0.5
            with pytest.raises(SendTimeoutError, match=r"was not sent: \S+ s passed before it was sent"):
                await send_start(client._context, request, deadline=deadline, window=window)
        goes_on.set()

    assert server.requests == []


class Greedy(httpx.AsyncBaseTransport):
    """A transport that reads the whole body first, and may have sent it anywhere."""

    def __init__(self, clock: Clock, looks: int) -> None:
        self._clock = clock
        self._looks = looks

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        for _ in range(self._looks):
            b"".join([piece async for piece in request.stream])
            self._clock.stand_still()
        raise httpx.ConnectError("the name of an error proves nothing", request=request)


@pytest.mark.parametrize("looks", [1, 2])
async def test_what_was_given_out_whole_may_have_been_sent(looks: int) -> None:
    clock = Clock()
    async with AsyncCoreClaw("key", transport=Greedy(clock, looks), clock=clock) as client:
        with pytest.raises(OutcomeUnknownError):
            await send(client, 100)


class Passing(httpx.AsyncBaseTransport):
    """A service that takes each piece of a body slowly."""

    def __init__(self, service: FakeService, seconds: float) -> None:
        self._service = service
        self._seconds = seconds

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        pieces = []
        async for piece in request.stream:
            pieces.append(piece)
            self._service.clock.advance(self._seconds)
        request.stream = httpx.ByteStream(b"".join(pieces))
        return await self._service.handle_async_request(request)


class Repeating(httpx.AsyncBaseTransport):
    """A transport that sends again by itself after a failure, as some do."""

    def __init__(self, service: FakeService) -> None:
        self._service = service

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return await self._send(request)
        except httpx.TransportError:
            return await self._send(request)

    async def _send(self, request: httpx.Request) -> httpx.Response:
        """Send what the stream gives out, as a transport does that has sockets."""
        stream = request.stream
        assert isinstance(stream, httpx.AsyncByteStream)
        content = b"".join([piece async for piece in stream])
        again = httpx.Request(request.method, request.url, headers=request.headers, content=content)
        return await self._service.handle_async_request(again)


@pytest.mark.parametrize("is_client_given", [False, True])
async def test_a_transport_that_sends_again_by_itself_sends_no_start_twice(
    service: FakeService, is_client_given: bool
) -> None:
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    transport = Repeating(service)
    given: dict[str, Any] = (
        {"http_client": httpx.AsyncClient(transport=transport)} if is_client_given else {"transport": transport}
    )
    async with (
        AsyncCoreClaw(service.api_key, clock=service.clock, **given) as client,
        client.batch("nightly", ledger="memory", exclusive=True) as batch,
    ):
        await batch.plan(specs(2))
        outcomes = await finish(batch)

    assert [outcome.state for outcome in outcomes] == ["done", "done"]
    assert set(runs_by_key(service).values()) == {1}


@pytest.mark.endurance
async def test_a_large_input_may_take_its_time_and_one_that_takes_longer_is_told(service: FakeService) -> None:
    large = RunSpec(key="large", worker_id=WORKER, input={"keywords": ["x" * 3_000_000]})
    for seconds, wanted in ((0.7, BatchItemState.DONE), (1.5, BatchItemState.PLANNED)):
        transport = Passing(service, seconds)
        async with (
            AsyncCoreClaw(service.api_key, transport=transport, clock=service.clock) as client,
            client.batch(f"at {seconds}", ledger="memory") as batch,
        ):
            await batch.plan([large])
            if wanted is BatchItemState.DONE:
                await finish(batch)
            else:
                with pytest.raises(RequestNotSentError, match=r"its 3000\d+ bytes had not left in time: 3\S+ s"):
                    await finish(batch)
            assert (await batch.get("large")).state is wanted

    assert service.runs_created == 1


@pytest.mark.parametrize("size", [1, 300, 65_536, 3_000_000, 10**9])
@pytest.mark.parametrize("times", [SettleTimes(), SettleTimes(send_window=0.3, post_timeout=1.0)])
def test_a_start_is_settled_when_it_has_long_left_whole_or_never_will(size: int, times: SettleTimes) -> None:
    within = leaves_within(times, size)

    assert times.send_window <= within <= times.send_window + times.post_timeout / 2
    assert settled_at(times, 0.0) - within >= times.post_timeout / 2 + times.skew + times.list_lag
    if size <= 65_536:
        assert within <= times.send_window + 1.0


async def test_a_start_that_the_rate_keeps_back_is_tried_again_when_it_may_leave(service: FakeService) -> None:
    def keep_back(event: Event) -> None:
        if isinstance(event, BatchItemChanged) and (event.state, event.attempt) == ("intent", 1):
            gate.note_refused(RetryPolicy(), left_at=service.clock.monotonic(), retry_after=100.0)

    async with (
        AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, on_event=keep_back) as client,
        client.batch("nightly", ledger="memory") as batch,
    ):
        gate = client._context.transport.gate
        await batch.plan(specs(1))
        (outcome,) = await finish(batch)

    assert (outcome.state, outcome.attempt, service.runs_created) == (BatchItemState.DONE, 2, 1)
    assert service.clock.monotonic() > 100


@pytest.mark.parametrize("state", ["submitted", "done"])
async def test_a_run_that_another_process_has_written_down_first_is_the_items(
    service: FakeService, tmp_path: Path, state: str
) -> None:
    path = tmp_path / "runs.db"

    def be_quicker(event: Event) -> None:
        if isinstance(event, RequestSent) and event.operation == "runWorker" and service.runs_created == 1:
            with closing(sqlite3.connect(path)) as other, other:
                other.execute("UPDATE item SET state = ?, run_id = ? WHERE key = 'k0'", (state, *service.runs))

    async with opened(service, str(path), count=2, on_event=be_quicker) as batch:
        outcomes = {outcome.key: outcome for outcome in await finish(batch, max_in_flight=1)}

    assert [outcomes[key].state for key in ("k0", "k1")] == ["done", "done"]
    assert set(runs_by_key(service).values()) == {1}


async def test_a_run_that_was_taken_up_before_its_start_was_answered_counts_once(
    service: FakeService, tmp_path: Path
) -> None:
    path = tmp_path / "runs.db"
    service.default_script = RunScript(duration=60.0)
    service.faults.add(faults.delay(5.0), operation="runWorker")
    outcomes: list[BatchOutcome] = []

    async def run(batch: AsyncBatch) -> None:
        outcomes.extend(await finish(batch, max_in_flight=1))

    async with opened(service, str(path), count=1) as batch, anyio.create_task_group() as group:
        group.start_soon(run, batch)
        await until(lambda: service.runs, "the start")
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("UPDATE item SET state = 'submitted', run_id = ? WHERE key = 'k0'", (*service.runs,))
        await batch.plan(specs(1, first=1))  # It is looked for what there is to do.

    assert sorted((outcome.key, outcome.state) for outcome in outcomes) == [("k0", "done"), ("k1", "done")]
    assert set(runs_by_key(service).values()) == {1}


async def test_a_run_whose_item_another_process_has_settled_otherwise_is_told(
    service: FakeService, tmp_path: Path
) -> None:
    path = tmp_path / "runs.db"

    def be_quicker(event: Event) -> None:
        if isinstance(event, RequestSent) and event.operation == "runWorker":
            with closing(sqlite3.connect(path)) as other, other:
                other.execute("UPDATE item SET state = 'planned' WHERE key = 'k0'")

    async with opened(service, str(path), count=1, on_event=be_quicker) as batch:
        with pytest.raises(LedgerError, match="'k0' was settled before its start was answered: its run") as caught:
            await finish(batch)

    assert [caught.value.run_id] == list(service.runs)


async def test_an_answer_that_names_the_run_of_another_item_is_told_as_that(service: FakeService, ledger: str) -> None:
    def name_the_first(envelope: dict[str, Any]) -> dict[str, Any]:
        return {**envelope, "data": {**envelope["data"], "run_slug": next(iter(service.runs))}}

    service.faults.add(faults.edit(name_the_first), operation="runWorker", times=2)
    async with opened(service, ledger, count=2) as batch:
        with pytest.raises(LedgerError, match="which another item of the ledger has: nobody knows") as caught:
            await finish(batch)
        states = {(await batch.get(key)).state for key in ("k0", "k1")}

    assert caught.value.run_id == next(iter(service.runs))
    assert BatchItemState.INTENT in states


async def test_an_answer_settles_what_another_process_only_held(service: FakeService, tmp_path: Path) -> None:
    path = tmp_path / "runs.db"

    def be_quicker(event: Event) -> None:
        if isinstance(event, RequestSent) and event.operation == "runWorker" and service.runs_created == 1:
            with closing(sqlite3.connect(path)) as other, other:
                other.execute("UPDATE item SET state = 'ambiguous', candidates = '[\"R\"]' WHERE key = 'k0'")

    async with opened(service, str(path), count=2, on_event=be_quicker) as batch:
        outcomes = {outcome.key: outcome for outcome in await finish(batch, max_in_flight=1)}

    assert [outcomes[key].state for key in ("k0", "k1")] == ["done", "done"]
    assert set(runs_by_key(service).values()) == {1}


async def test_a_refusal_whose_item_another_process_has_settled_changes_nothing(
    service: FakeService, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "runs.db"
    service.faults.add(faults.error(30003), operation="runWorker")

    def be_quicker(event: Event) -> None:
        if isinstance(event, RequestSent) and event.operation == "runWorker" and not service.runs_created:
            with closing(sqlite3.connect(path)) as other, other:
                other.execute("UPDATE item SET state = 'cancelled' WHERE key = 'k0'")

    async with opened(service, str(path), count=2, on_event=be_quicker) as batch:
        outcomes = await finish(batch)
        item = await batch.get("k0")

    assert [(outcome.key, outcome.state) for outcome in outcomes] == [("k1", BatchItemState.DONE)]
    assert item.state is BatchItemState.CANCELLED
    assert "item 'k0' was settled by another process before its start was given up here" in caplog.text


# Real processes.


@attrs.define
class Gateway:
    """
    Stands before a service and passes whole requests on to it.

    Attributes:
        url: Where it listens.
        starts: Whole requests for a start.
        holds: Whether it reads no further when it has a part of the next start.
        is_held: When it does so.
        goes_on: When it may go on.
    """

    url: str = ""
    starts: int = 0
    holds: bool = False
    is_held: threading.Event = attrs.field(factory=threading.Event)
    goes_on: threading.Event = attrs.field(factory=threading.Event)

    def handle(self, target: str) -> Callable[[socket.socket, int, RawServer], None]:
        def serve(connection: socket.socket, _: int, __: RawServer) -> None:
            data = b""
            while b"\r\n\r\n" not in data:
                chunk = connection.recv(65_536)
                if not chunk:
                    return
                data += chunk
            head, _end, body = data.partition(b"\r\n\r\n")
            lines = head.lower().split(b"\r\n")
            length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
            is_start = head.startswith(b"POST") and b"/runs " in lines[0]
            got = bytearray(body)
            while len(got) < length:
                if is_start and self.holds and len(got) > 200_000:
                    self.holds = False
                    self.is_held.set()
                    self.goes_on.wait(PATIENCE)
                chunk = connection.recv(65_536)
                if not chunk:
                    return
                got += chunk
            self.starts += is_start
            port = int(target.rpartition(":")[2])
            kept = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
            with socket.create_connection(("127.0.0.1", port)) as onward:
                onward.sendall(b"\r\n".join([*kept, b"Connection: close"]) + b"\r\n\r\n" + got)
                while chunk := onward.recv(65_536):
                    connection.sendall(chunk)

        return serve


@contextlib.contextmanager
def gateway(service: FakeService) -> Iterator[Gateway]:
    gate = Gateway()
    with service.serve() as server, serve_sockets(gate.handle(server.url)) as front:
        gate.url = front.url
        yield gate


def start(gate: Gateway, ledger: str, stage: str, send_window: float, post_timeout: float) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, stopped.__file__, gate.url, ledger, stage, str(send_window), str(post_timeout)]
    )


def wait_until_stopped(process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + PATIENCE
    while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        assert process.poll() is None, "it has ended"
        assert time.monotonic() < give_up, "it does not stop"
        time.sleep(0.01)


def pause_and_take_over(
    gate: Gateway, ledger: str, stage: str, end_session: Callable[[], object], *, has_fence: bool
) -> None:
    """Stop a process while it sends, have another one settle and pay its item, and let the first one go on."""
    gate.holds = stage == "body"
    times = (0.4, 2.0) if has_fence else (1000.0, 1000.0)
    with start(gate, ledger, stage, *times) as victim:
        try:
            if stage == "body":
                assert gate.is_held.wait(PATIENCE)
                time.sleep(0.1)  # It fills the buffers of the connection, and waits for room.
                victim.send_signal(signal.SIGSTOP)
            wait_until_stopped(victim)
            end_session()
            with start(gate, ledger, "none", 0.4, 2.0) as other:
                assert other.wait(PATIENCE) == 0
            assert gate.starts == 1
            gate.goes_on.set()
            time.sleep(0.2)  # The part of the body that the system holds arrives without the process.
            victim.send_signal(signal.SIGCONT)
            victim.wait(PATIENCE)
        finally:
            gate.goes_on.set()
            victim.kill()


@pytest.mark.endurance
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.parametrize("has_fence", [True, False], ids=["fenced", "control"])
@pytest.mark.parametrize("stage", ["connect", "body"])
@pytest.mark.parametrize("ledger", ["sqlite", "postgres"], indirect=True)
async def test_a_process_that_was_stopped_while_sending_does_not_pay_again(
    ledger: str, stage: str, has_fence: bool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    service = FakeService(clock=RealClock(), balance=10_000, default_script=RunScript(rows=1, duration=0.1))
    worker = service.add_worker("me/one")
    size = LARGE if stage == "body" else 3_000_000

    def end_session() -> None:
        """Have the stopped process lose its start queue without knowing it."""
        if ledger.startswith("postgresql"):
            postgres: postgres_server.PostgresServer = request.getfixturevalue("postgres")
            postgres.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'coreclaw_async'"
            )
        else:
            (lock,) = (tmp_path / "runs.db-lanes").glob("*.lock")
            lock.unlink()

    async def paid_for(key: str) -> int:
        async with (
            AsyncCoreClaw(service.api_key, transport=service) as client,
            client.batch("paused", ledger=ledger) as batch,
        ):
            await batch.plan([RunSpec(key=key, worker_id=worker, input={"keywords": [key], "x": "x" * size})])
        with gateway(service) as gate:
            await anyio.to_thread.run_sync(
                lambda: pause_and_take_over(gate, ledger, stage, end_session, has_fence=has_fence)
            )
        assert runs_by_key(service)[key] == gate.starts
        return gate.starts

    if has_fence:
        assert await paid_for("k") == 1
        return
    # Without the fence it must be able to pay twice; on a busy machine the connection may time out instead.
    for number in range(3):
        if await paid_for(f"k{number}") == 2:
            return
    pytest.fail("nothing was paid for twice")
