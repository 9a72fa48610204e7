"""What proves that a start was not accepted: lists that can be read, whole, and nothing less."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from batch.batches import WORKER, finish, opened, runs_by_key, specs
from wrong_times import MachineClock, WithDate

from coreclaw_async import (
    AsyncCoreClaw,
    AuthenticationError,
    BatchIncompleteError,
    BatchItemState,
    InvalidResponseError,
    NotFoundError,
    PaginationError,
    ServiceError,
    SettleTimes,
)
from coreclaw_async._wire.timestamps import creation_time
from coreclaw_async.batch import BatchItem
from coreclaw_async.batch._evidence import Decision, decide, evidence_of
from coreclaw_async.models import Run
from coreclaw_async.testing import FakeService, RunScript, faults

JSON = {"content-type": "application/json"}
HTML = {"content-type": "text/html"}


def without_list(envelope: dict[str, Any]) -> dict[str, Any]:
    return {**envelope, "data": {name: value for name, value in envelope["data"].items() if name != "list"}}


def each_run(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def apply(envelope: dict[str, Any]) -> dict[str, Any]:
        return {**envelope, "data": {**envelope["data"], "list": [change(run) for run in envelope["data"]["list"]]}}

    return apply


NO_EVIDENCE = {
    "data is null": faults.edit(lambda envelope: {**envelope, "data": None}),
    "no data": faults.edit(lambda envelope: {name: value for name, value in envelope.items() if name != "data"}),
    "data is empty": faults.edit(lambda envelope: {**envelope, "data": {}}),
    "data is a list": faults.edit(lambda envelope: {**envelope, "data": []}),
    "no list": faults.edit(without_list),
    "list is null beside a count": faults.edit(
        lambda envelope: {**envelope, "data": {**envelope["data"], "list": None}}
    ),
    "empty beside a count": faults.edit(lambda envelope: {**envelope, "data": {**envelope["data"], "list": []}}),
    "list is a text": faults.edit(lambda envelope: {**envelope, "data": {**envelope["data"], "list": "none"}}),
    "runs are texts": faults.edit(each_run(lambda run: "run")),  # type: ignore[arg-type, return-value]
    "slug is null": faults.edit(each_run(lambda run: {**run, "slug": None})),
    "slug is empty": faults.edit(each_run(lambda run: {**run, "slug": ""})),
    "no slug": faults.edit(each_run(lambda run: {name: value for name, value in run.items() if name != "slug"})),
    "a page in a 200": faults.reply(b"<html>busy</html>", headers=HTML),
    "a page in a 404": faults.reply(b"<html>not found</html>", status=404, headers=HTML),
    "a page in a 403": faults.reply(b"<html>blocked</html>", status=403, headers=HTML),
    "an empty body": faults.reply(b"", headers=JSON),
    "an empty object": faults.reply(b"{}", headers=JSON),
    "null": faults.reply(b"null", headers=JSON),
    "another code": faults.reply(b'{"code":10000,"message":"internal","data":{"list":[],"count":0}}', headers=JSON),
}


def looks_for_it(request: Any) -> bool:
    """Return whether a list is asked for because of a lost start, and not as the first request of a batch."""
    return "worker_id" in request.query


@pytest.mark.parametrize("answer", NO_EVIDENCE)
@pytest.mark.parametrize("looks", [1, *(pytest.param(looks, marks=pytest.mark.endurance) for looks in (2, 3))])
async def test_a_list_that_proves_nothing_starts_nothing_again(service: FakeService, answer: str, looks: int) -> None:
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    service.faults.add(NO_EVIDENCE[answer], operation="listWorkerRuns", times=looks, match=looks_for_it)
    async with opened(service, "memory", count=1, exclusive=True) as batch:
        (outcome,) = await finish(batch)

    assert outcome.state in {"done", "ambiguous"}
    assert runs_by_key(service) == {"k0": 1}


@pytest.mark.parametrize(
    "answer",
    [
        "a page in a 404",
        *(pytest.param(answer, marks=pytest.mark.endurance) for answer in NO_EVIDENCE if answer != "a page in a 404"),
    ],
)
async def test_lists_that_never_prove_anything_leave_the_start_open_or_hold_it(
    service: FakeService, answer: str
) -> None:
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    service.faults.add(NO_EVIDENCE[answer], operation="listWorkerRuns", times=10_000, match=looks_for_it)
    async with opened(service, "memory", count=1, exclusive=True) as batch:
        expected = BatchItemState.AMBIGUOUS
        try:
            await finish(batch)
        except (InvalidResponseError, ServiceError, PaginationError, NotFoundError, AuthenticationError):
            expected = BatchItemState.INTENT
        item = await batch.get("k0")

    assert item.state is expected
    assert expected is BatchItemState.AMBIGUOUS or service.clock.monotonic() > 1_800
    assert runs_by_key(service) == {"k0": 1}


async def test_the_same_lists_prove_something_when_they_are_true(service: FakeService) -> None:
    """The control: where the start was not accepted and the list can be read, it is made again."""
    service.faults.add(faults.drop_before_commit(), operation="runWorker")
    async with opened(service, "memory", count=1, exclusive=True) as batch:
        (outcome,) = await finish(batch)

    assert (outcome.state, outcome.attempt, service.runs_created) == ("done", 2, 1)


@pytest.mark.parametrize("page", [1, 2])
async def test_a_list_that_moves_while_it_is_read_hides_no_run(service: FakeService, page: int) -> None:
    for _ in range(150):
        service.add_run(WORKER, age=3_600.0)
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    service.faults.add(faults.insert_front(5), operation="listWorkerRuns", match=looks_for_it, after=page - 1, times=3)
    async with opened(service, "memory", count=1, exclusive=True) as batch:
        (outcome,) = await finish(batch)

    assert outcome.state in {"done", "ambiguous"}
    assert runs_by_key(service)["k0"] == 1


async def test_fewer_runs_than_the_list_counts_prove_nothing(service: FakeService) -> None:
    def hide_the_newest(envelope: dict[str, Any]) -> dict[str, Any]:
        return {**envelope, "data": {**envelope["data"], "list": envelope["data"]["list"][1:]}}

    service.add_run(WORKER, age=3_600.0)
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    service.faults.add(faults.edit(hide_the_newest), operation="listWorkerRuns", times=4, match=looks_for_it)
    async with opened(service, "memory", count=1, exclusive=True) as batch:
        (outcome,) = await finish(batch)

    assert outcome.state == "done"
    assert runs_by_key(service)["k0"] == 1


@pytest.mark.parametrize("behind", [3_600.0, -3_600.0, 40_000.0])
@pytest.mark.parametrize("second", [10.0, -10.0])  # Of September, in UTC+8.
async def test_a_wrong_clock_overlooks_no_run_of_another_month(
    service: FakeService, behind: float, second: float
) -> None:
    service.clock.set_time(1_788_192_000.0 + second)
    clock = MachineClock(service.clock, step=-behind)
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    async with (
        AsyncCoreClaw(service.api_key, transport=WithDate(service), clock=clock) as client,
        client.batch("b", ledger="memory", exclusive=True) as batch,
    ):
        await batch.plan(specs(1))
        (outcome,) = await finish(batch)

    assert (outcome.state, outcome.attempt) == ("done", 1)
    assert runs_by_key(service) == {"k0": 1}


async def test_a_lost_start_of_last_month_that_is_looked_for_in_this_one_is_found(
    service: FakeService, tmp_path: Any
) -> None:
    ledger = f"sqlite:///{tmp_path / 'runs.db'}"
    service.clock.set_time(1_788_192_000.0 - 86_400.0)
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    service.faults.add(faults.status(500), operation="listWorkerRuns", times=10_000, match=looks_for_it)
    async with opened(service, ledger, count=1, exclusive=True) as batch:
        with pytest.raises(ServiceError):
            await finish(batch)
    service.faults.clear()
    service.clock.advance(40 * 86_400.0)
    async with opened(service, ledger, exclusive=True) as batch:
        (outcome,) = await finish(batch)

    assert (outcome.state, outcome.attempt) == ("done", 1)
    assert runs_by_key(service) == {"k0": 1}


@pytest.mark.parametrize("fault", [faults.error(70001, 404), faults.error(11004, 404)], ids=["70001", "11004"])
async def test_runs_that_cannot_be_read_at_first_are_done_in_the_end(service: FakeService, fault: Any) -> None:
    service.default_script = RunScript(duration=30)
    async with opened(service, "memory", count=2) as batch:

        def is_new(request: Any) -> bool:
            return service.clock.monotonic() < 13

        service.faults.add(fault, operation="getWorkerRun", times=10_000, match=is_new)
        service.faults.add(faults.status(500), operation="listWorkerRuns", times=10_000, match=is_new, after=1)
        outcomes = await finish(batch)

    assert [outcome.state for outcome in outcomes] == ["done", "done"]
    assert runs_by_key(service) == {"k0": 1, "k1": 1}


async def test_one_late_404_does_not_fail_an_item(service: FakeService) -> None:
    service.default_script = RunScript(duration=30)
    service.faults.add(faults.error(70001, 404), operation="getWorkerRun", after=2)
    async with opened(service, "memory", count=1) as batch:
        (outcome,) = await finish(batch)

    assert outcome.state == "done"


async def test_an_item_whose_run_cannot_be_read_stays_submitted_and_is_told(service: FakeService) -> None:
    service.default_script = RunScript(duration=5)
    async with opened(service, "memory", count=1) as batch:
        service.faults.add(faults.error(70001, 404), operation="getWorkerRun", times=10_000)
        with pytest.raises(BatchIncompleteError, match="its run cannot be read") as told:
            await finish(batch)
        item = await batch.get("k0")
        again = await batch.rerun()
        service.faults.clear()
        (outcome,) = await finish(batch)

    assert set(told.value.reasons) == {"k0"}
    assert item.state is BatchItemState.SUBMITTED
    assert (again, outcome.state, outcome.run_id) == (0, "done", item.run_id)
    assert runs_by_key(service) == {"k0": 1}


async def failed_unseen(batch: Any) -> str:
    """Leave an item as an earlier version did when its run could not be read, and return its run."""
    (outcome,) = await finish(batch)
    item = await batch.get("k0")
    database = batch._batch_context.ledger.database
    from coreclaw_async.batch._store.database import Statement

    await database.write(
        Statement.of("UPDATE item SET state = 'failed', error = 'its run cannot be read: 70001' WHERE key = 'k0'"),
        Statement.of("UPDATE run SET state = 'failed', error = 'its run cannot be read: 70001' WHERE key = 'k0'"),
    )
    assert outcome.run_id == item.run_id
    return str(item.run_id)


async def test_an_item_that_failed_unseen_is_not_paid_for_again_unless_it_is_named(
    service: FakeService, ledger: str
) -> None:
    async with opened(service, ledger, count=1) as batch:
        await failed_unseen(batch)
        assert await batch.rerun() == 0
        assert await batch.rerun(["k0"]) == 1


async def test_resolve_reads_the_run_of_a_failed_item_once_more(service: FakeService, ledger: str) -> None:
    async with opened(service, ledger, count=1) as batch:
        run_id = await failed_unseen(batch)
        with pytest.raises(ValueError, match=r"is failed with run .* and only that run can be adopted again"):
            await batch.resolve("k0", adopt=service.add_run(WORKER))
        with pytest.raises(ValueError, match="start it again with rerun"):
            await batch.resolve("k0", resubmit=True)
        service.faults.add(faults.error(70001, 404), operation="getWorkerRun")
        with pytest.raises(NotFoundError):
            await batch.resolve("k0", adopt=run_id)
        assert (await batch.get("k0")).state is BatchItemState.FAILED
        item = await batch.resolve("k0", adopt=run_id)
        (outcome,) = await finish(batch)
        history = await batch.history("k0")

    assert (item.state, item.error, item.cost) == ("submitted", None, None)
    assert (outcome.state, outcome.run_id) == ("done", run_id)
    assert [(run.run_id, run.state) for run in history] == [(run_id, "done")]
    assert runs_by_key(service) == {"k0": 1}


async def test_a_run_that_has_failed_fails_again(service: FakeService) -> None:
    service.default_script = RunScript(outcome="failed")
    async with opened(service, "memory", count=1) as batch:
        (outcome,) = await finish(batch)
        await batch.resolve("k0", adopt=outcome.run_id)
        (again,) = await finish(batch)

    assert (outcome.state, again.state, again.run_id) == ("failed", "failed", outcome.run_id)


async def test_an_item_that_counts_as_failed_by_policy_is_started_again_by_name_alone_or_gets_its_run(
    service: FakeService,
) -> None:
    service.faults.add(faults.commit_then_drop(), operation="runWorker", times=2)
    times = SettleTimes(post_timeout=1)
    async with opened(service, "memory", count=2, on_ambiguous="fail", settle_times=times) as batch:
        first, second = await finish(batch)
        assert await batch.rerun() == 0
        assert await finish(batch) == []
        item = await batch.resolve(first.key, adopt=first.candidates[0])
        assert await batch.rerun([second.key]) == 1
        outcomes = await finish(batch)

    assert {first.state, second.state} == {BatchItemState.FAILED}
    assert item.run_id == first.candidates[0]
    assert {outcome.state for outcome in outcomes} == {BatchItemState.DONE}
    assert runs_by_key(service) == {first.key: 1, second.key: 2}


@pytest.mark.endurance
async def test_more_than_a_hundred_held_items_are_counted_and_can_each_be_asked_for(service: FakeService) -> None:
    service.faults.add(faults.commit_then_drop(), operation="runWorker", times=103)
    times = SettleTimes(post_timeout=1, list_lag=0, skew=0, send_window=1)
    async with opened(service, "memory", count=103, settle_times=times) as batch:
        await finish(batch)
        report = await batch.report()
        last = await batch.get("k102")

    assert len(report.held) == 100
    assert report.counts[BatchItemState.AMBIGUOUS] == 103
    assert last.candidates


def test_a_run_that_is_older_than_the_starts_is_no_candidate() -> None:
    old, new = "01M01S76G0XW9MYAGR1EG5VT8T", "01M01T76G0XW9MYAGR1EG5VT8T"
    created = creation_time(new)
    assert created is not None
    item = BatchItem(batch="b", key="k", position=0, worker_id="w", input_sha256="", intent_at=created - 1)
    look = evidence_of([Run(run_id=old), Run(run_id=new)], set(), [item], SettleTimes(), skew=5.0)

    assert look.candidates == (new,)
    assert not look.is_foreign


@pytest.mark.parametrize("run_id", ["01M01T76G0XW9MYAGR1EG5VT8T", "undated"])
@pytest.mark.parametrize(("later", "is_rival"), [(1_000, False), (3, True), (-100, True), (-10_000, False)])
def test_a_start_of_another_account_is_a_rival_where_the_run_may_be_of_it(
    run_id: str, later: float, is_rival: bool
) -> None:
    created = creation_time("01M01T76G0XW9MYAGR1EG5VT8T")
    assert created is not None
    is_rival = is_rival or run_id == "undated"
    item = BatchItem(batch="b", key="k", position=0, worker_id="w", input_sha256="", intent_at=created - 1)
    look = evidence_of([Run(run_id=run_id)], set(), [item], SettleTimes(), skew=5.0, rivals=[created + later])
    decision = decide(look, [item], is_exclusive=True, was_empty=False, may_wait=False)

    assert look.rivals == ((created + later,) if is_rival else ())
    assert decision is (Decision.HOLD if is_rival else Decision.ADOPT)


def test_a_run_that_is_newer_than_the_starts_is_no_proof_that_there_is_none_of_theirs() -> None:
    run_id = "01M01T76G0XW9MYAGR1EG5VT8T"
    created = creation_time(run_id)
    assert created is not None
    item = BatchItem(batch="b", key="k", position=0, worker_id="w", input_sha256="", intent_at=created - 100_000)

    look = evidence_of([Run(run_id=run_id)], set(), [item], SettleTimes(), skew=5.0)

    assert (look.candidates, look.is_foreign, look.is_empty) == ((run_id,), True, False)
    assert decide(look, [item], is_exclusive=True, was_empty=True, may_wait=False) is Decision.HOLD

    by_hand = evidence_of([Run(run_id=run_id, origin="web")], set(), [item], SettleTimes(), skew=5.0)
    assert (by_hand.candidates, by_hand.is_foreign, by_hand.is_empty) == ((), True, True)
