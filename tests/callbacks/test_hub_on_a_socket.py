"""CallbackHub as an ASGI app: by hand, on real sockets, and mounted where people mount apps."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount
from waiting import join, wait_until

from coreclaw_async import AsyncCoreClaw, CallbackHub, PollSchedule
from coreclaw_async.callbacks import join_hub
from coreclaw_async.testing import CallbackPlan, FakeService, RealClock, RunScript

RUN = "01KKDXV2G26BT7NH4ZQR2R4NPZ"
WORKER = "coreclaw/google-maps-scraper"
BODY = json.dumps({"run_slug": RUN, "run_status": "running"}).encode()

Message = MutableMapping[str, Any]


async def exchange(hub: CallbackHub, scope: Message, *messages: Message) -> tuple[list[Message], list[Message]]:
    """Return what the hub sends, and which of *messages* it has not received."""
    left, sent = list(messages), list[Message]()

    async def receive() -> Message:
        await anyio.lowlevel.checkpoint()
        return left.pop(0)

    async def send(message: Message) -> None:
        await anyio.lowlevel.checkpoint()
        sent.append(message)

    await hub(scope, receive, send)
    return sent, left


def scope_of(hub: CallbackHub, *, method: str = "POST", headers: Any = ()) -> Message:
    path = hub.new_url().removeprefix("http://127.0.0.1:9")
    return {"type": "http", "method": method, "path": path, "headers": list(headers)}


def part(body: bytes, *, more: bool) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_comes_in_parts() -> None:
    hub = CallbackHub("http://127.0.0.1:9")
    scope = scope_of(hub)

    sent, _ = await exchange(hub, scope, part(BODY[:5], more=True), part(BODY[5:], more=False))

    assert sent[0]["status"] == 204
    assert hub.run_id_of(scope["path"]) == RUN


async def test_a_sender_that_goes_is_answered_nothing() -> None:
    hub = CallbackHub("http://127.0.0.1:9")

    sent, _ = await exchange(hub, scope_of(hub), part(BODY, more=True), {"type": "http.disconnect"})

    assert sent == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "OPTIONS"])
async def test_other_methods_are_refused_unread(method: str) -> None:
    hub = CallbackHub("http://127.0.0.1:9")

    sent, left = await exchange(hub, scope_of(hub, method=method), part(BODY, more=False))

    assert sent[0]["status"] == 405
    assert (b"allow", b"POST") in sent[0]["headers"]
    assert len(left) == 1


async def test_a_length_beyond_the_limit_is_refused_unread() -> None:
    hub = CallbackHub("http://127.0.0.1:9")
    scope = scope_of(hub, headers=[(b"content-length", b"10000000")])

    sent, left = await exchange(hub, scope, part(BODY, more=False))

    assert sent[0]["status"] == 413
    assert len(left) == 1


async def test_a_body_beyond_the_limit_is_read_no_further() -> None:
    hub = CallbackHub("http://127.0.0.1:9", max_body_bytes=100)

    sent, left = await exchange(hub, scope_of(hub), *(part(b" " * 60, more=True) for _ in range(9)))

    assert sent[0]["status"] == 413
    assert len(left) == 7


async def test_the_lifespan_of_a_server_is_confirmed() -> None:
    hub = CallbackHub("http://127.0.0.1:9")

    sent, _ = await exchange(hub, {"type": "lifespan"}, {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})

    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_web_sockets_are_refused() -> None:
    hub = CallbackHub("http://127.0.0.1:9")

    sent, _ = await exchange(hub, {"type": "websocket"}, {"type": "websocket.connect"})

    assert [message["type"] for message in sent] == ["websocket.close"]


@contextmanager
def served(make_app: Callable[[CallbackHub], Callable[..., Awaitable[None]]], prefix: str) -> Iterator[CallbackHub]:
    """Serve an app with uvicorn; the hub's URLs are right."""
    config = uvicorn.Config(lambda *_: None, port=0, log_level="critical", lifespan="on")
    listening = config.bind_socket()
    hub = CallbackHub(f"http://127.0.0.1:{listening.getsockname()[1]}{prefix}")
    config.app = make_app(hub)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    wait_until(lambda: server.started, "the start of the server")
    try:
        yield hub
    finally:
        server.should_exit = True
        join(thread)
        listening.close()


