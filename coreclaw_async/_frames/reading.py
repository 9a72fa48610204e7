"""Reads pages to their end, and hands their rows over in pieces, in a thread, so that the event loop is not blocked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import anyio.to_thread
import attrs

from coreclaw_async._frames.callers import Caller
from coreclaw_async.models import Page, ResultHeader

_ROWS_AT_ONCE = 1_000


@attrs.frozen(kw_only=True)
class ItemInfo:
    """
    What is known of the items of pages without reading them.

    Attributes:
        headers: Returns the columns that the pages so far have named, also those without items.
        has_keys: Whether an item is a row with the key of a batch's item.
        model: The class of the items, where they are models.
    """

    headers: Callable[[], Sequence[ResultHeader]] = tuple
    has_keys: bool = False
    model: type | None = None


@attrs.frozen
class PageSource:
    """
    Where rows come from.

    Attributes:
        next_page: Returns the next page, or None after the last.
        info: What is known of its items.
        made_at: The line that made the pager, or the batch.
    """

    next_page: Callable[[], Awaitable[Page[Any] | None]]
    info: ItemInfo
    made_at: Caller


HandOver: TypeAlias = Callable[[str], PageSource]
"""Returns what a method, which it is given the name of, reads the pages from; nobody else can read them then."""


async def read_rows(source: PageSource, add: Callable[[Sequence[Any]], None], method: str) -> None:
    """
    Hand all items over to *add*, about a thousand at a time.

    Raises:
        CoreClawError: They cannot be read. A note on it says how many were.
    """
    count = 0
    items: list[Any] = []
    try:
        while (page := await source.next_page()) is not None:
            count += len(page.items)
            items.extend(page.items)
            if len(items) >= _ROWS_AT_ONCE:
                await anyio.to_thread.run_sync(add, items)
                items = []
        if items:
            await anyio.to_thread.run_sync(add, items)
    except Exception as error:
        error.add_note(f"{method}() had read {count:,} rows and has written nothing; a new pager reads them again")
        raise
