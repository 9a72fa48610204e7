"""Operations on saved tasks."""

from __future__ import annotations

from typing import Any

from coreclaw_async.testing._api.answers import NO_DATA
from coreclaw_async.testing._api.calls import Call
from coreclaw_async.testing._api.run_starts import check_input, check_version, start_run
from coreclaw_async.testing._state.records import FakeTask
from coreclaw_async.testing._state.world import World

_SMALL_DETAIL = ("schedule_enabled", "schedule_type", "schedule_time")


def create_task(call: Call) -> Any:
    """
    Answer `POST /worker-tasks`.

    The input is stored as it is; whether it can run is seen when it runs.
    """
    worker = call.worker_named(call.body["worker_id"])
    task = add_task(
        call.world,
        worker_id=worker.slug,
        version=call.body.get("version", worker.version),
        title=call.body["title"],
        description=call.body.get("description", ""),
        input=call.body["input"],
        schedule=_schedule_of(call),
    )
    call.world.tasks_created += 1
    return {"slug": task.task_id}


def add_task(world: World, **members: Any) -> FakeTask:
    """Store a task."""
    now = world.switches.clock.time()
    task = FakeTask(
        task_id=world.ids.ulid(now),
        number=world.ids.database_id(),
        created_at=int(now),
        updated_at=int(now),
        **members,
    )
    world.tasks[task.task_id] = task
    return task


def list_tasks(call: Call) -> Any:
    """Answer `GET /worker-tasks`."""
    worker_id = call.worker_named(call.query["worker_id"]).slug if "worker_id" in call.query else None
    keyword = call.query.get("keyword", "").lower()
    fitting = [
        task
        for task in call.world.tasks.values()
        if (worker_id is None or task.worker_id == worker_id) and keyword in f"{task.title}\n{task.task_id}".lower()
    ]
    window = call.window
    page = [_show_listed(call, task) for task in fitting[window.start : window.stop]]
    echo = window.echo if call.switches.echo_page_index else {}
    return {"count": len(fitting), "list": call.switches.show_list(page), **echo}


def get_task(call: Call) -> Any:
    """Answer `GET /worker-tasks/{workerTaskId}`."""
    task = call.task()
    if call.switches.task_shape == "small":
        shown = _show_small(task) | {
            "description": task.description,
            "worker_path": call.switches.show_path(call.world.workers[task.worker_id].path),
        }
        return shown | {name: task.schedule.get(name, 0) for name in _SMALL_DETAIL if name in task.schedule}
    shown = _show_production(call, task) | {"id": task.number, "worker_id": task.number - 1}
    if not task.description:
        del shown["description"]
    return shown


def update_task(call: Call) -> Any:
    """Answer `PUT /worker-tasks/{workerTaskId}`; what is left out stays as it is."""
    task = call.task()
    task.title = call.body.get("title", task.title)
    task.description = call.body.get("description", task.description)
    task.schedule |= _schedule_of(call)
    return _updated(call, task)


def delete_task(call: Call) -> Any:
    """Answer `DELETE /worker-tasks/{workerTaskId}`."""
    del call.world.tasks[call.task().task_id]
    return NO_DATA


def get_task_input(call: Call) -> Any:
    """Answer `GET /worker-tasks/{workerTaskId}/input`."""
    task = call.task()
    return {"input": task.input, "version": task.version}


def update_task_input(call: Call) -> Any:
    """Answer `PUT /worker-tasks/{workerTaskId}/input`, which replaces the whole input."""
    task = call.task()
    task.input = call.body["input"]
    task.version = call.body.get("version", task.version)
    return _updated(call, task)


def run_task(call: Call) -> Any:
    """Answer `POST /worker-tasks/{workerTaskId}/runs`."""
    task = call.task(missing=11004)
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


def _show_listed(call: Call, task: FakeTask) -> dict[str, Any]:
    return _show_small(task) if call.switches.task_shape == "small" else _show_production(call, task)


def _show_production(call: Call, task: FakeTask) -> dict[str, Any]:
    """Return what production shows: no schedule member that was not given, internal ids as numbers."""
    worker = call.world.workers[task.worker_id]
    return {
        "slug": task.task_id,
        "title": task.title,
        "description": task.description,
        "worker_slug": worker.slug,
        "worker_path": call.switches.show_path(worker.path),
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
