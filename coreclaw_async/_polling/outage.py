"""Whether the service as a whole is out of sight, and when the next probe may leave. No I/O."""

from __future__ import annotations

import random

import attrs

from coreclaw_async.errors import CoreClawError, RateLimitedError

LISTS = "lists"
"""Stands for the lists of runs among the targets, which are run ids otherwise."""

# Up to so many runs are polled by their schedules, whatever fails: that is no load.
FEW_RUNS = 3
# So many targets must fail in a row, with no answer in between: one or two may fail alone.
_EVIDENCE = 3
_FIRST_DELAY, _MAX_DELAY = 2.0, 30.0
_JITTER = 0.1
# A last look before a timeout, or at a run with a callback, waits no longer than this after the last probe.
_MIN_GAP = 5.0
# A longer Retry-After would leave a wait blind for hours.
MAX_RETRY_AFTER = 600.0


@attrs.define(eq=False, repr=False)
class Outage:
    """
    What failures in a row say about the service as a whole.

    A target that failed while others were answered is a suspect. Until it was seen again, its failures say nothing
    about the service.

    Attributes:
        is_on: Whether the service as a whole is out of sight.
        probes: Probes that failed since then.
    """

    is_on: bool = False
    probes: int = 0
    _failing: set[str] = attrs.field(factory=set[str])
    _suspects: set[str] = attrs.field(factory=set[str])
    _delay: float = _FIRST_DELAY
    _probed_at: float = float("-inf")
    _next_probe: float = float("-inf")
    _not_before: float = float("-inf")

    def keep(self, run_ids: set[str]) -> None:
        """Forget all runs but these; a few runs are polled as if there were no outage."""
        self._failing &= run_ids | {LISTS}
        self._suspects &= run_ids | {LISTS}
        if len(run_ids) <= FEW_RUNS:
            self.is_on = False

    def is_suspect(self, run_id: str) -> bool:
        """Return whether the run failed while others were answered."""
        return run_id in self._suspects

    def note_answer(self, target: str) -> None:
        """Record that the service itself has said something about *target*."""
        self._suspects |= self._failing
        self._suspects.discard(target)
        self._failing.clear()
        self.is_on = False

    def note_failure(self, target: str, error: CoreClawError, *, now: float, watched: int) -> None:
        """Record that *target*, one of *watched* runs, could not be read."""
        if error.retry_after is not None:
            self._not_before = max(self._not_before, now + min(error.retry_after, MAX_RETRY_AFTER))
        if self.is_on or watched <= FEW_RUNS:
            return
        if target not in self._suspects:
            self._failing.add(target)
        # A refusal for the rate is about all requests, so the next one would be refused too.
        if len(self._failing) >= _EVIDENCE or isinstance(error, RateLimitedError):
            self.is_on = True
            self.probes = 0
            self._delay = _FIRST_DELAY

    def note_probe(self, now: float) -> None:
        """Plan the next probe after one that failed."""
        self.probes += 1
        self._probed_at = now
        self._next_probe = now + self._delay * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - it spreads load
        self._delay = min(self._delay * 2, _MAX_DELAY)

    def hurry(self, now: float) -> None:
        """Have the next probe leave soon: there is a sign that the service is back."""
        self._next_probe = min(self._next_probe, max(now, self._probed_at + _MIN_GAP))

    def probe_at(self, last_looks: list[float]) -> float:
        """Return when the next probe may be sent; *last_looks* are the times of last looks before deadlines."""
        wanted = min((time for time in last_looks if time > self._probed_at), default=float("inf"))
        soonest = min(self._next_probe, max(wanted, self._probed_at + _MIN_GAP))
        return max(soonest, self._not_before)

    def was_probed(self, now: float) -> bool:
        """Return whether a probe failed so recently that another would say the same."""
        return self.is_on and now - self._probed_at <= _MIN_GAP + 1
