"""AsyncCoreClaw: the pool, the key, and the groups of endpoints as attributes."""

from __future__ import annotations

import contextlib
import os
from decimal import Decimal
from types import MemberDescriptorType, TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, get_args

import attrs
import httpx

from coreclaw_async._concurrency.calls import tell_left
from coreclaw_async._concurrency.clock import Clock, SystemClock
from coreclaw_async._http.backend import BackendChoice, BackendName
from coreclaw_async._http.base_url import parse_base_url
from coreclaw_async._http.connections import Connections
from coreclaw_async._http.rate_gate import RateGate
from coreclaw_async._http.settings import Settings
from coreclaw_async._http.transport import Transport
from coreclaw_async._logs import turn_on_where_asked
from coreclaw_async._operations.context import Context
from coreclaw_async._operations.hub_link import HubLink
from coreclaw_async._operations.known_ids import KnownIds
from coreclaw_async._operations.slot_queue import SlotLine
from coreclaw_async._paging.offsets import OffsetCache, OffsetDialect
from coreclaw_async._polling.poller import RunPoller
from coreclaw_async._polling.tracked_run import PollSchedule
from coreclaw_async._resources.account import AsyncAccount
from coreclaw_async._resources.proxies import AsyncProxies
from coreclaw_async._resources.run_queue import AsyncRunQueue
from coreclaw_async._resources.runs import AsyncRuns
from coreclaw_async._resources.store import AsyncStore
from coreclaw_async._resources.tasks import AsyncTasks
from coreclaw_async._resources.workers import AsyncWorkers
from coreclaw_async._wire.credentials import AuthMode, Credentials
from coreclaw_async._wire.request import check_hook, check_int, check_seconds
from coreclaw_async._wire.retry import RetryPolicy
from coreclaw_async.callbacks import CallbackHub
from coreclaw_async.errors import ConfigurationError
from coreclaw_async.events import EventHook
from coreclaw_async.models import Run

if TYPE_CHECKING:
    # Imported late elsewhere: not every program has batches.
    from coreclaw_async._operations.once import OnceCall
    from coreclaw_async.batch._batch import AsyncBatch
    from coreclaw_async.batch._context import OnAmbiguous
    from coreclaw_async.batch._evidence import SettleTimes
    from coreclaw_async.batch._shard import Shard

C = TypeVar("C")

DEFAULT_BASE_URL = "https://openapi.coreclaw.com"
DEFAULT_TIMEOUT = 60.0
DEFAULT_MAX_CONNECTIONS = 100
DEFAULT_MAX_RESPONSE_BYTES = 100 * 2**20


