"""A list is read whole in few requests, whatever the service does meanwhile, or an error has what came."""

from __future__ import annotations

import random
from typing import Any

import anyio
import pytest
from paging.list_model import (
    EACH_DIALECT,
    EACH_ECHO,
    Dialect,
    ModelList,
    identity,
    nameless,
    numbered,
    pager_of,
    read,
)
from quick_cases import slowly

from coreclaw_async import InvalidResponseError, PaginationError
from coreclaw_async._paging.fetcher import page_over
from coreclaw_async._paging.listing import ListSource, reading_of
from coreclaw_async._paging.offsets import Mode, OffsetCache
from coreclaw_async._paging.scan_state import ScanState
from coreclaw_async._paging.seen import Deduplicator
from coreclaw_async._paging.tally import Tally
from coreclaw_async.models import Page
from coreclaw_async.testing import FakeClock


def append(count: int) -> Any:
    def change(model: ModelList) -> None:
        start = len(model.items) + 10_000
        model.items.extend(numbered(count, start) if "id" in model.items[0] else nameless(count, start))

    return change


def insert(count: int, at: int = 0) -> Any:
    def change(model: ModelList) -> None:
        start = len(model.items) + 10_000
        model.items[at:at] = numbered(count, start) if "id" in model.items[0] else nameless(count, start)

    return change


def delete(*places: int) -> Any:
    def change(model: ModelList) -> None:
        for place in sorted(places, reverse=True):
            del model.items[place]

    return change


def both(*changes: Any) -> Any:
    def change(model: ModelList) -> None:
        for one in changes:
            one(model)

    return change


@EACH_DIALECT
@pytest.mark.parametrize("out_of_order", [True, False])
@pytest.mark.parametrize("prefetch", [0, 8])
async def test_growing_list_is_read_whole_in_about_the_fewest_requests(
    dialect: Dialect, out_of_order: bool, prefetch: int
) -> None:
    model = ModelList(numbered(1000), dialect, each=append(16), out_of_order=out_of_order)

    items, error = await read(pager_of(model, page_size=100, prefetch=prefetch))

    assert error is None
    assert len(items) == len({item["id"] for item in items}) >= 1000
    assert len(model.requests) <= len(items) / 100 + 5


@EACH_ECHO
@EACH_DIALECT
@pytest.mark.parametrize("make", [numbered, nameless])
@pytest.mark.parametrize("count", [20, 30])
@pytest.mark.parametrize("prefetch", [0, 4])
async def test_full_last_page_that_is_repeated_beyond_the_end_is_the_end(
    make: Any, dialect: Dialect, echo: bool, count: int, prefetch: int
) -> None:
    model = ModelList(make(count), dialect, echo, repeats_last=True)

    items, error = await read(pager_of(model, prefetch=prefetch))

    assert error is None
    assert items == make(count)
    assert len(model.requests) <= count / 10 + 4


@EACH_DIALECT
@pytest.mark.parametrize("expects_count", [True, False])
@pytest.mark.parametrize("prefetch", [0, 4])
async def test_count_that_is_one_too_high_is_an_error_after_a_few_more_requests(
    dialect: Dialect, expects_count: bool, prefetch: int
) -> None:
    model = ModelList(numbered(1000), dialect, count=lambda m, _: len(m.items) + 1)

    items, error = await read(pager_of(model, page_size=100, prefetch=prefetch, expects_count=expects_count))

    assert items == numbered(1000)
    assert error is not None
    assert (error.collected, error.expected) == (1000, 1001)
    assert len(model.requests) <= 10 + 6


async def test_rows_that_collect_had_are_in_the_error_and_come_again() -> None:
    model = ModelList(numbered(30), count=lambda m, _: len(m.items) + 1)
    pager = pager_of(model)

    with pytest.raises(PaginationError) as caught:
        await pager.collect()

    assert list(caught.value.items) == numbered(30)
    model.items.extend(numbered(1, 30))
    model.count = lambda m, _: len(m.items)
    assert await pager.collect() == numbered(31)


async def test_rows_that_were_handed_out_one_by_one_are_not_in_the_error() -> None:
    model = ModelList(numbered(30), count=lambda m, _: len(m.items) + 1)

    items, error = await read(pager_of(model))

    assert items == numbered(30)
    assert error is not None
    assert error.items == ()


