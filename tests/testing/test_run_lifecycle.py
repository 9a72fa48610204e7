"""What a run goes through: statuses, rows that appear, abort, forced ends."""

from __future__ import annotations

from typing import Any

import pytest
from testing.api_session import STORE_WORKER, ApiSession

from coreclaw_async.testing import RunScript

MAPS = "coreclaw/google-maps-scraper"


async def test_a_run_is_ready_then_running_then_ended(api: ApiSession) -> None:
    api.service.next_script = RunScript(ready_for=5, duration=10, rows=4)
    run_id = await api.start()
    seen: list[tuple[Any, ...]] = []
    for seconds in (0, 4, 1, 5, 5, 60):
        api.service.clock.advance(seconds)
        run = await api.get(f"/worker-runs/{run_id}")
        seen.append((run["status"], run["results"], run["duration"], run["started_at"], run["finished_at"]))

    start = 1_786_766_405
    assert seen == [
        ("ready", 0, 0, 0, 0),
        ("ready", 0, 0, 0, 0),
        ("running", 0, 0, start, 0),
        ("running", 2, 5, start, 0),
        ("succeeded", 4, 10, start, start + 10),
        ("succeeded", 4, 10, start, start + 10),
    ]


async def test_the_detail_has_the_twelve_members_of_production(api: ApiSession) -> None:
    run_id = api.service.add_run(MAPS, rows=2, origin="web", age=100)

    assert await api.get(f"/worker-runs/{run_id}") == {
        "slug": run_id,
        "scraper_slug": api.service.runs[run_id].worker_id,
        "scraper_title": "Google Maps Scraper",
        "version": "v1.2.8",
        "status": "succeeded",
        "results": 2,
        "usage": "0.002",
        "traffic": 2048,
        "origin": "web",
        "started_at": 1_786_766_300,
        "finished_at": 1_786_766_350,
        "duration": 50,
    }


async def test_ten_seconds_are_ten_seconds_wherever_they_begin(api: ApiSession) -> None:
    api.service.clock.advance(0.1 + 0.2)
    run_id = await api.start()
    for _ in range(100):
        api.service.clock.advance(0.1)

    assert (await api.get(f"/worker-runs/{run_id}"))["status"] == "succeeded"


async def test_each_row_appears_in_time_however_it_is_divided(api: ApiSession) -> None:
    api.service.next_script = RunScript(rows=100, duration=100)
    run_id = await api.start()
    counts: list[int] = []
    for _ in range(100):
        api.service.clock.advance(1)
        counts.append((await api.get(f"/worker-runs/{run_id}"))["results"])

    assert counts == list(range(1, 101))


@pytest.mark.parametrize("outcome", ["failed", "timed_out"])
async def test_a_run_ends_in_any_word(api: ApiSession, outcome: str) -> None:
    api.service.next_script = RunScript(outcome=outcome, error_message="blocked")
    await api.start()
    running = (await api.get("/worker-runs"))["list"][0]
    api.service.clock.advance(10)
    ended = (await api.get("/worker-runs"))["list"][0]

    assert (running["status"], running["err_msg"]) == ("running", "")
    assert (ended["status"], ended["err_msg"]) == (outcome, "blocked")


async def test_err_msg_is_in_the_list_alone_unless_the_detail_shall_have_it(api: ApiSession) -> None:
    run_id = api.service.add_run(MAPS, status="failed", error_message="blocked")

    assert "err_msg" not in await api.get(f"/worker-runs/{run_id}")
    api.service.detail_err_msg = True
    assert (await api.get(f"/worker-runs/{run_id}"))["err_msg"] == "blocked"
    assert (await api.get("/worker-runs"))["list"][0]["err_msg"] == "blocked"


async def test_a_new_run_can_be_hidden_for_a_while(api: ApiSession) -> None:
    api.service.next_script = RunScript(hidden_for=3)
    run_id = await api.start()
    for path in ("", "/log", "/result", "/result/export"):
        assert await api.refusal("GET", f"/worker-runs/{run_id}{path}") == (404, 11004)

    api.service.clock.advance(3)
    assert (await api.get(f"/worker-runs/{run_id}"))["status"] == "running"


async def test_a_timeline_of_its_own_replaces_the_usual_one(api: ApiSession) -> None:
    api.service.next_script = RunScript(statuses=[(8, "odd"), (2, "running"), (5, "paused")])
    run_id = await api.start()
    words: list[str] = []
    for seconds in (0, 2, 3, 3):
        api.service.clock.advance(seconds)
        words.append((await api.get(f"/worker-runs/{run_id}"))["status"])

    assert words == ["ready", "running", "paused", "odd"]
    assert api.service.runs[run_id].is_final


