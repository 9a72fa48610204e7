"""
Uses of the public API, read by type checkers and never run: each type is the one that a caller relies on.

A line with an ignore is a mistake that both checkers must report: an ignore that is not needed is an error itself.
"""

from __future__ import annotations

import datetime as dt
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, assert_type

import httpx

import coreclaw_async
import coreclaw_async.testing
from coreclaw_async import (
    AbortedRun,
    Account,
    Assessment,
    AsyncBatch,
    AsyncCoreClaw,
    AsyncPager,
    AsyncRuns,
    AsyncStream,
    AuthMode,
    BackendChoice,
    Batch,
    BatchItem,
    BatchItemRun,
    BatchItemState,
    BatchOutcome,
    CallbackHub,
    CallbackUpdate,
    Clock,
    CoreClaw,
    CoreClawError,
    CreatedTask,
    ErrorRow,
    Export,
    ExportFormat,
    InputCheck,
    InputIssue,
    InputProperty,
    InputSchema,
    IssueSeverity,
    LastRun,
    LogEntry,
    LogLevel,
    OffsetDialect,
    OutcomeUnknownError,
    Page,
    Pager,
    PaginationError,
    PollSchedule,
    Progress,
    ProxyRegion,
    QueueAction,
    QueuedRun,
    QueueItem,
    RateLimitedError,
    Reply,
    RequestSafety,
    ResultHeader,
    ResultPage,
    RetryPolicy,
    Row,
    Run,
    RunAbortedError,
    RunFailedError,
    RunHook,
    RunLog,
    RunOutcome,
    RunRef,
    RunSpec,
    RunStatus,
    ScheduleType,
    SettleTimes,
    ShardReport,
    ShardSpec,
    StartedRun,
    Stream,
    SyncRuns,
    Task,
    TaskInput,
    Verdict,
    WaitTimeoutError,
    Worker,
    WorkerSummary,
    errors,
    events,
    run_shard,
)
from coreclaw_async.testing import FakeClock, FakeRun, FakeService


def show(progress: Progress) -> None:
    assert_type(progress.total, int | None)
    assert_type(progress.elapsed, float)
    assert_type(progress.text, str)


