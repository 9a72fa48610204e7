"""Fixtures of the whole suite: both async backends, a fresh service, and a client of it."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import time
import zlib
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Any

import either_client
import pytest
from hypothesis import HealthCheck, settings
from speed import without_aiohttp
from tls_tunnel import authority, trusted

from coreclaw_async import AsyncCoreClaw
from coreclaw_async.testing import FakeService

__all__ = ["authority", "trusted", "without_aiohttp"]  # Fixtures.

OVER_HTTPX = "asyncio over httpx"

settings.register_profile(
    "suite",
    max_examples=40,
    derandomize=bool(os.environ.get("CI")),  # Where a find would be taken for the fault of a change.
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("suite")

# A job that a shell started in the background ignores Ctrl-C, and so would all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):  # As does one of nohup when its terminal is closed.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Coverage is measured only in the processes that run tests: most others are killed and lose what they covered.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "endurance(seconds): takes long, or kills processes; one Python runs it")
    config.addinivalue_line("markers", "other_turn: a case on a backend that another Python has in its quick run")
    config.addinivalue_line("markers", "both_backends: reads over sockets, so it runs through httpx on asyncio too")
    config.addinivalue_line("markers", "every_backend: the quick run has it on every backend, not on one in turn")
    config.addinivalue_line("markers", "async_client_only: cannot be meant for a blocking client, by its nature")
    told = getattr(getattr(config, "failures_db", None), "sock", None)
    if told is not None and "PYTEST_XDIST_WORKER" in os.environ:
        # For each test, pytest-rerunfailures sends two short messages, and the system would keep the second for 40 ms.
        told.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """End the processes that a worker has left behind by ending within a test: they hold the output of the run open."""
    if error is None:
        return
    names = {"PYTEST_XDIST_TESTRUNUID": "testrunuid", "PYTEST_XDIST_WORKER": "workerid"}
    mark = {f"{name}={node.workerinput[member]}".encode() for name, member in names.items()}
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # It has ended meanwhile, or is another user's.
            if mark <= set(environment.read_bytes().split(b"\0")):
                os.kill(int(environment.parent.name), signal.SIGKILL)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the garbage collector from looking at modules and cases again and again: they stay until the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run async tests on both event loops, and those of the core's promises through the blocking client too."""
    if "anyio_backend" not in metafunc.fixturenames or _has_own_backends(metafunc.definition):
        return
    kinds = ["asyncio", "trio"]
    has_both_clients = getattr(metafunc.module, "AsyncCoreClaw", None) is either_client.AsyncCoreClaw
    if has_both_clients and metafunc.definition.get_closest_marker("async_client_only") is None:
        kinds.append("blocking")
    if metafunc.definition.get_closest_marker("both_backends"):
        kinds.append(OVER_HTTPX)
    metafunc.parametrize("anyio_backend", kinds, indirect=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Have each case on one backend, in turn, and each Python on another one.

    What takes long runs on one Python only: a test of a single case has it on all backends there.
    """
    tests: dict[str, dict[str, list[pytest.Item]]] = {}
    for item in items:
        backend = _backend_of(item)
        if backend is not None:
            test, _, case = item.nodeid.partition("[")
            tests.setdefault(test, {}).setdefault(case.replace(backend, "", 1), []).append(item)
    items.sort(key=_seconds, reverse=True)  # What takes longest begins first, so that nothing else waits for it.
    for test, cases in tests.items():
        if len(cases) == 1 and _takes_long(cases):
            continue
        for index, on_backends in enumerate(cases.values()):
            # The lowest Python measures coverage: another choice of its cases may leave a branch uncovered.
            quick = _turn(index, zlib.crc32(test.encode()), len(on_backends)) + sys.version_info.minor - 11
            for place, item in enumerate(on_backends):
                if place != quick % len(on_backends):
                    item.add_marker(pytest.mark.other_turn)


def _backend_of(item: pytest.Item) -> str | None:
    """Return the backend that an item runs on, or None when it does not take turns."""
    if not isinstance(item, pytest.Function) or not hasattr(item, "callspec") or _has_own_backends(item):
        return None
    if item.get_closest_marker("every_backend"):
        return None
    backend = item.callspec.params.get("anyio_backend")
    return None if backend is None else str(backend)


def _seconds(item: pytest.Item) -> int:
    """Return how long an item takes, where somebody noted it, else 0."""
    return max((mark.args[0] for mark in item.iter_markers("endurance") if mark.args), default=0)


def _takes_long(cases: dict[str, list[pytest.Item]]) -> bool:
    return any(item.get_closest_marker("endurance") for items in cases.values() for item in items)


def _has_own_backends(test: pytest.Item) -> bool:
    return "anyio_backend" in [mark.args[0] for mark in test.iter_markers("parametrize")]


def _turn(index: int, first: int, count: int) -> int:
    """Return whose turn a case is: by the sum of its digits, so that no parameter goes round in step with the turns."""
    total = first
    while index and count > 1:
        index, digit = divmod(index, count)
        total += digit
    return total % count


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "blocking":
        monkeypatch.setattr(either_client, "IS_BLOCKING", True)
        return "asyncio"
    if request.param == OVER_HTTPX:
        request.getfixturevalue("without_aiohttp")
        return "asyncio"
    return str(request.param)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in (
        "CORECLAW_API_KEY",
        "CORECLAW_BASE_URL",
        "CORECLAW_LEDGER",
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
    ):
        monkeypatch.delenv(name, raising=False)
    yield
    logging.getLogger("coreclaw_async").setLevel(logging.NOTSET)


@pytest.fixture
def east_of_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Etc/GMT-8")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
async def client(service: FakeService) -> AsyncIterator[AsyncCoreClaw]:
    async with either_client.AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        yield client
