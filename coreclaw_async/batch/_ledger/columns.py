"""The columns of items and runs: those are the members of `BatchItem`, `BatchItemRun` and `PlannedSpec`. No I/O."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs

from coreclaw_async._wire.request import shown_worker, worker_in_path
from coreclaw_async._wire.timestamps import moment_of
from coreclaw_async.batch._items import BatchItem, BatchItemRun, BatchItemState, ItemOrigin
from coreclaw_async.batch._specs import PlannedSpec
from coreclaw_async.batch._store.database import SqlRow
from coreclaw_async.batch._totals import RunsAlike
from coreclaw_async.errors import printable
from coreclaw_async.models import Verdict

_LARGEST = 2**63 - 1
_MAX_LETTERS = 2_000
_MAX_VALUES = 500
# A sum of numbers of 64 bits, as two sums that cannot overflow.
HALF = 2**32


def names_of(kind: type[attrs.AttrsInstance]) -> tuple[str, ...]:
    """Return the members of *kind*, which are columns of its table."""
    return tuple(attribute.name for attribute in attrs.fields(kind))


PLANNED = ("batch", "position", *names_of(PlannedSpec))
"""The columns of an item that are written when it is planned, and never again."""

_ITEM = names_of(BatchItem)
_CHANGING = tuple(name for name in _ITEM if name not in PLANNED)
_RUN = names_of(BatchItemRun)
_RUN_INSERTED = ("batch", "key", "worker_id", *_RUN)
_RUN_CHANGING = ("state", "result_count", "cost", "ended_at", "error")

ITEM_COLUMNS = ", ".join(_ITEM)
ITEM_CHANGES = ", ".join(f"{name} = ?" for name in _CHANGING)
RUN_COLUMNS = ", ".join(_RUN)
RUN_INSERTED = ", ".join((*_RUN_INSERTED, "day"))
RUN_CHANGES = ", ".join(f"{name} = ?" for name in (*_RUN_CHANGING, "day"))


def _bounded(number: int) -> int:
    """Return a number from the service as a column can hold it, whatever was sent."""
    return max(-_LARGEST, min(number, _LARGEST))


def _text(value: object) -> str:
    """Return a string from the service, or an amount, as a column can hold it."""
    return printable(str(value))[:_MAX_LETTERS]


_WRITTEN: Mapping[str, Callable[[Any], object]] = {
    "worker_id": worker_in_path,
    "state": str,
    "how": str,
    "candidates": json.dumps,
    "result_count": _bounded,
    "cost": _text,
    "path": str,
    "verdict": str,
    "error": _text,
}
_READ: Mapping[str, Callable[[Any], object]] = {
    "worker_id": shown_worker,
    "state": BatchItemState,
    "how": ItemOrigin,
    "candidates": lambda text: tuple(json.loads(text)),
    "cost": Decimal,
    "path": Path,
    "verdict": Verdict,
}


def _values(record: object, names: Sequence[str]) -> SqlRow:
    values = [(name, getattr(record, name)) for name in names]
    return tuple(_WRITTEN[name](value) if name in _WRITTEN and value is not None else value for name, value in values)


def _members(row: SqlRow, names: Sequence[str]) -> dict[str, Any]:
    members = dict(zip(names, row, strict=True))
    for name, read in _READ.items():
        if members.get(name) is not None:
            members[name] = read(members[name])
    return members


def planned_values(batch: str, position: int, spec: PlannedSpec) -> SqlRow:
    """Return the values of `PLANNED`."""
    return (batch, position, *attrs.astuple(spec))


def item_changes(item: BatchItem) -> SqlRow:
    """Return the values of `ITEM_CHANGES`."""
    return _values(item, _CHANGING)


def item_of(row: SqlRow) -> BatchItem:
    """Return the item of a row of `ITEM_COLUMNS`."""
    return BatchItem(**_members(row, _ITEM))


def run_values(item: BatchItem) -> SqlRow:
    """Return the values of `RUN_INSERTED` for the run that an item has now."""
    return (*_values(item, _RUN_INSERTED), _day_of(item.submitted_at))


def run_changes(item: BatchItem) -> SqlRow:
    """Return the values of `RUN_CHANGES` for the run of an item that has gone on."""
    return (*_values(item, _RUN_CHANGING), _day_of(item.ended_at or item.submitted_at))


def run_of(row: SqlRow) -> BatchItemRun:
    """Return the run of a row of `RUN_COLUMNS`."""
    return BatchItemRun(**_members(row, _RUN))


def runs_alike(row: SqlRow) -> RunsAlike:
    """Return a group of runs, whose rows were counted in two halves (`HALF`)."""
    worker_id, day, state, cost, count, high, low, counted, empty = row
    return RunsAlike(
        worker_id=worker_id,
        day=day or None,
        state=BatchItemState(state),
        cost=None if cost is None else Decimal(cost),
        count=int(count),
        result_count=int(high or 0) * HALF + int(low or 0),
        counted=int(counted),
        empty=int(empty),
    )


def _day_of(timestamp: float | None) -> str:
    """Return the day in UTC, or nothing where it is unknown."""
    return "" if timestamp is None else moment_of(int(timestamp)).date().isoformat()


def marks(values: Iterable[object]) -> str:
    """Return a placeholder for each of *values*."""
    return ", ".join("?" for _ in values)


def chunks(values: Iterable[str]) -> Iterator[list[str]]:
    """Yield *values* in lists that one statement can take."""
    everything = list(values)
    for first in range(0, len(everything), _MAX_VALUES):
        yield everything[first : first + _MAX_VALUES]
