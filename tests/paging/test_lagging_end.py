"""Where a followed list lags behind its own count, only its end is read again."""

from __future__ import annotations

from typing import Any

import pytest
from paging.list_model import EACH_DIALECT, Dialect, ModelList, nameless, numbered, pager_of, read
from quick_cases import slowly

from coreclaw_async import InvalidResponseError, PaginationError


class Growing:
    """A list that shows some rows fewer than it counts, until it has ended."""

    def __init__(self, rows: list[Any], dialect: Dialect, *, step: int, lag: int, **model: Any) -> None:
        self.rows, self.step, self.lag = rows, step, lag
        self.there = step
        self.waits = 0
        self.model = ModelList([], dialect, **model)
        if self.model.count(self.model, ()) is not None:
            self.model.count = lambda m, _: self.there
        self._show()

    def _show(self) -> None:
        self.model.items = list(self.rows[: self.there - (self.lag if self.waits >= 0 else 0)])

    async def goes_on(self, came: int) -> bool:
        self.waits += 1
        if self.there < len(self.rows):
            self.there = min(len(self.rows), self.there + self.step)
        elif came < len(self.rows):
            self.lag = 0
        else:
            return False
        self._show()
        return True


@EACH_DIALECT
@pytest.mark.parametrize("make", [numbered, nameless])
@pytest.mark.parametrize("prefetch", [0, 4])
@slowly("lag", 8, 0, 1)
async def test_followed_list_behind_its_count_costs_a_few_requests_for_each_wait(
    dialect: Dialect, make: Any, prefetch: int, lag: int
) -> None:
    rows = make(200)
    growing = Growing(rows, dialect, step=13, lag=lag)

    items, error = await read(pager_of(growing.model, goes_on=growing.goes_on, prefetch=prefetch))

    assert (items, error) == (rows, None)
    assert len(growing.model.requests) <= 5 * growing.waits + 60 + 6


@EACH_DIALECT
@pytest.mark.parametrize("prefetch", [0, 4])
async def test_row_that_was_missed_is_looked_for_when_the_wait_gives_up(dialect: Dialect, prefetch: int) -> None:
    rows = numbered(45)
    model = ModelList(rows[:12] + rows[13:], dialect, count=lambda m, _: 40 + min(5, len(m.requests)))
    waits = 0

    async def goes_on(came: int) -> bool:
        nonlocal waits
        waits += 1
        if came >= 45:
            return False
        if waits > 4:
            model.items = list(rows)
            raise PaginationError("the run has ended with 45 rows", collected=came)
        return True

    items, error = await read(pager_of(model, goes_on=goes_on, prefetch=prefetch))

    assert error is None
    assert sorted(item["n"] for item in items) == list(range(45))
    assert len(model.requests) <= 40


@EACH_DIALECT
@pytest.mark.parametrize("make", [numbered, nameless])
async def test_followed_list_without_a_count_may_be_waited_for_often(dialect: Dialect, make: Any) -> None:
    rows = make(200)
    growing = Growing(rows, dialect, step=7, lag=0, count=lambda m, _: None)

    items, error = await read(pager_of(growing.model, goes_on=growing.goes_on))

    assert error is None
    assert sorted(item["n"] for item in items) == list(range(200))


@EACH_DIALECT
@pytest.mark.parametrize("make", [numbered, nameless])
async def test_end_of_a_followed_list_without_a_count_may_be_looked_at_often(dialect: Dialect, make: Any) -> None:
    model = ModelList(make(25), dialect, count=lambda m, _: None)
    waits = 0

    async def goes_on(came: int) -> bool:
        nonlocal waits
        waits += 1
        return waits < 12

    items, error = await read(pager_of(model, goes_on=goes_on))

    assert (items, error) == (make(25), None)


@pytest.mark.parametrize("failures", [1, 2, 3, 5])
async def test_look_at_a_short_page_that_fails_is_made_again(failures: int) -> None:
    rows = numbered(250)
    model = ModelList(rows, count=lambda m, _: 250)
    calls = 0

    async def fetch(offset: int, limit: int) -> Any:
        nonlocal calls
        calls += 1
        page = await model.fetch(offset, limit)
        if calls == 2:
            return type(page)(items=page.items[:50], count=250, offset=offset, limit=limit)
        if 4 <= calls < 4 + failures:
            raise InvalidResponseError("broken")
        return page

    pager = pager_of(model, page_size=100, fetch=fetch)
    items: list[Any] = []
    for _ in range(failures + 1):
        try:
            items += await pager.collect()
        except InvalidResponseError:
            continue

    assert sorted(item["n"] for item in items) == list(range(250))
    assert calls <= 4 + failures
