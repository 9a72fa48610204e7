"""A request that must leave within a window leaves in it, whole, or not at all."""

from __future__ import annotations

import pytest

from coreclaw_async import AsyncCoreClaw, SendTimeoutError
from coreclaw_async._http.fence import FencedBody, SendWindow, TooLateError
from coreclaw_async._operations.start import once_request
from coreclaw_async._wire.response import Answer
from coreclaw_async.testing import FakeClock, FakeService


def body_of(content: bytes, clock: FakeClock) -> FencedBody:
    return FencedBody(content, SendWindow.open(clock, first=5.0, last=10.0))


async def test_the_last_byte_is_a_piece_of_its_own() -> None:
    body = body_of(b"x" * 100_000 + b"y", FakeClock())

    assert [len(piece) async for piece in body] == [65_536, 34_464, 1]
    assert body.is_whole


def test_a_body_whose_first_byte_is_late_is_withheld_for_ever() -> None:
    clock = FakeClock()
    body = body_of(b"body", clock)
    clock.advance(5.5)

    for _ in range(2):
        with pytest.raises(TooLateError, match=r"5\.5 s have passed, of 5 s"):
            body.begin()
        clock.set_time(0.0)  # The clock on which more time has passed counts.
    assert not body.is_whole


def test_a_body_that_has_begun_in_time_may_still_end_too_late() -> None:
    clock = FakeClock()
    body = body_of(b"body", clock)
    assert body.piece(0) == b"bod"
    clock.advance(6)
    body.begin()
    clock.advance(6)

    with pytest.raises(TooLateError, match="4 bytes had not left in time"):
        body.piece(3)


def test_a_last_byte_does_not_leave_twice() -> None:
    body = body_of(b"body", FakeClock())
    body.piece(3)

    with pytest.raises(TooLateError, match="has left once"):
        body.piece(3)


def read(answer: Answer) -> object:
    return answer.data


@pytest.mark.parametrize("seconds", [0.0, 6.0])
async def test_a_start_is_sent_within_its_window_or_never(service: FakeService, seconds: float) -> None:
    worker_input = {"parameters": {"custom": {"keywords": ["coffee"]}}}
    request = once_request("runWorker", "workers", "coreclaw~google-maps-scraper", "runs", input=worker_input)
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        window = SendWindow.open(service.clock, first=5.0, last=10.0)
        service.clock.advance(seconds)
        call = client._context.transport.call(request, read, window=window)
        if not seconds:
            await call
        else:
            with pytest.raises(SendTimeoutError, match="was not sent, it was too late") as caught:
                await call
            assert not caught.value.may_have_taken_effect

    assert service.runs_created == (not seconds)
