"""
What the service reports, as frozen attrs classes that hold no client and do no I/O.

All have ``to_dict``, ``to_json`` and ``from_dict``, can be hashed, and are understood by pydantic and FastAPI.

A member is None when the service did not send it, sent null, or sent a value of the wrong type, which is then in
``extra``. So None means unknown, never 0; an unknown string that is for people only is empty. An id is empty only in
entries of lists: an answer about one thing that does not say its id is a `coreclaw_async.InvalidResponseError`.

Without a framework, ``run.to_dict()`` has the Python values; ``run.to_dict(json=True)`` and ``run.to_json()`` have
JSON, with amounts and times as strings. ``Run.from_dict(...)`` reads what came from the service back as an equal
object. ``to_dict(json=True)`` and answers of FastAPI have U+FFFD where a string has half of a surrogate pair. Members
that the service has added since are in ``extra``. Reports, items and outcomes of batches have the same methods, and
leave out ``callback_url``. Events and errors can be written and not read back; they have the name of their class as
``type``.

Models are answers of FastAPI, request bodies (``run: Annotated[Run, Body()]``) and members of pydantic models, as
they are. Annotate routes with what they return: then the OpenAPI page has the members, their types and descriptions,
and an answer of another type is an error. A route without an annotation sends the same members. Rows are mappings: a
route that returns those of ``iterate_results(...).collect()`` is annotated ``list[Row]``.

These dictionaries hold members that reprs hide, and a route that returns such a model publishes them: the ``input``
of a `Task`, `TaskInput`, `RunSpec` or `BatchRecord`, the signed ``Export.download_url`` and ``RunLog.all_logs_url``,
and ``extra``. Leave them out where others read the answer: ``@app.get("/tasks", response_model_exclude={"items":
{"__all__": {"input", "extra"}}})``. FastAPI looks at this only on routes with an annotation.
``response_model_exclude_none`` and ``..._exclude_defaults`` leave out members at every level; ``..._exclude_unset``
changes nothing.

Belongs here: one class per thing the service tells or that is found in it, listed in ``__all__``, members described.
Does not belong here: wire names and conversion (``_wire``), and methods that send a request.
"""

from typing import TYPE_CHECKING

from coreclaw_async._late_names import late_names

if TYPE_CHECKING:
    from coreclaw_async.models.account import Account, ProxyRegion
    from coreclaw_async.models.input_checks import InputCheck, InputIssue, IssueSeverity
    from coreclaw_async.models.pages import Page, ResultHeader, ResultPage, Row
    from coreclaw_async.models.queue import QueueAction, QueuedRun, QueueItem
    from coreclaw_async.models.replies import Reply
    from coreclaw_async.models.runs import AbortedRun, Export, LastRun, LogEntry, Run, RunLog, RunRef, StartedRun
    from coreclaw_async.models.statuses import LogLevel, RunOutcome, RunStatus, ScheduleType
    from coreclaw_async.models.tasks import CreatedTask, Task, TaskInput
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
    "Reply",
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

# Names load when they are first used: few programs need all models.
_MODULE_OF = {
    "AbortedRun": "runs",
    "Account": "account",
    "Assessment": "verdicts",
    "CreatedTask": "tasks",
    "ErrorRow": "verdicts",
    "Export": "runs",
    "InputCheck": "input_checks",
    "InputIssue": "input_checks",
    "InputProperty": "workers",
    "InputSchema": "workers",
    "IssueSeverity": "input_checks",
    "LastRun": "runs",
    "LogEntry": "runs",
    "LogLevel": "statuses",
    "Page": "pages",
    "ProxyRegion": "account",
    "QueueAction": "queue",
    "QueueItem": "queue",
    "QueuedRun": "queue",
    "Reply": "replies",
    "ResultHeader": "pages",
    "ResultPage": "pages",
    "Row": "pages",
    "Run": "runs",
    "RunLog": "runs",
    "RunOutcome": "statuses",
    "RunRef": "runs",
    "RunStatus": "statuses",
    "ScheduleType": "statuses",
    "StartedRun": "runs",
    "Task": "tasks",
    "TaskInput": "tasks",
    "Verdict": "verdicts",
    "Worker": "workers",
    "WorkerSummary": "workers",
}


if not TYPE_CHECKING:  # pragma: no branch - to type checkers any name would be one of these.
    __getattr__ = late_names(globals(), _MODULE_OF)


def __dir__() -> list[str]:
    return __all__
