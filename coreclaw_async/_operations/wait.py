"""Waiting for runs: what a caller asks of a wait, the wait under way, and a start and its wait in one."""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Self, TypeAlias, get_args

import attrs

from coreclaw_async import errors
from coreclaw_async._concurrency.calls import outside_calls
from coreclaw_async._data.counting import counted
from coreclaw_async._logs import facts, logger
from coreclaw_async._operations.context import Context
from coreclaw_async._operations.end_errors import raise_unless_succeeded
from coreclaw_async._operations.leaving import OnCancel, leave, tell_ended
from coreclaw_async._operations.run_reader import run_reader
from coreclaw_async._polling.schedule import PollSchedule
from coreclaw_async._polling.tracked_run import TrackedRun
from coreclaw_async._polling.waiters import Waiter
from coreclaw_async._progress.reporter import Reporter, check_progress
from coreclaw_async._wire.request import check_bool, check_seconds
from coreclaw_async._wire.run_paths import last_run_name, run_id_of
from coreclaw_async.events import RunChanged
from coreclaw_async.models import LastRun, Run, RunRef, StartedRun
from coreclaw_async.progress import ProgressOption

RunHook: TypeAlias = Callable[[Run], Awaitable[None] | None]
"""Takes a run whenever its status or number of rows has changed: what ``on_update=`` of a wait is."""

# A wait that begins at its deadline still looks once.
_MIN_TIMEOUT = 0.001


@attrs.frozen(kw_only=True, eq=False, repr=False)
class WaitOptions:
    """
    What a caller asks of a wait; checked here, for a start and a wait in one before anything is paid for.

    Attributes:
        timeout: Seconds, above 0; None for no limit.
        check: Whether an end without success is an error.
        on_update: Called with the run after each change, or None.
        on_cancel: What becomes of the runs when the wait ends before them.
        progress: Where it is told how far the wait is.
        began: When the call began, of which the wait is a part, or None where it is all of it.
    """

    timeout: float | None = None
    check: bool = True
    on_update: RunHook | None = None
    on_cancel: OnCancel = "leave"
    progress: ProgressOption = False
    began: float | None = None

    def __attrs_post_init__(self) -> None:
        check_progress(self.progress)
        check_bool("check", self.check)
        if self.on_update is not None and not callable(self.on_update):
            raise TypeError(f"on_update must be callable, not {self.on_update!r}")
        if self.timeout is not None:
            check_seconds("timeout", self.timeout)
        if self.on_cancel not in get_args(OnCancel):
            raise ValueError(f"on_cancel must be 'leave' or 'abort', not {self.on_cancel!r}")


@attrs.define(eq=False, repr=False)
class Wait:
    """
    A wait under way, for one run or for many.

    Attributes:
        context: The client's context.
        options: What the caller asked for.
        waiter: What the poller knows of it.
        schedule: When to look.
        tells_all: Whether each look counts as news.
    """

    context: Context
    options: WaitOptions
    waiter: Waiter
    schedule: PollSchedule
    tells_all: bool
    _run_ids: set[str] = attrs.field(factory=set[str], init=False)

    @classmethod
    def begin(
        cls,
        context: Context,
        runs: Sequence[RunRef],
        options: WaitOptions,
        *,
        schedule: PollSchedule | None = None,
        tells_all: bool = False,
    ) -> Self:
        """Begin to wait for *runs*; the poller also asks which run the last one is, and retries that like a look."""
        now, deadline = context.clock.monotonic(), math.inf
        if options.timeout is not None:
            began = now if options.began is None else options.began
            deadline = max(began + options.timeout, now + _MIN_TIMEOUT)
        waiter = Waiter.of(run_reader(context), (), deadline, context.settings.hooks)
        wait = cls(context, options, waiter, schedule or context.schedule, tells_all)
        for run in runs:
            if isinstance(run, LastRun):
                wait._follow(last_run_name(run), is_name=True)
            else:
                wait._follow(run_id_of(run) or "")
        return wait

    def _follow(self, run_id: str, *, is_name: bool = False) -> TrackedRun | None:
        """Wait for one more run; one that was named before comes once."""
        if run_id in self._run_ids:
            return None
        self._run_ids.add(run_id)
        tracked = TrackedRun(
            run_id=run_id,
            schedule=self.schedule,
            began=self.context.clock.monotonic(),
            deadline=self.waiter.deadline,
            tells_all=self.tells_all,
            is_name=is_name,
        )
        self.waiter.tracked_runs[run_id] = tracked
        return tracked

    @property
    def is_unfinished(self) -> bool:
        """Whether there are runs that have not ended, or news of some that have."""
        return bool(self.waiter.tracked_runs or self.waiter.news)

    @property
    def pending(self) -> list[str]:
        """Ids of the runs that have not ended; a last run that nobody has seen has none."""
        return [tracked.run_id for tracked in self.waiter.tracked_runs.values() if not tracked.is_name]

    async def next_tracked(self) -> TrackedRun | None:
        """
        Return the next of the runs that something happened to, or None when a last run was found out.

        Raises:
            WaitTimeoutError: The time is up.
        """
        tracked = await self.context.poller.news(self.waiter)
        if tracked is None:
            raise self._late()
        if not tracked.is_name or tracked.run is None:
            return tracked
        found = self._follow(tracked.run.run_id)
        if found is not None and found.take(tracked.run, now=tracked.seen_at, began=tracked.looked_at):
            self.waiter.tell(found)
        return None

    async def tell_changes(self, tracked: TrackedRun) -> None:
        """
        Tell the changes of a run.

        Raises:
            CoreClawError: The run cannot be waited for any longer.
        """
        while tracked.changes:
            run = self.take_change(tracked)
            if self.options.on_update is not None:
                with outside_calls():
                    pending = self.options.on_update(run)
                    if inspect.isawaitable(pending):
                        await pending
        if tracked.error is not None:
            raise tracked.error

    def take_change(self, tracked: TrackedRun) -> Run:
        """Tell the event hook of the next change of a run, and return the run as it is after it."""
        change = tracked.changes.popleft()
        before = None if change.before is None or change.before.status is None else str(change.before.status)
        run = change.run
        if run.is_finished:
            told = facts(run_id=run.run_id, status=str(run.status))
            logger.info("run %s has ended: %s", run.run_id, run.status, extra=told)
        self.context.transport.emit(RunChanged(run=run, previous=before))
        return run

    def _late(self) -> errors.WaitTimeoutError:
        left = list(self.waiter.tracked_runs.values())
        unseen = [tracked for tracked in left if tracked.unseen_since is not None]
        pending = self.pending
        error = errors.WaitTimeoutError(
            f"{_named(left)} not ended within {self.options.timeout:g} s; {_going_on(left)}"
            f"{self._last_seen(left, unseen)}",
            run_id=pending[0] if pending else None,
            run=next((tracked.run for tracked in left if not tracked.is_name), None),
            pending=pending,
        )
        error.__cause__ = unseen[0].failure if unseen else None
        return error

    def _last_seen(self, left: Sequence[TrackedRun], unseen: Sequence[TrackedRun]) -> str:
        """Say what was seen last, and why nothing was seen since."""
        statuses = Counter(errors.printable(str(tracked.run.status)) for tracked in left if tracked.run is not None)
        words = [f"{count} {status}" if len(left) > 1 else status for status, count in statuses.items()]
        text = f"; last seen as {', '.join(words)}" if words else ""
        if unseen:
            now = self.context.clock.monotonic()
            seconds = max(tracked.unseen_for(now) for tracked in unseen)
            whom = "it" if len(left) == 1 else f"{len(unseen)} of them"
            text += f"; nothing was seen of {whom} for {seconds:.3g} s: {unseen[0].failure}"
        return text


