"""The assumptions of the client about lists, checked with the store and with the account's own runs."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import pairwise
from typing import TypeVar

from coreclaw_async._paging.listing import MIN_PROBE_SIZE, reading_of
from coreclaw_async._paging.offsets import PROBE_OFFSET, Mode, Unclear, decide_mode
from coreclaw_async._wire.timestamps import (
    SERVICE_ZONE,
    creation_time,
    moment_of,
    month_of,
    month_window,
    month_windows,
)
from coreclaw_async.cli.doctor.looks import Examination, Finding, looked, unchecked
from coreclaw_async.models import Page, Run, RunOutcome, RunStatus
from coreclaw_async.models.statuses import outcome_of

T = TypeVar("T")

_RUNS = 20
# Seconds by which the clocks of the service may differ that set the id and the start of a run.
_CLOCKS_APART = 10.0
_LONG_BEFORE = 600.0
# No run is older than the service.
_EARLIEST = dt.datetime(2020, 1, 1, tzinfo=dt.UTC).timestamp()
_LONG_ABORTING = 3600.0
# A status with digits, or a long one, may be an id.
_STATUS = re.compile(r"[A-Za-z][A-Za-z_ -]{0,23}")
_MAX_STATUSES = 5


def check_offset_meaning(
    examination: Examination,
    name: str,
    first: Page[T],
    fetch: Callable[[int], Page[T]],
    identity: Callable[[T], Hashable | None],
) -> Finding:
    """
    Find out what ``offset`` counts in a list, by the rules of the pager.

    Args:
        examination: Records what it counts in each list.
        name: The name of the list for people.
        first: Its first page.
        fetch: Returns the page at an offset.
        identity: Returns what distinguishes an item from all others.
    """
    if len(first.items) > first.limit:
        return Finding("paging", "WARN", f"{name}: a page holds more than was asked for", on=name)
    size = first.limit if first.page_size is None else min(first.limit, first.page_size)
    if min(len(first.items), size) < MIN_PROBE_SIZE:
        return unchecked("paging", f"{name} is too short to tell what an offset counts; the client finds out")
    before = reading_of(identity, 1, first)
    probe = reading_of(identity, 2, fetch(PROBE_OFFSET), before.count)
    found = decide_mode(before, probe, size=size)
    if isinstance(found, Unclear):
        why = "its items have no names" if found is Unclear.ALIKE else "or something came in between: try again"
        detail = f"{name}: an offset counts neither rows nor pages, {why}"
        return Finding("paging", "WARN", detail, verdict="not checked")
    meaning = "pages" if found is Mode.PAGE else "rows"
    if found is Mode.ROW and tuple(probe.keys) == tuple(before.keys):
        meaning = "rows, down to the first of a page"
    examination.meanings.add(found)
    told = f"{name}: an offset counts {meaning}"
    if len(examination.meanings) > 1:
        return Finding("paging", "WARN", f"{told}, unlike in another list", on=name)
    echoes = ((before.page.page_index, 1), (probe.page.page_index, 2 if found is Mode.PAGE else 1))
    if any(index not in {None, wanted} for index, wanted in echoes):
        return Finding("paging", "WARN", f"{told}, and page_index tells another page", on=name)
    return Finding("paging", "OK", told, on=name)


def check_newest_runs(examination: Examination, first: Page[Run]) -> Iterator[Finding]:
    """Yield what the first page of the list of runs shows, which is not empty."""
    runs = first.items
    yield from looked(examination, "paging", _offset_of_runs(examination, first))
    yield check_echo(first)
    yield check_members(runs)
    yield check_ids(runs)
    yield check_times(runs, now=examination.service_time)
    yield check_order(runs)
    yield check_statuses(runs)
    yield check_aborting(runs, now=examination.service_time)


def _offset_of_runs(examination: Examination, first: Page[Run]) -> Iterator[Finding]:
    yield check_offset_meaning(
        examination,
        "the list of runs",
        first,
        lambda offset: examination.client.runs.list_page(offset=offset, limit=first.limit),
        lambda run: run.run_id or None,
    )


def check_echo(page: Page[Run]) -> Finding:
    """Tell which of ``count``, ``page_index`` and ``page_size`` a list gives."""
    if page.count is None or page.count < len(page.items):
        return Finding("echo", "WARN", "the list of runs has no count, or one below the runs that came")
    if page.page_size not in {None, page.limit}:
        return Finding("echo", "WARN", "the list of runs has pages of another size than was asked for")
    members = {"count": page.count, "page_index": page.page_index, "page_size": page.page_size}
    told = ", ".join(name for name, value in members.items() if value is not None)
    return Finding("echo", "OK", f"the list of runs tells {told}")


def check_members(runs: Sequence[Run]) -> Finding:
    """Tell whether each run has what the client cannot do without."""
    if all(run.run_id and run.status is not None for run in runs):
        return Finding("members", "OK", "each run has an id and a status")
    return Finding("members", "WARN", "a run has no id or no status; what waits for it looks again")


def check_ids(runs: Sequence[Run]) -> Finding:
    """Compare the times in the ids of runs with the times of their starts."""
    created = [creation_time(run.run_id) for run in runs]
    if None in created:
        some = "no run id tells" if set(created) == {None} else "not all run ids tell"
        return Finding("ids", "WARN", f"{some} when the run was made; the client goes without")
    gaps = [
        run.started_at.timestamp() - moment
        for run, moment in zip(runs, created, strict=True)
        if moment is not None and run.started_at is not None
    ]
    if not gaps:
        return unchecked("ids", "run ids tell a time; no run has started, so it is not compared")
    if min(gaps) < -_CLOCKS_APART:
        return Finding("ids", "WARN", f"the time in a run id is {-min(gaps):.0f} s after the start of the run")
    if min(gaps) > _LONG_BEFORE:
        return Finding("ids", "WARN", f"the time in the run ids is {min(gaps):.0f} s or more before the start")
    return Finding("ids", "OK", "run ids tell when the run was made, which fits its start")


def check_times(runs: Sequence[Run], *, now: float) -> Finding:
    """Tell whether the times of runs can be Unix seconds."""
    times = [at.timestamp() for run in runs for at in (run.started_at, run.finished_at) if at is not None]
    if not times:
        return unchecked("times", "not checked: no run of the newest has started")
    if min(times) < _EARLIEST or max(times) > now + _LONG_BEFORE:
        return Finding("times", "WARN", "a time of a run is years ago, or still to come")
    if any(run.is_finished and run.started_at and run.finished_at and run.finished_at < run.started_at for run in runs):
        return Finding("times", "WARN", "a run has ended before its start")
    return Finding("times", "OK", "the times of runs are Unix seconds")


def check_order(runs: Sequence[Run]) -> Finding:
    """Tell whether the list of runs is newest first."""
    created = [moment for run in runs if (moment := creation_time(run.run_id)) is not None]
    if len(created) <= 1:
        return unchecked("order", "too few run ids hold a time to check the order")
    if all(later >= earlier for later, earlier in pairwise(created)):
        return Finding("order", "OK", "the newest run comes first")
    return Finding("order", "WARN", "the newest run does not come first; searches for lost starts read more pages")


def check_statuses(runs: Sequence[Run]) -> Finding:
    """Tell whether the statuses of runs are in the contract, and how the client reads others."""
    unknown = sorted({run.status for run in runs if run.status is not None and not isinstance(run.status, RunStatus)})
    found = [_shown(status) for status in unknown[:_MAX_STATUSES]]
    if len(unknown) > _MAX_STATUSES:
        found.append("and more")
    if any(run.status is None for run in runs):
        found.append("a run without a status that can be read")
    if found:
        return Finding("statuses", "WARN", f"not in the contract: {', '.join(found)}")
    return Finding("statuses", "OK", "all are in the contract")


def check_aborting(runs: Sequence[Run], *, now: float) -> Finding:
    """Tell whether runs stay ``aborting``."""
    if not any(run.outcome in {RunOutcome.ABORTING, RunOutcome.ABORTED} for run in runs):
        return unchecked("aborting", "not checked: no run of the newest is told as aborted")
    going = [_begin_of(run) for run in runs if run.outcome is RunOutcome.ABORTING]
    if any(begin is None or begin < now - _LONG_ABORTING for begin in going):
        return Finding(
            "aborting", "WARN", "a run is aborting long after its start; waits end unconfirmed after a minute"
        )
    return Finding("aborting", "OK", "no run is aborting long after its start")


def _begin_of(run: Run) -> float | None:
    return creation_time(run.run_id) if run.started_at is None else run.started_at.timestamp()


def _shown(status: str) -> str:
    shown = status if _STATUS.fullmatch(status) else "a status that is not shown"
    return f"{shown} (taken for {outcome_of(status).value})"


def check_months(examination: Examination, first: Page[Run]) -> Iterator[Finding]:
    """Compare the list of runs without times (*first*) with those of this month and the one before, in UTC+8."""
    now = moment_of(examination.service_time)
    begin = now.astimezone(SERVICE_ZONE).replace(day=1)
    current = _window(examination, month_windows(begin, now)[0])
    earlier = _window(examination, month_window(month_of(begin - dt.timedelta(days=1))))
    if any(_month(run) not in {None, month_of(now)} for run in first.items):
        yield Finding("months", "WARN", "the list of runs without times holds other months than the current one")
    elif any(_month(run) == month_of(now) for run in earlier.items):
        yield Finding("months", "WARN", "the list of runs of the month before holds runs of this month")
    elif first.count is None or current.count is None or earlier.count is None:
        yield unchecked("months", "not checked: the lists of runs have no count")
    elif first.count > current.count:
        yield Finding("months", "WARN", "the list of runs without times holds more than the current month in UTC+8")
    elif not earlier.count:
        yield unchecked("months", "not checked: there is no run of the month before")
    else:
        yield Finding("months", "OK", "the list of runs without times holds the current month in UTC+8 only")


def _month(run: Run) -> tuple[int, int] | None:
    created = creation_time(run.run_id)
    return None if created is None else month_of(moment_of(created))


def _window(examination: Examination, window: tuple[int, int]) -> Page[Run]:
    start, end = map(moment_of, window)
    return examination.client.runs.list_page(limit=_RUNS, start_time=start, end_time=end)
