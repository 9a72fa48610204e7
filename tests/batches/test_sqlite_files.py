"""A ledger's file, and the files of its lanes, can be deleted, replaced, damaged or locked while they are in use."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from batches.batches import finish, opened, runs_by_key

from coreclaw_async import LedgerError
from coreclaw_async._batches import sqlite_store
from coreclaw_async._batches.sqlite_store import SqliteStore
from coreclaw_async._batches.store import LaneLostError, Statement
from coreclaw_async.events import BatchItemChanged, Event
from coreclaw_async.testing import FakeService

ADD = "INSERT INTO batch (name, account, created) VALUES (?, ?, ?)"
NAMES = "SELECT name FROM batch ORDER BY name"


def batch(name: str) -> Statement:
    return Statement.of(ADD, name, "account", 1.0, changes=1)


@pytest.fixture
async def store(tmp_path: Path) -> SqliteStore:
    store = SqliteStore(tmp_path / "runs.db")
    await store.open()
    await store.write(batch("a"))
    return store


def delete(path: Path) -> None:
    path.unlink()


def move(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))


def replace(path: Path) -> None:
    shutil.copy(path, path.with_name("copy"))
    path.with_name("copy").replace(path)


def delete_and_make_anew(path: Path) -> None:
    path.unlink()
    path.touch()


@pytest.mark.parametrize("change", [delete, move, replace, delete_and_make_anew])
async def test_a_ledger_that_is_deleted_or_replaced_is_noticed(
    store: SqliteStore, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    change(tmp_path / "runs.db")

    with pytest.raises(LedgerError, match=r"runs\.db was deleted or replaced while it was open"):
        await store.write(batch("b"))
    with pytest.raises(LedgerError, match=r"runs\.db was deleted or replaced while it was open"):
        await store.read(NAMES)
    await store.aclose()


async def test_a_ledger_that_is_put_back_is_gone_on_with(store: SqliteStore, tmp_path: Path) -> None:
    move(tmp_path / "runs.db")
    with pytest.raises(LedgerError):
        await store.write(batch("b"))

    (tmp_path / "elsewhere").rename(tmp_path / "runs.db")

    await store.write(batch("b"))
    assert await store.read(NAMES) == [("a",), ("b",)]
    await store.aclose()


async def test_a_ledger_that_was_deleted_while_in_use_is_not_made_anew(store: SqliteStore, tmp_path: Path) -> None:
    (tmp_path / "runs.db").unlink()

    for _ in range(2):
        with pytest.raises(LedgerError, match=r"runs\.db-wal beside it belongs to one that was deleted.*put the file"):
            await SqliteStore(tmp_path / "runs.db").open()
        await store.aclose()
        (tmp_path / "runs.db-wal").touch()  # As a process that was killed leaves it.
    (tmp_path / "runs.db-wal").unlink()
    (tmp_path / "runs.db-shm").unlink(missing_ok=True)
    anew = SqliteStore(tmp_path / "runs.db")
    await anew.open()
    assert await anew.read(NAMES) == []
    await anew.aclose()


async def test_a_ledger_whose_files_are_all_deleted_is_not_made_anew_while_its_lanes_are_held(
    store: SqliteStore, tmp_path: Path
) -> None:
    assert await store.take_lane("x")
    for file in tmp_path.glob("runs.db*"):
        if file.is_file():
            file.unlink()

    with pytest.raises(LedgerError, match="a process that still runs starts items of it"):
        await SqliteStore(tmp_path / "runs.db").open()

    await store.aclose()
    anew = SqliteStore(tmp_path / "runs.db")
    await anew.open()
    await anew.aclose()


async def test_a_deleted_ledger_stops_a_batch_before_the_next_start(tmp_path: Path, service: FakeService) -> None:
    path = tmp_path / "runs.db"
    async with opened(service, f"sqlite:///{path}", count=20) as running:
        with pytest.raises(LedgerError, match="was deleted or replaced"):
            async for _ in running.run(max_in_flight=2):
                path.unlink(missing_ok=True)
    paid = sum(runs_by_key(service).values())
    assert paid <= 6

    # The control: with the file left alone all of them are started.
    async with opened(service, f"sqlite:///{tmp_path / 'other.db'}", count=20) as running:
        await finish(running, max_in_flight=2)
    assert sum(runs_by_key(service).values()) == paid + 20


@pytest.mark.parametrize("whole", [True, False])
async def test_a_lane_whose_lock_file_is_deleted_is_lost(store: SqliteStore, tmp_path: Path, whole: bool) -> None:
    assert await store.take_lane("x")
    await store.write(batch("b"), lane="x")
    if whole:
        shutil.rmtree(tmp_path / "runs.db-lanes")
    else:
        next((tmp_path / "runs.db-lanes").glob("*.lock")).unlink()
    rival = SqliteStore(tmp_path / "runs.db")
    await rival.open()
    assert await rival.take_lane("x")

    with pytest.raises(LaneLostError, match="was deleted or replaced"):
        await store.write(batch("c"), lane="x")
    await rival.write(batch("c"), lane="x")
    # The control: without a look at the lane both would write.
    await store.write(batch("d"))

    await store.leave_lane("x")
    assert not await store.take_lane("x")
    await rival.aclose()
    assert await store.take_lane("x")
    await store.write(batch("e"), lane="x")
    await store.aclose()


async def test_lanes_that_are_deleted_again_and_again_pay_for_nothing_twice(
    tmp_path: Path, service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    lanes = tmp_path / "runs.db-lanes"

    def delete_lanes(event: Event) -> None:
        if isinstance(event, BatchItemChanged) and event.state == "submitted":
            shutil.rmtree(lanes, ignore_errors=True)

    async with opened(service, f"sqlite:///{tmp_path / 'runs.db'}", count=12, on_event=delete_lanes) as running:
        await finish(running)

    assert set(runs_by_key(service).values()) == {1}
    assert len(runs_by_key(service)) == 12
    assert "was deleted or replaced, or never held; it is taken again" in caplog.text


async def test_a_ledger_that_another_process_locks_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_store, "_BUSY_SECONDS", 0.1)
    store = SqliteStore(tmp_path / "runs.db")
    await store.open()
    other = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(LedgerError, match=r"runs\.db cannot be used: database is locked \(another process"):
        await store.write(batch("a"))

    other.execute("ROLLBACK")
    other.close()
    await store.write(batch("a"))
    await store.aclose()


async def test_a_ledger_that_may_not_be_written_to_says_so(store: SqliteStore) -> None:
    await store.read("PRAGMA query_only = 1")

    with pytest.raises(LedgerError, match=r"readonly database \(this process may not write to it\)"):
        await store.write(batch("b"))

    await store.read("PRAGMA query_only = 0")
    await store.write(batch("b"))
    await store.aclose()


async def test_a_full_disk_says_so(store: SqliteStore) -> None:
    await store.read("PRAGMA max_page_count = 1")

    with pytest.raises(LedgerError, match=r"\(the disk is full\)"):
        await store.write(Statement(ADD, [(f"n{number}" * 20, "x", 0.0) for number in range(2_000)]))

    await store.aclose()


async def test_a_damaged_ledger_says_so(store: SqliteStore, tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    await store.write(Statement(ADD, [(f"n{number}" * 20, "x", 0.0) for number in range(500)]))
    await store.aclose()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4_096)
        file.write(os.urandom(size - 4_096))

    damaged = SqliteStore(path)
    with pytest.raises(LedgerError, match=r"malformed \(the file is damaged"):
        await damaged.open()
        await damaged.read(NAMES)
    await damaged.aclose()


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, "\ud800"])
async def test_a_value_that_has_no_form_fails_alone(store: SqliteStore, value: object) -> None:
    with pytest.raises(LedgerError, match="a value cannot be written to the ledger"):
        await store.write(Statement.of("UPDATE batch SET created = ?", value))
    with pytest.raises(LedgerError, match="cannot be used"):
        await store.read("SELECT ?", value)

    await store.write(batch("b"))
    await store.aclose()


HOLDER = """
import sys, time, anyio
from pathlib import Path
from coreclaw_async._batches.sqlite_store import SqliteStore

