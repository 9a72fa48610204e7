"""What a batch may cost and has cost: the row of its budget, as each step of an item changes it. No I/O."""

from __future__ import annotations

import decimal
from collections.abc import Iterable
from decimal import Decimal

import attrs

from coreclaw_async.batch._items import BatchItem, BatchItemState, ItemOrigin
from coreclaw_async.batch._store.database import SqlRow, StaleError

# Sums of amounts are exact: no run's cost has more digits than `known_cost` lets through.
_EXACT = decimal.Context(prec=200, traps=[decimal.Inexact, decimal.InvalidOperation])
_MAX_DIGITS = 60
_OPEN = {BatchItemState.INTENT, BatchItemState.SUBMITTED, BatchItemState.AMBIGUOUS}
_ENDED = {BatchItemState.DONE, BatchItemState.FAILED}


class OverBudgetError(StaleError):
    """
    The start of an item would exceed the budget of its batch; nothing was written.

    Attributes:
        spending: What was spent and what goes on.
    """

    def __init__(self, spending: Spending) -> None:
        super().__init__("the budget does not cover another run")
        self.spending = spending


@attrs.frozen
class Spending:
    """
    Where a batch stands with its budget, in US dollars.

    Attributes:
        max_spend: What its runs may cost in all.
        spent: What those have cost of which it is known.
        highest: What the dearest of them has cost; 0 while no run is known to have cost anything.
        known_costs: How many those are.
        open_runs: Runs that go on or may do so, starts under way included.
        unknown_costs: Runs that have ended, or may have, and whose cost nobody knows.
    """

    max_spend: Decimal
    spent: Decimal = Decimal(0)
    highest: Decimal = Decimal(0)
    known_costs: int = 0
    open_runs: int = 0
    unknown_costs: int = 0

    @classmethod
    def of_row(cls, row: SqlRow) -> Spending:
        """Return what a row of the table ``budget`` says, its batch apart."""
        max_spend, spent, highest, *counts = row
        return cls(Decimal(max_spend), Decimal(spent), Decimal(highest), *(int(count) for count in counts))

    def to_row(self) -> SqlRow:
        """Return the row."""
        amounts = (str(self.max_spend), str(self.spent), str(self.highest))
        return *amounts, self.known_costs, self.open_runs, self.unknown_costs

    @property
    def allows_start(self) -> bool:
        """
        Whether one more run is covered even if each run of unknown cost costs as much as the dearest so far.

        Before any run is known to have cost something, there is one at a time; if it ends and its cost is unknown,
        there is no other. After that no more go on at once than have ended before, for a first one that was cheap says
        little of the others.
        """
        runs = 1 + self.open_runs + self.unknown_costs
        if not self.highest:
            return runs == 1
        if runs > max(self.known_costs, 1):
            return False
        return _EXACT.add(self.spent, _EXACT.multiply(self.highest, Decimal(runs))) <= self.max_spend

    def after(self, before: BatchItem, after: BatchItem) -> Spending:
        """Return what it is when an item has gone on from *before* to *after*."""
        spending = self
        if before.state is not BatchItemState.FAILED or after.state is not BatchItemState.PLANNED:
            spending = spending.counting(before, -1)
        if after.how is ItemOrigin.POLICY and after.state is BatchItemState.PLANNED:
            spending = attrs.evolve(spending, unknown_costs=spending.unknown_costs + 1)
        return spending.counting(after, 1)

    def counting(self, item: BatchItem, times: int) -> Spending:
        """Return what it is with an item's part in it *times* more: 1 or -1."""
        if item.state in _OPEN:
            return attrs.evolve(self, open_runs=self.open_runs + times)
        if item.state not in _ENDED:
            return self
        if item.cost is None:
            return attrs.evolve(self, unknown_costs=self.unknown_costs + times)
        return attrs.evolve(
            self,
            spent=_EXACT.add(self.spent, times * item.cost),
            highest=max(self.highest, item.cost),
            known_costs=self.known_costs + times,
        )


def cost_as_told(cost: Decimal, unknown: int) -> str:
    """Return a sum of costs as text; *unknown* is how many it lacks: what nobody knows is not zero."""
    if unknown and not cost:
        return "an unknown amount"
    return f"{'at least ' if unknown else ''}{cost} US dollars"


def known_cost(usage: Decimal | None) -> Decimal | None:
    """Return what a run cost, or None where the service does not tell, or tells what no run can cost."""
    if usage is None or not usage.is_finite() or usage < 0 or len(usage.as_tuple().digits) > _MAX_DIGITS:
        return None
    return usage


def exact_sum(amounts: Iterable[tuple[Decimal, int]]) -> Decimal:
    """Return the sum of amounts, each as often as the number beside it says."""
    total = Decimal(0)
    for amount, count in amounts:
        total = _EXACT.add(total, _EXACT.multiply(amount, Decimal(count)))
    return total
