"""Task groups, and their errors."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, cast

import anyio

if TYPE_CHECKING:
    from anyio.abc import TaskGroup  # It loads much that a start does not need.


@contextlib.asynccontextmanager
async def task_group() -> AsyncGenerator[TaskGroup]:
    """
    Open a task group of anyio that lets a cancellation from outside pass which comes before its own.

    On asyncio, anyio tells its own cancellations from others by counting them. When a scope in one of the tasks was
    cancelled in the same step, the group counts that one twice, and ends in silence although its caller was cancelled.
    That can still happen in a step in which a group that is cancelled waits for the ends of its tasks.
    """
    strange: BaseException | None = None
    async with anyio.create_task_group() as group:
        try:
            yield group
        except anyio.get_cancelled_exc_class() as error:
            if not group.cancel_scope.cancel_called:
                strange = error
            raise
    if strange is not None:
        raise strange


def first_of(error: BaseException) -> BaseException:
    """Return the first error in a group, and any other error as it is."""
    if isinstance(error, BaseExceptionGroup):
        return first_of(cast("BaseExceptionGroup[BaseException]", error).exceptions[0])
    return error
