"""A number with the word for what it counts, in the singular or the plural."""

from __future__ import annotations


def counted(number: int, one: str, many: str | None = None) -> str:
    """
    Return a number with what it counts.

    Args:
        number: How many there are.
        one: What is counted, as it is written after 1; it may go on with a verb, as in ``run has``.
        many: How it is written after other numbers; *one* with an ``s`` when left out.
    """
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
