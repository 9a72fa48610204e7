"""Waiting for a run: what its end means, and what becomes of it when the wait does not last that long."""

from __future__ import annotations

import inspect
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, Self, TypeAlias, get_args

import anyio
import attrs

from coreclaw_async import errors
from coreclaw_async._concurrency.groups import first_of
from coreclaw_async._operations.context import Context
from coreclaw_async._operations.run_lists import list_reader
from coreclaw_async._operations.runs import abort_run, id_of_last, read_log, read_run
from coreclaw_async._polling.round import RunReader
from coreclaw_async._polling.tracked_run import PollSchedule, TrackedRun
from coreclaw_async._polling.waiters import Waiter
from coreclaw_async._wire.request import check_seconds
from coreclaw_async._wire.run_paths import last_run_name, run_id_of, run_named
from coreclaw_async.events import RunChanged, RunsPolled
from coreclaw_async.models import LastRun, LogLevel, Run, RunOutcome, RunRef

logger = logging.getLogger("coreclaw_async")

OnCancel = Literal["leave", "abort"]
UpdateHook: TypeAlias = Callable[[Run], Awaitable[None] | None]

# For one run; many get more, so that they fit through a rate limit of 20 a second.
_ABORT_SECONDS = 5.0
_ABORT_SECONDS_PER_RUN = 0.05
_MAX_ABORT_SECONDS = 60.0
_LOG_SECONDS = 5.0
_LOG_LINES = 10
# A look is repeated soon anyhow, so it need not be waited for as long as other calls.
_LOOK_SECONDS = 20.0


def check_wait(timeout: float | None, on_update: UpdateHook | None, on_cancel: str) -> None:
    """Raise when a wait cannot be meant like this; for a start and a wait in one, before anything is paid for."""
    if on_update is not None and not callable(on_update):
        raise TypeError(f"on_update must be callable, not {on_update!r}")
    if timeout is not None:
        check_seconds("timeout", timeout)
    if on_cancel not in get_args(OnCancel):
        raise ValueError(f"on_cancel must be 'leave' or 'abort', not {on_cancel!r}")