def _named(left: Sequence[TrackedRun]) -> str:
    if len(left) > 1:
        return counted(len(left), "run has", "runs have")
    return "the last run has" if left[0].is_name else f"run {left[0].run_id} has"


def _going_on(left: Sequence[TrackedRun]) -> str:
    """Say which of the runs go on: none that the service does not know, which is wrong or was just started."""
    unknown = sum(tracked.is_unknown for tracked in left)
    if unknown == len(left):
        return f"the service knows {'no such run' if unknown == 1 else 'none of them'} so far"
    goes_on = "it goes on" if len(left) == 1 else "they go on"
    return f"{goes_on}, but {unknown} that the service does not know so far" if unknown else goes_on


async def start_and_wait(
    context: Context, start: Callable[[], Awaitable[StartedRun]], options: WaitOptions, *, wait_for_slot: bool
) -> Run:
    """Start a run, with *wait_for_slot* once the plan has room for it, and wait for its end; see `AsyncWorkers.run`."""
    check_bool("wait_for_slot", wait_for_slot)
    reporter = Reporter(options.progress, "run", context.clock.monotonic)
    with reporter:
        reporter.tell("starting a run", done=0, total=1)
        if not wait_for_slot:
            return await wait_for_run(context, (await start()).run_id, options, reporter, is_new=True)
        began = context.clock.monotonic()
        deadline = math.inf if options.timeout is None else began + options.timeout
        started = await context.slots.start(start, context.schedule, deadline)
        return await wait_for_run(context, started.run_id, attrs.evolve(options, began=began), reporter, is_new=True)


async def wait_for_run(
    context: Context, run: RunRef, options: WaitOptions, reporter: Reporter | None = None, *, is_new: bool = False
) -> Run:
    """
    Wait for the end of *run*, and tell *reporter* how far that is; see `AsyncRuns.wait`.

    With *is_new* the caller has not seen its id yet.
    """
    reporter = reporter or Reporter(options.progress, "wait", context.clock.monotonic)
    wait = Wait.begin(context, [run], options, tells_all=reporter.is_on)
    tracked: TrackedRun | None = None
    try:
        with reporter:
            reporter.tell_wait(wait.pending)
            while tracked is None or not tracked.is_over:
                tracked = await wait.next_tracked()
                if tracked is not None:
                    if tracked.run is not None:
                        reporter.tell_run(tracked.run)
                    await wait.tell_changes(tracked)
        assert tracked.run is not None, "a run that is over without an error was seen"
        if options.check:
            await raise_unless_succeeded(context, tracked.run)
        return tracked.run
    except BaseException as error:
        left = wait.pending
        if tracked is not None and tracked.is_over and not tracked.is_name:
            if tracked.run is not None and tracked.run.is_finished:
                tell_ended(error, tracked.run_id, is_new=is_new)
            else:  # A run that the service refuses to show, or never aborts, may still be running.
                left.append(tracked.run_id)
        await leave(context, error, left, options.on_cancel, is_new=is_new)
        raise
    finally:
        reporter.end()
