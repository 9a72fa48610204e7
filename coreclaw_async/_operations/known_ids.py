"""Ids that this client was told, so that a look for a lost start does not take them for it."""

from __future__ import annotations

import threading

_CAPACITY = 20_000


class KnownIds:
    """
    The latest 20,000 ids of runs, tasks and queue items that this client's own calls were answered with.

    Callbacks add to them in threads of their own.
    """

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}
        self._lock = threading.Lock()

    def add(self, identifier: str) -> None:
        """Remember *identifier*, and forget the oldest when there are too many."""
        with self._lock:
            self._ids[identifier] = None
            if len(self._ids) > _CAPACITY:
                del self._ids[next(iter(self._ids))]

    def __contains__(self, identifier: str) -> bool:
        return identifier in self._ids
