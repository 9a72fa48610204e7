"""PollSchedule: how often a run is looked at while somebody waits for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from coreclaw_async._data.frozen import Frozen
from coreclaw_async._wire.request import check_seconds


class PollSchedule(Frozen):
    """
    How often a run is looked at while somebody waits for it.

    Runs that are due together are looked at together, so a run may be looked at up to a fifth of its delay early.

    Attributes:
        delays: Seconds between the looks; the last one is repeated (docs, api/run-lifecycle: 2, 5, 10, 15).
        jitter: Share by which each delay is made shorter or longer at random, from 0 to below 1.
        abort_grace: Seconds that a run may be ``aborting`` before the wait gives up on a confirmation: from the first
            look in a row that shows it, and for at least three looks.
        not_found_grace: Seconds that the service may say that there is no such run: from the first such answer in a
            row, and for at least three of them. The 404 of a gateway does not count. A look that fails in another way
            ends both rows.

    Raises:
        ValueError: A number is out of range.
        TypeError: Something is no number.

    Example::

        calm = client.with_options(poll_schedule=PollSchedule(delays=(5, 15, 60)))
        run = await calm.runs.wait(run)
    """

    delays: tuple[float, ...]
    jitter: float
    abort_grace: float
    not_found_grace: float

    def __init__(
        self,
        *,
        delays: Iterable[float] = (2.0, 5.0, 10.0, 15.0),
        jitter: float = 0.1,
        abort_grace: float = 60.0,
        not_found_grace: float = 60.0,
    ) -> None:
        """Make a schedule; the class tells what each member means."""
        self._set(
            delays=_checked_delays(delays),
            jitter=_checked_share("jitter", jitter),
            abort_grace=check_seconds("abort_grace", abort_grace, allow_zero=True),
            not_found_grace=check_seconds("not_found_grace", not_found_grace, allow_zero=True),
        )

    def jittered_delays(self) -> Iterator[float]:
        """
        Yield the seconds between one look and the next, for ever.

        Example::

            first, second, *_ = itertools.islice(PollSchedule().jittered_delays(), 10)
            assert 1.8 <= first <= 2.2
        """
        for delay in self.delays:
            yield self._spread(delay)
        while True:
            yield self._spread(self.delays[-1])

    def _spread(self, delay: float) -> float:
        import random  # It takes long to load, and few programs wait at once.

        return delay * random.uniform(1 - self.jitter, 1 + self.jitter)  # noqa: S311 - it spreads load


def _checked_delays(delays: Iterable[float]) -> tuple[float, ...]:
    if not isinstance(delays, Iterable):
        raise TypeError(f"delays must be numbers of seconds, not {delays!r}")
    checked = tuple(check_seconds("delays", delay) for delay in delays)
    if not checked:
        raise ValueError("delays must hold at least one number of seconds, not ()")
    return checked


def _checked_share(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, not {value!r}")
    if not 0 <= value < 1:
        raise ValueError(f"{name} must be from 0 to below 1, not {value!r}")
    return value
