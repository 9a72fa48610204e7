"""Fixtures for tests of programs that use CoreClaw; pytest finds them once the package is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from coreclaw_async import AsyncCoreClaw
    from coreclaw_async.testing import FakeService


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
