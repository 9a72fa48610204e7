"""OpenTelemetryHook: the events of a client as OpenTelemetry spans and metrics. Needs the extra ``otel``."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

try:
    from opentelemetry import metrics, trace
except Exception as error:  # pragma: no cover - tested in a process of its own
    from coreclaw_async._extras import why_not_imported

    raise ImportError(
        why_not_imported(error, "opentelemetry", need="tracing", requirement="coreclaw-async[otel]"),
        name="opentelemetry",
    ) from error

from coreclaw_async import events
from coreclaw_async._version import __version__
from coreclaw_async.models import Run, RunOutcome

if TYPE_CHECKING:
    from opentelemetry.util.types import Attributes

_NAME = "coreclaw_async"
_NANOSECONDS = 10**9
_MAX_CANDIDATES = 20
_MAX_ENDED = 10_000


class OpenTelemetryHook:
    """
    A hook for ``AsyncCoreClaw(on_event=...)``.

    Each attempt at a request becomes a client span, below the span that is current in the task that calls; retries and
    starts become events of that span; each run that was waited for becomes one span ``coreclaw.run`` from its start to
    its end. Metrics are ``coreclaw.request.duration``, ``coreclaw.retries``, ``coreclaw.runs.started``,
    ``coreclaw.starts.unknown``, ``coreclaw.starts.reconciled``, ``coreclaw.poll.requests``, ``coreclaw.runs.ended``,
    ``coreclaw.run.duration``, ``coreclaw.rows.read`` and ``coreclaw.batch.items`` by state. None of them holds a key, a
    query or a callback URL.
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        """
        Make a hook.

        Args:
            tracer_provider: Where spans go; None for the global provider.
            meter_provider: Where metrics go; None for the global provider.
        """
        self._tracer = trace.get_tracer(_NAME, __version__, tracer_provider)
        meter = metrics.get_meter(_NAME, __version__, meter_provider)
        self._request_duration = meter.create_histogram("coreclaw.request.duration", "s", "Duration of an attempt")
        self._run_duration = meter.create_histogram("coreclaw.run.duration", "s", "Duration of runs that have ended")
        self._retries = meter.create_counter("coreclaw.retries", "{retry}", "Requests that were retried")
        self._started = meter.create_counter("coreclaw.runs.started", "{run}", "Runs started")
        self._unknown = meter.create_counter("coreclaw.starts.unknown", "{start}", "Starts whose outcome is unknown")
        self._reconciled = meter.create_counter("coreclaw.starts.reconciled", "{start}", "Unknown starts settled later")
        self._polls = meter.create_counter("coreclaw.poll.requests", "{request}", "Requests to follow runs")
        self._ended = meter.create_counter("coreclaw.runs.ended", "{run}", "Runs that have ended")
        self._rows = meter.create_counter("coreclaw.rows.read", "{row}", "Rows of results read")
        self._items = meter.create_counter("coreclaw.batch.items", "{item}", "Changes of batch items to a state")
        self._ended_ids: dict[str, None] = {}
        self._takers: dict[type, Callable[[Any], None]] = {
            events.RequestSent: self._take_request,
            events.RetryScheduled: self._take_retry,
            events.RunStarted: self._take_start,
            events.StartUnknown: self._take_unknown,
            events.StartReconciled: self._take_reconciled,
            events.RunsPolled: self._take_poll,
            events.RunChanged: self._take_change,
            events.PageRead: self._take_page,
            events.BatchItemChanged: self._take_item,
            events.BatchColumnsChanged: self._take_columns,
        }

    def __call__(self, event: events.Event) -> None:
        """Record *event*."""
        self._takers[type(event)](event)

    def _take_request(self, event: events.RequestSent) -> None:
        end = time.time_ns()
        given: dict[str, str | int | None] = {
            "http.request.method": event.method,
            "url.path": event.path,
            "http.response.status_code": event.status_code,
            "http.request.resend_count": event.attempt - 1 or None,
            "error.type": event.error,
            "coreclaw.operation": event.operation,
            "coreclaw.code": event.code,
            "coreclaw.request_id": event.request_id,
        }
        span = self._tracer.start_span(
            f"{event.method} {event.operation}",
            kind=trace.SpanKind.CLIENT,
            attributes=_present(given),
            start_time=end - round(event.elapsed * _NANOSECONDS),
        )
        if event.error is not None:
            span.set_status(trace.StatusCode.ERROR, event.error)
        span.end(end)
        labels = {name: given[name] for name in ("coreclaw.operation", "http.response.status_code", "error.type")}
        self._request_duration.record(event.elapsed, _present(labels))

    def _take_retry(self, event: events.RetryScheduled) -> None:
        self._retries.add(1, {"coreclaw.operation": event.operation, "error.type": event.error})
        _note("coreclaw.retry", {"coreclaw.operation": event.operation, "coreclaw.wait": event.wait})

    def _take_start(self, event: events.RunStarted) -> None:
        self._started.add(1, {"coreclaw.operation": event.operation})
        _note("coreclaw.run.started", {"coreclaw.run_id": event.run_id})

    def _take_unknown(self, event: events.StartUnknown) -> None:
        self._unknown.add(1, {"coreclaw.operation": event.operation})
        candidates = list(event.candidates or ())[:_MAX_CANDIDATES]
        _note("coreclaw.start.unknown", {"coreclaw.operation": event.operation, "coreclaw.candidates": candidates})

    def _take_reconciled(self, event: events.StartReconciled) -> None:
        self._reconciled.add(1)
        _note("coreclaw.start.reconciled", {"coreclaw.run_id": event.run_id})

    def _take_poll(self, event: events.RunsPolled) -> None:
        self._polls.add(event.details, {"coreclaw.kind": "details"})
        self._polls.add(event.pages, {"coreclaw.kind": "pages"})

    def _take_page(self, event: events.PageRead) -> None:
        if event.operation.endswith("Results"):
            self._rows.add(event.items)

    def _take_item(self, event: events.BatchItemChanged) -> None:
        self._items.add(1, {"coreclaw.state": event.state})

    def _take_columns(self, event: events.BatchColumnsChanged) -> None:
        _note("coreclaw.batch.columns", {"coreclaw.run_id": event.run_id, "coreclaw.columns": list(event.columns)})

    def _take_change(self, event: events.RunChanged) -> None:
        run = event.run
        if not run.is_finished or run.run_id in self._ended_ids:
            return
        self._ended_ids[run.run_id] = None  # Several may have waited for it.
        if len(self._ended_ids) > _MAX_ENDED:
            del self._ended_ids[next(iter(self._ended_ids))]
        start, end = _times(run)
        status = str(run.status).lower()
        given = {
            "coreclaw.run_id": run.run_id,
            "coreclaw.worker_id": run.worker_id,
            "coreclaw.status": status,
            "coreclaw.results": run.result_count,
            "coreclaw.usage": None if run.usage is None else str(run.usage),
        }
        span = self._tracer.start_span("coreclaw.run", attributes=_present(given), start_time=start)
        if run.outcome is not RunOutcome.SUCCEEDED:
            span.set_status(trace.StatusCode.ERROR, status)
        span.end(end)
        self._ended.add(1, {"coreclaw.status": status})
        self._run_duration.record((end - start) / _NANOSECONDS, {"coreclaw.status": status})


def _present(given: dict[str, str | int | None]) -> dict[str, str | int]:
    return {name: value for name, value in given.items() if value is not None}


def _note(name: str, attributes: Attributes) -> None:
    trace.get_current_span().add_event(name, attributes)


def _nanoseconds(at: dt.datetime) -> int:
    return round(at.timestamp() * _NANOSECONDS)


def _times(run: Run) -> tuple[int, int]:
    """Return begin and end of an ended run in nanoseconds; the service's times may be missing or contradictory."""
    end = time.time_ns() if run.finished_at is None else _nanoseconds(run.finished_at)
    lasted = round((run.duration or 0.0) * _NANOSECONDS)
    start = end - lasted if run.started_at is None else _nanoseconds(run.started_at)
    return min(start, end), end
