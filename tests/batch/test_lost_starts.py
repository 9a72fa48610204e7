"""A start whose answer was lost is never retried blindly: it is settled by proof, or held for a person."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest
from batch.batches import WORKER, finish, key_of, opened, runs_by_key, specs, take_until
from wrong_times import MachineClock, WithDate

from coreclaw_async import (
    AsyncBatch,
    AsyncCoreClaw,
    AuthenticationError,
    BatchItemState,
    CallbackHub,
    ItemOrigin,
    NotFoundError,
    ServiceError,
    SettleTimes,
    events,
)
from coreclaw_async.testing import CallbackPlan, FakeService, RunScript, faults

LOSSES = {
    "commit_then_drop": faults.commit_then_drop(),
    "commit_then_502": faults.commit_then_status(502),
    "commit_then_500": faults.commit_then_status(500, b'{"code":10000,"message":"internal"}'),
    "50002": faults.edit(lambda envelope: {**envelope, "code": 50002, "data": None}),
    "no_json": faults.reply(b"<html>"),
    "no_slug": faults.edit(lambda envelope: {**envelope, "data": {}}),
    "stall": faults.stall(),
}
HOOKS = "http://127.0.0.1:9/hooks"


@pytest.mark.parametrize("loss", LOSSES)
async def test_a_run_that_was_accepted_is_found_and_not_started_again(service: FakeService, loss: str) -> None:
    service.faults.add(LOSSES[loss], operation="runWorker", after=1)
    times = SettleTimes(post_timeout=2.0)  # Real seconds; all others are the service's.
    async with opened(service, "memory", count=4, exclusive=True, settle_times=times) as batch:
        outcomes = await finish(batch)
        history = [run for number in range(4) for run in await batch.history(f"k{number}")]

    assert {outcome.state for outcome in outcomes} == {BatchItemState.DONE}
    assert len(outcomes) == 4
    assert set(runs_by_key(service).values()) == {1}
    assert [run.how for run in history] == ["answer", "list", "answer", "answer"]


@pytest.mark.parametrize("ledger", ["memory", "sqlite"], indirect=True)  # A virtual clock does not wait for sockets.
async def test_a_start_that_was_not_accepted_is_retried_after_two_empty_looks(
    service: FakeService, ledger: str
) -> None:
    service.faults.add(faults.drop_before_commit(), operation="runWorker", after=1)
    async with opened(service, ledger, count=3) as batch:
        outcomes = {outcome.key: outcome for outcome in await finish(batch)}

    assert [outcomes[key].attempt for key in ("k0", "k1", "k2")] == [1, 2, 1]
    assert set(runs_by_key(service).values()) == {1}


async def test_an_answer_that_is_cut_off_behind_the_id_is_as_good_as_whole(service: FakeService) -> None:
    service.faults.add(faults.truncate(70), operation="runWorker")
    async with opened(service, "memory", count=1) as batch:
        (outcome,) = await finish(batch)
        (run,) = await batch.history("k0")

    assert (outcome.state, run.how) == ("done", "answer")
    assert service.clock.monotonic() < 60


@pytest.mark.parametrize("lag", [0.0, 5.0, 9.0])
async def test_a_list_that_lags_behind_pays_nothing_twice(service: FakeService, lag: float) -> None:
    service.list_lag = lag
    service.faults.add(faults.commit_then_drop(), operation="runWorker", times=3)
    async with opened(service, "memory", count=5, exclusive=True) as batch:
        outcomes = await finish(batch)

    assert len(outcomes) == 5
    assert set(runs_by_key(service).values()) == {1}


async def test_runs_that_do_not_say_their_id_are_no_proof_that_a_start_was_not_accepted(service: FakeService) -> None:
    def hide_ids(envelope: dict[str, Any]) -> dict[str, Any]:
        runs = [{**run, "slug": None} for run in envelope["data"]["list"]]
        return {**envelope, "data": {**envelope["data"], "list": runs}}

    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    service.faults.add(faults.edit(hide_ids), operation="listWorkerRuns", times=99)
    async with opened(service, "memory", count=1, exclusive=True) as batch:
        (outcome,) = await finish(batch)

    assert (outcome.state, outcome.candidates) == (BatchItemState.AMBIGUOUS, ())
    assert service.runs_created == 1


async def test_without_a_promise_of_exclusiveness_a_lost_start_is_held_and_told(
    service: FakeService, ledger: str, caplog: pytest.LogCaptureFixture
) -> None:
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    async with opened(service, ledger, count=3) as batch:
        outcomes = {outcome.key: outcome for outcome in await finish(batch)}
        report = await batch.report()
        assert await finish(batch) == []

    (held,) = report.held
    lost = next(iter(service.runs))
    assert outcomes["k0"].state is BatchItemState.AMBIGUOUS
    assert held.key == "k0"
    assert list(outcomes["k0"].candidates) == list(held.candidates) == [lost]
    assert [outcomes[key].state for key in ("k1", "k2")] == ["done", "done"]
    lost_at, held_at, *_ = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert lost_at.startswith(
        "the start of item 'k0' has had no answer: whether a run came of it is found out in about"
    )
    assert "about 80 s; until then no other run of worker" in lost_at
    assert held_at == "item 'k0' is held: a start of it was not answered, and 1 run may be its own"
    assert report.is_finished
    assert service.runs_created == 3


async def test_a_person_adopts_a_run(service: FakeService, ledger: str) -> None:
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    other = service.add_run(service.add_worker("me/other"))
    async with opened(service, ledger, count=2) as batch:
        outcomes = {outcome.key: outcome for outcome in await finish(batch)}
        lost = next(run_id for run_id, run in service.runs.items() if run.paid)
        with pytest.raises(ValueError, match="and item 'k0' is for"):
            await batch.resolve("k0", adopt=other)
        with pytest.raises(ValueError, match="is another item's"):
            await batch.resolve("k0", adopt=outcomes["k1"].run_id)
        with pytest.raises(NotFoundError):
            await batch.resolve("k0", adopt="01K4ZZZZZZZZZZZZZZZZZZZZZZ")
        item = await batch.resolve("k0", adopt=lost)
        (outcome,) = await finish(batch)
        with pytest.raises(ValueError, match="item 'k0' is done, and only ambiguous or failed items can be resolved"):
            await batch.resolve("k0", resubmit=True)

    assert (item.state, item.how) == ("submitted", ItemOrigin.PERSON)
    assert (outcome.key, outcome.state, outcome.run_id) == ("k0", "done", lost)
    assert service.runs_created == 2


async def test_a_person_has_it_started_again(service: FakeService) -> None:
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    async with opened(service, "memory", count=1) as batch:
        await finish(batch)
        item = await batch.resolve("k0", resubmit=True)
        (outcome,) = await finish(batch)

    assert (item.state, outcome.state, outcome.attempt) == ("planned", "done", 2)
    assert service.runs_created == 2


async def test_a_decision_must_be_one(service: FakeService) -> None:
    async with opened(service, "memory", count=1) as batch:
        with pytest.raises(ValueError, match="give either adopt or resubmit=True, not neither"):
            await batch.resolve("k0")
        with pytest.raises(ValueError, match="give either adopt or resubmit=True, not both"):
            await batch.resolve("k0", adopt="R", resubmit=True)
        with pytest.raises(TypeError, match="resubmit must be a bool, not 'yes'"):
            await batch.resolve("k0", resubmit="yes")  # type: ignore[arg-type]
        with pytest.raises(KeyError, match="none"):
            await batch.resolve("none", resubmit=True)


async def test_a_decision_while_the_batch_runs_is_carried_out_by_it(service: FakeService) -> None:
    service.default_script = RunScript(duration=200)
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    async with opened(service, "memory", count=2) as batch:
        states = []
        async for outcome in batch.run():
            states.append((outcome.key, outcome.state))
            if outcome.state is BatchItemState.AMBIGUOUS:
                await batch.resolve("k0", adopt=outcome.candidates[0])

    assert states == [("k0", "ambiguous"), ("k0", "done"), ("k1", "done")]


@pytest.mark.parametrize(("policy", "state", "paid"), [("fail", "failed", 1), ("resubmit", "done", 2)])
async def test_a_policy_decides_where_that_was_asked_for(
    service: FakeService, policy: str, state: str, paid: int
) -> None:
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    async with opened(service, "memory", count=1, on_ambiguous=policy) as batch:
        (outcome,) = await finish(batch)

        again = await batch.rerun()

    assert (outcome.state, service.runs_created) == (state, paid)
    assert again == 0, "what may have a run is started again by its key alone"
    if policy == "fail":
        assert outcome.candidates == tuple(service.runs)


@asynccontextmanager
async def foreign_traffic(service: FakeService, every: float, origin: str = "openapi") -> AsyncIterator[list[str]]:
    """Somebody else starts runs of the same worker all the time."""
    foreign: list[str] = []

    async def start() -> None:
        while True:
            foreign.append(service.add_run(WORKER, status="running", age=0.0, origin=origin))
            await service.clock.sleep(every)

    async with anyio.create_task_group() as group:
        group.start_soon(start)
        yield foreign
        group.cancel_scope.cancel()


@pytest.mark.parametrize("is_accepted", [True, False])
async def test_with_foreign_runs_it_is_held_also_when_exclusiveness_was_promised(
    service: FakeService, is_accepted: bool
) -> None:
    fault = faults.commit_then_drop() if is_accepted else faults.drop_before_commit()
    service.faults.add(fault, operation="runWorker", after=1, times=2)
    async with (
        foreign_traffic(service, 20.0) as foreign,
        opened(service, "memory", count=4, exclusive=True) as batch,
    ):
        outcomes = {outcome.key: outcome for outcome in await finish(batch)}
        assert await batch._batch_context.ledger.start_queues.has_foreign([service.runs[foreign[0]].worker_id])

    assert [outcomes[f"k{number}"].state for number in range(4)] == ["done", "ambiguous", "ambiguous", "done"]
    assert set(foreign) & set(outcomes["k1"].candidates)
    assert not {outcome.run_id for outcome in outcomes.values()} & set(foreign)
    assert max(runs_by_key(service).values()) == 1


async def test_runs_that_were_started_by_hand_are_foreign_and_no_candidates(service: FakeService) -> None:
    service.faults.add(faults.drop_before_commit(), operation="runWorker")
    async with opened(service, "memory", count=1, exclusive=True) as batch:
        service.add_run(WORKER, age=0.0, origin="web")
        (outcome,) = await finish(batch)

    assert (outcome.state, outcome.attempt, service.runs_created) == ("done", 2, 1)


async def test_what_the_same_client_starts_beside_the_batch_is_no_candidate(service: FakeService) -> None:
    service.faults.add(faults.drop_before_commit(), operation="runWorker")
    async with (
        AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client,
        client.batch("b", ledger="memory", exclusive=True) as batch,
    ):

        async def start() -> None:
            await service.clock.sleep(5)
            await client.workers.start_run(WORKER, {"keywords": ["beside"]})

        await batch.plan(specs(1))
        stream = batch.run()
        async with anyio.create_task_group() as group:
            group.start_soon(start)
            outcome = await anext(stream)

    assert (outcome.state, outcome.attempt) == ("done", 2)
    assert runs_by_key(service) == {"k0": 1, "beside": 1}


@pytest.mark.endurance
async def test_a_process_that_was_cut_off_while_sending_is_settled_by_the_next_one(
    service: FakeService, tmp_path: Path
) -> None:
    ledger = f"sqlite:///{tmp_path / 'runs.db'}"
    service.faults.add(faults.stall(), operation="runWorker", after=2)
    async with opened(service, ledger, count=5, exclusive=True) as batch:
        await take_until(batch.run(max_in_flight=5), lambda: service.runs_created == 3)
    async with opened(service, ledger, exclusive=True) as batch:
        assert (await batch.get("k2")).state is BatchItemState.INTENT
        await finish(batch)
        report = await batch.report()

    assert report.counts[BatchItemState.DONE] == 5
    assert set(runs_by_key(service).values()) == {1}


async def test_the_list_of_the_last_month_is_read_too(service: FakeService) -> None:
    service.clock.set_time(1_788_191_998.0)  # Two seconds before September in UTC+8.
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    async with opened(service, "memory", count=1, exclusive=True) as batch:
        (outcome,) = await finish(batch)

    assert (outcome.state, service.runs_created) == ("done", 1)
    assert len({request.query.get("start_time") for request in service.requests if request.query.get("worker_id")}) > 1


async def test_a_list_that_cannot_be_read_is_tried_again_and_then_told(service: FakeService, ledger: str) -> None:
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    async with opened(service, ledger, count=2, exclusive=True) as batch:
        stream = batch.run()
        service.faults.add(faults.status(500), operation="listWorkerRuns", times=10_000, after=1)
        with pytest.raises(ServiceError):
            await anext(stream)
        assert (await batch.get("k0")).state is BatchItemState.INTENT
        assert service.runs_created == 1
        service.faults.clear()
        service.faults.add(faults.status(500), operation="listWorkerRuns", times=5, after=1)
        outcomes = await finish(batch)

    assert len(outcomes) == 2
    assert set(runs_by_key(service).values()) == {1}


async def test_a_key_that_is_refused_for_the_list_is_told_at_once(service: FakeService) -> None:
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    async with opened(service, "memory", count=1, exclusive=True) as batch:
        service.faults.add(faults.error(12002, 401), operation="listWorkerRuns", after=1)
        with pytest.raises(AuthenticationError):
            await finish(batch)


@pytest.fixture
def hub() -> CallbackHub:
    return CallbackHub(HOOKS)


@asynccontextmanager
async def delivering(service: FakeService) -> AsyncIterator[None]:
    async def deliver() -> None:
        while True:
            await service.clock.sleep(0.5)
            await service.deliver_callbacks()

    async with anyio.create_task_group() as group:
        group.start_soon(deliver)
        yield
        group.cancel_scope.cancel()


@asynccontextmanager
async def with_hub(hub: CallbackHub, **options: object) -> AsyncIterator[tuple[FakeService, AsyncBatch]]:
    service = FakeService(callback_transport=httpx.ASGITransport(app=hub))
    async with delivering(service), opened(service, "memory", callbacks=hub, **options) as batch:  # type: ignore[arg-type]
        yield service, batch


async def test_a_callback_names_the_run_exactly_also_beside_foreign_ones(hub: CallbackHub) -> None:
    async with with_hub(hub, count=30) as (service, batch):
        service.faults.add(faults.commit_then_drop(), operation="runWorker", after=3, times=4)
        async with foreign_traffic(service, 3.0):
            outcomes = await finish(batch)
        hows = {(await batch.history(f"k{number}"))[0].how for number in range(30)}

    assert {outcome.state for outcome in outcomes} == {BatchItemState.DONE}
    assert set(runs_by_key(service).values()) == {1}
    assert hows == {ItemOrigin.ANSWER, ItemOrigin.CALLBACK}
    assert service.clock.monotonic() < 60, "nobody has waited for the list"


async def test_a_lost_start_that_a_callback_can_name_is_told_so(
    hub: CallbackHub, caplog: pytest.LogCaptureFixture
) -> None:
    async with with_hub(hub, count=1) as (service, batch):
        service.callback_plan = CallbackPlan(delay=30.0)
        service.faults.add(faults.commit_then_drop(), operation="runWorker")
        (outcome,) = await finish(batch)

    assert outcome.state is BatchItemState.DONE
    (told,) = [record.getMessage() for record in caplog.records if "has had no answer" in record.getMessage()]
    assert "in about 80 s or by its callback; until then no other run of worker" in told


@pytest.mark.endurance
async def test_starts_of_one_start_queue_go_at_once_where_callbacks_tell_them_apart(hub: CallbackHub) -> None:
    async with with_hub(hub, count=40) as (service, batch):
        service.faults.add(faults.delay(1.0), operation="runWorker", times=100)
        await finish(batch)

    assert set(runs_by_key(service).values()) == {1}
    assert (
        max(run.created_at for run in service.runs.values()) - min(run.created_at for run in service.runs.values())
        < 40 / 2
    )


@pytest.mark.endurance
async def test_without_a_callback_it_is_held_and_a_late_one_settles_it(hub: CallbackHub) -> None:
    reconciled: list[str] = []

    def note(event: events.Event) -> None:
        if isinstance(event, events.StartReconciled):
            reconciled.append(event.run_id)

    async with with_hub(hub, count=2, on_event=note) as (service, batch):
        service.callback_plan = CallbackPlan(delay=500.0)
        service.default_script = RunScript(duration=1_000)
        service.faults.add(faults.commit_then_drop(), operation="runWorker")
        states = [(outcome.key, outcome.state) async for outcome in batch.run(width=1)]

    assert states == [("k0", "ambiguous"), ("k0", "done"), ("k1", "done")] or states == [
        ("k0", "ambiguous"),
        ("k1", "done"),
        ("k0", "done"),
    ]
    assert len(reconciled) == 1
    assert service.runs_created == 2


@pytest.mark.endurance
async def test_a_callback_that_comes_while_no_process_lives_is_understood_by_a_hub_of_the_next_one(
    hub: CallbackHub, tmp_path: Path
) -> None:
    ledger = f"sqlite:///{tmp_path / 'runs.db'}"
    service = FakeService()
    service.default_script = RunScript(duration=300)
    service.faults.add(faults.stall(), operation="runWorker")
    async with opened(service, ledger, count=1, callbacks=hub) as batch:
        await take_until(batch.run(), lambda: service.runs_created)
    another = CallbackHub(HOOKS)
    service.callback_transport = httpx.ASGITransport(app=another)
    async with delivering(service), opened(service, ledger, callbacks=another) as batch:
        (outcome,) = await finish(batch)
        (run,) = await batch.history("k0")

    assert (outcome.state, run.how, service.runs_created) == ("done", ItemOrigin.CALLBACK, 1)


async def test_a_person_who_is_quicker_than_a_callback_is_obeyed(hub: CallbackHub) -> None:
    async with with_hub(hub, count=1) as (service, batch):
        service.callback_plan = CallbackPlan(delay=400.0)
        service.faults.add(faults.commit_then_drop(), operation="runWorker")
        (held,) = await finish(batch)
        url = (await batch.get("k0")).callback_url
        assert url is not None
        late = batch._late
        item = await batch.get("k0")
        await batch.resolve("k0", adopt=held.candidates[0])
        late.called_back(url, held.candidates[0])
        late.called_back(url, None)
        (outcome,) = await finish(batch)

    assert item.state is BatchItemState.AMBIGUOUS
    assert outcome.run_id == held.candidates[0]


@pytest.mark.endurance
async def test_a_lost_start_of_another_batch_of_the_start_queue_is_settled_first(
    service: FakeService, tmp_path: Path
) -> None:
    ledger = f"sqlite:///{tmp_path / 'runs.db'}"
    service.faults.add(faults.stall(), operation="runWorker")
    async with opened(service, ledger, count=1, exclusive=True) as batch:
        await take_until(batch.run(), lambda: service.runs_created)
    async with (
        AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client,
        client.batch("another", ledger=ledger, exclusive=True) as other,
        client.batch("nightly", ledger=ledger) as nightly,
    ):
        await other.plan(specs(1, first=5))
        outcomes = await finish(other)
        item = await nightly.get("k0")

    assert [outcome.key for outcome in outcomes] == ["k5"]
    assert (item.state, item.how) == ("submitted", ItemOrigin.LIST)
    assert set(runs_by_key(service).values()) == {1}


async def test_a_callback_that_names_another_items_run_is_not_believed(hub: CallbackHub) -> None:
    urls: dict[str, str] = {}

    async with with_hub(hub, count=2, settle_times=SettleTimes(callback_patience=5)) as (service, batch):
        service.callback_plan = CallbackPlan(delay=10_000.0)
        service.faults.add(faults.drop_before_commit(), operation="runWorker", after=1)
        stream = batch.run(width=1)
        first = await anext(stream)

        async def lie() -> None:
            for _ in range(5):
                item = await batch.get("k1")
                if item.callback_url is not None:
                    urls["k1"] = item.callback_url
                    hub.handle(item.callback_url, json.dumps({"run_slug": first.run_id}).encode())
                await service.clock.sleep(10)

        async with anyio.create_task_group() as group:
            group.start_soon(lie)
            second = await anext(stream)

    assert urls
    assert (first.key, second.key, second.state, second.attempt) == ("k0", "k1", "done", 2)
    assert set(runs_by_key(service).values()) == {1}


async def test_late_callbacks_settle_each_its_own_item_and_none_that_has_a_run(
    hub: CallbackHub, service: FakeService, tmp_path: Path
) -> None:
    ledger = f"sqlite:///{tmp_path / 'runs.db'}"
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    async with opened(service, ledger, count=1) as batch:
        await finish(batch)
    service.callback_plan = CallbackPlan(delay=10_000.0)
    service.faults.add(faults.commit_then_drop(), operation="runWorker", times=2)
    async with opened(service, ledger, count=3, callbacks=hub) as batch:
        await finish(batch, width=1)
        items = [await batch.get(f"k{number}") for number in range(3)]
    assert {item.state for item in items} == {BatchItemState.AMBIGUOUS}
    another = CallbackHub(HOOKS)
    lost = next(run_id for run_id in service.runs if key_of(service, run_id) == "k2")
    async with opened(service, ledger, callbacks=another) as batch:
        for item in (items[2], items[1]):
            assert item.callback_url is not None
            assert another.handle(item.callback_url, json.dumps({"run_slug": lost}).encode()) == 204
        for _ in range(50):
            await anyio.lowlevel.checkpoint()
        await service.clock.sleep(1)
        states = [(await batch.get(f"k{number}")).state for number in range(3)]

    assert states == ["ambiguous", "ambiguous", "submitted"]


async def test_a_late_callback_that_cannot_be_recorded_is_told_and_ends_nothing(
    hub: CallbackHub, caplog: pytest.LogCaptureFixture
) -> None:
    async with with_hub(hub, count=1) as (service, batch):
        service.callback_plan = CallbackPlan(delay=10_000.0)
        service.faults.add(faults.commit_then_drop(), operation="runWorker")
        (held,) = await finish(batch)
        url = (await batch.get("k0")).callback_url
        assert url is not None
        await batch._batch_context.ledger.database.aclose()
        batch._late.called_back(url, held.candidates[0])
        await service.clock.sleep(1)

    assert f"a callback named run {held.candidates[0]}, and its item stays held" in caplog.text


async def given_up_by_the_list(service: FakeService, batch: AsyncBatch) -> None:
    await finish(batch, width=1)


async def given_up_by_a_policy(service: FakeService, batch: AsyncBatch) -> None:
    (outcome,) = await finish(batch, width=1)
    assert outcome.state is BatchItemState.FAILED


async def given_up_by_a_person(service: FakeService, batch: AsyncBatch) -> None:
    await finish(batch, width=1)
    await batch.resolve("k0", resubmit=True)


@pytest.mark.parametrize(
    ("give_up", "list_lag", "options"),
    [
        (given_up_by_the_list, 10_000.0, {}),
        (given_up_by_a_policy, 0.0, {"on_ambiguous": "fail"}),
        (given_up_by_a_person, 0.0, {}),
    ],
    ids=["list", "policy", "person"],
)
async def test_a_run_that_a_callback_names_when_its_start_was_given_up_is_told(
    hub: CallbackHub,
    caplog: pytest.LogCaptureFixture,
    give_up: Callable[[FakeService, AsyncBatch], Awaitable[None]],
    list_lag: float,
    options: dict[str, Any],
) -> None:
    service = FakeService(list_lag=list_lag)
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    async with opened(service, "memory", count=1, callbacks=hub, **options) as batch:
        await give_up(service, batch)
        (start, *_) = (request for request in service.requests if request.operation == "runWorker")
        lost = next(iter(service.runs))
        for _ in range(2):  # It may come twice.
            assert hub.handle(start.body["callback_url"], json.dumps({"run_slug": lost}).encode()) == 204
            await service.clock.sleep(1)

    told = f"a callback named run {lost} of item 'k0', whose start had never been answered and was given up"
    assert caplog.text.count(told) == 1


async def test_a_callback_that_comes_during_the_last_look_is_not_overlooked(hub: CallbackHub) -> None:
    service = FakeService(list_lag=10_000.0)
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    looks = 0

    def call_back(event: events.Event) -> None:
        nonlocal looks
        if not isinstance(event, events.PageRead) or event.operation != "listWorkerRuns":
            return
        looks += 1
        if looks == 2:
            (start,) = (request for request in service.requests if request.operation == "runWorker")
            hub.handle(start.body["callback_url"], json.dumps({"run_slug": next(iter(service.runs))}).encode())

    async with opened(service, "memory", count=1, callbacks=hub, on_event=call_back) as batch:
        (outcome,) = await finish(batch)

    assert (outcome.attempt, outcome.state, service.runs_created) == (1, "done", 1)
    assert looks == 2


async def test_a_wrong_clock_rules_no_run_out_where_the_service_tells_no_time(service: FakeService) -> None:
    clock = MachineClock(service.clock, step=3_600.0)
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    async with (
        AsyncCoreClaw(service.api_key, transport=WithDate(service), clock=clock) as client,
        client.batch("b", ledger="memory", exclusive=True) as batch,
    ):
        await batch.plan(specs(2))
        outcomes = await finish(batch)

    assert [outcome.attempt for outcome in outcomes] == [1, 1]
    assert set(runs_by_key(service).values()) == {1}


async def test_a_callback_that_comes_while_the_batch_is_closed_settles_its_item_at_the_next_opening(
    hub: CallbackHub, tmp_path: Path
) -> None:
    ledger = f"sqlite:///{tmp_path / 'runs.db'}"
    service = FakeService(callback_transport=httpx.ASGITransport(app=hub))
    service.callback_plan = CallbackPlan(delay=500.0)
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    async with (
        delivering(service),
        AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, callbacks=hub) as client,
    ):
        async with client.batch("nightly", ledger=ledger) as batch:
            await batch.plan(specs(1))
            (held,) = await finish(batch)
        await service.clock.sleep(600)
        give_up = service.clock.time() + 3_600
        async with client.batch("nightly", ledger=ledger) as batch:
            while (await batch.get("k0")).state == "ambiguous":
                assert service.clock.time() < give_up, "what is held stays so"
                await service.clock.sleep(1)
            (outcome,) = await finish(batch)

    assert (held.state, outcome.state, outcome.run_id in held.candidates) == ("ambiguous", "done", True)
    assert service.runs_created == 1
