"""Pagers of pages that no service sends."""

from __future__ import annotations

from typing import Any

import anyio

from coreclaw_async import AsyncPager, Page, ResultPage
from coreclaw_async._frames.reading import ItemInfo
from coreclaw_async._paging.pager import PageReader, PagerOptions


def pager_of(*pages: Page[Any], model: type | None = None) -> AsyncPager[Any]:
    """Return a pager of pages that no service sends, such as those with lone surrogates in keys."""
    left = list(pages)

    async def next_page() -> Page[Any] | None:
        await anyio.lowlevel.checkpoint()
        return left.pop(0) if left else None

    headers = [header for page in pages if isinstance(page, ResultPage) for header in page.headers]
    return AsyncPager(PageReader(next_page, PagerOptions(), info=ItemInfo(headers=lambda: headers, model=model)))
