"""Answers that a gateway has broken: a read is retried, and what is told at last is the status."""

from __future__ import annotations

import gc
import gzip
import json
import logging
import traceback

import pytest
from either_client import AsyncCoreClaw
from raw_server import answering, serve_sockets

from coreclaw_async import (
    CoreClawError,
    InvalidResponseError,
    NoReplyError,
    OutcomeUnknownError,
    ResponseTooLargeError,
    RetryPolicy,
    ServiceError,
)
from coreclaw_async.testing import FakeService, faults
from coreclaw_async.testing.faults import Fault

ONCE = RetryPolicy(max_attempts=1)
WORKER = "coreclaw/google-maps-scraper"
PACKED = gzip.compress(b'{"code":0,"message":"success","data":{}}')
ACCOUNT = json.dumps({"code": 0, "message": "success", "data": {"balance": "1.00"}}).encode()

BROKEN: dict[str, tuple[Fault, type[CoreClawError], int]] = {
    "502 packed by br": (faults.reply(b"\x8b", status=502, headers={"content-encoding": "br"}), ServiceError, 502),
    "502 with gzip that is none": (
        faults.reply(b"<html>", status=502, headers={"content-encoding": "gzip"}),
        ServiceError,
        502,
    ),
    "503 with gzip that was cut": (
        faults.reply(PACKED[:-9], status=503, headers={"content-encoding": "gzip"}),
        ServiceError,
        503,
    ),
    "504 that is too large": (faults.reply(b"x" * 20_000, status=504), ServiceError, 504),
    "200 packed by br": (faults.reply(b"\x8b", headers={"content-encoding": "br"}), InvalidResponseError, 200),
    "200 with gzip that was cut": (
        faults.reply(PACKED[:-9], headers={"content-encoding": "gzip"}),
        InvalidResponseError,
        200,
    ),
    "200 without a body": (faults.reply(b""), InvalidResponseError, 200),
    "200 that was cut": (faults.reply(ACCOUNT[:-9]), InvalidResponseError, 200),
    "200 with a page of a gateway": (faults.reply(b"<html>busy</html>"), InvalidResponseError, 200),
    "200 in no encoding": (faults.reply(b'{"code":0,"message":"\xff\xfe","data":{}}'), InvalidResponseError, 200),
}


each_answer = pytest.mark.parametrize(("fault", "kind", "status"), BROKEN.values(), ids=BROKEN.keys())


def client_of(service: FakeService) -> AsyncCoreClaw:
    """Return a client that makes three attempts and reads no more than 10,000 bytes."""
    retry = RetryPolicy(max_attempts=3)
    return AsyncCoreClaw(
        service.api_key, transport=service, clock=service.clock, retry=retry, max_response_bytes=10_000
    )


@each_answer
async def test_a_read_is_retried_after_a_broken_answer(
    service: FakeService, fault: Fault, kind: type[CoreClawError], status: int
) -> None:
    service.faults.add(fault, operation="getAccount", times=2)
    async with client_of(service) as client:
        assert (await client.account.get()).balance is not None

    assert len(service.requests) == 3


@each_answer
async def test_an_answer_that_stays_broken_is_told_with_its_status(
    service: FakeService, fault: Fault, kind: type[CoreClawError], status: int
) -> None:
    service.faults.add(fault, operation="getAccount", times=3)
    async with client_of(service) as client:
        with pytest.raises(kind) as caught:
            await client.account.get()

    assert type(caught.value) is kind
    assert caught.value.status_code == status
    assert len(service.requests) == 3


@each_answer
async def test_a_start_is_not_sent_again_after_a_broken_answer(
    service: FakeService, fault: Fault, kind: type[CoreClawError], status: int
) -> None:
    service.faults.add(fault, operation="runWorker", times=3)
    async with client_of(service) as client:
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.workers.start_run(WORKER, {"keywords": ["coffee"]})

    assert caught.value.status_code == status
    assert len([request for request in service.requests if request.method == "POST"]) == 1


async def test_an_answer_that_is_too_large_is_not_asked_for_again(service: FakeService) -> None:
    service.faults.add(faults.reply(b" " * 20_000), operation="getAccount", times=3)
    async with client_of(service) as client:
        with pytest.raises(ResponseTooLargeError):
            await client.account.get()

    assert len(service.requests) == 1


@pytest.mark.both_backends
async def test_what_is_left_of_an_answer_in_tiny_chunks_is_thrown_away_without_a_warning() -> None:
    tiny = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 50_000 + b"0\r\n\r\n"
    with serve_sockets(answering(lambda request, server: tiny)) as server:
        async with AsyncCoreClaw("key", base_url=server.url, retry=ONCE, max_response_bytes=1_000) as client:
            with pytest.raises(ResponseTooLargeError):
                await client.account.get()
            with pytest.raises(OutcomeUnknownError):
                await client.workers.start_run(WORKER, {})
            gc.collect()  # trio warns of a generator that was abandoned, when it is collected.


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (b"HTTP/1.1 200 OK\r\nSet-Cookie : session=hunter2\r\n\r\n", "illegal header line"),
        (b'hunter2 is it\'s "status"\r\n\r\n', "illegal status line"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhunter2\r\n{}\r\n", "illegal chunk header"),
    ],
)
async def test_a_line_of_an_answer_that_cannot_be_read_is_not_quoted(
    answer: bytes, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with serve_sockets(answering(lambda request, server: answer)) as server:
        async with AsyncCoreClaw("key", base_url=server.url, retry=ONCE, backend="httpx") as client:
            with pytest.raises(NoReplyError, match=f"RemoteProtocolError: {what}$") as read:
                await client.account.get()
            with pytest.raises(OutcomeUnknownError, match=f"RemoteProtocolError: {what}$") as paid:
                await client.workers.start_run(WORKER, {})

    for error in (read.value, paid.value):
        assert "hunter2" not in "".join(traceback.format_exception(error))
    assert what in caplog.text
    assert "hunter2" not in caplog.text
