"""Lists beyond paging: months, filters, the lists searched for a lost start, and what the client remembers."""

from __future__ import annotations

import datetime as dt
from typing import Any

import httpx
import pytest

from coreclaw_async import AsyncCoreClaw, PaginationError, Run
from coreclaw_async._operations.known_ids import KnownIds
from coreclaw_async._paging.seen import SeenKeys
from coreclaw_async.testing import FakeService, RunScript, faults

WORKER = "coreclaw/google-maps-scraper"
EAST = dt.timezone(dt.timedelta(hours=8))


def at(service: FakeService, year: int, month: int, day: int, hour: int = 12) -> str:
    """Add a run that was created at that time in UTC+8."""
    moment = dt.datetime(year, month, day, hour, tzinfo=EAST)
    return service.add_run(WORKER, age=service.clock.time() - moment.timestamp())


@pytest.fixture
def months(service: FakeService) -> list[str]:
    """Runs of May to August, oldest first; it is 15 August."""
    return [
        at(service, 2026, 5, 31, 23),
        at(service, 2026, 6, 1, 0),
        at(service, 2026, 6, 30, 23),
        at(service, 2026, 7, 1, 0),
        at(service, 2026, 7, 31, 23),
        at(service, 2026, 8, 1, 0),
        at(service, 2026, 8, 14),
    ]


async def test_months_are_walked_back(client: AsyncCoreClaw, service: FakeService, months: list[str]) -> None:
    since = dt.datetime(2026, 6, 1, tzinfo=EAST)

    runs = [run.run_id async for run in client.runs.iterate(since=since)]

    assert sorted(runs) == sorted(months[1:])
    assert len(service.requests) == 1 + 3, "the first of a new client asks what the service's clock shows"
    assert len(await client.runs.iterate(since=since).collect()) == len(runs)
    assert len(service.requests) == 1 + 3 + 3, "the clock is known by then"


async def test_a_window_ends_where_it_was_asked_to(client: AsyncCoreClaw, months: list[str]) -> None:
    since = dt.datetime(2026, 6, 30, 23, tzinfo=EAST)
    until = dt.datetime(2026, 7, 31, 23, tzinfo=EAST)

    runs = [run.run_id async for run in client.runs.iterate(since=since, until=until)]

    assert sorted(runs) == sorted(months[2:4])


async def test_months_before_the_service_began_are_not_asked_for(
    client: AsyncCoreClaw, service: FakeService, months: list[str]
) -> None:
    runs = await client.runs.iterate(since=dt.datetime(1970, 1, 1, tzinfo=dt.UTC)).collect()

    assert sorted(run.run_id for run in runs) == sorted(months)
    assert len(service.requests) == 1 + 32, "the months from January 2024 to August 2026"
    assert all(int(request.query.get("start_time", "0")) >= 0 for request in service.requests)


async def test_months_after_this_one_are_not_asked_for(
    client: AsyncCoreClaw, service: FakeService, months: list[str]
) -> None:
    since = dt.datetime(2026, 8, 1, tzinfo=EAST)
    until = dt.datetime(9999, 12, 31, tzinfo=dt.UTC)

    runs = await client.runs.iterate(since=since, until=until).collect()

    assert sorted(run.run_id for run in runs) == sorted(months[5:])
    assert len(service.requests) == 1 + 1, "what the service's clock shows, and this month"


@pytest.mark.parametrize(
    ("since", "until", "requests"),
    [
        (dt.datetime(2027, 1, 1, tzinfo=dt.UTC), None, 1),
        (dt.datetime(9999, 12, 31, tzinfo=dt.UTC), None, 1),
        (dt.datetime(2027, 1, 1, tzinfo=dt.UTC), dt.datetime(9999, 1, 1, tzinfo=dt.UTC), 1),
        (dt.datetime(1, 1, 2, tzinfo=dt.UTC), dt.datetime(2023, 12, 31, tzinfo=dt.UTC), 0),
    ],
)
async def test_there_are_no_runs_of_the_future_nor_of_the_time_before_the_service(
    client: AsyncCoreClaw, service: FakeService, since: dt.datetime, until: dt.datetime | None, requests: int
) -> None:
    service.add_run(WORKER)

    assert await client.runs.iterate(since=since, until=until).collect() == []
    assert len(service.requests) == requests, "one at most, which asks what the service's clock shows"


