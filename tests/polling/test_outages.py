"""Waiting while the service cannot be seen: few requests, no wait ended, and every end seen soon after."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from polling.clients import WORKER, client_of
from quick_cases import slowly

from coreclaw_async import (
    AuthenticationError,
    NotFoundError,
    PollSchedule,
    RequestTimeoutError,
    RunAbortedError,
    ServiceError,
    WaitTimeoutError,
)
from coreclaw_async.testing import FakeService, RecordedRequest, RunScript, faults

STEADY = PollSchedule(jitter=0.0)
MINUTE = 60.0
# A delay of the schedule with its jitter and that of looks made together, and a probe with its jitter.
ONE_LOOK, ONE_PROBE = 18.0, 33.0
HTML = b"<html><body>gateway</body></html>"
FAULTS: dict[str, Callable[[], Any]] = {
    "502": lambda: faults.status(502),
    "429": faults.rate_limited,
    "429, wait 7 s": lambda: faults.rate_limited(retry_after=7),
    "500 of the service": lambda: faults.error(10000, status=500),
    "refused": faults.refuse_connection,
    "dropped": faults.drop_before_commit,
    "html": lambda: faults.reply(HTML),
    "html 401": lambda: faults.status(401, HTML),
    "html 403": lambda: faults.status(403, HTML),
    "html 404": lambda: faults.status(404, HTML),
    "json 401 of a gateway": lambda: faults.error(401, status=401),
    "silence": faults.stall,
}


def add_runs(service: FakeService, lives: list[float]) -> dict[str, float]:
    return {service.add_run(WORKER, script=RunScript(duration=life), age=0.0): life for life in lives}


def break_between(service: FakeService, fault: Any, begin: float, end: float, *, run_id: str = "") -> None:
    """Show a fault in a span of time, to every request or to those about one run."""

    def is_meant(request: RecordedRequest) -> bool:
        return request.path.endswith(run_id) and begin <= service.clock.monotonic() < end

    service.faults.add(fault, operation="getWorkerRun" if run_id else None, times=10**6, match=is_meant)


def break_log(service: FakeService, until: float) -> None:
    service.faults.add(
        faults.status(502), operation="getWorkerRunLog", times=10**6, match=lambda _: service.clock.monotonic() < until
    )


async def see_ends(service: FakeService, lives: dict[str, float], **options: Any) -> dict[str, float]:
    """Return when the end of each run was seen."""
    async with client_of(service, **options) as client:
        return {run.run_id: service.clock.monotonic() async for run in client.runs.wait_many(lives)}


def some_lives(count: int) -> list[float]:
    """Return lives of up to 45 minutes, so that some runs end before, in and after an outage."""
    dice = random.Random(count)
    return [dice.uniform(1, 45) * MINUTE for _ in range(count)]


@pytest.mark.parametrize(
    ("kind", "count"),
    [*((kind, 5) for kind in FAULTS), ("502", 1), ("502", 30), ("502", 100)],
)
@pytest.mark.endurance
async def test_an_outage_costs_no_more_than_a_healthy_service_and_ends_are_seen_one_probe_late(
    kind: str, count: int
) -> None:
    service, healthy = FakeService(), FakeService()
    lives = add_runs(service, some_lives(count))
    begin, end = 90.0, 90.0 + (5 if kind.startswith("429") else 20) * MINUTE
    visible = {run_id: end if begin - ONE_LOOK <= life < end else life for run_id, life in lives.items()}
    break_between(service, FAULTS[kind](), begin, end)

    seen = await see_ends(service, lives)
    # For as long as the ends cannot be seen, a healthy service is asked too.
    await see_ends(healthy, add_runs(healthy, list(visible.values())))

    assert len(service.requests) <= 1.2 * len(healthy.requests) + 5
    meanwhile = [request for request in service.requests if begin <= request.at < end]
    if count > 3:  # One probe at a time; a handful before so many failures are taken for an outage.
        assert len(meanwhile) <= 12 + (end - begin) / 27
    silence = 21.0 if kind == "silence" else 0.0
    for run_id, life in lives.items():
        assert life <= seen[run_id] <= visible[run_id] + ONE_LOOK + ONE_PROBE + silence


@pytest.mark.endurance
async def test_many_tasks_make_one_probe_at_a_time_too(service: FakeService) -> None:
    lives = add_runs(service, some_lives(30))
    break_between(service, faults.status(502), 100, 100 + 20 * MINUTE)
    async with client_of(service) as client, anyio.create_task_group() as group:
        for run_id in lives:
            group.start_soon(client.runs.wait, run_id)

    assert len([request for request in service.requests if 100 <= request.at < 1300]) < 60


@pytest.mark.endurance
async def test_who_begins_to_wait_in_an_outage_does_not_cost_a_request(service: FakeService) -> None:
    lives = add_runs(service, [2_000.0] * 60)
    break_between(service, faults.status(502), 100, 100 + 20 * MINUTE)
    async with client_of(service) as client, anyio.create_task_group() as group:
        for place, run_id in enumerate(lives):
            group.start_soon(client.runs.wait, run_id)
            if place >= 10:
                await service.clock.sleep(20)

    assert len([request for request in service.requests if 200 <= request.at < 1200]) < 45


async def test_after_an_outage_all_runs_are_looked_at_at_once(service: FakeService) -> None:
    lives = add_runs(service, [500.0] * 20)
    break_between(service, faults.status(502), 100, 1000)

    seen = await see_ends(service, lives)

    assert max(seen.values()) - min(seen.values()) < 1
    assert min(seen.values()) <= 1000 + ONE_PROBE


async def test_a_callback_in_an_outage_is_a_sign_that_the_service_is_back(service: FakeService) -> None:
    ids = list(add_runs(service, [500.0] * 10))
    break_between(service, faults.status(502), 100, 701)
    async with client_of(service) as client, anyio.create_task_group() as group:
        for run_id in ids:
            group.start_soon(client.runs.wait, run_id)
        await service.clock.sleep(701)
        before = len(service.requests)
        client._context.poller.wake(ids[0])
        await service.clock.sleep(6)
        assert len(service.requests) > before

    assert service.clock.monotonic() <= 708


@pytest.mark.parametrize("bad", [1, 3, 5, 20])
@pytest.mark.parametrize("kind", ["500 of the service", "dropped", "silence"])
@pytest.mark.endurance
async def test_runs_that_cannot_be_read_are_no_outage_for_the_others(kind: str, bad: int) -> None:
    service = FakeService()
    lives = add_runs(service, [100.0 + 5 * place for place in range(40)])
    broken = set(list(lives)[:bad])
    service.faults.add(faults.error(11000, status=400), operation="listWorkerRuns", times=10**6)
    service.faults.add(
        FAULTS[kind](),
        operation="getWorkerRun",
        times=10**6,
        match=lambda request: request.path.split("/")[-1] in broken and service.clock.monotonic() < 1_000,
    )

    seen = await see_ends(service, lives)

    hang = 63.0 if kind == "silence" else 0.0
    for run_id, life in lives.items():
        end = 1_000 if run_id in broken else life
        assert end <= seen[run_id] <= end + ONE_LOOK + ONE_PROBE + hang
    # As many as by details alone, each by its own schedule.
    assert len(service.requests) <= 40 * 30 + bad * 70


async def test_one_failed_list_costs_two_requests(service: FakeService) -> None:
    lives = add_runs(service, [300.0] * 20)
    healthy = FakeService()
    await see_ends(healthy, add_runs(healthy, [300.0] * 20), poll_schedule=STEADY)
    service.faults.add(faults.status(502), operation="listWorkerRuns", after=5)

    seen = await see_ends(service, lives, poll_schedule=STEADY)

    assert len(service.requests) <= len(healthy.requests) + 2
    assert max(seen.values()) <= 318


async def test_a_list_that_does_not_add_up_is_left_for_single_runs(service: FakeService) -> None:
    lives = add_runs(service, [100.0] * 50)
    for _ in range(300):
        service.add_run(WORKER, script=RunScript(duration=0), age=1.0)
    service.faults.add(
        faults.edit(lambda envelope: {**envelope, "data": {**envelope["data"], "count": 7_000}}),
        operation="listWorkerRuns",
        times=10**6,
    )

    seen = await see_ends(service, lives)

    assert max(seen.values()) <= 100 + ONE_LOOK
    # Nine looks at fifty runs, and no more than that again for lists.
    assert len(service.requests) <= 2 * 9 * 50


@pytest.mark.parametrize(
    "fault",
    [
        faults.error(70001, status=404),
        faults.error(11004, status=404),
        faults.status(404, HTML),
        faults.error(404, 404),
    ],
    ids=["70001", "11004", "html", "json of a gateway"],
)
@slowly("schedule", PollSchedule(delays=(100.0,)), None)
async def test_one_late_404_ends_no_wait_and_aborts_no_run(service: FakeService, fault: Any, schedule: Any) -> None:
    (run_id,) = add_runs(service, [900.0])
    service.faults.add(fault, operation="getWorkerRun", after=4, times=2)
    async with client_of(service, poll_schedule=schedule) as client:
        assert (await client.runs.wait(run_id, on_cancel="abort")).is_finished

    assert "abortWorkerRun" not in [request.operation for request in service.requests]


@pytest.mark.parametrize("code", [70001, 11004])
async def test_a_run_is_unknown_after_a_minute_of_404_in_a_row(service: FakeService, code: int) -> None:
    (run_id,) = add_runs(service, [900.0])
    break_between(service, faults.error(code, status=404), 200, 10**6)
    async with client_of(service) as client:
        with pytest.raises(NotFoundError) as caught:
            await client.runs.wait(run_id)

    assert caught.value.run_id == run_id
    assert 260 <= service.clock.monotonic() <= 200 + 60 + 2 * ONE_LOOK


async def test_no_grace_is_still_three_looks(service: FakeService) -> None:
    async with client_of(service, poll_schedule=PollSchedule(not_found_grace=0)) as client:
        with pytest.raises(NotFoundError):
            await client.runs.wait("01KKDXV2G26BT7NH4ZQR2R4NPZ")

    assert len(service.requests) == 3


async def test_an_outage_between_two_404s_is_no_404(service: FakeService) -> None:
    (run_id,) = add_runs(service, [700.0])
    break_between(service, faults.error(70001, status=404), 100, 150)
    break_between(service, faults.status(502), 150, 500)
    break_between(service, faults.error(70001, status=404), 500, 540)
    async with client_of(service) as client:
        assert (await client.runs.wait(run_id)).is_finished


async def test_the_404_of_a_gateway_proves_nothing_however_long_it_lasts(service: FakeService) -> None:
    (run_id,) = add_runs(service, [900.0])
    break_between(service, faults.status(404, HTML), 100, 800)
    async with client_of(service) as client:
        assert (await client.runs.wait(run_id)).is_finished


@pytest.mark.parametrize("code", [12001, 12002])
async def test_a_key_that_the_service_itself_refuses_ends_the_wait_at_once(service: FakeService, code: int) -> None:
    (run_id,) = add_runs(service, [900.0])
    service.faults.add(faults.error(code, status=401), operation="getWorkerRun", after=3)
    async with client_of(service) as client:
        with pytest.raises(AuthenticationError) as caught:
            await client.runs.wait(run_id)

    assert caught.value.run_id == run_id


@slowly("status", 401, 403)
async def test_a_page_of_a_gateway_does_not_end_the_log(service: FakeService, status: int) -> None:
    run_id = service.add_run(WORKER, script=RunScript(duration=60, log=["one", "two"]), age=0.0)
    service.faults.add(faults.status(status, HTML), operation="getWorkerRunLog", times=3)
    async with client_of(service) as client:
        assert [entry.content async for entry in client.runs.follow_log(run_id)] == ["one", "two"]


async def test_the_end_of_a_log_is_asked_for_until_it_comes(
    service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    run_id = service.add_run(WORKER, script=RunScript(duration=0, log=["one", "two"]), age=0.0)
    break_log(service, 600)
    async with client_of(service) as client:
        assert [entry.content async for entry in client.runs.follow_log(run_id)] == ["one", "two"]

    assert 600 <= service.clock.monotonic() <= 620
    warnings = [record for record in caplog.records if "the end of a log cannot be read" in record.getMessage()]
    assert 6 <= len(warnings) <= 10
    assert len(service.requests) < 70


async def test_the_end_of_a_log_is_asked_for_until_the_deadline(service: FakeService) -> None:
    run_id = service.add_run(WORKER, script=RunScript(duration=0, log=["one", "two"]), age=0.0)
    break_log(service, 10**6)
    async with client_of(service) as client:
        with pytest.raises(ServiceError):
            await anext(client.runs.follow_log(run_id, timeout=100))

    assert service.clock.monotonic() <= 100


async def test_aborting_seen_once_before_an_outage_is_no_stuck_abort(service: FakeService) -> None:
    run_id = service.add_run(
        WORKER, script=RunScript(statuses=[(0.0, "running"), (100.0, "aborting"), (110.0, "aborted")]), age=0.0
    )
    break_between(service, faults.status(502), 105, 900)
    async with client_of(service, poll_schedule=PollSchedule(delays=(102.0, 5.0), jitter=0.0)) as client:
        run = await client.runs.wait(run_id, check=False)

    assert run.status == "aborted"


async def test_no_abort_grace_is_still_three_looks(service: FakeService) -> None:
    run_id = service.add_run(WORKER, script=RunScript(duration=1_000, abort="stuck"), age=0.0)
    async with client_of(service, poll_schedule=PollSchedule(abort_grace=0)) as client:
        await client.runs.abort(run_id)
        with pytest.raises(RunAbortedError):
            await client.runs.wait(run_id)

    assert len(service.requests) == 4


@given(
    lives=st.lists(st.floats(0, 900), min_size=1, max_size=40),
    spans=st.lists(
        st.tuples(st.sampled_from([*sorted(FAULTS), "404"]), st.floats(0, 900), st.floats(0, 600)), max_size=5
    ),
    alone=st.lists(
        st.tuples(st.integers(0, 39), st.sampled_from(sorted(FAULTS)), st.floats(0, 900), st.floats(0, 300)),
        max_size=3,
    ),
    by_tasks=st.booleans(),
    seed=st.integers(0, 9),
)
@settings(max_examples=50)
@example(
    lives=[400.0] * 40,
    spans=[("502", 100, 600), ("silence", 720, 300)],
    alone=[(0, "dropped", 0, 300)],
    by_tasks=True,
    seed=0,
)
@example(
    lives=[900.0], spans=[("404", 354, 439), ("404", 795, 15), ("429", 354, 439)], alone=[], by_tasks=False, seed=0
)
@pytest.mark.endurance
def test_a_wait_ends_with_the_run_whatever_fails_meanwhile(
    lives: list[float],
    spans: list[tuple[str, float, float]],
    alone: list[tuple[int, str, float, float]],
    by_tasks: bool,
    seed: int,
) -> None:
    random.seed(seed)
    service = FakeService()
    ids = list(add_runs(service, lives))
    for place, kind, begin, seconds in alone:
        if place < len(ids):
            break_between(service, FAULTS[kind](), begin, begin + seconds, run_id=ids[place])
    for kind, begin, seconds in spans:
        if kind == "404":  # The service may say for as long that it does not know a run.
            break_between(service, faults.error(70001, status=404), begin, begin + min(seconds, 40))
        else:
            break_between(service, FAULTS[kind](), begin, begin + seconds)
    seen: dict[str, float] = {}

    async def main() -> None:
        async with client_of(service) as client:

            async def wait(run_id: str) -> None:
                run = await client.runs.wait(run_id, timeout=5_000, on_cancel="abort")
                seen[run.run_id] = service.clock.monotonic()

            if by_tasks:
                async with anyio.create_task_group() as group:
                    for run_id in ids:
                        group.start_soon(wait, run_id)
            else:
                async for run in client.runs.wait_many(ids, timeout=5_000, on_cancel="abort"):
                    seen[run.run_id] = service.clock.monotonic()

    anyio.run(main)
    assert "abortWorkerRun" not in [request.operation for request in service.requests]
    has_silence = "silence" in [kind for kind, *_ in spans] + [kind for _, kind, *_ in alone]
    patience = ONE_LOOK + ONE_PROBE + (84.0 if has_silence else 0.0)
    for place, (run_id, life) in enumerate(zip(ids, lives, strict=True)):
        own = [(begin, seconds) for other, _, begin, seconds in alone if other == place]
        bad = sorted([*own, *((begin, seconds) for _, begin, seconds in spans)])
        assert life <= seen[run_id] <= visible_from(life, bad, patience) + patience


def visible_from(life: float, bad: list[tuple[float, float]], patience: float) -> float:
    """Return from when on nothing fails for so long that the end must be seen."""
    moment = life
    for begin, seconds in bad:
        # It may have been on its way to be seen, in the middle of a delay, when the failures began.
        if begin - patience <= moment <= begin + seconds:
            moment = begin + seconds
    return moment


async def test_silence_of_the_last_look_is_named(service: FakeService) -> None:
    ids = list(add_runs(service, [900.0] * 5))
    break_between(service, faults.stall(), 0, 10**6)
    async with client_of(service) as client:
        runs = client.runs.wait_many(ids, timeout=100)
        with pytest.raises(WaitTimeoutError, match="nothing was heard for") as caught:
            await anext(runs)

    assert isinstance(caught.value.__cause__, RequestTimeoutError)
    assert service.clock.monotonic() <= 101.1
