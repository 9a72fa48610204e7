"""Everything about one run, for the page."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from coreclaw_async.testing._api.logs import LogLine, count_lines, log_lines
from coreclaw_async.testing._console.excerpts import cut, excerpt, finite, shown_or

if TYPE_CHECKING:
    from coreclaw_async.testing._state.fake_run import FakeRun

_ROWS = 20
_LINES = 100
_CHANGES = 50
_INPUT_LENGTH = 20_000
_ROW_LENGTH = 2_000
_LINE_LENGTH = 2_000
_FACT_LENGTH = 200


def show_details(run: FakeRun) -> dict[str, Any]:
    """Return what the page shows of a run that was opened, besides its line in the list."""
    return {
        "version": _fact(run.version),
        "origin": _fact(run.origin),
        "is_paid": run.paid,
        "task_id": _fact(run.task_id),
        "queue_ref": _fact(run.queue_ref),
        "callback_to": shown_or(lambda: _show_site(run.callback_url), str),
        "error": shown_or(lambda: cut(run.error_message or "", _LINE_LENGTH), str),
        "timeline": shown_or(
            lambda: _show_timeline(run), lambda reason: [{"at": None, "status": reason, "is_past": True}]
        ),
        "input": excerpt(run.input, _INPUT_LENGTH, indent=2),
        "log": shown_or(
            lambda: [_show_line(line) for line in log_lines(run, newest=_LINES)],
            lambda reason: [{"at": None, "level": "error", "text": reason}],
        ),
        "log_lines": shown_or(lambda: count_lines(run), lambda _: 0),
        "first_rows": shown_or(lambda: _show_rows(run), lambda reason: [reason]),
        "visible_rows": shown_or(lambda: run.visible_rows, lambda _: 0),
    }


def _fact(value: object) -> str | None:
    return None if value is None else cut(value, _FACT_LENGTH)


def _show_site(url: str | None) -> str | None:
    """Return the site that callbacks go to: the rest of the URL is a secret, with which others could wake a wait."""
    if not url:
        return None
    parts = urlsplit(url[:_LINE_LENGTH])
    return cut(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", _FACT_LENGTH) + "/\N{HORIZONTAL ELLIPSIS}"


def _show_timeline(run: FakeRun) -> list[dict[str, Any]]:
    changes = [(0.0, "created"), *run.changes[:_CHANGES]]
    return [
        {"at": finite(run.created_at + after), "status": cut(status, _FACT_LENGTH), "is_past": after <= run.age}
        for after, status in changes
        if after < math.inf
    ]


def _show_line(line: LogLine) -> dict[str, Any]:
    return {"at": finite(line.at), "level": cut(line.level, _FACT_LENGTH), "text": cut(line.text, _LINE_LENGTH)}


def _show_rows(run: FakeRun) -> list[str]:
    return [excerpt(row, _ROW_LENGTH) for row in run.row_list.read(0, min(run.visible_rows, _ROWS))]
