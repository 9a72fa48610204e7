"""An answer is its data, or one error that keeps what the service said."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from wire.exchanges import PATH, failure_of, reply_of, request_of

from coreclaw_async._wire.credentials import Credentials
from coreclaw_async._wire.request import Safety
from coreclaw_async._wire.response import Answer, read_answer
from coreclaw_async.errors import (
    ApiError,
    CoreClawError,
    InvalidArgumentError,
    InvalidResponseError,
    RateLimitedError,
    ServiceError,
)

NO_KEY = Credentials(None)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["code", "data", "message", "request_id", "details"]) | st.text(), inner, max_size=5
        )
    ),
    max_leaves=8,
)


def parts_of(answer: Answer) -> tuple[Any, ...]:
    """Return all that an answer holds."""
    return answer.data, answer.request_id, answer.is_repeat, answer.attempt, answer.reply


@pytest.mark.parametrize("data", [{"a": 1}, {}, [], [1], "text", 0, False, 2**63 + 1])
def test_data_is_returned_as_it_came_when_status_and_code_are_a_success(data: Any) -> None:
    reply = reply_of({"code": 0, "message": "success", "data": data, "request_id": "req-123"})

    assert parts_of(read_answer(request_of(), reply, NO_KEY)) == (data, "req-123", False, 1, reply)


@pytest.mark.parametrize("envelope", [{"code": 0, "message": "success"}, {"code": 0, "data": None}])
def test_data_is_none_when_it_is_absent_or_null(envelope: dict[str, Any]) -> None:
    reply = reply_of(envelope)

    assert parts_of(read_answer(request_of(), reply, NO_KEY)) == (None, None, False, 1, reply)


@pytest.mark.parametrize("request_id", ["", None, 7, ["req"]])
def test_request_id_is_none_when_it_is_no_text(request_id: Any) -> None:
    reply = reply_of({"code": 0, "request_id": request_id, "added_in_2027": True})

    assert read_answer(request_of(), reply, NO_KEY).request_id is None


def test_repr_of_a_reply_shows_no_body() -> None:
    assert repr(reply_of({"download_url": "https://example.org/?sig=1"})) == "HttpReply(200, 46 bytes)"


@pytest.mark.parametrize("status", [200, 201, 299])
def test_any_2xx_is_a_success_when_the_code_is_0(status: int) -> None:
    reply = reply_of({"code": 0, "data": 1}, status)

    assert parts_of(read_answer(request_of(), reply, NO_KEY)) == (1, None, False, 1, reply)


def test_code_decides_when_the_status_is_200() -> None:
    error = failure_of({"code": 13000, "message": "slow down"})

    assert type(error) is RateLimitedError
    assert (error.status_code, error.code) == (200, 13000)


def test_status_decides_when_the_code_is_0() -> None:
    error = failure_of({"code": 0, "message": "success"}, 503)

    assert type(error) is ServiceError
    assert (error.status_code, error.code) == (503, 0)


def test_refusal_keeps_all_that_the_service_said() -> None:
    body = {"code": 11000, "message": "limit is 1-100", "request_id": "req-9", "details": ["limit"], "data": None}
    error = failure_of(body, 422, headers={"retry-after": "3"})

    assert type(error) is InvalidArgumentError
    assert (error.status_code, error.code, error.request_id) == (422, 11000, "req-9")
    assert (error.details, error.retry_after) == (["limit"], 3.0)
    assert error.message == f"GET {PATH} was answered with: limit is 1-100"


@pytest.mark.parametrize("details", [None, "text", {"field": "limit"}, ["a", "b"]])
def test_details_come_in_any_shape(details: Any) -> None:
    assert failure_of({"code": 11000, "message": "no", "details": details}, 400).details == details


@pytest.mark.parametrize(("code", "read"), [("11004", 11004), ("99999", 99999), (-1, -1), (10**30, 10**30)])
def test_code_is_read_when_it_is_digits_in_a_text_or_unknown(code: Any, read: int) -> None:
    error = failure_of({"code": code, "message": "no"})

    assert isinstance(error, ApiError)
    assert error.code == read


@pytest.mark.parametrize("code", ["", "x1", "٣", "1" * 10, True, None, 1.5, [], {}])
def test_code_is_none_when_it_is_no_number(code: Any) -> None:
    error = failure_of({"code": code, "message": "no"}, 400)

    assert type(error) is InvalidArgumentError
    assert error.code is None


@pytest.mark.parametrize("message", [None, "", 5, ["no"]])
def test_body_is_shown_when_the_message_is_no_text(message: Any) -> None:
    assert '"code": 11000' in failure_of({"code": 11000, "message": message}, 400).message


def test_first_bytes_are_shown_when_a_gateway_answers_with_a_page() -> None:
    error = failure_of(b"<html>\r\n<h1>Bad Gateway</h1>" + b"x" * 500, 502)

    assert type(error) is ServiceError
    assert (error.status_code, error.code, error.request_id) == (502, None, None)
    assert r"'<html>\r\n<h1>Bad Gateway</h1>xxx" in error.message
    assert len(error.message) < 300


def test_number_with_more_digits_than_python_reads_stays_the_text_that_it_is() -> None:
    digits = "-" + "1" * 5_000
    body = b'{"code": 0, "data": {"list": [{"n": ' + digits.encode() + b', "m": 7}, {"n": 1}]}}'

    assert read_answer(request_of(), reply_of(body), NO_KEY).data == {"list": [{"n": digits, "m": 7}, {"n": 1}]}


@pytest.mark.parametrize("space", [b"", b" ", b"\r\n", b"\t\n" * 1_000])
@pytest.mark.parametrize("before", [b"", b"\n"])
def test_space_around_the_envelope_means_nothing(before: bytes, space: bytes) -> None:
    assert read_answer(request_of(), reply_of(before + b'{"code":0,"data":{"a":1}}' + space), NO_KEY).data == {"a": 1}


@pytest.mark.parametrize(("status", "is_success"), [(199, False), (200, True), (299, True), (300, False)])
def test_statuses_from_200_to_299_are_those_of_a_success(status: int, is_success: bool) -> None:
    reply = reply_of(b'{"code":0,"data":{}}', status=status)
    if is_success:
        assert read_answer(request_of(), reply, NO_KEY).data == {}
    else:
        with pytest.raises(InvalidResponseError):
            read_answer(request_of(), reply, NO_KEY)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "it is empty"),
        (b" \r\n", "it is empty"),
        (b"<html>", "it is not JSON"),
        (b'{"code": 0', "its JSON is broken"),
        (b'{"code": 0}}', "its JSON is broken"),
        (b'{"code": 0} {"code": 0}', "its JSON is broken"),
        (b'{"code": 0}\0', "its JSON is broken"),
        (b'[{"code": 0}', "its JSON is broken"),
        (b'{"code": 0, "data": "\xff"}', "its JSON is broken"),
        (b'{"code": ' + b"1" * 5_000 + b"}", "it has no whole number as code"),
        (b'{"code": 0, "data": ' + b"1" * 5_000, "its JSON is broken"),
        (b'{"code": 0, "data": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "its JSON is nested too deeply"),
        (b"[1]", "it is a JSON list, not an object"),
        (b"null", "it is a JSON NoneType, not an object"),
        (b'{"data": {}}', "it has no whole number as code"),
        (b'{"code": "0"}', "it has no whole number as code"),
        (b'{"code": 0.0}', "it has no whole number as code"),
        (b'{"code": false}', "it has no whole number as code"),
        (b'{"code": null}', "it has no whole number as code"),
    ],
    ids=lambda value: value if isinstance(value, str) else ascii(value[:24]),
)
def test_answer_is_invalid_when_a_success_has_no_envelope(body: bytes, problem: str) -> None:
    error = failure_of(body)

    assert type(error) is InvalidResponseError
    assert problem in error.message
    assert error.status_code == 200


def test_request_id_is_kept_when_the_envelope_has_no_code() -> None:
    assert failure_of({"request_id": "req-5", "data": {}}).request_id == "req-5"


@pytest.mark.parametrize("body", [b'{"code": 0}', b"<html>Moved</html>", b""], ids=["envelope", "page", "empty"])
@pytest.mark.parametrize("status", [100, 199, 301, 302, 307, 399])
def test_answer_is_invalid_when_the_status_is_neither_success_nor_refusal(status: int, body: bytes) -> None:
    error = failure_of(body, status)

    assert type(error) is InvalidResponseError
    assert f"(HTTP {status} is not followed)" in error.message
    assert ("it begins" in error.message) is (body != b"")


@pytest.mark.parametrize(
    ("status", "body", "may_have"),
    [
        (400, {"code": 11000}, False),
        (200, {"code": 13000}, False),
        (429, b"", False),
        (401, b"", False),
        (400, {"code": 30003}, False),
        (500, {"code": 10000}, True),
        (502, b"<html>", True),
        (408, b"", True),
        (409, b"", True),
        (400, {"code": 50002}, True),
        (400, {"code": 99999}, True),
        (200, b"{", True),
        (302, b"", True),
    ],
)
@pytest.mark.parametrize("safety", Safety)
def test_answer_leaves_open_what_was_done_unless_it_is_a_refusal(
    safety: Safety, status: int, body: Any, may_have: bool
) -> None:
    error = failure_of(body, status, safety)

    assert error.may_have_taken_effect is (may_have and safety is not Safety.SAFE)


@pytest.mark.parametrize("body", [{"code": 30003, "data": {"run_slug": "R"}}, b'{"code": 11000, "run_slug" : "R", '])
def test_refusal_proves_nothing_when_it_names_a_run(body: Any) -> None:
    error = failure_of(body, 400, Safety.ONCE)

    assert isinstance(error, ApiError)
    assert error.may_have_taken_effect


@given(
    status=st.integers(100, 599),
    body=st.binary() | JSON_VALUES.map(lambda value: json.dumps(value).encode()),
    headers=st.dictionaries(st.sampled_from(["retry-after", "date"]), st.text()),
    safety=st.sampled_from(Safety),
)
@example(status=200, body=b"\xef\xbb\xbf{}", headers={}, safety=Safety.ONCE)
@example(status=400, body=b'{"code": 1e999}', headers={}, safety=Safety.ONCE)
@example(status=400, body=b'{"code": 1, "message": "\\ud800"}', headers={"retry-after": "1e999"}, safety=Safety.SAFE)
def test_nothing_but_our_errors_leaves_whatever_comes(
    status: int, body: bytes, headers: dict[str, str], safety: Safety
) -> None:
    try:
        read_answer(request_of(safety), reply_of(body, status, headers), NO_KEY)
    except CoreClawError as raised:
        error = raised
    else:
        return

    assert error.status_code == status
    assert error.message.isprintable()


@given(
    status=st.integers(400, 599),
    code=st.integers().filter(bool),
    request_id=st.text(st.characters(codec="ascii", exclude_categories=["C"]), min_size=1),
    message=st.text(),
)
def test_status_code_and_request_id_are_kept_whatever_the_service_says(
    status: int, code: int, request_id: str, message: str
) -> None:
    error = failure_of({"code": code, "message": message, "request_id": request_id}, status)

    assert (error.status_code, error.code, error.request_id) == (status, code, request_id)
    assert len(str(error).splitlines()) == 1


@pytest.mark.parametrize("request_id", ["a\nINFO forged line", "\x1b[2J", "\u2028", "\ud800"])
def test_error_text_is_one_printable_line_when_the_request_id_is_not(request_id: str) -> None:
    assert str(failure_of({"code": 11000, "message": "no", "request_id": request_id}, 400)).isprintable()


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        ({"run_slug": "R-1", "download_url": "https://example.org/?sig=1"}, "{'run_slug': 'R-1'}"),
        ({"download_url": "https://example.org/?sig=1"}, "..."),
        (["https://example.org/?sig=1"], "..."),
    ],
)
def test_repr_of_an_answer_shows_of_its_data_only_the_run(data: Any, shown: str) -> None:
    answer = read_answer(request_of(), reply_of({"code": 0, "data": data, "request_id": "req-1"}), NO_KEY)

    assert repr(answer) == f"Answer(data={shown}, request_id='req-1', is_repeat=False, attempt=1)"
