"""What a ledger says of a batch as a whole: whether it is paused, and whether its plan is half done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from coreclaw_async.batch._store.database import Choice, Database, SqlRow, Statement, Step
from coreclaw_async.errors import LedgerError

Flag: TypeAlias = Literal["is_paused", "is_half_planned"]


async def is_set(database: Database, batch: str, flag: Flag) -> bool:
    """Return whether *flag* is set; False where there is no such batch."""
    rows = await database.read(f"SELECT {flag} FROM batch WHERE name = ?", batch)
    return bool(rows and rows[0][0])


def setting(batch: str, flag: Flag, *, to: bool) -> list[Step]:
    """Return what sets or clears *flag*; it undoes its write with a `LedgerError` where the batch was pruned."""

    def must_be_there(rows: list[SqlRow]) -> Sequence[Statement]:
        if not rows:
            raise LedgerError(
                f"the batch {batch!r} was pruned while it was open, so nothing was written: open it again"
            )
        return []

    return [
        Statement.of(f"UPDATE batch SET {flag} = ? WHERE name = ?", int(to), batch),
        Choice("SELECT name FROM batch WHERE name = ?", (batch,), must_be_there),
    ]
