"""Shard: a part of a batch, and how a query asks for it."""

from __future__ import annotations

import attrs

from coreclaw_async.batch._items import BatchItem
from coreclaw_async.batch._store.database import SqlRow


@attrs.frozen(kw_only=True)
class Shard:
    """
    A part of a batch.

    Attributes:
        first: Position of its first item.
        last: Position of its last item.
        worker_id: The worker whose items it has, as planned, or None for all.

    Example::

        for shard in await batch.shards(1_000):
            print(shard.worker_id, shard.first, shard.last)
    """

    first: int = 0
    last: int = 2**62
    worker_id: str | None = None

    def condition(self) -> tuple[str, SqlRow]:
        """Return what a query must ask for, and its values."""
        if self == Shard():
            return "1 = 1", ()
        if self.worker_id is None:
            return "position BETWEEN ? AND ?", (self.first, self.last)
        return "position BETWEEN ? AND ? AND worker_id = ?", (self.first, self.last, self.worker_id)

    def includes(self, item: BatchItem) -> bool:
        """Return whether *item* of its batch is in the part."""
        return self.first <= item.position <= self.last and self.worker_id in {None, item.worker_id}
