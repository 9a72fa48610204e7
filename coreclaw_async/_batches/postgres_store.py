"""The ledger in Postgres, for several machines: one connection, whose end is the end of its lanes too."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
from collections.abc import AsyncGenerator, Sequence
from typing import Any, TypeAlias

import anyio

from coreclaw_async._batches.schema import META, VERSION, pending_statements
from coreclaw_async._batches.store import Job, Row, StaleError, Statement, Step, Store
from coreclaw_async._event_loops import current_loop
from coreclaw_async.errors import ConfigurationError, LedgerError

Connection: TypeAlias = Any
"""An asyncpg connection; the library says nothing of its types."""

_SCHEMA = "coreclaw"
_SECONDS = 60.0
_CLOSE_SECONDS = 5.0
# Which lock is held while the tables are made; any number will do that nobody else takes.
_TABLES_LOCK = 0x436F7265436C6177


class PostgresStore(Store):
    """
    A ledger in the schema ``coreclaw`` of a Postgres database.

    All goes over one connection. A lane is an advisory lock of its session: when the connection is lost, so is the
    lane, and the next intent cannot be written down, so that nothing is sent.
    """

    LOCK_ITEMS = ("LOCK TABLE budget, item IN SHARE ROW EXCLUSIVE MODE",)

    def __init__(self, dsn: str) -> None:
        super().__init__()
        self._dsn = dsn
        self._connection: Connection | None = None

    async def open(self) -> None:
        asyncpg = _asyncpg()
        if not hasattr(current_loop(), "call_soon_threadsafe"):
            raise ConfigurationError(
                "a ledger in Postgres needs asyncio, which asyncpg is for; SQLite works on trio too"
            )
        async with self._clear_errors():
            connection = await asyncpg.connect(
                self._dsn,
                timeout=_SECONDS,
                command_timeout=_SECONDS,
                server_settings={"synchronous_commit": "on", "application_name": "coreclaw_async"},
            )
            try:
                await self._make_tables(connection)
            except BaseException:
                connection.terminate()
                raise
            self._connection = connection

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            # It is gone either way: asyncpg cuts it off when it does not end in time.
            with anyio.CancelScope(shield=True), contextlib.suppress(Exception):
                await connection.close(timeout=_CLOSE_SECONDS)

    async def take_lane(self, lane: str) -> bool:
        rows = await self.read("SELECT pg_try_advisory_lock(?)", _number_of(lane))
        return bool(rows[0][0])

    async def leave_lane(self, lane: str) -> None:
        with contextlib.suppress(LedgerError):  # With the connection the lane has gone too.
            await self.read("SELECT pg_advisory_unlock(?)", _number_of(lane))

    async def _commit(self, jobs: Sequence[Job]) -> None:
        failures: list[Exception | None] = [LedgerError("the write to the ledger was interrupted")] * len(jobs)
        try:
            async with self._clear_errors():
                connection = self._opened()
                async with connection.transaction():
                    outcomes = [await self._attempt(connection, job.steps) for job in jobs]
                failures = list(outcomes)
        except LedgerError as error:
            failures = [error] * len(jobs)
        finally:
            for job, failure in zip(jobs, failures, strict=True):
                job.end(failure)

    async def _query(self, sql: str, values: Row) -> list[Row]:
        async with self._clear_errors():
            return [tuple(row) for row in await self._opened().fetch(_numbered(sql), *values)]

    @contextlib.asynccontextmanager
    async def _clear_errors(self) -> AsyncGenerator[None]:
        asyncpg = _asyncpg()
        try:
            yield
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError, EOFError) as error:
            # Without the address, which holds a password as a rule.
            what = str(error)
            detail = "" if any(part and part in what for part in _secrets_of(self._dsn)) else f": {what}"
            raise LedgerError(f"the ledger in Postgres cannot be used: {type(error).__name__}{detail}") from None

    def _opened(self) -> Connection:
        if self._connection is None:
            raise LedgerError("the ledger in Postgres is closed")
        return self._connection

    async def _attempt(self, connection: Connection, steps: Sequence[Step]) -> Exception | None:
        """Do *steps* in a transaction of their own within; return why they were undone, or None."""
        asyncpg = _asyncpg()
        try:
            async with connection.transaction():
                for step in steps:
                    if isinstance(step, Statement):
                        await _change(connection, step)
                    else:
                        rows = [tuple(row) for row in await connection.fetch(_numbered(step.sql), *step.values)]
                        for statement in step.follow(rows):
                            await _change(connection, statement)
        except asyncpg.IntegrityConstraintViolationError as error:
            return StaleError(str(error))
        except (StaleError, LedgerError) as error:
            return error
        return None

    async def _make_tables(self, connection: Connection) -> None:
        """Make the tables of this version, of nothing or of an older one."""
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _TABLES_LOCK)
            if not await connection.fetchval("SELECT 1 FROM pg_namespace WHERE nspname = $1", _SCHEMA):
                await connection.execute(f"CREATE SCHEMA {_SCHEMA}")
            await connection.execute(f"SET search_path = {_SCHEMA}")
            await connection.execute(META)
            version = await connection.fetchval("SELECT value FROM coreclaw_ledger WHERE name = 'version'")
            for statement in pending_statements("in Postgres", version):
                await connection.execute(statement)
            await connection.execute(
                "INSERT INTO coreclaw_ledger VALUES ('version', $1) ON CONFLICT (name) DO UPDATE SET value = $1",
                str(VERSION),
            )


def _asyncpg() -> Any:
    try:
        return importlib.import_module("asyncpg")
    except ImportError:
        raise ConfigurationError(
            'a ledger in Postgres needs the extra: pip install "coreclaw-async[postgres]"'
        ) from None


async def _change(connection: Connection, statement: Statement) -> None:
    changed = await _run(connection, statement)
    if statement.changes is not None and changed != statement.changes:
        raise StaleError(statement.sql)


async def _run(connection: Connection, statement: Statement) -> int | None:
    """Run a statement, and return how many rows it has changed where that is told."""
    if len(statement.rows) != 1:
        await connection.executemany(_numbered(statement.sql), statement.rows)
        return None
    status = await connection.execute(_numbered(statement.sql), *statement.rows[0])
    count = status.rpartition(" ")[2]
    return int(count) if count.isdecimal() else None


@functools.lru_cache(maxsize=256)
def _numbered(sql: str) -> str:
    """Return *sql* with its values named as Postgres names them."""
    first, *others = sql.split("?")
    return first + "".join(f"${number}{part}" for number, part in enumerate(others, 1))


def _number_of(lane: str) -> int:
    return int.from_bytes(hashlib.sha256(f"coreclaw:{lane}".encode()).digest()[:8], "big", signed=True)


def _secrets_of(dsn: str) -> tuple[str, str]:
    _, _, rest = dsn.partition("://")
    credentials, _, _ = rest.rpartition("@")
    return dsn, credentials.partition(":")[2]
