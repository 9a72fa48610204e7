"""The three meanings of `offset`, on every list that has pages."""

from __future__ import annotations

from typing import Any

import pytest
from testing.api_session import GOOD_INPUT, STORE_WORKER, ApiSession

from coreclaw_async.testing import FakeService

MAPS = "coreclaw/google-maps-scraper"
ROWS = 25


def fill(service: FakeService) -> None:
    """Put so many items into each list that has pages, a run's results included."""
    for number in range(ROWS):
        service.add_worker(f"owner/w{number:02d}", in_store=number > 0)
        service.add_task(MAPS, title=f"t{number:02d}", input=GOOD_INPUT)
        service.add_queue_item(MAPS, GOOD_INPUT)
        service.add_run(MAPS, age=1000 - number, rows=ROWS)


LISTS = {
    "/store": ("scraper", "slug"),
    "/workers": ("scraper", "slug"),
    "/worker-tasks": ("list", "slug"),
    "/worker-runs": ("list", "slug"),
    "/worker-runs/last/result": ("list", "__coreclaw_data_id__"),
    f"/workers/{STORE_WORKER}/runs/last/result": ("list", "__coreclaw_data_id__"),
    "/run-queue/items": ("list", "queue_ref"),
}


async def rows_of(api: ApiSession, path: str, **query: int) -> list[str]:
    key, name = LISTS[path]
    return [row[name] for row in (await api.get(path, **query))[key]]


@pytest.mark.parametrize(
    ("dialect", "offset", "first", "count", "page"),
    [
        ("row", 0, 0, 4, 1),
        ("row", 1, 1, 4, 1),
        ("row", 2, 2, 4, 1),
        ("row", 4, 4, 4, 2),
        ("row", 8, 8, 4, 3),
        ("row", 23, 23, 2, 6),
        ("aligned", 0, 0, 4, 1),
        ("aligned", 1, 0, 4, 1),
        ("aligned", 2, 0, 4, 1),
        ("aligned", 4, 4, 4, 2),
        ("aligned", 8, 8, 4, 3),
        ("page", 0, 0, 4, 1),
        ("page", 1, 0, 4, 1),
        ("page", 2, 4, 4, 2),
        ("page", 4, 12, 4, 4),
        ("page", 7, 24, 1, 7),
        ("page", 8, 28, 0, 8),
    ],
)
async def test_offset_means_what_the_dialect_says_on_every_list(
    api: ApiSession, dialect: Any, offset: int, first: int, count: int, page: int
) -> None:
    fill(api.service)
    api.service.run_list_echo = True
    for path, (key, name) in LISTS.items():
        api.service.offset_dialect = "page"
        everything = await rows_of(api, path, limit=100)
        api.service.offset_dialect = dialect
        answer = await api.get(path, limit=4, offset=offset)

        assert [row[name] for row in answer[key]] == everything[first : first + count], path
        if key == "scraper":
            assert set(answer) == {"scraper"}
        else:
            told = {"count": len(everything), "page_index": page, "page_size": 4}
            assert {name: answer[name] for name in told} == told, path


async def test_twenty_rows_come_without_a_limit(api: ApiSession) -> None:
    fill(api.service)

    assert {path: len(await rows_of(api, path)) for path in LISTS} == dict.fromkeys(LISTS, 20)


async def test_no_list_tells_its_page_when_echo_is_off(api: ApiSession) -> None:
    fill(api.service)
    api.service.echo_page_index = False

    for path in LISTS:
        assert {"page_index", "page_size"}.isdisjoint(await api.get(path)), path


async def test_a_large_limit_can_be_cut_in_silence(api: ApiSession) -> None:
    fill(api.service)
    everything = {path: await rows_of(api, path, limit=100) for path in LISTS}
    api.service.page_size_cap = 3

    for path in LISTS:
        assert await rows_of(api, path, limit=10, offset=2) == everything[path][3:6], path
        assert (await api.get(path, limit=10)).get("page_size", 3) == 3, path


async def test_the_dialect_may_change_between_two_pages(api: ApiSession) -> None:
    fill(api.service)
    as_page = await rows_of(api, "/worker-runs", limit=4, offset=4)
    api.service.offset_dialect = "row"

    assert await rows_of(api, "/worker-runs", limit=4, offset=4) != as_page
