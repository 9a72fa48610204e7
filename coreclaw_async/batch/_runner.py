"""Running an open batch: one engine after another, for as long as there is something to do."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from decimal import Decimal
from pathlib import Path

import anyio.abc
import attrs

from coreclaw_async._concurrency.stream import AsyncStream
from coreclaw_async._data.counting import counted
from coreclaw_async._logs import facts, logger
from coreclaw_async.batch._admission import Limits
from coreclaw_async.batch._arguments import OutputFormat
from coreclaw_async.batch._context import BatchContext
from coreclaw_async.batch._engine import Engine
from coreclaw_async.batch._items import BatchItem, BatchItemState
from coreclaw_async.batch._outcomes import BatchOutcome, Outcomes
from coreclaw_async.batch._row_files import PartFiles
from coreclaw_async.errors import LedgerError

_TOLD_WHEN_FORGOTTEN = (BatchItemState.SUBMITTED, BatchItemState.INTENT, BatchItemState.AMBIGUOUS)
# A wait that is longer is told.
_SHORT = 1.0


@attrs.frozen
class RunOptions:
    """How a batch is run; a second iterator with the same options goes on with what the first one has begun."""

    max_in_flight: int | None
    output: Path | None
    output_format: OutputFormat
    width: int


class Runner:
    """
    What is at work for a batch between its opening and its end.

    Attributes:
        group: What the engines run in, while the batch is open.
        on_follow: Called with each item whose run begins to be waited for.
    """

    def __init__(self, batch_context: BatchContext) -> None:
        self.group: anyio.abc.TaskGroup | None = None
        self.on_follow: Callable[[BatchItem], object] = bool
        self._batch_context = batch_context
        self._engine: Engine | None = None
        self._options: RunOptions | None = None
        self._outcomes = Outcomes()
        self._plans = 0

    @property
    def limits(self) -> Limits | None:
        """What the last engine has learned of the service's limits, or None."""
        return None if self._engine is None else self._engine.limits

    def stream(self, options: RunOptions, budget: Decimal | None) -> AsyncStream[BatchOutcome]:
        """
        Return the outcomes of an engine with *options*; it begins with the first one that is asked for.

        Raises:
            RuntimeError: One with other options is at work.
        """
        self._check_options(options)
        engine: Engine | None = None
        has_outcome = False

        async def advance() -> BatchOutcome | None:
            nonlocal engine, has_outcome
            while True:
                self._batch_context.ledger.database.check_process()
                if engine is None:
                    engine = await self._begin(options, budget)
                try:
                    outcome = await engine.next()
                except BaseException:
                    if engine.is_over:  # Whoever iterates on tries again.
                        engine = None
                    raise
                if outcome is not None or not (engine.has_more or await self._has_planned()):
                    has_outcome = has_outcome or outcome is not None
                    if not has_outcome:
                        await self._warn_of_no_items()
                    return outcome
                engine = None  # Items that were planned after its end are started too.

        return AsyncStream(advance)

    def _opened(self) -> anyio.abc.TaskGroup:
        if self.group is None:
            raise RuntimeError("the batch is not open: use it in the block of (async) with client.batch(...) as batch")
        return self.group

    async def _warn_of_no_items(self) -> None:
        """Log that a batch has no items: its name or its ledger may be mistyped where an earlier one was meant."""
        ledger = self._batch_context.ledger
        if not any((await ledger.counts()).values()):
            logger.warning(
                "batch %r has no items in its ledger, so nothing was run: its name or ledger= may be mistyped, or "
                "nothing was planned",
                ledger.batch,
                extra=facts(batch=ledger.batch),
            )

    async def _has_planned(self) -> bool:
        self._opened()
        return bool(await self._batch_context.ledger.workers(BatchItemState.PLANNED))

    async def _begin(self, options: RunOptions, budget: Decimal | None) -> Engine:
        """Return the engine that is at work, or a new one."""
        if budget is not None:
            self._opened()
            await self._batch_context.ledger.limit_spending(budget)
        group = self._opened()  # The block may have been left meanwhile.
        self._check_options(options)
        if self._engine is not None and not self._engine.is_over:
            return self._engine
        engine = Engine(
            batch_context=self._batch_context,
            limits=Limits(most=options.max_in_flight),
            width=options.width,
            files=None if options.output is None else PartFiles(options.output, options.output_format),
            outcomes=self._outcomes,
            is_planning=lambda: self._plans > 0,
            on_follow=self.on_follow,
        )
        group.start_soon(engine.work)
        self._options, self._engine = options, engine
        return engine

    def _check_options(self, options: RunOptions) -> None:
        if self._engine is not None and not self._engine.is_over and options != self._options:
            raise RuntimeError("the batch is running already, with other arguments; go on with the iterator you have")

    @contextlib.contextmanager
    def planning(self) -> Generator[None]:
        """Have an engine wait for the items of a plan that is under way."""
        self._plans += 1
        try:
            yield
        finally:
            self._plans -= 1
            self.wake()

    @contextlib.contextmanager
    def cancelling(self) -> Generator[None]:
        """Start no more runs until the planned items are taken out; what is planned after that is started."""
        self.stop("cancelled")
        yield
        if self._engine is not None:
            self._engine.admission.go_on("cancelled")
            self._engine.wake()

    def wake(self) -> None:
        """Look for items that were planned."""
        if self._engine is not None:
            self._engine.wake()

    def take_up(self, item: BatchItem) -> None:
        """Go on with an item that was settled by a person or a late callback."""
        if self._engine is not None:
            self._engine.take_up(item)

    def resume(self) -> None:
        """Start runs again at once, after a pause."""
        if self._engine is not None:
            self._engine.resumed()

    def stop(self, reason: str) -> None:
        """Start no more runs."""
        if self._engine is not None:
            self._engine.admission.stop(reason)

    async def let_starts_end(self) -> None:
        """Wait for the answers to the starts under way, for as long as the batch's settle times let them take."""
        batch_context, clock = self._batch_context, self._batch_context.clock
        began = clock.monotonic()
        longest = batch_context.times.send_window + batch_context.times.post_timeout
        is_told = False
        while batch_context.sending:
            passed = clock.monotonic() - began
            if passed >= longest:
                for scope in batch_context.sending:
                    scope.cancel()
                return
            if passed >= _SHORT and not is_told:
                is_told = True
                name, count = batch_context.ledger.batch, len(batch_context.sending)
                logger.warning(
                    "batch %r waits for the answers to %s before it is closed",
                    name,
                    counted(count, "start"),
                    extra=facts(batch=name),
                )
            # Never for less than a clock that counts in floats can tell apart.
            await clock.sleep(max(min(longest - passed, 0.05), 0.001))

    async def tell_forgotten(self, error: BaseException | None) -> None:
        """Name what goes on or was not delivered, in the log and in *error*, before a ledger in memory is gone."""
        ledger = self._batch_context.ledger
        try:
            items = await ledger.items(*_TOLD_WHEN_FORGOTTEN)
        except LedgerError:  # What ended the batch says more.
            return
        run_ids = [item.run_id for item in items if item.run_id is not None]
        unknown = [
            f"{item.key!r}" + (f" (perhaps {', '.join(item.candidates)})" if item.candidates else "")
            for item in items
            if item.run_id is None
        ]
        parts: list[str] = []
        if run_ids:
            parts.append(f"{counted(len(run_ids), 'run that goes on', 'runs that go on')}: {', '.join(run_ids)}")
        ended = self._outcomes.ended_runs
        if ended:
            number = counted(len(ended), "run that has ended", "runs that have ended")
            parts.append(f"{number} and whose outcome nobody took: {', '.join(ended)}")
        if unknown:
            parts.append(f"{counted(len(unknown), 'start')} without an answer: {', '.join(unknown)}")
        if not parts:
            return
        what = f"batch {ledger.batch!r} is left with {'; '.join(parts)}; its ledger was in memory"
        if error is not None:
            error.add_note(what)
        logger.warning("%s", what, extra=facts(error, run_ids=[*run_ids, *ended], batch=ledger.batch))