async def test_iterating_again_after_a_wrong_count_goes_on_with_what_has_come_meanwhile() -> None:
    model = ModelList(numbered(30), count=lambda m, _: 35)
    pager = pager_of(model)
    items, error = await read(pager)
    assert error is not None
    before = len(model.requests)

    again, error = await read(pager)

    assert (again, error is None) == ([], False)
    assert len(model.requests) <= before + 6
    model.items.extend(numbered(5, 30))
    rest, error = await read(pager)
    assert error is None
    assert items + rest == numbered(35)


@EACH_DIALECT
@pytest.mark.parametrize("differ", [True, False])
@pytest.mark.parametrize(("first", "second"), [(3, 5), (3, 4), (12, 17), (3, 27), (9, 10), (20, 24), (8, 49)])
@pytest.mark.parametrize("prefetch", [0, 3])
async def test_two_items_with_one_identity_both_come_when_the_count_says_so(
    dialect: Dialect, differ: bool, first: int, second: int, prefetch: int
) -> None:
    items = numbered(50)
    items[second] = {**items[first], "n": second} if differ else items[first]
    model = ModelList(list(items), dialect)

    got, error = await read(pager_of(model, prefetch=prefetch))

    assert error is None
    assert sorted(item["n"] for item in got) == sorted(item["n"] for item in items)
    assert len(model.requests) <= 5 + 1 + 3 + 2 * 2


async def test_item_that_moves_between_two_pages_as_they_are_read_again_comes_once() -> None:
    def leave(model: ModelList) -> None:
        del model.items[0]

    def come(model: ModelList) -> None:
        model.items[:0] = numbered(1, 100 + len(model.requests))

    # The item before the last is at the end of page 3 and at the begin of page 4, both times that they are read.
    model = ModelList(numbered(65), "page", changes={2: leave, 3: come, 4: leave, 5: come})

    got, error = await read(pager_of(model, page_size=21))

    assert error is None
    assert sorted(item["n"] for item in got) == list(range(65))


@pytest.mark.parametrize("begins_with", [0, 1])
@pytest.mark.parametrize("page_size", [10, 15, 25])
async def test_replicas_in_turn_that_order_two_items_differently_give_each_once_or_an_error(
    begins_with: int, page_size: int
) -> None:
    def swap(model: ModelList) -> None:
        last, next_first = page_size - 1, page_size
        model.items[last], model.items[next_first] = model.items[next_first], model.items[last]

    model = ModelList(numbered(45), "page", changes=dict.fromkeys(range(begins_with, 99), swap))

    got, error = await read(pager_of(model, page_size=page_size))

    assert len({item["n"] for item in got}) == len(got)
    assert error is not None or len(got) == 45


@pytest.mark.parametrize(("page_size", "seed"), [(10, 377), (10, 1171), (15, 49), (15, 217), (25, 16), (25, 329)])
async def test_replicas_at_random_that_order_two_items_differently_lose_none(page_size: int, seed: int) -> None:
    chance = random.Random(seed)

    def answer_from_either(model: ModelList) -> None:
        if chance.random() < 0.5:
            last, next_first = page_size - 1, page_size
            model.items[last], model.items[next_first] = model.items[next_first], model.items[last]

    model = ModelList(numbered(45), "page", changes=dict.fromkeys(range(99), answer_from_either))

    got, error = await read(pager_of(model, page_size=page_size))

    assert error is None
    assert sorted(item["n"] for item in got) == list(range(45))


@pytest.mark.parametrize("seed", [9, 28, 50])
async def test_an_item_that_replicas_have_on_places_that_no_page_can_hold_is_read_twice_in_a_row(seed: int) -> None:
    chance = random.Random(seed)

    def answer_from_either(model: ModelList) -> None:
        if chance.random() < 0.5:
            model.items[3], model.items[140] = model.items[140], model.items[3]

    model = ModelList(numbered(250), "page", changes=dict.fromkeys(range(99), answer_from_either))

    got, error = await read(pager_of(model, page_size=100))

    assert error is None
    assert sorted(item["n"] for item in got) == list(range(250))


async def test_pages_of_nearly_equal_items_without_identity_are_told_by_the_length_of_the_list() -> None:
    """They look like rows of page 1 shifted by two, of which one has changed."""
    items = [{"n": 5 if place in {7, 25} else 0} for place in range(60)]
    model = ModelList(items, "page", echo=False)

    got, error = await read(pager_of(model, page_size=20))

    assert error is None
    assert got == items


