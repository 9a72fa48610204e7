"""A forked child leaves the ledger of its parent alone: what both would write is lost, and then paid for again."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
from batch.batches import WORKER

from coreclaw_async import LedgerError
from coreclaw_async._sync.batches import Hosted
from coreclaw_async.batch._store.address import database_at
from coreclaw_async.batch._store.database import Statement
from coreclaw_async.batch._store.open_files import OpenFiles
from coreclaw_async.batch._store.sqlite import SqliteDatabase
from coreclaw_async.testing import FakeService, RealClock, RunScript

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

BEGINNING = f"""
import asyncio, os, sys
from coreclaw_async import AsyncCoreClaw, CoreClaw, LedgerError, RunSpec, SettleTimes
url, key, ledger = sys.argv[1:]
client = CoreClaw(key, base_url=url)
def spec(key):
    return RunSpec(key=key, worker_id={WORKER!r}, input={{"keywords": [key]}})
def say(*words):
    print(*words, flush=True)
def refused(call):
    try:
        say("not refused:", call())
    except LedgerError as error:
        say(error)
def forked(work):
    child = os.fork()
    if not child:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
"""


@attrs.frozen
class Machine:
    """Runs programs that use the service and one ledger."""

    service: FakeService
    url: str

    def run(self, ledger: str, body: str) -> list[str]:
        """Return the lines that a program has written."""
        done = subprocess.run(
            [sys.executable, "-c", BEGINNING + textwrap.dedent(body), self.url, self.service.api_key, ledger],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()


@pytest.fixture
def machine() -> Iterator[Machine]:
    service = FakeService(clock=RealClock(), default_script=RunScript(rows=1, duration=0.1))
    with service.serve() as server:
        yield Machine(service, server.url)


@needs_fork
@pytest.mark.endurance
def test_child_does_not_open_a_file_that_its_parent_has_open(machine: Machine, tmp_path: Path) -> None:
    lines = machine.run(
        f"sqlite:///{tmp_path / 'runs.db'}",
        """
        def open_own():
            with client.batch("own", ledger=ledger) as batch:
                return batch.plan([spec("b")])
        with client.batch("parent", ledger=ledger) as batch:
            batch.plan([spec("a")])
            forked(lambda: refused(open_own))
            forked(lambda: refused(lambda: client.workers.run_once("once", spec("c").worker_id, {}, ledger=ledger)))
            say(len(list(batch.run())))
        forked(lambda: say(open_own()))
        """,
    )

    assert len(lines) == 4
    for line in lines[:2]:
        assert "runs.db was open in the process that this one was forked from" in line
    assert lines[2:] == ["1", "1"]
    assert len(machine.service.runs) == 1


@needs_fork
@pytest.mark.endurance
def test_child_of_a_child_does_not_open_the_file_either(machine: Machine, tmp_path: Path) -> None:
    lines = machine.run(
        f"sqlite:///{tmp_path / 'runs.db'}",
        """
        def open_own():
            with client.batch("own", ledger=ledger) as batch:
                return batch.plan([spec("b")])
        with client.batch("parent", ledger=ledger) as batch:
            forked(lambda: forked(lambda: refused(open_own)))
        """,
    )

    assert len(lines) == 1
    assert "was forked from" in lines[0]


@needs_fork
@pytest.mark.endurance
def test_child_uses_no_batch_of_its_parent_which_goes_on(machine: Machine, ledger: str) -> None:
    lines = machine.run(
        ledger,
        """
        with client.batch("parent", ledger=ledger) as batch:
            batch.plan([spec(str(number)) for number in range(3)])
            outcomes = batch.run()
            keys = [next(outcomes).key]
            uses = [batch.report, lambda: batch.plan([spec("x")]), lambda: next(outcomes), lambda: list(batch.run())]
            for use in [*uses, lambda: next(batch.items()), lambda: batch.get("0"), batch.cancel]:
                forked(lambda: refused(use))
            forked(lambda: batch.__exit__(None, None, None))
            keys += [outcome.key for outcome in outcomes]
            say(sorted(keys))
        """,
    )

    assert len(lines) == 8
    for line in lines[:-1]:
        assert line.startswith("the batch was opened by process ")
        assert line.endswith(" and this is a forked child of it: open the batch here, in a block of its own")
    assert lines[-1] == "['0', '1', '2']"
    assert len(machine.service.runs) == 3


@needs_fork
@pytest.mark.endurance
def test_batch_that_was_made_before_the_fork_is_opened_after_it(machine: Machine, ledger: str) -> None:
    lines = machine.run(
        ledger,
        """
        batch = client.batch("made", ledger=ledger)
        def work():
            with batch:
                batch.plan([spec("a")])
                say(len(list(batch.run())))
        forked(work)
        """,
    )

    assert lines == ["1"]


async def test_what_was_inherited_is_neither_used_nor_closed(ledger: str) -> None:
    database = database_at(ledger, patience=0.0)
    await database.open()
    await database.take_start_queue("queue")
    await database.write(Statement.of("INSERT INTO batch (name, account, created) VALUES ('a', 'account', 1.0)"))
    database.process -= 1  # What a child sees.

    for use in (
        lambda: database.write(Statement.of("DELETE FROM batch")),
        lambda: database.read("SELECT name FROM batch"),
        lambda: database.take_start_queue("other"),
    ):
        with pytest.raises(LedgerError, match="this is a forked child of it: open the batch here"):
            await use()
    await database.leave_start_queue("queue")
    await database.aclose()

    database.process += 1
    assert await database.read("SELECT name FROM batch") == [("a",)]
    assert not await database.take_start_queue("queue") or ledger == "memory"
    await database.aclose()


async def test_file_that_was_inherited_is_not_opened(tmp_path: Path) -> None:
    database, files = SqliteDatabase(tmp_path / "runs.db"), OpenFiles()
    await database.open()
    files.watch(database)
    files.before_fork()
    files.refuse_inherited(tmp_path / "runs.db")
    files.after_fork_in_child()

    with pytest.raises(LedgerError, match=r"runs\.db was open in the process that this one was forked from"):
        files.refuse_inherited(tmp_path / "runs.db")
    files.refuse_inherited(tmp_path / "other.db")
    await database.aclose()


def test_child_leaves_no_block_of_its_parent() -> None:
    steps: list[str] = []

    @asynccontextmanager
    async def manager() -> AsyncGenerator[None]:
        yield
        steps.append("left")

    async def begin(hosted: Hosted) -> None:
        await hosted.open()
        steps.append("opened")

    async def leave(hosted: Hosted) -> None:
        await hosted.close()
        steps.append("closed")

    with asyncio.Runner() as parent:
        hosted = Hosted(manager())
        parent.run(begin(hosted))
        child = threading.Thread(target=lambda: asyncio.run(leave(hosted)))
        child.start()
        child.join(20)
        parent.run(leave(hosted))

    assert steps == ["opened", "closed", "left", "closed"]


def test_fork_waits_for_what_is_in_use() -> None:
    files = OpenFiles()
    is_used, may_end = threading.Event(), threading.Event()
    ended: list[str] = []

    def use() -> None:
        with files.in_use():
            is_used.set()
            may_end.wait(20)
            ended.append("use")

    def fork() -> None:
        files.before_fork()
        ended.append("fork")
        files.after_fork_in_parent()

    user, forker = threading.Thread(target=use), threading.Thread(target=fork)
    user.start()
    is_used.wait(20)
    forker.start()
    may_end.set()
    user.join(20)
    forker.join(20)

    assert ended == ["use", "fork"]
