"""A plain httpx client with the few words that the tests of the fake service need."""

from __future__ import annotations

from typing import Any

import httpx
from attrs import define

from coreclaw_async.testing import FakeService

STORE_WORKER = "coreclaw~google-maps-scraper"
GOOD_INPUT: dict[str, Any] = {"parameters": {"custom": {"keywords": ["coffee"]}}}
API = "https://openapi.coreclaw.com/api/v2"


@define
class ApiSession:
    """One service and a client that is signed in to it."""

    service: FakeService
    client: httpx.AsyncClient

    async def get(self, path: str, **query: Any) -> Any:
        """Return the data of an answer that must be a success."""
        return await self.call("GET", path, params=query)

    async def post(self, path: str, body: Any = None) -> Any:
        return await self.call("POST", path, json={} if body is None else body)

    async def call(self, method: str, path: str, **request: Any) -> Any:
        response = await self.client.request(method, path, **request)
        envelope = response.json()
        assert (response.status_code, envelope["code"]) == (200, 0), envelope
        return envelope.get("data")

    async def refusal(self, method: str, path: str, **request: Any) -> tuple[int, int]:
        """Return the HTTP status and the application code of a refusal."""
        response = await self.client.request(method, path, **request)
        return response.status_code, response.json()["code"]

    async def start(self, worker: str = STORE_WORKER, **body: Any) -> str:
        """Start a run and return its id."""
        started = await self.post(f"/workers/{worker}/runs", {"input": GOOD_INPUT, **body})
        run_id: str = started["run_slug"]
        return run_id


def sign_in(service: FakeService, **options: Any) -> httpx.AsyncClient:
    """Return a client with the key of `service`."""
    return httpx.AsyncClient(
        transport=service,
        base_url=API,
        headers={"Authorization": f"Bearer {service.api_key}"},
        **options,
    )
