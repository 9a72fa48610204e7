"""Calendar months in UTC+8, by which the service keeps its runs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from coreclaw_async.testing._api.answers import RefusedError

_ZONE = timezone(timedelta(hours=8))
_DAY = 86_400


def run_window(query: Mapping[str, Any], now: float) -> tuple[float, float]:
    """
    Return the times of creation that a list of runs covers: from the first up to and without the second.

    Without times it is the current month. `end_time` is the start of a day, and the whole day counts.

    Raises:
        RefusedError: 400 with 11000 for one time without the other, the wrong order, or a window that leaves its month.
    """
    if "start_time" not in query and "end_time" not in query:
        return month_bounds(now)
    if "start_time" not in query or "end_time" not in query:
        raise RefusedError(400, 11000, "start_time and end_time must be given together")
    start, end = query["start_time"], query["end_time"] + _DAY
    if query["end_time"] < start:
        raise RefusedError(400, 11000, "start_time must not be after end_time")
    if end > month_bounds(start)[1]:
        raise RefusedError(400, 11000, "run list time range cannot cross months")
    return start, end


def month_bounds(unix: float) -> tuple[float, float]:
    """Return when the month of `unix` begins and when the next one does, in Unix seconds."""
    moment = datetime.fromtimestamp(unix, UTC).astimezone(_ZONE)
    first = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = (first + timedelta(days=32)).replace(day=1)
    return first.timestamp(), following.timestamp()
