"""Waiting for runs: to their end, what that end means, and what to do with runs that are left before it."""

from __future__ import annotations

import inspect
import logging
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, Self, TypeAlias, get_args

import anyio
import attrs

from coreclaw_async import errors
from coreclaw_async._concurrency.calls import outside_calls
from coreclaw_async._concurrency.groups import first_of, task_group
from coreclaw_async._data.counting import counted
from coreclaw_async._logs import facts, logger
from coreclaw_async._operations.context import Context
from coreclaw_async._operations.run_reader import poll_hook, run_reader
from coreclaw_async._operations.runs import abort_run, read_log
from coreclaw_async._polling.schedule import PollSchedule
from coreclaw_async._polling.tracked_run import TrackedRun
from coreclaw_async._polling.waiters import Waiter
from coreclaw_async._progress.reporter import Reporter, check_progress
from coreclaw_async._tracebacks import hide_own_frames
from coreclaw_async._wire.request import check_bool, check_seconds
from coreclaw_async._wire.run_paths import last_run_name, run_id_of
from coreclaw_async.events import RunChanged
from coreclaw_async.models import LastRun, LogLevel, Run, RunOutcome, RunRef, StartedRun
from coreclaw_async.progress import ProgressOption

OnCancel = Literal["leave", "abort"]
RunHook: TypeAlias = Callable[[Run], Awaitable[None] | None]
"""Takes a run whenever its status or number of rows has changed: what ``on_update=`` of a wait is."""

# For one run; many get more, so that they fit through a rate limit of 20 a second.
_ABORT_SECONDS = 5.0
_ABORT_SECONDS_PER_RUN = 0.05
_MAX_ABORT_SECONDS = 60.0
_LOG_SECONDS = 5.0
_LOG_LINES = 10
# A wait that begins at its deadline still looks once.
_LEAST_TIMEOUT = 0.001


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
            deadline = max(began + options.timeout, now + _LEAST_TIMEOUT)
        waiter = Waiter.of(run_reader(context), (), deadline, poll_hook(context))
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

    async def settle(self, tracked: TrackedRun) -> None:
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
                    await wait.settle(tracked)
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


async def leave(
    context: Context, error: BaseException, run_ids: Sequence[str], on_cancel: OnCancel, *, is_new: bool = False
) -> None:
    """Leave or abort the runs of a wait that *error* has ended; with *is_new* nobody has seen their ids yet."""
    if run_ids:
        level = _level_of(error, is_new=is_new and on_cancel != "abort")
        _tell_left(error, run_ids, level, may_go_on=on_cancel == "leave")
        if on_cancel == "abort":
            await abort_all(context, error, run_ids)


def _level_of(error: BaseException, *, is_new: bool) -> int:
    """
    Return the level at which the log tells of runs that *error* keeps from the caller.

    A cancellation ends in whoever asked for it, and with it the note that names the run: ``move_on_after`` swallows
    both. Where the caller was never told the id, the log then is all there is. Whoever waits for a run has its id, and
    servers cancel waits all the time.
    """
    return logging.WARNING if is_new and isinstance(error, anyio.get_cancelled_exc_class()) else logging.INFO


def _tell_left(error: BaseException, run_ids: Sequence[str], level: int, *, may_go_on: bool) -> None:
    """Name the runs of a cancelled wait in its note and in the log, as a cancellation carries no ids."""
    if _names_one_of(error, run_ids):
        return
    named = f"{'run' if len(run_ids) == 1 else 'runs'} {', '.join(run_ids)}"
    if not isinstance(error, Exception):  # A cancellation or an interrupt: where it came is of no interest.
        hide_own_frames(error)
    hint = f"; {'it' if len(run_ids) == 1 else 'they'} may go on and cost money" if may_go_on else ""
    error.add_note(f"the wait for {named} was left{hint}")
    told = facts(error, run_ids=list(run_ids))
    logger.log(level, "the wait for %s was left by %s", named, type(error).__name__, extra=told)


def _names_one_of(error: BaseException, run_ids: Sequence[str]) -> bool:
    """Return whether *error* names one of these runs; a hook may raise an error of the package about something else."""
    if not isinstance(error, errors.CoreClawError):
        return False
    named = {error.run_id, *(error.pending if isinstance(error, errors.WaitTimeoutError) else ())}
    return not named.isdisjoint(run_ids)


