"""Which event loop runs, also where one runs within another."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

import pytest
import trio
from raw_server import RawRequest, RawServer, answering, envelope, serve_sockets

from coreclaw_async import AsyncCoreClaw
from coreclaw_async._concurrency.loops import current_loop, is_asyncio, is_task_of_asyncio


async def in_a_task(call: Callable[[], Awaitable[None]]) -> None:
    """Have trio run *call* in a task of asyncio, as a cell of a notebook may do."""
    assert asyncio.current_task() is not None
    trio.run(call)


async def as_a_guest(call: Callable[[], Awaitable[None]]) -> None:
    """Have trio run *call* as a guest of asyncio's event loop."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[object] = loop.create_future()
    trio.lowlevel.start_guest_run(
        call, run_sync_soon_threadsafe=loop.call_soon_threadsafe, done_callback=done.set_result
    )
    outcome = await done
    outcome.unwrap()  # type: ignore[attr-defined]


by_each = pytest.mark.parametrize("within", [in_a_task, as_a_guest])


@by_each
def test_trio_is_what_runs_where_it_runs_within_asyncio(
    within: Callable[[Callable[[], Awaitable[None]]], Awaitable[None]],
) -> None:
    loops: list[object] = []

    async def look() -> None:
        for _ in range(2):
            loops.append(current_loop())
            assert not is_asyncio()
            assert not is_task_of_asyncio()
            await trio.sleep(0)
        assert loops == [trio.lowlevel.current_trio_token()] * 2

    async def main() -> None:
        await within(look)
        assert current_loop() is asyncio.get_running_loop()
        assert is_asyncio()
        assert is_task_of_asyncio()

    asyncio.run(main())
    assert len(loops) == 2


@by_each
def test_a_call_from_trio_within_asyncio_goes_through_httpx(
    within: Callable[[Callable[[], Awaitable[None]]], Awaitable[None]],
) -> None:
    def answer(request: RawRequest, server: RawServer) -> bytes:
        return envelope({"balance": f"{len(server.requests)}.00"})

    async def main() -> None:
        client = AsyncCoreClaw("key", base_url=server.url)
        balances: list[object] = [(await client.account.get()).balance]
        outside = client.backend

        async def call() -> None:
            assert client.backend == "httpx"
            balances.append((await client.account.get()).balance)
            async with AsyncCoreClaw("key", base_url=server.url) as another:
                balances.append((await another.account.get()).balance)
            await client.aclose()

        await within(call)
        assert balances == [1, 2, 3]
        assert outside == client.backend

    with serve_sockets(answering(answer)) as server:
        asyncio.run(main())


async def test_each_backend_tells_whether_it_is_asyncio(anyio_backend_name: str) -> None:
    assert is_asyncio() == is_task_of_asyncio() == (anyio_backend_name == "asyncio")


def test_without_sniffio_only_asyncio_can_be_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        assert current_loop() is asyncio.get_running_loop()
        assert is_task_of_asyncio()

    monkeypatch.delitem(sys.modules, "sniffio")
    asyncio.run(main())


def test_where_nothing_runs_there_is_no_event_loop() -> None:
    with pytest.raises(RuntimeError):
        current_loop()
    assert is_asyncio(), "the first call may come from a loop of it"
    assert not is_task_of_asyncio()
