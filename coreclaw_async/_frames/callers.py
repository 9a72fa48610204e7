"""The line of the caller that a warning points to: of one who blocks in another thread, or who made a task."""

from __future__ import annotations

import contextvars
import inspect
import sys
import warnings
from types import FrameType
from typing import Any

import attrs

from coreclaw_async._tracebacks import is_own

# Their frames stand between a coroutine and who awaits it, as in `asyncio.wait_for`.
_LOOPS = frozenset({"anyio", "asyncio", "trio"})
# Theirs are the outermost frames of threads.
_RUNNERS = _LOOPS | {"concurrent", "threading"}
_AWAITING = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR | inspect.CO_ITERABLE_COROUTINE | inspect.CO_GENERATOR


@attrs.frozen(eq=False, repr=False)
class Caller:
    """
    A line outside of the package.

    Attributes:
        file: Its file.
        line: Its number.
        module: The name of its module.
    """

    file: str
    line: int
    module: str

    def warn(self, message: str) -> None:
        """Warn at this line."""
        warnings.warn_explicit(message, UserWarning, self.file, self.line, self.module, _told_in(self.module))


def _told_in(module: str) -> dict[Any, Any]:
    """Return which warnings were told in a module; no frame of a warning that is an error may have all its names."""
    names = vars(sys.modules[module]) if module in sys.modules else dict[str, Any]()
    told: dict[Any, Any] = names.setdefault("__warningregistry__", {})
    return told


_BLOCKED: contextvars.ContextVar[Caller | None] = contextvars.ContextVar("coreclaw_async_blocked", default=None)


class BlockedCaller:
    """``with BlockedCaller():`` around a call of a blocking method, whose coroutine runs in another thread."""

    def __enter__(self) -> None:
        frame = _first(inspect.currentframe())
        # A thread that has only this to do has no line of its own.
        self._token = _BLOCKED.set(None if _top_name(frame) in _RUNNERS else _caller_in(frame))

    def __exit__(self, *_: object) -> None:
        _BLOCKED.reset(self._token)


def caller_here() -> Caller:
    """Return the first line outside of the package and of event loops."""
    frame = _first(inspect.currentframe())
    while frame.f_back is not None and _top_name(frame) in _LOOPS:
        frame = _first(frame.f_back)
    return _caller_in(frame)


def awaiting_caller(otherwise: Caller) -> Caller:
    """Return the line that blocks for this coroutine or awaits it; in a task nothing is known of it."""
    blocked = _BLOCKED.get()
    if blocked is not None:
        return blocked
    frame = _first(inspect.currentframe())
    while frame.f_back is not None and frame.f_code.co_flags & _AWAITING and _top_name(frame) in _LOOPS:
        frame = _first(frame.f_back)
    return _caller_in(frame) if frame.f_code.co_flags & _AWAITING else otherwise


def _first(frame: FrameType | None) -> FrameType:
    """Return the first frame from *frame* outwards that is not of the package."""
    assert frame is not None, "each Python that httpx runs on has frames"
    while frame.f_back is not None and is_own(frame):
        frame = frame.f_back
    return frame


def _top_name(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _caller_in(frame: FrameType) -> Caller:
    module = str(frame.f_globals.get("__name__", "<unknown>"))
    return Caller(frame.f_code.co_filename, frame.f_lineno, module)
