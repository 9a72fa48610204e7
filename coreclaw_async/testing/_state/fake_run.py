"""A run of the fake service: its state is a function of the clock, nothing moves it from outside."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from attrs import define, field

from coreclaw_async.testing._state.scripts import NOT_FINAL

if TYPE_CHECKING:
    from collections.abc import Callable

    from coreclaw_async.testing._state.rows import Row, RowList
    from coreclaw_async.testing._state.scripts import RunScript


@define(kw_only=True, eq=False)
class FakeRun:
    """
    One run. Read it freely; change it through the service.

    Attributes:
        run_id: The id, a ULID of the time of creation.
        number: The internal id, which only old callbacks tell.
        worker_id: Slug of the Worker that runs.
        worker_title: Its title.
        version: The Worker version.
        input: The input as it was sent, ``{"parameters": {"custom": ...}}``.
        origin: Who started it; ``openapi`` for the API.
        created_at: Moment of creation in Unix seconds.
        script: What happens to it.
        price_per_row: What each of its rows costs, in US dollars.
        row_list: Its rows, generated or given.
        callback_url: Where callbacks go, or None.
        task_id: The task it was started from, or None.
        queue_ref: The queue item it was activated from, or None.
        paid: Whether it was started through the API.

    Example::

        started = await client.workers.start_run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]})
        fake = service.runs[started.run_id]
        assert fake.input["parameters"]["custom"] == {"keywords": ["coffee"]}
    """

    run_id: str
    number: int
    worker_id: str
    worker_title: str
    version: str
    input: Any
    origin: str
    created_at: float
    script: RunScript
    price_per_row: Decimal
    row_list: RowList = field(repr=False)
    callback_url: str | None = None
    task_id: str | None = None
    queue_ref: str | None = None
    paid: bool = False
    now: Callable[[], float] = field(repr=False)
    """Returns the monotonic seconds of the service's clock."""
    born: float = field(repr=False)
    """The monotonic time of creation, which ``set_time`` does not move."""
    changes: list[tuple[float, str]] = field(repr=False, init=False)
    """Every change of status, past and future, as the seconds since the creation and the new status."""
    announced: int = field(default=0, repr=False, init=False)
    """How many changes need no callback any more."""
    inserted: int = field(default=0, repr=False, init=False)
    _frozen: tuple[float, float] | None = field(default=None, repr=False, init=False)
    """Since when, in seconds after creation, no rows come any more, and the share there is."""
    _span: tuple[float, float] = field(repr=False, init=False)
    """When the first and the last row of the script appear, in seconds after creation."""

    def __attrs_post_init__(self) -> None:
        """Take the timeline from the script."""
        self.changes = self.script.timeline()
        self._span = _rows_appear(self.changes)

    @property
    def age(self) -> float:
        """Seconds since the creation."""
        # Rounded, so that ten seconds after a start at 0.3 are ten seconds and not 9.999999999999998.
        return round(self.now() - self.born, 6)

    @property
    def status(self) -> str:
        """The status now."""
        return self.status_after(self.age)

    @property
    def is_final(self) -> bool:
        """Whether the run has ended."""
        return self.has_ended_after(self.age)

    @property
    def ended_after(self) -> float | None:
        """Seconds from the creation to the end, also when that is in the future; None for never."""
        after, status = self.changes[-1]
        return None if status in NOT_FINAL else after

    @property
    def started_after(self) -> float | None:
        """Seconds from the creation until it is ``running``; None when it never runs."""
        for after, status in self.changes:  # Read for each run of each list: a generator takes twice as long.
            if status == "running":
                return after
        return None

    @property
    def paused_after(self) -> float | None:
        """Seconds from the creation until it was made to stick, to abort or to end; None while nobody did."""
        return None if self._frozen is None else self._frozen[0]

    @property
    def duration(self) -> float:
        """Seconds it has worked so far."""
        return self.duration_after(self.age)

    @property
    def rows(self) -> list[Row]:
        """The rows that the result list shows now."""
        return self.row_list.read(0, self.visible_rows)

    @property
    def result_count(self) -> int:
        """The rows that the run says it has, which may be more than the result list shows."""
        return self.results_after(self.age)

    @property
    def visible_rows(self) -> int:
        """How many rows the result list shows."""
        count = self.result_count
        ended = self.ended_after
        if ended is not None and ended <= self.age < ended + self.script.rows_late_for:
            return max(count - self.script.rows_late, 0)
        return count

    @property
    def usage(self) -> Decimal:
        """The cost so far."""
        return self.usage_after(self.age)

    @property
    def highest_usage(self) -> Decimal:
        """What the run costs with all its rows."""
        return self.cost_of(len(self.row_list))

    @property
    def error_message(self) -> str:
        """The script's error message, once the run has ended."""
        return self.script.error_message if self.is_final else ""

    def status_after(self, age: float) -> str:
        """Return the status `age` seconds after the creation."""
        for after, status in reversed(self.changes[1:]):
            if after <= age:
                return status
        return self.changes[0][1]

    def has_ended_after(self, age: float) -> bool:
        """Return whether it had ended `age` seconds after the creation."""
        ended = self.ended_after
        return ended is not None and ended <= age

    def duration_after(self, age: float) -> float:
        """Return how many seconds it had worked `age` seconds after the creation."""
        began, ended = self.started_after, self.ended_after
        if began is None:
            return 0.0
        return max((age if ended is None else min(age, ended)) - began, 0.0)

    def results_after(self, age: float) -> int:
        """Return how many rows there were `age` seconds after the creation."""
        scripted = len(self.row_list) - self.inserted
        return self.inserted + int(round(scripted * self._progress(age), 6))

    def usage_after(self, age: float) -> Decimal:
        """Return what it had cost `age` seconds after the creation."""
        return self.cost_of(self.results_after(age))

    def abort(self) -> bool:
        """Begin to abort; what has been produced so far stays. Return whether it had neither ended nor begun to."""
        now = self.age
        if self.has_ended_after(now) or self.status_after(now) == "aborting":
            return False
        self._frozen = now, self._progress(now)
        self._cut(now, "aborting")
        if self.script.abort != "stuck":
            self.changes.append((now + self.script.abort_after, self.script.abort))
        return True

    def end(self, outcome: str) -> bool:
        """
        End at once; with ``succeeded`` it has all rows, otherwise those produced so far.

        Returns:
            Whether it has ended now; False when it had ended before, which nothing changes any more.
        """
        # The clock goes on meanwhile: whether it has ended and when it ends are decided by one look at it.
        now = self.age
        if self.has_ended_after(now):
            return False
        self._frozen = now, 1.0 if outcome == "succeeded" else self._progress(now)
        self._cut(now, outcome)
        return True

    def stick(self) -> bool:
        """Keep the status and the rows of now until it is aborted or ended. Return whether it had not ended."""
        now = self.age
        if self.has_ended_after(now):
            return False
        self._frozen = now, self._progress(now)
        self.changes = [change for change in self.changes if change[0] <= now]
        return True

    def cost_of(self, rows: int) -> Decimal:
        """Return what so many rows cost."""
        return self.price_per_row * rows if self.script.usage is None else Decimal(self.script.usage)

    def _cut(self, now: float, status: str) -> None:
        self.changes = [*(change for change in self.changes if change[0] <= now), (now, status)]

    def _progress(self, age: float) -> float:
        if self._frozen is not None and self._frozen[0] <= age:
            return self._frozen[1]
        begin, end = self._span
        if age >= end:
            return 1.0
        return 0.0 if age <= begin else (age - begin) / (end - begin)


def _rows_appear(timeline: list[tuple[float, str]]) -> tuple[float, float]:
    """Return when the first and the last row appear; a script without an end shows all at once."""
    begin = next((after for after, status in timeline if status == "running"), 0.0)
    last, status = timeline[-1]
    return begin, begin if status in NOT_FINAL or last == float("inf") else last
