"""Runs: their states, what starting one answers, their logs and exports, and the ways to name one."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, TypeAlias

import attrs

from coreclaw_async._data.record import Model
from coreclaw_async.models._html import facts_table
from coreclaw_async.models.fields import extra_field, without_query
from coreclaw_async.models.pages import ResultPage
from coreclaw_async.models.statuses import LogLevel, RunOutcome, RunStatus, outcome_of


@attrs.frozen(kw_only=True, repr=False)
class Run(Model):
    """
    One run of a worker, as details and lists report it.

    Attributes:
        run_id: 26 characters; the wire calls it ``slug``. Empty where an entry of a list does not name its
            run.
        worker_id: The worker; the wire calls it ``scraper_slug``.
        worker_title: The worker's name for people; the wire calls it ``scraper_title``.
        version: The worker version that really ran.
        status: A `RunStatus`, or the string that the service sent instead. None only in entries of lists that do not
            say it.
        result_count: Rows written so far, 0 or more; 0 can be a success, and None means not known. The wire calls it
            ``results``.
        usage: What the run cost, in US dollars; None when it is not known, which is not the same as 0.
        traffic: Bytes, for diagnosis; None when not known.
        origin: Where it was started: ``openapi``, ``api_v2``, ``web``, ...
        started_at: UTC, or None while it waits.
        finished_at: UTC, or None. Not a proof that the run has ended: the service's own example shows a running run
            with one.
        duration: Seconds; None when not known.
        error_message: Diagnostics; may be absent on a failed run and present on another. The wire calls it ``err_msg``.
        extra: Members that this version does not know, or cannot read, as they came, under their wire names.

    Example::

        run = await client.runs.get(run.run_id)
        if run.is_finished:
            print(run.status, run.result_count, "rows for", run.usage, "USD")
    """

    run_id: str = ""
    worker_id: str | None = None
    worker_title: str | None = None
    version: str | None = None
    status: RunStatus | str | None = None
    result_count: int | None = None
    usage: Decimal | None = None
    traffic: int | None = None
    origin: str | None = None
    started_at: dt.datetime | None = None
    finished_at: dt.datetime | None = None
    duration: float | None = None
    error_message: str | None = None
    extra: dict[str, Any] = extra_field()

    @property
    def outcome(self) -> RunOutcome:
        """What the status means; the status is the only authority on it."""
        return outcome_of(self.status)

    @property
    def is_finished(self) -> bool:
        """Whether the run has ended, well or badly; ``aborting`` has not."""
        return self.outcome.is_end

    def _repr_html_(self) -> str:
        facts = {
            "status": self.status,
            "worker": self.worker_title or self.worker_id,
            "rows": self.result_count,
            "cost in USD": self.usage,
            "started": self.started_at,
            "seconds": self.duration,
            "error": self.error_message or None,
        }
        return facts_table(f"Run {self.run_id}", facts)


@attrs.frozen(kw_only=True, repr=False)
class StartedRun(Model):
    """
    The answer to a start: always a run id, the rest only where the service waited for the end.

    Attributes:
        run_id: The new run; the wire calls it ``run_slug``.
        request_id: The service's name for the request.
        status: A `RunStatus`, another string, or None when not told; after five minutes the service answers with a
            run that has not ended. The wire calls it ``run_status``.
        started_at: UTC; the wire calls it ``execution_start_timestamp``.
        finished_at: UTC; the wire calls it ``execution_end_timestamp``.
        duration: Seconds, or None; the wire calls it ``running_duration``.
        is_finished: As the service said; reruns only.
        error_message: Diagnostics.
        result_message: Text about the results.
        results: The window of rows that ``offset`` and ``limit`` asked for, or None.
        extra: Members that this version does not know, or cannot read, as they came, under their wire names.

    Example::

        started = await client.workers.start_run(
            "coreclaw/google-maps-scraper", {"keywords": ["coffee"]}, is_async=False, offset=0, limit=10
        )
        print(started.run_id, started.status, started.results)
    """

    run_id: str
    request_id: str | None = None
    status: RunStatus | str | None = None
    started_at: dt.datetime | None = None
    finished_at: dt.datetime | None = None
    duration: float | None = None
    is_finished: bool | None = None
    error_message: str | None = None
    result_message: str | None = None
    results: ResultPage | None = None
    extra: dict[str, Any] = extra_field()

    @property
    def outcome(self) -> RunOutcome:
        """What the status means; ``GOING`` when the service did not wait."""
        return outcome_of(self.status)


@attrs.frozen(kw_only=True, repr=False)
class AbortedRun(Model):
    """
    The answer to an abort that the service accepted, which does not mean that the run has stopped.

    Attributes:
        run_id: The run: as the service named it, else as the caller did; None where `LastRun` was aborted and
            the service did not say which run that is. The wire calls it ``run_slug``.
        request_id: The service's name for the request.
        status: A `RunStatus`, another string, or None. This and all below is None where the service did not wait for
            the end, as is usual. The wire calls it ``run_status``.
        started_at: UTC; the wire calls it ``execution_start_timestamp``.
        finished_at: UTC; the wire calls it ``execution_end_timestamp``.
        duration: Seconds; the wire calls it ``running_duration``.
        is_finished: As the service said.
        error_message: Diagnostics.
        result_message: Text about the results.
        results: The window of rows that ``offset`` and ``limit`` asked for.
        extra: Members that this version does not know, or cannot read, as they came, under their wire names.

    Example::

        started = await client.workers.start_run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]})
        aborted = await client.runs.abort(started)
        print(aborted.run_id, aborted.status)
    """

    run_id: str | None = None
    request_id: str | None = None
    status: RunStatus | str | None = None
    started_at: dt.datetime | None = None
    finished_at: dt.datetime | None = None
    duration: float | None = None
    is_finished: bool | None = None
    error_message: str | None = None
    result_message: str | None = None
    results: ResultPage | None = None
    extra: dict[str, Any] = extra_field()


@attrs.frozen(repr=False)
class LastRun(Model):
    """
    The newest run of the account, or of one worker, whoever started it.

    Each call may mean another run. Whatever takes more than one request asks once which run it is.

    Attributes:
        worker_id: The worker's id or ``owner/name``; None for the whole account.

    Example::

        run = await client.runs.get(LastRun("coreclaw/google-maps-scraper"))
        rows = await client.runs.iterate_results(run).collect()
    """

    worker_id: str | None = None


RunRef: TypeAlias = str | Run | StartedRun | LastRun
"""The ways to name a run."""


@attrs.frozen(kw_only=True, repr=False)
class LogEntry(Model):
    """
    One entry of a run's log.

    Attributes:
        content: The message, which may hold line breaks; empty when the entry has none that can be read.
        level: A `LogLevel`, the string or number of a new one, or None when the entry is a bare string. The wire calls
            it ``type``.
        group: Subtask id, or None.
        timestamp: UTC to the millisecond, or None.
        extra: Members that this version does not know, or cannot read, as they came, under their wire names.

    Example::

        log = await client.runs.get_log(run)
        for entry in log.entries:
            print(entry.timestamp, entry.level, entry.content)
    """

    content: str = ""
    level: LogLevel | str | None = None
    group: str | None = None
    timestamp: dt.datetime | None = None
    extra: dict[str, Any] = extra_field()


@attrs.frozen(kw_only=True, repr=False)
class RunLog(Model):
    """
    The recent part of a run's log.

    Attributes:
        entries: Recent entries only; the wire calls it ``list``.
        all_logs_url: Where the whole log is, on another host and perhaps not for long. As good as a password: the repr
            hides its query.
        result_count: Rows written so far, or None.
        extra: Members that this version does not know, or cannot read, as they came, under their wire names.

    Example::

        log = await client.runs.get_log(run)
        print(len(log.entries), log.result_count)
    """

    entries: Sequence[LogEntry] = attrs.field(default=(), hash=False)
    all_logs_url: str | None = attrs.field(default=None, repr=without_query)
    result_count: int | None = None
    extra: dict[str, Any] = extra_field()


@attrs.frozen(kw_only=True, repr=False)
class Export(Model):
    """
    Where the results of a run can be fetched as a file.

    Attributes:
        download_url: Signed and temporary, on another host. Anybody who has it can read the rows, so the repr hides its
            query. Never send the key there.
        extra: Members that this version does not know, or cannot read, as they came, under their wire names.

    Example::

        export = await client.runs.export(run)
        print(export)  # Without the signature in the query.
    """

    download_url: str = attrs.field(default="", repr=without_query)
    extra: dict[str, Any] = extra_field()
