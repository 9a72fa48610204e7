"""Batches from blocking code: the same batch, which goes on in the loop's thread between the calls."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from batch.batches import WORKER, runs_by_key, specs
from interrupting import interrupt_once
from waiting import wait_until

from coreclaw_async import Batch, BatchConflictError, BatchItemState, ConfigurationError, CoreClaw, LedgerError, RunSpec
from coreclaw_async.testing import FakeService, RealClock, RunScript, faults


@pytest.fixture
def service() -> FakeService:
    return FakeService(clock=RealClock(), default_script=RunScript(rows=2, duration=0.0), balance=Decimal(1000))


@pytest.fixture
def client(service: FakeService) -> Iterator[CoreClaw]:
    with CoreClaw(service.api_key, transport=service) as client:
        yield client


def test_a_batch_is_run_from_blocking_code(service: FakeService, client: CoreClaw, tmp_path: Path) -> None:
    with client.batch("nightly", ledger=tmp_path / "runs.db") as batch:
        assert batch.plan(specs(1_001)) == 1_001
        assert batch.plan(specs(2)) == 0
        assert batch.cancel() == 1_001
        assert batch.rerun([f"k{number}" for number in range(10)]) == 10
        outcomes = list(batch.run(output=tmp_path / "rows"))
        report = batch.report()
        history = batch.history("k3")
        item = batch.get("k3")
        assert [shard.first for shard in batch.shards(5)] == []

    assert {outcome.state for outcome in outcomes} == {BatchItemState.DONE}
    assert (report.counts[BatchItemState.DONE], report.result_count) == (10, 20)
    assert [run.run_id for run in history] == [item.run_id]
    assert set(runs_by_key(service).values()) == {1}
    assert (repr(batch), batch.name) == (f"Batch('nightly', ledger={str(tmp_path / 'runs.db')!r})", "nightly")


def test_starts_go_on_while_the_caller_does_something_else(service: FakeService, client: CoreClaw) -> None:
    ended = threading.Event()
    client = client.with_options(on_event=lambda _: ended.set() if service.runs_created == 5 else None)
    with client.batch("nightly", ledger="memory") as batch:
        batch.plan(specs(5))
        stream = batch.run()
        first = next(stream)
        assert ended.wait(20), "nobody has asked for the others"
        rest = list(stream)

    assert first.state is BatchItemState.DONE
    assert len(rest) == 4


def test_an_error_of_opening_is_raised_where_the_block_begins(client: CoreClaw, tmp_path: Path) -> None:
    batch = client.batch("nightly", ledger=tmp_path)
    with pytest.raises(LedgerError, match="unable to open"):
        batch.__enter__()
    batch.__exit__(None, None, None)


def test_errors_come_to_the_caller(client: CoreClaw) -> None:
    with client.batch("nightly", ledger="memory") as batch:
        batch.plan(specs(1))
        with pytest.raises(BatchConflictError):
            batch.plan([RunSpec(key="k0", worker_id=WORKER, input={})])
        with pytest.raises(ValueError, match="only ambiguous or failed items can be resolved"):
            batch.resolve("k0", resubmit=True)


@pytest.mark.endurance
def test_ctrl_c_ends_the_block_and_the_next_one_goes_on(service: FakeService, tmp_path: Path) -> None:
    service.default_script = RunScript(rows=1, duration=2.0)
    ledger = tmp_path / "runs.db"

    def run(batch: Batch) -> int:
        batch.plan(specs(3))
        return len(list(batch.run()))

    with (
        CoreClaw(service.api_key, transport=service) as client,
        interrupt_once(lambda: service.runs_created == 3),
        pytest.raises(KeyboardInterrupt),
        client.batch("nightly", ledger=ledger) as batch,
    ):
        run(batch)
    with CoreClaw(service.api_key, transport=service) as client, client.batch("nightly", ledger=ledger) as batch:
        assert run(batch) == 3
        assert batch.report().counts[BatchItemState.DONE] == 3

    assert service.runs_created == 3


@pytest.mark.parametrize("interrupts", [1, 2])
def test_ctrl_c_while_a_batch_is_closed_loses_no_answer_the_first_time(
    service: FakeService, tmp_path: Path, interrupts: int
) -> None:
    service.default_script = RunScript(duration=100.0)
    service.faults.add(faults.delay(0.6), operation="runWorker")
    ledger = tmp_path / "runs.db"
    began = time.monotonic()

    def run(batch: Batch) -> None:
        with contextlib.suppress(ConfigurationError):  # The batch is closed meanwhile.
            list(batch.run())

    def leave() -> None:
        with CoreClaw(service.api_key, transport=service) as client, client.batch("nightly", ledger=ledger) as batch:
            batch.plan(specs(2))
            threading.Thread(target=run, args=(batch,), daemon=True).start()
            wait_until(lambda: service.runs_created, "the start")
            began_to_leave.append(time.monotonic())

    began_to_leave: list[float] = []
    with contextlib.ExitStack() as stack:
        for number in range(interrupts):
            pause = 0.1 * (number + 1)
            stack.enter_context(
                interrupt_once(lambda pause=pause: began_to_leave and time.monotonic() > began_to_leave[0] + pause)  # type: ignore[misc]
            )
        with pytest.raises(KeyboardInterrupt):
            leave()
    took = time.monotonic() - began
    with CoreClaw(service.api_key, transport=service) as client, client.batch("nightly", ledger=ledger) as batch:
        items = [batch.get("k0"), batch.get("k1")]

    assert service.runs_created == 1
    assert items[1].state is BatchItemState.PLANNED
    if interrupts == 1:
        assert (items[0].state, items[0].run_id) == (BatchItemState.SUBMITTED, next(iter(service.runs)))
        assert took >= 0.5
    else:
        assert items[0].state in {BatchItemState.INTENT, BatchItemState.SUBMITTED}, "the next run settles it"


def test_an_opening_that_is_interrupted_leaves_nothing_behind(service: FakeService, tmp_path: Path) -> None:
    before = threading.active_count()
    with CoreClaw(service.api_key, transport=service) as client:
        client.account.get()
        for delay in range(12):
            batch = client.batch("nightly", ledger=tmp_path / "runs.db")
            looks = iter(range(delay))
            try:
                with interrupt_once(lambda looks=looks: next(looks, None) is None), batch:  # type: ignore[misc]
                    batch.report()
            except KeyboardInterrupt:
                continue

    wait_until(lambda: threading.active_count() <= before + 2, "the end of the loop's worker threads")
