"""
One name for both clients: a module that takes `AsyncCoreClaw` from here has its tests run once more through CoreClaw.

`IS_BLOCKING` says which one is meant; the fixture ``anyio_backend`` sets it. The blocking client then gets the face of
the async one: a call blocks the test's own loop, which is just what it does in a notebook. Tests that need something to
happen at the same time, or cancel, are marked ``async_client_only``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import coreclaw_async
from coreclaw_async import CoreClaw

IS_BLOCKING = False


class Awaited:
    """A blocking client, or a group of one, whose methods are awaited."""

    def __init__(self, blocking: Any) -> None:
        self._blocking = blocking

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._blocking, {"aclose": "close"}.get(name, name))
        if inspect.ismethod(value):
            return self._method(value)
        return value if isinstance(value, int) else Awaited(value)

    def __repr__(self) -> str:
        return repr(self._blocking)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self._blocking.close()

    def _method(self, method: Callable[..., Any]) -> Callable[..., Any]:
        returned = str(inspect.signature(method).return_annotation)
        if returned == "Self":
            return lambda *args, **kwargs: Awaited(method(*args, **kwargs))
        if returned.startswith(("Pager[", "Stream[", "Iterator[")):
            return lambda *args, **kwargs: AwaitedIterator(method(*args, **kwargs))

        async def call(*args: Any, **kwargs: Any) -> Any:
            return method(*args, **kwargs)

        return call


class AwaitedIterator(Awaited):
    """A blocking pager or stream that is iterated over with ``async for``."""

    def __aiter__(self) -> Self:
        iter(self._blocking)
        return self

    async def __anext__(self) -> Any:
        try:
            return next(self._blocking)
        except StopIteration:
            raise StopAsyncIteration from None


if TYPE_CHECKING:
    from coreclaw_async import AsyncCoreClaw as AsyncCoreClaw  # noqa: PLC0414 - an export
else:

    def AsyncCoreClaw(*args: Any, **kwargs: Any) -> Any:  # noqa: N802 - in the place of the class
        """Make the async or the blocking client, as the current case asks for."""
        if IS_BLOCKING:
            return Awaited(CoreClaw(*args, **kwargs))
        return coreclaw_async.AsyncCoreClaw(*args, **kwargs)
