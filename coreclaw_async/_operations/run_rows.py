"""The rows of a run: all of an ended run, those so far of a running one, or each as it arrives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterator, Sequence
from typing import TypeVar

import attrs

from coreclaw_async._concurrency.groups import task_group
from coreclaw_async._data.counting import counted
from coreclaw_async._operations.context import Context
from coreclaw_async._operations.end_errors import raise_without_end
from coreclaw_async._operations.lists import pager_over, with_page_events
from coreclaw_async._operations.runs import concrete_id, id_of_last, read_results, read_run
from coreclaw_async._operations.wait import Wait, WaitOptions
from coreclaw_async._paging.listing import ListSource
from coreclaw_async._paging.pager import PagerOptions
from coreclaw_async._polling.tracked_run import TrackedRun
from coreclaw_async._wire.error_rows import ROW_ID
from coreclaw_async._wire.pages import LastPageError
from coreclaw_async.errors import PaginationError, RunNotFinishedError
from coreclaw_async.models import LastRun, Page, ResultHeader, ResultPage, Row, Run, RunRef

T = TypeVar("T")

# Rows are read from replicas, which may show the last ones some seconds after the run says how many there are.
_LAG_SECONDS = 30.0


def must_be_finished(run: Run) -> Run:
    """Return *run* if it has ended; raise RunNotFinishedError otherwise."""
    if not run.is_finished:
        raise RunNotFinishedError(
            f"run {run.run_id} has not ended (its status is {run.status}), so its rows so far may not be all: wait for"
            " its end, or ask for partial=True",
            run_id=run.run_id,
            run=run,
        )
    return run


async def finished_run(context: Context, run: RunRef, *, partial: bool = False) -> Run:
    """
    Return the run as it is now; a `Run` that has ended is returned as it is.

    Raises:
        RunNotFinishedError: It has not ended, and *partial* is false.
    """
    if isinstance(run, Run) and run.is_finished:
        return run
    found = await read_run(context, run)
    if isinstance(run, LastRun):
        id_of_last(found)
    return found if partial else must_be_finished(found)


def row_identity(row: Row) -> Hashable | None:
    """Return what tells a row from all others of its run, or None."""
    identity = row.get(ROW_ID)
    return identity if isinstance(identity, str | int) and identity != "" else None


@attrs.define(eq=False, repr=False)
class RunRows:
    """
    The list of the rows of one run, for a pager.

    Attributes:
        context: The client's context.
        run: How the run is named.
        partial: Whether the rows so far are enough while the run has not ended.
        follow: How to wait for further rows until the run has ended; None not to wait.
        keeps_numbers: See `Request`.
        row_count: How many rows there are as the last page told, or None.
    """

    context: Context
    run: RunRef
    partial: bool
    follow: WaitOptions | None = None
    keeps_numbers: bool = False
    _run_id: str = attrs.field(default="", init=False)
    _state: Run | None = attrs.field(default=None, init=False)
    _is_begun: bool = attrs.field(default=False, init=False)
    _wait: Wait | None = attrs.field(default=None, init=False)
    _ended: TrackedRun | None = attrs.field(default=None, init=False)
    _delays: Iterator[float] | None = attrs.field(default=None, init=False)
    _gives_up_at: float = attrs.field(default=0.0, init=False)
    _rows_before: int = attrs.field(default=0, init=False)
    row_count: int | None = attrs.field(default=None, init=False)
    _headers: dict[str, ResultHeader] = attrs.field(factory=dict[str, ResultHeader], init=False)

    async def open(self) -> Sequence[ListSource[Row]]:
        """Return the list; asks which run is meant where it is named as the last."""
        if isinstance(self.run, LastRun) and not self.partial and self.follow is None:
            self._state = await finished_run(self.context, self.run)
            self._run_id = self._state.run_id
        else:
            self._run_id = await concrete_id(self.context, self.run)
            if isinstance(self.run, Run) and self.run.is_finished:
                self._state = self.run
        name = "listWorkerRunResults"
        source = ListSource(
            name=name,
            fetch=with_page_events(self.context, name, self._fetch),
            identity=row_identity,
            expects_count=True,
            run_id=self._run_id,
            goes_on=self._goes_on,
        )
        return (source,)

    async def _fetch(self, offset: int, limit: int) -> Page[Row]:
        if not self._is_begun and self._state is None and not self.partial:
            if self.follow is None:
                return await self._read_first(offset, limit)
            await self._wait_for_news(0, self.follow)
        self._is_begun = True
        return await self._read(offset, limit)

    async def _read(self, offset: int, limit: int) -> Page[Row]:
        try:
            page = await read_results(
                self.context, self._run_id, offset=offset, limit=limit, keeps_numbers=self.keeps_numbers
            )
        except LastPageError as error:
            # Each attempt was answered like this. The scan gets an empty page, which ends no list that lacks rows.
            page = ResultPage(count=error.count, offset=offset, limit=limit)
        self.row_count = page.count
        for header in page.headers:
            self._headers.setdefault(header.key, header)
        return page

    def pages(self) -> AsyncIterator[Page[Row]]:
        """Return all pages, as those of `AsyncRuns.iterate_results`."""
        return pager_over(self.context, self.open, PagerOptions()).pages()

    def headers(self) -> Sequence[ResultHeader]:
        """Return the columns that the pages so far have named, also pages without rows."""
        return tuple(self._headers.values())

    async def _read_first(self, offset: int, limit: int) -> Page[Row]:
        """Return the first page of a run that has ended; its state is read at the same time."""
        state, page = await _both(
            lambda: finished_run(self.context, self._run_id),
            lambda: self._read(offset, limit),
        )
        self._state = state
        self._is_begun = True
        if page.count is not None and state.result_count and page.count >= state.result_count:
            return page
        # The page may have been read just before the last rows came and the run ended.
        return await self._read(offset, limit)

    async def _goes_on(self, rows: int) -> bool:
        """
        Wait for further rows, and return whether there may be any.

        Raises:
            PaginationError: Half a minute has passed, and the run or its last page still counts more rows than came.
        """
        if self.follow is not None and self._state is None:
            await self._wait_for_news(rows, self.follow)
            return True
        # With *partial* the run may have more rows than came; its pages must always hold as many as they count.
        told = 0 if self._state is None or self.partial else self._state.result_count or 0
        if rows >= max(told, self.row_count or 0):
            return False
        await self._wait_for_lag(rows, told)
        return True

    async def _wait_for_lag(self, rows: int, told: int) -> None:
        """Wait a little for rows that the run (*told*) or its pages count and that have not come yet."""
        clock = self.context.clock
        now = clock.monotonic()
        if self._delays is None or rows > self._rows_before:
            self._delays, self._gives_up_at, self._rows_before = (
                self.context.schedule.jittered_delays(),
                now + _LAG_SECONDS,
                rows,
            )
        if now >= self._gives_up_at:
            self._delays = None  # The next call waits again.
            expected = max(told, self.row_count or 0)
            says = f"{'has ended with' if told == expected else 'has pages that count'} {counted(expected, 'row')}"
            raise PaginationError(
                f"run {self._run_id} {says}, and only {rows} came",
                collected=rows,
                expected=expected,
                run_id=self._run_id,
            )
        await clock.sleep(min(next(self._delays), self._gives_up_at - now))

    async def _wait_for_news(self, rows: int, options: WaitOptions) -> None:
        """
        Wait until the run may have more than *rows* rows, or has ended.

        The pages are read after its end too, as the run's own count may lag behind them.
        """
        if self._ended is not None:
            ended, self._ended, self._wait = self._ended, None, None
            raise_without_end(ended)
        if self._wait is None:
            self._wait = Wait.begin(self.context, [self._run_id], options, tells_all=True)
        try:
            while True:
                tracked = await self._wait.next_tracked()
                assert tracked is not None, "only the last run has to be found out"
                await self._wait.tell_changes(tracked)
                run = tracked.run
                if tracked.is_over:
                    if run is not None and run.is_finished:
                        self._state = run
                    else:  # It stays ``aborting``: its rows so far are returned, and then this is raised.
                        self._ended = tracked
                    return
                if run is not None and (run.result_count is None or run.result_count > rows):
                    return
        except Exception:
            self._wait = None  # This wait is over; iterating again begins another one.
            raise


async def _both(look: Callable[[], Awaitable[Run]], read: Callable[[], Awaitable[Page[Row]]]) -> tuple[Run, Page[Row]]:
    """Return the state of a run and a page of its rows, read at the same time; without the state, no page."""
    found: list[Run | Exception] = []
    pages: list[Page[Row] | Exception] = []

    async def read_page() -> None:
        try:
            pages.append(await read())
        except Exception as error:  # noqa: BLE001 - raised below, unless the state says more
            pages.append(error)

    async with task_group() as group:
        group.start_soon(read_page)
        try:
            found.append(await look())
        except Exception as error:  # noqa: BLE001 - raised below
            found.append(error)
            group.cancel_scope.cancel()
    return _value_of(found), _value_of(pages)


def _value_of(outcomes: Sequence[T | Exception]) -> T:
    """Return what came, or raise what came instead."""
    (outcome,) = outcomes
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome
