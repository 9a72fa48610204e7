"""What the callbacks to one URL have said about its run."""

from __future__ import annotations

import re
from typing import Any

import attrs

from coreclaw_async._logs import facts, logger
from coreclaw_async.models import RunStatus

_RUN_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
# Now, until July 2026, and in the first version of the API (docs, api/callbacks).
_ID_MEMBERS = ("run_slug", "run_id")
_STATUS_MEMBERS = ("run_status", "status")
_MAX_STATUSES = 16
_MAX_STATUS_LETTERS = 16


@attrs.define
class CallbackRecord:
    """
    One URL: what proves it, and what is known about its run.

    Attributes:
        name: The name of the URL.
        proof: What proves it.
        run_id: The run, if it is known.
        queue_id: The queue item that the start was answered with.
        statuses: The statuses that callbacks about this run had.
        untold: Those that the hook was not told of yet, as the run was not known; each as it is told.
    """

    name: str
    proof: str = attrs.field(repr=False)
    run_id: str | None = None
    queue_id: str | None = None
    statuses: set[str] = attrs.field(factory=set[str])
    untold: dict[str, RunStatus | str | None] = attrs.field(factory=dict[str, RunStatus | str | None])

    def bind(self, run_id: str) -> None:
        """Take the run that the start was answered with, which outranks the one that callbacks have named."""
        if self.run_id not in {None, run_id}:
            self.statuses.clear()
            self.untold.clear()
        self.run_id = run_id

    def take(self, payload: dict[str, Any]) -> bool:
        """Record what a callback says, and return whether that is new; what names another run is not believed."""
        named = _named_run(payload)
        if named is not None and self.run_id not in {None, named}:
            logger.warning(
                "a callback names another run than %s, whose URL it came to; it is not believed",
                self.run_id,
                extra=facts(run_id=self.run_id),
            )
            return False
        status = next((payload[name] for name in _STATUS_MEMBERS if payload.get(name) is not None), None)
        shown = "" if status is None else str(status).lower()[:_MAX_STATUS_LETTERS]
        is_new = status is None
        if status is not None and shown not in self.statuses and len(self.statuses) < _MAX_STATUSES:
            self.statuses.add(shown)
            is_new = True
        if is_new:
            self.untold[shown] = _status_of(status)
        if named is not None and self.run_id is None:
            self.run_id = named
            is_new = True
        return is_new

    def take_untold(self) -> list[RunStatus | str | None]:
        """Return what the hook was not told yet, once the run is known, and only once."""
        if self.run_id is None:
            return []
        untold, self.untold = self.untold, {}
        if len(untold) > 1:
            untold.pop("", None)
        return list(untold.values())


def _named_run(payload: dict[str, Any]) -> str | None:
    named = next((payload[name] for name in _ID_MEMBERS if isinstance(payload.get(name), str)), "")
    return named if _RUN_ID.fullmatch(named) and named != "last" else None


def _status_of(value: Any) -> RunStatus | str | None:
    """Return the status in a callback, which may hold anything."""
    from coreclaw_async._wire.member_values import WrongTypeError, read_status  # Not every client has a hub.

    try:
        status = read_status(value)
    except WrongTypeError:
        return None
    # Line breaks and escape codes would do harm in a log.
    return status if status and len(status) <= _MAX_STATUS_LETTERS and status.isprintable() else None
