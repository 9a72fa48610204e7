"""Lists are read whole, each item once, under every meaning of `offset`, or `PaginationError` is raised."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest
from either_client import AsyncCoreClaw
from hypothesis import example, given, settings
from hypothesis import strategies as st
from interrupting import cancelling_once
from paging.list_model import DIALECTS, EACH_DIALECT, EACH_ECHO, Dialect
from quick_cases import slowly

from coreclaw_async import NoReplyError, PaginationError, RetryPolicy
from coreclaw_async.testing import FakeService, faults

WORKER = "coreclaw/google-maps-scraper"


def plain(row: Any) -> str:
    return json.dumps(row, sort_keys=True)


def run_with_rows(service: FakeService, rows: Any, *, row_ids: bool = True) -> str:
    from coreclaw_async.testing import RunScript

    script = RunScript(rows=rows, row_ids=row_ids, statuses=[(0.0, "running"), (1.0, "succeeded")])
    return service.add_run(WORKER, script=script, age=60.0)


def pages_asked(service: FakeService) -> list[dict[str, str]]:
    """Return the queries of the requests for pages; the state of the run is asked for once besides."""
    return [dict(request.query) for request in service.requests if request.operation == "listWorkerRunResults"]


def client_of(service: FakeService, **options: Any) -> AsyncCoreClaw:
    return AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, **options)


def row_values(*, distinct: bool) -> st.SearchStrategy[list[dict[str, int]]]:
    """Rows without identity: all different, or from so few values that whole pages are alike."""
    if distinct:
        return st.integers(0, 60).map(lambda count: [{"n": number} for number in range(count)])
    return st.lists(st.integers(0, 1).map(lambda n: {"n": n}), max_size=60)


def rows_while_inserting(
    service: FakeService, run_id: str, insertions: list[tuple[int, int]], *, backend: str, **options: Any
) -> list[str] | None:
    """Return the rows of a run, or None for an error; *insertions* are (after so many pages, rows at the front)."""
    for after, added in insertions:
        service.faults.add(faults.insert_front(added), operation="listWorkerRunResults", after=after)

    async def main() -> list[str] | None:
        async with client_of(service) as client:
            try:
                return [plain(row) async for row in client.runs.iterate_results(run_id, **options)]
            except PaginationError:
                return None

    return anyio.run(main, backend=backend)


@given(
    dialect=st.sampled_from(DIALECTS),
    echo=st.booleans(),
    page_size=st.integers(1, 20),
    count=st.integers(0, 75),
    insertions=st.lists(st.tuples(st.integers(0, 6), st.integers(1, 25)), max_size=3),
    prefetch=st.sampled_from([0, 3]),
)
@settings(max_examples=120)
@example(dialect="page", echo=False, page_size=3, count=9, insertions=[(1, 1)], prefetch=0)
@example(dialect="aligned", echo=False, page_size=5, count=30, insertions=[(1, 5)], prefetch=0)
@example(dialect="row", echo=False, page_size=4, count=30, insertions=[(1, 2)], prefetch=3)
@pytest.mark.endurance
def test_rows_with_identity_come_exactly_once_or_not_at_all(
    dialect: Dialect,
    echo: bool,
    page_size: int,
    count: int,
    insertions: list[tuple[int, int]],
    prefetch: int,
    anyio_backend: str,
) -> None:
    service = FakeService(offset_dialect=dialect, echo_page_index=echo)
    run_id = run_with_rows(service, count)
    before = [plain(row) for row in service.runs[run_id].rows]
    got = rows_while_inserting(
        service, run_id, insertions, backend=anyio_backend, page_size=page_size, prefetch=prefetch
    )
    if got is None:
        assert insertions, "an unchanging list with identities is always readable"
        return
    assert len(got) == len(set(got)), "no row twice"
    assert set(before) <= set(got), "no row lost"
    assert set(got) <= {plain(row) for row in service.runs[run_id].rows}


@given(
    dialect=st.sampled_from(DIALECTS),
    echo=st.booleans(),
    page_size=st.integers(1, 12),
    rows=st.one_of(row_values(distinct=True), row_values(distinct=False)),
    insertions=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 15)), max_size=2),
    prefetch=st.sampled_from([0, 3]),
)
@settings(max_examples=120)
@example(dialect="page", echo=False, page_size=3, rows=[{"n": 0}] * 20, insertions=[], prefetch=0)
@example(dialect="row", echo=False, page_size=3, rows=[{"n": 0}] * 20, insertions=[], prefetch=3)
@pytest.mark.endurance
def test_rows_without_identity_come_exactly_as_often_as_they_are_there(
    dialect: Dialect,
    echo: bool,
    page_size: int,
    rows: list[dict[str, int]],
    insertions: list[tuple[int, int]],
    prefetch: int,
    anyio_backend: str,
) -> None:
    service = FakeService(offset_dialect=dialect, echo_page_index=echo)
    run_id = run_with_rows(service, rows, row_ids=False)
    before = Counter(plain(row) for row in service.runs[run_id].rows)
    got = rows_while_inserting(
        service, run_id, insertions, backend=anyio_backend, page_size=page_size, prefetch=prefetch
    )
    if got is None:
        # Where two pages are alike it may stay open what offset means, which is an error, never a short list.
        is_open = rows[:page_size] == rows[page_size : 2 * page_size]
        assert insertions or is_open, "an unchanging list is readable"
        return
    assert before <= Counter(got) <= Counter(plain(row) for row in service.runs[run_id].rows)


@given(
    dialect=st.sampled_from(DIALECTS),
    page_size=st.integers(1, 25),
    count=st.integers(0, 60),
    insertions=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 7)), max_size=3),
)
@settings(max_examples=60)
@pytest.mark.endurance
def test_runs_come_exactly_once_while_others_start(
    dialect: Dialect,
    page_size: int,
    count: int,
    insertions: list[tuple[int, int]],
    anyio_backend: str,
) -> None:
    service = FakeService(offset_dialect=dialect, run_list_echo=False)
    before = {service.add_run(WORKER, age=100.0 + number) for number in range(count)}
    for after, added in insertions:
        service.faults.add(faults.insert_front(added), operation="listWorkerRuns", after=after)

    async def main() -> list[str] | None:
        async with client_of(service) as client:
            try:
                return [run.run_id async for run in client.runs.iterate(page_size=page_size)]
            except PaginationError:
                return None

    got = anyio.run(main, backend=anyio_backend)
    if got is None:
        assert insertions
        return
    assert len(got) == len(set(got))
    assert before <= set(got)


@EACH_DIALECT
@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 30])
@pytest.mark.parametrize("page_size", [1, 2, 3, 10, 100])
@pytest.mark.endurance
async def test_lists_without_a_count_come_whole(dialect: Dialect, count: int, page_size: int) -> None:
    service = FakeService(offset_dialect=dialect)
    for number in range(count):
        service.add_worker(f"acme/worker-{number}")

    async with client_of(service) as client:
        store = [worker.path async for worker in client.store.iterate(page_size=page_size)]

    assert len(store) == len(set(store)) == count + 1


async def test_production_needs_one_request_a_page(client: AsyncCoreClaw, service: FakeService) -> None:
    run_id = run_with_rows(service, 250)

    rows = await client.runs.iterate_results(run_id).collect()

    assert len(rows) == 250
    assert pages_asked(service) == [
        {"offset": "0", "limit": "100"},
        {"offset": "2", "limit": "100"},
        {"offset": "3", "limit": "100"},
    ]


@pytest.mark.parametrize("dialect", ["row", "aligned"])
async def test_rows_cost_one_more_request_the_first_time(dialect: Dialect) -> None:
    service = FakeService(offset_dialect=dialect)
    run_id = run_with_rows(service, 250)

    async with client_of(service) as client:
        await client.runs.iterate_results(run_id).collect()
        first_time = [query["offset"] for query in pages_asked(service)]
        service.requests.clear()
        await client.runs.iterate_results(run_id).collect()
        second_time = [query["offset"] for query in pages_asked(service)]

    assert first_time == ["0", "2", "100", "200"]
    assert second_time == ["0", "100", "200"]


@slowly("before", *DIALECTS)
@pytest.mark.parametrize("after", DIALECTS)
async def test_a_service_that_has_changed_between_two_lists_is_read_right(before: Dialect, after: Dialect) -> None:
    service = FakeService(offset_dialect=before)
    run_id = run_with_rows(service, 95)

    async with client_of(service) as client:
        await client.runs.iterate_results(run_id, page_size=10).collect()
        service.offset_dialect = after
        rows = await client.runs.iterate_results(run_id, page_size=10).collect()

    assert [plain(row) for row in rows] == [plain(row) for row in service.runs[run_id].rows]


@EACH_ECHO
@pytest.mark.parametrize("before", DIALECTS)
@pytest.mark.parametrize("after", DIALECTS)
@pytest.mark.parametrize("row_ids", [True, False])
@pytest.mark.parametrize("taken", [15, 25, 35])
@pytest.mark.endurance
async def test_a_service_that_changes_in_the_middle_is_read_right_or_refused(
    before: Dialect, after: Dialect, echo: bool, row_ids: bool, taken: int
) -> None:
    service = FakeService(offset_dialect=before, echo_page_index=echo)
    run_id = run_with_rows(service, [{"n": n} for n in range(95)], row_ids=row_ids)

    async with client_of(service) as client:
        pager = client.runs.iterate_results(run_id, page_size=10)
        rows = await pager.collect(taken)
        service.offset_dialect = after
        try:
            rows += await pager.collect()
        except PaginationError:
            assert before != after
            return

    assert sorted(row["n"] for row in rows) == list(range(95))


async def test_the_verdict_is_found_anew_after_ten_minutes() -> None:
    service = FakeService(offset_dialect="row")
    run_id = run_with_rows(service, 25)

    async with client_of(service) as client:
        await client.runs.iterate_results(run_id, page_size=10).collect()
        service.clock.advance(601)
        service.requests.clear()
        await client.runs.iterate_results(run_id, page_size=10).collect()

    assert [query["offset"] for query in pages_asked(service)] == ["0", "2", "10", "20"]


@pytest.mark.parametrize(("dialect", "pin"), [("page", "page"), ("row", "row"), ("aligned", "row")])
async def test_a_pinned_dialect_is_not_probed(dialect: Dialect, pin: Any) -> None:
    service = FakeService(offset_dialect=dialect)
    run_id = run_with_rows(service, 25)

    async with client_of(service, offset_dialect=pin) as client:
        rows = await client.runs.iterate_results(run_id, page_size=10).collect()

    assert len(rows) == 25
    assert len(pages_asked(service)) == 3


@pytest.mark.parametrize(("dialect", "pin"), [("page", "row"), ("row", "page"), ("aligned", "page")])
@pytest.mark.parametrize("row_ids", [True, False])
async def test_a_wrong_pin_is_an_error_and_never_a_short_list(dialect: Dialect, pin: Any, row_ids: bool) -> None:
    service = FakeService(offset_dialect=dialect)
    run_id = run_with_rows(service, [{"n": n} for n in range(25)], row_ids=row_ids)

    async with client_of(service, offset_dialect=pin) as client:
        with pytest.raises(PaginationError) as caught:
            await client.runs.iterate_results(run_id, page_size=10).collect()

    assert caught.value.run_id == run_id
    assert caught.value.expected == 25


@EACH_DIALECT
@EACH_ECHO
@slowly("cap", 50, 7)
async def test_a_service_that_cuts_the_limit_is_followed(dialect: Dialect, echo: bool, cap: int) -> None:
    service = FakeService(offset_dialect=dialect, echo_page_index=echo, page_size_cap=cap)
    run_id = run_with_rows(service, 120)

    async with client_of(service) as client:
        rows = await client.runs.iterate_results(run_id).collect()

    assert [plain(row) for row in rows] == [plain(row) for row in service.runs[run_id].rows]


async def test_a_service_that_cuts_pages_to_one_row_is_refused() -> None:
    service = FakeService(page_size_cap=1)
    run_id = run_with_rows(service, 5)

    async with client_of(service) as client:
        with pytest.raises(PaginationError, match="cuts pages to 1"):
            await client.runs.iterate_results(run_id).collect()


async def test_iteration_goes_on_after_an_error(service: FakeService) -> None:
    run_id = run_with_rows(service, 30)
    service.faults.add(faults.drop_before_commit(), operation="listWorkerRunResults", after=1)

    async with client_of(service, retry=RetryPolicy(max_attempts=1)) as client:
        pager = client.runs.iterate_results(run_id, page_size=10)
        seen = []
        with pytest.raises(NoReplyError):
            seen.extend([row async for row in pager])
        seen = [row async for row in pager]

    assert [row["rank"] for row in seen] == list(range(11, 31))


async def test_prefetch_delivers_in_order_what_it_reads_at_once(service: FakeService) -> None:
    run_id = run_with_rows(service, 95)

    async with client_of(service) as client:
        rows = await client.runs.iterate_results(run_id, page_size=10, prefetch=4).collect()
        service.requests.clear()
        again = await client.runs.iterate_results(run_id, page_size=10, prefetch=4).collect()

    assert [plain(row) for row in rows] == [plain(row) for row in service.runs[run_id].rows]
    assert again == rows
    assert len(pages_asked(service)) == 10


async def test_an_error_among_prefetched_pages_comes_after_the_pages_before_it(service: FakeService) -> None:
    run_id = run_with_rows(service, 60)
    service.faults.add(
        faults.drop_before_commit(),
        operation="listWorkerRunResults",
        match=lambda request: request.query["offset"] == "5",
    )

    async with client_of(service, retry=RetryPolicy(max_attempts=1)) as client:
        pager = client.runs.iterate_results(run_id, page_size=10, prefetch=9)
        seen: list[Any] = []
        with pytest.raises(NoReplyError):
            while True:
                seen.append(await anext(pager))
        assert len(seen) == 40
        seen += [row async for row in pager]

    assert [plain(row) for row in seen] == [plain(row) for row in service.runs[run_id].rows]


async def test_pages_have_the_size_that_was_asked_for(client: AsyncCoreClaw, service: FakeService) -> None:
    run_id = run_with_rows(service, 5)

    sizes = [len(page) async for page in client.runs.iterate_results(run_id, page_size=2).pages()]

    assert sizes == [2, 2, 1]


async def test_pages_leave_out_what_was_taken_by_item(client: AsyncCoreClaw, service: FakeService) -> None:
    run_id = run_with_rows(service, 25)
    pager = client.runs.iterate_results(run_id, page_size=10)

    await anext(pager)

    assert [len(page.items) async for page in pager.pages()] == [9, 10, 5]


@pytest.mark.parametrize("max_items", [1, 9, 10, 11, 25])
async def test_no_more_items_come_than_asked_for(client: AsyncCoreClaw, service: FakeService, max_items: int) -> None:
    run_id = run_with_rows(service, 25)

    rows = await client.runs.iterate_results(run_id, page_size=10, max_items=max_items).collect()

    assert len(rows) == max_items
    assert len(pages_asked(service)) == -(-max_items // 10)


async def test_no_page_is_read_ahead_that_was_not_asked_for(client: AsyncCoreClaw, service: FakeService) -> None:
    run_id = run_with_rows(service, 95)

    rows = await client.runs.iterate_results(run_id, page_size=10, max_items=25, prefetch=9).collect()

    assert len(rows) == 25
    assert len(pages_asked(service)) <= 5


async def test_an_item_that_stands_twice_on_a_page_comes_once(service: FakeService) -> None:
    def double(envelope: dict[str, Any]) -> dict[str, Any]:
        rows = envelope["data"]["list"]
        return {**envelope, "data": {**envelope["data"], "list": [*rows[:-1], rows[0]], "count": len(rows) - 1}}

    run_id = run_with_rows(service, 5)
    service.faults.add(faults.edit(double), operation="listWorkerRunResults", times=9)
    async with client_of(service) as client:
        try:
            rows = await client.runs.iterate_results(run_id).collect()
        except PaginationError:
            return

    assert len({plain(row) for row in rows}) == len(rows) == 4


async def test_first_and_collect_take_from_where_the_iterator_stands(
    client: AsyncCoreClaw, service: FakeService
) -> None:
    run_id = run_with_rows(service, 5)
    pager = client.runs.iterate_results(run_id)

    first = await pager.first()
    two = await pager.collect(2)
    rest = await pager.collect()

    assert first is not None
    assert [row["rank"] for row in [first, *two, *rest]] == [1, 2, 3, 4, 5]


async def test_a_status_list_that_shrinks_is_read_again(service: FakeService) -> None:
    for number in range(30):
        service.add_run(WORKER, status="running", age=1000.0 + number)
    runs = list(service.runs)

    async with client_of(service) as client:
        pager = client.runs.iterate(status="running", page_size=10)
        seen = [run.run_id for run in await pager.collect(10)]
        for run_id in seen[:5]:
            service.finish(run_id)
        seen += [run.run_id async for run in pager]

    assert sorted(seen) == sorted(runs)


async def test_a_status_list_that_never_stops_shrinking_is_an_error(service: FakeService) -> None:
    for number in range(60):
        service.add_run(WORKER, status="running", age=1000.0 + number)

    async with client_of(service) as client:
        pager = client.runs.iterate(status="running", page_size=10)
        with pytest.raises(PaginationError, match="left the list"):
            async for run in pager:
                service.finish(run.run_id)
                for other in [r.run_id for r in service.runs.values() if r.status == "running"][:1]:
                    service.finish(other)
                service.add_run(WORKER, status="running", age=5.0)


async def test_a_service_that_ignores_the_offset_is_an_error(service: FakeService) -> None:
    run_id = run_with_rows(service, 30)
    first = await _first_page(service, run_id, 10)
    service.faults.add(faults.reply(first), operation="listWorkerRunResults", times=100)

    async with client_of(service) as client:
        with pytest.raises(PaginationError):
            await client.runs.iterate_results(run_id, page_size=10).collect()


async def _first_page(service: FakeService, run_id: str, limit: int) -> bytes:
    async with httpx.AsyncClient(transport=service, base_url="https://openapi.coreclaw.com") as http:
        response = await http.get(
            f"/api/v2/worker-runs/{run_id}/result",
            params={"limit": limit},
            headers={"Authorization": f"Bearer {service.api_key}"},
        )
    return response.content


async def test_a_count_that_is_never_reached_is_an_error(service: FakeService) -> None:
    def overstate(envelope: dict[str, Any]) -> dict[str, Any]:
        return {**envelope, "data": {**envelope["data"], "count": 40}}

    run_id = run_with_rows(service, 30)
    service.faults.add(faults.edit(overstate), operation="listWorkerRunResults", times=100)

    async with client_of(service) as client:
        with pytest.raises(PaginationError) as caught:
            await client.runs.iterate_results(run_id, page_size=10).collect()

    assert (caught.value.collected, caught.value.expected) == (30, 40)


async def test_rows_that_become_visible_late_are_not_missed(service: FakeService) -> None:
    """The count grows while the list is read."""
    run_id = run_with_rows(service, 25)

    async with client_of(service) as client:
        pager = client.runs.iterate_results(run_id, page_size=10)
        rows = await pager.collect(12)
        service.insert_rows(run_id, 7, at=25)
        rows += await pager.collect()

    assert len({plain(row) for row in rows}) == len(rows) == 32


@pytest.mark.parametrize("null_lists", [True, False])
async def test_an_empty_list_is_empty(null_lists: bool) -> None:
    service = FakeService(null_lists=null_lists)
    run_id = run_with_rows(service, 0)

    async with client_of(service) as client:
        assert await client.runs.iterate_results(run_id).collect() == []
        assert await client.run_queue.iterate().collect() == []


async def test_nothing_is_read_before_the_first_item_is_asked_for(client: AsyncCoreClaw, service: FakeService) -> None:
    client.runs.iterate_results(run_with_rows(service, 5))
    client.runs.iterate()

    assert service.requests == []


COUNTS: dict[str, Any] = {
    "zero": lambda page: 0,
    "negative": lambda page: -1,
    "of the page": len,
    "cut off at 50": lambda page: 50,
    "absent": lambda page: None,
}


@EACH_ECHO
@pytest.mark.parametrize("row_ids", [True, False])
@EACH_DIALECT
@pytest.mark.parametrize("count", COUNTS.values(), ids=COUNTS.keys())
async def test_a_count_that_cannot_be_right_does_not_shorten_the_list(
    dialect: Dialect, count: Callable[[list[Any]], int | None], row_ids: bool, echo: bool
) -> None:
    def miscount(envelope: dict[str, Any]) -> dict[str, Any]:
        data = {**envelope["data"], "count": count(envelope["data"]["list"])}
        return {**envelope, "data": {name: value for name, value in data.items() if value is not None}}

    service = FakeService(offset_dialect=dialect, echo_page_index=echo)
    run_id = run_with_rows(service, [{"n": n} for n in range(95)], row_ids=row_ids)
    service.faults.add(faults.edit(miscount), operation="listWorkerRunResults", times=999)
    async with client_of(service) as client:
        try:
            rows = await client.runs.iterate_results(run_id, page_size=10).collect()
        except PaginationError:
            assert not row_ids
            return

    assert [row["n"] for row in rows] == list(range(95))


@EACH_DIALECT
@slowly("cap", 20, 10, 50)
async def test_a_store_that_cuts_the_limit_without_a_word_is_read_whole(dialect: Dialect, cap: int) -> None:
    service = FakeService(offset_dialect=dialect, page_size_cap=cap)
    for number in range(116):
        service.add_worker(f"acme/worker-{number}")
    async with client_of(service) as client:
        workers = await client.store.iterate().collect()

    assert len({worker.worker_id for worker in workers}) == len(workers) == 117


@pytest.mark.parametrize(("dialect", "pin"), [("page", "row"), ("row", "page"), ("aligned", "page")])
async def test_a_wrong_pin_is_an_error_also_without_a_count(dialect: Dialect, pin: Any) -> None:
    service = FakeService(offset_dialect=dialect)
    for number in range(95):
        service.add_worker(f"acme/worker-{number}")
    async with client_of(service, offset_dialect=pin) as client:
        with pytest.raises(PaginationError, match="pinned"):
            await client.store.iterate(page_size=10).collect()


@pytest.mark.parametrize("row_ids", [True, False])
@pytest.mark.parametrize("count", [20, 25])
async def test_a_service_that_repeats_the_last_page_beyond_the_end_is_read_right(row_ids: bool, count: int) -> None:
    rows = [{"n": n, **({"__coreclaw_data_id__": str(n)} if row_ids else {})} for n in range(count)]

    def answer(request: httpx.Request) -> httpx.Response:
        if "offset" not in request.url.params:
            run = {"slug": "01KKDXV2G26BT7NH4ZQR2R4NPZ", "status": "succeeded", "results": count}
            return httpx.Response(200, json={"code": 0, "message": "success", "data": run})
        number = min(max(1, int(request.url.params["offset"])), -(-count // 10))
        data = {"count": count, "list": rows[(number - 1) * 10 : number * 10]}
        return httpx.Response(200, json={"code": 0, "message": "success", "data": data})

    async with AsyncCoreClaw("key", transport=httpx.MockTransport(answer), offset_dialect="page") as client:
        got = await client.runs.iterate_results("01KKDXV2G26BT7NH4ZQR2R4NPZ", page_size=10).collect()

    assert [row["n"] for row in got] == list(range(count))


@slowly("after", 65, 25, 85)
async def test_a_change_of_the_dialect_late_in_the_list_is_survived(after: int) -> None:
    service = FakeService(offset_dialect="page")
    run_id = run_with_rows(service, 145)
    async with client_of(service) as client:
        pager = client.runs.iterate_results(run_id, page_size=10)
        rows = await pager.collect(after)
        service.offset_dialect = "row"
        rows += await pager.collect()

    assert len({plain(row) for row in rows}) == len(rows) == 145


@pytest.mark.async_client_only
@pytest.mark.parametrize("how", ["error", "cancel"])
async def test_what_collect_had_is_not_lost_with_it(service: FakeService, how: str) -> None:
    run_id = run_with_rows(service, 50)
    fault = faults.drop_before_commit() if how == "error" else faults.stall()
    service.faults.add(fault, operation="listWorkerRunResults", after=2)
    async with client_of(service, retry=RetryPolicy(max_attempts=1)) as client:
        pager = client.runs.iterate_results(run_id, page_size=10)
        async with cancelling_once(lambda: how == "cancel" and not service.faults.pending) as scope:
            with scope, contextlib.suppress(NoReplyError):
                await pager.collect()
        assert scope.cancelled_caught == (how == "cancel")
        first_page = await anext(pager.pages())
        rows = await pager.collect()

    assert len(first_page.items) == 20
    assert [row["rank"] for row in [*first_page.items, *rows]] == list(range(1, 51))


@pytest.mark.async_client_only
async def test_a_pager_serves_one_task_at_a_time(client: AsyncCoreClaw, service: FakeService) -> None:
    pager = client.runs.iterate_results(run_with_rows(service, 50), page_size=10)
    refused = 0

    async def read() -> None:
        nonlocal refused
        try:
            await anext(pager)
        except RuntimeError:
            refused += 1

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        group.start_soon(read)

    assert refused == 1


async def test_answers_that_fit_no_meaning_of_offset_are_an_error(service: FakeService) -> None:
    def turn_round(envelope: dict[str, Any]) -> dict[str, Any]:
        return {**envelope, "data": {**envelope["data"], "list": envelope["data"]["list"][::-1], "page_index": None}}

    service.offset_dialect = "aligned"
    run_id = run_with_rows(service, 50)
    service.faults.add(
        faults.edit(turn_round),
        operation="listWorkerRunResults",
        times=99,
        match=lambda request: request.query["offset"] == "2",
    )
    async with client_of(service) as client:
        with pytest.raises(PaginationError, match="fit no known meaning"):
            await client.runs.iterate_results(run_id, page_size=10).collect()


async def test_a_second_look_that_proves_nothing_changes_nothing(service: FakeService) -> None:
    """A page comes empty, and while the meaning of offset is looked into, a page's worth of rows is inserted."""

    def empty(envelope: dict[str, Any]) -> dict[str, Any]:
        return {**envelope, "data": {**envelope["data"], "list": []}}

    service.echo_page_index = False
    run_id = run_with_rows(service, 50)
    service.faults.add(faults.edit(empty), operation="listWorkerRunResults", after=2)
    service.faults.add(faults.insert_front(10), operation="listWorkerRunResults", after=4)
    async with client_of(service) as client:
        rows = await client.runs.iterate_results(run_id, page_size=10).collect()

    assert len({plain(row) for row in rows}) == len(rows) == 60


async def test_rows_that_move_while_the_length_of_the_list_is_probed_are_an_error(service: FakeService) -> None:
    service.echo_page_index = False
    run_id = run_with_rows(service, [{"n": 0}] * 30, row_ids=False)
    # Equal rows: only the length of the list can tell what offset means, and it changes between the two requests.
    service.faults.add(faults.insert_front(2), operation="listWorkerRunResults", after=2)

    async with client_of(service) as client:
        with pytest.raises(PaginationError, match="have moved while the list was read"):
            await client.runs.iterate_results(run_id, page_size=5).collect()
