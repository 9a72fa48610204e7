"""The faults that are still to be shown, and which of them a request gets."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from random import Random

from attrs import define, field

from coreclaw_async.testing._serving.fault_effects import NO_FAULT, combined, only_adds
from coreclaw_async.testing._state.records import RecordedRequest
from coreclaw_async.testing.faults import Fault

DOWNLOAD = "download"
"""The name of the operation of every request to the file server."""


@define(eq=False)
class QueuedFault:
    """
    A fault that is still to be shown; what its members mean is said at `PlannedFault`.

    Attributes:
        dice: Decides by chance.
        since: When it was planned, by the service's clock.
        seen: How many requests that fit have come.
    """

    fault: Fault
    operation: str | None
    left: float
    after: int
    probability: float
    dice: Random
    match: Callable[[RecordedRequest], bool] | None
    since: float
    seen: int = 0

    def is_over(self, now: float) -> bool:
        """Return whether no request gets it any more."""
        period = self.fault.period
        return self.left <= 0 or (period is not None and self.passed(now) >= period.end)

    def passed(self, now: float) -> float:
        """Return the seconds since it was planned."""
        # Rounded, so that a minute after 0.3 seconds is a minute and not 59.99999999999999 seconds.
        return round(now - self.since, 6)

    def fits(self, request: RecordedRequest) -> bool:
        """Return whether it is for such a request, at the time of the request."""
        if self.operation is None and request.operation == DOWNLOAD:
            return False
        if self.operation not in {None, request.operation}:
            return False
        if self.fault.period is not None and not self.fault.period.is_down(self.passed(request.at)):
            return False
        return self.match is None or self.match(request)

    def is_drawn(self) -> bool:
        """Return whether chance takes the next request that fits, after those that pass first."""
        return self.seen > self.after and (self.probability >= 1 or self.dice.random() < self.probability)


@define(eq=False)
class FaultQueue:
    """
    The faults of a service, in the order in which they were added; works from any thread.

    Attributes:
        now: Returns the monotonic seconds of the service's clock.
        planned: The faults, also those that are over and that no request has come after.
    """

    now: Callable[[], float]
    planned: list[QueuedFault] = field(factory=list[QueuedFault], init=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False)

    def add(self, planned: Sequence[QueuedFault]) -> None:
        """Append faults."""
        with self._lock:
            self.planned += planned

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self.planned.clear()

    def pending(self) -> list[QueuedFault]:
        """Return the faults that are not over."""
        with self._lock:
            return self._left(self.now())

    def take(self, request: RecordedRequest) -> Fault:
        """Return the fault for ``request``, combined with others; ``NO_FAULT`` for none."""
        added, decided = NO_FAULT, None
        with self._lock:
            for planned in self.planned:
                if not planned.fits(request):
                    continue
                planned.seen += 1
                if decided is not None or not planned.is_drawn():
                    continue
                planned.left -= 1
                if only_adds(planned.fault):
                    added = combined(planned.fault, added)
                else:
                    decided = planned.fault
            self.planned = self._left(request.at)
        return added if decided is None else combined(added, decided)

    def _left(self, now: float) -> list[QueuedFault]:
        return [planned for planned in self.planned if not planned.is_over(now)]
