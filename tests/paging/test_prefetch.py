"""Pages read ahead: no more of them than are needed, and none twice because another one failed."""

from __future__ import annotations

from typing import Any

import pytest
from paging.list_model import EACH_DIALECT, Dialect, ModelList, nameless, numbered, pager_of
from quick_cases import slowly

from coreclaw_async import InvalidResponseError


@EACH_DIALECT
@slowly("prefetch", 4, 0, 16)
@pytest.mark.parametrize("page_size", [1, 3, 10])
@slowly("most", 11, 1, 9, 30)
async def test_no_page_is_read_ahead_that_is_not_asked_for(
    dialect: Dialect, prefetch: int, page_size: int, most: int
) -> None:
    model = ModelList(numbered(300), dialect)

    items = await pager_of(model, page_size=page_size, prefetch=prefetch, max_items=most).collect()

    assert items == numbered(most)
    size = page_size if page_size >= 3 else 10
    assert len(model.requests) <= -(-most // size) + 2


@EACH_DIALECT
@pytest.mark.parametrize("make", [numbered, nameless])
@slowly("prefetch", 4, 0, 16)
@pytest.mark.parametrize("failures", [1, 5])
async def test_page_that_fails_costs_no_other_page(dialect: Dialect, make: Any, prefetch: int, failures: int) -> None:
    model = ModelList(make(300), dialect)
    failed = 0

    async def fetch(offset: int, limit: int) -> Any:
        nonlocal failed
        page = await model.fetch(offset, limit)
        if page.page_index == 7 and failed < failures:
            failed += 1
            raise InvalidResponseError("broken")
        return page

    pager = pager_of(model, prefetch=prefetch, fetch=fetch)
    items: list[Any] = []
    for _ in range(failures + 1):
        try:
            async for item in pager:
                items.append(item)
        except InvalidResponseError:
            continue

    assert failed == failures
    assert items == make(300)
    assert len(model.requests) <= 31 + failures + 3
