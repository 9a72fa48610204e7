"""``Retry-After`` in both forms of RFC 9110 (10.2.3)."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from wire.exchanges import failure_of

from coreclaw_async._wire.response import parse_retry_after

NOW = 784_111_777.0  # 1994-11-06 08:49:37 UTC, the date of the RFC's examples


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("1.5", 1.5),
        ("-3", 0.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0.0),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60.0),
        ("Sun, 06 Nov 1994 08:48:37 GMT", 0.0),
        ("Sunday, 06-Nov-94 08:50:37 GMT", 60.0),
        ("Sun, 06 Nov 1994 16:50:37 +0800", 60.0),
        ("1, 3", 3.0),
        ("3,1", 3.0),
        ("soon, 3", 3.0),
        ("3, soon", 3.0),
        (", 3,", 3.0),
        ("3, Sun, 06 Nov 1994 08:50:37 GMT", 60.0),
        ("Sun, 06 Nov 1994 08:48:37 GMT, 3", 3.0),
        ("Sunday, 06-Nov-94 08:50:37 GMT,Sun, 06 Nov 1994 08:51:37 GMT, 3, inf", 120.0),
    ],
)
def test_seconds_and_dates_are_read_and_never_negative_and_the_latest_counts(value: str, seconds: float) -> None:
    assert parse_retry_after({"retry-after": value}, NOW) == seconds


@pytest.mark.parametrize(
    "value", ["", " ", "soon", "nan", "inf", "1e999", "Sun, 99 Nov 1994 08:49:37 GMT", "12 34", ",", "a, b"]
)
def test_it_is_none_when_it_cannot_be_read(value: str) -> None:
    assert parse_retry_after({"retry-after": value}, NOW) is None


@pytest.mark.parametrize(
    ("date", "seconds"), [("Fri, 06 Nov 2026 08:49:37 GMT", 60.0), ("Fri, 06 Nov 2026 08:51:37 GMT", 0.0)]
)
def test_date_is_compared_with_the_clock_of_the_answer_when_that_shows_it(date: str, seconds: float) -> None:
    headers = {"retry-after": "Fri, 06 Nov 2026 08:50:37 GMT", "date": date}

    assert failure_of({"code": 13000}, 429, headers=headers).retry_after == seconds


def test_date_is_compared_with_our_own_clock_when_the_answer_shows_none() -> None:
    headers = {"retry-after": "Thu, 01 Jan 1970 00:17:00 GMT", "date": "unreadable"}

    assert failure_of({"code": 13000}, 429, headers=headers).retry_after == 20.0


def test_it_is_none_when_it_is_absent() -> None:
    assert parse_retry_after({"date": "Fri, 06 Nov 2026 08:49:37 GMT"}, NOW) is None


@pytest.mark.usefixtures("east_of_greenwich")
@pytest.mark.parametrize(
    "value",
    [
        "Sun, 06 Nov 1994 08:50:37 GMT",
        "Sun Nov  6 08:50:37 1994",
    ],
)
def test_dates_are_gmt_whatever_zone_the_machine_is_in(value: str) -> None:
    assert parse_retry_after({"retry-after": value}, NOW) == 60.0


@given(
    st.text()
    | st.lists(st.sampled_from([*"0123456789:-+, ", "GMT", "Sun", "Nov", "1994", "08:49:37", "am"]), max_size=14).map(
        "".join
    ),
    st.floats(0, 4e9),
)
@example("Sun, 06 Nov 9999999 08:49:37 GMT", 0.0)
@example("Sun, 06 Nov 0001 08:49:37 +9999", 0.0)
def test_any_text_is_a_number_of_seconds_or_none(value: str, now: float) -> None:
    seconds = parse_retry_after({"retry-after": value}, now)

    assert seconds is None or (seconds >= 0 and math.isfinite(seconds))
