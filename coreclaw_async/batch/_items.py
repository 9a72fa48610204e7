"""Items of a batch, their states, and the runs that they have had."""

from __future__ import annotations

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
        worker_id: The worker: a slug, or ``owner/name``.
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
