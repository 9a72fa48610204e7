"""Logs: lines that appear with time, in four shapes, and the whole text behind a URL."""

from __future__ import annotations

import httpx
import pytest
from testing.api_session import ApiSession

from coreclaw_async.testing import RunScript

START_MS = 1_786_766_400_000


async def test_lines_appear_evenly_while_the_run_is_in_work(api: ApiSession) -> None:
    api.service.next_script = RunScript(ready_for=2, duration=10, log=("a", "b", "c"))
    run_id = await api.start()
    seen: list[list[str]] = []
    for seconds in (0, 2, 4.9, 0.1, 5):
        api.service.clock.advance(seconds)
        log = await api.get(f"/worker-runs/{run_id}/log")
        seen.append([entry["content"] for entry in log["list"]])

    assert seen == [[], ["a"], ["a"], ["a", "b"], ["a", "b", "c"]]


async def test_an_entry_has_a_level_a_group_and_milliseconds(api: ApiSession) -> None:
    api.service.next_script = RunScript(duration=10, log=[("debug", "a"), "b\nc", ("warn", "d")])
    run_id = await api.start()
    api.service.clock.advance(10)

    log = await api.get(f"/worker-runs/{run_id}/log")

    assert log["list"] == [
        {"type": 1, "group": "1", "content": "a", "timestamp": START_MS},
        {"type": 2, "group": "1", "content": "b\nc", "timestamp": START_MS + 5000},
        {"type": 3, "group": "1", "content": "d", "timestamp": START_MS + 10_000},
    ]
    assert log["result_count"] == 3


async def test_levels_can_be_words(api: ApiSession) -> None:
    api.service.log_entries = "words"
    run_id = await api.start()

    assert (await api.get(f"/worker-runs/{run_id}/log"))["list"][0]["type"] == "info"


async def test_entries_can_be_texts(api: ApiSession) -> None:
    api.service.log_entries = "strings"
    run_id = await api.start()
    api.service.clock.advance(10)

    log = await api.get(f"/worker-runs/{run_id}/log")
    assert log["list"] == ["Run started", "Collected 3 rows", "Run finished"]


@pytest.mark.parametrize(("seconds", "rows"), [(0, 0), (5, 5)])
async def test_a_run_that_ends_early_says_how_many_rows_it_has(api: ApiSession, seconds: float, rows: int) -> None:
    api.service.log_entries = "strings"
    api.service.next_script = RunScript(rows=10, duration=10)
    run_id = await api.start()
    api.service.clock.advance(seconds)
    api.service.finish(run_id, "failed")

    assert f"Collected {rows} rows" in (await api.get(f"/worker-runs/{run_id}/log"))["list"]
    assert (await api.get(f"/worker-runs/{run_id}"))["results"] == rows


async def test_entries_can_be_of_all_shapes(api: ApiSession) -> None:
    api.service.log_entries = "mixed"
    run_id = await api.start()
    api.service.clock.advance(10)

    numbered, worded, text = (await api.get(f"/worker-runs/{run_id}/log"))["list"]
    assert (numbered["type"], worded["type"], text) == (2, "info", "Run finished")


async def test_a_failure_ends_with_its_message(api: ApiSession) -> None:
    api.service.next_script = RunScript(outcome="failed", error_message="blocked", duration=4, log=())
    run_id = await api.start()
    api.service.clock.advance(9)

    assert (await api.get(f"/worker-runs/{run_id}/log"))["list"] == [
        {"type": 4, "group": "1", "content": "blocked", "timestamp": START_MS + 4000}
    ]


async def test_a_run_without_an_end_writes_all_at_once(api: ApiSession) -> None:
    run_id = api.service.add_run("coreclaw/google-maps-scraper", status="running")

    assert len((await api.get(f"/worker-runs/{run_id}/log"))["list"]) == 3


async def test_a_run_that_never_was_in_work_wrote_nothing(api: ApiSession) -> None:
    api.service.next_script = RunScript(statuses=[(0, "ready")])
    run_id = await api.start()

    assert (await api.get(f"/worker-runs/{run_id}/log"))["list"] == []


@pytest.mark.parametrize("scope", ["/worker-runs/last", "/workers/coreclaw~google-maps-scraper/runs/last"])
async def test_the_last_run_has_a_log_too(api: ApiSession, scope: str) -> None:
    await api.start()

    assert (await api.get(f"{scope}/log"))["list"][0]["content"] == "Run started"


async def test_an_answer_shows_the_newest_lines_and_the_url_all(api: ApiSession) -> None:
    api.service.next_script = RunScript(duration=0, log=[f"line {number}" for number in range(150)])
    run_id = await api.start()

    log = await api.get(f"/worker-runs/{run_id}/log")
    async with httpx.AsyncClient(transport=api.service) as plain:
        whole = (await plain.get(log["all_logs_url"])).text.splitlines()

    assert [entry["content"] for entry in log["list"]] == [f"line {number}" for number in range(50, 150)]
    assert whole[0] == f"{START_MS} INFO line 0"
    assert len(whole) == 150


@pytest.mark.parametrize("stops", ["stick", "abort"])
async def test_a_run_that_sticks_writes_no_more_lines(api: ApiSession, stops: str) -> None:
    api.service.next_script = RunScript(duration=100, log=("a", "b", "c"), abort="stuck")
    run_id = await api.start()
    api.service.clock.advance(60)
    if stops == "stick":
        api.service.stick(run_id)
    else:
        await api.post(f"/worker-runs/{run_id}/abort")
    api.service.clock.advance(1000)

    log = await api.get(f"/worker-runs/{run_id}/log")
    assert [(line["content"], line["timestamp"] - START_MS) for line in log["list"]] == [("a", 0), ("b", 50_000)]
