"""What a command says while it cannot get through to the service, which it would else wait for in silence."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar

import attrs

from coreclaw_async import events
from coreclaw_async.cli._screen.screen import Screen

_EVERY = 60.0
"""Seconds after which the same is said again."""

_SECOND = 2
_CANCELLED = "Cancelled"
_UNREACHABLE = frozenset({"RequestNotSentError", "SendTimeoutError"})
_FAILS = frozenset({"InvalidResponseError", "ServiceError"})


@attrs.define(eq=False)
class OutageNews:
    """
    Says at the second failure in a row, and at most once a minute, that requests fail and are made again.

    That they succeed again is said too. A run that the service does not know is no outage: others are waited for
    without a word meanwhile, so it is said once of each, by its name.

    Attributes:
        screen: Where it is said.
        now: Returns seconds of a clock that is never set.
    """

    screen: Screen
    now: Callable[[], float] = time.monotonic
    _is_retried: bool = attrs.field(default=False, init=False)
    _is_said: bool = attrs.field(default=False, init=False)
    _say_at: dict[str, float] = attrs.field(factory=dict[str, float], init=False)
    _looks: Counter[str] = attrs.field(factory=Counter[str], init=False)

    def note(self, event: events.Event) -> None:
        """Record what the client tells."""
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
            self.screen.complain(f"The service knows no run {run_id}; it is looked for for a minute, as it may be new.")

    def _note_failure(self, what: str | None) -> None:
        if what is None:
            return
        # The first failure may be the end of the command, which says why.
        if self._is_retried and self.now() >= self._say_at.get(what, 0.0):
            self.screen.complain(f"{what}; still trying. Ctrl-C ends that.")
            self._is_said, self._say_at[what] = True, self.now() + _EVERY
        self._is_retried = True


def _what(event: events.RequestSent) -> str | None:
    """Return what keeps the service from being used, or None where it has said its word."""
    if event.error == "RateLimitedError":
        return "The service asks for fewer requests"
    if event.error in _UNREACHABLE:
        return "The service cannot be reached"
    if event.status_code is None:
        return "The service does not answer"
    # What has no code is the word of somebody who stands before the service.
    if event.code is None or event.error in _FAILS:
        return f"The service fails (HTTP {event.status_code})"
    return None


NEWS: ContextVar[OutageNews | None] = ContextVar("coreclaw_async_outage_news", default=None)
"""Those of the command under way: one for all its clients, so that nothing is said twice."""


def current_news() -> OutageNews:
    """Return what tells of outages in the command under way."""
    return NEWS.get() or OutageNews(Screen())
