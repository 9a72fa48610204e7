"""Outages at each step: a batch keeps trying for as long as its patience lasts, with few requests, then says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from batch.batches import finish, opened, runs_by_key, specs

from coreclaw_async import AsyncCoreClaw, BatchIncompleteError, BatchItemState, InvalidArgumentError, ServiceError
from coreclaw_async.batch._patience import Patience
from coreclaw_async.testing import FakeClock, FakeService, RunScript, faults

pytestmark = pytest.mark.endurance

_MINUTES = 60.0


class Away(httpx.AsyncBaseTransport):
    """The service, out of reach between two times of its clock."""

    def __init__(self, service: FakeService, answer: str) -> None:
        self.service = service
        self.answer = answer
        self.begin = self.end = float("inf")
        self.refused = 0

    def go(self, seconds: float) -> None:
        self.begin = self.service.clock.monotonic()
        self.end = self.begin + seconds

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if not self.begin <= self.service.clock.monotonic() < self.end:
            return await self.service.handle_async_request(request)
        self.refused += 1
        if self.answer == "no network":
            raise httpx.ConnectError("unreachable", request=request)
        status = {"502": 502, "403": 403}[self.answer]
        return httpx.Response(status, html="<html>nginx</html>", request=request)


@pytest.mark.parametrize("answer", ["502", "403", "no network"])
@pytest.mark.parametrize("step", ["first request", "starting", "waiting", "rows"])
async def test_twenty_minutes_of_outage_at_each_step_end_nothing(
    service: FakeService, answer: str, step: str, tmp_path: Path
) -> None:
    transport = Away(service, answer)
    service.default_script = RunScript(duration=100)

    def begin(operation: str) -> Any:
        def match(request: Any) -> bool:
            if transport.begin == float("inf"):
                transport.go(20 * _MINUTES)
            return False

        return {"operation": operation, "match": match}

    if step == "first request":
        transport.go(20 * _MINUTES)
    else:
        operation = {"starting": "runWorker", "waiting": "getWorkerRun", "rows": "listWorkerRunResults"}[step]
        service.faults.add(faults.status(500), after=2 if step == "starting" else 0, **begin(operation))
    async with (
        AsyncCoreClaw(service.api_key, transport=transport, clock=service.clock) as client,
        client.batch("nightly", ledger="memory", exclusive=True) as batch,
    ):
        await batch.plan(specs(8))
        outcomes = await finish(batch, output=tmp_path)

    assert {outcome.state for outcome in outcomes} == {BatchItemState.DONE}
    assert set(runs_by_key(service).values()) == {1}
    assert transport.refused < 300
    assert len(list(tmp_path.glob("part-*"))) == 8


class TwiceAway(httpx.AsyncBaseTransport):
    """The service, which never gets two of the starts; between them it refuses others for 40 minutes."""

    def __init__(self, service: FakeService) -> None:
        self.service = service
        self.starts = 0
        self.cut_off: list[float] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        now = self.service.clock.monotonic()
        if request.method == "POST" and request.url.path.endswith("/runs"):
            self.starts += 1
            is_late = len(self.cut_off) == 1 and now > 40 * _MINUTES
            if self.starts == 2 or is_late:
                self.cut_off.append(now)
                raise httpx.ConnectError("unreachable", request=request)
        return await self.service.handle_async_request(request)


@pytest.mark.parametrize("refusal", ["30003", "429", "13000"])
async def test_a_refusal_of_the_service_shows_that_the_way_is_open(service: FakeService, refusal: str) -> None:
    transport = TwiceAway(service)
    service.default_script = RunScript(duration=41 * _MINUTES)
    if refusal == "30003":
        service.plan_limit = 1
    else:
        fault = faults.status(429) if refusal == "429" else faults.error(13000, 429)

        def is_limited(_: object) -> bool:
            return transport.starts > 1 and service.clock.monotonic() < 40 * _MINUTES

        service.faults.add(fault, operation="runWorker", times=10_000, match=is_limited)
    async with (
        AsyncCoreClaw(service.api_key, transport=transport, clock=service.clock) as client,
        client.batch("b", ledger="memory", exclusive=True) as batch,
    ):
        await batch.plan(specs(3))
        outcomes = await finish(batch)

    first, second = transport.cut_off
    assert second - first > 30 * _MINUTES
    assert [outcome.state for outcome in outcomes] == ["done"] * 3


async def test_without_patience_the_batch_says_what_is_left(service: FakeService) -> None:
    service.default_script = RunScript(duration=100)
    async with opened(service, "memory", count=3, patience=120.0) as batch:
        stream = batch.run()
        async with anyio.create_task_group() as group:

            async def leave() -> None:
                await service.clock.sleep(50)
                service.faults.add(faults.status(502), times=1_000_000)

            group.start_soon(leave)
            with pytest.raises(BatchIncompleteError, match=r"3 submitted; 'k.': its run cannot be read") as caught:
                async for outcome in stream:
                    assert outcome.state is BatchItemState.SUBMITTED
        assert service.clock.monotonic() < 600
        service.faults.clear()
        outcomes = await finish(batch)

    assert caught.value.counts == {"submitted": 3}
    assert {outcome.state for outcome in outcomes} == {BatchItemState.DONE}
    assert service.runs_created == 3


class TestPatience:
    """The patience of one batch, without the batch."""

    async def test_calls_that_fail_are_tried_one_at_a_time(self) -> None:
        clock, calls = FakeClock(), 0
        patience = Patience(clock, 1_000.0)

        async def call() -> str:
            nonlocal calls
            calls += 1
            await clock.sleep(0.1)
            if clock.monotonic() < 300:
                raise ServiceError("away", status_code=502)
            return "here"

        async def wait() -> None:
            assert await patience.call(call) == "here"

        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(wait)

        assert calls < 50 + 20 + 50

    async def test_it_ends_some_time_after_the_first_failure(self) -> None:
        clock = FakeClock()

        async def call() -> str:
            raise ServiceError("away", status_code=502)

        with pytest.raises(ServiceError):
            await Patience(clock, 100.0).call(call)
        assert 100 <= clock.monotonic() < 140
        with pytest.raises(ServiceError):
            await Patience(clock, 0.0).call(call)

    async def test_one_call_that_always_fails_does_not_hold_up_the_others(self) -> None:
        clock = FakeClock()
        patience = Patience(clock, 600.0)
        ended: list[float] = []

        async def fail() -> str:
            raise ServiceError("broken", status_code=500)

        async def succeed() -> str:
            return "here"

        async def work() -> None:
            for _ in range(20):
                await clock.sleep(1)
                await patience.call(succeed)
            ended.append(clock.monotonic())

        async with anyio.create_task_group() as group:
            group.start_soon(work)
            with pytest.raises(ServiceError):
                await patience.call(fail)

        assert ended[0] < 30
        assert 600 <= clock.monotonic() < 700

    async def test_what_the_service_says_is_not_asked_again(self) -> None:
        calls = 0

        async def call() -> str:
            nonlocal calls
            calls += 1
            raise InvalidArgumentError("no", status_code=400, code=11000)

        with pytest.raises(InvalidArgumentError):
            await Patience(FakeClock(), 1_000.0).call(call)
        assert calls == 1

    async def test_a_failure_long_ago_does_not_count_once_the_service_has_spoken(self) -> None:
        clock = FakeClock()
        patience = Patience(clock, 600.0)
        answers: list[Exception | None] = [
            ServiceError("away", status_code=502),
            InvalidArgumentError("no", status_code=400, code=11000),
            ServiceError("away", status_code=502),
            None,
        ]

        async def call() -> str:
            answer = answers.pop(0)
            if answer is not None:
                raise answer
            return "here"

        with pytest.raises(InvalidArgumentError):
            await patience.call(call)
        await clock.sleep(3_000)
        assert await patience.call(call) == "here"

    async def test_a_failure_of_a_call_that_was_cancelled_does_not_count_either(self) -> None:
        clock = FakeClock()
        patience = Patience(clock, 600.0)
        is_away = True

        async def call() -> str:
            if is_away:
                raise ServiceError("away", status_code=502)
            return "here"

        async with anyio.create_task_group() as group:
            group.start_soon(patience.call, call)
            await clock.sleep(100)
            group.cancel_scope.cancel()
        await clock.sleep(3_000)
        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                group.start_soon(patience.call, call)
                await clock.sleep(100)
                is_away = False