def tell_ended(error: BaseException, run_id: str, *, is_new: bool = False) -> None:
    """
    Name a run in a note and in the log that was paid for, has ended, and is not returned because of *error*.

    With *is_new* nobody has seen its id yet.
    """
    if _names_one_of(error, [run_id]):
        return
    if not isinstance(error, Exception):
        hide_own_frames(error)
    error.add_note(f"run {run_id} has ended")
    told, level = facts(error, run_id=run_id), _level_of(error, is_new=is_new)
    logger.log(level, "run %s has ended and is not returned because of %s", run_id, type(error).__name__, extra=told)


async def abort_all(context: Context, error: BaseException, run_ids: Sequence[str]) -> None:
    """
    Abort runs in a bounded time that no cancellation shortens, and say in *error* which could not be aborted.

    Five seconds for one run and 0.05 s for each further one, a minute at most. A failure hides neither why the wait
    ended nor the other runs.
    """
    seconds = min(_ABORT_SECONDS + _ABORT_SECONDS_PER_RUN * (len(run_ids) - 1), _MAX_ABORT_SECONDS)
    deadline = context.clock.monotonic() + seconds
    left: dict[str, str] = dict.fromkeys(run_ids, "there was no time left")

    async def abort(run_id: str) -> None:
        # Here again: the scope around the group does not shield from a task that asyncio itself cancels.
        with anyio.move_on_after(seconds, shield=True):
            try:
                await abort_run(context, run_id, deadline=deadline)
            except errors.CoreClawError as failure:
                left[run_id] = str(failure)
            else:
                del left[run_id]

    cancellation: BaseException | None = None
    try:
        with anyio.CancelScope(shield=True):
            async with task_group() as group:
                for run_id in run_ids:
                    group.start_soon(abort, run_id)
    except BaseExceptionGroup as failures:
        raise first_of(failures) from None
    except anyio.get_cancelled_exc_class() as again:
        cancellation = again
    finally:
        _tell_not_aborted(error, left)
    if cancellation is not None and not isinstance(error, type(cancellation)):
        for note in getattr(error, "__notes__", ()):
            cancellation.add_note(note)
        raise cancellation


def _tell_not_aborted(error: BaseException, left: dict[str, str]) -> None:
    if not left:
        return
    if isinstance(error, errors.WaitTimeoutError):
        error.not_aborted = tuple(left)
    number = counted(len(left), "run")
    what = f"{number} not aborted, which may go on and cost money: {', '.join(left)}"
    error.add_note(f"{what} ({next(iter(left.values()))})")
    logger.warning("%s (%s)", what, next(iter(left.values())), extra=facts(run_ids=list(left)))


def raise_without_end(tracked: TrackedRun) -> None:
    """Raise why the end of a run was not seen, if it was not."""
    if tracked.error is not None:
        raise tracked.error
    assert tracked.run is not None, "a run that is over without an error was seen"
    _raise_unless_ended(tracked.run)


def _raise_unless_ended(run: Run) -> None:
    if not run.is_finished:
        raise errors.RunAbortedError(
            f"run {run.run_id} is still aborting; the service has not confirmed its end, so it may still cost money",
            run_id=run.run_id,
            run=run,
            confirmed=False,
        )


async def raise_unless_succeeded(context: Context, run: Run) -> None:
    """Raise the error that the end of *run* is, unless the run has succeeded."""
    _raise_unless_ended(run)
    if run.outcome is RunOutcome.SUCCEEDED:
        return
    if run.outcome is RunOutcome.FAILED:
        log = await last_log_lines(context, run.run_id)
        why = f": {run.error_message}" if run.error_message else ""
        raise errors.RunFailedError(f"run {run.run_id} ended as {run.status}{why}", run_id=run.run_id, run=run, log=log)
    raise errors.RunAbortedError(f"run {run.run_id} was aborted", run_id=run.run_id, run=run, confirmed=True)


async def last_log_lines(context: Context, run_id: str) -> list[str]:
    """Return the last error lines of the log, or its last lines; nothing when it cannot be read soon."""
    try:
        log = await read_log(context, run_id, deadline=context.clock.monotonic() + _LOG_SECONDS)
    except errors.CoreClawError:
        return []
    lines = [entry.content for entry in log.entries if entry.level is LogLevel.ERROR]
    return (lines or [entry.content for entry in log.entries])[-_LOG_LINES:]
