"""The report of a part of a batch is complete: counts, money, and why something is left."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import attrs
import pytest
from batch.batches import WORKER, opened, runs_by_key, specs
from interrupting import cancelling_once

from coreclaw_async import (
    AsyncBatch,
    AsyncCoreClaw,
    BatchIncompleteError,
    BatchStoppedError,
    LedgerError,
    RunSpec,
    Shard,
    ShardReport,
    ShardSpec,
)
from coreclaw_async.batch._store.address import is_postgres
from coreclaw_async.batch._store.lookup import batches_in
from coreclaw_async.distributed.shards import ShardOptions, run_with
from coreclaw_async.testing import FakeService, RunScript, faults

ROWS = "listWorkerRunResults"


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'runs.db'}"


@pytest.fixture
async def client(service: FakeService) -> AsyncIterator[AsyncCoreClaw]:
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        yield client


async def plan(service: FakeService, ledger: str, count: int = 3) -> None:
    async with opened(service, ledger, count=count):
        pass


def report(**changes: Any) -> ShardReport:
    told: dict[str, Any] = {"batch": "b", "counts": {"done": 1}, "runs": 1, "result_count": 2, "cost": Decimal(3)}
    told |= {"unknown_rows": 0, "unknown_costs": 0, "requests": 4, "wasted": 0, "seconds": 0.5}
    return ShardReport(**{**told, **changes})


async def test_rows_that_cannot_be_read_leave_a_reason_and_nothing_that_looks_finished(
    service: FakeService, client: AsyncCoreClaw, ledger: str, tmp_path: Path
) -> None:
    await plan(service, ledger)
    service.faults.add(faults.error(10000, 500), operation=ROWS, times=100_000)
    told = await run_with(client, ShardSpec(batch="nightly", ledger=ledger, output=tmp_path / "out", patience=60.0))

    assert told.open_counts == {"submitted": 3}
    assert set(told.reasons) == {"k0", "k1", "k2"}
    assert all("its rows could not be read" in reason for reason in told.reasons.values())
    assert not told.is_finished
    with pytest.raises(BatchIncompleteError, match=r"not complete: 3 submitted; 'k\d': its rows could not") as caught:
        told.check()
    assert not isinstance(caught.value, BatchStoppedError)
    assert (caught.value.counts, set(caught.value.reasons)) == ({"submitted": 3}, {"k0", "k1", "k2"})

    service.faults.clear()
    again = await run_with(client, ShardSpec(batch="nightly", ledger=ledger, output=tmp_path / "out"))
    assert again.check() is again
    assert again.counts["done"] == 3
    assert set(runs_by_key(service).values()) == {1}


async def test_rows_of_an_item_that_is_done_and_cannot_be_written_later_are_told(
    service: FakeService, client: AsyncCoreClaw, ledger: str, tmp_path: Path
) -> None:
    await plan(service, ledger)
    done = await run_with(client, ShardSpec(batch="nightly", ledger=ledger))
    service.faults.add(faults.error(70001, 404), operation=ROWS, times=100_000)
    told = await run_with(client, ShardSpec(batch="nightly", ledger=ledger, output=tmp_path))

    assert done.is_finished
    assert (told.open_counts, set(told.reasons), told.is_finished) == ({}, {"k0", "k1", "k2"}, False)
    with pytest.raises(BatchIncompleteError, match=r"not complete: rows are missing; 'k.'"):
        told.check()


@pytest.mark.parametrize(
    ("operation", "fault", "words"),
    [
        ("runWorker", faults.error(12002, 401), "AuthenticationError"),
        ("listWorkerRuns", faults.error(12002, 401), "AuthenticationError"),
        ("listWorkerRuns", faults.error(10000, 500), "ServiceError"),
        ("listWorkerRuns", faults.refuse_connection(), "RequestNotSentError"),
        ("runWorker", faults.refuse_connection(), "RequestNotSentError"),
    ],
)
async def test_what_ends_a_part_before_its_time_is_told_with_the_counts(
    service: FakeService, client: AsyncCoreClaw, ledger: str, operation: str, fault: faults.Fault, words: str
) -> None:
    await plan(service, ledger)
    service.faults.add(fault, operation=operation, times=100_000)
    told = await run_with(client, ShardSpec(batch="nightly", ledger=ledger, patience=20.0))

    assert (told.open_counts, told.is_finished) == ({"planned": 3}, False)
    assert words in (told.error or "")
    with pytest.raises(BatchIncompleteError, match=f"3 planned; .*{words}"):
        told.check()


async def test_a_file_that_cannot_be_written_is_told_with_the_counts(
    service: FakeService, client: AsyncCoreClaw, ledger: str, tmp_path: Path
) -> None:
    await plan(service, ledger)
    (tmp_path / "out").write_text("a file, no folder")
    told = await run_with(client, ShardSpec(batch="nightly", ledger=ledger, output=tmp_path / "out"))

    assert "FileExistsError" in (told.error or "")
    assert (told.open_counts, service.runs_created) == ({"planned": 3}, 0)


async def test_a_part_that_its_ledger_does_not_know_is_an_error(
    service: FakeService, client: AsyncCoreClaw, ledger: str, tmp_path: Path
) -> None:
    await plan(service, ledger)
    others = [
        ShardSpec(batch="nigthly", ledger=ledger),
        ShardSpec(batch="nightly", ledger=tmp_path / "other.db"),
        ShardSpec(batch="nightly", ledger=ledger, shard=Shard(first=3, last=9)),
        ShardSpec(batch="nightly", ledger=ledger, shard=Shard(worker_id="another/worker")),
    ]
    for spec in others:
        with pytest.raises(LedgerError, match=f"has no items of batch {spec.batch!r}.*, so nothing was run"):
            await run_with(client, spec)
    assert service.runs_created == 0
    if not is_postgres(ledger):  # Nothing was made of what was mistyped.
        assert await batches_in(ledger) == ["nightly"]
    assert not (tmp_path / "other.db").exists()


async def test_a_plan_that_broke_off_is_told(service: FakeService, client: AsyncCoreClaw, ledger: str) -> None:
    def broken() -> Iterator[RunSpec]:
        yield from specs(3)
        raise ZeroDivisionError

    await plan(service, ledger)
    async with opened(service, ledger) as batch:
        with pytest.raises(ZeroDivisionError):
            await batch.plan(broken())
    told = await run_with(client, ShardSpec(batch="nightly", ledger=ledger))

    assert (told.open_counts, told.reasons, told.is_finished) == ({}, {}, False)
    with pytest.raises(BatchIncompleteError, match="its plan is incomplete"):
        told.check()


async def test_a_budget_that_is_used_up_is_told(service: FakeService, client: AsyncCoreClaw, ledger: str) -> None:
    service.default_script = RunScript(usage="1", rows=1)
    service.balance = Decimal(1_000)
    await plan(service, ledger, 10)
    told = await run_with(client, ShardSpec(batch="nightly", ledger=ledger, max_spend=Decimal("3.5")))

    assert (told.stopped, told.cost, told.open_counts) == ("max_spend", Decimal(3), {"planned": 7})
    with pytest.raises(BatchStoppedError, match="budget does not cover another run; 3 items are done") as caught:
        told.check()
    assert (caught.value.left, caught.value.spent, caught.value.counts) == (7, Decimal(3), {"planned": 7})
    again = await run_with(client, ShardSpec(batch="nightly", ledger=ledger))
    assert (again.stopped, again.runs) == ("max_spend", 3)
    last = await run_with(client, ShardSpec(batch="nightly", ledger=ledger, max_spend=Decimal(10)))
    assert last.check().cost == Decimal(10)


async def test_what_is_open_beside_a_budget_that_is_used_up_is_counted(
    service: FakeService, ledger: str, tmp_path: Path
) -> None:
    service.default_script = RunScript(usage="1", rows=1)
    service.faults.add(faults.error(70001, 404), operation=ROWS, times=100_000)
    async with opened(service, ledger, count=10, max_spend=Decimal("3.5")) as batch:
        with pytest.raises(BatchStoppedError) as caught:
            async for _ in batch.run(output=tmp_path / "out"):
                pass

    left = caught.value.counts
    assert left == {"planned": 9, "submitted": 1}
    assert set(caught.value.reasons) == {"k0"}


async def test_what_the_service_does_not_tell_of_costs_is_counted(
    service: FakeService, client: AsyncCoreClaw, ledger: str
) -> None:
    def without(envelope: dict[str, Any]) -> dict[str, Any]:
        data = envelope["data"]
        for run in data.get("list", [data]):
            run["usage"] = None
        return envelope

    for operation in ("getWorkerRun", "listWorkerRuns"):
        service.faults.add(faults.edit(without), operation=operation, times=100_000)
    await plan(service, ledger)
    told = await run_with(client, ShardSpec(batch="nightly", ledger=ledger))

    assert (told.cost, told.unknown_costs, told.counts["done"], told.is_finished) == (Decimal(0), 3, 3, True)


def test_reports_add_up_exactly() -> None:
    first = report(
        cost=Decimal("1e30"), counts={"done": 1, "planned": 2}, unknown_costs=1, unknown_rows=2, reasons={"a": "x"}
    )
    second = report(
        cost=Decimal("1e-30"), counts={"done": 3, "failed": 1}, unknown_costs=2, unknown_rows=3, error="it broke"
    )
    with localcontext(prec=3):
        total = first + second

    assert total.cost == Decimal("1000000000000000000000000000000.000000000000000000000000000001")
    assert dict(total.counts) == {"done": 4, "planned": 2, "failed": 1}
    assert (total.runs, total.result_count, total.unknown_costs, total.requests, total.seconds) == (2, 4, 3, 8, 1.0)
    assert total.unknown_rows == 5
    assert (total.reasons, total.error, total.stopped) == ({"a": "x"}, "it broke", None)
    assert not total.is_finished


def test_added_reports_keep_a_hundred_reasons() -> None:
    first, second = (report(reasons={f"{part}{n}": "x" for n in range(70)}) for part in "ab")

    assert list((first + second).reasons) == [f"a{n}" for n in range(70)] + [f"b{n}" for n in range(30)]


def test_only_reports_of_one_batch_can_be_added() -> None:
    with pytest.raises(ValueError, match="reports of different batches cannot be added: 'b' and 'c'"):
        report() + report(batch="c")
    with pytest.raises(TypeError):
        report() + 1  # type: ignore[operator]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"error": "OSError: full"}, "a part of it has failed; OSError: full; 1 item is done, 1 run has cost 3 US"),
        ({"counts": {"intent": 2}, "unknown_costs": 1}, "2 intent; 0 items .* 1 run has cost at least 3 US dollars"),
        (
            {"counts": {"done": 2}, "runs": 2, "cost": Decimal(0), "unknown_costs": 1, "error": "x"},
            "2 items are done, 2 runs have cost an unknown amount",
        ),
        ({"counts": {"submitted": 1}, "stopped": "balance"}, "1 submitted; the balance does not cover"),
    ],
)
def test_what_is_not_finished_is_an_error_where_one_is_asked_for(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(BatchIncompleteError, match=words) as caught:
        report(**changes).check()
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.counts, again.reasons, str(again)) == (caught.value.counts, caught.value.reasons, str(caught.value))


def taken_by(function: Callable[..., object]) -> set[str]:
    return set(inspect.signature(function).parameters) - {"self"}


def test_a_part_takes_all_that_a_batch_and_its_run_take() -> None:
    members = {field.name for field in attrs.fields(ShardSpec)}
    everything = taken_by(AsyncCoreClaw.batch) | taken_by(AsyncBatch.run)

    # Nobody looks at a terminal of a worker; `run_shard` hands on events.
    assert members == (everything - {"name", "width", "progress"}) | {"batch", "base_url"}
    assert set(ShardOptions.__annotations__) == members - {"batch", "shard"}


async def test_each_member_of_a_part_reaches_its_batch(
    service: FakeService, client: AsyncCoreClaw, ledger: str
) -> None:
    await plan(service, ledger)
    wrong: dict[str, Any] = {
        "on_ambiguous": "guess", "settle_times": 5, "max_spend": Decimal(-1), "patience": -1.0, "ledger": "mysql://x",
        "batch": "", "account": "",
    }  # fmt: skip
    for name, value in wrong.items():
        with pytest.raises((ValueError, TypeError), match="key" if name == "batch" else name):
            await run_with(client, ShardSpec(**{"batch": "nightly", "ledger": ledger, name: value}))
    with pytest.raises(ValueError, match="max_in_flight must be 1 or more, not 0"):
        ShardSpec(batch="nightly", ledger=ledger, max_in_flight=0)
    with pytest.raises(TypeError, match=r"max_in_flight must be an int, not 1\.5"):
        ShardSpec(batch="nightly", ledger=ledger, max_in_flight=1.5)  # type: ignore[arg-type]
    assert not service.requests


async def test_a_part_does_not_wait_for_items_of_another_part(
    service: FakeService, client: AsyncCoreClaw, ledger: str, tmp_path: Path
) -> None:
    """Its start queue is shared, so it settles their lost starts, but does not follow those runs."""
    await plan(service, ledger, 2)
    service.default_script = RunScript(rows=1, duration=50_000)
    service.faults.add(faults.commit_then_drop(), operation="runWorker", times=1)
    lost = ShardSpec(batch="nightly", ledger=ledger, shard=Shard(first=0, last=0), exclusive=True)
    async with cancelling_once(lambda: service.runs_created) as scope:
        with scope:
            async with AsyncCoreClaw(service.api_key, transport=service) as impatient:
                await run_with(impatient, lost)
    service.default_script = RunScript(rows=1, duration=1)
    began = service.clock.monotonic()
    told = await run_with(client, attrs.evolve(lost, shard=Shard(first=1, last=1)))

    assert (told.counts["done"], told.is_finished) == (1, True)
    assert service.clock.monotonic() - began < 10_000
    async with opened(service, ledger) as batch:
        assert (await batch.get("k0")).state == "submitted"


async def test_parts_with_rows_that_nobody_has_written_are_found(
    service: FakeService, ledger: str, tmp_path: Path
) -> None:
    async with opened(service, ledger, count=4) as batch:
        await batch.plan([RunSpec(key="bad", worker_id=WORKER, input={"keywords": 5})])
        async for _ in batch.run():
            pass
        await batch.plan(specs(2, first=10))
        assert [(one.first, one.last) for one in await batch.shards(2)] == [(5, 6)]
        shards = await batch.shards(2, unwritten=True)
        assert [(one.first, one.last) for one in shards] == [(0, 1), (2, 3), (5, 6)]
        async for _ in batch.run(output=tmp_path / "out"):
            pass
        assert await batch.shards(2, unwritten=True) == []
