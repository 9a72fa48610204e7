"""What a fault does to a request and to its answer, alone and with others."""

from __future__ import annotations

import json

from attrs import evolve

from coreclaw_async.testing._api.answers import Answer, answer_json
from coreclaw_async.testing.faults import Fault

NO_FAULT = Fault(name="none")


def only_adds(fault: Fault) -> bool:
    """Return whether another fault can be combined with this one."""
    plain = fault.processes and fault.ending == "answer"
    return plain and fault.replacement is None and fault.change is None


def wants_answer(fault: Fault) -> bool:
    """Return whether the service's own answer is used."""
    return fault.ending in {"answer", "truncate"} and fault.replacement is None


def combined(added: Fault, fault: Fault) -> Fault:
    """Return *fault* with the delays, pieces and new items of *added* too."""
    names = [one.name for one in (added, fault) if one is not NO_FAULT]
    return evolve(
        fault,
        name=", ".join(names),
        seconds=added.seconds + fault.seconds,
        chunk=added.chunk or fault.chunk,
        pause=added.pause or fault.pause,
        new_items=added.new_items + fault.new_items,
    )


def answer_under(fault: Fault, answer: Answer | None) -> Answer | None:
    """Return what is sent where the service itself has *answer*; None for nothing."""
    if fault.ending not in {"answer", "truncate"}:
        return None
    if fault.replacement is not None:
        return fault.replacement
    if fault.change is None or answer is None:
        return answer
    changed = fault.change(json.loads(b"".join(answer.chunks)))
    return answer_json(changed, status=answer.status, headers=answer.headers)
