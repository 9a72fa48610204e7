"""What reading a list starts from: the list itself, and what a client remembers of the meaning of ``offset``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import attrs

from coreclaw_async._clock import Clock
from coreclaw_async._wire.dialect import MIN_TELLING_SIZE, Mode
from coreclaw_async.models import Page

T = TypeVar("T")

_VERDICT_SECONDS = 600.0


class DialectMemory:
    """What a client found out about ``offset``, kept for ten minutes: a deployment can change it, and has."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._mode: Mode | None = None
        self._until = 0.0

    @property
    def mode(self) -> Mode | None:
        """The mode, or None when it is not known or too old."""
        return self._mode if self._clock.monotonic() < self._until else None

    def keep(self, mode: Mode) -> None:
        """Remember *mode* from now on."""
        self._mode = mode
        self._until = self._clock.monotonic() + _VERDICT_SECONDS

    def forget(self) -> None:
        """Find out again next time."""
        self._mode = None


@attrs.frozen(kw_only=True)
class Listing(Generic[T]):
    """
    A list of the service, as a walk needs to know it.

    Attributes:
        name: What errors call it.
        fetch: Returns the page at an offset with a limit.
        identity: What tells an item from all others, or None when nothing does.
        adds_up: Whether every item that is counted must come, also those that were added meanwhile.
        telling_size: Smallest page size that is read as it is; below, more is read at once.
        run_id: The run whose list it is, or None.
    """

    name: str
    fetch: Callable[[int, int], Awaitable[Page[T]]]
    identity: Callable[[T], Hashable | None]
    adds_up: bool = False
    telling_size: int = MIN_TELLING_SIZE
    run_id: str | None = None
