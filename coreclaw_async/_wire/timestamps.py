"""Time as the service counts it: calendar months in UTC+8, the windows of the run list, and the time in a run id."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import NamedTuple, TypeAlias

TimeWindow: TypeAlias = tuple[int, int]
"""``start_time`` and ``end_time`` of the list of runs, in Unix seconds."""

SERVICE_ZONE = dt.timezone(dt.timedelta(hours=8))
"""The list of runs is cut into calendar months of this zone (docs, api/worker-runs/list)."""

# The oldest run id seen was made on 2026-03-11 (docs, the example of every run), and the oldest public client of the
# service is of 2026-03-18. Two years before that leave room for older ones.
FIRST_MOMENT = dt.datetime(2024, 1, 1, tzinfo=SERVICE_ZONE)
"""No run was created earlier."""

# Only a bound for computing: no correct id and no correct clock goes beyond it.
LAST_MOMENT = dt.datetime(2099, 12, 31, 23, 59, 59, tzinfo=SERVICE_ZONE)
"""Later times are not believed."""

_FIRST_SECOND = FIRST_MOMENT.timestamp()
_LAST_SECOND = LAST_MOMENT.timestamp()
# A certificate is good for 398 days at most (CA/Browser Forum, baseline requirements 6.3.2): a machine whose clock is
# wrong by more could not have reached the service over TLS.
_MAX_CLOCK_DIFFERENCE = 398 * 86_400.0

# How far the two clocks of a machine may drift apart between two answers; if they do more, one was set or stood still.
_MAX_DRIFT = 5.0

_BASE32 = {letter: value for value, letter in enumerate("0123456789ABCDEFGHJKMNPQRSTVWXYZ")}
_TIME_LETTERS = 10
_ULID_LETTERS = 26


def check_aware(name: str, value: dt.datetime) -> dt.datetime:
    """Return *value* in UTC when it is aware of its time zone."""
    if not isinstance(value, dt.datetime):
        raise TypeError(f"{name} must be a datetime, not {value!r}")
    if value.tzinfo is None or value.utcoffset() is None:
        raise ValueError(f"{name} must be an aware datetime, for example with tzinfo=datetime.UTC, not {value!r}")
    try:
        moment = value.astimezone(dt.UTC)
        moment.astimezone(SERVICE_ZONE)
    except OverflowError:
        raise ValueError(f"{name} must be a datetime that UTC and UTC+8 can represent, not {value!r}") from None
    return moment


def check_unix(name: str, value: dt.datetime) -> int:
    """Return the Unix seconds of *value* when it is aware of its time zone and not before 1970."""
    seconds = int(check_aware(name, value).timestamp())
    if seconds < 0:
        raise ValueError(f"{name} must be 1970-01-01 UTC or later, not {value}")
    return seconds


def moment_of(seconds: float) -> dt.datetime:
    """Return Unix seconds as a datetime in UTC, moved into the range from `FIRST_MOMENT` to `LAST_MOMENT`."""
    # Written so that NaN becomes the first moment.
    if not seconds > _FIRST_SECOND:
        return FIRST_MOMENT.astimezone(dt.UTC)
    return dt.datetime.fromtimestamp(min(seconds, _LAST_SECOND), dt.UTC)


def month_of(moment: dt.datetime) -> tuple[int, int]:
    """Return year and month of *moment* as the service counts them."""
    local = moment.astimezone(SERVICE_ZONE)
    return local.year, local.month


def month_windows(since: dt.datetime, until: dt.datetime) -> list[TimeWindow]:
    """
    Return ``start_time`` and ``end_time`` of each month from *until* back to *since*, newest first.

    Both are day starts in UTC+8: the service adds a day to ``end_time``, and refuses a window that then crosses into
    another month (docs, api/worker-runs/list). So a window holds whole days, up to one more than asked for at each end.
    No month before `FIRST_MOMENT` and none after `LAST_MOMENT` is among them: no run can be in those.
    """
    first = max(since, FIRST_MOMENT).astimezone(SERVICE_ZONE).date()
    last = min(until, LAST_MOMENT).astimezone(SERVICE_ZONE).date()
    windows: list[TimeWindow] = []
    while first <= last:
        month_start = last.replace(day=1)
        windows.append((_day_start(max(first, month_start)), _day_start(last)))
        if first >= month_start:
            break
        last = month_start - dt.timedelta(days=1)
    return windows


def month_window(month: tuple[int, int]) -> TimeWindow:
    """Return ``start_time`` and ``end_time`` of a whole month."""
    first = dt.date(*month, 1)
    next_first = (first + dt.timedelta(days=31)).replace(day=1)
    return _day_start(first), _day_start(next_first - dt.timedelta(days=1))


def _day_start(day: dt.date) -> int:
    return int(dt.datetime(day.year, day.month, day.day, tzinfo=SERVICE_ZONE).timestamp())


@functools.lru_cache(maxsize=16_384)  # Each poll asks for a watched run again.
def creation_time(run_id: str) -> float | None:
    """
    Return when the run was created in Unix seconds, or None when its id does not tell.

    Run slugs are ULIDs, whose first ten characters count milliseconds. That was observed and is not documented, so it
    is only a hint. An id with a time before `FIRST_MOMENT` or after `LAST_MOMENT` is no ULID and does not tell.
    """
    if len(run_id) != _ULID_LETTERS:
        return None
    milliseconds = 0
    for letter in run_id[:_TIME_LETTERS].upper():
        value = _BASE32.get(letter)
        if value is None:
            return None
        milliseconds = milliseconds * 32 + value
    seconds = milliseconds / 1000
    return seconds if _FIRST_SECOND <= seconds <= _LAST_SECOND else None


def date_of(headers: Mapping[str, str]) -> float | None:
    """Return the ``Date`` of an answer in Unix seconds; None without one that the service can have sent."""
    return _service_date(headers.get("date", ""))


class SeenDate(NamedTuple):
    """
    The ``Date`` of an answer, and when it came by both clocks of this machine.

    The monotonic clock tells how long ago that was, even if the other clock is set in the meantime. It may stand still
    while the machine sleeps. So the service's clock may be ahead of the computed time, but it is never behind by more
    than the answer took to come.

    Attributes:
        date: The header, or an empty string.
        received_at: When the answer came, in Unix seconds.
        monotonic: The same by the monotonic clock.
    """

    date: str = ""
    received_at: float = 0.0
    monotonic: float = 0.0

    @property
    def difference(self) -> float | None:
        """
        How many seconds the service's clock was ahead of this machine's then, or None when nobody can tell.

        A difference of more than 398 days is not believed, whichever of the two clocks is wrong.
        """
        shown = _service_date(self.date)
        if shown is None or not abs(shown - self.received_at) <= _MAX_CLOCK_DIFFERENCE:
            return None
        return shown - self.received_at

    def service_time(self, monotonic: float) -> float | None:
        """Return what the service's clock shows at a time of the monotonic clock; None when nobody can tell."""
        difference = self.difference
        return None if difference is None else self.received_at + difference + monotonic - self.monotonic

    def is_trusted(self, now: float, monotonic: float) -> bool:
        """Return whether both clocks of this machine say that the same time has passed since then."""
        passed = monotonic - self.monotonic
        return self.difference is not None and abs(now - self.received_at - passed) <= _MAX_DRIFT


