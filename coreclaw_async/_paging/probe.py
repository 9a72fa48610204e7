"""OffsetProbe: finds out what ``offset`` means for one list, and whether that has changed meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from coreclaw_async._paging.fetcher import PageFetcher
from coreclaw_async._paging.listing import MIN_PROBE_SIZE, Reading
from coreclaw_async._paging.offsets import PROBE_OFFSET, Mode, OffsetCache, OffsetDialect, find_mode
from coreclaw_async.errors import PaginationError

T = TypeVar("T")

_MAX_DOUBTS = 5


class OffsetProbe(Generic[T]):
    """
    What ``offset`` means for one list.

    Attributes:
        mode: How offsets are written, or None while that is unknown.
    """

    def __init__(
        self,
        fetcher: PageFetcher[T],
        cache: OffsetCache,
        dialect: OffsetDialect,
        fail: Callable[[str], PaginationError],
    ) -> None:
        self._fetcher = fetcher
        self._cache = cache
        self._pinned = None if dialect == "auto" else Mode(dialect)
        self._fail = fail
        self._doubts = 0
        self._unclear: tuple[Sequence[Hashable], Sequence[Hashable]] | None = None
        self.mode = self._pinned

    @property
    def cached(self) -> Mode | None:
        """What the client found out recently, perhaps from another list."""
        return self._cache.mode

    def begin_again(self) -> None:
        """Allow as many doubts as at the beginning."""
        self._doubts = 0

    async def first_page(self, count: int | None) -> Reading[T]:
        """Return page 1, which is the same in every mode."""
        return await self._fetcher.at(0, 1, count)

    async def second_answer(self, count: int | None) -> Reading[T]:
        """Return the answer that tells the modes apart; it is page 2 if offsets are page numbers."""
        return await self._fetcher.at(PROBE_OFFSET, 2, count)

    async def settle(self, first: Reading[T], second: Reading[T]) -> bool:
        """Set the mode by page 1 and the answer to ``offset=2``; return whether these tell it."""
        answers = (first.keys, second.keys)
        found = await self._find(first, second, is_stable=answers == self._unclear)
        self._unclear = answers
        if found is None:
            self._doubt("the answers to offset 0 and 2 fit no known meaning of offset")
            return False
        self._keep(found, "pages 1 and 2 were read")
        return True

    async def has_changed(self, reason: str, count: int | None) -> bool:
        """Probe again because of *reason*; return whether ``offset`` means something else now."""
        self._doubt(reason)
        self._cache.forget()
        self._fetcher.drop()
        found = await self._find(await self.first_page(count), await self.second_answer(count))
        if found is None:
            return False
        before = self.mode
        self._keep(found, reason)
        return found is not before

    async def _find(self, first: Reading[T], second: Reading[T], *, is_stable: bool = False) -> Mode | None:
        size = self._fetcher.size
        if size < MIN_PROBE_SIZE:
            raise self._fail(f"the service cuts pages to {size}, which does not tell what offset means")
        return await find_mode(first, second, size=size, fetch=self._fetcher.source.fetch, is_stable=is_stable)

    def _keep(self, mode: Mode, reason: str) -> None:
        if self._pinned is not None and mode is not self._pinned:
            raise self._fail(f"{reason}, and offset does not mean what it was pinned to")
        self._cache.keep(mode)
        self.mode = mode

    def _doubt(self, reason: str) -> None:
        self._doubts += 1
        if self._doubts > _MAX_DOUBTS:
            raise self._fail(reason)
