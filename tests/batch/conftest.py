"""A ledger of each kind, empty: in memory, in a file, in Postgres where there is one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import postgres_server
import pytest


@pytest.fixture(scope="session")
def postgres() -> Iterator[postgres_server.PostgresServer]:
    programs = postgres_server.found()
    if programs is None:
        pytest.skip("Postgres is not installed")
    with postgres_server.running(programs) as server:
        yield server


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "memory":
        return "memory"
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'runs.db'}"
    return str(request.getfixturevalue("postgres_dsn"))


@pytest.fixture
def postgres_dsn(postgres: postgres_server.PostgresServer) -> str:
    postgres.run("DROP SCHEMA IF EXISTS coreclaw CASCADE")
    return postgres.dsn


@pytest.hookimpl(tryfirst=True)  # Before the cases take turns.
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out cases on Postgres with trio: asyncpg needs asyncio."""
    here = Path(__file__).parent
    items[:] = [
        item for item in items if "postgres" not in item.name or here not in item.path.parents or _is_possible(item)
    ]


def _is_possible(item: pytest.Item) -> bool:
    assert isinstance(item, pytest.Function), "there are no other tests here"
    backend = item.callspec.params.get("anyio_backend") if hasattr(item, "callspec") else None
    return backend != "trio" or "postgres" not in re.findall(r"\w+", item.name)
