"""Runs that fail, take too long or must wait: retried, aborted, put first, paused; each as its spec says."""

from __future__ import annotations

import logging
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest
from batch.batches import WORKER, finish, opened, runs_by_key, specs

from coreclaw_async import AsyncCoreClaw, BatchStoppedError, ItemOrigin, RunSpec, events
from coreclaw_async.batch._run_aborts import RunAborts
from coreclaw_async.testing import FakeService, RunScript, faults
from coreclaw_async.testing.faults import Fault


class Killed(BaseException):
    """The process ends here."""


def spec(key: str, **members: object) -> RunSpec:
    return RunSpec(key=key, worker_id=WORKER, input={"keywords": [key]}, **members)  # type: ignore[arg-type]


# A virtual clock does not wait for Postgres.
@pytest.mark.parametrize("ledger", ["memory", "sqlite"], indirect=True)
async def test_a_failed_run_is_followed_by_others_and_each_is_counted(service: FakeService, ledger: str) -> None:
    service.detail_err_msg = True
    service.default_script = RunScript(outcome="failed", error_message="blocked", usage="0.5")
    changes: list[tuple[str, str]] = []

    def note(event: events.Event) -> None:
        if isinstance(event, events.BatchItemChanged) and event.key == "a":
            changes.append((event.previous, event.state))

    async with opened(service, ledger, on_event=note) as batch:
        await batch.plan([spec("a", retries=2), spec("b")])
        outcomes = {outcome.key: outcome for outcome in await finish(batch)}
        runs = await batch.history("a")
        report = await batch.report()

    assert (outcomes["a"].state, outcomes["a"].attempt, outcomes["a"].error) == ("failed", 3, "blocked")
    assert [(run.state, run.attempt, run.cost) for run in runs] == [("failed", n, Decimal("0.5")) for n in (1, 2, 3)]
    assert len({run.run_id for run in runs}) == 3
    assert changes[2] == ("submitted", "planned")
    assert (report.runs, report.cost, [item.key for item in report.failures]) == (4, Decimal(2), ["a", "b"])
    assert runs_by_key(service) == {"a": 3, "b": 1}


async def test_a_retry_that_succeeds_ends_the_item_and_is_told_once(service: FakeService, ledger: str) -> None:
    service.next_script = RunScript(outcome="failed")
    async with opened(service, ledger) as batch:
        await batch.plan([spec("a", retries=5)])
        (outcome,) = await finish(batch)
        item = await batch.get("a")

    assert (outcome.state, item.state, item.how, service.runs_created) == ("done", "done", ItemOrigin.ANSWER, 2)


async def test_a_retry_is_kept_by_the_ledger_when_the_process_ends(service: FakeService, ledger: str) -> None:
    if ledger == "memory":
        pytest.skip("a ledger in memory has one process")
    service.next_script = RunScript(outcome="failed")

    def end(event: events.Event) -> None:
        if isinstance(event, events.BatchItemChanged) and (event.previous, event.state) == ("submitted", "planned"):
            raise Killed

    with pytest.raises(BaseException) as caught:
        async with opened(service, ledger, on_event=end) as batch:
            await batch.plan([spec("a", retries=1)])
            await finish(batch)
    assert "Killed" in repr(caught.value)
    async with opened(service, ledger) as batch:
        (outcome,) = await finish(batch)

    assert (outcome.state, service.runs_created) == ("done", 2)


async def test_the_budget_holds_for_retries_too(service: FakeService) -> None:
    service.default_script = RunScript(outcome="failed", usage="1")
    async with opened(service, "memory", max_spend=Decimal(3)) as batch:
        await batch.plan([spec("a", retries=100)])
        with pytest.raises(BatchStoppedError):
            await finish(batch)

    assert service.runs_created == 3


