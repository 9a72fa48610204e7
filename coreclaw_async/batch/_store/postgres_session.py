"""One session with Postgres: what it holds, how it proves that it still does, and what its failures mean."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Awaitable, Collection, Sequence
from typing import Any, NoReturn, TypeAlias, TypeVar

import anyio
import attrs

from coreclaw_async.batch._store.database import SqlRow, StaleError
from coreclaw_async.batch._store.postgres_driver import (
    connection_class,
    count_of,
    is_cancelled,
    load_asyncpg,
    numbered,
    pieces_of,
    secrets_of,
)
from coreclaw_async.batch._store.schema import (
    META,
    READ_VERSION,
    START_QUEUE_LOCKS,
    VERSION,
    check_version,
    pending_statements,
    still_in_use,
)
from coreclaw_async.errors import LedgerError

T = TypeVar("T")
Connection: TypeAlias = Any
"""An asyncpg connection; the library says nothing of its types."""

_SCHEMA = "coreclaw"
ANSWER_SECONDS = 15.0
"""How long the server may take for one statement, or to let a client in."""

_RENEWAL_SECONDS = 600.0
_CLOSE_SECONDS = 5.0
# A process that stands still in the middle of a write blocks the others for 8 s; they wait a little longer. The start
# queues of a machine that is gone are free after a minute.
_SETTINGS = (
    f"SET search_path = {_SCHEMA}; SET synchronous_commit = on; "
    "SET idle_in_transaction_session_timeout = '8s'; SET lock_timeout = '12s'; "
    "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3"
)
# A lock held exclusively while the tables are made, and shared by writes; any number that nobody else uses.
_TABLES_LOCK = 0x436F7265436C6177
# A statement of its own, so that the next one sees what has become of the tables while this one waited.
_KEEP_VERSION = f"SELECT pg_advisory_xact_lock_shared({_TABLES_LOCK})"
# Rows of sessions that have not been closed, by which a lost commit could be found out, are deleted after that.
_KEPT_SECONDS = 30 * 86_400.0
# The server ends, has no room, starts, or is a standby by now: it, or the one that takes its place, will do later.
_SESSION_IS_OVER = ("08", "57P01", "57P02", "57P03", "57P05", "25P03", "25006", "53300")
# Others were in the way: the same write may be made again.
_WRITE_IS_UNDONE = ("40001", "40P01", "55P03")
# The statement is not there, or is there already: it was prepared in another session.
_STATEMENT_IS_ELSEWHERE = ("26000", "42P05")
_POOLER = (
    "the ledger in Postgres is reached through a pooler in transaction mode, where two processes could start the same "
    "runs because locks do not stay with a client: use a direct connection, or the pooler's session mode"
)
_LOST = (
    "the ledger in Postgres has lost acknowledged writes: it was restored, or failed over to a standby that was "
    "behind. No more runs are started. Runs that it does not know may be running: look for them at the service before "
    "you continue the batch. Only synchronous replication keeps all writes in a failover"
)
_LOCKS = (
    "FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1 "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
_NUMBER = "((classid::bigint << 32) | objid::bigint)"
_HELD = f"SELECT {_NUMBER} {_LOCKS} AND pid = pg_backend_pid()"
_END_HOLDER = f"SELECT pg_terminate_backend(pid) {_LOCKS} AND {_NUMBER} = ?"


class PassingError(LedgerError):
    """
    A failure that may pass at the next try; it is not raised to callers of the database.

    Attributes:
        session: The session that is over, or None where it goes on.
        commit: Number of the commit whose answer did not come, or None where nothing was done.
    """

    def __init__(self, message: str, session: Session | None, commit: int | None = None) -> None:
        super().__init__(message)
        self.session = session
        self.commit = commit


@attrs.define(eq=False)
class Session:
    """
    One session.

    A pooler in transaction mode gives each transaction a session of its own choice, and a restart ends all of them;
    with the session go its advisory locks, which are the start queues. So each transaction starts with a proof: the
    session must still know the token that was put into it, and hold the locks, and the tables must be of the version
    that this process knows; they are not renewed while a transaction goes on. The proof also numbers the transaction in
    a row of this session's own, by which can be told later whether a commit was made whose answer did not come.

    Attributes:
        answer_seconds: How long the server may take for one statement, or to let a client in.
        token: What tells this session from all others.
        pid: Its process on the server.
        commits: Number of its last transaction.
        acknowledged: Number of the last transaction that the server has said is durable.
        applied: Number of the last transaction that was committed, once a later session has asked; or None.
    """

    dsn: str
    connection: Connection
    answer_seconds: float
    token: str = attrs.field(factory=lambda: secrets.token_hex(16))
    pid: int = 0
    commits: int = 0
    acknowledged: int = 0
    applied: int | None = None

    @classmethod
    async def begun(cls, dsn: str, answer_seconds: float = ANSWER_SECONDS) -> Session:
        """
        Connect, and make or renew the tables.

        Raises:
            PassingError: The server does not let us in, or not now.
            LedgerError: It is no ledger of this version, or cannot be one.
        """
        asyncpg = load_asyncpg()
        options = {"application_name": "coreclaw_async"}
        connecting = asyncpg.connect(
            dsn,
            timeout=answer_seconds,
            server_settings=options,
            connection_class=connection_class(asyncpg.Connection),
        )
        session = cls(dsn, None, answer_seconds)
        session.connection = await session._answer(connecting)
        try:
            await session._set_up()
        except BaseException:
            session.end()
            raise
        return session

    @property
    def is_over(self) -> bool:
        """Whether nothing can be asked any more."""
        return self.connection is None or bool(self.connection.is_closed())

    async def fetch(self, sql: str, *values: Any, seconds: float | None = None) -> list[SqlRow]:
        """Return the rows of a query, whose values are ``?``."""
        return [tuple(row) for row in await self._answer(self._connected().fetch(numbered(sql), *values), seconds)]

    async def change(self, sql: str, rows: Sequence[SqlRow]) -> int | None:
        """Run a statement once for each of *rows*, and return how many rows it has changed where that is told."""
        if len(rows) != 1:
            for piece in pieces_of(rows):
                await self._answer(self._connected().executemany(numbered(sql), piece))
            return None
        return count_of(await self._answer(self._connected().execute(numbered(sql), *rows[0])))

    async def begin(self, start_queues: Collection[str] = ()) -> set[str]:
        """
        Begin a transaction if the session is what it was; return the *start_queues* it does not hold.

        Raises:
            PassingError: The session is over.
            LedgerError: A pooler has handed out another session, or the ledger is another one or of another version
                by now.
        """
        self.commits += 1
        numbers = ", ".join(str(_number_of(start_queue)) for start_queue in start_queues)
        try:
            # By name and without the driver's statements, which a pooler may have left in another session.
            proof = (
                f"BEGIN; {_KEEP_VERSION}; EXECUTE {self._proof} ('{self.commits} {time.time():.0f}', '{{{numbers}}}')"
            )
            if count_of(await self.run(proof)) == 1:
                return set()
            missing = await self._missing(start_queues)
        except LedgerError:
            await self.roll_back()
            raise
        await self.roll_back()
        return missing

    async def check_same(self) -> None:
        """
        Find out whether it is still the session that was begun.

        Raises:
            LedgerError: A pooler has handed out another one.
        """
        sql = "SELECT current_setting('coreclaw.session', true), pg_backend_pid()"
        if await self.fetch(sql) != [(self.token, self.pid)]:
            raise LedgerError(_POOLER)

    async def commit(self) -> None:
        """
        Make the transaction durable.

        Raises:
            PassingError: No answer came: whether it is durable must be found out.
            LedgerError: It is not.
        """
        try:
            status = await self.run("COMMIT")
        except PassingError as error:
            error.commit = self.commits if error.session is not None else None
            raise
        if status != "COMMIT":
            raise LedgerError(f"the ledger in Postgres cannot be used: COMMIT was answered with {status}")
        self.acknowledged = self.commits

    async def roll_back(self) -> None:
        """Undo the transaction; a session in which that cannot be done is over, which undoes it too."""
        if not self.is_over:
            try:
                await self.run("ROLLBACK")
            except LedgerError:
                self.end()

    async def run(self, sql: str) -> str:
        """Run statements without values, and return how the last one was answered."""
        return str(await self._answer(self._connected().execute(sql)))

    async def take(self, start_queue: str) -> bool:
        """Return whether this session has got the lock of a start queue."""
        rows = await self.fetch("SELECT pg_try_advisory_lock(?)", _number_of(start_queue))
        return bool(rows[0][0])

    async def leave(self, start_queue: str) -> None:
        """Give the lock of a start queue back."""
        await self.fetch("SELECT pg_advisory_unlock(?)", _number_of(start_queue))

    async def learn_end_of(self, earlier: Session) -> None:
        """
        Find out which transaction of an *earlier* session was its last one, and see that it makes no other.

        Raises:
            PassingError: It has not ended yet.
            LedgerError: Nobody can tell, or what the server had acknowledged is not there.
        """
        await self.fetch(_END_HOLDER, _number_of(f"session {earlier.token}"))
        # Its row is locked by a transaction that may still be committed; then this waits for it, or fails.
        rows = await self.fetch("SELECT value FROM coreclaw.coreclaw_ledger WHERE name = ? FOR UPDATE", earlier._row)
        if not rows:
            raise LedgerError(_replaced("while it did not answer"))
        applied = int(rows[0][0].partition(" ")[0])
        if applied < earlier.acknowledged:
            raise LedgerError(_LOST)
        earlier.applied = applied

    def end(self) -> None:
        """Cut the connection off."""
        if self.connection is not None:
            self.connection.terminate()
            self.connection = None

    async def close(self) -> None:
        """Close the connection; cut it off when the server does not answer in time."""
        if not self.is_over:
            try:
                await self.fetch(
                    "DELETE FROM coreclaw.coreclaw_ledger WHERE name = ?", self._row, seconds=_CLOSE_SECONDS
                )
                await self._answer(self._connected().close(timeout=_CLOSE_SECONDS), _CLOSE_SECONDS)
            except LedgerError:
                pass
            finally:
                self.end()

    @property
    def _row(self) -> str:
        return f"session {self.token}"

    @property
    def _proof(self) -> str:
        return f"coreclaw_proof_{self.token}"

    async def _set_up(self) -> None:
        await self.run(f"SELECT set_config('coreclaw.session', '{self.token}', false)")
        await self.run(f"SELECT pg_advisory_lock({_number_of(self._row)})")
        await self.run(_SETTINGS)
        ((self.pid,),) = await self.fetch("SELECT pg_backend_pid()")
        await self._make_tables()
        await self.run(
            f"PREPARE {self._proof} (text, bigint[]) AS UPDATE coreclaw.coreclaw_ledger SET value = $1 "  # noqa: S608 - all of it is ours
            f"WHERE name = '{self._row}' AND current_setting('coreclaw.session', true) = '{self.token}' "
            f"AND pg_backend_pid() = {self.pid} "
            f"AND '{VERSION}' = (SELECT value FROM coreclaw.coreclaw_ledger WHERE name = 'version') "
            f"AND CASE WHEN cardinality($2) = 0 THEN true ELSE cardinality($2) = "
            f"(SELECT count(*) FROM ({_HELD} AND {_NUMBER} = ANY ($2)) AS held) END"
        )
        await self.fetch("INSERT INTO coreclaw.coreclaw_ledger VALUES (?, ?)", self._row, f"0 {time.time():.0f}")
        await self.fetch(
            "DELETE FROM coreclaw.coreclaw_ledger WHERE name LIKE 'session %' AND split_part(value, ' ', 2) < ?",
            f"{time.time() - _KEPT_SECONDS:.0f}",
        )
        await self.begin()
        await self.commit()

    async def _make_tables(self) -> None:
        """Make the tables of this version, of nothing or of an older one."""
        if await self._version() == str(VERSION):
            return
        await self.run(
            f"BEGIN; SET LOCAL search_path = {_SCHEMA}; SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0"
        )
        await self.fetch("SELECT pg_advisory_xact_lock(?)", _TABLES_LOCK, seconds=_RENEWAL_SECONDS)
        await self.run(f"CREATE SCHEMA IF NOT EXISTS {_SCHEMA}; {META}")
        version = await self._version()
        pending = pending_statements("in Postgres", version)
        if version is not None and pending and await self._are_start_queues_held():
            raise still_in_use("in Postgres", version)
        for statement in pending:
            await self._answer(self._connected().execute(statement), _RENEWAL_SECONDS)
        await self.fetch(
            "INSERT INTO coreclaw_ledger VALUES ('version', ?) ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value",
            str(VERSION),
        )
        await self.commit()

    async def _are_start_queues_held(self) -> bool:
        held = {number for (number,) in await self.fetch(f"SELECT {_NUMBER} {_LOCKS}")}
        return any(
            _number_of(name) in held for (name,) in await self.fetch(START_QUEUE_LOCKS, seconds=_RENEWAL_SECONDS)
        )

    async def _version(self) -> str | None:
        if await self.fetch("SELECT 1 WHERE to_regclass('coreclaw.coreclaw_ledger') IS NULL"):
            return None
        rows = await self.fetch(READ_VERSION.replace("coreclaw_ledger", "coreclaw.coreclaw_ledger"))
        return str(rows[0][0]) if rows else None

    async def _missing(self, start_queues: Collection[str]) -> set[str]:
        """Return which of *start_queues* are not held, after a proof that has failed."""
        await self.check_same()
        if not await self.fetch("SELECT 1 FROM coreclaw.coreclaw_ledger WHERE name = ?", self._row):
            raise LedgerError(_replaced("while it was open"))
        check_version("in Postgres", await self._version())
        held = {number for (number,) in await self.fetch(_HELD)}
        return {start_queue for start_queue in start_queues if _number_of(start_queue) not in held}

    def _connected(self) -> Connection:
        if self.is_over:
            raise PassingError("the connection to the ledger in Postgres was lost", self)
        return self.connection

    async def _answer(self, asked: Awaitable[T], seconds: float | None = None) -> T:
        """Wait for an answer; what asyncpg, a socket or a transport raises becomes a LedgerError."""
        seconds = self.answer_seconds if seconds is None else seconds
        try:
            with anyio.fail_after(seconds):
                return await asked
        except anyio.get_cancelled_exc_class():
            if is_cancelled():
                raise
            # asyncpg cancels its own waiters when a connection is cut off.
            self._fail("the connection was cut off", is_over=True)
        except Exception as error:  # noqa: BLE001 - nothing says what else a driver and a transport can raise
            self._judge(error, seconds)

    def _judge(self, error: Exception, seconds: float) -> NoReturn:
        state = str(getattr(error, "sqlstate", None) or "")
        if state.startswith("23"):  # A row is there already.
            raise StaleError(str(error)) from None
        if state in _STATEMENT_IS_ELSEWHERE:
            raise LedgerError(_POOLER) from None
        what = str(error) or f"no answer for {seconds:g} s"
        # Without the address, which holds a password as a rule.
        detail = "" if any(part in what for part in secrets_of(self.dsn)) else f": {what}"
        message = f"{type(error).__name__}{detail}"
        is_wrong = isinstance(error, ValueError) and self.connection is not None  # A value has no form for Postgres.
        if state in _WRITE_IS_UNDONE:
            raise PassingError(f"the ledger in Postgres cannot be used: {message}", None) from None
        self._fail(message, is_over=self.is_over or state.startswith(_SESSION_IS_OVER) or not (state or is_wrong))

    def _fail(self, message: str, *, is_over: bool) -> NoReturn:
        message = f"the ledger in Postgres cannot be used: {message}"
        if is_over:
            self.end()
            raise PassingError(message, self) from None
        raise LedgerError(message) from None


def _number_of(start_queue: str) -> int:
    return int.from_bytes(hashlib.sha256(f"coreclaw:{start_queue}".encode()).digest()[:8], "big", signed=True)


def _replaced(when: str) -> str:
    return (
        f"the ledger in Postgres was made anew or restored {when}, so no more runs are started: close the batch, and "
        "look at the service for runs that the ledger does not know before you open it again"
    )
