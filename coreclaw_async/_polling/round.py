"""Looking at many runs in few requests: which lists to read, how far, and whom to ask for alone."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import anyio
import attrs

from coreclaw_async import errors
from coreclaw_async._concurrency.clock import Clock
from coreclaw_async._polling.estimate import PAGE, ListCache, ListEstimate, Month, PollMethod
from coreclaw_async._polling.outage import FEW_RUNS, LISTS, Outage
from coreclaw_async._polling.tracked_run import ends_every_wait, is_service_speaking
from coreclaw_async._wire.timestamps import creation_time, moment_of, month_of, month_window
from coreclaw_async.events import RunsPolled
from coreclaw_async.models import Page, Run, RunStatus

TimeWindow = tuple[int, int]
Report = Callable[[str, Run | errors.CoreClawError], bool]

_AT_ONCE = 8
# So many are asked one after another while nothing has been answered; then the trouble is not the service's.
_ONE_BY_ONE = 3
# A reader of lists may look again where a list contradicts itself.
_SPARE_REQUESTS = 5


class RunPages(Protocol):
    """What reads a list page by page."""

    async def next_page(self) -> Page[Run] | None:
        """Return the next page, or None after the last."""
        ...


@attrs.frozen(kw_only=True)
class RunReader:
    """
    Reads runs for one client; each request is sent once, as whoever asks asks again.

    Attributes:
        look: Returns one run as it is now, given its id or the name of the last run.
        list_runs: Returns a reader of the runs with a status (None: all) of a window (None: the current month) that
            sends so many requests at most, and then raises PaginationError.
        service_time: Returns what the service's clock shows, in Unix seconds.
        emit: Told of each poll round.
        timeout: Seconds after which a request that was not answered has failed.
    """

    look: Callable[[str], Awaitable[Run]]
    list_runs: Callable[[str | None, TimeWindow | None, int], RunPages]
    service_time: Callable[[], float]
    emit: Callable[[RunsPolled], None]
    timeout: float


class _UnreadableListError(Exception):
    """A page of a list could not be read; the failure was recorded."""


class PollRound:
    """
    One look at the runs that are due.

    Absence from a list is a reason to ask for the run, never a verdict, and the order of a list is a hint, never a
    premise. Until the service has answered, requests leave one at a time; when it seems to be out of sight as a whole,
    the rest is not asked for.

    Args:
        source: Where to look.
        clock: What time it is.
        cache: What the lists looked like.
        outage: What is known about the service as a whole.
        due: The runs, each as it was last seen.
        names: Names of last runs, which stand in no list.
        watched: How many runs are waited for, those included that are not due.
        report: Told what was found of each run; returns whether somebody waits for it.

    Attributes:
        heard_at: When the last answer or failure came, or when the poll round began.
    """

    def __init__(
        self,
        source: RunReader,
        clock: Clock,
        cache: ListCache,
        outage: Outage,
        *,
        due: Mapping[str, Run | None],
        names: set[str],
        watched: int,
        report: Report,
    ) -> None:
        self._source = source
        self._clock = clock
        self._cache = cache
        self._outage = outage
        self._due = due
        self._names: dict[str, Run | None] = dict.fromkeys(names)
        self._watched = watched
        self._report = report
        self._months: dict[Month, dict[str, Run | None]] = {}
        self._asking: dict[str, float] = {}
        self._has_answer = False
        self._seen = 0
        self._details = 0
        self._pages = 0
        self._failures = 0
        self.heard_at = clock.monotonic()

    @property
    def polled(self) -> RunsPolled:
        """What was done, for whoever counts."""
        return RunsPolled(
            due=len(self._due) + len(self._names),
            seen=self._seen,
            details=self._details,
            pages=self._pages,
            failures=self._failures,
        )

    async def take(self) -> None:
        """Look at all that are due, and report what was found."""
        now = moment_of(self._source.service_time())
        self._months = self._by_month(now)
        await self._probe()
        for month, left in self._months.items():
            window = month_window(month) if month < month_of(now) else None
            await self._look_at_month(left, self._cache.estimate(month), window)
        await self._ask_for(self._names)

    def abandon(self, seconds: float) -> None:
        """Record, after the poll round was cancelled, that what had been asked so long ago was not answered."""
        now = self._clock.monotonic()
        late = {target: now - since for target, since in self._asking.items() if now - since >= seconds}
        self._asking.clear()
        for target, waited in late.items():
            error = errors.RequestTimeoutError(f"nothing was heard for {waited:.3g} s")
            if target == LISTS:
                self._take_list_failure(error)
            else:
                self._take_look(target, error)

    def _by_month(self, now: dt.datetime) -> dict[Month, dict[str, Run | None]]:
        """Return the runs by the month in whose list they stand; an id that does not tell stands for a new run."""
        months: dict[Month, dict[str, Run | None]] = {}
        for run_id, run in self._due.items():
            created = creation_time(run_id)
            month = month_of(now if created is None else moment_of(created))
            months.setdefault(min(month, month_of(now)), {})[run_id] = run
        return months

    async def _probe(self) -> None:
        """Ask for one run alone in every other probe, each time for another one: a list may have its own troubles."""
        probes = self._outage.probes
        if not self._outage.is_on or probes % 2 == 0:
            return
        targets = [*self._due, *self._names]
        target = targets[probes // 2 % len(targets)]
        for left in (*self._months.values(), self._names):
            left.pop(target, None)
        await self._ask(target)

    async def _look_at_month(
        self, left: dict[str, Run | None], estimate: ListEstimate, window: TimeWindow | None
    ) -> None:
        """Find the runs in *left* by the cheapest method, which is chosen anew after each page."""
        newest: RunPages | None = None
        total = len(left)
        pages_read = 0
        has_states = False
        while left:
            method = PollMethod.DETAILS
            if self._cache.may_list(self._clock.monotonic()):
                method = estimate.choose(left, total=total, pages_read=pages_read, has_states=has_states)
            if method is PollMethod.DETAILS:
                await self._ask_for(left)
                return
            try:
                if method is PollMethod.STATES:
                    await self._read_states(left, estimate, window)
                    has_states = True
                    continue
                if newest is None:
                    newest = self._source.list_runs(None, window, total + _SPARE_REQUESTS)
                page = await self._read_page(newest, left)
            except _UnreadableListError:
                await self._ask_until_answered(left, most=1)
                continue
            pages_read += 1
            if page is not None:
                estimate.learn_newest(pages_read, page)
            else:
                estimate.is_whole = True

    async def _read_states(
        self, left: dict[str, Run | None], estimate: ListEstimate, window: TimeWindow | None
    ) -> None:
        """Take those out of *left* that are running or ready."""
        before = len(left)
        first = await self._read_status(RunStatus.RUNNING, left, window)
        # A running run does not become ready again; the ready list pays off from two other runs on.
        if sum(1 for run in left.values() if run is None or run.status != RunStatus.RUNNING) > 1:
            await self._read_status(RunStatus.READY, left, window)
        estimate.learn_states(first, before, len(left))

    async def _read_status(
        self, status: RunStatus, left: dict[str, Run | None], window: TimeWindow | None
    ) -> Page[Run] | None:
        """Read a list of states for as long as that is cheaper than asking, and return its first page."""
        reader = self._source.list_runs(status, window, len(left) + _SPARE_REQUESTS)
        first = page = await self._read_page(reader, left)
        rest = 0 if first is None or first.count is None else math.ceil(first.count / PAGE) - 1
        while page is not None and len(page.items) == PAGE and rest < len(left):
            page = await self._read_page(reader, left)
            rest -= 1
        return first

    async def _read_page(self, reader: RunPages, left: dict[str, Run | None]) -> Page[Run] | None:
        """
        Report the runs of the next page and take them out of *left*.

        Raises:
            _UnreadableListError: It could not be read.
        """
        self._pages += 1
        self._asking[LISTS] = self._clock.monotonic()
        try:
            page = await reader.next_page()
        except errors.CoreClawError as error:
            del self._asking[LISTS]
            self._take_list_failure(error)
            raise _UnreadableListError from None
        del self._asking[LISTS]
        self._cache.note_success()
        self._take_answer(LISTS)
        for run in () if page is None else page.items:
            if run.status is None:  # It tells nothing: whoever is not found in a list is asked for.
                continue
            if self._report(run.run_id, run):
                self._seen += 1
                left.pop(run.run_id, None)
        return page

    async def _ask_for(self, left: dict[str, Run | None]) -> None:
        """Ask for each run, several at once as soon as one was answered."""
        # What is taken last goes first: those that have troubles of their own hold up nobody.
        for run_id in [run_id for run_id in left if not self._outage.is_suspect(run_id)]:
            left[run_id] = left.pop(run_id)
        if self._watched > FEW_RUNS:
            await self._ask_until_answered(left, most=_ONE_BY_ONE)
        if len(left) <= 1:
            await self._ask_on(left)
            return
        async with anyio.create_task_group() as group:
            for _ in range(min(_AT_ONCE, len(left))):
                group.start_soon(self._ask_on, left)

    async def _ask_until_answered(self, left: dict[str, Run | None], *, most: int) -> None:
        """Ask for one run after another until the service has answered, for so many at most."""
        for _ in range(most):
            if left and not self._has_answer:
                await self._ask(left.popitem()[0])

    async def _ask_on(self, left: dict[str, Run | None]) -> None:
        while left:
            await self._ask(left.popitem()[0])

    async def _ask(self, run_id: str) -> None:
        self._details += 1
        self._asking[run_id] = self._clock.monotonic()
        found: Run | errors.CoreClawError
        try:
            found = await self._source.look(run_id)
        except errors.CoreClawError as error:
            found = error
        del self._asking[run_id]
        self._take_look(run_id, found)

    def _take_look(self, run_id: str, found: Run | errors.CoreClawError) -> None:
        """Report a look at one run, and record what it says about the service."""
        if isinstance(found, errors.CoreClawError):
            found.__traceback__ = None  # It is kept, and must not keep these frames.
        self._report(run_id, found)
        if isinstance(found, Run):
            self._seen += 1
            self._take_answer(run_id)
            return
        if not isinstance(found, errors.NotFoundError):
            self._failures += 1
        if ends_every_wait(found):
            self._give_up(found)
        elif is_service_speaking(found):
            self._take_answer(run_id)
        else:
            self._take_failure(run_id, found)

    def _take_list_failure(self, error: errors.CoreClawError) -> None:
        """Record that a list could not be read, which says nothing about any run."""
        error.__traceback__ = None
        self._failures += 1
        is_answer = is_service_speaking(error)
        # A list that fails like this may fail for ever while single runs can be read.
        is_lasting = is_answer or isinstance(error, errors.InvalidResponseError | errors.ConfigurationError)
        self._cache.note_failure(self._clock.monotonic(), is_lasting=is_lasting)
        if is_answer:
            self._take_answer(LISTS)
        else:
            self._take_failure(LISTS, error)

    def _take_answer(self, target: str) -> None:
        self._has_answer = True
        self.heard_at = self._clock.monotonic()
        self._outage.note_answer(target)

    def _take_failure(self, target: str, error: errors.CoreClawError) -> None:
        self._has_answer = False
        now = self.heard_at = self._clock.monotonic()
        self._outage.note_failure(target, error, now=now, watched=self._watched)
        if self._outage.is_on:
            self._cache.forgive()  # It was no trouble of the lists.
            self._give_up(error)

    def _give_up(self, error: errors.CoreClawError) -> None:
        """Report the same failure for all that are left."""
        for left in (*self._months.values(), self._names):
            for run_id in left:
                self._report(run_id, error)
            left.clear()
