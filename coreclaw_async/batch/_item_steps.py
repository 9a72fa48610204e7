"""The steps of an item from one state to the next: which may follow which, and what it then says. No I/O."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from decimal import Decimal
from pathlib import Path

import attrs

from coreclaw_async.batch._items import BatchItem, BatchItemState, IllegalStepError, ItemOrigin
from coreclaw_async.models import Verdict

# What an item says that has no run, or is to have another one.
_WITHOUT_RUN: dict[str, object] = {
    "run_id": None,
    "how": None,
    "candidates": (),
    "result_count": None,
    "cost": None,
    "submitted_at": None,
    "ended_at": None,
    "path": None,
    "row_count": None,
    "verdict": None,
    "cancel_requested": 0,
    "error": None,
}


def to_intent(item: BatchItem, *, at: float, callback_url: str | None) -> BatchItem:
    """Return *item* with its next start about to be sent."""
    return _step(
        item,
        {BatchItemState.PLANNED},
        BatchItemState.INTENT,
        attempt=item.attempt + 1,
        intent_at=at,
        callback_url=callback_url,
        **_WITHOUT_RUN,
    )


def to_submitted(item: BatchItem, run_id: str, how: ItemOrigin, *, at: float | None = None) -> BatchItem:
    """Return *item* with its run, which was started at *at*, or when its start was about to be sent."""
    return _step(
        item,
        {BatchItemState.INTENT, BatchItemState.AMBIGUOUS, BatchItemState.FAILED},
        BatchItemState.SUBMITTED,
        run_id=run_id,
        how=how,
        candidates=(),
        result_count=None,
        cost=None,
        submitted_at=item.intent_at if at is None else at,
        ended_at=None,
        verdict=None,
        error=None,
    )


def to_planned(item: BatchItem, how: ItemOrigin, error: str | None = None) -> BatchItem:
    """
    Return *item* waiting to be started again: it has no run, or will have another one.

    An item that was cancelled while its start was being sent is taken out instead.
    """
    is_cancelled = item.state is BatchItemState.INTENT and item.cancel_requested
    return _step(
        item,
        {
            BatchItemState.INTENT,
            BatchItemState.AMBIGUOUS,
            BatchItemState.FAILED,
            BatchItemState.REJECTED,
            BatchItemState.CANCELLED,
        },
        BatchItemState.CANCELLED if is_cancelled else BatchItemState.PLANNED,
        intent_at=None,
        callback_url=None,
        **_WITHOUT_RUN | {"how": how, "error": "cancelled" if is_cancelled else error},
    )


def to_held(item: BatchItem, candidates: tuple[str, ...]) -> BatchItem:
    """Return *item* held: a person must decide on it."""
    why = "one of the candidates may be its run, or none"
    return _step(item, {BatchItemState.INTENT}, BatchItemState.AMBIGUOUS, candidates=candidates, error=why)


def to_ended(
    item: BatchItem,
    *,
    is_success: bool,
    result_count: int | None,
    cost: Decimal | None,
    error: str | None,
    at: float | None = None,
    path: Path | None = None,
    row_count: int | None = None,
    verdict: Verdict | None = None,
) -> BatchItem:
    """Return *item* after the end of its run, with its rows in the file at *path* if one was asked for."""
    return _step(
        item,
        {BatchItemState.SUBMITTED},
        BatchItemState.DONE if is_success else BatchItemState.FAILED,
        result_count=result_count,
        cost=cost,
        ended_at=at,
        path=path,
        row_count=row_count,
        verdict=verdict,
        error=error,
    )


def with_file(item: BatchItem, path: Path, row_count: int, verdict: Verdict | None) -> BatchItem:
    """Return *item*, which has ended, with its rows in a file, after a look at them."""
    states = {BatchItemState.DONE, BatchItemState.FAILED}
    return _step(item, states, item.state, path=path, row_count=row_count, verdict=verdict)


def with_cost(item: BatchItem, cost: Decimal) -> BatchItem:
    """Return *item*, which has ended, with the cost of its run, which the service told later."""
    return _step(item, {BatchItemState.DONE, BatchItemState.FAILED}, item.state, cost=cost)


def to_retry(item: BatchItem, error: str) -> BatchItem:
    """Return *item* after a failed run, waiting for another one."""
    failed = _step(item, {BatchItemState.SUBMITTED}, BatchItemState.FAILED)
    return to_planned(failed, ItemOrigin.RETRY, error)


def to_rejected(item: BatchItem, error: str) -> BatchItem:
    """Return *item* as the service refused it for good."""
    return _step(item, {BatchItemState.INTENT}, BatchItemState.REJECTED, how=ItemOrigin.ANSWER, error=error)


def to_given_up(item: BatchItem, candidates: tuple[str, ...]) -> BatchItem:
    """Return *item* as failed, because it cannot be found out which run it has."""
    return _step(
        item,
        {BatchItemState.INTENT},
        BatchItemState.FAILED,
        how=ItemOrigin.POLICY,
        candidates=candidates,
        error="a run may have been started; it cannot be found out which one",
    )


def after_cancel(item: BatchItem, requested: int, before: BatchItem, ended: BatchItem | None) -> BatchItem:
    """
    Return what *item* is when it was cancelled since it was read as *before*.

    Args:
        item: What it was to become.
        requested: The request, 1 or 2.
        before: What it was read as.
        ended: How its run has ended, where it was to wait for another one, which it does not get.
    """
    if ended is not None:
        return attrs.evolve(ended, cancel_requested=requested)
    if item.state is BatchItemState.PLANNED and item.how is not None:
        return to_planned(attrs.evolve(before, cancel_requested=requested), item.how, item.error)
    return attrs.evolve(item, cancel_requested=requested)


def _step(item: BatchItem, before: AbstractSet[BatchItemState], state: BatchItemState, **changes: object) -> BatchItem:
    if item.state not in before:
        raise IllegalStepError(f"item {item.key!r} is {item.state} and cannot become {state}")
    return attrs.evolve(item, state=state, **changes)  # type: ignore[arg-type]
