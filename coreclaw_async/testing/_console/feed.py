"""What a page is told again and again: the clock, the counts, the runs it shows, planned faults and new requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import define, field

from coreclaw_async.testing._console.excerpts import cut
from coreclaw_async.testing._console.fault_menu import show_menu, show_planned
from coreclaw_async.testing._console.survey import WINDOW, RunWindow, Surveyor, write_amount

if TYPE_CHECKING:
    from coreclaw_async.testing._serving.backend import Backend
    from coreclaw_async.testing._state.records import RecordedRequest
    from coreclaw_async.testing._state.world import World

MAX_REQUESTS = 100
"""How many requests are told at once, and watched until they end; of more only the newest."""

_MAX_FAULTS = 50
_MAX_STATUSES = 30
_MAX_FAULT = 200
_MAX_PATH = 200


@define(eq=False)
class RequestTail:
    """The end of a list of requests that grows, and may be replaced or cleared."""

    _is_told: bool = False
    _seen: int = 0
    _last: RecordedRequest | None = None
    _open: dict[int, RecordedRequest] = field(factory=dict[int, "RecordedRequest"])

    def read(self, requests: list[RecordedRequest], world: World, forgotten: int = 0) -> dict[str, Any]:
        """
        Return the requests that are new or have ended since the last call.

        Args:
            requests: The requests that are kept.
            world: Tells the time.
            forgotten: How many there were before them.

        Returns:
            `is_fresh`, whether they replace all that were told before; `total`; and `list`, with the number of each.
        """
        seen = self._seen - forgotten
        is_fresh = not self._is_told or bool(seen > 0 and requests[seen - 1 : seen] != [self._last])
        if is_fresh:
            self._seen = 0
            self._open.clear()
        told = {number: request for number, request in self._open.items() if request.ended_at is not None}
        total = forgotten + len(requests)
        first = max(self._seen, total - MAX_REQUESTS, forgotten)
        told.update(enumerate(requests[first - forgotten :], start=first + 1))
        self._open = {number: one for number, one in (self._open | told).items() if one.ended_at is None}
        for number in sorted(self._open)[:-MAX_REQUESTS]:
            del self._open[number]
        self._is_told, self._seen, self._last = True, total, requests[-1] if requests else None
        ahead = world.clock.time() - world.now()
        shown = [_show_request(number, one, ahead) for number, one in sorted(told.items())]
        return {"is_fresh": is_fresh, "total": total, "list": shown}


@define(eq=False)
class Feed:
    """What one page is told; each message has what has changed since the one before."""

    _backend: Callable[[], Backend]
    _surveyor: Surveyor
    _window: RunWindow
    _tail: RequestTail = field(factory=RequestTail)
    _told: dict[str, Any] = field(factory=dict[str, Any])

    async def read(self) -> dict[str, Any]:
        """Return the next message."""
        backend = self._backend()
        found = await self._surveyor.look(backend, self._window)
        with backend.lock:
            planned = backend.faults.planned
            requests = self._tail.read(backend.requests, backend.world, backend.forgotten)
            now = backend.world.clock.time()
        parts: dict[str, Any] = {
            "counts": {
                "by_status": dict(found.counts.most_common(_MAX_STATUSES)),
                "total": found.counts.total(),
                "cost": write_amount(found.cost),
            },
            "runs": {"fitting": found.fitting, "offset": self._window.offset, "limit": WINDOW, "list": found.runs},
            "faults": {"count": len(planned), "list": [show_planned(one) for one in planned[:_MAX_FAULTS]]},
        }
        news = {name: part for name, part in parts.items() if self._told.get(name) != part}
        if not self._told:
            news["menu"] = show_menu()
        self._told = parts
        if requests["list"] or requests["is_fresh"]:
            news["requests"] = requests
        return {"now": now, **news}


def _show_request(number: int, request: RecordedRequest, ahead: float) -> dict[str, Any]:
    took = None if request.ended_at is None else round((request.ended_at - request.at) * 1000, 1)
    return {
        "number": number,
        "at": request.at + ahead,
        "method": cut(request.method, 20),
        "what": request.operation or cut(request.path, _MAX_PATH),
        "status": request.status,
        "milliseconds": took,
        "fault": None if request.fault is None else cut(request.fault, _MAX_FAULT),
    }