@attrs.define
class Wait:
    """
    A wait under way, for one run or for many.

    Attributes:
        context: The client's context.
        waiter: What the poller knows of it.
        timeout: Seconds it may take, or None; for messages.
        on_update: The caller's function for changes, or None.
        schedule: When to look.
        tells_all: Whether each look counts as news.
    """

    context: Context
    waiter: Waiter
    timeout: float | None
    on_update: UpdateHook | None
    schedule: PollSchedule
    tells_all: bool
    _run_ids: set[str] = attrs.field(factory=set[str], init=False)

    @classmethod
    def begin(
        cls,
        context: Context,
        runs: Sequence[RunRef],
        *,
        timeout: float | None,
        on_update: UpdateHook | None = None,
        schedule: PollSchedule | None = None,
        tells_all: bool = False,
    ) -> Self:
        """Begin to wait for *runs*; which one is meant by the last run is asked for as all else is: patiently."""
        deadline = float("inf") if timeout is None else context.transport.clock.monotonic() + timeout
        waiter = Waiter.of(run_reader(context), (), deadline, poll_hook(context))
        wait = cls(context, waiter, timeout, on_update, schedule or context.schedule, tells_all)
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
            began=self.context.transport.clock.monotonic(),
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
            if self.on_update is not None:
                pending = self.on_update(run)
                if inspect.isawaitable(pending):
                    await pending
        if tracked.error is not None:
            raise tracked.error

    def take_change(self, tracked: TrackedRun) -> Run:
        """Tell the event hook of the next change of a run, and return the run as it is after it."""
        change = tracked.changes.popleft()
        before = None if change.before is None or change.before.status is None else str(change.before.status)
        self.context.transport.emit(RunChanged(run=change.run, previous=before))
        return change.run

    def _late(self) -> errors.WaitTimeoutError:
        left = list(self.waiter.tracked_runs.values())
        unseen = [tracked for tracked in left if tracked.unseen_since is not None]
        pending = self.pending
        error = errors.WaitTimeoutError(
            f"{_named(left)} not ended within {self.timeout:g} s; {'it goes' if len(left) == 1 else 'they go'} on"
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
            now = self.context.transport.clock.monotonic()
            seconds = max(tracked.unseen_for(now) for tracked in unseen)
            whom = "it" if len(left) == 1 else f"{len(unseen)} of them"
            text += f"; nothing was seen of {whom} for {seconds:.3g} s: {unseen[0].failure}"
        return text


def _named(left: Sequence[TrackedRun]) -> str:
    if len(left) > 1:
        return f"{len(left)} runs have"
    return "the last run has" if left[0].is_name else f"run {left[0].run_id} has"


def run_reader(context: Context) -> RunReader:
    """Return where a poller looks, with the settings of the client that it was made for."""
    transport = context.shared_transport
    shared = attrs.evolve(context, transport=transport, dialect=context.shared_dialect)
    seconds = min(transport.settings.timeout, _LOOK_SECONDS)

    async def look(name: str) -> Run:
        run = await read_run(shared, run_named(name), deadline=transport.clock.monotonic() + seconds, is_probe=True)
        if isinstance(run_named(name), LastRun):
            id_of_last(run)
        return run

    return RunReader(
        look=look,
        list_runs=lambda status, window, most: list_reader(shared, status, window, most=most, seconds=seconds),
        service_time=transport.service_time,
        emit=transport.emit,
        timeout=seconds,
    )


def poll_hook(context: Context) -> Callable[[RunsPolled], None] | None:
    """Return what else is told of the looks, where a light copy has an event hook of its own."""
    is_shared = context.transport.settings.on_event is context.shared_transport.settings.on_event
    return None if is_shared else context.transport.emit


async def wait_for_run(
    context: Context,
    run: RunRef,
    *,
    timeout: float | None,
    check: bool,
    on_update: UpdateHook | None,
    on_cancel: OnCancel,
) -> Run:
    """Wait for the end of *run*; see `AsyncRuns.wait`."""
    check_wait(timeout, on_update, on_cancel)
    wait = Wait.begin(context, [run], timeout=timeout, on_update=on_update)
    tracked: TrackedRun | None = None
    try:
        while tracked is None or not tracked.is_over:
            tracked = await wait.next_tracked()
            if tracked is not None:
                await wait.settle(tracked)
    except BaseException as error:
        # Nothing says that a run whose looks were refused has ended.
        refused = [tracked.run_id] if tracked is not None and tracked.error is not None and not tracked.is_name else []
        await leave(context, error, [*wait.pending, *refused], on_cancel)
        raise
    assert tracked.run is not None, "a run that is over without an error was seen"
    if check:
        await raise_unless_succeeded(context, tracked.run)
    return tracked.run


async def leave(context: Context, error: BaseException, run_ids: Sequence[str], on_cancel: OnCancel) -> None:
    """Leave the runs of a wait that *error* ends to themselves, or abort them."""
    if run_ids:
        _tell_left(error, run_ids)
        if on_cancel == "abort":
            await abort_all(context, error, run_ids)


def _tell_left(error: BaseException, run_ids: Sequence[str]) -> None:
    """Leave a trace of the runs that a cancelled wait was for: it takes nothing along, and they go on."""
    if isinstance(error, errors.CoreClawError):
        return
    named = f"{'run' if len(run_ids) == 1 else 'runs'} {', '.join(run_ids)}"
    error.add_note(f"the wait for {named} was left")
    logger.info("the wait for %s was left by %s", named, type(error).__name__)


async def abort_all(context: Context, error: BaseException, run_ids: Sequence[str]) -> None:
    """
    Abort runs in a bounded time that no cancellation cuts, and say in *error* which could not be aborted.

    Five seconds for one run and 0.05 s for each further one, a minute at most. A failure hides neither why the wait
    ended nor the other runs.
    """
    seconds = min(_ABORT_SECONDS + _ABORT_SECONDS_PER_RUN * (len(run_ids) - 1), _MAX_ABORT_SECONDS)
    deadline = context.transport.clock.monotonic() + seconds
    left: dict[str, str] = dict.fromkeys(run_ids, "there was no time left")

    async def abort(run_id: str) -> None:
        try:
            await abort_run(context, run_id, deadline=deadline)
        except errors.CoreClawError as failure:
            left[run_id] = str(failure)
        else:
            del left[run_id]

    try:
        with anyio.move_on_after(seconds, shield=True):
            async with anyio.create_task_group() as group:
                for run_id in run_ids:
                    group.start_soon(abort, run_id)
    except BaseExceptionGroup as failures:
        raise first_of(failures) from None
    finally:
        _tell_not_aborted(error, left)


def _tell_not_aborted(error: BaseException, left: dict[str, str]) -> None:
    if not left:
        return
    if isinstance(error, errors.WaitTimeoutError):
        error.not_aborted = tuple(left)
    what = f"{'run' if len(left) == 1 else f'{len(left)} runs'} not aborted, and may go on: {', '.join(left)}"
    error.add_note(f"{what} ({next(iter(left.values()))})")
    logger.warning("%s (%s)", what, next(iter(left.values())))


def raise_without_end(tracked: TrackedRun) -> None:
    """Raise what kept the end of a run from being seen, which nobody waits for any longer."""
    if tracked.error is not None:
        raise tracked.error
    assert tracked.run is not None, "a run that is over without an error was seen"
    _raise_unless_ended(tracked.run)


def _raise_unless_ended(run: Run) -> None:
    if not run.is_finished:
        raise errors.RunAbortedError(
            f"run {run.run_id} is still aborting, and nothing says that it has ended",
            run_id=run.run_id,
            run=run,
            confirmed=False,
        )


async def raise_unless_succeeded(context: Context, run: Run) -> None:
    """Raise what the end of *run* is when it is no success."""
    _raise_unless_ended(run)
    if run.outcome is RunOutcome.SUCCEEDED:
        return
    if run.outcome is RunOutcome.FAILED:
        log = await _last_lines(context, run.run_id)
        why = f": {run.error_message}" if run.error_message else ""
        raise errors.RunFailedError(f"run {run.run_id} ended as {run.status}{why}", run_id=run.run_id, run=run, log=log)
    raise errors.RunAbortedError(f"run {run.run_id} was aborted", run_id=run.run_id, run=run, confirmed=True)


async def _last_lines(context: Context, run_id: str) -> list[str]:
    """Return the end of the log that speaks of errors, or its very end; nothing when it cannot be read soon."""
    try:
        log = await read_log(context, run_id, deadline=context.transport.clock.monotonic() + _LOG_SECONDS)
    except errors.CoreClawError:
        return []
    lines = [entry.content for entry in log.entries if entry.level is LogLevel.ERROR]
    return (lines or [entry.content for entry in log.entries])[-_LOG_LINES:]
