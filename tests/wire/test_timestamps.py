"""Months and windows in UTC+8, against a reference that counts days; and the time in a run id."""

from __future__ import annotations

import datetime as dt
import itertools
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from coreclaw_async._wire.timestamps import (
    FIRST_MOMENT,
    LAST_MOMENT,
    ClockSteps,
    SeenDate,
    check_aware,
    check_unix,
    creation_time,
    date_of,
    http_date,
    moment_of,
    month_of,
    month_windows,
)

DAY = 86_400
EIGHT_HOURS = 28_800
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
ZONES = st.integers(-12, 14).map(lambda hours: dt.timezone(dt.timedelta(hours=hours)))
# Two thousand days, whole seconds: two leap years and all kinds of ends of months.
SECONDS = st.integers(1_710_000_000, 1_880_000_000)
ANY_MOMENT = st.datetimes(timezones=ZONES)
FIRST, LAST = FIRST_MOMENT.timestamp(), LAST_MOMENT.timestamp()
FORMS = ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y"]


def moment(seconds: float, zone: dt.timezone = dt.UTC) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, zone)


def month_at(seconds: int) -> tuple[int, int]:
    """Return the month in UTC+8, by the C library."""
    parts = time.gmtime(seconds + EIGHT_HOURS)
    return parts.tm_year, parts.tm_mon


def windows_by_counting(since: int, until: int) -> list[tuple[int, int]]:
    """Return the windows newest first, found day by day."""
    windows: list[tuple[int, int]] = []
    day = (since + EIGHT_HOURS) // DAY * DAY - EIGHT_HOURS
    while day <= until:
        if windows and month_at(windows[-1][0]) == month_at(day):
            windows[-1] = (windows[-1][0], day)
        else:
            windows.append((day, day))
        day += DAY
    return windows[::-1]


@given(since=SECONDS, length=st.integers(0, 400 * DAY), zone=ZONES)
@example(since=1_785_513_599, length=0, zone=dt.UTC)  # The last second of July 2026 in UTC+8.
@example(since=1_785_513_599, length=1, zone=dt.UTC)
@example(since=1_785_513_600, length=DAY * 31 - 1, zone=dt.UTC)
def test_windows_are_those_found_by_counting_days(since: int, length: int, zone: dt.timezone) -> None:
    until = since + length

    assert month_windows(moment(since, zone), moment(until)) == windows_by_counting(since, until)


@given(since=SECONDS, length=st.integers(0, 400 * DAY))
def test_windows_cover_the_time_without_a_gap_and_never_cross_a_month(since: int, length: int) -> None:
    windows = month_windows(moment(since), moment(since + length))

    for start, end in windows:
        last_second = end + DAY - 1  # The service adds a day to the end.
        assert month_at(start) == month_at(last_second)
        assert (start + EIGHT_HOURS) % DAY == (end + EIGHT_HOURS) % DAY == 0
    for newer, older in itertools.pairwise(windows):
        assert newer[0] == older[1] + DAY
    assert windows[-1][0] <= since < windows[-1][0] + DAY
    assert windows[0][1] <= since + length < windows[0][1] + DAY


def test_windows_of_two_documented_months_are_the_documented_ones() -> None:
    since = dt.datetime(2026, 7, 10, tzinfo=dt.UTC)
    until = dt.datetime(2026, 8, 30, 20, tzinfo=dt.UTC)
    august, july = month_windows(since, until)

    assert august == (1785513600, 1788105600)
    assert july[1] == 1785427200


def test_there_are_no_windows_when_the_end_comes_before_the_start() -> None:
    assert month_windows(moment(1_785_513_600), moment(1_785_000_000)) == []


