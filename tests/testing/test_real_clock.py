"""The real clock, and how far it can be shifted."""

from __future__ import annotations

import time

import pytest

from coreclaw_async.testing import RealClock


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
    clock.note_activity()
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
