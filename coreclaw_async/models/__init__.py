"""
What the service reports, as frozen attrs classes that hold no client and do no I/O.

Belongs here: one class per thing the service tells or that is found in it, listed in ``__all__``, members described.
Does not belong here: wire names and conversion (``_wire``), and methods that send a request.

All have ``to_dict``, ``to_json`` and ``from_dict``, can be hashed, and are understood by pydantic and FastAPI.

A member is None when the service did not send it, sent null, or sent a value of the wrong type, which is then in
``extra``. So None means unknown, never 0; an unknown string that is for people only is empty. An id is empty only in
entries of lists: an answer about one thing that does not say its id is a `coreclaw_async.InvalidResponseError`.
"""

from coreclaw_async.models.account import Account, ProxyRegion
from coreclaw_async.models.input_checks import InputCheck, InputIssue, IssueSeverity
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
from coreclaw_async.models.verdicts import Assessment, ErrorRow, Verdict
from coreclaw_async.models.workers import InputProperty, InputSchema, Worker, WorkerSummary

__all__ = [
    "AbortedRun",
    "Account",
    "Assessment",
    "CreatedTask",
    "ErrorRow",
    "Export",
    "InputCheck",
    "InputIssue",
    "InputProperty",
    "InputSchema",
    "IssueSeverity",
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
    "Verdict",
    "Worker",
    "WorkerSummary",
]
