"""Shard: a part of a batch."""

from __future__ import annotations

import attrs

from coreclaw_async._wire.request import shown_worker


def _shown(worker_id: str | None) -> str | None:
    return None if worker_id is None else shown_worker(worker_id)


@attrs.frozen(kw_only=True)
class Shard:
    """
    A part of a batch.

    Attributes:
        first: Position of its first item.
        last: Position of its last item.
        worker_id: The worker whose items it has, a slug or ``owner/name``, or None for all.

    Example::

        for shard in await batch.shards(1_000):
            print(shard.worker_id, shard.first, shard.last)
    """

    first: int = 0
    last: int = 2**62
    worker_id: str | None = attrs.field(default=None, converter=_shown)
