"""The list of runs: one page, whole months, and the look for runs that a lost answer may have started."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Awaitable, Callable, Sequence

import attrs

from coreclaw_async._operations.context import Context
from coreclaw_async._paging.listing import ListSource
from coreclaw_async._paging.pager import AsyncPager, PagerOptions
from coreclaw_async._wire.pages import read_page
from coreclaw_async._wire.request import MAX_LIMIT, Request, build_path, build_query
from coreclaw_async._wire.timestamps import (
    check_aware,
    creation_time,
    moment_of,
    month_of,
    month_windows,
)
from coreclaw_async.errors import CoreClawError, InvalidResponseError, PaginationError
from coreclaw_async.models import Page, Run

_MAX_LOOK_PAGES = 5
# Between the moment of sending and the time in a run id: the network, and what is left of the difference of two clocks.
_SKEW_SECONDS = 10.0

TimeWindow = tuple[int, int]


async def read_runs(
    context: Context,
    offset: int,
    limit: int,
    *,
    worker_id: str | None = None,
    status: str | None = None,
    window: TimeWindow | None = None,
    deadline: float | None = None,
    is_probe: bool = False,
) -> Page[Run]:
    """Return one page of runs; without a *window* those of the service's current month."""
    request = Request(
        operation="listWorkerRuns",
        method="GET",
        path=build_path("worker-runs"),
        query=build_query(
            offset=offset,
            limit=limit,
            worker_id=worker_id,
            status=status,
            start_time=None if window is None else window[0],
            end_time=None if window is None else window[1],
        ),
    )
    reader = functools.partial(read_page, model=Run, offset=offset, limit=limit)
    return await context.transport.call(request, reader, deadline=deadline, is_probe=is_probe)


def runs_pager(
    context: Context,
    options: PagerOptions,
    *,
    worker_id: str | None = None,
    status: str | None = None,
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
) -> AsyncPager[Run]:
    """Return a pager over the runs of the service's current month, or over the months from *since* to *until*."""

    def listing(window: TimeWindow | None) -> ListSource[Run]:
        return _listing(context, worker_id, status, window)

    async def open_listings() -> Sequence[ListSource[Run]]:
        if since is None:
            return (listing(None),)
        end = await _end_of(context, until, worker_id, status)
        return tuple(listing(window) for window in month_windows(since, end))

    return context.pager(open_listings, options, keep=None if since is None else _created_between(since, until))


async def _end_of(
    context: Context, until: dt.datetime | None, worker_id: str | None, status: str | None
) -> dt.datetime:
    """Return the moment up to which there can be runs: now, or *until* when that is earlier."""
    transport = context.transport
    if until is not None and until <= moment_of(transport.clock.time()):
        return until
    if not transport.knows_service_time:
        # Which month is the newest one is for the service's clock to say, and any answer tells what it shows.
        await read_runs(context, 0, 1, worker_id=worker_id, status=status)
    now = moment_of(transport.service_time())
    return now if until is None else min(until, now)


def list_reader(
    context: Context, status: str | None, window: TimeWindow | None, *, most: int, seconds: float
) -> AsyncPager[Run]:
    """
    Return a pager for whoever looks again and again: each of its requests is sent once.

    Args:
        context: The client's context.
        status: The status of the runs, None for all.
        window: The window that they were made in, None for the service's current month.
        most: Requests that it sends at most, and then raises PaginationError.
        seconds: How long each of them may take.
    """
    left = most

    async def fetch(offset: int, limit: int) -> Page[Run]:
        nonlocal left
        if left == 0:
            raise PaginationError(f"a list of runs was left after {most} requests")
        left -= 1
        deadline = context.transport.clock.monotonic() + seconds
        return await read_runs(context, offset, limit, status=status, window=window, deadline=deadline, is_probe=True)

    async def open_listings() -> Sequence[ListSource[Run]]:
        return (context.listing("listWorkerRuns", fetch, lambda run: run.run_id or None),)

    return context.pager(open_listings, PagerOptions(page_size=MAX_LIMIT))


def _listing(context: Context, worker_id: str | None, status: str | None, window: TimeWindow | None) -> ListSource[Run]:
    def fetch(offset: int, limit: int) -> Awaitable[Page[Run]]:
        return read_runs(context, offset, limit, worker_id=worker_id, status=status, window=window)

    return context.listing("listWorkerRuns", fetch, lambda run: run.run_id or None)


def _created_between(since: dt.datetime, until: dt.datetime | None) -> Callable[[Run], bool]:
    """Windows hold whole days; what an id proves to be outside is left out, and what it does not tell about is kept."""
    first = since.timestamp()
    last = float("inf") if until is None else until.timestamp()

    def is_between(run: Run) -> bool:
        created = creation_time(run.run_id)
        return created is None or first <= created < last

    return is_between


