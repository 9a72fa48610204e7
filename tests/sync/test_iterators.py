"""Pager and Stream: one hop a page, nothing left behind, and continued where they stood."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from coreclaw_async import AsyncCoreClaw, CoreClaw, NoReplyError, RetryPolicy, Row
from coreclaw_async.events import PageRead
from coreclaw_async.testing import FakeService, RunScript, faults

WORKER = "coreclaw/google-maps-scraper"


@pytest.fixture
def client(service: FakeService) -> Iterator[CoreClaw]:
    retry = RetryPolicy(max_attempts=1)
    with CoreClaw(service.api_key, transport=service, clock=service.clock, retry=retry) as client:
        yield client


def pages_asked_for(service: FakeService) -> int:
    return sum(request.operation == "listWorkerRunResults" for request in service.requests)


def ranks(rows: Iterable[Row]) -> list[object]:
    return [row["rank"] for row in rows]


async def test_rows_are_those_of_the_async_pager(service: FakeService, client: CoreClaw) -> None:
    run_id = service.add_run(WORKER, rows=250)

    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as other:
        assert list(client.runs.iterate_results(run_id)) == await other.runs.iterate_results(run_id).collect()


def test_nothing_is_read_before_the_first_item_or_after_the_last_one_asked_for(
    service: FakeService, client: CoreClaw
) -> None:
    run_id = service.add_run(WORKER, rows=250)
    pager = client.runs.iterate_results(run_id)
    assert service.requests == []

    for row in pager:
        if row["rank"] == 150:
            break

    assert pages_asked_for(service) == 2
    assert client.connections_in_use == 0
    assert next(pager)["rank"] == 151


def test_one_hop_is_made_for_a_page(service: FakeService) -> None:
    run_id = service.add_run(WORKER, rows=1000)
    hops: list[int] = []
    with CoreClaw(
        service.api_key,
        transport=service,
        clock=service.clock,
        on_event=lambda event: hops.append(1) if isinstance(event, PageRead) else None,
    ) as client:
        rows = list(client.runs.iterate_results(run_id))

    assert len(rows) == 1000
    assert len(hops) <= 12


def test_pages_leave_out_what_was_taken_by_item(service: FakeService, client: CoreClaw) -> None:
    pager = client.runs.iterate_results(service.add_run(WORKER, rows=25), page_size=10)
    assert next(pager)["rank"] == 1

    assert [ranks(list(page.items)) for page in pager.pages()] == [
        list(range(2, 11)),
        list(range(11, 21)),
        list(range(21, 26)),
    ]
    assert pager.next_page() is None


def test_first_and_collect_take_from_where_the_iterator_stands(service: FakeService, client: CoreClaw) -> None:
    pager = client.runs.iterate_results(service.add_run(WORKER, rows=25), page_size=10)

    first = pager.first()
    assert first is not None
    assert first["rank"] == 1
    assert ranks(pager.collect(12)) == list(range(2, 14))
    assert ranks(pager.collect()) == list(range(14, 26))
    with pytest.raises(ValueError, match="max_items"):
        pager.collect(0)


def test_collect_gives_its_items_again_after_an_error(service: FakeService, client: CoreClaw) -> None:
    service.faults.add(faults.drop_before_commit(), operation="listWorkerRunResults", after=2)
    pager = client.runs.iterate_results(service.add_run(WORKER, rows=50), page_size=10)
    with pytest.raises(NoReplyError):
        pager.collect()

    assert ranks(pager.collect()) == list(range(1, 51))


def test_iteration_goes_on_after_an_error(service: FakeService, client: CoreClaw) -> None:
    service.faults.add(faults.drop_before_commit(), operation="listWorkerRunResults", after=2)
    pager = client.runs.iterate_results(service.add_run(WORKER, rows=50), page_size=10)
    rows = []
    with pytest.raises(NoReplyError):
        for row in pager:
            rows.append(row)

    assert 0 < len(rows) < 50
    assert ranks([*rows, *pager]) == list(range(1, 51))


def test_runs_come_as_they_end_and_a_stream_that_was_left_goes_on(service: FakeService, client: CoreClaw) -> None:
    runs = [service.add_run(WORKER, script=RunScript(duration=300.0 * number), age=0) for number in (3, 1, 2)]
    stream = client.runs.wait_many(runs)

    first = next(stream)

    assert [first.run_id, *(run.run_id for run in stream)] == [runs[1], runs[2], runs[0]]
    assert next(stream, None) is None


def test_changes_and_log_entries_are_streams_too(service: FakeService, client: CoreClaw) -> None:
    run_id = service.add_run(WORKER, script=RunScript(rows=10, duration=20), age=0)

    assert [str(run.status) for run in client.runs.watch(run_id)][-1] == "succeeded"
    assert [entry.content for entry in client.runs.follow_log(run_id)][-1] == "Run finished"
