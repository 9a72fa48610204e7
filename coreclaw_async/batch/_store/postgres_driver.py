"""asyncpg as the ledger uses it: found when it is needed, with statements that no other process can mistake."""

from __future__ import annotations

import functools
import re
import secrets
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import parse_qsl, unquote

from coreclaw_async._extras import load_library
from coreclaw_async.batch._store.database import SqlRow

_MAX_LETTERS = 4_000_000


def load_asyncpg() -> Any:
    """
    Return the library.

    Raises:
        ConfigurationError: It is not installed, or broken.
    """
    return load_library("asyncpg", need="a ledger in Postgres", requirement="coreclaw-async[postgres]")


@functools.cache
def connection_class(base: type) -> type:
    """
    Return a connection whose prepared statements have names that no other process uses.

    Behind a pooler in transaction mode the name of one process can stand for another statement of another one.
    """

    def unique_id(_: object, prefix: str) -> str:
        return f"coreclaw_{prefix}_{secrets.token_hex(8)}"

    return type(base)("LedgerConnection", (base,), {"_get_unique_id": unique_id})


@functools.lru_cache(maxsize=256)
def numbered(sql: str) -> str:
    """Return *sql* with its values named as Postgres names them."""
    first, *others = sql.split("?")
    return first + "".join(f"${number}{part}" for number, part in enumerate(others, 1))


def is_cancelled() -> bool:
    """Return whether somebody has cancelled this task."""
    import asyncio  # Imported late elsewhere too: it takes longer than the rest of the package.

    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def count_of(status: str) -> int | None:
    """Return how many rows were changed, of the answer to a statement."""
    count = status.rpartition(" ")[2]
    return int(count) if count.isdecimal() else None


def pieces_of(rows: Sequence[SqlRow]) -> Iterable[Sequence[SqlRow]]:
    """Return *rows* in pieces that a slow network carries in the time of one statement."""
    first, letters = 0, 0
    for number, row in enumerate(rows):
        letters += sum(len(value) for value in row if isinstance(value, str))
        if letters > _MAX_LETTERS:
            yield rows[first : number + 1]
            first, letters = number + 1, 0
    if first < len(rows):
        yield rows[first:]


def secrets_of(dsn: str) -> list[str]:
    """
    Return what an error must not show: the address, and its password in each form.

    A sign in the password that is not escaped takes it to pieces, and asyncpg quotes one of them.
    """
    _, _, rest = dsn.partition("://")
    credentials, _, _ = rest.rpartition("@")
    password = credentials.partition(":")[2]
    _, _, query = rest.partition("?")
    given = [value for name, value in parse_qsl(query) if "password" in name]
    pieces = re.split(r"[/?#@:\[\]]", password)
    return [part for part in (dsn, password, unquote(password), *pieces, *given) if part]
