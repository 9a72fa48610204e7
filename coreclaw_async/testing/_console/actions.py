"""What the buttons of the console do."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from coreclaw_async.testing._console.fault_menu import plan_fault
from coreclaw_async.testing._console.guard import RefusedError

if TYPE_CHECKING:
    from coreclaw_async.testing._serving.backend import Backend
    from coreclaw_async.testing._state.fake_run import FakeRun

_MAX_SECONDS = 366 * 86_400.0
_LATEST = datetime(9000, 1, 1, tzinfo=UTC)
"""As far as the clock can be advanced: dates have years of four digits."""

Body = Mapping[str, Any]


def act(backend: Backend, body: bytes) -> str:
    """
    Do what `body`, JSON, says, and return a sentence about what was done.

    Raises:
        RefusedError: 400 when it cannot be understood, 404 for an unknown run, 409 where the run or
            the clock cannot be changed so.
    """
    try:
        read = json.loads(body)
    except (ValueError, RecursionError):
        read = None
    if not isinstance(read, dict):
        raise RefusedError(400, "The body must be a JSON object.")
    wanted = cast("Body", read)
    name = wanted.get("action")
    action = _ACTIONS.get(name) if isinstance(name, str) else None
    if action is None:
        raise RefusedError(400, f"'action' must be one of {', '.join(_ACTIONS)}.")
    with backend.lock:
        return action(backend, wanted)


def find_run(backend: Backend, run_id: Any) -> FakeRun:
    """
    Return the run with this id.

    Raises:
        RefusedError: 404.
    """
    run = backend.world.runs.get(run_id) if isinstance(run_id, str) else None
    if run is None:
        raise RefusedError(404, "There is no such run.")
    return run


def _change(backend: Backend, wanted: Body, change: Callable[[FakeRun], bool]) -> FakeRun:
    """
    Return the run, once `change` has changed it.

    Raises:
        RefusedError: 404 for an unknown run, 409 for one that `change` says cannot be changed.
    """
    run = find_run(backend, wanted.get("run_id"))
    if not change(run):
        raise RefusedError(409, f"Run {run.run_id} has already ended.")
    return run


def _end(backend: Backend, wanted: Body, outcome: str) -> FakeRun:
    """End the run; one that has ended so before stays as it is, as a button may be pressed twice."""
    return _change(backend, wanted, lambda run: run.end(outcome) or run.status == outcome)


def _finish(backend: Backend, wanted: Body) -> str:
    run = _end(backend, wanted, "succeeded")
    return f"Run {run.run_id} has succeeded."


def _fail(backend: Backend, wanted: Body) -> str:
    run = _end(backend, wanted, "failed")
    return f"Run {run.run_id} has failed."


def _abort(backend: Backend, wanted: Body) -> str:
    run = find_run(backend, wanted.get("run_id"))
    if not run.abort():
        why = "has already ended" if run.is_final else "is aborting already: Finish or Fail ends it"
        raise RefusedError(409, f"Run {run.run_id} {why}.")
    return f"Run {run.run_id} is being aborted."


def _stick(backend: Backend, wanted: Body) -> str:
    run = _change(backend, wanted, lambda run: run.stick())
    return f"Run {run.run_id} stays {run.status} until you end it."


def _advance(backend: Backend, wanted: Body) -> str:
    seconds = wanted.get("seconds")
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 < seconds <= _MAX_SECONDS:
        raise RefusedError(400, "'seconds' must be a number above 0 and up to 366 days.")
    clock = backend.world.clock
    if clock.time() + seconds > _LATEST.timestamp():
        raise RefusedError(409, f"The clock cannot be advanced beyond the year {_LATEST.year}.")
    clock.advance(float(seconds))
    return f"The clock is {seconds:,} seconds ahead of where it was."


def _add_fault(backend: Backend, wanted: Body) -> str:
    return plan_fault(backend.faults, wanted)


def _clear_faults(backend: Backend, wanted: Body) -> str:  # noqa: ARG001 - as all actions
    backend.faults.clear()
    return "No faults are planned any more."


_ACTIONS: Mapping[str, Callable[[Backend, Body], str]] = {
    "finish": _finish,
    "fail": _fail,
    "abort": _abort,
    "stick": _stick,
    "advance": _advance,
    "add_fault": _add_fault,
    "clear_faults": _clear_faults,
}
