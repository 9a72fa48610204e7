"""Messages while the service cannot be used, so that a command does not wait in silence."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar

import attrs

from coreclaw_async import events
from coreclaw_async.cli._screen.screen import Screen

_EVERY = 60.0
"""Seconds between two equal messages."""

_SECOND = 2
_CANCELLED = "Cancelled"
_UNREACHABLE = frozenset({"RequestNotSentError", "SendTimeoutError"})
_BROKEN = "InvalidResponseError"


@attrs.define(eq=False)
class OutageNews:
    """
    Reports failing requests, from the second failure in a row on and at most once a minute, and when they work again.

    An unknown run is no outage, as other runs are awaited in the meantime. It is reported once, with its id.

    Attributes:
        screen: Where messages are shown.
        now: Returns the seconds of a monotonic clock.
    """

    screen: Screen
    now: Callable[[], float] = time.monotonic
    _is_retried: bool = attrs.field(default=False, init=False)
    _is_said: bool = attrs.field(default=False, init=False)
    _say_at: dict[str, float] = attrs.field(factory=dict[str, float], init=False)
    _looks: Counter[str] = attrs.field(factory=Counter[str], init=False)

    def note(self, event: events.Event) -> None:
        """Record an event of the client."""
        if not isinstance(event, events.RequestSent) or event.error == _CANCELLED:
            return
        if event.error is None:
            self._note_success()
        elif event.operation == "getWorkerRun" and event.error == "NotFoundError":
            self._note_unknown(event.path.rpartition("/")[2])
        else:
            self._note_failure(_what(event))

    def _note_success(self) -> None:
        if self._is_said:
            self.screen.complain("The service answers again.")
        self._is_retried = self._is_said = False

    def _note_unknown(self, run_id: str) -> None:
        self._looks[run_id] += 1
        if self._looks[run_id] == _SECOND:
            self.screen.complain(f"The service does not know run {run_id}; trying for a minute, as the run may be new.")

    def _note_failure(self, what: str | None) -> None:
        if what is None:
            return
        # The first failure may be the last, and the command then reports it itself.
        if self._is_retried and self.now() >= self._say_at.get(what, 0.0):
            self.screen.complain(f"{what}; still trying. Ctrl-C stops it.")
            self._is_said, self._say_at[what] = True, self.now() + _EVERY
        self._is_retried = True


def _what(event: events.RequestSent) -> str | None:
    """Return why the service cannot be used, or None if it has answered."""
    if event.error == "RateLimitedError":
        return "The service asks for fewer requests"
    if event.error in _UNREACHABLE:
        return "The service cannot be reached"
    if event.status_code is None:
        return "The service does not answer"
    if event.error == _BROKEN:
        return f"The service's answer cannot be read (HTTP {event.status_code})"
    # An answer without a code does not come from the service itself.
    if event.code is None or event.error == "ServiceError":
        return f"The service fails (HTTP {event.status_code})"
    return None


NEWS: ContextVar[OutageNews | None] = ContextVar("coreclaw_async_outage_news", default=None)
"""The messages of the current command: one object for all its clients, so that nothing is repeated."""


def current_news() -> OutageNews:
    """Return what reports outages in the current command."""
    return NEWS.get() or OutageNews(Screen())
