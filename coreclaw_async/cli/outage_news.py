"""What a command says while it cannot get through to the service, which it would else wait for in silence."""

from __future__ import annotations

import time
from http import HTTPStatus

import attrs

from coreclaw_async import events
from coreclaw_async.cli.screen import Screen

_EVERY = 60.0
"""Seconds after which the same is said again."""

_UNREACHABLE = frozenset({"RequestNotSentError", "SendTimeoutError"})


@attrs.define(eq=False)
class OutageNews:
    """
    Says once, and then once a minute, that requests fail and are made again; and that they succeed again.

    Attributes:
        screen: Where it is said.
    """

    screen: Screen
    _is_retried: bool = attrs.field(default=False, init=False)
    _said: str | None = attrs.field(default=None, init=False)
    _say_at: float = attrs.field(default=0.0, init=False)

    def note(self, event: events.Event) -> None:
        """Take note of what the client tells."""
        if isinstance(event, events.RequestSent):
            self._note_request(event)

    def _note_request(self, event: events.RequestSent) -> None:
        if event.error is None:
            if self._said is not None:
                self.screen.complain("The service answers again.")
            self._is_retried, self._said = False, None
            return
        what = _what(event)
        if what is None:
            return
        # The first failure may be the end of the command, which says why.
        if self._is_retried and (what != self._said or time.monotonic() >= self._say_at):
            self.screen.complain(f"{what}; still trying. Ctrl-C ends that.")
            self._said, self._say_at = what, time.monotonic() + _EVERY
        self._is_retried = True


def _what(event: events.RequestSent) -> str | None:
    """Return what keeps the service from being used, or None where it has said its word."""
    if event.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        return "The service asks for fewer requests"
    if event.error == "NotFoundError":
        return "The service knows no such run so far" if event.operation.startswith("getWorkerRun") else None
    if event.error in _UNREACHABLE:
        return "The service cannot be reached"
    if event.status_code is None:
        return "The service does not answer"
    if event.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return f"The service fails (HTTP {event.status_code})"
    return None
