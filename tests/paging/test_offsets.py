"""What ``offset`` means, against a service of each meaning whose rows come and go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paging.list_model import Item, identity, nameless, numbered

from coreclaw_async._paging.listing import MIN_PROBE_SIZE, reading_of
from coreclaw_async._paging.offsets import PROBE_OFFSET, SETTLING_SIZE, Mode, Unclear, decide_mode, possible_modes
from coreclaw_async.models import Page

PAGE, ROW = Mode.PAGE, Mode.ROW
MEANINGS = {"row": ROW, "aligned": ROW, "page": PAGE}


def answer(rows: Sequence[int], meaning: str, offset: int, limit: int) -> list[int]:
    """Return what a service that reads ``offset`` as *meaning* answers."""
    start = {
        "row": offset,
        "aligned": offset // limit * limit,
        "page": (max(offset, 1) - 1) * limit,
    }[meaning]
    return list(rows[start : start + limit])


def changed(rows: list[int], growth: int) -> list[int]:
    """Return *rows* after *growth* were inserted at the front, or so many removed from there."""
    return [-number - 1 for number in range(growth)][::-1] + rows if growth >= 0 else rows[-growth:]


@pytest.mark.parametrize("meaning", MEANINGS)
@pytest.mark.parametrize("size", [3, 4, 7, 10])
def test_true_mode_is_always_possible_when_rows_come_and_go_at_the_front(meaning: str, size: int) -> None:
    for total in range(size + 1, 3 * size + 2):
        rows = list(range(total))
        first = answer(rows, meaning, 0, size)
        for growth in range(-total, 2 * size + 3):
            probe = answer(changed(rows, growth), meaning, 2, size)
            modes = possible_modes(first, probe, size=size, growth=growth, has_identity=True)

            assert MEANINGS[meaning] in modes, (total, growth)


@pytest.mark.parametrize("meaning", MEANINGS)
@pytest.mark.parametrize("growth", [0, None])
@pytest.mark.parametrize("size", [3, 10])
def test_mode_is_certain_when_nothing_changed(meaning: str, growth: int | None, size: int) -> None:
    rows = list(range(3 * size))
    first, probe = (answer(rows, meaning, offset, size) for offset in (0, 2))

    assert possible_modes(first, probe, size=size, growth=growth, has_identity=True) == {MEANINGS[meaning]}


@pytest.mark.parametrize("meaning", MEANINGS)
def test_mode_is_certain_when_a_few_rows_came_to_large_pages(meaning: str) -> None:
    rows = list(range(300))
    first = answer(rows, meaning, 0, 100)
    for growth in range(40):
        probe = answer(changed(rows, growth), meaning, 2, 100)

        assert possible_modes(first, probe, size=100, growth=growth, has_identity=True) == {MEANINGS[meaning]}


@settings(max_examples=40)
@given(
    rows=st.lists(st.integers(0, 1), min_size=4, max_size=30),
    size=st.integers(3, 10),
    meaning=st.sampled_from(list(MEANINGS)),
)
def test_true_mode_is_possible_when_rows_have_no_identity_and_stay(rows: list[int], size: int, meaning: str) -> None:
    first, probe = (answer(rows, meaning, offset, size) for offset in (0, 2))
    if len(rows) > size:
        assert MEANINGS[meaning] in possible_modes(first, probe, size=size, growth=0, has_identity=False)


@settings(max_examples=40)
@given(
    rows=st.lists(st.integers(0, 2), min_size=8, max_size=30),
    size=st.integers(3, 7),
    meaning=st.sampled_from(list(MEANINGS)),
    growth=st.integers(-7, 14),
)
def test_true_mode_is_possible_when_rows_have_no_identity_and_come_and_go(
    rows: list[int], size: int, meaning: str, growth: int
) -> None:
    first = answer(rows, meaning, 0, size)
    probe = answer(changed(rows, growth), meaning, 2, size)

    assert MEANINGS[meaning] in possible_modes(first, probe, size=size, growth=growth, has_identity=False)


def test_page_number_is_certain_when_rows_without_identity_are_no_shifted_first_page() -> None:
    assert possible_modes("abcd", "efgh", size=4, growth=0, has_identity=False) == {PAGE}
    assert possible_modes("abcd", "xbcd", size=4, growth=0, has_identity=False) == {PAGE}
    assert possible_modes("abcd", "", size=4, growth=0, has_identity=False) == {PAGE}
    assert possible_modes("abcd", "cdef", size=4, growth=0, has_identity=False) == {PAGE, ROW}
    assert possible_modes("ab", "cdef", size=4, growth=0, has_identity=False) == {PAGE, ROW}


@pytest.mark.parametrize(
    ("probe", "growth"),
    [("dbcaef", 0), ("abxcde", 0), ("defxyz", 0), ("efxyzu", 1), ("xyzabc", 2)],
    ids=["reordered", "pushed apart", "shifted by three", "shifted by four", "pushed by three, not two"],
)
def test_no_mode_is_possible_when_rows_moved_in_another_way(probe: str, growth: int) -> None:
    assert possible_modes("abcdef", probe, size=6, growth=growth, has_identity=True) == frozenset()


@pytest.mark.parametrize("size", range(2, 8))
def test_meanings_can_be_told_apart_from_the_least_telling_size_on(size: int) -> None:
    rows = list(range(50))
    page, row = (answer(rows, meaning, PROBE_OFFSET, size) for meaning in ("page", "row"))

    assert (page != row) is (size >= MIN_PROBE_SIZE)
    assert SETTLING_SIZE > MIN_PROBE_SIZE


def test_offset_of_a_page_is_its_number_or_its_first_row() -> None:
    assert [PAGE.offset(number, 20) for number in (1, 2, 3)] == [0, 2, 3]
    assert [ROW.offset(number, 20) for number in (1, 2, 3)] == [0, 20, 40]


@pytest.mark.parametrize("growth", [0, None])
def test_no_mode_is_possible_when_all_items_came_in_the_reverse_order(growth: int | None) -> None:
    assert not possible_modes("abcdefghij", "jihgfedcba", size=10, growth=growth, has_identity=True)


def test_mode_is_unclear_when_items_of_which_some_have_no_identity_came_meanwhile() -> None:
    def read(number: int, items: list[Item], count: int) -> Any:
        return reading_of(identity, number, Page(items=tuple(items), count=count))

    first = read(1, [*numbered(9), *nameless(1)], 50)
    probe = read(2, [*reversed(numbered(9)), *nameless(1)], 52)

    assert decide_mode(first, probe, size=10) is Unclear.MOVED


def test_nameless_items_of_which_one_changed_prove_no_page_number() -> None:
    def read(number: int, items: Sequence[Item], page_index: int | None = None) -> Any:
        return reading_of(identity, number, Page(items=tuple(items), count=50, page_index=page_index))

    def rows(*numbers: int) -> list[Item]:
        return [{"n": number} for number in numbers]

    first = read(1, rows(*range(10)))
    shifted = rows(*range(2, 12))
    one_changed = [*shifted[:4], {"n": 99}, *shifted[5:]]
    by_page = rows(*range(10, 20))

    assert decide_mode(first, read(2, one_changed), size=10) is Unclear.MOVED
    assert decide_mode(first, read(2, one_changed), size=10, is_stable=True) is Unclear.NO_ROWS
    assert decide_mode(first, read(2, one_changed, page_index=2), size=10) is PAGE
    assert decide_mode(first, read(2, by_page), size=10) is PAGE
    assert decide_mode(first, read(2, shifted), size=10) is Unclear.ALIKE


@pytest.mark.parametrize("page_index", [None, 1])
@pytest.mark.parametrize("count", [200, None])
@pytest.mark.parametrize("shift", [3, 4, 10, 40])
@pytest.mark.parametrize("is_stable", [True, False])
def test_rows_shifted_by_more_than_two_prove_no_page_number(
    shift: int, count: int | None, page_index: int | None, *, is_stable: bool
) -> None:
    """Page 1 came from a replica, and the answer to ``offset=2`` from one that lacks some rows of it."""

    def read(number: int, begin: int) -> Any:
        items = tuple({"id": place} for place in range(begin, begin + 100))
        return reading_of(identity, number, Page(items=items, count=count, page_index=page_index))

    assert decide_mode(read(1, 0), read(2, shift), size=100, is_stable=is_stable) is Unclear.MOVED


@pytest.mark.parametrize("is_stable", [True, False])
def test_few_items_that_are_on_both_pages_leave_the_page_number_certain(*, is_stable: bool) -> None:
    def read(number: int, begin: int) -> Any:
        items = tuple({"id": place} for place in range(begin, begin + 100))
        return reading_of(identity, number, Page(items=items, count=200))

    found = decide_mode(read(1, 0), read(2, 60), size=100, is_stable=is_stable)
    assert found is (PAGE if is_stable else Unclear.MOVED)
