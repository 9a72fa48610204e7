"""What a batch asks of its ledger for each item: no statement more than it needs, and few commits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from batch.batches import finish, opened

from coreclaw_async import AsyncBatch, CallbackHub
from coreclaw_async.batch._store.sqlite import SqliteDatabase
from coreclaw_async.testing import FakeService, RunScript


@asynccontextmanager
async def traced(
    service: FakeService, ledger: Path, count: int, **options: Any
) -> AsyncIterator[tuple[AsyncBatch, list[str]]]:
    """A planned batch whose ledger is a file, and the statements that are run there from then on."""
    async with opened(service, f"sqlite:///{ledger}", count=count, **options) as batch:
        database = batch._batch_context.ledger.database
        assert isinstance(database, SqliteDatabase)
        statements: list[str] = []
        database._opened().set_trace_callback(statements.append)
        yield batch, statements


async def statements_of(ledger: Path, count: int, **options: Any) -> list[str]:
    """Run a batch of so many runs to its end, and return what its ledger was asked for."""
    service = FakeService()
    for _ in range(count):
        service.script_next(RunScript(rows=0, duration=30.0))
    async with traced(service, ledger, count, **options) as (batch, statements):
        assert [outcome.state for outcome in await finish(batch)] == ["done"] * count
        return statements


async def test_ends_of_runs_whose_cost_is_told_ask_for_no_budget(tmp_path: Path) -> None:
    looks: list[int] = []
    for count in (2, 20):
        statements = await statements_of(tmp_path / f"{count}.db", count)
        looks.append(sum(sql.startswith("SELECT") and " FROM budget WHERE batch" in sql for sql in statements))

    assert looks[0] == looks[1]


@pytest.mark.parametrize("has_callbacks", [False, True])  # With them several starts are under way at once.
async def test_no_start_is_read_again_from_the_ledger_while_its_intent_is_written(
    tmp_path: Path, has_callbacks: bool
) -> None:
    count = 100
    options = {"callbacks": CallbackHub("https://hub.example.com/hooks")} if has_callbacks else {}
    statements = await statements_of(tmp_path / "runs.db", count, **options)

    assert sum(sql.startswith("UPDATE item SET state = 'intent'") for sql in statements) == count
