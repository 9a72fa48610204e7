"""A ledger of each kind, empty: in memory, in a file, in Postgres where there is one."""

from __future__ import annotations

import re
import zlib
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


# Where threads, sockets, locks or cancellation are at stake, a backend may make a difference.
BOTH_BACKENDS = {"test_closing", "test_database", "test_sqlite_files"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Run each test with each of its ledgers once, and leave out what cannot be: asyncpg is for asyncio.

    A batch does the same on asyncio and trio, so the two take turns.
    """
    here = Path(__file__).parent
    items[:] = [item for item in items if here not in item.path.parents or _is_run(item)]


def _is_run(item: pytest.Item) -> bool:
    assert isinstance(item, pytest.Function), "there are no other tests here"
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    backend, ledgers = parameters.get("anyio_backend"), set(re.findall(r"\w+", item.name))
    if "postgres" in ledgers:
        return backend != "trio"
    chosen = [mark.args[0] for mark in item.iter_markers("parametrize")]
    if backend is None or "anyio_backend" in chosen or item.module.__name__.rpartition(".")[2] in BOTH_BACKENDS:
        return True
    if "memory" in ledgers:
        return backend == "asyncio"
    if "sqlite" in ledgers:
        return backend == "trio"
    name = item.name.replace(str(backend), "")
    return backend == ("asyncio", "trio")[zlib.crc32(name.encode()) % 2]
