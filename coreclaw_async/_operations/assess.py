"""Verdicts on runs that have ended: the status first, then the rows themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import attrs

from coreclaw_async._concurrency.stream import AsyncStream
from coreclaw_async._data.counting import counted
from coreclaw_async._operations.context import Context
from coreclaw_async._operations.end_errors import last_log_lines
from coreclaw_async._operations.lists import pager_over
from coreclaw_async._operations.run_rows import RunRows, finished_run
from coreclaw_async._paging.pager import PagerOptions
from coreclaw_async._wire.error_rows import RowKind, filled_members, has_data_columns, kind_of_row
from coreclaw_async._wire.request import MAX_LIMIT, check_int
from coreclaw_async.errors import PaginationError, RunNotFinishedError
from coreclaw_async.models import Assessment, ErrorRow, Page, ResultPage, Row, Run, RunOutcome, RunRef, Verdict

_MAX_ERROR_ROWS = 10


def verdict_of(run: Run, rows: RowsRead | None) -> Verdict | None:
    """
    Return the verdict on a run that has ended; None where that depends on rows that nobody has read.

    Args:
        run: The run.
        rows: All of its rows, or None where they were not read.
    """
    match run.outcome:
        case RunOutcome.SUCCEEDED if rows is not None:
            return rows.verdict(run, None)[0]
        case RunOutcome.SUCCEEDED if run.result_count is None or run.result_count < 0:
            return Verdict.UNKNOWN
        case RunOutcome.SUCCEEDED:
            return None if run.result_count else Verdict.EMPTY
        case RunOutcome.FAILED:
            return Verdict.FAILED
        case RunOutcome.ABORTED:
            return Verdict.ABORTED
        case _:
            return Verdict.UNKNOWN


async def assess_run(context: Context, run: RunRef, *, max_rows: int) -> Assessment:
    """Return the verdict on *run*; see `AsyncRuns.assess`."""
    most = check_int("max_rows", max_rows, lowest=1)
    options = PagerOptions(page_size=min(most, MAX_LIMIT), max_items=most)
    found = await finished_run(context, run, partial=True)
    match found.outcome:
        case RunOutcome.SUCCEEDED:
            return await _assess_rows(context, found, options)
        case RunOutcome.FAILED:
            return await _failed(context, found)
        case RunOutcome.ABORTED:
            return Assessment(verdict=Verdict.ABORTED, run=found, reason="the run was aborted", **_told_by(found))
        case RunOutcome.ABORTING:
            reason = "the run is aborting, and the service has not confirmed its end"
            return Assessment(verdict=Verdict.UNKNOWN, run=found, reason=reason)
        case _:
            raise RunNotFinishedError(
                f"run {found.run_id} has not ended (its status is {found.status}), so there is nothing to assess yet:"
                " wait for its end",
                run_id=found.run_id,
                run=found,
            )


def _told_by(run: Run) -> dict[str, Any]:
    return {"error_message": run.error_message, "error_source": "run"} if run.error_message else {}


async def _failed(context: Context, run: Run) -> Assessment:
    told: dict[str, Any] = _told_by(run)
    if not told and (lines := await last_log_lines(context, run.run_id)):
        told = {"error_message": "\n".join(lines), "error_source": "log"}
    return Assessment(verdict=Verdict.FAILED, run=run, reason=f"the run ended as {run.status}", **told)


async def _assess_rows(context: Context, run: Run, options: PagerOptions) -> Assessment:
    rows = RunRows(context, run, partial=False)
    read = RowsRead()
    missing: str | None = None
    try:
        async for page in pager_over(context, rows.open, options).pages():
            read.add(page)
    except PaginationError as error:
        missing = error.message
    count = rows.row_count
    verdict, reason = (Verdict.UNKNOWN, missing) if missing else read.verdict(run, count)
    return Assessment(
        verdict=verdict,
        run=run,
        reason=reason,
        row_count=count,
        rows_read=read.count,
        error_row_count=read.error_count,
        error_rows=read.error_rows,
        **_told_by(run),
    )


@attrs.define(eq=False, repr=False)
class RowsRead:
    """
    The rows of a run that were looked at.

    Attributes:
        count: How many.
        has_data_columns: Whether rows of this run may hold data in other members than ``url``.
    """

    count: int = 0
    has_data_columns: bool = False
    _counts: Counter[RowKind] = attrs.field(factory=Counter[RowKind], init=False)
    _examples: list[tuple[RowKind, ErrorRow]] = attrs.field(factory=list[tuple[RowKind, ErrorRow]], init=False)

    def add(self, page: Page[Row]) -> None:
        """Look at the rows of the next page."""
        headers = page.headers if isinstance(page, ResultPage) else ()
        self.has_data_columns |= has_data_columns(header.key for header in headers)
        for row in page.items:
            self.count += 1
            self.has_data_columns = self.has_data_columns or has_data_columns(row)
            kind = kind_of_row(row)
            if kind is not RowKind.DATA:
                self._counts[kind] += 1
                if self._counts[kind] <= _MAX_ERROR_ROWS:
                    found = ErrorRow(number=self.count, members=tuple(filled_members(row)), row=row)
                    self._examples.append((kind, found))

    def reading(self, pages: AsyncIterator[Page[Row]]) -> AsyncStream[Page[Row]]:
        """Return *pages*, each of which is looked at before it is returned."""

        async def read() -> Page[Row] | None:
            page = await anext(pages, None)
            if page is not None:
                self.add(page)
            return page

        return AsyncStream(read)

    @property
    def error_count(self) -> int:
        """How many rows hold no data."""
        return sum(self._counts[kind] for kind in self._bad_kinds())

    @property
    def error_rows(self) -> tuple[ErrorRow, ...]:
        """The first of them."""
        bad = self._bad_kinds()
        return tuple(row for kind, row in self._examples if kind in bad)[:_MAX_ERROR_ROWS]

    def _bad_kinds(self) -> tuple[RowKind, ...]:
        return (RowKind.ERROR, RowKind.NO_DATA) if self.has_data_columns else (RowKind.ERROR,)

    def verdict(self, run: Run, row_count: int | None) -> tuple[Verdict, str]:
        """Return the verdict on a run that has succeeded and whose rows add up, with its reason."""
        if self.count == 0:
            if row_count == 0 or run.result_count == 0:
                return Verdict.EMPTY, "the run succeeded and has no rows"
            return Verdict.UNKNOWN, "no rows came, and the service does not say how many there are"
        total = max(row_count or 0, run.result_count or 0, self.count)
        rows = counted(total, "row")
        looked_at = f"of the first {self.count:,} of {rows}" if total > self.count else f"of {rows}"
        if self.error_count:
            numbers = ", ".join(str(row.number) for row in self.error_rows)
            more = ", ..." if self.error_count > len(self.error_rows) else ""
            return Verdict.ERROR_ROWS, f"no data in {self.error_count:,} {looked_at}: {numbers}{more}"
        return Verdict.PASS, f"none {looked_at} is an error row"
