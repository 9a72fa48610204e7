"""The runs that a command has paid for and not yet reported, so that no id is lost whatever else fails."""

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
"""Writes a line about the run with this id, or about a run with an unknown id."""

_FILE = Path("coreclaw-async") / "untold-runs.txt"

MAY_BE_A_RUN = "A run may have been started"


@attrs.define(eq=False)
class Receipts:
    """
    What a command may have paid for.

    Attributes:
        as_json: Whether programs read standard output.
        has_paid: Whether a run was started, or may have been.
        is_starting: Whether a start was sent and its outcome is open.
        is_unknown: Whether a start has an unknown outcome.
        is_told_elsewhere: Whether a run could be reported neither on standard output nor on standard error.
        run_id: The run that was started last, or None.
        on_run: Called with the id of a run as soon as the service has named it, in the client's thread.
    """

    as_json: bool = False
    has_paid: bool = False
    is_starting: bool = False
    is_unknown: bool = False
    is_told_elsewhere: bool = False
    run_id: str | None = None
    on_run: Callable[[str], object] = bool
    _untold: dict[str, str] = attrs.field(factory=dict[str, str], init=False)

    def note(self, event: events.Event) -> None:
        """Record an event of the client. It runs in the client's thread, which no interrupt reaches."""
        if isinstance(event, events.RunStarted | events.StartReconciled):
            self._untold[event.run_id] = f"Run {event.run_id} was started and costs money."
            self.has_paid, self.is_starting, self.run_id = True, False, event.run_id
            self.on_run(event.run_id)
        elif isinstance(event, events.StartUnknown):
            self.may_have_paid(filter(None, (event.run_id, *(event.candidates or ()))))

    def may_have_paid(self, run_ids: Iterable[str] = ()) -> None:
        """Record a start with an unknown outcome, and the runs that may have come from it."""
        told = {run_id: f"Run {run_id} may have been started by this command." for run_id in run_ids}
        look = f"{MAY_BE_A_RUN}, and may cost money; to look:  coreclaw-async runs --since 1h"
        self._untold.update(told or {MAY_BE_A_RUN: look})
        self.has_paid = self.is_unknown = True
        self.is_starting = False

    def was_written(self, text: str) -> None:
        """Record that *text* was written: the runs in it are reported."""
        for run_id in [one for one in list(self._untold) if one in text]:
            del self._untold[run_id]

    def tell_left(self, *, is_stdout_free: bool = True) -> None:
        """
        Report the remaining runs: on a standard stream, at the terminal, or in a file.

        Args:
            is_stdout_free: Whether standard output may have other lines than rows.
        """
        asked: tuple[_Way, ...] = (_to_stderr, self._to_stdout) if is_stdout_free else (_to_stderr,)
        try:
            self._tell_by(asked)
        except KeyboardInterrupt:  # Perhaps because a stream blocks.
            self._tell_by(())

    def _tell_by(self, asked: Sequence[_Way]) -> None:
        for name, line in list(self._untold.items()):
            run_id = None if name == MAY_BE_A_RUN else name
            if not self._tell(line, run_id, asked):
                self.is_told_elsewhere = self._tell(line, run_id, (_to_terminal, _to_file)) or self.is_told_elsewhere

    def _tell(self, line: str, run_id: str | None, ways: Sequence[_Way]) -> bool:
        for way in ways:
            with contextlib.suppress(OSError, RuntimeError):  # The latter if there is no home folder.
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
    _append(Path("/dev/tty"), line)


def _to_file(line: str, _: str | None) -> None:
    state = os.environ.get("XDG_STATE_HOME")
    path = (Path(state) if state else Path.home() / ".local" / "state") / _FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    _append(path, f"{dt.datetime.now(dt.UTC).isoformat(timespec='seconds')} {line}")


def _append(path: Path, line: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


UNDER_WAY: ContextVar[Receipts | None] = ContextVar("coreclaw_async_receipts", default=None)
"""The receipts of the current command."""


def current() -> Receipts:
    """Return the receipts of the current command."""
    return UNDER_WAY.get() or Receipts()
