"""What becomes of columns whose values have no common type, and where the warning about them points to."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from frames.made_pagers import pager_of

from coreclaw_async import ColumnConflictError, Page, ResultHeader, ResultPage

# The first rows, the last row, and what is wrong with the column ``x``, if anything is.
CHANGES: list[tuple[dict[str, Any], dict[str, Any], str | None]] = [
    ({"x": {}}, {"x": {"a": 1}}, None),
    ({"x": [{}]}, {"x": [{"a": 1}]}, None),
    ({"x": {"y": {}}}, {"x": {"y": {"z": 1}}}, None),
    ({"x": {}}, {"x": None}, "objects without members"),
    ({"x": {}}, {"x": 5}, "object, then integer"),
    ({"x": 1}, {"x": 1.5}, None),
    ({"x": 1}, {"x": "a"}, "integer, then text"),
    ({"x": 2**64}, {"x": 1}, "integers of more than 64 bits"),
    ({"x": {"m\0": 1}}, {"x": {"m": 1}}, "members with a null character in their names"),
    ({"x": [{"m\0": 1}]}, {"x": None}, "members with a null character in their names"),
    ({}, {"x": 1}, None),
]


@pytest.mark.parametrize("count", [1, 1_000])
@pytest.mark.parametrize(("early", "late", "reason"), CHANGES)
async def test_both_ways_find_the_same_columns_whenever_a_row_comes(
    early: dict[str, Any], late: dict[str, Any], reason: str | None, count: int
) -> None:
    pages = [Page(items=[early] * count), Page(items=[late])]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        table = await pager_of(*pages).to_arrow()
    try:
        await pager_of(*pages).to_arrow(on_conflict="raise")
    except ColumnConflictError as error:
        found: str | None = str(error).partition(": ")[2]
    else:
        found = None

    assert table.num_rows == count + 1
    assert len(told) == (reason is not None)
    if reason is None:
        assert found is None
    else:
        assert f"'x' ({reason})" in str(told[0].message)
        assert found is not None
        assert f"'x' ({reason})" in found


async def test_an_early_error_names_no_column_that_later_rows_may_mend() -> None:
    rows = [{"fine": {}, "bad": 1}, {"fine": {}, "bad": "a"}] * 500

    with pytest.raises(ColumnConflictError) as raised:
        await pager_of(Page(items=rows), Page(items=[{"fine": {"a": 1}}])).to_arrow(on_conflict="raise")

    assert raised.value.columns == ("bad",)


@pytest.mark.parametrize("count", [1, 500])
async def test_an_error_names_columns_by_the_labels_that_are_asked_for(count: int) -> None:
    headers = [ResultHeader(key="a", label="Name")]
    page = ResultPage(items=({"a": 1}, {"a": "x"}) * count, headers=headers)

    with pytest.raises(ColumnConflictError, match="'Name'") as raised:
        await pager_of(page).to_arrow(on_conflict="raise", labels=True)

    assert raised.value.columns == ("Name",)
