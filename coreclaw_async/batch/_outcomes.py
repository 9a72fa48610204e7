"""Outcomes of items, kept until the caller takes them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import anyio
import attrs

from coreclaw_async._data.record import Model
from coreclaw_async.batch._items import BatchItem, BatchItemState
from coreclaw_async.models import Run


@attrs.frozen(kw_only=True, repr=False)
class BatchOutcome(Model):
    """
    How an item of a batch ended, or why it could not.

    Attributes:
        key: The item's.
        state: Where it stands: ``done``, ``failed``, ``rejected``, ``ambiguous`` or ``cancelled``; ``submitted`` when
            its run or the rows of its run could not be read; the next `AsyncBatch.run` tries again.
        run_id: Its run, or None.
        run: The ended run, or None where this process has not seen it.
        attempt: Number of its last start, from 1; 0 if none was about to be sent.
        error: Why it is not done, or None.
        candidates: For an ambiguous item, the runs that may be its run.
        path: The file with its rows, or None.

    Example::

        async for outcome in batch.run():
            print(outcome.key, outcome.state, outcome.run_id, outcome.error)
    """

    key: str
    state: BatchItemState
    run_id: str | None = None
    run: Run | None = None
    attempt: int = 0
    error: str | None = None
    candidates: Sequence[str] = attrs.field(default=(), hash=False)
    path: Path | None = None


class Outcomes:
    """Outcomes that the caller has not taken yet."""

    def __init__(self) -> None:
        self._waiting: deque[BatchOutcome] = deque()
        self._news = anyio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def ended_runs(self) -> list[str]:
        """The runs that have ended, of the outcomes that wait."""
        ends = (BatchItemState.DONE, BatchItemState.FAILED)
        return [each.run_id for each in self._waiting if each.state in ends and each.run_id is not None]

    def tell(self, item: BatchItem, *, run: Run | None = None, error: str | None = None) -> None:
        """Add the outcome of *item*."""
        self._waiting.append(
            BatchOutcome(
                key=item.key,
                state=item.state,
                run_id=item.run_id,
                run=run,
                attempt=item.attempt,
                error=item.error if error is None else error,
                candidates=item.candidates,
                path=item.path,
            )
        )
        self.wake()

    def wake(self) -> None:
        """Have whoever waits look again."""
        self._news.set()
        self._news = anyio.Event()

    async def take(self, is_over: Callable[[], bool]) -> BatchOutcome | None:
        """Return the next outcome, or None when there is none and *is_over* returns True."""
        while not self._waiting:
            if is_over():
                return None
            await self._news.wait()
        return self._waiting.popleft()
