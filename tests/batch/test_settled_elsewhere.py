"""A start whose item somebody else has settled before its answer came: the answer is not lost, and pays for nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal

import httpx
import pytest
from batch.batches import finish, runs_by_key, specs

from coreclaw_async import AsyncBatch, AsyncCoreClaw, BatchItem, ItemOrigin, LedgerError
from coreclaw_async.testing import FakeService, faults


class Meanwhile(httpx.AsyncBaseTransport):
    """A way to the service on which something happens between the first start and its answer."""

    tells_what_leaves = True

    def __init__(self, service: FakeService) -> None:
        self._service = service
        self.happens: Callable[[], Awaitable[None]] | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._service.handle_async_request(request)
        if request.method == "POST" and self.happens is not None:
            happens, self.happens = self.happens, None
            await happens()
        return response


@asynccontextmanager
async def settled_by(
    service: FakeService, *steps: Callable[[BatchItem, str], BatchItem]
) -> AsyncIterator[AsyncBatch]:
    """A batch of one item, which others bring through *steps* while its start is answered."""
    way = Meanwhile(service)
    async with (
        AsyncCoreClaw(service.api_key, transport=way, clock=service.clock) as client,
        client.batch("nightly", ledger="memory") as batch,
    ):
        await batch.plan(specs(1))

        async def settle() -> None:
            item, run_id = await batch.get("k0"), next(iter(service.runs), "")
            for step in steps:
                item = await batch._batch_context.ledger.steps.write(item, step(item, run_id))

        way.happens = settle
        yield batch


def found(item: BatchItem, run_id: str) -> BatchItem:
    return item.submitted(run_id, ItemOrigin.LIST)


def ended(item: BatchItem, run_id: str) -> BatchItem:
    return item.ended(is_success=True, result_count=0, cost=Decimal(1), error=None)


def held(item: BatchItem, run_id: str) -> BatchItem:
    return item.held(())


def planned_again(item: BatchItem, run_id: str) -> BatchItem:
    return item.planned_again(ItemOrigin.NOT_ACCEPTED)


@pytest.mark.parametrize(
    ("steps", "how"),
    [((found,), ItemOrigin.LIST), ((found, ended), ItemOrigin.LIST), ((held,), ItemOrigin.ANSWER)],
    ids=["found", "found and ended", "held"],
)
async def test_an_answer_that_names_the_run_that_others_have_found_changes_nothing(
    service: FakeService, steps: tuple[Callable[[BatchItem, str], BatchItem], ...], how: ItemOrigin
) -> None:
    async with settled_by(service, *steps) as batch:
        (outcome,) = await finish(batch)
        item = await batch.get("k0")

    assert (outcome.state, item.how) == ("done", how)
    assert runs_by_key(service) == {"k0": 1}


async def test_an_answer_for_an_item_that_was_planned_again_names_a_run_that_is_no_items(service: FakeService) -> None:
    async with settled_by(service, planned_again) as batch:
        with pytest.raises(LedgerError, match="settled before its start was answered") as caught:
            await finish(batch)

    assert caught.value.run_id == next(iter(service.runs))


async def test_a_refusal_for_an_item_that_was_planned_again_is_no_failure(
    service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    service.faults.add(faults.error(30003), operation="runWorker")
    async with settled_by(service, planned_again) as batch:
        (outcome,) = await finish(batch)

    assert "was settled by another process before its start was given up here" in caplog.text
    assert outcome.state == "done"
    assert runs_by_key(service) == {"k0": 1}
