"""
Async-first Python SDK for the CoreClaw web-scraping API v2.

How the package is laid out; imports point down the list and never up:

* ``_sync``: `CoreClaw`, the same for callers who block, generated from the async classes
* `coreclaw_async._client`: `AsyncCoreClaw`, the entry point
* `batch`: many runs, one payment each
* ``_resources``: one module per group of endpoints, one method per operation
* ``_operations``: what several groups share: starting, waiting, lists, rows, exports
* ``_paging``, ``_polling``, `callbacks`: lists to their end, and runs to theirs
* ``_http``, ``_frames``: sending and receiving, the modules that know httpx; rows as tables and files
* ``_concurrency``, ``_files``, ``_progress``: event loops and time; files that are whole or not there; progress
* ``_wire``: requests, answers, retry decisions and conversion, without I/O
* `models`, `events`, `errors`, `progress`, ``_logs``, ``_tracebacks``, ``_extras``: what callers get
* ``_data``: what those have in common: dictionaries, JSON and pydantic

Above them stand ``distributed`` (batches on several machines), ``cli`` (the command line), ``otel`` (tracing) and
``testing`` (`coreclaw_async.testing.FakeService`); ``_tools`` writes ``_sync/generated.py``.
"""

from typing import TYPE_CHECKING, Any

from coreclaw_async._version import __version__

if TYPE_CHECKING:
    from coreclaw_async._client import AsyncCoreClaw
    from coreclaw_async._concurrency.clock import Clock
    from coreclaw_async._concurrency.stream import AsyncStream
    from coreclaw_async._frames.options import DtypeBackend, Nested, OnConflict
    from coreclaw_async._http.backend import BackendChoice, BackendName
    from coreclaw_async._operations.exports import ExportFormat
    from coreclaw_async._operations.wait import RunHook
    from coreclaw_async._paging.offsets import OffsetDialect
    from coreclaw_async._paging.pager import AsyncPager
    from coreclaw_async._polling.tracked_run import PollSchedule
    from coreclaw_async._resources.account import AsyncAccount
    from coreclaw_async._resources.proxies import AsyncProxies
    from coreclaw_async._resources.run_queue import AsyncRunQueue
    from coreclaw_async._resources.runs import AsyncRuns
    from coreclaw_async._resources.store import AsyncStore
    from coreclaw_async._resources.tasks import AsyncTasks
    from coreclaw_async._resources.workers import AsyncWorkers
    from coreclaw_async._sync.generated import (
        Batch,
        CoreClaw,
        SyncAccount,
        SyncProxies,
        SyncRunQueue,
        SyncRuns,
        SyncStore,
        SyncTasks,
        SyncWorkers,
    )
    from coreclaw_async._sync.iterators import Pager, Stream
    from coreclaw_async._wire.credentials import AuthMode
    from coreclaw_async._wire.retry import RetryPolicy
    from coreclaw_async.batch import (
        AsyncBatch,
        BatchItem,
        BatchItemRun,
        BatchItemState,
        BatchOutcome,
        BatchRecord,
        BatchReport,
        ItemOrigin,
        OnAmbiguous,
        OutputFormat,
        PrunedBatch,
        RunSpec,
        RunTotals,
        SettleTimes,
        Shard,
    )
    from coreclaw_async.callbacks import CallbackHub, CallbackUpdate
    from coreclaw_async.distributed.shards import ShardReport, ShardSpec, run_shard, run_shard_async
    from coreclaw_async.errors import (
        ApiError,
        AuthenticationError,
        BatchAbortError,
        BatchConflictError,
        BatchIncompleteError,
        BatchStoppedError,
        ColumnConflictError,
        ConcurrencyLimitError,
        ConfigurationError,
        CoreClawError,
        DownloadError,
        InputRejectedError,
        InsufficientBalanceError,
        InvalidArgumentError,
        InvalidResponseError,
        LedgerError,
        NoReplyError,
        NotFoundError,
        NotImplementedByServiceError,
        OutcomeUnknownError,
        PaginationError,
        RateLimitedError,
        RequestNotSentError,
        RequestTimeoutError,
        ResponseTooLargeError,
        RunAbortedError,
        RunFailedError,
        RunNotFinishedError,
        RunOperationError,
        SendTimeoutError,
        ServiceError,
        WaitTimeoutError,
        WorkerUnavailableError,
    )
    from coreclaw_async.models import (
        AbortedRun,
        Account,
        Assessment,
        CreatedTask,
        ErrorRow,
        Export,
        InputCheck,
        InputIssue,
        InputProperty,
        InputSchema,
        IssueSeverity,
        LastRun,
        LogEntry,
        LogLevel,
        Page,
        ProxyRegion,
        QueueAction,
        QueuedRun,
        QueueItem,
        ResultHeader,
        ResultPage,
        Row,
        Run,
        RunLog,
        RunOutcome,
        RunRef,
        RunStatus,
        ScheduleType,
        StartedRun,
        Task,
        TaskInput,
        Verdict,
        Worker,
        WorkerSummary,
    )
    from coreclaw_async.progress import Progress

