"""A cancelled batch starts nothing more, not even what was under way, and aborts all that it can."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import attrs
import httpx
import pytest
from batch.batches import finish, opened, specs
from waiting import PATIENCE

from coreclaw_async import (
    AsyncBatch,
    AsyncCoreClaw,
    BatchAbortError,
    BatchIncompleteError,
    BatchItem,
    BatchItemState,
    BatchOutcome,
    events,
)
from coreclaw_async.batch import IllegalStepError, ItemOrigin
from coreclaw_async.batch._item_steps import to_ended, to_intent, to_planned, to_retry, to_submitted
from coreclaw_async.batch._ledger.batch_ledger import BatchLedger
from coreclaw_async.testing import FakeService, RunScript, faults
from coreclaw_async.testing.faults import Fault

GONE = faults.error(70001, 404)


class HeldStarts(httpx.AsyncBaseTransport):
    """A transport that holds the first start up until the test lets it go on."""

    tells_what_leaves = True

    def __init__(self, service: FakeService) -> None:
        self._service = service
        self.reached = anyio.Event()
        self.goes_on = anyio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST" and request.url.path.endswith("/runs"):
            self.reached.set()
            await self.goes_on.wait()
        return await self._service.handle_async_request(request)


@asynccontextmanager
async def process(service: FakeService, ledger: str, way: Any = None, **options: Any) -> AsyncIterator[AsyncBatch]:
    """The batch as another process opens it."""
    async with (
        AsyncCoreClaw(service.api_key, transport=way or service, clock=service.clock) as client,
        client.batch("nightly", ledger=ledger, **options) as batch,
    ):
        yield batch


@attrs.define
class Story:
    """What became of a batch that was cancelled while its first start was under way."""

    cancelled: int
    outcomes: list[BatchOutcome]
    items: list[BatchItem]
    again: list[BatchOutcome]

    @property
    def states(self) -> list[str]:
        return [item.state.value for item in self.items]


async def cancel_while_starting(
    service: FakeService,
    ledger: str,
    fault: Fault | None = None,
    *,
    abort: bool = False,
    max_spend: Decimal | None = None,
    **options: Any,
) -> Story:
    """Cancel a batch of three while its first start is under way: from another process, where there can be one."""
    way = HeldStarts(service)
    outcomes: list[BatchOutcome] = []
    if fault is not None:
        service.faults.add(fault, operation="runWorker")

    async def run() -> None:
        outcomes.extend(await finish(batch, max_spend=max_spend))

    async with process(service, ledger, way, **options) as batch:
        await batch.plan(specs(3))
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            with anyio.fail_after(PATIENCE):
                await way.reached.wait()
            if ledger == "memory":
                cancelled = await batch.cancel(abort=abort)
            else:
                async with process(service, ledger) as other:
                    cancelled = await other.cancel(abort=abort)
            way.goes_on.set()
        items = [await batch.get(f"k{number}") for number in range(3)]
        again = await finish(batch)
        assert items == [await batch.get(f"k{number}") for number in range(3)]
    return Story(cancelled, outcomes, items, again)


@pytest.mark.parametrize("abort", [False, True])
@pytest.mark.parametrize(
    "fault",
    [
        faults.error(30003),
        faults.rate_limited(retry_after=3),
        faults.rate_limited(),
        faults.error(30001),
        faults.refuse_connection(),
    ],
    ids=["plan", "rate", "rate without a time", "balance", "connection"],
)
async def test_a_start_that_is_refused_after_the_cancel_is_not_made_again(
    service: FakeService, ledger: str, fault: Fault, abort: bool
) -> None:
    story = await cancel_while_starting(service, ledger, fault, abort=abort)

    assert (story.cancelled, story.states) == (2, ["cancelled"] * 3)
    assert (story.outcomes, story.again, service.runs_created) == ([], [], 0)
    assert [(item.error, item.cancel_requested) for item in story.items] == [("cancelled", 0)] * 3


async def test_a_start_within_a_budget_that_is_refused_after_the_cancel_is_not_made_again(
    service: FakeService, ledger: str
) -> None:
    story = await cancel_while_starting(service, ledger, faults.error(30003), max_spend=Decimal(5))

    assert (story.cancelled, story.states) == (2, ["cancelled"] * 3)
    assert (story.outcomes, story.again, service.runs_created) == ([], [], 0)


async def test_a_start_that_is_too_late_after_the_cancel_is_not_made_again(
    service: FakeService, tmp_path: Path
) -> None:
    path = tmp_path / "runs.db"

    def stand_still(event: events.Event) -> None:
        if isinstance(event, events.BatchItemChanged) and event.state == "intent":
            with closing(sqlite3.connect(path)) as other, other:  # What `cancel` writes.
                other.execute("UPDATE item SET cancel_requested = 1 WHERE state = 'intent'")
                other.execute("UPDATE item SET state = 'cancelled' WHERE state = 'planned'")
            service.clock.advance(6.0)

    async with opened(service, str(path), count=3, on_event=stand_still) as batch:
        assert await finish(batch) == []
        report = await batch.report()

    assert (report.counts[BatchItemState.CANCELLED], service.runs_created) == (3, 0)


async def test_a_start_that_the_service_refuses_for_good_after_the_cancel_says_so(
    service: FakeService, ledger: str
) -> None:
    story = await cancel_while_starting(service, ledger, faults.error(11000))

    assert story.states == ["rejected", "cancelled", "cancelled"]
    assert [(outcome.key, outcome.state) for outcome in story.outcomes] == [("k0", "rejected")]


async def test_a_start_that_is_accepted_after_the_cancel_is_followed(service: FakeService, ledger: str) -> None:
    story = await cancel_while_starting(service, ledger)

    assert (story.cancelled, story.states) == (2, ["done", "cancelled", "cancelled"])
    assert [(outcome.key, outcome.state) for outcome in story.outcomes] == [("k0", "done")]
    assert service.runs_created == 1


async def test_a_start_that_is_accepted_after_a_cancel_with_abort_is_aborted(service: FakeService, ledger: str) -> None:
    service.default_script = RunScript(duration=10_000)
    service.faults.add(GONE, operation="abortWorkerRun", times=2)  # The service does not know it yet.
    story = await cancel_while_starting(service, ledger, abort=True)

    assert (story.cancelled, story.states) == (2, ["failed", "cancelled", "cancelled"])
    assert [(outcome.key, outcome.state) for outcome in story.outcomes] == [("k0", "failed")]
    assert service.clock.monotonic() < 1_000


async def test_a_run_that_cannot_be_aborted_after_its_start_is_followed_and_told(
    service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    service.default_script = RunScript(duration=500)
    service.faults.add(GONE, operation="abortWorkerRun", times=10_000)
    with caplog.at_level(logging.WARNING, "coreclaw_async"):
        story = await cancel_while_starting(service, "memory", abort=True)

    assert story.states == ["done", "cancelled", "cancelled"]
    assert f"run {story.items[0].run_id} of item 'k0' was not aborted, and may keep running" in caplog.text


@pytest.mark.endurance
@pytest.mark.parametrize("fault", [faults.status(502), GONE], ids=["502", "gone"])
async def test_a_run_is_aborted_as_soon_as_it_can_be_for_as_long_as_the_batch_has_patience(
    service: FakeService, ledger: str, fault: Fault
) -> None:
    if ledger.startswith("postgres"):
        pytest.skip("a virtual clock does not wait for sockets")
    service.default_script = RunScript(duration=10_000)
    service.faults.add(
        fault, operation="abortWorkerRun", times=10_000, match=lambda _: service.clock.monotonic() < 1_200
    )
    story = await cancel_while_starting(service, ledger, abort=True)

    assert story.states == ["failed", "cancelled", "cancelled"]
    assert 1_200 <= service.clock.monotonic() < 1_600


async def test_patience_for_an_abort_ends(service: FakeService, caplog: pytest.LogCaptureFixture) -> None:
    service.default_script = RunScript(duration=5_000)
    service.faults.add(faults.status(502), operation="abortWorkerRun", times=10_000)
    with caplog.at_level(logging.WARNING, "coreclaw_async"):
        story = await cancel_while_starting(service, "memory", abort=True, patience=600)

    assert story.states == ["done", "cancelled", "cancelled"]
    assert f"run {story.items[0].run_id} was not aborted, and may keep running" in caplog.text


async def test_a_run_that_can_neither_be_aborted_nor_seen_is_told_as_both(service: FakeService, tmp_path: Path) -> None:
    ledger = str(tmp_path / "runs.db")
    service.default_script = RunScript(duration=100_000)
    async with process(service, ledger) as batch:
        await batch.plan(specs(1))
        async with anyio.create_task_group() as group:
            group.start_soon(finish, batch)
            await service.clock.sleep(60)
            group.cancel_scope.cancel()
        assert await batch._batch_context.ledger.cancel(abort=True) == 0
    service.faults.add(faults.status(502), operation="abortWorkerRun", times=10_000)
    service.faults.add(faults.status(502), operation="getWorkerRun", times=10_000)
    service.faults.add(faults.status(502), operation="listWorkerRuns", times=10_000, after=1)
    async with process(service, ledger, patience=600) as batch:
        with pytest.raises(BatchIncompleteError) as caught:
            await finish(batch)

    (why,) = caught.value.reasons.values()
    assert "its run cannot be read" in why
    assert "it could not be aborted: " in why


@pytest.mark.parametrize("abort", [False, True])
@pytest.mark.parametrize("fault", [faults.drop_before_commit(), faults.status(502)], ids=["drop", "502"])
async def test_a_start_that_was_lost_and_not_accepted_is_taken_out(
    service: FakeService, ledger: str, fault: Fault, abort: bool
) -> None:
    story = await cancel_while_starting(service, ledger, fault, abort=abort, exclusive=True)

    assert (story.cancelled, story.states) == (2, ["cancelled"] * 3)
    assert (story.items[0].how, service.runs_created) == (ItemOrigin.NOT_ACCEPTED, 0)


@pytest.mark.endurance
@pytest.mark.parametrize(("abort", "state"), [(False, "done"), (True, "failed")])
async def test_a_start_that_was_lost_and_accepted_is_found_and_treated_as_the_others(
    service: FakeService, ledger: str, abort: bool, state: str
) -> None:
    service.default_script = RunScript(duration=2_000)
    story = await cancel_while_starting(service, ledger, faults.commit_then_drop(), abort=abort, exclusive=True)

    assert (story.cancelled, story.states) == (2, [state, "cancelled", "cancelled"])
    assert service.runs_created == 1
    assert (service.clock.monotonic() < 1_500) is abort


async def test_what_was_cancelled_is_not_started_again_by_a_policy(service: FakeService, ledger: str) -> None:
    story = await cancel_while_starting(service, ledger, faults.commit_then_drop(), on_ambiguous="resubmit")

    assert (story.states, service.runs_created) == (["cancelled"] * 3, 1)


async def test_another_process_starts_nothing_more(service: FakeService, tmp_path: Path) -> None:
    ledger = str(tmp_path / "runs.db")
    async with opened(service, ledger, count=10) as batch, process(service, ledger) as other:
        stream = batch.run(max_in_flight=1)
        first = await anext(stream)
        cancelled = await other.cancel()
        rest = [outcome async for outcome in stream]

    assert first.state is BatchItemState.DONE
    assert 1 + len(rest) + cancelled == 10
    assert service.runs_created == 1 + len(rest) <= 3


@pytest.mark.parametrize("ledger", ["sqlite", "postgres"], indirect=True)
async def test_what_is_run_again_after_a_cancel_is_not_cancelled_any_more(service: FakeService, ledger: str) -> None:
    service.default_script = RunScript(duration=10_000)
    story = await cancel_while_starting(service, ledger, abort=True)
    assert story.states == ["failed", "cancelled", "cancelled"]
    service.default_script = RunScript(duration=10)
    async with process(service, ledger) as batch:
        assert await batch.rerun(["k0", "k1"]) == 2
        outcomes = await finish(batch)

    assert {(outcome.key, outcome.state) for outcome in outcomes} == {("k0", "done"), ("k1", "done")}


async def start_runs(batch: AsyncBatch, service: FakeService, count: int, planned: int = 0) -> None:
    """Have *count* runs running, and *planned* items waiting for their turn."""
    await batch.plan(specs(count + planned))
    with anyio.CancelScope() as scope:
        stream = batch.run(max_in_flight=count)

        async def stop() -> None:
            while service.runs_created < count or (await batch.report()).counts[BatchItemState.SUBMITTED] < count:
                await anyio.sleep(0.001)
            scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(stop)
            await anext(stream)
            pytest.fail("a run ended before all were seen")


async def test_one_abort_that_fails_leaves_no_other_run_running(service: FakeService, ledger: str) -> None:
    service.default_script = RunScript(duration=10_000)
    async with process(service, ledger) as batch:
        await start_runs(batch, service, 5, planned=2)
        service.faults.add(GONE, operation="abortWorkerRun", after=1)
        service.faults.add(faults.error(50002), operation="abortWorkerRun", after=1)
        with pytest.raises(BatchAbortError, match="2 of 5 runs were not aborted, and may keep running: ") as caught:
            await batch.cancel(abort=True)
        error = caught.value
        left = [run for run in service.runs.values() if run.status == "running"]
        items = [await batch.get(key) for key in error.keys]
        aborted_again = await batch.cancel(abort=True)

    assert sorted(run.run_id for run in left) == sorted(error.not_aborted)
    assert [item.run_id for item in items] == list(error.not_aborted)
    assert error.cancelled == 2
    assert any("70001" in reason for reason in error.reasons)
    assert any("50002" in reason for reason in error.reasons)
    assert f"{error.not_aborted[0]} of item {error.keys[0]!r}" in str(error)
    assert aborted_again == 0


async def test_a_run_that_has_ended_by_itself_counts_as_aborted(service: FakeService) -> None:
    service.default_script = RunScript(duration=10_000)
    async with process(service, "memory") as batch:
        await start_runs(batch, service, 3)
        service.finish(next(iter(service.runs)))
        assert await batch.cancel(abort=True) == 0


async def test_what_ends_a_program_in_a_hook_leaves_a_cancel_as_it_is(service: FakeService) -> None:
    class EndError(BaseException):
        """An exception that ends a program, as Ctrl-C does."""

    def leave(event: events.Event) -> None:
        if isinstance(event, events.RequestSent) and event.operation == "abortWorkerRun":
            raise EndError

    service.default_script = RunScript(duration=10_000)
    async with opened(service, "memory", on_event=leave) as batch:
        await start_runs(batch, service, 2)
        with pytest.raises(EndError):
            await batch.cancel(abort=True)


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
async def test_a_run_whose_abort_was_cut_off_is_aborted_by_the_next_run(service: FakeService, ledger: str) -> None:
    service.default_script = RunScript(duration=10_000)
    async with process(service, ledger) as batch:
        await start_runs(batch, service, 2)
        # As if the process had been killed before it asked for the aborts.
        assert await batch._batch_context.ledger.cancel(abort=True) == 0
    async with process(service, ledger) as batch:
        outcomes = await finish(batch)

    assert sorted(outcome.state for outcome in outcomes) == ["failed", "failed"]
    assert service.clock.monotonic() < 1_000


@pytest.mark.parametrize("abort", [False, True])
async def test_a_held_item_whose_run_is_found_later_is_treated_as_the_others(
    service: FakeService, ledger: str, abort: bool
) -> None:
    service.default_script = RunScript(duration=2_000)
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    async with opened(service, ledger, count=1) as batch:
        (held,) = await finish(batch)
        assert held.state is BatchItemState.AMBIGUOUS
        assert await batch.cancel(abort=abort) == 0
        await batch.resolve("k0", adopt=held.candidates[0])
        (outcome,) = await finish(batch)

    assert outcome.state == ("failed" if abort else "done")
    assert service.runs_created == 1


async def test_a_cancel_and_a_close_at_once_abort_the_start_under_way(service: FakeService, tmp_path: Path) -> None:
    service.default_script = RunScript(duration=10_000)
    ledger = str(tmp_path / "runs.db")
    way = HeldStarts(service)
    async with process(service, ledger, way) as batch:
        await batch.plan(specs(2))
        stream = batch.run()

        async def release() -> None:
            await way.reached.wait()
            assert await batch.cancel(abort=True) == 1
            scope.cancel()

        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(release)
                await anext(stream)
        way.goes_on.set()

    (run,) = service.runs.values()
    assert run.status != "running"


# How a step treats a cancellation that came after its item was read.


@asynccontextmanager
async def opened_ledger(service: FakeService, ledger: str) -> AsyncIterator[BatchLedger]:
    async with opened(service, ledger, count=1) as batch:
        yield batch._batch_context.ledger


@pytest.mark.parametrize("abort", [False, True])
async def test_a_step_keeps_a_request_that_came_meanwhile(service: FakeService, ledger: str, abort: bool) -> None:
    requested = 2 if abort else 1
    async with opened_ledger(service, ledger) as book:
        item = await book.item("k0")
        assert item is not None
        intent = await book.steps.write(item, to_intent(item, at=1.0, callback_url=None))
        assert await book.cancel(abort=abort) == 0
        submitted = await book.steps.write(intent, to_submitted(intent, "R1", ItemOrigin.ANSWER, at=2.0))
        assert (submitted.state, submitted.cancel_requested) == (BatchItemState.SUBMITTED, requested)
        assert submitted == await book.item("k0")
        # A process that knows nothing of the cancellation wants to retry a failed run.
        stale = attrs.evolve(submitted, cancel_requested=0)
        ended = to_ended(stale, is_success=False, result_count=0, cost=None, error="blocked", at=3.0)
        failed = await book.steps.write(stale, to_retry(stale, "blocked"), ended=ended)
        assert (failed.state, failed.error, failed.run_id) == (BatchItemState.FAILED, "blocked", "R1")
        assert failed == await book.item("k0")
        (run,) = await book.history("k0")
        assert (run.state, run.error) == (BatchItemState.FAILED, "blocked")
        with pytest.raises(IllegalStepError):
            await book.steps.write(intent, to_planned(intent, ItemOrigin.NOT_SENT))


async def test_a_cancel_with_abort_outdoes_one_without_and_not_the_other_way_round(
    service: FakeService, ledger: str
) -> None:
    async with opened_ledger(service, ledger) as book:
        item = await book.item("k0")
        assert item is not None
        await book.steps.write(item, to_intent(item, at=1.0, callback_url=None))
        found = []
        for abort in (False, True, False):
            await book.cancel(abort=abort)
            now = await book.item("k0")
            assert now is not None
            found.append(now.cancel_requested)

    assert found == [1, 2, 2]


async def test_a_cancel_is_of_its_shard(service: FakeService, tmp_path: Path) -> None:
    ledger = str(tmp_path / "runs.db")
    async with opened(service, ledger, count=4) as batch:
        (whole,) = await batch.shards(4)
        async with process(service, ledger, shard=attrs.evolve(whole, last=1)) as part:
            assert await part.cancel(abort=True) == 2
        assert (await batch.report()).counts[BatchItemState.PLANNED] == 2


# A clock that jumps does not wait for the answers of a server.
in_files = pytest.mark.parametrize("ledger", ["memory", "sqlite"], indirect=True)


@pytest.fixture
def one_slow_run(service: FakeService) -> None:
    """Have the first run take more than an hour, and all others ten seconds."""
    service.script_next(RunScript(duration=5_000.0))
    service.default_script = RunScript(duration=10.0)


@in_files
@pytest.mark.usefixtures("one_slow_run")
async def test_an_item_that_is_run_again_while_the_batch_runs_is_started_at_once(
    service: FakeService, ledger: str
) -> None:
    service.script_next(RunScript(duration=10.0, outcome="failed"))
    async with opened(service, ledger, count=2) as batch:
        outcomes = batch.run()
        failed = await anext(outcomes)
        assert await batch.rerun() == 1
        again = await anext(outcomes)

    assert [(each.key, each.state) for each in (failed, again)] == [("k1", "failed"), ("k1", "done")]
    assert service.clock.monotonic() < 200


@in_files
@pytest.mark.usefixtures("one_slow_run")
async def test_an_item_that_is_resubmitted_while_the_batch_runs_is_started_at_once(
    service: FakeService, ledger: str
) -> None:
    service.faults.add(faults.commit_then_drop(), operation="runWorker", after=1)
    async with opened(service, ledger, count=2) as batch:
        outcomes = batch.run()
        held = await anext(outcomes)
        await batch.resolve("k1", resubmit=True)
        again = await anext(outcomes)

    assert [(each.key, each.state) for each in (held, again)] == [("k1", "ambiguous"), ("k1", "done")]
    assert service.clock.monotonic() < 400


@in_files
@pytest.mark.usefixtures("one_slow_run")
@pytest.mark.parametrize("key", ["k1", "k2"])
async def test_what_is_planned_after_a_cancel_while_the_batch_runs_is_started_at_once(
    service: FakeService, ledger: str, key: str
) -> None:
    service.faults.add(faults.error(30003), operation="runWorker", after=1)

    async def cancel() -> None:
        await service.clock.sleep(20.0)
        assert await batch.cancel() == 1
        if key == "k1":
            assert await batch.rerun([key]) == 1
        else:
            assert await batch.plan(specs(1, first=2)) == 1

    async with opened(service, ledger, count=2) as batch, anyio.create_task_group() as group:
        group.start_soon(cancel)
        first = await anext(batch.run())

    assert (first.key, first.state) == (key, "done")
    assert service.clock.monotonic() < 200
