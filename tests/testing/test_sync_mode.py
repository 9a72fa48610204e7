"""Synchronous starts: the answer comes with the end of the run, or after five minutes."""

from __future__ import annotations

import anyio
import httpx
import pytest
from testing.api_session import GOOD_INPUT, STORE_WORKER, ApiSession

from coreclaw_async.testing import RunScript, faults

RUNS = f"/workers/{STORE_WORKER}/runs"
SYNC = {"input": GOOD_INPUT, "is_async": False}
START = 1_786_766_400


async def test_a_start_answers_when_the_run_has_ended(api: ApiSession) -> None:
    api.service.next_script = RunScript(rows=30, ready_for=2, duration=7.5, outcome="failed", error_message="x")

    answer = await api.post(RUNS, {**SYNC, "limit": 10, "offset": 3})

    results = answer.pop("results")
    assert answer == {
        "run_slug": next(iter(api.service.runs)),
        "run_status": "failed",
        "error_message": "x",
        "result_message": "",
        "execution_start_timestamp": START + 2,
        "execution_end_timestamp": START + 9,
        "running_duration": 7,
    }
    assert [row["rank"] for row in results["list"]] == list(range(21, 31))
    assert (results["count"], results["page_index"], results["page_size"]) == (30, 3, 10)
    assert api.service.clock.monotonic() == 9.5


async def test_a_rerun_answers_with_other_members(api: ApiSession) -> None:
    old = api.service.add_run("coreclaw/google-maps-scraper", input=GOOD_INPUT)

    answer = await api.post(f"/worker-runs/{old}/rerun", {"is_async": False})

    assert set(answer) == {
        "run_slug",
        "run_status",
        "execution_start_timestamp",
        "execution_end_timestamp",
        "running_duration",
        "is_finished",
        "results",
    }
    assert (answer["run_status"], answer["is_finished"]) == ("succeeded", True)
    assert answer["run_slug"] != old


@pytest.mark.parametrize("body", [None, {}, {"is_async": True, "offset": 3, "limit": 5}])
async def test_an_abort_answers_at_once_and_without_data(api: ApiSession, body: dict[str, object] | None) -> None:
    run_id = await api.start()

    response = (
        await api.client.post(f"/worker-runs/{run_id}/abort", json=body)
        if body is not None
        else (await api.client.post(f"/worker-runs/{run_id}/abort"))
    )

    assert set(response.json()) == {"code", "message", "request_id"}
    assert api.service.clock.monotonic() == 0


@pytest.mark.parametrize("path", ["/worker-runs/last", f"/workers/{STORE_WORKER}/runs/last", "/worker-runs/{run_id}"])
async def test_an_abort_that_waits_answers_as_a_rerun_does_when_the_run_has_ended(api: ApiSession, path: str) -> None:
    api.service.next_script = RunScript(rows=10, ready_for=1, duration=10, abort_after=2)
    run_id = await api.start()
    api.service.clock.advance(6)

    answer = await api.post(f"{path.format(run_id=run_id)}/abort", {"is_async": False, "limit": 3})

    results = answer.pop("results")
    assert answer == {
        "run_slug": run_id,
        "run_status": "aborted",
        "is_finished": True,
        "execution_start_timestamp": START + 1,
        "execution_end_timestamp": START + 8,
        "running_duration": 7,
    }
    assert (results["count"], len(results["list"])) == (5, 3)
    assert api.service.clock.monotonic() == 8


async def test_an_abort_that_waits_can_answer_with_the_slug_alone(api: ApiSession) -> None:
    api.service.sync_reply = "slug"
    run_id = await api.start()

    assert await api.post(f"/worker-runs/{run_id}/abort", {"is_async": False}) == {"run_slug": run_id}


async def test_an_abort_that_waits_is_refused_at_once_when_the_run_has_ended(api: ApiSession) -> None:
    run_id = api.service.add_run("coreclaw/google-maps-scraper")

    assert await api.refusal("POST", f"/worker-runs/{run_id}/abort", json={"is_async": False}) == (400, 70002)


async def test_a_saved_task_answers_as_a_worker_does(api: ApiSession) -> None:
    task_id = api.service.add_task("coreclaw/google-maps-scraper", title="t", input=GOOD_INPUT)

    answer = await api.post(f"/worker-tasks/{task_id}/runs", {"is_async": False})

    assert answer["result_message"] == ""


async def test_after_five_minutes_the_answer_comes_without_an_end(api: ApiSession) -> None:
    api.service.next_script = RunScript(duration=1000)

    answer = await api.post(RUNS, SYNC)

    assert (answer["run_status"], answer["execution_end_timestamp"]) == ("running", 0)
    assert api.service.clock.monotonic() == 300


async def test_a_run_without_an_end_is_waited_for_as_long(api: ApiSession) -> None:
    api.service.next_script = RunScript(statuses=[(0, "running")])
    await api.post(RUNS, SYNC)

    assert api.service.clock.monotonic() == 300


async def test_the_answer_can_be_the_slug_alone(api: ApiSession) -> None:
    api.service.sync_reply = "slug"

    assert await api.post(RUNS, SYNC) == {"run_slug": next(iter(api.service.runs))}
    assert api.service.clock.monotonic() == 10


async def test_an_end_from_outside_is_noticed(api: ApiSession) -> None:
    api.service.next_script = RunScript(duration=200)

    async def finish() -> None:
        await api.service.clock.sleep(20.5)
        api.service.finish(next(iter(api.service.runs)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(finish)
        answer = await api.post(RUNS, SYNC)

    assert answer["run_status"] == "succeeded"
    assert 20.5 <= api.service.clock.monotonic() <= 21.5


async def test_a_short_read_timeout_loses_the_answer_and_not_the_run(api: ApiSession) -> None:
    api.service.next_script = RunScript(duration=120)

    with pytest.raises(httpx.ReadTimeout):
        await api.client.post(RUNS, json=SYNC, timeout=60)

    assert (api.service.runs_created, api.service.clock.monotonic()) == (1, 60)
    assert api.service.requests[0].status is None


async def test_a_lost_answer_is_lost_at_once(api: ApiSession) -> None:
    api.service.faults.add(faults.commit_then_drop())

    with pytest.raises(httpx.TransportError):
        await api.client.post(RUNS, json=SYNC)

    assert (api.service.runs_created, api.service.clock.monotonic()) == (1, 0)


async def test_nothing_is_waited_for_when_the_start_is_refused(api: ApiSession) -> None:
    api.service.plan_limit = 0

    assert await api.refusal("POST", RUNS, json=SYNC) == (400, 30003)
    assert api.service.clock.monotonic() == 0
