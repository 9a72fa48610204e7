"""What a batch writes down of each of its items: the states, and which one may follow on which. No I/O."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from decimal import Decimal
from enum import StrEnum

import attrs


class ItemState(StrEnum):
    """
    Where an item of a batch stands.

    ::

        planned ──> intent ──> submitted ──> done
           ^          │  │         │  └────> failed
           │          │  └──> ambiguous
           └──────────┘ (certainly not accepted)
        intent ──> rejected; planned ──> cancelled

    Attributes:
        PLANNED: It waits for its turn.
        INTENT: Its start is about to be sent, under way, or was lost on the way.
        SUBMITTED: It has a run that has not ended, or whose rows are not written yet.
        DONE: Its run succeeded, and its rows are in their file where that was asked for.
        FAILED: Its run ended without success.
        REJECTED: The service refused it for good; there is no run.
        AMBIGUOUS: A run may have been started and nobody can tell which one: a person decides.
        CANCELLED: It was taken out before it was started.
    """

    PLANNED = "planned"
    INTENT = "intent"
    SUBMITTED = "submitted"
    DONE = "done"
    FAILED = "failed"
    REJECTED = "rejected"
    AMBIGUOUS = "ambiguous"
    CANCELLED = "cancelled"

    @property
    def is_open(self) -> bool:
        """Whether `AsyncBatch.run` has something to do for it."""
        return self in {ItemState.PLANNED, ItemState.INTENT, ItemState.SUBMITTED}


class How(StrEnum):
    """
    How an item came to its state.

    Attributes:
        ANSWER: The service answered its start.
        LIST: The only run in the list that nothing else explains was its run.
        CALLBACK: The callback to its own URL named its run.
        PERSON: Somebody decided with `AsyncBatch.resolve`.
        NOT_SENT: Its start had certainly not left, or had certainly been refused.
        NOT_ACCEPTED: No run of it was in the list, twice, after the time in which there could be one.
        POLICY: ``on_ambiguous`` decided.
    """

    ANSWER = "answer"
    LIST = "list"
    CALLBACK = "callback"
    PERSON = "person"
    NOT_SENT = "not-sent"
    NOT_ACCEPTED = "not-accepted"
    POLICY = "policy"


class IllegalStepError(ValueError):
    """An item cannot go from the one state to the other; a fault of the program, or a decision that came too late."""


@attrs.frozen(kw_only=True)
class Item:
    """
    One item of a batch as its ledger has it.

    Attributes:
        batch: Name of the batch.
        key: What the caller calls it; unique in the batch.
        position: Its place in the plan, from 0.
        worker_id: The worker, as it was planned.
        version: The worker version that was asked for, or None.
        input_sha256: What tells its input from others, in hex.
        state: Where it stands.
        attempt: How often a start of it was about to be sent; 0 before the first time.
        callback_url: The URL that its start carried, as good as a password; or None.
        intent_at: When its start was about to be sent, in Unix seconds of the service's clock; or None.
        run_id: Its run, or None.
        how: How it came to its state, or None.
        candidates: For an ambiguous item, the runs that may be its run.
        result_count: Rows of its run, or None.
        cost: What its run cost, in US dollars, or None.
        error: Why it failed, was refused or is held; or None.
    """

    batch: str
    key: str
    position: int
    worker_id: str
    version: str | None = None
    input_sha256: str
    state: ItemState = ItemState.PLANNED
    attempt: int = 0
    callback_url: str | None = attrs.field(default=None, repr=False)
    intent_at: float | None = None
    run_id: str | None = None
    how: How | None = None
    candidates: tuple[str, ...] = ()
    result_count: int | None = None
    cost: Decimal | None = None
    error: str | None = None

    def intended(self, *, at: float, callback_url: str | None) -> Item:
        """Return the item whose start is about to be sent for the next time."""
        return self._step(
            {ItemState.PLANNED},
            ItemState.INTENT,
            attempt=self.attempt + 1,
            intent_at=at,
            callback_url=callback_url,
            run_id=None,
            how=None,
            candidates=(),
            result_count=None,
            cost=None,
            error=None,
        )

    def submitted(self, run_id: str, how: How) -> Item:
        """Return the item whose run is known."""
        return self._step(
            {ItemState.INTENT, ItemState.AMBIGUOUS},
            ItemState.SUBMITTED,
            run_id=run_id,
            how=how,
            candidates=(),
            error=None,
        )

    def planned_again(self, how: How, error: str | None = None) -> Item:
        """Return the item that waits for its turn once more: it has no run, or is to have another one."""
        return self._step(
            {ItemState.INTENT, ItemState.AMBIGUOUS, ItemState.FAILED, ItemState.REJECTED, ItemState.CANCELLED},
            ItemState.PLANNED,
            callback_url=None,
            intent_at=None,
            run_id=None,
            how=how,
            candidates=(),
            result_count=None,
            cost=None,
            error=error,
        )

    def held(self, candidates: tuple[str, ...]) -> Item:
        """Return the item that a person must decide on."""
        why = "one of the candidates may be its run, or none"
        return self._step({ItemState.INTENT}, ItemState.AMBIGUOUS, candidates=candidates, error=why)

    def ended(self, *, is_success: bool, result_count: int | None, cost: Decimal | None, error: str | None) -> Item:
        """Return the item whose run has ended."""
        state = ItemState.DONE if is_success else ItemState.FAILED
        return self._step({ItemState.SUBMITTED}, state, result_count=result_count, cost=cost, error=error)

    def rejected(self, error: str) -> Item:
        """Return the item that the service refused for good."""
        return self._step({ItemState.INTENT}, ItemState.REJECTED, how=How.ANSWER, error=error)

    def given_up(self, candidates: tuple[str, ...]) -> Item:
        """Return the item that counts as failed because nobody can tell which run it has."""
        return self._step(
            {ItemState.INTENT},
            ItemState.FAILED,
            how=How.POLICY,
            candidates=candidates,
            error="a run may have been started, nobody can tell",
        )

    def _step(self, before: AbstractSet[ItemState], state: ItemState, **changes: object) -> Item:
        if self.state not in before:
            raise IllegalStepError(f"item {self.key!r} is {self.state} and cannot become {state}")
        return attrs.evolve(self, state=state, **changes)  # type: ignore[arg-type]


@attrs.frozen(kw_only=True)
class ItemRun:
    """
    One of the runs that an item has had.

    Attributes:
        run_id: The run.
        attempt: Number of the attempt that it came of, from 1.
        how: How it came to be known as the item's.
        state: ``submitted``, ``done`` or ``failed``.
        result_count: Its rows, or None.
        cost: What it cost, in US dollars, or None.
        error: Why it failed, or None.
    """

    run_id: str
    attempt: int
    how: How
    state: ItemState
    result_count: int | None = None
    cost: Decimal | None = None
    error: str | None = None
