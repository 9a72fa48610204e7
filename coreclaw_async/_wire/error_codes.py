"""The error class of an answer: by application code first, by HTTP status second."""

from __future__ import annotations

from http import HTTPStatus

from coreclaw_async import errors

_BY_CODE: dict[int, type[errors.ApiError]] = {
    10000: errors.ServiceError,
    11000: errors.InvalidArgumentError,
    11004: errors.NotFoundError,
    12001: errors.AuthenticationError,
    12002: errors.AuthenticationError,
    13000: errors.RateLimitedError,
    14000: errors.ServiceError,
    16000: errors.NotImplementedByServiceError,
    30001: errors.InsufficientBalanceError,
    30003: errors.ConcurrencyLimitError,
    50001: errors.NotFoundError,
    50002: errors.RunOperationError,
    50003: errors.WorkerUnavailableError,
    60001: errors.NotFoundError,
    70001: errors.NotFoundError,
    70002: errors.RunOperationError,
}
_BY_STATUS: dict[int, type[errors.ApiError]] = {
    HTTPStatus.BAD_REQUEST: errors.InvalidArgumentError,
    HTTPStatus.UNAUTHORIZED: errors.AuthenticationError,
    HTTPStatus.FORBIDDEN: errors.AuthenticationError,
    HTTPStatus.NOT_FOUND: errors.NotFoundError,
    HTTPStatus.UNPROCESSABLE_ENTITY: errors.InvalidArgumentError,
    HTTPStatus.TOO_MANY_REQUESTS: errors.RateLimitedError,
    HTTPStatus.NOT_IMPLEMENTED: errors.NotImplementedByServiceError,
}
# Answers that prove that nothing was done: the codes that api/error-codes documents as refusals, and the statuses with
# which a gateway rejects a request. Everything else leaves the question open.
_REFUSALS = frozenset({11000, 11004, 12001, 12002, 13000, 16000, 30001, 30003, 50001, 50003, 60001, 70001})
_REFUSING_STATUSES = frozenset({400, 401, 403, 404, 405, 411, 413, 414, 415, 417, 422, 429, 431, 451})
_FIRST_SERVER_ERROR = 500
# The service's codes have five digits; a gateway that speaks JSON repeats the HTTP status.
_FIRST_CODE = 10_000


def error_class(status_code: int, code: int | None) -> type[errors.ApiError]:
    """Return the error class of an answer with *status_code* and *code*."""
    if code is not None and code in _BY_CODE:
        return _BY_CODE[code]
    by_status = _BY_STATUS.get(status_code)
    if by_status is not None:
        return by_status
    return errors.ServiceError if status_code >= _FIRST_SERVER_ERROR else errors.ApiError


def is_refusal(status_code: int, code: int | None) -> bool:
    """Return whether the answer proves that nothing was done."""
    if code == 0:  # A success and a failure in one answer prove nothing.
        return False
    if error_class(status_code, code) is errors.RateLimitedError:
        return status_code < _FIRST_SERVER_ERROR
    if code is not None:
        return code in _REFUSALS
    return status_code in _REFUSING_STATUSES


def is_service_code(code: int | None) -> bool:
    """Return whether *code* is one of the service's own, so that the answer does not come from a gateway."""
    return code is not None and code >= _FIRST_CODE
