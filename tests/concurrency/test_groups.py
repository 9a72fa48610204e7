"""A task group lets the cancellations of its callers pass, and ends in silence after its own alone."""

from __future__ import annotations

import asyncio
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from waiting import until

import coreclaw_async
from coreclaw_async._concurrency.groups import task_group

PACKAGE = Path(coreclaw_async.__file__).parent


@pytest.mark.parametrize("steps", [0, 5], ids=["tasks end at once", "a task takes its time to end"])
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_cancellation_by_asyncio_is_kept_when_scopes_are_cancelled_in_the_same_step(steps: int) -> None:
    scopes: list[anyio.CancelScope] = []
    went_on = False

    async def sleep_in_a_scope() -> None:
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            await anyio.sleep_forever()

    async def end_slowly() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                for _ in range(steps):
                    await anyio.lowlevel.checkpoint()

    async def caller() -> None:
        nonlocal went_on
        async with task_group() as group:
            group.start_soon(sleep_in_a_scope)
            group.start_soon(end_slowly)
            await sleep_in_a_scope()
            group.cancel_scope.cancel()
        went_on = True

    task = asyncio.create_task(caller())
    await until(lambda: len(scopes) >= 2, "both scopes")

    scopes[0].cancel()
    task.cancel()
    scopes[1].cancel()
    await asyncio.wait([task])

    assert task.cancelled()
    assert not went_on


async def test_its_own_cancellation_ends_it_in_silence_and_errors_leave_as_a_group() -> None:
    async with task_group() as group:
        group.start_soon(anyio.sleep_forever)
        group.cancel_scope.cancel()

    async def fail() -> None:
        raise ValueError("told")

    with pytest.raises(ExceptionGroup) as caught:
        async with task_group() as group:
            group.start_soon(fail)
    assert [str(error) for error in caught.value.exceptions] == ["told"]


async def test_a_cancelled_scope_around_it_ends_what_follows_it_too() -> None:
    with anyio.CancelScope() as scope:
        async with task_group() as group:
            group.start_soon(anyio.sleep_forever)
            scope.cancel()
            await anyio.sleep_forever()
        raise AssertionError("it went on")

    assert scope.cancelled_caught


def test_no_group_is_opened_in_another_way() -> None:
    users = {path.name for path in PACKAGE.rglob("*.py") if "create_task_group" in path.read_text("utf-8")}

    assert users - {"asgi_app.py", "console.py"} <= {"groups.py"}, "the fake stands alone; all others use task_group()"