async def main():
    store = SqliteStore(Path(sys.argv[1]))
    await store.open()
    assert await store.take_lane("x")
    print("held", flush=True)
    time.sleep(60)

anyio.run(main)
"""


@pytest.mark.endurance
async def test_a_killed_process_leaves_a_ledger_that_is_opened_and_one_that_was_deleted_is_not(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    for is_deleted in (False, True):
        holder = subprocess.Popen([sys.executable, "-c", HOLDER, path], stdout=subprocess.PIPE)
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        store = SqliteStore(path)
        if not is_deleted:
            await store.open()
            assert not await store.take_lane("x")
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        holder.stdout.close()
        if is_deleted:
            path.unlink()
            with pytest.raises(LedgerError, match="was deleted while it was in use"):
                await store.open()
        else:
            assert await store.take_lane("x")
        await store.aclose()


async def test_a_lock_file_that_cannot_be_used_is_a_clear_error(store: SqliteStore) -> None:
    store._lock_file("x").mkdir(parents=True)
    store._lock_file("y").write_text("Dear diary, today I have locked nothing at all. " * 40)

    with pytest.raises(LedgerError, match="unable to open"):
        await store.take_lane("x")
    with pytest.raises(LedgerError, match="not a database"):
        await store.take_lane("y")

    await store.aclose()


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_write_that_asyncio_cancels_in_the_middle_costs_no_other_write(store: SqliteStore) -> None:
    for number in range(60):
        first = asyncio.create_task(store.write(batch(f"first{number}")))
        others = [asyncio.create_task(store.write(batch(f"other{number}-{name}"))) for name in "abc"]
        for _ in range(number % 20):
            await asyncio.sleep(0)
        if number >= 20:
            await asyncio.sleep(number % 4 / 2_000)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await asyncio.wait_for(asyncio.gather(*others), 5)

    assert await store.read("SELECT COUNT(*) FROM batch WHERE name LIKE 'other%'") == [(180,)]
    await store.aclose()


async def test_a_machine_that_can_begin_no_thread_is_a_ledger_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqliteStore(tmp_path / "runs.db")
    await store.open()

    async def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr("anyio.to_thread.run_sync", refuse)
        with pytest.raises(LedgerError, match="can't start new thread"):
            await store.read("SELECT 1")
    assert await store.read("SELECT 1") == [(1,)]
    await store.aclose()