async def test_without_times_it_is_the_current_month(client: AsyncCoreClaw, months: list[str]) -> None:
    runs = [run.run_id async for run in client.runs.iterate()]

    assert sorted(runs) == sorted(months[5:])


async def test_a_status_and_a_worker_are_passed_on(client: AsyncCoreClaw, service: FakeService) -> None:
    other = service.add_worker("acme/other")
    service.add_run(other, status="failed")
    wanted = service.add_run(WORKER, status="failed")
    service.add_run(WORKER, status="succeeded")

    runs = await client.runs.iterate(worker_id=WORKER, status="failed").collect()

    assert [run.run_id for run in runs] == [wanted]


async def test_every_group_iterates(client: AsyncCoreClaw, service: FakeService) -> None:
    service.add_task(WORKER, title="one", input={})
    service.add_queue_item(WORKER, {"parameters": {"custom": {}}})

    assert [task.title async for task in client.tasks.iterate(worker_id=WORKER, keyword="on")] == ["one"]
    assert [task.title async for task in client.tasks.iterate()] == ["one"]
    assert len([item async for item in client.run_queue.iterate(status="waiting")]) == 1
    assert [worker async for worker in client.workers.iterate(keyword="nothing like it")] == []
    assert len([worker async for worker in client.store.iterate(keyword="maps")]) == 1


async def test_runs_of_the_console_are_not_taken_for_a_lost_start(client: AsyncCoreClaw, service: FakeService) -> None:
    since = dt.datetime.fromtimestamp(service.clock.time(), dt.UTC)
    service.add_run(WORKER, age=0.0, origin="web")
    mine = service.add_run(WORKER, age=0.0)
    service.add_run(WORKER, age=3600.0)
    service.clock.advance(60)
    service.add_run(WORKER, age=0.0)

    found = await client.runs.find_started(worker_id=WORKER, since=since, until=since + dt.timedelta(seconds=1))

    assert [run.run_id for run in found] == [mine]
    assert isinstance(found[0], Run)


async def test_a_lost_start_is_found_behind_many_others(client: AsyncCoreClaw, service: FakeService) -> None:
    since = dt.datetime.fromtimestamp(service.clock.time(), dt.UTC)
    service.clock.advance(5)
    mine = service.add_run(WORKER, age=0.0)
    for _ in range(150):
        service.clock.advance(1)
        service.add_run(WORKER, age=0.0, origin="web")

    found = await client.runs.find_started(worker_id=WORKER, since=since)

    assert [run.run_id for run in found] == [mine]


async def test_the_look_ends_after_five_pages(client: AsyncCoreClaw, service: FakeService) -> None:
    since = dt.datetime.fromtimestamp(service.clock.time(), dt.UTC)
    for _ in range(700):
        service.add_run(WORKER, age=0.0)

    found = await client.runs.find_started(worker_id=WORKER, since=since)

    assert len(found) == 500
    assert len(service.requests) == 5


async def test_the_look_reads_back_through_a_busy_month(client: AsyncCoreClaw, service: FakeService) -> None:
    """The start was sent in August and the look is made in September, both in UTC+8."""
    service.clock.set_time(1788192000 - 20)
    since = dt.datetime.fromtimestamp(service.clock.time(), dt.UTC)
    mine = [service.add_run(WORKER, age=0.0) for _ in range(120)]
    service.clock.advance(60)

    found = await client.runs.find_started(since=since, until=since + dt.timedelta(seconds=1))

    assert sorted(run.run_id for run in found) == sorted(mine)


