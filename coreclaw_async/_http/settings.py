"""Settings: what `with_options` may change from one copy of a client to the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from coreclaw_async._http.extra_headers import USER_AGENT, ExtraHeaders
from coreclaw_async._wire.credentials import Credentials
from coreclaw_async._wire.retry import RetryPolicy

if TYPE_CHECKING:
    from coreclaw_async.events import Event


class Settings(NamedTuple):
    """
    The settings of one client or light copy.

    Attributes:
        credentials: The key and how it travels.
        timeout: Seconds that one call may take, with queueing, attempts and waits.
        retry: How often and for how long a request is retried.
        max_response_bytes: Size of the largest answer that is read, unpacked.
        hooks: Called with each event, one after another.
        headers: What the caller adds to the headers of requests to the API.
        user_agent: The ``User-Agent`` of these.
    """

    credentials: Credentials
    timeout: float
    retry: RetryPolicy
    max_response_bytes: int
    hooks: tuple[Callable[[Event], None], ...] = ()
    headers: ExtraHeaders = ExtraHeaders()
    user_agent: str = USER_AGENT
