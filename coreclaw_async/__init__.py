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
* `models`, `events`, `errors`, `progress`, ``_tracebacks``, ``_extras``: what callers get
* ``_data``: what those have in common: dictionaries, JSON and pydantic

Above them stand ``distributed`` (batches on several machines), ``cli`` (the command line), ``otel`` (tracing) and
``testing`` (`coreclaw_async.testing.FakeService`); ``_tools`` writes ``_sync/generated.py``.
"""

from typing import TYPE_CHECKING, Any

from coreclaw_async._client import AsyncCoreClaw
from coreclaw_async._concurrency.clock import Clock
from coreclaw_async._concurrency.stream import AsyncStream
from coreclaw_async._paging.pager import AsyncPager
from coreclaw_async._polling.tracked_run import PollSchedule
from coreclaw_async._sync.generated import Batch, CoreClaw
from coreclaw_async._sync.iterators import Pager, Stream
from coreclaw_async._version import __version__
from coreclaw_async._wire.retry import RetryPolicy
from coreclaw_async.callbacks import CallbackHub
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

if TYPE_CHECKING:
    from coreclaw_async.batch import (
        AsyncBatch,
        BatchItem,
        BatchItemRun,
        BatchItemState,
        BatchOutcome,
        BatchRecord,
        BatchReport,
        ItemOrigin,
        PrunedBatch,
        RunSpec,
        RunTotals,
        SettleTimes,
        Shard,
    )
    from coreclaw_async.distributed.shards import ShardReport, ShardSpec, run_shard, run_shard_async

__all__ = [
    "AbortedRun",
    "Account",
    "ApiError",
    "Assessment",
    "AsyncBatch",
    "AsyncCoreClaw",
    "AsyncPager",
    "AsyncStream",
    "AuthenticationError",
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
    "Clock",
    "ColumnConflictError",
    "ConcurrencyLimitError",
    "ConfigurationError",
    "CoreClaw",
    "CoreClawError",
    "CreatedTask",
    "DownloadError",
    "ErrorRow",
    "Export",
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
    "NoReplyError",
    "NotFoundError",
    "NotImplementedByServiceError",
    "OutcomeUnknownError",
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

# Not every program has batches, and what they need takes time to import.
_LATE = {
    "AsyncBatch": "coreclaw_async.batch",
    "BatchOutcome": "coreclaw_async.batch",
    "BatchRecord": "coreclaw_async.batch",
    "BatchReport": "coreclaw_async.batch",
    "PrunedBatch": "coreclaw_async.batch",
    "RunTotals": "coreclaw_async.batch",
    "ItemOrigin": "coreclaw_async.batch",
    "BatchItem": "coreclaw_async.batch",
    "BatchItemRun": "coreclaw_async.batch",
    "BatchItemState": "coreclaw_async.batch",
    "RunSpec": "coreclaw_async.batch",
    "SettleTimes": "coreclaw_async.batch",
    "Shard": "coreclaw_async.batch",
    "ShardReport": "coreclaw_async.distributed.shards",
    "ShardSpec": "coreclaw_async.distributed.shards",
    "run_shard": "coreclaw_async.distributed.shards",
    "run_shard_async": "coreclaw_async.distributed.shards",
}


if not TYPE_CHECKING:  # pragma: no branch - to type checkers any name would be one of these.

    def __getattr__(name: str) -> Any:
        if name not in _LATE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib

        return getattr(importlib.import_module(_LATE[name]), name)


def __dir__() -> list[str]:
    return __all__
