"""Plans are read in chunks of bounded size, and any process can tell a plan that broke off from a whole one."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import textwrap
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from batch.batches import WORKER, finish, opened, specs
from waiting import next_line

from coreclaw_async import (
    AsyncBatch,
    AsyncCoreClaw,
    Batch,
    BatchConflictError,
    BatchIncompleteError,
    BatchItemState,
    CoreClaw,
    RunSpec,
)
from coreclaw_async.batch import Shard
from coreclaw_async.batch._ledger.batch_ledger import BatchLedger
from coreclaw_async.batch._ledger.ownership import Owner
from coreclaw_async.batch._ledger.plans import add_items
from coreclaw_async.batch._specs import PlannedSpec
from coreclaw_async.batch._store.address import database_at
from coreclaw_async.testing import FakeService

MEGABYTE = 2**20


def large(count: int, size: int = MEGABYTE) -> Iterator[RunSpec]:
    """Yield specs with inputs of so many bytes, none of which is kept."""
    for number in range(count):
        yield RunSpec(key=f"k{number}", worker_id=WORKER, input={"keywords": [f"{number}", "x" * size]})


def breaking(good: int, error: BaseException) -> Iterator[RunSpec]:
    """Yield *good* specs, and then raise *error*."""
    yield from specs(good)
    raise error


async def is_half_planned(batch: AsyncBatch) -> bool:
    told = await batch._batch_context.ledger.is_half_planned()
    assert (await batch.report()).is_half_planned is told
    return told


def mark_in(path: Path) -> bool | None:
    """Return the mark as any other process sees it; None where there is no batch."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT is_half_planned FROM batch").fetchall()
    return bool(rows[0][0]) if rows else None


