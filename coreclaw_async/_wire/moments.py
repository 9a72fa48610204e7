"""Time as the service counts it: calendar months in UTC+8, the windows of the run list, and the time in a run id."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

SERVICE_ZONE = dt.timezone(dt.timedelta(hours=8))
"""The list of runs is cut into calendar months of this zone (docs, api/worker-runs/list)."""

_BASE32 = {letter: value for value, letter in enumerate("0123456789ABCDEFGHJKMNPQRSTVWXYZ")}
_TIME_LETTERS = 10
_ULID_LETTERS = 26


def check_aware(name: str, value: dt.datetime) -> dt.datetime:
    """Return *value* in UTC when it says which zone it is in."""
    if not isinstance(value, dt.datetime):
        raise TypeError(f"{name} must be a datetime, not {value!r}")
    if value.tzinfo is None or value.utcoffset() is None:
        raise ValueError(f"{name} must be an aware datetime, for example with tzinfo=datetime.UTC, not {value!r}")
    try:
        moment = value.astimezone(dt.UTC)
        moment.astimezone(SERVICE_ZONE)
    except OverflowError:
        raise ValueError(f"{name} must be a moment that UTC and UTC+8 have a date for, not {value!r}") from None
    return moment


def check_unix(name: str, value: dt.datetime) -> int:
    """Return the Unix seconds of *value* when it says which zone it is in."""
    return int(check_aware(name, value).timestamp())


def month_of(moment: dt.datetime) -> tuple[int, int]:
    """Return year and month of *moment* as the service counts them."""
    local = moment.astimezone(SERVICE_ZONE)
    return local.year, local.month


def month_windows(since: dt.datetime, until: dt.datetime) -> list[tuple[int, int]]:
    """
    Return ``start_time`` and ``end_time`` of each month from *until* back to *since*, newest first.

    Both are day starts in UTC+8: the service adds a day to ``end_time``, and refuses a window that then crosses into
    another month (docs, api/worker-runs/list). So a window holds whole days, up to one more than asked for at each end.
    """
    first = since.astimezone(SERVICE_ZONE).date()
    last = until.astimezone(SERVICE_ZONE).date()
    windows: list[tuple[int, int]] = []
    while first <= last:
        month_start = last.replace(day=1)
        windows.append((_day_start(max(first, month_start)), _day_start(last)))
        if first >= month_start:
            break
        last = month_start - dt.timedelta(days=1)
    return windows


def month_window(month: tuple[int, int]) -> tuple[int, int]:
    """Return ``start_time`` and ``end_time`` of a whole month."""
    first = dt.date(*month, 1)
    next_first = (first + dt.timedelta(days=31)).replace(day=1)
    return _day_start(first), _day_start(next_first - dt.timedelta(days=1))


def _day_start(day: dt.date) -> int:
    return int(dt.datetime(day.year, day.month, day.day, tzinfo=SERVICE_ZONE).timestamp())


@functools.lru_cache(maxsize=16_384)  # A run that is followed is asked about at each look.
def creation_time(run_id: str) -> float | None:
    """
    Return when the run was created in Unix seconds, or None when its id does not tell.

    Run slugs are ULIDs, whose first ten letters count milliseconds; observed, not documented, so a hint only.
    """
    if len(run_id) != _ULID_LETTERS:
        return None
    milliseconds = 0
    for letter in run_id[:_TIME_LETTERS].upper():
        value = _BASE32.get(letter)
        if value is None:
            return None
        milliseconds = milliseconds * 32 + value
    return milliseconds / 1000


def date_of(headers: Mapping[str, str]) -> float | None:
    """Return the ``Date`` of an answer in Unix seconds, or None without a readable one."""
    return http_date(headers.get("date", ""))


def http_date(text: str) -> float | None:
    """Return an HTTP date in Unix seconds, or None when it cannot be read; its oldest form names no zone and is GMT."""
    try:
        date = parsedate_to_datetime(text)
        return (date if date.tzinfo else date.replace(tzinfo=dt.UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
