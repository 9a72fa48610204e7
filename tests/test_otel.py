"""Events as spans and metrics, read back from OpenTelemetry's in-memory exporter."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import anyio
import attrs
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from waiting import join, until

from coreclaw_async import (
    AsyncCoreClaw,
    AuthenticationError,
    NotFoundError,
    OutcomeUnknownError,
    Run,
    RunFailedError,
    RunSpec,
    events,
)
from coreclaw_async._concurrency.calls import Call, belonging_to
from coreclaw_async.batch import BatchOutcome
from coreclaw_async.otel import OpenTelemetryHook
from coreclaw_async.testing import FakeService, RunScript, faults

WORKER = "coreclaw/google-maps-scraper"
INPUT = {"keywords": ["coffee"]}
SENT: dict[str, Any] = {
    "operation": "listWorkerRunResults", "method": "GET", "path": "/api/v2/worker-runs/R/result", "attempt": 1,
    "status_code": 200, "elapsed": 0.1, "error": None,
}  # fmt: skip


@attrs.frozen
class Telemetry:
    exporter: InMemorySpanExporter
    reader: InMemoryMetricReader
    tracers: TracerProvider
    hook: OpenTelemetryHook

    def spans(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name == name]

    def tree(self) -> list[str]:
        """Return the way to each span that has none below it, from the topmost one."""
        finished = self.exporter.get_finished_spans()
        known = {span.context.span_id: span for span in finished}
        above = {span.parent.span_id for span in finished if span.parent}
        ways = list[str]()
        for span in finished:
            way, at = [span.name], span
            while at.parent is not None:
                at = known[at.parent.span_id]
                way.insert(0, at.name)
            if span.context.span_id not in above:
                ways.append(" > ".join(way))
        return ways

    def points(self, name: str) -> list[Any]:
        data: Any = self.reader.get_metrics_data()
        found = [
            metric
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
        ]
        return [point for metric in found for point in metric.data.data_points]

    def total(self, name: str, **labels: str) -> float:
        wanted = {f"coreclaw.{label}": value for label, value in labels.items()}
        return sum(float(point.value) for point in self.points(name) if wanted.items() <= point.attributes.items())


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers, meters = TracerProvider(), MeterProvider([reader])
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    yield Telemetry(exporter, reader, tracers, OpenTelemetryHook(tracer_provider=tracers, meter_provider=meters))
    tracers.shutdown()
    meters.shutdown()


def client_of(service: FakeService, telemetry: Telemetry, **options: Any) -> AsyncCoreClaw:
    return AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, on_event=telemetry.hook, **options)


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def test_requests_are_spans_below_that_of_their_caller(service: FakeService, telemetry: Telemetry) -> None:
    tracer = telemetry.tracers.get_tracer("test")
    async with client_of(service, telemetry) as client:

        async def call(name: str) -> None:
            with tracer.start_as_current_span(name):
                await client.account.get()

        async with anyio.create_task_group() as group:
            for name in ("one", "two", "three"):
                group.start_soon(call, name)

    requests = telemetry.spans("GET getAccount")
    assert len(requests) == 3
    assert sorted(telemetry.tree()) == [
        f"{name} > coreclaw.account.get > GET getAccount" for name in ("one", "three", "two")
    ]
    for span in requests:
        assert span.status.status_code is StatusCode.UNSET
        assert (span.start_time or 0) <= (span.end_time or 0)
        said = attributes_of(span)
        assert said["http.request.method"] == "GET"
        assert said["http.response.status_code"] == 200
        assert said["url.path"].startswith("/api/v2/")
        assert (said["server.address"], said["server.port"]) == ("openapi.coreclaw.com", 443)
        assert said["coreclaw.code"] == 0
        assert "http.request.resend_count" not in said
    (point,) = telemetry.points("coreclaw.request.duration")
    assert point.count == 3


async def test_a_retry_is_an_event_and_the_second_attempt_a_span(service: FakeService, telemetry: Telemetry) -> None:
    service.faults.add(faults.status(503), operation="getAccount")
    async with client_of(service, telemetry) as client:
        with telemetry.tracers.get_tracer("test").start_as_current_span("caller"):
            await client.account.get()

    first, second = telemetry.spans("GET getAccount")
    assert first.status.status_code is StatusCode.ERROR
    assert attributes_of(first)["error.type"] == "ServiceError"
    assert attributes_of(second)["http.request.resend_count"] == 1
    assert telemetry.tree() == ["caller > coreclaw.account.get > GET getAccount"] * 2
    (call,) = telemetry.spans("coreclaw.account.get")
    assert [event.name for event in call.events] == ["coreclaw.retry"]
    assert call.status.status_code is StatusCode.UNSET
    assert telemetry.total("coreclaw.retries", operation="getAccount") == 1


async def test_a_run_is_a_span_from_its_start_to_its_end(service: FakeService, telemetry: Telemetry) -> None:
    service.next_script = RunScript(rows=7, duration=120)
    async with client_of(service, telemetry) as client:
        with telemetry.tracers.get_tracer("test").start_as_current_span("caller"):
            run = await client.workers.run(WORKER, INPUT)
        await client.runs.wait(run)
        rows = await client.runs.iterate_results(run).collect()

    (span,) = telemetry.spans("coreclaw.run")
    assert span.status.status_code is StatusCode.UNSET
    assert ((span.end_time or 0) - (span.start_time or 0)) / 1e9 == 120
    assert attributes_of(span)["coreclaw.run_id"] == run.run_id
    assert attributes_of(span)["coreclaw.results"] == len(rows) == 7
    assert telemetry.total("coreclaw.runs.started") == 1
    assert telemetry.total("coreclaw.runs.ended", status="succeeded") == 1
    assert telemetry.total("coreclaw.rows.read") == 7
    assert telemetry.total("coreclaw.poll.requests", kind="details") > 5
    (call,) = telemetry.spans("coreclaw.workers.run")
    assert [event.name for event in call.events] == ["coreclaw.run.started"]
    tree = telemetry.tree()
    assert set(tree) == {
        "caller > coreclaw.workers.run > coreclaw.run",
        "caller > coreclaw.workers.run > POST runWorker",
        "caller > coreclaw.workers.run > GET getWorkerRun",
        "coreclaw.runs.wait > GET getWorkerRun",
        "coreclaw.runs.iterate_results > GET listWorkerRunResults",
    }
    assert tree.count("caller > coreclaw.workers.run > GET getWorkerRun") > 5


async def test_pages_are_below_the_iterator_that_reads_them(service: FakeService, telemetry: Telemetry) -> None:
    async with client_of(service, telemetry) as client:
        for _ in range(7):
            await client.workers.start_run(WORKER, INPUT)
        pager = client.runs.iterate(page_size=3)
        await pager.first()
        assert telemetry.spans("coreclaw.runs.iterate") == []
        await pager.collect()
        left = client.runs.iterate(page_size=3)
        await left.first()
        del left

    assert len(telemetry.spans("coreclaw.runs.iterate")) == 2
    pages = telemetry.tree().count("coreclaw.runs.iterate > GET listWorkerRuns")
    assert pages == len(telemetry.spans("GET listWorkerRuns")) > 3


async def test_a_call_that_fails_is_an_error(service: FakeService, telemetry: Telemetry) -> None:
    async with client_of(service, telemetry) as client:
        with pytest.raises(NotFoundError):
            await client.runs.get("another")

    (call,) = telemetry.spans("coreclaw.runs.get")
    assert call.status.status_code is StatusCode.ERROR
    assert attributes_of(call)["error.type"] == "NotFoundError"


async def test_costs_are_summed_once_for_each_run(service: FakeService, telemetry: Telemetry) -> None:
    service.default_script = RunScript(rows=1, duration=60, usage="0.125")
    async with client_of(service, telemetry) as client:
        runs = [(await client.workers.start_run(WORKER, INPUT)).run_id for _ in range(2)]
        async with anyio.create_task_group() as group:
            for run_id in runs * 3:
                group.start_soon(client.runs.wait, run_id)
        await client.runs.wait(runs[0])

    assert telemetry.total("coreclaw.runs.cost", status="succeeded") == 0.25
    assert telemetry.total("coreclaw.runs.ended") == 2


@pytest.mark.parametrize(
    "usage", [None, Decimal("NaN"), Decimal("sNaN"), Decimal(-1), Decimal("Infinity"), Decimal("1E400")]
)
def test_a_cost_that_is_none_is_not_counted(telemetry: Telemetry, usage: Decimal | None) -> None:
    telemetry.hook(events.RunChanged(run=Run(run_id="run", status="succeeded", usage=usage)))

    assert telemetry.points("coreclaw.runs.cost") == []
    assert telemetry.total("coreclaw.runs.ended") == 1
    (span,) = telemetry.spans("coreclaw.run")
    assert "coreclaw.cost" not in attributes_of(span)


def test_a_cost_that_is_told_after_the_end_is_counted(telemetry: Telemetry) -> None:
    for usage in (None, Decimal("0.5"), Decimal("0.5")):
        telemetry.hook(events.RunChanged(run=Run(run_id="run", status="failed", usage=usage)))

    assert telemetry.total("coreclaw.runs.cost", status="failed") == 0.5
    assert telemetry.total("coreclaw.runs.ended") == 1


async def test_a_failed_run_is_an_error(service: FakeService, telemetry: Telemetry) -> None:
    service.next_script = RunScript(outcome="failed")
    async with client_of(service, telemetry) as client:
        with pytest.raises(RunFailedError):
            await client.workers.run(WORKER, INPUT)

    (span,) = telemetry.spans("coreclaw.run")
    assert span.status.status_code is StatusCode.ERROR
    assert telemetry.total("coreclaw.runs.ended", status="failed") == 1


async def test_an_unknown_start_is_counted_with_its_candidates(service: FakeService, telemetry: Telemetry) -> None:
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    async with client_of(service, telemetry) as client:
        with telemetry.tracers.get_tracer("test").start_as_current_span("caller"), pytest.raises(OutcomeUnknownError):
            await client.workers.start_run(WORKER, INPUT)

    assert telemetry.total("coreclaw.starts.unknown", operation="runWorker") == 1
    (caller,) = telemetry.spans("coreclaw.workers.start_run")
    (noted,) = [event for event in caller.events if event.name == "coreclaw.start.unknown"]
    assert list((noted.attributes or {})["coreclaw.candidates"]) == list(service.runs)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("candidates", "run_id", "told"),
    [
        (None, None, {}),  # Nobody could look, which is not the same as that none was found.
        ((), None, {"coreclaw.candidates": ()}),
        (("a", "b"), None, {"coreclaw.candidates": ("a", "b")}),
        (None, "run", {"coreclaw.run_id": "run"}),
    ],
)
def test_an_unknown_start_tells_the_run_that_is_known_and_candidates_only_when_they_were_looked_for(
    telemetry: Telemetry, candidates: tuple[str, ...] | None, run_id: str | None, told: dict[str, Any]
) -> None:
    with telemetry.tracers.get_tracer("test").start_as_current_span("caller"):
        telemetry.hook(events.StartUnknown(operation="runWorker", candidates=candidates, run_id=run_id))

    (caller,) = telemetry.spans("caller")
    (noted,) = caller.events
    assert dict(noted.attributes or {}) == {"coreclaw.operation": "runWorker"} | told


@pytest.mark.parametrize(
    ("started", "duration", "counted"), [(None, None, 0), (None, 20.0, 1), (100, None, 1), (None, 0.0, 1)]
)
def test_a_run_whose_duration_is_unknown_is_not_measured_as_one_of_no_time(
    telemetry: Telemetry, started: int | None, duration: float | None, counted: int
) -> None:
    began = None if started is None else dt.datetime.fromtimestamp(started, dt.UTC)

    telemetry.hook(events.RunChanged(run=Run(run_id="run", status="failed", started_at=began, duration=duration)))

    assert sum(point.count for point in telemetry.points("coreclaw.run.duration")) == counted
    assert telemetry.total("coreclaw.runs.ended") == 1


def test_an_unknown_start_that_is_settled_later_is_counted(telemetry: Telemetry) -> None:
    telemetry.hook(events.StartReconciled(run_id="run"))

    assert telemetry.total("coreclaw.starts.reconciled") == 1


@pytest.mark.parametrize(
    ("started", "finished", "duration", "seconds"),
    [(100, 160, None, 60), (None, 160, 20.0, 20), (160, 100, None, 0), (None, None, 30.0, 30), (None, None, None, 0)],
)
def test_odd_times_of_a_run_break_nothing(
    telemetry: Telemetry, started: int | None, finished: int | None, duration: float | None, seconds: float
) -> None:
    moments = [None if unix is None else dt.datetime.fromtimestamp(unix, dt.UTC) for unix in (started, finished)]
    run = Run(run_id="run", status="SUCCEEDED", started_at=moments[0], finished_at=moments[1], duration=duration)

    telemetry.hook(events.RunChanged(run=run))

    (span,) = telemetry.spans("coreclaw.run")
    assert ((span.end_time or 0) - (span.start_time or 0)) / 1e9 == seconds


FAR = dt.datetime(9999, 12, 31, tzinfo=dt.UTC)
LONG_AGO = dt.datetime(1, 1, 1, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("started", "finished", "duration"),
    [
        (None, None, 1e12),  # Seconds, as a service may say that counts something else.
        (None, None, 1e300),
        (None, None, float("inf")),
        (None, None, float("nan")),
        (None, None, -5.0),
        (LONG_AGO, None, None),
        (LONG_AGO, LONG_AGO, None),
        (None, FAR, 5.0),
        (FAR, FAR, None),
    ],
)
def test_times_that_no_exporter_can_write_are_moved_to_those_that_it_can(
    telemetry: Telemetry, started: dt.datetime | None, finished: dt.datetime | None, duration: float | None
) -> None:
    run = Run(run_id="run", status="succeeded", started_at=started, finished_at=finished, duration=duration)

    telemetry.hook(events.RunChanged(run=run))

    (span,) = telemetry.spans("coreclaw.run")
    # The protocol has unsigned integers of 64 bits for them, and an exporter that fails loses all that it was to send.
    assert span.start_time is not None
    assert span.end_time is not None
    assert 0 <= span.start_time <= span.end_time < 2**64
    assert telemetry.total("coreclaw.runs.ended") == 1


class SeenTwice(str):
    """The id of a run that another thread tells of while it is remembered."""

    __slots__ = ("looks", "tell")
    tell: Callable[[], None]
    looks: int

    def __hash__(self) -> int:
        self.looks += 1
        if self.looks == 2:
            self.tell()
        return super().__hash__()


def test_a_hook_of_clients_in_several_threads_counts_a_run_once(telemetry: Telemetry) -> None:
    def tell() -> None:
        other.start()
        other.join(0.05)

    def end(run_id: str) -> None:
        telemetry.hook(events.RunChanged(run=Run(run_id=run_id, status="succeeded", usage=Decimal(1))))

    other = threading.Thread(target=end, args=("run",))
    run_id = SeenTwice("run")
    run_id.looks, run_id.tell = 0, tell

    end(run_id)
    join(other)

    assert telemetry.total("coreclaw.runs.cost") == 1
    assert telemetry.total("coreclaw.runs.ended") == 1


def test_ended_runs_are_remembered_only_so_far(telemetry: Telemetry) -> None:
    for number in range(10_001):
        telemetry.hook(events.RunChanged(run=Run(run_id=f"run-{number}", status="succeeded")))
    telemetry.hook(events.RunChanged(run=Run(run_id="run-10000", status="succeeded")))
    telemetry.hook(events.RunChanged(run=Run(run_id="run-0", status="succeeded")))

    assert telemetry.total("coreclaw.runs.ended") == 10_002


def test_pages_of_other_lists_are_no_rows(telemetry: Telemetry) -> None:
    telemetry.hook(events.PageRead(operation="listWorkerRuns", offset=0, items=100))

    assert telemetry.points("coreclaw.rows.read") == []


async def test_items_of_batches_are_counted_by_state(service: FakeService, telemetry: Telemetry) -> None:
    async with (
        client_of(service, telemetry) as client,
        client.batch("nightly", ledger="memory") as batch,
    ):
        await batch.plan(RunSpec(key=key, worker_id=WORKER, input=INPUT) for key in ("a", "b"))
        async for _ in batch.run():
            pass

    points = telemetry.points("coreclaw.batch.items")
    assert {point.attributes["coreclaw.state"]: point.value for point in points} == {
        "intent": 2,
        "submitted": 2,
        "done": 2,
    }


def test_columns_of_a_file_that_became_strings_are_an_event_of_the_span_around_them(telemetry: Telemetry) -> None:
    changed = events.BatchColumnsChanged(
        batch="b", key="k", run_id="R", path=Path("part-R.parquet"), columns={"n": "integer, then text"}
    )
    with telemetry.tracers.get_tracer("mine").start_as_current_span("mine"):
        telemetry.hook(changed)

    (span,) = telemetry.spans("mine")
    assert [(event.name, dict(event.attributes or {})) for event in span.events] == [
        ("coreclaw.batch.columns", {"coreclaw.run_id": "R", "coreclaw.columns": ("n",)})
    ]


async def test_an_item_of_a_batch_is_a_span_with_its_start_its_run_and_its_rows(
    service: FakeService, telemetry: Telemetry, tmp_path: Path
) -> None:
    async with client_of(service, telemetry) as client, client.batch("nightly", ledger="memory") as batch:
        await batch.plan([RunSpec(key="a", worker_id=WORKER, input=INPUT)])
        with telemetry.tracers.get_tracer("test").start_as_current_span("caller"):
            (outcome,) = [outcome async for outcome in batch.run(output=tmp_path)]

    (item,) = telemetry.spans("coreclaw.batch.item")
    assert attributes_of(item) == {
        "coreclaw.batch": "nightly",
        "coreclaw.key": "a",
        "coreclaw.attempt": 1,
        "coreclaw.state": "done",
        "coreclaw.run_id": outcome.run_id,
    }
    assert item.status.status_code is StatusCode.UNSET
    tree = telemetry.tree()
    below = {line.rpartition(" > ")[2] for line in tree if "coreclaw.batch.item > " in line}
    assert below == {"POST runWorker", "coreclaw.run", "GET listWorkerRunResults"}
    assert all(line.startswith("caller > coreclaw.batch.run > ") for line in tree)


async def test_a_lost_start_of_an_item_and_the_run_that_is_found_for_it_are_below_the_item(
    service: FakeService, telemetry: Telemetry
) -> None:
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    async with (
        client_of(service, telemetry) as client,
        client.batch("nightly", ledger="memory", exclusive=True) as batch,
    ):
        await batch.plan([RunSpec(key=key, worker_id=WORKER, input=INPUT) for key in "ab"])
        assert [outcome.state async for outcome in batch.run()] == ["done", "done"]

    items = {attributes_of(span)["coreclaw.key"]: span for span in telemetry.spans("coreclaw.batch.item")}
    (call,) = telemetry.spans("coreclaw.batch.run")
    notes = ["coreclaw.start.unknown", "coreclaw.start.reconciled", "coreclaw.run.started"]
    assert [event.name for event in items["a"].events] == notes[:2]
    assert [event.name for event in items["b"].events] == notes[2:]
    assert [event.name for event in call.events if event.name in notes] == []
    runs = {attributes_of(span)["coreclaw.run_id"]: span for span in telemetry.spans("coreclaw.run")}
    for item in items.values():
        parent = runs[attributes_of(item)["coreclaw.run_id"]].parent
        assert parent is not None
        assert parent.span_id == item.context.span_id


async def test_batches_of_one_name_at_the_same_time_keep_their_items(telemetry: Telemetry) -> None:
    tracer = telemetry.tracers.get_tracer("test")

    async def work(tenant: str, duration: float) -> None:
        service = FakeService()
        service.default_script = RunScript(duration=duration)
        async with client_of(service, telemetry) as client, client.batch("nightly", ledger="memory") as batch:
            await batch.plan([RunSpec(key=key, worker_id=WORKER, input=INPUT) for key in "ab"])
            with tracer.start_as_current_span(tenant):
                async for _ in batch.run():
                    pass

    async with anyio.create_task_group() as group:
        group.start_soon(work, "one", 60.0)
        group.start_soon(work, "two", 90.0)

    starts = [line for line in telemetry.tree() if line.endswith("POST runWorker")]
    way = "coreclaw.batch.run > coreclaw.batch.item > POST runWorker"
    assert sorted(starts) == [f"one > {way}"] * 2 + [f"two > {way}"] * 2
    assert {attributes_of(span)["coreclaw.state"] for span in telemetry.spans("coreclaw.batch.item")} == {"done"}
    assert len(telemetry.spans("coreclaw.batch.item")) == 4


def changed_item(state: str) -> events.BatchItemChanged:
    return events.BatchItemChanged(batch="b", key="k", state=state, previous="x", attempt=1)


def test_an_item_that_another_call_decides_about_ends_and_one_of_a_batch_of_the_same_name_does_not(
    telemetry: Telemetry,
) -> None:
    first, second, resolving = (
        Call(name, telemetry.hook, float) for name in ("batch.run", "batch.run", "batch.cancel")
    )
    with first:
        telemetry.hook(changed_item("intent"))
    with second:
        telemetry.hook(changed_item("done"))
    assert telemetry.spans("coreclaw.batch.item") == [], "it is of another batch, and was begun in another process"
    with second:
        telemetry.hook(changed_item("intent"))
    with resolving:
        telemetry.hook(changed_item("cancelled"))
    assert telemetry.spans("coreclaw.batch.item") == [], "it may be either"
    second.end()
    with resolving:
        telemetry.hook(changed_item("cancelled"))
    first.end()

    states = [attributes_of(span).get("coreclaw.state") for span in telemetry.spans("coreclaw.batch.item")]
    assert states == ["intent", "cancelled"]


async def test_an_item_whose_run_fails_is_an_error(service: FakeService, telemetry: Telemetry) -> None:
    service.default_script = RunScript(outcome="failed")
    async with client_of(service, telemetry) as client, client.batch("nightly", ledger="memory") as batch:
        await batch.plan([RunSpec(key="a", worker_id=WORKER, input=INPUT, retries=1)])
        assert [outcome.state async for outcome in batch.run()] == ["failed"]

    first, second = telemetry.spans("coreclaw.batch.item")
    assert [attributes_of(span)["coreclaw.state"] for span in (first, second)] == ["planned", "failed"]
    assert first.status.status_code is StatusCode.UNSET
    assert second.status.status_code is StatusCode.ERROR


async def test_an_item_that_is_left_by_its_batch_ends_with_it(service: FakeService, telemetry: Telemetry) -> None:
    service.default_script = RunScript(duration=1e6)
    scope = anyio.CancelScope()

    def note(event: events.Event) -> None:
        telemetry.hook(event)
        if isinstance(event, events.BatchItemChanged) and event.state == "submitted":
            scope.cancel()

    client = AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, on_event=note)
    async with client, client.batch("nightly", ledger="memory") as batch:
        await batch.plan([RunSpec(key="a", worker_id=WORKER, input=INPUT)])
        with scope:
            await anext(batch.run())

    (item,) = telemetry.spans("coreclaw.batch.item")
    (call,) = telemetry.spans("coreclaw.batch.run")
    assert attributes_of(item)["coreclaw.state"] == "submitted"
    assert item.parent is not None
    assert item.parent.span_id == call.context.span_id


async def test_a_cost_that_a_batch_reads_after_the_end_is_counted(service: FakeService, telemetry: Telemetry) -> None:
    service.default_script = RunScript(duration=30, usage="0.5")
    ends = 0

    def without_cost_at_first(envelope: dict[str, Any]) -> dict[str, Any]:
        nonlocal ends
        if envelope["data"]["status"] == "succeeded":
            ends += 1
        if ends < 2:
            envelope["data"].pop("usage", None)
        return envelope

    service.faults.add(faults.edit(without_cost_at_first), operation="getWorkerRun", times=100)
    async with client_of(service, telemetry) as client, client.batch("nightly", ledger="memory") as batch:
        await batch.plan([RunSpec(key="a", worker_id=WORKER, input=INPUT)])
        assert [outcome.state async for outcome in batch.run()] == ["done"]

    assert telemetry.total("coreclaw.runs.cost") == 0.5
    assert telemetry.total("coreclaw.runs.ended") == 1


async def test_a_cost_that_a_later_call_of_a_batch_reads_is_counted(service: FakeService, telemetry: Telemetry) -> None:
    service.default_script = RunScript(duration=30, usage="0.5")
    is_known = False

    def without_cost(envelope: dict[str, Any]) -> dict[str, Any]:
        if not is_known:
            envelope["data"].pop("usage", None)
        return envelope

    service.faults.add(faults.edit(without_cost), operation="getWorkerRun", times=100)
    async with (
        client_of(service, telemetry) as client,
        client.batch("nightly", ledger="memory", max_spend=Decimal(9)) as batch,
    ):
        await batch.plan([RunSpec(key="a", worker_id=WORKER, input=INPUT)])
        assert [outcome.state async for outcome in batch.run()] == ["done"]
        assert telemetry.total("coreclaw.runs.cost") == 0.0
        is_known = True
        await batch.plan([RunSpec(key="b", worker_id=WORKER, input=INPUT)])
        assert [outcome.state async for outcome in batch.run()] == ["done"]

    assert telemetry.total("coreclaw.runs.cost") == 1.0
    assert telemetry.total("coreclaw.runs.ended") == 2


async def test_what_else_a_batch_sends_is_below_a_span_of_its_own(
    service: FakeService, telemetry: Telemetry, tmp_path: Path
) -> None:
    service.default_script = RunScript(rows=1, duration=1e6)
    outcomes: list[BatchOutcome] = []
    async with client_of(service, telemetry) as client, client.batch("nightly", ledger="memory") as batch:
        await batch.plan(RunSpec(key=key, worker_id=WORKER, input=INPUT) for key in "ab")
        async with anyio.create_task_group() as group:

            async def abort() -> None:
                await until(lambda: len(service.runs) >= 2, "both starts")
                await batch.cancel(abort=True)

            group.start_soon(abort)
            outcomes.extend([outcome async for outcome in batch.run()])
        await batch.rows(state=None).collect()
        await batch.to_jsonl(tmp_path / "rows")
        await batch.resolve(outcomes[0].key, adopt=outcomes[0].run_id)

    tree = telemetry.tree()
    assert "coreclaw.batch.cancel > POST abortWorkerRun" in tree
    assert "coreclaw.batch.resolve > GET getWorkerRun" in tree
    assert "coreclaw.batch.rows > GET listWorkerRunResults" in tree
    assert all(line.startswith("coreclaw.") for line in tree)


def test_an_item_that_another_process_has_started_has_no_span_here(telemetry: Telemetry) -> None:
    for state, before in (("submitted", "intent"), ("done", "submitted")):
        telemetry.hook(events.BatchItemChanged(batch="b", key="k", state=state, previous=before, attempt=1))
    telemetry.hook(events.CallEnded(call=0, name="batch.run", elapsed=1.0))

    assert telemetry.exporter.get_finished_spans() == ()


def test_what_an_item_of_another_process_does_here_is_below_the_call_that_goes_on_with_it(telemetry: Telemetry) -> None:
    call = Call("batch.run", telemetry.hook, float)
    with call, belonging_to(("b", "k")):
        telemetry.hook(events.RequestSent(**SENT))
    call.end()

    assert telemetry.tree() == ["coreclaw.batch.run > GET listWorkerRunResults"]


def test_the_span_of_an_iterator_that_was_left_ends_when_it_was_left(telemetry: Telemetry) -> None:
    telemetry.hook(events.CallStarted(call=1, name="runs.iterate"))
    telemetry.hook(events.CallEnded(call=1, name="runs.iterate", elapsed=3600.0))
    (span,) = telemetry.spans("coreclaw.runs.iterate")

    assert span.end_time is not None
    assert span.start_time is not None
    assert span.end_time - span.start_time == 3600 * 10**9


def test_every_event_has_somebody_to_take_it(telemetry: Telemetry) -> None:
    assert set(telemetry.hook._takers) == set(get_args(events.Event))


async def test_the_key_is_in_nothing_that_is_exported(service: FakeService, telemetry: Telemetry) -> None:
    async with client_of(service, telemetry, auth="query") as client:
        await client.workers.run(WORKER, INPUT)
        wrong = client.with_options(api_key="another-secret-key")
        with pytest.raises(AuthenticationError):
            await wrong.account.get()

    exported = " ".join(span.to_json() for span in telemetry.exporter.get_finished_spans())
    data: Any = telemetry.reader.get_metrics_data()
    exported += data.to_json()
    assert "getAccount" in exported
    assert service.api_key not in exported
    assert "another-secret-key" not in exported


def test_without_the_extra_the_import_says_which_one_is_missing() -> None:
    code = "import sys; sys.modules['opentelemetry'] = None\nimport coreclaw_async.otel"

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert 'pip install "coreclaw-async[otel]"' in ended.stderr
