"""Which items of a list were returned already, in bounded memory."""

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
    The first and the latest 10,000 keys of a list; all keys of lists of up to 20,000 items.

    Inserted items push others from one page to the next, so what comes a second time was seen recently. When the
    service changes what ``offset`` means, page n begins at row n, so what comes again was seen at the beginning.
    """

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self._capacity = capacity
        self._head: list[Hashable] = []
        # By page, so that adding or forgetting a page takes few steps.
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
        """Return the page on which the known *key* was seen."""
        if not self._pages:
            for page, keys in (*self._head_pages, *self._tail_pages):
                self._pages.update(dict.fromkeys(keys, page))
        return self._pages[key]

    def add(self, key: Hashable, page: int = 0) -> None:
        """Remember one key."""
        self.extend((key,), page)

    def extend(self, keys: Sequence[Hashable], page: int = 0) -> None:
        """Remember the keys of a page; when there are too many, forget the oldest after the first 10,000."""
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
        """Return whether all *keys* are new and different."""
        return self._known.isdisjoint(keys) and len(set(keys)) == len(keys)

    def began_with(self, start: int, keys: Sequence[Hashable]) -> bool:
        """Return whether *keys* are those of the list from place *start* on."""
        return bool(keys) and self._head[start : start + len(keys)] == list(keys)

    def times(self, key: Hashable) -> int:
        """Return how many nameless items with this key were counted."""
        return self._times[key]

    def count_again(self, key: Nameless) -> int:
        """Count one more nameless item with this key, and return how many there are now."""
        if len(self._times) >= 2 * self._capacity:
            self.is_whole = False
        else:
            self._times[key] += 1
        return self._times[key]


@attrs.frozen(eq=False, repr=False)
class Spare(Generic[T]):
    """
    An item with an identity that came before: it has moved here from another page, or is a second such item.

    Attributes:
        item: The item.
        key: Its identity.
        pages: The numbers of the two pages that showed the identity, which may be the same.
        differs: Whether another item of the same page has this identity but other content, so that there are two.
    """

    item: T
    key: Hashable
    pages: tuple[int, int]
    differs: bool


class Deduplicator(Generic[T]):
    """
    Picks from each page what was not returned before.

    Attributes:
        seen: The keys of what was returned.
        spares: What was not returned because its identity came before in this sweep; at most 100.
    """

    def __init__(self) -> None:
        self.seen = SeenKeys()
        self.spares: list[Spare[T]] = []
        self._sweep = self.seen
        self._doubled: set[Hashable] = set()

    def begin_sweep(self) -> None:
        """Begin the list again, from its first page."""
        self._sweep = SeenKeys()
        self.spares.clear()

    def take(self, reading: Reading[T], *, has_moved: bool) -> Sequence[T]:
        """
        Return the items of a page that are new, and remember all.

        Args:
            reading: The page.
            has_moved: Whether items may have moved. A nameless item that equals an earlier one may then be the same, so
                it is left out; the count will tell if that was wrong.
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
        """Return the items of a page without identities, from place *known* on."""
        if known:
            items, keys = reading.page.items[known:], reading.keys[known:]
        else:
            items, keys = reading.page.items, reading.keys
        self.seen.extend(keys, reading.number)
        return items

    def take_spares(self, spares: Iterable[Spare[T]]) -> Sequence[T]:
        """Return the items of *spares*, which turned out to be second items; they are not kept as spares again."""
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
    """Return whether *readings*, different pages, show each identity once more than *spares* do."""
    times = Counter(key for reading in readings for key in reading.keys)
    return all(times[key] == 1 + extra for key, extra in Counter(spare.key for spare in spares).items())
