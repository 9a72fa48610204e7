"""How an item goes on from one state to the next: in one write, and only if nobody else was quicker."""

from __future__ import annotations

import attrs

from coreclaw_async.batch._item_steps import after_cancel
from coreclaw_async.batch._items import BatchItem, BatchItemState, IllegalStepError
from coreclaw_async.batch._ledger.budget import charge, spending_of
from coreclaw_async.batch._ledger.columns import (
    ITEM_CHANGES,
    RUN_CHANGES,
    RUN_INSERTED,
    item_changes,
    marks,
    run_changes,
    run_values,
)
from coreclaw_async.batch._ledger.flags import is_set
from coreclaw_async.batch._ledger.ownership import account_of, wrong_account
from coreclaw_async.batch._ledger.spending import OverBudgetError
from coreclaw_async.batch._store.database import Database, StaleError, Statement
from coreclaw_async.errors import LedgerError


class PausedError(Exception):
    """An item was not started because its batch is paused; nothing was written."""


class ItemSteps:
    """
    The steps of the items of an account.

    Attributes:
        has_budget: Whether a batch was seen to have a budget, so that steps look at it first.
    """

    def __init__(self, database: Database, account: str) -> None:
        self._database = database
        self._account = account
        self.has_budget = False

    async def write(
        self, before: BatchItem, after: BatchItem, *, ended: BatchItem | None = None, start_queue: str | None = None
    ) -> BatchItem:
        """
        Write down that an item has gone on, if it still is as it was.

        Args:
            before: What it was.
            after: What it is.
            ended: What it was between, where it waits for another run: how its run has ended.
            start_queue: The start queue that must be held at that moment, or None.

        Raises:
            StartQueueLostError: The start queue is no longer held.
            IllegalStepError: It is not: somebody else was quicker, or its run is another item's.
            OverBudgetError: Its start is not covered by the budget.
            PausedError: It would be started, and its batch is paused.
            LedgerError: It cannot be written down, or the batch was given another account meanwhile.

        Returns:
            What it is; another thing than *after* where it was cancelled meanwhile.
        """
        while True:
            try:
                await self._try(before, after, ended or after, start_queue)
            except IllegalStepError:
                requested = await self._cancel_requested(before)
                if requested is None or requested == before.cancel_requested:
                    raise
                after, ended = after_cancel(after, requested, before, ended), None
                before = attrs.evolve(before, cancel_requested=requested)
            else:
                return after

    async def _cancel_requested(self, item: BatchItem) -> int | None:
        """Return whether an item was cancelled, if it is as it was in all else; else None."""
        rows = await self._database.read(
            "SELECT cancel_requested FROM item WHERE batch = ? AND key = ? AND state = ? AND attempt = ?",
            item.batch,
            item.key,
            item.state.value,
            item.attempt,
        )
        return rows[0][0] if rows else None

    async def _try(self, before: BatchItem, after: BatchItem, ended: BatchItem, start_queue: str | None) -> None:
        """Write a step, first as if the batch had no budget where none was ever seen to have one."""
        changes = [self._change(before, after), *self._change_run(before, ended)]
        if not self.has_budget:
            try:
                await self._database.write(_no_budget(changes[0], after.batch), *changes[1:], start_queue=start_queue)
            except StaleError:
                self.has_budget = await spending_of(self._database, after.batch) is not None
                if not self.has_budget:
                    raise await self._why_not(before, after) from None
            else:
                return
        try:
            await self._database.write(*charge(before, ended), *changes, start_queue=start_queue)
        except OverBudgetError:
            raise
        except StaleError:
            raise await self._why_not(before, after) from None

    def _change(self, before: BatchItem, after: BatchItem) -> Statement:
        """Return what changes the row of an item, if all holds that the step needs."""
        sql = (
            f"UPDATE item SET {ITEM_CHANGES} WHERE batch = ? AND key = ? AND state = ? AND attempt = ? "
            "AND cancel_requested = ?"
        )
        values = [*item_changes(after), before.batch, before.key, before.state.value, before.attempt]
        values.append(before.cancel_requested)
        if after.state is BatchItemState.INTENT:
            sql += " AND EXISTS (SELECT 1 FROM batch WHERE name = ? AND account = ? AND is_paused = 0)"
            values += [after.batch, self._account]
        if after.run_id is not None and after.run_id != before.run_id:
            sql += " AND NOT EXISTS (SELECT 1 FROM run WHERE run_id = ? AND account <> ?)"
            values += [after.run_id, self._account]
        return Statement.of(sql, *values, changes=1)

    def _change_run(self, before: BatchItem, after: BatchItem) -> list[Statement]:
        """Return what keeps the run of an item that goes on from *before* to *after*."""
        if after.run_id is None or after.how is None:
            return []
        if after.run_id == before.run_id:
            sql = f"UPDATE run SET {RUN_CHANGES} WHERE run_id = ? AND batch = ? AND key = ?"
            return [Statement.of(sql, *run_changes(after), after.run_id, after.batch, after.key)]
        values = (self._account, *run_values(after))
        return [Statement.of(f"INSERT INTO run (account, {RUN_INSERTED}) VALUES ({marks(values)})", *values)]

    async def _why_not(self, before: BatchItem, after: BatchItem) -> IllegalStepError | PausedError | LedgerError:
        if after.state is BatchItemState.INTENT:
            account = await account_of(self._database, after.batch)
            if account != self._account:
                return wrong_account(after.batch, account, self._account)
            if await is_set(self._database, after.batch, "is_paused"):
                return PausedError(f"the batch {after.batch!r} is paused")
        return IllegalStepError(
            f"item {before.key!r} is no longer {before.state}, or run {after.run_id} is another item's"
        )


def _no_budget(change: Statement, batch: str) -> Statement:
    """Return *change*, made only if the batch has no budget."""
    sql = f"{change.sql} AND NOT EXISTS (SELECT 1 FROM budget WHERE batch = ?)"
    return Statement.of(sql, *change.rows[0], batch, changes=1)
