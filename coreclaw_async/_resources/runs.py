"""Runs: reading, following, stopping and repeating them, and getting their rows."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from coreclaw_async._concurrency.stream import AsyncStream
from coreclaw_async._frames.reading import ItemInfo
from coreclaw_async._operations.calls import with_call_events
from coreclaw_async._operations.candidates import lost_runs, report_started
from coreclaw_async._operations.context import Context
from coreclaw_async._operations.exports import ExportFormat, download_export, read_export
from coreclaw_async._operations.lists import RunFilter, pager_over, read_runs, runs_pager
from coreclaw_async._operations.run_rows import RunRows
from coreclaw_async._operations.runs import abort_run, read_log, read_results, read_run
from coreclaw_async._operations.start import min_timeout_of, run_members, start, start_members
from coreclaw_async._operations.wait import RunHook, WaitOptions, wait_for_run
from coreclaw_async._paging.pager import AsyncPager, PagerOptions
from coreclaw_async._progress.reporter import check_progress
from coreclaw_async._wire.request import Safety, build_body, check_bool, check_limit, check_offset
from coreclaw_async._wire.run_paths import RunOperation, run_id_of, run_request
from coreclaw_async._wire.timestamps import check_aware, check_unix
from coreclaw_async.errors import CoreClawError
from coreclaw_async.models import (
    AbortedRun,
    Assessment,
    Export,
    LastRun,
    LogEntry,
    Page,
    ResultPage,
    Row,
    Run,
    RunLog,
    RunRef,
    RunStatus,
    StartedRun,
)
from coreclaw_async.progress import ProgressOption

_DAY_SECONDS = 86_400
_RERUN = RunOperation("rerunWorkerRun", ("rerun",), "POST", last=("rerunLastWorkerRun", "rerunWorkerLastRun"))


@with_call_events("runs")
class AsyncRuns:
    """
    Runs: ``client.runs``.

    A run is named by its id, by a `StartedRun` or `Run`, or by ``LastRun()`` and ``LastRun(worker_id)``, for which the
    service has operations of its own.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    async def list_page(
        self,
        *,
        worker_id: str | None = None,
        status: RunStatus | str | None = None,
        start_time: dt.datetime | None = None,
        end_time: dt.datetime | None = None,
        offset: int = 0,
        limit: int = 20,
    ) -> Page[Run]:
        """
        Return one page of runs; without times only those of the current calendar month in UTC+8.

        ``GET /api/v2/worker-runs``. Reads only: retried after a failure. For more than one page or month use `iterate`.

        Args:
            worker_id: Only runs of this worker: its id, ``owner/name`` or ``owner~name``.
            status: Only runs with this status: ``ready``, ``running``, ``succeeded``, ``failed`` or ``aborting``.
            start_time: Aware, from 1970 on; together with *end_time*, both in one calendar month of UTC+8.
            end_time: Aware, from 1970 on; a day start, to which the service adds a day (docs, api/worker-runs/list).
            offset: 0 to 2**63 - 1, sent as it is. What the service counts with it has changed over time: only 0 is
                certain to be the first page.
            limit: Runs a page, 1 to 100.

        Raises:
            InvalidArgumentError: The times lie in two months.
            ValueError: A number or a time is out of range, a time is naive or alone, *end_time* comes a day before
                *start_time*, *status* or *worker_id* cannot be one.

        Example::

            page = await client.runs.list_page(status=RunStatus.SUCCEEDED)
            print(page.count, [run.run_id for run in page])
        """
        if (start_time is None) != (end_time is None):
            raise ValueError("start_time and end_time must be given together")
        window = None
        if start_time is not None and end_time is not None:
            window = (check_unix("start_time", start_time), check_unix("end_time", end_time))
            if window[1] + _DAY_SECONDS <= window[0]:
                raise ValueError(f"end_time must not be a day before start_time, but {end_time} is before {start_time}")
        runs = RunFilter(worker_id=worker_id, status=status)
        return await read_runs(
            self._context, runs, offset=check_offset(offset), limit=check_limit(limit), window=window
        )

    def iterate(
        self,
        *,
        worker_id: str | None = None,
        status: RunStatus | str | None = None,
        since: dt.datetime | None = None,
        until: dt.datetime | None = None,
        page_size: int = 100,
        max_items: int | None = None,
        prefetch: int = 0,
    ) -> AsyncPager[Run]:
        """
        Return an iterator over runs, month by month, the newest month first.

        ``GET /api/v2/worker-runs``, once a page and month. Reads only: retried after a failure.

        Args:
            worker_id: Only runs of this worker: its id, ``owner/name`` or ``owner~name``.
            status: Only runs with this status: ``ready``, ``running``, ``succeeded``, ``failed`` or ``aborting``.
            since: Aware; only runs created then or later. None for the current calendar month in UTC+8, which is empty
                at its beginning. The time of a run is read from its id; a run whose id does not tell it is kept. No
                month before January 2024 is asked for, as the service is younger than that.
            until: Aware; only runs created before. None for now. No month after the current one is asked for.
            page_size: Runs a page, 1 to 100.
            max_items: Most runs in all, 1 or more; None for all.
            prefetch: Pages that are read at the same time as the next one, 0 to 100.

        Raises:
            PaginationError: The pages that came do not add up to one list.
            ValueError: A number is out of range, a time is naive, *until* is not after *since* or alone.

        Example::

            since = datetime.now(UTC) - timedelta(days=7)
            async for run in client.runs.iterate(since=since):
                print(run.run_id, run.status, run.usage)
        """
        if since is not None:
            since = check_aware("since", since)
        if until is not None:
            until = check_aware("until", until)
            if since is None or until <= since:
                raise ValueError(f"until must come after since, and needs it; since is {since}, until is {until}")
        options = PagerOptions(page_size=page_size, max_items=max_items, prefetch=prefetch)
        return runs_pager(
            self._context, options, RunFilter(worker_id=worker_id, status=status), since=since, until=until
        )

    async def find_started(
        self, *, worker_id: str | None = None, since: dt.datetime, until: dt.datetime | None = None
    ) -> list[Run]:
        """
        Return the runs that a start with an unknown outcome may have made: a hint, never a proof.

        ``GET /api/v2/worker-runs``, a few times at most. Reads only: retried after a failure. Looks for runs whose id
        was made between *since* and *until* (with ten seconds more at either end), in the months of UTC+8 that these
        fall into. Leaves out runs that this client knows to come from other starts, and runs started in the console.
        A list can lag behind: nothing found does not mean nothing started.

        Args:
            worker_id: Only runs of this worker: its id, ``owner/name`` or ``owner~name``; None for any.
            since: Aware, by this machine's clock: when the start was sent.
            until: Aware, by this machine's clock: when it failed. None for now.

        Raises:
            CoreClawError: The look did not see everything: a list could not be read, or holds runs without an id.
                What it had found is in the error's ``candidates``.
            PaginationError: The pages did not add up, or did not go back far enough and held no such run.
            ValueError: A time is naive, or *worker_id* cannot be one.

        Example::

            since = datetime.now(UTC) - timedelta(minutes=5)
            found = await client.runs.find_started(worker_id="coreclaw/google-maps-scraper", since=since)
            print([run.run_id for run in found])
        """
        found: dict[str, Run] = {}
        runs = RunFilter(worker_id=worker_id)
        try:
            await report_started(
                self._context, runs, since=since, until=until, found=lambda run: found.setdefault(run.run_id, run)
            )
        except CoreClawError as error:
            error.candidates = tuple(found) or None
            raise
        return list(found.values())

    async def get(self, run: RunRef) -> Run:
        """
        Return a run as it is now.

        ``GET /api/v2/worker-runs/{runId}``, ``/api/v2/worker-runs/last`` or ``/api/v2/workers/{workerId}/runs/last``.
        Reads only: retried after a failure.

        Args:
            run: Its id, a `StartedRun`, a `Run`, or `LastRun`.

        Raises:
            NotFoundError: There is no such run, or it has only just been started.
            ValueError: The id is empty, ``last``, or cannot stand in a path.

        Example::

            run = await client.runs.get(LastRun())
            print(run.run_id, run.status)
        """
        return await read_run(self._context, run)

    async def assess(self, run: RunRef, *, max_rows: int = 100) -> Assessment:
        """
        Return whether an ended run brought what it was paid for, with the evidence.

        ``GET /api/v2/worker-runs/{runId}``, unless *run* is a `Run` that has ended. Then
        ``GET /api/v2/worker-runs/{runId}/result``, once a page of the rows that are read, or, for a failed run that
        does not say why, ``GET /api/v2/worker-runs/{runId}/log``. Reads only: retried after a failure.

        An error row holds nothing but diagnostics: ``error``, ``error_code``, ``err``, ``err_code``, ``status``,
        ``status_code``, ``message``, ``msg``, ``input``, ``input_url``, perhaps beside a ``url``; empty members do not
        count. This is a rule of thumb of the service's own tools, not part of its API.

        Args:
            run: Its id, a `StartedRun`, a `Run`, or `LastRun`, which is resolved once.
            max_rows: How many rows are read, the first ones, 1 or more. One page holds 100 of them.

        Returns:
            ``UNKNOWN`` where fewer rows came than the run counts (which takes half a minute), and for a run that is
            still ``aborting``.

        Raises:
            RunNotFinishedError: The run has not ended.
            NotFoundError: There is no such run.
            ValueError: *max_rows* is less than 1, or the id cannot be one.

        Example::

            assessment = await client.runs.assess(run)
            print(assessment.verdict, assessment.reason)
        """
        from coreclaw_async._operations.assess import assess_run

        return await assess_run(self._context, run, max_rows=max_rows)

    async def wait(
        self,
        run: RunRef,
        *,
        timeout: float | None = None,
        check: bool = True,
        on_update: RunHook | None = None,
        on_cancel: Literal["leave", "abort"] = "leave",
        progress: ProgressOption = False,
    ) -> Run:
        """
        Wait until a run has ended and return it as it ended.

        ``GET /api/v2/worker-runs/{runId}``, by the client's `PollSchedule`; ``GET /api/v2/worker-runs`` where many runs
        are waited for. All waits of a client in one event loop look together, with the client's own settings; so do
        those of its copies made by ``with_options`` that have the same key. Failed looks never end the wait, unless the
        service itself refuses the key, or says for a minute that there is no such run. While the service cannot be
        reached, all waits of a client together make one probe at a time, up to 30 s apart.

        Args:
            run: Its id, a `StartedRun`, a `Run`, or `LastRun`, which is resolved once and retried like a look.
            timeout: Seconds, above 0, and a second more for the last look. None to wait as long as it takes; while
                looks fail, a warning is then logged once a minute.
            check: Whether an end without success is an error; otherwise the run is returned whatever its end.
            on_update: Called with the run whenever its status or number of rows has changed; a plain function or a
                coroutine function. Its exception ends this wait.
            on_cancel: What to do with the run when the wait is cancelled, times out or fails before it ends: ``leave``
                it, or ``abort`` it, in five seconds at most. If it cannot be aborted, that is logged as a warning and
                noted in the error, and the run is in ``not_aborted`` of a `WaitTimeoutError`.
            progress: True to show a line that is updated in place: below the cell of a notebook, in a terminal on
                standard error, and nowhere else. Or a function that is called with each `Progress` and must return
                soon; when it raises, that is logged once, and the wait goes on.

        Raises:
            WaitTimeoutError: *timeout* has passed, and the run goes on. The error has its id, its last state, and why
                looks failed.
            RunFailedError: The run failed; the end of its log is in the error.
            RunAbortedError: The run was aborted, or stays ``aborting`` beyond the grace time (``confirmed`` is False
                then).
            NotFoundError: There is no such run.
            AuthenticationError: The key was refused.
            ValueError: *timeout* is out of range or *on_cancel* unknown.

        Example::

            started = await client.workers.start_run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]})
            run = await client.runs.wait(started, timeout=900)
            print(run.status, run.result_count)
        """
        options = WaitOptions(timeout=timeout, check=check, on_update=on_update, on_cancel=on_cancel, progress=progress)
        return await wait_for_run(self._context, run, options)

    def wait_many(
        self,
        runs: Iterable[RunRef],
        *,
        timeout: float | None = None,
        check: bool = False,
        on_update: RunHook | None = None,
        on_cancel: Literal["leave", "abort"] = "leave",
        progress: ProgressOption = False,
    ) -> AsyncStream[Run]:
        """
        Return an iterator over runs that gives each of them when it has ended.

        ``GET /api/v2/worker-runs`` and ``GET /api/v2/worker-runs/{runId}``, whichever takes fewer requests. Reads only:
        retried after a failure. The wait begins with the first item asked for. An error about one run leaves the others
        alone: iterating again goes on with them.

        Args:
            runs: What `wait` takes, any number; a run that is named twice comes once.
            timeout: Seconds for all together, above 0; a second more for the last look, and two when it passes while
                the loop body works. None to wait as long as it takes.
            check: Whether an end without success is an error; otherwise each run is returned whatever its end, and
                also one that is still ``aborting`` after the grace time.
            on_update: Called with a run whenever its status or number of rows has changed; a plain function or a
                coroutine function. Its exception ends the wait for that run.
            on_cancel: What to do with the runs that have not ended when the wait is cancelled or times out: ``leave``
                them, or ``abort`` them, in five seconds and 0.05 s for each further run, a minute at most. Those that
                cannot be aborted are reported as in `wait`.
            progress: As in `wait`, for all runs together; shown between two of them.

        Raises:
            WaitTimeoutError: *timeout* has passed; the ids of the runs that have not ended are in its ``pending``.
            RunFailedError: With *check*: a run failed; the end of its log is in the error.
            RunAbortedError: With *check*: a run was aborted, or stays ``aborting``.
            NotFoundError: There is no such run.
            AuthenticationError: The key was refused.
            ValueError: *timeout* is out of range, *on_cancel* unknown, or an id cannot be one.

        Example::

            inputs = [{"keywords": [word]} for word in ("coffee", "tea")]
            started = [await client.workers.start_run("coreclaw/google-maps-scraper", given) for given in inputs]
            async for run in client.runs.wait_many(started, timeout=900):
                print(run.run_id, run.status)
        """
        options = WaitOptions(timeout=timeout, check=check, on_update=on_update, on_cancel=on_cancel, progress=progress)
        from coreclaw_async._operations.run_streams import Completions

        return AsyncStream(Completions.of(self._context, runs, options).next)

    def watch(self, run: RunRef, *, timeout: float | None = None) -> AsyncStream[Run]:
        """
        Return an iterator over the states of a run: the first, each with another status or number of rows, the last.

        ``GET /api/v2/worker-runs/{runId}``, by the client's `PollSchedule`; ``GET /api/v2/worker-runs`` where many runs
        are waited for. Reads only: retried after a failure. What changes twice between two looks is seen once.

        Args:
            run: Its id, a `StartedRun`, a `Run`, or `LastRun`, which is resolved once.
            timeout: Seconds for the whole iteration, above 0, and what `wait_many` takes for a last look; None to
                follow the run as long as it takes.

        Raises:
            WaitTimeoutError: *timeout* has passed; the run goes on.
            RunAbortedError: The run stays ``aborting`` beyond the grace time, after its last change was returned.
            NotFoundError: There is no such run.
            AuthenticationError: The key was refused.
            ValueError: *timeout* is out of range, or the id cannot be one.

        Example::

            started = await client.workers.start_run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]})
            async for run in client.runs.watch(started):
                print(run.status, run.result_count)
        """
        options = WaitOptions(timeout=timeout)
        run_id_of(run)
        from coreclaw_async._operations.run_streams import Changes

        return AsyncStream(Changes(self._context, run, options).next)

    def follow_log(self, run: RunRef, *, timeout: float | None = None) -> AsyncStream[LogEntry]:
        """
        Return an iterator over the entries of a run's log: the recent ones, then new ones, until the run has ended.

        ``GET /api/v2/worker-runs/{runId}/log`` and ``GET /api/v2/worker-runs/{runId}``, by the client's `PollSchedule`
        but at least every five seconds. Reads only: retried after a failure. The service shows only the recent part
        of a log: a warning is logged when entries may have been missed between two looks.

        Args:
            run: Its id, a `StartedRun`, a `Run`, or `LastRun`, which is resolved once.
            timeout: Seconds for the whole iteration, above 0, and what `wait_many` takes for a last look; None to
                follow the log until the run has ended. Reading the end of the log is retried until then too.

        Raises:
            WaitTimeoutError: *timeout* has passed; the run goes on.
            RunAbortedError: The run stays ``aborting`` beyond the grace time, after the last entry was returned.
            NotFoundError: There is no such run.
            AuthenticationError: The key was refused.
            ValueError: *timeout* is out of range, or the id cannot be one.

        Example::

            started = await client.workers.start_run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]})
            async for entry in client.runs.follow_log(started):
                print(entry.timestamp, entry.content)
        """
        options = WaitOptions(timeout=timeout)
        run_id_of(run)
        from coreclaw_async._operations.run_streams import LogEntries

        return AsyncStream(LogEntries(self._context, run, options).next)

    async def abort(
        self,
        run: RunRef,
        *,
        callback_url: str | None = None,
        is_async: bool | None = None,
        offset: int | None = None,
        limit: int | None = None,
    ) -> AbortedRun:
        """
        Ask the service to stop a run, which may take a while, and return which run that is.

        ``POST /api/v2/worker-runs/{runId}/abort``, ``/api/v2/worker-runs/last/abort`` or
        ``/api/v2/workers/{workerId}/runs/last/abort``, with an object as body also when nothing is given. For a
        concrete run it is retried after a failure, and a refusal then counts as done; for `LastRun` it is not, as the
        last run may then be another one.

        Args:
            run: Its id, a `StartedRun`, a `Run`, or `LastRun`.
            callback_url: Where the service posts changes of the run.
            is_async: False to have the service wait for the end, five minutes at most; the call may then take 330 s.
                None leaves it out, and it does not wait.
            offset: With ``is_async=False``, which rows the answer holds: 0 to 2**63 - 1; None leaves it out.
            limit: With ``is_async=False``, how many rows the answer holds: 1 to 100; None leaves it out.

        Returns:
            What the service says of the run, which may be nothing. Its id is then the given one, and None for
            `LastRun`. The same when the abort was retried and then refused, because the run had ended.

        Raises:
            RunOperationError: The run cannot be aborted, for example because it has ended.
            OutcomeUnknownError: `LastRun` only: it may have been aborted.
            NotFoundError: There is no such run.
            ValueError: An argument is out of range.

        Example::

            started = await client.workers.start_run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]})
            await client.runs.abort(started)
            run = await client.runs.wait(started, check=False)
        """
        members = run_members(self._context, callback_url=callback_url, is_async=is_async, offset=offset, limit=limit)
        return await abort_run(self._context, run, **members)

    async def rerun(
        self,
        run: RunRef,
        *,
        callback_url: str | None = None,
        is_async: bool = True,
        offset: int | None = None,
        limit: int | None = None,
    ) -> StartedRun:
        """
        Start a new run with the input of another, which costs money, and return the new run's id.

        ``POST /api/v2/worker-runs/{runId}/rerun``, ``/api/v2/worker-runs/last/rerun`` or
        ``/api/v2/workers/{workerId}/runs/last/rerun``. Starts at most one run: retried only when the first send
        certainly did nothing (it never left, or was refused for its rate).

        Args:
            run: The run to repeat: its id, a `StartedRun`, a `Run`, or `LastRun`.
            callback_url: Where the service posts changes of the new run; None for a URL of the client's hub, if it
                has one.
            is_async: False to have the service wait for the end, five minutes at most; the call may then take 330 s.
            offset: With ``is_async=False``, which rows the answer holds: 0 to 2**63 - 1.
            limit: With ``is_async=False``, how many rows the answer holds: 1 to 100.

        Raises:
            OutcomeUnknownError: A run may have been started, and it is not known which; see its candidates. Also raised
                instead of a cancellation after the request was sent; after Ctrl-C in `CoreClaw` it is the
                ``__cause__`` of the `KeyboardInterrupt`. The look for candidates may take five seconds more than the
                client's ``timeout``.
            InsufficientBalanceError: The balance does not cover the run.
            ConcurrencyLimitError: The plan's number of running runs is reached.
            RunOperationError: The service could not repeat the run; a new one may exist all the same.
            NotFoundError: There is no such run.
            ValueError: An argument is out of range.

        Example::

            started = await client.runs.rerun(run)  # Costs money, as the first run did.
            run = await client.runs.wait(started)
        """
        members = start_members(self._context, callback_url=callback_url, is_async=is_async, offset=offset, limit=limit)
        request = run_request(
            _RERUN,
            run,
            body=build_body(**members),
            safety=Safety.ONCE,
            min_timeout=min_timeout_of(members),
            callback_url=members["callback_url"],
        )
        # The new run is in the list of the same worker, where the name of the run tells which one that is.
        worker_id = (run.worker_id or None) if isinstance(run, Run | LastRun) else None
        return await start(self._context, request, lost_runs(self._context, worker_id))

    async def get_log(self, run: RunRef) -> RunLog:
        """
        Return the recent part of a run's log; the whole of it is behind ``all_logs_url``.

        ``GET /api/v2/worker-runs/{runId}/log``, ``/api/v2/worker-runs/last/log`` or
        ``/api/v2/workers/{workerId}/runs/last/log``. Reads only: retried after a failure.

        Args:
            run: Its id, a `StartedRun`, a `Run`, or `LastRun`.

        Raises:
            NotFoundError: There is no such run.
            ValueError: The id is empty, ``last``, or cannot stand in a path.

        Example::

            log = await client.runs.get_log(run)
            print([entry.content for entry in log.entries])
        """
        return await read_log(self._context, run)

    async def list_results_page(self, run: RunRef, *, offset: int = 0, limit: int = 20) -> ResultPage:
        """
        Return one page of a run's rows, with its columns.

        ``GET /api/v2/worker-runs/{runId}/result``, ``/api/v2/worker-runs/last/result`` or
        ``/api/v2/workers/{workerId}/runs/last/result``. Reads only: retried after a failure. For more than one page use
        `iterate_results`.

        Args:
            run: Its id, a `StartedRun`, a `Run`, or `LastRun`.
            offset: 0 to 2**63 - 1, sent as it is. What the service counts with it has changed over time: only 0 is
                certain to be the first page.
            limit: Rows a page, 1 to 100.

        Raises:
            NotFoundError: There is no such run.
            ValueError: An argument is out of range, or the id cannot be one.

        Example::

            page = await client.runs.list_results_page(run, limit=10)
            print(page.count, [header.key for header in page.headers], list(page))
        """
        return await read_results(self._context, run, offset=check_offset(offset), limit=check_limit(limit))

    def iterate_results(
        self,
        run: RunRef,
        *,
        partial: bool = False,
        follow: bool = False,
        timeout: float | None = None,
        page_size: int = 100,
        max_items: int | None = None,
        prefetch: int = 0,
    ) -> AsyncPager[Row]:
        """
        Return an iterator over a run's rows: every counted row comes once, or it raises `PaginationError`.

        ``GET /api/v2/worker-runs/{runId}/result``, once a page, and ``GET /api/v2/worker-runs/{runId}`` once, at the
        same time as the first page, unless *run* is a `Run` that has ended or *partial* is true. Reads only: retried
        after a failure. Rows are told apart by ``__coreclaw_data_id__``; where they have none, equal rows are kept, and
        rows that move while they are read are an error.

        The rows of a run that has ended are compared with its ``result_count``: when fewer come, the last page is read
        again for 30 seconds, by the client's `PollSchedule`.

        Args:
            run: Its id, a `StartedRun`, a `Run`, or `LastRun`, which is resolved once.
            partial: True to take the rows so far of a run that has not ended.
            follow: True to return the rows of a run that has not ended as they arrive, until it ends; the run is looked
                at by the client's `PollSchedule`. Excludes *partial*.
            timeout: With *follow*: seconds to wait for the run, above 0; None to wait until it has ended.
            page_size: Rows a page, 1 to 100.
            max_items: Most rows in all, 1 or more; None for all.
            prefetch: Pages that are read at the same time as the next one, 0 to 100.

        Raises:
            RunNotFinishedError: The run has not ended, and neither *partial* nor *follow* is true.
            PaginationError: The pages that came do not add up to one list, or hold fewer rows than the run has.
            RunAbortedError: With *follow*: the run stays ``aborting`` beyond the grace time, after its last row.
            WaitTimeoutError: *timeout* has passed; the rows so far were returned, and the run goes on.
            NotFoundError: There is no such run.
            ValueError: A number is out of range, the id cannot be one, *partial* and *follow* are both true, or
                *timeout* is given without *follow*.

        Example::

            async for row in client.runs.iterate_results(run):
                print(row["title"])
        """
        options = PagerOptions(page_size=page_size, max_items=max_items, prefetch=prefetch)
        run_id_of(run)
        check_bool("partial", partial)
        if check_bool("follow", follow) and partial:
            raise ValueError("partial and follow exclude each other, and both are True")
        wait_options = WaitOptions(timeout=timeout)
        if timeout is not None and not follow:
            raise ValueError("timeout is for follow=True: nothing else waits for the run")
        rows = RunRows(self._context, run, partial=partial, follow=wait_options if follow else None)
        return pager_over(self._context, rows.open, options, info=ItemInfo(headers=rows.headers))

    async def export(self, run: RunRef, *, format: ExportFormat = "csv", fields: Sequence[str] | None = None) -> Export:
        """
        Return a signed, temporary URL of a file with the run's rows, which anybody who has the URL can fetch.

        ``GET /api/v2/worker-runs/{runId}/result/export``, ``/api/v2/worker-runs/last/export`` or
        ``/api/v2/workers/{workerId}/runs/last/export``. Reads only: retried after a failure. Never send the key to that
        URL; `download` does it right.

        Args:
            run: Its id, a `StartedRun`, a `Run`, or `LastRun`.
            format: ``csv``, ``json``, ``jsonl``, ``xlsx``, ``xls``, ``xml``, ``html`` or ``rss``.
            fields: Keys of the columns to export, as the headers of a page name them; None for all.

        Raises:
            NotFoundError: There is no such run.
            InvalidArgumentError: There is no such column.
            ValueError: *format* is unknown, or a field is empty or holds a comma.

        Example::

            export = await client.runs.export(run, format="csv", fields=["title"])
            print(len(export.download_url))  # As good as a password.
        """
        return await read_export(self._context, run, format=format, fields=fields)

    async def download(
        self,
        run: RunRef,
        path: str | os.PathLike[str],
        *,
        format: ExportFormat = "csv",
        fields: Sequence[str] | None = None,
        partial: bool = False,
        progress: ProgressOption = False,
    ) -> Path:
        """
        Write a run's rows to a file, whole or not at all.

        Asks for a URL (`export`) and streams the file from the storage host; no key, cookie or header of the client's
        goes there. After a broken connection the download is resumed, an expired URL is replaced, and a redirect is
        followed when it stays on the host. An attempt fails when the host is silent for longer than the client's
        ``timeout``. It is retried as the retry policy says; attempts that got further than before are not counted.

        The file is written beside *path* as ``.<name>.<16 hex digits>.coreclaw-part``, and moved there when its length
        is right and no row is missing: the rows of an ended run are counted in ``csv``, ``jsonl`` and ``json``, where
        that is possible. It is removed after an error or a cancellation; only a killed process leaves one behind. Of
        several downloads to one path the last one stays. A replaced file keeps its mode, and a link stays a link. A
        pipe or a device, such as ``/dev/stdout``, is written to once the file is whole, which waits for a reader; what
        has been written there cannot be taken back.

        Args:
            run: Its id, a `StartedRun`, a `Run`, or `LastRun`, which is resolved once.
            path: The file to write; an existing one is replaced. Its folder must exist.
            format: ``csv``, ``json``, ``jsonl``, ``xlsx``, ``xls``, ``xml``, ``html`` or ``rss``.
            fields: Keys of the columns to write; None for all.
            partial: True to take the rows so far of a run that has not ended.
            progress: As in `wait`, for the bytes of the file.

        Returns:
            The path of the file.

        Raises:
            RunNotFinishedError: The run has not ended, and *partial* is false.
            DownloadError: The file did not come whole; its ``reason`` says why.
            NotFoundError: There is no such run.
            OSError: The file cannot be written. When *path* is a folder or a socket, or its folder does not exist,
                nothing was requested; later errors name the run.
            ValueError: *format* is unknown, or a field is empty or holds a comma.

        Example::

            path = await client.runs.download(run, "rows.csv", format="csv", fields=["title"])
            print(path.stat().st_size)
        """
        check_bool("partial", partial)
        check_progress(progress)
        return await download_export(
            self._context,
            run,
            Path(path),
            format=format,
            fields=fields,
            progress=progress,
            partial=partial,
        )
