"""Everything about one run, for the page."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from coreclaw_async.testing._api.logs import LogLine, log_lines
from coreclaw_async.testing._console.excerpts import cut, excerpt

if TYPE_CHECKING:
    from coreclaw_async.testing._state.fake_run import FakeRun

_ROWS = 20
_LINES = 100
_INPUT_LENGTH = 20_000
_ROW_LENGTH = 2_000
_LINE_LENGTH = 2_000


def show_details(run: FakeRun) -> dict[str, Any]:
    """Return what the page shows of a run that was opened, besides its line in the list."""
    lines = log_lines(run)
    rows = run.row_list.read(0, min(run.visible_rows, _ROWS))
    return {
        "version": run.version,
        "origin": run.origin,
        "is_paid": run.paid,
        "task_id": run.task_id,
        "queue_ref": run.queue_ref,
        "callback_url": run.callback_url,
        "error": cut(run.error_message, _LINE_LENGTH),
        "timeline": _show_timeline(run),
        "input": excerpt(run.input, _INPUT_LENGTH, indent=2),
        "log": [_show_line(line) for line in lines[-_LINES:]],
        "log_lines": len(lines),
        "first_rows": [excerpt(row, _ROW_LENGTH) for row in rows],
        "visible_rows": run.visible_rows,
    }


def _show_timeline(run: FakeRun) -> list[dict[str, Any]]:
    changes = [(0.0, "created"), *run.changes]
    return [
        {"at": run.created_at + after, "status": status, "is_past": after <= run.age}
        for after, status in changes
        if after < math.inf
    ]


def _show_line(line: LogLine) -> dict[str, Any]:
    return {"at": line.at, "level": line.level, "text": cut(line.text, _LINE_LENGTH)}
