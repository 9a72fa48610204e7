"""Warnings about what a frame or file holds, at the line that asked for it."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterable
from pathlib import Path

from coreclaw_async._frames.columns import Column, described

_PACKAGE = str(Path(__file__).parents[1])


def tell_changes(method: str, columns: Iterable[Column]) -> None:
    """Warn once of the columns that have another type than their values."""
    changed = [column for column in columns if column.verdict.reason is not None]
    if changed:
        tell(f"{method}: these columns are strings, as their values have no common type: {described(changed)}")


def tell(message: str) -> None:
    """Warn at the first line outside of the package."""
    level, frame = 1, inspect.currentframe()
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, UserWarning, stacklevel=level)