class AsyncCoreClaw:
    """
    An asynchronous client of the CoreClaw API v2.

    Works under asyncio, uvloop and trio. One client serves any number of tasks at once, and one event loop after
    another (each has its own connections). Nothing is opened before the first request; `aclose` or ``async with``
    closes.

    Attributes:
        account: The account behind the key.
        proxies: The regions of the proxies.
        store: The public store of workers.
        workers: Your own workers, and starting any worker.
        tasks: Saved tasks.
        runs: Runs, their logs and rows.
        run_queue: Runs that wait to be activated.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        auth: AuthMode = "bearer",
        timeout: float = DEFAULT_TIMEOUT,
        retry: RetryPolicy | None = None,
        max_connections: int = DEFAULT_MAX_CONNECTIONS,
        max_response_bytes: int = DEFAULT_MAX_RESPONSE_BYTES,
        offset_dialect: OffsetDialect = "auto",
        poll_schedule: PollSchedule | None = None,
        http_client: httpx.AsyncClient | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        backend: BackendChoice = "auto",
        callbacks: CallbackHub | None = None,
        on_event: EventHook | None = None,
        clock: Clock | None = None,
    ) -> None:
        """
        Make a client; nothing is sent or opened.

        Args:
            api_key: The key; None for the environment's ``CORECLAW_API_KEY``, unless that is blank. Without one only
                the three public operations work (store, proxy regions, input schemas), which never send it.
            base_url: Where the service is: the URL up to ``/api/v2``, with a port or a path where it has one. None for
                the environment's ``CORECLAW_BASE_URL``, unless that is blank, else ``https://openapi.coreclaw.com``.
            auth: How the key is sent: ``bearer`` (recommended), ``api-key`` (a header), ``query`` (it is then part of
                URLs).
            timeout: Seconds one call may take, above 0: queueing, attempts and waits together.
            retry: How often and how patiently a request is retried, where that is safe.
            max_connections: Most requests under way at once in one event loop, 1 or more; further ones queue.
            max_response_bytes: Largest answer that is read, unpacked, 1 or more.
            offset_dialect: What ``offset`` means to the service: found out (``auto``), or pinned to ``row`` or
                ``page``.
            poll_schedule: When to look at a run that is waited for.
            http_client: Your own httpx client, used instead of the built-in connections. You close it.
            transport: An httpx transport, for example a `coreclaw_async.testing.FakeService`; closed with this client.
                Only two kinds are trusted to say that a start has not left: httpx's own, and those whose attribute
                ``tells_what_leaves`` is True because they tell httpcore's ``trace`` extension of all that they send.
            backend: What reads go through: ``auto`` for aiohttp where the extra ``speed`` is installed, and httpx
                elsewhere and under trio; ``httpx``; or ``aiohttp``, and an error where it cannot be used. Whatever
                changes something goes through httpx, and so do downloads, and all requests of an *http_client* or
                *transport*. Behind a proxy that is not reached by http, aiohttp cannot be used.
            callbacks: The hub that the service's callbacks come to: each start then has a URL of its own, and a
                callback ends a wait sooner and settles a start whose answer was lost.
            on_event: Called with each event (`coreclaw_async.events`); a plain function, which must return soon. Its
                errors are only logged.
            clock: Where time comes from; for tests, together with a `FakeService`.

        Raises:
            ConfigurationError: The key, the base URL or the backend cannot be right, or both *http_client* and
                *transport* were given, or one of them with ``backend="aiohttp"``.
            ValueError: A number is out of range.
            TypeError: An argument is of the wrong type, or *on_event* is a coroutine function.
        """
        try:
            credentials = _credentials(api_key, auth)
        finally:
            api_key = None  # A traceback with local variables would show it.
        if http_client is not None and transport is not None:
            raise ConfigurationError("http_client and transport exclude each other, and both were given")
        turn_on_where_asked(credentials.shown)
        _check_kind("http_client", http_client, httpx.AsyncClient)
        _check_kind("transport", transport, httpx.AsyncBaseTransport)
        _check_backend(backend, credentials, is_ours=http_client is None and transport is None)
        _check_kind("callbacks", callbacks, CallbackHub)
        options = _Options(
            credentials=credentials,
            timeout=timeout,
            retry=RetryPolicy() if retry is None else retry,
            max_response_bytes=max_response_bytes,
            offset_dialect=offset_dialect,
            poll_schedule=PollSchedule() if poll_schedule is None else poll_schedule,
            on_event=on_event,
        )
        connections = Connections(
            base_url=_find_base_url(base_url, credentials),
            max_connections=check_int("max_connections", max_connections, lowest=1),
            http_client=http_client,
            transport=transport,
            backend=backend,
        )
        self._is_copy = False
        self._options = options
        self._connections = connections
        self._set_up(_new_context(options, connections, SystemClock() if clock is None else clock, callbacks))

    def _set_up(self, context: Context) -> None:
        self._context = context
        self.account = AsyncAccount(context)
        self.proxies = AsyncProxies(context)
        self.store = AsyncStore(context)
        self.workers = AsyncWorkers(context, _run_once)
        self.tasks = AsyncTasks(context)
        self.runs = AsyncRuns(context)
        self.run_queue = AsyncRunQueue(context)

    def __repr__(self) -> str:
        return f"AsyncCoreClaw(base_url={str(self._connections.base_url)!r}, {self._options.credentials!r})"

    @property
    def connections_in_use(self) -> int:
        """Connections that a request holds now; 0 when nothing is under way."""
        return self._connections.connections_in_use

    @property
    def backend(self) -> BackendName:
        """
        What reads go through here, ``httpx`` or ``aiohttp``: under trio always the first.

        Raises:
            ConfigurationError: The client was made with ``backend="aiohttp"``, which cannot be used here.
        """
        return "httpx" if self._connections.sessions() is None else "aiohttp"

    def with_options(
        self,
        *,
        api_key: str | None = None,
        auth: AuthMode | None = None,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
        max_response_bytes: int | None = None,
        offset_dialect: OffsetDialect | None = None,
        poll_schedule: PollSchedule | None = None,
        on_event: EventHook | None = None,
    ) -> Self:
        """
        Return a light copy on the same connections; what is None stays as it is, and so do attributes of a subclass.

        Closing a copy closes nothing; closing the client it was made from closes the connections of both.

        Raises:
            ConfigurationError: The key cannot be right.
            ValueError: A number is out of range.
            TypeError: An argument is of the wrong type, or *on_event* is a coroutine function.
        """
        changes: dict[str, Any] = {
            "timeout": timeout,
            "retry": retry,
            "max_response_bytes": max_response_bytes,
            "offset_dialect": offset_dialect,
            "poll_schedule": poll_schedule,
            "on_event": on_event,
        }
        try:
            if api_key is not None or auth is not None:
                changes["credentials"] = self._options.credentials.but_with(api_key, auth)
        finally:
            api_key = None  # A traceback with local variables would show it.
        options = attrs.evolve(self._options, **{name: new for name, new in changes.items() if new is not None})
        copied = copy_of(self)
        copied._become_copy(options, _copied_context(self._context, options))  # noqa: SLF001 - of the same class
        return copied

    def _become_copy(self, options: _Options, context: Context) -> None:
        self._is_copy = True
        self._options = options
        self._set_up(context)

    def batch(
        self,
        name: str,
        *,
        ledger: str | os.PathLike[str],
        exclusive: bool = False,
        on_ambiguous: OnAmbiguous = "hold",
        settle_times: SettleTimes | None = None,
        shard: Shard | None = None,
        max_spend: Decimal | None = None,
        patience: float = 1800.0,
        account: str | None = None,
    ) -> AsyncBatch:
        """
        Return a batch: many runs under one name, each paid for once, through crashes and on several machines.

        Nothing is opened before its block begins.

        Args:
            name: Name of the batch in its ledger: printable, 1 to 500 letters.
            ledger: ``sqlite:///runs.db`` or a path (a file of this machine, any number of processes),
                ``postgresql://...`` (several machines; extra ``postgres``; not on trio; a failover needs synchronous
                replication, else it loses runs), or ``memory`` (gone with the block). Holds the inputs, and of the key
                a hash only.
            exclusive: Whether nobody else starts runs of these workers. A start whose answer was lost is then settled
                by the list of runs; otherwise it is held. This is no longer relied on once unexplained runs are seen.
            on_ambiguous: What to do with an item when nobody can tell whether it has a run: ``hold`` it for
                the batch's ``resolve``, let it ``fail``, or ``resubmit`` it, which may pay twice.
            settle_times: When a lost start counts as settled.
            shard: The part of the batch to run; None for all of it.
            max_spend: US dollars above 0 that all runs of the batch together may cost, from its first run on and in all
                processes, as it is kept in the ledger. While the cost of a run is unknown, it counts as much as the
                most expensive run so far; and no more runs are in flight than have ended with a known cost. So the
                limit is exceeded only when runs in flight cost more than the most expensive one before. None for the
                limit that an earlier call has set.
            patience: For how many seconds, since the first failure in a row, to retry while the service, or a ledger in
                Postgres, cannot be used; 0 or more. The default outlasts the outages that the service's operators have
                reported.
            account: Your name for the account: printable, 1 to 500 letters, and not its key. All keys that are given
                with the same name share the account's batches, open starts and what is known about its workers, so that
                a new key continues where the old one stopped. None for a hash of the key. A batch that was begun
                without a name gets one when it is opened with a name and the key that it was begun with.

        Raises:
            ValueError: An argument is out of range.
        """
        from coreclaw_async.batch._batch import AsyncBatch

        return AsyncBatch(
            self._context,
            name,
            ledger=ledger,
            exclusive=exclusive,
            on_ambiguous=on_ambiguous,
            settle_times=settle_times,
            shard=shard,
            max_spend=max_spend,
            patience=patience,
            account=account,
        )

    async def aclose(self) -> None:
        """Close the connections, but not an httpx client of yours. A second call does nothing."""
        if not self._is_copy:
            if self._context.hub_link is not None:
                self._context.hub_link.leave()
            await self._connections.aclose()
        tell_left()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


def copy_of(client: C) -> C:
    """Return an object with the attributes of *client*, also those of a subclass, which may refuse to be pickled."""
    copied = object.__new__(type(client))
    for kind in type(client).__mro__:
        for slot in vars(kind).values():
            if isinstance(slot, MemberDescriptorType):
                with contextlib.suppress(AttributeError):  # It is not set.
                    slot.__set__(copied, slot.__get__(client, kind))
    vars(copied).update(vars(client))
    return copied


def show_groups(client: type[Any], **groups: type[Any]) -> None:
    """Give the class of a client, for each of its groups, the group's class, in which `create_autospec` looks."""
    for name, group in groups.items():
        setattr(client, name, group)


