"""Which faults are planned, and for which requests."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from attrs import define, field, frozen

from coreclaw_async.testing._api.routes import OPERATIONS
from coreclaw_async.testing._serving.written_faults import entries_of, read_entry
from coreclaw_async.testing._state.arguments import check_callable, check_chance, check_type, check_whole
from coreclaw_async.testing._state.records import RecordedRequest
from coreclaw_async.testing.faults import NO_FAULT, Fault

DOWNLOAD = "download"
"""The name of the operation of every request to the file server."""

_OPTIONS = ("operation", "times", "after", "probability", "seed")
"""The arguments of `FaultPlan.add` that JSON can hold."""

_NAMES = {operation.name for operation in OPERATIONS} | {DOWNLOAD}


@frozen(kw_only=True, eq=False)
class PlannedFault:
    """
    A fault that is still to be shown.

    Attributes:
        fault: The fault.
        operation: The operation id it is for, or ``download``; None for every API request.
        match: Returns whether a request of that operation fits; None for all.
        probability: The chance that a request that fits gets it, above 0 and at most 1.
        after: How many requests that fit pass first, from now on.
        left: For how many requests it still is; may be infinite.
        seconds: For how long it still is, by the service's clock, from when it begins; may be infinite, and is where it
            has no time.
        begins_in: Seconds until it begins; 0 when it has begun.

    Example::

        service.faults.add(faults.status(502), operation="getAccount", times=3)
        print([(planned.fault.name, planned.operation, planned.left) for planned in service.faults.planned])
    """

    fault: Fault
    operation: str | None
    match: Callable[[RecordedRequest], bool] | None
    probability: float
    after: int
    left: float
    seconds: float
    begins_in: float


@define(eq=False)
class _Planned:
    fault: Fault
    operation: str | None
    left: float
    """For how many requests it still is; may be infinite."""
    after: int
    probability: float
    dice: Random
    match: Callable[[RecordedRequest], bool] | None
    since: float
    seen: int = 0

    def is_over(self, now: float) -> bool:
        period = self.fault.period
        return self.left <= 0 or (period is not None and self.passed(now) >= period.end)

    def seen_at(self, now: float) -> PlannedFault:
        period, passed = self.fault.period, self.passed(now)
        return PlannedFault(
            fault=self.fault,
            operation=self.operation,
            match=self.match,
            probability=self.probability,
            after=max(self.after - self.seen, 0),
            left=self.left,
            seconds=math.inf if period is None else period.end - max(passed, period.begin),
            begins_in=0.0 if period is None else max(period.begin - passed, 0.0),
        )

    def passed(self, now: float) -> float:
        # Rounded, so that a minute after 0.3 seconds is a minute and not 59.99999999999999 seconds.
        return round(now - self.since, 6)

    def fits(self, request: RecordedRequest) -> bool:
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
class FaultPlan:
    """
    The planned faults of a service, in the order in which they were added.

    A request gets the first fault that fits it. ``delay``, ``drip`` and ``insert_front`` are combined with the next one
    that fits.

    Example::

        service.faults.add(faults.status(502), operation="getAccount", times=3)
        account = await client.account.get()
        assert service.faults.pending == 0
    """

    _now: Callable[[], float]
    """Returns the monotonic seconds of the service's clock."""
    _planned: list[_Planned] = field(factory=list[_Planned])
    _lock: threading.Lock = field(factory=threading.Lock)

    def add(
        self,
        fault: Fault,
        *,
        operation: str | None = None,
        times: int | None = None,
        after: int = 0,
        probability: float | None = None,
        seed: int = 0,
        match: Callable[[RecordedRequest], bool] | None = None,
    ) -> None:
        """
        Plan a fault.

        Args:
            fault: Made by a function of ``coreclaw_async.testing.faults``.
            operation: The operation id it is for, such as ``runWorker``, or ``download``; None for every API request.
            times: For how many requests, 1 or more. None for one; for any number of them where the fault is an
                ``outage`` or a ``flap``, or where ``probability`` is given.
            after: How many requests that fit pass first.
            probability: The chance that a request that fits gets the fault, above 0 and at most 1. None for every one.
            seed: Decides, with the name of the fault and ``operation``, which requests in a row ``probability`` takes.
                The same seed takes the same ones; 0 or more.
            match: Returns whether a request of that operation fits; None for all.

        Raises:
            ValueError: The operation is not known, or a number is out of range.
            TypeError: An argument has another type.

        Example::

            service.faults.add(faults.commit_then_drop(), operation="runWorker", probability=0.1, seed=7)
        """
        check_type("fault", fault, Fault)
        check_type("operation", operation, str, or_none=True)
        if operation is not None and operation not in _NAMES:
            raise ValueError(f"operation must be one of {', '.join(sorted(_NAMES))}, not {operation!r}")
        if times is not None:
            check_whole("times", times, low=1)
        check_whole("after", after, low=0)
        if match is not None:
            check_callable("match", match)
        check_whole("seed", seed, low=0)
        chance = 1.0 if probability is None else check_chance("probability", probability)
        left: float = math.inf if times is None else times
        if times is None and probability is None and fault.period is None:
            left = 1
        # With the name, so that two faults with the same seed do not always strike together.
        dice = Random(f"{seed} {fault.name} {operation}")  # noqa: S311
        planned = _Planned(fault, operation, left, after, chance, dice, match, self._now())
        with self._lock:
            self._planned.append(planned)

    def load(self, plan: Sequence[Mapping[str, Any]]) -> None:
        """
        Plan the faults of a list as it stands in a JSON file, all of them or none.

        Each entry has the name of a function of ``coreclaw_async.testing.faults`` as ``fault``, the arguments of that
        function, and those of `add`: ``{"fault": "outage", "minutes": 20, "failure": {"fault": "stall"}}`` or
        ``{"fault": "status", "status": 502, "operation": "runWorker", "probability": 0.1}``. A body is a string.
        ``edit``, ``error=`` of a lost connection and ``match`` are for Python alone.

        Raises:
            ValueError: What is wrong, and with which entry, counted from 1.

        Example::

            service.faults.load([{"fault": "outage", "minutes": 20}, {"fault": "status", "status": 502, "times": 3}])
        """
        added = FaultPlan(self._now)
        for number, entry in enumerate(entries_of(plan), start=1):
            try:
                fault, options = read_entry(entry, _OPTIONS)
                added.add(fault, **options)
            except (TypeError, ValueError) as error:
                raise ValueError(f"entry {number}: {error}") from None
        with self._lock:
            self._planned += added._planned

    def clear(self) -> None:
        """
        Remove the faults that have not been shown.

        Example::

            service.faults.add(faults.outage(minutes=20))
            service.faults.clear()
            account = await client.account.get()
        """
        with self._lock:
            self._planned.clear()

    @property
    def pending(self) -> int:
        """How many faults are still to be shown; one for any number of requests counts as one until it is over."""
        with self._lock:
            now = self._now()
            return sum(1 if planned.left == math.inf else int(planned.left) for planned in self._left(now))

    @property
    def planned(self) -> list[PlannedFault]:
        """The faults that are still to be shown, in the order in which they were added."""
        with self._lock:
            now = self._now()
            return [planned.seen_at(now) for planned in self._left(now)]

    def take(self, request: RecordedRequest) -> Fault:
        """Return the fault for ``request``, combined with others; ``NO_FAULT`` for none."""
        added, decided = NO_FAULT, None
        with self._lock:
            for planned in self._planned:
                if not planned.fits(request):
                    continue
                planned.seen += 1
                if decided is not None or not planned.is_drawn():
                    continue
                planned.left -= 1
                if planned.fault.only_adds:
                    added = planned.fault.joined_with(added)
                else:
                    decided = planned.fault
            self._planned = self._left(request.at)
        return added if decided is None else added.joined_with(decided)

    def _left(self, now: float) -> list[_Planned]:
        """Return what is not over yet."""
        return [planned for planned in self._planned if not planned.is_over(now)]
