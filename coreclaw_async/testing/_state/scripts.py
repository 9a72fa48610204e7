"""What a run does, and how its callbacks are sent: plain data that tests write."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from attrs import field, frozen, validators

from coreclaw_async.testing._state.arguments import check_rows, check_whole, checked, one_of
from coreclaw_async.testing._state.rows import Row

NOT_FINAL = frozenset({"ready", "running", "aborting"})
"""The statuses of a run that has not ended."""

RowSource = int | Sequence[Row] | Callable[[Mapping[str, Any]], int | Sequence[Row]]
"""How many generated rows, or the rows, or a function of the Worker's input that returns either."""


AbortOutcome: TypeAlias = Literal["aborted", "failed", "stuck"]
Generation: TypeAlias = Literal["run_slug", "run_id", "v1"]
ReportedStatuses: TypeAlias = Literal["all", "final"]


def _not_negative(*, default: float) -> Any:
    return field(default=default, validator=validators.ge(0))


@frozen
class RunScript:
    """
    What happens to a run, in seconds of the service's clock.

    A run is ``ready``, then ``running``, and ends in `outcome`. Rows and log lines appear evenly while it is running.

    Attributes:
        rows: A number of generated rows, the rows themselves, or a function that gets the Worker's input (the
            ``custom`` part) and returns either.
        duration: Seconds in ``running``, 0 or more.
        ready_for: Seconds in ``ready`` before, 0 or more.
        outcome: The last status, ``succeeded``, ``failed`` or any other.
        error_message: The text of ``err_msg``, of the callback and at the end of the log.
        log: Lines, each a string (``info``) or a pair of a level (``debug``, ``info``, ``warn``, ``error``) and a
            string. None writes three plain lines.
        usage: The cost as a decimal string; None takes the service's price per row.
        hidden_for: Seconds after the start during which reading the run answers 404 with 11004.
        abort: What becomes of an abort: ``aborted``, ``failed``, or ``stuck`` in ``aborting``.
        abort_after: Seconds in ``aborting``, 0 or more.
        rows_late: How many of the last rows appear in the result list only after the end.
        rows_late_for: How many seconds after the end they appear.
        row_ids: Whether rows carry ``__coreclaw_data_id__``.
        statuses: A timeline instead of `ready_for`, `duration` and `outcome`: pairs of seconds since the start and a
            status. Before the first pair the run is ``ready``.

    Example::

        service.default_script = RunScript(rows=3, duration=3600, outcome="failed", error_message="blocked")
        run = await client.workers.run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]}, check=False)
        assert (run.status, run.duration) == ("failed", 3600)
    """

    rows: RowSource = field(default=3, validator=checked(check_rows, or_function=True))
    duration: float = _not_negative(default=10.0)
    ready_for: float = _not_negative(default=0.0)
    outcome: str = "succeeded"
    error_message: str = ""
    log: Sequence[str | tuple[str, str]] | None = None
    usage: str | None = None
    hidden_for: float = _not_negative(default=0.0)
    abort: AbortOutcome = field(default="aborted", validator=one_of(AbortOutcome))
    abort_after: float = _not_negative(default=2.0)
    rows_late: int = field(default=0, validator=checked(check_whole, low=0))
    rows_late_for: float = _not_negative(default=0.0)
    row_ids: bool = True
    statuses: Sequence[tuple[float, str]] = ()

    def timeline(self) -> list[tuple[float, str]]:
        """Return every change of status, as seconds since the start and the new status."""
        if self.statuses:
            changes = sorted(self.statuses, key=lambda change: change[0])
            return changes if changes[0][0] <= 0 else [(0.0, "ready"), *changes]
        ready = [(0.0, "ready")] if self.ready_for else []
        end = self.ready_for + self.duration
        return [*ready, (self.ready_for, "running"), (end, self.outcome)]


def history_script(status: str, *, rows: RowSource, age: float, error_message: str) -> RunScript:
    """Return a script that has led to `status` after `age` seconds, and stays there."""
    timeline = [(0.0, "ready" if status == "ready" else "running")]
    if status not in {"ready", "running"}:
        timeline.append((age / 2, status))
    return RunScript(rows=rows, statuses=timeline, error_message=error_message)


@frozen(kw_only=True)
class CallbackPlan:
    """
    How the service sends its callbacks; it promises little, so a receiver must cope with all of this.

    Attributes:
        copies: How many times each callback is sent, 1 or more.
        delay: Seconds of the service's clock between a change and its callback, 0 or more.
        shuffle: Whether callbacks that are due together are sent out of order.
        generation: The shape of the payload: ``run_slug`` (now), ``run_id`` (until July 2026) or ``v1``.
        statuses: ``all`` sends ``running`` and the end, `final` the end alone.
        lost: Whether nothing is sent at all.

    Example::

        service = FakeService(callback_plan=CallbackPlan(copies=2, delay=1.5, shuffle=True))
    """

    copies: int = field(default=1, validator=checked(check_whole, low=1))
    delay: float = _not_negative(default=0.0)
    shuffle: bool = False
    generation: Generation = field(default="run_slug", validator=one_of(Generation))
    statuses: ReportedStatuses = field(default="all", validator=one_of(ReportedStatuses))
    lost: bool = False
