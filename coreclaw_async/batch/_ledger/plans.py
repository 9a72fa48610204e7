"""Adding items to a batch, each once."""

from __future__ import annotations

from collections.abc import Sequence

from coreclaw_async.batch._ledger.columns import PLANNED, chunks, marks, planned_values
from coreclaw_async.batch._ledger.flags import setting
from coreclaw_async.batch._specs import PlannedSpec
from coreclaw_async.batch._store.database import Choice, Database, SqlRow, StaleError, Statement
from coreclaw_async.errors import BatchConflictError

_INSERT = (
    f"INSERT INTO item ({', '.join(PLANNED)}, state, attempt, candidates) VALUES ({marks(PLANNED)}, 'planned', 0, '[]')"
)


async def add_items(database: Database, batch: str, specs: Sequence[PlannedSpec], *, is_half_planned: bool) -> int:
    """
    Add the items that are not there yet behind those that are, and return how many that were.

    Args:
        database: Where the ledger is.
        batch: Name of the batch.
        specs: What is planned.
        is_half_planned: Whether the batch is half planned then, which becomes durable together with the items.

    Raises:
        BatchConflictError: One of them is there with another input; none is added then.
        LedgerError: The ledger cannot be written to, or the batch was pruned.
    """
    while True:
        present = await _present(database, batch, specs)
        added = [spec for spec in specs if spec.key not in present]

        def behind_the_last(rows: list[SqlRow], added: Sequence[PlannedSpec] = added) -> list[Statement]:
            first = 0 if rows[0][0] is None else int(rows[0][0]) + 1
            return [Statement(_INSERT, [planned_values(batch, first + n, spec) for n, spec in enumerate(added)])]

        last = Choice("SELECT MAX(position) FROM item WHERE batch = ?", (batch,), behind_the_last)
        # The row of the batch comes first: plans of several processes take turns there, and never wait in a circle.
        mark = setting(batch, "is_half_planned", to=is_half_planned)
        try:
            await database.write(*mark, *([last] if added else []))
        except StaleError:  # Another plan has added one of the keys meanwhile, perhaps with another input.
            continue
        return len(added)


async def _present(database: Database, batch: str, specs: Sequence[PlannedSpec]) -> set[str]:
    """Return which of the keys are there; none may be there with another input."""
    given = {spec.key: spec.input_sha256 for spec in specs}
    present: set[str] = set()
    for keys in chunks(given):
        sql = f"SELECT key, input_sha256 FROM item WHERE batch = ? AND key IN ({marks(keys)})"
        for key, planned in await database.read(sql, batch, *keys):
            if planned != given[key]:
                raise BatchConflictError(
                    f"key {key!r} of batch {batch!r} was planned with another worker, version or input: "
                    f"{planned[:16]} then, {given[key][:16]} now",
                    key=key,
                    planned=planned,
                    given=given[key],
                )
            present.add(key)
    return present
