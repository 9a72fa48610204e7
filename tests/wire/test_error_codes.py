"""Which error an answer is, and which answers prove that nothing was done."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coreclaw_async import errors
from coreclaw_async._wire.error_codes import error_class, is_refusal

CODES = {
    10000: (errors.ServiceError, False),
    11000: (errors.InvalidArgumentError, True),
    11004: (errors.NotFoundError, True),
    12001: (errors.AuthenticationError, True),
    12002: (errors.AuthenticationError, True),
    13000: (errors.RateLimitedError, True),
    14000: (errors.ServiceError, False),
    16000: (errors.NotImplementedByServiceError, True),
    30001: (errors.InsufficientBalanceError, True),
    30003: (errors.ConcurrencyLimitError, True),
    50001: (errors.NotFoundError, True),
    50002: (errors.RunOperationError, False),
    50003: (errors.WorkerUnavailableError, True),
    60001: (errors.NotFoundError, True),
    70001: (errors.NotFoundError, True),
    70002: (errors.RunOperationError, False),
}
STATUSES = {
    400: (errors.InvalidArgumentError, True),
    401: (errors.AuthenticationError, True),
    403: (errors.AuthenticationError, True),
    404: (errors.NotFoundError, True),
    408: (errors.ApiError, False),
    409: (errors.ApiError, False),
    413: (errors.ApiError, True),
    422: (errors.InvalidArgumentError, True),
    429: (errors.RateLimitedError, True),
    500: (errors.ServiceError, False),
    501: (errors.NotImplementedByServiceError, False),
    502: (errors.ServiceError, False),
    503: (errors.ServiceError, False),
    504: (errors.ServiceError, False),
    599: (errors.ServiceError, False),
}


@pytest.mark.parametrize("status", [200, 400, 404, 422, 429, 500])
@pytest.mark.parametrize(("code", "expected"), CODES.items())
def test_code_decides_whatever_the_status(code: int, expected: tuple[type[errors.ApiError], bool], status: int) -> None:
    kind, proves = expected
    if status == 500 and kind is errors.RateLimitedError:
        proves = False  # A failing gateway may pass on the service's answer to another attempt.

    assert (error_class(status, code), is_refusal(status, code)) == (kind, proves)


@pytest.mark.parametrize(("status", "expected"), STATUSES.items())
def test_status_decides_when_there_is_no_code(status: int, expected: tuple[type[errors.ApiError], bool]) -> None:
    assert (error_class(status, None), is_refusal(status, None)) == expected


@pytest.mark.parametrize(("status", "expected"), STATUSES.items())
def test_the_code_of_success_in_a_failure_proves_nothing(
    status: int, expected: tuple[type[errors.ApiError], bool]
) -> None:
    assert error_class(status, 0) is expected[0]
    assert not is_refusal(status, 0)


def test_only_these_statuses_prove_by_themselves_that_nothing_was_done() -> None:
    proving = {status for status in range(100, 600) if is_refusal(status, None)}

    assert proving == {400, 401, 403, 404, 405, 411, 413, 414, 415, 417, 422, 429, 431, 451}


@pytest.mark.parametrize("code", [4000, 4010, 4040, 5000, 10001, 20001, 30002, 99999, -1])
def test_unknown_code_is_the_error_of_its_status_and_proves_nothing(code: int) -> None:
    assert error_class(200, code) is errors.ApiError
    assert error_class(404, code) is errors.NotFoundError
    assert error_class(500, code) is errors.ServiceError
    assert not is_refusal(404, code)


@given(st.integers(100, 599), st.none() | st.integers() | st.sampled_from(sorted(CODES)))
def test_every_answer_is_some_api_error(status: int, code: int | None) -> None:
    assert issubclass(error_class(status, code), errors.ApiError)


@pytest.mark.parametrize(
    "code",
    [
        None,
        *CODES,
        4290,
    ],
)
def test_rate_limit_always_proves_that_nothing_was_done(code: int | None) -> None:
    assert error_class(429, code) is not errors.RateLimitedError or is_refusal(429, code)
