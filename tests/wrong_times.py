"""Machines whose clock is not the service's, and services that tell a wrong time or none."""

from __future__ import annotations

import httpx

from coreclaw_async._concurrency.clock import Clock
from coreclaw_async.testing import FakeService


class MachineClock:
    """
    The clock of a machine, beside the clock of the service.

    Attributes:
        step: By how many seconds its wall time is ahead of the service's.
        stood_still: By how many seconds its monotonic time is behind.
    """

    def __init__(self, clock: Clock, *, step: float = 0.0) -> None:
        self.clock = clock
        self.step = step
        self.stood_still = 0.0

    def monotonic(self) -> float:
        return self.clock.monotonic() - self.stood_still

    def time(self) -> float:
        return self.clock.time() + self.step

    async def sleep(self, seconds: float) -> None:
        await self.clock.sleep(seconds)


class WithDate(httpx.AsyncBaseTransport):
    """A service whose answers all carry this ``Date``, or none."""

    tells_what_leaves = True

    def __init__(self, service: FakeService, date: str | None = None) -> None:
        self._service = service
        self._date = date

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._service.handle_async_request(request)
        del response.headers["date"]
        if self._date is not None:
            response.headers["date"] = self._date
        return response
