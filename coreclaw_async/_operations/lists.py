"""The lists of the API: one page of each, and pagers over all of it."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import attrs

from coreclaw_async import models
from coreclaw_async._frames.reading import ItemInfo
from coreclaw_async._operations.context import Context
from coreclaw_async._paging.listing import MIN_PROBE_SIZE, ListSource
from coreclaw_async._paging.offsets import SETTLING_SIZE
from coreclaw_async._paging.pager import AsyncPager, ListPages, PageReader, PagerOptions
from coreclaw_async._wire.pages import read_page
from coreclaw_async._wire.request import Request, build_path, build_query, check_limit, check_offset, check_worker_id
from coreclaw_async._wire.timestamps import TimeWindow, creation_time, moment_of, month_windows
from coreclaw_async.events import PageRead
from coreclaw_async.models import Page, Run, RunStatus

T = TypeVar("T")


def checked_worker(worker_id: str | None) -> str | None:
    """Return a worker as a path and a query take it, or None for any."""
    return None if worker_id is None else check_worker_id("worker_id", worker_id)


def _checked_status(status: str | None) -> str | None:
    if status is not None and status not in list(RunStatus):
        raise ValueError(f"status must be one of {', '.join(RunStatus)}, not {status!r}")
    return status


@attrs.frozen(kw_only=True, eq=False, repr=False)
class RunFilter:
    """
    Which runs a list holds; each member is checked here, and sent in the query under its name here.

    Attributes:
        worker_id: Only runs of this worker; None for all.
        status: Only runs with this status; None for all.
    """

    worker_id: str | None = attrs.field(default=None, converter=checked_worker)
    status: str | None = attrs.field(default=None, converter=_checked_status)


ALL_RUNS = RunFilter()


async def read_runs(
    context: Context,
    runs: RunFilter = ALL_RUNS,
    *,
    offset: int,
    limit: int,
    window: TimeWindow | None = None,
    deadline: float | None = None,
    is_probe: bool = False,
) -> Page[Run]:
    """Return one page of runs; without a *window* those of the service's current month."""
    start_time, end_time = window or (None, None)
    request = Request(
        operation="listWorkerRuns",
        method="GET",
        path=build_path("worker-runs"),
        query=build_query(offset=offset, limit=limit, **attrs.asdict(runs), start_time=start_time, end_time=end_time),
    )
    read = functools.partial(read_page, model=Run, offset=offset, limit=limit)
    return await context.transport.call(request, read, deadline=deadline, is_probe=is_probe)


def runs_pager(
    context: Context,
    options: PagerOptions,
    runs: RunFilter,
    *,
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
) -> AsyncPager[Run]:
    """Return a pager over the runs of the service's current month, or over the months from *since* to *until*."""

    def source(window: TimeWindow | None) -> ListSource[Run]:
        def fetch(offset: int, limit: int) -> Awaitable[Page[Run]]:
            return read_runs(context, runs, offset=offset, limit=limit, window=window)

        return run_source(context, fetch)

    async def open_sources() -> Sequence[ListSource[Run]]:
        if since is None:
            return (source(None),)
        end = await _end_of(context, runs, until)
        return tuple(source(window) for window in month_windows(since, end))

    keep = None if since is None else _created_between(since, until)
    return pager_over(context, open_sources, options, keep=keep, info=ItemInfo(model=Run))


async def _end_of(context: Context, runs: RunFilter, until: dt.datetime | None) -> dt.datetime:
    """Return the time up to which there can be runs: now, or *until* when that is earlier."""
    if until is not None and until <= moment_of(context.clock.time()):
        return until
    if not context.transport.knows_service_time:
        # Which month is the newest one is for the service's clock to say, and any answer tells what it shows.
        await read_runs(context, runs, offset=0, limit=1)
    now = moment_of(context.transport.service_time())
    return now if until is None else min(until, now)


def run_source(context: Context, fetch: Callable[[int, int], Awaitable[Page[Run]]]) -> ListSource[Run]:
    """Return the list of runs that *fetch* reads."""
    name = "listWorkerRuns"
    return ListSource(name=name, fetch=with_page_events(context, name, fetch), identity=lambda run: run.run_id or None)