@pytest.mark.parametrize("has_identity", [True, False])
@pytest.mark.parametrize("echo", [True, False])
async def test_replicas_by_offset_of_which_one_lacks_a_row_in_front_give_no_short_list(
    *, echo: bool, has_identity: bool
) -> None:
    """Page 1 always comes from one replica, and the other pages from one that has its first row at the end."""
    ahead = ModelList((numbered if has_identity else nameless)(200), "row", echo=echo)
    behind = ModelList([*ahead.items[1:], ahead.items[0]], "row", echo=echo)

    async def fetch(offset: int, limit: int) -> Page[dict[str, Any]]:
        return await (behind if offset else ahead).fetch(offset, limit)

    got, error = await read(pager_of(ahead, page_size=100, fetch=fetch))

    assert len({item["n"] for item in got}) == len(got) == 100
    assert error is not None
    assert len(ahead.requests + behind.requests) <= 17


@pytest.mark.parametrize("echo", [True, False])
@pytest.mark.parametrize("second", [20, 50])
async def test_two_items_with_one_identity_both_come_from_a_service_that_cuts_pages(echo: bool, second: int) -> None:
    items = numbered(90)
    items[second] = {**items[5], "n": second}
    model = ModelList(list(items), "page", echo=echo, cap=20)

    got, error = await read(pager_of(model, page_size=100))

    assert error is None
    assert sorted(item["n"] for item in got) == list(range(90))


async def test_two_items_with_one_identity_that_no_page_can_hold_both_come() -> None:
    items = numbered(250)
    items[140] = {**items[3], "n": 140}
    model = ModelList(list(items), "page")

    got, error = await read(pager_of(model, page_size=100))

    assert error is None
    assert sorted(item["n"] for item in got) == list(range(250))


@pytest.mark.parametrize("first", [0, 1, 9, 98, 99, 100, 199, 499])
def test_a_page_over_two_places_holds_both_and_is_there_wherever_they_are_near(first: int) -> None:
    for last in range(first, first + 130):
        found = page_over(first, last)
        if found is None:
            assert last - first > 40
        else:
            number, length = found
            assert 3 <= length <= 100
            assert (number - 1) * length <= first <= last < number * length


async def test_item_that_stands_twice_and_is_counted_once_comes_once() -> None:
    items = numbered(25)
    model = ModelList([*items[:9], items[3], *items[9:]], count=lambda m, _: 25)

    got, error = await read(pager_of(model))

    assert error is None
    assert sorted(item["n"] for item in got) == list(range(25))


async def test_two_different_items_with_one_identity_both_come_without_a_count() -> None:
    items = numbered(25)
    items[5] = {**items[3], "n": 5}
    model = ModelList(items, count=lambda m, _: None)

    got, error = await read(pager_of(model))

    assert error is None
    assert sorted(item["n"] for item in got) == list(range(25))


@EACH_DIALECT
@EACH_ECHO
@slowly("places", [9], [0], [1], [10], [19], [23], [9, 10], [0, 1, 2], list(range(10)))
@pytest.mark.parametrize("change", [None, insert(1), insert(3), append(3), both(insert(2), append(2))])
async def test_items_without_identity_among_others_come_once_each(
    dialect: Dialect, echo: bool, places: list[int], change: Any
) -> None:
    items = numbered(45)
    for place in places:
        del items[place]["id"]
    model = ModelList(list(items), dialect, echo, changes={} if change is None else {3: change})

    got, error = await read(pager_of(model))

    numbers = [item["n"] for item in got]
    if error is None:
        assert len(numbers) == len(set(numbers))
        assert set(range(45)) <= set(numbers)
    else:
        assert change is not None
        assert len(places) > 5


async def test_item_without_identity_does_not_make_a_growing_list_unreadable() -> None:
    items = numbered(95)
    del items[33]["id"]
    model = ModelList(items, each=append(1))

    got, error = await read(pager_of(model, prefetch=4))

    assert error is None
    assert len({item["n"] for item in got}) == len(got) >= 95