async def test_what_somebody_has_aborted_is_not_retried(service: FakeService) -> None:
    service.default_script = RunScript(duration=10_000)
    async with opened(service, "memory") as batch:
        await batch.plan([spec("a", retries=3)])

        async def abort() -> None:
            await service.clock.sleep(20)
            (run,) = service.runs.values()
            run.abort()

        async with anyio.create_task_group() as group:
            group.start_soon(abort)
            (outcome,) = await finish(batch)

    assert (outcome.state, service.runs_created) == ("failed", 1)


# A virtual clock does not wait for Postgres.
@pytest.mark.endurance
@pytest.mark.parametrize("ledger", ["memory", "sqlite"], indirect=True)
async def test_a_run_that_takes_longer_than_its_spec_allows_is_aborted(service: FakeService, ledger: str) -> None:
    service.default_script = RunScript(duration=1_000)
    async with opened(service, ledger) as batch:
        await batch.plan([spec("short", run_timeout=30), spec("long", run_timeout=300), spec("any")])
        began = service.clock.monotonic()
        outcomes = {outcome.key: (outcome.state, service.clock.monotonic() - began) async for outcome in batch.run()}

    assert [outcomes[key][0] for key in ("short", "long", "any")] == ["failed", "failed", "done"]
    assert 30 <= outcomes["short"][1] < 60
    assert 300 <= outcomes["long"][1] < 330


async def test_a_run_that_is_aborted_for_its_time_is_retried(service: FakeService) -> None:
    service.next_script = RunScript(duration=10_000)
    async with opened(service, "memory") as batch:
        await batch.plan([spec("a", run_timeout=60, retries=1)])
        (outcome,) = await finish(batch)
        first, second = await batch.history("a")

    assert (outcome.state, first.state, second.state) == ("done", "failed", "done")


async def test_the_time_of_a_run_counts_from_its_start_also_for_the_next_process(
    service: FakeService, ledger: str
) -> None:
    if not ledger.startswith("sqlite"):
        pytest.skip("one process, or a ledger that a virtual clock does not wait for")
    service.default_script = RunScript(duration=10_000)
    async with opened(service, ledger) as batch:
        await batch.plan([spec("a", run_timeout=100)])
        async with anyio.create_task_group() as group:
            group.start_soon(finish, batch)
            await service.clock.sleep(20)
            group.cancel_scope.cancel()
    await service.clock.sleep(500)
    async with opened(service, ledger) as batch:
        began = service.clock.monotonic()
        (outcome,) = await finish(batch)

    assert outcome.state == "failed"
    assert service.clock.monotonic() - began < 30


async def test_an_abort_that_fails_is_tried_again(service: FakeService) -> None:
    service.default_script = RunScript(duration=10_000)
    service.faults.add(faults.error(16000, 400), operation="abortWorkerRun", times=2)
    async with opened(service, "memory") as batch:
        await batch.plan([spec("a", run_timeout=60)])
        began = service.clock.monotonic()
        (outcome,) = await finish(batch)

    assert outcome.state == "failed"
    assert 63 <= service.clock.monotonic() - began < 90


async def test_a_run_that_ended_before_its_abort_keeps_its_end(service: FakeService) -> None:
    service.default_script = RunScript(duration=61)
    service.faults.add(faults.error(70002, 400), operation="abortWorkerRun")
    async with opened(service, "memory") as batch:
        await batch.plan([spec("a", run_timeout=60)])
        (outcome,) = await finish(batch)

    assert outcome.state == "done"


@pytest.mark.parametrize("ledger", ["memory", "sqlite"], indirect=True)
async def test_what_has_priority_is_started_first(service: FakeService, ledger: str) -> None:
    async with opened(service, ledger) as batch:
        await batch.plan([spec("last", priority=-5), *specs(3), spec("first", priority=9), spec("second", priority=2)])
        await finish(batch, max_in_flight=1)

    started = [run.input["parameters"]["custom"]["keywords"][0] for run in service.runs.values()]
    assert started == ["first", "second", "k0", "k1", "k2", "last"]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"retries": -1}, "retries must be 0 to 100, not -1"),
        ({"retries": 101}, "retries must be 0 to 100, not 101"),
        ({"run_timeout": 0}, "run_timeout must be a finite number of seconds above 0"),
        ({"run_timeout": float("nan")}, "run_timeout must be"),
        ({"priority": 10**7}, "priority must be -1000000 to 1000000"),
    ],
)
async def test_what_a_spec_cannot_mean_is_an_error(members: dict[str, object], words: str) -> None:
    async with opened(FakeService(), "memory") as batch:
        with pytest.raises(ValueError, match=words):
            await batch.plan([spec("a", **members)])


