"""Which failures are retried, and after how long."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire.exchanges import request_of

from coreclaw_async import errors
from coreclaw_async._wire.request import Safety
from coreclaw_async._wire.retry import RetryPolicy, full_jitter, may_retry, next_wait
from coreclaw_async.errors import CoreClawError

NOT_DONE = {errors.RequestNotSentError, errors.RateLimitedError}
PERHAPS_DONE = {errors.NoReplyError, errors.OutcomeUnknownError, errors.ServiceError, errors.InvalidResponseError}
CEILINGS = RetryPolicy(max_attempts=4, jitter=lambda ceiling: ceiling)
LIMITED = errors.RateLimitedError("slow down")


# Errors about a batch are no outcome of a request.
NOT_OF_REQUESTS = {
    errors.BatchAbortError,
    errors.BatchConflictError,
    errors.BatchIncompleteError,
    errors.BatchStoppedError,
    errors.ColumnConflictError,
}
ERRORS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, CoreClawError) and kind not in NOT_OF_REQUESTS
]


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("safety", Safety)
def test_request_goes_again_only_when_that_cannot_do_its_work_twice(safety: Safety, kind: type[CoreClawError]) -> None:
    is_again = kind in NOT_DONE or (kind in PERHAPS_DONE and safety is not Safety.ONCE)

    assert may_retry(request_of(safety), kind("it happened", run_id="R")) is is_again


@given(st.sampled_from(ERRORS))
def test_request_that_must_not_be_repeated_never_goes_again_after_anything_ambiguous(kind: type[CoreClawError]) -> None:
    error = kind("it happened", run_id="R")

    assert not (error.may_have_taken_effect and may_retry(request_of(Safety.ONCE), error))


def test_refusal_for_the_rate_is_not_trusted_when_it_says_it_may_have_taken_effect() -> None:
    error = errors.RateLimitedError("HTTP 429 with an unknown code", may_have_taken_effect=True)

    assert not may_retry(request_of(Safety.ONCE), error)


def test_request_that_can_be_repeated_goes_again_whatever_a_rate_limit_proves() -> None:
    error = errors.RateLimitedError("HTTP 500 with code 13000", may_have_taken_effect=True)

    assert may_retry(request_of(Safety.REPEATABLE), error)


def test_waits_double_up_to_the_longest_and_are_one_fewer_than_the_attempts() -> None:
    policy = RetryPolicy(max_attempts=7, first_delay=0.5, max_delay=5, jitter=lambda ceiling: ceiling)

    assert list(policy.delays()) == [0.5, 1, 2, 4, 5, 5]


def test_there_are_no_waits_when_there_is_one_attempt() -> None:
    assert list(RetryPolicy(max_attempts=1).delays()) == []


@given(st.floats(0, 1e6))
def test_wait_is_between_zero_and_its_ceiling(ceiling: float) -> None:
    assert 0 <= full_jitter(ceiling) <= ceiling


@given(st.integers(1, 12), st.floats(0.01, 10), st.floats(0.01, 60))
def test_waits_stay_in_their_bounds(attempts: int, first: float, longest: float) -> None:
    policy = RetryPolicy(max_attempts=attempts, first_delay=first, max_delay=longest)
    delays = list(policy.delays())

    assert len(delays) == attempts - 1
    assert all(0 <= wait <= min(first * 2**number, longest) for number, wait in enumerate(delays))


def test_waits_have_no_end_by_default_and_never_grow_beyond_the_longest() -> None:
    delays = RetryPolicy(jitter=lambda ceiling: ceiling).delays()

    assert list(itertools.islice(delays, 9)) == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_next_wait_is_none_when_the_request_must_not_go_again() -> None:
    request = request_of(Safety.ONCE)

    assert next_wait(CEILINGS, request, errors.NoReplyError("lost"), CEILINGS.delays()) is None


def test_next_wait_is_none_when_the_attempts_are_used_up() -> None:
    delays = CEILINGS.delays()
    request = request_of(Safety.ONCE)

    assert [next_wait(CEILINGS, request, LIMITED, delays) for _ in range(5)] == [0.5, 1, 2, None, None]


@given(st.floats(0, 120), st.floats(0, 1))
def test_next_wait_is_never_shorter_than_the_service_asked(asked: float, part: float) -> None:
    policy = RetryPolicy(jitter=lambda ceiling: part * ceiling)
    error = errors.RateLimitedError("slow down", retry_after=asked)
    wait = next_wait(policy, request_of(Safety.ONCE), error, policy.delays())

    assert wait is not None
    assert asked <= wait <= asked + 0.5


def test_next_wait_is_none_when_the_service_asks_for_too_long() -> None:
    policy = RetryPolicy(max_retry_after=10)
    for asked, is_given_up in ((10.0, False), (10.1, True)):
        error = errors.RateLimitedError("slow down", retry_after=asked)

        assert (next_wait(policy, request_of(), error, policy.delays()) is None) is is_given_up


@pytest.mark.parametrize(
    ("name", "value", "kind", "problem"),
    [
        ("max_attempts", 0, ValueError, "must be 1 or more, not 0"),
        ("max_attempts", True, TypeError, "must be an int, not True"),
        ("max_elapsed", 0, ValueError, "must be a finite number of seconds above 0, not 0"),
        ("attempt_timeout", -1, ValueError, "must be a finite number of seconds above 0, not -1"),
        ("connect_timeout", float("inf"), ValueError, "must be a finite number of seconds above 0, not inf"),
        ("first_delay", 0, ValueError, "must be a finite number of seconds above 0, not 0"),
        ("max_delay", -1, ValueError, "must be a finite number of seconds above 0, not -1"),
        ("max_delay", float("inf"), ValueError, "must be a finite number of seconds above 0, not inf"),
        ("max_retry_after", -1, ValueError, "must be a finite number of seconds from 0, not -1"),
        ("max_retry_after", "5", TypeError, "must be a number of seconds, not '5'"),
    ],
)
def test_policy_is_refused_when_a_number_is_out_of_range(
    name: str, value: Any, kind: type[Exception], problem: str
) -> None:
    with pytest.raises(kind, match=f"^{name} {problem}$"):
        RetryPolicy(**{name: value})


def test_policy_takes_its_numbers_by_name_only() -> None:
    with pytest.raises(TypeError, match="positional"):
        RetryPolicy(3)  # type: ignore[call-arg]


def test_no_retry_after_is_obeyed_when_the_longest_is_zero() -> None:
    policy = RetryPolicy(max_retry_after=0)
    error = errors.RateLimitedError("slow down", retry_after=0.1)

    assert next_wait(policy, request_of(), error, policy.delays()) is None


def test_default_waits_take_seconds_and_not_minutes() -> None:
    longest = itertools.accumulate(CEILINGS.delays())

    assert list(longest) == [0.5, 1.5, 3.5]
    assert repr(RetryPolicy()) == (
        "RetryPolicy(max_attempts=None, max_elapsed=None, first_delay=0.5, max_delay=30.0, max_retry_after=120.0, "
        "attempt_timeout=20.0, connect_timeout=10.0)"
    )
