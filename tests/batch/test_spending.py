"""What a batch may cost: exact sums, unknown costs as the worst case, and a start only where it is covered."""

from __future__ import annotations

import itertools
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coreclaw_async import BatchItem, BatchItemState, ItemOrigin
from coreclaw_async.batch._item_steps import (
    to_ended,
    to_given_up,
    to_held,
    to_intent,
    to_planned,
    to_rejected,
    to_submitted,
)
from coreclaw_async.batch._ledger.spending import Spending, exact_sum, known_cost
from coreclaw_async.batch._totals import RunsAlike, Totals

PLANNED = BatchItem(batch="b", key="k", position=0, worker_id="w", input_sha256="0")
INTENT = to_intent(PLANNED, at=1.0, callback_url=None)
SUBMITTED = to_submitted(INTENT, "R", ItemOrigin.ANSWER)
HELD = to_held(INTENT, ("R",))


def ended(cost: str | None, *, is_success: bool = True) -> BatchItem:
    return to_ended(
        SUBMITTED, is_success=is_success, result_count=1, cost=None if cost is None else Decimal(cost), error=None
    )


def after(*items: BatchItem, max_spend: str = "10") -> Spending:
    """Return the spending of one item that was all of *items*, one after another."""
    spending = Spending(Decimal(max_spend))
    for before, later in itertools.pairwise(items):
        spending = spending.after(before, later)
    return spending


@pytest.mark.parametrize(
    ("items", "open_runs", "unknown", "spent"),
    [
        ((PLANNED, INTENT), 1, 0, "0"),
        ((PLANNED, INTENT, to_planned(INTENT, ItemOrigin.NOT_SENT)), 0, 0, "0"),
        ((PLANNED, INTENT, to_planned(INTENT, ItemOrigin.NOT_ACCEPTED)), 0, 0, "0"),
        ((PLANNED, INTENT, to_planned(INTENT, ItemOrigin.POLICY)), 0, 1, "0"),
        ((PLANNED, INTENT, to_rejected(INTENT, "no")), 0, 0, "0"),
        ((PLANNED, INTENT, to_given_up(INTENT, ("R",))), 0, 1, "0"),
        ((PLANNED, INTENT, SUBMITTED), 1, 0, "0"),
        ((PLANNED, INTENT, HELD), 1, 0, "0"),
        ((PLANNED, INTENT, HELD, to_planned(HELD, ItemOrigin.PERSON)), 0, 0, "0"),
        ((PLANNED, INTENT, HELD, to_submitted(HELD, "R", ItemOrigin.PERSON)), 1, 0, "0"),
        ((PLANNED, INTENT, SUBMITTED, ended("0.25")), 0, 0, "0.25"),
        ((PLANNED, INTENT, SUBMITTED, ended(None)), 0, 1, "0"),
        ((PLANNED, INTENT, SUBMITTED, ended("0.25", is_success=False)), 0, 0, "0.25"),
        (
            (
                PLANNED, INTENT, SUBMITTED, ended("0.25", is_success=False),
                to_planned(ended("0.25", is_success=False), ItemOrigin.PERSON),
            ),
            0, 0, "0.25",
        ),
    ],
)  # fmt: skip
def test_each_step_counts_what_may_be_paid_for(
    items: tuple[BatchItem, ...], open_runs: int, unknown: int, spent: str
) -> None:
    spending = after(*items)

    assert (spending.open_runs, spending.unknown_costs, spending.spent) == (open_runs, unknown, Decimal(spent))


@pytest.mark.parametrize(
    ("spending", "is_allowed"),
    [
        (Spending(Decimal(3)), True),
        (Spending(Decimal(3), open_runs=1), False),
        (Spending(Decimal(3), unknown_costs=1), False),
        (Spending(Decimal(3), spent=Decimal(1), highest=Decimal(1), known_costs=1), True),
        (Spending(Decimal(9), spent=Decimal(1), highest=Decimal(1), known_costs=1, open_runs=1), False),
        (Spending(Decimal(3), spent=Decimal(1), highest=Decimal(1), known_costs=9, open_runs=1), True),
        (
            Spending(Decimal(3), spent=Decimal(1), highest=Decimal(1), known_costs=9, open_runs=1, unknown_costs=1),
            False,
        ),
        (Spending(Decimal(3), spent=Decimal(3), highest=Decimal(1)), False),
        (Spending(Decimal("2.9"), spent=Decimal(2), highest=Decimal(1)), False),
        (Spending(Decimal(3), spent=Decimal("2.0000000000000000000000000000001"), highest=Decimal(1)), False),
    ],
)
def test_a_start_is_covered_at_the_price_of_the_dearest_run(spending: Spending, is_allowed: bool) -> None:
    assert spending.allows_start is is_allowed
    assert Spending.of_row(spending.to_row()) == spending


