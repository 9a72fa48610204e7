"""The contexts that a batch sends with: its requests are counted, and its starts are never retried by the client."""

from __future__ import annotations

from coreclaw_async._operations.context import Context
from coreclaw_async._operations.known_ids import KnownIds
from coreclaw_async._wire.retry import RetryPolicy
from coreclaw_async.events import Event, RequestSent


class RequestCount:
    """
    How many HTTP requests were sent for a batch.

    Attributes:
        count: How many.
    """

    def __init__(self) -> None:
        self.count = 0

    def counting(self, context: Context) -> Context:
        """Return *context* with its requests counted."""
        transport = context.transport

        def count(event: Event) -> None:
            if isinstance(event, RequestSent):
                self.count += 1

        settings = transport.settings._replace(hooks=(count, *transport.settings.hooks))
        return context._replace(transport=transport.with_settings(settings))


def sent_once(context: Context) -> Context:
    """
    Return *context* for starts: what may be retried is decided by the batch, after a look into the ledger.

    It remembers no ids: a run that an answer has named and that the ledger does not know must stay a candidate.
    """
    transport = context.transport
    settings = transport.settings._replace(retry=RetryPolicy(max_attempts=1))
    return context._replace(transport=transport.with_settings(settings), known=KnownIds())
