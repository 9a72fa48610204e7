"""PollRound: looks at many runs with few requests: which lists to read, how far, and which runs to get one by one."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeAlias

import attrs

from coreclaw_async import errors
from coreclaw_async._concurrency.clock import Clock
from coreclaw_async._concurrency.groups import task_group
from coreclaw_async._polling.estimate import PAGE, ListCache, ListEstimate, Month, PollMethod
from coreclaw_async._polling.outage import FEW_RUNS, LISTS, Outage
from coreclaw_async._polling.tracked_run import ends_every_wait, is_service_speaking
from coreclaw_async._wire.timestamps import TimeWindow, creation_time, moment_of, month_of, month_window
from coreclaw_async.events import RunsPolled
from coreclaw_async.models import Page, Run, RunStatus

if TYPE_CHECKING:
    from coreclaw_async.events import Event

Hooks: TypeAlias = "tuple[Callable[[Event], None], ...]"
Report = Callable[[str, Run | errors.CoreClawError], bool]

_AT_ONCE = 8
# While nothing is answered, no more than this many are asked for, one after another. An answer, also an error about one
# run, shows that the service works, and the others are asked for at once.
_ONE_BY_ONE = 3
# A page of a list that contradicts itself is read again.
_SPARE_REQUESTS = 5


class RunPages(Protocol):
    """Reads a list page by page."""

    async def next_page(self) -> Page[Run] | None:
        """Return the next page, or None after the last."""
        ...


@attrs.frozen(kw_only=True, eq=False, repr=False)
class RunReader:
    """
    Reads runs for one client; each request is sent once, since it is repeated on a schedule.

    Attributes:
        look: Returns one run as it is now, given its id or the name of the last run, and who is told of the request.
        list_runs: Takes a status (None for all), a window (None for the current month), the most requests to send,
            after which PaginationError is raised, and who is told of them; returns a reader of these runs.
        service_time: Returns the service's time in Unix seconds.
        tell: Tells an event to hooks.
        timeout: Seconds after which an unanswered request has failed.
    """

    look: Callable[[str, Hooks], Awaitable[Run]]
    list_runs: Callable[[str | None, TimeWindow | None, int, Hooks], RunPages]
    service_time: Callable[[], float]
    tell: Callable[[Event, Hooks], None]
    timeout: float


class _UnreadableListError(Exception):
    """A page of a list could not be read; the failure was recorded."""


class PollRound:
    """
    One look at the runs that are due.

    A run that is not in a list is asked for: absence decides nothing. The order of a list only helps to guess pages.
    Requests are sent one at a time until the service has answered; in an outage of the whole service the rest is not
    asked for.

    Args:
        source: Reads runs.
        clock: Measures time.
        cache: What the lists looked like when they were read last.
        outage: Whether the service as a whole is out of sight.
        due: The runs to look at, each as it was last seen.
        names: Names of last runs, which are in no list.
        watched: How many runs are waited for, also those that are not due.
        report: Called with what was found of each run; returns whether somebody waits for it.
        hooks_of: Returns who is told of a request for runs.

    Attributes:
        heard_at: When the last answer or failure came, at first when the poll round began.
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
        hooks_of: Callable[[Iterable[str]], Hooks],
    ) -> None:
        self._source = source
        self._clock = clock
        self._cache = cache
        self._outage = outage
        self._due = due
        self._names: dict[str, Run | None] = dict.fromkeys(names)
        self._watched = watched
        self._report = report
        self._hooks_of = hooks_of
        self._months: dict[Month, dict[str, Run | None]] = {}
        self._asking: dict[str, float] = {}
        self._has_answer = False
        self._seen = 0
        self._ended = 0
        self._details = 0
        self._pages = 0
        self._failures = 0
        self.heard_at = clock.monotonic()

    @property
    def polled(self) -> RunsPolled:
        """What was done, as an event."""
        return RunsPolled(
            due=len(self._due) + len(self._names),
            seen=self._seen,
            details=self._details,
            pages=self._pages,
            failures=self._failures,
        )

    async def take(self) -> None:
        """Look at all runs that are due, and report what was found."""
        now = moment_of(self._source.service_time())
        self._months = self._by_month(now)
        await self._probe()
        for month, left in self._months.items():
            window = month_window(month) if month < month_of(now) else None
            estimate, before, looked_at = self._cache.estimate(month), self._ended, len(left)
            await self._look_at_month(left, estimate, window)
            estimate.learn_leaving(self._ended - before, looked_at)
        await self._ask_for(self._names)

    def abandon(self, seconds: float) -> None:
        """After the poll round was cancelled, record as failed what was asked for *seconds* ago or earlier."""
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
        """Return the runs by the month whose list holds them; an id that tells no time counts as new."""
        months: dict[Month, dict[str, Run | None]] = {}
        for run_id, run in self._due.items():
            created = creation_time(run_id)
            month = month_of(now if created is None else moment_of(created))
            months.setdefault(min(month, month_of(now)), {})[run_id] = run
        return months

    async def _probe(self) -> None:
        """In an outage, make every other probe one for a single run, each time another: a list may fail on its own."""
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
        """Find the runs in *left* by the cheapest method, chosen again after each page."""
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
                    newest = self._source.list_runs(None, window, total + _SPARE_REQUESTS, self._hooks_of(left))
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
        """Report the running and ready runs, and take them out of *left*."""
        estimate.learn_running(await self._read_status(RunStatus.RUNNING, left, window))
        # A running run does not become ready again; the ready list pays off from two other runs on.
        if sum(1 for run in left.values() if run is None or run.status != RunStatus.RUNNING) > 1:
            await self._read_status(RunStatus.READY, left, window)

    async def _read_status(
        self, status: RunStatus, left: dict[str, Run | None], window: TimeWindow | None
    ) -> Page[Run] | None:
        """Read the list of a status for as long as that is cheaper than single requests; return its first page."""
        reader = self._source.list_runs(status, window, len(left) + _SPARE_REQUESTS, self._hooks_of(left))
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
            if run.status is None:  # It tells nothing; the run is asked for.
                continue
            if self._report(run.run_id, run):
                self._seen += 1
                if run.run_id in left:
                    del left[run.run_id]
                    self._ended += run.is_finished
        return page

    async def _ask_for(self, left: dict[str, Run | None]) -> None:
        """Get each run, several at once as soon as one was answered."""
        # The last is taken first: runs that failed alone hold up no other.
        for run_id in [run_id for run_id in left if not self._outage.is_suspect(run_id)]:
            left[run_id] = left.pop(run_id)
        if self._watched > FEW_RUNS:
            await self._ask_until_answered(left, most=_ONE_BY_ONE)
        if len(left) <= 1:
            await self._ask_on(left)
            return
        async with task_group() as group:
            for _ in range(min(_AT_ONCE, len(left))):
                group.start_soon(self._ask_on, left)

    async def _ask_until_answered(self, left: dict[str, Run | None], *, most: int) -> None:
        """Get one run after another until the service has answered, at most *most* of them."""
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
            found = await self._source.look(run_id, self._hooks_of([run_id]))
        except errors.CoreClawError as error:
            found = error
        del self._asking[run_id]
        self._take_look(run_id, found)

    def _take_look(self, run_id: str, found: Run | errors.CoreClawError) -> None:
        """Report what was found of one run, and record what it says about the service."""
        if isinstance(found, errors.CoreClawError):
            found.__traceback__ = None  # The error is kept, and must not keep these frames alive.
        self._report(run_id, found)
        if isinstance(found, Run):
            self._seen += 1
            self._ended += found.is_finished
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
        """Record that a list could not be read; that says nothing about any run."""
        error.__traceback__ = None
        self._failures += 1
        is_answer = is_service_speaking(error)
        # Such a list may stay unreadable while single runs can be read.
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
            self._cache.forgive()  # The lists were not the reason.
            self._give_up(error)

    def _give_up(self, error: errors.CoreClawError) -> None:
        """Report the same failure for all runs that are left."""
        for left in (*self._months.values(), self._names):
            for run_id in left:
                self._report(run_id, error)
            left.clear()
