"""The service on real sockets: resets, truncation, downloads, callbacks, threads."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from email.utils import parsedate_to_datetime
from typing import Any

import anyio
import httpx
import pytest
import uvicorn
from ports import reserved_port
from testing.api_session import GOOD_INPUT, STORE_WORKER
from waiting import join, wait_until

from coreclaw_async.testing import FakeClock, FakeService, Fault, RealClock, RunScript, faults
from coreclaw_async.testing._serving.server import RunningServer

RUNS = f"/workers/{STORE_WORKER}/runs"
START = {"input": GOOD_INPUT}
KEY = {"Authorization": "Bearer test-key"}


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[FakeService, RunningServer]]:
    """One service for all tests of this module; `api` forgets what the test before did."""
    service = FakeService(clock=RealClock())
    with service.serve() as server:
        yield service, server


@pytest.fixture
def service(served: tuple[FakeService, RunningServer]) -> FakeService:
    served[0].reset()
    return served[0]


@pytest.fixture
def server(served: tuple[FakeService, RunningServer]) -> RunningServer:
    return served[1]


@pytest.fixture
def client(service: FakeService, server: RunningServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{server.url}/api/v2", headers=KEY, timeout=5, verify=False) as client:
        yield client


async def test_it_answers_on_a_real_socket(service: FakeService, server: RunningServer) -> None:
    async with httpx.AsyncClient(base_url=f"{server.url}/api/v2", headers=KEY) as client:
        started = (await client.post(RUNS, json=START)).json()["data"]["run_slug"]
        detail = (await client.get(f"/worker-runs/{started}")).json()["data"]

    assert detail["status"] == "running"
    recorded = service.requests[0]
    assert recorded.host == server.url.removeprefix("http://")
    assert (recorded.body, recorded.headers["authorization"]) == (START, "Bearer test-key")


def test_an_encoded_slash_is_still_another_route(service: FakeService, client: httpx.Client) -> None:
    answer = client.get("/workers/coreclaw%2Fgoogle-maps-scraper", params={"a": "b c"})

    assert answer.json()["code"] == 11004
    assert service.requests[0].path == "/api/v2/workers/coreclaw%2Fgoogle-maps-scraper"
    assert service.requests[0].query == {"a": "b c"}


@pytest.mark.parametrize(
    ("fault", "committed"),
    [
        (faults.commit_then_drop(), 1),
        (faults.drop_before_commit(), 0),
        (faults.refuse_connection(), 0),
        (faults.truncate(20), 1),
        (faults.truncate(10**6), 1),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_lost_connection_is_lost(service: FakeService, client: httpx.Client, fault: Fault, committed: int) -> None:
    service.faults.add(fault, operation="runWorker")

    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        client.post(RUNS, json=START)

    assert service.runs_created == committed
    assert client.get("/store").status_code == 200


def test_a_dropped_connection_is_reset(service: FakeService, server: RunningServer) -> None:
    service.faults.add(faults.commit_then_drop())
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as raw:
        raw.sendall(b"GET /api/v2/store HTTP/1.1\r\nhost: x\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            raw.recv(100)


def test_a_truncated_answer_promises_more_than_it_sends(service: FakeService, server: RunningServer) -> None:
    service.faults.add(faults.truncate(20))
    host, port = server.url.removeprefix("http://").split(":")
    received = b""
    with socket.create_connection((host, int(port))) as raw:
        raw.sendall(b"GET /api/v2/store HTTP/1.1\r\nhost: x\r\n\r\n")
        while piece := raw.recv(1000):
            received += piece

    head, _, body = received.partition(b"\r\n\r\n")
    assert len(body) == 20
    assert b"content-length: " in head
    assert int(head.partition(b"content-length: ")[2].split()[0]) > 20


def test_a_stall_lasts_until_the_client_leaves(service: FakeService, client: httpx.Client) -> None:
    service.faults.add(faults.stall())

    with pytest.raises(httpx.ReadTimeout):
        client.post(RUNS, json=START, timeout=0.1)

    assert service.runs_created == 1


def test_delays_and_pauses_take_real_seconds(service: FakeService, client: httpx.Client) -> None:
    service.faults.add(faults.delay(0.05))
    service.faults.add(faults.drip(chunk=50, pause=0.02))
    began = time.monotonic()

    answer = client.get("/store")

    pieces = -(-int(answer.headers["content-length"]) // 50)
    assert time.monotonic() - began >= 0.05 + 0.02 * (pieces - 1)
    assert answer.json()["code"] == 0


def test_a_gateway_and_a_bomb_come_over_the_wire(service: FakeService, client: httpx.Client) -> None:
    service.faults.add(faults.commit_then_status(502))
    service.faults.add(faults.gzip_bomb(1_000_000))

    assert client.post(RUNS, json=START).status_code == 502
    assert len(client.get("/store").content) == 1_000_000


def test_the_date_is_that_of_the_service_and_comes_once(service: FakeService, client: httpx.Client) -> None:
    service.clock.advance(86_400)

    (date,) = client.get("/store").headers.get_list("date")

    assert abs(parsedate_to_datetime(date).timestamp() - service.clock.time()) < 5


def test_downloads_come_from_another_origin(service: FakeService, server: RunningServer, client: httpx.Client) -> None:
    run_id = service.add_run("coreclaw/google-maps-scraper", rows=1500)
    url = client.get(f"/worker-runs/{run_id}/result/export").json()["data"]["download_url"]

    with httpx.Client(verify=False) as plain:
        whole = plain.get(url)
        rest = plain.get(url, headers={"Range": "bytes=1000-"})
        with_key = plain.get(url, headers=KEY)
        on_api = plain.get(url.replace(server.files_url, server.url))
        no_api = plain.get(f"{server.files_url}/api/v2/store")

    assert url.startswith(f"{server.files_url}/")
    assert server.files_url != server.url
    assert len(whole.text.splitlines()) == 1501
    assert (rest.status_code, rest.content) == (206, whole.content[1000:])
    assert (with_key.status_code, on_api.status_code) == (403, 404)
    assert no_api.status_code == 404


def test_a_synchronous_start_waits_by_the_clock_of_the_service(service: FakeService, client: httpx.Client) -> None:
    service.next_script = RunScript(duration=0.1, rows=1)
    began = time.monotonic()

    answer = client.post(RUNS, json={**START, "is_async": False}).json()["data"]

    assert (answer["run_status"], answer["results"]["count"]) == ("succeeded", 1)
    assert time.monotonic() - began >= 0.1


class Receiver:
    """A socket that answers every request with 204 and remembers the first line."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/hook"
        self.received = threading.Event()
        self.first_line = b""

    def answer_once(self) -> None:
        connection, _ = self._socket.accept()
        with connection:
            self.first_line = connection.recv(65_536).splitlines()[0]
            connection.sendall(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
        self._socket.close()
        self.received.set()


def test_callbacks_are_sent_by_themselves(service: FakeService, client: httpx.Client) -> None:
    receiver = Receiver()
    thread = threading.Thread(target=receiver.answer_once)
    thread.start()
    client.post(RUNS, json={**START, "callback_url": receiver.url})

    assert receiver.received.wait(20)
    join(thread)
    assert receiver.first_line == b"POST /hook HTTP/1.1"


def test_a_receiver_that_does_not_answer_keeps_no_callback_of_another_one_back(
    service: FakeService, client: httpx.Client
) -> None:
    receiver = Receiver()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent_url = f"http://127.0.0.1:{silent.getsockname()[1]}/hook"
        for url in (silent_url, silent_url, silent_url, receiver.url):
            client.post(RUNS, json={**START, "callback_url": url})
        thread = threading.Thread(target=receiver.answer_once)
        thread.start()
        assert receiver.received.wait(20)
        thread.join()
        sent = [callback.url for callback in service.callbacks_sent]

    assert sent.count(silent_url) < 3, "it has come before those that nobody answers"


def test_the_test_may_act_while_requests_run(service: FakeService, client: httpx.Client) -> None:
    def read() -> None:
        for _ in range(10):
            client.get("/worker-runs", params={"limit": 100})

    reader = threading.Thread(target=read)
    reader.start()
    while reader.is_alive():
        service.finish(service.add_run("coreclaw/google-maps-scraper", status="running", age=0))

    statuses = {request.status for request in service.requests}
    assert statuses == {200}


def test_a_served_run_ends_by_itself_when_no_clock_was_given() -> None:
    service = FakeService(default_script=RunScript(duration=0.1))
    with service.serve() as server, httpx.Client(base_url=f"{server.url}/api/v2", headers=KEY) as client:
        client.post(RUNS, json=START)
        give_up = time.monotonic() + 20
        while client.get("/worker-runs/last").json()["data"]["status"] != "succeeded":
            assert time.monotonic() < give_up
        listed = client.get("/worker-runs").json()["data"]

    assert listed["count"] == 1
    assert abs(next(iter(service.runs.values())).created_at - time.time()) < 60


def test_what_was_there_before_it_was_served_keeps_its_age() -> None:
    service = FakeService()
    clock = service.clock
    clock.advance(500)
    run_id = service.add_run("coreclaw/google-maps-scraper", status="running", age=100)
    service.faults.add(faults.outage(minutes=10), operation="listStore")
    clock.advance(300)
    with service.serve() as server:
        ages = [service.runs[run_id].age]
        ages_by_date = [time.time() - service.runs[run_id].created_at]
        statuses = [httpx.get(f"{server.url}/api/v2/store").status_code]
        service.clock.advance(300)
        statuses.append(httpx.get(f"{server.url}/api/v2/store").status_code)
    ages.append(service.runs[run_id].age)
    ages_by_date.append(clock.time() - service.runs[run_id].created_at)

    assert statuses == [502, 200]
    assert 400 <= ages[0] < 500
    assert 700 <= ages[1] < 800
    assert ages_by_date == pytest.approx(ages, abs=0.1)
    assert service.clock is clock


async def test_who_has_the_clock_already_follows_the_real_time_too() -> None:
    service = FakeService()
    clock = service.clock
    with service.serve(), service.serve():
        looks = [time.monotonic(), clock.monotonic(), time.monotonic()]
        await clock.sleep(0.05)
        looks += [time.monotonic(), clock.monotonic(), time.monotonic()]
        clock.set_time(1e9)
    await clock.sleep(1000)

    assert looks[3] - looks[2] - 0.001 <= looks[4] - looks[1] <= looks[5] - looks[0] + 0.001
    assert 1e9 + 1000 <= clock.time() < 1e9 + 1100


def test_a_virtual_clock_jumps_in_the_thread_of_the_server() -> None:
    service = FakeService(clock=FakeClock())
    with service.serve() as server:
        service.next_script = RunScript(duration=250)
        answer = httpx.post(f"{server.url}/api/v2{RUNS}", json={**START, "is_async": False}, headers=KEY).json()

    assert answer["data"]["running_duration"] == 250
    assert service.clock.monotonic() == 250


def test_a_virtual_clock_can_be_moved_from_the_thread_of_the_test() -> None:
    service = FakeService(clock=FakeClock(autojump=False))
    answers: list[Any] = []
    with service.serve() as server:

        def start() -> None:
            body = {**START, "is_async": False}
            answers.append(httpx.post(f"{server.url}/api/v2{RUNS}", json=body, headers=KEY).json())

        thread = threading.Thread(target=start)
        thread.start()
        wait_until(lambda: service.runs, "the run")
        while thread.is_alive():
            service.clock.advance(1)
            time.sleep(0.01)

    assert answers[0]["data"]["run_status"] == "succeeded"


@pytest.mark.endurance
def test_the_end_of_the_block_ends_stalled_answers_too_and_frees_the_ports() -> None:
    service = FakeService()
    outcome: list[str] = []
    with service.serve() as server:
        service.faults.add(faults.stall())
        url = f"{server.url}/api/v2/store"

        def ask() -> None:
            try:
                outcome.append(str(httpx.get(url, timeout=10).status_code))
            except httpx.TransportError as error:
                outcome.append(type(error).__name__)

        thread = threading.Thread(target=ask)
        thread.start()
        wait_until(lambda: service.requests, "the request")
    thread.join(20)

    assert len(outcome) == 1
    assert service.files_url == "https://files.coreclaw.test"
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def test_an_answer_that_is_under_way_at_the_end_of_the_block_still_comes() -> None:
    service = FakeService(clock=RealClock())
    statuses: list[int] = []
    with service.serve() as server:
        service.faults.add(faults.delay(0.2))
        thread = threading.Thread(
            target=lambda: statuses.append(httpx.get(f"{server.url}/api/v2/store", headers=KEY).status_code)
        )
        thread.start()
        wait_until(lambda: service.requests, "the request")
    thread.join(20)

    assert statuses == [200]


def test_a_taken_port_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=r"[Aa]ddress already in use"), FakeService().serve(port=port):
            pass


