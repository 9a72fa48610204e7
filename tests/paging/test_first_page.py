"""The first page read again: what it shows now counts, not what it showed at first."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from paging.list_model import (
    EACH_DIALECT,
    EACH_ECHO,
    Dialect,
    Item,
    ModelList,
    nameless,
    numbered,
    pager_of,
    read,
)
from quick_cases import slowly


def grown(model: ModelList, rows: list[Item], steps: list[int]) -> Any:
    """Return a wait that shows the next step of *rows* and ends with the last one."""
    left = list(steps)
    model.items = rows[: left.pop(0)]

    async def goes_on(_: int) -> bool:
        if not left:
            return False
        model.items = rows[: left.pop(0)]
        return True

    return goes_on


@EACH_DIALECT
@EACH_ECHO
@pytest.mark.parametrize("make", [nameless, numbered])
@pytest.mark.parametrize("prefetch", [0, 4])
@slowly("steps", [3, 8, 15, 25], [5, 25], [9, 11], [1, 15], [4, 9, 13, 18], [10, 20], [0, 4, 25])
async def test_rows_come_once_when_a_followed_list_grows_over_its_first_page(
    dialect: Dialect, echo: bool, make: Any, prefetch: int, steps: list[int]
) -> None:
    model = ModelList([], dialect, echo)
    rows = make(steps[-1])
    goes_on = grown(model, rows, steps)

    items, error = await read(pager_of(model, goes_on=goes_on, prefetch=prefetch))

    assert not [number for number, times in Counter(item["n"] for item in items).items() if times > 1]
    assert error is None
    assert items == rows
    assert len(model.requests) <= 4 * len(steps) + 12


@EACH_DIALECT
@pytest.mark.parametrize("first", [0, 5, 9, 10, 15])
@pytest.mark.parametrize("make", [nameless, numbered])
async def test_rows_come_once_when_an_ended_list_shows_few_at_first(dialect: Dialect, first: int, make: Any) -> None:
    rows = make(25)
    model = ModelList([], dialect)
    goes_on = grown(model, rows, [first, 25])

    items, error = await read(pager_of(model, goes_on=goes_on))

    assert (items, error) == (rows, None)


@EACH_DIALECT
@EACH_ECHO
@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize("empty", [1, 2])
async def test_list_whose_first_page_was_empty_once_is_judged_by_what_comes(
    dialect: Dialect, echo: bool, alike: bool, empty: int
) -> None:
    rows = [{"n": number // 2 if alike else number} for number in range(25)]
    model = ModelList([], dialect, echo, count=lambda m, _: 25)

    def show(m: ModelList) -> None:
        m.items = list(rows)

    model.changes = {empty: show}

    items, error = await read(pager_of(model))

    assert (items, error) == (rows, None)
    assert len(model.requests) <= 12


async def test_page_that_has_moved_takes_nothing_that_another_page_has_brought() -> None:
    """Both pages came short, and the second has moved when they are read again."""
    rows = nameless(45)
    model = ModelList(list(rows), count=lambda m, _: 45)
    calls = 0

    async def fetch(offset: int, limit: int) -> Any:
        nonlocal calls
        calls += 1
        page = await model.fetch(offset, limit)
        cut = {2: 4, 3: 6}.get(calls)
        items = page.items if cut is None else page.items[:cut]
        if calls == 8:
            items = items[::-1]
        return type(page)(items=items, count=45, page_index=page.page_index, page_size=10, offset=offset, limit=limit)

    pager = pager_of(model, fetch=fetch)
    first, error = await read(pager)
    rest, again = await read(pager)

    assert error is not None
    assert again is None
    assert sorted(item["n"] for item in first + rest) == list(range(45))


def shown_late(rows: list[Item], first: int, looks: int) -> Any:
    """Return a change that shows *first* rows for some looks, and then all."""

    def change(model: ModelList) -> None:
        model.items = list(rows if len(model.requests) > looks else rows[:first])

    return change


@EACH_DIALECT
@pytest.mark.parametrize("make", [nameless, numbered])
@pytest.mark.parametrize(("echo", "looks"), [(True, 1), (True, 2), (False, 1)])
@slowly("first", 5, 1, 2, 3, 30, 99)
async def test_first_page_that_is_behind_its_count_is_not_taken_for_a_cut_one(
    dialect: Dialect, make: Any, echo: bool, looks: int, first: int
) -> None:
    rows = make(600)
    model = ModelList([], dialect, echo, count=lambda m, _: 600)
    model.changes = dict.fromkeys(range(30), shown_late(rows, first, looks))

    items, error = await read(pager_of(model, page_size=100))

    assert error is None
    assert sorted(item["n"] for item in items) == list(range(600))
    assert len(model.requests) <= 14


@pytest.mark.parametrize("first", [1, 2])
async def test_one_or_two_rows_that_lag_behind_their_count_do_not_make_a_list_unreadable(first: int) -> None:
    rows = numbered(250)
    model = ModelList(rows[:first], echo=False, count=lambda m, _: first + 1 if len(m.items) == first else 250)

    async def goes_on(_: int) -> bool:
        has_news = len(model.items) == first
        model.items = list(rows)
        return has_news

    items, error = await read(pager_of(model, page_size=100, goes_on=goes_on))

    assert (items, error) == (rows, None)
    assert len(model.requests) <= 12


@EACH_DIALECT
@pytest.mark.parametrize("make", [nameless, numbered])
@EACH_ECHO
@slowly("cap", 11, 4, 20)
async def test_page_that_the_service_cuts_costs_one_more_look(
    dialect: Dialect, make: Any, echo: bool, cap: int
) -> None:
    model = ModelList(make(95), dialect, echo, cap=cap)

    items, error = await read(pager_of(model, page_size=100))

    assert (items, error) == (make(95), None)
    assert len(model.requests) <= 95 // cap + 1 + 4
