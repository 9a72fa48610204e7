"""Several keys for one service: each client has its own key, and the service accepts all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from batch.batches import specs

from coreclaw_async import AsyncBatch, AsyncCoreClaw
from coreclaw_async.batch._item_steps import to_intent
from coreclaw_async.testing import FakeService


class AnyKey(httpx.AsyncBaseTransport):
    """A transport to a service that accepts every key."""

    tells_what_leaves = True

    def __init__(self, service: FakeService) -> None:
        self._service = service

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.headers["authorization"] = f"Bearer {self._service.api_key}"
        return await self._service.handle_async_request(request)


@asynccontextmanager
async def batch_of(
    service: FakeService, key: str, name: str, ledger: str, *, count: int = 0, first: int = 0, **options: Any
) -> AsyncIterator[AsyncBatch]:
    """A batch with a plan, opened with a key of its own."""
    async with (
        AsyncCoreClaw(key, transport=AnyKey(service), clock=service.clock) as client,
        client.batch(name, ledger=ledger, **options) as batch,
    ):
        await batch.plan(specs(count, first=first))
        yield batch


async def lose(batch: AsyncBatch, service: FakeService, key: str, *, is_accepted: bool = True) -> None:
    """Leave an item as a process does that is killed while it sends the start."""
    item = await batch.get(key)
    intent = to_intent(item, at=service.clock.time(), callback_url=None)
    await batch._batch_context.ledger.steps.write(item, intent)
    if is_accepted:
        async with AsyncCoreClaw("killed", transport=AnyKey(service), clock=service.clock) as client:
            await client.workers.start_run(item.worker_id, {"keywords": [key]})
