"""Fixtures and short tracebacks for tests of programs that use CoreClaw; pytest finds them by itself."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from coreclaw_async import AsyncCoreClaw
    from coreclaw_async.testing import FakeService


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> None:
    """Leave the frames of the package out of the tracebacks of its errors; ``--full-trace`` shows them."""
    # Where the package was not imported, an error is none of its.
    tracebacks: Any
    errors: Any
    tracebacks, errors = (sys.modules.get(f"coreclaw_async.{name}") for name in ("_tracebacks", "errors"))
    if call.excinfo is not None and errors is not None and isinstance(call.excinfo.value, errors.CoreClawError):
        tracebacks.hide_own_frames(call.excinfo.value)


@pytest.fixture
def coreclaw_service() -> FakeService:
    """Return a fresh `FakeService` with a virtual clock."""
    from coreclaw_async.testing import FakeService

    return FakeService()


@pytest.fixture
async def coreclaw_client(coreclaw_service: FakeService) -> AsyncIterator[AsyncCoreClaw]:
    """Yield an open client of `coreclaw_service`; needs the pytest plugin of anyio."""
    from coreclaw_async import AsyncCoreClaw

    client = AsyncCoreClaw(
        coreclaw_service.api_key,
        base_url=coreclaw_service.base_url,
        transport=coreclaw_service,
        clock=coreclaw_service.clock,
    )
    async with client:
        yield client
