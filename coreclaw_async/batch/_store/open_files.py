"""
The SQLite files that this process has open, and those that were open in the process that it was forked from.

SQLite keeps in memory what a process has locked. A forked child has a copy of that and none of the locks: what it
writes goes into a log that its parent deletes when it closes the file. So a child opens none of these files again.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias
from weakref import WeakSet

from coreclaw_async.errors import LedgerError

FileId: TypeAlias = tuple[int, int]
"""Device and number of a file; no other file has them while this one is open."""

_FORK_SECONDS = 1.0


def id_of(path: Path) -> FileId | None:
    """Return which file is at *path*, or None."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def refuse_hard_links(path: Path) -> None:
    """
    Raise where a file has further names: by each of them SQLite looks for another log.

    Raises:
        LedgerError: It has.
    """
    names = path.stat().st_nlink
    if names > 1 and path.is_file():
        raise LedgerError(
            f"the ledger {path} is a file with {names} names (hard links), and what is written to it by one of them is "
            "missing by the others: keep one of them, and copy a ledger with Connection.backup of sqlite3"
        )


class FileOwner(Protocol):
    """What has files open."""

    def open_files(self) -> Sequence[tuple[sqlite3.Connection, FileId | None]]:
        """Return its connections, each with its file."""
        ...


class OpenFiles:
    """The open files of a process, and those of its parent; one object serves all ledgers."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._uses = 0
        self._owners: WeakSet[FileOwner] = WeakSet()
        # With their connections: closing one would touch what the parent still uses.
        self._inherited: list[tuple[sqlite3.Connection, FileId | None]] = []

    @contextlib.contextmanager
    def in_use(self) -> Generator[None]:
        """Have a fork wait for the end of the block: a child must not inherit half a transaction."""
        with self._changed:
            self._uses += 1
        try:
            yield
        finally:
            with self._changed:
                self._uses -= 1
                self._changed.notify_all()

    def watch(self, owner: FileOwner) -> None:
        """Record whose files a child must leave alone."""
        with self._changed:
            self._owners.add(owner)

    def refuse_inherited(self, path: Path) -> None:
        """
        Raise where the file was open in the process that this one was forked from.

        Raises:
            LedgerError: It was.
        """
        file = id_of(path)
        if file is not None and any(file == inherited for _, inherited in self._inherited):
            raise LedgerError(
                f"the ledger {path} was open in the process that this one was forked from, and SQLite loses what a "
                "forked process writes to such a file. Leave the batch before the fork and open it after that, or "
                "begin the process in another way, as multiprocessing.get_context('spawn') does"
            )

    def before_fork(self) -> None:
        """Wait for what is in use, for a short time, and have nothing else begin."""
        self._changed.acquire()
        self._changed.wait_for(lambda: not self._uses, _FORK_SECONDS)

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._changed.release()

    def after_fork_in_child(self) -> None:
        """Begin with nothing open."""
        self._changed = threading.Condition()
        self._uses = 0
        for owner in self._owners:
            self._inherited += owner.open_files()
        self._owners = WeakSet()


OPEN_FILES = OpenFiles()
if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows cannot fork
    os.register_at_fork(
        before=OPEN_FILES.before_fork,
        after_in_parent=OPEN_FILES.after_fork_in_parent,
        after_in_child=OPEN_FILES.after_fork_in_child,
    )
