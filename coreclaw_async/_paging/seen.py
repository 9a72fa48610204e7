"""Which items of a list were handed out already, in bounded memory."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable, Iterable, Sequence
from typing import Generic, TypeVar

import attrs

from coreclaw_async._paging.listing import Nameless, Reading

T = TypeVar("T")

_CAPACITY = 10_000
_MAX_SPARES = 100


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
        # By page, so that remembering and forgetting a page are few steps.
        self._head_pages: list[tuple[int, Sequence[Hashable]]] = []
        self._tail_pages: deque[tuple[int, Sequence[Hashable]]] = deque()
        self._tail_size = 0
        self._known: set[Hashable] = set()
        self._pages: dict[Hashable, int] = {}
        self._times: Counter[Hashable] = Counter()
        self.is_whole = True

    def __contains__(self, key: Hashable) -> bool:
        return key in self._known

    def page_of(self, key: Hashable) -> int:
        """Return the page that *key*, which is known, was seen on."""
        if not self._pages:
            for page, keys in (*self._head_pages, *self._tail_pages):
                self._pages.update(dict.fromkeys(keys, page))
        return self._pages[key]

    def add(self, key: Hashable, page: int = 0) -> None:
        """Remember *key*, and forget the oldest of the later ones when there are too many."""
        self.extend((key,), page)

    def extend(self, keys: Sequence[Hashable], page: int = 0) -> None:
        """Remember *keys*, which were seen on a page."""
        room = self._capacity - len(self._head)
        if room > 0:
            self._head.extend(keys[:room])
            self._head_pages.append((page, keys[:room]))
        later = keys[room:] if room > 0 else keys
        if later:
            self._tail_pages.append((page, later))
            self._tail_size += len(later)
            while self._tail_size - len(self._tail_pages[0][1]) >= self._capacity:
                _, forgotten = self._tail_pages.popleft()
                self._tail_size -= len(forgotten)
                self._known.difference_update(forgotten)
                self.is_whole = False
        self._known.update(keys)
        self._pages.clear()

    def has_none_of(self, keys: Sequence[Hashable]) -> bool:
        """Return whether all *keys* are new, and none stands among them twice."""
        return self._known.isdisjoint(keys) and len(set(keys)) == len(keys)

    def began_with(self, start: int, keys: Sequence[Hashable]) -> bool:
        """Return whether *keys* stood in the list from place *start* on."""
        return bool(keys) and self._head[start : start + len(keys)] == list(keys)

    def times(self, key: Hashable) -> int:
        """Return how many items with the key of a nameless one were counted."""
        return self._times[key]

    def count_again(self, key: Nameless) -> int:
        """Count one more item with the key of a nameless one, and return how many there are now."""
        if len(self._times) >= 2 * self._capacity:
            self.is_whole = False
        else:
            self._times[key] += 1
        return self._times[key]


@attrs.frozen
class Spare(Generic[T]):
    """
    An item whose identity had come before: pushed here from another page, or a second item with that identity.

    Attributes:
        item: The item.
        key: Its identity.
        pages: The numbers of the pages that showed the identity, the same one twice where both are on it.
        differs: Whether another item on the same page has this identity and other content: then there are two.
    """

    item: T
    key: Hashable
    pages: tuple[int, int]
    differs: bool


class Deduplicator(Generic[T]):
    """
    Picks from each page what was not handed out before.

    Attributes:
        seen: What was handed out.
        spares: What was not, as its identity had come before in this sweep; at most 100.
    """

    def __init__(self) -> None:
        self.seen = SeenKeys()
        self.spares: list[Spare[T]] = []
        self._sweep = self.seen
        self._doubled: set[Hashable] = set()

    def begin_sweep(self) -> None:
        """Go through the list again, from its first page."""
        self._sweep = SeenKeys()
        self.spares.clear()

    def take(self, reading: Reading[T], *, has_moved: bool) -> Sequence[T]:
        """
        Return the items of a page that are new, and remember all.

        Args:
            reading: The page.
            has_moved: Whether items may stand elsewhere than before. A nameless item that is like an earlier one may
                then be that one, so it is left out; the count will tell when it was not.
        """
        if reading.is_named and self._sweep is self.seen and self.seen.has_none_of(reading.keys):
            self.seen.extend(reading.keys, reading.number)
            return reading.page.items
        self.spares = [spare for spare in self.spares if spare.pages[1] != reading.number]
        has_moved = has_moved or any(self._is_elsewhere(key, reading.number) for key in reading.keys)
        here: dict[Hashable, T] = {}
        items: list[T] = []
        for item, key in zip(reading.page.items, reading.keys, strict=True):
            if isinstance(key, Nameless):
                if self._is_new_nameless(key, has_moved=has_moved):
                    items.append(item)
                continue
            if key in here or self._is_elsewhere(key, reading.number):
                first_page = reading.number if key in here else self._sweep.page_of(key)
                self._keep(Spare(item, key, (first_page, reading.number), here.get(key, item) != item))
            else:
                here[key] = item
            if key not in self.seen:
                self.seen.add(key, reading.number)
                items.append(item)
            if key not in self._sweep:
                self._sweep.add(key, reading.number)
        return items

    def take_all(self, reading: Reading[T], known: int = 0) -> Sequence[T]:
        """Return the items of a page of nameless ones from place *known* on: nothing could tell which came before."""
        if known:
            items, keys = reading.page.items[known:], reading.keys[known:]
        else:
            items, keys = reading.page.items, reading.keys
        self.seen.extend(keys, reading.number)
        return items

    def take_spares(self, spares: Iterable[Spare[T]]) -> Sequence[T]:
        """Return the items of *spares*, which are no repetitions; none of them comes again."""
        taken = tuple(spares)
        self._doubled.update(spare.key for spare in taken)
        self.spares = [spare for spare in self.spares if spare not in taken]
        return tuple(spare.item for spare in taken)

    def _is_elsewhere(self, key: Hashable, number: int) -> bool:
        """Whether this sweep has seen *key* on another page."""
        return key in self._sweep and self._sweep.page_of(key) != number

    def _is_new_nameless(self, key: Nameless, *, has_moved: bool) -> bool:
        known = self.seen.times(key)
        in_sweep = known + 1 if self._sweep is self.seen else self._sweep.count_again(key)
        if in_sweep <= known or (has_moved and known):
            return False
        self.seen.count_again(key)
        return True

    def _keep(self, spare: Spare[T]) -> None:
        if spare.key not in self._doubled and len(self.spares) < _MAX_SPARES:
            self.spares.append(spare)


def shown_twice(spares: Sequence[Spare[T]], readings: Sequence[Reading[T]]) -> bool:
    """Return whether each identity of *spares* stands in *readings*, different pages read at one time, once more."""
    times = Counter(key for reading in readings for key in reading.keys)
    return all(times[key] == 1 + extra for key, extra in Counter(spare.key for spare in spares).items())
