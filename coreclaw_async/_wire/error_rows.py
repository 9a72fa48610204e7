"""Which result rows hold diagnostics instead of data."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Any

from coreclaw_async.models import Row

ROW_ID = "__coreclaw_data_id__"
"""The member that tells a row from all others of its run."""

_ERRORS = frozenset({"error", "error_code", "err", "err_code"})
# The members by which the service's own tool tells rows about a captcha or a 403 (coreclaw-mcp-server, verify_run).
_DIAGNOSTIC = _ERRORS | {"status", "status_code", "message", "msg", "input", "input_url"}
_NO_DATA = _DIAGNOSTIC | {"url"}
_NOTHING: tuple[Any, ...] = (None, "", [], {})


class RowKind(Enum):
    """What a row holds; ``NO_DATA`` counts as an error row where other rows of the run can hold more."""

    DATA = "data"
    NO_DATA = "no data"
    ERROR = "error"


def kind_of_row(row: Row) -> RowKind:
    """
    Return what a row holds; empty members do not count.

    A ``url`` says what the row is about. It is data only where the run has no columns for other data, as with a worker
    that looks for URLs, which `has_data_columns` tells.
    """
    filled: set[str] = set()
    for name, value in row.items():
        if name == ROW_ID or value in _NOTHING:
            continue
        member = name.casefold()
        if member not in _NO_DATA:
            return RowKind.DATA  # As most rows, at their first member: a run may have a million of them.
        filled.add(member)
    if filled and filled <= _DIAGNOSTIC:
        return RowKind.ERROR
    has_error = any(value for name, value in row.items() if name.casefold() in _ERRORS)
    return RowKind.ERROR if has_error else RowKind.NO_DATA


def has_data_columns(names: Iterable[str]) -> bool:
    """Return whether a row with these members may hold more than diagnostics and what it is about."""
    return any(name.casefold() not in _NO_DATA | {ROW_ID} for name in names)


def filled_members(row: Row) -> list[str]:
    """Return the members of a row that hold anything, without its id."""
    return [name for name, value in row.items() if name != ROW_ID and value not in _NOTHING]