__all__ = [
    "AbortedRun",
    "Account",
    "ApiError",
    "Assessment",
    "AsyncAccount",
    "AsyncBatch",
    "AsyncCoreClaw",
    "AsyncPager",
    "AsyncProxies",
    "AsyncRunQueue",
    "AsyncRuns",
    "AsyncStore",
    "AsyncStream",
    "AsyncTasks",
    "AsyncWorkers",
    "AuthMode",
    "AuthenticationError",
    "BackendChoice",
    "BackendName",
    "Batch",
    "BatchAbortError",
    "BatchConflictError",
    "BatchIncompleteError",
    "BatchItem",
    "BatchItemRun",
    "BatchItemState",
    "BatchOutcome",
    "BatchRecord",
    "BatchReport",
    "BatchStoppedError",
    "CallbackHub",
    "CallbackUpdate",
    "Clock",
    "ColumnConflictError",
    "ConcurrencyLimitError",
    "ConfigurationError",
    "CoreClaw",
    "CoreClawError",
    "CreatedTask",
    "DownloadError",
    "DtypeBackend",
    "ErrorRow",
    "Export",
    "ExportFormat",
    "InputCheck",
    "InputIssue",
    "InputProperty",
    "InputRejectedError",
    "InputSchema",
    "InsufficientBalanceError",
    "InvalidArgumentError",
    "InvalidResponseError",
    "IssueSeverity",
    "ItemOrigin",
    "LastRun",
    "LedgerError",
    "LogEntry",
    "LogLevel",
    "Nested",
    "NoReplyError",
    "NotFoundError",
    "NotImplementedByServiceError",
    "OffsetDialect",
    "OnAmbiguous",
    "OnConflict",
    "OutcomeUnknownError",
    "OutputFormat",
    "Page",
    "Pager",
    "PaginationError",
    "PollSchedule",
    "Progress",
    "ProxyRegion",
    "PrunedBatch",
    "QueueAction",
    "QueueItem",
    "QueuedRun",
    "RateLimitedError",
    "RequestNotSentError",
    "RequestTimeoutError",
    "ResponseTooLargeError",
    "ResultHeader",
    "ResultPage",
    "RetryPolicy",
    "Row",
    "Run",
    "RunAbortedError",
    "RunFailedError",
    "RunHook",
    "RunLog",
    "RunNotFinishedError",
    "RunOperationError",
    "RunOutcome",
    "RunRef",
    "RunSpec",
    "RunStatus",
    "RunTotals",
    "ScheduleType",
    "SendTimeoutError",
    "ServiceError",
    "SettleTimes",
    "Shard",
    "ShardReport",
    "ShardSpec",
    "StartedRun",
    "Stream",
    "SyncAccount",
    "SyncProxies",
    "SyncRunQueue",
    "SyncRuns",
    "SyncStore",
    "SyncTasks",
    "SyncWorkers",
    "Task",
    "TaskInput",
    "Verdict",
    "WaitTimeoutError",
    "Worker",
    "WorkerSummary",
    "WorkerUnavailableError",
    "__version__",
    "run_shard",
    "run_shard_async",
]