@EACH_DIALECT
@EACH_ECHO
@pytest.mark.parametrize("when", [2, 3])
async def test_insertion_and_deletion_of_nameless_items_that_keep_the_count_are_no_whole_list(
    dialect: Dialect, echo: bool, when: int
) -> None:
    model = ModelList(nameless(45), dialect, echo, changes={when: both(delete(44), insert(1))})

    _, error = await read(pager_of(model))

    assert error is not None


@pytest.mark.parametrize("place", [0, 3, 9])
async def test_nameless_item_of_the_first_page_that_goes_while_another_comes_is_noticed(place: int) -> None:
    model = ModelList(nameless(45), changes={2: both(delete(place), append(1))})

    _, error = await read(pager_of(model))

    assert error is not None


@pytest.mark.parametrize("prefetch", [0, 3])
async def test_insertion_and_deletion_that_keep_the_count_lose_nothing_where_items_have_identity(prefetch: int) -> None:
    model = ModelList(numbered(45), changes={2: both(delete(44), insert(1))})

    items, error = await read(pager_of(model, prefetch=prefetch))

    assert error is None
    assert {item["n"] for item in items} >= set(range(44))


@pytest.mark.parametrize("short", [1, 2, 4])
@pytest.mark.parametrize("make", [numbered, nameless])
async def test_page_that_once_comes_short_is_read_again_alone(short: int, make: Any) -> None:
    model = ModelList(make(45))
    hidden: list[Any] = []

    def hide(m: ModelList) -> None:
        hidden[:] = m.items
        del m.items[short * 10 + 4 :]

    def show(m: ModelList) -> None:
        m.items[:] = hidden

    model.count = lambda m, _: 45
    model.changes = {short: hide, short + 1: show}

    items, error = await read(pager_of(model))

    assert error is None
    assert sorted(item["n"] for item in items) == list(range(45))
    assert len(model.requests) <= 5 + 4


@pytest.mark.parametrize("prefetch", [0, 4])
@slowly("place", 3, 0, 1, 2, 4, 5)
@pytest.mark.parametrize("make", [numbered, nameless])
@EACH_DIALECT
async def test_broken_answer_keeps_the_position(prefetch: int, place: int, make: Any, dialect: Dialect) -> None:
    model = ModelList(make(45), dialect)
    calls = 0

    async def fetch(offset: int, limit: int) -> Any:
        nonlocal calls
        calls += 1
        if calls == place + 1:
            raise InvalidResponseError("the success has no data")
        return await model.fetch(offset, limit)

    pager = pager_of(model, prefetch=prefetch, fetch=fetch)
    items: list[Any] = []
    failures = 0
    while True:
        try:
            async for item in pager:
                items.append(item)
        except InvalidResponseError:
            failures += 1
            continue
        break

    assert items == make(45)
    assert failures <= 1


async def test_cancelled_prefetch_goes_on_where_it_stood() -> None:
    model = ModelList(numbered(95))
    pager = pager_of(model, prefetch=4)
    items = await pager.collect(15)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await pager.collect()
    items += await pager.collect()

    assert items == numbered(95)


@pytest.mark.parametrize("mode", list(Mode))
async def test_list_that_adds_up_is_read_once(mode: Mode) -> None:
    model = ModelList(numbered(95), "page" if mode is Mode.PAGE else "row")
    cache = OffsetCache(FakeClock())
    cache.keep(mode)

    items, error = await read(pager_of(model, cache=cache))

    assert (len(items), error) == (95, None)
    assert len(model.requests) == 10


@pytest.mark.parametrize("expects_count", [True, False])
async def test_replica_whose_count_lags_behind_costs_no_second_sweep_of_rows(expects_count: bool) -> None:
    model = ModelList(numbered(95))
    model.count = lambda m, _: 95 if len(m.requests) % 2 else 93

    items, error = await read(pager_of(model, expects_count=expects_count))

    assert error is None
    assert len(items) == 95
    if expects_count:
        assert len(model.requests) == 10


async def test_pages_cut_to_two_items_are_refused() -> None:
    _, error = await read(pager_of(ModelList(numbered(9), cap=2)))

    assert error is not None
    assert "cuts pages to 2" in str(error)


def switch_to(dialect: Dialect) -> Any:
    def change(model: ModelList) -> None:
        model.dialect = dialect

    return change


async def test_row_numbers_that_become_page_numbers_are_noticed_without_a_count() -> None:
    model = ModelList(numbered(25), "row", echo=False, count=lambda m, _: None, changes={3: switch_to("page")})

    items, error = await read(pager_of(model, page_size=3))

    assert error is None
    assert sorted(item["n"] for item in items) == list(range(25))


