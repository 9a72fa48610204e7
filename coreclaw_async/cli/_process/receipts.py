"""Runs that a command has paid for, until somebody was told of them: whatever else fails, their ids are not lost."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import TypeAlias

import attrs

from coreclaw_async import events

_Way: TypeAlias = Callable[[str, str | None], None]
"""Tells a line, which is about the run of this id or about one without."""

_FILE = Path("coreclaw-async") / "untold-runs.txt"

MAY_BE_A_RUN = "A run may have been started"


@attrs.define(eq=False)
class Receipts:
    """
    What a command may have paid for.

    Attributes:
        as_json: Whether what stands on standard output is read by programs.
        has_paid: Whether a run was started, or may have been.
        is_starting: Whether a start is under way of which nothing has come so far.
        is_unknown: Whether a run may have been started and nobody can tell.
        is_told_elsewhere: Whether a run could only be told of where nobody had asked for it.
        run_id: The run that was started last, or None.
    """

    as_json: bool = False
    has_paid: bool = False
    is_starting: bool = False
    is_unknown: bool = False
    is_told_elsewhere: bool = False
    run_id: str | None = None
    _untold: dict[str, str] = attrs.field(factory=dict[str, str], init=False)

    def note(self, event: events.Event) -> None:
        """Record what the client tells, in its own thread, which no interrupt reaches."""
        if isinstance(event, events.RunStarted | events.StartReconciled):
            self._untold[event.run_id] = f"Run {event.run_id} was started, and costs what it costs."
            self.has_paid, self.is_starting, self.run_id = True, False, event.run_id
        elif isinstance(event, events.StartUnknown):
            self.may_have_paid(filter(None, (event.run_id, *(event.candidates or ()))))

    def may_have_paid(self, run_ids: Iterable[str] = ()) -> None:
        """Record a start of which nobody can tell what came of it, and of the runs that may be it."""
        told = {run_id: f"Run {run_id} may have been started by this command." for run_id in run_ids}
        look = f"{MAY_BE_A_RUN}, and may cost money; to look:  coreclaw-async runs --since 1h"
        self._untold.update(told or {MAY_BE_A_RUN: look})
        self.has_paid = self.is_unknown = True
        self.is_starting = False

    def was_written(self, text: str) -> None:
        """Record what has reached a stream."""
        for run_id in [one for one in list(self._untold) if one in text]:
            del self._untold[run_id]

    def tell_left(self, *, is_stdout_free: bool = True) -> None:
        """
        Tell of the runs that nothing else has told of: on a standard stream, at the terminal, or in a file.

        Args:
            is_stdout_free: Whether a line on standard output does not stand among rows.
        """
        asked: tuple[_Way, ...] = (_to_stderr, self._to_stdout) if is_stdout_free else (_to_stderr,)
        try:
            self._tell_by(asked)
        except KeyboardInterrupt:  # Perhaps of somebody whose stream takes nothing and gives no error.
            self._tell_by(())

    def _tell_by(self, asked: Sequence[_Way]) -> None:
        for name, line in list(self._untold.items()):
            run_id = None if name == MAY_BE_A_RUN else name
            if not self._tell(line, run_id, asked):
                self.is_told_elsewhere = self._tell(line, run_id, (_to_terminal, _to_file)) or self.is_told_elsewhere

    def _tell(self, line: str, run_id: str | None, ways: Sequence[_Way]) -> bool:
        for way in ways:
            with contextlib.suppress(OSError, RuntimeError):  # The latter where nobody knows a home.
                way(line, run_id)
                self.was_written(line)
                return True
        return False

    def _to_stdout(self, line: str, run_id: str | None) -> None:
        text = json.dumps({"run_id": run_id, "error": line}) if self.as_json else line
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def _to_stderr(line: str, _: str | None) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _to_terminal(line: str, _: str | None) -> None:
    with Path("/dev/tty").open("w", encoding="utf-8") as terminal:
        terminal.write(f"{line}\n")


def _to_file(line: str, _: str | None) -> None:
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
