"""Workers that are published anew, listed late, deleted, or called by several names: each has one start queue."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from batch.accounts import lose
from batch.batches import WORKER, finish, key_of, opened, runs_by_key, specs

from coreclaw_async import AsyncBatch, BatchItemState, RunSpec, SettleTimes
from coreclaw_async.batch._item_steps import to_held, to_intent
from coreclaw_async.testing import FakeService, faults

NAME = "me/mine"


@pytest.fixture
def shared(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'runs.db'}"


def publish_anew(service: FakeService, path: str = NAME, *, keeps_old: bool = False) -> str:
    """Give the worker another slug; the service then no longer knows the old one, or lists nothing under it."""
    world = service._world
    (old,) = (worker for worker in world.workers.values() if worker.path == path)
    if keeps_old:
        old.path = "me/retired"
        old.owned = old.in_store = False
    else:
        del world.workers[old.slug]
    return service.add_worker(path)


def delete(service: FakeService, path: str = NAME) -> None:
    world = service._world
    (old,) = (worker for worker in world.workers.values() if worker.path == path)
    del world.workers[old.slug]


async def run_all(batch: AsyncBatch, **options: Any) -> dict[str, str]:
    return {outcome.key: str(outcome.state) for outcome in await finish(batch, **options)}


@pytest.mark.parametrize("keeps_old", [True, False])
@pytest.mark.parametrize("is_accepted", [True, False])
async def test_a_start_that_was_lost_before_the_worker_was_published_anew_is_found(
    service: FakeService, ledger: str, keeps_old: bool, is_accepted: bool
) -> None:
    if ledger == "memory":
        pytest.skip("a ledger in memory is one process's")
    service.add_worker(NAME)
    async with opened(service, ledger, exclusive=True) as batch:
        await batch.plan(specs(1, NAME))
        await finish(batch)
        await batch.plan(specs(3, NAME))
        await lose(batch, service, "k1", is_accepted=is_accepted)
    publish_anew(service, keeps_old=keeps_old)
    async with opened(service, ledger, exclusive=True) as batch:
        states = await run_all(batch)
        report = await batch.report()

    assert report.counts[BatchItemState.DONE] == 3, states
    assert set(runs_by_key(service).values()) == {1}


@pytest.mark.parametrize("keeps_old", [True, False])
async def test_a_start_that_was_lost_after_the_worker_was_published_anew_is_found(
    service: FakeService, shared: str, keeps_old: bool
) -> None:
    """The list under the old slug does not show the run: that it is empty proves nothing."""
    service.add_worker(NAME)
    async with opened(service, shared, exclusive=True) as batch:
        await batch.plan(specs(1, NAME))
        await finish(batch)
    new = publish_anew(service, keeps_old=keeps_old)
    service.faults.add(faults.commit_then_drop(), operation="runWorker", times=2)
    async with opened(service, shared, exclusive=True) as batch:
        await batch.plan(specs(3, NAME))
        states = await run_all(batch)
        start_queues = batch._batch_context.ledger.start_queues
        start_queue = await start_queues.find("me~mine")
        assert start_queue is not None
        names = await start_queues.names(start_queue)

    assert states == {"k1": "done", "k2": "done"}
    assert set(runs_by_key(service).values()) == {1}
    assert new in names
    assert start_queue != new, "a start queue keeps its name, which other processes may hold it by"


async def test_the_start_queue_of_a_new_slug_becomes_one_with_that_of_the_name(
    service: FakeService, shared: str
) -> None:
    service.add_worker(NAME)
    async with opened(service, shared, exclusive=True) as batch:
        await batch.plan(specs(1, NAME))
        await finish(batch)
    new = publish_anew(service, keeps_old=True)
    async with opened(service, shared, exclusive=True) as batch:
        await batch.plan([RunSpec(key="slug", worker_id=new, input={"keywords": ["slug"]})])
        await finish(batch)
        start_queues = batch._batch_context.ledger.start_queues
        before = await start_queues.find(new)
        service.faults.add(faults.commit_then_drop(), operation="runWorker")
        await batch.plan(specs(2, NAME))
        await finish(batch)
        after = await start_queues.find(new)
        of_name = await start_queues.find("me~mine")

    assert before == new
    assert after == of_name != new
    assert set(runs_by_key(service).values()) == {1}


async def test_a_worker_that_no_list_shows_is_found_as_soon_as_one_does(service: FakeService, shared: str) -> None:
    slug = service.add_worker(NAME, owned=False, in_store=False)
    async with opened(service, shared) as batch:
        await batch.plan(specs(1, NAME))
        await finish(batch)
        assert await batch._batch_context.ledger.start_queues.find("me~mine") is None
    service._world.workers[slug].in_store = True
    async with opened(service, shared) as batch:
        await batch.plan(specs(2, NAME))
        await finish(batch)
        assert await batch._batch_context.ledger.start_queues.find("me~mine") == slug


async def test_a_guess_of_an_earlier_version_is_corrected(service: FakeService, shared: str) -> None:
    from coreclaw_async.batch._store.database import Statement

    slug = service.add_worker(NAME)
    async with opened(service, shared) as batch:
        ledger = batch._batch_context.ledger
        await ledger.database.write(
            Statement.of("INSERT INTO lane VALUES (?, 'me~mine', 'me~mine', 1)", ledger.account),
        )
        await batch.plan(specs(1, NAME))
        await finish(batch)
        start_queue = await ledger.start_queues.find("me~mine")
        assert start_queue == slug
        assert await ledger.start_queues.has_foreign(await ledger.start_queues.names(start_queue))
        rows = await ledger.database.read("SELECT worker_id, slug FROM lane ORDER BY slug, worker_id")

    assert {found for _, found in rows} == {slug}


@pytest.mark.parametrize("is_accepted", [True, False])
async def test_a_lost_start_of_a_worker_that_no_list_shows_is_settled_by_its_runs(
    service: FakeService, is_accepted: bool
) -> None:
    slug = service.add_worker(NAME, owned=False, in_store=False)
    fault = faults.commit_then_drop() if is_accepted else faults.drop_before_commit()
    service.faults.add(fault, operation="runWorker", after=1)
    async with opened(service, "memory", exclusive=True) as batch:
        await batch.plan(specs(3, NAME))
        states = await run_all(batch)
        start_queue = await batch._batch_context.ledger.start_queues.find("me~mine")

    assert set(states.values()) == {"done"}
    assert set(runs_by_key(service).values()) == {1}
    assert start_queue == slug, "its runs tell what no list of workers does"


@pytest.mark.parametrize("accepted", ["path", "slug", "both", "none"])
async def test_lost_starts_of_one_worker_by_two_names_are_not_mistaken_for_each_other(
    service: FakeService, shared: str, accepted: str
) -> None:
    """No list shows the worker, so nothing tells yet that the two names mean the same worker."""
    slug = service.add_worker(NAME, owned=False, in_store=False)
    async with opened(service, shared, exclusive=True) as batch:
        await batch.plan([*specs(1, NAME), *specs(1, slug, first=1)])
        await lose(batch, service, "k0", is_accepted=accepted in {"path", "both"})
        await lose(batch, service, "k1", is_accepted=accepted in {"slug", "both"})
    async with opened(service, shared, exclusive=True) as batch:
        outcomes = await finish(batch)

    assert len(outcomes) == 2
    assert set(runs_by_key(service).values()) <= {1}
    for outcome in outcomes:
        if outcome.run_id is not None:
            assert key_of(service, outcome.run_id) == outcome.key


async def test_items_of_a_deleted_worker_are_rejected_and_stop_nothing_else(service: FakeService, shared: str) -> None:
    service.add_worker(NAME)
    service.add_worker("me/other")
    async with opened(service, shared, exclusive=True) as batch:
        await batch.plan(specs(1, NAME))
        await finish(batch)
        await batch.plan([*specs(3, NAME), *specs(3, WORKER, first=3), *specs(3, "me/other", first=6)])
        await lose(batch, service, "k1")
    delete(service)
    async with opened(service, shared, exclusive=True) as batch:
        await finish(batch)
        states = Counter([(await batch.get(f"k{number}")).state for number in range(9)])
        rejected = await batch.get("k2")
        lost = await batch.get("k1")

    assert states[BatchItemState.DONE] == 8
    assert rejected.state is BatchItemState.REJECTED
    assert "11004" in str(rejected.error)
    assert lost.state is BatchItemState.DONE, "its run goes on, and is found among all runs"
    assert set(runs_by_key(service).values()) == {1}


@pytest.mark.parametrize("is_accepted", [True, False])
async def test_a_lost_start_of_a_worker_that_is_deleted_and_was_never_listed_is_held_or_not_made_again(
    service: FakeService, shared: str, is_accepted: bool
) -> None:
    service.add_worker(NAME, owned=False, in_store=False)
    other = service.add_worker("me/other")
    async with opened(service, shared, exclusive=True) as batch:
        await batch.plan(specs(1, NAME))
        await lose(batch, service, "k0", is_accepted=is_accepted)
    service.add_run(other, age=0.0)
    delete(service)
    async with opened(service, shared, exclusive=True) as batch:
        (outcome,) = await finish(batch)

    assert outcome.state == "ambiguous", "the other run may be its run too, as nobody knows the worker's slug"
    assert runs_by_key(service) == ({"k0": 1} if is_accepted else {})


async def test_runs_of_other_start_queues_are_no_candidates_of_a_worker_that_nobody_knows(
    service: FakeService, shared: str
) -> None:
    service.add_worker(NAME, owned=False, in_store=False)
    async with opened(service, shared, exclusive=True) as batch:
        await batch.plan([*specs(1, NAME), *specs(1, WORKER, first=1)])
        await lose(batch, service, "k0", is_accepted=False)
    service.add_run(WORKER, age=0.0)
    delete(service)
    async with opened(service, shared, exclusive=True) as batch:
        states = await run_all(batch)
        item = await batch.get("k0")

    assert item.state is BatchItemState.REJECTED, states
    assert set(runs_by_key(service).values()) == {1}


async def test_a_person_may_adopt_a_run_under_the_new_slug_and_under_one_that_nobody_knows(
    service: FakeService,
) -> None:
    service.add_worker(NAME)
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    times = SettleTimes(post_timeout=1)
    async with opened(service, "memory", settle_times=times) as batch:
        await batch.plan(specs(1, NAME))
        await finish(batch)
        publish_anew(service, keeps_old=True)
        stranger = service.add_run(service.add_worker("me/other"))
        with pytest.raises(ValueError, match="and item 'k0' is for"):
            await batch.resolve("k0", adopt=stranger)
        item = await batch.resolve("k0", adopt=service.add_run(NAME))
    assert item.state is BatchItemState.SUBMITTED

    service.add_worker("me/hidden", owned=False, in_store=False)
    async with opened(service, "memory", settle_times=times) as batch:
        await batch.plan(specs(1, "me/hidden", first=5))
        item = await batch.get("k5")
        ledger = batch._batch_context.ledger
        intent = to_intent(item, at=service.clock.time(), callback_url=None)
        await ledger.steps.write(item, intent)
        await ledger.steps.write(intent, to_held(intent, ()))
        item = await batch.resolve("k5", adopt=service.add_run("me/hidden"))

    assert item.state is BatchItemState.SUBMITTED


async def test_a_run_of_another_worker_cannot_be_adopted_for_a_worker_that_was_planned_by_its_slug(
    service: FakeService,
) -> None:
    slug = service.add_worker(NAME)
    async with opened(service, "memory", settle_times=SettleTimes(post_timeout=1)) as batch:
        await batch.plan(specs(1, slug))
        await lose(batch, service, "k0")
        await finish(batch)
        with pytest.raises(ValueError, match=f"and item 'k0' is for {slug}"):
            await batch.resolve("k0", adopt=service.add_run(WORKER))


async def test_a_worker_that_no_list_shows_is_looked_for_once_by_each_process(service: FakeService) -> None:
    service.add_worker(NAME, owned=False, in_store=False)
    async with opened(service, "memory") as batch:
        for count in range(1, 5):
            await batch.plan(specs(count, NAME))
            await finish(batch)

    assert [request.operation for request in service.requests].count("listStore") == 1


async def test_a_worker_with_a_similar_name_is_another_one(service: FakeService) -> None:
    service.add_worker("me/mine-too")
    slug = service.add_worker(NAME)
    async with opened(service, "memory") as batch:
        await batch.plan(specs(1, NAME))
        await finish(batch)
        assert await batch._batch_context.ledger.start_queues.find("me~mine") == slug
