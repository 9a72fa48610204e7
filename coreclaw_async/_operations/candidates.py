"""Looks for what a call whose answer was lost may have made: runs, tasks, queue items."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import TypeVar

import attrs

from coreclaw_async._data.counting import counted
from coreclaw_async._operations.context import Context
from coreclaw_async._operations.lists import QUEUE, TASKS, RunFilter, runs_pager
from coreclaw_async._operations.start import FindCandidates, Found
from coreclaw_async._paging.pager import AsyncPager, PagerOptions
from coreclaw_async._wire.request import MAX_LIMIT
from coreclaw_async._wire.timestamps import check_aware, creation_time, moment_of, month_of
from coreclaw_async.errors import InvalidResponseError, PaginationError
from coreclaw_async.models import Page, Run

T = TypeVar("T")

_MAX_LOOK_PAGES = 5
_WHOLE_PAGES = PagerOptions(page_size=MAX_LIMIT)
# Between the time of sending and the time in a run id: the network, and what is left of the difference of two clocks.
_SKEW_SECONDS = 10.0
# An item that was just put into the queue waits; one that was activated or released is another one's.
_INACTIVE = "inactive"


def lost_runs(context: Context, worker_id: str | None) -> FindCandidates:
    """Return a look for runs of the worker (None: of any) that are started from now on."""
    runs = RunFilter(worker_id=worker_id)
    since = moment_of(context.transport.local_time())

    async def find_candidates(found: Found) -> None:
        await report_started(context, runs, since=since, until=None, found=lambda run: found(run.run_id))

    return find_candidates


async def report_started(
    context: Context,
    runs: RunFilter,
    *,
    since: dt.datetime,
    until: dt.datetime | None,
    found: Callable[[Run], object],
) -> None:
    """
    Call *found* with each of *runs* that a start between *since* and *until* may have made, as soon as it is seen.

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
    current = runs_pager(context, _WHOLE_PAGES, runs)
    page = await current.next_page()
    # *since* and *until* are by this machine's clock, ids and months by the service's. While their difference is not
    # known, no run is ruled out by its time. This machine's clock may have been set since the caller read it.
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
        earlier = runs_pager(context, _WHOLE_PAGES, runs, since=earliest, until=latest)
        await look.read(earlier, await earlier.next_page())
    look.check_whole()


@attrs.define(eq=False, repr=False)
class _StartedLook:
    """
    A look for runs of unknown starts.

    Attributes:
        first: When such a run was made at the earliest, in Unix seconds of the service.
        last: When it was made at the latest.
    """

    _context: Context
    first: float
    last: float
    _found: Callable[[Run], object]
    _has_found: bool = attrs.field(default=False, init=False)
    _nameless: int = attrs.field(default=0, init=False)
    _was_cut: bool = attrs.field(default=False, init=False)

    async def read(self, pager: AsyncPager[Run], page: Page[Run] | None) -> None:
        """Take *page* and the next ones, up to five, until all later ones must be older than what is looked for."""
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
            raise InvalidResponseError(f"{counted(self._nameless, 'run')} without an id may be what was looked for")
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


def lost_tasks(context: Context, worker_id: str, title: str) -> FindCandidates:
    """Return a look for tasks of the worker with that title which this client was not told of."""
    titles = {title.strip(), ""}  # A title that did not come, or cannot be read, may be that one.

    async def find_candidates(found: Found) -> None:
        tasks = TASKS.pager(context, _WHOLE_PAGES, worker_id=worker_id, keyword=title)
        await _report(context, tasks, found, TASKS.id_of, lambda task: task.title.strip() in titles)

    return find_candidates


def lost_queue_items(context: Context) -> FindCandidates:
    """Return a look for queue items that wait, as far as they tell, and that this client was not told of."""

    async def find_candidates(found: Found) -> None:
        items = QUEUE.pager(context, _WHOLE_PAGES)
        await _report(context, items, found, QUEUE.id_of, lambda item: item.status != _INACTIVE)

    return find_candidates


async def _report(
    context: Context,
    items: AsyncPager[T],
    found: Found,
    identity: Callable[[T], str | None],
    may_be_it: Callable[[T], bool],
) -> None:
    """Report those of *items* that may be what is looked for; raise at the end when one of them does not say its id."""
    nameless = 0
    async for item in items:
        if not may_be_it(item):
            continue
        name = identity(item)
        if name is None:
            nameless += 1
        elif name not in context.known:
            found(name)
    if nameless:
        raise InvalidResponseError(f"{counted(nameless, 'item')} without an id may be what was looked for")
