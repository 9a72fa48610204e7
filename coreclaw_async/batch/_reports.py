"""BatchReport: counts, costs and problems of a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

import attrs

from coreclaw_async._data.counting import counted
from coreclaw_async._data.record import Model
from coreclaw_async.batch._items import BatchItem, BatchItemState
from coreclaw_async.batch._totals import RunTotals
from coreclaw_async.models import Verdict
from coreclaw_async.models._html import facts_table


@attrs.frozen(kw_only=True, repr=False)
class BatchReport(Model):
    """
    Counts, costs and problems of a batch.

    Attributes:
        name: Name of the batch.
        counts: Items in each state, zeros included.
        verdicts: Items by what their runs are worth, zeros included. An item that is done and has rows is among them
            only where its rows were written to a file (``output=``): nobody else has looked at them.
        runs: Runs that its items have had, earlier attempts included.
        result_count: Rows that they have found, as far as it is known.
        unknown_rows: Ended runs whose rows the service has not counted.
        cost: What they have cost, in US dollars, as far as it is known; exact.
        unknown_costs: Ended runs of unknown cost.
        max_spend: What they may cost, in US dollars, or None.
        by_worker: The same for each worker, as it was planned.
        by_day: The same for each day in UTC, such as ``2026-11-26``: runs count on the day on which they end.
        held: The first 100 items that a person must decide about, with their candidates; `AsyncBatch.items` has all.
        failures: The first 100 items that have failed or were refused, with the reasons; `AsyncBatch.items` has all.
        is_paused: Whether no process starts runs of the batch now.
        is_half_planned: Whether a plan broke off, so that items may be missing.
        requests: HTTP requests that this object has sent.
        wasted: Starts of those that were refused for the plan or the rate.
        in_flight_limit: Running runs that the account's plan is known to allow, or None.

    Example::

        report = await batch.report()
        print(report.counts, report.cost, "and", report.unknown_costs, "runs of unknown cost")
        for item in report.held:
            print(item.key, item.candidates)
    """

    name: str
    counts: Mapping[BatchItemState, int] = attrs.field(hash=False)
    verdicts: Mapping[Verdict, int] = attrs.field(hash=False)
    runs: int
    result_count: int
    unknown_rows: int
    cost: Decimal
    unknown_costs: int
    max_spend: Decimal | None
    by_worker: Mapping[str, RunTotals] = attrs.field(hash=False)
    by_day: Mapping[str, RunTotals] = attrs.field(hash=False)
    held: Sequence[BatchItem] = attrs.field(hash=False)
    failures: Sequence[BatchItem] = attrs.field(hash=False)
    is_paused: bool
    is_half_planned: bool
    requests: int
    wasted: int
    in_flight_limit: int | None

    @property
    def total(self) -> int:
        """All items."""
        return sum(self.counts.values())

    @property
    def is_finished(self) -> bool:
        """Whether all items have ended and the plan is complete."""
        return not self.is_half_planned and not any(count for state, count in self.counts.items() if state.is_open)

    def _repr_html_(self) -> str:
        facts: dict[str, object] = {state.value: count for state, count in self.counts.items() if count}
        facts |= {f"verdict {verdict.value}": count for verdict, count in self.verdicts.items() if count}
        facts |= {
            "runs": self.runs,
            "rows": self.result_count or (None if self.unknown_rows else 0),
            "runs of unknown rows": self.unknown_rows or None,
            "cost in USD": self.cost or (None if self.unknown_costs else self.cost),
            "unknown costs": self.unknown_costs or None,
            "budget in USD": self.max_spend,
            "paused": True if self.is_paused else None,
            "half planned": True if self.is_half_planned else None,
        }
        return facts_table(f"Batch {self.name}: {counted(self.total, 'item')}", facts)
