"""Settling starts that were never answered: by their callbacks, by the list of runs, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from coreclaw_async._concurrency.calls import belonging_to
from coreclaw_async._data.counting import counted
from coreclaw_async._logs import facts, logger
from coreclaw_async._wire.request import shown_worker
from coreclaw_async._wire.timestamps import moment_of
from coreclaw_async.batch._context import BatchContext
from coreclaw_async.batch._evidence import Decision, ListEvidence, decide, evidence_of, settled_at
from coreclaw_async.batch._item_steps import to_given_up, to_held, to_planned, to_submitted
from coreclaw_async.batch._items import BatchItem, IllegalStepError, ItemOrigin
from coreclaw_async.batch._start_queue_runs import read_start_queue
from coreclaw_async.events import StartReconciled

_LOOK_FOR_CALLBACKS = 1.0
_UNKNOWN_SKEW = 86_400.0


class Reconciler:
    """
    The open starts of one start queue, which must be held.

    Args:
        slug: The start queue's worker.
        on_settled: Called with each item that was settled.
    """

    def __init__(self, batch_context: BatchContext, slug: str, on_settled: Callable[[BatchItem], None]) -> None:
        self._batch_context = batch_context
        self._start_queues = batch_context.ledger.start_queues
        self._known = batch_context.context.known
        self._slug = slug
        self._on_settled = on_settled

    async def run(self) -> None:
        """
        Return when no start of the start queue is open any more.

        Raises:
            CoreClawError: The list could not be read for as long as the batch has patience; the starts stay open.
        """
        was_empty = is_told = False
        next_look = float("-inf")
        while items := await self._bind(await self._start_queues.open_intents(self._slug)):
            times = self._batch_context.times
            now = self._batch_context.service_time()
            settled = max(settled_at(times, item.intent_at or 0.0) for item in items)
            due = max(settled, next_look)
            if now < due:
                if not is_told:
                    is_told = True
                    self._tell_open(items, due - now)
                await self._batch_context.clock.sleep(min(due - now, self._longest_nap(items, due - now)))
                continue
            found = await self._look(items)
            now = self._batch_context.service_time()
            next_look = now + times.list_lag
            if found is None:
                was_empty = False
                continue
            evidence, is_exclusive = found
            rivals_settled = max((settled_at(times, at) for at in evidence.rivals), default=now)
            decision = decide(
                evidence,
                items,
                is_exclusive=is_exclusive,
                was_empty=was_empty,
                may_wait=now < rivals_settled
                or (self._has_callbacks(items) and now < settled + times.callback_patience),
            )
            was_empty = evidence.is_empty
            next_look = max(next_look, rivals_settled)
            # A callback may have come while the list was read.
            await self._settle(await self._bind(items), evidence, decision)

    def _tell_open(self, items: Sequence[BatchItem], seconds: float) -> None:
        logger.warning(
            "the start of item %r has had no answer: whether a run came of it is found out in about %.0f s%s; "
            "until then no other run of worker %s is started",
            items[0].key,
            seconds,
            " or by its callback" if self._has_callbacks(items) else "",
            shown_worker(self._slug),
            extra=facts(batch=items[0].batch, key=items[0].key, worker_id=shown_worker(self._slug)),
        )

    def _has_callbacks(self, items: Sequence[BatchItem]) -> bool:
        return self._batch_context.hub is not None and any(item.callback_url for item in items)

    def _longest_nap(self, items: Sequence[BatchItem], seconds: float) -> float:
        return _LOOK_FOR_CALLBACKS if self._has_callbacks(items) else seconds

    async def _bind(self, items: Sequence[BatchItem]) -> list[BatchItem]:
        """Settle the items whose run was named, in an answer or to their own URL, and return the others."""
        hub = self._batch_context.hub
        left: list[BatchItem] = []
        for item in items:
            run_id, how = self._batch_context.unrecorded.get((item.batch, item.key, item.attempt)), ItemOrigin.ANSWER
            if run_id is None and hub is not None and item.callback_url is not None:
                run_id, how = hub.run_id_of(item.callback_url), ItemOrigin.CALLBACK
            if run_id is None or not await self._step(item, to_submitted(item, run_id, how)):
                left.append(item)
        return left

    async def _look(self, items: Sequence[BatchItem]) -> tuple[ListEvidence, bool] | None:
        """
        Return what the list shows, and whether a run that is alone in it can be nobody else's.

        None when another start has become open meanwhile: one of the runs may be its.
        """
        batch_context, start_queues = self._batch_context, self._start_queues
        # Where nobody has told the service's clock, this machine's may be wrong by hours.
        skew = batch_context.times.skew if batch_context.knows_service_time else _UNKNOWN_SKEW
        first = min(item.intent_at or 0.0 for item in items) - skew
        found = await read_start_queue(batch_context, self._slug, moment_of(int(first)))
        # In this order: a start that was open when the list was read is open now, or its run is known below.
        others = {_start_of(item) for item in await start_queues.open_intents(self._slug)}
        if not others <= {_start_of(item) for item in items}:
            return None
        rivals = await start_queues.rival_intents(found.names)
        run_ids = {run.run_id for run in found.runs}
        explained = await start_queues.owned(run_ids)
        # What this very client was told is no lost start either.
        explained |= {run_id for run_id in run_ids if run_id in self._known}
        evidence = evidence_of(found.runs, explained, items, batch_context.times, skew=skew, rivals=rivals)
        if evidence.is_foreign:
            await start_queues.note_foreign(found.names)
        is_exclusive = (
            batch_context.exclusive
            and not found.doubtful & set(evidence.candidates)
            and not await start_queues.has_foreign(found.names)
            and not await self._are_contested(evidence, found.names)
        )
        return evidence, is_exclusive

    async def _are_contested(self, evidence: ListEvidence, names: Sequence[str]) -> bool:
        """Return whether a candidate may be the run of an item that was held before."""
        held = await self._start_queues.held_candidates(names) if evidence.candidates else ()
        return any(not candidates or set(candidates) & set(evidence.candidates) for candidates in held)

    async def _settle(self, items: Sequence[BatchItem], evidence: ListEvidence, decision: Decision) -> None:
        if decision is Decision.LOOK_AGAIN:
            return
        for item in items:
            if decision is Decision.NOT_ACCEPTED:
                await self._step(item, to_planned(item, ItemOrigin.NOT_ACCEPTED))
            elif decision is Decision.ADOPT:
                await self._step(item, to_submitted(item, evidence.candidates[0], ItemOrigin.LIST))
            elif self._batch_context.on_ambiguous == "hold":
                logger.warning(
                    "item %r is held: a start of it was not answered, and %s may be its own",
                    item.key,
                    counted(len(evidence.candidates), "run"),
                    extra=facts(batch=item.batch, key=item.key, candidates=list(evidence.candidates)),
                )
                await self._step(item, to_held(item, evidence.candidates))
            elif self._batch_context.on_ambiguous == "fail":
                await self._step(item, to_given_up(item, evidence.candidates))
            else:
                await self._step(item, to_planned(item, ItemOrigin.POLICY))

    async def _step(self, item: BatchItem, after: BatchItem) -> bool:
        """Return whether that was written down; if not, another item has the run."""
        try:
            after = await self._batch_context.step(item, after)
        except IllegalStepError:
            return False
        if after.run_id is not None:
            self._known.add(after.run_id)
            with belonging_to((after.batch, after.key)):
                self._batch_context.emit(StartReconciled(run_id=after.run_id))
        self._on_settled(after)
        return True


def _start_of(item: BatchItem) -> tuple[str, str, int]:
    return item.batch, item.key, item.attempt
