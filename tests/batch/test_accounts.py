"""Which account a batch belongs to: keys of one account share it, and accounts on one ledger stay apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from batch.accounts import AnyKey, batch_of, lose
from batch.batches import WORKER, finish, key_of, opened, runs_by_key

from coreclaw_async import (
    AsyncCoreClaw,
    BatchItemState,
    CoreClaw,
    ItemOrigin,
    LedgerError,
    RunSpec,
    SettleTimes,
)
from coreclaw_async.batch._item_steps import to_intent
from coreclaw_async.testing import FakeService, faults

OLD, NEW = "scraper_api_old_key", "scraper_api_new_key"


@pytest.fixture
def shared(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'runs.db'}"


async def read(service: FakeService, ledger: str, account: str, sql: str) -> list[tuple[Any, ...]]:
    """Return rows of a ledger, through a batch of *account*."""
    async with batch_of(service, NEW, "reader", ledger, account=account) as batch:
        return await batch._batch_context.ledger.database.read(sql)


async def test_a_rotated_key_goes_on_with_its_account(service: FakeService, shared: str) -> None:
    async with batch_of(service, OLD, "nightly", shared, count=5, account="acme", exclusive=True) as batch:
        await lose(batch, service, "k2")
    async with batch_of(service, NEW, "nightly", shared, account="acme", exclusive=True) as batch:
        await finish(batch)
        report = await batch.report()

    assert report.counts[BatchItemState.DONE] == 5
    assert set(runs_by_key(service).values()) == {1}


async def test_another_key_without_an_account_is_told_what_to_do(service: FakeService, shared: str) -> None:
    async with batch_of(service, OLD, "nightly", shared, count=1):
        pass
    with pytest.raises(LedgerError, match=r"give account='[0-9a-f]{16}'") as told:
        async with batch_of(service, NEW, "nightly", shared):
            pass
    account = str(told.value).split("give account='")[1][:16]
    async with batch_of(service, NEW, "nightly", shared, account=account) as batch:
        outcomes = await finish(batch)

    assert [outcome.state for outcome in outcomes] == ["done"]
    assert OLD not in str(told.value)
    assert NEW not in str(told.value)


async def test_another_accounts_batch_is_refused_by_name(service: FakeService, shared: str) -> None:
    async with batch_of(service, OLD, "nightly", shared, account="acme"):
        pass
    others: list[dict[str, Any]] = [{"account": "other"}, {}]
    for options in others:
        with pytest.raises(LedgerError, match="the batch 'nightly' belongs to account 'acme'"):
            async with batch_of(service, OLD, "nightly", shared, **options):
                pass


@pytest.mark.endurance
async def test_a_batch_that_was_begun_without_a_name_gets_one(service: FakeService, ledger: str) -> None:
    if ledger == "memory":
        pytest.skip("a ledger in memory is one batch's")
    async with batch_of(service, OLD, "other", ledger, count=1, first=10) as batch:
        await finish(batch)
    async with batch_of(service, OLD, "nightly", ledger, count=2, exclusive=True) as batch:
        await finish(batch)
        await batch._batch_context.ledger.start_queues.note_foreign([WORKER.replace("/", "~")])
    async with batch_of(service, OLD, "nightly", ledger, count=3, account="acme") as batch:
        (outcome,) = await finish(batch)
        history = [await batch.history(f"k{number}") for number in range(3)]
        start_queues = batch._batch_context.ledger.start_queues
        slug = await start_queues.find(WORKER.replace("/", "~"))
        assert slug is not None
        assert await start_queues.has_foreign(await start_queues.names(slug))
    rows = await read(service, ledger, "acme", "SELECT account, batch, COUNT(*) FROM run GROUP BY account, batch")
    accounts = await read(service, ledger, "acme", "SELECT name, account FROM batch")
    async with batch_of(service, NEW, "nightly", ledger, account="acme") as batch:
        assert await finish(batch) == []

    assert outcome.key == "k2"
    assert [len(runs) for runs in history] == [1, 1, 1]
    assert {(account, name): count for account, name, count in rows}["acme", "nightly"] == 3
    assert {name: account for name, account in accounts}["other"] != "acme", "it is another batch"  # noqa: C416


async def test_the_last_batch_takes_its_start_queues_along_where_the_account_has_some_already(
    service: FakeService, shared: str
) -> None:
    async with batch_of(service, NEW, "named", shared, count=1, account="acme") as batch:
        await finish(batch)
    async with batch_of(service, OLD, "nightly", shared, count=1, first=1) as batch:
        await finish(batch)
    async with batch_of(service, OLD, "nightly", shared, account="acme"):
        pass
    start_queues = await read(service, shared, "acme", "SELECT DISTINCT account, slug FROM lane")

    assert [account for account, _ in start_queues] == ["acme"]


async def test_a_batch_is_not_renamed_while_another_process_starts_its_runs(service: FakeService, shared: str) -> None:
    async with batch_of(service, OLD, "nightly", shared, count=1) as batch:
        await finish(batch)
        await batch.rerun()
        database = batch._batch_context.ledger.database
        start_queue = f"{batch._batch_context.ledger.account}/{next(iter(service.runs.values())).worker_id}"
        assert await database.take_start_queue(start_queue)
        with pytest.raises(LedgerError, match="cannot be given account 'acme' while another process works on it"):
            async with batch_of(service, OLD, "nightly", shared, account="acme"):
                pass
        await database.leave_start_queue(start_queue)
        async with batch_of(service, OLD, "nightly", shared, account="acme"):
            pass
        await batch.plan([RunSpec(key="late", worker_id=WORKER, input={"keywords": ["late"]})])
        with pytest.raises(LedgerError, match="belongs to account 'acme'"):
            await finish(batch)

    assert "late" not in runs_by_key(service)


async def test_two_processes_that_rename_a_batch_at_once_do_it_once(service: FakeService, shared: str) -> None:
    async with batch_of(service, OLD, "nightly", shared, count=3):
        pass

    async def rename() -> None:
        async with batch_of(service, OLD, "nightly", shared, account="acme") as batch:
            await batch.report()

    async with anyio.create_task_group() as group:
        group.start_soon(rename)
        group.start_soon(rename)

    accounts = await read(service, shared, "acme", "SELECT account FROM batch WHERE name = 'nightly'")
    assert accounts == [("acme",)]


@pytest.mark.parametrize("account", ["", "a" * 501, "two\nlines", OLD, f"my {OLD}"])
async def test_a_name_that_cannot_be_one_is_refused(service: FakeService, account: str) -> None:
    async with AsyncCoreClaw(OLD, transport=service) as client:
        with pytest.raises(ValueError, match="account must be") as told:
            client.batch("b", ledger="memory", account=account)
        with pytest.raises(TypeError, match="account must be a str or None, not int"):
            client.batch("b", ledger="memory", account=5)  # type: ignore[arg-type]

    assert OLD not in str(told.value)


def test_the_blocking_client_names_its_account_too(service: FakeService, shared: str) -> None:
    for key in (OLD, NEW):
        with (
            CoreClaw(key, transport=AnyKey(service), clock=service.clock) as client,
            client.batch("nightly", ledger=shared, account="acme") as batch,
        ):
            batch.plan([RunSpec(key=key, worker_id=WORKER, input={"keywords": [key]})])
            assert [outcome.state for outcome in batch.run()] == ["done"]


async def lost_start(service: FakeService, ledger: str, *, is_accepted: bool, **options: Any) -> None:
    """Leave a start that was sent with the old key and never answered."""
    async with batch_of(service, OLD, "a", ledger, count=1, **options) as batch:
        await lose(batch, service, "k0", is_accepted=is_accepted)


async def test_a_run_of_another_keys_item_is_no_candidate(service: FakeService, shared: str) -> None:
    await lost_start(service, shared, is_accepted=False, exclusive=True)
    async with batch_of(service, NEW, "b", shared, count=1, first=1, exclusive=True) as batch:
        (theirs,) = await finish(batch)
    async with batch_of(service, OLD, "a", shared, exclusive=True) as batch:
        (ours,) = await finish(batch)

    assert theirs.state == ours.state == "done"
    assert theirs.run_id != ours.run_id
    assert runs_by_key(service) == {"k0": 1, "k1": 1}


@pytest.mark.parametrize("is_accepted", [True, False])
@pytest.mark.parametrize("is_theirs_accepted", [True, False])
async def test_lost_starts_of_two_keys_are_not_mistaken_for_each_other(
    service: FakeService, ledger: str, is_accepted: bool, is_theirs_accepted: bool
) -> None:
    if ledger == "memory":
        pytest.skip("a ledger in memory is one batch's")
    await lost_start(service, ledger, is_accepted=is_accepted, exclusive=True)
    async with batch_of(service, NEW, "b", ledger, count=1, first=1, exclusive=True) as batch:
        await lose(batch, service, "k1", is_accepted=is_theirs_accepted)
    ended = {}
    for key, name in ((OLD, "a"), (NEW, "b"), (OLD, "a")):
        async with batch_of(service, key, name, ledger, exclusive=True) as batch:
            ended.update({outcome.key: outcome for outcome in await finish(batch)})

    assert max(runs_by_key(service).values()) == 1, "nothing is paid for twice"
    for key, outcome in ended.items():
        if outcome.run_id is not None:
            assert key_of(service, outcome.run_id) == key, "and nobody gets another one's run"


async def test_a_start_of_another_key_that_is_about_to_be_answered_is_waited_for(
    service: FakeService, shared: str
) -> None:
    """The other process lives: as soon as the answer comes, its item has its run and is no longer unclear."""
    await lost_start(service, shared, is_accepted=False, exclusive=True)
    outcomes = []
    async with (
        batch_of(service, NEW, "b", shared, count=1, first=1, exclusive=True) as theirs,
        batch_of(service, OLD, "a", shared, exclusive=True, settle_times=SettleTimes(post_timeout=20)) as ours,
    ):
        await service.clock.sleep(1)
        service.faults.add(faults.delay(39.0), operation="runWorker")

        async def run_theirs() -> None:
            outcomes.extend(await finish(theirs))

        async with anyio.create_task_group() as group:
            group.start_soon(run_theirs)
            outcomes.extend(await finish(ours))

    assert sorted(outcome.key for outcome in outcomes if outcome.state == "done") == ["k0", "k1"]
    assert runs_by_key(service) == {"k0": 1, "k1": 1}


async def test_what_was_held_for_one_item_is_not_adopted_for_another(service: FakeService, shared: str) -> None:
    """The candidate of a held item stays its candidate, whichever key the next lost start was sent with."""
    await lost_start(service, shared, is_accepted=True)
    async with batch_of(service, OLD, "a", shared) as batch:
        (held,) = await finish(batch)
        assert held.state == "ambiguous"
        intent = (await batch.get("k0")).intent_at
        assert intent is not None
    async with batch_of(service, NEW, "b", shared, count=1, first=1, exclusive=True) as batch:
        item = await batch.get("k1")
        ledger = batch._batch_context.ledger
        await ledger.steps.write(item, to_intent(item, at=intent, callback_url=None))
        (outcome,) = await finish(batch)

    assert outcome.state == "ambiguous"
    assert service.runs_created == 1


async def test_no_two_items_of_a_ledger_get_one_run(service: FakeService, shared: str) -> None:
    async with batch_of(service, OLD, "a", shared, count=1) as batch:
        (outcome,) = await finish(batch)
    async with batch_of(service, NEW, "b", shared, count=1, first=1) as batch:
        await lose(batch, service, "k1")
        await finish(batch)
        assert outcome.run_id is not None
        with pytest.raises(ValueError, match="is another item's"):
            await batch.resolve("k1", adopt=outcome.run_id)


async def test_two_keys_of_one_account_share_what_is_open(service: FakeService, shared: str) -> None:
    await lost_start(service, shared, is_accepted=True, exclusive=True, account="acme")
    async with batch_of(service, NEW, "b", shared, count=1, first=1, exclusive=True, account="acme") as batch:
        (outcome,) = await finish(batch)
    async with batch_of(service, NEW, "a", shared, account="acme") as batch:
        item = await batch.get("k0")

    assert outcome.key == "k1"
    assert (item.state, item.how) == ("submitted", ItemOrigin.LIST)
    assert runs_by_key(service) == {"k0": 1, "k1": 1}


async def test_the_batch_of_a_single_key_needs_no_name(service: FakeService, shared: str) -> None:
    for _ in range(2):
        async with opened(service, shared, count=1) as batch:
            await finish(batch)

    assert service.runs_created == 1
