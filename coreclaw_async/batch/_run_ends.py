"""The end of a run: its cost and rows are read, then its item ends, or waits for another run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

import anyio
import anyio.to_thread
import attrs

from coreclaw_async import errors
from coreclaw_async._concurrency.calls import belonging_to
from coreclaw_async._concurrency.groups import task_group
from coreclaw_async._frames.reading import UnfitRowsError
from coreclaw_async._logs import facts, logger
from coreclaw_async._operations.assess import RowsRead, verdict_of
from coreclaw_async._operations.run_rows import RunRows
from coreclaw_async._operations.runs import read_run
from coreclaw_async._polling.tracked_run import ends_every_wait
from coreclaw_async.batch._context import BatchContext
from coreclaw_async.batch._item_steps import to_ended, to_retry, with_cost, with_file
from coreclaw_async.batch._items import BatchItem, BatchItemState, IllegalStepError
from coreclaw_async.batch._ledger.spending import known_cost
from coreclaw_async.batch._outcomes import Outcomes
from coreclaw_async.batch._patience import is_passing
from coreclaw_async.batch._row_files import PartFile, PartFiles
from coreclaw_async.events import BatchColumnsChanged, RunChanged
from coreclaw_async.models import Run, RunOutcome

_AT_ONCE = 8
# Pauses before wrong rows are read again; an outage is waited for with all the patience of the batch.
_READ_AGAIN = (2.0, 5.0, 15.0)
_COST_SECONDS = 10.0
# With a budget, a missing cost keeps other runs from being started.
_COST_AGAIN = (2.0, 5.0, 15.0)
_READ_AT_ONCE = 1_000
_ENDED = (BatchItemState.DONE, BatchItemState.FAILED)


@attrs.frozen
class WrittenRows:
    """The rows of a run in a file, and what was seen of them."""

    path: Path
    rows: RowsRead


@attrs.define(kw_only=True, eq=False)
class RunEnds:
    """
    Brings items whose runs have ended to their end.

    Attributes:
        files: Where rows go, or None.
        outcomes: Where each end is reported.
        may_retry: Returns whether the run of an item may be followed by another one.
        on_retry: Called when an item waits for another run.
        left: Why items stay open, by key.
    """

    batch_context: BatchContext
    files: PartFiles | None
    outcomes: Outcomes
    may_retry: Callable[[BatchItem, Run], bool]
    on_retry: Callable[[], None]
    left: dict[str, str] = attrs.field(factory=dict[str, str], init=False)
    _told_columns: set[str] = attrs.field(factory=set[str], init=False)
    _slots: anyio.CapacityLimiter = attrs.field(factory=lambda: anyio.CapacityLimiter(_AT_ONCE), init=False)

    async def end(self, item: BatchItem, run: Run | None, error: errors.CoreClawError | None) -> None:
        """
        End *item*, whose run has ended or can no longer be seen.

        Raises:
            LedgerError: The end cannot be recorded.
            AuthenticationError: The service refuses the key.
            OSError: The rows cannot be written.
        """
        if run is None or error is not None:
            # A run that cannot be seen has not failed: it may still be running, and another one would be paid for too.
            self.leave(item, f"its run cannot be read: {error}", run=run)
            return
        try:
            with belonging_to((item.batch, item.key)):
                run = await self._with_cost(run)
                written = await self._write_rows(item, run)
        except errors.CoreClawError as failure:
            if ends_every_wait(failure):
                raise
            self.leave(item, _why_unwritten(failure), run=run)
            return
        await self._record(item, run, written)

    def leave(self, item: BatchItem, why: str, *, run: Run | None = None) -> None:
        """Leave *item* as it is, and report why."""
        self.left[item.key] = why
        self.outcomes.tell(item, run=run, error=why)

    async def write_earlier(self) -> None:
        """Write the rows of items that ended while no files were asked for, or whose files are gone."""
        after: BatchItem | None = None
        while items := await self.batch_context.ledger.items(*_ENDED, after=after, most=_READ_AT_ONCE):
            after = items[-1]
            unwritten = await anyio.to_thread.run_sync(_without_file, items)
            async with task_group() as group:
                for item in unwritten:
                    group.start_soon(self._write_later, item)

    async def read_costs(self) -> None:
        """
        Read the costs that were unknown when their runs ended, if there is a budget.

        Raises:
            CoreClawError: The ledger cannot be used, or nobody can wait any longer.
        """
        if await self.batch_context.ledger.spending() is None:
            return
        for item in await self.batch_context.ledger.items(*_ENDED, has_unknown_cost=True, most=_READ_AT_ONCE):
            try:
                run = await self._read(item)
            except errors.CoreClawError as error:
                if ends_every_wait(error):
                    raise
                told = facts(error, run_id=item.run_id, batch=item.batch, key=item.key)
                logger.debug("the cost of run %s could not be read: %s", item.run_id, error, extra=told)
                continue
            cost = known_cost(run.usage) if run.is_finished else None
            if cost is not None:
                with contextlib.suppress(IllegalStepError):  # Another process has done so.
                    await self.batch_context.step(item, with_cost(item, cost))
                    self.batch_context.emit(RunChanged(run=run, previous=str(run.status)))

    async def _read(self, item: BatchItem) -> Run:
        async def read() -> Run:
            async with self._slots:
                return await read_run(self.batch_context.context, item.run_id or "")

        return await self.batch_context.patience.call(read)

    async def _write_later(self, item: BatchItem) -> None:
        try:
            run = await self._read(item)
            written = await self._write_rows(item, run)
        except errors.CoreClawError as error:
            if ends_every_wait(error):
                raise
            self.left[item.key] = _why_unwritten(error)
            return
        if written is not None:  # pragma: no branch - it has rows, or its run has succeeded
            after = with_file(item, written.path, written.rows.count, verdict_of(run, written.rows))
            with contextlib.suppress(IllegalStepError):  # Another process has done so, or it is to have another run.
                await self.batch_context.step(item, after)

    async def _record(self, item: BatchItem, run: Run, written: WrittenRows | None) -> None:
        is_success = run.outcome is RunOutcome.SUCCEEDED
        ended = to_ended(
            item,
            is_success=is_success,
            result_count=None if run.result_count is None or run.result_count < 0 else run.result_count,
            cost=known_cost(run.usage),
            error=None if is_success else why_failed(run),
            at=self.batch_context.service_time(),
            path=None if written is None else written.path,
            row_count=None if written is None else written.rows.count,
            verdict=verdict_of(run, None if written is None else written.rows),
        )
        is_retried = not is_success and await self._is_retried(item, run)
        try:
            if is_retried:
                after = await self.batch_context.step(item, to_retry(item, ended.error or ""), ended=ended)
            else:
                after = await self.batch_context.step(item, ended)
        except IllegalStepError:  # Another process works on this batch too, and was quicker.
            found = await self.batch_context.ledger.item(item.key)
            if found is not None and found.run_id == item.run_id:  # pragma: no branch - or it has another run by now
                self.outcomes.tell(found, run=run)
            return
        told = facts(run_id=run.run_id, status=str(run.status), batch=item.batch, key=item.key)
        logger.info("run %s has ended: %s", run.run_id, run.status, extra=told)
        if after.state is BatchItemState.PLANNED:
            self.on_retry()
        else:
            self.outcomes.tell(after, run=run)

    async def _is_retried(self, item: BatchItem, run: Run) -> bool:
        if not item.retries or not self.may_retry(item, run):
            return False
        runs = await self.batch_context.ledger.history(item.key)
        now = await self.batch_context.ledger.item(item.key)
        failed = sum(1 for earlier in runs if earlier.state is BatchItemState.FAILED)
        return failed < item.retries and now is not None and not now.cancel_requested

    async def _with_cost(self, run: Run) -> Run:
        """Return *run* with its cost, which the service may report shortly after its end."""
        if known_cost(run.usage) is not None or not run.is_finished:
            return run
        waits = iter(_COST_AGAIN if await self.batch_context.ledger.spending() is not None else ())
        while True:
            try:
                deadline = self.batch_context.clock.monotonic() + _COST_SECONDS
                found = await read_run(self.batch_context.context, run.run_id, deadline=deadline)
            except errors.CoreClawError as error:
                if ends_every_wait(error):
                    raise
                told = facts(error, run_id=run.run_id)
                logger.debug("the cost of run %s could not be read: %s", run.run_id, error, extra=told)
            else:
                run = found if found.is_finished else run
                self.batch_context.emit(RunChanged(run=run, previous=str(run.status)))  # It may have a cost now.
            wait = next(waits, None)
            if wait is None or known_cost(run.usage) is not None:
                return run
            await self.batch_context.clock.sleep(wait)

    async def _write_rows(self, item: BatchItem, run: Run) -> WrittenRows | None:
        files = self.files
        if files is None or item.run_id is None:
            return None
        if run.outcome is not RunOutcome.SUCCEEDED and not run.result_count:
            return None
        # What is known of the run says how many rows there are; one that stays ``aborting`` gives what it has.
        ended = attrs.evolve(run, run_id=item.run_id)
        waits = iter(_READ_AGAIN)

        async def write() -> WrittenRows:
            async with self._slots:
                read, partial = RowsRead(), not ended.is_finished
                rows = RunRows(self.batch_context.context, ended, partial=partial, keeps_numbers=files.keeps_numbers)
                part = await files.write(ended.run_id, read.reading(rows.pages()), rows.headers)
                self._tell_changes(item, part)
                return WrittenRows(part.path, read)

        while True:
            try:
                return await self.batch_context.patience.call(write)
            except errors.CoreClawError as error:
                wait = next(waits, None)
                is_final = isinstance(error, UnfitRowsError) or ends_every_wait(error)
                if wait is None or is_passing(error) or is_final:
                    raise
                told = facts(error, run_id=item.run_id, batch=item.batch, key=item.key)
                logger.debug(
                    "the rows of run %s could not be read and are read again: %s", item.run_id, error, extra=told
                )
                await self.batch_context.clock.sleep(wait)

    def _tell_changes(self, item: BatchItem, part: PartFile) -> None:
        """Tell, by an event and once a column in the log, which columns have another type than their values."""
        if not part.changed_columns:
            return
        self.batch_context.emit(
            BatchColumnsChanged(
                batch=item.batch,
                key=item.key,
                run_id=item.run_id or "",
                path=part.path,
                columns=part.changed_columns,
            )
        )
        new = {name: why for name, why in part.changed_columns.items() if name not in self._told_columns}
        self._told_columns.update(new)
        if new:
            named = "; ".join(f"{name!r} ({why})" for name, why in new.items())
            logger.warning(
                "these columns are strings in %s, and may be in other files of the batch %r, as their values have no "
                "common type: %s",
                part.path.name,
                item.batch,
                named,
                extra=facts(run_id=item.run_id, batch=item.batch, key=item.key, columns=list(new)),
            )


def _why_unwritten(error: errors.CoreClawError) -> str:
    if isinstance(error, UnfitRowsError):
        return f"its rows could not be written: {error}; files of output_format='jsonl' hold any rows"
    return f"its rows could not be read: {error}"


def _without_file(items: Sequence[BatchItem]) -> list[BatchItem]:
    """Return those of *items* whose runs have rows that are in no file."""
    return [
        item
        for item in items
        if item.run_id is not None
        and (item.state is BatchItemState.DONE or item.result_count)
        and (item.path is None or not item.path.exists())
    ]


def why_failed(run: Run) -> str:
    """Return in one line why a run did not succeed."""
    if not run.is_finished:
        return "its run is still aborting, and may not have ended"
    return run.error_message or f"its run ended as {run.status}"
