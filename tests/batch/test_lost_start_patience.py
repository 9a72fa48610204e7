"""How long lost starts are looked for while the service cannot be used, and how few requests that takes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from batch.accounts import lose
from batch.batches import finish, opened, runs_by_key

from coreclaw_async import AuthenticationError, BatchItemState, RunSpec, ServiceError
from coreclaw_async.testing import FakeService, faults

HTML = {"content-type": "text/html"}
OUTAGES = {
    "502": faults.status(502),
    "no network": faults.refuse_connection(),
    "no answer": faults.drop_before_commit(),
    "401 of a gateway": faults.reply(b"<html>log in</html>", status=401, headers=HTML, commit=False),
    "403 of a gateway": faults.reply(b"<html>blocked</html>", status=403, headers=HTML, commit=False),
    "429": faults.rate_limited(),
}


def until(service: FakeService, seconds: float, *, names: str = "") -> Callable[[Any], bool]:
    end = service.clock.monotonic() + seconds
    return lambda request: service.clock.monotonic() < end and (not names or names in request.query)


def planned(queues: int) -> list[RunSpec]:
    return [
        RunSpec(key=f"k{number}", worker_id=f"me/w{number}", input={"keywords": [f"k{number}"]})
        for number in range(queues)
    ]


@pytest.mark.endurance
@pytest.mark.parametrize("outage", OUTAGES)
@pytest.mark.parametrize("minutes", [5, 20])
async def test_a_lost_start_is_looked_for_through_an_outage(service: FakeService, outage: str, minutes: int) -> None:
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    async with opened(service, "memory", count=3, exclusive=True) as batch:
        is_out = until(service, minutes * 60.0 + 80, names="worker_id")
        service.faults.add(OUTAGES[outage], operation="listWorkerRuns", times=10_000, match=is_out)
        outcomes = await finish(batch)

    assert {outcome.state for outcome in outcomes} == {"done"}
    assert set(runs_by_key(service).values()) == {1}
    assert service.clock.monotonic() > minutes * 60


async def test_patience_that_is_over_is_told_and_leaves_the_start_open(service: FakeService) -> None:
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    service.faults.add(
        faults.status(502), operation="listWorkerRuns", times=10_000, match=lambda request: "worker_id" in request.query
    )
    async with opened(service, "memory", count=1, exclusive=True, patience=300.0) as batch:
        with pytest.raises(ServiceError):
            await finish(batch)
        first = service.clock.monotonic()
        with pytest.raises(ServiceError):
            await finish(batch)
        item = await batch.get("k0")

    assert item.state is BatchItemState.INTENT
    assert 80 + 300 <= first < 80 + 300 + 60
    assert service.clock.monotonic() - first >= 300, "whoever tries again has patience anew"
    assert service.runs_created == 1


async def test_a_refusal_of_the_service_itself_is_told_at_once(service: FakeService) -> None:
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    async with opened(service, "memory", count=1, exclusive=True) as batch:
        service.faults.add(faults.error(12001, 401), operation="listWorkerRuns", after=1, times=10_000)
        with pytest.raises(AuthenticationError):
            await finish(batch)

    assert service.clock.monotonic() < 120


async def test_many_start_queues_in_an_outage_send_one_request_at_a_time_further_and_further_apart(
    service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    """Twenty start queues cost no more than one, and say no more either."""
    times: list[float] = []
    for number in range(20):
        service.add_worker(f"me/w{number}")
    async with opened(service, "memory", exclusive=True) as batch:
        await batch.plan(planned(20))
        for number in range(20):
            await lose(batch, service, f"k{number}")
        is_out = until(service, 1_500.0)

        def count(request: Any) -> bool:
            times.append(service.clock.monotonic())
            return is_out(request)

        service.faults.add(
            faults.status(502),
            operation="listWorkerRuns",
            times=10_000,
            match=lambda request: "worker_id" in request.query and count(request),
        )
        outcomes = await finish(batch)

    assert len(outcomes) == 20
    assert set(runs_by_key(service).values()) == {1}
    during = [moment for moment in times if moment < 1_400]
    later = [moment for moment in during if moment > during[0] + 100]
    assert len(during) - len(later) <= 20 + 10, "each start queue has seen it once, and then they take turns"
    assert all(after - before > 20 for before, after in pairwise(later))
    warnings = [record for record in caplog.records if "which is retried" in record.message]
    assert 0 < len([record for record in warnings if record.levelname == "WARNING"]) <= 1_500 / 60 + 1


async def test_start_queues_that_gave_up_together_go_on_together(service: FakeService) -> None:
    for number in range(3):
        service.add_worker(f"me/w{number}")
    async with opened(service, "memory", exclusive=True, patience=100.0) as batch:
        await batch.plan(planned(3))
        for number in range(3):
            await lose(batch, service, f"k{number}")
        service.faults.add(faults.status(502), operation="listWorkerRuns", times=10_000, after=1)
        with pytest.raises(ServiceError):
            await finish(batch)
        service.faults.clear()
        outcomes = await finish(batch)

    assert sorted(outcome.key for outcome in outcomes) == ["k0", "k1", "k2"]
    assert set(runs_by_key(service).values()) == {1}


@pytest.mark.parametrize("outage", OUTAGES)
async def test_the_slug_of_a_worker_is_looked_up_through_an_outage(service: FakeService, outage: str) -> None:
    is_out = until(service, 1_200.0)
    for operation in ("listWorkers", "listStore"):
        service.faults.add(OUTAGES[outage], operation=operation, times=10_000, match=is_out)
    async with opened(service, "memory", count=2) as batch:
        outcomes = await finish(batch)

    assert [outcome.state for outcome in outcomes] == ["done", "done"]
    assert service.clock.monotonic() > 1_200


@pytest.mark.parametrize("status", [401, 403])
async def test_a_start_that_a_gateway_turns_away_is_retried(service: FakeService, status: int) -> None:
    page = faults.reply(b"<html>blocked</html>", status=status, headers=HTML, commit=False)
    service.faults.add(page, operation="runWorker", times=3)
    async with opened(service, "memory", count=2) as batch:
        outcomes = await finish(batch)

    assert [outcome.state for outcome in outcomes] == ["done", "done"]
    assert runs_by_key(service) == {"k0": 1, "k1": 1}


async def test_a_start_that_a_gateway_does_not_find_is_not_rejected_for_good(service: FakeService) -> None:
    page = faults.reply(b"<html>not found</html>", status=404, headers=HTML, commit=False)
    service.faults.add(page, operation="runWorker")
    async with opened(service, "memory", count=1) as batch:
        outcomes = await finish(batch)

    assert [outcome.state for outcome in outcomes] == ["done"]
