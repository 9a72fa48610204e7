"""Faults as they are written in JSON: by the names of the functions of `faults` and of their arguments."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from coreclaw_async.testing import faults
from coreclaw_async.testing._state.arguments import check_text
from coreclaw_async.testing.faults import Fault

Makers = Mapping[str, Callable[..., Fault]]

_FAILURES: Makers = {
    maker.__name__: maker
    for maker in (
        faults.commit_then_drop,
        faults.drop_before_commit,
        faults.refuse_connection,
        faults.commit_then_status,
        faults.status,
        faults.error,
        faults.rate_limited,
        faults.truncate,
        faults.reply,
        faults.stall,
        faults.delay,
        faults.drip,
        faults.redirect,
        faults.insert_front,
        faults.gzip_bomb,
    )
}
_ALL: Makers = {"outage": faults.outage, "flap": faults.flap, **_FAILURES}
_FOR_PYTHON = "error"
"""The argument that takes an exception, which JSON cannot hold."""


def entries_of(plan: object) -> Sequence[Any]:
    """
    Return the entries of a plan.

    Raises:
        ValueError: It is no list.
    """
    if isinstance(plan, list | tuple):
        return cast("Sequence[Any]", plan)
    raise ValueError(f"a plan must be a list of faults, not {reprlib.repr(plan)}")


def read_entry(entry: Any, options: tuple[str, ...]) -> tuple[Fault, dict[str, Any]]:
    """
    Return the fault of an entry, and its *options*: those of its members that do not make the fault.

    Raises:
        ValueError: A member is missing, unknown, or out of range.
        TypeError: The entry or a member has another type.
    """
    members = _members(entry, "an entry")
    made_of = {name: value for name, value in members.items() if name not in options}
    return _read_fault(made_of, _ALL, options), {name: members[name] for name in options if name in members}


def _members(value: Any, what: str) -> Mapping[str, Any]:
    shown = reprlib.repr(value)
    if isinstance(value, Mapping) and "fault" in value:
        return cast("Mapping[str, Any]", value)
    raise TypeError(f"{what} must be an object with the member 'fault', not {shown}")


def _read_fault(members: Mapping[str, Any], makers: Makers, options: tuple[str, ...] = ()) -> Fault:
    name = members["fault"]
    make = makers.get(name) if isinstance(name, str) else None
    if make is None:
        raise ValueError(f"fault must be one of {', '.join(makers)}, not {name!r}")
    arguments = {member: _read_argument(member, value) for member, value in members.items() if member != "fault"}
    parameters = {key: one for key, one in inspect.signature(make).parameters.items() if key != _FOR_PYTHON}
    takes = ", ".join((*parameters, *options)) or "nothing"
    for unknown in arguments.keys() - parameters.keys():
        raise ValueError(f"{name} has no member {unknown!r}; it takes {takes}")
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and key not in arguments:
            raise ValueError(f"{name} needs the member {key!r}")
    return make(**arguments)


def _read_argument(name: str, value: Any) -> Any:
    if name == "failure" and value is not None:
        return _read_fault(_members(value, name), _FAILURES)
    return check_text(name, value) if name == "body" else value
