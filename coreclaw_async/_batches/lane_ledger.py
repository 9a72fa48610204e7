"""What a ledger knows of lanes: by which names a worker goes, what is open there, and whose the runs are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from coreclaw_async._batches.item_rows import COLUMNS, item_of
from coreclaw_async._batches.store import Statement, Store
from coreclaw_async.ledger import BatchItem

_MOST_VALUES = 500
# Items of which lane, whatever their account: its names are given twice.
_OF_LANE = (
    "(worker_id IN ({marks}) OR EXISTS ("
    "SELECT 1 FROM batch JOIN lane AS theirs ON theirs.account = batch.account AND theirs.worker_id = item.worker_id "
    "JOIN lane AS named ON named.account = theirs.account AND named.slug = theirs.slug "
    "WHERE batch.name = item.batch AND named.worker_id IN ({marks})))"
)
# What the worker of a lane is called; a lane may be asked for by any of its names.
_NAMES = (
    "SELECT worker_id FROM lane WHERE account = ? AND "
    "(slug = ? OR slug IN (SELECT slug FROM lane WHERE account = ? AND worker_id = ?))"
)
_OF_NO_LANE = (
    "NOT EXISTS (SELECT 1 FROM batch JOIN lane ON lane.account = batch.account AND lane.worker_id = item.worker_id "
    "WHERE batch.name = item.batch AND lane.slug NOT LIKE '%~%')"
)


def is_path(worker_id: str) -> bool:
    """Return whether a worker is called by its owner and name, which may come to mean another slug."""
    return "~" in worker_id


class LaneLedger:
    """
    The part of a ledger that all batches of an account share.

    A lane is called by the first slug that its worker was found to have. Whatever else the worker is called, or was
    called after it was published anew, is one of the lane's names.

    Args:
        store: Where it is.
        account: What tells the account from others.
    """

    def __init__(self, store: Store, account: str) -> None:
        self._store = store
        self._account = account

    async def find(self, worker_id: str) -> str | None:
        """Return the lane of a worker, or None when nobody has found out its slug."""
        rows = await self._store.read(
            "SELECT slug FROM lane WHERE account = ? AND worker_id = ?", self._account, worker_id
        )
        return None if not rows or is_path(rows[0][0]) else str(rows[0][0])

    async def name(self, worker_id: str, slug: str) -> str:
        """Record that a worker has *slug* now, beside those that it had, and return its lane."""
        present = [await self.find(worker_id), await self.find(slug)]
        lane = next((found for found in present if found is not None), slug)
        # Two lanes that turn out to be one become one.
        merged = {found for found in (*present, worker_id, slug) if found not in {None, lane}}
        await self._store.write(
            Statement(
                "INSERT INTO lane (account, worker_id, slug, has_foreign) VALUES (?, ?, ?, 0) "
                "ON CONFLICT (account, worker_id) DO NOTHING",
                [(self._account, name, lane) for name in sorted({worker_id, slug})],
            ),
            *(
                Statement.of(
                    "UPDATE lane SET slug = ? WHERE account = ? AND (slug = ? OR worker_id = ?)",
                    lane, self._account, name, name,
                )
                for name in sorted(filter(None, merged))
            ),
        )  # fmt: skip
        return lane

    async def names(self, lane: str) -> list[str]:
        """Return all that the worker of a lane is or was called, its slugs among them."""
        rows = await self._store.read(_NAMES, *self._named(lane))
        return sorted({lane} | {str(name) for (name,) in rows})

    def _named(self, lane: str) -> tuple[str, ...]:
        return self._account, lane, self._account, lane

    async def others(self, names: Sequence[str]) -> set[str]:
        """Return what the workers of all other lanes are called."""
        rows = await self._store.read("SELECT worker_id FROM lane WHERE account = ?", self._account)
        return {str(name) for (name,) in rows} - set(names)

    async def open_intents(self, lane: str) -> list[BatchItem]:
        """Return the items of a lane, of all batches of the account, whose start was about to leave."""
        rows = await self._store.read(
            f"SELECT {COLUMNS} FROM item WHERE state = 'intent' AND (worker_id = ? OR worker_id IN ({_NAMES})) "
            "AND batch IN (SELECT name FROM batch WHERE account = ?) ORDER BY batch, position",
            lane,
            *self._named(lane),
            self._account,
        )
        return [item_of(row) for row in rows]

    async def rival_intents(self, names: Sequence[str]) -> list[float]:
        """
        Return when the starts were about to leave that are open in the same lane of other accounts.

        So may be those of workers whose slug nobody knows: they may be of this worker too.
        """
        rows = await self._store.read(
            "SELECT intent_at FROM item WHERE state = 'intent' "
            f"AND (batch IN (SELECT name FROM batch WHERE account <> ?) AND {_OF_LANE.format(marks=_marks(names))} "
            f"OR worker_id NOT IN ({_marks(names)}) AND {_OF_NO_LANE})",
            self._account,
            *names,
            *names,
            *names,
        )
        return [float(intent_at) for (intent_at,) in rows]

    async def held_candidates(self, names: Sequence[str]) -> list[tuple[str, ...]]:
        """Return the candidates of each item of the lane, of any account, of which nobody could tell its run."""
        rows = await self._store.read(
            "SELECT candidates FROM item WHERE batch IN (SELECT name FROM batch) "
            "AND state IN ('ambiguous', 'failed') AND run_id IS NULL "
            f"AND {_OF_LANE.format(marks=_marks(names))}",
            *names,
            *names,
        )
        return [tuple(json.loads(candidates)) for (candidates,) in rows]

    async def owned(self, run_ids: Iterable[str]) -> set[str]:
        """Return those of the runs that are or were an item's, whatever its account."""
        asked = list(run_ids)
        found: set[str] = set()
        for first in range(0, len(asked), _MOST_VALUES):
            some = asked[first : first + _MOST_VALUES]
            rows = await self._store.read(f"SELECT run_id FROM run WHERE run_id IN ({_marks(some)})", *some)
            found |= {str(run_id) for (run_id,) in rows}
        return found

    async def has_foreign(self, names: Sequence[str]) -> bool:
        """Return whether runs of the worker were seen that no item explains."""
        rows = await self._store.read(
            f"SELECT MAX(has_foreign) FROM lane WHERE account = ? AND worker_id IN ({_marks(names)})",
            self._account,
            *names,
        )
        return bool(rows[0][0])

    async def note_foreign(self, names: Sequence[str]) -> None:
        """Record that others start runs of the worker too."""
        await self._store.write(
            Statement.of(
                f"UPDATE lane SET has_foreign = 1 WHERE account = ? AND worker_id IN ({_marks(names)})",
                self._account,
                *names,
            )
        )

    async def forget_foreign(self, lane: str) -> None:
        """Record that nobody else starts runs of the worker any more."""
        await self._store.write(
            Statement.of(
                f"UPDATE lane SET has_foreign = 0 WHERE account = ? AND worker_id IN ({_NAMES})",
                self._account,
                *self._named(lane),
            )
        )


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" for _ in values)
