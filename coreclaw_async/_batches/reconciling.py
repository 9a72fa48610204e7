"""Settling starts whose answer never came: by their callbacks, by the list of runs, or not at all."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence

from coreclaw_async import errors
from coreclaw_async._batches.means import Means, logger
from coreclaw_async._batches.reconcile import Look, Verdict, judge, look_at
from coreclaw_async._paging.pager import PagerOptions
from coreclaw_async._resources.run_lists import runs_pager
from coreclaw_async._wire.moments import moment_of
from coreclaw_async._wire.request import MAX_LIMIT
from coreclaw_async.events import StartReconciled
from coreclaw_async.ledger import BatchItem, IllegalStepError, ItemOrigin
from coreclaw_async.models import Run

_LOOK_FOR_CALLBACKS = 1.0
_MOST_FAILURES = 10
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
        self._failures = 0

    async def run(self) -> None:
        """
        Return when no start of the lane is open any more.

        Raises:
            CoreClawError: The list could not be read, again and again; the starts stay open.
        """
        was_empty = False
        next_look = float("-inf")
        while items := await self._bind(await self._means.ledger.open_intents(self._slug)):
            times = self._means.times
            now = self._means.service_time()
            settled = max(times.settled_at(item.intent_at or 0.0) for item in items)
            due = max(settled, next_look)
            if now < due:
                await self._means.clock.sleep(min(due - now, self._longest_nap(items, due - now)))
                continue
            look = await self._look(items)
            next_look = self._means.service_time() + times.list_lag
            if look is None:
                continue
            verdict = judge(
                look,
                items,
                is_exclusive=self._means.exclusive and not await self._means.ledger.has_foreign(self._slug),
                was_empty=was_empty,
                may_wait=self._has_callbacks(items) and now < settled + times.callback_patience,
            )
            was_empty = look.is_empty
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

    async def _look(self, items: Sequence[BatchItem]) -> Look | None:
        """Return what the list shows, or None when it cannot be read now."""
        means = self._means
        # Where nobody has told the service's clock, this machine's may be wrong by hours.
        skew = means.times.skew if means.knows_service_time else _UNKNOWN_SKEW
        first = min(item.intent_at or 0.0 for item in items) - skew
        try:
            runs = await self._list(moment_of(int(first)))
        except (errors.AuthenticationError, errors.ConfigurationError):
            raise
        except errors.CoreClawError as error:
            self._failures += 1
            if self._failures >= _MOST_FAILURES:
                raise
            logger.warning("the runs of worker %s could not be listed, which is tried again: %s", self._slug, error)
            return None
        self._failures = 0
        run_ids = {run.run_id for run in runs}
        explained = await means.ledger.explained(run_ids)
        # What this very client was told is no lost start either.
        explained |= {run_id for run_id in run_ids if run_id in means.context.known}
        look = look_at(runs, explained, items, means.times, skew=skew)
        if look.is_foreign:
            await means.ledger.note_foreign(self._slug)
        return look

    async def _list(self, since: dt.datetime) -> list[Run]:
        pager = runs_pager(self._means.context, PagerOptions(page_size=MAX_LIMIT), worker_id=self._slug, since=since)
        return await pager.collect()

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
            await self._means.step(item, after)
        except IllegalStepError:
            return False
        if after.run_id is not None:
            self._means.context.known.add(after.run_id)
            self._means.context.transport.emit(StartReconciled(run_id=after.run_id))
        self._on_settled(after)
        return True
