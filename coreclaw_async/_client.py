"""AsyncCoreClaw: the pool, the key, and the groups of endpoints as attributes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from types import MemberDescriptorType, TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, get_args

import httpx

from coreclaw_async import models
from coreclaw_async._concurrency.calls import tell_left
from coreclaw_async._concurrency.clock import Clock, SystemClock
from coreclaw_async._http.backend import BackendChoice, BackendName
from coreclaw_async._http.base_url import parse_base_url
from coreclaw_async._http.connections import Connections
from coreclaw_async._http.extra_headers import ExtraHeaders, user_agent
from coreclaw_async._http.libraries import HttpClient, kinds
from coreclaw_async._http.route import Route, Verify
from coreclaw_async._logs import turn_on_where_asked
from coreclaw_async._operations.context import Context
from coreclaw_async._operations.lazy_group import LazyGroup
from coreclaw_async._operations.options import ClientOptions, check_kind, copied_context, new_context
from coreclaw_async._paging.offsets import OffsetDialect
from coreclaw_async._polling.schedule import PollSchedule
from coreclaw_async._wire.credentials import AuthMode, Credentials
from coreclaw_async._wire.request import RequestSafety, check_int
from coreclaw_async._wire.retry import RetryPolicy
from coreclaw_async.errors import ConfigurationError

if TYPE_CHECKING:
    # Imported late elsewhere: not every program has batches, or uses every group.
    from decimal import Decimal

    from coreclaw_async._operations.once import OnceCall
    from coreclaw_async._resources.account import AsyncAccount
    from coreclaw_async._resources.proxies import AsyncProxies
    from coreclaw_async._resources.run_queue import AsyncRunQueue
    from coreclaw_async._resources.runs import AsyncRuns
    from coreclaw_async._resources.store import AsyncStore
    from coreclaw_async._resources.tasks import AsyncTasks
    from coreclaw_async._resources.workers import AsyncWorkers
    from coreclaw_async.batch._batch import AsyncBatch
    from coreclaw_async.batch._context import OnAmbiguous
    from coreclaw_async.batch._evidence import SettleTimes
    from coreclaw_async.batch._shard import Shard
    from coreclaw_async.callbacks import CallbackHub
    from coreclaw_async.events import EventHook
    from coreclaw_async.models import Run
else:  # What a signature shows when its annotations are evaluated. They load when somebody listens, or has a hub.
    CallbackHub = Any
    EventHook = Callable[[Any], None]

C = TypeVar("C")

DEFAULT_BASE_URL = "https://openapi.coreclaw.com"
DEFAULT_TIMEOUT = 60.0
DEFAULT_MAX_CONNECTIONS = 100
DEFAULT_MAX_RESPONSE_BYTES = 100 * 2**20


async def _run_once(context: Context, call: OnceCall) -> Run:
    from coreclaw_async.batch._once import run_once

    return await run_once(context, call)


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

    Example::

        async with AsyncCoreClaw() as client:
            run = await client.workers.run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]})
            rows = await client.runs.iterate_results(run).collect()
    """

    if TYPE_CHECKING:
        account: AsyncAccount
        proxies: AsyncProxies
        store: AsyncStore
        workers: AsyncWorkers
        tasks: AsyncTasks
        runs: AsyncRuns
        run_queue: AsyncRunQueue
    else:
        account = LazyGroup("AsyncAccount")
        proxies = LazyGroup("AsyncProxies")
        store = LazyGroup("AsyncStore")
        workers = LazyGroup("AsyncWorkers", _run_once)
        tasks = LazyGroup("AsyncTasks")
        runs = LazyGroup("AsyncRuns")
        run_queue = LazyGroup("AsyncRunQueue")

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
        http_client: HttpClient | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        backend: BackendChoice = "auto",
        headers: Mapping[str, str] | None = None,
        user_agent_suffix: str | None = None,
        proxy: str | None = None,
        verify: Verify = True,
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
            http_client: Your own httpx client, or one of httpx2, used instead of the built-in connections. You close
                it. Its headers, parameters, cookies and ``User-Agent`` are sent to the API, but not to storage hosts,
                save those that this client writes itself. Its ``auth`` is not used, and it follows no redirects.
                Answers of the API are read before its response hooks are called, and what these raise is only logged.
            transport: An httpx transport, for example a `coreclaw_async.testing.FakeService`; closed with this client.
                Only two kinds are trusted to say that a start has not left: httpx's own, and those whose attribute
                ``tells_what_leaves`` is True because they tell httpcore's ``trace`` extension of all that they send.
            backend: What reads go through: ``auto`` for aiohttp where the extra ``speed`` is installed, and httpx
                elsewhere and under trio; ``httpx``; or ``aiohttp``, and an error where it cannot be used. Whatever
                changes something goes through httpx, and so do downloads, and all requests of an *http_client* or
                *transport*. Behind a proxy that is not reached by http, aiohttp cannot be used.
            headers: Headers to add to each request to the API, the three public operations included, in printable
                ASCII; storage hosts never get them. Not those that the client writes itself, such as
                ``Authorization`` and ``Content-Type``.
            user_agent_suffix: What to add to the ``User-Agent`` of requests to the API, such as ``my-backend/1.2``: 1
                to 200 characters of printable ASCII.
            proxy: The URL of a proxy for all hosts: ``http://host:8080``, with ``user:password@`` before the host where
                it asks for them; also ``https``, and ``socks5`` or ``socks5h`` with ``httpx[socks]``. None for the
                proxy that the environment names.
            verify: Whose certificates to trust, for the API, storage hosts, and proxies reached by https: the usual
                ones (True), those in a file or folder of PEM certificates (its path, read now) or of an
                ``ssl.SSLContext``, and no others; or anybody's (False), who can then read the key.
            callbacks: The hub that the service's callbacks come to: each start then has a URL of its own, and a
                callback ends a wait sooner and settles a start whose answer was lost.
            on_event: Called with each event (`coreclaw_async.events`); a plain function, which must return soon. Its
                errors are only logged.
            clock: Where time comes from; for tests, together with a `FakeService`.

        Raises:
            ConfigurationError: The key, the base URL or the backend cannot be right, or both *http_client* and
                *transport* were given, or one of them with ``backend="aiohttp"``, *proxy* or *verify*; *proxy* is no
                URL of a proxy, or no certificates can be read at *verify*.
            ValueError: A number is out of range, or a header cannot be sent.
            TypeError: An argument is of the wrong type, or *on_event* is a coroutine function.
        """
        try:
            credentials = _credentials(api_key, auth)
            _check_ways(http_client, transport, backend, has_route=proxy is not None or verify is not True)
            extra_headers = ExtraHeaders.of(headers, credentials)
            route = Route.of(proxy, verify, credentials)
        finally:
            api_key = headers = proxy = None  # A traceback with local variables would show them.
        turn_on_where_asked(credentials.shown)
        check_kind("http_client", http_client, *kinds("AsyncClient"))
        check_kind("transport", transport, httpx.AsyncBaseTransport)
        _check_backend(backend, credentials)
        _check_callbacks(callbacks)
        options = ClientOptions(
            credentials=credentials,
            timeout=timeout,
            retry=RetryPolicy() if retry is None else retry,
            max_response_bytes=max_response_bytes,
            offset_dialect=offset_dialect,
            poll_schedule=PollSchedule() if poll_schedule is None else poll_schedule,
            on_event=on_event,
            headers=extra_headers,
            user_agent=user_agent(user_agent_suffix, credentials),
        )
        options.check()
        connections = Connections(
            base_url=_find_base_url(base_url, credentials),
            max_connections=check_int("max_connections", max_connections, lowest=1),
            http_client=http_client,
            transport=transport,
            backend=backend,
            route=route,
        )
        self._is_copy = False
        self._options = options
        self._connections = connections
        self._context = new_context(options, connections, SystemClock() if clock is None else clock, callbacks)

    def __repr__(self) -> str:
        if "_connections" not in vars(self):  # A traceback with local variables shows it when `__init__` has failed.
            return "AsyncCoreClaw(...)"
        return f"AsyncCoreClaw(base_url={str(self._connections.base_url)!r}, {self._options.credentials!r})"

    @property
    def connections_in_use(self) -> int:
        """Connections that a request holds now; 0 when nothing is under way."""
        return self._connections.connections_in_use

    @property
    def backend(self) -> BackendName:
        """
        What reads go through here, ``httpx`` or ``aiohttp``; under trio it is always ``httpx``.

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
        headers: Mapping[str, str] | None = None,
    ) -> Self:
        """
        Return a light copy on the same connections; what is None stays as it is, and so do attributes of a subclass.

        Closing a copy closes nothing; closing the client it was made from closes the connections of both.

        One look at runs serves all waits of a client and its copies: a request for a run is told to the *on_event* of
        each that waits for it, and a list of runs to that of each that it was read for, once.

        Args:
            api_key: Another key, for the same service.
            auth: How the key is sent: ``bearer``, ``api-key`` or ``query``.
            timeout: Seconds one call may take, above 0: queueing, attempts and waits together.
            retry: How often and how patiently a request is retried, where that is safe.
            max_response_bytes: Largest answer that is read, unpacked, 1 or more.
            offset_dialect: What ``offset`` means to the service: ``auto``, ``row`` or ``page``.
            poll_schedule: When to look at a run that is waited for.
            on_event: Called with each event of the copy, instead of the hook of the client.
            headers: Headers to add to each request to the API, instead of those that the client adds; an empty mapping
                adds none.

        Raises:
            ConfigurationError: The key cannot be right.
            ValueError: A number is out of range, or a header cannot be sent.
            TypeError: An argument is of the wrong type, or *on_event* is a coroutine function.

        Example::

            patient = client.with_options(timeout=300)  # On the same connections.
            account = await patient.account.get()
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
            if headers is not None:
                changes["headers"] = ExtraHeaders.of(headers, changes.get("credentials", self._options.credentials))
        finally:
            api_key = headers = None  # A traceback with local variables would show them.
        options = self._options._replace(**{name: new for name, new in changes.items() if new is not None})
        options.check()
        copied = copy_of(self)
        copied._become_copy(options, copied_context(self._context, options))  # noqa: SLF001 - of the same class
        return copied

    def _become_copy(self, options: ClientOptions, context: Context) -> None:
        self._is_copy = True
        self._options = options
        self._context = context
        for name, member in vars(AsyncCoreClaw).items():
            if isinstance(member, LazyGroup):  # Copied with the other attributes, and bound to the other context.
                vars(self).pop(name, None)

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int | bool | None] | None = None,
        body: dict[str, Any] | Sequence[Any] | None = None,
        safety: RequestSafety | None = None,
    ) -> models.Reply:
        """
        Send a request to an endpoint that has no method here, and return its answer as it came.

        The key, the deadline, the rate limit, retries and errors are those of all other calls, and the answer must be
        the service's own (JSON with a ``code``). Retried as *safety* says. A request that must be sent once and gets no
        clear answer raises OutcomeUnknownError; so does a start whose answer names no run. Its candidates are what the
        request may have made: runs of the worker that its path names, tasks, or items of the run queue; runs of any
        worker where the path does not tell. They are None where nothing was found but something else may be made,
        and for an abort.

        *body* is sent as it is, so a start has no URL of the client's hub unless you write one into it: with
        ``"callback_url": hub.new_url()`` a callback ends waits and settles a lost answer as it does for
        `workers.start_run`.

        A request that was repeated may be refused because its first attempt took effect and the answer was lost: a
        DELETE then ends in NotFoundError, whose ``may_have_taken_effect`` is true.

        Args:
            method: GET, POST, PUT, PATCH or DELETE.
            path: The whole path from the base URL on, percent-encoded and without a query, such as
                ``/api/v2/worker-runs/01K.../metrics``; it must begin with ``/api/``.
            query: The members of the query; those that are None are left out, and a bool is ``true`` or ``false``.
            body: A dict or a list, which is sent as JSON; None for no body.
            safety: ``safe`` for what reads only, ``repeatable`` for what leads to the same state when it is sent again,
                ``once`` for what may start, create or pay for something. None is ``safe`` for GET; all other methods
                need one, and starts need ``once``.

        Raises:
            OutcomeUnknownError: It was to be sent once, and may have taken effect.
            ApiError: The service refused or failed.
            ValueError: An argument cannot be right, or holds the key.
            TypeError: An argument is of the wrong type, or JSON cannot express *body*.

        Example::

            reply = await client.request("GET", "/api/v2/users/account")
            print(reply.status_code, reply.data)
        """
        from coreclaw_async._operations.any_request import AnyRequests

        calls = AnyRequests(self._context)
        return await calls.request(method, path, query=query, body=body, safety=safety)

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
            name: Name of the batch in its ledger: printable, 1 to 500 characters.
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
            patience: For how many seconds, since the first failure in a row, to retry while the service or a ledger in
                Postgres cannot be used, or another process has locked one in SQLite, for which half a minute is the
                least; 0 or more. The default outlasts the outages that the service's operators have reported.
            account: Your name for the account: printable, 1 to 500 characters, and not its key. All keys that are given
                with the same name share the account's batches, open starts and what is known about its workers, so that
                a new key continues where the old one stopped. None for a hash of the key. A batch that was begun
                without a name gets one when it is opened with a name and the key that it was begun with.

        Raises:
            ValueError: An argument is out of range.

        Example::

            async with client.batch("weekly", ledger="sqlite:///runs.db") as batch:
                await batch.plan(
                    [RunSpec(key="mate", worker_id="coreclaw/google-maps-scraper", input={"keywords": ["mate"]})]
                )
                async for outcome in batch.run():
                    print(outcome.key, outcome.state)
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
        """
        Close the connections, but not an httpx client of yours. A second call does nothing.

        Example::

            client = AsyncCoreClaw()
            try:
                print(await client.account.get())
            finally:
                await client.aclose()
        """
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


def _check_ways(http_client: object, transport: object, backend: object, *, has_route: bool) -> None:
    """Raise where two arguments exclude each other that say how requests are sent."""
    if http_client is not None and transport is not None:
        raise ConfigurationError("http_client and transport exclude each other, and both were given")
    if http_client is None and transport is None:
        return
    if backend == "aiohttp":
        raise ConfigurationError("backend='aiohttp' excludes http_client and transport, and one of them was given")
    if has_route:
        name = "transport" if http_client is None else "http_client"
        raise ConfigurationError(f"proxy and verify exclude {name}: set them where you make that {name}")


def _check_backend(backend: BackendChoice, credentials: Credentials) -> None:
    if backend not in get_args(BackendChoice):
        shown = credentials.shown(backend)
        raise ConfigurationError(f"backend must be one of {', '.join(get_args(BackendChoice))}, not {shown}")


def _check_callbacks(callbacks: object) -> None:
    if callbacks is not None:
        from coreclaw_async.callbacks import CallbackHub as Hub

        check_kind("callbacks", callbacks, Hub)


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
