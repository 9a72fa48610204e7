"""Which method of polling runs is chosen, given what is known of the lists."""

from __future__ import annotations

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from coreclaw_async._polling.estimate import FEW, PAGE, ListCache, ListEstimate, PollMethod
from coreclaw_async._wire.timestamps import SERVICE_ZONE, month_window, month_windows
from coreclaw_async.models import Page, Run, RunStatus

LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
BEGIN = 1_780_000_000
"""The times below are seconds from here on: an id that is older than the service tells no time."""


def run_id(created: float, number: int = 0) -> str:
    milliseconds, letters = round((BEGIN + created) * 1000), ""
    for _ in range(10):
        milliseconds, place = divmod(milliseconds, 32)
        letters = LETTERS[place] + letters
    return f"{letters}{number:016d}"


def page(*created: float, count: int | None = None) -> Page[Run]:
    return Page(items=tuple(Run(run_id=run_id(time)) for time in created), count=count)


def going(*created: float, status: RunStatus = RunStatus.RUNNING) -> dict[str, Run | None]:
    return {run_id(time, number): Run(status=status) for number, time in enumerate(created)}


def choose(
    estimate: ListEstimate, left: dict[str, Run | None], pages_read: int = 0, *, has_states: bool = False
) -> PollMethod:
    return estimate.choose(left, total=len(left), pages_read=pages_read, has_states=has_states)


def test_a_few_are_asked_for() -> None:
    assert choose(ListEstimate(), going(*range(100, 100 + FEW))) is PollMethod.DETAILS


def test_many_of_whom_nothing_is_known_are_looked_for_among_the_newest() -> None:
    assert choose(ListEstimate(), going(*range(100, 150))) is PollMethod.NEWEST


def test_who_lies_far_down_the_list_is_looked_for_among_the_running() -> None:
    estimate = ListEstimate()
    estimate.learn_newest(1, page(10_000, 9_990, count=50_000))

    assert choose(estimate, going(*range(100, 150)), 1) is PollMethod.STATES
    assert choose(estimate, going(*range(100, 150)), 1, has_states=True) is PollMethod.DETAILS


def test_runs_of_one_millisecond_go_on_on_the_next_page() -> None:
    estimate = ListEstimate()
    estimate.learn_newest(1, page(500, 500, count=2 * PAGE))

    assert choose(estimate, going(*[500] * 20), 1) is PollMethod.NEWEST


def test_what_should_have_been_on_a_page_that_was_read_is_not_looked_for_on_the_next() -> None:
    estimate = ListEstimate()
    estimate.learn_newest(1, page(900, 100, count=5_000))

    assert choose(estimate, going(*range(200, 220)), 1) is not PollMethod.NEWEST


def test_an_order_that_is_not_newest_first_is_not_relied_on() -> None:
    estimate = ListEstimate()
    estimate.learn_newest(1, page(100, 900, count=5_000))

    assert not estimate.is_sorted
    assert choose(estimate, going(*range(50, 70)), 1) is not PollMethod.NEWEST


def test_ids_that_tell_no_time_are_looked_for_on_the_first_page_only() -> None:
    estimate = ListEstimate()
    left: dict[str, Run | None] = {f"run-{number}": None for number in range(20)}
    assert choose(estimate, left) is PollMethod.NEWEST

    estimate.learn_newest(1, Page(items=(Run(run_id="run-99"),), count=None))

    assert choose(estimate, left, 1) is PollMethod.STATES


def test_a_whole_list_has_no_more_pages() -> None:
    estimate = ListEstimate()
    estimate.learn_newest(1, page(900, 800, count=2))

    assert estimate.is_whole
    assert choose(estimate, going(*range(100, 150)), 1) is not PollMethod.NEWEST


def test_pages_that_do_not_go_with_those_read_earlier_are_forgotten() -> None:
    estimate = ListEstimate()
    for number, times in enumerate([(900, 800), (700, 600), (500, 400)], 1):
        estimate.learn_newest(number, page(*times, count=5_000))

    estimate.learn_newest(1, page(650, 550, count=5_000))

    assert estimate.borders == [BEGIN + 550]


