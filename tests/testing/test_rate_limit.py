"""The fake service answers so many requests in a second, and refuses further ones without doing their work."""

from __future__ import annotations

import pytest

from coreclaw_async import AsyncCoreClaw, RateLimitedError, RetryPolicy
from coreclaw_async.testing import FakeService

WORKER = "coreclaw/google-maps-scraper"


async def test_further_requests_are_refused_until_time_has_passed() -> None:
    service = FakeService(rate_limit=2.0, rate_burst=3)
    once = RetryPolicy(max_attempts=1)
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, retry=once) as client:
        for _ in range(3):
            await client.workers.start_run(WORKER, {"keywords": ["x"]})
        with pytest.raises(RateLimitedError) as caught:
            await client.workers.start_run(WORKER, {"keywords": ["x"]})
        service.clock.advance(0.5)
        await client.workers.start_run(WORKER, {"keywords": ["x"]})
        with pytest.raises(RateLimitedError):
            await client.account.get()
        service.clock.advance(100.0)
        for _ in range(3):
            await client.account.get()
        with pytest.raises(RateLimitedError):
            await client.account.get()

    assert (caught.value.status_code, caught.value.code) == (429, 13000)
    assert service.runs_created == 4


@pytest.mark.parametrize("switches", [{"rate_limit": 0}, {"rate_limit": -1}, {"rate_burst": 0}])
def test_a_limit_must_let_something_through(switches: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="rate_"):
        FakeService(**switches)  # type: ignore[arg-type]
