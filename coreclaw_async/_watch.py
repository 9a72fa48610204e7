"""One run that somebody waits for: when to look at it, and what each look means. No I/O."""

from __future__ import annotations

import copy
import logging
import random
from collections import deque
from collections.abc import Iterable, Iterator

import attrs

from coreclaw_async import errors
from coreclaw_async._wire.request import check_seconds
from coreclaw_async.models import Run, RunOutcome

logger = logging.getLogger("coreclaw_async")

_LAST_LOOK = 1.0


def _as_tuple(delays: Iterable[float]) -> tuple[float, ...]:
    return tuple(delays)


def _delays(_: object, attribute: attrs.Attribute[tuple[float, ...]], value: tuple[float, ...]) -> None:
    if not value:
        raise ValueError(f"{attribute.name} must hold at least one number of seconds, not {value!r}")
    for delay in value:
        check_seconds(attribute.name, delay)


def _share(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{attribute.name} must be a number, not {value!r}")
    if not 0 <= value < 1:
        raise ValueError(f"{attribute.name} must be from 0 to below 1, not {value!r}")


def _grace(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    check_seconds(attribute.name, value, allow_zero=True)


@attrs.frozen(kw_only=True)
class PollSchedule:
    """
    When a run that is waited for is looked at.

    Runs that are due together are looked at together, so a run may be looked at up to a fifth of its delay early.

    Attributes:
        delays: Seconds between the looks; the last one goes on for ever (docs, api/run-lifecycle: 2, 5, 10, 15).
        jitter: By which share of itself each delay is made shorter or longer at random, from 0 to below 1.
        abort_grace: Seconds that a run may be ``aborting`` before the wait gives up on a confirmation.
        not_found_grace: Seconds that a run may be unknown to the service after the wait began, or after it was last
            seen.
    """

    delays: tuple[float, ...] = attrs.field(default=(2.0, 5.0, 10.0, 15.0), converter=_as_tuple, validator=_delays)
    jitter: float = attrs.field(default=0.1, validator=_share)
    abort_grace: float = attrs.field(default=60.0, validator=_grace)
    not_found_grace: float = attrs.field(default=10.0, validator=_grace)

    def waits(self) -> Iterator[float]:
        """Yield the seconds between one look and the next, for ever."""
        for delay in self.delays:
            yield self._spread(delay)
        while True:
            yield self._spread(self.delays[-1])

    def _spread(self, delay: float) -> float:
        return delay * random.uniform(1 - self.jitter, 1 + self.jitter)  # noqa: S311 - it spreads load


@attrs.frozen
class Change:
    """
    A run in another state than before.

    Attributes:
        run: The run now.
        before: The run as it was seen before, or None.
    """

    run: Run
    before: Run | None


@attrs.define(eq=False, kw_only=True)
class Watch:
    """
    A run that somebody waits for.

    Attributes:
        run_id: The run.
        schedule: When to look.
        began: When the wait began, on the monotonic clock.
        deadline: When it is given up; infinity for never.
        tells_all: Whether each look counts as news, and not changes alone.
        run: The run as it was last seen.
        error: Why it cannot be waited for any longer.
        is_over: Whether the run has ended, was ``aborting`` for too long, or cannot be waited for.
        next_look: When to look next.
        delay: Seconds between the last look and the next one.
        changes: What happened and nobody was told of yet.
        is_queued: Whether somebody is about to be told.
        seen_at: When the run was last seen, or the wait began.
    """

    run_id: str
    schedule: PollSchedule
    began: float
    deadline: float = float("inf")
    tells_all: bool = False
    run: Run | None = attrs.field(default=None, init=False)
    error: errors.CoreClawError | None = attrs.field(default=None, init=False)
    is_over: bool = attrs.field(default=False, init=False)
    next_look: float = attrs.field(init=False)
    delay: float = attrs.field(default=0.0, init=False)
    changes: deque[Change] = attrs.field(factory=deque[Change], init=False)
    is_queued: bool = attrs.field(default=False, init=False)
    _waits: Iterator[float] = attrs.field(init=False)
    seen_at: float = attrs.field(init=False)
    _aborting_since: float | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.next_look = self.seen_at = self.began
        self._waits = self.schedule.waits()

    def wake(self, at: float) -> None:
        """Make the run due because something happened to it, and look often again: it may not show at once."""
        self.next_look = at
        self._waits = self.schedule.waits()

    def take(self, found: Run | errors.CoreClawError, *, now: float, was_due: bool) -> bool:
        """
        Take note of a look, and return whether that is news.

        A look that came by chance does not count as one of the schedule; it only puts off the next one.
        """
        if self.is_over:
            return False
        asked = 0.0
        if isinstance(found, Run):
            is_news = self._see(found, now)
        else:
            is_news = self._miss(found, now)
            asked = found.retry_after or 0.0
        if self._aborting_since is not None and now - self._aborting_since >= self.schedule.abort_grace:
            self.is_over = is_news = True
        if was_due:
            self.delay = next(self._waits)
        self.next_look = self._before_deadline(now, now + max(self.delay, asked))
        return is_news

    def _see(self, run: Run, now: float) -> bool:
        self.seen_at = now
        if run.outcome is not RunOutcome.ABORTING:
            self._aborting_since = None
        elif self._aborting_since is None:
            self._aborting_since = now
        before, self.run = self.run, run
        self.is_over = run.is_finished
        if before is None or (before.status, before.result_count) != (run.status, run.result_count):
            self.changes.append(Change(run, before))
            return True
        return self.is_over or self.tells_all

    def _miss(self, error: errors.CoreClawError, now: float) -> bool:
        is_lost = isinstance(error, errors.AuthenticationError | errors.ConfigurationError)
        if isinstance(error, errors.NotFoundError):
            # No source promises that a new run can be read at once (contract, read-after-write).
            is_lost = now - self.seen_at > self.schedule.not_found_grace
        if is_lost:
            self.error = _copy_for(self.run_id, error)
            self.is_over = True
        else:
            logger.debug("a look at run %s failed, the wait goes on: %s", self.run_id, error)
        return is_lost

    def _before_deadline(self, now: float, wanted: float) -> float:
        """Return *wanted*, or shortly before the deadline, so that a run that has just ended is not given up on."""
        if wanted < self.deadline:
            return wanted
        return self.deadline - _LAST_LOOK if self.deadline - now > _LAST_LOOK else self.deadline


def _copy_for(run_id: str, error: errors.CoreClawError) -> errors.CoreClawError:
    """Return an error of its own for one wait: several may end by the same look, each in a task of its own."""
    own = copy.copy(error)
    own.__cause__ = error.__cause__
    own.run_id = run_id
    return own