async def test_a_timeline_may_skip_running(api: ApiSession) -> None:
    api.service.next_script = RunScript(statuses=[(0, "ready"), (3, "failed")], rows=4)
    run_id = await api.start()
    api.service.clock.advance(3)
    run = await api.get(f"/worker-runs/{run_id}")

    assert (run["status"], run["duration"], run["started_at"]) == ("failed", 0, 0)


async def test_rows_may_come_into_the_list_after_the_end(api: ApiSession) -> None:
    api.service.next_script = RunScript(rows=5, duration=1, rows_late=2, rows_late_for=4)
    run_id = await api.start()
    api.service.clock.advance(1)

    assert (await api.get(f"/worker-runs/{run_id}"))["results"] == 5
    assert (await api.get(f"/worker-runs/{run_id}/result"))["count"] == 3
    api.service.clock.advance(4)
    assert (await api.get(f"/worker-runs/{run_id}/result"))["count"] == 5


@pytest.mark.parametrize("body", [None, b"{}", b'{"is_async": true, "limit": 5, "offset": 0}'])
async def test_an_abort_keeps_the_rows_that_are_there(api: ApiSession, body: bytes | None) -> None:
    api.service.next_script = RunScript(rows=10, duration=10, abort_after=2)
    run_id = await api.start()
    api.service.clock.advance(3)
    headers = {"content-type": "application/json"} if body else {}

    assert await api.call("POST", f"/worker-runs/{run_id}/abort", content=body, headers=headers) is None
    assert (await api.get(f"/worker-runs/{run_id}"))["status"] == "aborting"
    api.service.clock.advance(60)
    run = await api.get(f"/worker-runs/{run_id}")
    assert (run["status"], run["results"], run["duration"]) == ("aborted", 3, 5)


@pytest.mark.parametrize(("abort", "word"), [("stuck", "aborting"), ("failed", "failed")])
async def test_an_abort_can_fail_or_never_end(api: ApiSession, abort: Any, word: str) -> None:
    api.service.next_script = RunScript(abort=abort)
    run_id = await api.start()
    await api.post(f"/worker-runs/{run_id}/abort")
    api.service.clock.advance(10_000)

    assert (await api.get(f"/worker-runs/{run_id}"))["status"] == word


async def test_an_abort_under_way_may_be_repeated_and_goes_on_as_it_was(api: ApiSession) -> None:
    api.service.next_script = RunScript(abort_after=10)
    run_id = await api.start()
    await api.post(f"/worker-runs/{run_id}/abort")
    api.service.clock.advance(9)
    await api.post(f"/worker-runs/{run_id}/abort")
    api.service.clock.advance(1)

    assert api.service.runs[run_id].status == "aborted"


async def test_an_ended_run_cannot_be_aborted(api: ApiSession) -> None:
    run_id = api.service.add_run(MAPS)

    assert await api.refusal("POST", f"/worker-runs/{run_id}/abort", json={}) == (400, 70002)


@pytest.mark.parametrize("path", ["/worker-runs/last", f"/workers/{STORE_WORKER}/runs/last"])
async def test_the_last_run_can_be_aborted(api: ApiSession, path: str) -> None:
    run_id = await api.start()
    await api.post(f"{path}/abort")

    assert (await api.get(path))["status"] == "aborting"
    assert api.service.runs[run_id].status == "aborting"


async def test_an_abort_can_be_made_to_need_its_body(api: ApiSession) -> None:
    api.service.abort_requires_body = True
    run_id = await api.start()

    assert await api.refusal("POST", f"/worker-runs/{run_id}/abort") == (400, 11000)
    await api.post(f"/worker-runs/{run_id}/abort", {})


async def test_an_abort_takes_no_strange_members(api: ApiSession) -> None:
    run_id = await api.start()

    assert await api.refusal("POST", f"/worker-runs/{run_id}/abort", json={"force": True}) == (400, 11000)


async def test_a_forced_success_brings_all_rows(api: ApiSession) -> None:
    api.service.next_script = RunScript(rows=10, duration=100)
    run_id = await api.start()
    api.service.clock.advance(10)
    api.service.finish(run_id)

    run = await api.get(f"/worker-runs/{run_id}")
    assert (run["status"], run["results"], run["duration"]) == ("succeeded", 10, 10)


async def test_a_forced_failure_keeps_the_rows_that_are_there(api: ApiSession) -> None:
    api.service.next_script = RunScript(rows=10, duration=100)
    run_id = await api.start()
    api.service.clock.advance(20)
    api.service.finish(run_id, "failed")
    api.service.clock.advance(500)

    run = await api.get(f"/worker-runs/{run_id}")
    assert (run["status"], run["results"], run["duration"]) == ("failed", 2, 20)


