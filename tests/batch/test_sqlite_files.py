"""The files of a ledger and of its start queues can be deleted, replaced, damaged or locked while in use."""

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

import anyio
import pytest
from batch.batches import finish, opened, runs_by_key, specs
from waiting import next_line

from coreclaw_async import LedgerError
from coreclaw_async.batch._store.database import StartQueueLostError, Statement
from coreclaw_async.batch._store.lookup import batches_in
from coreclaw_async.batch._store.sqlite import SqliteDatabase
from coreclaw_async.events import BatchItemChanged, Event
from coreclaw_async.testing import FakeService

ADD = "INSERT INTO batch (name, account, created) VALUES (?, ?, ?)"
NAMES = "SELECT name FROM batch ORDER BY name"


def batch(name: str) -> Statement:
    return Statement.of(ADD, name, "account", 1.0, changes=1)


@pytest.fixture
async def database(tmp_path: Path) -> SqliteDatabase:
    database = SqliteDatabase(tmp_path / "runs.db")
    await database.open()
    await database.write(batch("a"))
    return database


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
    database: SqliteDatabase, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    change(tmp_path / "runs.db")

    with pytest.raises(LedgerError, match=r"runs\.db was deleted or replaced while it was open"):
        await database.write(batch("b"))
    with pytest.raises(LedgerError, match=r"runs\.db was deleted or replaced while it was open"):
        await database.read(NAMES)
    await database.aclose()


async def test_a_ledger_with_two_names_is_not_opened(database: SqliteDatabase, tmp_path: Path) -> None:
    (tmp_path / "other.db").hardlink_to(tmp_path / "runs.db")
    for name in ("other.db", "runs.db"):
        with pytest.raises(LedgerError, match=rf"{name} is a file with 2 names \(hard links\)"):
            await SqliteDatabase(tmp_path / name).open()
        with pytest.raises(LedgerError, match=rf"{name} is a file with 2 names"):
            await batches_in(tmp_path / name)
    await database.write(batch("b"))  # Its other users have its log.
    await database.aclose()

    assert not (tmp_path / "other.db-wal").exists()
    (tmp_path / "other.db").unlink()
    again = SqliteDatabase(tmp_path / "runs.db")
    await again.open()
    assert await again.read(NAMES) == [("a",), ("b",)]
    await again.aclose()


async def test_a_ledger_that_is_put_back_is_gone_on_with(database: SqliteDatabase, tmp_path: Path) -> None:
    move(tmp_path / "runs.db")
    with pytest.raises(LedgerError):
        await database.write(batch("b"))

    (tmp_path / "elsewhere").rename(tmp_path / "runs.db")

    await database.write(batch("b"))
    assert await database.read(NAMES) == [("a",), ("b",)]
    await database.aclose()


async def test_a_log_that_is_deleted_is_noticed(database: SqliteDatabase, tmp_path: Path) -> None:
    (tmp_path / "runs.db-wal").unlink()

    with pytest.raises(LedgerError, match=r"runs\.db-wal, the log of the ledger .*, was deleted or replaced"):
        await database.write(batch("b"))
    with pytest.raises(LedgerError, match="Open the batch again to continue"):
        await database.read(NAMES)
    await database.aclose()


@pytest.mark.endurance
@pytest.mark.skipif(sys.platform == "win32", reason="locks are of a process elsewhere only")
async def test_a_log_that_sqlite_deletes_as_this_process_has_given_its_locks_up_is_noticed(
    database: SqliteDatabase, tmp_path: Path
) -> None:
    """To read the file and to close it gives up all locks of the process, and another one takes it for the last."""
    path = tmp_path / "runs.db"
    path.read_bytes()
    look = f"import sqlite3; print(*sqlite3.connect({str(path)!r}).execute({NAMES!r}))"
    assert subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True).stdout == "('a',)\n"

    with pytest.raises(LedgerError, match=r"runs\.db-wal, the log of the ledger"):
        await database.write(batch("b"))
    await database.aclose()

    again = SqliteDatabase(path)
    await again.open()
    await again.write(batch("b"))
    assert await again.read(NAMES) == [("a",), ("b",)]
    await again.aclose()


async def test_a_ledger_that_was_deleted_while_in_use_is_not_made_anew(
    database: SqliteDatabase, tmp_path: Path
) -> None:
    (tmp_path / "runs.db").unlink()

    for _ in range(2):
        with pytest.raises(
            LedgerError, match=r"runs\.db-wal beside it belongs to a ledger that was deleted.*Put the file"
        ):
            await SqliteDatabase(tmp_path / "runs.db").open()
        await database.aclose()
        (tmp_path / "runs.db-wal").touch()  # As a process that was killed leaves it.
    (tmp_path / "runs.db-wal").unlink()
    (tmp_path / "runs.db-shm").unlink(missing_ok=True)
    anew = SqliteDatabase(tmp_path / "runs.db")
    await anew.open()
    assert await anew.read(NAMES) == []
    await anew.aclose()


