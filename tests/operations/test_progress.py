"""``progress=``: what calls tell, and that nothing which goes wrong in telling costs a run."""

from __future__ import annotations

import functools
import io
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from either_client import AsyncCoreClaw

from coreclaw_async import Progress, Run, RunFailedError, WaitTimeoutError
from coreclaw_async._progress.lines import find_line
from coreclaw_async.testing import FakeService, RunScript

WORKER = "coreclaw/google-maps-scraper"
INPUT = {"keywords": ["coffee"]}


@pytest.fixture
def told() -> list[Progress]:
    return []


def in_order(told: list[Progress], kind: str) -> list[Progress]:
    assert {progress.kind for progress in told} == {kind}
    assert [progress.elapsed for progress in told] == sorted(progress.elapsed for progress in told)
    assert [progress.done for progress in told] == sorted(progress.done for progress in told)
    assert all(progress.text.isprintable() for progress in told)
    return told


@pytest.mark.parametrize("options", [{}, {"wait_for_slot": True, "timeout": 600.0}])
async def test_run_tells_its_start_its_id_each_look_and_its_end(
    client: AsyncCoreClaw, service: FakeService, told: list[Progress], options: dict[str, Any]
) -> None:
    service.default_script = RunScript(rows=4, duration=60.0, usage="0.12")
    run = await client.workers.run(WORKER, INPUT, progress=told.append, **options)

    steps = in_order(told, "run")
    assert [step.text for step in steps[:2]] == ["starting a run", f"waiting for run {run.run_id}"]
    assert steps[-1].text == f"run {run.run_id}: succeeded, 4 rows, $0.12"
    assert (steps[-1].done, steps[-1].total, steps[-1].rows, steps[-1].bytes) == (1, 1, 4, None)
    assert {step.done for step in steps[:-1]} == {0}
    assert steps[-1].elapsed >= 60.0
    assert len(steps) >= 6, "the time is told at each look, also when nothing else has changed"


async def test_task_and_run_once_tell_the_same(
    client: AsyncCoreClaw, service: FakeService, told: list[Progress], tmp_path: Path
) -> None:
    task = service.add_task(WORKER, title="t", input={"parameters": {"custom": INPUT}})
    run = await client.tasks.run(task, progress=told.append)
    assert in_order(told, "run")[-1].text == f"run {run.run_id}: succeeded, 3 rows, ${run.usage}"

    told.clear()
    run = await client.workers.run_once("k", WORKER, INPUT, ledger=tmp_path / "runs.db", progress=told.append)
    assert told[0].text == "looking for the run of key 'k'"
    assert in_order(told, "run")[-1].done == 1

    told.clear()
    ledger = tmp_path / "runs.db"
    run = await client.workers.run_once("k", WORKER, INPUT, ledger=ledger, wait=False, progress=told.append)
    assert in_order(told, "run")[-1].text == f"run {run.run_id}: succeeded, 3 rows, ${run.usage}"


async def test_wait_tells_the_last_state_whatever_it_is(
    client: AsyncCoreClaw, service: FakeService, told: list[Progress]
) -> None:
    run_id = service.add_run(WORKER, script=RunScript(outcome="fai\x1b[2Jled", duration=5.0, usage=None), age=0.0)
    with pytest.raises(WaitTimeoutError):
        await client.runs.wait(run_id, timeout=60.0, progress=told.append)

    assert in_order(told, "wait")[0].text == f"waiting for run {run_id}"
    assert "fai [2Jled" in told[-1].text


async def test_wait_for_many_counts_runs_and_rows(
    client: AsyncCoreClaw, service: FakeService, told: list[Progress]
) -> None:
    runs = [service.add_run(WORKER, script=RunScript(rows=2, duration=30.0 * number), age=0.0) for number in (1, 2, 3)]
    ended = [run.run_id async for run in client.runs.wait_many([*runs, runs[0]], progress=told.append)]

    assert ended == runs
    steps = in_order(told, "wait")
    assert (steps[0].text, steps[0].total, steps[0].rows) == ("0 of 3 runs have ended", 3, None)
    assert (steps[-1].text, steps[-1].done, steps[-1].rows) == ("3 of 3 runs have ended, 6 rows", 3, 6)


async def test_wait_for_many_tells_until_its_timeout(
    client: AsyncCoreClaw, service: FakeService, told: list[Progress]
) -> None:
    runs = [service.add_run(WORKER, script=RunScript(duration=seconds), age=0.0) for seconds in (10.0, 1e6)]
    stream = client.runs.wait_many(runs, timeout=100.0, progress=told.append)
    with pytest.raises(WaitTimeoutError):
        async for _ in stream:
            pass

    assert (told[-1].done, told[-1].total) == (1, 2)


