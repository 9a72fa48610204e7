"""The faults that the console offers, in plain words, and the words for those that are planned."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from attrs import frozen

from coreclaw_async.testing import faults
from coreclaw_async.testing._api.routes import OPERATIONS
from coreclaw_async.testing._console.guard import RefusedError
from coreclaw_async.testing._serving.fault_queue import DOWNLOAD

if TYPE_CHECKING:
    from coreclaw_async.testing._serving.fault_plan import FaultPlan, PlannedFault
    from coreclaw_async.testing._state.records import RecordedRequest
    from coreclaw_async.testing.faults import Fault

STARTS = "starts"
"""What the page names instead of an operation, for all of `STARTING`."""

MAX_REQUESTS = 1000
MAX_MINUTES = 1440

STARTING = {
    "runWorker",
    "runWorkerTask",
    "rerunWorkerRun",
    "rerunLastWorkerRun",
    "rerunWorkerLastRun",
    "activateRunQueueItems",
}
"""The operations that start a run which is paid for."""

_OPERATIONS = [operation.name for operation in OPERATIONS] + [DOWNLOAD]

Unit = Literal["requests", "minutes", "chance"]


@frozen
class MenuEntry:
    """
    A fault that the console offers.

    Attributes:
        words: What it does.
        unit: What it is for: a number of requests, of minutes, or every tenth by chance.
        make: Makes it, for so many minutes where they are its unit.
    """

    words: str
    unit: Unit
    make: Callable[[float], Fault]


def _requests(words: str, fault: Fault) -> MenuEntry:
    return MenuEntry(words, "requests", lambda _: fault)


def _minutes(words: str, failure: Fault) -> MenuEntry:
    return MenuEntry(words, "minutes", lambda minutes: faults.outage(minutes=minutes, failure=failure))


MENU: Mapping[str, MenuEntry] = {
    "commit_then_drop": _requests("Do it, then lose the answer", faults.commit_then_drop()),
    "commit_then_status": _requests("Do it, then answer 502", faults.commit_then_status(502)),
    "stall": _requests("Do it, then never answer", faults.stall()),
    "truncate": _requests("Do it, then cut the answer short", faults.truncate()),
    "no_json": _requests("Do it, then answer what is no JSON", faults.reply(b"<html>", headers={})),
    "delay": _requests("Do it, then answer 5 seconds late", faults.delay(5)),
    "drip": _requests("Do it, then answer in small pieces", faults.drip()),
    "drop_before_commit": _requests("Lose the request before it is done", faults.drop_before_commit()),
    "refuse_connection": _requests("Reset the connection at once", faults.refuse_connection()),
    "status": _requests("Answer 503 and do nothing", faults.status(503)),
    "rate_limited": _requests("Answer 429 and do nothing", faults.rate_limited()),
    "retry_after": _requests("Answer 429 with Retry-After: 2 and do nothing", faults.rate_limited(2)),
    "error": _requests("Answer the service's own error 10000 and do nothing", faults.error(10000, 500)),
    "outage": _minutes("Outage: nothing is done, the answer is 502", faults.status(502)),
    "outage_reset": _minutes("Outage: nothing is done, the connection is reset", faults.refuse_connection()),
    "outage_silent": _minutes("Outage: nothing is done, no answer comes", faults.stall(commit=False)),
    "flap": MenuEntry(
        "Flapping by turns of 15 seconds: nothing is done, the answer is 502",
        "minutes",
        lambda minutes: faults.flap(down_minutes=0.25, up_minutes=0.25, minutes=minutes),
    ),
    "chance": MenuEntry("Answer 502 to one request in ten and do nothing", "chance", lambda _: faults.status(502)),
}
"""What the console offers, by the name that the page sends."""


def show_menu() -> dict[str, Any]:
    """Return the menu as the page is told it."""
    offered = [{"name": name, "words": entry.words, "unit": entry.unit} for name, entry in MENU.items()]
    return {"faults": offered, "operations": _OPERATIONS}


def plan_fault(plan: FaultPlan, wanted: Mapping[str, Any]) -> str:
    """
    Plan what the page asks for, and return what was planned.

    Args:
        plan: Where it is added.
        wanted: `fault`, a name of the menu; `operation`, an operation id, `starts` or None for every API request;
            `count`, requests from 1 to 1,000, or minutes above 0 and up to 1,440.

    Raises:
        RefusedError: 400, with what is wrong.
    """
    name, operation = wanted.get("fault"), wanted.get("operation")
    entry = MENU.get(name) if isinstance(name, str) else None
    if entry is None:
        raise RefusedError(400, "'fault' must be one that the menu has.")
    if operation is not None and operation not in [STARTS, *_OPERATIONS]:
        raise RefusedError(400, "'operation' must be an operation id, 'download', 'starts' or null.")
    count = _read_count(wanted.get("count", 1), entry.unit)
    starts = operation == STARTS
    plan.add(
        entry.make(count),
        operation=None if starts else operation,
        times=int(count) if entry.unit == "requests" else None,
        probability=0.1 if entry.unit == "chance" else None,
        match=is_start if starts else None,
    )
    return f"{entry.words}: planned for {_where(operation, is_start if starts else None)}{_how_long(entry, count)}."


def is_start(request: RecordedRequest) -> bool:
    """Return whether a request starts a run that is paid for."""
    return request.operation in STARTING


def show_planned(planned: PlannedFault) -> dict[str, Any]:
    """Return a planned fault as the page is told it."""
    fault = planned.fault
    return {
        "words": _words_for(fault),
        "where": _where(planned.operation, planned.match),
        "left": None if planned.left == math.inf else planned.left,
        "seconds": None if planned.seconds == math.inf else math.ceil(planned.seconds),
        "begins_in": math.ceil(planned.begins_in),
        "after": planned.after,
        "probability": planned.probability,
    }


def _words_for(fault: Fault) -> str:
    known = next((words for known, words in _known() if known == fault), None)
    return f"{_kind_of(fault)}: {_effect_of(fault)}" if known is None else known


def _kind_of(fault: Fault) -> str:
    period = fault.period
    if period is None:
        return fault.name
    if period.up == 0:
        return "Outage"
    if period.up == period.down:
        return f"Flapping by turns of {_seconds(period.up)}"
    return f"Flapping, {_seconds(period.down)} with and {period.up:g} without"


def _seconds(seconds: float) -> str:
    return "1 second" if seconds == 1 else f"{seconds:g} seconds"


def _effect_of(fault: Fault) -> str:
    """Return whether what is asked for is done, which may be paid for, and what comes back."""
    answer = {
        "refuse": "the connection is reset",
        "drop": "the connection is lost",
        "stall": "no answer comes",
        "truncate": "the answer is cut short",
        "answer": "the answer comes as it is",
    }[fault.ending]
    if fault.replacement is not None:
        answer = f"the answer is {fault.replacement.status}"
    elif fault.change is not None:
        answer = "the answer is changed"
    parts = ["it is done" if fault.processes else "nothing is done", answer]
    if fault.new_items:
        parts.insert(0, f"new items in front: {fault.new_items:,}")
    if fault.seconds:
        parts.append(f"{_seconds(fault.seconds)} late")
    if fault.chunk:
        parts.append("in small pieces")
    return ", ".join(parts)


@functools.cache
def _known() -> list[tuple[Fault, str]]:
    return [(entry.make(1), entry.words) for entry in MENU.values() if entry.unit != "minutes"]


def _where(operation: str | None, match: Callable[[RecordedRequest], bool] | None) -> str:
    if match is is_start:
        return "starts"
    return f"{operation or 'every API request'}{'' if match is None else ', some of them'}"


def _how_long(entry: MenuEntry, count: float) -> str:
    if entry.unit == "chance":
        return ", until it is cleared"
    unit = entry.unit if count != 1 else entry.unit[:-1]
    return f", {count:g} {unit}"


def _read_count(given: Any, unit: Unit) -> float:
    if unit == "chance":
        return 1.0
    most = MAX_MINUTES if unit == "minutes" else MAX_REQUESTS
    is_number = isinstance(given, int | float) and not isinstance(given, bool) and 0 < given <= most
    if not is_number or (unit == "requests" and given != int(given)):
        raise RefusedError(400, f"'count' must be a number of {unit} above 0 and up to {most:,}.")
    return float(given)
