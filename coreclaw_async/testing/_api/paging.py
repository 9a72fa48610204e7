"""Pages of lists under the three meanings that `offset` has had, and pages of result rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen

from coreclaw_async.testing._api.answer_style import shown_list

if TYPE_CHECKING:
    from coreclaw_async.testing._state.fake_run import FakeRun
    from coreclaw_async.testing._state.rows import RowList
    from coreclaw_async.testing._state.switches import Switches

DEFAULT_LIMIT = 20


@frozen
class PageWindow:
    """
    The requested part of a list.

    Attributes:
        start: The first row, counted from 0.
        limit: How many rows at most.
        page_index: The number of the page in the answer, counted from 1.
    """

    start: int
    limit: int
    page_index: int

    @property
    def stop(self) -> int:
        """The row after the last."""
        return self.start + self.limit

    @property
    def echo(self) -> dict[str, int]:
        """The members that say which page this is."""
        return {"page_index": self.page_index, "page_size": self.limit}


def window_of(asked: Mapping[str, Any], switches: Switches) -> PageWindow:
    """Return the window that `offset` and `limit` mean in the current dialect."""
    limit: int = asked.get("limit", DEFAULT_LIMIT)
    if switches.page_size_cap is not None:
        limit = min(limit, switches.page_size_cap)
    return _DIALECTS[switches.offset_dialect](asked.get("offset", 0), limit)


def _page_number(offset: int, limit: int) -> PageWindow:
    page = max(offset, 1)
    return PageWindow((page - 1) * limit, limit, page)


def _row_offset(offset: int, limit: int) -> PageWindow:
    return PageWindow(offset, limit, offset // limit + 1)


def _aligned_page(offset: int, limit: int) -> PageWindow:
    page = offset // limit
    return PageWindow(page * limit, limit, page + 1)


_DIALECTS: Mapping[str, Callable[[int, int], PageWindow]] = {
    "page": _page_number,
    "row": _row_offset,
    "aligned": _aligned_page,
}


def show_results(run: FakeRun, window: PageWindow, switches: Switches) -> dict[str, Any]:
    """Return one page of the rows that `run` shows now."""
    count = run.visible_rows
    page = run.row_list.read(window.start, min(window.stop, count))
    return {
        "count": count,
        "headers": show_headers(run.row_list),
        "list": shown_list(page, switches),
        **(window.echo if switches.echo_page_index else {}),
    }


def show_headers(rows: RowList) -> list[dict[str, str]]:
    """Return a header for each column; the row id has none."""
    return [
        {"key": key, "label": key.replace("_", " ").title(), "format": form} for key, form in rows.columns().items()
    ]
