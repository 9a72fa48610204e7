"""Items of a batch: their states, and which state may follow which. No I/O."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

import attrs

from coreclaw_async._data.plain import SECRET
from coreclaw_async._data.record import Model
from coreclaw_async.models import Verdict


class BatchItemState(StrEnum):
    """
    Where an item of a batch stands.

    ::

        planned ──> intent ──> submitted ──> done
           ^          │  │         │  └────> failed
           │          │  └──> ambiguous
           └──────────┘ (certainly not accepted)
        intent ──> rejected; planned, intent ──> cancelled; submitted ──> planned (a failed run, to be retried)
        failed ──> submitted (its run is to be read once more)

    Attributes:
        PLANNED: It waits to be started.
        INTENT: Its start is about to be sent, under way, or was lost on the way.
        SUBMITTED: It has a run that has not ended, or whose rows are not written yet.
        DONE: Its run succeeded, and its rows are in their file where that was asked for.
        FAILED: Its run ended without success.
        REJECTED: The service refused the start for good; there is no run.
        AMBIGUOUS: A run may have been started, and it cannot be found out which one: a person decides.
        CANCELLED: It was taken out before it was started, or while a start was being sent of which no run came.

    Example::

        async for item in batch.items(state=[BatchItemState.DONE, BatchItemState.FAILED]):
            print(item.key, item.state)
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
        return self in {BatchItemState.PLANNED, BatchItemState.INTENT, BatchItemState.SUBMITTED}


class ItemOrigin(StrEnum):
    """
    How an item came to its state.

    Attributes:
        ANSWER: The service answered its start.
        LIST: Exactly one run in the list belonged to nothing else, so it is the item's.
        CALLBACK: The callback to its own URL named its run.
        PERSON: Somebody decided with `AsyncBatch.resolve`.
        NOT_SENT: Its start had certainly not left, or had certainly been refused.
        NOT_ACCEPTED: Two looks at the list, made when its run would have been there, showed none.
        POLICY: ``on_ambiguous`` decided.
        RETRY: Its run had failed, and its spec allows another one.

    Example::

        item = await batch.get("coffee")
        print(item.how is ItemOrigin.ANSWER)
    """

    ANSWER = "answer"
    LIST = "list"
    CALLBACK = "callback"
    PERSON = "person"
    NOT_SENT = "not-sent"
    NOT_ACCEPTED = "not-accepted"
    POLICY = "policy"
    RETRY = "retry"


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


class IllegalStepError(ValueError):
    """An item cannot change from one state to another: a bug, or a decision that came too late."""