COSTS = st.decimals("0", "1000", allow_nan=False, allow_infinity=False, places=20)


@given(st.lists(st.tuples(st.none() | COSTS, st.booleans()), min_size=1, max_size=40), st.decimals("1", "50", places=2))
def test_only_a_run_that_is_dearer_than_any_before_exceeds_the_budget(
    runs: list[tuple[Decimal | None, bool]], max_spend: Decimal
) -> None:
    spending = Spending(max_spend)
    flying: list[Decimal | None] = []
    flew = Decimal(0)

    def land() -> None:
        nonlocal flew, spending
        cost = flying.pop(0)
        flew += cost or Decimal(0)
        spending = spending.after(SUBMITTED, ended(None if cost is None else str(cost)))

    is_dearer = False
    for cost, waits in runs:
        while flying and (waits or not spending.allows_start):
            land()
        if not spending.allows_start:
            break
        spending = spending.after(PLANNED, INTENT)
        flying.append(cost)
        is_dearer |= cost is not None and cost > spending.highest
        is_dearer |= cost is None  # It may be dearer than any other.
    while flying:
        land()

    assert spending.open_runs == 0
    assert spending.spent == flew
    assert spending.spent <= max_spend or is_dearer


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        (None, None),
        (Decimal("NaN"), None),
        (Decimal("Infinity"), None),
        (Decimal(-5), None),
        (Decimal("0." + "1" * 61), None),
        (Decimal(0), Decimal(0)),
        (Decimal("0.1000000000000000001"), Decimal("0.1000000000000000001")),
    ],
)
def test_what_no_run_can_cost_is_unknown(usage: Decimal | None, cost: Decimal | None) -> None:
    assert known_cost(usage) == cost


def test_sums_are_exact() -> None:
    amount = Decimal("0.1000000000000000001")

    assert exact_sum([(amount, 2), (Decimal("0.2"), 1)]) == Decimal("0.4000000000000000002")


def test_totals_are_split_by_worker_and_by_day() -> None:
    def group(worker_id: str | None, day: str | None, state: str, cost: str | None, count: int) -> RunsAlike:
        return RunsAlike(
            worker_id=worker_id,
            day=day,
            state=BatchItemState(state),
            cost=None if cost is None else Decimal(cost),
            count=count,
            result_count=10 * count,
            counted=count - 1,
            empty=1 if state == "done" else 0,
        )

    totals = Totals.of(
        [
            group("b", "2026-11-26", "done", "0.5", 2),
            group("a", "2026-11-25", "failed", None, 1),
            group("a", "2026-11-26", "submitted", None, 3),
            group(None, None, "done", "0.25", 1),
        ]
    )

    assert (totals.all.runs, totals.all.done, totals.all.failed, totals.all.unknown_costs) == (7, 3, 1, 1)
    assert (totals.all.unknown_rows, totals.by_worker["a"].unknown_rows) == (3, 1)
    assert (totals.all.cost, totals.all.result_count) == (Decimal("1.25"), 70)
    assert (totals.all.empty, totals.by_worker["a"].empty, totals.by_worker["b"].empty) == (2, 0, 1)
    assert list(totals.by_worker) == ["a", "b"]
    assert (totals.by_worker["a"].runs, totals.by_worker["b"].cost) == (4, Decimal(1))
    assert list(totals.by_day) == ["2026-11-25", "2026-11-26"]
    assert totals.by_day["2026-11-26"].runs == 5


def test_a_worker_is_named_in_sums_as_people_write_it() -> None:
    alike = [
        RunsAlike(
            worker_id=worker_id,
            day=None,
            state=BatchItemState.DONE,
            cost=None,
            count=1,
            result_count=1,
            counted=1,
            empty=0,
        )
        for worker_id in ("owner~name", "owner/name", "01HZX")
    ]

    assert {name: sums.runs for name, sums in Totals.of(alike).by_worker.items()} == {"owner/name": 2, "01HZX": 1}
