"""How items and runs stand in the tables of a ledger: columns, and values for them. No I/O."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

from coreclaw_async._wire.timestamps import moment_of
from coreclaw_async.batch._items import BatchItem, BatchItemRun, BatchItemState, ItemOrigin
from coreclaw_async.batch._store.database import SqlRow
from coreclaw_async.batch._totals import RunsAlike
from coreclaw_async.errors import printable

PLANNED = ("batch", "key", "position", "worker_id", "version", "priority", "retries", "run_timeout", "input_sha256")
CHANGING = (
    "state", "attempt", "callback_url", "intent_at", "run_id", "how", "candidates", "result_count", "cost",
    "submitted_at", "ended_at", "path", "row_count", "cancel_requested", "error",
)  # fmt: skip
COLUMNS = ", ".join((*PLANNED, *CHANGING))
CHANGES = ", ".join(f"{column} = ?" for column in CHANGING)
RUN_COLUMNS = "run_id, attempt, how, state, result_count, cost, submitted_at, ended_at, error"
# A sum of numbers of 64 bits, as two sums that cannot overflow.
HALF = 2**32
_MOST_LETTERS = 2_000
_LARGEST = 2**63 - 1


def bounded(number: int | None) -> int | None:
    """Return a number of the service's as a column can hold it, whatever it has sent."""
    return None if number is None else max(-_LARGEST, min(number, _LARGEST))


def text_of(value: object) -> str | None:
    """Return a text of the service's, or an amount, as a column can hold it."""
    return None if value is None else printable(str(value))[:_MOST_LETTERS]


def day_of(moment: float | None) -> str:
    """Return the day of a moment in UTC, or nothing where it is unknown."""
    return "" if moment is None else moment_of(int(moment)).date().isoformat()


def runs_alike(row: SqlRow) -> RunsAlike:
    worker_id, day, state, cost, count, high, low = row
    return RunsAlike(
        worker_id=worker_id,
        day=day or None,
        state=BatchItemState(state),
        cost=None if cost is None else Decimal(cost),
        count=int(count),
        result_count=int(high or 0) * HALF + int(low or 0),
    )


def changing_values(item: BatchItem) -> SqlRow:
    """Return the values of the columns that change."""
    return (
        item.state.value, item.attempt, item.callback_url, item.intent_at, item.run_id,
        None if item.how is None else item.how.value, json.dumps(item.candidates), bounded(item.result_count),
        text_of(item.cost), item.submitted_at, item.ended_at, None if item.path is None else str(item.path),
        item.row_count, item.cancel_requested, text_of(item.error),
    )  # fmt: skip


def item_of(row: SqlRow) -> BatchItem:
    members = dict(zip((*PLANNED, *CHANGING), row, strict=True))
    members["state"] = BatchItemState(members["state"])
    members["how"] = None if members["how"] is None else ItemOrigin(members["how"])
    members["candidates"] = tuple(json.loads(members["candidates"]))
    members["cost"] = None if members["cost"] is None else Decimal(members["cost"])
    members["path"] = None if members["path"] is None else Path(members["path"])
    return BatchItem(**members)


def run_of(row: SqlRow) -> BatchItemRun:
    run_id, attempt, how, state, result_count, cost, submitted_at, ended_at, error = row
    return BatchItemRun(
        run_id=run_id,
        attempt=attempt,
        how=ItemOrigin(how),
        state=BatchItemState(state),
        result_count=result_count,
        cost=None if cost is None else Decimal(cost),
        submitted_at=submitted_at,
        ended_at=ended_at,
        error=error,
    )
