"""Looking at many runs in few requests: which lists to read, how far, and whom to ask for alone."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import anyio
import attrs

from coreclaw_async import errors
from coreclaw_async._clock import Clock
from coreclaw_async._list_shape import FEW, PAGE, ListMemory, ListShape, Means, Month
from coreclaw_async._wire.moments import creation_time, moment_of, month_of, month_window
from coreclaw_async.events import RunsPolled
from coreclaw_async.models import Page, Run, RunStatus

Window = tuple[int, int]
Report = Callable[[str, Run | errors.CoreClawError], bool]

_AT_ONCE = 8
_MAX_FAILURES = 3

_REFUSED = (errors.AuthenticationError, errors.ConfigurationError)
# A list that fails like this may fail for ever while single runs can be read.
_LASTING = (errors.PaginationError, errors.InvalidResponseError, errors.InvalidArgumentError, errors.NotFoundError)


class PageReader(Protocol):
    """What reads a list page by page."""

    async def next_page(self) -> Page[Run] | None:
        """Return the next page, or None after the last."""
        ...


@attrs.frozen(kw_only=True)
class RunSource:
    """
    The means of one client.

    Attributes:
        look: Returns one run as it is now.
        list_runs: Returns a reader of the runs with a status (None: all) of a window (None: the current month).
        service_time: Returns what the service's clock shows, in Unix seconds.
        emit: Told of each survey.
    """

    look: Callable[[str], Awaitable[Run]]
    list_runs: Callable[[str | None, Window | None], PageReader]
    service_time: Callable[[], float]
    emit: Callable[[RunsPolled], None]


class Survey:
    """
    One look at the runs that are due.

    Absence from a list is a reason to ask for the run, never a verdict, and the order of a list is a hint, never a
    premise.
    """

    def __init__(
        self, source: RunSource, clock: Clock, memory: ListMemory, due: Mapping[str, Run | None], report: Report
    ) -> None:
        self._source = source
        self._clock = clock
        self._memory = memory
        self._due = due
        self._report = report
        self._seen = 0
        self._details = 0
        self._pages = 0
        self._failures = 0
        self._failures_in_a_row = 0

    @staticmethod
    def is_for_many(due: Mapping[str, Run | None]) -> bool:
        """Return whether a list may be cheaper than asking one by one."""
        return len(due) > FEW

    async def take(self) -> None:
        """Look at all that are due, and report what was found."""
        try:
            now = moment_of(self._source.service_time())
            for month, left in self._by_month(now).items():
                window = month_window(month) if month < month_of(now) else None
                await self._look_at_month(left, self._memory.shape(month), window)
        finally:
            self._source.emit(
                RunsPolled(
                    due=len(self._due),
                    seen=self._seen,
                    details=self._details,
                    pages=self._pages,
                    failures=self._failures,
                )
            )

    def _by_month(self, now: dt.datetime) -> dict[Month, dict[str, Run | None]]:
        """Return the runs by the month in whose list they stand; an id that does not tell stands for a new run."""
        months: dict[Month, dict[str, Run | None]] = {}
        for run_id, run in self._due.items():
            created = creation_time(run_id)
            month = month_of(now if created is None else moment_of(created))
            months.setdefault(min(month, month_of(now)), {})[run_id] = run
        return months

    async def _look_at_month(self, left: dict[str, Run | None], shape: ListShape, window: Window | None) -> None:
        """Find the runs in *left* by the cheapest means, which is chosen anew after each page."""
        newest: PageReader | None = None
        total = len(left)
        pages_read = 0
        has_states = False
        while left:
            means = Means.DETAILS
            if self._memory.may_list(self._clock.monotonic()):
                means = shape.choose(left, total=total, pages_read=pages_read, has_states=has_states)
            if means is Means.DETAILS:
                await self._ask_for(left)
                return
            if means is Means.STATES:
                has_states = True
                await self._read_states(left, shape, window)
                continue
            if newest is None:
                newest = self._source.list_runs(None, window)
            page = await self._read_page(newest, left)
            pages_read += 1
            if page is not None:
                shape.learn_newest(pages_read, page)
            elif not self._failures:
                shape.is_whole = True

    async def _read_states(self, left: dict[str, Run | None], shape: ListShape, window: Window | None) -> None:
        """Take those out of *left* that are running or ready."""
        before = len(left)
        first = await self._read_status(RunStatus.RUNNING, left, window)
        # Who was last seen running has hardly become ready again; two others are worth a list.
        if sum(1 for run in left.values() if run is None or run.status != RunStatus.RUNNING) > 1:
            await self._read_status(RunStatus.READY, left, window)
        if not self._failures:
            shape.learn_states(first, before, len(left))

    async def _read_status(
        self, status: RunStatus, left: dict[str, Run | None], window: Window | None
    ) -> Page[Run] | None:
        """Read a list of states for as long as that is cheaper than asking, and return its first page."""
        reader = self._source.list_runs(status, window)
        first = page = await self._read_page(reader, left)
        rest = 0 if first is None or first.count is None else math.ceil(first.count / PAGE) - 1
        while page is not None and len(page.items) == PAGE and rest < len(left):
            page = await self._read_page(reader, left)
            rest -= 1
        return first

    async def _read_page(self, reader: PageReader, left: dict[str, Run | None]) -> Page[Run] | None:
        """Report the runs of the next page and take them out of *left*; a failure is a look at all that failed."""
        try:
            self._pages += 1
            page = await reader.next_page()
        except errors.CoreClawError as error:
            self._failures += 1
            self._memory.note_failure(self._clock.monotonic(), is_lasting=isinstance(error, (*_REFUSED, *_LASTING)))
            if not isinstance(error, (*_REFUSED, *_LASTING)):
                self._give_up(left, error)
            return None
        self._memory.note_success()
        for run in () if page is None else page.items:
            if run.status is None:  # It tells nothing: whoever is not found in a list is asked for.
                continue
            if self._report(run.run_id, run):
                self._seen += 1
                left.pop(run.run_id, None)
        return page

    def _give_up(self, left: dict[str, Run | None], error: errors.CoreClawError) -> None:
        """Report the same failure for all that are left."""
        for run_id in left:
            self._report(run_id, error)
        left.clear()

    async def _ask_for(self, left: dict[str, Run | None]) -> None:
        """Ask for each run, several at once; failures in a row, or a refused key, speak for the rest."""
        if len(left) == 1:
            await self._ask(left.popitem()[0], left)
            return
        async with anyio.create_task_group() as group:
            for _ in range(min(_AT_ONCE, len(left))):
                group.start_soon(self._ask_on, left)

    async def _ask_on(self, left: dict[str, Run | None]) -> None:
        while left:
            await self._ask(left.popitem()[0], left)

    async def _ask(self, run_id: str, left: dict[str, Run | None]) -> None:
        self._details += 1
        try:
            self._report(run_id, await self._source.look(run_id))
            self._seen += 1
            self._failures_in_a_row = 0
        except errors.NotFoundError as error:
            self._report(run_id, error)
        except errors.CoreClawError as error:
            self._failures += 1
            self._failures_in_a_row += 1
            self._report(run_id, error)
            if isinstance(error, _REFUSED) or self._failures_in_a_row >= _MAX_FAILURES:
                self._give_up(left, error)