show_groups(
    AsyncCoreClaw,
    account=AsyncAccount,
    proxies=AsyncProxies,
    store=AsyncStore,
    workers=AsyncWorkers,
    tasks=AsyncTasks,
    runs=AsyncRuns,
    run_queue=AsyncRunQueue,
)


async def _run_once(context: Context, call: OnceCall) -> Run:
    from coreclaw_async.batch._once import run_once

    return await run_once(context, call)


def _check_kind(name: str, value: object, kind: type) -> None:
    if value is not None and not isinstance(value, kind):
        raise TypeError(f"{name} must be of type {kind.__name__}, not {type(value).__name__}")


def _check_backend(backend: BackendChoice, credentials: Credentials, *, is_ours: bool) -> None:
    if backend not in get_args(BackendChoice):
        shown = credentials.shown(backend)
        raise ConfigurationError(f"backend must be one of {', '.join(get_args(BackendChoice))}, not {shown}")
    if backend == "aiohttp" and not is_ours:
        raise ConfigurationError("backend='aiohttp' excludes http_client and transport, and one of them was given")


@attrs.frozen(kw_only=True)
class _Options:
    """What a light copy may change; checked here, for a client and for each copy of it."""

    credentials: Credentials
    timeout: float
    retry: RetryPolicy
    max_response_bytes: int
    offset_dialect: OffsetDialect
    poll_schedule: PollSchedule
    on_event: EventHook | None

    def __attrs_post_init__(self) -> None:
        check_seconds("timeout", self.timeout)
        _check_kind("retry", self.retry, RetryPolicy)
        check_int("max_response_bytes", self.max_response_bytes, lowest=1)
        if self.offset_dialect not in get_args(OffsetDialect):
            shown = self.credentials.shown(self.offset_dialect)
            raise ConfigurationError(f"offset_dialect must be one of {', '.join(get_args(OffsetDialect))}, not {shown}")
        _check_kind("poll_schedule", self.poll_schedule, PollSchedule)
        if self.on_event is not None:
            check_hook("on_event", self.on_event)

    def settings(self) -> Settings:
        """Return what the transport has to know of them."""
        return Settings(
            credentials=self.credentials,
            timeout=float(self.timeout),
            retry=self.retry,
            max_response_bytes=self.max_response_bytes,
            on_event=self.on_event,
        )