def test_a_server_that_cannot_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uvicorn.Server, "run", lambda *_: None)
    with pytest.raises(RuntimeError, match="the server did not start"), FakeService().serve():
        pass


def test_without_uvicorn_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ImportError, match=r'pip install "coreclaw-async\[emulator\]"'), FakeService().serve():
        pass


def test_the_app_works_in_a_bare_uvicorn_with_one_port() -> None:
    with reserved_port() as port:
        service = FakeService(files_url=f"http://127.0.0.1:{port}")
        service.add_run("coreclaw/google-maps-scraper", rows=2)
        server = uvicorn.Server(uvicorn.Config(service.asgi_app, port=port, log_level="critical"))
        thread = threading.Thread(target=server.run)
        thread.start()
        with httpx.Client(transport=httpx.HTTPTransport(retries=20), base_url=f"http://127.0.0.1:{port}") as client:
            answer = client.get("/api/v2/worker-runs/last/export", headers=KEY)
            download = client.get(answer.json()["data"]["download_url"])
        server.should_exit = True
        join(thread)

    assert len(download.text.splitlines()) == 3
    assert len(answer.headers.get_list("date")) == 1


async def test_the_app_needs_uvicorn_only_to_lose_connections() -> None:
    service = FakeService()
    app = httpx.ASGITransport(service.asgi_app)
    async with httpx.AsyncClient(transport=app, base_url="http://test") as client:
        assert (await client.get("/api/v2/store")).status_code == 200
        service.faults.add(faults.commit_then_drop())
        with pytest.raises(RuntimeError, match="only directly under uvicorn"):
            await client.get("/api/v2/store")


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_not_heard() -> None:
    service = FakeService()
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": b'{"input"', "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(_: Any) -> None:
        raise AssertionError

    await service.asgi_app({"type": "http"}, receive, send)

    assert service.requests == []


