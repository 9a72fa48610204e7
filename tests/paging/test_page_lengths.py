"""Pages of other lengths than were asked for, and wrong sizes and counts: no row twice, and none lost unseen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import pytest
from paging.list_model import DIALECTS, Dialect, Item, ModelList, identity, nameless, numbered, pager_of, read

from coreclaw_async._paging.listing import reading_of
from coreclaw_async._paging.offsets import Mode, find_mode
from coreclaw_async.models import Page

each_dialect = pytest.mark.parametrize("dialect", DIALECTS)
each_make = pytest.mark.parametrize("make", [nameless, numbered])
# Without a count, nothing tells the meanings of offset apart for items without an identity.
each_list = pytest.mark.parametrize(("make", "has_count"), [(nameless, True), (numbered, True), (numbered, False)])


def model_of(rows: list[Item], dialect: Dialect, *, has_count: bool = True) -> ModelList:
    count: Any = (lambda model, page: len(model.items)) if has_count else (lambda model, page: None)
    return ModelList(rows, dialect, echo=False, count=count)


@each_dialect
@each_list
@pytest.mark.parametrize("told", [1, 9, 11, 20, 100, 1000])
async def test_a_page_size_that_the_page_contradicts_is_not_believed(
    dialect: Dialect, make: Any, has_count: bool, told: int
) -> None:
    rows = make(45)
    model = model_of(rows, dialect, has_count=has_count)

    async def fetch(offset: int, limit: int) -> Page[Item]:
        return attrs.evolve(await model.fetch(offset, limit), page_size=told)

    assert await read(pager_of(model, fetch=fetch)) == (rows, None)


@each_dialect
@each_make
async def test_a_service_with_a_page_length_of_its_own_is_asked_for_pages_of_that_length(
    dialect: Dialect, make: Any
) -> None:
    rows = make(130)
    model = model_of(rows, dialect)
    limits: list[int] = []

    async def fetch(offset: int, limit: int) -> Page[Item]:
        limits.append(limit)
        return await model.fetch(offset, 25)

    assert await read(pager_of(model, fetch=fetch)) == (rows, None)
    assert limits[:2] == [10, 25]


@each_dialect
@each_make
async def test_a_service_that_gives_the_whole_list_whatever_is_asked_for_gives_each_row_once(
    dialect: Dialect, make: Any
) -> None:
    rows = make(130)
    model = model_of(rows, dialect)

    async def fetch(offset: int, limit: int) -> Page[Item]:
        return await model.fetch(0, 1000)

    items, _ = await read(pager_of(model, fetch=fetch))

    assert items == rows


@each_dialect
@each_list
@pytest.mark.parametrize(
    ("more", "words"), [(7, "page 1 holds 24 items, and 17 were"), (100, "110 items, and 10 were")]
)
async def test_pages_that_are_longer_than_asked_for_each_time_are_an_error(
    dialect: Dialect, make: Any, has_count: bool, more: int, words: str
) -> None:
    model = model_of(make(300), dialect, has_count=has_count)

    async def fetch(offset: int, limit: int) -> Page[Item]:
        return await model.fetch(offset, limit + more)

    items, error = await read(pager_of(model, fetch=fetch))

    assert items == []
    assert error is not None
    assert words in error.message


@pytest.mark.parametrize(("make", "has_count"), [(nameless, True), (numbered, False)])
async def test_a_later_page_that_is_longer_than_asked_for_is_an_error_where_nothing_tells_what_came_twice(
    make: Any, has_count: bool
) -> None:
    rows = make(60)
    model = model_of(rows, "row", has_count=has_count)

    async def fetch(offset: int, limit: int) -> Page[Item]:
        return await model.fetch(offset, limit + (offset >= 10))

    items, error = await read(pager_of(model, fetch=fetch))

    assert items == rows[:10]
    assert error is not None
    assert "page 2 holds 11 items, and 10 were asked for" in error.message


@pytest.mark.parametrize("dialect", ["row", "aligned"])
@pytest.mark.parametrize("rows", [3, 6, 7, 9])
@pytest.mark.parametrize("told", [1, 2])
async def test_a_count_that_is_too_high_makes_no_page_of_the_rows_of_page_1(
    dialect: Dialect, rows: int, told: int
) -> None:
    model = ModelList(nameless(rows), dialect, echo=False, count=lambda model, page: len(model.items) + told)

    items, error = await read(pager_of(model, page_size=3))

    assert items == nameless(rows)[: len(items)]
    assert error is not None


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("rest", [1, 4, 5])
async def test_a_page_of_rows_like_the_last_of_page_1_is_another_page(dialect: Dialect, rest: int) -> None:
    rows = [*nameless(3), *nameless(1, 2) * rest]
    model = ModelList(rows, dialect, echo=False)

    items, error = await read(pager_of(model, page_size=3))

    assert (items, error) == (rows, None)


@pytest.mark.parametrize(
    ("second", "shown_at_1", "found"),
    [
        (range(2, 12), range(10), Mode.PAGE),
        (range(2, 12), range(1, 11), Mode.ROW),
        (range(2, 12), range(0), None),
        (range(2, 12), range(70, 80), None),
        (range(10), range(10), Mode.PAGE),
        ([2, 3, 4, 5, 99, *range(7, 12)], range(0), Mode.PAGE),
    ],
    ids=["a page", "a row", "nothing", "others", "the same page twice", "not the rows that a row would be"],
)
async def test_where_the_last_row_is_not_shown_another_answer_tells_a_row_from_a_page(
    second: Sequence[int], shown_at_1: Sequence[int], found: Mode | None
) -> None:
    def page(numbers: Sequence[int]) -> Page[Item]:
        return Page(items=tuple({"n": number} for number in numbers), count=50)

    async def fetch(offset: int, _: int) -> Page[Item]:
        return page(shown_at_1 if offset == 1 else [])

    first, probe = (reading_of(identity, number, page(numbers)) for number, numbers in ((1, range(10)), (2, second)))

    assert await find_mode(first, probe, size=10, fetch=fetch, is_stable=True) is found


@each_dialect
@each_make
async def test_a_list_that_is_whole_on_a_page_longer_than_asked_for_costs_one_request(
    dialect: Dialect, make: Any
) -> None:
    model = ModelList(make(11), dialect)

    async def fetch(offset: int, limit: int) -> Page[Item]:
        return await model.fetch(offset, 20)

    assert await read(pager_of(model, fetch=fetch)) == (make(11), None)
    assert len(model.requests) == 1


@pytest.mark.parametrize("dialect", ["page", "aligned"])
@pytest.mark.parametrize("too_many", [0, 1])
async def test_a_page_2_like_page_1_is_told_from_page_1_by_the_page_beyond_the_end(
    dialect: Dialect, too_many: int
) -> None:
    first = Page(items=tuple({"n": n} for n in (0, 1, 1, 1, 1, 1)), count=12 + too_many)
    asked: list[int] = []

    async def fetch(offset: int, limit: int) -> Page[Item]:
        asked.append(offset)
        is_there = offset == 1 or (dialect == "aligned" and offset < 12)
        return attrs.evolve(first, items=first.items if is_there else ())

    reading = reading_of(identity, 1, first)

    assert await find_mode(reading, reading, size=6, fetch=fetch) is (Mode.PAGE if dialect == "page" else Mode.ROW)
    assert len(asked) <= 3


@pytest.mark.parametrize(("size", "count"), [(3, 4), (6, 13)])
async def test_a_page_2_like_page_1_of_a_short_or_changing_list_tells_nothing(size: int, count: int) -> None:
    first = Page(items=tuple({"n": n} for n in (0, 1, 1, 1, 1, 1)[:size]), count=count)

    async def fetch(offset: int, limit: int) -> Page[Item]:
        told = count + 1 if offset not in {1, count - 1} else count
        return attrs.evolve(first, items=first.items if offset == 1 else (), count=told)

    reading = reading_of(identity, 1, first)

    assert await find_mode(reading, reading, size=size, fetch=fetch) is None


@pytest.mark.parametrize("copies", [2, 5])
@pytest.mark.parametrize("rest", [10, 6])
async def test_where_the_last_page_is_shown_beyond_the_end_a_page_2_like_page_1_makes_no_row_number(
    copies: int, rest: int
) -> None:
    rows = ([{"n": 0}] + [{"n": 1}] * 9) * copies + nameless(rest, 50)
    model = ModelList(rows, echo=False, repeats_last=True)

    assert await read(pager_of(model)) == (rows, None)


async def test_a_page_2_like_page_1_of_many_short_pages_may_be_an_error_and_is_never_read_as_rows() -> None:
    rows = [{"n": n} for n in (0, 1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 4)]
    found, error = await read(pager_of(ModelList(rows, echo=False, repeats_last=True), page_size=3))

    assert error is not None
    assert found == rows[: len(found)]


@each_dialect
@pytest.mark.parametrize("too_many", [0, 1])
async def test_rows_that_are_all_alike_are_as_many_as_there_are(dialect: Dialect, too_many: int) -> None:
    rows = [{"n": 0}] * 29
    model = ModelList(rows, dialect, echo=False, count=lambda model, page: len(model.items) + too_many)
    found, error = await read(pager_of(model, page_size=5))

    assert found == rows
    assert (error is None) is (too_many == 0)


@pytest.mark.parametrize(("shown", "count"), [((), 29), (({"n": 8},), 29), (({"n": 8},), 30)])
async def test_answers_beyond_the_end_that_fit_no_meaning_tell_nothing(shown: tuple[Item, ...], count: int) -> None:
    first = Page(items=tuple({"n": n} for n in (0, 1, 1, 1, 1, 1, 1, 1, 1, 1)), count=29)
    answers = {28: attrs.evolve(first, items=({"n": 7},)), 4: attrs.evolve(first, items=shown, count=count)}

    async def fetch(offset: int, limit: int) -> Page[Item]:
        return answers[offset]

    reading = reading_of(identity, 1, first)

    assert await find_mode(reading, reading, size=10, fetch=fetch) is None


@pytest.mark.parametrize(
    ("numbers", "size"),
    [("110001010101", 4), ("10111", 3), ("00010", 3), ("01201", 3), ("0" * 5, 3), ("0101", 3)],
)
@each_dialect
async def test_a_short_list_with_alike_rows_is_whole_where_nothing_is_beyond_the_end(
    dialect: Dialect, numbers: str, size: int
) -> None:
    rows = [{"n": int(digit)} for digit in numbers]

    assert await read(pager_of(ModelList(rows, dialect, echo=False), page_size=size)) == (rows, None)


async def test_rows_that_are_all_alike_are_whole_where_the_last_page_is_shown_again() -> None:
    rows = [{"n": 0}] * 11

    assert await read(pager_of(ModelList(rows, echo=False, repeats_last=True), page_size=7)) == (rows, None)


@pytest.mark.parametrize("numbers", ["1011", "0000", "0122"])
async def test_alike_rows_and_a_count_that_is_too_low_by_one_are_never_a_short_list(numbers: str) -> None:
    rows = [{"n": int(digit)} for digit in numbers]
    model = ModelList(rows, echo=False, count=lambda model, page: len(model.items) - 1)
    found, error = await read(pager_of(model, page_size=3))

    assert error is not None or found == rows


@pytest.mark.parametrize("when", range(6))
@each_dialect
async def test_rows_that_are_all_alike_are_whole_where_one_comes_to_a_single_full_page(
    dialect: Dialect, when: int
) -> None:
    model = ModelList([{"n": 0}] * 10, dialect, echo=False)
    model.changes = {when: lambda model: model.items.append({"n": 0})}
    found, error = await read(pager_of(model, page_size=10))

    assert error is not None or len(found) in {10, 11}
    assert dialect != "row" or error is None
