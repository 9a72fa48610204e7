"""A shard is a part of a batch that any process can run, any number of times."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import pytest
from batch.batches import WORKER, opened, runs_by_key, specs

from coreclaw_async import (
    RunSpec,
    SettleTimes,
    Shard,
    ShardReport,
    ShardSpec,
    events,
    run_shard,
    run_shard_async,
)
from coreclaw_async.testing import FakeService, RealClock, RunScript

QUICK = RunScript(rows=2, duration=0.0)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeService]:
    service = FakeService(clock=RealClock(), default_script=QUICK, balance=Decimal(1000))
    with service.serve() as server:
        monkeypatch.setenv("CORECLAW_API_KEY", service.api_key)
        monkeypatch.setenv("CORECLAW_BASE_URL", server.url)
        yield service


async def plan(service: FakeService, ledger: str, *, count: int = 10) -> list[Shard]:
    async with opened(service, ledger, count=count) as batch:
        await batch.plan(specs(5, service.add_worker("me/mine"), first=count))
        return await batch.shards(4)


async def test_shards_are_parts_of_one_worker_each(service: FakeService, ledger: str) -> None:
    shards = await plan(service, ledger)

    assert sorted((shard.first, shard.last) for shard in shards) == [(0, 3), (4, 7), (8, 9), (10, 13), (14, 14)]
    assert {shard.worker_id for shard in shards if shard.first < 10} == {WORKER}
    async with opened(service, "memory") as batch:
        assert await batch.shards(4) == []
        with pytest.raises(ValueError, match="size must be 1 or more, not 0"):
            await batch.shards(0)


@pytest.mark.parametrize("worker_id", ["coreclaw/google-maps-scraper", "coreclaw~google-maps-scraper"])
async def test_items_and_shards_have_the_name_of_their_worker_as_people_write_it(
    service: FakeService, tmp_path: Path, worker_id: str
) -> None:
    ledger = f"sqlite:///{tmp_path / 'runs.db'}"
    async with opened(service, ledger, count=0) as batch:
        await batch.plan([RunSpec(key="coffee", worker_id=worker_id, input={"keywords": ["coffee"]})])
        items = await batch.items(worker_id=worker_id).collect()
        assert [item.worker_id for item in (*items, await batch.get("coffee"))] == [WORKER, WORKER]
        assert items[0].to_dict()["worker_id"] == WORKER
    shard = Shard(first=0, last=0, worker_id=worker_id)
    assert shard.worker_id == WORKER
    report = await run_shard_async(ShardSpec(batch="nightly", ledger=ledger, shard=shard))

    assert report.counts["done"] == 1
    async with opened(service, ledger) as batch:
        assert (await batch.get("coffee")).worker_id == WORKER
        assert [run.state for run in await batch.history("coffee")] == ["done"]
        assert list((await batch.report()).by_worker) == [WORKER]


@pytest.mark.endurance
@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_shards_at_the_same_time_do_each_item_once(service: FakeService, tmp_path: Path) -> None:
    ledger = f"sqlite:///{tmp_path / 'runs.db'}"
    shards = await plan(service, ledger)
    parts = [
        ShardSpec(batch="nightly", ledger=ledger, shard=shard, output=str(tmp_path / "out"))
        for shard in [*shards, *shards]
    ]
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(run_shard, parts))
    total = sum(reports[1 : len(shards)], reports[0])

    assert set(runs_by_key(service).values()) == {1}
    assert len(runs_by_key(service)) == 15
    assert total.counts["done"] == total.runs == 15
    assert (total.result_count, total.cost, total.stopped) == (30, Decimal("0.030"), None)
    assert total.requests > 0
    assert total.seconds > 0
    assert len(list((tmp_path / "out").iterdir())) == 15


async def test_a_shard_leaves_the_others_alone(service: FakeService, tmp_path: Path) -> None:
    ledger = f"sqlite:///{tmp_path / 'runs.db'}"
    await plan(service, ledger)
    seen: list[events.Event] = []
    report = await run_shard_async(
        ShardSpec(batch="nightly", ledger=ledger, shard=Shard(first=3, last=11)), on_event=seen.append
    )

    assert set(runs_by_key(service)) == {f"k{number}" for number in range(3, 12)}
    assert (report.counts["done"], report.counts["planned"], report.runs) == (9, 0, 9)
    assert sum(isinstance(event, events.BatchItemChanged) for event in seen) == 27
    async with opened(service, ledger) as batch:
        assert (await batch.report()).total == 15


async def test_a_shard_says_why_it_has_stopped(service: FakeService, tmp_path: Path) -> None:
    service.balance = Decimal(0)
    ledger = f"sqlite:///{tmp_path / 'runs.db'}"
    await plan(service, ledger)
    report = await run_shard_async(ShardSpec(batch="nightly", ledger=ledger))

    assert (report.stopped, report.counts["planned"]) == ("balance", 15)
    assert (report + report).stopped == "balance"


def test_a_spec_can_be_pickled_and_shows_no_password() -> None:
    spec = ShardSpec(
        batch="b", ledger="postgresql://me:pw@db/x", shard=Shard(worker_id="w"), settle_times=SettleTimes(skew=1.0)
    )
    report = ShardReport(
        batch="b",
        counts={"done": 1},
        runs=1,
        result_count=2,
        unknown_rows=0,
        cost=Decimal(3),
        unknown_costs=0,
        requests=4,
        wasted=0,
        seconds=0.5,
    )

    assert pickle.loads(pickle.dumps(spec)) == spec
    assert pickle.loads(pickle.dumps(report)) == report
    assert "pw" not in repr(spec)
