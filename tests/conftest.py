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
