"""Aborting runs while they go on: a few at once, each again and again, with few requests while that is in vain."""

from __future__ import annotations

import functools
from collections.abc import Callable
from itertools import chain, repeat

import anyio
import attrs

from coreclaw_async import errors
from coreclaw_async._logs import facts, logger
from coreclaw_async._operations.context import Context
from coreclaw_async._operations.runs import abort_run
from coreclaw_async._polling.waiters import WARN_SECONDS
from coreclaw_async.batch._aborting import AT_ONCE, HAS_ENDED, WAITS
from coreclaw_async.batch._context import BatchContext
from coreclaw_async.batch._patience import Patience, is_passing

_LATER_WAITS, _MAX_WAIT = (30.0, 60.0, 120.0, 240.0), 300.0
_ATTEMPTS = 2


@attrs.define(eq=False)
class _Abort:
    """
    What aborts one run.

    Attributes:
        scope: Ends it.
        call: Held while the service is asked.
        reason: Why it was in vain so far, or None.
    """

    scope: anyio.CancelScope = attrs.field(factory=anyio.CancelScope)
    call: anyio.Lock = attrs.field(factory=anyio.Lock)
    reason: str | None = None


def _nobody(_: str) -> None:
    """Tell nobody."""


@attrs.define(kw_only=True, eq=False)
class RunAborts:
    """The aborts of the runs that a batch waits for."""

    batch_context: BatchContext
    _under_way: dict[str, _Abort] = attrs.field(factory=dict[str, _Abort], init=False)
    _given_up: dict[str, str] = attrs.field(factory=dict[str, str], init=False)
    _slots: anyio.Semaphore = attrs.field(factory=lambda: anyio.Semaphore(AT_ONCE), init=False)
    _context: Context = attrs.field(init=False)
    _patience: Patience = attrs.field(init=False)
    _warned_at: float = attrs.field(default=float("-inf"), init=False)

    def __attrs_post_init__(self) -> None:
        transport = self.batch_context.context.transport
        # Once more at once when an answer is lost: then the service says whether the run was aborted by it.
        retry = transport.settings.retry.replace(max_attempts=_ATTEMPTS)
        settings = transport.settings._replace(retry=retry)
        self._context = self.batch_context.context._replace(transport=transport.with_settings(settings))
        # Of its own: whether runs can be aborted says nothing of whether others of the batch's calls succeed.
        self._patience = Patience(self.batch_context.clock, float("inf"))

    async def abort(
        self, run_id: str, *, seconds: float = float("inf"), on_accepted: Callable[[str], object] = _nobody
    ) -> None:
        """
        Return when the run is aborted, has ended, or could not be aborted for so many seconds.

        Args:
            run_id: The run.
            seconds: For how long it is tried.
            on_accepted: Called when the service has accepted the abort; not where the run had ended before.
        """
        if run_id in self._under_way:  # pragma: no cover - there are two reasons at the same moment
            return
        abort = self._under_way[run_id] = _Abort()
        self._given_up.pop(run_id, None)
        clock = self.batch_context.clock
        ends_at = clock.monotonic() + seconds
        waits = chain(WAITS, _LATER_WAITS, repeat(_MAX_WAIT))
        with abort.scope:
            while True:
                try:
                    await self._patience.call(
                        functools.partial(self._try, run_id, abort, on_accepted),
                        passes=lambda error: is_passing(error) and clock.monotonic() < ends_at,
                    )
                except errors.CoreClawError as error:
                    if clock.monotonic() >= ends_at:
                        self._given_up[run_id] = str(error)
                        told = facts(error, run_id=run_id)
                        logger.warning("run %s was not aborted, and may keep running: %s", run_id, error, extra=told)
                        break
                    self._tell(run_id, error)
                else:
                    break
                await clock.sleep(next(waits))
        if self._under_way.get(run_id) is abort:
            del self._under_way[run_id]

    async def ended(self, run_id: str) -> str | None:
        """
        Abort a run no more that has ended or cannot be seen any more.

        Returns:
            Why it was not aborted, or None where it was, or nobody wanted to.
        """
        abort = self._under_way.pop(run_id, None)
        if abort is None:
            return self._given_up.pop(run_id, None)
        async with abort.call:  # Its answer says whether the run has ended by it.
            abort.scope.cancel()
        return abort.reason

    async def _try(self, run_id: str, abort: _Abort, on_accepted: Callable[[str], object]) -> None:
        async with self._slots, abort.call:
            try:
                await abort_run(self._context, run_id)
            except errors.CoreClawError as error:
                if error.code != HAS_ENDED:
                    abort.reason = str(error)
                    raise
            else:
                on_accepted(run_id)
            abort.reason = None

    def _tell(self, run_id: str, error: errors.CoreClawError) -> None:
        """Log what is retried, once a minute for all runs."""
        now = self.batch_context.clock.monotonic()
        if now - self._warned_at >= WARN_SECONDS:
            self._warned_at = now
            told = facts(error, run_id=run_id)
            logger.warning("run %s could not be aborted, which is retried: %s", run_id, error, extra=told)
