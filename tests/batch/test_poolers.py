"""Behind a pooler a session may be another one from transaction to transaction: then nothing is written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack

import anyio
import asyncpg
import pgbouncer_server
import postgres_server
import pytest

from coreclaw_async import LedgerError
from coreclaw_async.batch._store.database import Statement
from coreclaw_async.batch._store.postgres import PostgresDatabase
from coreclaw_async.batch._store.postgres_session import _number_of

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)

ADD = "INSERT INTO batch (name, account, created) VALUES (?, ?, ?)"
REFUSAL = "pooler in transaction mode.* use a direct connection, or the pooler's session mode"
Pooler = Callable[[str, int], str]


def batch(name: str) -> Statement:
    return Statement.of(ADD, name, "account", 1.0, changes=1)


@pytest.fixture
def pooler(postgres: postgres_server.PostgresServer, postgres_dsn: str) -> Iterator[Pooler]:
    program = pgbouncer_server.found()
    if program is None:
        pytest.skip("pgbouncer is not installed")
    with ExitStack() as stack:
        yield lambda mode, size: stack.enter_context(pgbouncer_server.running(program, postgres.port, mode, size))


@pytest.mark.endurance
async def test_without_the_proof_two_processes_hold_one_start_queue(pooler: Pooler) -> None:
    dsn = pooler("transaction", 1)
    start_queue = _number_of("x")
    first, second = await asyncpg.connect(dsn), await asyncpg.connect(dsn)

    assert await first.fetchval(f"SELECT pg_try_advisory_lock({start_queue})")
    assert await second.fetchval(f"SELECT pg_try_advisory_lock({start_queue})")

    first.terminate()
    second.terminate()


@pytest.mark.endurance
@pytest.mark.parametrize("size", [1, 2, 5])
async def test_in_transaction_mode_no_two_databases_write_in_one_start_queue(pooler: Pooler, size: int) -> None:
    dsn = pooler("transaction", size)
    refused: list[LedgerError] = []

    async def rounds(database: PostgresDatabase, name: str, written: list[str]) -> None:
        """Write in the start queue until the first refusal."""
        try:
            await database.open()
            while not await database.take_start_queue("x"):
                await anyio.sleep(0.01)
            for number in range(10):
                await database.write(batch(f"{name}{number}"), start_queue="x")
                written.append(name)
                await anyio.sleep(0.01)
        except LedgerError as error:
            refused.append(error)

    for attempt in range(5):
        written: list[str] = []
        async with AsyncExitStack() as stack, anyio.create_task_group() as group:
            for name in ("a", "b", "c"):
                database = PostgresDatabase(dsn, 5.0)
                stack.push_async_callback(database.aclose)
                group.start_soon(rounds, database, f"{attempt}{name}", written)
            await anyio.sleep(1.0)
            group.cancel_scope.cancel()
        # Each writer writes all or is refused; none is interrupted by another and then continues.
        turns = [name for number, name in enumerate(written) if number == 0 or written[number - 1] != name]
        assert len(turns) == len(set(turns))

    # One of many was told that a table is not there.
    assert any(re.search(REFUSAL, error.message) for error in refused)


@pytest.mark.endurance
async def test_in_transaction_mode_who_has_lost_the_session_is_refused(pooler: Pooler) -> None:
    dsn = pooler("transaction", 1)
    first, second = PostgresDatabase(dsn, 5.0), PostgresDatabase(dsn, 5.0)
    await first.open()
    assert await first.take_start_queue("x")
    await first.write(batch("a"), start_queue="x")
    await second.open()

    assert await second.take_start_queue("x")  # In the same session this always succeeds.
    for start_queue in ("x", None):
        with pytest.raises(LedgerError, match=REFUSAL):
            await first.write(batch("b"), start_queue=start_queue)
    with pytest.raises(LedgerError, match=REFUSAL):
        await first.take_start_queue("y")
    await first.leave_start_queue("x")
    await second.write(batch("b"), start_queue="x")

    await first.aclose()
    await second.aclose()


@pytest.mark.endurance
async def test_in_statement_mode_a_ledger_cannot_be_opened(pooler: Pooler) -> None:
    with pytest.raises(LedgerError):
        await PostgresDatabase(pooler("statement", 2), 5.0).open()


@pytest.mark.endurance
async def test_in_session_mode_start_queues_have_one_owner(pooler: Pooler) -> None:
    dsn = pooler("session", 5)
    first, second = PostgresDatabase(dsn, 5.0), PostgresDatabase(dsn, 5.0)
    await first.open()
    await second.open()

    assert await first.take_start_queue("x")
    assert not await second.take_start_queue("x")
    await first.write(batch("a"), start_queue="x")
    await first.aclose()
    with anyio.fail_after(20):
        while not await second.take_start_queue("x"):  # The pooler takes its time to end the session.
            await anyio.sleep(0.02)
    await second.write(batch("b"), start_queue="x")
    await second.aclose()


async def test_a_query_that_fails_in_another_session_says_why(postgres_dsn: str) -> None:
    database = PostgresDatabase(postgres_dsn, 5.0)
    await database.open()
    assert database._session is not None
    await database._session.run("DISCARD ALL")

    with pytest.raises(LedgerError, match=REFUSAL):
        await database.read("SELECT name FROM batch")

    await database.aclose()


@pytest.mark.parametrize(
    "undone", ["SELECT set_config('coreclaw.session', '', false)", "DISCARD ALL", "DEALLOCATE ALL"]
)
async def test_a_session_without_what_was_put_into_it_is_refused(postgres_dsn: str, undone: str) -> None:
    database, rival = PostgresDatabase(postgres_dsn, 5.0), PostgresDatabase(postgres_dsn, 5.0)
    await database.open()
    await rival.open()
    assert await database.take_start_queue("x")
    await database.write(batch("a"), start_queue="x")
    assert database._session is not None
    await database._session.run(undone)

    for start_queue in ("x", None):
        with pytest.raises(LedgerError, match=REFUSAL):
            await database.write(batch("b"), start_queue=start_queue)

    assert await rival.read("SELECT name FROM batch") == [("a",)]
    await database.aclose()
    await rival.aclose()


async def test_prepared_statements_have_names_that_no_other_process_uses(postgres_dsn: str) -> None:
    database = PostgresDatabase(postgres_dsn, 5.0)
    await database.open()

    names = [name for (name,) in await database.read("SELECT name FROM pg_prepared_statements")]
    assert len(names) > 2
    assert all(name.startswith("coreclaw_") for name in names)

    await database.aclose()
