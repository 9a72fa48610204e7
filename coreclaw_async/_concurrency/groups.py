"""Errors of task groups."""

from __future__ import annotations

from typing import cast


def first_of(error: BaseException) -> BaseException:
    """Return the first error in a group, and any other error as it is."""
    if isinstance(error, BaseExceptionGroup):
        return first_of(cast("BaseExceptionGroup[BaseException]", error).exceptions[0])
    return error
