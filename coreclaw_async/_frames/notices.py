"""Warnings about what a frame or file holds, at the line that asked for it."""

from __future__ import annotations

from collections.abc import Iterable

from coreclaw_async._frames.callers import Caller, awaiting_caller
from coreclaw_async._frames.columns import Column, described


def tell_changes(method: str, made_at: Caller, columns: Iterable[Column]) -> None:
    """Warn once of the columns that have another type than their values."""
    changed = [column for column in columns if column.verdict.reason is not None]
    if changed:
        tell(f"{method}: these columns are strings, as their values have no common type: {described(changed)}", made_at)


def tell(message: str, made_at: Caller) -> None:
    """Warn at the line that asked for the rows or, where nothing is known of it, at that which made the pager."""
    awaiting_caller(made_at).warn(message)
