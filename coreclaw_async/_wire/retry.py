"""Whether a request is retried, and after how long: decisions without a clock."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from coreclaw_async._data.frozen import Frozen
from coreclaw_async._wire.request import Request, Safety, check_int, check_seconds
from coreclaw_async.errors import (
    CoreClawError,
    InvalidResponseError,
    NoReplyError,
    RateLimitedError,
    RequestNotSentError,
    ResponseTooLargeError,
    ServiceError,
)


def load_backoff() -> None:
    """
    Load the library that waits need.

    Not with the package, as that takes a while; but before a request is sent, as a process that can open no more files
    can load nothing either, and that is a reason to retry.
    """
    import backoff  # noqa: F401 # pyright: ignore[reportUnusedImport]


def full_jitter(ceiling: float) -> float:
    """Return a random number of seconds between 0 and *ceiling* (`backoff.full_jitter`)."""
    import backoff

    return backoff.full_jitter(ceiling)


class RetryPolicy(Frozen):
    """
    How patiently a request is retried, where that is safe: by default until the deadline of its call.

    Attributes:
        max_attempts: Sends in all, 1 or more; 1 turns retries off; None for as many as the deadline allows.
        max_elapsed: Seconds after which a failed call is not retried any more, above 0; None for its deadline.
        first_delay: Longest first wait in seconds, above 0; it doubles from there.
        max_delay: Longest wait in seconds where the service does not ask for one.
        max_retry_after: Longest ``Retry-After`` in seconds that is obeyed; a longer one ends the call at once.
        attempt_timeout: Seconds without a byte after which an attempt is given up for another one, above 0. Holds for
            requests that may be sent twice, except those that the contract allows the service to answer late.
        connect_timeout: Seconds that making a connection may take, above 0.
        jitter: Gets the longest wait and returns the wait.

    Raises:
        ValueError: A number is out of range.
        TypeError: Something is no number.

    Example::

        hasty = client.with_options(retry=RetryPolicy(max_attempts=3, max_delay=2))
        account = await hasty.account.get()
    """

    max_attempts: int | None
    max_elapsed: float | None
    first_delay: float
    max_delay: float
    max_retry_after: float
    attempt_timeout: float
    connect_timeout: float
    jitter: Callable[[float], float]

    def __init__(
        self,
        *,
        max_attempts: int | None = None,
        max_elapsed: float | None = None,
        first_delay: float = 0.5,
        max_delay: float = 30.0,
        max_retry_after: float = 120.0,
        attempt_timeout: float = 20.0,
        connect_timeout: float = 10.0,
        jitter: Callable[[float], float] = full_jitter,
    ) -> None:
        """Make a policy; the class tells what each member means."""
        if max_attempts is not None:
            check_int("max_attempts", max_attempts, lowest=1)
        if max_elapsed is not None:
            check_seconds("max_elapsed", max_elapsed)
        self._set(
            max_attempts=max_attempts,
            max_elapsed=max_elapsed,
            first_delay=check_seconds("first_delay", first_delay),
            max_delay=check_seconds("max_delay", max_delay),
            max_retry_after=check_seconds("max_retry_after", max_retry_after, allow_zero=True),
            attempt_timeout=check_seconds("attempt_timeout", attempt_timeout),
            connect_timeout=check_seconds("connect_timeout", connect_timeout),
            jitter=jitter,
        )

    def delays(self) -> Iterator[float]:
        """
        Yield the waits in seconds between the attempts, one fewer than the attempts, or without end.

        Example::

            longest = max(itertools.islice(RetryPolicy(max_delay=8).delays(), 20))
            assert longest <= 8
        """
        import backoff

        ceilings = backoff.expo(base=2, factor=self.first_delay, max_value=self.max_delay)
        next(ceilings)  # A backoff generator yields its first value only after one empty send.
        most = None if self.max_attempts is None else self.max_attempts - 1
        return (self.jitter(ceiling) for ceiling in itertools.islice(ceilings, most))


def next_wait(policy: RetryPolicy, request: Request, error: CoreClawError, delays: Iterator[float]) -> float | None:
    """Return the seconds to wait before *request* is retried, the next of *delays* or more; None to give up."""
    if not may_retry(request, error):
        return None
    wait = next(delays, None)
    if wait is None or error.retry_after is None:
        return wait
    if error.retry_after > policy.max_retry_after:
        return None
    # Never earlier than asked; the jitter is added on top, so that clients spread out.
    return error.retry_after + wait


def may_retry(request: Request, error: CoreClawError) -> bool:
    """
    Return whether *request* may be sent again, which must not do its work twice.

    A request that was not sent, or was refused for its rate, did nothing. After any other failure it may have taken
    effect, so it is retried only if it is repeatable, and only when that can help.
    """
    if isinstance(error, TimeoutError):  # The deadline of the call has passed.
        return False
    if isinstance(error, RequestNotSentError | RateLimitedError) and not error.may_have_taken_effect:
        return True
    return request.safety is not Safety.ONCE and _may_pass(error)


def _may_pass(error: CoreClawError) -> bool:
    """Return whether the same request may succeed a little later."""
    if isinstance(error, InvalidResponseError):
        is_redirect = error.status_code is not None and 300 <= error.status_code < 400
        return not is_redirect and not isinstance(error, ResponseTooLargeError)
    return isinstance(error, NoReplyError | ServiceError | RateLimitedError)
