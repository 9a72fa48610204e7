"""When the next start of a batch may leave: what plan, rate, budget and pause allow, as far as is known."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import anyio
import attrs

from coreclaw_async._concurrency.clock import Clock

# How many starts may be under way at once while the plan's limit is unknown: it refuses those beyond it.
_UNPROVEN = 8
_PROBE_SECONDS = 60.0
_MIN_PROBE, _MAX_PROBE = 5.0, 3600.0
_LOOK_AGAIN = 0.5
_RATE_CUT = 0.7
_RATE_GROWTH = 1.1
_MIN_RATE, _MAX_RATE = 0.1, 1000.0
_CLEAN_SECONDS = 5.0
_PAUSE_SECONDS = 1.0
_PAUSED_SECONDS = 5.0


@attrs.define
class Limits:
    """
    What was learned of the service's limits. No clock of its own, no I/O.

    Attributes:
        most: The caller's limit of runs in flight, or None.
        in_flight: Running runs, and starts under way.
        sending: Starts under way.
        learned: How many runs in flight the plan is known to allow, or None.
        wasted: Starts that were refused because of the plan or the rate.
        unfollowed: Items whose runs may still be running, but which this process no longer waits for.
        is_over_budget: Whether the ledger refused the last start because of the budget, and no run has ended since.
        all_seen: Returns whether all runs in flight were just seen running. A run that has ended unnoticed would make
            the plan seem to allow more than it does.
    """

    most: int | None = None
    in_flight: int = 0
    sending: int = 0
    learned: int | None = None
    wasted: int = 0
    unfollowed: int = 0
    is_over_budget: bool = False
    all_seen: Callable[[], bool] = bool
    _probe_seconds: float = _PROBE_SECONDS
    _next_probe: float = 0.0
    _is_probing: bool = False
    _rate: float | None = None
    _not_before: float = float("-inf")
    _rate_since: float = 0.0
    _paused_until: float = float("-inf")
    _budget_again: float | None = None
    _budget_seen: object = None
    _budget_since: float = 0.0
    _sent: deque[float] = attrs.field(factory=lambda: deque[float](maxlen=64))

    def delay(self, now: float) -> float | None:
        """Return the seconds until the next start may leave: 0 for now, None for not before something has ended."""
        if self.most is not None and self.in_flight >= self.most:
            return None
        if self.is_over_budget and (self._budget_again is None or self._budget_again > now):
            return None if self._budget_again is None else self._budget_again - now
        if self._paused_until > now:
            return self._paused_until - now
        if self.learned is None:
            if self.sending >= min(_UNPROVEN, 1 + (self.in_flight - self.sending) // 4):
                return None
        elif self.in_flight >= self.learned:
            if self._is_probing or self.in_flight > self.learned:
                return None
            wait = max(self._next_probe - now, self._not_before - now, 0.0)
            return wait if wait or self.all_seen() else _LOOK_AGAIN
        return max(self._not_before - now, 0.0)

    def send(self, now: float) -> None:
        """Record that a start is about to leave."""
        if self.learned is not None and self.in_flight >= self.learned:
            self._is_probing = True
        self.in_flight += 1
        self.sending += 1
        self.is_over_budget = False
        self._sent.append(now)
        if self._rate is not None:
            if now - self._rate_since >= _CLEAN_SECONDS:
                self._rate = min(self._rate * _RATE_GROWTH, _MAX_RATE)
                self._rate_since = now
            self._not_before = max(self._not_before, now) + 1 / self._rate

    def accepted(self, now: float) -> None:
        """Record that a start has created a run, or may have."""
        self.sending -= 1
        if self.learned is not None and self.in_flight > self.learned:
            self.learned = self.in_flight
            self._probe_seconds = max(self._probe_seconds / 2, _MIN_PROBE)
            self._next_probe = now + self._probe_seconds
        self._is_probing = False

    def not_started(self) -> None:
        """Record that a start has created no run."""
        self.sending -= 1
        self.in_flight -= 1
        self._is_probing = False

    def refused_for_plan(self, now: float) -> None:
        """Record a concurrency refusal: the number in flight now is the plan's limit."""
        if self._is_probing:
            self._probe_seconds = min(self._probe_seconds * 2, _MAX_PROBE)
        self.not_started()
        self.wasted += 1
        going = self.in_flight - self.sending
        self.learned = going if self.learned is None else min(self.learned, going)
        self._next_probe = now + self._probe_seconds

    def refused_for_rate(self, now: float, retry_after: float | None) -> None:
        """Record that starts came too fast."""
        self.not_started()
        self.wasted += 1
        recent = sum(1 for sent in self._sent if now - sent <= 1)
        self._rate = max((self._rate or max(recent, 1)) * _RATE_CUT, _MIN_RATE)
        self._rate_since = now
        self._not_before = max(self._not_before, now + (retry_after or _PAUSE_SECONDS))

    def resumed(self) -> None:
        """Record a run that was started before."""
        self.in_flight += 1

    def paused(self, now: float) -> None:
        """Record that the batch is paused; some seconds later a start finds out whether it still is."""
        self.not_started()
        self._paused_until = now + _PAUSED_SECONDS

    def resumed_starts(self) -> None:
        """Record that the batch is no longer paused."""
        self._paused_until = float("-inf")

    def over_budget(self, now: float, spending: object = None, *, patience: float = 0.0) -> None:
        """
        Record that the budget does not cover another run until one in flight has ended.

        Args:
            now: What time it is.
            spending: What is spent and reserved, if runs that other processes wait for may still change it; else None.
            patience: After how many seconds without a change nothing more is expected of those runs.
        """
        self.not_started()
        self.is_over_budget = True
        if spending != self._budget_seen:
            self._budget_seen, self._budget_since = spending, now
        is_expected = spending is not None and now - self._budget_since < patience
        self._budget_again = now + _PAUSED_SECONDS if is_expected else None

    @property
    def is_budget_used_up(self) -> bool:
        """Whether no run is left whose end could make room in the budget."""
        return self.is_over_budget and self._budget_again is None and self.in_flight == 0

    def ended(self) -> None:
        """Record that a run has ended."""
        self.in_flight -= 1
        self.is_over_budget = False


