"""What the service reports, as frozen attrs classes that hold no client and do no I/O."""

from coreclaw_async.models.account import Account, ProxyRegion
from coreclaw_async.models.pages import Page, ResultHeader, ResultPage, Row
from coreclaw_async.models.queue import QueueAction, QueuedRun, QueueItem
from coreclaw_async.models.runs import (
    AbortedRun,
    Export,
    LastRun,
    LogEntry,
    LogLevel,
    Run,
    RunLog,
    RunOutcome,
    RunRef,
    RunStatus,
    StartedRun,
)
from coreclaw_async.models.tasks import CreatedTask, ScheduleType, Task, TaskInput
from coreclaw_async.models.workers import InputProperty, InputSchema, Worker, WorkerSummary

__all__ = [
    "AbortedRun",
    "Account",
    "CreatedTask",
    "Export",
    "InputProperty",
    "InputSchema",
    "LastRun",
    "LogEntry",
    "LogLevel",
    "Page",
    "ProxyRegion",
    "QueueAction",
    "QueueItem",
    "QueuedRun",
    "ResultHeader",
    "ResultPage",
    "Row",
    "Run",
    "RunLog",
    "RunOutcome",
    "RunRef",
    "RunStatus",
    "ScheduleType",
    "StartedRun",
    "Task",
    "TaskInput",
    "Worker",
    "WorkerSummary",
]