async def test_last_run_is_named_once_it_is_known(
    client: AsyncCoreClaw, service: FakeService, told: list[Progress]
) -> None:
    from coreclaw_async import LastRun

    run_id = service.add_run(WORKER, script=RunScript(duration=5.0), age=0.0)
    await client.runs.wait(LastRun(), progress=told.append)

    assert told[0].text == "waiting for the last run"
    assert run_id in told[-1].text


async def test_download_counts_bytes(
    client: AsyncCoreClaw, service: FakeService, told: list[Progress], tmp_path: Path
) -> None:
    path = tmp_path / "rows.csv"
    run_id = service.add_run(WORKER, rows=50)
    await client.runs.download(run_id, path, progress=told.append)

    steps = in_order(told, "download")
    size = path.stat().st_size
    assert (steps[-1].done, steps[-1].total, steps[-1].bytes) == (size, size, size)
    assert steps[-1].text == f"rows.csv: {size:,} of {size:,} bytes"


class Failing:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, _: Progress) -> None:
        self.calls += 1
        raise ZeroDivisionError("a bug of the caller's")


async def test_function_that_raises_is_logged_once_and_costs_no_run(
    client: AsyncCoreClaw, service: FakeService, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    failing = Failing()
    run = await client.workers.run(WORKER, INPUT, progress=failing)
    (again,) = [run async for run in client.runs.wait_many([run], progress=failing)]
    await client.runs.download(run, tmp_path / "rows.csv", progress=failing)

    assert (run.status, again.run_id) == ("succeeded", run.run_id)
    assert failing.calls == 3, "once for each call"
    assert caplog.text.count("progress could not be told, and is not told any more; the call goes on") == 3
    assert service.runs_created == 1


async def test_function_that_interrupts_ends_the_wait_and_leaves_the_run(
    client: AsyncCoreClaw, service: FakeService
) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await client.workers.run(WORKER, INPUT, progress=interrupt)
    assert service.runs_created == 1


async def nobody_awaits(_: Progress) -> None: ...


class Coroutine:
    async def __call__(self, _: Progress) -> None: ...


@pytest.mark.parametrize(
    "wrong",
    [None, 1, "yes", nobody_awaits, functools.partial(nobody_awaits), Coroutine()],
    ids=lambda one: repr(type(one)),
)
async def test_what_cannot_be_told_to_is_refused_before_anything_is_sent(
    client: AsyncCoreClaw, service: FakeService, tmp_path: Path, wrong: Any
) -> None:
    with pytest.raises(TypeError, match="progress must be"):
        await client.workers.run(WORKER, INPUT, progress=wrong)
    with pytest.raises(TypeError, match="progress must be"):
        await client.runs.wait("01ABC", progress=wrong)
    with pytest.raises(TypeError, match="progress must be"):
        client.runs.wait_many(["01ABC"], progress=wrong)
    with pytest.raises(TypeError, match="progress must be"):
        await client.runs.download("01ABC", tmp_path / "rows.csv", progress=wrong)
    with pytest.raises(TypeError, match="progress must be"):
        await client.workers.run_once("k", WORKER, INPUT, ledger=tmp_path / "runs.db", progress=wrong)

    assert service.requests == []
    assert list(tmp_path.iterdir()) == []


async def test_progress_costs_no_request(client: AsyncCoreClaw, service: FakeService, told: list[Progress]) -> None:
    counts: list[int] = []
    for progress in (False, told.append):
        before = len(service.requests)
        service.default_script = RunScript(duration=100.0)
        run = await client.workers.run(WORKER, INPUT, progress=progress)
        assert isinstance(run, Run)
        counts.append(len(service.requests) - before)

    assert abs(counts[0] - counts[1]) <= 1, "looks are at random times"


async def test_failed_run_is_told_before_its_error(
    client: AsyncCoreClaw, service: FakeService, told: list[Progress]
) -> None:
    service.default_script = RunScript(outcome="failed")
    with pytest.raises(RunFailedError):
        await client.workers.run(WORKER, INPUT, progress=told.append)

    assert "failed" in told[-1].text


@pytest.mark.async_client_only
async def test_calls_at_the_same_time_tell_each_its_own(client: AsyncCoreClaw, told: list[Progress]) -> None:
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(functools.partial(client.workers.run, WORKER, INPUT, progress=told.append))

    assert sum(step.done for step in told) == 5


def test_closed_stderr_is_no_place_for_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    stream.close()
    monkeypatch.setattr(sys, "stderr", stream)

    assert find_line() is None