async def test_the_app_speaks_http_only() -> None:
    with pytest.raises(RuntimeError, match="HTTP only, not websocket"):
        await FakeService().asgi_app({"type": "websocket"}, anyio.sleep, anyio.sleep)  # type: ignore[arg-type]


@pytest.mark.parametrize("ends_first", [0, 1])
def test_servers_of_one_service_may_end_in_any_order(ends_first: int) -> None:
    service = FakeService()
    files_url = service.files_url
    stacks = ExitStack(), ExitStack()
    servers = [stack.enter_context(service.serve()) for stack in stacks]
    assert service.files_url == servers[1].files_url

    stacks[ends_first].close()

    left = servers[1 - ends_first]
    assert service.files_url == left.files_url
    before = service.clock.monotonic()
    time.sleep(0.02)
    assert service.clock.monotonic() > before  # It still follows the real time.
    assert httpx.get(f"{left.url}/api/v2/store").status_code == 200
    stacks[1 - ends_first].close()
    assert service.files_url == files_url
    before = service.clock.monotonic()
    time.sleep(0.02)
    assert service.clock.monotonic() == before


def test_a_service_whose_port_was_taken_can_be_served_elsewhere() -> None:
    service = FakeService()
    with (
        FakeService().serve() as other,
        pytest.raises(OSError, match="in use"),
        service.serve(port=int(other.url[-5:])),
    ):
        pass  # pragma: no cover - it is refused
    with service.serve() as server:
        assert httpx.get(server.url).status_code
