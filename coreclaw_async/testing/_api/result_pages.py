"""Pages of result rows, with the headers that name their columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coreclaw_async.testing._api.paging import PageWindow
    from coreclaw_async.testing._state.fake_run import FakeRun
    from coreclaw_async.testing._state.rows import RowList
    from coreclaw_async.testing._state.switches import Switches


def show_results(run: FakeRun, window: PageWindow, switches: Switches) -> dict[str, Any]:
    """Return one page of the rows that `run` shows now."""
    count = run.visible_rows
    page = run.row_list.read(window.start, min(window.stop, count))
    return {
        "count": count,
        "headers": show_headers(run.row_list),
        "list": switches.show_list(page),
        **(window.echo if switches.echo_page_index else {}),
    }


def show_headers(rows: RowList) -> list[dict[str, str]]:
    """Return a header for each column; the row id has none."""
    return [
        {"key": key, "label": key.replace("_", " ").title(), "format": form} for key, form in rows.columns().items()
    ]