async def test_a_run_that_sticks_never_ends_by_itself_and_makes_no_more_rows(api: ApiSession) -> None:
    api.service.next_script = RunScript(rows=10, duration=100, ready_for=10)
    run_id = await api.start()
    run = api.service.runs[run_id]
    api.service.clock.advance(60)
    api.service.stick(run_id)
    api.service.clock.advance(100_000)

    assert (run.status, run.result_count, run.is_final, run.duration) == ("running", 5, False, 100_050)
    await api.post(f"/worker-runs/{run_id}/abort")
    api.service.clock.advance(2)
    assert (run.status, run.result_count) == ("aborted", 5)


@pytest.mark.parametrize(("passed", "status"), [(5, "ready"), (50, "aborting"), (60, "aborted")])
async def test_a_run_sticks_in_whatever_status_it_is(api: ApiSession, passed: float, status: str) -> None:
    api.service.next_script = RunScript(rows=10, duration=100, ready_for=10, abort_after=5)
    run_id = await api.start()
    run = api.service.runs[run_id]
    if passed >= 50:
        api.service.clock.advance(50)
        run.abort()
    api.service.clock.advance(passed - api.service.clock.monotonic())
    api.service.stick(run_id)
    api.service.clock.advance(1000)

    assert run.status == status
    api.service.finish(run_id)
    assert (run.status, run.result_count) == (("aborted", 4) if status == "aborted" else ("succeeded", 10))


@pytest.mark.parametrize("change", ["end", "abort", "stick"])
async def test_an_ended_run_stays_as_it_is_also_one_that_ends_meanwhile(api: ApiSession, change: str) -> None:
    api.service.next_script = RunScript(rows=10, duration=100)
    run = api.service.runs[await api.start()]
    before = list(run.changes)
    looks = iter([99.9, *[100.0] * 20])
    run.now = lambda: run.born + next(looks)
    assert not run.is_final

    done = run.end("failed") if change == "end" else getattr(run, change)()

    assert (done, run.changes, run.status, run.result_count) == (False, before, "succeeded", 10)


@pytest.mark.parametrize("change", ["end", "abort", "stick"])
async def test_a_change_of_a_run_is_made_at_one_moment_however_the_clock_goes_on(api: ApiSession, change: str) -> None:
    api.service.next_script = RunScript(rows=10, duration=100)
    run = api.service.runs[await api.start()]
    looks = iter([99.9, *[100.0] * 20])
    run.now = lambda: run.born + next(looks)

    done = run.end("failed") if change == "end" else getattr(run, change)()

    ends = [status for _, status in run.changes if status not in {"running", "aborting"}]
    assert (done, ends) == (True, {"end": ["failed"], "abort": ["aborted"], "stick": []}[change])


@pytest.mark.parametrize("status", ["ready", "running", "aborting"])
async def test_a_run_of_the_history_that_has_not_ended_stays_so(api: ApiSession, status: str) -> None:
    run_id = api.service.add_run(MAPS, status=status, rows=4)
    api.service.clock.advance(100_000)

    assert (await api.get(f"/worker-runs/{run_id}"))["status"] == status
    api.service.finish(run_id)
    run = await api.get(f"/worker-runs/{run_id}")
    assert (run["status"], run["results"]) == ("succeeded", 4)


async def test_a_running_run_of_the_history_shows_its_rows(api: ApiSession) -> None:
    run_id = api.service.add_run(MAPS, status="running", rows=4)

    assert (await api.get(f"/worker-runs/{run_id}"))["results"] == 4
    assert len(api.service.runs[run_id].rows) == 4


async def test_a_run_of_the_history_may_follow_a_script(api: ApiSession) -> None:
    run_id = api.service.add_run(MAPS, age=5, script=RunScript(rows=10, duration=10))
    before = await api.get(f"/worker-runs/{run_id}")
    api.service.clock.advance(5)
    after = await api.get(f"/worker-runs/{run_id}")

    assert (before["status"], before["results"]) == ("running", 5)
    assert (after["status"], after["results"]) == ("succeeded", 10)


async def test_set_time_moves_the_calendar_and_not_the_runs(api: ApiSession) -> None:
    run_id = await api.start()
    api.service.clock.set_time(2_000_000_000)

    assert (await api.get(f"/worker-runs/{run_id}"))["status"] == "running"
    assert (await api.get("/worker-runs"))["list"] == []


@pytest.mark.parametrize("wrong", [{"duration": -1}, {"rows_late": -1}, {"abort": "never"}, {"abort_after": -0.1}])
def test_a_script_does_not_take_impossible_values(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RunScript(**wrong)
