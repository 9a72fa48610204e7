"""A plain httpx client that is signed in to the fake service."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from testing.api_session import ApiSession, sign_in

from coreclaw_async.testing import FakeService


@pytest.fixture
async def api(service: FakeService) -> AsyncIterator[ApiSession]:
    async with sign_in(service, timeout=None) as client:
        yield ApiSession(service, client)
