"""What a batch reads from its ledger and writes to it, whatever database that is in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal

from coreclaw_async._concurrency.clock import Clock
from coreclaw_async._wire.request import worker_in_path
from coreclaw_async.batch._items import BatchItem, BatchItemRun, BatchItemState
from coreclaw_async.batch._ledger import flags
from coreclaw_async.batch._ledger.budget import limit_spending, spending_of
from coreclaw_async.batch._ledger.columns import (
    HALF,
    ITEM_COLUMNS,
    RUN_COLUMNS,
    chunks,
    item_of,
    marks,
    run_of,
    runs_alike,
)
from coreclaw_async.batch._ledger.ownership import Owner, claim
from coreclaw_async.batch._ledger.spending import Spending
from coreclaw_async.batch._ledger.start_queues import StartQueueLedger
from coreclaw_async.batch._ledger.steps import ItemSteps
from coreclaw_async.batch._shard import Shard
from coreclaw_async.batch._store.database import Choice, Database, SqlRow, Statement
from coreclaw_async.batch._totals import Totals
from coreclaw_async.models import Verdict


class BatchLedger:
    """
    The part of a ledger that is one batch's.

    Args:
        owner: Whose it is.
        shard: The part of the batch that is worked on, reported and changed.

    Attributes:
        start_queues: What all batches of the account share.
        steps: How its items go on.
        is_whole: Whether the shard is all of the batch.
    """

    def __init__(self, database: Database, batch: str, owner: Owner, shard: Shard) -> None:
        self.database = database
        self.batch = batch
        self.account = owner.account
        self.start_queues = StartQueueLedger(database, owner.account)
        self.steps = ItemSteps(database, owner.account)
        self._owner = owner
        self.work_on(shard)

    def work_on(self, shard: Shard) -> None:
        """Work on, report and change *shard* of the batch alone from now on."""
        self.is_whole = shard == Shard()
        self._shard = shard
        self._where, self._values = _condition(shard)

    def owns(self, item: BatchItem) -> bool:
        """Return whether *item* is one of those that are worked on: of the batch, and of its shard."""
        shard = self._shard
        is_in_shard = shard.first <= item.position <= shard.last and shard.worker_id in {None, item.worker_id}
        return item.batch == self.batch and is_in_shard

    async def open(self, clock: Clock, seconds: float = math.inf) -> None:
        """
        Open the ledger, and begin the batch where it is new.

        Args:
            clock: Tells the time.
            seconds: For how long to wait for other processes, where a cancellation could not end that.

        Raises:
            LedgerError: It cannot be used, the batch is another account's, or it cannot be renamed now.
        """
        await self.database.open(seconds)
        await self.database.write(
            Statement.of(
                "INSERT INTO batch (name, account, created) VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING",
                self.batch,
                self.account,
                clock.time(),
            )
        )
        await claim(self.database, self.batch, self._owner, clock)

    async def is_half_planned(self) -> bool:
        """
        Return whether the last plan has not come to its end: it is under way, or has broken off.

        Of plans that are made at the same time the last one to write decides.
        """
        return await flags.is_set(self.database, self.batch, "is_half_planned")

    async def counts(self) -> dict[BatchItemState, int]:
        """Return how many items there are in each state."""
        rows = await self.database.read(
            f"SELECT state, COUNT(*) FROM item WHERE batch = ? AND {self._where} GROUP BY state",
            self.batch,
            *self._values,
        )
        found = {BatchItemState(state): int(count) for state, count in rows}
        return {state: found.get(state, 0) for state in BatchItemState}

    async def verdicts(self) -> dict[Verdict, int]:
        """Return how many items there are of each verdict."""
        rows = await self.database.read(
            "SELECT verdict, COUNT(*) FROM item WHERE batch = ? AND verdict IS NOT NULL "
            f"AND {self._where} GROUP BY verdict",
            self.batch,
            *self._values,
        )
        found = {Verdict(verdict): int(count) for verdict, count in rows}
        return {verdict: found.get(verdict, 0) for verdict in Verdict}

    async def going_on(self) -> int:
        """Return how many items of the batch, all of its shards, have a run that goes on, or may have."""
        sql = "SELECT COUNT(*) FROM item WHERE batch = ? AND state IN ('intent', 'submitted')"
        ((count,),) = await self.database.read(sql, self.batch)
        return int(count)

    async def totals(self) -> Totals:
        """Return what the runs have cost, the rows they have found, and how many runs there were."""
        sql = (
            f"SELECT worker_id, day, state, cost, COUNT(*), SUM(result_count / {HALF}), SUM(result_count % {HALF}), "
            "COUNT(result_count), SUM(CASE WHEN state = 'done' AND result_count = 0 THEN 1 ELSE 0 END) "
            "FROM run WHERE batch = ?"
        )
        values: SqlRow = (self.batch,)
        if not self.is_whole:
            sql += f" AND key IN (SELECT key FROM item WHERE batch = ? AND {self._where})"
            values += (self.batch, *self._values)
        sql += " GROUP BY worker_id, day, state, cost"
        return Totals.of([runs_alike(row) for row in await self.database.read(sql, *values)])

    async def shards(self, size: int, *, is_unwritten: bool = False) -> list[Shard]:
        """
        Return what is planned or open in parts of at most *size* items, each of one worker.

        Args:
            size: Items of a part.
            is_unwritten: Whether what has ended, and whose rows are in no file, belongs to it.
        """
        states = "state IN ('planned', 'intent', 'submitted')"
        if is_unwritten:
            states = f"({states} OR (path IS NULL AND (state = 'done' OR (state = 'failed' AND result_count > 0))))"
        rows = await self.database.read(
            "SELECT worker_id, MIN(position), MAX(position) FROM ("
            "SELECT worker_id, position, "
            "(ROW_NUMBER() OVER (PARTITION BY worker_id ORDER BY position) - 1) / ? AS part "
            f"FROM item WHERE batch = ? AND {states} AND {self._where}"
            ") AS numbered GROUP BY worker_id, part ORDER BY worker_id, part",
            size,
            self.batch,
            *self._values,
        )
        return [Shard(worker_id=worker_id, first=int(first), last=int(last)) for worker_id, first, last in rows]

    async def workers(self, *states: BatchItemState) -> list[str]:
        """Return the workers, as planned, of which items are in one of *states*."""
        rows = await self.database.read(
            f"SELECT DISTINCT worker_id FROM item WHERE batch = ? AND state IN ({marks(states)}) "
            f"AND {self._where} ORDER BY worker_id",
            self.batch,
            *(state.value for state in states),
            *self._values,
        )
        return [worker_id for (worker_id,) in rows]

    async def next_planned(self, worker_ids: Sequence[str], most: int) -> list[tuple[BatchItem, str]]:
        """Return the next items of a start queue with their inputs as JSON."""
        rows: list[SqlRow] = []
        for worker_id in worker_ids:
            rows += await self.database.read(
                f"SELECT {ITEM_COLUMNS}, input FROM item WHERE batch = ? AND state = 'planned' AND worker_id = ? "
                f"AND {self._where} ORDER BY priority DESC, position LIMIT ?",
                self.batch,
                worker_id,
                *self._values,
                most,
            )
        found = [(item_of(row[:-1]), str(row[-1])) for row in rows]
        return sorted(found, key=lambda pair: (-pair[0].priority, pair[0].position))[:most]

    async def items(
        self,
        *states: BatchItemState,
        worker_id: str | None = None,
        after: BatchItem | None = None,
        has_unknown_cost: bool = False,
        most: int | None = None,
    ) -> list[BatchItem]:
        """
        Return items in the order of the plan.

        Args:
            *states: Only those in one of these states.
            worker_id: Only those of this worker, as planned; None for all.
            after: Only those behind this item.
            has_unknown_cost: Only those with a run whose cost is not known.
            most: Most items to return; None for all.
        """
        sql, values = f"SELECT {ITEM_COLUMNS} FROM item WHERE batch = ? AND {self._where}", [self.batch, *self._values]
        if states:
            sql += f" AND state IN ({marks(states)})"
            values += [state.value for state in states]
        if worker_id is not None:
            sql += " AND worker_id = ?"
            values.append(worker_id)
        if after is not None:
            # Several processes that planned at once with an older version may have given a position twice.
            sql += " AND position >= ? AND (position > ? OR key > ?)"
            values += [after.position, after.position, after.key]
        if has_unknown_cost:
            sql += " AND cost IS NULL AND run_id IS NOT NULL"
        sql += " ORDER BY position, key"
        if most is not None:
            sql += f" LIMIT {most:d}"
        return [item_of(row) for row in await self.database.read(sql, *values)]

    async def item(self, key: str) -> BatchItem | None:
        """Return the item with *key*, of whatever shard, or None."""
        rows = await self.database.read(f"SELECT {ITEM_COLUMNS} FROM item WHERE batch = ? AND key = ?", self.batch, key)
        return item_of(rows[0]) if rows else None

    async def is_paused(self) -> bool:
        """Return whether no run of the batch may be started, in any process."""
        return await flags.is_set(self.database, self.batch, "is_paused")

    async def pause(self, *, is_paused: bool) -> None:
        """Have no process start a run of the batch any more, or let them again."""
        await self.database.write(*flags.setting(self.batch, "is_paused", to=is_paused))

    async def spending(self) -> Spending | None:
        """Return where the batch stands with its budget, or None where it has none."""
        return await spending_of(self.database, self.batch)

    async def limit_spending(self, max_spend: Decimal) -> None:
        """Have the runs of the batch, all of its shards, cost *max_spend* at most."""
        self.steps.has_budget = True
        await limit_spending(self.database, self.batch, max_spend)

    async def cancel(self, *, abort: bool) -> int:
        """
        Take all planned items of the shard out, and return how many that were; the others are not started again.

        Whoever starts or follows one of these finds the request in the ledger when it writes down what came next.
        """
        ask = Statement.of(
            f"UPDATE item SET cancel_requested = ? WHERE batch = ? AND state IN ('intent', 'submitted', 'ambiguous') "
            f"AND cancel_requested < ? AND {self._where}",
            2 if abort else 1,
            self.batch,
            2 if abort else 1,
            *self._values,
        )
        return await self._change_all("state = 'planned'", BatchItemState.CANCELLED, "cancelled", ask)

    async def plan_failed_again(self) -> int:
        """
        Plan all items of the shard again whose run has failed, and return how many that were.

        Without those of which a ledger of version 1 says that their run could not be read: it may have succeeded.
        """
        failed = "state = 'failed' AND run_id IS NOT NULL AND COALESCE(error, '') NOT LIKE 'its run cannot be read%'"
        return await self._change_all(failed, BatchItemState.PLANNED, None)

    async def _change_all(self, condition: str, state: BatchItemState, error: str | None, *further: Statement) -> int:
        where = f"batch = ? AND {condition} AND {self._where}"
        change = Statement.of(
            f"UPDATE item SET state = ?, error = ?, run_id = NULL, cancel_requested = 0 WHERE {where}",
            state.value,
            error,
            self.batch,
            *self._values,
        )
        counts: list[int] = []

        def count(rows: Sequence[SqlRow]) -> Sequence[Statement]:
            counts[:] = [int(rows[0][0])]
            return (change, *further)

        await self.database.write(
            *(Statement.of(sql) for sql in self.database.LOCK_ITEMS),
            Choice(f"SELECT COUNT(*) FROM item WHERE {where}", (self.batch, *self._values), count),
        )
        return counts[0]

    async def history(self, key: str) -> list[BatchItemRun]:
        """Return the runs that the item has had, oldest first."""
        return (await self.histories([key])).get(key, [])

    async def histories(self, keys: Sequence[str]) -> dict[str, list[BatchItemRun]]:
        """Return the runs that each of the items has had, oldest first; those without a run are left out."""
        found: dict[str, list[BatchItemRun]] = {}
        for chunk in chunks(keys):
            rows = await self.database.read(
                f"SELECT key, {RUN_COLUMNS} FROM run WHERE batch = ? AND key IN ({marks(chunk)}) ORDER BY attempt",
                self.batch,
                *chunk,
            )
            for key, *run in rows:
                found.setdefault(key, []).append(run_of(tuple(run)))
        return found

    async def inputs(self, keys: Sequence[str]) -> dict[str, str]:
        """Return the inputs of the items as JSON."""
        found: dict[str, str] = {}
        for chunk in chunks(keys):
            sql = f"SELECT key, input FROM item WHERE batch = ? AND key IN ({marks(chunk)})"
            found.update((key, text) for key, text in await self.database.read(sql, self.batch, *chunk))
        return found


def _condition(shard: Shard) -> tuple[str, SqlRow]:
    """Return what a query for the items of *shard* must ask for, and its values."""
    if shard == Shard():
        return "1 = 1", ()
    if shard.worker_id is None:
        return "position BETWEEN ? AND ?", (shard.first, shard.last)
    return "position BETWEEN ? AND ? AND worker_id = ?", (shard.first, shard.last, worker_in_path(shard.worker_id))
