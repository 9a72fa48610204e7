"""Saved tasks."""

from __future__ import annotations

from functools import partial
from typing import Any

from coreclaw_async.testing._api.answer_style import shown_path
from coreclaw_async.testing._api.answers import NO_DATA
from coreclaw_async.testing._api.calls import Call
from coreclaw_async.testing._api.operation import operation
from coreclaw_async.testing._api.request_rules import RUN_OPTIONS, WINDOW, Member
from coreclaw_async.testing._api.run_starts import check_input, check_version, start_run
from coreclaw_async.testing._state.records import FakeTask

_TASK = "/worker-tasks/{workerTaskId}"
_SCHEDULE = {
    "schedule_enabled": Member("integer", low=0, high=1),
    "schedule_type": Member("integer", low=1, high=4),
    "schedule_time": Member("string"),
    "schedule_weekday": Member("integer", low=1, high=7),
    "schedule_day": Member("integer", low=1, high=31),
    "schedule_once_date": Member("string"),
}
_SMALL_DETAIL = ("schedule_enabled", "schedule_type", "schedule_time")


@operation(
    "createWorkerTask",
    "POST",
    "/worker-tasks",
    body={
        "worker_id": Member("string", required=True),
        "title": Member("string", required=True),
        "input": Member("any", required=True),
        "version": Member("string"),
        "description": Member("string"),
        **_SCHEDULE,
    },
)
def create_task(call: Call) -> Any:
    """Store a task with its input as it is; whether that can run is seen when it runs."""
    worker = call.worker_named(call.body["worker_id"])
    task = call.world.add_task(
        worker_id=worker.slug,
        version=call.body.get("version", worker.version),
        title=call.body["title"],
        description=call.body.get("description", ""),
        input=call.body["input"],
        schedule=_schedule_of(call),
    )
    call.world.tasks_created += 1
    return {"slug": task.task_id}


@operation(
    "listWorkerTasks",
    "GET",
    "/worker-tasks",
    query={**WINDOW, "worker_id": Member("string"), "keyword": Member("string")},
)
def list_tasks(call: Call) -> Any:
    """Return one page of the tasks that match."""
    worker_id = call.wanted_worker_id
    keyword = call.query.get("keyword", "").lower()
    fitting = [
        task
        for task in call.world.tasks.values()
        if (worker_id is None or task.worker_id == worker_id) and keyword in f"{task.title}\n{task.task_id}".lower()
    ]
    show = _show_small if call.switches.task_shape == "small" else partial(_show_production, call)
    return call.page_of(fitting, show)


@operation("getWorkerTask", "GET", _TASK)
def get_task(call: Call) -> Any:
    """Return one task, with more members than in the list."""
    task = call.task()
    if call.switches.task_shape == "small":
        shown = _show_small(task) | {
            "description": task.description,
            "worker_path": shown_path(call.world.workers[task.worker_id].path, call.switches),
        }
        return shown | {name: task.schedule.get(name, 0) for name in _SMALL_DETAIL if name in task.schedule}
    shown = _show_production(call, task) | {"id": task.number, "worker_id": task.number - 1}
    if not task.description:
        del shown["description"]
    return shown


@operation(
    "updateWorkerTask",
    "PUT",
    _TASK,
    body={"title": Member("string"), "description": Member("string"), **_SCHEDULE},
)
def update_task(call: Call) -> Any:
    """Change a task; what is left out stays as it is."""
    task = call.task()
    task.title = call.body.get("title", task.title)
    task.description = call.body.get("description", task.description)
    task.schedule |= _schedule_of(call)
    return _updated(call, task)


@operation("deleteWorkerTask", "DELETE", _TASK)
def delete_task(call: Call) -> Any:
    """Delete a task."""
    del call.world.tasks[call.task().task_id]
    return NO_DATA


@operation("getWorkerTaskInput", "GET", f"{_TASK}/input")
def get_task_input(call: Call) -> Any:
    """Return the stored input and the version."""
    task = call.task()
    return {"input": task.input, "version": task.version}


@operation(
    "updateWorkerTaskInput",
    "PUT",
    f"{_TASK}/input",
    body={"input": Member("any", required=True), "version": Member("string")},
)
def update_task_input(call: Call) -> Any:
    """Replace the whole input."""
    task = call.task()
    task.input = call.body["input"]
    task.version = call.body.get("version", task.version)
    return _updated(call, task)


@operation("runWorkerTask", "POST", f"{_TASK}/runs", body=RUN_OPTIONS)
def run_task(call: Call) -> Any:
    """Start a run of the task, which is paid for."""
    task = call.task()
    worker = call.world.workers[task.worker_id]
    version = check_version(worker, task.version)
    check_input(worker, task.input)
    return start_run(call, worker, task.input, version=version, task_id=task.task_id)


def _updated(call: Call, task: FakeTask) -> Any:
    """Answer an update: with empty data in production, without any in the documented form."""
    task.updated_at = int(call.switches.clock.time())
    return {} if call.switches.task_shape == "production" else NO_DATA


def _schedule_of(call: Call) -> dict[str, Any]:
    return {name: value for name, value in call.body.items() if name.startswith("schedule_")}


def _show_small(task: FakeTask) -> dict[str, Any]:
    return {
        "id": task.number,
        "slug": task.task_id,
        "title": task.title,
        "version": task.version,
        "worker_slug": task.worker_id,
    }


def _show_production(call: Call, task: FakeTask) -> dict[str, Any]:
    """Return what production shows: no schedule member that was not given, internal ids as numbers."""
    worker = call.world.workers[task.worker_id]
    return {
        "slug": task.task_id,
        "title": task.title,
        "description": task.description,
        "worker_slug": worker.slug,
        "worker_path": shown_path(worker.path, call.switches),
        "worker_title": worker.title,
        "platform_actors_id": task.number - 2,
        "version": task.version,
        "input": task.input,
        "run_times": len(task.run_ids),
        "last_run_id": task.number + len(task.run_ids) if task.run_ids else 0,
        "last_modified_at": task.updated_at,
        "created_at": task.created_at,
        "updated_at": task.updated_at,
        "schedule_enabled": 0,
        "schedule_type": 0,
        **task.schedule,
    }
