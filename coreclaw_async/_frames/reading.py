"""Reads pages to their end, and hands their rows over in pieces, in a thread, so that the event loop is not blocked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeAlias

import anyio.to_thread

from coreclaw_async.models import Page, ResultHeader, ResultPage

_ROWS_AT_ONCE = 1_000

NextPage: TypeAlias = Callable[[], Awaitable[Page[Any] | None]]
"""Returns the next page, or None after the last."""


class RowSink(Protocol):
    """Takes rows."""

    def add(self, items: Sequence[Any], headers: Sequence[ResultHeader]) -> None:
        """Take items, and what the service says about their columns; called in a thread."""


async def read_rows(next_page: NextPage, sink: RowSink, method: str) -> None:
    """
    Hand all items over to *sink*, about a thousand at a time.

    Raises:
        CoreClawError: They cannot be read. A note on it says how many were.
    """
    count = 0
    items: list[Any] = []
    headers: dict[str, ResultHeader] = {}
    try:
        while (page := await next_page()) is not None:
            count += len(page.items)
            items.extend(page.items)
            if isinstance(page, ResultPage):
                headers.update((header.key, header) for header in page.headers if header.key not in headers)
            if len(items) >= _ROWS_AT_ONCE:
                await anyio.to_thread.run_sync(sink.add, items, tuple(headers.values()))
                items = []
        await anyio.to_thread.run_sync(sink.add, items, tuple(headers.values()))
    except Exception as error:
        error.add_note(f"{method}() had read {count:,} rows and has written nothing; a new pager reads them again")
        raise
