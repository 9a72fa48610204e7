"""Settling starts whose answer never came: by their callbacks, by the list of runs, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from coreclaw_async._batches.lane_runs import read_lane
from coreclaw_async._batches.means import Means, logger
from coreclaw_async._batches.reconcile import Look, Verdict, judge, look_at
from coreclaw_async._wire.timestamps import moment_of
from coreclaw_async.events import StartReconciled
from coreclaw_async.ledger import BatchItem, IllegalStepError, ItemOrigin

_LOOK_FOR_CALLBACKS = 1.0
_UNKNOWN_SKEW = 86_400.0


class Reconciler:
    """
    The open starts of one lane, which must be held.

    Args:
        means: The batch's.
        slug: The lane's worker.
        on_settled: Called with each item that was settled.
    """

    def __init__(self, means: Means, slug: str, on_settled: Callable[[BatchItem], None]) -> None:
        self._means = means
        self._slug = slug
        self._on_settled = on_settled

    async def run(self) -> None:
        """
        Return when no start of the lane is open any more.

        Raises:
            CoreClawError: The list could not be read for as long as the batch has patience; the starts stay open.
        """
        was_empty = False
        next_look = float("-inf")
        while items := await self._bind(await self._means.ledger.lanes.open_intents(self._slug)):
            times = self._means.times
            now = self._means.service_time()
            settled = max(times.settled_at(item.intent_at or 0.0) for item in items)
            due = max(settled, next_look)
            if now < due:
                await self._means.clock.sleep(min(due - now, self._longest_nap(items, due - now)))
                continue
            found = await self._look(items)
            now = self._means.service_time()
            next_look = now + times.list_lag
            if found is None:
                was_empty = False
                continue
            look, is_exclusive = found
            rivals_settled = max((times.settled_at(at) for at in look.rivals), default=now)
            verdict = judge(
                look,
                items,
                is_exclusive=is_exclusive,
                was_empty=was_empty,
                may_wait=now < rivals_settled
                or (self._has_callbacks(items) and now < settled + times.callback_patience),
            )
            was_empty = look.is_empty
            next_look = max(next_look, rivals_settled)
            # A callback may have come while the list was read.
            await self._settle(await self._bind(items), look, verdict)

    def _has_callbacks(self, items: Sequence[BatchItem]) -> bool:
        return self._means.context.joined is not None and any(item.callback_url for item in items)

    def _longest_nap(self, items: Sequence[BatchItem], seconds: float) -> float:
        return _LOOK_FOR_CALLBACKS if self._has_callbacks(items) else seconds

    async def _bind(self, items: Sequence[BatchItem]) -> list[BatchItem]:
        """Settle the items whose run was named, in an answer or to their own URL, and return the others."""
        joined = self._means.context.joined
        left: list[BatchItem] = []
        for item in items:
            run_id, how = self._means.unrecorded.get((item.batch, item.key, item.attempt)), ItemOrigin.ANSWER
            if run_id is None and joined is not None and item.callback_url is not None:
                run_id, how = joined.hub.run_id_of(item.callback_url), ItemOrigin.CALLBACK
            if run_id is None or not await self._step(item, item.submitted(run_id, how)):
                left.append(item)
        return left

    async def _look(self, items: Sequence[BatchItem]) -> tuple[Look, bool] | None:
        """
        Return what the list shows, and whether a run that is alone in it can be nobody else's.

        None when another start has become open meanwhile: one of the runs may be its.
        """
        means, lanes = self._means, self._means.ledger.lanes
        # Where nobody has told the service's clock, this machine's may be wrong by hours.
        skew = means.times.skew if means.knows_service_time else _UNKNOWN_SKEW
        first = min(item.intent_at or 0.0 for item in items) - skew
        found = await read_lane(means, self._slug, moment_of(int(first)))
        # In this order: a start that was open when the list was read is open now, or its run is known below.
        others = {_start_of(item) for item in await lanes.open_intents(self._slug)}
        if not others <= {_start_of(item) for item in items}:
            return None
        rivals = await lanes.rival_intents(found.names)
        run_ids = {run.run_id for run in found.runs}
        explained = await lanes.owned(run_ids)
        # What this very client was told is no lost start either.
        explained |= {run_id for run_id in run_ids if run_id in means.context.known}
        look = look_at(found.runs, explained, items, means.times, skew=skew, rivals=rivals)
        if look.is_foreign:
            await lanes.note_foreign(found.names)
        is_exclusive = (
            means.exclusive
            and not found.doubtful & set(look.candidates)
            and not await lanes.has_foreign(found.names)
            and not await self._are_contested(look, found.names)
        )
        return look, is_exclusive

    async def _are_contested(self, look: Look, names: Sequence[str]) -> bool:
        """Return whether a candidate may be the run of an item that was held before."""
        held = await self._means.ledger.lanes.held_candidates(names) if look.candidates else ()
        return any(not candidates or set(candidates) & set(look.candidates) for candidates in held)

    async def _settle(self, items: Sequence[BatchItem], look: Look, verdict: Verdict) -> None:
        if verdict is Verdict.LOOK_AGAIN:
            return
        for item in items:
            if verdict is Verdict.NOT_ACCEPTED:
                await self._step(item, item.planned_again(ItemOrigin.NOT_ACCEPTED))
            elif verdict is Verdict.ADOPT:
                await self._step(item, item.submitted(look.candidates[0], ItemOrigin.LIST))
            elif self._means.on_ambiguous == "hold":
                logger.warning("item %r is held: %d runs may be its run", item.key, len(look.candidates))
                await self._step(item, item.held(look.candidates))
            elif self._means.on_ambiguous == "fail":
                await self._step(item, item.given_up(look.candidates))
            else:
                await self._step(item, item.planned_again(ItemOrigin.POLICY))

    async def _step(self, item: BatchItem, after: BatchItem) -> bool:
        """Return whether that was written down; if not, another item has the run."""
        try:
            after = await self._means.step(item, after)
        except IllegalStepError:
            return False
        if after.run_id is not None:
            self._means.context.known.add(after.run_id)
            self._means.context.transport.emit(StartReconciled(run_id=after.run_id))
        self._on_settled(after)
        return True


def _start_of(item: BatchItem) -> tuple[str, str, int]:
    return item.batch, item.key, item.attempt
