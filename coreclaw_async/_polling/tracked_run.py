"""TrackedRun: a run that somebody waits for: when to look at it, and what each look means. No I/O."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterator

import attrs

from coreclaw_async import errors
from coreclaw_async._logs import facts, logger
from coreclaw_async._polling.outage import MAX_RETRY_AFTER
from coreclaw_async._polling.schedule import PollSchedule
from coreclaw_async._wire.error_codes import is_service_code
from coreclaw_async.models import Run, RunOutcome

LAST_LOOK = 1.0
"""Seconds before its deadline at which a wait looks once more."""

# One or two such answers may be late ones.
_MIN_SAMPLES = 3
# Runs that are due within this share of their delay are looked at too, so that jitter does not separate them.
_TOGETHER = 0.2


@attrs.frozen(eq=False, repr=False)
class Change:
    """
    A change of a run.

    Attributes:
        run: The run now.
        before: The run as it was seen before, or None.
    """

    run: Run
    before: Run | None


@attrs.define(eq=False, repr=False)
class _Streak:
    """
    The same answer several times in succession; a look that failed ends the streak.

    Attributes:
        since: When it came first, or None.
        samples: How often it came.
    """

    since: float | None = None
    samples: int = 0

    def is_proof_with(self, now: float, grace: float) -> bool:
        """Count the answer once more; return whether it has lasted for *grace* seconds and at least three answers."""
        self.since = now if self.since is None else self.since
        self.samples += 1
        return self.samples >= _MIN_SAMPLES and now - self.since >= grace

    def end(self) -> None:
        """Record another answer."""
        self.since, self.samples = None, 0


@attrs.define(eq=False, kw_only=True, repr=False)
class TrackedRun:
    """
    A run that somebody waits for.

    Attributes:
        run_id: The run; or, until it was seen, the name of the last run (`last_run_name`).
        schedule: When to look.
        began: When the wait began, on the monotonic clock.
        deadline: When the wait ends, on the same clock; infinity for never.
        tells_all: Whether each look is news, not only a change.
        is_name: Whether *run_id* is a name; it is tracked until a look shows which run it is.
        run: The run as it was last seen.
        error: Why it cannot be waited for any longer.
        is_over: Whether the run has ended, was ``aborting`` for too long, or cannot be waited for.
        next_look: When to look next.
        delay: Seconds between the last look and the next one.
        not_before: The earliest time at which the service wants to be asked again.
        looked_at: When the last look began, whatever its result.
        changes: Changes that nobody was told of yet.
        is_queued: Whether it is in the news of its waiter.
        seen_at: When the run was last seen, or the wait began.
        unseen_since: When the first of the looks in a row failed, or None.
        failure: What the last look failed with, or None.
    """

    run_id: str
    schedule: PollSchedule
    began: float
    deadline: float = float("inf")
    tells_all: bool = False
    is_name: bool = False
    run: Run | None = attrs.field(default=None, init=False)
    error: errors.CoreClawError | None = attrs.field(default=None, init=False)
    is_over: bool = attrs.field(default=False, init=False)
    next_look: float = attrs.field(init=False)
    delay: float = attrs.field(default=0.0, init=False)
    not_before: float = attrs.field(default=float("-inf"), init=False)
    looked_at: float = attrs.field(default=float("-inf"), init=False)
    changes: deque[Change] = attrs.field(factory=deque[Change], init=False)
    is_queued: bool = attrs.field(default=False, init=False)
    seen_at: float = attrs.field(init=False)
    unseen_since: float | None = attrs.field(default=None, init=False)
    failure: errors.CoreClawError | None = attrs.field(default=None, init=False)
    _jittered_delays: Iterator[float] = attrs.field(init=False)
    _delayed_since: float = attrs.field(init=False)
    _aborting: _Streak = attrs.field(factory=_Streak, init=False)
    _unknown: _Streak = attrs.field(factory=_Streak, init=False)

    def __attrs_post_init__(self) -> None:
        self.next_look = self.seen_at = self._delayed_since = self.began
        self._jittered_delays = self.schedule.jittered_delays()

    def is_due(self, now: float) -> bool:
        """Return whether it is time to look."""
        return self.next_look <= now

    def is_nearly_due(self, now: float) -> bool:
        """Return whether a look that other runs need anyhow may replace the next one of the schedule."""
        return self.next_look - _TOGETHER * self.delay <= now

    def unseen_for(self, now: float) -> float:
        """Return for how many seconds looks have failed; 0 when the last one did not."""
        return 0.0 if self.unseen_since is None else now - self.unseen_since

    @property
    def is_unknown(self) -> bool:
        """Whether it was never seen, and the service itself says that there is no such run."""
        return self.run is None and _is_not_found(self.failure)

    def wake(self, at: float) -> None:
        """Make the run due since something happened to it, and restart the schedule: it may not show at once."""
        self.next_look = self._delayed_since = at
        self._jittered_delays = self.schedule.jittered_delays()

    def take(self, found: Run | errors.CoreClawError, *, now: float, began: float) -> bool:
        """
        Record a look that began at *began*, and return whether that is news.

        A look that was not nearly due does not count as one of the schedule, but puts off the next one.
        """
        if self.is_over:
            return False
        self.looked_at = began
        if isinstance(found, Run):
            is_news = self._see(found, now)
        else:
            is_news = self._miss(found, now)
            self.not_before = now + min(found.retry_after or 0.0, MAX_RETRY_AFTER)
        if self.is_nearly_due(began) or began >= self._delayed_since + (1 - _TOGETHER) * self.delay:
            self.delay = next(self._jittered_delays)
            self._delayed_since = began
        self.next_look = max(self._before_deadline(now, now + self.delay), self.not_before)
        return is_news

    def _see(self, run: Run, now: float) -> bool:
        self.seen_at = now
        self.unseen_since = self.failure = None
        if self._unknown.samples:
            self._unknown.end()
        outcome = run.outcome
        if self._aborting.samples and outcome is not RunOutcome.ABORTING:
            self._aborting.end()
        before, self.run = self.run, run
        is_stuck = outcome is RunOutcome.ABORTING and self._aborting.is_proof_with(now, self.schedule.abort_grace)
        self.is_over = self.is_name or outcome.is_end or is_stuck
        if self.is_name:
            return True
        if before is None or (before.status, before.result_count) != (run.status, run.result_count):
            self.changes.append(Change(run, before))
            return True
        return self.is_over or self.tells_all

    def _miss(self, error: errors.CoreClawError, now: float) -> bool:
        self.failure = error
        if self.unseen_since is None:
            self.unseen_since = now
        self._aborting.end()
        if _is_not_found(error):
            # The service does not promise that a new run can be read at once (contract, read-after-write).
            is_lost = self._unknown.is_proof_with(now, self.schedule.not_found_grace)
        else:
            self._unknown.end()
            is_lost = ends_every_wait(error)
        if is_lost:
            self.error = _copy_for(None if self.is_name else self.run_id, error)
            self.is_over = True
        else:
            told = facts(error, run_id=self.run_id)
            logger.debug("a look at run %s failed, the wait goes on: %s", self.run_id, error, extra=told)
        return is_lost

    def _before_deadline(self, now: float, wanted: float) -> float:
        """Return *wanted* or, if that is too late, the time for a last look: the run may just have ended."""
        last = self.deadline - LAST_LOOK
        return last if now < last < wanted else wanted


def _is_not_found(error: errors.CoreClawError | None) -> bool:
    return isinstance(error, errors.NotFoundError) and is_service_code(error.code)


def ends_every_wait(error: errors.CoreClawError) -> bool:
    """Return whether all waits must end: the client is closed, or the service itself refuses the key."""
    if isinstance(error, errors.AuthenticationError):
        return is_service_code(error.code)
    return isinstance(error, errors.ConfigurationError)


def is_service_speaking(found: errors.CoreClawError) -> bool:
    """Return whether the service itself has answered, not a gateway, and is not failing as a whole."""
    if isinstance(found, errors.ServiceError | errors.RateLimitedError):
        return False
    return isinstance(found, errors.PaginationError) or (
        isinstance(found, errors.ApiError) and is_service_code(found.code)
    )


def _copy_for(run_id: str | None, error: errors.CoreClawError) -> errors.CoreClawError:
    """Return a copy of *error* for one wait: one look may end several, each in its own task."""
    own = copy.copy(error)
    own.__cause__ = error.__cause__
    own.run_id = run_id
    return own
