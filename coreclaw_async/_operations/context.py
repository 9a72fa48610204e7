"""What every group of endpoints of a client works with."""

from __future__ import annotations

from typing import NamedTuple

from coreclaw_async._concurrency.clock import Clock
from coreclaw_async._http.settings import Settings
from coreclaw_async._http.transport import Transport
from coreclaw_async._operations.hub_link import HubLink
from coreclaw_async._operations.known_ids import KnownIds
from coreclaw_async._operations.slot_queue import SlotQueue
from coreclaw_async._paging.offsets import OffsetCache, OffsetDialect
from coreclaw_async._polling.poller import RunPoller
from coreclaw_async._polling.schedule import PollSchedule


class Context(NamedTuple):
    """
    What the operations of one client work with, or of one light copy of it.

    Attributes:
        transport: Sends requests.
        offsets: What was found out about ``offset``.
        dialect: Whether that is found out, or pinned.
        schedule: When to look at a run that is waited for.
        known: Ids that this client was told.
        poller: Looks at the runs that are waited for.
        shared_transport: Sends what is done for all waits together, with the settings of the client that the poller was
            made for; a light copy's settings are for its own requests only.
        shared_dialect: The pinned dialect of that client.
        hub_link: The client's side of the hub that its callbacks come to, or None.
        slots: The starts that wait until the plan has room for one more run.
    """

    transport: Transport
    offsets: OffsetCache
    dialect: OffsetDialect
    schedule: PollSchedule
    known: KnownIds
    poller: RunPoller
    shared_transport: Transport
    shared_dialect: OffsetDialect
    hub_link: HubLink | None
    slots: SlotQueue

    @property
    def clock(self) -> Clock:
        """The client's clock."""
        return self.transport.clock

    @property
    def settings(self) -> Settings:
        """The settings of this client, or of this copy."""
        return self.transport.settings