async def find_started(
    context: Context, worker_id: str | None, since: dt.datetime, until: dt.datetime | None = None
) -> list[Run]:
    """
    Return the runs that a start between *since* and *until* may have brought about.

    Raises:
        CoreClawError: The lists could not be read as far as they had to be; its candidates were found before.
    """
    found: dict[str, Run] = {}
    try:
        await report_started(context, worker_id, since, until, lambda run: found.setdefault(run.run_id, run))
    except CoreClawError as error:
        error.candidates = tuple(found) or None
        raise
    return list(found.values())


async def report_started(
    context: Context,
    worker_id: str | None,
    since: dt.datetime,
    until: dt.datetime | None,
    found: Callable[[Run], object],
) -> None:
    """
    Call *found* with each run that a start between *since* and *until* may have brought about, as soon as it is seen.

    Reads the service's current month first, whose answer also tells the service's clock, and earlier months when the
    start may fall into one; at most five pages of each. What five pages can hold is read whole; of a longer list, the
    pages that are newest first throughout, down to one that is older than the start.

    Raises:
        InvalidResponseError: A run that may be one of them does not say its id.
        PaginationError: The pages do not add up, or five of them do not reach back to *since* and hold no run that may
            be one of them.
    """
    transport = context.transport
    began = check_aware("since", since).timestamp()
    now_here, steps = transport.local_time(), transport.connections.clock_steps
    ended = now_here if until is None else check_aware("until", until).timestamp()
    options = PagerOptions(page_size=MAX_LIMIT)
    current = runs_pager(context, options, worker_id=worker_id)
    page = await current.next_page()
    # Both moments are this machine's; the ids and months are the service's. Where nobody can tell how far the two
    # clocks are apart, no time rules a run out. Whoever told the moments may have done so before the clock was set.
    transport.local_time()
    difference = transport.connections.last_date.difference
    first = float("-inf") if difference is None else began + difference - steps.back - _SKEW_SECONDS
    last = float("inf") if difference is None else ended + difference + steps.ahead + _SKEW_SECONDS
    look = _StartedLook(context, first, last, found)
    await look.read(current, page)
    now = moment_of(transport.service_time())
    earliest = moment_of(began if difference is None else first)
    if month_of(earliest) != month_of(now):
        latest = min(moment_of(last), now)
        earlier = runs_pager(context, options, worker_id=worker_id, since=earliest, until=latest)
        await look.read(earlier, await earlier.next_page())
    look.check_whole()


@attrs.define
class _StartedLook:
    """
    A look for runs of unknown starts.

    Attributes:
        first: Earliest moment that a run can be of, in Unix seconds of the service.
        last: Latest moment.
    """

    _context: Context
    first: float
    last: float
    _found: Callable[[Run], object]
    _has_found: bool = attrs.field(default=False, init=False)
    _nameless: int = attrs.field(default=0, init=False)
    _was_cut: bool = attrs.field(default=False, init=False)

    async def read(self, pager: AsyncPager[Run], page: Page[Run] | None) -> None:
        """Take *page* and the next ones, until the rest must be older than what is looked for, or there were five."""
        pages = 0
        reached: float | None = float("inf")
        while page is not None:
            for run in page.items:
                self._take(run)
            pages += 1
            reached = _reached(page, reached)
            is_behind = reached is not None and reached < self.first
            if is_behind and _is_long(page):
                return
            if pages == _MAX_LOOK_PAGES:
                self._was_cut = self._was_cut or not is_behind
                return
            page = await pager.next_page()

    def check_whole(self) -> None:
        """Raise when a run of the start may have been there and was not seen."""
        if self._nameless:
            raise InvalidResponseError(f"{self._nameless} runs that may be what was looked for do not say their id")
        if self._was_cut and not self._has_found:
            raise PaginationError("the look for a lost start ended before it had gone back far enough")

    def _take(self, run: Run) -> None:
        if run.origin == "web" or run.run_id in self._context.known:
            return
        if not run.run_id:
            self._nameless += 1
            return
        created = creation_time(run.run_id)
        if created is None or self.first <= created <= self.last:
            self._has_found = True
            self._found(run)


def _reached(page: Page[Run], before: float | None) -> float | None:
    """
    Return how far back the list has come with *page*, in Unix seconds; None when it is not newest first so far.

    Newest first is a hint: one run that is out of order, or does not tell its time, and the next page may hold any.
    """
    for run in page.items:
        created = creation_time(run.run_id)
        if before is None or created is None or created > before:
            return None
        before = created
    return before


def _is_long(page: Page[Run]) -> bool:
    """Return whether *page* is whole, of a list too long to be read whole: then its order is all there is to go by."""
    is_full = len(page.items) >= (page.page_size or page.limit)
    return is_full and page.count is not None and page.count > _MAX_LOOK_PAGES * MAX_LIMIT
