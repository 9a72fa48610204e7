"""The options of a client and of its light copies, checked, and the context that they make."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, get_args

from coreclaw_async._concurrency.clock import Clock
from coreclaw_async._http.connections import Connections
from coreclaw_async._http.extra_headers import ExtraHeaders
from coreclaw_async._http.rate_gate import RateGate
from coreclaw_async._http.settings import Settings
from coreclaw_async._http.transport import Transport
from coreclaw_async._operations.context import Context
from coreclaw_async._operations.hub_link import HubLink
from coreclaw_async._operations.known_ids import KnownIds
from coreclaw_async._operations.slot_queue import SlotQueue
from coreclaw_async._paging.offsets import OffsetCache, OffsetDialect
from coreclaw_async._polling.poller import RunPoller
from coreclaw_async._polling.schedule import PollSchedule
from coreclaw_async._wire.credentials import Credentials
from coreclaw_async._wire.request import check_hook, check_int, check_seconds
from coreclaw_async._wire.retry import RetryPolicy
from coreclaw_async.errors import ConfigurationError

if TYPE_CHECKING:
    from coreclaw_async.callbacks import CallbackHub
    from coreclaw_async.events import EventHook


class ClientOptions(NamedTuple):
    """What a light copy may change; to be checked for a client and for each copy of it."""

    credentials: Credentials
    timeout: float
    retry: RetryPolicy
    max_response_bytes: int
    offset_dialect: OffsetDialect
    poll_schedule: PollSchedule
    on_event: EventHook | None
    headers: ExtraHeaders
    user_agent: str

    def check(self) -> None:
        """Raise where one of them cannot be right."""
        check_seconds("timeout", self.timeout)
        check_kind("retry", self.retry, RetryPolicy)
        check_int("max_response_bytes", self.max_response_bytes, lowest=1)
        if self.offset_dialect not in get_args(OffsetDialect):
            shown = self.credentials.shown(self.offset_dialect)
            raise ConfigurationError(f"offset_dialect must be one of {', '.join(get_args(OffsetDialect))}, not {shown}")
        check_kind("poll_schedule", self.poll_schedule, PollSchedule)
        if self.on_event is not None:
            check_hook("on_event", self.on_event)

    def settings(self) -> Settings:
        """Return what the transport has to know of them."""
        return Settings(
            credentials=self.credentials,
            timeout=float(self.timeout),
            retry=self.retry,
            max_response_bytes=self.max_response_bytes,
            hooks=() if self.on_event is None else (self.on_event,),
            headers=self.headers,
            user_agent=self.user_agent,
        )


def new_context(
    options: ClientOptions, connections: Connections, clock: Clock, callbacks: CallbackHub | None
) -> Context:
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
        slots=SlotQueue(clock),
    )


def copied_context(context: Context, options: ClientOptions) -> Context:
    """Return the context of a light copy; what many calls share stays shared, unless the key is another one."""
    is_other_key = options.credentials is not context.settings.credentials
    copied = context._replace(
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
    return copied._replace(
        poller=poller,
        shared_transport=copied.transport,
        shared_dialect=copied.dialect,
        slots=SlotQueue(context.clock),
    )


def check_kind(name: str, value: object, *kinds: type) -> None:
    """Raise a TypeError unless *value* is None or of one of *kinds*."""
    if value is not None and not isinstance(value, kinds):
        raise TypeError(f"{name} must be of type {kinds[0].__name__}, not {type(value).__name__}")
