"""A caller's mistake is a `ValueError` or `TypeError` that names parameter, range and value."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import IntEnum
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coreclaw_async._wire.request import (
    check_bool,
    check_int,
    check_limit,
    check_offset,
    check_seconds,
    check_text,
    check_url,
)


class Size(IntEnum):
    SMALL = 5


@given(st.integers(), st.integers(), st.none() | st.integers())
def test_whole_number_is_returned_when_it_is_in_its_range(value: int, lowest: int, highest: int | None) -> None:
    if lowest <= value and (highest is None or value <= highest):
        assert check_int("n", value, lowest=lowest, highest=highest) is value
    else:
        with pytest.raises(ValueError, match=rf"^n must be {lowest} (or more|to {highest}), not {value}$"):
            check_int("n", value, lowest=lowest, highest=highest)


@pytest.mark.parametrize("value", [True, False, 1.0, "1", None, [1]])
def test_whole_number_is_refused_when_it_is_of_another_type(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^limit must be an int, not "):
        check_limit(value)


def test_whole_number_may_be_a_member_of_an_enum() -> None:
    assert check_limit(Size.SMALL) == 5


@pytest.mark.parametrize("limit", [0, 101, -1])
def test_limit_is_refused_when_no_page_holds_so_many(limit: int) -> None:
    with pytest.raises(ValueError, match=f"^page_size must be 1 to 100, not {limit}$"):
        check_limit(limit, "page_size")


def test_limit_and_offset_are_returned_at_the_ends_of_their_ranges() -> None:
    assert (check_limit(1), check_limit(100), check_offset(0), check_offset(2**63 - 1)) == (1, 100, 0, 2**63 - 1)


@pytest.mark.parametrize("offset", [-1, 2**63, 2**64, -(2**63)])
def test_offset_is_refused_when_the_service_has_no_number_for_it(offset: int) -> None:
    with pytest.raises(ValueError, match=rf"^offset must be 0 to 9223372036854775807, not {offset}$"):
        check_offset(offset)


def test_number_that_python_does_not_write_down_is_refused_by_name() -> None:
    number = 10**5_000
    calls: list[Callable[[], object]] = [
        lambda: check_offset(number),
        lambda: check_limit(-number),
        lambda: check_seconds("timeout", number),
        lambda: check_text("title", number),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        lambda: check_bool("is_async", number),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ]
    for call in calls:
        with pytest.raises((ValueError, TypeError), match=r"^\w+ must be .* not a number of more than 4300 digits$"):
            call()


@given(st.floats() | st.integers(-(10**300), 10**300), st.booleans())
def test_seconds_are_finite_and_above_zero(value: float, allow_zero: bool) -> None:
    if math.isfinite(value) and (value > 0 or (allow_zero and value == 0)):
        seconds = check_seconds("timeout", value, allow_zero=allow_zero)
        assert type(seconds) is float
        assert seconds == float(value)
    else:
        with pytest.raises(ValueError, match=r"^timeout must be a finite number of seconds (from|above) 0, not "):
            check_seconds("timeout", value, allow_zero=allow_zero)


@pytest.mark.parametrize("value", [5e-324, 0.5, 1, 1.7e308])
def test_seconds_are_taken_from_the_least_to_the_most_that_a_float_holds(value: float) -> None:
    assert check_seconds("timeout", value) == check_seconds("timeout", value, allow_zero=True) == value


def test_no_seconds_are_taken_where_they_mean_something() -> None:
    assert check_seconds("timeout", 0, allow_zero=True) == 0.0


@pytest.mark.parametrize("value", [True, "1", None, 1j])
def test_seconds_are_refused_when_they_are_no_number(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^timeout must be a number of seconds, not "):
        check_seconds("timeout", value)


def test_seconds_are_refused_when_no_float_holds_them() -> None:
    with pytest.raises(ValueError, match=r"^timeout must be a finite number of seconds above 0"):
        check_seconds("timeout", 10**400)


@pytest.mark.parametrize("value", ["", " ", "\t\n"])
def test_text_is_refused_when_nothing_is_in_it(value: str) -> None:
    with pytest.raises(ValueError, match=r"^title must not be empty, not '"):
        check_text("title", value)


@pytest.mark.parametrize("value", [None, 1, b"a", ["a"]])
def test_text_is_refused_when_it_is_of_another_type(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^title must be a str, not "):
        check_text("title", value)


def test_text_is_returned_as_it_is() -> None:
    assert check_text("title", " a ") == " a "


@pytest.mark.parametrize("value", ["true", 1, 0, None])
def test_flag_is_refused_when_it_is_not_a_bool(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^is_async must be a bool, not "):
        check_bool("is_async", value)


@pytest.mark.parametrize("value", [True, False])
def test_flag_is_returned_as_it_is(value: bool) -> None:
    assert check_bool("is_async", value) is value


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000/callback",
        "https://example.com",
        "https://example.com/a?b=c&d#e",
        "https://[::1]:1/x",
        "HTTPS://example.com/?a=%20",
    ],
)
def test_url_is_returned_as_it_is_when_it_is_absolute(url: str) -> None:
    assert check_url("callback_url", url) == url


@pytest.mark.parametrize(
    "url",
    [
        "example.com/callback",
        "//example.com",
        "ftp://example.com",
        "http://",
        "https:///path",
        "https://[::1",
        "https://example.com:99999",
        "https://example.com:x",
        "https://exa mple.com",
        "https://example.com/a b",
        "https://example.com/\r\nX: y",
        "https://example.com\\@evil.example",
        "https://example.com/\x00",
    ],
)
def test_url_is_refused_when_it_cannot_be_called(url: str) -> None:
    with pytest.raises(ValueError, match=r"^callback_url must be an absolute http or https URL, not '"):
        check_url("callback_url", url)


@given(
    st.text()
    | st.tuples(
        st.sampled_from(["http://", "https://", "http:/", "//"]),
        st.text(max_size=10),
        st.sampled_from(["", ":80", ":", "@h", "]", "/p?q#f"]),
    ).map("".join)
)
def test_any_text_is_an_absolute_url_or_is_refused_by_name(url: str) -> None:
    problem = ""
    try:
        check_url("callback_url", url)
    except ValueError as error:
        problem = str(error)

    assert problem.startswith("callback_url must ") or (
        problem == "" and urlsplit(url).scheme in {"http", "https"} and urlsplit(url).hostname
    )


def test_a_long_value_is_cut_in_its_error() -> None:
    with pytest.raises(TypeError, match=r"^limit must be an int, not \['row', .{192}\.\.\.$"):
        check_limit(["row"] * 10_000)  # type: ignore[arg-type]
