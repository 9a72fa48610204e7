"""The short way for the record that lists are full of: a run with all its documented members, and no others."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from operator import itemgetter
from typing import Any

from coreclaw_async.models import Run, RunStatus

# The 13 members of the contract's example, in the order in which they are unpacked below.
_MEMBERS = (
    "slug", "scraper_slug", "scraper_title", "version", "origin", "err_msg", "status",
    "results", "traffic", "duration", "started_at", "finished_at", "usage",
)  # fmt: skip
_take = itemgetter(*_MEMBERS)
STATUSES = {status.value: status for status in RunStatus}
_LATEST = 10**11
_new = Run.__new__
# Slot descriptors: a frozen attrs class sets its members through object.__setattr__, by name, which takes twice as
# long. The object is not known to anybody yet.
_set_run_id, _set_worker_id, _set_worker_title, _set_version, _set_origin, _set_error_message = (
    getattr(Run, name).__set__ for name in ("run_id", "worker_id", "worker_title", "version", "origin", "error_message")
)
_set_status, _set_result_count, _set_traffic, _set_duration, _set_started_at, _set_finished_at = (
    getattr(Run, name).__set__
    for name in ("status", "result_count", "traffic", "duration", "started_at", "finished_at")
)
_set_usage: Callable[[Run, Decimal], None] = Run.usage.__set__  # type: ignore[union-attr]
_set_extra: Callable[[Run, dict[str, Any]], None] = Run.extra.__set__  # type: ignore[attr-defined]
_from_timestamp = dt.datetime.fromtimestamp
_UTC = dt.UTC
# Sums beyond these are no money, and cannot be added up, stored or shown; in powers of ten.
_LEAST, _MOST = -30, 15


def is_amount(value: Decimal) -> bool:
    """Return whether *value* can be a sum of money: finite, and neither absurdly large nor absurdly small."""
    return value.is_finite() and _LEAST <= value.adjusted() < _MOST


def structure_run(record: Any) -> Run | None:
    """Return the run in *record*, or None when it is not shaped like the contract's example to the letter."""
    try:
        if len(record) != len(_MEMBERS):
            return None
        (
            run_id, worker_id, worker_title, version, origin, error_message, status,
            results, traffic, duration, started_at, finished_at, usage,
        ) = _take(record)  # fmt: skip
        if not (
            type(run_id) is type(worker_id) is type(worker_title) is type(version) is type(origin) is str
            and type(error_message) is type(usage) is str
            and type(results) is type(traffic) is type(duration) is type(started_at) is type(finished_at) is int
            and 0 <= started_at < _LATEST
            and 0 <= finished_at < _LATEST
        ):
            return None
        amount = Decimal(usage)
        seconds = float(duration)
        if not (amount.is_finite() and _LEAST <= amount.adjusted() < _MOST):  # `is_amount`, without a call.
            return None
        run = _new(Run)
        _set_status(run, STATUSES[status])
    except (KeyError, TypeError, IndexError, InvalidOperation, OverflowError):
        return None
    _set_usage(run, amount)
    _set_run_id(run, run_id)
    _set_worker_id(run, worker_id)
    _set_worker_title(run, worker_title)
    _set_version(run, version)
    _set_origin(run, origin)
    _set_error_message(run, error_message)
    _set_result_count(run, results)
    _set_traffic(run, traffic)
    _set_duration(run, seconds)
    _set_started_at(run, _from_timestamp(started_at, _UTC) if started_at else None)
    _set_finished_at(run, _from_timestamp(finished_at, _UTC) if finished_at else None)
    _set_extra(run, {})
    return run
