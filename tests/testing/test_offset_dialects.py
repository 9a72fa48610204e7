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
@pytest.mark.parametrize("path", LISTS)
async def test_offset_means_what_the_dialect_says(
    api: ApiSession, path: str, dialect: Any, offset: int, first: int, count: int, page: int
) -> None:
    fill(api.service)
    everything = await rows_of(api, path, limit=100)
    api.service.offset_dialect = dialect

    assert await rows_of(api, path, limit=4, offset=offset) == everything[first : first + count]
    answer = await api.get(path, limit=4, offset=offset)
    if LISTS[path][0] == "scraper":
        assert set(answer) == {"scraper"}
    else:
        assert answer["count"] == len(everything)
        assert (answer["page_index"], answer["page_size"]) == (page, 4)


@pytest.mark.parametrize("path", LISTS)
async def test_twenty_rows_come_without_a_limit(api: ApiSession, path: str) -> None:
    fill(api.service)

    assert len(await rows_of(api, path)) == 20


@pytest.mark.parametrize("path", [path for path, (key, _) in LISTS.items() if key == "list"])
async def test_no_list_tells_its_page_when_echo_is_off(api: ApiSession, path: str) -> None:
    fill(api.service)
    api.service.echo_page_index = False

    assert {"page_index", "page_size"}.isdisjoint(await api.get(path))


@pytest.mark.parametrize("path", LISTS)
async def test_a_large_limit_can_be_cut_in_silence(api: ApiSession, path: str) -> None:
    fill(api.service)
    everything = await rows_of(api, path, limit=100)
    api.service.page_size_cap = 3

    assert await rows_of(api, path, limit=10, offset=2) == everything[3:6]
    assert (await api.get(path, limit=10)).get("page_size", 3) == 3


async def test_the_dialect_may_change_between_two_pages(api: ApiSession) -> None:
    fill(api.service)
    as_page = await rows_of(api, "/worker-runs", limit=4, offset=4)
    api.service.offset_dialect = "row"

    assert await rows_of(api, "/worker-runs", limit=4, offset=4) != as_page
