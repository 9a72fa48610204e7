"""Which faults are planned, and for which requests."""

from __future__ import annotations

import threading
from collections.abc import Callable

from attrs import define, field

from coreclaw_async.testing._api.routes import OPERATIONS
from coreclaw_async.testing._state.records import RecordedRequest
from coreclaw_async.testing.faults import NO_FAULT, Fault

DOWNLOAD = "download"
"""The name of the operation of every request to the file server."""

_NAMES = {operation.name for operation in OPERATIONS} | {DOWNLOAD}


@define(eq=False)
class _Planned:
    fault: Fault
    operation: str | None
    left: int
    after: int
    match: Callable[[RecordedRequest], bool] | None
    seen: int = 0

    def fits(self, request: RecordedRequest) -> bool:
        if self.operation is None and request.operation == DOWNLOAD:
            return False
        if self.operation not in {None, request.operation}:
            return False
        return self.match is None or self.match(request)


@define(eq=False)
class FaultPlan:
    """
    The planned faults of a service, in the order in which they were added.

    A request gets the first fault that fits it. `delay`, `drip` and `insert_front` are combined with the next one that
    fits.
    """

    _planned: list[_Planned] = field(factory=list[_Planned])
    _lock: threading.Lock = field(factory=threading.Lock)

    def add(
        self,
        fault: Fault,
        *,
        operation: str | None = None,
        times: int = 1,
        after: int = 0,
        match: Callable[[RecordedRequest], bool] | None = None,
    ) -> None:
        """
        Plan a fault.

        Args:
            fault: Made by a function of `coreclaw_async.testing.faults`.
            operation: The operation id it is for, or `download`; None for every API request.
            times: For how many requests, 1 or more.
            after: How many requests that fit pass first.
            match: Returns whether a request of that operation fits; None for all.

        Raises:
            ValueError: The operation is not known, or a number is out of range.
        """
        if operation is not None and operation not in _NAMES:
            raise ValueError(f"operation must be an operation id or 'download', not {operation!r}")
        if times < 1:
            raise ValueError(f"times must be 1 or more, not {times}")
        if after < 0:
            raise ValueError(f"after must be 0 or more, not {after}")
        with self._lock:
            self._planned.append(_Planned(fault, operation, times, after, match))

    def clear(self) -> None:
        """Remove the faults that have not been shown."""
        with self._lock:
            self._planned.clear()

    @property
    def pending(self) -> int:
        """How many faults are still to be shown."""
        with self._lock:
            return sum(planned.left for planned in self._planned)

    def refuses_connection(self, request: RecordedRequest) -> bool:
        """Return whether `take` will return a fault for `request` that refuses the connection."""
        with self._lock:
            for planned in self._planned:
                is_due = planned.fits(request) and planned.seen >= planned.after
                if is_due and not planned.fault.only_adds:
                    return planned.fault.ending == "refuse"
        return False

    def take(self, request: RecordedRequest) -> Fault:
        """Return the fault for `request`, combined with others; `NO_FAULT` for none."""
        added, decided = NO_FAULT, None
        with self._lock:
            for planned in self._planned:
                if not planned.fits(request):
                    continue
                planned.seen += 1
                if decided is not None or planned.seen <= planned.after:
                    continue
                planned.left -= 1
                if planned.fault.only_adds:
                    added = planned.fault.joined_with(added)
                else:
                    decided = planned.fault
            self._planned = [planned for planned in self._planned if planned.left]
        return added if decided is None else added.joined_with(decided)
