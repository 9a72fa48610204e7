"""The schedule members of a task: checked by name, and in the form of the wire."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coreclaw_async._wire.schedules import schedule_members
from coreclaw_async.models import ScheduleType


def members(**given_members: Any) -> dict[str, Any]:
    names = ("enabled", "type", "time", "weekday", "day", "once_date")
    return schedule_members(**{name: given_members.get(name) for name in names})


def test_members_are_none_when_nothing_is_given() -> None:
    assert set(members().values()) == {None}


def test_members_have_the_names_and_types_of_the_wire() -> None:
    assert members(enabled=True, type=ScheduleType.ONCE, time="09:00", weekday=7, day=31, once_date="2026-08-01") == {
        "schedule_enabled": 1,
        "schedule_type": 4,
        "schedule_time": "09:00",
        "schedule_weekday": 7,
        "schedule_day": 31,
        "schedule_once_date": "2026-08-01",
    }
    assert type(members(type=ScheduleType.ONCE)["schedule_type"]) is int
    assert members(enabled=False)["schedule_enabled"] == 0


@given(st.times(), st.dates(dt.date(1000, 1, 1)))
def test_every_time_and_date_is_taken_in_its_form(time: dt.time, date: dt.date) -> None:
    taken = members(time=f"{time:%H:%M}", once_date=date.isoformat())

    assert taken["schedule_time"] == f"{time:%H:%M}"
    assert taken["schedule_once_date"] == date.isoformat()


@pytest.mark.parametrize(
    "time",
    [
        "24:00",
        "9:00",
        "09:60",
        "09:00:00",
        "0900",
        "09:00\n",
        " 09:00",
        "0\u0669:0\u0660",
    ],
)
def test_time_is_refused_when_it_is_not_hours_and_minutes(time: str) -> None:
    with pytest.raises(ValueError, match=r"^schedule_time must be HH:mm from 00:00 to 23:59, not '"):
        members(time=time)


@pytest.mark.parametrize(
    "date",
    [
        "2026-02-30",
        "2026-8-1",
        "20260801",
        "2026-08-01T00:00",
        "01.08.2026",
        " ",
        "2026-W31",
        "2026-W31-6",
    ],
)
def test_date_is_refused_when_it_is_not_year_month_day(date: str) -> None:
    with pytest.raises(ValueError, match=r"^schedule_once_date must be a date as YYYY-MM-DD, not '"):
        members(once_date=date)


@pytest.mark.parametrize(
    ("name", "value", "span"),
    [
        ("type", 0, "1 to 4"),
        ("type", 5, "1 to 4"),
        ("weekday", 0, "1 to 7"),
        ("weekday", 8, "1 to 7"),
        ("day", 0, "1 to 31"),
        ("day", 32, "1 to 31"),
    ],
)
def test_number_is_refused_when_it_is_out_of_its_range(name: str, value: int, span: str) -> None:
    with pytest.raises(ValueError, match=f"^schedule_{name} must be {span}, not {value}$"):
        members(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("enabled", 1),
        ("enabled", "true"),
        ("type", "daily"),
        ("weekday", True),
        ("day", 1.0),
        ("time", 900),
        ("once_date", dt.date(2026, 8, 1)),
    ],
)
def test_member_is_refused_by_name_when_it_is_of_another_type(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"^schedule_{name} must be an? (bool|int|str), not "):
        members(**{name: value})