def _created_between(since: dt.datetime, until: dt.datetime | None) -> Callable[[Run], bool]:
    """Return whether to keep a run: windows hold whole days, and an id may prove that its run is outside."""
    first = since.timestamp()
    last = float("inf") if until is None else until.timestamp()

    def is_between(run: Run) -> bool:
        created = creation_time(run.run_id)
        return created is None or first <= created < last

    return is_between


@attrs.frozen(kw_only=True, eq=False, repr=False)
class ApiList(Generic[T]):
    """
    A list of the API that is not cut into months.

    Attributes:
        operation: Its operationId.
        path: Its path.
        model: Returns the class of its items, which need not be loaded before one is read.
        id_member: The member of an item that tells it from all others.
        member: The member of the answer that has the items.
        is_public: Whether it needs no key; then none is sent.
        min_probe_size: See `ListSource`.
    """

    operation: str
    path: str
    model: Callable[[], type[T]]
    id_member: str
    member: str = "list"
    is_public: bool = False
    min_probe_size: int = MIN_PROBE_SIZE

    async def read(self, context: Context, *, offset: int, limit: int, **query: str | None) -> Page[T]:
        """Return one page of the items that *query* asks for."""
        request = Request(
            operation=self.operation,
            method="GET",
            path=self.path,
            query=build_query(offset=check_offset(offset), limit=check_limit(limit), **query),
            is_public=self.is_public,
        )
        read = functools.partial(read_page, model=self.model(), offset=offset, limit=limit, member=self.member)
        return await context.transport.call(request, read)

    def pager(self, context: Context, options: PagerOptions, **query: str | None) -> AsyncPager[T]:
        """Return a pager over the items that *query* asks for."""

        def fetch(offset: int, limit: int) -> Awaitable[Page[T]]:
            return self.read(context, offset=offset, limit=limit, **query)

        async def open_sources() -> Sequence[ListSource[T]]:
            source = ListSource(
                name=self.operation,
                fetch=with_page_events(context, self.operation, fetch),
                identity=self.id_of,
                min_probe_size=self.min_probe_size,
            )
            return (source,)

        return pager_over(context, open_sources, options, info=ItemInfo(model=self.model()))

    def id_of(self, item: T) -> str | None:
        """Return what tells *item* from all others, or None when it does not say that."""
        return getattr(item, self.id_member) or None


# The lists of workers have no count: of pages below ten items, ten are read at a time.
STORE: ApiList[models.WorkerSummary] = ApiList(
    operation="listStore",
    path=build_path("store"),
    model=lambda: models.WorkerSummary,
    id_member="worker_id",
    member="scraper",
    is_public=True,
    min_probe_size=SETTLING_SIZE,
)
WORKERS: ApiList[models.WorkerSummary] = ApiList(
    operation="listWorkers",
    path=build_path("workers"),
    model=lambda: models.WorkerSummary,
    id_member="worker_id",
    member="scraper",
    min_probe_size=SETTLING_SIZE,
)
TASKS: ApiList[models.Task] = ApiList(
    operation="listWorkerTasks", path=build_path("worker-tasks"), model=lambda: models.Task, id_member="task_id"
)
QUEUE: ApiList[models.QueueItem] = ApiList(
    operation="listRunQueueItems",
    path=build_path("run-queue", "items"),
    model=lambda: models.QueueItem,
    id_member="queue_id",
)


def with_page_events(
    context: Context, operation: str, fetch: Callable[[int, int], Awaitable[Page[T]]]
) -> Callable[[int, int], Awaitable[Page[T]]]:
    """Return a *fetch* that also tells the event hook of each page."""

    async def fetch_and_tell(offset: int, limit: int) -> Page[T]:
        page = await fetch(offset, limit)
        context.transport.emit(PageRead(operation=operation, offset=offset, items=len(page.items), count=page.count))
        return page

    return fetch_and_tell


def pager_over(
    context: Context,
    open_sources: Callable[[], Awaitable[Sequence[ListSource[T]]]],
    options: PagerOptions,
    *,
    keep: Callable[[T], bool] | None = None,
    info: ItemInfo = ItemInfo(),  # noqa: B008 - it is frozen
) -> AsyncPager[T]:
    """Return a pager over lists that are opened when its first item is asked for."""
    pages = ListPages(open_sources, options, cache=context.offsets, dialect=context.dialect)
    info = attrs.evolve(info, now=context.clock.monotonic)
    return AsyncPager(PageReader(pages.next, options, keep=keep, info=info))
