"""A pager is read once: a second iteration says so instead of giving nothing."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from either_client import AsyncCoreClaw

from coreclaw_async import CoreClaw
from coreclaw_async.testing import FakeService

WORKER = "coreclaw/google-maps-scraper"
READ = "this pager was read to its end"


async def loop(pager: Any) -> list[Any]:
    return [item async for item in pager]


async def pages(pager: Any) -> list[Any]:
    return [item async for page in pager.pages() for item in page.items]


WAYS: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "loop": loop,
    "pages": pages,
    "collect": lambda pager: cast("Awaitable[Any]", pager.collect()),
    "collect_some": lambda pager: cast("Awaitable[Any]", pager.collect(10)),
    "first": lambda pager: cast("Awaitable[Any]", pager.first()),
}


@pytest.mark.parametrize(("first", "second"), list(itertools.product(["loop", "pages", "collect"], WAYS)))
async def test_second_iteration_says_that_the_pager_was_read(
    service: FakeService, client: AsyncCoreClaw, first: str, second: str
) -> None:
    run_id = service.add_run(WORKER, rows=3)
    pager = client.runs.iterate_results(run_id)
    assert len(await WAYS[first](pager)) == 3
    asked = len(service.requests)

    with pytest.raises(RuntimeError, match=READ):
        await WAYS[second](pager)
    assert len(service.requests) == asked


@pytest.mark.parametrize("rows", [0, 1, 20, 25])
async def test_items_can_be_taken_some_at_a_time_until_none_are_left(
    service: FakeService, client: AsyncCoreClaw, rows: int
) -> None:
    pager = client.runs.iterate_results(service.add_run(WORKER, rows=rows))

    found = [item for item in [await pager.first()] if item is not None]
    while some := await pager.collect(10):
        found += some
    assert len(found) == rows
    assert await pager.first() is None
    assert await pager.collect() == await pages(client.runs.iterate_results(service.add_run(WORKER, rows=0))) == []
    with pytest.raises(RuntimeError, match=READ):
        await pager.collect(10)


async def test_rest_after_the_first_items_can_be_read(service: FakeService, client: AsyncCoreClaw) -> None:
    pager = client.runs.iterate_results(service.add_run(WORKER, rows=5))

    assert await pager.first() is not None
    assert len(await pager.collect(2)) == 2
    assert len(await loop(pager)) == 2
    assert await pager.next_page() is None, "which says by itself that nothing is left"


@pytest.mark.parametrize(
    "again", [list, lambda pager: pager.first(), lambda pager: next(iter(pager.pages())), lambda pager: pager.collect()]
)
def test_blocking_pager_says_so_too(service: FakeService, again: Callable[[Any], Any]) -> None:
    run_id = service.add_run(WORKER, rows=3)
    with CoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        pager = client.runs.iterate_results(run_id)
        assert len(list(pager)) == 3

        with pytest.raises(RuntimeError, match=READ):
            again(pager)
        assert next(pager, None) is None, "an iterator that has ended stays at its end"
