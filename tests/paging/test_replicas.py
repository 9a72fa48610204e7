"""Pages that come from replicas which differ: with a count, no item is lost without an error."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from paging.list_model import EACH_DIALECT, Dialect, Item, ModelList, numbered, pager_of, read

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
@pytest.mark.parametrize("lag", sorted(LAGS))
async def test_replicas_by_url_lose_no_item_without_an_error(lag: str, dialect: Dialect) -> None:
    items = numbered(130)
    for seed in range(6):
        echo, prefetch = bool(seed % 2), seed % 3
        ahead, behind = (ModelList(shown, dialect, echo) for shown in (list(items), LAGS[lag](items)))
        fetch = by_url(ahead, behind, seed)

        got, error = await read(pager_of(ahead, page_size=20, prefetch=prefetch, fetch=fetch))

        assert len({item["n"] for item in got}) == len(got)
        if error is None:
            assert {item["n"] for item in behind.items} <= {item["n"] for item in got}
        assert len(ahead.requests + behind.requests) <= 6 * (7 + 6 + 9)


async def test_few_items_of_a_list_without_a_count_cost_their_pages_alone() -> None:
    model = ModelList(numbered(470), count=no_count)

    got = await pager_of(model, page_size=100, max_items=150).collect()

    assert len(got) == 150
    assert model.requests == [(0, 100), (2, 100)]


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
