"""How long a batch keeps trying while the service cannot be used, and with how few requests."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from coreclaw_async._concurrency.clock import Clock
from coreclaw_async._frames.reading import UnfitRowsError
from coreclaw_async._logs import facts, logger
from coreclaw_async._polling.tracked_run import ends_every_wait, is_service_speaking
from coreclaw_async._polling.waiters import WARN_SECONDS
from coreclaw_async.errors import CoreClawError, LedgerError

T = TypeVar("T")

_FIRST_PAUSE, _MAX_PAUSE = 2.0, 30.0
_JITTER = 0.1
# One or two failures may be about those calls alone, which is no reason to hold up the others.
_EVIDENCE = 3


def is_passing(error: CoreClawError) -> bool:
    """Return whether an error says nothing about what was asked for, so that another try may succeed."""
    return not (isinstance(error, LedgerError | UnfitRowsError) or is_service_speaking(error) or ends_every_wait(error))


class Patience:
    """
    The patience of one batch: while its calls fail they are retried one at a time, further and further apart.

    Args:
        seconds: How long after the first failure in a row the error is raised.
    """

    def __init__(self, clock: Clock, seconds: float) -> None:
        self.seconds = seconds
        self._clock = clock
        self._since: float | None = None
        self._in_a_row = 0
        self._failing = 0
        self._pause = _FIRST_PAUSE
        self._turn = anyio.Lock()
        self._warned_at = float("-inf")

    async def call(
        self, function: Callable[[], Awaitable[T]], *, passes: Callable[[CoreClawError], bool] = is_passing
    ) -> T:
        """
        Return what *function* returns, calling it again after failures that may pass.

        Args:
            function: What to call.
            passes: Returns whether another try may succeed after this failure.

        Raises:
            CoreClawError: It failed for good, or for longer than patience allows.
        """
        began: float | None = None
        pause = _FIRST_PAUSE
        try:
            while True:
                is_probe = self._is_outage and await self._take_turn()
                if began is not None and not is_probe:
                    await self._sleep(pause)
                    pause = min(pause * 2, _MAX_PAUSE)
                try:
                    result = await function()
                except CoreClawError as error:
                    now = self._clock.monotonic()
                    if not passes(error):
                        if is_service_speaking(error):
                            self._end_row()
                        raise
                    if began is None:
                        began = now
                        self._failing += 1
                    self._since = now if self._since is None else self._since
                    self._in_a_row += 1
                    if now - min(began, self._since) >= self.seconds:
                        raise
                    self._tell(error, now)
                else:
                    self._end_row()
                    return result
                finally:
                    if is_probe:
                        self._turn.release()
        finally:
            if began is not None:
                self._failing -= 1
                if not self._failing:  # None of the calls that failed is still at it.
                    self._end_row()

    def _end_row(self) -> None:
        self._since, self._in_a_row, self._pause = None, 0, _FIRST_PAUSE

    def _tell(self, error: CoreClawError, now: float) -> None:
        """Log what is retried: once a minute as a warning, else for debugging."""
        is_due = now - self._warned_at >= WARN_SECONDS
        if is_due:
            self._warned_at = now
        level = logging.WARNING if is_due else logging.DEBUG
        logger.log(level, "a call of the batch failed, which is retried: %s", error, extra=facts(error))

    async def _take_turn(self) -> bool:
        """Wait for the turn to probe; return True after a pause, False if another call has succeeded meanwhile."""
        await self._turn.acquire()
        try:
            if self._is_outage:
                await self._sleep(self._pause)
                self._pause = min(self._pause * 2, _MAX_PAUSE)
                return True
        except BaseException:
            self._turn.release()
            raise
        self._turn.release()
        return False

    @property
    def _is_outage(self) -> bool:
        """Whether so many calls failed in a row that the service itself is the likely reason."""
        return self._in_a_row >= _EVIDENCE

    async def _sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds * random.uniform(1 - _JITTER, 1 + _JITTER))  # noqa: S311 - it spreads load
