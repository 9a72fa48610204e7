"""The log of a run, in each of the shapes that the service has used."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any

from attrs import frozen

from coreclaw_async.testing._state.scripts import NOT_FINAL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from coreclaw_async.testing._state.fake_run import FakeRun

RECENT_LINES = 100
"""How many lines an answer shows; the whole log has a URL."""

_LEVELS = ("debug", "info", "warn", "error")
_SHAPES = ("objects", "words", "strings")


@frozen
class LogLine:
    """
    One line.

    Attributes:
        level: `debug`, `info`, `warn` or `error`.
        at: Unix seconds.
    """

    level: str
    text: str
    at: float


def log_lines(run: FakeRun, *, newest: int | None = None) -> list[LogLine]:
    """
    Return the lines that `run` has written so far; they appear evenly while it works.

    Args:
        run: The run.
        newest: Only so many of the last ones, 1 or more; None for all.
    """
    entries, appears = _entries(run), _schedule(run)
    count = _written(run)
    lines: list[LogLine] = []
    for index in range(0 if newest is None else max(count - newest, 0), count):
        entry = entries[index]
        level, text = ("info", entry) if isinstance(entry, str) else entry
        lines.append(LogLine(level, text, run.created_at + appears(index)))
    if _has_error(run):
        lines.append(LogLine("error", run.error_message, run.created_at + (run.ended_after or 0.0)))
    return lines if newest is None else lines[-newest:]


def count_lines(run: FakeRun) -> int:
    """Return how many lines `run` has written so far."""
    return _written(run) + _has_error(run)


def _has_error(run: FakeRun) -> bool:
    return bool(run.error_message) and run.started_after is not None


def _entries(run: FakeRun) -> Sequence[str | tuple[str, str]]:
    script = run.script.log
    if script is not None:
        return script
    rows = len(run.row_list) if run.paused_after is None else run.result_count
    return "Run started", f"Collected {rows} rows", "Run finished"


def _schedule(run: FakeRun) -> Callable[[int], float]:
    """Return what tells after how many seconds a line of the script appears."""
    began, last = run.started_after or 0.0, max(len(_entries(run)) - 1, 1)
    ended = _planned_end(run) if run.ended_after is None else run.ended_after
    span = 0.0 if ended is None or ended == float("inf") else ended - began
    return lambda index: began + span * index / last


def _planned_end(run: FakeRun) -> float | None:
    """Return when the script of a run that does not end would have ended it; None for never."""
    after, status = run.script.timeline()[-1]
    return None if status in NOT_FINAL else after


def _written(run: FakeRun) -> int:
    """Return how many lines of the script have appeared, without a look at each: there may be very many."""
    age = run.age
    if run.started_after is None or age < run.started_after:
        return 0
    if run.ended_after is None and run.paused_after is not None:
        age = min(age, run.paused_after)  # One that sticks writes no more.
    return bisect_right(range(len(_entries(run))), age, key=_schedule(run))


def show_entries(lines: Sequence[LogLine], shape: str) -> list[Any]:
    """Return the newest lines as an answer shows them; `mixed` takes the shapes in turn."""
    newest = lines[-RECENT_LINES:]
    return [
        _show_line(line, _SHAPES[index % len(_SHAPES)] if shape == "mixed" else shape)
        for index, line in enumerate(newest)
    ]


def _show_line(line: LogLine, shape: str) -> Any:
    if shape == "strings":
        return line.text
    level = line.level if shape == "words" else _LEVELS.index(line.level) + 1
    return {"type": level, "group": "1", "content": line.text, "timestamp": int(line.at * 1000)}


def write_log(lines: Sequence[LogLine]) -> str:
    """Return the whole log as a string."""
    return "".join(f"{int(line.at * 1000)} {line.level.upper()} {line.text}\n" for line in lines)
