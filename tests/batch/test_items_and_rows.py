"""All items and rows of a batch can be read at any time, whoever has taken their outcomes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from batch.batches import WORKER, finish, opened, specs

from coreclaw_async import (
    AsyncBatch,
    BatchIncompleteError,
    BatchItemState,
    BatchOutcome,
    CoreClaw,
    LedgerError,
    NotFoundError,
    PaginationError,
    RunSpec,
)
from coreclaw_async.testing import FakeService, RunScript, faults


async def test_items_come_in_the_order_of_the_plan_with_all_that_is_known(service: FakeService, ledger: str) -> None:
    service.detail_err_msg = True
    service.next_script = RunScript(outcome="failed", error_message="blocked")
    async with opened(service, ledger, count=3) as batch:
        before = await batch.items().collect()
        await finish(batch)
        await batch.plan([RunSpec(key="later", worker_id="someone/else", input={})])
        items = await batch.items().collect()
        failed = await batch.items(state="failed").collect()
        ended = await batch.items(state=["done", BatchItemState.FAILED]).collect()
        others = await batch.items(worker_id="someone/else").collect()
        none = await batch.items(state="rejected").first()

    assert [(item.key, item.state) for item in before] == [("k0", "planned"), ("k1", "planned"), ("k2", "planned")]
    assert [(item.key, item.state) for item in items] == [
        ("k0", "failed"), ("k1", "done"), ("k2", "done"), ("later", "planned"),
    ]  # fmt: skip
    assert [(item.key, item.error) for item in failed] == [("k0", "blocked")]
    assert [item.key for item in ended] == ["k0", "k1", "k2"]
    assert [item.key for item in others] == ["later"]
    assert none is None
    run = service.runs[str(items[1].run_id)]
    assert items[1].submitted_at is not None
    assert items[1].ended_at is not None
    assert items[1].submitted_at == pytest.approx(run.created_at, abs=1)
    assert run.ended_after is not None
    assert run.created_at + run.ended_after <= items[1].ended_at <= service.clock.time()


async def test_more_items_than_one_page_holds_come_once_each(service: FakeService, ledger: str) -> None:
    async with opened(service, ledger, count=2_345) as batch:
        pages = [page async for page in batch.items().pages()]

    keys = [item.key for page in pages for item in page.items]
    assert keys == [f"k{number}" for number in range(2_345)]
    assert max(len(page.items) for page in pages) == 100


@pytest.mark.endurance
async def test_an_outcome_that_nobody_took_is_among_the_items(service: FakeService, tmp_path: Path) -> None:
    ledger = f"sqlite:///{tmp_path / 'runs.db'}"
    async with opened(service, ledger, count=20) as batch:
        async for _ in batch.run(output=tmp_path):
            await service.clock.sleep(1_000)  # The consumer is slow, and is killed.
            break
    async with opened(service, ledger) as batch:
        items = await batch.items(state="done").collect()
        rows = await batch.rows().collect()

    assert len(items) == 20
    assert all(item.path is not None and item.path.is_file() and item.row_count == 3 for item in items)
    assert len(rows) == 60


async def test_rows_come_from_the_files_or_else_from_the_service(
    service: FakeService, ledger: str, tmp_path: Path
) -> None:
    service.default_script = RunScript(rows=[{"a": 1}, {"a": [2, None]}], row_ids=False)
    async with opened(service, ledger, count=3) as batch:
        await finish(batch, output=tmp_path)
        before = len(service.requests)
        rows = await batch.rows().collect()
        assert len(service.requests) == before
        item = await batch.get("k1")
        assert item.path is not None
        item.path.unlink()
        again = await batch.rows().collect()

    assert rows == [(f"k{number}", row) for number in range(3) for row in ({"a": 1}, {"a": [2, None]})]
    assert again == rows


async def test_rows_of_long_files_and_of_empty_ones_come_whole(service: FakeService, tmp_path: Path) -> None:
    service.next_script = RunScript(rows=0)
    service.default_script = RunScript(rows=2_500)
    async with opened(service, "memory", count=2) as batch:
        await finish(batch, output=tmp_path)
        rows = await batch.rows().collect()

    assert len(rows) == 2_500
    assert {key for key, _ in rows} == {"k1"}


@pytest.mark.parametrize(
    ("damage", "how"),
    [
        (lambda lines: lines[:1_700], "has 1,700 rows, not the 2,500 that were written"),
        (lambda lines: lines * 2, "has 5,000 rows, not the 2,500 that were written"),
        (lambda lines: [], "has 0 rows, not the 2,500 that were written"),
        (lambda lines: [*lines[:-1], lines[-1][:-5]], "has a line that is not a row"),
        (lambda lines: [*lines[:1_200], b"[1]\n", *lines[1_201:]], "has a line that is not a row"),
    ],
)
async def test_a_damaged_file_is_never_taken_for_the_rows_of_its_item(
    service: FakeService, tmp_path: Path, damage: Callable[[list[bytes]], list[bytes]], how: str
) -> None:
    service.default_script = RunScript(rows=2_500)
    async with opened(service, "memory", count=1) as batch:
        await finish(batch, output=tmp_path)
        item = await batch.get("k0")
        assert item.path is not None
        item.path.write_bytes(b"".join(damage(item.path.read_bytes().splitlines(keepends=True))))
        pager = batch.rows()
        with pytest.raises(PaginationError, match=how) as raised:
            await pager.collect()
        with pytest.raises(PaginationError, match=how):  # No page is left out by asking again.
            await pager.collect()
        item.path.unlink()
        with pytest.raises(PaginationError, match=f"was removed while it was read.*{item.run_id}"):
            await pager.collect()
        again = await batch.rows().collect()

    assert (raised.value.run_id, raised.value.expected) == (item.run_id, 2_500)
    assert str(item.path) in str(raised.value)
    assert len(again) == 2_500


async def test_rows_of_failed_runs_are_there_for_whoever_asks(service: FakeService) -> None:
    service.default_script = RunScript(outcome="failed", rows=2)
    async with opened(service, "memory", count=1) as batch:
        await batch.plan([RunSpec(key="bad", worker_id=WORKER, input={"keywords": 5})])
        await finish(batch)
        assert await batch.rows().collect() == []
        rows = await batch.rows(state=None).collect()

    assert [key for key, _ in rows] == ["k0", "k0"]


@pytest.mark.parametrize("state", ["finished", ["done", "nothing"], []])
async def test_a_state_that_there_is_not_is_an_error(service: FakeService, state: object) -> None:
    async with opened(service, "memory") as batch:
        for method in (batch.items, batch.rows):
            with pytest.raises(ValueError, match="state must"):
                method(state=state)  # type: ignore[arg-type]


@pytest.mark.endurance
async def test_files_are_written_later_for_what_ended_without(
    service: FakeService, ledger: str, tmp_path: Path
) -> None:
    service.next_script = RunScript(outcome="failed", rows=0)
    async with opened(service, ledger, count=30) as batch:
        await finish(batch)
        assert await finish(batch, output=tmp_path / "rows") == []
        items = await batch.items().collect()

    assert [item.path is not None for item in items] == [False, *[True] * 29]
    assert len(list((tmp_path / "rows").glob("part-*.jsonl"))) == 29
    assert service.runs_created == 30


async def test_files_that_cannot_be_written_later_are_told(service: FakeService, tmp_path: Path) -> None:
    async with opened(service, "memory", count=2, patience=60.0) as batch:
        await finish(batch)
        service.faults.add(faults.error(60001, 404), operation="listWorkerRunResults", times=1_000)
        with pytest.raises(
            BatchIncompleteError, match=r"rows are missing; 'k[01]': its rows could not be read"
        ) as caught:
            await finish(batch, output=tmp_path)
        service.faults.clear()
        await finish(batch, output=tmp_path)

    assert set(caught.value.reasons) == {"k0", "k1"}
    assert len(list(tmp_path.glob("part-*.jsonl"))) == 2


@pytest.mark.endurance
async def test_what_is_planned_while_the_batch_runs_is_started(service: FakeService, ledger: str) -> None:
    async with opened(service, ledger, count=3) as batch:
        keys: list[str] = []
        async for outcome in batch.run():
            keys.append(outcome.key)
            if len(keys) < 10:
                await batch.plan(specs(1, first=len(keys) + 2))
            if len(keys) == 5:
                await batch.plan([RunSpec(key="other", worker_id="someone/else", input={})])

    assert sorted(keys, key=str) == sorted([*(f"k{number}" for number in range(12)), "other"], key=str)


@pytest.mark.endurance
async def test_what_another_process_has_started_is_waited_for(service: FakeService, ledger: str) -> None:
    if ledger == "memory":
        pytest.skip("a ledger in memory has one process")
    if ledger.startswith("postgresql"):
        pytest.skip("the virtual clock runs on while Postgres answers, so the runs may end before the second one looks")
    service.default_script = RunScript(duration=500)
    async with opened(service, ledger, count=4) as first, opened(service, ledger) as second:
        outcomes: list[BatchOutcome] = []

        async def work(batch: AsyncBatch) -> None:
            outcomes.extend(await finish(batch))

        async with anyio.create_task_group() as group:
            group.start_soon(work, first)
            await service.clock.sleep(20)
            group.start_soon(work, second)

    assert len(outcomes) == 8, "each process tells of each"
    assert {outcome.state for outcome in outcomes} == {BatchItemState.DONE}
    assert service.runs_created == 4


def test_the_blocking_batch_has_items_and_rows_too(tmp_path: Path) -> None:
    service = FakeService()
    with (
        CoreClaw(service.api_key, transport=service, clock=service.clock) as client,
        client.batch("nightly", ledger="memory") as batch,
    ):
        batch.plan(specs(3))
        list(batch.run(output=tmp_path))
        assert [item.key for item in batch.items(state="done")] == ["k0", "k1", "k2"]
        assert len(batch.rows().collect()) == 9
        batch.pause()
        assert batch.report().is_paused
        batch.resume()


async def test_items_need_an_open_batch(service: FakeService) -> None:
    async with opened(service, "memory") as batch:
        pager = batch.items()
    with pytest.raises(RuntimeError, match="not open"):
        batch.items()
    with pytest.raises(LedgerError, match="closed"):
        await pager.first()


async def test_plans_that_are_made_at_once_give_each_item_a_place_of_its_own(service: FakeService, ledger: str) -> None:
    if ledger == "memory":
        pytest.skip("a ledger in memory has one process")
    async with opened(service, ledger, count=1) as first, opened(service, ledger) as second:

        async def slowly(number: int) -> AsyncIterator[RunSpec]:
            for spec in specs(600, first=1_000 * number):
                await anyio.lowlevel.checkpoint()
                yield spec

        async with anyio.create_task_group() as group:
            group.start_soon(first.plan, slowly(1))
            group.start_soon(second.plan, slowly(2))
        items = await first.items().collect()
        shards = await first.shards(100)

    assert len({item.key for item in items}) == len(items) == 1_201
    assert sorted(item.position for item in items) == list(range(1_201))
    assert sum(shard.last - shard.first + 1 for shard in shards) == 1_201


async def test_two_iterators_at_once_share_the_outcomes_and_both_end(service: FakeService) -> None:
    seen: list[list[str]] = [[], []]
    async with opened(service, "memory", count=40) as batch:

        async def iterate(keys: list[str]) -> None:
            keys.extend([outcome.key async for outcome in batch.run()])

        async with anyio.create_task_group() as group:
            for keys in seen:
                group.start_soon(iterate, keys)

    assert sorted(seen[0] + seen[1]) == sorted(f"k{number}" for number in range(40))


async def test_what_is_left_open_is_told_to_each_iterator(service: FakeService, tmp_path: Path) -> None:
    service.faults.add(faults.error(60001, 404), operation="listWorkerRunResults", times=1_000)
    told: list[str] = []
    async with opened(service, "memory", count=3) as batch:

        async def iterate() -> None:
            try:
                async for _ in batch.run(output=tmp_path):
                    pass
            except BatchIncompleteError as error:
                told.append(str(error))

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(iterate)

    assert len(told) == 3


async def test_files_that_are_gone_are_written_again(service: FakeService, tmp_path: Path) -> None:
    async with opened(service, "memory", count=5) as batch:
        outcomes = await finish(batch, output=tmp_path)
        for outcome in outcomes[:3]:
            assert outcome.path is not None
            outcome.path.unlink()
        await finish(batch, output=tmp_path)

    assert len(list(tmp_path.glob("part-*.jsonl"))) == 5
    assert service.runs_created == 5


async def test_rows_go_into_a_folder_that_is_named(service: FakeService) -> None:
    async with opened(service, "memory", count=1) as batch:
        with pytest.raises(ValueError, match="output must name a folder, not ''"):
            batch.run(output="")


async def test_an_iterator_that_has_ended_goes_on_with_what_is_planned_then(service: FakeService) -> None:
    async with opened(service, "memory", count=1) as batch:
        stream = batch.run()
        assert [outcome.key async for outcome in stream] == ["k0"]
        await batch.plan(specs(1, first=1))
        assert [outcome.key async for outcome in stream] == ["k1"]


async def test_after_an_error_rows_go_on_with_the_item_that_could_not_be_read(service: FakeService) -> None:
    async with opened(service, "memory", count=3) as batch:
        await finish(batch)
        rows = batch.rows()
        service.faults.add(faults.error(70001, 404), operation="getWorkerRun", after=1)
        with pytest.raises(NotFoundError):
            await rows.collect()
        keys = [key for key, _ in await rows.collect()]

    assert keys == ["k0"] * 3 + ["k1"] * 3 + ["k2"] * 3
