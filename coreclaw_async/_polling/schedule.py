"""PollSchedule: how often a run is looked at while somebody waits for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs

from coreclaw_async._wire.request import check_seconds


def _as_tuple(delays: Iterable[float]) -> tuple[float, ...]:
    # What cannot be one is refused later, when the object that a traceback may show has its other members too.
    return tuple(delays) if isinstance(delays, Iterable) else delays  # type: ignore[redundant-expr]


def _delays(_: object, attribute: attrs.Attribute[tuple[float, ...]], value: tuple[float, ...]) -> None:
    if not isinstance(value, tuple):
        raise TypeError(f"{attribute.name} must be numbers of seconds, not {value!r}")
    if not value:
        raise ValueError(f"{attribute.name} must hold at least one number of seconds, not {value!r}")
    for delay in value:
        check_seconds(attribute.name, delay)


def _share(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{attribute.name} must be a number, not {value!r}")
    if not 0 <= value < 1:
        raise ValueError(f"{attribute.name} must be from 0 to below 1, not {value!r}")


def _grace(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    check_seconds(attribute.name, value, allow_zero=True)


@attrs.frozen(kw_only=True)
class PollSchedule:
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

    delays: tuple[float, ...] = attrs.field(default=(2.0, 5.0, 10.0, 15.0), converter=_as_tuple, validator=_delays)
    jitter: float = attrs.field(default=0.1, validator=_share)
    abort_grace: float = attrs.field(default=60.0, validator=_grace)
    not_found_grace: float = attrs.field(default=60.0, validator=_grace)

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