async def test_a_ledger_whose_files_are_all_deleted_is_not_made_anew_while_its_start_queues_are_held(
    database: SqliteDatabase, tmp_path: Path
) -> None:
    assert await database.take_start_queue("x")
    for file in tmp_path.glob("runs.db*"):
        if file.is_file():
            file.unlink()

    with pytest.raises(LedgerError, match="renamed while it was in use, and another process still starts"):
        await SqliteDatabase(tmp_path / "runs.db").open()

    await database.aclose()
    anew = SqliteDatabase(tmp_path / "runs.db")
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
async def test_a_start_queue_whose_lock_file_is_deleted_is_lost(
    database: SqliteDatabase, tmp_path: Path, whole: bool
) -> None:
    assert await database.take_start_queue("x")
    await database.write(batch("b"), start_queue="x")
    if whole:
        shutil.rmtree(tmp_path / "runs.db-lanes")
    else:
        next((tmp_path / "runs.db-lanes").glob("*.lock")).unlink()
    rival = SqliteDatabase(tmp_path / "runs.db")
    await rival.open()
    assert await rival.take_start_queue("x")

    with pytest.raises(StartQueueLostError, match="was deleted or replaced"):
        await database.write(batch("c"), start_queue="x")
    await rival.write(batch("c"), start_queue="x")
    # The control: without a look at the start queue both would write.
    await database.write(batch("d"))

    await database.leave_start_queue("x")
    assert not await database.take_start_queue("x")
    await rival.aclose()
    assert await database.take_start_queue("x")
    await database.write(batch("e"), start_queue="x")
    await database.aclose()


async def test_start_queues_that_are_deleted_again_and_again_pay_for_nothing_twice(
    tmp_path: Path, service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    start_queues = tmp_path / "runs.db-lanes"

    def delete_start_queues(event: Event) -> None:
        if isinstance(event, BatchItemChanged) and event.state == "submitted":
            shutil.rmtree(start_queues, ignore_errors=True)

    async with opened(service, f"sqlite:///{tmp_path / 'runs.db'}", count=12, on_event=delete_start_queues) as running:
        await finish(running)

    assert set(runs_by_key(service).values()) == {1}
    assert len(runs_by_key(service)) == 12
    assert "was deleted or replaced, or never held; it is taken again" in caplog.text


async def test_a_ledger_that_another_process_locks_says_so(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "runs.db", busy_seconds=0.1)
    await database.open()
    other = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(LedgerError, match=r"runs\.db cannot be used: database is locked .* to it for [\d.]+ s"):
        await database.write(batch("a"))

    other.execute("ROLLBACK")
    other.close()
    await database.write(batch("a"))
    await database.aclose()


@pytest.mark.parametrize("ends", ["unlocked", "cancelled", "patience"])
async def test_a_write_to_a_locked_ledger_is_tried_again_for_as_long_as_the_batch_has_patience(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, ends: str
) -> None:
    patience = 0.4 if ends == "patience" else 60.0
    database = SqliteDatabase(tmp_path / "runs.db", busy_seconds=0.05, patience=patience)
    await database.open()
    other = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    raised: list[BaseException] = []

    async def write(name: str) -> None:
        try:
            await database.write(batch(name))
        except LedgerError as error:
            raised.append(error)

    async with anyio.create_task_group() as group:
        for name in ("a", "b"):
            group.start_soon(write, name)
        while "tried again" not in caplog.text:
            await anyio.sleep(0.001)
        if ends == "cancelled":
            group.cancel_scope.cancel()
        elif ends == "unlocked":
            other.execute("ROLLBACK")
    other.close()
    assert await database.read(NAMES) == ([("a",), ("b",)] if ends == "unlocked" else [])
    await database.aclose()

    assert [str(error).endswith(" s)") for error in raised] == ([True, True] if ends == "patience" else [])
    assert caplog.text.count("another process has been writing to it for") == 1


async def test_a_new_ledger_that_another_process_locks_says_so(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")

    with pytest.raises(LedgerError, match=r"database is locked .*for [\d.]+ s"):
        await SqliteDatabase(tmp_path / "runs.db", busy_seconds=0.5).open()

    other.execute("ROLLBACK")
    other.close()


@pytest.mark.endurance
async def test_a_new_ledger_can_be_opened_by_many_at_once(tmp_path: Path) -> None:
    async def use(path: Path) -> None:
        database = SqliteDatabase(path)
        await database.open()
        await database.aclose()

    for number in range(40):
        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(use, tmp_path / f"{number}.db")


async def test_a_ledger_that_may_not_be_written_to_says_so(database: SqliteDatabase) -> None:
    await database.read("PRAGMA query_only = 1")

    with pytest.raises(LedgerError, match=r"readonly database \(this process may not write to it\)"):
        await database.write(batch("b"))

    await database.read("PRAGMA query_only = 0")
    await database.write(batch("b"))
    await database.aclose()


async def test_a_full_disk_says_so(database: SqliteDatabase) -> None:
    await database.read("PRAGMA max_page_count = 1")

    with pytest.raises(LedgerError, match=r"\(the disk is full\)"):
        await database.write(Statement(ADD, [(f"n{number}" * 20, "x", 0.0) for number in range(2_000)]))

    await database.aclose()


async def test_a_damaged_ledger_says_so(database: SqliteDatabase, tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    await database.write(Statement(ADD, [(f"n{number}" * 20, "x", 0.0) for number in range(500)]))
    await database.aclose()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4_096)
        file.write(os.urandom(size - 4_096))

    damaged = SqliteDatabase(path)
    with pytest.raises(LedgerError, match=r"malformed \(the file is damaged"):
        await damaged.open()
        await damaged.read(NAMES)
    await damaged.aclose()


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, "\ud800"])
async def test_a_value_that_has_no_form_fails_alone(database: SqliteDatabase, value: object) -> None:
    with pytest.raises(LedgerError, match="a value cannot be written to the ledger"):
        await database.write(Statement.of("UPDATE batch SET created = ?", value))
    with pytest.raises(LedgerError, match="cannot be used"):
        await database.read("SELECT ?", value)

    await database.write(batch("b"))
    await database.aclose()


