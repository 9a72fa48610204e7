"""The decorator that has each call of a group's methods begin and end with an event."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from coreclaw_async._concurrency.calls import Call
from coreclaw_async._concurrency.stream import AsyncStream
from coreclaw_async._operations.context import Context
from coreclaw_async._paging.pager import AsyncPager, reader_of
from coreclaw_async._tracebacks import hide_own_frames

Group = TypeVar("Group", bound=type[Any])
Steps: TypeAlias = AsyncPager[Any] | AsyncStream[Any]
# Wrong arguments, whose message says enough.
_WRONG = (ValueError, TypeError)


def with_call_events(name: str, *methods: str) -> Callable[[Group], Group]:
    """Return a decorator of the class of the group *name*: calls of *methods*, or of all public ones, are events."""

    def wrap(group: Group) -> Group:
        for method, function in list(vars(group).items()):
            if inspect.isfunction(function) and not method.startswith("_") and method in (methods or {method}):
                wrapped = _telling if inspect.iscoroutinefunction(function) else _telling_steps
                setattr(group, method, wrapped(f"{name}.{method}", function))
        return group

    return wrap


def call_of(context: Context, name: str) -> Call:
    """Return a call of the client that *context* is of."""
    emit = context.transport.emit if context.settings.hooks else None
    return Call(name, emit, context.clock.monotonic)


def _telling(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def tell(self: Any, *args: Any, **kwargs: Any) -> Any:
        context: Context = self._context
        if not context.settings.hooks:
            try:
                return await function(self, *args, **kwargs)
            except _WRONG as error:
                hide_own_frames(error)
                raise
        call = call_of(context, name)
        try:
            with call:
                result = await function(self, *args, **kwargs)
        except BaseException as error:
            call.end()
            if isinstance(error, _WRONG):
                hide_own_frames(error)
            raise
        try:
            call.end()
        except BaseException as error:  # A hook may end the program, but not the run that was started.
            error.add_note(f"{name} had returned {result!r}")
            raise
        return result

    return tell


def _telling_steps(name: str, function: Callable[..., Steps]) -> Callable[..., Steps]:
    @functools.wraps(function)
    def tell(self: Any, *args: Any, **kwargs: Any) -> Steps:
        try:
            result = function(self, *args, **kwargs)
        except _WRONG as error:
            hide_own_frames(error)
            raise
        if self._context.settings.hooks:
            (reader_of(result) if isinstance(result, AsyncPager) else result).call = call_of(self._context, name)
        return result

    return tell
