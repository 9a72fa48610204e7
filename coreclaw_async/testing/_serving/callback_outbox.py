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
    _busy: set[str] = field(factory=set[str])
    """The sites that `send_to_site` is calling."""
    _waiting: list[tuple[float, SentCallback]] = field(factory=list[tuple[float, SentCallback]])
    _ssl: ssl.SSLContext | None = None

    def take_due(self, world: World, *, of_one_site: bool = False) -> list[SentCallback]:
        """
        Return the callbacks that are due now, each only once, in the order of sending.

        With `of_one_site` only those to one site, for `send_to_site`, and none to a site that is being called so.
        """
        plan = world.switches.callback_plan
        for run in world.calling_back:
            self._waiting += _new_callbacks(run, plan)
        world.calling_back = [run for run in world.calling_back if not run.is_final]
        now = world.clock.monotonic()
        due = sorted((entry for entry in self._waiting if entry[0] <= now), key=lambda entry: entry[0])
        if of_one_site:
            free = [entry for entry in due if _site_of(entry[1]) not in self._busy]
            due = [entry for entry in free if _site_of(entry[1]) == _site_of(free[0][1])]
            self._busy.update(_site_of(callback) for _, callback in due)
        taken = {id(callback) for _, callback in due}
        self._waiting = [entry for entry in self._waiting if id(entry[1]) not in taken]
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

    async def send_to_site(self, callbacks: list[SentCallback], transport: httpx.AsyncBaseTransport | None) -> None:
        """POST what `take_due` returned for one site, which is free again after that."""
        try:
            await self.send(callbacks, transport)
        finally:
            self._busy.difference_update(map(_site_of, callbacks))


def _site_of(callback: SentCallback) -> str:
    """Return the beginning of its URL, up to the path; it may be no URL."""
    return "/".join(callback.url.split("/")[:3])


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
