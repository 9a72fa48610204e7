"""What every part of a running batch works with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import anyio
import attrs

from coreclaw_async._concurrency.clock import Clock
from coreclaw_async._operations.context import Context
from coreclaw_async.batch._evidence import SettleTimes
from coreclaw_async.batch._items import BatchItem, ItemOrigin
from coreclaw_async.batch._ledger.batch_ledger import BatchLedger
from coreclaw_async.batch._patience import Patience
from coreclaw_async.errors import CoreClawError
from coreclaw_async.events import BatchItemChanged, Event

if TYPE_CHECKING:
    from coreclaw_async.callbacks import CallbackHub

OnAmbiguous: TypeAlias = Literal["hold", "fail", "resubmit"]
"""What a batch does with an item when nobody can tell whether it has a run."""

# So an item goes on that may have a run which nobody knows.
_GIVEN_UP = {ItemOrigin.NOT_ACCEPTED, ItemOrigin.PERSON, ItemOrigin.POLICY}


@attrs.define(kw_only=True)
class BatchContext:
    """
    What one batch works with.

    Attributes:
        context: The client's context; its requests are counted.
        starts: The same for starts, which are not retried.
        ledger: Where everything is written down.
        times: When a lost start is settled.
        exclusive: Whether the caller says that nobody else starts runs of these workers.
        patience: How long it goes on trying while the service cannot be used.
        on_ambiguous: What becomes of an item of which nobody can tell whether it has a run.
        probes: The client's context for reads that are sent once, because whoever asks asks again with patience.
        sending: The scopes of the starts under way; cancelled when they may take no longer.
        guessed: Workers that no list shows, which go by their names.
        refusal: The service's last refusal of a start for good, or None.
        unrecorded: Runs that the service has named and the ledger would not take, by batch, key and attempt.
        given_up: The keys of items by the callback URLs of starts that were never answered and are theirs no more.
    """

    context: Context
    starts: Context
    ledger: BatchLedger
    times: SettleTimes
    exclusive: bool
    patience: Patience
    on_ambiguous: OnAmbiguous
    probes: Context = attrs.field(init=False)
    sending: set[anyio.CancelScope] = attrs.field(factory=set[anyio.CancelScope])
    guessed: set[str] = attrs.field(factory=set[str])
    refusal: CoreClawError | None = None
    unrecorded: dict[tuple[str, str, int], str] = attrs.field(factory=dict[tuple[str, str, int], str])
    given_up: dict[str, str] = attrs.field(factory=dict[str, str])

    def __attrs_post_init__(self) -> None:
        transport = self.context.transport
        once = transport.settings.retry.replace(max_attempts=1)
        settings = transport.settings._replace(retry=once)
        self.probes = self.context._replace(transport=transport.with_settings(settings))

    @property
    def clock(self) -> Clock:
        """What time it is."""
        return self.context.transport.clock

    @property
    def hub(self) -> CallbackHub | None:
        """The client's hub, whose callbacks name the run of a start, or None."""
        return None if self.context.hub_link is None else self.context.hub_link.hub

    def emit(self, event: Event) -> None:
        """Tell the client's hook of *event*."""
        self.context.transport.emit(event)

    def service_time(self) -> float:
        """Return what the service's clock shows, in Unix seconds."""
        return self.context.transport.service_time()

    @property
    def knows_service_time(self) -> bool:
        """Whether an answer has told the service's clock, and no clock of this machine was set since then."""
        return self.context.transport.knows_service_time

    async def step(
        self, before: BatchItem, after: BatchItem, *, ended: BatchItem | None = None, start_queue: str | None = None
    ) -> BatchItem:
        """
        Write down that an item has gone on, tell, and return what it is: something else if it was cancelled meanwhile.

        Args:
            before: What it was.
            after: What it is.
            ended: What it was between, where it waits for another run: how its run has ended.
            start_queue: The start queue that must be held at that moment, or None.

        Raises:
            StartQueueLostError: The start queue is no longer held.
            IllegalStepError: It has done so already, or its run is another item's.
            OverBudgetError: Its start is not covered by the budget.
            PausedError: It would be started, and its batch is paused.
            LedgerError: It cannot be written down.
        """
        after = await self.ledger.steps.write(before, after, ended=ended, start_queue=start_queue)
        url = before.callback_url
        if url is not None and after.run_id is None and before.run_id is None and after.how in _GIVEN_UP:
            self.given_up[url] = after.key
        self.emit(
            BatchItemChanged(
                batch=after.batch,
                key=after.key,
                state=after.state.value,
                previous=before.state.value,
                attempt=after.attempt,
                run_id=after.run_id,
            )
        )
        return after
