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


@pytest.hookimpl(tryfirst=True)  # Before the cases take turns on the backends.
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out cases on Postgres with trio, as asyncpg needs asyncio; have the others take turns on the ledgers."""
    here = Path(__file__).parent
    impossible: set[pytest.Item] = set()
    tests: dict[str, dict[str, list[pytest.Function]]] = {}
    for item in [item for item in items if "[" in item.name and here in item.path.parents]:
        assert isinstance(item, pytest.Function), "there are no other tests here"
        others = {
            name: value for name, value in item.callspec.params.items() if name not in {"anyio_backend", "ledger"}
        }
        if item.callspec.params.get("anyio_backend") == "trio" and "postgres" in re.findall(r"\w+", item.name):
            impossible.add(item)
        elif "ledger" in item.callspec.params:
            tests.setdefault(item.nodeid.partition("[")[0], {}).setdefault(str(others), []).append(item)
    items[:] = [item for item in items if item not in impossible]
    for cases in tests.values():
        _take_turns(list(cases.values()))


def _take_turns(cases: list[list[pytest.Function]]) -> None:
    """Have each of many cases of a test on one ledger in the quick run, and on the others in the endurance run."""
    for index, on_ledgers in enumerate(cases):
        ledgers = list(dict.fromkeys(str(item.callspec.params["ledger"]) for item in on_ledgers))
        for item in on_ledgers:
            if len(cases) >= len(ledgers) and item.callspec.params["ledger"] != ledgers[index % len(ledgers)]:
                item.add_marker(pytest.mark.endurance)
