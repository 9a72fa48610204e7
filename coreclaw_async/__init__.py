"""
Async-first Python SDK for the CoreClaw web-scraping API v2.

How the package is laid out; imports point down the list and never up:

* `_sync_generated`, `_sync_iterators`, `_sync_runtime`: `CoreClaw`, the same for callers who block
* `coreclaw_async._client`: `AsyncCoreClaw`, the entry point
* ``_resources``: one module per group of endpoints, one method per operation
* `_pagination`, `_walk`, `_poller`, `_download`, `callbacks`: lists to their end, runs to theirs, files whole
* `_transport`, `_connections`, `_lanes`, `_body`: sending; the modules that know httpx
* ``_wire``: requests, answers, retry decisions and conversion, without I/O
* `models`, `events`, `errors`: what callers get

Above them stand ``cli`` (the command line), ``otel`` (tracing) and ``testing`` (`coreclaw_async.testing.FakeService`);
``_tools`` writes `_sync_generated`.
"""

from coreclaw_async._client import AsyncCoreClaw
from coreclaw_async._clock import Clock
from coreclaw_async._pagination import AsyncPager
from coreclaw_async._streams import AsyncStream
from coreclaw_async._sync_generated import CoreClaw
from coreclaw_async._sync_iterators import Pager, Stream
from coreclaw_async._version import __version__
from coreclaw_async._watch import PollSchedule
from coreclaw_async._wire.retry import RetryPolicy
from coreclaw_async.callbacks import CallbackHub
from coreclaw_async.errors import (
    ApiError,
    AuthenticationError,
    ConcurrencyLimitError,
    ConfigurationError,
    CoreClawError,
    DownloadError,
    InputRejectedError,
    InsufficientBalanceError,
    InvalidArgumentError,
    InvalidResponseError,
    NoReplyError,
    NotFoundError,
    NotImplementedByServiceError,
    OutcomeUnknownError,
    PaginationError,
    RateLimitedError,
    RequestNotSentError,
    RequestTimeoutError,
    RunAbortedError,
    RunFailedError,
    RunOperationError,
    SendTimeoutError,
    ServiceError,
    WaitTimeoutError,
    WorkerUnavailableError,
)
from coreclaw_async.models import (
    Account,
    CreatedTask,
    Export,
    InputProperty,
    InputSchema,
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
    Worker,
    WorkerSummary,
)

__all__ = [
    "Account",
    "ApiError",
    "AsyncCoreClaw",
    "AsyncPager",
    "AsyncStream",
    "AuthenticationError",
    "CallbackHub",
    "Clock",
    "ConcurrencyLimitError",
    "ConfigurationError",
    "CoreClaw",
    "CoreClawError",
    "CreatedTask",
    "DownloadError",
    "Export",
    "InputProperty",
    "InputRejectedError",
    "InputSchema",
    "InsufficientBalanceError",
    "InvalidArgumentError",
    "InvalidResponseError",
    "LastRun",
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
    "ProxyRegion",
    "QueueAction",
    "QueueItem",
    "QueuedRun",
    "RateLimitedError",
    "RequestNotSentError",
    "RequestTimeoutError",
    "ResultHeader",
    "ResultPage",
    "RetryPolicy",
    "Row",
    "Run",
    "RunAbortedError",
    "RunFailedError",
    "RunLog",
    "RunOperationError",
    "RunOutcome",
    "RunRef",
    "RunStatus",
    "ScheduleType",
    "SendTimeoutError",
    "ServiceError",
    "StartedRun",
    "Stream",
    "Task",
    "TaskInput",
    "WaitTimeoutError",
    "Worker",
    "WorkerSummary",
    "WorkerUnavailableError",
    "__version__",
]
