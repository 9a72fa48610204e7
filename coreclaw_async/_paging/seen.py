"""Which items of a list were handed out already, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence

_CAPACITY = 10_000


class SeenKeys:
    """
    The first and the latest 10,000 keys of a list; lists of up to 20,000 items are remembered whole.

    Items that were inserted push others from one page to the next, so what comes a second time was seen lately. When
    the service changes what ``offset`` means, page n begins anew at row n, so what comes again was seen at the
    beginning.
    """

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self._capacity = capacity
        self._head: list[Hashable] = []
        self._tail: deque[Hashable] = deque()
        self._known: set[Hashable] = set()
        self.is_whole = True

    def __contains__(self, key: Hashable) -> bool:
        return key in self._known

    def add(self, key: Hashable) -> None:
        """Remember *key*, and forget the oldest of the later ones when there are too many."""
        if len(self._head) < self._capacity:
            self._head.append(key)
        else:
            self._tail.append(key)
            if len(self._tail) > self._capacity:
                self._known.discard(self._tail.popleft())
                self.is_whole = False
        self._known.add(key)

    def has_none_of(self, keys: Sequence[Hashable]) -> bool:
        """Return whether all *keys* are new, and none stands among them twice."""
        return self._known.isdisjoint(keys) and len(set(keys)) == len(keys)

    def extend(self, keys: Sequence[Hashable]) -> None:
        """Remember *keys*, as `add` does one by one."""
        room = self._capacity - len(self._head)
        self._head.extend(keys[:room])
        self._tail.extend(keys[room:])
        while len(self._tail) > self._capacity:
            self._known.discard(self._tail.popleft())
            self.is_whole = False
        self._known.update(keys)

    def began_with(self, start: int, keys: Sequence[Hashable]) -> bool:
        """Return whether *keys* stood in the list from place *start* on."""
        return bool(keys) and self._head[start : start + len(keys)] == list(keys)
