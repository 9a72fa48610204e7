"""What the service echoes of the key does not stay in an error."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire.exchanges import failure_of

from coreclaw_async._wire.credentials import Credentials
from coreclaw_async._wire.response import redact
from coreclaw_async.errors import ApiError, CoreClawError

KEY = "scraper_api_0123+456/789=="
CREDENTIALS = Credentials(KEY)


def texts_of(error: CoreClawError) -> str:
    return json.dumps([str(error), repr(error), error.args, error.message, error.request_id, error.details])


def test_key_is_taken_out_of_every_text_of_an_error() -> None:
    error = ApiError(
        f"key {KEY} and {quote(KEY, safe='')} are unknown",
        request_id=f"req-{KEY}",
        details=[{"header": f"Bearer {KEY}", KEY: [KEY, 1, None]}, quote(KEY, safe="")],
    )

    redact(error, CREDENTIALS)

    assert KEY not in texts_of(error)
    assert quote(KEY, safe="") not in texts_of(error)
    assert error.message == "key <key> and <key> are unknown"
    assert error.request_id == "req-<key>"
    assert error.details == [{"header": "Bearer <key>", "<key>": ["<key>", 1, None]}, "<key>"]


def test_nothing_changes_when_there_is_no_key() -> None:
    error = ApiError("unknown key", request_id="req", details={"a": ["b", 1.5, True]})

    redact(error, Credentials(None))

    assert (error.message, error.request_id, error.details) == ("unknown key", "req", {"a": ["b", 1.5, True]})


def test_request_id_stays_none_when_there_is_none() -> None:
    error = ApiError("x")

    redact(error, CREDENTIALS)

    assert (error.request_id, error.details, error.args) == (None, None, ("x",))


@given(
    key=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8),
    member=st.sampled_from(["message", "request_id", "details"]),
    wrap=st.sampled_from([str, lambda key: [key], lambda key: {key: [{"a": key}]}]),
)
def test_no_key_that_can_be_sent_stays_in_what_the_service_said(key: str, member: str, wrap: Any) -> None:
    error = failure_of({"code": 12001, member: wrap(key) if member == "details" else f"<{key}>"}, 401)
    redact(error, Credentials(key))

    for text in (error.message, error.request_id or "", repr(error.details), *error.args):
        assert key not in text


@pytest.mark.parametrize("depth", [10, 400, 900])
def test_details_are_read_however_deep_they_are_nested(depth: int) -> None:
    body = b'{"code": 11000, "message": "no", "details": ' + b"[" * depth + b'"%s"' % KEY.encode() + b"]" * depth + b"}"
    error = failure_of(body, 400)

    redact(error, CREDENTIALS)

    inner: Any = error.details
    while isinstance(inner, list):
        inner = inner[0]
    assert inner != KEY


@pytest.mark.parametrize("before", range(160, 200, 4))
def test_no_part_of_the_key_stays_when_the_shown_bytes_end_within_it(before: int) -> None:
    error = failure_of(b"x" * before + KEY.encode(), 502, credentials=CREDENTIALS)

    assert KEY[:8] not in error.message


@pytest.mark.parametrize("between", [175, 180, 190])
def test_no_part_of_the_key_stays_when_it_is_shown_twice_and_the_second_one_is_cut(between: int) -> None:
    error = failure_of(KEY.encode() + b"x" * between + KEY.encode() + b"y" * 300, 502, credentials=CREDENTIALS)

    assert KEY[:8] not in error.message


@pytest.mark.parametrize("key", [r"abcdefgh\ijklmnop", "abcdefgh'\"ijklmnop"])
def test_key_is_taken_out_of_shown_bytes_also_in_its_escaped_form(key: str) -> None:
    error = failure_of(f"token={key} '\"".encode(), 502)

    redact(error, Credentials(key))

    assert "ijklmnop" not in error.message