def test_runs_that_are_aborting_stand_in_no_list_of_states() -> None:
    estimate = ListEstimate(borders=[BEGIN + 10_000.0], newest=BEGIN + 10_001.0, count=50_000)

    assert choose(estimate, going(*range(100, 150), status=RunStatus.ABORTING)) is PollMethod.DETAILS


def test_how_many_leave_the_lists_of_states_is_learned() -> None:
    estimate = ListEstimate(borders=[BEGIN + 10_000.0], newest=BEGIN + 10_001.0, count=50_000)
    left = going(*range(100, 150))
    assert choose(estimate, left) is PollMethod.STATES

    for _ in range(40):
        estimate.learn_leaving(50, 50)
    assert choose(estimate, left) is PollMethod.DETAILS

    for _ in range(40):
        estimate.learn_leaving(5, 50)
    assert choose(estimate, left) is PollMethod.STATES


def test_a_few_runs_that_all_have_ended_say_little_of_how_many_leave_the_lists_of_states() -> None:
    estimate = ListEstimate(borders=[BEGIN + 10_000.0], newest=BEGIN + 10_001.0, count=50_000)

    for _ in range(3):
        estimate.learn_leaving(4, 4)

    assert choose(estimate, going(*range(100, 150))) is PollMethod.STATES


def test_the_length_of_the_list_of_running_runs_is_learned() -> None:
    estimate = ListEstimate(borders=[BEGIN + 10_000.0], newest=BEGIN + 10_001.0, count=50_000)

    estimate.learn_running(page(1, count=100 * PAGE))
    assert choose(estimate, going(*range(100, 150))) is PollMethod.DETAILS

    estimate.learn_running(None)
    assert choose(estimate, going(*range(100, 150))) is PollMethod.STATES


@given(
    created=st.lists(st.floats(1, 10_000), min_size=FEW + 1, max_size=300),
    pages=st.lists(st.lists(st.floats(1, 10_000), max_size=8), max_size=30),
    count=st.none() | st.integers(0, 3_000),
)
def test_looking_through_pages_that_hold_nobody_comes_to_an_end(
    created: list[float], pages: list[list[float]], count: int | None
) -> None:
    estimate, left = ListEstimate(), going(*created)
    for number in range(1, len(left) + 3):
        if choose(estimate, left, number - 1, has_states=True) is PollMethod.DETAILS:
            return
        times = pages[number % len(pages)] if pages else []
        estimate.learn_newest(number, page(*times, count=count))
    raise AssertionError("it would read for ever")


def test_estimates_of_a_dozen_months_are_kept() -> None:
    cache = ListCache()
    first = cache.estimate((2026, 1))
    assert cache.estimate((2026, 1)) is first

    for month in range(2, 14):
        cache.estimate((2026, month))

    assert cache.estimate((2026, 1)) is not first


def test_lists_are_left_alone_for_a_minute_after_two_failures_or_a_lasting_one() -> None:
    cache = ListCache()
    cache.note_failure(100.0, is_lasting=False)
    assert cache.may_list(100.0)
    cache.note_success()
    cache.note_failure(101.0, is_lasting=False)
    assert cache.may_list(101.0)
    cache.note_failure(102.0, is_lasting=False)
    assert not cache.may_list(161.0)
    assert cache.may_list(162.0)

    cache.note_failure(200.0, is_lasting=True)
    assert not cache.may_list(259.0)


@given(year=st.integers(2024, 2099), month=st.integers(1, 12))
def test_the_window_of_a_month_is_that_of_all_its_days(year: int, month: int) -> None:
    first = dt.datetime(year, month, 1, tzinfo=SERVICE_ZONE)
    last = dt.datetime(year + month // 12, month % 12 + 1, 1, tzinfo=SERVICE_ZONE) - dt.timedelta(seconds=1)

    assert [month_window((year, month))] == month_windows(first, last)
