"""The fixtures for users' own tests, and how little loading them costs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Self

import pytest

import coreclaw_async
from coreclaw_async.testing import FakeService, pytest_plugin

coreclaw_service = pytest_plugin.coreclaw_service
coreclaw_client = pytest_plugin.coreclaw_client


class StandIn:
    """Stands in for the client: remembers how it was made and whether it is open."""

    made: list[StandIn]

    def __init__(self, api_key: str, **options: Any) -> None:
        self.api_key = api_key
        self.options = options
        self.is_open = False
        self.made.append(self)

    async def __aenter__(self) -> Self:
        self.is_open = True
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.is_open = False


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(StandIn, "made", [], raising=False)
    monkeypatch.setattr(coreclaw_async, "AsyncCoreClaw", StandIn, raising=False)
    yield
    assert all(not client.is_open for client in StandIn.made)


def test_the_service_is_fresh(coreclaw_service: FakeService) -> None:
    assert (coreclaw_service.runs_created, coreclaw_service.clock.monotonic()) == (0, 0)


async def test_the_client_is_open_and_uses_the_service_and_its_clock(
    coreclaw_client: Any, coreclaw_service: FakeService
) -> None:
    assert coreclaw_client.is_open
    assert coreclaw_client.api_key == coreclaw_service.api_key
    assert coreclaw_client.options == {
        "base_url": coreclaw_service.base_url,
        "transport": coreclaw_service,
        "clock": coreclaw_service.clock,
    }


def test_loading_the_plugin_does_not_load_the_service() -> None:
    code = (
        "import sys, coreclaw_async.testing.pytest_plugin;"
        "print([name for name in ('httpx', 'attrs', 'anyio', 'coreclaw_async.testing._service')"
        " if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "'coreclaw_async.testing._service'" not in result.stdout
