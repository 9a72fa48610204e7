"""Which error a call ends with that may have cost money, and which errors leave that open."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire.exchanges import PATH, request_of

from coreclaw_async import errors
from coreclaw_async._wire.request import Safety
from coreclaw_async._wire.response import is_open_question, unknown_outcome

ONCE = request_of(Safety.ONCE)
WHOLE = b'{"code":0,"data":{"run_slug":"01KKDXV2G26BT7NH4ZQR2R4NPZ","results":{"count":1}},"message":"success"}'
CUT_AFTER = WHOLE.index(b'",')


def test_facts_of_the_first_error_are_kept() -> None:
    seen = errors.ServiceError("down", status_code=502, code=10000, request_id="req", details=["d"], retry_after=2.0)
    error = unknown_outcome(ONCE, seen)

    assert error.message == f"POST {PATH} may have taken effect and is not retried: down"
    assert (error.status_code, error.code, error.request_id) == (502, 10000, "req")
    assert (error.details, error.retry_after) == (["d"], 2.0)
    assert (error.run_id, error.candidates, error.may_have_taken_effect) == (None, None, True)


@pytest.mark.parametrize("length", range(len(WHOLE) + 1))
def test_run_is_named_when_its_id_came_before_the_answer_broke(length: int) -> None:
    error = unknown_outcome(ONCE, errors.NoReplyError("broken"), WHOLE[:length])

    if length > CUT_AFTER:
        assert (error.run_id, error.candidates) == ("01KKDXV2G26BT7NH4ZQR2R4NPZ", ("01KKDXV2G26BT7NH4ZQR2R4NPZ",))
    else:
        assert (error.run_id, error.candidates) == (None, None)


@pytest.mark.parametrize(
    "body", [b'{"run_slug":""', b'{"run_slug":null}', b'{"old_run_slug":"R"}', b'{"run_slug":"a\\u0041"', b"run_slug"]
)
def test_run_is_not_named_when_the_answer_does_not_hold_a_plain_id(body: bytes) -> None:
    assert unknown_outcome(ONCE, errors.NoReplyError("broken"), body).run_id is None


def test_run_is_named_when_the_answer_is_laid_out() -> None:
    body = json.dumps({"data": {"run_slug": "R1"}}, indent=2).encode()

    assert unknown_outcome(ONCE, errors.NoReplyError("broken"), body).run_id == "R1"


@given(st.binary() | st.binary().map(lambda inner: b'{"run_slug": "' + inner + b'"'))
def test_any_bytes_make_an_error(body: bytes) -> None:
    error = unknown_outcome(ONCE, errors.NoReplyError("broken"), body)

    assert error.candidates == (None if error.run_id is None else (error.run_id,))


def test_error_text_is_one_line_when_the_named_id_is_not() -> None:
    error = unknown_outcome(ONCE, errors.NoReplyError("broken"), b'{"run_slug":"a\nb"}')

    assert str(error).isprintable()


@pytest.mark.parametrize(
    ("error", "is_open"),
    [
        (errors.NoReplyError("x"), True),
        (errors.RequestTimeoutError("x"), True),
        (errors.InvalidResponseError("x"), True),
        (errors.ServiceError("x", may_have_taken_effect=True), True),
        (errors.ApiError("x", may_have_taken_effect=True), True),
        (errors.RunOperationError("x", may_have_taken_effect=True), False),
        (errors.RateLimitedError("x"), False),
        (errors.InvalidArgumentError("x"), False),
        (errors.RequestNotSentError("x"), False),
        (errors.SendTimeoutError("x"), False),
        (errors.ConfigurationError("x"), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_question_is_open_when_a_call_that_must_not_be_repeated_may_have_worked(
    error: errors.CoreClawError, is_open: bool
) -> None:
    assert is_open_question(ONCE, error) is is_open
    assert not is_open_question(request_of(Safety.SAFE), error)
    assert not is_open_question(request_of(Safety.REPEATABLE), error)
