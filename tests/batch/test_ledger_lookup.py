"""Asking which batches a ledger has makes nothing, and shows no password."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import postgres_server
import pytest
from batch.batches import opened

from coreclaw_async import LedgerError
from coreclaw_async.batch._store.address import shown_ledger
from coreclaw_async.batch._store.lookup import batches_in
from coreclaw_async.testing import FakeService


@pytest.fixture
def service() -> FakeService:
    return FakeService()


async def test_the_batches_of_a_ledger_are_told(service: FakeService, ledger: str) -> None:
    if ledger == "memory":
        pytest.skip("it is gone with its batch")
    before = await batches_in(ledger)
    async with opened(service, ledger, count=1):
        during = await batches_in(ledger)

    assert before is None
    assert during == await batches_in(ledger) == ["nightly"]


async def test_a_ledger_in_memory_has_no_batches() -> None:
    assert await batches_in("memory") is None


async def test_a_look_makes_no_file_and_leaves_none(service: FakeService, tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    assert await batches_in(path) is None
    assert list(tmp_path.iterdir()) == []
    async with opened(service, str(path), count=1):
        pass
    assert await batches_in(f"sqlite:///{path}") == ["nightly"]
    assert list(tmp_path.iterdir()) == [path]


async def test_an_empty_file_is_no_ledger_and_another_database_is_an_error(tmp_path: Path) -> None:
    empty, other, text = tmp_path / "empty", tmp_path / "other", tmp_path / "text"
    empty.touch()
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE things (name TEXT)")
    connection.close()
    text.write_text("no database" * 1_000)

    assert await batches_in(empty) is None
    with pytest.raises(LedgerError, match="of another program, not a ledger"):
        await batches_in(other)
    for path in (text, tmp_path):
        with pytest.raises(LedgerError, match="cannot be read"):
            await batches_in(path)


async def test_a_ledger_that_may_only_be_read_is_read(service: FakeService, tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with opened(service, str(path), count=1):
        pass
    path.chmod(0o400)

    assert await batches_in(path) == ["nightly"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_database_that_has_no_ledger_stays_without(postgres: postgres_server.PostgresServer) -> None:
    postgres.run("DROP SCHEMA IF EXISTS coreclaw CASCADE")

    assert await batches_in(postgres.dsn) is None
    assert await batches_in(postgres.dsn) is None


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_no_error_shows_the_password() -> None:
    with pytest.raises(LedgerError) as raised:
        await batches_in("postgresql://me:pa55@127.0.0.1:9/x")

    assert "pa55" not in str(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize("ledger", ["postgresql://me:pa55@h/x", "postgresql://h/x?user=me&password=pa55"])
def test_a_ledger_is_shown_without_its_password(ledger: str) -> None:
    assert shown_ledger(ledger) == "postgresql://h/x"
