"""A session with Postgres may end at any moment: nothing is written twice or lost, no start queue has two owners."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import postgres_server
import pytest
from batch import batches
from unreliable_way import UnreliableWay
from waiting import PATIENCE, until

from coreclaw_async import BatchItemState, LedgerError
from coreclaw_async.batch._ledger.spending import OverBudgetError, Spending
from coreclaw_async.batch._store import postgres_driver, postgres_session
from coreclaw_async.batch._store.database import Choice, SqlRow, StaleError, StartQueueLostError, Statement, Step
from coreclaw_async.batch._store.postgres import PostgresDatabase
from coreclaw_async.events import BatchItemChanged, Event
from coreclaw_async.testing import FakeService, RunScript

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)

ADD = "INSERT INTO batch (name, account, created) VALUES (?, ?, ?)"
NAMES = "SELECT name FROM batch ORDER BY name"
SESSIONS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'coreclaw_async'"


def batch(name: str) -> Statement:
    return Statement.of(ADD, name, "account", 1.0, changes=1)


SOON = 0.5
"""Seconds after which a server that does not answer is given up, where that is waited for."""


async def opened(
    dsn: str, patience: float = 20.0, *, answer_seconds: float = postgres_session.ANSWER_SECONDS
) -> PostgresDatabase:
    database = PostgresDatabase(dsn, patience, answer_seconds=answer_seconds)
    await database.open()
    return database


@pytest.fixture
async def database(postgres_dsn: str) -> AsyncIterator[PostgresDatabase]:
    database = await opened(postgres_dsn)
    yield database
    await database.aclose()


@pytest.fixture
async def rival(postgres_dsn: str) -> AsyncIterator[PostgresDatabase]:
    """The same database, as another process has it."""
    rival = await opened(postgres_dsn)
    yield rival
    await rival.aclose()


@pytest.fixture
async def way(postgres: postgres_server.PostgresServer) -> AsyncIterator[UnreliableWay]:
    # A connection that is lost while asyncpg is cancelled leaves a future there that nobody asks for its exception.
    loop = asyncio.get_running_loop()
    tell = loop.get_exception_handler()
    assert tell is not None, "the test runner fails for what is told"

    def tell_others(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not isinstance(context.get("exception"), ConnectionError):
            tell(loop, context)

    loop.set_exception_handler(tell_others)
    async with UnreliableWay.to(postgres.port) as way:
        yield way
    loop.set_exception_handler(tell)


@pytest.fixture
async def distant(postgres_dsn: str, way: UnreliableWay) -> AsyncIterator[PostgresDatabase]:
    """The same database, reached by *way*; *postgres_dsn* has emptied it."""
    distant = await opened(way.dsn)
    yield distant
    await distant.aclose()


async def work(database: PostgresDatabase) -> list[str]:
    """Write each batch once, with and without a start queue, alone and together; return those that are written."""
    written: list[str] = []

    async def write(name: str, start_queue: str | None = None) -> None:
        await database.write(batch(name), start_queue=start_queue)
        written.append(name)

    await write("a")
    for name in ("b", "c"):
        while True:
            with anyio.fail_after(20):
                while not await database.take_start_queue("x"):
                    await anyio.sleep(0.02)
            try:
                await write(name, "x")
                break
            except StartQueueLostError:
                await database.leave_start_queue("x")
        await database.leave_start_queue("x")
    async with anyio.create_task_group() as group:
        for name in ("d", "e", "f"):
            group.start_soon(write, name)
    assert await database.read(NAMES) == [(name,) for name in sorted(written)]
    return written


@pytest.mark.parametrize("failure", ["cut", pytest.param("silent", marks=pytest.mark.endurance(45))])
@pytest.mark.endurance
async def test_whatever_answer_is_lost_each_write_is_made_once(
    postgres: postgres_server.PostgresServer, postgres_dsn: str, failure: str
) -> None:
    await (await opened(postgres_dsn)).aclose()
    lost = 0
    for number in itertools.count(1):
        postgres.run("DELETE FROM coreclaw.batch")
        async with UnreliableWay.to(postgres.port) as way:
            setattr(way, f"{failure}_at", number)
            database = PostgresDatabase(way.dsn, 20.0, answer_seconds=SOON)
            try:
                await database.open()
            except LedgerError:
                lost += 1
                await database.open()
            assert await work(database) == ["a", "b", "c", "d", "e", "f"] or lost
            is_over = way.answers < number
            await database.aclose()
        assert postgres.run("SELECT string_agg(name, '' ORDER BY name) FROM coreclaw.batch").strip() == "abcdef"
        if is_over:
            break
    assert number > 40
    assert lost > 5


async def test_a_write_whose_commit_was_not_answered_is_not_made_again(
    way: UnreliableWay, distant: PostgresDatabase
) -> None:
    await distant.write(batch("a"))
    way.cut_answer = b"COMMIT"

    await distant.write(batch("b"))

    assert way.cut_answer is None
    assert await distant.read(NAMES) == [("a",), ("b",)]
    # The control: repeated blindly, it would have failed.
    with pytest.raises(StaleError):
        await distant.write(batch("b"))


async def test_a_commit_that_was_not_made_is_made(way: UnreliableWay, distant: PostgresDatabase) -> None:
    await distant.write(batch("a"))
    way.cut_at = way.answers + 1

    await distant.write(batch("b"))

    assert await distant.read(NAMES) == [("a",), ("b",)]


async def test_a_write_whose_commit_did_not_arrive_is_made(way: UnreliableWay, distant: PostgresDatabase) -> None:
    await distant.write(batch("a"))
    way.cut_before = b"COMMIT"

    await distant.write(batch("b"))

    assert way.cut_before is None
    assert await distant.read(NAMES) == [("a",), ("b",)]


async def test_a_session_that_was_given_up_loses_its_start_queues_though_its_connection_is_open(
    way: UnreliableWay, rival: PostgresDatabase
) -> None:
    distant = await opened(way.dsn, answer_seconds=SOON)
    assert await distant.take_start_queue("x")
    way.silent_at = way.answers + 1

    with anyio.fail_after(20):
        await distant.write(batch("a"))

    assert way.silent
    with anyio.fail_after(20):
        while not await rival.take_start_queue("x"):
            await anyio.sleep(0.02)
    await distant.aclose()


async def test_a_restart_is_waited_for_and_takes_the_start_queues_along(
    postgres: postgres_server.PostgresServer, caplog: pytest.LogCaptureFixture, database: PostgresDatabase
) -> None:
    assert await database.take_start_queue("x")
    await database.write(batch("a"), start_queue="x")
    postgres.stop()
    caplog.set_level(logging.WARNING)

    async with anyio.create_task_group() as group:
        group.start_soon(database.write, batch("b"))
        group.start_soon(database.write, batch("c"))
        group.start_soon(database.read, NAMES)
        await anyio.sleep(0.3)
        await anyio.to_thread.run_sync(postgres.start)

    assert await database.read(NAMES) == [("a",), ("b",), ("c",)]
    assert caplog.text.count("the session with the ledger in Postgres was lost") == 1
    with pytest.raises(StartQueueLostError):
        await database.write(batch("d"), start_queue="x")
    await database.leave_start_queue("x")
    assert await database.take_start_queue("x")
    await database.write(batch("d"), start_queue="x")


async def test_a_start_queue_that_another_process_has_taken_meanwhile_is_not_written_in(
    postgres: postgres_server.PostgresServer, database: PostgresDatabase, rival: PostgresDatabase
) -> None:
    assert await database.take_start_queue("x")
    assert database._session is not None
    postgres.run(f"SELECT pg_terminate_backend({database._session.pid})")
    with anyio.fail_after(PATIENCE):
        while not await rival.take_start_queue("x"):
            await anyio.sleep(0.02)

    with pytest.raises(StartQueueLostError):
        await database.write(batch("a"), start_queue="x")

    # The control: without the proof of the start queue both would write.
    await database.write(batch("control"))
    assert not await database.take_start_queue("x")
    await rival.write(batch("a"), start_queue="x")
    await rival.aclose()
    assert await database.take_start_queue("x")
    await database.write(batch("b"), start_queue="x")
    assert await database.read(NAMES) == [("a",), ("b",), ("control",)]


async def test_locks_that_are_gone_while_the_session_goes_on_are_missed(database: PostgresDatabase) -> None:
    assert await database.take_start_queue("x")
    assert await database.take_start_queue("y")
    await database.read("SELECT pg_advisory_unlock(?)", postgres_session._number_of("x"))
    failures: list[LedgerError] = []

    async def write(name: str, start_queue: str | None) -> None:
        try:
            await database.write(batch(name), start_queue=start_queue)
        except StartQueueLostError as error:
            failures.append(error)

    async with anyio.create_task_group() as group:
        for name, start_queue in (("a", "x"), ("b", "y"), ("c", None)):
            group.start_soon(write, name, start_queue)

    assert len(failures) == 1
    assert await database.read(NAMES) == [("b",), ("c",)]


@pytest.mark.endurance(15)
@pytest.mark.parametrize("seconds", [postgres_session.ANSWER_SECONDS, SOON])
async def test_a_frozen_server_is_left_for_another_session(
    postgres: postgres_server.PostgresServer, postgres_dsn: str, seconds: float
) -> None:
    database = await opened(postgres_dsn, answer_seconds=seconds)
    assert await database.take_start_queue("x")
    began = time.monotonic()
    with postgres.frozen(postgres.run(SESSIONS)):
        await database.write(batch("a"))
        took = time.monotonic() - began
        with pytest.raises(StartQueueLostError):
            await database.write(batch("b"), start_queue="x")
        await database.leave_start_queue("x")
        # The frozen session has it; nobody else does, and it ends when it goes on.
        assert not await database.take_start_queue("x")

    with anyio.fail_after(20):
        while not await database.take_start_queue("x"):
            await anyio.sleep(0.02)
    await database.write(batch("b"), start_queue="x")
    assert took < seconds + 10.0
    assert await database.read(NAMES) == [("a",), ("b",)]
    await database.aclose()


async def test_a_frozen_server_that_lets_nobody_in_ends_patience(postgres_dsn: str) -> None:
    port = int(postgres_dsn.rpartition(":")[2].partition("/")[0])
    async with UnreliableWay.to(port) as way:
        database = await opened(way.dsn, patience=1.0, answer_seconds=SOON)
        way.silent_at = way.answers + 1
        way.is_closed = True
        failures: list[str] = []

        async def ask() -> None:
            with pytest.raises(LedgerError) as caught:
                await database.read(NAMES)
            failures.append(str(caught.value))

        with anyio.fail_after(15):
            async with anyio.create_task_group() as group:
                for _ in range(20):
                    group.start_soon(ask)

        assert len(failures) == 20
        assert all("it was retried for 1 s" in failure for failure in failures)
        way.is_closed, way.silent_at = False, None
        assert await database.read(NAMES) == []
        await database.aclose()


async def test_waiting_for_the_server_can_be_cancelled(way: UnreliableWay, distant: PostgresDatabase) -> None:
    way.is_closed = True
    way.cut_at = way.answers + 1
    for asked in (
        lambda: distant.write(batch("a")),
        lambda: distant.read(NAMES),
        lambda: distant.take_start_queue("x"),
    ):
        with anyio.move_on_after(0.3) as scope, anyio.fail_after(20):
            await asked()
        assert scope.cancelled_caught
    began = time.monotonic()
    await distant.aclose()
    assert time.monotonic() - began < 5.0


async def test_a_database_that_is_closed_while_others_wait_for_the_server_says_so(
    way: UnreliableWay, distant: PostgresDatabase
) -> None:
    way.is_closed = True
    way.cut_at = way.answers + 1

    async def ask() -> None:
        with pytest.raises(LedgerError, match="closed"):
            await distant.read(NAMES)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await anyio.sleep(0.3)
            await distant.aclose()


@pytest.mark.endurance
async def test_writes_that_lock_each_other_are_made_again(
    postgres: postgres_server.PostgresServer, postgres_dsn: str
) -> None:
    first, second = await opened(postgres_dsn), await opened(postgres_dsn)
    await first.write(*(batch(f"n{number:02}") for number in range(40)))
    change = "UPDATE batch SET created = created + 1 WHERE name = ?"

    async def write(database: PostgresDatabase, names: Sequence[int]) -> None:
        for _ in range(6):
            await database.write(*(Statement.of(change, f"n{number:02}", changes=1) for number in names))

    async with anyio.create_task_group() as group:
        group.start_soon(write, first, range(40))
        group.start_soon(write, second, range(39, -1, -1))

    assert await first.read("SELECT DISTINCT created FROM batch") == [(13.0,)]
    await first.aclose()
    await second.aclose()


async def test_a_process_that_stands_still_within_a_write_does_not_stop_the_others(
    postgres: postgres_server.PostgresServer, postgres_dsn: str
) -> None:
    still, other = await opened(postgres_dsn), await opened(postgres_dsn)
    # As they are, others wait for longer than it may stand still; here it is quicker, and they ask again and again.
    assert await still.read("SHOW idle_in_transaction_session_timeout") == [("8s",)]
    assert await other.read("SHOW lock_timeout") == [("12s",)]
    await still.read("SET idle_in_transaction_session_timeout = '300ms'")
    await other.read("SET lock_timeout = '100ms'")
    await other.write(batch("a"))
    assert still._session is not None
    await still._session.begin()
    await still._session.fetch("UPDATE batch SET created = 2 WHERE name = 'a'")

    await other.write(Statement.of("UPDATE batch SET created = 3 WHERE name = 'a'", changes=1))

    assert await still.read("SELECT created FROM batch") == [(3.0,)]
    await still.aclose()
    await other.aclose()


async def test_a_ledger_that_is_made_anew_is_noticed(
    postgres: postgres_server.PostgresServer, postgres_dsn: str, database: PostgresDatabase
) -> None:
    postgres.run("DROP SCHEMA coreclaw CASCADE")
    with pytest.raises(LedgerError, match="does not exist"):
        await database.write(batch("a"))
    await (await opened(postgres_dsn)).aclose()

    with pytest.raises(LedgerError, match="made anew or restored while it was open"):
        await database.write(batch("a"))
    assert database._session is not None
    database._session.end()
    with pytest.raises(LedgerError, match="made anew or restored while it did not answer"):
        await database.write(batch("a"))


async def test_rows_of_sessions_go_with_them(postgres: postgres_server.PostgresServer, postgres_dsn: str) -> None:
    await (await opened(postgres_dsn)).aclose()
    rows = "SELECT count(*) FROM coreclaw.coreclaw_ledger WHERE name LIKE 'session%'"
    assert postgres.run(rows).strip() == "0"
    long_ago = f"{time.time() - 31 * 86_400:.0f}"
    postgres.run(
        f"INSERT INTO coreclaw.coreclaw_ledger VALUES ('session x', '5 {long_ago}'), ('session y', '5 9999999999')"
    )

    database = await opened(postgres_dsn)

    assert postgres.run(rows).strip() == "2"
    await database.aclose()


@pytest.mark.parametrize(
    "sql", ["SELECT nothing", "SELECT 1 / 0", "SELECT 1 WHERE 1 = ?", "SELECT ?::bigint", "SELECT name FROM nowhere"]
)
async def test_a_query_that_fails_is_a_clear_error_and_the_session_goes_on(
    sql: str, database: PostgresDatabase
) -> None:
    assert await database.take_start_queue("x")

    with pytest.raises(LedgerError, match="the ledger in Postgres cannot be used: "):
        await database.read(sql, *(["no number"] if "?" in sql else []))
    with pytest.raises(LedgerError):
        await database.write(Statement.of(sql, *(["no number"] if "?" in sql else [])))

    await database.write(batch("a"), start_queue="x")


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://me:s3cret@127.0.0.1:1/x",
        "postgresql://me:s3cret@nowhere.invalid/x",
        "postgresql://me:s3cret@127.0.0.1:99999999/x",
        "postgresql://me:s3cret@127.0.0.1:port/x",
        "postgresql://me:s3cret@/x?host=/nowhere",
        "postgresql://me:s3cret@127.0.0.1:1/x?sslmode=nonsense",
        "postgresql://me@127.0.0.1:1/x?sslmode=verify-full&sslrootcert=/nowhere&password=s3cret",
    ],
)
async def test_an_address_that_leads_nowhere_is_a_ledger_error(dsn: str) -> None:
    with anyio.fail_after(20), pytest.raises(LedgerError) as caught:
        await PostgresDatabase(dsn, 60.0).open()

    assert type(caught.value) is LedgerError
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "answer", [b"", b"N", b"E", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"R\0\0\0\x08\0\0\0\x63", b"\xff" * 500]
)
async def test_what_is_no_postgres_is_a_ledger_error(answer: bytes) -> None:
    async def serve(client: anyio.abc.SocketStream) -> None:
        async with client:
            await client.receive()
            if answer:
                await client.send(answer)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with anyio.create_task_group() as group:
        group.start_soon(listener.serve, serve)
        with anyio.fail_after(20), pytest.raises(LedgerError):
            await PostgresDatabase(f"postgresql://me@127.0.0.1:{port}/x", 60.0, answer_seconds=SOON).open()
        group.cancel_scope.cancel()
    await listener.aclose()


def test_rows_go_in_pieces_that_a_slow_network_carries(anyio_backend: str) -> None:
    large, small = ("x" * 1_500_000, None), ("x", 1)

    assert [len(piece) for piece in postgres_driver.pieces_of([small] * 5)] == [5]
    assert [len(piece) for piece in postgres_driver.pieces_of([large] * 7 + [small])] == [3, 3, 2]
    assert list(postgres_driver.pieces_of([])) == []


async def test_a_query_that_is_cancelled_costs_no_start_queue(database: PostgresDatabase) -> None:
    assert await database.take_start_queue("x")
    with anyio.move_on_after(0.1) as scope:
        await database.read("SELECT pg_sleep(30)")
    assert scope.cancelled_caught

    await database.write(batch("a"), start_queue="x")
    assert await database.read(NAMES) == [("a",)]


@pytest.mark.parametrize(
    "failure", ["restart", "end of sessions", pytest.param("frozen", marks=pytest.mark.endurance(20))]
)
@pytest.mark.endurance
async def test_a_batch_goes_on_after_failures_of_its_ledger_and_pays_once(
    postgres: postgres_server.PostgresServer,
    postgres_dsn: str,
    service: FakeService,
    failure: str,
) -> None:
    count, ended = 60, 0
    often = 45 if failure == "frozen" else 15

    async def fail() -> None:
        if failure == "restart":
            await anyio.to_thread.run_sync(postgres.stop)
            await anyio.to_thread.run_sync(postgres.start)
        elif failure == "end of sessions":
            postgres.run(SESSIONS.replace("SELECT pid", "SELECT pg_terminate_backend(pid)"))
        else:
            with postgres.frozen(postgres.run(SESSIONS)):
                await anyio.sleep(postgres_session.ANSWER_SECONDS + 1.0)

    async with batches.opened(service, postgres_dsn, count=count) as running:
        async for outcome in running.run(max_in_flight=4):
            assert outcome.state == "done"
            ended += 1
            if ended % often == 0:
                await fail()
        assert (await running.report()).counts[BatchItemState.DONE] == count
    assert set(batches.runs_by_key(service).values()) == {1}
    assert len(batches.runs_by_key(service)) == count


async def test_a_transaction_that_has_failed_is_not_taken_for_a_commit(database: PostgresDatabase) -> None:
    session = database._session
    assert session is not None
    await session.begin()
    with pytest.raises(LedgerError, match="division by zero"):
        await session.run("SELECT 1 / 0")

    with pytest.raises(LedgerError, match="COMMIT was answered with ROLLBACK"):
        await session.commit()

    await database.write(batch("a"))


async def test_a_session_whose_transaction_cannot_be_undone_is_over(
    postgres: postgres_server.PostgresServer, postgres_dsn: str
) -> None:
    async with UnreliableWay.to(postgres.port) as way:
        session = await postgres_session.Session.begun(way.dsn)
        await session.begin()
        way.cut_at = way.answers + 1

        await session.roll_back()

        assert session.is_over
        await session.roll_back()
        await session.close()


async def test_a_waiter_that_the_driver_has_cancelled_is_a_lost_session(postgres_dsn: str) -> None:
    session = await postgres_session.Session.begun(postgres_dsn)

    async def cancelled() -> None:
        raise asyncio.CancelledError

    with pytest.raises(postgres_session.PassingError, match="was cut off"):
        await session._answer(cancelled())

    assert session.is_over


@pytest.mark.endurance
async def test_a_write_that_asyncio_cancels_in_the_middle_costs_no_other_write(database: PostgresDatabase) -> None:
    for number in range(40):
        first = asyncio.create_task(database.write(batch(f"first{number}")))
        others = [asyncio.create_task(database.write(batch(f"other{number}-{name}"))) for name in "abc"]
        for _ in range(number):
            await asyncio.sleep(0)
        await asyncio.sleep(number % 4 / 2_000)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await asyncio.gather(*others)

    assert await database.read("SELECT COUNT(*) FROM batch WHERE name LIKE 'other%'") == [(120,)]


async def test_a_write_that_asyncio_cancels_while_its_commit_is_answered_costs_no_other_write(
    way: UnreliableWay, distant: PostgresDatabase
) -> None:
    async with distant._turn:  # So that both are in one transaction.
        first, other = (asyncio.create_task(distant.write(batch(name))) for name in ("first", "other"))
        await asyncio.sleep(0.05)
        way.silent_answer = b"COMMIT"
    await until(lambda: way.silent, "the silence", pause=0.01)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await other

    assert first.cancelled()
    assert await distant.read(NAMES) == [("first",), ("other",)]


async def test_a_start_queue_whose_lock_is_not_answered_is_taken_by_the_next_session(
    way: UnreliableWay, distant: PostgresDatabase, rival: PostgresDatabase
) -> None:
    way.cut_answer = b"pg_try_advisory_lock"

    assert await distant.take_start_queue("x")

    assert way.cut_answer is None
    assert not await rival.take_start_queue("x")


async def test_a_session_that_is_lost_while_it_is_closed_is_closed_all_the_same(
    way: UnreliableWay, distant: PostgresDatabase
) -> None:
    way.cut_answer = b"DELETE"

    await distant.aclose()

    assert way.cut_answer is None
    with pytest.raises(LedgerError, match="closed"):
        await distant.read(NAMES)


async def test_a_start_queue_is_given_back_while_the_database_is_closed(
    database: PostgresDatabase, rival: PostgresDatabase
) -> None:
    assert await database.take_start_queue("x")
    async with anyio.create_task_group() as group, database._turn:
        group.start_soon(database.leave_start_queue, "x")
        await anyio.wait_all_tasks_blocked()
        await database.aclose()

    assert await rival.take_start_queue("x")


async def test_what_was_refused_stays_so_when_the_session_is_lost(
    way: UnreliableWay, distant: PostgresDatabase
) -> None:
    refused: list[LedgerError] = []

    async def write(name: str, start_queue: str | None) -> None:
        try:
            await distant.write(batch(name), start_queue=start_queue)
        except StartQueueLostError as error:
            refused.append(error)

    async with anyio.create_task_group() as group, distant._turn:
        group.start_soon(write, "a", "never taken")
        group.start_soon(write, "b", None)
        await anyio.wait_all_tasks_blocked()
        way.cut_at = way.answers + 1

    assert len(refused) == 1
    assert await distant.read(NAMES) == [("b",)]


@pytest.mark.parametrize("lost", ["nothing", "statement", "answer", "commit"])
async def test_what_was_refused_beside_a_write_stays_so_when_the_commit_is_not_answered(
    postgres: postgres_server.PostgresServer, postgres_dsn: str, lost: str
) -> None:
    def refuse(rows: list[SqlRow]) -> list[Statement]:
        raise OverBudgetError(Spending(Decimal(1)))

    refused: dict[str, Step] = {
        "StaleError": Statement.of("UPDATE batch SET created = 2 WHERE name = ?", "nobody", changes=1),
        "OverBudgetError": Choice("SELECT 1", (), refuse),
        "LedgerError": batch("\ud800"),
        # Refused because of a write beside it: if that was not made, only another try can tell.
        "written": batch("same"),
    }
    async with UnreliableWay.to(postgres.port) as way:
        database = await opened(way.dsn)
        await database.write(batch("before"))

        async def end_of(step: Step, into: list[str]) -> None:
            try:
                await database.write(step)
                into.append("written")
            except (StaleError, LedgerError) as error:
                into.append(type(error).__name__)

        async def write_all(suffix: str) -> list[str]:
            ends: list[str] = []
            async with anyio.create_task_group() as group, database._turn:
                group.start_soon(end_of, batch(f"good{suffix}"), ends)
                for step in refused.values():
                    group.start_soon(end_of, step, ends)
                group.start_soon(end_of, batch("same"), ends)
                await anyio.wait_all_tasks_blocked()
                if suffix == "2" and lost in {"statement", "answer"}:
                    way.cut_answer = b"INSERT" if lost == "statement" else b"COMMIT"
                if suffix == "2" and lost == "commit":
                    way.cut_before = b"COMMIT"
            return sorted(ends)

        expected = await write_all("1")
        await database.write(Statement.of("DELETE FROM batch WHERE name = 'same'"))

        assert expected == ["LedgerError", "OverBudgetError", "StaleError", "StaleError", "written", "written"]
        assert await write_all("2") == expected
        assert (way.cut_before, way.cut_answer) == (None, None), "the connection was cut where it was to be"
        assert await database.read(NAMES) == [(name,) for name in ("before", "good1", "good2", "same")]
        await database.aclose()


async def test_a_database_that_is_closed_while_another_session_begins_leaves_none(
    postgres: postgres_server.PostgresServer, postgres_dsn: str
) -> None:
    await (await opened(postgres_dsn)).aclose()  # So that the tables are there.
    async with UnreliableWay.to(postgres.port) as way:
        database = await opened(way.dsn)
        begun = way.answers
        way.cut_at, way.silent_at = begun + 1, 2 * begun

        async def ask() -> None:
            with pytest.raises(LedgerError, match="closed"):
                await database.read(NAMES)

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await until(lambda: way.answers >= 2 * begun, "the answers before the silence", pause=0.01)
            await database.aclose()
            way.goes_on.set()

        with anyio.fail_after(20):
            while postgres.run(SESSIONS).strip():
                await anyio.sleep(0.05)


async def test_start_queues_of_a_machine_that_is_gone_are_free_after_a_minute(database: PostgresDatabase) -> None:
    times = [await database.read(f"SHOW tcp_keepalives_{name}") for name in ("idle", "interval", "count")]

    assert times == [[("30",)], [("10",)], [("3",)]]


async def test_a_run_that_cannot_be_written_down_is_named_and_found_by_the_next_process(
    postgres: postgres_server.PostgresServer,
    postgres_dsn: str,
    service: FakeService,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with UnreliableWay.to(postgres.port) as way:

        def cut(event: Event) -> None:
            if isinstance(event, BatchItemChanged) and event.state == "intent":
                way.is_closed, way.cut_at = True, way.answers + 1

        with anyio.fail_after(PATIENCE):
            async with batches.opened(service, way.dsn, count=1, on_event=cut) as running:
                await batches.take_until(running.run(), lambda: service.runs)
        (run_id,) = service.runs
        assert f"run {run_id} of item 'k0' was started and could not be recorded in the ledger" in caplog.text

    async with batches.opened(service, postgres_dsn, exclusive=True) as running:
        (outcome,) = await batches.finish(running)

    assert (outcome.run_id, outcome.state) == (run_id, "done")
    assert set(batches.runs_by_key(service).values()) == {1}


async def test_a_failover_to_a_standby_that_is_behind_is_noticed(
    postgres: postgres_server.PostgresServer, postgres_dsn: str
) -> None:
    current, behind = await opened(postgres_dsn), await opened(postgres_dsn)
    for database in (current, behind):
        await database.write(batch(f"{id(database)}"))
    copy = await anyio.to_thread.run_sync(postgres.backup)
    await behind.write(batch("lost"))
    assert await behind.take_start_queue("x")
    await anyio.to_thread.run_sync(postgres.replace_with, copy)

    for _ in range(2):
        with pytest.raises(LedgerError, match=r"has lost acknowledged writes.*synchronous replication"):
            await behind.write(batch("after"))
        with pytest.raises(LedgerError, match="has lost acknowledged writes"):
            await behind.read(NAMES)
        with pytest.raises(LedgerError, match="has lost acknowledged writes"):
            await behind.take_start_queue("y")
        with pytest.raises(LedgerError, match="has lost acknowledged writes"):
            await behind.write(batch("after"), start_queue="x")
    # The control: a session of which nothing is missing goes on.
    await current.write(batch("after"))
    await current.aclose()
    await behind.aclose()


@pytest.mark.endurance
async def test_a_batch_whose_ledger_has_lost_what_it_acknowledged_starts_nothing_more(
    postgres: postgres_server.PostgresServer, postgres_dsn: str, service: FakeService
) -> None:
    service.default_script = RunScript(duration=3600.0)
    copies: list[Path] = []
    seen: list[str] = []

    def fail_over(event: Event) -> None:
        if isinstance(event, BatchItemChanged):
            seen.append(event.state)
            if seen.count("submitted") == 3 and copies:
                postgres.replace_with(copies.pop())

    async with batches.opened(service, postgres_dsn, count=6, on_event=fail_over) as running:
        copies.append(postgres.backup())
        with pytest.raises(LedgerError, match=r"has lost acknowledged writes|was made anew or restored"):
            await batches.finish(running, max_in_flight=4)
        paid = service.runs_created
        with pytest.raises(LedgerError, match=r"has lost acknowledged writes|was made anew or restored"):
            await batches.finish(running, max_in_flight=4)

    assert not copies
    assert service.runs_created == paid <= 4
    assert set(batches.runs_by_key(service).values()) == {1}


async def test_a_write_waits_while_the_tables_are_renewed_and_is_then_not_made(postgres_dsn: str) -> None:
    database, newer = await opened(postgres_dsn), await opened(postgres_dsn)
    assert newer._session is not None
    await newer._session.run(
        f"BEGIN; SELECT pg_advisory_xact_lock({postgres_session._TABLES_LOCK}); "
        "UPDATE coreclaw_ledger SET value = '4' WHERE name = 'version'"
    )
    ends: list[str] = []

    async def write() -> None:
        with pytest.raises(LedgerError, match="has version 4 by now"):
            await database.write(batch("a"))
        ends.append("refused")

    async with anyio.create_task_group() as group:
        group.start_soon(write)
        await anyio.sleep(0.3)
        assert not ends
        await newer._session.commit()

    assert ends == ["refused"]
    assert await database.read(NAMES) == []
    await database.aclose()
    await newer.aclose()
