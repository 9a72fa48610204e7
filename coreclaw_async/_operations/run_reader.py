"""What a poller reads: one run, or a list of runs, for all waits of a client."""

from __future__ import annotations

from collections.abc import Sequence

from coreclaw_async._operations.context import Context
from coreclaw_async._operations.lists import RunFilter, pager_over, read_runs, run_source
from coreclaw_async._operations.runs import id_of_last, read_run
from coreclaw_async._paging.listing import ListSource
from coreclaw_async._paging.pager import AsyncPager, PagerOptions
from coreclaw_async._polling.round import Hooks, RunReader
from coreclaw_async._wire.request import MAX_LIMIT
from coreclaw_async._wire.run_paths import run_named
from coreclaw_async._wire.timestamps import TimeWindow
from coreclaw_async.errors import PaginationError
from coreclaw_async.models import LastRun, Page, Run

# A failed look is repeated soon, so it need not be waited for as long as other calls.
_LOOK_SECONDS = 20.0


def run_reader(context: Context) -> RunReader:
    """Return where a poller looks, with the settings of the client that it was made for."""
    transport = context.shared_transport
    shared = context._replace(transport=transport, dialect=context.shared_dialect)
    seconds = min(shared.settings.timeout, _LOOK_SECONDS)

    def told(hooks: Hooks) -> Context:
        return shared._replace(transport=transport.telling(hooks))

    async def look(name: str, hooks: Hooks) -> Run:
        named = run_named(name)
        run = await read_run(told(hooks), named, deadline=shared.clock.monotonic() + seconds, is_probe=True)
        if isinstance(named, LastRun):
            id_of_last(run)
        return run

    def list_runs(status: str | None, window: TimeWindow | None, most: int, hooks: Hooks) -> AsyncPager[Run]:
        return list_reader(told(hooks), RunFilter(status=status), window, most=most, seconds=seconds)

    return RunReader(
        look=look,
        list_runs=list_runs,
        service_time=transport.service_time,
        tell=lambda event, hooks: transport.telling(hooks).emit(event),
        timeout=seconds,
    )


def list_reader(
    context: Context, runs: RunFilter, window: TimeWindow | None, *, most: int, seconds: float
) -> AsyncPager[Run]:
    """Return a pager that sends each request once, with *seconds* for each, and at most *most* of them."""
    left = most

    async def fetch(offset: int, limit: int) -> Page[Run]:
        nonlocal left
        if left == 0:
            raise PaginationError(f"a list of runs was left after {most} requests")
        left -= 1
        deadline = context.clock.monotonic() + seconds
        return await read_runs(
            context, runs, offset=offset, limit=limit, window=window, deadline=deadline, is_probe=True
        )

    async def open_sources() -> Sequence[ListSource[Run]]:
        return (run_source(context, fetch),)

    return pager_over(context, open_sources, PagerOptions(page_size=MAX_LIMIT))
