"""The time limit of a read through aiohttp cancels its task, and gets into the way of no other cancellation."""

from __future__ import annotations

import asyncio
import math
import selectors
from typing import Any

import anyio
import pytest

pytest.importorskip("aiohttp")

from coreclaw_async._http.aiohttp_backend import TaskTimeLimit, TimeWatch

LONG = 20.0
SHORT = 0.01


class JumpingSelector(selectors.DefaultSelector):
    """Waits for nothing that an event loop has to wait for, but moves its clock."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        """Return what can be read or written."""
        self.now += timeout or 0.0
        return super().select(0.0 if timeout is not None else None)


def jumping_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop whose clock jumps to the next timer, so that no machine is too slow for a test."""
    selector = JumpingSelector()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.now  # type: ignore[method-assign]
    return loop


pytestmark = pytest.mark.parametrize("anyio_backend", [("asyncio", {"loop_factory": jumping_loop})], ids=["asyncio"])


def limit_of(seconds: float, silence: float, watch: TimeWatch | None = None) -> TaskTimeLimit:
    return TaskTimeLimit(seconds, silence, watch or TimeWatch(asyncio.get_running_loop()))


def cancel_requests() -> int:
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


async def test_the_deadline_ends_the_block_and_nothing_else() -> None:
    limit = limit_of(SHORT, math.inf)
    with limit:
        await anyio.sleep(LONG)

    assert limit.is_over
    assert cancel_requests() == 0
    await anyio.sleep(0)


async def test_a_block_that_ends_in_time_is_left_alone() -> None:
    limit = limit_of(SHORT, SHORT)
    with limit:
        limit.hear()
    await anyio.sleep(3 * SHORT)

    assert cancel_requests() == 0


async def test_silence_ends_the_block_before_the_deadline() -> None:
    limit = limit_of(LONG, SHORT)
    with limit:
        limit.hear()
        await anyio.sleep(LONG)

    assert not limit.is_over


async def test_silence_counts_from_what_was_heard_last_and_not_before_the_first() -> None:
    ends = 0
    with anyio.fail_after(LONG), limit_of(LONG, 0.05) as limit:
        await anyio.sleep(0.07)
        for _ in range(4):
            limit.hear()
            await anyio.sleep(0.049)
        ends = 1

    assert ends == 1


async def test_an_exception_passes_also_when_time_is_over() -> None:
    with pytest.raises(ValueError, match="mine"), limit_of(SHORT, math.inf):
        try:
            await anyio.sleep(LONG)
        finally:
            raise ValueError("mine")

    assert cancel_requests() == 0


async def test_a_native_cancellation_in_the_same_moment_is_not_swallowed() -> None:
    async def block() -> None:
        limit = limit_of(SHORT, math.inf)
        task = asyncio.current_task()
        assert task is not None
        with limit:
            asyncio.get_running_loop().call_at(limit.ends_at, task.cancel)
            await anyio.sleep(LONG)

    task = asyncio.create_task(block())
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("offset", [-1e-4, 0.0, 1e-4])
async def test_a_scope_that_is_cancelled_in_the_same_moment_is_the_one_that_ends(offset: float) -> None:
    with anyio.CancelScope() as scope:
        limit = limit_of(SHORT, math.inf)
        with limit:
            asyncio.get_running_loop().call_at(limit.ends_at + offset, scope.cancel)
            await anyio.sleep(LONG)
        await anyio.sleep(LONG)

    assert scope.cancelled_caught
    assert cancel_requests() == 0
    await anyio.sleep(0)


@pytest.mark.parametrize("offset", [-1e-4, 0.0, 1e-4])
async def test_a_scope_within_that_ends_in_the_same_moment_does_not_keep_the_block_going(offset: float) -> None:
    limit = limit_of(SHORT, math.inf)
    with anyio.fail_after(LONG), limit:
        with anyio.CancelScope(deadline=limit.ends_at + offset):
            await anyio.sleep(LONG)
        await anyio.sleep(LONG)

    assert limit.is_over
    assert cancel_requests() == 0


async def test_a_cancellation_that_was_swallowed_comes_again() -> None:
    swallowed = 0
    with anyio.fail_after(LONG), limit_of(SHORT, math.inf):
        try:
            await anyio.sleep(LONG)
        except asyncio.CancelledError:
            swallowed += 1
        await anyio.sleep(LONG)

    assert swallowed == 1
    assert cancel_requests() == 0


async def test_many_limits_of_one_loop_end_each_at_its_own_time() -> None:
    loop = asyncio.get_running_loop()
    watch = TimeWatch(loop)
    ended: list[tuple[float, float]] = []

    async def block(seconds: float) -> None:
        began = loop.time()
        with limit_of(seconds, math.inf, watch):
            await anyio.sleep(LONG)
        ended.append((seconds, round(loop.time() - began, 6)))

    async with anyio.create_task_group() as group:
        for seconds in (0.3, 0.1, 0.2, 0.1, 5.0):
            group.start_soon(block, seconds)
            await anyio.sleep(0.01)

    assert ended == [(seconds, seconds) for seconds in (0.1, 0.1, 0.2, 0.3, 5.0)]


async def test_a_limit_that_begins_when_no_other_is_left_ends_in_time() -> None:
    loop = asyncio.get_running_loop()
    watch = TimeWatch(loop)
    with limit_of(SHORT, SHORT, watch):
        pass
    await anyio.sleep(LONG)
    began = loop.time()
    with limit_of(SHORT, math.inf, watch):
        await anyio.sleep(LONG)

    assert round(loop.time() - began, 6) == SHORT


async def test_limits_that_never_end_set_no_timer() -> None:
    with limit_of(math.inf, math.inf):
        await anyio.sleep(SHORT)

    assert cancel_requests() == 0
