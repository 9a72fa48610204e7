"""FaultPlan: how faults are planned for the requests to a service, and what of them is still to come."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from attrs import define, frozen

from coreclaw_async.testing._api.routes import OPERATIONS
from coreclaw_async.testing._serving.fault_queue import DOWNLOAD, FaultQueue, QueuedFault
from coreclaw_async.testing._serving.written_faults import entries_of, read_entry
from coreclaw_async.testing._state.arguments import check_callable, check_chance, check_type, check_whole
from coreclaw_async.testing._state.records import RecordedRequest
from coreclaw_async.testing.faults import Fault

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

    _queue: FaultQueue

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
        self._queue.add([QueuedFault(fault, operation, left, after, chance, dice, match, self._queue.now())])

    def load(self, plan: Sequence[Mapping[str, Any]]) -> None:
        """
        Plan the faults of a list as it stands in a JSON file, all of them or none.

        Each entry has the name of a function of ``coreclaw_async.testing.faults`` as ``fault``, the arguments of that
        function, and those of `add`: ``{"fault": "outage", "minutes": 20, "failure": {"fault": "stall"}}`` or
        ``{"fault": "status", "status": 502, "operation": "runWorker", "probability": 0.1}``. A body is a string.
        ``edit``, ``error=`` of a lost connection and ``match`` are for Python alone.

        Args:
            plan: The parsed list.

        Raises:
            ValueError: What is wrong, and with which entry, counted from 1.

        Example::

            service.faults.load([{"fault": "outage", "minutes": 20}, {"fault": "status", "status": 502, "times": 3}])
        """
        added = FaultQueue(self._queue.now)
        plan_added = FaultPlan(added)
        for number, entry in enumerate(entries_of(plan), start=1):
            try:
                fault, options = read_entry(entry, _OPTIONS)
                plan_added.add(fault, **options)
            except (TypeError, ValueError) as error:
                raise ValueError(f"entry {number}: {error}") from None
        self._queue.add(added.planned)

    def clear(self) -> None:
        """
        Remove the faults that have not been shown.

        Example::

            service.faults.add(faults.outage(minutes=20))
            service.faults.clear()
            account = await client.account.get()
        """
        self._queue.clear()

    @property
    def pending(self) -> int:
        """How many faults are still to be shown; one for any number of requests counts as one until it is over."""
        return sum(1 if planned.left == math.inf else int(planned.left) for planned in self._queue.pending())

    @property
    def planned(self) -> list[PlannedFault]:
        """The faults that are still to be shown, in the order in which they were added."""
        now = self._queue.now()
        return [_seen_at(now, queued) for queued in self._queue.pending()]


def _seen_at(now: float, queued: QueuedFault) -> PlannedFault:
    period, passed = queued.fault.period, queued.passed(now)
    return PlannedFault(
        fault=queued.fault,
        operation=queued.operation,
        match=queued.match,
        probability=queued.probability,
        after=max(queued.after - queued.seen, 0),
        left=queued.left,
        seconds=math.inf if period is None else period.end - max(passed, period.begin),
        begins_in=0.0 if period is None else max(period.begin - passed, 0.0),
    )
