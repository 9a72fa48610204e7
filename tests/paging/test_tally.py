"""Whether the number of items that came equals the count."""

from __future__ import annotations

import pytest

from coreclaw_async._paging.fetcher import pages_at_once
from coreclaw_async._paging.tally import Tally


def tally(*counts: tuple[int | None, int | None], delivered: int, rows: bool = True, in_order: bool = True) -> Tally:
    made = Tally(rows, in_order)
    for count, known in counts:
        made.note(count, known)
    made.add(delivered)
    return made


def test_nothing_is_missing_where_nothing_is_counted() -> None:
    made = tally((None, None), delivered=5)

    assert (made.missing, made.may_lack, made.has_all, made.has_surplus) == (0, True, False, False)


def test_items_that_were_added_must_come_where_all_rows_must() -> None:
    counts = ((20, None), (25, 20))

    assert tally(*counts, delivered=20).missing == 5
    assert tally(*counts, delivered=20, rows=False).missing == 0
    assert tally(*counts, delivered=20, rows=False, in_order=False).missing == 5


def test_lower_count_of_a_page_asked_for_before_is_no_shrinking() -> None:
    made = tally((20, None), (30, 20), (25, 20), delivered=30)

    assert (made.count, made.has_shrunk, made.missing, made.growth) == (30, False, 0, 10)


@pytest.mark.parametrize(("rows", "delivered", "skipped"), [(True, 30, False), (True, 29, True), (False, 30, True)])
def test_lower_count_than_before_may_have_skipped_items(rows: bool, delivered: int, skipped: bool) -> None:
    made = tally((30, None), (28, 30), delivered=delivered, rows=rows)

    assert made.has_shrunk
    assert made.may_have_skipped is skipped


def test_whole_sweep_that_brings_nothing_new_shows_that_nothing_was_skipped() -> None:
    made = tally((30, None), (28, 30), delivered=30, rows=False)
    made.begin_sweep()
    made.note(28, 30)

    assert made.has_shrunk
    assert not made.may_have_skipped


def test_more_items_than_ever_were_counted_prove_the_count_wrong() -> None:
    made = tally((10, None), (10, 10), delivered=20)
    made.note(10, None)

    assert (made.count, made.missing, made.has_surplus, made.is_beyond(9, 10, 10)) == (None, 0, True, False)


def test_page_lies_beyond_by_what_it_says_itself() -> None:
    made = tally((20, None), (45, 20), delivered=20)

    assert made.is_beyond(3, 10, 20)
    assert not made.is_beyond(3, 10, 21)
    assert not made.is_beyond(3, 10, None)


@pytest.mark.parametrize(
    ("number", "count", "prefetch", "pages"),
    [
        (2, None, 8, [2]),
        (2, 95, 0, [2]),
        (2, 95, 3, [2, 3, 4, 5]),
        (9, 95, 3, [9, 10]),
        (10, 100, 3, [10, 11]),
        (12, 100, 3, [12]),
    ],
)
def test_pages_that_are_read_at_once_end_with_the_list(
    number: int, count: int | None, prefetch: int, pages: list[int]
) -> None:
    assert list(pages_at_once(number, count=count, size=10, prefetch=prefetch)) == pages
