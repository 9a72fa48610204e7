"""Numbers of things as text."""

from __future__ import annotations

import pytest

from coreclaw_async._data.counting import counted


@pytest.mark.parametrize(
    ("number", "words", "expected"),
    [
        (0, ["row"], "0 rows"),
        (1, ["row"], "1 row"),
        (2, ["row"], "2 rows"),
        (-1, ["row"], "-1 rows"),
        (12_345, ["row"], "12,345 rows"),
        (1, ["run has", "runs have"], "1 run has"),
        (0, ["run has", "runs have"], "0 runs have"),
    ],
)
def test_what_is_counted_is_one_or_many(number: int, words: list[str], expected: str) -> None:
    assert counted(number, *words) == expected
