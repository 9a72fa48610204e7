"""The log of a run, in each of the shapes that the service has used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def log_lines(run: FakeRun) -> list[LogLine]:
    """Return the lines that `run` has written so far; they appear evenly while it works."""
    began = run.started_after
    if began is None or run.age < began:
        return []
    script = run.script.log
    entries: Sequence[str | tuple[str, str]] = (
        ("Run started", f"Collected {len(run.row_list)} rows", "Run finished") if script is None else script
    )
    ended = run.ended_after
    span = 0.0 if ended is None or ended == float("inf") else ended - began
    lines: list[LogLine] = []
    for index, entry in enumerate(entries):
        after = began + span * index / max(len(entries) - 1, 1)
        level, text = ("info", entry) if isinstance(entry, str) else entry
        if after <= run.age:
            lines.append(LogLine(level, text, run.created_at + after))
    if run.error_message:
        lines.append(LogLine("error", run.error_message, run.created_at + (ended or 0.0)))
    return lines


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
