"""The state machine of items: which state may follow which, and no other."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coreclaw_async import BatchItem, BatchItemState, ItemOrigin
from coreclaw_async.batch import IllegalStepError
from coreclaw_async.batch._item_steps import (
    to_ended,
    to_given_up,
    to_held,
    to_intent,
    to_planned,
    to_rejected,
    to_submitted,
)

STEPS = {
    "intended": lambda item: to_intent(item, at=5.0, callback_url="https://hub/x"),
    "submitted": lambda item: to_submitted(item, "R1", ItemOrigin.ANSWER),
    "planned_again": lambda item: to_planned(item, ItemOrigin.NOT_SENT, "not sent"),
    "held": lambda item: to_held(item, ("R1", "R2")),
    "done": lambda item: to_ended(item, is_success=True, result_count=3, cost=Decimal("0.1"), error=None),
    "failed": lambda item: to_ended(item, is_success=False, result_count=0, cost=None, error="it failed"),
    "rejected": lambda item: to_rejected(item, "11000"),
    "given_up": lambda item: to_given_up(item, ("R1",)),
}
ALLOWED = {
    ("planned", "intended"): "intent",
    ("intent", "submitted"): "submitted",
    ("intent", "planned_again"): "planned",
    ("intent", "held"): "ambiguous",
    ("intent", "rejected"): "rejected",
    ("intent", "given_up"): "failed",
    ("submitted", "done"): "done",
    ("submitted", "failed"): "failed",
    ("ambiguous", "submitted"): "submitted",
    ("ambiguous", "planned_again"): "planned",
    ("failed", "planned_again"): "planned",
    ("failed", "submitted"): "submitted",
    ("rejected", "planned_again"): "planned",
    ("cancelled", "planned_again"): "planned",
}


def an_item(state: BatchItemState = BatchItemState.PLANNED, **members: object) -> BatchItem:
    return BatchItem(batch="b", key="k", position=0, worker_id="w", input_sha256="0", state=state, **members)  # type: ignore[arg-type]


@pytest.mark.parametrize("state", BatchItemState)
@pytest.mark.parametrize("step", STEPS)
def test_only_the_drawn_steps_can_be_taken(state: BatchItemState, step: str) -> None:
    item = an_item(state)
    after = ALLOWED.get((state.value, step))
    if after is None:
        with pytest.raises(IllegalStepError, match=f"item 'k' is {state} and cannot become"):
            STEPS[step](item)
    else:
        assert STEPS[step](item).state == after


@given(st.lists(st.sampled_from(sorted(STEPS)), max_size=30))
def test_an_item_with_a_run_never_is_without_one_unless_somebody_says_so(steps: list[str]) -> None:
    item = an_item()
    attempts = 0
    for step in steps:
        try:
            after = STEPS[step](item)
        except IllegalStepError:
            continue
        attempts += step == "intended"
        assert after.attempt == attempts
        if after.state in {BatchItemState.SUBMITTED, BatchItemState.DONE}:
            assert after.run_id == "R1"
        if item.state is BatchItemState.SUBMITTED:
            assert after.state in {BatchItemState.DONE, BatchItemState.FAILED}
            assert after.run_id == item.run_id
        if after.state is BatchItemState.PLANNED:
            assert (after.run_id, after.callback_url, after.intent_at, after.candidates) == (None, None, None, ())
        item = after


def test_what_is_open_is_what_run_has_to_do() -> None:
    assert {state for state in BatchItemState if state.is_open} == {"planned", "intent", "submitted"}


def test_the_url_of_a_start_is_in_no_repr() -> None:
    assert "secret" not in repr(an_item(callback_url="https://hub/secret"))