@attrs.frozen(kw_only=True, repr=False)
class BatchItem(Model):
    """
    One item of a batch as its ledger has it.

    Attributes:
        batch: Name of the batch.
        key: What the caller calls it; unique in the batch.
        position: Its place in the plan, from 0.
        worker_id: The worker, as it was planned.
        version: The worker version that was asked for, or None.
        priority: Items with a higher priority are started first.
        retries: How many more runs may follow failed ones; each is paid for.
        run_timeout: Seconds after which its run is aborted, or None.
        input_sha256: Hash of worker, version and input, in hex.
        state: Where it stands.
        attempt: Number of the last start that was sent or about to be sent; 0 before the first.
        callback_url: The callback URL of its start, as secret as a password; or None.
        intent_at: When its start was about to be sent, in Unix seconds of the service's clock; or None.
        run_id: Its run, or None.
        how: How it came to its state, or None.
        candidates: For an ambiguous item, the runs that may be its run.
        result_count: Rows of its run, or None.
        cost: What its run cost, in US dollars, or None.
        submitted_at: When its run was known to have started, in Unix seconds of the service's clock; or None.
        ended_at: When its end was recorded, in Unix seconds of the service's clock; or None.
        path: The file with its rows, or None.
        row_count: Rows in that file, or None.
        verdict: What its run is worth; None while that is not known: it has not ended, or it has rows, and they are in
            no file, so that nobody has looked at them.
        cancel_requested: Whether `AsyncBatch.cancel` was called since its start was about to be sent, so that it is not
            started again: 1, or 2 where its run is to be aborted; else 0.
        error: Why it failed, was refused or is held; or None.

    Example::

        item = await batch.get("coffee")
        print(item.state, item.run_id, item.result_count, item.cost)
    """

    batch: str
    key: str
    position: int
    worker_id: str
    version: str | None = None
    priority: int = 0
    retries: int = 0
    run_timeout: float | None = None
    input_sha256: str
    state: BatchItemState = BatchItemState.PLANNED
    attempt: int = 0
    callback_url: str | None = attrs.field(default=None, repr=False, metadata={SECRET: True})
    intent_at: float | None = None
    run_id: str | None = None
    how: ItemOrigin | None = None
    candidates: tuple[str, ...] = ()
    result_count: int | None = None
    cost: Decimal | None = None
    submitted_at: float | None = None
    ended_at: float | None = None
    path: Path | None = None
    row_count: int | None = None
    verdict: Verdict | None = None
    cancel_requested: int = 0
    error: str | None = None

    def intended(self, *, at: float, callback_url: str | None) -> BatchItem:
        """Return the item with its next start about to be sent."""
        return self._step(
            {BatchItemState.PLANNED},
            BatchItemState.INTENT,
            attempt=self.attempt + 1,
            intent_at=at,
            callback_url=callback_url,
            **_WITHOUT_RUN,
        )

    def submitted(self, run_id: str, how: ItemOrigin, *, at: float | None = None) -> BatchItem:
        """Return the item with its run, which was started at *at*, or when its start was about to be sent."""
        return self._step(
            {BatchItemState.INTENT, BatchItemState.AMBIGUOUS, BatchItemState.FAILED},
            BatchItemState.SUBMITTED,
            run_id=run_id,
            how=how,
            candidates=(),
            result_count=None,
            cost=None,
            submitted_at=self.intent_at if at is None else at,
            ended_at=None,
            verdict=None,
            error=None,
        )

    def planned_again(self, how: ItemOrigin, error: str | None = None) -> BatchItem:
        """
        Return the item waiting to be started again: it has no run, or will have another one.

        An item that was cancelled while its start was being sent is taken out instead.
        """
        is_cancelled = self.state is BatchItemState.INTENT and self.cancel_requested
        return self._step(
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

    def held(self, candidates: tuple[str, ...]) -> BatchItem:
        """Return the item that a person must decide on."""
        why = "one of the candidates may be its run, or none"
        return self._step({BatchItemState.INTENT}, BatchItemState.AMBIGUOUS, candidates=candidates, error=why)

    def ended(
        self,
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
        """Return the item after the end of its run, with its rows in the file at *path* if one was asked for."""
        return self._step(
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

    def written(self, path: Path, row_count: int, verdict: Verdict | None) -> BatchItem:
        """Return the ended item with its rows in a file, after a look at them."""
        states = {BatchItemState.DONE, BatchItemState.FAILED}
        return self._step(states, self.state, path=path, row_count=row_count, verdict=verdict)

    def costed(self, cost: Decimal) -> BatchItem:
        """Return the ended item with the cost of its run, which the service told later."""
        return self._step({BatchItemState.DONE, BatchItemState.FAILED}, self.state, cost=cost)

    def retried(self, error: str) -> BatchItem:
        """Return the item after a failed run, waiting for another one."""
        self._step({BatchItemState.SUBMITTED}, BatchItemState.FAILED)
        return attrs.evolve(self, state=BatchItemState.FAILED).planned_again(ItemOrigin.RETRY, error)

    def rejected(self, error: str) -> BatchItem:
        """Return the item that the service refused for good."""
        return self._step({BatchItemState.INTENT}, BatchItemState.REJECTED, how=ItemOrigin.ANSWER, error=error)

    def given_up(self, candidates: tuple[str, ...]) -> BatchItem:
        """Return the item as failed, because it cannot be found out which run it has."""
        return self._step(
            {BatchItemState.INTENT},
            BatchItemState.FAILED,
            how=ItemOrigin.POLICY,
            candidates=candidates,
            error="a run may have been started; it cannot be found out which one",
        )

    def cancelled_meanwhile(self, requested: int, before: BatchItem, ended: BatchItem | None) -> BatchItem:
        """
        Return what the item is when it was cancelled since it was read as *before*.

        Args:
            requested: The request, 1 or 2.
            before: What it was read as.
            ended: How its run has ended, where it was to wait for another one, which it does not get.
        """
        if ended is not None:
            return attrs.evolve(ended, cancel_requested=requested)
        if self.state is BatchItemState.PLANNED and self.how is not None:
            return attrs.evolve(before, cancel_requested=requested).planned_again(self.how, self.error)
        return attrs.evolve(self, cancel_requested=requested)

    def _step(self, before: AbstractSet[BatchItemState], state: BatchItemState, **changes: object) -> BatchItem:
        if self.state not in before:
            raise IllegalStepError(f"item {self.key!r} is {self.state} and cannot become {state}")
        return attrs.evolve(self, state=state, **changes)  # type: ignore[arg-type]


@attrs.frozen(kw_only=True, repr=False)
class BatchItemRun(Model):
    """
    One of the runs that an item has had.

    Attributes:
        run_id: The run.
        attempt: Number of the start that created it, from 1.
        how: How it was found to be the item's.
        state: ``submitted``, ``done`` or ``failed``.
        result_count: Its rows, or None.
        cost: What it cost, in US dollars, or None.
        submitted_at: When it was known to have started, in Unix seconds of the service's clock; or None.
        ended_at: When its end was recorded, in Unix seconds of the service's clock; or None.
        error: Why it failed, or None.

    Example::

        for earlier in await batch.history("coffee"):
            print(earlier.run_id, earlier.state, earlier.cost)
    """

    run_id: str
    attempt: int
    how: ItemOrigin
    state: BatchItemState
    result_count: int | None = None
    cost: Decimal | None = None
    submitted_at: float | None = None
    ended_at: float | None = None
    error: str | None = None
