"""The real clock, and how far it can be shifted."""

from __future__ import annotations

import time

import anyio
import httpx
import pytest

from coreclaw_async.testing import FakeService, RealClock


class OwnClock:
    """A clock of somebody else's, with what the service asks of one and nothing more."""

    def monotonic(self) -> float:
        return time.monotonic()

    def time(self) -> float:
        return 1_800_000_000.0

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)

    def advance(self, seconds: float) -> None:
        raise NotImplementedError

    def set_time(self, unix: float) -> None:
        raise NotImplementedError


def test_it_shows_the_real_time() -> None:
    clock = RealClock()

    assert abs(clock.monotonic() - time.monotonic()) < 1
    assert abs(clock.time() - time.time()) < 1


async def test_a_sleep_takes_real_seconds() -> None:
    began = time.monotonic()

    await RealClock().sleep(0.02)

    assert time.monotonic() - began >= 0.02


def test_advance_puts_both_times_forward() -> None:
    clock = RealClock()
    clock.advance(1000)

    assert 999 < clock.monotonic() - time.monotonic() < 1001
    assert 999 < clock.time() - time.time() < 1001


def test_set_time_moves_the_wall_clock_alone() -> None:
    clock = RealClock()
    clock.advance(10)
    clock.set_time(5000)

    assert 5000 <= clock.time() < 5001
    assert clock.monotonic() - time.monotonic() < 11


def test_it_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="seconds must be finite and 0 or more, not -1"):
        RealClock().advance(-1)


async def test_a_service_takes_any_clock_that_has_what_it_asks_of_one() -> None:
    async with httpx.AsyncClient(transport=FakeService(clock=OwnClock())) as client:
        answer = await client.get("https://openapi.coreclaw.com/api/v2/store")

    assert answer.status_code == 200
    assert answer.headers["date"] == "Fri, 15 Jan 2027 08:00:00 GMT"
