"""Months and windows in UTC+8, against a reference that counts days; and the time in a run id."""

from __future__ import annotations

import datetime as dt
import itertools
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from coreclaw_async._wire.moments import check_aware, check_unix, creation_time, date_of, month_of, month_windows

DAY = 86_400
EIGHT_HOURS = 28_800
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
ZONES = st.integers(-12, 14).map(lambda hours: dt.timezone(dt.timedelta(hours=hours)))
# Two thousand days, whole seconds: two leap years and all kinds of ends of months.
SECONDS = st.integers(1_700_000_000, 1_870_000_000)


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


def test_windows_go_back_to_the_first_month_there_is() -> None:
    assert month_windows(dt.datetime(1, 1, 1, 12, tzinfo=dt.UTC), dt.datetime(1, 3, 1, tzinfo=dt.UTC))[-1][0] < 0


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


@given(st.integers(0, 2**48 - 1), st.text(st.sampled_from(CROCKFORD), min_size=16, max_size=16))
def test_creation_time_is_what_the_first_ten_letters_count(milliseconds: int, rest: str) -> None:
    letters = ""
    left = milliseconds
    for _ in range(10):
        letters = CROCKFORD[left % 32] + letters
        left //= 32

    assert creation_time(letters + rest) == creation_time((letters + rest).lower()) == milliseconds / 1000


def test_creation_time_of_an_observed_run_is_the_second_of_its_start() -> None:
    observed = creation_time("01KZAZ2B7T3Q0R8C784NCRWC03")

    assert observed is not None
    assert int(observed) == 1786000780


@pytest.mark.parametrize(
    "run_id", ["", "demo-run", "01KZAZ2B7T3Q0R8C784NCRWC0", "01KZAZ2B7T3Q0R8C784NCRWC03X", "01KZAZ2B7U3Q0R8C784NCRWC03"]
)
def test_creation_time_is_none_when_the_id_is_no_ulid(run_id: str) -> None:
    assert creation_time(run_id) is None


@given(st.text())
def test_creation_time_of_any_text_is_a_number_or_none(run_id: str) -> None:
    seconds = creation_time(run_id)

    assert seconds is None or 0 <= seconds < 2**50


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"date": "Sun, 06 Nov 1994 08:49:37 GMT"}, 784111777.0),
        ({"date": "Sunday, 06-Nov-94 08:49:37 GMT"}, 784111777.0),
        ({"date": "yesterday"}, None),
        ({"date": "Sun, 06 Nov 99999 08:49:37 GMT"}, None),
        ({}, None),
    ],
)
def test_date_of_an_answer_is_read_or_none(headers: dict[str, str], seconds: float | None) -> None:
    assert date_of(headers) == seconds


@pytest.fixture
def _east_of_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Etc/GMT-8")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_east_of_greenwich")
def test_date_of_an_answer_is_gmt_when_it_comes_in_the_oldest_form() -> None:
    assert date_of({"date": "Sun Nov  6 08:49:37 1994"}) == 784111777.0
