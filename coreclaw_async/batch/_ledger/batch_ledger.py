"""What a batch reads from its ledger and writes to it, whatever database that is in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

import attrs

from coreclaw_async._concurrency.clock import Clock
from coreclaw_async.batch._items import BatchItem, BatchItemRun, BatchItemState, IllegalStepError
from coreclaw_async.batch._ledger.columns import (
    CHANGES,
    COLUMNS,
    HALF,
    PLANNED,
    RUN_COLUMNS,
    bounded,
    changing_values,
    day_of,
    item_of,
    run_of,
    runs_alike,
    text_of,
)
from coreclaw_async.batch._ledger.ownership import Owner, account_of, claim, wrong_account
from coreclaw_async.batch._ledger.spending import OverBudgetError, Spending, exact_sum
from coreclaw_async.batch._ledger.start_queues import StartQueueLedger
from coreclaw_async.batch._shard import Shard
from coreclaw_async.batch._specs import PlannedSpec
from coreclaw_async.batch._store.database import Choice, Database, SqlRow, StaleError, Statement, Step
from coreclaw_async.batch._totals import Totals
from coreclaw_async.errors import BatchConflictError, LedgerError

_BUDGET = "max_spend, spent, highest, known_costs, open_runs, unknown_costs"
_NO_BUDGET = "NOT EXISTS (SELECT 1 FROM budget WHERE batch = ?)"
_NOT_PAUSED = "NOT EXISTS (SELECT 1 FROM batch WHERE name = ? AND is_paused = 1)"
_MOST_VALUES = 500


class PausedError(Exception):
    """An item was not started because its batch is paused; nothing was written."""


class BatchLedger:
    """
    The part of a ledger that is one batch's.

    Args:
        database: Where it is.
        batch: Name of the batch.
        owner: Whose it is.
        shard: The part of the batch that is worked on, reported and changed.

    Attributes:
        start_queues: What all batches of the account share.
        is_whole: Whether the shard is all of the batch.
    """

    def __init__(self, database: Database, batch: str, owner: Owner, shard: Shard) -> None:
        self.database = database
        self.batch = batch
        self.account = owner.account
        self.start_queues = StartQueueLedger(database, owner.account)
        self._owner = owner
        self.is_whole = shard == Shard()
        self._has_budget = False
        self._shard = shard
        self._where, self._values = shard.condition()

    def owns(self, item: BatchItem) -> bool:
        """Return whether *item* is one of those that are worked on: of the batch, and of its shard."""
        return item.batch == self.batch and self._shard.includes(item)

    async def open(self, clock: Clock) -> None:
        """
        Open the ledger, and begin the batch where it is new.

        Raises:
            LedgerError: It cannot be used, the batch is another account's, or it cannot be renamed now.
        """
        await self.database.open()
        await self.database.write(
            Statement.of(
                "INSERT INTO batch (name, account, created) VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING",
                self.batch,
                self.account,
                clock.time(),
            )
        )
        await claim(self.database, self.batch, self._owner, clock)

    async def plan(self, specs: Sequence[PlannedSpec], *, is_half_planned: bool) -> int:
        """
        Add the items that are not there yet behind those that are, and return how many that were.

        Args:
            specs: What is planned.
            is_half_planned: Whether the batch is half planned then, which becomes durable together with the items.

        Raises:
            BatchConflictError: One of them is there with another input; none is added then.
        """
        insert = (
            f"INSERT INTO item ({', '.join(PLANNED)}, input, state, attempt, candidates) "
            f"VALUES ({_marks((*PLANNED, 'input'))}, 'planned', 0, '[]')"
        )
        while True:
            present = await self._hashes(specs)
            added = [spec for spec in specs if spec.key not in present]

            def behind_the_last(rows: list[SqlRow], added: Sequence[PlannedSpec] = added) -> list[Statement]:
                first = 0 if rows[0][0] is None else int(rows[0][0]) + 1
                return [Statement(insert, [self._planned(spec, first + number) for number, spec in enumerate(added)])]

            last = Choice("SELECT MAX(position) FROM item WHERE batch = ?", (self.batch,), behind_the_last)
            # The row of the batch comes first: plans of several processes take turns there, and never wait in a circle.
            steps = [*self._mark(is_half_planned=is_half_planned), *([last] if added else [])]
            try:
                await self.database.write(*steps)
            except StaleError:  # Another plan has added one of the keys meanwhile, perhaps with another input.
                continue
            return len(added)

    async def mark_half_planned(self) -> None:
        """Record that a plan has begun, so that items may be missing until one has come to its end."""
        await self.database.write(*self._mark(is_half_planned=True))

    async def is_half_planned(self) -> bool:
        """
        Return whether the last plan has not come to its end: it is under way, or has broken off.

        Of plans that are made at the same time the last one to write decides.
        """
        rows = await self.database.read("SELECT is_half_planned FROM batch WHERE name = ?", self.batch)
        return bool(rows and rows[0][0])

    def _mark(self, *, is_half_planned: bool) -> list[Step]:
        return self._changed("is_half_planned", is_half_planned)

    def _changed(self, column: str, value: bool) -> list[Step]:  # noqa: FBT001 - the value of a column
        """Return what changes the row of the batch, and undoes its write where the batch was pruned."""

        def must_be_there(rows: list[SqlRow]) -> Sequence[Statement]:
            if not rows:
                raise LedgerError(f"the batch {self.batch!r} was pruned while it was open; open it again")
            return []

        return [
            Statement.of(f"UPDATE batch SET {column} = ? WHERE name = ?", int(value), self.batch),
            Choice("SELECT name FROM batch WHERE name = ?", (self.batch,), must_be_there),
        ]

    def _planned(self, spec: PlannedSpec, position: int) -> SqlRow:
        return (
            self.batch, spec.key, position, spec.worker_id, spec.version, spec.priority, spec.retries,
            spec.run_timeout, spec.sha256, spec.input,
        )  # fmt: skip

    async def _hashes(self, specs: Sequence[PlannedSpec]) -> set[str]:
        """Return which of the keys are there; none may be there with another input."""
        given = {spec.key: spec.sha256 for spec in specs}
        present: set[str] = set()
        for keys in _chunks(given):
            sql = f"SELECT key, input_sha256 FROM item WHERE batch = ? AND key IN ({_marks(keys)})"
            for key, sha256 in await self.database.read(sql, self.batch, *keys):
                if sha256 != given[key]:
                    raise BatchConflictError(
                        f"key {key!r} of batch {self.batch!r} was planned with another worker, version or input: "
                        f"{sha256[:16]} then, {given[key][:16]} now",
                        key=key,
                        planned=sha256,
                        given=given[key],
                    )
                present.add(key)
        return present

    async def counts(self) -> dict[BatchItemState, int]:
        """Return how many items there are in each state."""
        rows = await self.database.read(
            f"SELECT state, COUNT(*) FROM item WHERE batch = ? AND {self._where} GROUP BY state",
            self.batch,
            *self._values,
        )
        found = {BatchItemState(state): int(count) for state, count in rows}
        return {state: found.get(state, 0) for state in BatchItemState}

    async def going_on(self) -> int:
        """Return how many items of the batch, all of its shards, have a run that goes on, or may have."""
        sql = "SELECT COUNT(*) FROM item WHERE batch = ? AND state IN ('intent', 'submitted')"
        ((count,),) = await self.database.read(sql, self.batch)
        return int(count)

    async def totals(self) -> Totals:
        """Return what the runs have cost, the rows they have found, and how many runs there were."""
        sql = (
            f"SELECT worker_id, day, state, cost, COUNT(*), SUM(result_count / {HALF}), SUM(result_count % {HALF}) "
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
            f"SELECT DISTINCT worker_id FROM item WHERE batch = ? AND state IN ({_marks(states)}) "
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
                f"SELECT {COLUMNS}, input FROM item WHERE batch = ? AND state = 'planned' AND worker_id = ? "
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
        sql, values = f"SELECT {COLUMNS} FROM item WHERE batch = ? AND {self._where}", [self.batch, *self._values]
        if states:
            sql += f" AND state IN ({_marks(states)})"
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
        rows = await self.database.read(f"SELECT {COLUMNS} FROM item WHERE batch = ? AND key = ?", self.batch, key)
        return item_of(rows[0]) if rows else None

    async def step(
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
            StartQueueLostError: The start queue is not held any more.
            IllegalStepError: It is not: somebody else was quicker, or its run is another item's.
            OverBudgetError: Its start is not covered by the budget.
            PausedError: It would be started, and its batch is paused.
            LedgerError: It cannot be written down, or the batch was given another account meanwhile.

        Returns:
            What it is; another thing than *after* where it was cancelled meanwhile.
        """
        while True:
            try:
                return await self._step(before, after, ended, start_queue)
            except IllegalStepError:
                requested = await self._cancel_requested(before)
                if requested is None or requested == before.cancel_requested:
                    raise
                after, ended = after.cancelled_meanwhile(requested, before, ended), None
                before = attrs.evolve(before, cancel_requested=requested)

    async def _cancel_requested(self, item: BatchItem) -> int | None:
        """Return whether an item was cancelled, if it is as it was in all else; else None."""
        rows = await self.database.read(
            "SELECT cancel_requested FROM item WHERE batch = ? AND key = ? AND state = ? AND attempt = ?",
            item.batch,
            item.key,
            item.state.value,
            item.attempt,
        )
        return rows[0][0] if rows else None

    async def _step(
        self, before: BatchItem, after: BatchItem, ended: BatchItem | None, start_queue: str | None
    ) -> BatchItem:
        try:
            if not self._has_budget:
                await self.database.write(
                    *self._change(before, after, _NO_BUDGET, after.batch),
                    *self._runs(before, ended or after),
                    start_queue=start_queue,
                )
                return after
        except StaleError:
            self._has_budget = await self.spending(after.batch) is not None
            if not self._has_budget:
                raise await self._why_not(before, after) from None
        try:
            await self.database.write(
                # Nobody else changes the budget between the look at it and its change.
                Statement.of("UPDATE budget SET spent = spent WHERE batch = ?", after.batch),
                Choice(
                    f"SELECT {_BUDGET} FROM budget WHERE batch = ?",
                    (after.batch,),
                    lambda rows: [_charge(before, after, ended, row) for row in rows],
                ),
                *self._change(before, after, "1 = 1"),
                *self._runs(before, ended or after),
                start_queue=start_queue,
            )
        except OverBudgetError:
            raise
        except StaleError:
            raise await self._why_not(before, after) from None
        return after

    def _change(self, before: BatchItem, after: BatchItem, condition: str, *values: object) -> list[Statement]:
        if after.state is BatchItemState.INTENT:
            condition += " AND EXISTS (SELECT 1 FROM batch WHERE name = ? AND account = ?)"
            values += (after.batch, self.account)
        if after.run_id is not None and after.run_id != before.run_id:
            condition += " AND NOT EXISTS (SELECT 1 FROM run WHERE run_id = ? AND account <> ?)"
            values += (after.run_id, self.account)
        sql = (
            f"UPDATE item SET {CHANGES} WHERE batch = ? AND key = ? AND state = ? AND attempt = ? "
            f"AND cancel_requested = ? AND {condition}"
        )
        where = (before.batch, before.key, before.state.value, before.attempt, before.cancel_requested, *values)
        if after.state is BatchItemState.INTENT:
            sql, where = f"{sql} AND {_NOT_PAUSED}", (*where, before.batch)
        return [Statement(sql, [(*changing_values(after), *where)], changes=1)]

    def _runs(self, before: BatchItem, after: BatchItem) -> list[Statement]:
        """Return what keeps the run of an item that goes on from *before* to *after*."""
        if after.run_id is None or after.how is None:
            return []
        if after.run_id != before.run_id:
            return [
                Statement.of(
                    "INSERT INTO run (account, run_id, batch, key, attempt, how, state, worker_id, submitted_at, day) "
                    f"VALUES ({_marks(range(10))})",
                    self.account,
                    after.run_id,
                    after.batch,
                    after.key,
                    after.attempt,
                    after.how.value,
                    after.state.value,
                    after.worker_id,
                    after.submitted_at,
                    day_of(after.submitted_at),
                )
            ]
        return [
            Statement.of(
                "UPDATE run SET state = ?, result_count = ?, cost = ?, ended_at = ?, day = ?, error = ? "
                "WHERE run_id = ? AND batch = ? AND key = ?",
                after.state.value,
                bounded(after.result_count),
                text_of(after.cost),
                after.ended_at,
                day_of(after.ended_at or after.submitted_at),
                text_of(after.error),
                after.run_id,
                after.batch,
                after.key,
            )
        ]

    async def _why_not(self, before: BatchItem, after: BatchItem) -> IllegalStepError | PausedError | LedgerError:
        if after.state is BatchItemState.INTENT:
            account = await account_of(self.database, after.batch)
            if account != self.account:
                return wrong_account(after.batch, account, self.account)
            if await self.is_paused():
                return PausedError(f"the batch {self.batch!r} is paused")
        return IllegalStepError(
            f"item {before.key!r} is no longer {before.state}, or run {after.run_id} is another item's"
        )

    async def is_paused(self) -> bool:
        """Return whether no run of the batch may be started, in any process."""
        rows = await self.database.read("SELECT is_paused FROM batch WHERE name = ?", self.batch)
        return bool(rows and rows[0][0])

    async def pause(self, *, is_paused: bool) -> None:
        """Have no process start a run of the batch any more, or let them again."""
        await self.database.write(*self._changed("is_paused", is_paused))

    async def spending(self, batch: str | None = None) -> Spending | None:
        """Return where the batch stands with its budget, or None where it has none."""
        rows = await self.database.read(f"SELECT {_BUDGET} FROM budget WHERE batch = ?", batch or self.batch)
        return Spending.of_row(rows[0]) if rows else None

    async def limit_spending(self, max_spend: Decimal) -> None:
        """Have the runs of the batch, all of its shards, cost *max_spend* at most."""
        self._has_budget = True
        limit = Statement.of("UPDATE budget SET max_spend = ? WHERE batch = ?", str(max_spend), self.batch)
        if await self.spending() is not None:
            await self.database.write(limit)
            return
        # What it has come to so far is added up while no item changes.
        await self.database.write(
            *(Statement.of(sql) for sql in self.database.LOCK_ITEMS),
            Choice(
                "SELECT cost, COUNT(*) FROM run WHERE batch = ? AND state IN ('done', 'failed') GROUP BY cost "
                "UNION ALL SELECT state, COUNT(*) FROM item WHERE batch = ? AND (state IN ('intent', 'submitted', "
                "'ambiguous') OR (state = 'failed' AND run_id IS NULL)) GROUP BY state",
                (self.batch, self.batch),
                lambda rows: [self._first_spending(max_spend, rows)],
            ),
            limit,
        )

    def _first_spending(self, max_spend: Decimal, rows: Sequence[SqlRow]) -> Statement:
        spending = Spending(max_spend)
        costs: list[tuple[Decimal, int]] = []
        for value, count in rows:
            if value is None or value == BatchItemState.FAILED:
                spending = attrs.evolve(spending, unknown_costs=spending.unknown_costs + count)
            elif value in set(BatchItemState):
                spending = attrs.evolve(spending, open_runs=spending.open_runs + count)
            else:
                costs.append((Decimal(value), count))
        highest = max((cost for cost, _ in costs), default=Decimal(0))
        known = sum(count for _, count in costs)
        spending = attrs.evolve(spending, spent=exact_sum(costs), highest=highest, known_costs=known)
        sql = f"INSERT INTO budget (batch, {_BUDGET}) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (batch) DO NOTHING"
        return Statement.of(sql, self.batch, *spending.to_row())

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
        for chunk in _chunks(keys):
            rows = await self.database.read(
                f"SELECT key, {RUN_COLUMNS} FROM run WHERE batch = ? AND key IN ({_marks(chunk)}) ORDER BY attempt",
                self.batch,
                *chunk,
            )
            for key, *run in rows:
                found.setdefault(key, []).append(run_of(tuple(run)))
        return found

    async def inputs(self, keys: Sequence[str]) -> dict[str, str]:
        """Return the inputs of the items as JSON."""
        found: dict[str, str] = {}
        for chunk in _chunks(keys):
            sql = f"SELECT key, input FROM item WHERE batch = ? AND key IN ({_marks(chunk)})"
            found.update((key, text) for key, text in await self.database.read(sql, self.batch, *chunk))
        return found


def _chunks(values: Iterable[str]) -> Iterator[list[str]]:
    everything = list(values)
    for first in range(0, len(everything), _MOST_VALUES):
        yield everything[first : first + _MOST_VALUES]


def _marks(values: Iterable[object]) -> str:
    return ", ".join("?" for _ in values)


def _charge(before: BatchItem, after: BatchItem, ended: BatchItem | None, row: SqlRow) -> Statement:
    """Return what a step makes of the budget, or raise where that does not cover the start."""
    spending = Spending.of_row(row)
    if after.state is BatchItemState.INTENT and not spending.allows_start:
        raise OverBudgetError(spending)
    spending = spending.after(before, after if ended is None else ended)
    sql = f"UPDATE budget SET {', '.join(f'{column} = ?' for column in _BUDGET.split(', '))} WHERE batch = ?"
    return Statement.of(sql, *spending.to_row(), after.batch)