# Names load when they are first used: every run of pytest imports this package for its plugin, whatever it tests, and
# not every program has batches.
_MODULE_OF = {
    "AbortedRun": "models",
    "Account": "models",
    "ApiError": "errors",
    "Assessment": "models",
    "AsyncAccount": "_resources.account",
    "AsyncBatch": "batch",
    "AsyncCoreClaw": "_client",
    "AsyncPager": "_paging.pager",
    "AsyncProxies": "_resources.proxies",
    "AsyncRunQueue": "_resources.run_queue",
    "AsyncRuns": "_resources.runs",
    "AsyncStore": "_resources.store",
    "AsyncStream": "_concurrency.stream",
    "AsyncTasks": "_resources.tasks",
    "AsyncWorkers": "_resources.workers",
    "AuthMode": "_wire.credentials",
    "AuthenticationError": "errors",
    "BackendChoice": "_http.backend",
    "BackendName": "_http.backend",
    "Batch": "_sync.generated",
    "BatchAbortError": "errors",
    "BatchConflictError": "errors",
    "BatchIncompleteError": "errors",
    "BatchItem": "batch",
    "BatchItemRun": "batch",
    "BatchItemState": "batch",
    "BatchOutcome": "batch",
    "BatchRecord": "batch",
    "BatchReport": "batch",
    "BatchStoppedError": "errors",
    "CallbackHub": "callbacks",
    "CallbackUpdate": "callbacks",
    "Clock": "_concurrency.clock",
    "ColumnConflictError": "errors",
    "ConcurrencyLimitError": "errors",
    "ConfigurationError": "errors",
    "CoreClaw": "_sync.generated",
    "CoreClawError": "errors",
    "CreatedTask": "models",
    "DownloadError": "errors",
    "DtypeBackend": "_frames.options",
    "ErrorRow": "models",
    "Export": "models",
    "ExportFormat": "_operations.exports",
    "InputCheck": "models",
    "InputIssue": "models",
    "InputProperty": "models",
    "InputRejectedError": "errors",
    "InputSchema": "models",
    "InsufficientBalanceError": "errors",
    "InvalidArgumentError": "errors",
    "InvalidResponseError": "errors",
    "IssueSeverity": "models",
    "ItemOrigin": "batch",
    "LastRun": "models",
    "LedgerError": "errors",
    "LogEntry": "models",
    "LogLevel": "models",
    "Nested": "_frames.options",
    "NoReplyError": "errors",
    "NotFoundError": "errors",
    "NotImplementedByServiceError": "errors",
    "OffsetDialect": "_paging.offsets",
    "OnAmbiguous": "batch",
    "OnConflict": "_frames.options",
    "OutcomeUnknownError": "errors",
    "OutputFormat": "batch",
    "Page": "models",
    "Pager": "_sync.iterators",
    "PaginationError": "errors",
    "PollSchedule": "_polling.tracked_run",
    "Progress": "progress",
    "ProxyRegion": "models",
    "PrunedBatch": "batch",
    "QueueAction": "models",
    "QueueItem": "models",
    "QueuedRun": "models",
    "RateLimitedError": "errors",
    "RequestNotSentError": "errors",
    "RequestTimeoutError": "errors",
    "ResponseTooLargeError": "errors",
    "ResultHeader": "models",
    "ResultPage": "models",
    "RetryPolicy": "_wire.retry",
    "Row": "models",
    "Run": "models",
    "RunAbortedError": "errors",
    "RunFailedError": "errors",
    "RunHook": "_operations.wait",
    "RunLog": "models",
    "RunNotFinishedError": "errors",
    "RunOperationError": "errors",
    "RunOutcome": "models",
    "RunRef": "models",
    "RunSpec": "batch",
    "RunStatus": "models",
    "RunTotals": "batch",
    "ScheduleType": "models",
    "SendTimeoutError": "errors",
    "ServiceError": "errors",
    "SettleTimes": "batch",
    "Shard": "batch",
    "ShardReport": "distributed.shards",
    "ShardSpec": "distributed.shards",
    "StartedRun": "models",
    "Stream": "_sync.iterators",
    "SyncAccount": "_sync.generated",
    "SyncProxies": "_sync.generated",
    "SyncRunQueue": "_sync.generated",
    "SyncRuns": "_sync.generated",
    "SyncStore": "_sync.generated",
    "SyncTasks": "_sync.generated",
    "SyncWorkers": "_sync.generated",
    "Task": "models",
    "TaskInput": "models",
    "Verdict": "models",
    "WaitTimeoutError": "errors",
    "Worker": "models",
    "WorkerSummary": "models",
    "WorkerUnavailableError": "errors",
    "run_shard": "distributed.shards",
    "run_shard_async": "distributed.shards",
}
_MODULES = {"callbacks", "errors", "events", "models", "progress"}


if not TYPE_CHECKING:  # pragma: no branch - to type checkers any name would be one of these.

    def __getattr__(name: str) -> Any:
        import importlib

        if name in _MODULES:
            return importlib.import_module(f"{__name__}.{name}")
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
        return found


def __dir__() -> list[str]:
    return __all__
