"""ListEstimate: what the lists of runs looked like, and how many requests each method of polling would take."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from operator import neg

import attrs

from coreclaw_async._wire.timestamps import creation_time
from coreclaw_async.models import Page, Run, RunOutcome, RunStatus

PAGE = 100
"""Runs a page, the most that the service gives."""

# Up to so many runs are asked for one by one: a page of a list is a hundred times as long as one run.
FEW = 3

Month = tuple[int, int]

_MONTHS_KEPT = 12
_EXPECTED_TO_LEAVE = 0.1
_LOOKS_REMEMBERED = 200
_MAX_LIST_FAILURES = 2
_SECONDS_WITHOUT_LISTS = 60.0


class PollMethod(Enum):
    """How to find out about runs."""

    DETAILS = "details"
    """One request a run."""
    NEWEST = "newest"
    """The next page of the list of all runs."""
    STATES = "states"
    """The lists of running and of ready runs; a run in neither is asked for."""


@attrs.define(eq=False, repr=False)
class ListEstimate:
    """
    The list of runs of one month.

    Attributes:
        borders: Creation time of the last run on each page that was read, from page 1 on, in Unix seconds.
        newest: Creation time of the first run of page 1.
        is_sorted: Whether the newest come first, as they always have without a promise.
        is_whole: Whether the last page was among those that were read.
        count: Runs in the list, or None when the service does not say.
        running_pages: Pages of the list of running runs, or None when it was not read.
        leaving: Share of the runs looked at lately that had ended: they are in neither list of states.
    """

    borders: list[float] = attrs.field(factory=list[float])
    newest: float = 0.0
    is_sorted: bool = True
    is_whole: bool = False
    count: int | None = None
    running_pages: int | None = None
    leaving: float = _EXPECTED_TO_LEAVE

    def learn_newest(self, number: int, page: Page[Run]) -> None:
        """Record page *number* of the list of all."""
        times = [time for time in (creation_time(run.run_id) for run in page.items) if time is not None]
        self.count = page.count
        self.is_whole = page.count is not None and number * PAGE >= page.count
        if not times:
            self.is_sorted = False
            return
        if number == 1:
            self.newest = times[0]
        previous = self.borders[number - 2] if 1 < number <= len(self.borders) + 1 else math.inf
        self.is_sorted = times == sorted(times, reverse=True) and times[0] <= previous
        self.borders[number - 1 : number] = [times[-1]]
        if len(self.borders) > number and self.borders[number] > times[-1]:
            del self.borders[number:]  # What was read earlier is out of date.

    def learn_running(self, page: Page[Run] | None) -> None:
        """Record the first page of running runs."""
        size = 0 if page is None else len(page.items) if page.count is None else page.count
        self.running_pages = max(1, math.ceil(size / PAGE))

    def learn_leaving(self, ended: int, looked_at: int) -> None:
        """Record that *ended* of the runs that were looked at have ended."""
        self.leaving += (ended - self.leaving * looked_at) / (looked_at + _LOOKS_REMEMBERED)

    def choose(self, left: Mapping[str, Run | None], *, total: int, pages_read: int, has_states: bool) -> PollMethod:
        """
        Return the cheapest method to continue with.

        Args:
            left: The runs that are not found yet, each as it was last seen.
            total: How many were to be found.
            pages_read: Pages of the list of all runs that were read in this poll round.
            has_states: Whether the lists of states were read in this poll round.
        """
        # Stop when page after page held none of the runs.
        if len(left) <= FEW or pages_read > total:
            return PollMethod.DETAILS
        costs = {PollMethod.NEWEST: self._cost_of_newest(list(left), pages_read), PollMethod.DETAILS: len(left)}
        if not has_states:
            costs[PollMethod.STATES] = self._cost_of_states(left.values())
        return min(costs, key=lambda method: costs[method])

    def _cost_of_newest(self, run_ids: Sequence[str], pages_read: int) -> float:
        """Return the requests for reading on as far as it pays and then asking for the runs that are left."""
        if not self.borders and not pages_read:
            return math.ceil(len(run_ids) / PAGE)
        pages = sorted(self._page_of(creation_time(run_id), pages_read) for run_id in run_ids)
        costs = [page - pages_read + len(pages) - place for place, page in enumerate(pages, 1)]
        return min(costs)

    def _page_of(self, created: float | None, pages_read: int) -> float:
        """Return the page on which a run can still be expected, infinity for none."""
        if created is None or not self.is_sorted:
            return math.inf if pages_read else 1
        known = len(self.borders)
        first = bisect_left(self.borders, -created, key=neg) + 1
        if first > known:
            return math.inf if self.is_whole else max(self._page_beyond(created), pages_read + 1)
        # Runs of the same millisecond may continue on the next page.
        last = min(bisect_right(self.borders, -created, key=neg) + 1, known if self.is_whole else known + 1)
        page = max(first, pages_read + 1)
        return page if page <= last else math.inf

    def _page_beyond(self, created: float) -> float:
        """Return the page of a run that is older than all that were read."""
        known, oldest = len(self.borders), self.borders[-1]
        pace = (self.newest - oldest) / known
        page = known + (math.ceil((oldest - created) / pace) if pace > 0 else 1)
        return page if self.count is None else min(page, math.ceil(self.count / PAGE))

    def _cost_of_states(self, runs: Iterable[Run | None]) -> float:
        statuses = [(None if run is None else run.status, run) for run in runs]
        alone = sum(1 for _, run in statuses if run is not None and run.outcome is RunOutcome.ABORTING)
        going = len(statuses) - alone
        waiting = sum(1 for status, _ in statuses if status != RunStatus.RUNNING) - alone
        running = math.ceil(going / PAGE) if self.running_pages is None else self.running_pages
        return running + (waiting > 0) + self.leaving * going + alone


@attrs.define(eq=False, repr=False)
class ListCache:
    """The lists of runs as one client knows them."""

    _estimates: dict[Month, ListEstimate] = attrs.field(factory=dict[Month, ListEstimate])
    _failures: int = 0
    _off_until: float = 0.0

    def estimate(self, month: Month) -> ListEstimate:
        """Return the estimate of the list of *month*."""
        if month not in self._estimates and len(self._estimates) >= _MONTHS_KEPT:
            del self._estimates[next(iter(self._estimates))]
        return self._estimates.setdefault(month, ListEstimate())

    def may_list(self, now: float) -> bool:
        """Return whether lists may be read now."""
        return now >= self._off_until

    def note_success(self) -> None:
        """Record that a list was read."""
        self._failures = 0

    def note_failure(self, now: float, *, is_lasting: bool) -> None:
        """Record a failed list; after two, or a lasting one, runs are asked for one by one for a minute."""
        self._failures += 1
        if is_lasting or self._failures >= _MAX_LIST_FAILURES:
            self._failures = 0
            self._off_until = now + _SECONDS_WITHOUT_LISTS

    def forgive(self) -> None:
        """Try lists again: what failed was the service as a whole."""
        self._failures = 0
        self._off_until = 0.0
