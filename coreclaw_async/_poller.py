"""Following a run to its end: when to look, what a status means, and which failures do not matter."""

from __future__ import annotations

import inspect
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TypeAlias

import attrs

from coreclaw_async import errors
from coreclaw_async._clock import Clock
from coreclaw_async._wire.request import check_seconds
from coreclaw_async.models import Run, RunOutcome

logger = logging.getLogger("coreclaw_async")

UpdateHook: TypeAlias = Callable[[Run], Awaitable[None] | None]

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


@attrs.define(kw_only=True)
class RunFollower:
    """
    One wait for one run.

    Attributes:
        run_id: The run.
        look: Returns the run as it is now; its argument is the most seconds that may take, or None.
        clock: Where time comes from.
        schedule: When to look.
        on_change: Told when status or number of rows have changed: the run now, and before or None.
        on_update: The caller's own function for the same, or None.
        run: The run as it was last seen.
    """

    run_id: str
    look: Callable[[float | None], Awaitable[Run]]
    clock: Clock
    schedule: PollSchedule
    on_change: Callable[[Run, Run | None], None]
    on_update: UpdateHook | None = None
    run: Run | None = None
    _aborting_since: float | None = attrs.field(default=None, init=False)
    _missing_since: float = attrs.field(default=0.0, init=False)

    async def follow(self, timeout: float | None) -> Run:
        """
        Return the run when it has ended, or when it was ``aborting`` for longer than the grace time.

        Raises:
            WaitTimeoutError: *timeout* seconds have passed.
            AuthenticationError: The key is refused.
            NotFoundError: The service does not know the run, and does not come to know it.
        """
        deadline = None if timeout is None else self.clock.monotonic() + timeout
        self._missing_since = self.clock.monotonic()
        waits = self.schedule.waits()
        while deadline is None or self.clock.monotonic() < deadline:
            asked = await self._look(deadline)
            if self.run is not None and (self.run.is_finished or self._is_past_grace()):
                return self.run
            await self.clock.sleep(self._pause(max(next(waits), asked), deadline))
        raise errors.WaitTimeoutError(
            f"run {self.run_id} has not ended within {timeout:g} s; it goes on", run_id=self.run_id, run=self.run
        )

    def _pause(self, wanted: float, deadline: float | None) -> float:
        if deadline is None:
            return wanted
        left = max(0.0, deadline - self.clock.monotonic())
        if wanted < left:
            return wanted
        # The last look comes shortly before the end, so that a run that has just ended is not given up on.
        return left - _LAST_LOOK if left > _LAST_LOOK else left

    async def _look(self, deadline: float | None) -> float:
        """Look once, and return the seconds that the service asked to wait before the next look."""
        try:
            run = await self.look(None if deadline is None else deadline - self.clock.monotonic())
        except (errors.AuthenticationError, errors.ConfigurationError):
            raise
        except errors.NotFoundError:
            # No source promises that a new run can be read at once (contract, read-after-write).
            if self.clock.monotonic() - self._missing_since > self.schedule.not_found_grace:
                raise
            return 0.0
        except errors.CoreClawError as error:
            logger.debug("a look at run %s failed, the wait goes on: %s", self.run_id, error)
            return error.retry_after or 0.0
        await self._take_note(run)
        return 0.0

    async def _take_note(self, run: Run) -> None:
        now = self.clock.monotonic()
        self._missing_since = now
        if run.outcome is not RunOutcome.ABORTING:
            self._aborting_since = None
        elif self._aborting_since is None:
            self._aborting_since = now
        before, self.run = self.run, run
        if before is not None and (before.status, before.result_count) == (run.status, run.result_count):
            return
        self.on_change(run, before)
        if self.on_update is not None:
            pending = self.on_update(run)
            if inspect.isawaitable(pending):
                await pending

    def _is_past_grace(self) -> bool:
        return (
            self._aborting_since is not None
            and self.clock.monotonic() - self._aborting_since >= self.schedule.abort_grace
        )
