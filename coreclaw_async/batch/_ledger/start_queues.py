"""What a ledger knows of start queues: by which names a worker goes, what is open there, and whose the runs are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from coreclaw_async.batch._items import BatchItem
from coreclaw_async.batch._ledger.columns import ITEM_COLUMNS, chunks, item_of, marks
from coreclaw_async.batch._store.database import Database, Statement

# Items of which start queue, whatever their account: its names are given twice.
_OF_QUEUE = (
    "(worker_id IN ({marks}) OR EXISTS ("
    "SELECT 1 FROM batch JOIN lane AS theirs ON theirs.account = batch.account AND theirs.worker_id = item.worker_id "
    "JOIN lane AS named ON named.account = theirs.account AND named.slug = theirs.slug "
    "WHERE batch.name = item.batch AND named.worker_id IN ({marks})))"
)
# What the worker of a start queue is called; a start queue may be asked for by any of its names.
_NAMES = (
    "SELECT worker_id FROM lane WHERE account = ? AND "
    "(slug = ? OR slug IN (SELECT slug FROM lane WHERE account = ? AND worker_id = ?))"
)
_OF_NO_QUEUE = (
    "NOT EXISTS (SELECT 1 FROM batch JOIN lane ON lane.account = batch.account AND lane.worker_id = item.worker_id "
    "WHERE batch.name = item.batch AND lane.slug NOT LIKE '%~%')"
)


def is_path(worker_id: str) -> bool:
    """Return whether a worker is called by its owner and name, which may come to mean another slug."""
    return "~" in worker_id


class StartQueueLedger:
    """
    The part of a ledger that all batches of an account share.

    A start queue is called by the first slug that its worker was found to have. Whatever else the worker is called, or
    was called after it was published anew, is one of the start queue's names.

    Args:
        account: What tells the account from others.
    """

    def __init__(self, database: Database, account: str) -> None:
        self._database = database
        self._account = account

    async def find(self, worker_id: str) -> str | None:
        """Return the start queue of a worker, or None when nobody has found out its slug."""
        rows = await self._database.read(
            "SELECT slug FROM lane WHERE account = ? AND worker_id = ?", self._account, worker_id
        )
        return None if not rows or is_path(rows[0][0]) else str(rows[0][0])

    async def name(self, worker_id: str, slug: str) -> str:
        """Record that a worker has *slug* now, beside those that it had, and return its start queue."""
        present = [await self.find(worker_id), await self.find(slug)]
        start_queue = next((found for found in present if found is not None), slug)
        # Two start queues that turn out to be one become one.
        merged = {found for found in (*present, worker_id, slug) if found not in {None, start_queue}}
        await self._database.write(
            Statement(
                "INSERT INTO lane (account, worker_id, slug, has_foreign) VALUES (?, ?, ?, 0) "
                "ON CONFLICT (account, worker_id) DO NOTHING",
                [(self._account, name, start_queue) for name in sorted({worker_id, slug})],
            ),
            *(
                Statement.of(
                    "UPDATE lane SET slug = ? WHERE account = ? AND (slug = ? OR worker_id = ?)",
                    start_queue, self._account, name, name,
                )
                for name in sorted(filter(None, merged))
            ),
        )  # fmt: skip
        return start_queue

    async def names(self, start_queue: str) -> list[str]:
        """Return all that the worker of a start queue is or was called, its slugs among them."""
        rows = await self._database.read(_NAMES, *self._named(start_queue))
        return sorted({start_queue} | {str(name) for (name,) in rows})

    def _named(self, start_queue: str) -> tuple[str, ...]:
        return self._account, start_queue, self._account, start_queue

    async def others(self, names: Sequence[str]) -> set[str]:
        """Return what the workers of all other start queues are called."""
        rows = await self._database.read("SELECT worker_id FROM lane WHERE account = ?", self._account)
        return {str(name) for (name,) in rows} - set(names)

    async def open_intents(self, start_queue: str) -> list[BatchItem]:
        """Return the items of a start queue, of all batches of the account, whose start was about to leave."""
        rows = await self._database.read(
            f"SELECT {ITEM_COLUMNS} FROM item WHERE state = 'intent' AND (worker_id = ? OR worker_id IN ({_NAMES})) "
            "AND batch IN (SELECT name FROM batch WHERE account = ?) ORDER BY batch, position",
            start_queue,
            *self._named(start_queue),
            self._account,
        )
        return [item_of(row) for row in rows]

    async def rival_intents(self, names: Sequence[str]) -> list[float]:
        """
        Return when the starts were about to leave that are open in the same start queue of other accounts.

        So may be those of workers whose slug nobody knows: they may be of this worker too.
        """
        rows = await self._database.read(
            "SELECT intent_at FROM item WHERE state = 'intent' "
            f"AND (batch IN (SELECT name FROM batch WHERE account <> ?) AND {_OF_QUEUE.format(marks=marks(names))} "
            f"OR worker_id NOT IN ({marks(names)}) AND {_OF_NO_QUEUE})",
            self._account,
            *names,
            *names,
            *names,
        )
        return [float(intent_at) for (intent_at,) in rows]

    async def held_candidates(self, names: Sequence[str]) -> list[tuple[str, ...]]:
        """Return the candidates of each item of the start queue, of any account, of which nobody could tell its run."""
        rows = await self._database.read(
            "SELECT candidates FROM item WHERE batch IN (SELECT name FROM batch) "
            "AND state IN ('ambiguous', 'failed') AND run_id IS NULL "
            f"AND {_OF_QUEUE.format(marks=marks(names))}",
            *names,
            *names,
        )
        return [tuple(json.loads(candidates)) for (candidates,) in rows]

    async def owned(self, run_ids: Iterable[str]) -> set[str]:
        """Return those of the runs that are or were an item's, whatever its account."""
        found: set[str] = set()
        for some in chunks(run_ids):
            rows = await self._database.read(f"SELECT run_id FROM run WHERE run_id IN ({marks(some)})", *some)
            found |= {str(run_id) for (run_id,) in rows}
        return found

    async def has_foreign(self, names: Sequence[str]) -> bool:
        """Return whether runs of the worker were seen that no item explains."""
        rows = await self._database.read(
            f"SELECT MAX(has_foreign) FROM lane WHERE account = ? AND worker_id IN ({marks(names)})",
            self._account,
            *names,
        )
        return bool(rows[0][0])

    async def note_foreign(self, names: Sequence[str]) -> None:
        """Record that others start runs of the worker too."""
        await self._database.write(
            Statement.of(
                f"UPDATE lane SET has_foreign = 1 WHERE account = ? AND worker_id IN ({marks(names)})",
                self._account,
                *names,
            )
        )

    async def forget_foreign(self, start_queue: str) -> None:
        """Record that nobody else starts runs of the worker any more."""
        await self._database.write(
            Statement.of(
                f"UPDATE lane SET has_foreign = 0 WHERE account = ? AND worker_id IN ({_NAMES})",
                self._account,
                *self._named(start_queue),
            )
        )
