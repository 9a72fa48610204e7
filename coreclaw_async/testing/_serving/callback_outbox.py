"""Callbacks: which are due, what they contain, and sending them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import httpx
from attrs import define, field

from coreclaw_async.testing._state.records import SentCallback
from coreclaw_async.testing._state.scripts import NOT_FINAL

if TYPE_CHECKING:
    import ssl

    from coreclaw_async.testing._state.fake_run import FakeRun
    from coreclaw_async.testing._state.scripts import CallbackPlan
    from coreclaw_async.testing._state.world import World

_TIMEOUT = 5.0
_V1_STATUS = {"ready": 1, "running": 2, "succeeded": 3, "failed": 4}


@define(eq=False)
class CallbackOutbox:
    """The callbacks of one service, waiting and sent."""

    sent: list[SentCallback] = field(factory=list[SentCallback])
    _waiting: list[tuple[float, SentCallback]] = field(factory=list[tuple[float, SentCallback]])
    _ssl: ssl.SSLContext | None = None

    def take_due(self, world: World) -> list[SentCallback]:
        """Return the callbacks that are due now, each only once, in the order of sending."""
        plan = world.switches.callback_plan
        for run in world.calling_back:
            self._waiting += _new_callbacks(run, plan)
        world.calling_back = [run for run in world.calling_back if not run.is_final]
        now = world.clock.monotonic()
        due = sorted((entry for entry in self._waiting if entry[0] <= now), key=lambda entry: entry[0])
        self._waiting = [entry for entry in self._waiting if entry[0] > now]
        callbacks = [callback for _, callback in due]
        return _shuffled(callbacks, world.switches.seed) if plan.shuffle else callbacks

    async def send(self, callbacks: list[SentCallback], transport: httpx.AsyncBaseTransport | None) -> None:
        """POST `callbacks` one after the other; failed ones are not sent again."""
        if not callbacks:
            return
        if self._ssl is None:
            self._ssl = httpx.create_ssl_context()  # Takes longer than everything else here, so it is made once.
        async with httpx.AsyncClient(
            transport=transport, timeout=_TIMEOUT, trust_env=False, verify=self._ssl
        ) as client:
            for callback in callbacks:
                self.sent.append(callback)
                try:
                    response = await client.post(callback.url, json=callback.payload)
                except (httpx.HTTPError, httpx.InvalidURL, UnicodeError):  # The last for a host that no name can be.
                    continue
                callback.response_status = response.status_code


def _new_callbacks(run: FakeRun, plan: CallbackPlan) -> list[tuple[float, SentCallback]]:
    """Return a callback for each change of `run` since the last call, with the time it is due."""
    past = sum(after <= run.age for after, _ in run.changes)
    changes, run.announced = run.changes[run.announced : past], past
    reported = [
        (after, status)
        for after, status in changes
        if status not in NOT_FINAL or (status == "running" and plan.statuses == "all")
    ]
    copies = 0 if plan.lost else plan.copies
    return [
        (
            run.born + after + plan.delay,
            SentCallback(
                url=run.callback_url or "",
                run_id=run.run_id,
                status=status,
                payload=_payload(run, after, status, plan.generation),
            ),
        )
        for after, status in reported
        for _ in range(copies)
    ]


def _payload(run: FakeRun, after: float, status: str, generation: str) -> dict[str, Any]:
    count = run.results_after(after)
    if generation == "v1":
        number = _V1_STATUS.get(status, 5)
        return {"run_slug": run.run_id, "status": number, "results": count, "usage": f"{run.usage:f}"}
    began = run.started_after or 0.0
    is_end = status not in NOT_FINAL
    name: dict[str, Any] = {"run_id": run.number} if generation == "run_id" else {"run_slug": run.run_id}
    return name | {
        "run_status": status,
        "error_message": run.script.error_message if is_end else "",
        "execution_start_timestamp": int(run.created_at + began),
        "execution_end_timestamp": int(run.created_at + after) if is_end else 0,
        "running_duration": int(after - began),
        "result_count": count,
        "result_message": "",
    }


def _shuffled(callbacks: list[SentCallback], seed: int) -> list[SentCallback]:
    """Return `callbacks` in another order, which depends on the seed alone."""

    def mark(entry: tuple[int, SentCallback]) -> bytes:
        return hashlib.sha256(f"{seed}:{entry[0]}:{entry[1].run_id}".encode()).digest()

    return [callback for _, callback in sorted(enumerate(callbacks), key=mark)]
