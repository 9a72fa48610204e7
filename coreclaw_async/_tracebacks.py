"""Tracebacks for people who call this package: notebooks and tests leave its own frames out."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

_PACKAGE = __name__.partition(".")[0]
_TOOLS = {"IPython", "pytest"}
# What stands between two frames of this package where one of them is in another thread.
_BETWEEN = {"anyio", "asyncio", "concurrent", "outcome", "threading", "trio"}
# More causes than this tell nobody anything.
_MAX_CHAIN = 20


def hide_own_frames(error: BaseException) -> None:
    """
    Have IPython and pytest leave out the frames of this package in the traceback of *error* and of its causes.

    The frames of the callers, up to the first one that is not of this package, are hidden too. Both tools ask for a
    local variable of the frame; it is put there from outside, so that no function has to have one. Where neither tool
    is loaded, nothing is done: before Python 3.13, a frame that is marked keeps its variables for longer.
    """
    if _TOOLS.isdisjoint(sys.modules):
        return
    for one in _chain(error):
        for traceback in _steps(one.__traceback__):
            _hide(traceback.tb_frame)
    here = inspect.currentframe()
    frame = here and here.f_back
    del here  # A frame that holds itself lives on.
    while frame is not None and is_own(frame):
        _hide(frame)
        frame = frame.f_back


def rendered_by_ipython(error: BaseException) -> list[str]:
    """Return the traceback of *error* as IPython shows it, without this package's frames and what is between them."""
    shell: Any = sys.modules["IPython"].get_ipython()
    whole = [(one, one.__traceback__) for one in _chain(error)]
    try:
        for one, traceback in whole:
            one.__traceback__ = _without_own_frames(traceback) or traceback
        lines: list[str] = shell.InteractiveTB.structured_traceback(type(error), error, error.__traceback__)
        return lines
    finally:
        for one, traceback in whole:
            one.__traceback__ = traceback


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    left: BaseException | None = error
    while left is not None and left not in found and len(found) < _MAX_CHAIN:
        found.append(left)
        left = left.__cause__ or (None if left.__suppress_context__ else left.__context__)
    return found


def _steps(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def _without_own_frames(traceback: TracebackType | None) -> TracebackType | None:
    """Return a copy without them; the original stays whole for debuggers."""
    kept: list[TracebackType] = []
    is_inside = False
    for step in _steps(traceback):
        is_inside = is_inside or is_own(step.tb_frame)
        if not is_inside or _top_of(step.tb_frame) not in {_PACKAGE, *_BETWEEN}:
            kept.append(step)
    left: TracebackType | None = None
    for step in reversed(kept):
        left = TracebackType(left, step.tb_frame, step.tb_lasti, step.tb_lineno)
    return left


def is_own(frame: FrameType) -> bool:
    """Return whether a frame is of this package."""
    return _top_of(frame) == _PACKAGE


def _top_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _hide(frame: FrameType) -> None:
    if is_own(frame):
        frame.f_locals["__tracebackhide__"] = True