async def start_wait_and_read(client: AsyncCoreClaw) -> None:
    started = await client.workers.start_run("owner/name", {"keywords": ["coffee"]}, system={"proxy_region": "US"})
    assert_type(started, StartedRun)
    assert_type(started.run_id, str)
    assert_type(started.request_id, str | None)
    assert_type(started.results, ResultPage | None)
    safety: RequestSafety = "once"
    reply = await client.request("POST", "/api/v2/x", body={"a": [1]}, safety=safety)
    assert_type(reply, Reply)
    assert_type((reply.status_code, reply.request_id, reply.attempts), tuple[int, str | None, int])
    assert_type(reply.headers, Mapping[str, str])
    assert_type(reply.elapsed, float)
    run = await client.runs.wait(started, timeout=900, check=False, on_cancel="abort")
    assert_type(run, Run)
    assert_type(run.status, RunStatus | str | None)
    assert_type(run.usage, Decimal | None)
    assert_type(run.started_at, dt.datetime | None)
    assert_type(run.duration, float | None)
    assert_type(run.outcome, RunOutcome)
    assert_type(run.is_finished, bool)
    assert_type(await client.workers.run("owner/name", {}, progress=True), Run)
    assert_type(await client.workers.run_once("key", "owner/name", {}, ledger=Path("runs.db"), progress=show), Run)
    await client.workers.run_once("key", "owner/name")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await client.runs.wait("R", progress=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(client.runs.wait_many([started, run, "run", LastRun()], timeout=60, check=True), AsyncStream[Run])
    assert_type(client.runs.watch(started), AsyncStream[Run])
    assert_type([entry async for entry in client.runs.follow_log(run)], list[LogEntry])
    client.runs.wait_many(run)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    rows = client.runs.iterate_results(run, page_size=100, prefetch=3)
    assert_type(rows, AsyncPager[Row])
    async for row in rows:
        assert_type(row, Mapping[str, Any])
    assert_type(
        await rows.to_parquet("rows.parquet", on_conflict="raise", nested="json", labels=True, progress=True), Path
    )
    assert_type(await rows.to_jsonl(Path("rows.jsonl")), Path)
    await rows.to_pandas(dtype_backend="numpy")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    async with AsyncCoreClaw() as same:
        assert_type(same, AsyncCoreClaw)


async def read_pages(client: AsyncCoreClaw, runs: AsyncPager[Run]) -> None:
    assert_type(runs.pages(), AsyncIterator[Page[Run]])
    assert_type(await runs.next_page(), Page[Run] | None)
    assert_type(await runs.collect(10), list[Run])
    assert_type(await runs.first(), Run | None)
    assert_type(await anext(runs), Run)
    page = await client.runs.list_page(status=RunStatus.RUNNING)
    assert_type(page, Page[Run])
    assert_type(page.items, Sequence[Run])
    assert_type(page.count, int | None)
    results = await client.runs.list_results_page("R", limit=5)
    assert_type(results, ResultPage)
    assert_type(results.items, Sequence[Row])
    assert_type(results.headers, Sequence[ResultHeader])


def block(client: CoreClaw, run: Run, started: StartedRun) -> None:
    assert_type(
        client.workers.start_run("owner/name", {"keywords": ["coffee"]}, system={"proxy_region": "US"}), StartedRun
    )
    assert_type(client.workers.run("owner/name", {}, progress=show), Run)
    assert_type(client.workers.run_once("key", "owner/name", {}, wait=False), Run)
    assert_type(client.runs.wait(started, timeout=900, check=False, on_cancel="abort"), Run)
    assert_type(client.runs.wait_many([started, run, "run", LastRun()], timeout=60, check=True), Stream[Run])
    assert_type(client.runs.watch(started), Stream[Run])
    assert_type(list(client.runs.follow_log(run)), list[LogEntry])
    rows = client.runs.iterate_results(run, page_size=100, prefetch=3)
    assert_type(rows, Pager[Row])
    for row in rows:
        assert_type(row, Mapping[str, Any])
    assert_type(rows.to_parquet("rows.parquet", on_conflict="raise", nested="json", labels=True, progress=True), Path)
    assert_type(rows.to_csv(Path("rows.csv"), labels=True), Path)
    rows.to_polars(nested="list")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    runs = client.runs.iterate()
    assert_type(runs.pages(), Iterator[Page[Run]])
    assert_type(runs.next_page(), Page[Run] | None)
    assert_type(runs.collect(10), list[Run])
    assert_type(runs.first(), Run | None)
    assert_type(next(runs), Run)
    assert_type(client.runs.list_page(status=RunStatus.RUNNING), Page[Run])
    assert_type(client.runs.list_results_page("R", limit=5), ResultPage)
    assert_type(client.runs.get(LastRun("owner/name")), Run)
    aborted = client.runs.abort(LastRun())
    assert_type(aborted, AbortedRun)
    assert_type(aborted.run_id, str | None)
    assert_type(aborted.results, ResultPage | None)
    assert_type(client.runs.rerun(run, is_async=False, offset=0, limit=5), StartedRun)
    assert_type(client.runs.find_started(worker_id="w", since=dt.datetime.now(dt.UTC)), list[Run])
    assert_type(client.runs.export(run, format="jsonl", fields=["title"]), Export)
    assert_type(client.runs.download(run, "rows.csv"), Path)
    assert_type(client.runs.get_log(run), RunLog)
    assert_type(client.runs.assess(run, max_rows=10), Assessment)


def block_in_the_other_groups(client: CoreClaw) -> None:
    assert_type(client.account.get(), Account)
    assert_type(client.proxies.list_regions(), tuple[ProxyRegion, ...])
    assert_type(client.store.iterate(keyword="maps"), Pager[WorkerSummary])
    assert_type(client.workers.get("w"), Worker)
    assert_type(client.workers.get_input_schema("w"), InputSchema)
    assert_type(client.workers.check_input("w", {"keywords": ["a"]}, version=None), InputCheck)
    assert_type(client.workers.input_type("w"), str)
    assert_type(client.workers.queue_run("w", {}), QueuedRun)
    assert_type(client.tasks.create(worker_id="w", title="t", input={}), CreatedTask)
    assert_type(client.tasks.get_input("t"), TaskInput)
    assert_type(client.tasks.get("t"), Task)
    assert_type(client.tasks.start_run("t"), StartedRun)
    assert_type(client.run_queue.iterate(), Pager[QueueItem])
    assert_type(client.run_queue.release(["1", "2"]), tuple[QueueAction, ...])
    assert_type(client.with_options(timeout=5), CoreClaw)
    assert_type(client.request("GET", "/api/v2/workers", query={"limit": 5, "keyword": None}), Reply)
    assert_type(CoreClaw(proxy="http://127.0.0.1:8080", verify="ca.pem", headers={"x-team": "a"}), CoreClaw)
    assert_type(client.connections_in_use, int)
    with CoreClaw("key", auth="api-key", timeout=30, on_event=tell) as same:
        assert_type(same, CoreClaw)
    assert_type(client.close(), None)


def make_blocking_mistakes(client: CoreClaw, run: Run) -> None:
    CoreClaw(auth="Bearer")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.runs.iterate("w")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.runs.wait(run, on_cancel="kill")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.workers.start_run("w", ["coffee"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.runs.get(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def name_runs(client: AsyncCoreClaw, run: Run, started: StartedRun) -> None:
    references: list[RunRef] = ["R", run, started, LastRun(), LastRun("owner/name"), LastRun(worker_id="w")]
    for reference in references:
        assert_type(await client.runs.get(reference), Run)
    assert_type(await client.runs.abort(LastRun()), AbortedRun)
    assert_type(await client.runs.rerun(run, is_async=False, offset=0, limit=5), StartedRun)
    assert_type(await client.runs.find_started(worker_id="w", since=dt.datetime.now(dt.UTC)), list[Run])
    assert_type(await client.runs.export(run, format="jsonl", fields=["title"]), Export)
    assert_type(await client.runs.download(run, "rows.csv"), Path)
    assessment = await client.runs.assess(LastRun())
    assert_type(assessment.verdict, Verdict)
    assert_type(assessment.ok, bool)
    assert_type(assessment.error_rows, Sequence[ErrorRow])
    log = await client.runs.get_log(run)
    assert_type(log, RunLog)
    assert_type(log.entries[0].level, LogLevel | str | None)


async def use_the_other_groups(client: AsyncCoreClaw) -> None:
    assert_type(await client.account.get(), Account)
    assert_type(await client.proxies.list_regions(), tuple[ProxyRegion, ...])
    assert_type(client.store.iterate(keyword="maps"), AsyncPager[WorkerSummary])
    assert_type(await client.workers.get("w"), Worker)
    schema = await client.workers.get_input_schema("w")
    assert_type(schema, InputSchema)
    assert_type(schema.properties, Sequence[InputProperty])
    check = await client.workers.check_input("w", {"keywords": ["a"]})
    assert_type(check.ok, bool)
    assert_type(check.task_count, int | None)
    assert_type(check.issues, Sequence[InputIssue])
    assert_type(check.issues[0].severity, IssueSeverity)
    assert_type(await client.workers.input_type("w"), str)
    assert_type(await client.workers.queue_run("w", {}), QueuedRun)
    assert_type(await client.tasks.create(worker_id="w", title="t", input={}), CreatedTask)
    assert_type(await client.tasks.get_input("t"), TaskInput)
    task = await client.tasks.get("t")
    assert_type(task, Task)
    assert_type(task.schedule_type, ScheduleType | int | None)
    assert_type(await client.tasks.start_run("t"), StartedRun)
    assert_type(client.run_queue.iterate(), AsyncPager[QueueItem])
    assert_type(await client.run_queue.release(["1", "2"]), tuple[QueueAction, ...])


def set_up(clock: Clock) -> AsyncCoreClaw:
    client = AsyncCoreClaw(
        "key",
        callbacks=CallbackHub("http://127.0.0.1:8000", secret="x" * 32, on_update=hear),
        auth="api-key",
        timeout=30,
        retry=RetryPolicy(max_attempts=2, jitter=lambda ceiling: ceiling),
        offset_dialect="page",
        on_event=tell,
        clock=clock,
    )
    schedule = PollSchedule(delays=[1.0, 5.0])
    assert_type(schedule.delays, tuple[float, ...])
    schedule.jitter = 0.0  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    PollSchedule((1.0, 5.0))  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    RetryPolicy(attempts=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    assert_type(client.with_options(timeout=5, poll_schedule=schedule), AsyncCoreClaw)
    assert_type(client.with_options(headers={"x-team": "a"}), AsyncCoreClaw)
    AsyncCoreClaw(verify=ssl.create_default_context(), user_agent_suffix="me/1")
    AsyncCoreClaw(verify=Path("ca.pem"), proxy=None)
    AsyncCoreClaw(http_client=httpx.AsyncClient())
    AsyncCoreClaw(http_client=httpx.Client())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    AsyncCoreClaw(headers={"x-team": 1})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
    assert_type(client.connections_in_use, int)
    return client


def hear(update: CallbackUpdate) -> None:
    assert_type(update.run_id, str)
    assert_type(update.status, RunStatus | str | None)


async def hear_later(update: CallbackUpdate) -> None:
    raise NotImplementedError


def tell(event: events.Event) -> None:
    if isinstance(event, events.RequestSent):
        assert_type(event.status_code, int | None)
    elif isinstance(event, events.RunChanged):
        assert_type(event.run, Run)


def handle(error: CoreClawError) -> None:
    assert_type(error.may_have_taken_effect, bool)
    assert_type(error.candidates, tuple[str, ...] | None)
    assert_type(error.retry_after, float | None)
    assert_type(error.run_id, str | None)
    if isinstance(error, RunFailedError):
        assert_type(error.run, Run | None)
        assert_type(error.log, tuple[str, ...])
    elif isinstance(error, RunAbortedError):
        assert_type(error.confirmed, bool)
    elif isinstance(error, PaginationError):
        assert_type(error.expected, int | None)
    late: TimeoutError = WaitTimeoutError("late", run_id="R")
    wrong: ValueError = errors.ConfigurationError("no key")
    api: errors.ApiError = RateLimitedError("slow down", retry_after=1.0)
    lost: errors.NoReplyError = OutcomeUnknownError("lost", candidates=["R"])
    del late, wrong, api, lost


async def test_own_program(coreclaw_service: FakeService, coreclaw_client: AsyncCoreClaw) -> None:
    client = AsyncCoreClaw(coreclaw_service.api_key, transport=coreclaw_service, clock=coreclaw_service.clock)
    await client.aclose()
    assert_type(coreclaw_service.api_key, str)
    assert_type(coreclaw_service.runs_created, int)
    assert_type(coreclaw_service.runs["R"], FakeRun)
    assert_type((await coreclaw_client.account.get()).balance, Decimal | None)
    own_clock: Clock = FakeClock()
    del own_clock


async def run_a_batch(client: AsyncCoreClaw) -> None:
    async with client.batch("b", ledger="memory", settle_times=SettleTimes(list_lag=5)) as batch:
        assert_type(batch, AsyncBatch)
        assert_type(await batch.plan([RunSpec(key="k", worker_id="w", input={})]), int)
        async for outcome in batch.run(max_spend=Decimal(5), output="rows", output_format="parquet"):
            assert_type(outcome, BatchOutcome)
            assert_type(outcome.run, Run | None)
        assert_type((await batch.report()).counts[BatchItemState.DONE], int)
        assert_type(await batch.resolve("k", adopt="R"), BatchItem)
        assert_type(await batch.history("k"), list[BatchItemRun])
        batch.run(max_spend=5.0)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        batch.run(output="rows", output_format="csv")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def hand_data_on(page: Page[Run], rows: ResultPage, item: BatchItem, error: CoreClawError, event: events.Event) -> None:
    assert_type(page.to_dict(), dict[str, Any])
    assert_type(item.to_dict(json=True), dict[str, Any])
    assert_type(error.to_json() + event.to_json() + rows.to_json(), str)
    assert_type(Run.from_dict({}), Run)
    assert_type(BatchItem.from_dict({}), BatchItem)
    assert_type(Page[Run].from_dict({}, item_type=Run), Page[Run])
    assert_type(ResultPage.from_dict({}), ResultPage)
    assert_type(list(page), list[Run])
    assert_type(next(iter(rows)), Row)
    error.from_dict({})  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


def run_a_batch_blocking(client: CoreClaw) -> None:
    with client.batch("b", ledger="memory") as batch:
        assert_type(batch, Batch)
        for outcome in batch.run():
            assert_type(outcome, BatchOutcome)
        report = run_shard(ShardSpec(batch="b", ledger="x", shard=batch.shards(5, unwritten=True)[0], patience=60))
        assert_type(report, ShardReport)
        assert_type(report.check() + report, ShardReport)


class Reports:
    """What a program names in its own annotations."""

    format: ExportFormat = "csv"
    auth: AuthMode = "bearer"
    hook: RunHook | None = None

    def __init__(self, runs: AsyncRuns, blocking: SyncRuns) -> None:
        self.runs = runs
        self.blocking = blocking

    async def fetch(self, run: Run) -> Path:
        await self.runs.wait(run, on_update=self.hook)
        assert_type(self.blocking.get(run), Run)
        return await self.runs.download(run, "rows", format=self.format)


def make_reports(client: AsyncCoreClaw, blocking: CoreClaw, dialect: OffsetDialect, backend: BackendChoice) -> Reports:
    AsyncCoreClaw(offset_dialect=dialect, backend=backend)
    return Reports(client.runs, blocking.runs)


async def make_mistakes(client: AsyncCoreClaw, run: Run) -> None:
    CallbackHub("http://127.0.0.1", on_update=hear_later)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    AsyncCoreClaw(auth="Bearer")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    AsyncCoreClaw("key", "https://example.com")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.runs.iterate("w")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.runs.iterate(since="2026-08-01")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await client.request("POST", "/api/v2/x", safety="idempotent")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await client.runs.get(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await client.runs.wait(run, on_cancel="kill")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await client.runs.export(run, format="parquet")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await client.workers.start_run("w", ["coffee"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await client.workers.start_run("w", {}, {})  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await client.tasks.create("w", "t", {})  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    list(client.runs.iterate())  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    run.status = "failed"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    run.finished_at.timestamp()  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]
    RetryPolicy(3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    WaitTimeoutError("late")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def misspell_names() -> None:
    coreclaw_async.AsyncCoreclaw()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    coreclaw_async.testing.FakeServices()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