@given(ANY_MOMENT, ANY_MOMENT)
@example(dt.datetime(1970, 1, 1, tzinfo=dt.UTC), dt.datetime(2026, 8, 15, tzinfo=dt.UTC))
@example(dt.datetime.min.replace(tzinfo=dt.timezone(dt.timedelta(hours=14))), dt.datetime.max.replace(tzinfo=dt.UTC))
@example(dt.datetime(2026, 8, 15, tzinfo=dt.UTC), dt.datetime.max.replace(tzinfo=dt.timezone(-dt.timedelta(hours=12))))
def test_windows_of_any_two_moments_lie_in_the_months_that_can_hold_runs(
    since: dt.datetime, until: dt.datetime
) -> None:
    windows = month_windows(since, until)

    assert len(windows) <= 12 * 76, "2024 to 2099"
    for start, end in windows:
        assert FIRST <= start <= end <= LAST
        assert month_at(start) == month_at(end + DAY - 1)
    for newer, older in itertools.pairwise(windows):
        assert newer[0] == older[1] + DAY
    first, last = max(since, FIRST_MOMENT), min(until, LAST_MOMENT)
    if first <= last:
        assert windows[-1][0] <= first.timestamp() < windows[-1][0] + DAY
        assert windows[0][1] <= last.timestamp() < windows[0][1] + DAY


def test_windows_begin_where_the_service_did() -> None:
    windows = month_windows(dt.datetime(1970, 1, 1, tzinfo=dt.UTC), dt.datetime(2024, 3, 2, tzinfo=dt.UTC))

    assert [month_at(start) for start, _ in windows] == [(2024, 3), (2024, 2), (2024, 1)]


@given(SECONDS, ZONES)
def test_month_is_that_of_utc_plus_8_whatever_the_zone(seconds: int, zone: dt.timezone) -> None:
    assert month_of(moment(seconds, zone)) == month_at(seconds)


@given(SECONDS, ZONES)
def test_aware_moments_are_returned_in_utc(seconds: int, zone: dt.timezone) -> None:
    checked = check_aware("since", moment(seconds, zone))

    assert checked == moment(seconds)
    assert checked.tzinfo is dt.UTC
    assert check_unix("since", moment(seconds, zone)) == seconds


class Nowhere(dt.tzinfo):
    """A zone that does not say how far it is from UTC."""

    def utcoffset(self, _: dt.datetime | None) -> None:
        return None

    dst = tzname = utcoffset


@pytest.mark.parametrize("value", [dt.datetime(2026, 8, 1), dt.datetime(2026, 8, 1, tzinfo=Nowhere())])  # noqa: DTZ001
def test_moment_is_refused_when_it_does_not_say_its_zone(value: dt.datetime) -> None:
    for check in (check_aware, check_unix):
        with pytest.raises(
            ValueError, match=r"^since must be an aware datetime, for example with tzinfo=datetime\.UTC"
        ):
            check("since", value)


@pytest.mark.parametrize("value", [None, 1_785_513_600, "2026-08-01", dt.date(2026, 8, 1)])
def test_moment_is_refused_when_it_is_none(value: Any) -> None:
    with pytest.raises(TypeError, match="until must be a datetime, not"):
        check_aware("until", value)


@pytest.mark.parametrize(
    "value",
    [
        dt.datetime.max.replace(tzinfo=dt.timezone(dt.timedelta(hours=-8))),
        dt.datetime.min.replace(tzinfo=dt.timezone(dt.timedelta(hours=8))),
    ],
)
def test_moment_is_refused_by_name_when_utc_has_no_date_for_it(value: dt.datetime) -> None:
    with pytest.raises(ValueError, match="since must be"):
        check_aware("since", value)


@pytest.mark.parametrize("value", [dt.datetime.min, dt.datetime(1969, 12, 31, 23, 59, 59)])  # noqa: DTZ001, DTZ901
def test_time_of_a_window_is_refused_before_1970(value: dt.datetime) -> None:
    with pytest.raises(ValueError, match=r"^start_time must be 1970-01-01 UTC or later, not "):
        check_unix("start_time", value.replace(tzinfo=dt.UTC))


@given(st.floats() | st.integers(-(10**30), 10**30))
def test_any_number_of_seconds_is_a_moment_that_months_can_be_counted_from(seconds: float) -> None:
    moment = moment_of(seconds)

    assert FIRST_MOMENT <= moment <= LAST_MOMENT
    assert moment.tzinfo is dt.UTC
    assert (2024, 1) <= month_of(moment) <= (2099, 12)
    if FIRST <= seconds <= LAST:
        assert moment == dt.datetime.fromtimestamp(seconds, dt.UTC)