@pytest.mark.parametrize("dialect", ["page", "aligned"])
async def test_wrong_pin_is_noticed_by_a_page_that_does_not_follow(dialect: Dialect) -> None:
    model = ModelList(numbered(45), dialect, echo=False)

    _, error = await read(pager_of(model, dialect="row" if dialect == "page" else "page"))

    assert error is not None
    assert "pinned" in str(error)


async def test_second_look_that_fits_no_meaning_changes_nothing() -> None:
    model = ModelList(numbered(45), echo=False)
    shown = list(model.items)

    def hide(m: ModelList) -> None:
        m.items.clear()

    def shuffle(m: ModelList) -> None:
        m.items[:] = [*shown[20:30], shown[17], shown[12], shown[19], *shown[:10], *shown[30:]]

    def show(m: ModelList) -> None:
        m.items[:] = shown

    model.count = lambda m, _: 45
    model.changes = {2: hide, 3: show, 4: shuffle, 5: show}

    items, error = await read(pager_of(model))

    assert error is None
    assert sorted(item["n"] for item in items) == list(range(45))


@pytest.mark.parametrize("grows", [True, False])
async def test_list_that_may_go_on_is_read_on_where_it_did_not_add_up(grows: bool) -> None:
    """Its count is ahead of its items, as when they come from a replica."""
    model = ModelList(numbered(25), count=lambda m, _: 32)
    asked: list[int] = []

    async def goes_on(rows: int) -> bool:
        asked.append(rows)
        if grows and len(asked) == 2:
            model.items.extend(numbered(7, 25))
        return rows < 32 and len(asked) < 4

    items, error = await read(pager_of(model, goes_on=goes_on))

    assert (error is None) is grows
    assert items == numbered(32 if grows else 25)
    assert asked[:2] == [25, 25]
    assert len(model.requests) <= 30


async def test_items_that_share_identities_by_hundreds_are_an_error_and_none_twice() -> None:
    items = [{"id": f"i{number % 10}", "n": number} for number in range(300)]

    got, error = await read(pager_of(ModelList(items), page_size=25))

    assert error is not None
    assert len({item["id"] for item in got}) == len(got) == 10


async def test_two_identities_that_stand_on_both_first_pages_do_not_hide_what_offset_means() -> None:
    items = numbered(45)
    items[12] = {**items[7], "n": 12}
    items[10] = {**items[9], "n": 10}

    got, error = await read(pager_of(ModelList(items, echo=False)))

    assert error is None
    assert sorted(item["n"] for item in got) == list(range(45))


async def test_page_numbers_that_become_row_numbers_make_nameless_items_unreadable() -> None:
    model = ModelList(nameless(145), echo=False, changes={4: switch_to("row")})

    items, error = await read(pager_of(model))

    assert error is not None
    assert "the meaning of offset changed" in str(error)
    assert items == nameless(145)[: len(items)]


async def test_row_numbers_that_become_page_numbers_are_noticed_by_rows_that_do_not_follow() -> None:
    model = ModelList(numbered(145), "row", echo=False, changes={2: switch_to("page")})

    items, error = await read(pager_of(model))

    assert error is None
    assert sorted(item["n"] for item in items) == list(range(145))


@pytest.mark.parametrize("grows", [True, False])
async def test_equal_items_are_refused_where_their_number_does_not_tell_what_offset_means(grows: bool) -> None:
    model = ModelList(nameless(1) * 30, echo=False)
    if grows:
        model.changes = dict.fromkeys(range(20), append(1))
    else:
        model.count = lambda m, _: None

    _, error = await read(pager_of(model))

    assert error is not None


async def test_list_without_a_count_that_does_not_end_is_an_error() -> None:
    source = ListSource[Any](name="model", fetch=ModelList([]).fetch, identity=identity)
    state = ScanState(source, 10, Tally(expects_count=True, is_in_order=True), Deduplicator[Any]())

    assert not state.is_at_end(reading_of(identity, 2_000, Page(items=tuple(numbered(10)))))
    with pytest.raises(PaginationError, match="does not end"):
        state.is_at_end(reading_of(identity, 2_001, Page(items=tuple(numbered(10)))))
