"""A few identities that stand on two pages do not tell what ``offset`` means; all others do."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paging.list_model import EACH_DIALECT, EACH_ECHO, Dialect, ModelList, numbered, pager_of, read
from quick_cases import slowly

from coreclaw_async._paging.offsets import PROBE_OFFSET, Mode, possible_modes

MEANINGS = {"row": Mode.ROW, "aligned": Mode.ROW, "page": Mode.PAGE}


@EACH_DIALECT
@EACH_ECHO
@pytest.mark.parametrize("differ", [True, False])
@pytest.mark.parametrize("counted", [True, False])
@slowly("twins", (5, 103), (5, 104), (5, 105), (5, 106), (1, 100), (99, 100), (99, 198), (5, 102), (5, 205), (0, 101))
async def test_identity_on_two_pages_does_not_outvote_all_others(
    dialect: Dialect, echo: bool, differ: bool, counted: bool, twins: tuple[int, int]
) -> None:
    rows = numbered(400)
    first, second = twins
    rows[second] = {**rows[first], "n": second} if differ else rows[first]
    model = ModelList(list(rows), dialect, echo)
    if not counted:
        model.count = lambda m, _: None

    items, error = await read(pager_of(model, page_size=100))

    assert error is None
    # Without a count nothing shows that the second one is another row.
    lacks = set() if counted else {second}
    assert {row["n"] for row in rows} - {item["n"] for item in items} <= lacks
    assert len(model.requests) <= 8 + 2 * 6  # Where no page can hold both, their two pages are read six times.


@pytest.mark.parametrize("growth", [0, 7, 40])
async def test_identity_on_two_pages_does_not_outvote_all_others_while_the_list_grows(growth: int) -> None:
    rows = numbered(400)
    rows[125] = {**rows[5], "n": 125}

    def grow(model: ModelList) -> None:
        model.items.extend(numbered(growth, 400))

    model = ModelList(list(rows), changes={1: grow})

    items, error = await read(pager_of(model, page_size=100))

    assert error is None
    assert sorted(item["n"] for item in items) == list(range(400 + growth))


@settings(max_examples=40)
@given(
    meaning=st.sampled_from(list(MEANINGS)),
    total=st.integers(60, 300),
    pairs=st.lists(st.tuples(st.integers(0, 49), st.integers(50, 151)), min_size=1, max_size=2),
    growth=st.integers(0, 20),
)
def test_true_mode_is_never_excluded_by_a_few_shared_identities(
    meaning: str, total: int, pairs: list[tuple[int, int]], growth: int
) -> None:
    keys = list(range(total))
    for one, other in pairs:
        if other < total:
            keys[other] = keys[one]
    start: dict[str, Any] = {"row": PROBE_OFFSET, "aligned": 0, "page": 50}
    modes = possible_modes(
        keys[:50], keys[start[meaning] : start[meaning] + 50], size=50, growth=growth, has_identity=True
    )

    assert modes == {MEANINGS[meaning]}