@given(
    st.integers(int(FIRST * 1000), int(LAST * 1000)) | st.integers(0, 2**48 - 1),
    st.text(st.sampled_from(CROCKFORD), min_size=16, max_size=16),
)
@example(int(FIRST * 1000), "0" * 16)
@example(int(FIRST * 1000) - 1, "0" * 16)
@example(int(LAST * 1000), "0" * 16)
@example(int(LAST * 1000) + 1, "0" * 16)
def test_creation_time_is_what_the_first_ten_letters_count_when_that_can_be(milliseconds: int, rest: str) -> None:
    letters = ""
    left = milliseconds
    for _ in range(10):
        letters = CROCKFORD[left % 32] + letters
        left //= 32

    expected = milliseconds / 1000 if FIRST * 1000 <= milliseconds <= LAST * 1000 else None
    assert creation_time(letters + rest) == creation_time((letters + rest).lower()) == expected


def test_creation_time_of_an_observed_run_is_the_second_of_its_start() -> None:
    observed = creation_time("01KZAZ2B7T3Q0R8C784NCRWC03")

    assert observed is not None
    assert int(observed) == 1786000780


@pytest.mark.parametrize(
    "run_id",
    [
        "",
        "demo-run",
        "01KZAZ2B7T3Q0R8C784NCRWC0",
        "01KZAZ2B7T3Q0R8C784NCRWC03X",
        "01KZAZ2B7U3Q0R8C784NCRWC03",
        "Z" * 26,
        "7" + "Z" * 25,
        "0" * 26,
        "a" * 26,
    ],
)
def test_creation_time_is_none_when_the_id_is_none_of_the_service(run_id: str) -> None:
    assert creation_time(run_id) is None


@given(st.text() | st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=26, max_size=26))
def test_creation_time_of_any_text_is_a_moment_or_none(run_id: str) -> None:
    seconds = creation_time(run_id)

    assert seconds is None or FIRST <= seconds <= LAST


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", 784111777.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 784111777.0),
        ("Sun Nov  6 08:49:37 1994", 784111777.0),
        ("Sun, 06 Nov 1994 16:49:37 +0800", 784111777.0),
        ("Sun, 06 Nov 1994 00:49:37 -0800", 784111777.0),
        ("Thu, 31 Dec 2099 15:59:59 GMT", LAST),
        ("Thu, 31 Dec 2099 16:00:00 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 -1200", None),
        ("Wed, 31 Dec 1969 23:59:59 GMT", None),
        ("Mon, 01 Jan 0101 00:00:00 GMT", None),
        ("Sun, 06 Nov 99999 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37 -9999", None),
        ("Sun, 06 Nov 1994 08:49:37 +99999999999999999999", None),
        ("Sun, 06 Nov -1994 08:49:37 GMT", None),
        ("yesterday", None),
        ("", None),
        ("\x00", None),
        ("0", None),
        (",,,,", None),
    ],
)
def test_http_date_is_read_in_its_forms_or_not_at_all(text: str, seconds: float | None) -> None:
    assert http_date(text) == seconds


@given(SECONDS, st.sampled_from(FORMS))
def test_http_date_is_read_in_each_of_its_three_forms(seconds: int, form: str) -> None:
    assert http_date(time.strftime(form, time.gmtime(seconds))) == seconds


