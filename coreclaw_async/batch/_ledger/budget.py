"""What a batch may spend, kept in its ledger for all processes: each step of an item changes it in the same write."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import attrs

from coreclaw_async.batch._items import BatchItem, BatchItemState
from coreclaw_async.batch._ledger.columns import marks, names_of
from coreclaw_async.batch._ledger.spending import OverBudgetError, Spending, exact_sum
from coreclaw_async.batch._store.database import Choice, Database, SqlRow, Statement, Step

_NAMES = names_of(Spending)
_COLUMNS = ", ".join(_NAMES)
_CHANGES = ", ".join(f"{name} = ?" for name in _NAMES)


async def spending_of(database: Database, batch: str) -> Spending | None:
    """Return where a batch stands with its budget, or None where it has none."""
    rows = await database.read(f"SELECT {_COLUMNS} FROM budget WHERE batch = ?", batch)
    return Spending.of_row(rows[0]) if rows else None


async def limit_spending(database: Database, batch: str, max_spend: Decimal) -> None:
    """Have the runs of a batch, all of its shards, cost *max_spend* at most."""
    limit = Statement.of("UPDATE budget SET max_spend = ? WHERE batch = ?", str(max_spend), batch)
    if await spending_of(database, batch) is not None:
        await database.write(limit)
        return
    # What it has come to so far is added up while no item changes.
    await database.write(
        *(Statement.of(sql) for sql in database.LOCK_ITEMS),
        Choice(
            "SELECT cost, COUNT(*) FROM run WHERE batch = ? AND state IN ('done', 'failed') GROUP BY cost "
            "UNION ALL SELECT state, COUNT(*) FROM item WHERE batch = ? AND (state IN ('intent', 'submitted', "
            "'ambiguous') OR (state = 'failed' AND run_id IS NULL)) GROUP BY state",
            (batch, batch),
            lambda rows: [_begun(batch, max_spend, rows)],
        ),
        limit,
    )


def charge(before: BatchItem, after: BatchItem) -> list[Step]:
    """
    Return what a step of an item makes of the budget of its batch.

    The write is undone with an `OverBudgetError` where the budget does not cover the start.
    """

    def follow(rows: list[SqlRow]) -> Sequence[Statement]:
        changes: list[Statement] = []
        for row in rows:  # One, or none where the batch has no budget.
            spending = Spending.of_row(row)
            if after.state is BatchItemState.INTENT and not spending.allows_start:
                raise OverBudgetError(spending)
            values = spending.after(before, after).to_row()
            changes.append(Statement.of(f"UPDATE budget SET {_CHANGES} WHERE batch = ?", *values, after.batch))
        return changes

    return [
        # Nobody else changes the budget between the look at it and its change.
        Statement.of("UPDATE budget SET spent = spent WHERE batch = ?", after.batch),
        Choice(f"SELECT {_COLUMNS} FROM budget WHERE batch = ?", (after.batch,), follow),
    ]


def _begun(batch: str, max_spend: Decimal, rows: Sequence[SqlRow]) -> Statement:
    """Return what begins the budget of a batch whose runs have cost something already."""
    spending = Spending(max_spend)
    costs: list[tuple[Decimal, int]] = []
    for value, count in rows:
        if value is None or value == BatchItemState.FAILED:
            spending = attrs.evolve(spending, unknown_costs=spending.unknown_costs + count)
        elif value in set(BatchItemState):
            spending = attrs.evolve(spending, open_runs=spending.open_runs + count)
        else:
            costs.append((Decimal(value), count))
    spending = attrs.evolve(
        spending,
        spent=exact_sum(costs),
        highest=max((cost for cost, _ in costs), default=Decimal(0)),
        known_costs=sum(count for _, count in costs),
    )
    sql = f"INSERT INTO budget (batch, {_COLUMNS}) VALUES ({marks(('batch', *_NAMES))}) ON CONFLICT (batch) DO NOTHING"
    return Statement.of(sql, batch, *spending.to_row())
