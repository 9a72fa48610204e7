"""The fake service answers so many requests in a second, and refuses further ones without doing their work."""

from __future__ import annotations

import httpx
import pytest

from coreclaw_async.testing import FakeService


async def test_further_requests_are_refused_until_time_has_passed() -> None:
    service = FakeService(rate_limit=2.0, rate_burst=3)
    headers = {"Authorization": f"Bearer {service.api_key}"}
    async with httpx.AsyncClient(transport=service, base_url=service.base_url, headers=headers) as http:

        async def start() -> httpx.Response:
            body = {"input": {"parameters": {"custom": {"keywords": ["x"]}}}}
            return await http.post("/api/v2/workers/coreclaw~google-maps-scraper/runs", json=body)

        first = [(await start()).status_code for _ in range(3)]
        refused = await start()
        service.clock.advance(0.5)
        after_a_moment = [(await start()).status_code, (await start()).status_code]
        service.clock.advance(100.0)
        after_a_while = [(await http.get("/api/v2/users/account")).status_code for _ in range(4)]

    assert first == [200, 200, 200]
    assert (refused.status_code, refused.json()["code"]) == (429, 13000)
    assert after_a_moment == [200, 429]
    assert after_a_while == [200, 200, 200, 429]
    assert service.runs_created == 4


@pytest.mark.parametrize("switches", [{"rate_limit": 0}, {"rate_limit": -1}, {"rate_burst": 0}])
def test_a_limit_must_let_something_through(switches: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="rate_"):
        FakeService(**switches)  # type: ignore[arg-type]
