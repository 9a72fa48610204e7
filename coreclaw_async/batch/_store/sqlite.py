"""A ledger in a SQLite file: one connection, WAL, every commit on the disk before anything is sent."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread
from anyio.lowlevel import checkpoint

from coreclaw_async._logs import facts, logger
from coreclaw_async._polling.waiters import WARN_SECONDS
from coreclaw_async.batch._store.database import Database, Job, SqlRow, StaleError, StartQueueLostError, Statement, Step
from coreclaw_async.batch._store.open_files import OPEN_FILES, FileId, id_of, refuse_hard_links
from coreclaw_async.batch._store.schema import (
    META,
    READ_VERSION,
    VERSION,
    check_version,
    pending_statements,
    still_in_use,
)
from coreclaw_async.errors import LedgerError

T = TypeVar("T")
_NO_VALUES = (UnicodeError, OverflowError)
"""Raised for values that a database cannot store."""

BUSY_SECONDS = 30.0
"""How long a write waits for other processes."""
_PAUSE_SECONDS = 0.01
# Other machines do not see the locks of files there, so two of them could submit at once.
_SHARED_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "glusterfs", "lustre", "beegfs", "gpfs", "gfs2", "ocfs2"}
    | {f"fuse.{kind}" for kind in ("ceph", "ceph-fuse", "gcsfuse", "glusterfs", "juicefs", "rclone", "s3fs", "sshfs")}
)
MOUNTS = Path("/proc/self/mounts")
_ESCAPED = re.compile(r"\\([0-7]{3})")
_HINTS = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "this process may not write to it",
    sqlite3.SQLITE_CORRUPT: "the file is damaged: use an earlier copy of it, or repair it with .recover of sqlite3",
}


class SqliteDatabase(Database):
    """
    A ledger in a file that only its owner may read, or in memory.

    Args:
        path: The file; None for one in memory, which is gone with its batch.
        busy_seconds: How long a write waits for other processes before it is tried again, or given up.
        patience: For how many seconds it is tried again; a cancellation ends that.
        mounts: The file in which this machine tells its mounts, where it does.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        busy_seconds: float = BUSY_SECONDS,
        patience: float = 0.0,
        mounts: Path = MOUNTS,
    ) -> None:
        super().__init__()
        self._path = path
        self._busy_seconds = busy_seconds
        self._patience = patience
        self._locked_since: float | None = None
        self._warned_at = float("-inf")
        self._mounts = mounts
        self._connection: sqlite3.Connection | None = None
        self._file: FileId | None = None
        self._log: FileId | None = None
        self._start_queues: dict[str, tuple[sqlite3.Connection, FileId | None]] = {}
        # A commit whose waiter was cancelled goes on in its thread.
        self._lock = threading.Lock()

    def open_files(self) -> Sequence[tuple[sqlite3.Connection, FileId | None]]:
        """Return its connections, each with its file."""
        own = [] if self._connection is None else [(self._connection, self._file)]
        return [*own, *self._start_queues.values()]

    async def open(self, seconds: float = math.inf) -> None:
        self._begin_here()
        await self._in_thread(lambda: self._open(seconds))

    async def aclose(self) -> None:
        if self.is_inherited:
            return
        with anyio.CancelScope(shield=True):
            await self._in_thread(self._close)

    async def take_start_queue(self, start_queue: str) -> bool:
        self.check_process()
        return self._path is None or await self._in_thread(
            lambda: self._take_start_queue(self._lock_file(start_queue), start_queue)
        )

    async def leave_start_queue(self, start_queue: str) -> None:
        held = None if self.is_inherited else self._start_queues.pop(start_queue, None)
        if held is not None:
            with anyio.CancelScope(shield=True):
                await self._in_thread(held[0].close)

    async def _commit(self, jobs: Sequence[Job]) -> None:
        # Where asyncio has cut a writer off, its thread may have done some of them by now.
        await self._in_thread(lambda: self._write([job for job in jobs if not job.is_done]))

    async def _was_applied(self, error: Exception) -> bool:
        if not _is_busy(error.__cause__):
            raise error
        now = time.monotonic()
        if self._locked_since is None:
            self._locked_since = now - self._busy_seconds
        if now - self._locked_since >= self._patience:
            raise error
        if now - self._warned_at >= WARN_SECONDS:
            self._warned_at = now
            logger.warning("%s, which is tried again", error, extra=facts(error))
        await checkpoint()
        return False

    async def _query(self, sql: str, values: SqlRow) -> list[SqlRow]:
        return await self._in_thread(lambda: self._opened().execute(sql, values).fetchall())

    async def _in_thread(self, function: Callable[[], T]) -> T:
        def call() -> T:
            with self._lock, self._clear_errors():
                return function()

        def call_between_forks() -> T:
            with OPEN_FILES.in_use():
                return call()

        if self._path is None:  # Nothing there takes time.
            return call()
        try:
            return await anyio.to_thread.run_sync(call_between_forks)
        except RuntimeError as error:  # No thread can be begun.
            raise LedgerError(f"the ledger {self._name} cannot be used: {error}") from error

    @contextlib.contextmanager
    def _clear_errors(self) -> Generator[None]:
        began = time.monotonic()
        try:
            yield
        except (sqlite3.Error, OSError, *_NO_VALUES) as error:
            hint = _HINTS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
            if _is_busy(error):
                waited = round(time.monotonic() - began, 1)
                hint = f"another process has been writing to it for {waited:g} s"
            raise LedgerError(
                f"the ledger {self._name} cannot be used: {error}{f' ({hint})' if hint else ''}"
            ) from error

    @property
    def _name(self) -> str:
        return "in memory" if self._path is None else str(self._path)

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise LedgerError(f"the ledger {self._name} is closed")
        if self._path is not None and id_of(self._path) != self._file:
            raise LedgerError(
                f"the ledger {self._name} was deleted or replaced while it was open, and its records with it, so no "
                "more runs are started. Put the file back, or look for its runs at the service"
            )
        if self._path is not None and id_of(_log_of(self._path)) != self._log:
            raise LedgerError(
                f"{_log_of(self._path).name}, the log of the ledger {self._name}, was deleted or replaced while it was "
                "open, so no more runs are started: what is written now would be lost. SQLite deletes it itself where "
                "this process has read the file in another way, which gives up its locks: copy a ledger in use with "
                "Connection.backup of sqlite3, or in another process. Open the batch again to continue"
            )
        return self._connection

    def _open(self, seconds: float) -> None:
        give_up = time.monotonic() + min(seconds, 2 * self._busy_seconds)
        if self._path is not None:
            # One file has one set of start queues, by whatever name it is opened and wherever the process goes.
            self._path = self._path.resolve()
            OPEN_FILES.refuse_inherited(self._path)
            _refuse_unfit_mount(self._path, self._mounts)
            self._refuse_leftovers(self._path)
            if not self._path.parent.is_dir():
                raise LedgerError(f"the ledger {self._name} cannot be used: there is no folder {self._path.parent}")
            with contextlib.suppress(FileExistsError):
                os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            refuse_hard_links(self._path)
        connection = sqlite3.connect(
            ":memory:" if self._path is None else self._path,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            self._make_tables(connection, give_up)
            self._wait_for_locks(connection, until=math.inf)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        if self._path is not None:
            self._file, self._log = id_of(self._path), id_of(_log_of(self._path))
        OPEN_FILES.watch(self)

    def _wait_for_locks(self, connection: sqlite3.Connection, *, until: float) -> None:
        """Let each statement wait for other processes until then, and never longer than is usual."""
        seconds = min(max(until - time.monotonic(), 0.0), self._busy_seconds)
        connection.execute(f"PRAGMA busy_timeout = {math.ceil(seconds * 1000)}")

    def _use_write_ahead_log(self, connection: sqlite3.Connection, give_up: float) -> None:
        """Switch the journal; where two processes do that to a new file at once, SQLite refuses one without waiting."""
        while True:
            try:
                self._wait_for_locks(connection, until=give_up)
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                time.sleep(_PAUSE_SECONDS)
                if not _is_busy(error) or time.monotonic() > give_up:
                    raise
            else:
                return

    def _refuse_leftovers(self, path: Path) -> None:
        """Raise where the ledger is missing, and what lies beside it says that it was in use."""
        left = [path.with_name(path.name + end) for end in ("-wal", "-shm")]
        left = [file for file in left if file.exists()]
        start_queues = sorted(self._folder(path).glob("*.lock"))
        if id_of(path) is not None:  # Looked for last: a process that begins the ledger now makes it first.
            return
        if left:
            raise LedgerError(
                f"the ledger {self._name} is missing, and {left[0].name} beside it belongs to a ledger that was "
                "deleted while it was in use. Put the file back; or, to begin a new ledger, end all processes that use "
                f"the old one and delete what is left of it: {', '.join(file.name for file in left)}"
            )
        if any(_is_locked(file) for file in start_queues):
            raise LedgerError(
                f"the ledger {self._name} was deleted or renamed while it was in use, and another process still starts "
                "items of it. Put the file back, or end that process first"
            )

    def _make_tables(self, connection: sqlite3.Connection, give_up: float) -> None:
        """Make the tables of this version, of nothing or of an older one."""
        self._use_write_ahead_log(connection, give_up)
        connection.execute("PRAGMA synchronous = FULL")
        self._wait_for_locks(connection, until=give_up)
        connection.execute("BEGIN IMMEDIATE")
        try:
            tables = {table for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if tables and "coreclaw_ledger" not in tables:
                raise LedgerError(f"{self._name} is a database of another program, not a ledger")
            connection.execute(META)
            (version,) = connection.execute(READ_VERSION).fetchone() or (None,)
            pending = pending_statements(self._name, version)
            if pending and self._path is not None and any(map(_is_locked, self._folder(self._path).glob("*.lock"))):
                raise still_in_use(self._name, version)
            for statement in pending:
                connection.execute(statement)
            connection.execute("INSERT OR REPLACE INTO coreclaw_ledger VALUES ('version', ?)", (str(VERSION),))
            connection.execute("COMMIT")
        except BaseException:
            connection.rollback()
            raise

    def _close(self) -> None:
        for connection, _ in self._start_queues.values():
            connection.close()
        self._start_queues.clear()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _write(self, jobs: Sequence[Job]) -> None:
        """Do *jobs*; what cannot be made durable has failed for all of them."""
        try:
            with self._clear_errors():
                connection = self._opened()
                connection.execute("BEGIN IMMEDIATE")
                try:
                    check_version(self._name, *connection.execute(READ_VERSION).fetchone() or (None,))
                    failures = [self._why_lost(job) or _attempt(connection, job.steps) for job in jobs]
                    self._opened()  # The last look before what is sent counts on it.
                    connection.execute("COMMIT")
                    self._locked_since = None
                except BaseException:
                    connection.rollback()
                    raise
        except LedgerError as error:
            failures = [error] * len(jobs)
        for job, failure in zip(jobs, failures, strict=True):
            job.end(failure)

    def _why_lost(self, job: Job) -> StartQueueLostError | None:
        """Return why a write may not be made any more in its start queue, or None."""
        if job.start_queue is None or self._path is None:
            return None
        _, file = self._start_queues.get(job.start_queue, (None, None))
        path = self._lock_file(job.start_queue)
        if file is not None and id_of(path) == file:
            return None
        return StartQueueLostError(
            f"the start queue {job.start_queue} is no longer held: {path} was deleted or replaced, or never held"
        )

    @staticmethod
    def _folder(path: Path) -> Path:
        return path.with_name(path.name + "-lanes")

    def _lock_file(self, start_queue: str) -> Path:
        assert self._path is not None, "a ledger in memory has no rivals"
        return self._folder(self._path) / f"{hashlib.sha256(start_queue.encode()).hexdigest()[:16]}.lock"

    def _take_start_queue(self, file: Path, start_queue: str) -> bool:
        """Lock the file of the start queue with SQLite's locks, which work everywhere and end with the process."""
        if start_queue in self._start_queues:
            return False
        file.parent.mkdir(mode=0o700, exist_ok=True)
        connection = sqlite3.connect(file, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            connection.close()
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                return False
            raise
        # The file is there now. It is not opened here: closing another descriptor would give up the lock.
        self._start_queues[start_queue] = connection, id_of(file)
        return True


def _log_of(path: Path) -> Path:
    """Return where SQLite keeps what was written last; the file is there for as long as somebody has it open."""
    return path.with_name(path.name + "-wal")


def _is_busy(error: BaseException | None) -> bool:
    """Return whether another process was in the way."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def _is_locked(file: Path) -> bool:
    """Return whether a process holds the start queue whose lock file that is."""
    connection = sqlite3.connect(file, timeout=0, isolation_level=None)
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        return error.sqlite_errorcode == sqlite3.SQLITE_BUSY
    finally:
        connection.close()
    return False


def _attempt(connection: sqlite3.Connection, steps: Sequence[Step]) -> Exception | None:
    """Do *steps* within the transaction; return why they were undone, or None."""
    connection.execute("SAVEPOINT job")
    try:
        for step in steps:
            if isinstance(step, Statement):
                _change(connection, step)
            else:
                for statement in step.follow(connection.execute(step.sql, step.values).fetchall()):
                    _change(connection, statement)
    except (StaleError, LedgerError, sqlite3.IntegrityError, *_NO_VALUES) as error:
        connection.execute("ROLLBACK TO job")
        connection.execute("RELEASE job")
        if isinstance(error, _NO_VALUES):
            return LedgerError(f"a value cannot be written to the ledger: {error}")
        return StaleError(str(error)) if isinstance(error, sqlite3.IntegrityError) else error
    connection.execute("RELEASE job")
    return None


def _change(connection: sqlite3.Connection, statement: Statement) -> None:
    changed = connection.executemany(statement.sql, statement.rows).rowcount
    if statement.changes is not None and changed != statement.changes:
        raise StaleError(statement.sql)


def _refuse_unfit_mount(path: Path, mounted: Path) -> None:
    """Raise where the mounts of this machine say that others use the file, and do not see its log or its locks."""
    with contextlib.suppress(OSError):  # Not every system tells.
        lines = mounted.read_text("utf-8", "replace").splitlines()
        mounts = {
            Path(_ESCAPED.sub(_unescaped, place)): kind for _, place, kind, *_ in (line.split(" ") for line in lines)
        }
        if path in mounts:
            raise LedgerError(
                f"{path} is mounted as a single file, so its log {path.name}-wal and its locks lie beside it and not "
                "where other containers, or the next one, find them: mount the folder that the file is in"
            )
        kind = next((mounts[place] for place in path.parents if place in mounts), "")
        if kind in _SHARED_FILE_SYSTEMS:
            raise LedgerError(
                f"{path} is on a file system of type {kind}, where two machines could start the same runs because "
                "locks do not hold between them: use a local disk, or postgresql://"
            )


def _unescaped(escaped: re.Match[str]) -> str:
    return chr(int(escaped[1], 8))
