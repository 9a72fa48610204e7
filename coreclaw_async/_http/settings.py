"""Settings: what the light copies of one client may do differently."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from coreclaw_async._wire.credentials import Credentials
from coreclaw_async._wire.retry import RetryPolicy
from coreclaw_async.events import Event


@attrs.frozen(kw_only=True)
class Settings:
    """
    What `with_options` may change from one copy of a client to the next.

    Attributes:
        credentials: The key and how it travels.
        timeout: Seconds one call may take: queueing, attempts and waits together.
        retry: How often and how patiently a request is retried.
        max_response_bytes: Largest answer that is read, unpacked.
        on_event: Called with each event, or None.
    """

    credentials: Credentials
    timeout: float
    retry: RetryPolicy
    max_response_bytes: int
    on_event: Callable[[Event], None] | None = None
