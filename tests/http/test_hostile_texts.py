"""What a server writes into log lines and messages is searched for secrets in a time that grows with its length."""

from __future__ import annotations

import json
import logging
import time

import pytest
from either_client import AsyncCoreClaw
from raw_server import answering, envelope, http, serve_sockets

from coreclaw_async import ApiError, RetryPolicy
from coreclaw_async._wire.response import without_queries

# Each of them took from minutes to for ever.
LINES = {
    "quotes of a password": "auth=(" + "b'a'" * 40,
    "passwords within passwords": "auth=(" * 12_000,
    "backslashes of a cookie": "'cookie', '" + "\\" * 90,
    "cookies within cookies": "'cookie', \"" * 8_000,
    "addresses within addresses": "'link', \"" * 8_000,
    "slashes": "//" * 40_000,
}
ONCE = RetryPolicy(max_attempts=1)


@pytest.mark.parametrize("text", LINES.values(), ids=LINES.keys())
async def test_the_reason_in_a_status_line_costs_no_time(text: str, caplog: pytest.LogCaptureFixture) -> None:
    status = f"HTTP/1.1 200 {text}\r\n".encode()
    answer = status + envelope({"run_slug": "01KZAZ2B7T3Q0R8C784NCRW001"}).partition(b"\r\n")[2]
    with serve_sockets(answering(lambda request, server: answer)) as server, caplog.at_level(logging.DEBUG, "httpx"):
        async with AsyncCoreClaw("key", base_url=server.url, retry=ONCE) as client:
            began = time.monotonic()
            await client.workers.start_run("coreclaw/google-maps-scraper", {})

    assert time.monotonic() - began < 10
    assert any("HTTP/1.1 200" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("text", LINES.values(), ids=LINES.keys())
async def test_the_message_of_a_refusal_costs_no_time(text: str) -> None:
    answer = http(400, json.dumps({"code": 11000, "message": text}).encode())
    with serve_sockets(answering(lambda request, server: answer)) as server:
        async with AsyncCoreClaw("key", base_url=server.url, retry=ONCE) as client:
            began = time.monotonic()
            with pytest.raises(ApiError, match="was answered with"):
                await client.account.get()

    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see https://a.test/x?sig=1", "see https://a.test/x?<hidden>"),
        ("//a?x //b //c?y", "//a?<hidden> //b //c?<hidden>"),
        (r"https:\/\/a.test\/x?sig=1", r"https:\/\/a.test\/x?<hidden>"),
        ("https://a.test/x?", "https://a.test/x?"),
        ("////a//b?x=1?y", "////a//b?<hidden>"),
        ("a/b?c=1", "a/b?c=1"),
        ("<https://a.test/?x>; 'https://b.test/'?y", "<https://a.test/?<hidden>>; 'https://b.test/'?y"),
    ],
)
def test_urls_are_shown_without_their_queries(text: str, shown: str) -> None:
    assert without_queries(text) == shown


def test_a_cookie_in_a_line_that_was_cut_is_hidden_too(caplog: pytest.LogCaptureFixture) -> None:
    AsyncCoreClaw("key")
    with caplog.at_level(logging.DEBUG, "httpcore.http11"):
        logging.getLogger("httpcore.http11").debug("headers %s", "[(b'Set-Cookie', b'session=abc\\'123")

    assert [record.getMessage() for record in caplog.records] == ["headers [(b'Set-Cookie', <hidden>"]
