"""Pages that come from replicas which differ: no item is lost without an error, with a count or without."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from paging.list_model import EACH_DIALECT, Dialect, Item, ModelList, nameless, numbered, pager_of, read
from quick_cases import slowly

from coreclaw_async._paging.listing import reading_of
from coreclaw_async._paging.seams import joins, page_over_seam
from coreclaw_async.models import Page

LAGS: dict[str, Callable[[list[Item]], list[Item]]] = {
    "lacks the first": lambda items: items[1:],
    "lacks one in the middle": lambda items: [*items[:40], *items[41:]],
    "lacks three": lambda items: items[3:],
    "has the first at the end": lambda items: [*items[1:], items[0]],
    "has two in other places": lambda items: [*items[:3], items[54], *items[4:54], items[3], *items[55:]],
    "has two neighbours in turn": lambda items: [*items[:19], items[20], items[19], *items[21:]],
}


def no_count(model: ModelList, page: Any) -> None:
    """Tell no count."""


def by_url(ahead: ModelList, behind: ModelList, seed: int) -> Any:
    """Return what reads a page from the one replica or the other, the same for the same URL."""

    async def fetch(offset: int, limit: int) -> Page[dict[str, Any]]:
        is_behind = random.Random(f"{seed} {offset} {limit}").random() < 0.5
        return await (behind if is_behind else ahead).fetch(offset, limit)

    return fetch


@EACH_DIALECT
@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("lag", sorted(LAGS))
async def test_replicas_by_url_lose_no_item_without_an_error(lag: str, dialect: Dialect, *, counted: bool) -> None:
    items = numbered(130)
    for seed in range(6):
        echo, prefetch = bool(seed % 2), seed % 3
        ahead, behind = (ModelList(shown, dialect, echo) for shown in (list(items), LAGS[lag](items)))
        if not counted:
            ahead.count = behind.count = no_count
        fetch = by_url(ahead, behind, seed)

        got, error = await read(pager_of(ahead, page_size=20, prefetch=prefetch, fetch=fetch))

        assert len({item["n"] for item in got}) == len(got)
        if error is None:
            assert {item["n"] for item in behind.items} <= {item["n"] for item in got}
        assert len(ahead.requests + behind.requests) <= 6 * (7 + 6 + 9)


@EACH_DIALECT
@slowly("lag", *sorted(set(LAGS) - {"has two in other places"}))
async def test_replicas_by_url_lose_no_item_without_identity_and_count_without_an_error(
    lag: str, dialect: Dialect
) -> None:
    items = nameless(130)
    for seed in range(6):
        ahead, behind = (ModelList(shown, dialect, count=no_count) for shown in (list(items), LAGS[lag](items)))

        got, error = await read(pager_of(ahead, page_size=20, fetch=by_url(ahead, behind, seed)))

        if error is None:
            assert {item["n"] for item in behind.items} <= {item["n"] for item in got}


async def test_row_between_page_1_of_one_replica_and_page_2_of_another_comes_without_a_count() -> None:
    items = numbered(250)
    ahead = ModelList(items, count=no_count)
    behind = ModelList(items[1:], count=no_count)

    async def fetch(offset: int, limit: int) -> Page[dict[str, Any]]:
        return await (behind if offset else ahead).fetch(offset, limit)

    got, error = await read(pager_of(ahead, page_size=100, fetch=fetch))

    assert error is None
    assert sorted(item["n"] for item in got) == list(range(250))


@EACH_DIALECT
async def test_items_that_leave_a_list_without_a_count_push_no_other_out_of_sight(dialect: Dialect) -> None:
    def leave(model: ModelList) -> None:
        del model.items[:3]

    model = ModelList(numbered(90), dialect, count=no_count, changes={3: leave, 6: leave})

    got, error = await read(pager_of(model, page_size=20))

    assert error is None
    assert {item["n"] for item in got} >= set(range(6, 90))


@EACH_DIALECT
@pytest.mark.parametrize("make", [numbered, nameless])
async def test_list_without_a_count_costs_one_request_more_for_each_further_page(make: Any, dialect: Dialect) -> None:
    model = ModelList(make(470), dialect, count=no_count)

    got, error = await read(pager_of(model, page_size=100))

    assert error is None
    assert got == make(470)
    # The last page is not full and may be one that was cut, so one more is read. Then come what offset means, and
    # once more whether it still does, and the first page again where nothing tells items apart.
    assert len(model.requests) <= 5 + 4 + 1 + 1 + 2 + 1


async def test_offset_that_means_pages_from_the_end_of_a_list_without_a_count_on_begins_it_again() -> None:
    def change(model: ModelList) -> None:
        model.dialect = "page"

    model = ModelList(numbered(30), "row", echo=False, count=no_count, changes={4: change})

    got, error = await read(pager_of(model, page_size=20))

    assert error is None
    assert got == numbered(30)
    assert model.requests[4] == (40, 20)


async def test_few_items_of_a_list_without_a_count_cost_their_pages_alone() -> None:
    model = ModelList(numbered(470), count=no_count)

    got = await pager_of(model, page_size=100, max_items=150).collect()

    assert len(got) == 150
    assert model.requests == [(0, 100), (2, 100)]


async def test_pages_without_a_count_that_have_nothing_in_common_are_an_error_after_a_few_readings() -> None:
    ahead, behind = (ModelList(numbered(130, start), count=no_count) for start in (0, 60))
    shown = {(0, 20): ahead}

    async def fetch(offset: int, limit: int) -> Page[dict[str, Any]]:
        return await shown.get((offset, limit), behind).fetch(offset, limit)

    got, error = await read(pager_of(ahead, page_size=20, fetch=fetch, dialect="page"))

    assert error is not None
    assert "pages 1 and 2 do not join" in str(error)
    assert len(got) == error.collected


@pytest.mark.parametrize("cap", [3, 4, 5, 7, 20])
async def test_list_without_a_count_is_read_from_a_service_that_cuts_pages_and_says_so(cap: int) -> None:
    model = ModelList(numbered(130), count=no_count, cap=cap)

    got, error = await read(pager_of(model, page_size=100))

    assert error is None
    assert got == model.items


async def test_two_items_with_one_identity_both_come_from_a_service_that_has_a_length_of_its_own() -> None:
    items = numbered(90)
    items[65] = {**items[5], "n": 65}
    model = ModelList(items)

    async def fetch(offset: int, limit: int) -> Page[dict[str, Any]]:
        return await model.fetch(offset, 20)

    got, error = await read(pager_of(model, page_size=100, fetch=fetch))

    assert error is None
    assert sorted(item["n"] for item in got) == list(range(90))


@pytest.mark.parametrize("seed", range(6))
async def test_replicas_at_random_with_a_length_of_their_own_lose_no_item_without_an_error(seed: int) -> None:
    chance = random.Random(seed)
    items = numbered(90)
    replicas = [ModelList(items), ModelList([*items[:5], items[65], *items[6:65], items[5], *items[66:]])]

    async def fetch(offset: int, limit: int) -> Page[dict[str, Any]]:
        return await chance.choice(replicas).fetch(offset, 20)

    got, error = await read(pager_of(replicas[0], page_size=100, fetch=fetch))

    assert error is not None or sorted(item["n"] for item in got) == list(range(90))


@pytest.mark.parametrize("lost", [100, 107])
async def test_item_without_identity_between_pages_of_two_replicas_comes_once_without_a_count(lost: int) -> None:
    items = [({"n": n} if n % 7 == 2 else {"id": f"i{n}", "n": n}) for n in range(250)]
    ahead = ModelList([*items[:10], *items[lost - 90 :]], count=no_count)
    behind = ModelList([*items[:9], *items[lost - 90 :]], count=no_count)

    async def fetch(offset: int, limit: int) -> Page[dict[str, Any]]:
        return await (behind if offset else ahead).fetch(offset, limit)

    got, error = await read(pager_of(ahead, page_size=100, fetch=fetch))

    assert error is None
    assert sorted(item["n"] for item in got) == sorted(item["n"] for item in ahead.items)


@pytest.mark.parametrize("size", [10, 20, 33, 99, 100])
def test_page_over_a_seam_has_items_on_both_sides(size: int) -> None:
    for place in range(size, 300 * size, size):
        found = page_over_seam(place, min(size + 10, 100))
        assert found is not None
        number, length = found
        assert (number - 1) * length < place < number * length
        assert length <= 100


def test_no_page_is_over_a_seam_where_the_service_has_three_items_a_page() -> None:
    assert page_over_seam(3, 3) is None
    assert page_over_seam(3, 2) is None


@pytest.mark.parametrize(
    ("shown", "expected"),
    [([3, 4, 5, 6], True), ([4, 5], True), ([5, 6, 7], False), ([3, 5, 6], False), ([], False), ([8, 9, 10, 11], True)],
)
def test_items_without_identity_join_where_an_answer_shows_the_two_pages_one_by_one(
    shown: list[int], *, expected: bool
) -> None:
    before, after, over = (
        reading_of(lambda item: None, number, Page(items=tuple({"n": n} for n in numbers)))
        for number, numbers in ((1, [0, 1, 2, 3, 4]), (2, [5, 6, 7, 8]), (1, shown))
    )

    assert joins(before, after, over, is_nameless=True) is (expected and shown[0] < 5)