HOLDER = """
import sys, time, anyio
from pathlib import Path
from coreclaw_async.batch._store.sqlite import SqliteDatabase

async def main():
    database = SqliteDatabase(Path(sys.argv[1]))
    await database.open()
    assert await database.take_start_queue("x")
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
        assert next_line(holder.stdout) == "held\n"
        database = SqliteDatabase(path)
        if not is_deleted:
            await database.open()
            assert not await database.take_start_queue("x")
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        holder.stdout.close()
        if is_deleted:
            path.unlink()
            with pytest.raises(LedgerError, match="was deleted while it was in use"):
                await database.open()
        else:
            assert await database.take_start_queue("x")
        await database.aclose()


async def test_a_lock_file_that_cannot_be_used_is_a_clear_error(database: SqliteDatabase) -> None:
    database._lock_file("x").mkdir(parents=True)
    database._lock_file("y").write_text("Dear diary, today I have locked nothing at all. " * 40)

    with pytest.raises(LedgerError, match="unable to open"):
        await database.take_start_queue("x")
    with pytest.raises(LedgerError, match="not a database"):
        await database.take_start_queue("y")

    await database.aclose()


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_write_that_asyncio_cancels_in_the_middle_costs_no_other_write(database: SqliteDatabase) -> None:
    for number in range(60):
        first = asyncio.create_task(database.write(batch(f"first{number}")))
        others = [asyncio.create_task(database.write(batch(f"other{number}-{name}"))) for name in "abc"]
        for _ in range(number % 20):
            await asyncio.sleep(0)
        if number >= 20:
            await asyncio.sleep(number % 4 / 2_000)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await asyncio.wait_for(asyncio.gather(*others), 5)

    assert await database.read("SELECT COUNT(*) FROM batch WHERE name LIKE 'other%'") == [(180,)]
    await database.aclose()


async def test_a_machine_that_can_begin_no_thread_is_a_ledger_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = SqliteDatabase(tmp_path / "runs.db")
    await database.open()

    async def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr("anyio.to_thread.run_sync", refuse)
        with pytest.raises(LedgerError, match="can't start new thread"):
            await database.read("SELECT 1")
    assert await database.read("SELECT 1") == [(1,)]
    await database.aclose()


async def test_a_ledger_in_a_folder_that_is_not_there_is_an_error_that_names_the_folder(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match=r"runs\.db cannot be used: there is no folder .*/mistyped$"):
        await SqliteDatabase(tmp_path / "mistyped" / "runs.db").open()

    assert not (tmp_path / "mistyped").exists()


async def test_a_run_of_a_batch_without_items_is_told_in_the_log(
    service: FakeService, ledger: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(service, ledger) as batch:
        assert [outcome async for outcome in batch.run()] == []
        assert "has no items in its ledger, so nothing was run" in caplog.text
        await batch.plan(specs(1))
        caplog.clear()
        assert len([outcome async for outcome in batch.run()]) == 1
        assert [outcome async for outcome in batch.run()] == []

    assert "has no items" not in caplog.text
