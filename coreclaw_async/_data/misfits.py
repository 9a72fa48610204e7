"""MisfitError: why a value cannot be read as a member of a model, and where it stands."""

from __future__ import annotations

from typing import Any

_MAX_LETTERS = 60


class MisfitError(ValueError):
    """
    A value is not what a member holds; the path to it grows on the way out.

    Attributes:
        why: What is wrong with it.
        value: The value.
        expected: What it should be, where another type may be expected too.
        place: The names and numbers that lead to it.
        path: The same as text.
    """

    def __init__(
        self, why: str, value: Any, *, expected: str = "", place: tuple[str | int, ...] = (), path: str = ""
    ) -> None:
        super().__init__(why)
        self.why = why
        self.value = value
        self.expected = expected
        self.place = place
        self.path = path

    def inside(self, step: str | int, shown: str) -> MisfitError:
        """Return the error of what the value is a part of: its part *step*, which people read as *shown*."""
        return MisfitError(self.why, self.value, place=(step, *self.place), path=f"{shown}{self.path}")


def misfit(expected: str, value: Any) -> MisfitError:
    """Return the error of a value that is not what is expected."""
    found = ascii(value[:_MAX_LETTERS]) if isinstance(value, str) else type(value).__name__
    return MisfitError(f"must be {expected}, not {'None' if value is None else found}", value, expected=expected)