def items_in(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT COUNT(*) FROM item").fetchone()[0])


@pytest.mark.endurance
async def test_a_batch_without_a_plan_and_one_with_a_whole_one_are_not_half_planned(
    service: FakeService, ledger: str
) -> None:
    async with opened(service, ledger) as batch:
        assert not await is_half_planned(batch)
        for count in (0, 3, 3, 1_000, 2_500):
            await batch.plan([*specs(count), *specs(count)])
            assert not await is_half_planned(batch)


@pytest.mark.endurance
@pytest.mark.parametrize("good", [0, 3, 1_000, 1_500])
async def test_a_plan_whose_iterable_breaks_is_half_a_plan_until_a_whole_one_is_made(
    service: FakeService, ledger: str, good: int
) -> None:
    async with opened(service, ledger) as batch:
        with pytest.raises(LookupError, match="no more"):
            await batch.plan(breaking(good, LookupError("no more")))
        assert await is_half_planned(batch)
        assert (await batch.report()).total == good // 1_000 * 1_000
        with pytest.raises(LookupError):
            await batch.plan(breaking(good, LookupError("again")))
        assert await is_half_planned(batch)

    async with opened(service, ledger) as batch:  # Which makes a plan of no item.
        assert await is_half_planned(batch) is (ledger != "memory")
        assert await batch.plan(specs(1_500)) in {500, 1_500}
        assert not await is_half_planned(batch)


@pytest.mark.parametrize("last", [RunSpec(key="k", worker_id="", input={}), "no spec"])
async def test_a_plan_with_a_bad_spec_is_half_a_plan(service: FakeService, last: RunSpec) -> None:
    async with opened(service, "memory") as batch:
        with pytest.raises((ValueError, TypeError)):
            await batch.plan([*specs(1_001), last])
        assert await is_half_planned(batch)
        assert (await batch.report()).total == 1_000


async def test_a_plan_with_a_conflict_is_half_a_plan(service: FakeService, ledger: str) -> None:
    async with opened(service, ledger, count=1) as batch:
        with pytest.raises(BatchConflictError):
            await batch.plan([*specs(1_200, first=1), RunSpec(key="k0", worker_id=WORKER, input={})])
        assert await is_half_planned(batch)
        assert await batch.plan(specs(1_201)) == 200
        assert not await is_half_planned(batch)


async def test_a_cancelled_plan_is_half_a_plan(service: FakeService, ledger: str) -> None:
    async with opened(service, ledger) as batch:
        with anyio.move_on_after(60) as scope:

            async def slow() -> AsyncIterator[RunSpec]:
                for spec in specs(1_001):
                    yield spec
                scope.cancel()
                await anyio.sleep_forever()

            await batch.plan(slow())
        assert scope.cancelled_caught
        assert await is_half_planned(batch)


async def test_others_see_the_mark_before_the_first_item_and_until_the_last(
    service: FakeService, tmp_path: Path
) -> None:
    path = tmp_path / "runs.db"
    seen: list[tuple[int, bool | None, int]] = []

    async def watched() -> AsyncIterator[RunSpec]:
        for number, spec in enumerate(specs(2_500)):
            if number % 1_000 in {0, 999}:
                seen.append((number, mark_in(path), items_in(path)))
            yield spec

    async with opened(service, f"sqlite:///{path}") as batch:
        assert mark_in(path) is False
        await batch.plan(watched())
        assert (mark_in(path), items_in(path)) == (False, 2_500)

    assert seen == [(n, True, n // 1_000 * 1_000) for n in (0, 999, 1_000, 1_999, 2_000)]


async def test_a_plan_that_goes_on_marks_what_another_whole_one_has_cleared(service: FakeService, ledger: str) -> None:
    marks: list[bool] = []
    async with opened(service, ledger) as batch:

        async def meanwhile() -> AsyncIterator[RunSpec]:
            for number, spec in enumerate(specs(2_001)):
                if number == 500:
                    await batch.plan(specs(1, first=5_000))
                if number == 1_500:
                    marks.append(await is_half_planned(batch))
                yield spec

        assert await batch.plan(meanwhile()) == 2_001
        assert marks == [True]
        assert not await is_half_planned(batch)


async def test_the_mark_is_one_batchs(service: FakeService, tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with (
        opened(service, f"sqlite:///{path}") as batch,
        AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client,
        client.batch("another", ledger=path) as other,
    ):
        with pytest.raises(LookupError):
            await batch.plan(breaking(1, LookupError()))
        await other.plan(specs(1))
        assert (await is_half_planned(batch), await is_half_planned(other)) == (True, False)


@pytest.mark.endurance
async def test_keys_that_two_plans_bring_at_the_same_time_are_added_once(service: FakeService, ledger: str) -> None:
    added: list[int] = []
    async with opened(service, ledger) as batch, anyio.create_task_group() as group:

        async def plan(first: int) -> None:
            added.append(await batch.plan(specs(1_500, first=first)))

        group.start_soon(plan, 0)
        group.start_soon(plan, 500)
        group.start_soon(plan, 700)
    assert sum(added) == 2_200


async def test_of_two_inputs_that_come_for_a_key_at_the_same_time_one_is_a_conflict(
    service: FakeService, tmp_path: Path
) -> None:
    """Both have seen that there is no such key when they write."""
    path = tmp_path / "runs.db"
    async with opened(service, f"sqlite:///{path}") as batch:
        account = batch._batch_context.ledger.account
        outcomes: list[object] = []
        databases = [database_at(path), database_at(path)]
        books = [
            BatchLedger(database, "nightly", Owner(account=account, of_key=account), Shard()) for database in databases
        ]
        for book in books:
            await book.open(service.clock)

        async def plan(book: BatchLedger, number: int) -> None:
            chunk = [
                PlannedSpec.of(RunSpec(key=f"{number}", worker_id=WORKER, input={})),
                PlannedSpec.of(RunSpec(key="k", worker_id=WORKER, input={"keywords": [f"{number}"]})),
            ]
            try:
                outcomes.append(await add_items(book.database, book.batch, chunk, is_half_planned=False))
            except BatchConflictError as error:
                outcomes.append(error.key)

        async with anyio.create_task_group() as group:
            for number, book in enumerate(books):
                group.start_soon(plan, book, number)
        total = (await batch.report()).total
        for database in databases:
            await database.aclose()

    assert sorted(outcomes, key=str) == [2, "k"]
    assert total == 2


async def planned_peak(batch: AsyncBatch, count: int) -> int:
    """Return the most memory that a plan of so many megabytes takes, in bytes."""
    tracemalloc.start()
    try:
        assert await batch.plan(large(count)) == count
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.endurance
@pytest.mark.parametrize("ledger", ["sqlite", "postgres"], indirect=True)
async def test_large_inputs_are_kept_a_few_megabytes_at_a_time(service: FakeService, ledger: str) -> None:
    async with opened(service, ledger) as batch:
        peak = await planned_peak(batch, 60)
        item = await batch.get("k59")

    assert peak < 25 * MEGABYTE
    assert item.position == 59


@pytest.mark.endurance
async def test_an_input_of_any_size_is_planned_and_run(service: FakeService, tmp_path: Path) -> None:
    async with opened(service, f"sqlite:///{tmp_path / 'runs.db'}") as batch:
        assert await batch.plan(large(3, 5 * MEGABYTE)) == 3
        outcomes = await finish(batch)

    assert {outcome.state for outcome in outcomes} == {BatchItemState.DONE}


@pytest.fixture
def blocking(service: FakeService, tmp_path: Path) -> Iterator[Batch]:
    with (
        CoreClaw(service.api_key, transport=service) as client,
        client.batch("nightly", ledger=tmp_path / "runs.db") as batch,
    ):
        yield batch


@pytest.mark.endurance
async def test_a_plan_lets_other_tasks_go_on_while_it_reads_its_specs(service: FakeService, ledger: str) -> None:
    taken = 0
    seen: list[int] = []

    def counting() -> Iterator[RunSpec]:
        nonlocal taken
        for spec in specs(900):
            taken += 1
            yield spec

    async def watch() -> None:
        while taken < 900:
            seen.append(taken)
            await anyio.sleep(0)

    async with opened(service, ledger, count=0) as batch, anyio.create_task_group() as group:
        group.start_soon(watch)
        await batch.plan(counting())

    # In each step of trio's loop the two take turns in any order, so one may see the same twice.
    assert len(set(seen)) >= 4


def test_a_blocking_plan_keeps_large_inputs_a_few_megabytes_at_a_time(blocking: Batch) -> None:
    tracemalloc.start()
    try:
        assert blocking.plan(large(60)) == 60
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 20 * MEGABYTE
    assert blocking.get("k59").position == 59


@pytest.mark.parametrize("error", [LookupError(), KeyboardInterrupt(), SystemExit()])
@pytest.mark.parametrize("good", [0, 3, 1_500])
def test_a_blocking_plan_that_breaks_is_half_a_plan_until_a_whole_one_is_made(
    blocking: Batch, tmp_path: Path, error: BaseException, good: int
) -> None:
    with pytest.raises(type(error)):
        blocking.plan(breaking(good, error))
    assert (mark_in(tmp_path / "runs.db"), blocking.report().is_half_planned) == (True, True)

    assert blocking.plan(specs(1_500)) in {500, 1_500}
    assert (mark_in(tmp_path / "runs.db"), blocking.report().is_half_planned) == (False, False)


def test_the_mark_of_a_blocking_plan_spans_all_of_its_chunks(blocking: Batch, tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    seen: list[tuple[bool | None, int]] = []

    def watched() -> Iterator[RunSpec]:
        for number, spec in enumerate(specs(2_500)):
            if number % 1_000 == 0:
                seen.append((mark_in(path), items_in(path)))
            yield spec

    assert blocking.plan(watched()) == 2_500
    assert seen == [(True, 0), (True, 1_000), (True, 2_000)]
    assert mark_in(path) is False


def test_a_blocking_plan_with_two_inputs_for_a_key_is_a_conflict(blocking: Batch) -> None:
    with pytest.raises(BatchConflictError, match="'k0' occurs twice"):
        blocking.plan([*specs(1), RunSpec(key="k0", worker_id=WORKER, input={})])


def test_a_blocking_plan_needs_an_open_batch(service: FakeService) -> None:
    with (
        CoreClaw(service.api_key, transport=service) as client,
        pytest.raises(RuntimeError, match="not open"),
    ):
        client.batch("nightly", ledger="memory").plan(specs(1))


PLANNER = textwrap.dedent(
    """
    import sys, time
    from coreclaw_async import CoreClaw, RunSpec
    from coreclaw_async.testing import FakeService

    def specs(good):
        for number in range(good):
            yield RunSpec(key=f"k{number}", worker_id="a/b", input={})
        print("ready", flush=True)
        time.sleep(60)

    service = FakeService()
    with CoreClaw("key", transport=service) as client, client.batch("nightly", ledger=sys.argv[1]) as batch:
        batch.plan(specs(int(sys.argv[2])))
    """
)


@pytest.mark.endurance
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
@pytest.mark.parametrize("good", [3, 1_500])
def test_a_process_that_ends_while_it_plans_leaves_half_a_plan(tmp_path: Path, end: signal.Signals, good: int) -> None:
    path = tmp_path / "runs.db"
    process = subprocess.Popen([sys.executable, "-c", PLANNER, str(path), str(good)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert next_line(process.stdout) == "ready\n"
        process.send_signal(end)
        assert process.wait(timeout=60) != 0
    finally:
        process.kill()
        process.communicate()

    assert (mark_in(path), items_in(path)) == (True, good // 1_000 * 1_000)


@pytest.mark.endurance
async def test_a_batch_whose_plan_broke_off_is_not_complete(service: FakeService, ledger: str) -> None:
    async with opened(service, ledger) as batch:
        await batch.plan(specs(1))
        with pytest.raises(ZeroDivisionError):
            await batch.plan(breaking(3, ZeroDivisionError()))
        with pytest.raises(BatchIncompleteError, match="its plan is incomplete"):
            await finish(batch)
        await batch.plan(specs(3))
        await finish(batch)

    assert service.runs_created == 3


async def test_a_run_waits_for_a_plan_that_is_under_way(service: FakeService) -> None:
    async def slowly() -> AsyncIterator[RunSpec]:
        for spec in specs(3):
            await service.clock.sleep(1_000)
            yield spec

    async with opened(service, "memory", count=1) as batch, anyio.create_task_group() as group:
        group.start_soon(batch.plan, slowly())
        outcomes = await finish(batch)

    assert {outcome.key for outcome in outcomes} == {"k0", "k1", "k2"}
