"""The ledger in Postgres, for several machines: one session at a time, whose end is the end of its start queues too."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence

import anyio

from coreclaw_async._concurrency.loops import current_loop
from coreclaw_async._logs import logger
from coreclaw_async.batch._store.database import Database, Job, SqlRow, StaleError, StartQueueLostError, Statement, Step
from coreclaw_async.batch._store.postgres_driver import load_asyncpg
from coreclaw_async.batch._store.postgres_session import ANSWER_SECONDS, PassingError, Session
from coreclaw_async.errors import ConfigurationError, LedgerError

_FIRST_PAUSE = 0.1
_MAX_PAUSE = 5.0


class PostgresDatabase(Database):
    """
    A ledger in the schema ``coreclaw`` of a Postgres database.

    All goes over one connection. A start queue is an advisory lock of its session. When the session is lost, another
    one is begun: what was asked for waits for it, and is asked for again. Whether a commit was made whose answer did
    not come is found out first, and that none is missing which was acknowledged: a failover to a standby that is behind
    ends in a `LedgerError`, so a standby that may take over needs synchronous replication. The start queues are not
    taken again: somebody else may have had them meanwhile, so that whoever writes in one of them gets a
    `StartQueueLostError`, takes it anew, and looks at what is open in it.

    Args:
        patience: For how many seconds after the first failure in a row reads and writes wait for the server.
        answer_seconds: How long the server may take for one statement, or to let a client in.
    """

    LOCK_ITEMS = ("LOCK TABLE batch, budget, item IN SHARE ROW EXCLUSIVE MODE",)

    def __init__(self, dsn: str, patience: float, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        super().__init__()
        self._dsn = dsn
        self._patience = patience
        self._answer_seconds = answer_seconds
        self._session: Session | None = None
        self._start_queues: set[str] = set()
        self._mending = anyio.Lock()
        self._failing_since: float | None = None
        self._gave_up: tuple[float, str] = (float("-inf"), "")

    async def open(self, seconds: float = math.inf) -> None:  # noqa: ARG002 - a cancellation ends it
        self._begin_here()
        load_asyncpg()
        if not hasattr(current_loop(), "call_soon_threadsafe"):
            raise ConfigurationError(
                "a ledger in Postgres needs asyncio, which asyncpg is for; SQLite works on trio too"
            )
        try:
            self._session = await Session.begun(self._dsn, self._answer_seconds)
        except PassingError as error:
            raise LedgerError(str(error)) from None

    async def aclose(self) -> None:
        if self.is_inherited:
            return
        session, self._session = self._session, None
        self._start_queues.clear()
        if session is not None:
            with anyio.CancelScope(shield=True):
                await session.close()

    async def take_start_queue(self, start_queue: str) -> bool:
        self.check_process()
        while True:
            try:
                with anyio.CancelScope(shield=True):
                    async with self._turn:
                        return start_queue not in self._start_queues and await self._take(start_queue)
            except LedgerError as error:
                await self._was_applied(error)

    async def leave_start_queue(self, start_queue: str) -> None:
        if start_queue in self._start_queues and not self.is_inherited:
            self._start_queues.discard(start_queue)
            with anyio.CancelScope(shield=True):
                async with self._turn:
                    await self._leave(start_queue)

    async def _take(self, start_queue: str) -> bool:
        session = await self._begun()
        try:
            is_taken = await session.take(start_queue)
            await session.commit()
        except BaseException:
            session.end()  # Nobody knows what it holds.
            raise
        if is_taken:
            self._start_queues.add(start_queue)
        self._failing_since = None
        return is_taken

    async def _leave(self, start_queue: str) -> None:
        try:
            session = await self._begun()
            await session.leave(start_queue)
            await session.commit()
        except LedgerError:
            if self._session is not None:
                self._session.end()  # A start queue that cannot be given back goes with its session.

    async def _begun(self) -> Session:
        """Return the session in a transaction, which holds what it is said to."""
        session = self._opened()
        missing = await session.begin()
        assert not missing, "no start queue was asked for"
        return session

    async def _commit(self, jobs: Sequence[Job]) -> None:
        session = self._session
        try:
            await self._write(self._opened(), [job for job in jobs if self._may_be_done(job)])
        except LedgerError as error:
            self._end(jobs, error)
        except BaseException:
            # Cut off in the middle: the others find out what has become of their writes.
            assert session is not None, "else nothing was begun"
            session.end()
            self._end(jobs, PassingError("the write was cut off", session, session.commits))
            raise

    async def _write(self, session: Session, jobs: list[Job]) -> None:
        """Do *jobs* in one transaction, and end them."""
        if not jobs:
            return
        missing = await session.begin({job.start_queue for job in jobs if job.start_queue is not None})
        if missing:
            self._start_queues -= missing
            await self._write(session, [job for job in jobs if self._may_be_done(job)])
            return
        try:
            if len(jobs) == 1:
                await _do(session, jobs[0].steps)
            else:
                for job in jobs:  # Kept with the job: it is so too where the commit is not answered, and was made.
                    job.refusal = await _attempt(session, job.steps)
        except (StaleError, LedgerError) as error:
            await session.roll_back()
            self._end(jobs, error)
            return
        await session.commit()
        self._failing_since = None
        for job in jobs:
            job.end(job.refusal)

    def _may_be_done(self, job: Job) -> bool:
        """Return whether the database holds the start queue that a write is for; end the job if not."""
        if job.start_queue is None or job.start_queue in self._start_queues or self._opened().is_over:
            return True
        job.end(
            StartQueueLostError(
                f"the start queue {job.start_queue} is no longer held: its session with Postgres was lost"
            )
        )
        return False

    @staticmethod
    def _end(jobs: Sequence[Job], error: Exception) -> None:
        for job in jobs:
            if not job.is_done:
                job.end(error)

    async def _query(self, sql: str, values: SqlRow) -> list[SqlRow]:
        session = self._opened()
        try:
            rows = await session.fetch(sql, *values)
        except PassingError:
            raise
        except LedgerError:
            await session.check_same()  # In another session there are no tables, which says nothing.
            raise
        self._failing_since = None
        return rows

    def _opened(self) -> Session:
        if self._session is None:
            raise LedgerError("the ledger in Postgres is closed")
        return self._session

    async def _was_applied(self, error: Exception) -> bool:
        if not isinstance(error, PassingError):
            raise error
        if self._failing_since is None:
            self._failing_since = time.monotonic()
        if error.session is None:  # Another transaction was in the way.
            self._check_patience(str(error))
            await anyio.sleep(_FIRST_PAUSE * random.uniform(0.5, 1.5))  # noqa: S311 - to keep two apart
            return False
        await self._mend(error.session)
        return error.commit is not None and error.session.applied is not None and error.commit <= error.session.applied

    async def _mend(self, lost: Session) -> None:
        """Begin another session in place of a *lost* one, which is told how far it had come."""
        asked_at = time.monotonic()
        async with self._mending:
            gave_up_at, why = self._gave_up
            if gave_up_at >= asked_at:
                raise LedgerError(why)
            if self._session is lost:
                logger.warning("the session with the ledger in Postgres was lost; another one is begun")
            pause = _FIRST_PAUSE
            while self._session is lost:
                try:
                    await self._replace(lost)
                except PassingError as error:
                    self._check_patience(str(error))
                    await anyio.sleep(pause)
                    pause = min(2 * pause, _MAX_PAUSE)
        self._opened()

    async def _replace(self, lost: Session) -> None:
        session = await Session.begun(self._dsn, self._answer_seconds)
        try:
            await session.learn_end_of(lost)
        except BaseException:
            session.end()
            raise
        if self._session is lost:
            self._start_queues.clear()
            self._session = session
        else:  # It was closed meanwhile.
            await session.close()

    def _check_patience(self, why: str) -> None:
        assert self._failing_since is not None, "something has failed"
        if time.monotonic() - self._failing_since >= self._patience:
            why = f"{why}; it was retried for {self._patience:g} s"
            self._gave_up = time.monotonic(), why
            raise LedgerError(why) from None


async def _attempt(session: Session, steps: Sequence[Step]) -> Exception | None:
    """Do *steps* as a whole or not at all, within a transaction; return why they were undone, or None."""
    await session.run("SAVEPOINT job")
    try:
        await _do(session, steps)
    except PassingError:
        raise
    except (StaleError, LedgerError) as error:
        await session.run("ROLLBACK TO job")
        return error
    await session.run("RELEASE job")
    return None


async def _do(session: Session, steps: Sequence[Step]) -> None:
    for step in steps:
        if isinstance(step, Statement):
            await _change(session, step)
        else:
            for statement in step.follow(await session.fetch(step.sql, *step.values)):
                await _change(session, statement)


async def _change(session: Session, statement: Statement) -> None:
    changed = await session.change(statement.sql, statement.rows)
    if statement.changes is not None and changed != statement.changes:
        raise StaleError(statement.sql)
