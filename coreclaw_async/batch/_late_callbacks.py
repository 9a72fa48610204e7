"""Callbacks that come after an item was held: they name its run exactly, so it goes on by itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import anyio

from coreclaw_async._concurrency.loops import EventLoop, call_soon, current_loop
from coreclaw_async._logs import facts, logger
from coreclaw_async.batch._context import BatchContext
from coreclaw_async.batch._item_steps import to_submitted
from coreclaw_async.batch._items import BatchItem, BatchItemState, IllegalStepError, ItemOrigin
from coreclaw_async.errors import LedgerError
from coreclaw_async.events import StartReconciled


class LateCallbacks:
    """
    A batch's side of the client's hub.

    Args:
        on_settled: Called with each item that a callback has settled.
    """

    def __init__(self, batch_context: BatchContext, on_settled: Callable[[BatchItem], None]) -> None:
        self._batch_context = batch_context
        self._on_settled = on_settled
        self._loop: EventLoop = None
        self._called: deque[tuple[str, str]] = deque()
        self._news = anyio.Event()

    async def listen(self) -> None:
        """Know the URLs of open items again, and hear of callbacks from now on; `serve` settles their items."""
        hub = self._batch_context.hub
        if hub is None:
            return
        from coreclaw_async.callbacks import join_hub  # Who has a hub has loaded it; others need not.

        items = await self._batch_context.ledger.items(BatchItemState.INTENT, BatchItemState.AMBIGUOUS)
        self._loop = current_loop()
        self._news = anyio.Event()
        join_hub(hub, self)
        for item in items:
            if item.callback_url is not None:
                hub.restore(item.callback_url)
                # It may have come while nobody listened.
                self.called_back(item.callback_url, hub.run_id_of(item.callback_url))

    def leave(self) -> None:
        """Listen no longer."""
        if self._batch_context.hub is not None:
            from coreclaw_async.callbacks import leave_hub

            leave_hub(self._batch_context.hub, self)

    def called_back(self, url: str, run_id: str | None) -> None:
        """Record a callback; the hub calls this in any thread."""
        if run_id is not None:
            self._called.append((url, run_id))
            call_soon(self._loop, self._wake)

    def _wake(self) -> None:
        self._news.set()

    async def serve(self) -> None:
        """Settle items until cancelled; without a hub, return."""
        while self._batch_context.hub is not None:
            while self._called:
                await self._settle(*self._called.popleft())
            await self._news.wait()
            self._news = anyio.Event()

    async def _settle(self, url: str, run_id: str) -> None:
        key = self._batch_context.given_up.pop(url, None)
        if key is not None:
            logger.warning(
                "a callback named run %s of item %r, whose start had never been answered and was given up: the run is "
                "paid for and belongs to no item",
                run_id,
                key,
                extra=facts(run_id=run_id, batch=self._batch_context.ledger.batch, key=key),
            )
            return
        try:
            held = await self._batch_context.ledger.items(BatchItemState.AMBIGUOUS)
            for item in held:
                if item.callback_url == url:
                    after = await self._batch_context.step(item, to_submitted(item, run_id, ItemOrigin.CALLBACK))
                    self._batch_context.emit(StartReconciled(run_id=run_id))
                    self._on_settled(after)
        except IllegalStepError:  # A person was quicker.
            return
        except LedgerError as error:
            told = facts(error, run_id=run_id, batch=self._batch_context.ledger.batch)
            logger.warning("a callback named run %s, and its item stays held: %s", run_id, error, extra=told)
