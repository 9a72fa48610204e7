"""
What the service reports, as frozen attrs classes that hold no client and do no I/O.

Belongs here: one class per thing the service tells, listed in ``__all__``, with every member described.
Does not belong here: wire names and conversion (``_wire``), and methods that send a request.

A member is None when the service did not send it, sent null, or sent a value that the member has no form for; the last
one is then in ``extra``. So None means unknown, never 0, and a text that is not known is empty where it is for people
only. What names a thing is empty only in entries of lists: an answer about one thing that does not say which is an
`coreclaw_async.InvalidResponseError`.
"""

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
