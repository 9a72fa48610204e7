"""A database keeps each write, whole or not at all, when its process ends; the same for each kind."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
from decimal import Decimal
from pathlib import Path

import anyio
import postgres_server
import pytest

from coreclaw_async import ConfigurationError, LedgerError
from coreclaw_async.batch import BatchItem, BatchItemRun, Shard
from coreclaw_async.batch._ledger.batch_ledger import BatchLedger
from coreclaw_async.batch._ledger.columns import names_of
from coreclaw_async.batch._ledger.ownership import Owner, start_queue_lock
from coreclaw_async.batch._ledger.spending import Spending
from coreclaw_async.batch._specs import PlannedSpec
from coreclaw_async.batch._store import schema
from coreclaw_async.batch._store.address import database_at, is_postgres, shown_ledger
from coreclaw_async.batch._store.database import Choice, Database, SqlRow, StaleError, Statement
from coreclaw_async.batch._store.postgres import PostgresDatabase
from coreclaw_async.batch._store.sqlite import SqliteDatabase

ADD = "INSERT INTO batch (name, account, created) VALUES (?, ?, ?)"
NAMES = "SELECT name FROM batch ORDER BY name"


def batch(name: str) -> Statement:
    return Statement.of(ADD, name, "account", 1.0, changes=1)


@pytest.fixture
async def database(ledger: str) -> Database:
    database = database_at(ledger)
    await database.open()
    return database


async def test_what_was_written_is_read(database: Database) -> None:
    await database.write(batch("a"), batch("b"))

    assert await database.read(NAMES) == [("a",), ("b",)]
    assert await database.read("SELECT created FROM batch WHERE name = ?", "a") == [(1.0,)]
    await database.aclose()


async def test_what_a_query_finds_decides_how_a_write_goes_on(database: Database) -> None:
    def follow(rows: list[SqlRow]) -> list[Statement]:
        if len(rows) > 1:
            raise StaleError("too many")
        return [Statement.of("UPDATE batch SET account = ? WHERE name = ?", f"of {len(rows)}", "a", changes=1)]

    choice = Choice("SELECT name FROM batch WHERE created = ?", (1.0,), follow)
    await database.write(batch("a"), choice)
    with pytest.raises(StaleError, match="too many"):
        await database.write(batch("b"), choice)

    assert await database.read("SELECT name, account FROM batch") == [("a", "of 1")]
    await database.aclose()


async def test_a_write_is_whole_or_nothing(database: Database) -> None:
    with pytest.raises(StaleError):
        await database.write(batch("a"), Statement.of("UPDATE batch SET created = 2 WHERE name = ?", "none", changes=1))
    with pytest.raises(StaleError):
        await database.write(batch("b"), batch("b"))

    assert await database.read(NAMES) == []
    await database.aclose()


async def test_one_failure_leaves_the_writes_beside_it_alone(database: Database) -> None:
    failures: list[str] = []

    async def write(name: str) -> None:
        try:
            await database.write(batch(name.strip("!")), Statement.of(ADD, "same", "x", 0.0)) if "!" in name else (
                await database.write(batch(name))
            )
        except StaleError:
            failures.append(name)

    async with anyio.create_task_group() as group:
        for name in ("a", "b!", "c", "d!", "e"):
            group.start_soon(write, name)

    assert len(failures) == 1
    kept = {"a", "c", "e", "same", ({"b!", "d!"} - set(failures)).pop().strip("!")}
    assert {name for (name,) in await database.read(NAMES)} == kept
    await database.aclose()


async def test_a_value_that_cannot_be_written_fails_clearly_and_hangs_nobody(database: Database) -> None:
    failures: list[Exception] = []

    async def write(name: str) -> None:
        try:
            await database.write(batch(name))
        except LedgerError as error:
            failures.append(error)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            for name in ("a", "\ud800", "b"):
                group.start_soon(write, name)

    assert len(failures) == 1
    assert await database.read(NAMES) == [("a",), ("b",)]
    await database.write(batch("c"))
    await database.aclose()


async def test_many_rows_go_in_one_statement(database: Database) -> None:
    await database.write(Statement(ADD, [(f"n{number}", "x", 0.0) for number in range(1_000)]))

    assert await database.read("SELECT COUNT(*) FROM batch") == [(1_000,)]
    await database.aclose()


async def test_a_closed_database_says_so(database: Database) -> None:
    await database.aclose()
    await database.aclose()

    with pytest.raises(LedgerError, match="closed"):
        await database.read(NAMES)
    with pytest.raises(LedgerError, match="closed"):
        await database.write(batch("a"))


@pytest.mark.parametrize("ledger", ["sqlite", "postgres"], indirect=True)
async def test_what_was_written_is_there_after_the_process(ledger: str) -> None:
    for names in ([], [("a",)]):
        database = database_at(ledger)
        await database.open()
        assert await database.read(NAMES) == names
        if not names:
            await database.write(batch("a"))
        await database.aclose()


@pytest.mark.parametrize("ledger", ["sqlite", "postgres"], indirect=True)
async def test_a_start_queue_belongs_to_one_database_at_a_time(ledger: str) -> None:
    first, second = database_at(ledger), database_at(ledger)
    await first.open()
    await second.open()

    assert await first.take_start_queue("x")
    assert not await second.take_start_queue("x")
    assert await second.take_start_queue("y")
    await first.leave_start_queue("x")
    assert await second.take_start_queue("x")
    await second.aclose()
    assert await first.take_start_queue("x")
    await first.leave_start_queue("x")
    await first.leave_start_queue("never taken")
    await first.aclose()


async def test_a_start_queue_in_memory_is_always_free() -> None:
    database = database_at("memory")
    await database.open()

    assert await database.take_start_queue("x")
    await database.leave_start_queue("x")
    await database.aclose()


async def test_a_start_queue_is_taken_once_in_a_database(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "runs.db")
    await database.open()

    assert await database.take_start_queue("x")
    assert not await database.take_start_queue("x")
    await database.aclose()


@pytest.mark.parametrize("ledger", ["sqlite", "postgres"], indirect=True)
async def test_a_newer_ledger_is_refused(ledger: str) -> None:
    database = database_at(ledger)
    await database.open()
    await database.write(Statement.of("UPDATE coreclaw_ledger SET value = '999' WHERE name = 'version'"))
    await database.aclose()

    with pytest.raises(LedgerError, match="version 999, and this version of coreclaw_async knows 3: update"):
        await database_at(ledger).open()


# What makes tables of the third version those of the second, as long as no item has a verdict.
_SECOND_VERSION_AGAIN = (
    "DROP INDEX item_by_verdict",
    "ALTER TABLE item DROP COLUMN verdict",
    "UPDATE coreclaw_ledger SET value = '2' WHERE name = 'version'",
)
_FIRST_VERSION = (
    "CREATE TABLE coreclaw_ledger (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "INSERT INTO coreclaw_ledger VALUES ('version', '1')",
    *schema.MIGRATIONS[0],
    "INSERT INTO batch VALUES ('a', 'account', 1.5)",
    (
        "INSERT INTO item VALUES ('a', 'k', 0, 'w', NULL, '00', '{}', 'done', 1, NULL, 1.5, 'R1', 'answer', '[]', 5, "
        "1234000000, NULL)"
    ),
    (
        "INSERT INTO item VALUES ('a', 'l', 1, 'w', NULL, '00', '{}', 'done', 1, NULL, 1.5, 'R5', 'answer', '[]', 0, "
        "NULL, NULL)"
    ),
    "INSERT INTO run VALUES ('account', 'R1', 'a', 'k', 1, 'answer', 'done', 5, 1234000000, NULL)",
    "INSERT INTO run VALUES ('account', 'R2', 'a', 'k', 2, 'answer', 'done', 5, 7, NULL)",
    "INSERT INTO run VALUES ('account', 'R3', 'a', 'k', 3, 'answer', 'failed', NULL, NULL, 'broke')",
    "INSERT INTO run VALUES ('account', 'R4', 'a', 'k', 4, 'answer', 'failed', NULL, -5, 'broke')",
)


@pytest.mark.parametrize("ledger", ["sqlite", "postgres"], indirect=True)
async def test_the_tables_have_the_columns_that_the_records_name(ledger: str) -> None:
    database = database_at(ledger)
    await database.open()
    if ledger.startswith("sqlite"):
        columns = "SELECT name FROM pragma_table_info(?)"
    else:
        columns = (
            "SELECT column_name FROM information_schema.columns WHERE table_schema = 'coreclaw' AND table_name = ?"
        )

    found = {table: {name for (name,) in await database.read(columns, table)} for table in ("item", "run", "budget")}

    assert found == {
        "item": {*names_of(BatchItem), *names_of(PlannedSpec)},
        "run": {*names_of(BatchItemRun), "account", "batch", "key", "worker_id", "day"},
        "budget": {*names_of(Spending), "batch"},
    }
    await database.aclose()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_an_older_ledger_becomes_a_newer_one(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if kind == "sqlite":
        where = f"sqlite:///{tmp_path / 'runs.db'}"
        with sqlite3.connect(tmp_path / "runs.db") as connection:
            for statement in _FIRST_VERSION:
                connection.execute(statement)
        connection.close()
    else:
        where = request.getfixturevalue("postgres_dsn")
        server = request.getfixturevalue("postgres")
        server.run(f"CREATE SCHEMA coreclaw; SET search_path = coreclaw; {'; '.join(_FIRST_VERSION)}")

    for _ in range(2):
        database = database_at(where)
        await database.open()
        ledger = BatchLedger(database, "a", Owner(account="account", of_key="account"), Shard())
        totals, item, verdicts = await ledger.totals(), await ledger.item("k"), await ledger.verdicts()
        await database.aclose()

        assert (totals.all.cost, totals.all.runs, totals.all.unknown_costs) == (Decimal("1.234000007"), 4, 2)
        assert list(totals.by_worker) == ["w"]
        assert {verdict: count for verdict, count in verdicts.items() if count} == {"empty": 1}
        assert item is not None
        assert (item.cost, item.priority, item.cancel_requested, item.path) == (Decimal("1.234"), 0, 0, None)


@pytest.mark.parametrize("ledger", ["sqlite", "postgres"], indirect=True)
@pytest.mark.parametrize("version", ["1", "4"])
async def test_nothing_is_written_once_the_ledger_has_another_version(ledger: str, version: str) -> None:
    database, other = database_at(ledger), database_at(ledger)
    await database.open()
    await other.open()
    assert await database.take_start_queue("x")
    # The control: until then both write.
    await database.write(batch("a"), start_queue="x")
    await other.write(Statement.of("UPDATE coreclaw_ledger SET value = ? WHERE name = 'version'", version))

    for start_queue in ("x", None):
        with pytest.raises(LedgerError, match=rf"has version {version} by now.*knows 3") as caught:
            await database.write(batch("b"), start_queue=start_queue)
        assert type(caught.value) is LedgerError

    assert await database.read(NAMES) == [("a",)]
    await database.aclose()
    await other.aclose()


@pytest.mark.parametrize("ledger", ["sqlite", "postgres"], indirect=True)
@pytest.mark.parametrize("slug", ["listed", "guessed"])
async def test_a_ledger_is_not_renewed_while_a_start_queue_is_held(ledger: str, slug: str) -> None:
    worker, newer = database_at(ledger), database_at(ledger)
    await worker.open()
    await worker.write(
        batch("a"),
        Statement.of("INSERT INTO lane VALUES ('account', 'me~w', 'listed', 0)"),
        Statement.of(
            "INSERT INTO item (batch, key, position, worker_id, input_sha256, input, state, attempt, candidates) "
            "VALUES ('a', 'k', 0, 'guessed', '00', '{}', 'planned', 0, '[]')"
        ),
    )
    start_queue = start_queue_lock("account", slug)
    assert await worker.take_start_queue(start_queue)
    for statement in _SECOND_VERSION_AGAIN:
        await worker.read(statement)

    with pytest.raises(LedgerError, match=r"version 2 .* version 3, .* while another process starts items of it"):
        await newer.open()
    assert await worker.read("SELECT value FROM coreclaw_ledger WHERE name = 'version'") == [("2",)]

    await worker.leave_start_queue(start_queue)
    await newer.open()
    assert await newer.read("SELECT verdict FROM item") == [(None,)]
    await newer.aclose()
    await worker.aclose()


async def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    text, database = tmp_path / "notes.txt", tmp_path / "other.db"
    text.write_text("Dear diary, today I have scraped nothing at all. " * 40)
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE cats (name TEXT)")
    connection.close()

    with pytest.raises(LedgerError, match=r"notes\.txt cannot be used: file is not a database"):
        await SqliteDatabase(text).open()
    with pytest.raises(LedgerError, match="a database of another program, not a ledger"):
        await SqliteDatabase(database).open()

    assert text.read_text().startswith("Dear diary")


async def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    database = SqliteDatabase(path)
    await database.open()
    await database.write(batch("a"))
    await database.take_start_queue("x")

    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    await database.aclose()

    assert modes == {"runs.db": 0o600, "runs.db-wal": 0o600, "runs.db-shm": 0o600, "runs.db-lanes": 0o700}


async def test_a_folder_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="cannot be used"):
        await SqliteDatabase(tmp_path / "nowhere" / "runs.db").open()


async def test_a_full_disk_loses_nothing_and_says_so(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "runs.db")
    await database.open()
    await database.write(batch("a"))
    await database.read("PRAGMA max_page_count = 1")  # SQLite then finds the disk full, at the next page that it needs.

    with pytest.raises(LedgerError, match="full"):
        await database.write(Statement(ADD, [(f"n{number}" * 20, "x", 0.0) for number in range(2_000)]))

    assert await database.read(NAMES) == [("a",)]
    await database.read("PRAGMA max_page_count = 100000")
    await database.write(batch("b"))
    await database.aclose()


async def test_a_folder_that_nobody_may_write_to_is_a_clear_error(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    if os.geteuid() == 0:  # Root may write everywhere else.
        folder = Path("/proc/self")

    with pytest.raises(LedgerError, match=r"runs\.db cannot be used"):
        await SqliteDatabase(folder / "runs.db").open()
    with pytest.raises(LedgerError, match="unable to open"):
        await SqliteDatabase(tmp_path).open()


async def test_a_file_that_is_mounted_by_itself_is_refused(tmp_path: Path) -> None:
    """Two containers that each mount the same file have a log and locks of their own: both start the same runs."""
    folder, mounts = tmp_path / "two words", tmp_path / "mounts"
    folder.mkdir()
    place = str(folder.resolve() / "runs.db").replace(" ", "\\040")
    mounts.write_text(f"/dev/sda / ext4 rw 0 0\n/dev/sda {place} ext4 rw 0 0\n")

    with pytest.raises(LedgerError, match=r"runs\.db is mounted as a single file.*mount the folder that"):
        await SqliteDatabase(folder / "runs.db", mounts=mounts).open()

    assert list(folder.iterdir()) == []
    database = SqliteDatabase(folder / "others.db", mounts=mounts)
    await database.open()
    await database.aclose()


async def test_the_last_mount_of_a_folder_counts(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"server:/x {tmp_path.resolve()} nfs rw 0 0\n/dev/sda {tmp_path.resolve()} ext4 rw 0 0\n")
    database = SqliteDatabase(tmp_path / "runs.db", mounts=mounts)

    await database.open()

    await database.aclose()


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "gpfs"])
async def test_a_file_system_that_other_machines_share_is_refused(tmp_path: Path, kind: str) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda / ext4 rw 0 0\nserver:/x {tmp_path.resolve()} {kind} rw 0 0\n")

    with pytest.raises(LedgerError, match=f"of type {kind}, where two machines could start the same runs"):
        await SqliteDatabase(tmp_path / "runs.db", mounts=mounts).open()

    assert not (tmp_path / "runs.db").exists()


async def test_a_machine_that_names_no_mounts_is_believed(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for mounts in (tmp_path / "none", tmp_path / "empty"):
        database = SqliteDatabase(tmp_path / "runs.db", mounts=mounts)
        await database.open()
        assert await database.read(NAMES) == []
        await database.aclose()


async def test_many_writes_become_durable_together(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "runs.db")
    await database.open()
    commits = 0

    def note(statement: str) -> None:
        nonlocal commits
        commits += statement == "COMMIT"

    assert database._connection is not None
    database._connection.set_trace_callback(note)
    async with anyio.create_task_group() as group:
        for number in range(200):
            group.start_soon(database.write, batch(f"n{number}"))

    assert await database.read("SELECT COUNT(*) FROM batch") == [(200,)]
    assert commits < 20
    await database.aclose()


async def test_a_write_does_not_queue_behind_writers_whose_writes_are_done() -> None:
    database = SqliteDatabase(None)
    await database.open()
    rounds = 0

    async def count_rounds() -> None:
        nonlocal rounds
        while True:
            rounds += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        for number in range(300):
            group.start_soon(database.write, batch(f"n{number}"))
        await anyio.lowlevel.checkpoint()
        group.start_soon(count_rounds)
        await database.write(batch("late"))
        group.cancel_scope.cancel()

    assert rounds < 25
    assert await database.read("SELECT COUNT(*) FROM batch") == [(301,)]
    await database.aclose()


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.parametrize("cut_off", [0, 1])
async def test_a_writer_that_asyncio_cancels_while_it_waits_holds_up_no_other(tmp_path: Path, cut_off: int) -> None:
    database = SqliteDatabase(tmp_path / "runs.db")
    await database.open()
    with anyio.fail_after(20):
        async with database._turn:
            writers = [asyncio.create_task(database.write(batch(name))) for name in ("a", "b", "c")]
            await asyncio.sleep(0)
            writers.pop(cut_off).cancel()
            await asyncio.sleep(0)
        await asyncio.gather(*writers)
        await database.write(batch("d"))

    assert await database.read(NAMES) == [("a",), ("b",), ("c",), ("d",)]
    await database.aclose()


@pytest.mark.parametrize("ledger", ["sqlite", "postgres"], indirect=True)
async def test_a_write_that_is_cancelled_is_whole_all_the_same(ledger: str) -> None:
    database = database_at(ledger)
    await database.open()
    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(database.write, batch(f"n{number}"), batch(f"m{number}"))
        await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()

    ((count,),) = await database.read("SELECT COUNT(*) FROM batch")
    assert count % 2 == 0
    await database.write(batch("after"))
    await database.aclose()


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_postgres_that_goes_is_a_clear_error_and_takes_its_start_queues_along(
    postgres: postgres_server.PostgresServer, postgres_dsn: str
) -> None:
    database, rival = PostgresDatabase(postgres_dsn, patience=0.3), PostgresDatabase(postgres_dsn, patience=0.3)
    await database.open()
    assert await database.take_start_queue("x")
    await database.write(batch("a"))
    postgres.stop()

    with pytest.raises(LedgerError, match="Postgres cannot be used"):
        await database.write(batch("b"))
    with pytest.raises(LedgerError, match="Postgres cannot be used"):
        await database.read(NAMES)
    await database.leave_start_queue("x")
    await database.aclose()
    with pytest.raises(LedgerError, match="Postgres cannot be used"):
        await rival.open()
    postgres.start()

    await rival.open()
    assert await rival.take_start_queue("x")
    assert await rival.read(NAMES) == [("a",)]
    await rival.aclose()


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_postgres_with_an_old_password_gives_it_not_away(postgres: postgres_server.PostgresServer) -> None:
    dsn = f"postgresql://postgres:tr0ub4dor@127.0.0.1:{postgres.port}/nowhere-tr0ub4dor"

    with pytest.raises(LedgerError) as caught:
        await PostgresDatabase(dsn, patience=60.0).open()

    assert "tr0ub4dor" not in f"{caught.value!r}{caught.value.__cause__}"


@pytest.mark.parametrize("anyio_backend", ["trio"], indirect=True)
async def test_postgres_and_trio_are_told_apart_before_anything_is_sent() -> None:
    with pytest.raises(ConfigurationError, match="needs asyncio"):
        await PostgresDatabase("postgresql://127.0.0.1/x", patience=60.0).open()


async def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "asyncpg", None)

    with pytest.raises(ConfigurationError, match=r"coreclaw-async\[postgres\]"):
        await PostgresDatabase("postgresql://127.0.0.1/x", patience=60.0).open()


def test_addresses_say_what_they_mean(tmp_path: Path) -> None:
    assert isinstance(database_at("sqlite:///runs.db"), SqliteDatabase)
    assert isinstance(database_at("runs.db"), SqliteDatabase)
    assert isinstance(database_at(tmp_path / "runs.db"), SqliteDatabase)
    assert isinstance(database_at("postgres://127.0.0.1/x"), PostgresDatabase)
    assert is_postgres("postgresql://x/y")
    assert not is_postgres(tmp_path)


@pytest.mark.parametrize(
    "ledger",
    [
        *("", "sqlite:///", "sqlite:runs.db", "mysql://me:pw@h/x", "postgresql:x", "postgresql:/me:pw@h/x"),
        *("postgres:me:pw@h/x", "mysql:///x?user=me&password=pw", "mysql://me:pw/d@h/x"),
    ],
)
def test_other_addresses_are_refused_without_their_passwords(ledger: str) -> None:
    with pytest.raises(ValueError, match=r"ledger must be 'sqlite:///file\.db', 'postgresql://\.\.\.'") as caught:
        database_at(ledger)

    assert "pw" not in str(caught.value)


def test_an_address_must_be_a_text_or_a_path() -> None:
    with pytest.raises(TypeError, match=r"ledger must be .* not int"):
        database_at(5)  # type: ignore[arg-type]


def test_a_shown_ledger_has_no_password(tmp_path: Path) -> None:
    assert shown_ledger("postgresql://me:pw@db/x") == "postgresql://db/x"
    assert shown_ledger("postgresql://[me:pw@db/x") == "an address that cannot be read"
    assert shown_ledger("postgresql:///x?user=me&password=pw") == "postgresql:///x"
    assert shown_ledger("postgresql://me:pw@[::1]:5432,h:1/x") == "postgresql://[::1]:5432,h:1/x"
    assert shown_ledger("host=db user=me password=pw") == "host=db user=me password=<hidden>"
    assert shown_ledger("sqlite:///at@home/runs.db?.db") == "sqlite:///at@home/runs.db?.db"
    assert shown_ledger(tmp_path) == str(tmp_path)


@pytest.mark.parametrize("password", ["hun/ter", "hun?ter", "hun#ter", "hun[ter", "hun@ter", "hun:ter", "/hun", "?hun"])
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_password_that_is_not_escaped_is_shown_nowhere_not_even_in_part(password: str) -> None:
    ledger = f"postgresql://me:{password}@127.0.0.1:9/x"

    with pytest.raises(LedgerError) as raised:
        await PostgresDatabase(ledger, 0.0).open()

    for part in ("hun", "ter"):
        assert part not in f"{raised.value} {shown_ledger(ledger)}"
