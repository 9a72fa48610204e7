"""What every group of endpoints of a client works with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import TypeVar

import attrs

from coreclaw_async._http.transport import Transport
from coreclaw_async._operations.hub_link import HubLink
from coreclaw_async._operations.known_ids import KnownIds
from coreclaw_async._operations.slot_queue import SlotLine
from coreclaw_async._paging.listing import MIN_PROBE_SIZE, ListSource
from coreclaw_async._paging.offsets import OffsetCache, OffsetDialect
from coreclaw_async._paging.pager import AsyncPager, ListPages, PageReader, PagerOptions
from coreclaw_async._polling.poller import RunPoller
from coreclaw_async._polling.tracked_run import PollSchedule
from coreclaw_async.events import PageRead
from coreclaw_async.models import Page

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class Context:
    """
    What the operations of one client work with, or of one light copy of it.

    Attributes:
        transport: Sends requests.
        offsets: What was found out about ``offset``.
        dialect: Whether that is found out, or pinned.
        schedule: When a run that is waited for is looked at.
        known: Ids that this client was told.
        poller: Looks at the runs that are waited for.
        shared_transport: Sends what is done for all who wait, with the settings of the client that the poller was made
            for: those of a light copy are nobody else's.
        shared_dialect: Its pin of the dialect.
        hub_link: The client's side of the hub that its callbacks come to, or None.
        slots: Those who wait until the plan has room for one more run.
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
    slots: SlotLine

    def pager(
        self,
        open_listings: Callable[[], Awaitable[Sequence[ListSource[T]]]],
        options: PagerOptions,
        keep: Callable[[T], bool] | None = None,
    ) -> AsyncPager[T]:
        """Return a pager over lists that are opened when its first item is asked for."""
        pages = ListPages(open_listings, options, cache=self.offsets, dialect=self.dialect)
        return AsyncPager(PageReader(pages.next, options, keep=keep))

    def one_listing(
        self,
        operation: str,
        fetch: Callable[[int, int], Awaitable[Page[T]]],
        identity: Callable[[T], Hashable | None],
        options: PagerOptions,
        *,
        min_probe_size: int = MIN_PROBE_SIZE,
    ) -> AsyncPager[T]:
        """Return a pager over the one list that *fetch* reads."""
        listing = self.listing(operation, fetch, identity, min_probe_size=min_probe_size)

        async def open_listings() -> Sequence[ListSource[T]]:
            return (listing,)

        return self.pager(open_listings, options)

    def listing(
        self,
        operation: str,
        fetch: Callable[[int, int], Awaitable[Page[T]]],
        identity: Callable[[T], Hashable | None],
        *,
        expects_count: bool = False,
        min_probe_size: int = MIN_PROBE_SIZE,
        run_id: str | None = None,
        goes_on: Callable[[int], Awaitable[bool]] | None = None,
    ) -> ListSource[T]:
        """Return a list for a pager, whose pages are told to the event hook."""

        async def fetch_and_tell(offset: int, limit: int) -> Page[T]:
            page = await fetch(offset, limit)
            self.transport.emit(PageRead(operation=operation, offset=offset, items=len(page.items), count=page.count))
            return page

        return ListSource(
            name=operation,
            fetch=fetch_and_tell,
            identity=identity,
            expects_count=expects_count,
            min_probe_size=min_probe_size,
            run_id=run_id,
            goes_on=goes_on,
        )
