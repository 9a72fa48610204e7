"""Calls of the client, which may take many requests: the event hook is told when one begins and ends."""

from __future__ import annotations

import contextlib
import functools
import inspect
import itertools
from collections import deque
from collections.abc import Callable, Generator, Hashable
from contextvars import ContextVar, Token
from types import TracebackType
from typing import TYPE_CHECKING, ParamSpec

if TYPE_CHECKING:
    from coreclaw_async.events import CallEnded, CallStarted


P = ParamSpec("P")

_current: ContextVar[tuple[Hashable, ...]] = ContextVar("coreclaw_async_call", default=())
_started: ContextVar[deque[str] | None] = ContextVar("coreclaw_async_started", default=None)
# While a hook is called, what its event belongs to.
_told: ContextVar[tuple[Hashable, ...] | None] = ContextVar("coreclaw_async_told_call", default=None)
_numbers = itertools.count(1)
_left: deque[Callable[[], None]] = deque()


def current_calls() -> tuple[Hashable, ...]:
    """Return what events belong to here, the innermost first: an item as `item_here` names it, a call's number."""
    told = _told.get()
    return _current.get() if told is None else told


def item_here(batch: str, key: str) -> tuple[str, str, Hashable]:
    """Return what names an item of a batch here: other calls may work on another batch of the same name."""
    return batch, key, next((call for call in current_calls() if not isinstance(call, tuple)), None)


@contextlib.contextmanager
def outside_calls() -> Generator[None]:
    """Have calls of the block, and of tasks that it begins, be no part of the call around it: a hook's are its own."""
    token = _current.set(())
    try:
        yield
    finally:
        _current.reset(token)


def call_hook(name: str, hook: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
    """
    Call a hook of the user's, named *name*; what it calls, or begins a task for, is no part of the call around it.

    Raises:
        TypeError: It has returned a coroutine, which nobody would await.
    """
    told, here = _told.set(_current.get()), _current.set(())  # As `outside_calls` does, for each event.
    try:
        returned = hook(*args, **kwargs)
    finally:
        _current.reset(here)
        _told.reset(told)
    if inspect.iscoroutine(returned):
        returned.close()
        raise TypeError(f"{name} must be a plain function: it has returned a coroutine, which nobody awaits")


def keep_started(run_ids: deque[str]) -> None:
    """Have *run_ids* take the runs that are started in this context."""
    _started.set(run_ids)


def tell_started(run_id: str) -> None:
    """Tell whoever made the call that a run was started, before the call has ended."""
    run_ids = _started.get()
    if run_ids is not None:
        run_ids.append(run_id)


@contextlib.contextmanager
def belonging_to(item: tuple[str, str]) -> Generator[None]:
    """Have the events of the block belong to an item of a batch, named by its batch and its key."""
    token = _current.set((item_here(*item), *_current.get()))
    try:
        yield
    finally:
        _current.reset(token)


class Call:
    """
    A call of the client, in one step or, as an iterator, in several: ``with call:`` around each, and then `end`.

    A step that fails is followed by `interrupt` where the caller may go on. A call that another one makes is a part of
    that, and nobody is told.

    Args:
        name: Its name, such as ``workers.run``.
        emit: Tells the event hook; None where there is none.
        now: Returns the seconds of a clock.
    """

    def __init__(
        self, name: str, emit: Callable[[CallStarted | CallEnded], None] | None, now: Callable[[], float]
    ) -> None:
        self._name = name
        self._emit = emit
        self._now = now
        self._number: int | None = None
        self._began = 0.0
        self._error: str | None = None
        self._has_ended = False
        self._make_end: Callable[..., CallEnded]
        self._token: Token[tuple[Hashable, ...]] | None = None

    def __enter__(self) -> None:
        if self._emit is None or self._has_ended or _current.get():
            return
        tell_left()
        if self._number is None:
            from coreclaw_async.events import CallEnded, CallStarted  # Not every program listens.

            self._make_end = CallEnded  # Needed when nothing can be imported any more.
            self._number, self._began = next(_numbers), self._now()
            self._emit(CallStarted(call=self._number, name=self._name))
        self._token = _current.set((self._number,))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._token is not None:
            token, self._token = self._token, None
            self._error = None if kind is None else kind.__name__
            with contextlib.suppress(ValueError):  # A coroutine that nobody awaits is closed in another context.
                _current.reset(token)

    def end(self) -> None:
        """Tell that the call has ended, as its last step has; a second time does nothing, as do further steps."""
        self._has_ended = True
        self.interrupt()

    def interrupt(self) -> None:
        """Tell that the call has ended with its last step, which has failed; a further step is another call."""
        if self._number is not None and self._emit is not None:
            self._emit(self._ended(self._number))

    def _ended(self, number: int) -> CallEnded:
        self._number = None
        return self._make_end(call=number, name=self._name, elapsed=self._now() - self._began, error=self._error)

    def __del__(self) -> None:
        # Not told here: the garbage collector may be at work while the hook holds a lock.
        if self._number is not None and self._emit is not None:
            _left.append(functools.partial(self._emit, self._ended(self._number)))


def tell_left() -> None:
    """Tell of the end of iterators that were left before theirs."""
    with contextlib.suppress(IndexError):
        while True:
            _left.popleft()()


NO_CALL = Call("", None, float)
"""What nobody is told of."""