class Admission:
    """
    The gate that all start queues of a batch go through.

    Args:
        limits: What was learned.
        backlog: Returns how many outcomes nobody has taken yet; with too many of them nothing more is started.
    """

    _MAX_BACKLOG = 1_000

    def __init__(self, limits: Limits, clock: Clock, backlog: Callable[[], int]) -> None:
        self.limits = limits
        self._clock = clock
        self._backlog = backlog
        self._sleepers: set[anyio.CancelScope] = set()
        self._turn = anyio.Lock()
        self._reasons: dict[str, None] = {}

    def try_enter(self) -> bool:
        """Return whether a start may leave now, which then counts as sent."""
        now = self._clock.monotonic()
        if self._delay(now) != 0:
            return False
        self.limits.send(now)
        return True

    async def wait(self) -> bool:
        """Return True once a start may leave, or False once none will."""
        async with self._turn:  # First come, first served: whoever waits here longest is woken first.
            while self.stopped_by is None:
                delay = self._delay(self._clock.monotonic())
                if delay == 0:
                    return True
                if self.stopped_by is not None:
                    break
                with anyio.CancelScope() as scope:
                    self._sleepers.add(scope)
                    try:
                        await self._clock.sleep(float("inf") if delay is None else delay)
                    finally:
                        self._sleepers.discard(scope)
            return False

    def stop(self, reason: str) -> None:
        """Let no more starts leave, for one more reason."""
        self._reasons.setdefault(reason)
        self.changed()

    def go_on(self, reason: str) -> None:
        """Take a reason back."""
        self._reasons.pop(reason, None)
        self.changed()

    @property
    def stopped_by(self) -> str | None:
        """The first reason why no more starts leave, or None."""
        return next(iter(self._reasons), None)

    def changed(self) -> None:
        """Check again whether a start may leave, because something has ended or was taken."""
        for scope in self._sleepers:
            scope.cancel()

    def _delay(self, now: float) -> float | None:
        if self.limits.is_budget_used_up:
            self._reasons.setdefault("max_spend")
        if self.stopped_by is not None or self._backlog() >= self._MAX_BACKLOG:
            return None
        return self.limits.delay(now)
