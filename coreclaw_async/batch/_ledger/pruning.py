"""Taking finished batches out of a ledger, without forgetting whose their runs were."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from coreclaw_async._data.record import Model
from coreclaw_async.batch._ledger.batch_ledger import BatchLedger
from coreclaw_async.batch._store.database import Choice, SqlRow, Statement

_DAY = 86_400.0
_MAX_DAYS = 36_500
# A start whose answer was lost is looked for in lists of whole months, from a day before it on.
_KEPT_DAYS = 62
# A run whose batch is gone; no batch can be called so.
_NOBODY = ""
_STANDING = (
    "SELECT (SELECT COUNT(*) FROM item WHERE batch = b.name), "
    "(SELECT COUNT(*) FROM item WHERE batch = b.name AND (state IN ('planned', 'intent', 'submitted', 'ambiguous') "
    # It may have a run that nobody knows of, and that must be taken for no other item's.
    "OR (state = 'failed' AND run_id IS NULL AND intent_at > ?))), "
    "(SELECT COUNT(*) FROM run WHERE batch = b.name), b.is_half_planned, b.created, "
    "(SELECT MAX(intent_at) FROM item WHERE batch = b.name), (SELECT MAX(ended_at) FROM item WHERE batch = b.name), "
    "(SELECT MAX(submitted_at) FROM run WHERE batch = b.name), (SELECT MAX(ended_at) FROM run WHERE batch = b.name), "
    "(SELECT MIN(intent_at) FROM item WHERE state IN ('intent', 'ambiguous')), (SELECT MAX(submitted_at) FROM run) "
    "FROM batch AS b WHERE b.name = ?"
)


@attrs.frozen(kw_only=True, repr=False)
class PrunedBatch(Model):
    """
    What `AsyncBatch.prune` has deleted.

    Attributes:
        name: Name of the batch.
        items: Items that it had.
        runs: Runs that they had; their ids stay known for two months, and as long as an older start is open.
        finished_at: When the last of them had ended, or was last about to be started, in Unix seconds.

    Example::

        pruned = await batch.prune(older_than_days=30)
        print("nothing" if pruned is None else (pruned.items, pruned.runs))
    """

    name: str
    items: int
    runs: int
    finished_at: float


async def prune(ledger: BatchLedger, older_than_days: float, now: float) -> PrunedBatch | None:
    """
    Delete the batch if it has been finished for more than *older_than_days* days, and return what it was, or else None.

    Raises:
        LedgerError: The ledger cannot be written to.
        TypeError: *older_than_days* is no number.
        ValueError: It is out of range.
    """
    days = _check_days(older_than_days)
    pruned: list[PrunedBatch] = []

    def follow(rows: list[SqlRow]) -> Sequence[Statement]:
        pruned.clear()  # A write may be retried.
        if not rows:
            return []
        items, unfinished, runs, is_half_planned, created, *moments, first_open, last_run = rows[0]
        finished_at = max(float(moment) for moment in (created, *moments) if moment is not None)
        if unfinished or is_half_planned or finished_at > now - days * _DAY:
            return []
        pruned.append(PrunedBatch(name=ledger.batch, items=int(items), runs=int(runs), finished_at=finished_at))
        return _deletions(ledger.batch, _forgotten_before(now, first_open, last_run))

    await ledger.database.write(
        *(Statement.of(sql) for sql in ledger.database.LOCK_ITEMS),
        Choice(_STANDING, (now - _KEPT_DAYS * _DAY, ledger.batch), follow),
    )
    return pruned[0] if pruned else None


def _check_days(older_than_days: float) -> float:
    if isinstance(older_than_days, bool) or not isinstance(older_than_days, int | float):
        raise TypeError(f"older_than_days must be a number, not {type(older_than_days).__name__}")
    if not 0 <= older_than_days <= _MAX_DAYS:
        raise ValueError(f"older_than_days must be 0 to {_MAX_DAYS}, not {older_than_days!r}")
    return float(older_than_days)


def _forgotten_before(now: float, first_open: float | None, last_run: float | None) -> float:
    """Return from when on runs stay known: no start that is open, or is yet to come, can be looked for before it."""
    # The times in the ledger are the service's; a clock of this machine that is years ahead forgets nothing.
    moments = [moment for moment in (now, first_open, last_run) if moment is not None]
    return min(moments) - _KEPT_DAYS * _DAY


def _deletions(batch: str, forgotten_before: float) -> Sequence[Statement]:
    return [
        Statement.of("DELETE FROM item WHERE batch = ?", batch),
        Statement.of("DELETE FROM budget WHERE batch = ?", batch),
        Statement.of("DELETE FROM batch WHERE name = ?", batch),
        # Another batch may be called so some day, whose runs these are not.
        Statement.of("UPDATE run SET batch = ?, key = ?, error = NULL WHERE batch = ?", _NOBODY, _NOBODY, batch),
        Statement.of("DELETE FROM run WHERE batch = ? AND submitted_at < ?", _NOBODY, forgotten_before),
    ]
