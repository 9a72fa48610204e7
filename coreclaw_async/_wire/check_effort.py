"""How much work one check of an input may be, whatever the sizes of the input and of its worker's schema."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TypeVar

import attrs

_T = TypeVar("_T")
_MAX_LETTERS = 40  # The time that comparing two names takes grows with the square of their lengths.
_MAX_NAMES = 500


@attrs.define
class CheckEffort:
    """
    What is left of the work of one check: a fraction of a second in all.

    Attributes:
        pairs: How many pairs of names may still be compared letter by letter.
        steps: How many items, and members of items, may still be looked at.
    """

    pairs: int = 1_000
    steps: int = 100_000

    def first_of(self, items: Sequence[_T], members: int = 0) -> Sequence[_T]:
        """Return the first of *items*, as many as may still be looked at when each has so many *members*."""
        found = items[: self.steps // (1 + members)]
        self.steps -= len(found) * (1 + members)
        return found

    def near_name(self, name: str, known: Iterable[str], *, cutoff: float) -> str | None:
        """Return which of *known* was probably meant by *name*; None also when it is too much work to find out."""
        if len(name) > _MAX_LETTERS:
            return None
        names = [one for one in islice(known, _MAX_NAMES) if len(one) <= _MAX_LETTERS]
        folded = {_folded(one): one for one in reversed(names)}
        same = folded.get(_folded(name))
        if same is not None or len(folded) > self.pairs:
            return same
        self.pairs -= len(folded)
        close = difflib.get_close_matches(_folded(name), folded, n=1, cutoff=cutoff)
        return folded[close[0]] if close else None


def _folded(name: str) -> str:
    return name.casefold().replace("_", "").replace("-", "").replace(" ", "")
