"""The assumptions of the client about runs; those that are checked by reading a single one are here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import httpx

from coreclaw_async import errors
from coreclaw_async._http.storage_host import origin_of
from coreclaw_async._operations.run_rows import row_identity
from coreclaw_async._operations.start import is_usable_id
from coreclaw_async._paging.listing import MIN_PROBE_SIZE
from coreclaw_async._wire.error_codes import is_service_code
from coreclaw_async._wire.timestamps import creation_time
from coreclaw_async.cli.doctor.assumptions import check_months, check_newest_runs, check_offset_meaning
from coreclaw_async.cli.doctor.looks import Examination, Finding, looked, unchecked
from coreclaw_async.models import LastRun, Run

_RUNS = 20
_ROWS = 100
_NOBODYS_RUN = "0" * 26
_NOT_FOUND_CODES = {11004, 70001}


def check_runs(examination: Examination) -> Iterator[Finding]:
    """Yield what the newest runs of the account show about the assumptions."""
    first = examination.client.runs.list_page(limit=_RUNS)
    runs = first.items
    if runs:
        yield Finding("runs", "OK", "the list of runs can be read")
        yield from check_newest_runs(examination, first)
        yield from _one_run(examination, runs)
        yield from looked(examination, "last", _last(examination, runs))
    else:
        yield Finding("runs", "OK", "there are none this month, so nothing about them is checked")
        yield from looked(examination, "none", _none(examination))
    yield from looked(examination, "months", check_months(examination, first))
    yield from looked(examination, "missing", _missing(examination))


def _one_run(examination: Examination, runs: Sequence[Run]) -> Iterator[Finding]:
    run = min((run for run in runs if _has_few_rows(run)), key=_rank, default=None)
    if run is None:
        why = f"not checked: no run of the newest has ended with 1 to {_ROWS} rows"
        yield unchecked("rows", why)
        yield unchecked("sequence", why)
        yield unchecked("log", why)
    else:
        yield from looked(examination, "rows", _rows(examination, run))
        yield from looked(examination, "log", _log(examination, run))
    yield from looked(examination, "empty", _empty(examination, runs))


def _rows(examination: Examination, run: Run) -> Iterator[Finding]:
    """Compare the number of rows of a small ended run with its result count and the count of its list."""
    first = examination.client.runs.list_results_page(run, limit=_ROWS)
    came = len(first.items)
    if first.count is None:
        yield Finding("rows", "WARN", "the rows of a run come without a count")
    elif first.count != came:
        yield Finding("rows", "WARN", f"a run has {_more_or_fewer(came, first.count)} rows than their count says")
    elif came != run.result_count:
        yield Finding("rows", "WARN", f"a run has {_more_or_fewer(came, run.result_count or 0)} rows than it says")
    else:
        yield Finding("rows", "OK", "a run has as many rows as it says, and as their count says")
    yield check_offset_meaning(
        examination,
        "the rows of a run",
        first,
        lambda offset: examination.client.runs.list_results_page(run, offset=offset, limit=_ROWS),
        row_identity,
    )
    if came <= 1:
        yield unchecked("sequence", "not checked: a single row has no order")
    elif examination.client.runs.list_results_page(run, limit=_ROWS).items == first.items:
        yield Finding("sequence", "OK", "the rows of a run come in the same order each time")
    else:
        yield Finding("sequence", "WARN", "the rows of a run come in another order, or others come, the next time")


def _has_few_rows(run: Run) -> bool:
    return run.is_finished and is_usable_id(run.run_id) and 1 <= (run.result_count or 0) <= _ROWS


def _rank(run: Run) -> tuple[bool, int]:
    """Prefer few rows, which are read fast, but enough to tell what an offset counts."""
    count = run.result_count or 0
    return count < MIN_PROBE_SIZE, count


def _more_or_fewer(came: int, told: int) -> str:
    return "more" if came > told else "fewer"


def _empty(examination: Examination, runs: Sequence[Run]) -> Iterator[Finding]:
    run = next((run for run in runs if run.is_finished and run.result_count == 0 and is_usable_id(run.run_id)), None)
    if run is None:
        yield unchecked("empty", "not checked: no run of the newest has ended without rows")
        return
    page = examination.client.runs.list_results_page(run, limit=1)
    if page.items or page.count:
        yield Finding("empty", "WARN", "a run that says that it has no rows has some")
    else:
        yield Finding("empty", "OK", "a run without rows has none in its list")


def _log(examination: Examination, run: Run) -> Iterator[Finding]:
    url = examination.client.runs.get_log(run).all_logs_url
    if url is None:
        yield unchecked("log", "not checked: a log can be read, and has no address of its whole text")
        return
    try:
        parts = httpx.URL(url)
        origin = origin_of(parts) if parts.scheme in {"http", "https"} and parts.host else None
    except (httpx.InvalidURL, ValueError):  # The latter for a host that no name can be.
        origin = None
    if origin is None:
        yield Finding("log", "WARN", "the address of the whole text of a log is none")
    elif origin == examination.origin:
        detail = "a log can be read; its whole text is at the address of the service, and is read without the key"
        yield Finding("log", "OK", detail, verdict="does not hold")
    else:
        yield Finding("log", "OK", "a log can be read, and its whole text is at another address")


def _last(examination: Examination, runs: Sequence[Run]) -> Iterator[Finding]:
    """Compare the last run with the newest of *runs*; a newer one may have come meanwhile."""
    try:
        last = examination.client.runs.get(LastRun())
    except errors.NotFoundError as error:
        if not _is_not_found(error):
            raise
        yield Finding("last", "WARN", "there is no last run, although there are runs")
        return
    newest = max(runs, key=lambda run: creation_time(run.run_id) or 0.0)
    made, newest_made = creation_time(last.run_id), creation_time(newest.run_id)
    if made is None or newest_made is None:
        yield unchecked("last", "not checked: run ids do not tell which run is the newest")
    elif made < newest_made:
        yield Finding("last", "WARN", "the last run is not the newest one")
    else:
        yield Finding("last", "OK", "the last run is the newest one")


def _none(examination: Examination) -> Iterator[Finding]:
    try:
        examination.client.runs.get(LastRun())
    except errors.ApiError as error:
        yield _as_not_found("none", error)
    else:
        yield unchecked("none", "not checked: there is a run of another month")


def _missing(examination: Examination) -> Iterator[Finding]:
    try:
        examination.client.runs.get(_NOBODYS_RUN)
    except errors.ApiError as error:
        yield _as_not_found("missing", error)
    else:
        yield Finding("missing", "WARN", "a run that nobody has can be read")


def _is_not_found(error: errors.ApiError) -> bool:
    return error.code in _NOT_FOUND_CODES


def _as_not_found(check: str, error: errors.ApiError) -> Finding:
    """
    Return what an error says about how the service tells that there is no run.

    Raises:
        ApiError: It is *error*, which does not come from the service or may pass.
    """
    if _is_not_found(error):
        return Finding(check, "OK", f"a run that is not there is told by code {error.code}")
    if not is_service_code(error.code) or isinstance(error, errors.RateLimitedError | errors.ServiceError):
        raise error
    return Finding(check, "WARN", "a run that is not there is told by another code, which is taken for a failure")
