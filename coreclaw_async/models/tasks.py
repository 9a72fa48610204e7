"""Saved tasks: a worker, its input, and perhaps a schedule."""

from __future__ import annotations

import datetime as dt
from typing import Any

import attrs

from coreclaw_async._data.record import Model
from coreclaw_async.models.fields import extra_field, masked
from coreclaw_async.models.statuses import ScheduleType


@attrs.frozen(kw_only=True, repr=False)
class CreatedTask(Model):
    """
    The answer to `tasks.create`.

    Attributes:
        task_id: The task; the wire calls it ``slug``.
        request_id: The service's name for the request.
        extra: Members that this version does not know, or cannot read, as they came, under their wire names.

    Example::

        created = await client.tasks.create(
            worker_id="coreclaw/google-maps-scraper", title="Coffee", input={"keywords": ["coffee"]}
        )
        run = await client.tasks.run(created.task_id)
    """

    task_id: str = ""
    request_id: str | None = None
    extra: dict[str, Any] = extra_field()


@attrs.frozen(kw_only=True, repr=False)
class TaskInput(Model):
    """
    The saved input of a task.

    Attributes:
        input: As it is stored, usually ``{"parameters": {"custom": {...}}}``; hidden in the repr.
        version: Worker version it is pinned to, or None.
        extra: Members that this version does not know, or cannot read, as they came, under their wire names.

    Example::

        saved = await client.tasks.get_input(task_id)
        print(saved.input["parameters"]["custom"])
    """

    input: Any = attrs.field(default=None, repr=masked, hash=False)
    version: str | None = None
    extra: dict[str, Any] = extra_field()


@attrs.frozen(kw_only=True, repr=False)
class Task(Model):
    """
    One saved task; lists and details carry different members, so nearly all may be None.

    Attributes:
        task_id: The task; the wire calls it ``slug``.
        title: Its name.
        description: Its description; the service leaves out an empty one.
        worker_id: The worker; the wire calls it ``worker_slug``.
        worker_path: ``owner/name`` or ``owner~name``; both are accepted wherever a worker is named.
        worker_title: The worker's name for people.
        version: Worker version it is pinned to.
        input: The saved input; may hold credentials, so the repr hides it.
        run_times: How often it ran.
        schedule_enabled: Whether it runs by itself.
        schedule_type: A `ScheduleType`, or the number when the service sent a new one.
        schedule_time: ``HH:mm``; its time zone is not documented.
        schedule_weekday: 1 Monday to 7 Sunday.
        schedule_day: 1 to 31.
        schedule_once_date: ``YYYY-MM-DD``.
        last_modified_at: UTC.
        created_at: UTC.
        updated_at: UTC.
        internal_id: Database number, may exceed 2**53; not usable in any call (the wire calls it ``id``).
        internal_worker_id: Database number of the worker (``worker_id`` on the wire); not usable in any call.
        internal_last_run_id: Database number of the last run (``last_run_id``), 0 for none; not a run id.
        extra: Members that this version does not know, or cannot read, as they came, under their wire names.

    Example::

        task = await client.tasks.get(task_id)
        print(task.title, task.worker_id, task.schedule_type)
    """

    task_id: str = ""
    title: str = ""
    description: str = ""
    worker_id: str | None = None
    worker_path: str | None = None
    worker_title: str | None = None
    version: str | None = None
    input: Any = attrs.field(default=None, repr=masked, hash=False)
    run_times: int | None = None
    schedule_enabled: bool | None = None
    schedule_type: ScheduleType | int | None = None
    schedule_time: str | None = None
    schedule_weekday: int | None = None
    schedule_day: int | None = None
    schedule_once_date: str | None = None
    last_modified_at: dt.datetime | None = None
    created_at: dt.datetime | None = None
    updated_at: dt.datetime | None = None
    internal_id: int | None = None
    internal_worker_id: int | None = None
    internal_last_run_id: int | None = None
    extra: dict[str, Any] = extra_field()
