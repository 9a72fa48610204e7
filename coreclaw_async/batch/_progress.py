"""How far a batch is, told from its ledger while the caller waits for the next outcome."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import anyio.abc

from coreclaw_async._concurrency.stream import AsyncStream
from coreclaw_async._data.counting import counted
from coreclaw_async._logs import facts, logger
from coreclaw_async._progress.reporter import Reporter, dollars
from coreclaw_async.batch._context import BatchContext
from coreclaw_async.batch._items import BatchItemState
from coreclaw_async.batch._outcomes import BatchOutcome
from coreclaw_async.errors import CoreClawError
from coreclaw_async.progress import ProgressOption

_EVERY = 1.0


class BatchProgress:
    """
    Tells how far a batch is, once a second at most.

    Args:
        progress: Where to.
        group: Returns what the batch runs in, or None when it is not open.
    """

    def __init__(
        self, batch_context: BatchContext, progress: ProgressOption, group: Callable[[], anyio.abc.TaskGroup | None]
    ) -> None:
        self._ledger = batch_context.ledger
        self._clock = batch_context.clock
        self._group = group
        self._reporter = Reporter(progress, "batch", self._clock.monotonic)
        self._told_at = float("-inf")

    async def next(self, outcomes: AsyncStream[BatchOutcome]) -> BatchOutcome | None:
        """Return the next outcome, or None after the last one."""
        group, scope = self._group(), anyio.CancelScope()
        with self._reporter:
            if group is not None and self._reporter.is_on:
                group.start_soon(self._keep_telling, scope)
            try:
                return await anext(outcomes)
            except StopAsyncIteration:
                await self._tell()
                self._reporter.end()
                return None
            finally:
                scope.cancel()

    async def _keep_telling(self, scope: anyio.CancelScope) -> None:
        # In the batch's own group, as an outcome could be lost at the end of one around each outcome.
        with scope:
            while True:
                await self._clock.sleep(max(self._told_at + _EVERY - self._clock.monotonic(), 0.0))
                await self._tell()

    async def _tell(self) -> None:
        self._told_at = self._clock.monotonic()
        try:
            counts, totals = await self._ledger.counts(), (await self._ledger.totals()).all
        except CoreClawError as error:  # `run` itself reports what is wrong with the ledger.
            logger.debug("how far the batch is could not be read: %s", error, extra=facts(error))
            return
        total, going = sum(counts.values()), counts[BatchItemState.INTENT] + counts[BatchItemState.SUBMITTED]
        done = sum(count for state, count in counts.items() if not state.is_open)
        parts = [f"{done} of {counted(total, 'item')}", f"{going} running"]
        failed = counts[BatchItemState.FAILED] + counts[BatchItemState.REJECTED]
        parts += [
            f"{count} {what}"
            for count, what in ((failed, "failed"), (counts[BatchItemState.AMBIGUOUS], "held"))
            if count
        ]
        ended = totals.done + totals.failed
        parts += _known(counted(totals.result_count, "row"), ended, totals.unknown_rows)
        parts += _known(dollars(totals.cost), ended, totals.unknown_costs)
        rows = totals.result_count if ended and not totals.unknown_rows else None
        self._reporter.tell(", ".join(parts), done=done, total=total, rows=rows)


def _known(sum_of_runs: str, ended: int, unknown: int) -> list[str]:
    """Return the sum of what ended runs tell; nothing where none tells it, as that is not zero."""
    if ended == unknown:
        return []
    return [f"at least {sum_of_runs}" if unknown else sum_of_runs]
