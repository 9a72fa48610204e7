"""What the runs of a batch add up to: in all, for each worker, and for each day. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

import attrs

from coreclaw_async._data.record import Model
from coreclaw_async._wire.request import shown_worker
from coreclaw_async.batch._items import BatchItemState
from coreclaw_async.batch._ledger.spending import exact_sum


@attrs.frozen(kw_only=True)
class RunsAlike:
    """
    Runs that have worker, day, state and cost in common.

    Attributes:
        worker_id: The worker, as it was planned; None where a ledger of an older version does not tell.
        day: The day of their end, or of their start while they go on, in UTC, such as ``2026-11-26``; or None.
        state: ``submitted``, ``done`` or ``failed``.
        cost: What each has cost, in US dollars, or None.
        count: How many there are.
        result_count: Rows that they have found together, as far as it is known.
        counted: Those of them whose rows are known.
        empty: Those of them that succeeded without a row.
    """

    worker_id: str | None
    day: str | None
    state: BatchItemState
    cost: Decimal | None
    count: int
    result_count: int
    counted: int
    empty: int = 0


@attrs.frozen(kw_only=True, repr=False)
class RunTotals(Model):
    """
    What a number of runs have come to.

    Attributes:
        runs: How many there were.
        done: Those of them that succeeded.
        failed: Those of them that did not.
        empty: Those that succeeded without a row, as far as it is known.
        result_count: Rows that they have found, as far as it is known.
        unknown_rows: Runs that have ended and whose rows the service has not counted.
        cost: What they have cost, in US dollars, as far as that is known; exact.
        unknown_costs: Runs that have ended and whose cost nobody knows.

    Example::

        report = await batch.report()
        for worker_id, totals in report.by_worker.items():
            print(worker_id, totals.runs, totals.failed, totals.cost)
    """

    runs: int = 0
    done: int = 0
    failed: int = 0
    empty: int = 0
    result_count: int = 0
    unknown_rows: int = 0
    cost: Decimal = Decimal(0)
    unknown_costs: int = 0


@attrs.frozen(kw_only=True)
class Totals:
    """
    What the runs of a batch have come to.

    Attributes:
        all: All of them.
        by_worker: Those of each worker.
        by_day: Those of each day in UTC, in order.
    """

    all: RunTotals
    by_worker: Mapping[str, RunTotals]
    by_day: Mapping[str, RunTotals]

    @classmethod
    def of(cls, groups: Sequence[RunsAlike]) -> Totals:
        """Return the sums of *groups*."""
        return cls(
            all=_sum_of(groups),
            by_worker=_split(groups, lambda group: None if group.worker_id is None else shown_worker(group.worker_id)),
            by_day=_split(groups, lambda group: group.day),
        )


def _split(groups: Sequence[RunsAlike], name_of: Callable[[RunsAlike], str | None]) -> dict[str, RunTotals]:
    parts: dict[str, list[RunsAlike]] = {}
    for group in groups:
        name = name_of(group)
        if name is not None:
            parts.setdefault(name, []).append(group)
    return {name: _sum_of(parts[name]) for name in sorted(parts)}


def _sum_of(groups: Sequence[RunsAlike]) -> RunTotals:
    ended = [group for group in groups if group.state is not BatchItemState.SUBMITTED]
    return RunTotals(
        runs=sum(group.count for group in groups),
        done=sum(group.count for group in groups if group.state is BatchItemState.DONE),
        failed=sum(group.count for group in groups if group.state is BatchItemState.FAILED),
        empty=sum(group.empty for group in groups),
        result_count=sum(group.result_count for group in groups),
        unknown_rows=sum(group.count - group.counted for group in ended),
        cost=exact_sum((group.cost, group.count) for group in groups if group.cost is not None),
        unknown_costs=sum(group.count for group in ended if group.cost is None),
    )
