"""Signals that ask a command to end: each is handled like Ctrl-C and has its own exit code."""

from __future__ import annotations

import _thread
import signal
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_NAMES = ("SIGTERM", "SIGHUP")
_SECONDS_BEFORE_REPEAT = 0.05
"""Long enough for the hook to return, where the signal would be dropped again."""


class TerminatedError(KeyboardInterrupt):
    """
    The process was asked to end.

    Attributes:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def exit_code(interrupt: KeyboardInterrupt) -> int:
    """Return the exit code that shells use for a process that was ended by a signal."""
    return 128 + (interrupt.number if isinstance(interrupt, TerminatedError) else signal.SIGINT)


_END: list[int] = []
"""The exit code of the command that has ended, once it is known."""


def begin() -> None:
    """Forget how the command before has ended."""
    _END.clear()


def note_end(code: int) -> None:
    """Have no interrupt change the exit code any more: the command has said how it ended."""
    _END[:] = [code]


def code_at_end(interrupt: KeyboardInterrupt | None = None) -> int:
    """Return the exit code of a command that has perhaps ended before the interrupt came."""
    if _END:
        return _END[0]
    return 128 + signal.SIGINT if interrupt is None else exit_code(interrupt)


def _interrupt(number: int, _: FrameType | None) -> None:
    raise TerminatedError(number)


def _repeating(hook: Callable[[Any], object]) -> Callable[[Any], object]:
    """Return a hook for exceptions that Python drops, which repeats the signals among them and hands on the rest."""

    def repeat(dropped: Any) -> None:
        # A signal may arrive within a finaliser or a callback of a weak reference, from which nothing is raised.
        interrupt = dropped.exc_value
        if isinstance(interrupt, KeyboardInterrupt):
            number = interrupt.number if isinstance(interrupt, TerminatedError) else signal.SIGINT
            threading.Timer(_SECONDS_BEFORE_REPEAT, _thread.interrupt_main, [number]).start()
        else:
            hook(dropped)

    return repeat


@contextmanager
def signals_that_interrupt() -> Generator[None]:
    """Treat signals that would end the process at once like Ctrl-C, so that it can report the runs that it leaves."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    # A signal that is ignored, as with nohup, stays ignored.
    taken = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, _interrupt)
    hook, sys.unraisablehook = sys.unraisablehook, _repeating(sys.unraisablehook)
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for number in taken:
            signal.signal(number, signal.SIG_DFL)