@pytest.mark.endurance
async def test_a_paused_batch_starts_nothing_in_any_process_and_waits(service: FakeService, ledger: str) -> None:
    if not ledger.startswith("sqlite"):
        pytest.skip("one process, or a ledger that a virtual clock does not wait for")
    service.default_script = RunScript(duration=20)
    async with opened(service, ledger, count=6) as batch, opened(service, ledger) as other:
        stream = batch.run(max_in_flight=2)
        await anext(stream)
        await other.pause()
        created = service.runs_created
        report = await batch.report()
        ended: list[str] = []

        async def go_on() -> None:
            ended.extend([outcome.key async for outcome in stream])

        async with anyio.create_task_group() as group:
            group.start_soon(go_on)
            await service.clock.sleep(500)
            assert report.is_paused
            assert service.runs_created <= created + 1  # One start may have been about to be sent.
            assert len(ended) <= 2
            await other.resume()
            began = service.clock.monotonic()

        assert len(ended) == 5
        assert service.clock.monotonic() - began < 200
        assert not (await batch.report()).is_paused

    assert set(runs_by_key(service).values()) == {1}


async def test_resume_in_the_same_process_is_noticed_at_once(service: FakeService) -> None:
    began = service.clock.time()
    async with opened(service, "memory", count=1) as batch:
        await batch.pause()

        async def resume() -> None:
            await service.clock.sleep(101)
            await batch.resume()

        async with anyio.create_task_group() as group:
            group.start_soon(resume)
            await finish(batch)

    (run,) = service.runs.values()
    assert run.created_at - began == pytest.approx(101, abs=1)


async def test_what_a_person_has_aborted_after_its_time_was_up_is_not_retried(
    service: FakeService, tmp_path: Path
) -> None:
    ledger = f"sqlite:///{tmp_path}/runs.db"
    service.default_script = RunScript(duration=10_000)
    async with opened(service, ledger) as batch:
        await batch.plan([spec("a", run_timeout=100, retries=1)])
        async with anyio.create_task_group() as group:
            group.start_soon(finish, batch)
            await service.clock.sleep(20)
            group.cancel_scope.cancel()
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        await client.runs.abort(next(iter(service.runs)))
    await service.clock.sleep(200)
    async with opened(service, ledger) as batch:
        (outcome,) = await finish(batch)

    assert (outcome.state, outcome.attempt, service.runs_created) == ("failed", 1, 1)


async def test_a_run_that_ends_while_its_abort_is_refused_is_not_aborted_by_its_time(service: FakeService) -> None:
    service.default_script = RunScript(duration=10_000)
    service.faults.add(faults.error(70002, 400), operation="abortWorkerRun")
    async with opened(service, "memory") as batch:
        await batch.plan([spec("a", run_timeout=60, retries=1)])
        async with anyio.create_task_group() as group:
            group.start_soon(finish, batch)
            await service.clock.sleep(100)
            async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
                await client.runs.abort(next(iter(service.runs)))
        item = await batch.get("a")

    assert (item.state, item.attempt, service.runs_created) == ("failed", 1, 1)


@pytest.mark.parametrize("fault", [faults.commit_then_drop(), faults.commit_then_status(502), faults.delay(20)])
async def test_an_abort_whose_answer_is_lost_or_late_counts_as_the_time_limit(
    service: FakeService, fault: Fault
) -> None:
    service.next_script = RunScript(duration=10_000, abort_after=0)
    service.faults.add(fault, operation="abortWorkerRun")
    async with opened(service, "memory") as batch:
        await batch.plan([spec("a", run_timeout=60, retries=1)])
        (outcome,) = await finish(batch)

    assert (outcome.state, outcome.attempt, service.runs_created) == ("done", 2, 2)


