"""Fixtures of the whole suite: both async backends, a fresh service, and a client of it."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import AsyncIterator, Iterator

import either_client
import pytest
from hypothesis import HealthCheck, settings
from tls_tunnel import authority, trusted

from coreclaw_async import AsyncCoreClaw
from coreclaw_async.testing import FakeService

__all__ = ["authority", "trusted"]  # Fixtures.

settings.register_profile(
    "suite",
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("suite")

# A job that a shell started in the background ignores Ctrl-C, and so would all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Coverage is measured in the processes that run tests. Most others are killed, and with them goes what they covered.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "endurance: takes long, or kills processes; one Python runs it")
    config.addinivalue_line("markers", "any_backend: the backend makes no difference; runs on asyncio alone")
    config.addinivalue_line("markers", "async_client_only: cannot be meant for a blocking client, by its nature")
    config.addinivalue_line("markers", "backends_in_turn: each of several cases runs on one backend, in turn")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run async tests on both backends unless it makes no difference, some through the blocking client too."""
    chosen = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "anyio_backend" not in metafunc.fixturenames or "anyio_backend" in chosen:
        return
    kinds = ["asyncio"] if metafunc.definition.get_closest_marker("any_backend") else ["asyncio", "trio"]
    has_both_clients = getattr(metafunc.module, "AsyncCoreClaw", None) is either_client.AsyncCoreClaw
    if has_both_clients and metafunc.definition.get_closest_marker("async_client_only") is None:
        kinds.append("blocking")
    slow = getattr(metafunc.module, "SLOW_BACKENDS", ())  # What a module leaves to the endurance run.
    values = [pytest.param(kind, marks=pytest.mark.endurance) if kind in slow else kind for kind in kinds]
    metafunc.parametrize("anyio_backend", values, indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave each case of a test marked ``backends_in_turn`` to one backend, where there are enough cases for all."""
    backends: dict[str, dict[str, int]] = {}
    cases: dict[str, dict[str, int]] = {}
    for item in items:
        test, case, backend = _parts_of(item)
        backends.setdefault(test, {}).setdefault(backend, len(backends[test]))
        cases.setdefault(test, {}).setdefault(case, len(cases[test]))
    kept: list[pytest.Item] = []
    left: list[pytest.Item] = []
    for item in items:
        test, case, backend = _parts_of(item)
        count = len(backends[test])
        is_in_turn = item.get_closest_marker("backends_in_turn") is not None and len(cases[test]) >= count
        is_mine = not is_in_turn or backends[test][backend] == _turn(cases[test][case], count)
        (kept if is_mine else left).append(item)
    if left:
        items[:] = kept
        config.hook.pytest_deselected(items=left)


def _parts_of(item: pytest.Item) -> tuple[str, str, str]:
    """Return a test's name, the id of its case without the backend, and the backend."""
    test, _, case = item.nodeid.partition("[")
    callspec = getattr(item, "callspec", None)
    backend = "" if callspec is None else str(callspec.params.get("anyio_backend", ""))
    return test, case.replace(backend, "", 1), backend


def _turn(index: int, count: int) -> int:
    """Return whose turn a case is; no two parameters go round in step with the backends."""
    turn = 0
    while index and count > 1:
        index, digit = divmod(index, count)
        turn += digit
    return turn % count


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "blocking":
        monkeypatch.setattr(either_client, "IS_BLOCKING", True)
        return "asyncio"
    return str(request.param)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("CORECLAW_API_KEY", "CORECLAW_BASE_URL", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    yield
    logging.getLogger("coreclaw_async").setLevel(logging.NOTSET)


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
async def client(service: FakeService) -> AsyncIterator[AsyncCoreClaw]:
    async with either_client.AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        yield client
