"""The list of runs: one month in UTC+8, newest first, filters, lag."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from testing.api_session import STORE_WORKER, ApiSession

from coreclaw_async.testing import RunScript

MAPS = "coreclaw/google-maps-scraper"
CHINA = timezone(timedelta(hours=8))
DAY = 86_400
AUGUST_1 = 1_785_513_600
AUGUST_31 = 1_788_105_600
JULY_1 = 1_782_835_200
JULY_31 = 1_785_427_200


def test_the_published_examples_are_month_borders_in_utc_plus_8() -> None:
    assert datetime.fromtimestamp(AUGUST_1, CHINA) == datetime(2026, 8, 1, tzinfo=CHINA)
    assert datetime.fromtimestamp(JULY_31, UTC).astimezone(CHINA).day == 31


async def test_runs_come_newest_first_with_a_count(api: ApiSession) -> None:
    ids = [api.service.add_run(MAPS, age=age) for age in (300, 100, 200)]

    listed = await api.get("/worker-runs")

    assert [run["slug"] for run in listed["list"]] == [ids[1], ids[2], ids[0]]
    assert set(listed) == {"count", "list"}
    assert listed["count"] == 3


@pytest.mark.parametrize(
    ("echo", "run_list_echo", "told"),
    [(True, None, True), (True, False, False), (False, None, False), (False, True, True)],
)
async def test_the_page_is_told_or_not(api: ApiSession, *, echo: bool, run_list_echo: bool | None, told: bool) -> None:
    api.service.echo_page_index = echo
    api.service.run_list_echo = run_list_echo

    assert ("page_index" in await api.get("/worker-runs")) is told


async def test_only_the_current_month_is_listed_without_a_window(api: ApiSession) -> None:
    now = api.service.clock.time()
    first = api.service.add_run(MAPS, age=now - AUGUST_1)
    api.service.add_run(MAPS, age=now - AUGUST_1 + 1)

    listed = await api.get("/worker-runs")

    assert [run["slug"] for run in listed["list"]] == [first]
    assert listed["count"] == 1


async def test_on_the_first_day_of_a_month_the_list_is_empty(api: ApiSession) -> None:
    await api.start()
    api.service.clock.advance(AUGUST_31 + DAY - api.service.clock.time())

    assert (await api.get("/worker-runs"))["count"] == 0
    assert (await api.get("/worker-runs", start_time=AUGUST_1, end_time=AUGUST_31))["count"] == 1


async def test_an_older_month_is_found_by_its_window(api: ApiSession) -> None:
    now = api.service.clock.time()
    inside = [api.service.add_run(MAPS, age=now - at) for at in (JULY_1, JULY_31 + DAY - 1)]
    for outside in (JULY_1 - 1, AUGUST_1):
        api.service.add_run(MAPS, age=now - outside)

    listed = await api.get("/worker-runs", start_time=JULY_1, end_time=JULY_31)

    assert [run["slug"] for run in listed["list"]] == inside[::-1]


async def test_the_end_of_a_window_is_the_start_of_its_last_day(api: ApiSession) -> None:
    now = api.service.clock.time()
    noon = api.service.add_run(MAPS, age=now - (AUGUST_1 + 4 * DAY + DAY / 2))
    api.service.add_run(MAPS, age=now - (AUGUST_1 + 5 * DAY))

    listed = await api.get("/worker-runs", start_time=AUGUST_1, end_time=AUGUST_1 + 4 * DAY)

    assert [run["slug"] for run in listed["list"]] == [noon]


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        (AUGUST_1, AUGUST_31 + 1, "run list time range cannot cross months"),
        (JULY_31, AUGUST_1, "run list time range cannot cross months"),
        (AUGUST_31, AUGUST_1, "start_time must not be after end_time"),
        (AUGUST_1, None, "start_time and end_time must be given together"),
        (None, AUGUST_1, "start_time and end_time must be given together"),
    ],
)
async def test_a_window_that_breaks_the_rules_is_refused(
    api: ApiSession, start: int | None, end: int | None, message: str
) -> None:
    times = {"start_time": start, "end_time": end}
    query = {name: value for name, value in times.items() if value is not None}

    response = await api.client.get("/worker-runs", params=query)

    assert (response.status_code, response.json()["code"]) == (400, 11000)
    assert response.json()["message"] == message


async def test_runs_are_filtered_by_worker_and_status(api: ApiSession) -> None:
    other = api.service.add_worker("owner/other")
    failed = api.service.add_run(other, status="failed")
    running = api.service.add_run(other, status="running")
    api.service.add_run(MAPS, status="failed")

    async def listed(**query: str) -> set[str]:
        return {run["slug"] for run in (await api.get("/worker-runs", **query))["list"]}

    assert await listed(worker_id=other) == {failed, running}
    assert await listed(worker_id="owner~other", status="failed") == {failed}
    assert await listed(status="running") == {running}
    assert await listed(worker_id=STORE_WORKER, status="running") == set()


async def test_runs_that_go_on_are_listed_newest_first_page_by_page_until_they_end(api: ApiSession) -> None:
    ended = api.service.add_run(MAPS, status="running", age=250)
    ids = [api.service.add_run(MAPS, status="running", age=age) for age in (300, 100, 200, 200)]
    again = api.service.add_run(MAPS, script=RunScript(statuses=[(0, "succeeded"), (10, "running")]), age=50)
    api.service.add_run(MAPS, script=RunScript(statuses=[(0, "running"), (10, "succeeded")]), age=50)
    newest_first = [again, ids[1], ids[3], ids[2], ended, ids[0]]

    async def listed(**query: int) -> list[str]:
        return [run["slug"] for run in (await api.get("/worker-runs", status="running", **query))["list"]]

    assert await listed() == newest_first
    assert [await listed(offset=page, limit=4) for page in (1, 2)] == [newest_first[:4], newest_first[4:]]

    api.service.finish(ended)
    assert await listed() == [run_id for run_id in newest_first if run_id != ended]


async def test_a_worker_filter_must_name_a_worker(api: ApiSession) -> None:
    query = {"worker_id": "coreclaw/google-maps-scraper"}

    assert await api.refusal("GET", "/worker-runs", params=query) == (404, 11004)


async def test_a_new_run_can_be_late_in_the_list(api: ApiSession) -> None:
    api.service.list_lag = 3
    await api.start()
    before = await api.get("/worker-runs")
    api.service.clock.advance(3)

    assert (before["count"], (await api.get("/worker-runs"))["count"]) == (0, 1)


async def test_an_empty_list_can_be_null(api: ApiSession) -> None:
    api.service.null_lists = True

    assert (await api.get("/worker-runs"))["list"] is None


async def test_last_means_the_newest_of_the_account_or_of_one_worker(api: ApiSession) -> None:
    other = api.service.add_worker("owner/other")
    newest = api.service.add_run(other, age=10)
    mine = api.service.add_run(MAPS, age=20)
    api.service.add_run(MAPS, age=30)

    assert (await api.get("/worker-runs/last"))["slug"] == newest
    assert (await api.get(f"/workers/{STORE_WORKER}/runs/last"))["slug"] == mine


async def test_a_run_that_never_begins_is_ready_for_ever(api: ApiSession) -> None:
    api.service.next_script = RunScript(ready_for=math.inf)
    await api.start()
    api.service.clock.advance(86_400)

    listed = await api.get("/worker-runs", status="ready")
    assert [(run["status"], run["results"]) for run in listed["list"]] == [("ready", 0)]
