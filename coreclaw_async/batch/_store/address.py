"""Which database a ledger's address means."""

from __future__ import annotations

import os
import re
from pathlib import Path

from coreclaw_async.batch._store.database import Database
from coreclaw_async.batch._store.postgres import PostgresDatabase
from coreclaw_async.batch._store.sqlite import SqliteDatabase

MEMORY = "memory"
# User and password, hosts, the path, and the settings, among which Postgres takes a password too.
_PARTS = re.compile(r"(?:[^/?#\[\]]*@)?(?P<hosts>[^/?#@]*)(?P<path>[^?#@]*)(?:[?#][^@]*)?")
_HOST = re.compile(r"(?:[^\s:\[\]]*|\[[0-9A-Fa-f:.%]*\])(?::[0-9]*)?")
# An address with a slash too few, or the settings that other programs take in its place.
_SETTINGS = re.compile(r"(?i)(postgres(?:ql)?:|password\s*=).*", re.DOTALL)
_FORMS = "'sqlite:///file.db', 'postgresql://...', 'memory', or a path"


def database_at(ledger: str | os.PathLike[str], *, patience: float = 1_800.0) -> Database:
    """
    Return the database at *ledger*; nothing is opened.

    Args:
        ledger: Its address.
        patience: How many seconds to wait for a server that was there and is not any more, or for a file that another
            process has locked.

    Raises:
        TypeError: It is neither a string nor a path.
        ValueError: It is no address of a ledger.
    """
    if isinstance(ledger, str):
        if ledger == MEMORY:
            return SqliteDatabase(None)
        if is_postgres(ledger):
            return PostgresDatabase(ledger, patience)
    return SqliteDatabase(sqlite_path(ledger), patience=patience)


def sqlite_path(ledger: str | os.PathLike[str]) -> Path:
    """
    Return the file of a ledger in SQLite.

    Raises:
        TypeError: *ledger* is neither a string nor a path.
        ValueError: It is no address of one.
    """
    if isinstance(ledger, os.PathLike):
        return Path(ledger)
    if not isinstance(ledger, str):
        raise TypeError(f"ledger must be {_FORMS}, not {type(ledger).__name__}")
    path = ledger.removeprefix("sqlite:///") if ledger.startswith("sqlite:///") else ledger
    if not path or "://" in path or path.startswith(("sqlite:", "postgres")):
        raise ValueError(f"ledger must be {_FORMS}, not {_without_password(ledger)!r}")
    return Path(path)


def is_postgres(ledger: str | os.PathLike[str]) -> bool:
    """Return whether *ledger* names a Postgres database."""
    return isinstance(ledger, str) and ledger.startswith(("postgresql://", "postgres://"))


def shown_ledger(ledger: str | os.PathLike[str]) -> str:
    """Return *ledger* fit to be shown."""
    return _without_password(os.fspath(ledger))


def _without_password(text: str) -> str:
    scheme, mark, rest = text.partition("://")
    if scheme == "sqlite" or not mark:
        return re.sub(_SETTINGS, r"\1<hidden>", text)
    parts = _PARTS.fullmatch(rest)
    # A sign in a password that is not escaped ends the host too early, and the rest of the password would be shown.
    if parts is None or not all(map(_HOST.fullmatch, parts["hosts"].split(","))):
        return "an address that cannot be read"
    return f"{scheme}://{parts['hosts']}{parts['path']}"