@given(
    st.text()
    | st.builds(
        lambda seconds, form, place, piece: (
            (text := time.strftime(form, time.gmtime(seconds)))[: place % len(text)] + piece + text[place % len(text) :]
        ),
        SECONDS,
        st.sampled_from(FORMS),
        st.integers(0, 99),
        st.text(st.sampled_from("0123456789-+:, GMTZ") | st.characters(), max_size=4),
    )
)
def test_http_date_of_any_text_is_a_number_of_seconds_or_none(text: str) -> None:
    seconds = http_date(text)

    assert seconds is None or 0 <= seconds <= LAST
    assert date_of({"date": text}) in {None, seconds}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"date": "Sat, 15 Aug 2026 04:00:00 GMT"}, 1_786_766_400.0),
        ({"date": "Sun, 06 Nov 1994 08:49:37 GMT"}, None),
        ({"date": "Mon, 01 Jan 0001 00:00:00 GMT"}, None),  # Of two digits at most, which mean 2001.
        ({"date": "Mon, 01 Jan 0000 00:00:00 GMT"}, None),
        ({"date": "Thu, 01 Jan 1970 00:00:00 GMT"}, None),
        ({"date": "Fri, 31 Dec 9999 23:59:59 GMT"}, None),
        ({"date": "yesterday"}, None),
        ({"date": ""}, None),
        ({}, None),
    ],
)
def test_date_of_an_answer_is_one_that_the_service_can_have_shown(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert date_of(headers) == seconds


@pytest.mark.parametrize(
    ("received_at", "difference"),
    [
        (1_786_766_400.0, 0.0),
        (1_786_766_403.5, -3.5),
        (1_786_766_400.0 - 398 * DAY, 398.0 * DAY),
        (1_786_766_400.0 + 398 * DAY, -398.0 * DAY),
        (1_786_766_399.0 - 398 * DAY, None),
        (1_786_766_401.0 + 398 * DAY, None),
        (0.0, None),
        (float("nan"), None),
        (float("inf"), None),
    ],
)
def test_difference_of_the_clocks_is_believed_as_far_as_tls_works(received_at: float, difference: float | None) -> None:
    assert SeenDate("Sat, 15 Aug 2026 04:00:00 GMT", received_at).difference == difference


def test_difference_of_the_clocks_is_unknown_without_a_date() -> None:
    assert SeenDate("", 1_786_766_400.0).difference is None
    assert SeenDate("Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799.0).difference is None


@pytest.mark.usefixtures("east_of_greenwich")
def test_http_date_is_gmt_when_it_comes_in_the_oldest_form() -> None:
    assert http_date("Sun Nov  6 08:49:37 1994") == 784111777.0


class TestSeenDate:
    seen = SeenDate("Sat, 15 Aug 2026 04:00:00 GMT", 1_786_766_000.0, 50.0)

    def test_service_time_goes_on_with_the_monotonic_clock(self) -> None:
        assert self.seen.difference == 400.0
        assert self.seen.service_time(50.0) == 1_786_766_400.0
        assert self.seen.service_time(65.0) == 1_786_766_415.0

    def test_it_is_unknown_without_a_date_that_can_be_right(self) -> None:
        assert SeenDate().service_time(0.0) is None
        assert not SeenDate().is_trusted(0.0, 0.0)
        assert SeenDate(self.seen.date, 0.0, 50.0).service_time(50.0) is None

    @pytest.mark.parametrize(
        ("passed", "passed_here", "is_trusted"),
        [
            (0.0, 0.0, True),
            (9.0, 9.0, True),
            (9.0, 14.0, True),
            (9.0, 14.1, False),
            (9.0, 3.9, False),
            (0.0, -6.0, False),
        ],
    )
    def test_it_is_trusted_while_both_clocks_agree(self, passed: float, passed_here: float, is_trusted: bool) -> None:
        assert self.seen.is_trusted(1_786_766_000.0 + passed, 50.0 + passed_here) is is_trusted


def test_steps_of_a_clock_are_counted_from_all_that_it_has_shown() -> None:
    steps = ClockSteps()
    steps.note(1_000.0, 10.0)
    assert (steps.back, steps.ahead) == (0.0, 0.0)
    steps.note(1_007.0, 17.0)
    assert (steps.back, steps.ahead) == (0.0, 0.0)
    steps.note(1_108.0, 18.0)
    assert (steps.back, steps.ahead) == (0.0, 100.0)
    steps.note(1_060.0, 20.0)
    assert (steps.back, steps.ahead) == (50.0, 50.0)
