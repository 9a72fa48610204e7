"""Waiting for a run: what its end means, and what becomes of it when the wait does not last that long."""

from __future__ import annotations

import contextlib
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, Self, TypeAlias, get_args

import anyio
import attrs

from coreclaw_async import errors
from coreclaw_async._poller import Waiter
from coreclaw_async._resources.context import Context
from coreclaw_async._resources.run_calls import abort_run, concrete_id, read_log, read_run
from coreclaw_async._resources.run_lists import list_reader
from coreclaw_async._run_survey import RunSource
from coreclaw_async._watch import PollSchedule, Watch
from coreclaw_async._wire.request import check_seconds
from coreclaw_async.events import RunChanged
from coreclaw_async.models import LogLevel, Run, RunOutcome, RunRef

logger = logging.getLogger("coreclaw_async")

OnCancel = Literal["leave", "abort"]
UpdateHook: TypeAlias = Callable[[Run], Awaitable[None] | None]

_ABORT_SECONDS = 5.0
_LOG_SECONDS = 5.0
_LOG_LINES = 10


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
        context: The client's means.
        waiter: What the watcher knows of it.
        timeout: Seconds it may take, or None; for messages.
        on_update: The caller's function for changes, or None.
    """

    context: Context
    waiter: Waiter
    timeout: float | None
    on_update: UpdateHook | None

    @classmethod
    async def begin(
        cls,
        context: Context,
        runs: Sequence[RunRef],
        *,
        timeout: float | None,
        on_update: UpdateHook | None = None,
        schedule: PollSchedule | None = None,
        tells_all: bool = False,
    ) -> Self:
        """Begin to wait for *runs*; that asks which one is meant where a run is named as the last."""
        began = context.transport.clock.monotonic()
        deadline = float("inf") if timeout is None else began + timeout
        ids = [await concrete_id(context, run, deadline=None if timeout is None else deadline) for run in runs]
        now = context.transport.clock.monotonic()
        watches = (
            Watch(
                run_id=run_id,
                schedule=schedule or context.schedule,
                began=now,
                deadline=deadline,
                tells_all=tells_all,
            )
            for run_id in ids
        )
        return cls(context, Waiter.of(run_source(context), watches, deadline), timeout, on_update)

    @property
    def is_unfinished(self) -> bool:
        """Whether there are runs that have not ended, or news of some that have."""
        return bool(self.waiter.watches or self.waiter.news)

    async def next_watch(self) -> Watch:
        """
        Return the next of the runs that something happened to.

        Raises:
            WaitTimeoutError: The time is up.
        """
        watch = await self.context.watcher.news(self.waiter)
        if watch is None:
            raise self._late()
        return watch

    async def settle(self, watch: Watch) -> None:
        """
        Tell the changes of a run.

        Raises:
            CoreClawError: The run cannot be waited for any longer.
        """
        while watch.changes:
            run = self.take_change(watch)
            if self.on_update is not None:
                pending = self.on_update(run)
                if inspect.isawaitable(pending):
                    await pending
        if watch.error is not None:
            raise watch.error

    def take_change(self, watch: Watch) -> Run:
        """Tell the event hook of the next change of a run, and return the run as it is after it."""
        change = watch.changes.popleft()
        before = None if change.before is None or change.before.status is None else str(change.before.status)
        self.context.transport.emit(RunChanged(run=change.run, previous=before))
        return change.run

    def _late(self) -> errors.WaitTimeoutError:
        left = list(self.waiter.watches.values())
        which = f"run {left[0].run_id} has" if len(left) == 1 else f"{len(left)} runs have"
        goes_on = "it goes" if len(left) == 1 else "they go"
        return errors.WaitTimeoutError(
            f"{which} not ended within {self.timeout:g} s; {goes_on} on",
            run_id=left[0].run_id,
            run=left[0].run,
            pending=[watch.run_id for watch in left],
        )


def run_source(context: Context) -> RunSource:
    """Return where a watcher looks when a wait of this client leads it."""
    return RunSource(
        look=lambda run_id: read_run(context, run_id),
        list_runs=lambda status, window: list_reader(context, status, window),
        service_time=context.transport.service_time,
        emit=context.transport.emit,
    )


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
    wait = await Wait.begin(context, [run], timeout=timeout, on_update=on_update)
    (watch,) = wait.waiter.watches.values()
    try:
        while not watch.is_over or watch.is_queued:
            await wait.settle(await wait.next_watch())
    except BaseException as error:
        tell_left(error, [watch.run_id])
        if on_cancel == "abort":
            await abort_quickly(context, [watch.run_id])
        raise
    assert watch.run is not None, "a run that is over without an error was seen"
    if check:
        await raise_unless_succeeded(context, watch.run)
    return watch.run


def tell_left(error: BaseException, run_ids: Sequence[str]) -> None:
    """Leave a trace of the runs that a cancelled wait was for: it takes nothing along, and they go on."""
    if isinstance(error, errors.CoreClawError):
        return
    named = f"{'run' if len(run_ids) == 1 else 'runs'} {', '.join(run_ids)}"
    error.add_note(f"the wait for {named} was left")
    logger.info("the wait for %s was left by %s", named, type(error).__name__)


async def abort_quickly(context: Context, run_ids: Sequence[str]) -> None:
    """Abort runs in a short time that no cancellation cuts; a failure must not hide why the wait ended."""

    async def abort(run_id: str) -> None:
        with contextlib.suppress(errors.CoreClawError):
            await abort_run(context, run_id)

    with anyio.move_on_after(_ABORT_SECONDS, shield=True):
        async with anyio.create_task_group() as group:
            for run_id in run_ids:
                group.start_soon(abort, run_id)


def raise_without_end(watch: Watch) -> None:
    """Raise what kept the end of a run from being seen, which nobody waits for any longer."""
    if watch.error is not None:
        raise watch.error
    assert watch.run is not None, "a run that is over without an error was seen"
    _raise_unless_ended(watch.run)


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