class ClockSteps:
    """How far the clock of this machine was set between the times it was read; its datetimes may be wrong by that."""

    def __init__(self) -> None:
        self._now = 0.0
        self._least = float("inf")
        self._most = float("-inf")

    def note(self, now: float, monotonic: float) -> None:
        """Record what both clocks of this machine show."""
        self._now = now - monotonic
        self._least, self._most = min(self._least, self._now), max(self._most, self._now)

    @property
    def back(self) -> float:
        """How many seconds the clock may be slow because it was set, 0 or more."""
        return self._most - self._now

    @property
    def ahead(self) -> float:
        """How many seconds the clock may be fast because it was set, 0 or more."""
        return self._now - self._least


def _service_date(text: str) -> float | None:
    date = http_date(text)
    return date if date is not None and date >= _FIRST_SECOND else None


@functools.lru_cache(maxsize=16)  # The date of the last answer tells the service's time again and again.
def http_date(text: str) -> float | None:
    """
    Return an HTTP date in Unix seconds, or None when it cannot be read; its oldest form names no zone and is GMT.

    A date before 1970 or after `LAST_MOMENT` counts as unreadable.
    """
    try:
        date = parsedate_to_datetime(text)
        seconds = (date if date.tzinfo else date.replace(tzinfo=dt.UTC)).timestamp()
    except Exception:  # noqa: BLE001 - the parser of the standard library fails on garbage in more ways than it says
        return None
    return seconds if 0 <= seconds <= _LAST_SECOND else None
