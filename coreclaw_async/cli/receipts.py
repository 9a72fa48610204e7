"""Runs that a command has paid for, until somebody was told of them: whatever else fails, their ids are not lost."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import sys
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import TypeAlias

import attrs

from coreclaw_async import events

_Way: TypeAlias = Callable[[str], None]

_FILE = Path("coreclaw-async") / "untold-runs.txt"


@attrs.define(eq=False)
class Receipts:
    """
    What a command may have paid for.

    Attributes:
        has_paid: Whether a run was started, or may have been.
        is_unknown: Whether a run may have been started and nobody can tell.
        is_told_elsewhere: Whether a run could only be told of where nobody had asked for it.
    """

    has_paid: bool = False
    is_unknown: bool = False
    is_told_elsewhere: bool = False
    _untold: dict[str, str] = attrs.field(factory=dict[str, str], init=False)

    def note(self, event: events.Event) -> None:
        """Take note of what the client tells, in its own thread, which no interrupt reaches."""
        if isinstance(event, events.RunStarted | events.StartReconciled):
            self.has_paid = True
            self._untold[event.run_id] = f"Run {event.run_id} was started, and costs what it costs."
        elif isinstance(event, events.StartUnknown):
            self.has_paid = self.is_unknown = True
            for run_id in filter(None, (event.run_id, *(event.candidates or ()))):
                self._untold[run_id] = f"Run {run_id} may have been started by this command."

    def was_written(self, text: str) -> None:
        """Take note of what has reached a stream."""
        for run_id in [one for one in self._untold if one in text]:
            del self._untold[run_id]

    def tell_left(self, *, is_stdout_free: bool = True) -> None:
        """
        Tell of the runs that nothing else has told of: on a standard stream, at the terminal, or in a file.

        Args:
            is_stdout_free: Whether a line on standard output does not stand among rows.
        """
        for line in list(self._untold.values()):
            asked: tuple[_Way, ...] = (_to_stderr, _to_stdout) if is_stdout_free else (_to_stderr,)
            if not self._tell(line, asked):
                self.is_told_elsewhere = self._tell(line, (_to_terminal, _to_file)) or self.is_told_elsewhere

    def _tell(self, line: str, ways: Sequence[_Way]) -> bool:
        for way in ways:
            with contextlib.suppress(OSError, RuntimeError):  # The latter where nobody knows a home.
                way(line)
                self.was_written(line)
                return True
        return False


def _to_stderr(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _to_stdout(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _to_terminal(line: str) -> None:
    with Path("/dev/tty").open("w", encoding="utf-8") as terminal:
        terminal.write(f"{line}\n")


def _to_file(line: str) -> None:
    state = os.environ.get("XDG_STATE_HOME")
    folder = Path(state) if state else Path.home() / ".local" / "state"
    path = folder / _FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{dt.datetime.now(dt.UTC).isoformat(timespec='seconds')} {line}\n")


UNDER_WAY: ContextVar[Receipts | None] = ContextVar("coreclaw_async_receipts", default=None)
"""Those of the command under way."""


def current() -> Receipts:
    """Return what the command under way may have paid for."""
    return UNDER_WAY.get() or Receipts()
