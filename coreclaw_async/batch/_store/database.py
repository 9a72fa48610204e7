"""A database for a ledger: atomic writes, several of which are committed together."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeAlias

import anyio
import attrs

from coreclaw_async.errors import LedgerError

SqlRow = tuple[Any, ...]


class StaleError(Exception):
    """A statement found other rows than expected; its whole write was undone."""


class StartQueueLostError(LedgerError):
    """
    The database no longer holds the start queue, and the write was not made.

    Take the start queue again before starting runs in it, and settle the starts that others have left open meanwhile.
    """


@attrs.frozen
class Statement:
    """
    One SQL statement, with ``?`` for each value.

    Attributes:
        sql: The statement.
        rows: Its values, once for each time that it is run.
        changes: How many rows it must change in all, or None for any number.
    """

    sql: str
    rows: Sequence[SqlRow]
    changes: int | None = None

    @classmethod
    def of(cls, sql: str, *values: Any, changes: int | None = None) -> Statement:
        """Return a statement that is run once."""
        return cls(sql, (values,), changes)


@attrs.frozen
class Choice:
    """
    A query within a write; its rows decide which statements follow.

    Attributes:
        sql: The query, with ``?`` for each value.
        values: Its values.
        follow: Returns the statements that follow, given the rows. An exception undoes the write, and is raised.
    """

    sql: str
    values: SqlRow
    follow: Callable[[list[SqlRow]], Sequence[Statement]]


Step: TypeAlias = Statement | Choice


@attrs.define(eq=False)
class Job:
    """
    A write that waits for its commit.

    Attributes:
        steps: What is done, all or nothing.
        start_queue: The start queue that must be held when it is done, or None.
        refusal: Why it was left out of its transaction, or None; valid if that transaction was committed.
        error: Why it was not done, or None.
        is_done: Whether it is durable, or has failed.
        woken: Set when its writer must look again: it is done, or the writer is to commit. None if nobody waits.
    """

    steps: Sequence[Step]
    start_queue: str | None = None
    refusal: Exception | None = None
    error: Exception | None = None
    is_done: bool = False
    woken: anyio.Event | None = None

    def end(self, error: Exception | None = None) -> None:
        """Record how it ended."""
        self.error = error
        self.is_done = True


class Database(ABC):
    """
    A database, opened by the first use of `open`, for one event loop of one process.

    The first of several waiting writers commits for all of them: one fsync for many writes.

    Attributes:
        process: The process that has opened it; 0 before that.
    """

    LOCK_ITEMS: ClassVar[Sequence[str]] = ()
    """Statements with which a write keeps all others from changing items until it is done."""

    def __init__(self) -> None:
        self._jobs: list[Job] = []
        self._turn = anyio.Lock()
        self._is_committing = False
        self.process = 0

    def _begin_here(self) -> None:
        """Record which process opens it."""
        self.process = os.getpid()

    @property
    def is_inherited(self) -> bool:
        """Whether this is the copy of a forked child, whose connection is its parent's: nothing may be done with it."""
        return self.process not in {0, os.getpid()}

    def check_process(self) -> None:
        """
        Raise in a forked child.

        Raises:
            LedgerError: This is one.
        """
        if self.is_inherited:
            raise LedgerError(
                f"the batch was opened by process {self.process}, and this is a forked child of it: open the batch "
                "here, in a block of its own"
            )

    async def write(self, *steps: Step, start_queue: str | None = None) -> None:
        """
        Make the changes of *steps* durable, all or none; a cancellation does not divide them.

        Args:
            steps: What is changed.
            start_queue: A start queue that this database must hold when the change is made.

        Raises:
            StaleError: A statement changed another number of rows than it must, or a `Choice` raised it.
            StartQueueLostError: The start queue is no longer held.
            LedgerError: The database cannot be written to.
        """
        self.check_process()
        while True:
            job = Job(steps, start_queue)
            self._jobs.append(job)
            with anyio.CancelScope(shield=True):
                await self._see_done(job)
            if job.error is None:
                return
            if await self._was_applied(job.error):
                if job.refusal is not None:
                    raise job.refusal
                return

    async def _see_done(self, job: Job) -> None:
        """Return when *job* is done, by its own writer or by another one that commits for all."""
        try:
            while not job.is_done:
                if self._is_committing:
                    job.woken = anyio.Event()
                    try:
                        await job.woken.wait()
                    finally:
                        job.woken = None
                else:
                    await self._commit_with(job)
        finally:
            self._hand_over()

    async def _commit_with(self, job: Job) -> None:
        """Commit *job* and all others that wait, and wake their writers."""
        self._is_committing = True
        try:
            async with self._turn:
                jobs, self._jobs = self._jobs, []
                try:
                    await self._commit(jobs)
                except BaseException:  # asyncio cancels through shields: the others must not wait for this one.
                    self._jobs[:0] = [other for other in jobs if not (other is job or other.is_done)]
                    raise
                finally:
                    for other in jobs:
                        if other.is_done and other.woken is not None:
                            other.woken.set()
        finally:
            self._is_committing = False

    def _hand_over(self) -> None:
        """Have the first writer that waits commit next, unless another one does already."""
        if not self._is_committing:
            waiting = (job.woken for job in self._jobs if job.woken is not None)
            first = next(waiting, None)
            if first is not None:
                first.set()

    async def read(self, sql: str, *values: Any) -> list[SqlRow]:
        """
        Return the rows of a query.

        Raises:
            LedgerError: The database cannot be read.
        """
        self.check_process()
        while True:
            try:
                async with self._turn:
                    return await self._query(sql, values)
            except LedgerError as error:
                await self._was_applied(error)

    @abstractmethod
    async def _was_applied(self, error: Exception) -> bool:
        """
        Return whether the transaction that ended with *error* is durable nevertheless; False if it must be repeated.

        Raises *error*, or a later one, if repeating is no use. May wait for the database, and may be cancelled.
        """

    @abstractmethod
    async def open(self, seconds: float = math.inf) -> None:
        """
        Connect, and make or renew the tables.

        Args:
            seconds: For how long to wait for other processes, where a cancellation could not end that.

        Raises:
            LedgerError: It is no ledger, is of a newer version, or cannot be written to.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Release the database and all start queues."""

    @abstractmethod
    async def take_start_queue(self, start_queue: str) -> bool:
        """
        Return whether *start_queue* was taken; False while it is held, by this database or another one.

        Raises:
            LedgerError: The database cannot be used.
        """

    @abstractmethod
    async def leave_start_queue(self, start_queue: str) -> None:
        """Give a start queue back."""

    @abstractmethod
    async def _commit(self, jobs: Sequence[Job]) -> None:
        """Do *jobs* in one transaction, each as a whole or not at all, and end them."""

    @abstractmethod
    async def _query(self, sql: str, values: SqlRow) -> list[SqlRow]: ...
