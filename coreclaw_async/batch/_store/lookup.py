"""Which batches a ledger has, asked without making one where there is none."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import anyio.to_thread

from coreclaw_async.batch._store.address import MEMORY, is_postgres, sqlite_path
from coreclaw_async.batch._store.open_files import OPEN_FILES, refuse_hard_links
from coreclaw_async.batch._store.postgres_driver import load_asyncpg
from coreclaw_async.errors import LedgerError

_SECONDS = 15.0
_NAMES = "SELECT name FROM batch ORDER BY created, name"


async def batches_in(ledger: str | os.PathLike[str]) -> Sequence[str] | None:
    """
    Return the names of the batches in the ledger, oldest first, or None where there is no ledger; makes nothing.

    Raises:
        LedgerError: There is something that cannot be read, or is no ledger.
        ConfigurationError: An extra is missing.
        TypeError: *ledger* is neither a string nor a path.
        ValueError: It is no address of a ledger.
    """
    if ledger == MEMORY:
        return None
    if isinstance(ledger, str) and is_postgres(ledger):
        return await _in_postgres(ledger)
    return await anyio.to_thread.run_sync(_in_file, sqlite_path(ledger))


def _in_file(path: Path) -> Sequence[str] | None:
    try:
        if not path.exists():
            return None
        OPEN_FILES.refuse_inherited(path)
        refuse_hard_links(path)
        # "rw" makes no file, and takes its helpers away again; without the right to write, reading has to do.
        mode = "rw" if os.access(path, os.W_OK) else "ro"
        with contextlib.closing(
            sqlite3.connect(f"{path.resolve().as_uri()}?mode={mode}", uri=True, timeout=_SECONDS)
        ) as connection:
            tables = {table for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not tables:
                return None
            if "coreclaw_ledger" not in tables:
                raise LedgerError(f"{path} is a database of another program, not a ledger")
            return [name for (name,) in connection.execute(_NAMES)]
    except (sqlite3.Error, OSError, ValueError) as error:
        raise LedgerError(f"the ledger {path} cannot be read: {error}") from error


async def _in_postgres(dsn: str) -> Sequence[str] | None:
    asyncpg = load_asyncpg()
    try:
        connection = await asyncpg.connect(dsn, timeout=_SECONDS, command_timeout=_SECONDS)
        try:
            if await connection.fetchval("SELECT to_regclass('coreclaw.batch')") is None:
                return None
            return [row["name"] for row in await connection.fetch(_NAMES.replace("batch", "coreclaw.batch"))]
        finally:
            connection.terminate()
    except Exception as error:  # noqa: BLE001 - asyncpg has no class that all of its errors are of
        # Without its words, which may show the address and so a password.
        raise LedgerError(f"the ledger in Postgres cannot be read: {type(error).__name__}") from None