async def test_a_run_whose_id_tells_no_time_stays_a_candidate(client: AsyncCoreClaw, service: FakeService) -> None:
    def rename(envelope: dict[str, Any]) -> dict[str, Any]:
        runs = [{**run, "slug": "short-slug"} for run in envelope["data"]["list"]]
        return {**envelope, "data": {**envelope["data"], "list": runs}}

    since = dt.datetime.fromtimestamp(service.clock.time(), dt.UTC)
    service.add_run(WORKER, age=0.0)
    service.faults.add(faults.edit(rename), operation="listWorkerRuns")

    assert [run.run_id for run in await client.runs.find_started(since=since)] == ["short-slug"]


async def test_a_list_without_ids_cannot_be_told_apart_by_them(client: AsyncCoreClaw, service: FakeService) -> None:
    """Runs without a slug: none is left out or doubled without an error."""

    def strip(envelope: dict[str, Any]) -> dict[str, Any]:
        runs = [{**run, "slug": ""} for run in envelope["data"]["list"]]
        return {**envelope, "data": {**envelope["data"], "list": runs}}

    for number in range(25):
        service.add_run(WORKER, age=60.0 + number)
    service.faults.add(faults.edit(strip), operation="listWorkerRuns", times=99)
    try:
        runs = await client.runs.iterate(page_size=10).collect()
    except PaginationError:
        return

    assert len(runs) == 25


def test_what_is_known_is_bounded() -> None:
    known = KnownIds()
    for number in range(20_001):
        known.add(str(number))

    assert "0" not in known
    assert "1" in known
    assert "20000" in known


def test_the_first_and_the_latest_keys_are_remembered() -> None:
    seen = SeenKeys(capacity=3)
    for number in range(7):
        seen.add(number)

    assert [number in seen for number in range(7)] == [True, True, True, False, True, True, True]
    assert not seen.is_whole
    assert seen.began_with(1, [1, 2])
    assert not seen.began_with(1, [2])
    assert not seen.began_with(0, [])


@pytest.mark.endurance
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_long_list_that_does_not_add_up_is_not_read_again(client: AsyncCoreClaw, service: FakeService) -> None:
    """Beyond 20,000 items nobody remembers which were handed out, so a second pass could not leave them out."""

    def overstate(envelope: dict[str, Any]) -> dict[str, Any]:
        return {**envelope, "data": {**envelope["data"], "count": 20_101}}

    script = RunScript(rows=20_100, statuses=[(0.0, "running"), (1.0, "succeeded")])
    run_id = service.add_run(WORKER, script=script, age=60.0)
    service.faults.add(faults.edit(overstate), operation="listWorkerRunResults", times=999)
    pager = client.runs.iterate_results(run_id, prefetch=9)
    taken = 0
    with pytest.raises(PaginationError, match="only 20100 came"):
        async for _ in pager:
            taken += 1

    assert taken == 20_100


@pytest.mark.endurance
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_list_without_end_is_an_error() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        page = int(request.url.params["offset"])
        workers = [{"slug": f"{page}-{number}"} for number in range(10)]
        return httpx.Response(200, json={"code": 0, "message": "success", "data": {"scraper": workers}})

    async with AsyncCoreClaw(transport=httpx.MockTransport(answer)) as client:
        with pytest.raises(PaginationError, match="does not end"):
            await client.store.iterate(page_size=10).collect()


async def test_a_queued_run_is_queued_until_it_is_activated(client: AsyncCoreClaw, service: FakeService) -> None:
    queued = await client.workers.queue_run(WORKER, {"keywords": ["tea"]})
    assert service.runs_created == 0

    (action,) = await client.run_queue.activate(queued.queue_id)

    assert action.success
    assert service.runs_created == 1
    assert queued.request_id is not None
