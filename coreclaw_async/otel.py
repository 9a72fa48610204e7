"""OpenTelemetryHook: the events of a client as OpenTelemetry spans and metrics. Needs the extra ``otel``."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

try:
    from opentelemetry import metrics, trace
except Exception as error:  # pragma: no cover - tested in a process of its own
    from coreclaw_async._extras import why_not_imported

    raise ImportError(
        why_not_imported(error, "opentelemetry", need="tracing", requirement="coreclaw-async[otel]"),
        name="opentelemetry",
    ) from error

from coreclaw_async import events
from coreclaw_async._concurrency.calls import current_calls, item_here
from coreclaw_async._version import __version__
from coreclaw_async.batch import BatchItemState
from coreclaw_async.models import Run, RunOutcome

if TYPE_CHECKING:
    from opentelemetry.util.types import Attributes

_NAME = "coreclaw_async"
_NANOSECONDS = 10**9
_MAX_CANDIDATES = 20
_MAX_ENDED = 10_000
_LAST_SECOND = 9_223_372_036
"""Seconds since 1970, in the year 2262. Exporters cannot write all later nanoseconds."""
_UNDER_WAY = {BatchItemState.INTENT, BatchItemState.SUBMITTED}
_Item: TypeAlias = tuple[str, str, Hashable]
_BAD = {BatchItemState.AMBIGUOUS, BatchItemState.FAILED, BatchItemState.REJECTED}


class OpenTelemetryHook:
    """
    A hook for ``AsyncCoreClaw(on_event=...)``.

    Each call of a method becomes a span such as ``coreclaw.workers.run``, below the span that is current in the task
    that calls. Below it are a client span for each attempt at a request, polls and pages included, and a span
    ``coreclaw.run`` for each run that was waited for, from its start to its end, which belongs to the call that started
    the run where that was this process. One task polls for all that wait; a request that serves several of
    them is told once to each hook, and belongs to the call of one of its waits. Each item of a
    batch becomes a span ``coreclaw.batch.item``, from its intent to its end, with its start, its run and its rows below
    it, and itself below ``coreclaw.batch.run``. Retries and starts become events of their call's span.

    Metrics are ``coreclaw.request.duration``, ``coreclaw.retries``, ``coreclaw.runs.started``,
    ``coreclaw.starts.unknown``, ``coreclaw.starts.reconciled``, ``coreclaw.poll.requests``, ``coreclaw.runs.ended``,
    ``coreclaw.run.duration`` (of runs that tell it), ``coreclaw.runs.cost`` (US dollars, once for each run that this
    hook sees end), ``coreclaw.rows.read`` and ``coreclaw.batch.items`` by state. None of them holds a key, a query or a
    callback URL.

    Example::

        from coreclaw_async.otel import OpenTelemetryHook

        async with AsyncCoreClaw(on_event=OpenTelemetryHook()) as client:
            run = await client.workers.run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]})
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
        self._cost = meter.create_counter("coreclaw.runs.cost", "USD", "Costs of runs that have ended")
        self._rows = meter.create_counter("coreclaw.rows.read", "{row}", "Rows of results read")
        self._items = meter.create_counter("coreclaw.batch.items", "{item}", "Changes of batch items to a state")
        self._lock = threading.Lock()  # For what is remembered of runs: clients in several threads may share a hook.
        self._ended_ids: dict[str, None] = {}
        self._costed_ids: dict[str, None] = {}
        # Spans of calls and items under way, by what their events belong to; when the calls began; which of them run a
        # batch; of each call its items; the items by batch and key; of runs what has started them.
        self._spans: dict[Hashable, trace.Span] = {}
        self._began: dict[int, int] = {}
        self._batch_runs: set[Hashable] = set()
        self._items_of: dict[Hashable, dict[_Item, None]] = {}
        self._named: dict[tuple[str, str], list[_Item]] = {}
        self._starters: dict[str, trace.Span] = {}
        self._takers: dict[type, Callable[[Any], None]] = {
            events.CallStarted: self._take_call,
            events.CallEnded: self._take_end_of_call,
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

    def _take_call(self, event: events.CallStarted) -> None:
        began = self._began[event.call] = time.time_ns()
        if event.name == "batch.run":
            self._batch_runs.add(event.call)
        self._spans[event.call] = self._tracer.start_span(f"coreclaw.{event.name}", start_time=began)

    def _take_end_of_call(self, event: events.CallEnded) -> None:
        for item in list(self._items_of.pop(event.call, {})):  # Their runs go on.
            self._end_item(item, None)
        self._batch_runs.discard(event.call)
        began = self._began.pop(event.call, None)
        # An iterator that was left is told of later than it ended.
        self._end(event.call, event.error, None if began is None else began + round(event.elapsed * _NANOSECONDS))

    def _end(self, whose: Hashable, error: str | None, end: int | None = None) -> None:
        """End the span of a call or of an item, if there is one."""
        span = self._spans.pop(whose, None)
        if span is None:
            return
        if error is not None:
            span.set_attribute("error.type", error)
            span.set_status(trace.StatusCode.ERROR, error)
        span.end(end)

    def _end_item(self, item: _Item, error: str | None) -> None:
        self._end(item, error)
        self._items_of.get(item[2], {}).pop(item, None)
        named = self._named.pop(item[:2], [])
        left = [other for other in named if other != item]
        if left:
            self._named[item[:2]] = left

    def _item_of(self, event: events.BatchItemChanged) -> _Item | None:
        """Return the item with a span that an event is about; `batch.resolve` and the like are calls of their own."""
        item = item_here(event.batch, event.key)
        if item in self._spans:
            return item
        others = () if item[2] in self._batch_runs else self._named.get(item[:2], ())
        return others[0] if len(others) == 1 else None

    def _here(self) -> trace.Span:
        """Return the span that an event belongs to: of a call or an item, else the current one."""
        spans = (self._spans[whose] for whose in current_calls() if whose in self._spans)
        return next(spans, None) or trace.get_current_span()

    def _take_request(self, event: events.RequestSent) -> None:
        end = time.time_ns()
        given: dict[str, str | int | None] = {
            "http.request.method": event.method,
            "server.address": event.server_address,
            "server.port": event.server_port,
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
            trace.set_span_in_context(self._here()),
            trace.SpanKind.CLIENT,
            attributes=_present(given),
            start_time=end - round(event.elapsed * _NANOSECONDS),
        )
        if event.error is not None:
            span.set_status(trace.StatusCode.ERROR, event.error)
        span.end(end)
        names = ("coreclaw.operation", "http.response.status_code", "error.type", "server.address", "server.port")
        labels = {name: given[name] for name in names}
        self._request_duration.record(event.elapsed, _present(labels))

    def _take_retry(self, event: events.RetryScheduled) -> None:
        self._retries.add(1, {"coreclaw.operation": event.operation, "error.type": event.error})
        self._note("coreclaw.retry", {"coreclaw.operation": event.operation, "coreclaw.wait": event.wait})

    def _take_start(self, event: events.RunStarted) -> None:
        self._started.add(1, {"coreclaw.operation": event.operation})
        self._note("coreclaw.run.started", {"coreclaw.run_id": event.run_id})
        self._keep_starter(event.run_id)

    def _take_unknown(self, event: events.StartUnknown) -> None:
        self._unknown.add(1, {"coreclaw.operation": event.operation})
        known: dict[str, str | Sequence[str]] = {"coreclaw.operation": event.operation}
        if event.candidates is not None:  # Else nobody could look, which an empty list would not say.
            known["coreclaw.candidates"] = event.candidates[:_MAX_CANDIDATES]
        if event.run_id is not None:
            known["coreclaw.run_id"] = event.run_id
        self._note("coreclaw.start.unknown", known)

    def _take_reconciled(self, event: events.StartReconciled) -> None:
        self._reconciled.add(1)
        self._note("coreclaw.start.reconciled", {"coreclaw.run_id": event.run_id})
        if current_calls():  # Else it is the callback that has told, and that did not start the run.
            self._keep_starter(event.run_id)

    def _keep_starter(self, run_id: str) -> None:
        """Remember that the span of *run_id* belongs below the one of here."""
        with self._lock:
            self._starters[run_id] = self._here()
            _limit(self._starters)

    def _take_poll(self, event: events.RunsPolled) -> None:
        self._polls.add(event.details, {"coreclaw.kind": "details"})
        self._polls.add(event.pages, {"coreclaw.kind": "pages"})

    def _take_page(self, event: events.PageRead) -> None:
        if event.operation.endswith("Results"):
            self._rows.add(event.items)

    def _take_item(self, event: events.BatchItemChanged) -> None:
        self._items.add(1, {"coreclaw.state": event.state})
        if event.state == BatchItemState.INTENT:
            item = item_here(event.batch, event.key)
            context = trace.set_span_in_context(self._here())
            named: dict[str, str | int] = {
                "coreclaw.batch": event.batch,
                "coreclaw.key": event.key,
                "coreclaw.attempt": event.attempt,
            }
            self._spans[item] = self._tracer.start_span("coreclaw.batch.item", context, attributes=named)
            self._items_of.setdefault(item[2], {})[item] = None
            self._named.setdefault(item[:2], []).append(item)
        found = self._item_of(event)
        if found is None:  # Another process has started it.
            return
        self._spans[found].set_attributes(_present({"coreclaw.state": event.state, "coreclaw.run_id": event.run_id}))
        if event.state not in _UNDER_WAY:
            self._end_item(found, event.state if event.state in _BAD else None)

    def _take_columns(self, event: events.BatchColumnsChanged) -> None:
        columns = list(event.columns)
        self._note("coreclaw.batch.columns", {"coreclaw.run_id": event.run_id, "coreclaw.columns": columns})

    def _take_change(self, event: events.RunChanged) -> None:
        run = event.run
        if not run.is_finished:
            return
        status = str(run.status).lower()
        cost = _cost_of(run)
        if cost is not None and self._is_new(run.run_id, self._costed_ids):  # The service may tell it after the end.
            labels = {"coreclaw.status": status, "coreclaw.worker_id": run.worker_id}
            self._cost.add(cost, _present(labels))
        if self._is_new(run.run_id, self._ended_ids):  # Several may have waited for it.
            self._take_end_of_run(run, status)

    def _take_end_of_run(self, run: Run, status: str) -> None:
        start, end = _times(run)
        given: dict[str, str | int | float | None] = {
            "coreclaw.run_id": run.run_id,
            "coreclaw.worker_id": run.worker_id,
            "coreclaw.status": status,
            "coreclaw.results": run.result_count,
            "coreclaw.cost": _cost_of(run),
        }
        starter = self._starters.pop(run.run_id, None) or self._here()
        context = trace.set_span_in_context(starter)
        span = self._tracer.start_span("coreclaw.run", context, attributes=_present(given), start_time=start)
        if run.outcome is not RunOutcome.SUCCEEDED:
            span.set_status(trace.StatusCode.ERROR, status)
        span.end(end)
        self._ended.add(1, {"coreclaw.status": status})
        if run.started_at is not None or run.duration is not None:
            self._run_duration.record((end - start) / _NANOSECONDS, {"coreclaw.status": status})

    def _is_new(self, run_id: str, known: dict[str, None]) -> bool:
        """Return whether *run_id* is not among those known, and remember it."""
        with self._lock:
            if run_id in known:
                return False
            known[run_id] = None
            _limit(known)
            return True

    def _note(self, name: str, attributes: Attributes) -> None:
        self._here().add_event(name, attributes)


def _limit(known: dict[str, Any]) -> None:
    """Forget the oldest of too many."""
    if len(known) > _MAX_ENDED:
        del known[next(iter(known))]


def _present(given: Mapping[str, str | int | float | None]) -> dict[str, str | int | float]:
    return {name: value for name, value in given.items() if value is not None}


def _cost_of(run: Run) -> float | None:
    """Return what a run has cost, or None where that is not known or cannot be added up."""
    if run.usage is None or not run.usage.is_finite() or run.usage < 0:
        return None
    cost = float(run.usage)
    return cost if math.isfinite(cost) else None


def _nanoseconds(seconds: float) -> int:
    """Return seconds since 1970, moved into the range that exporters can write; NaN is 0."""
    return round(min(max(0.0, seconds), _LAST_SECOND) * _NANOSECONDS)


def _times(run: Run) -> tuple[int, int]:
    """Return begin and end of an ended run in nanoseconds; the service's times may be missing or contradictory."""
    end = time.time_ns() if run.finished_at is None else _nanoseconds(run.finished_at.timestamp())
    if run.started_at is None:
        start = max(end - _nanoseconds(run.duration or 0.0), 0)
    else:
        start = _nanoseconds(run.started_at.timestamp())
    return min(start, end), end
