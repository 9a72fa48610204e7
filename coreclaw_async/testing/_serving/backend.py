"""What all transports of a fake service share: record the request, apply faults, answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Any

from attrs import define, evolve, field, frozen

from coreclaw_async.testing._api.answers import Answer, RefusedError, answer_json, error_envelope
from coreclaw_async.testing._api.calls import SYNC_LIMIT
from coreclaw_async.testing._api.dispatch import IncomingRequest, PendingAnswer, answer_call
from coreclaw_async.testing._api.routes import Route, find_route
from coreclaw_async.testing._api.runs import list_results, list_runs
from coreclaw_async.testing._serving.fault_effects import NO_FAULT, answer_under, wants_answer
from coreclaw_async.testing._serving.fault_plan import FaultPlan
from coreclaw_async.testing._serving.fault_queue import DOWNLOAD, FaultQueue
from coreclaw_async.testing._serving.file_server import answer_download
from coreclaw_async.testing._state.clock import note_activity
from coreclaw_async.testing._state.records import RecordedRequest
from coreclaw_async.testing._state.world import EMPTY_INPUT, World
from coreclaw_async.testing.faults import Fault

_LOOK_AGAIN = 1.0
"""Seconds after which a synchronous start checks whether its run was ended from outside."""

Sleep = Callable[[float], Awaitable[None]]


@frozen
class Delivery:
    """
    How a request ends.

    Attributes:
        answer: What is sent; None when the connection stalls or is lost.
        fault: What goes wrong while it is sent.
    """

    answer: Answer | None
    fault: Fault


@define(eq=False)
class Backend:
    """One service, without a transport; `lock` guards all of it."""

    world: World
    faults: FaultPlan = field(init=False)
    _fault_queue: FaultQueue = field(init=False)
    requests: list[RecordedRequest] = field(factory=list[RecordedRequest])
    lock: threading.RLock = field(factory=threading.RLock)
    most_requests: int | None = None
    """How many of the newest requests are kept; None for all."""
    forgotten: int = 0
    """How many requests arrived before those that are kept."""
    _left: float = 0.0
    """Requests that could come at once at `_counted_at`."""
    _counted_at: float | None = None

    def __attrs_post_init__(self) -> None:
        """Plan faults by the clock of the service."""
        self._fault_queue = FaultQueue(self.world.now)
        self.faults = FaultPlan(self._fault_queue)

    async def exchange(
        self,
        request: IncomingRequest,
        *,
        pause: Sleep,
        wait: Sleep,
        accepted: Callable[[], Awaitable[None]] | None = None,
    ) -> Delivery:
        """
        Process a request.

        Args:
            request: The request.
            pause: Sleeps for the delay of a fault.
            wait: Sleeps by the service's clock while a run goes on.
            accepted: Called before the request is processed, unless its connection is refused.
        """
        with self.lock:
            route, record, fault = self._arrive(request)
        if accepted is not None and fault.ending != "refuse":
            await accepted()
        with self.lock:
            outcome = self._process(request, route, record, fault)
        if isinstance(outcome, PendingAnswer):
            outcome = await self._finish(outcome, wait) if wants_answer(fault) else None
        if fault.seconds:
            await pause(fault.seconds)
        answer = answer_under(fault, outcome)
        record.ended_at = self.world.now()
        if answer is None:
            return Delivery(None, fault)
        record.status = answer.status
        date = formatdate(self.world.clock.time(), usegmt=True)
        return Delivery(evolve(answer, headers={"date": date, **answer.headers}), fault)

    def keep(self, record: RecordedRequest) -> None:
        """Add a request to those that are kept."""
        self.requests.append(record)
        if self.most_requests is not None:
            left_out = len(self.requests) - self.most_requests
            if left_out > 0:
                del self.requests[:left_out]
                self.forgotten += left_out

    def record(self, request: IncomingRequest, operation: str | None) -> RecordedRequest:
        """Return the record of `request`."""
        return RecordedRequest(
            method=request.method,
            host=request.host,
            path=request.path,
            query=dict(request.query),
            headers=dict(request.headers),
            body=_parsed(request.body),
            operation=operation,
            at=self.world.now(),
        )

    def _arrive(self, request: IncomingRequest) -> tuple[Route, RecordedRequest, Fault]:
        """Record the request, and decide what goes wrong with it."""
        note_activity(self.world.clock)
        route = _route_of(request)
        name = route.operation.name if route.operation is not None else None
        record = self.record(request, name if request.site == "api" else DOWNLOAD)
        fault = self._fault_queue.take(record)
        record.fault = None if fault is NO_FAULT else fault.name
        if fault.ending != "refuse":
            self.keep(record)
        return route, record, fault

    def _process(
        self, request: IncomingRequest, route: Route, record: RecordedRequest, fault: Fault
    ) -> Answer | PendingAnswer | None:
        """Process the request, up to the point where the answer may have to wait."""
        if fault.new_items:
            self._insert_front(route, record, fault.new_items)
        if not fault.processes:
            return None
        if request.site == "files":
            return answer_download(self.world, request)
        if self._is_too_fast():
            refused = error_envelope(RefusedError(429, 13000), self.world.ids.request_id())
            return answer_json(refused, status=429)
        return answer_call(self.world, request, route)

    def _is_too_fast(self) -> bool:
        """Return whether the request exceeds the rate limit; refused requests do not count towards it."""
        switches = self.world.switches
        if switches.rate_limit is None:
            return False
        now = switches.clock.monotonic()
        gained = 0.0 if self._counted_at is None else (now - self._counted_at) * switches.rate_limit
        left = switches.rate_burst if self._counted_at is None else min(self._left + gained, switches.rate_burst)
        self._counted_at = now
        self._left = left - 1 if left >= 1 else left
        return left < 1

    async def _finish(self, pending: PendingAnswer, wait: Sleep) -> Answer:
        clock, run = self.world.clock, pending.run
        deadline = clock.monotonic() + SYNC_LIMIT
        while not run.is_final and (left := deadline - clock.monotonic()) > 0:
            until_end = left if run.ended_after is None else run.ended_after - run.age
            await wait(min(left, until_end, _LOOK_AGAIN))
        with self.lock:
            return pending.finish()

    def _insert_front(self, route: Route, record: RecordedRequest, count: int) -> None:
        """Insert new items at the front of the requested list of results or runs; other requests change nothing."""
        world = self.world
        worker = world.find_worker(route.parameters.get("workerId") or record.query.get("worker_id", ""))
        handler = route.operation.handler if route.operation is not None else None
        if handler is list_results:
            run = world.runs.get(route.parameters.get("runId", "")) or world.last_run(worker)
            if run is not None:
                world.insert_rows(run, count, at=0)
        elif handler is list_runs:
            for _ in range(count):
                worker = worker or next(iter(world.workers.values()))
                world.create_run(worker, EMPTY_INPUT, script=world.switches.default_script, origin="web")


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _route_of(request: IncomingRequest) -> Route:
    return find_route(request.method, request.path) if request.site == "api" else Route()