async def test_many_runs_that_take_too_long_are_aborted_at_once(service: FakeService) -> None:
    service.default_script = RunScript(duration=10_000)
    service.faults.add(faults.delay(5), operation="abortWorkerRun", times=100)
    async with opened(service, "memory") as batch:
        await batch.plan(spec(str(number), run_timeout=60) for number in range(40))
        began = service.clock.monotonic()
        await finish(batch)

    assert service.clock.monotonic() - began < 60 + 40 / 8 * 5 + 40


@pytest.mark.endurance
async def test_aborts_that_nobody_answers_go_further_and_further_apart_and_are_told_once_a_minute(
    service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    service.default_script = RunScript(duration=1_500)
    service.faults.add(faults.status(502), operation="abortWorkerRun", times=100_000)
    async with opened(service, "memory") as batch:
        await batch.plan(spec(str(number), run_timeout=60) for number in range(10))
        with caplog.at_level(logging.WARNING, "coreclaw_async"):
            outcomes = await finish(batch)

    assert {outcome.state for outcome in outcomes} == {"done"}
    assert sum(request.operation == "abortWorkerRun" for request in service.requests) < 150
    assert len(caplog.records) < 30


@pytest.mark.endurance
async def test_an_abort_that_one_run_refuses_holds_up_no_other(
    service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    service.default_script = RunScript(duration=3_000)
    stubborn: list[str] = []

    def match(request: Any) -> bool:
        run_id = request.path.split("/")[-2]
        if len(stubborn) < 10 and run_id not in stubborn:
            stubborn.append(run_id)
        return run_id in stubborn

    service.faults.add(faults.error(16000, 400), operation="abortWorkerRun", times=100_000, match=match)
    async with opened(service, "memory") as batch:
        await batch.plan(spec(str(number), run_timeout=60) for number in range(20))
        with caplog.at_level(logging.WARNING, "coreclaw_async"):
            ends = [(outcome.state, service.clock.monotonic()) async for outcome in batch.run()]

    assert [state for state, _ in ends] == ["failed"] * 10 + ["done"] * 10
    assert ends[9][1] - ends[0][1] < 30
    assert sum(request.operation == "abortWorkerRun" for request in service.requests) < 200


async def test_a_run_that_ended_in_time_is_not_aborted_while_others_go_on(service: FakeService) -> None:
    service.next_script = RunScript(duration=10)
    service.default_script = RunScript(duration=300)
    async with opened(service, "memory") as batch:
        await batch.plan([spec("a", run_timeout=60), spec("b")])
        outcomes = await finish(batch)

    assert [outcome.state for outcome in outcomes] == ["done", "done"]
    assert not any(request.operation == "abortWorkerRun" for request in service.requests)


async def test_a_run_that_is_to_be_aborted_for_two_reasons_is_aborted_once(service: FakeService) -> None:
    service.default_script = RunScript(duration=10_000)
    service.faults.add(faults.delay(5), operation="abortWorkerRun")
    async with opened(service, "memory", count=1) as batch, anyio.create_task_group() as group:
        group.start_soon(finish, batch)
        await service.clock.sleep(60)
        aborts = RunAborts(batch_context=batch._batch_context)
        (run_id,) = service.runs
        for _ in range(2):
            group.start_soon(aborts.abort, run_id)

    assert sum(request.operation == "abortWorkerRun" for request in service.requests) == 1


async def test_a_run_that_has_ended_in_time_is_not_aborted(service: FakeService) -> None:
    service.default_script = RunScript(duration=200)
    service.next_script = RunScript(duration=5)
    async with opened(service, "memory") as batch:
        await batch.plan([spec("a", run_timeout=60, priority=1), spec("b")])
        outcomes = await finish(batch)

    assert [outcome.state for outcome in outcomes] == ["done", "done"]
    assert not [request for request in service.requests if request.operation == "abortWorkerRun"]
