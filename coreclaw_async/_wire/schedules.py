"""The schedule members of a task: checked, and as they are sent."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

from coreclaw_async._wire.request import check_bool, check_int, check_text

_TIME = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def schedule_members(
    *,
    enabled: bool | None,
    type: int | None,
    time: str | None,
    weekday: int | None,
    day: int | None,
    once_date: str | None,
) -> dict[str, Any]:
    """Return the checked ``schedule_*`` members; flags are sent as 0 and 1."""
    if time is not None and not _TIME.fullmatch(check_text("schedule_time", time)):
        raise ValueError(f"schedule_time must be HH:mm from 00:00 to 23:59, not {time!r}")
    if once_date is not None:
        _check_date(once_date)
    return {
        "schedule_enabled": None if enabled is None else int(check_bool("schedule_enabled", enabled)),
        "schedule_type": None if type is None else int(check_int("schedule_type", type, lowest=1, highest=4)),
        "schedule_time": time,
        "schedule_weekday": None if weekday is None else check_int("schedule_weekday", weekday, lowest=1, highest=7),
        "schedule_day": None if day is None else check_int("schedule_day", day, lowest=1, highest=31),
        "schedule_once_date": once_date,
    }


def _check_date(value: str) -> None:
    try:
        is_date = _DATE.fullmatch(check_text("schedule_once_date", value)) and dt.date.fromisoformat(value)
    except ValueError:
        is_date = None
    if not is_date:
        raise ValueError(f"schedule_once_date must be a date as YYYY-MM-DD, not {value!r}")