def _new_context(options: _Options, connections: Connections, clock: Clock, callbacks: CallbackHub | None) -> Context:
    """Return the context of a new client."""
    known = KnownIds()
    poller = RunPoller(clock)
    hub_link = None if callbacks is None else HubLink(callbacks, known, clock)
    if hub_link is not None:
        hub_link.serve(poller)
    transport = Transport(connections, options.settings(), clock, RateGate(clock))
    return Context(
        transport=transport,
        offsets=OffsetCache(clock),
        dialect=options.offset_dialect,
        schedule=options.poll_schedule,
        known=known,
        poller=poller,
        shared_transport=transport,
        shared_dialect=options.offset_dialect,
        hub_link=hub_link,
        slots=SlotLine(clock),
    )


def _copied_context(context: Context, options: _Options) -> Context:
    """Return the context of a light copy; what many calls share stays shared, unless the key is another one."""
    is_other_key = options.credentials is not context.settings.credentials
    copied = attrs.evolve(
        context,
        transport=context.transport.with_settings(options.settings()),
        dialect=options.offset_dialect,
        schedule=options.poll_schedule,
    )
    if not is_other_key:
        return copied
    # Another key may be another account, whose lists hold other runs.
    poller = RunPoller(context.clock)
    if context.hub_link is not None:
        context.hub_link.serve(poller)
    return attrs.evolve(
        copied,
        poller=poller,
        shared_transport=copied.transport,
        shared_dialect=copied.dialect,
        slots=SlotLine(context.clock),
    )


def _environment(name: str) -> str | None:
    """Return a setting from the environment; a blank one is none."""
    return os.environ.get(name, "").strip() or None


def _credentials(key: str | None, mode: AuthMode) -> Credentials:
    """Return the credentials that the caller gave, or else the environment."""
    source = "CORECLAW_API_KEY" if key is None else "api_key"
    try:
        return Credentials(_environment("CORECLAW_API_KEY") if key is None else key, mode)
    except ConfigurationError as error:
        raise ConfigurationError(error.message.replace("api_key", source)) from None
    finally:
        key = None  # A traceback with local variables would show it.


def _find_base_url(given: str | None, credentials: Credentials) -> httpx.URL:
    """Return the base URL that was given, or that of the environment, or the public one."""
    if given is not None:
        return parse_base_url("base_url", given, credentials)
    return parse_base_url("CORECLAW_BASE_URL", _environment("CORECLAW_BASE_URL") or DEFAULT_BASE_URL, credentials)
