"""AsyncStream: an async iterator over items as they arrive."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, Self, TypeVar

from coreclaw_async._concurrency.calls import NO_CALL

T = TypeVar("T")


class AsyncStream(Generic[T]):
    """
    An iterator over items as they arrive: ``async for item in stream``.

    Nothing runs between two items, so you may leave the loop at any time. After an error, iterating again continues
    where it stopped. One task at a time may iterate.

    Attributes:
        call: What the event hook is told of the iteration; set by the method that returns this.

    Example::

        async for run in client.runs.wait_many([run], timeout=900):
            print(run.status)
    """

    def __init__(self, advance: Callable[[], Awaitable[T | None]]) -> None:
        self.call = NO_CALL
        self._advance = advance
        self._is_advancing = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        if self._is_advancing:
            raise RuntimeError("this iterator is being read by another task; give each task its own pager or stream")
        self._is_advancing = True
        try:
            with self.call:
                item = await self._advance()
        except BaseException:
            self.call.interrupt()
            raise
        finally:
            self._is_advancing = False
        if item is None:
            self.call.end()
            raise StopAsyncIteration
        return item
