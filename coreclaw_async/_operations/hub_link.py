"""A client's side of a `CallbackHub`: what a callback tells a client, and which starts wait for one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakSet

import anyio

from coreclaw_async._concurrency.clock import Clock
from coreclaw_async._concurrency.loops import call_soon, current_loop
from coreclaw_async._operations.known_ids import KnownIds

if TYPE_CHECKING:
    from coreclaw_async._polling.poller import RunPoller
    from coreclaw_async.callbacks import CallbackHub
    from coreclaw_async.events import StartReconciled

_MAX_UNKNOWN = 10_000


class HubLink:
    """
    The hub of a client and of its light copies.

    A callback wakes the waits for its run, makes the run known, so that it is a candidate for no unknown start, and
    settles the one start whose URL it came to.
    """

    def __init__(self, hub: CallbackHub, known: KnownIds, clock: Clock) -> None:
        from coreclaw_async.callbacks import join_hub  # Who has a hub has loaded it; others need not.

        self.hub = hub
        self._known = known
        self._clock = clock
        self._pollers: WeakSet[RunPoller] = WeakSet()
        # Both by URL.
        self._waiting: dict[str, tuple[object, anyio.CancelScope]] = {}
        self._unknown: dict[str, Callable[[StartReconciled], None]] = {}
        self._lock = threading.Lock()
        join_hub(hub, self)

    def serve(self, poller: RunPoller) -> None:
        """Wake the waits of *poller* too."""
        with self._lock:
            self._pollers.add(poller)

    def called_back(self, url: str, run_id: str | None) -> None:
        """Record a callback; the hub calls this in a thread of its own."""
        if run_id is None:
            return
        self._known.add(run_id)
        with self._lock:
            pollers = list(self._pollers)
            waiting = self._waiting.get(url)
            tell = self._unknown.pop(url, None)
        for poller in pollers:
            poller.wake(run_id)
        if waiting is not None:
            loop, scope = waiting
            call_soon(loop, scope.cancel)
        if tell is not None:
            from coreclaw_async.events import StartReconciled

            tell(StartReconciled(run_id=run_id))

    async def run_started_with(
        self, url: str, *, seconds: float, tell_later: Callable[[StartReconciled], None]
    ) -> str | None:
        """Return the run whose callback came to *url* in *seconds*, or None: a later one goes to *tell_later*."""
        with anyio.CancelScope() as scope:
            with self._lock:
                self._waiting[url] = current_loop(), scope
            try:
                if self.hub.run_id_of(url) is None:
                    await self._clock.sleep(seconds)
            finally:
                with self._lock:
                    del self._waiting[url]
        with self._lock:
            self._unknown[url] = tell_later
            if len(self._unknown) > _MAX_UNKNOWN:
                del self._unknown[next(iter(self._unknown))]
        # Asked after that, so that no callback falls between the two.
        run_id = self.hub.run_id_of(url)
        if run_id is not None:
            with self._lock:
                self._unknown.pop(url, None)
        return run_id

    def leave(self) -> None:
        """Leave the hub."""
        from coreclaw_async.callbacks import leave_hub

        leave_hub(self.hub, self)
