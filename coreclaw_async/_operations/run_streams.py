"""Streams: runs in the order in which they end, the changes of one run, the entries of its log."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

import attrs

from coreclaw_async import errors
from coreclaw_async._data.counting import counted
from coreclaw_async._logs import facts, logger
from coreclaw_async._operations.context import Context
from coreclaw_async._operations.end_errors import raise_unless_succeeded, raise_without_end
from coreclaw_async._operations.leaving import abort_all, leave
from coreclaw_async._operations.runs import read_log
from coreclaw_async._operations.wait import Wait, WaitOptions
from coreclaw_async._polling.outage import MAX_RETRY_AFTER
from coreclaw_async._polling.tracked_run import TrackedRun, ends_every_wait, is_service_speaking
from coreclaw_async._polling.waiters import WARN_SECONDS
from coreclaw_async._progress.reporter import Reporter
from coreclaw_async._wire.log_window import LogWindow
from coreclaw_async._wire.run_paths import run_id_of
from coreclaw_async.models import LastRun, LogEntry, Run, RunRef

# People who follow a log want new entries soon.
_MAX_DELAY = 5.0


@attrs.define(eq=False, repr=False)
class Completions:
    """Many runs, each returned when it ends."""

    context: Context
    runs: Sequence[RunRef]
    options: WaitOptions
    _wait: Wait | None = attrs.field(default=None, init=False)
    _current: TrackedRun | None = attrs.field(default=None, init=False)
    _reporter: Reporter = attrs.field(init=False)
    _total: int = attrs.field(default=0, init=False)
    _rows: dict[str, int] = attrs.field(factory=dict[str, int], init=False)

    @classmethod
    def of(cls, context: Context, runs: Iterable[RunRef], options: WaitOptions) -> Completions:
        """Return what `AsyncRuns.wait_many` iterates over; wrong arguments are errors here."""
        if isinstance(runs, str | Run | LastRun):
            raise TypeError(f"runs must be several runs, for one there is wait(); not {type(runs).__name__}")
        named = list(runs)
        for run in named:
            run_id_of(run)
        return cls(context, named, options)

    async def next(self) -> Run | None:
        """Return the next run that has ended, or None when there is none left."""
        if self._wait is None:
            self._reporter = Reporter(self.options.progress, "wait", self.context.clock.monotonic)
            self._wait = Wait.begin(self.context, self.runs, self.options, tells_all=self._reporter.is_on)
            self._total = len(self._wait.waiter.tracked_runs)
        try:
            with self._reporter:
                if self._wait.is_unfinished:
                    self._tell(self._wait)
                run = await self._next(self._wait)
        except BaseException as error:
            if isinstance(error, Exception) and not isinstance(error, errors.WaitTimeoutError):
                raise  # Of one run, or of what the caller has passed: the others are still waited for.
            self._reporter.end()
            # The current run is kept: iterating again goes on with it.
            await leave(self.context, error, self._wait.pending, self.options.on_cancel)
            raise
        if run is None:
            self._reporter.end()
        return run

    async def _next(self, wait: Wait) -> Run | None:
        while self._current is not None or wait.is_unfinished:
            if self._current is None:
                self._current = await wait.next_tracked()
            tracked = self._current
            if tracked is None:
                continue
            if tracked.run is not None and tracked.run.result_count is not None:
                self._rows[tracked.run_id] = tracked.run.result_count
            self._tell(wait)
            try:
                await wait.tell_changes(tracked)
                run = tracked.run if tracked.is_over else None
                if run is not None and self.options.check:
                    await raise_unless_succeeded(self.context, run)
            except Exception as error:
                # The run has ended, or on_update has raised, which ends the wait for this run: go on with the others.
                self._current = None
                is_going = wait.waiter.tracked_runs.pop(tracked.run_id, None) is not None
                if is_going and self.options.on_cancel == "abort":
                    await abort_all(self.context, error, [tracked.run_id])
                raise
            self._current = None
            if run is not None:
                return run
        return None

    def _tell(self, wait: Wait) -> None:
        if self._reporter.is_on:
            done = self._total - len(wait.waiter.tracked_runs)
            rows = sum(self._rows.values()) if self._rows else None  # None while no run has told its rows.
            ended = f"{done} of {counted(self._total, 'run has', 'runs have')} ended"
            text = ended if rows is None else f"{ended}, {counted(rows, 'row')}"
            self._reporter.tell(text, done=done, total=self._total, rows=rows)


@attrs.define(eq=False, repr=False)
class Changes:
    """Each change of one run, and then its end."""

    context: Context
    run: RunRef
    options: WaitOptions
    _wait: Wait | None = attrs.field(default=None, init=False)
    _tracked: TrackedRun | None = attrs.field(default=None, init=False)

    async def next(self) -> Run | None:
        """Return the run after its next change, or None after its end."""
        if self._wait is None:
            self._wait = Wait.begin(self.context, [self.run], self.options)
        while True:
            if self._tracked is not None and self._tracked.changes:
                return self._wait.take_change(self._tracked)
            if not self._wait.is_unfinished:
                break
            self._tracked = await self._wait.next_tracked()
        tracked, self._tracked = self._tracked, None
        if tracked is not None:
            raise_without_end(tracked)
        return None


@attrs.define(eq=False, repr=False)
class LogEntries:
    """The entries of one run's log as they arrive, and then its end."""

    context: Context
    run: RunRef
    options: WaitOptions
    _wait: Wait | None = attrs.field(default=None, init=False)
    _window: LogWindow = attrs.field(factory=LogWindow, init=False)
    _entries: deque[LogEntry] = attrs.field(factory=deque[LogEntry], init=False)
    _last_look: TrackedRun | None = attrs.field(default=None, init=False)
    _ended: TrackedRun | None = attrs.field(default=None, init=False)
    _warns_at: float | None = attrs.field(default=None, init=False)

    async def next(self) -> LogEntry | None:
        """Return the next entry, or None after the last one of a run that has ended."""
        if self._wait is None:
            schedule = self.context.schedule
            delays = [min(delay, _MAX_DELAY) for delay in schedule.delays]
            self._wait = Wait.begin(
                self.context,
                [self.run],
                self.options,
                schedule=schedule.replace(delays=delays),
                tells_all=True,
            )
        while not self._entries:
            if self._last_look is None:
                if not self._wait.is_unfinished:
                    ended, self._ended = self._ended, None
                    if ended is not None:
                        raise_without_end(ended)
                    return None
                self._last_look = await self._wait.next_tracked()
            tracked = self._last_look
            if tracked is None:
                continue
            if tracked.error is None:
                await self._wait.tell_changes(tracked)
                await self._read(tracked, self._wait)
            self._last_look = None
            if tracked.is_over:
                self._ended = tracked
        return self._entries.popleft()

    async def _read(self, tracked: TrackedRun, wait: Wait) -> None:
        """Take the new entries; if the log cannot be read, retry next time, or here when the run has ended."""
        delays = self.context.schedule.jittered_delays()
        while True:
            try:
                log = await read_log(self.context, tracked.run_id, is_probe=True)
                break
            except errors.CoreClawError as error:
                if ends_every_wait(error):
                    raise
                run_id = tracked.run_id
                told = facts(error, run_id=run_id)
                logger.debug("the log of run %s could not be read, which is retried: %s", run_id, error, extra=told)
                if not tracked.is_over:
                    return
                if is_service_speaking(error):
                    raise
                await self._pause(error, next(delays), wait)
        self._window, entries, is_gap = self._window.advance(log.entries)
        if is_gap:
            logger.warning(
                "entries of the log of run %s may have been missed; all_logs_url has all",
                tracked.run_id,
                extra=facts(run_id=tracked.run_id),
            )
        self._entries.extend(entries)

    async def _pause(self, error: errors.CoreClawError, delay: float, wait: Wait) -> None:
        """Sleep before the end of the log is asked for again, or raise *error* when there is no time for that."""
        clock = self.context.clock
        now = clock.monotonic()
        delay = max(delay, min(error.retry_after or 0.0, MAX_RETRY_AFTER))
        if now + delay >= wait.waiter.deadline:
            raise error
        if self._warns_at is None:
            self._warns_at = now + WARN_SECONDS
        elif now >= self._warns_at:
            self._warns_at = now + WARN_SECONDS
            logger.warning("the end of a log cannot be read, which is retried: %s", error, extra=facts(error))
        await clock.sleep(delay)