def in_starlette(hub: CallbackHub) -> Any:
    return Starlette(routes=[Mount("/deep/down", hub)])


def in_fastapi(hub: CallbackHub) -> Any:
    app = FastAPI()
    app.mount("/deep/down", hub)
    return app


@pytest.mark.parametrize(
    ("make_app", "prefix"), [(lambda hub: hub, ""), (in_starlette, "/deep/down"), (in_fastapi, "/deep/down")]
)
def test_it_is_served_alone_and_mounted(make_app: Any, prefix: str) -> None:
    with served(make_app, prefix) as hub, httpx.Client(trust_env=False) as sender:
        url = hub.new_url()

        assert sender.post(url, content=BODY).status_code == 204
        assert sender.post(url, content=b"[]").status_code == 400
        assert sender.post(url + "x", content=BODY).status_code == 404
        assert sender.get(url).status_code == 405
        assert hub.run_id_of(url) == RUN


def test_ten_megabytes_are_refused_and_the_server_goes_on() -> None:
    with served(lambda hub: hub, "") as hub:
        url = hub.new_url()
        for content in (b"x" * 10_000_000, iter([b"x" * 1_000_000] * 10)):
            # It may be refused while it is still being sent.
            with httpx.Client(trust_env=False) as sender, contextlib.suppress(httpx.WriteError, httpx.ReadError):
                assert sender.post(url, content=content).status_code == 413
        with httpx.Client(trust_env=False) as sender:
            assert sender.post(url, content=BODY).status_code == 204


@pytest.mark.endurance
def test_twenty_connections_at_once_are_heard_once_each() -> None:
    with served(lambda hub: hub, "") as hub:
        told: list[tuple[str, str | None]] = []

        class Listener:
            def called_back(self, url: str, run_id: str | None) -> None:
                told.append((url, run_id))

        listener = Listener()
        join_hub(hub, listener)
        urls = [hub.new_url() for _ in range(20)]

        def send(url: str) -> set[int]:
            with httpx.Client(trust_env=False) as sender:
                return {sender.post(url, content=BODY).status_code for _ in range(3)}

        with ThreadPoolExecutor(20) as pool:
            assert set().union(*pool.map(send, urls)) == {204}
        assert sorted(told) == sorted((url, RUN) for url in urls)


@pytest.mark.endurance
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(("lost", "delay"), [(False, 60.0), (True, 1.0)])
async def test_runs_end_at_once_by_callbacks_over_a_socket_and_by_the_schedule_without(
    lost: bool, delay: float
) -> None:
    service = FakeService(clock=RealClock(), default_script=RunScript(rows=1, duration=0.4))
    service.callback_plan = CallbackPlan(lost=lost, copies=2, shuffle=True)
    schedule = PollSchedule(delays=(delay,), jitter=0.0)
    late: list[float] = []
    with served(in_starlette, "/deep/down") as hub, service.serve() as server:
        async with AsyncCoreClaw(service.api_key, base_url=server.url, callbacks=hub, poll_schedule=schedule) as client:

            async def run() -> None:
                started = await client.workers.start_run(WORKER, {"keywords": ["coffee"]})
                began = time.monotonic()
                await client.runs.wait(started)
                late.append(time.monotonic() - began - 0.4)

            async with anyio.create_task_group() as group:
                for _ in range(9):
                    group.start_soon(run)

    median = sorted(late)[4]
    assert median < delay / 2 or lost
    assert median > delay / 2 or not lost
