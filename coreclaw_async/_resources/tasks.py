"""Saved tasks: making, reading, changing, deleting and starting them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Literal

from coreclaw_async import errors
from coreclaw_async._operations.calls import with_call_events
from coreclaw_async._operations.candidates import lost_runs, lost_tasks
from coreclaw_async._operations.context import Context
from coreclaw_async._operations.lists import TASKS, checked_worker
from coreclaw_async._operations.start import create, input_members, once_request, read_created, start, start_members
from coreclaw_async._operations.wait import RunHook, WaitOptions, start_and_wait
from coreclaw_async._paging.pager import AsyncPager, PagerOptions
from coreclaw_async._wire.converter import read_model, read_named
from coreclaw_async._wire.request import (
    Request,
    Safety,
    build_body,
    build_path,
    check_id,
    check_text,
    check_worker_id,
)
from coreclaw_async._wire.response import no_data
from coreclaw_async._wire.schedules import schedule_members
from coreclaw_async.models import CreatedTask, Page, Run, StartedRun, Task, TaskInput
from coreclaw_async.progress import ProgressOption


@with_call_events("tasks")
class AsyncTasks:
    """Saved tasks: ``client.tasks``."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def list_page(
        self,
        *,
        worker_id: str | None = None,
        keyword: str | None = None,
        offset: int = 0,
        limit: int = 20,
    ) -> Page[Task]:
        """
        Return one page of tasks.

        ``GET /api/v2/worker-tasks``. Reads only: retried after a failure. The answer holds each task's whole input.

        Args:
            worker_id: Only tasks of this worker: its id, ``owner/name`` or ``owner~name``.
            keyword: Part of a title or id.
            offset: 0 to 2**63 - 1, sent as it is. What the service counts with it has changed over time: only 0 is
                certain to be the first page.
            limit: Tasks a page, 1 to 100.

        Raises:
            ValueError: *offset* or *limit* is out of range, or *worker_id* cannot be one.

        Example::

            page = await client.tasks.list_page(limit=10)
            print(page.count, [task.title for task in page])
        """
        worker_id = checked_worker(worker_id)
        return await TASKS.read(self._context, offset=offset, limit=limit, worker_id=worker_id, keyword=keyword)

    def iterate(
        self,
        *,
        worker_id: str | None = None,
        keyword: str | None = None,
        page_size: int = 100,
        max_items: int | None = None,
        prefetch: int = 0,
    ) -> AsyncPager[Task]:
        """
        Return an iterator over tasks.

        ``GET /api/v2/worker-tasks``, once a page. Reads only: retried after a failure.

        Args:
            worker_id: Only tasks of this worker: its id, ``owner/name`` or ``owner~name``.
            keyword: Part of a title or id.
            page_size: Tasks a page, 1 to 100.
            max_items: Most tasks in all, 1 or more; None for all.
            prefetch: Pages that are read at the same time as the next one, 0 to 100.

        Raises:
            PaginationError: The pages that came do not add up to one list.
            ValueError: A number is out of range, or *worker_id* cannot be one.

        Example::

            async for task in client.tasks.iterate():
                print(task.task_id, task.title)
        """
        options = PagerOptions(page_size=page_size, max_items=max_items, prefetch=prefetch)
        return TASKS.pager(self._context, options, worker_id=checked_worker(worker_id), keyword=keyword)

    async def create(
        self,
        *,
        worker_id: str,
        title: str,
        input: Mapping[str, Any] | None = None,
        system: Mapping[str, Any] | None = None,
        raw_input: Any = None,
        version: str | None = None,
        description: str | None = None,
        schedule_enabled: bool | None = None,
        schedule_type: int | None = None,
        schedule_time: str | None = None,
        schedule_weekday: int | None = None,
        schedule_day: int | None = None,
        schedule_once_date: str | None = None,
    ) -> CreatedTask:
        """
        Save a task; with a schedule it runs by itself, which costs money each time.

        ``POST /api/v2/worker-tasks``. Retried only when the first send certainly did nothing: a second task with a
        schedule would cost money for ever.

        Args:
            worker_id: The worker's id, ``owner/name`` or ``owner~name``.
            title: Its name.
            input: The worker's own input; sent as ``input.parameters.custom``, without which the task could not run.
            system: Settings of the platform; sent as ``input.parameters.system``.
            raw_input: The whole ``input`` member, sent as it is, instead of *input* and *system*.
            version: Worker version to pin; None for the current one.
            description: Its description.
            schedule_enabled: Whether it runs by itself.
            schedule_type: A `ScheduleType`: 1 daily, 2 weekly, 3 monthly, 4 once.
            schedule_time: ``HH:mm``; the time zone is the platform's and not documented.
            schedule_weekday: 1 Monday to 7 Sunday, for weekly.
            schedule_day: 1 to 31, for monthly.
            schedule_once_date: ``YYYY-MM-DD``, for once.

        Raises:
            OutcomeUnknownError: A task may have been saved; its candidates are tasks of that worker and title which
                this client did not create by another call.
            NotFoundError: There is no such worker.
            InvalidArgumentError: The service refused a member.
            ValueError: An argument is out of range, both *input* and *raw_input* were given, or the input holds a
                number or a string that JSON cannot hold; the message names it, as in ``input.keywords[3]``.
            TypeError: The input holds a key that is not a str, or an object that JSON cannot hold.

        Example::

            created = await client.tasks.create(
                worker_id="coreclaw/google-maps-scraper", title="Coffee", input={"keywords": ["coffee"]}
            )
            print(created.task_id)
        """
        worker_id = check_worker_id("worker_id", worker_id)
        request = once_request(
            "createWorkerTask",
            "worker-tasks",
            worker_id=worker_id,
            title=check_text("title", title),
            **input_members(input, system=system, raw_input=raw_input, version=version),
            description=description,
            **schedule_members(
                enabled=schedule_enabled,
                type=schedule_type,
                time=schedule_time,
                weekday=schedule_weekday,
                day=schedule_day,
                once_date=schedule_once_date,
            ),
        )

        read = functools.partial(read_created, model=CreatedTask)
        created = await create(self._context, request, lost_tasks(self._context, worker_id, title), read)
        self._context.known.add(created.task_id)
        return created

    async def get(self, task_id: str) -> Task:
        """
        Return one task.

        ``GET /api/v2/worker-tasks/{workerTaskId}``. Reads only: retried after a failure.

        Args:
            task_id: The task's id; the numbers in a task are not usable.

        Raises:
            NotFoundError: There is no such task.
            ValueError: *task_id* is empty or cannot stand in a path.

        Example::

            task = await client.tasks.get(task_id)
            print(task.title, task.schedule_enabled)
        """
        request = Request(operation="getWorkerTask", method="GET", path=_task_path(task_id))
        read = functools.partial(read_named, model=Task, name="task_id", asked=task_id)
        return await self._context.transport.call(request, read)

    async def update(
        self,
        task_id: str,
        *,
        title: str | None = None,
        description: str | None = None,
        schedule_enabled: bool | None = None,
        schedule_type: int | None = None,
        schedule_time: str | None = None,
        schedule_weekday: int | None = None,
        schedule_day: int | None = None,
        schedule_once_date: str | None = None,
    ) -> None:
        """
        Change a task's title, description and schedule; what is None stays as it is.

        ``PUT /api/v2/worker-tasks/{workerTaskId}``. Repeatable: retried after a failure. The input is changed by
        `update_input`.

        Args:
            task_id: The task's id.
            title: Its name.
            description: Its description; whether an empty one clears it is not documented.
            schedule_enabled: Whether it runs by itself.
            schedule_type: A `ScheduleType`: 1 daily, 2 weekly, 3 monthly, 4 once.
            schedule_time: ``HH:mm``.
            schedule_weekday: 1 Monday to 7 Sunday.
            schedule_day: 1 to 31.
            schedule_once_date: ``YYYY-MM-DD``.

        Raises:
            NotFoundError: There is no such task.
            InvalidArgumentError: The service refused a member.
            ValueError: An argument is out of range, or nothing was given to change.

        Example::

            await client.tasks.update(task_id, title="Coffee and tea")
        """
        members = {
            "title": None if title is None else check_text("title", title),
            "description": description,
            **schedule_members(
                enabled=schedule_enabled,
                type=schedule_type,
                time=schedule_time,
                weekday=schedule_weekday,
                day=schedule_day,
                once_date=schedule_once_date,
            ),
        }
        if all(value is None for value in members.values()):
            raise ValueError("nothing was given to change: give title, description or a schedule member")
        await self._put("updateWorkerTask", _task_path(task_id), members)

    async def delete(self, task_id: str) -> None:
        """
        Delete a task for good.

        ``DELETE /api/v2/worker-tasks/{workerTaskId}``. Repeatable: retried after a failure; when the first send was
        lost and the second one finds nothing, the task is gone, and that is a success.

        Args:
            task_id: The task's id.

        Raises:
            NotFoundError: There was no such task.
            ValueError: *task_id* is empty or cannot stand in a path.

        Example::

            await client.tasks.delete(task_id)
        """
        request = Request(
            operation="deleteWorkerTask",
            method="DELETE",
            path=_task_path(task_id),
            safety=Safety.REPEATABLE,
            already_done_error=errors.NotFoundError,
        )
        await self._context.transport.call(request, no_data)

    async def get_input(self, task_id: str) -> TaskInput:
        """
        Return a task's saved input.

        ``GET /api/v2/worker-tasks/{workerTaskId}/input``. Reads only: retried after a failure.

        Args:
            task_id: The task's id.

        Raises:
            NotFoundError: There is no such task.
            ValueError: *task_id* is empty or cannot stand in a path.

        Example::

            saved = await client.tasks.get_input(task_id)
            print(saved.input, saved.version)
        """
        request = Request(operation="getWorkerTaskInput", method="GET", path=_task_path(task_id, "input"))
        return await self._context.transport.call(request, functools.partial(read_model, model=TaskInput))

    async def update_input(
        self,
        task_id: str,
        input: Mapping[str, Any] | None = None,
        *,
        system: Mapping[str, Any] | None = None,
        raw_input: Any = None,
        version: str | None = None,
    ) -> None:
        """
        Replace a task's saved input as a whole.

        ``PUT /api/v2/worker-tasks/{workerTaskId}/input``. Repeatable: retried after a failure.

        Args:
            task_id: The task's id.
            input: The worker's own input; sent as ``input.parameters.custom``.
            system: Settings of the platform; sent as ``input.parameters.system``.
            raw_input: The whole ``input`` member, sent as it is, instead of *input* and *system*.
            version: Worker version to pin; None leaves it as it is.

        Raises:
            NotFoundError: There is no such task.
            InvalidArgumentError: The service refused the input.
            ValueError: Both *input* and *raw_input* were given, or the input holds a number or a string that JSON
                cannot hold; the message names it, as in ``input.keywords[3]``.
            TypeError: The input holds a key that is not a str, or an object that JSON cannot hold.

        Example::

            await client.tasks.update_input(task_id, {"keywords": ["coffee", "tea"]})
        """
        members = input_members(input, system=system, raw_input=raw_input, version=version)
        await self._put("updateWorkerTaskInput", _task_path(task_id, "input"), members)

    async def start_run(
        self,
        task_id: str,
        *,
        callback_url: str | None = None,
        is_async: bool = True,
        offset: int | None = None,
        limit: int | None = None,
    ) -> StartedRun:
        """
        Start a run of a saved task with its saved input, which costs money, and return the run's id.

        ``POST /api/v2/worker-tasks/{workerTaskId}/runs``. Starts at most one run: retried only when the first send
        certainly did nothing (it never left, or was refused for its rate).

        Args:
            task_id: The task's id.
            callback_url: Where the service posts changes of the run; None for a URL of the client's hub, if it has one.
            is_async: False to have the service wait for the end, five minutes at most; the call may then take 330 s.
            offset: With ``is_async=False``, which rows the answer holds: 0 to 2**63 - 1.
            limit: With ``is_async=False``, how many rows the answer holds: 1 to 100.

        Raises:
            OutcomeUnknownError: A run may have been started, and it is not known which; see its candidates, which are
                runs of any worker. Also raised instead of a cancellation after the request was sent; after Ctrl-C in
                `CoreClaw` it is the ``__cause__`` of the `KeyboardInterrupt`. The look for candidates may take five
                seconds more than the client's ``timeout``.
            InsufficientBalanceError: The balance does not cover the run.
            ConcurrencyLimitError: The plan's number of running runs is reached.
            RunOperationError: The service could not run the worker; a run may exist all the same, see its candidates.
            NotFoundError: There is no such task.
            ValueError: An argument is out of range.

        Example::

            started = await client.tasks.start_run(task_id)
            print(started.run_id)
        """
        request = once_request(
            "runWorkerTask",
            "worker-tasks",
            check_id("task_id", task_id),
            "runs",
            **start_members(self._context, callback_url=callback_url, is_async=is_async, offset=offset, limit=limit),
        )
        return await start(self._context, request, lost_runs(self._context, None))

    async def run(
        self,
        task_id: str,
        *,
        callback_url: str | None = None,
        wait_for_slot: bool = False,
        timeout: float | None = None,
        check: bool = True,
        on_update: RunHook | None = None,
        on_cancel: Literal["leave", "abort"] = "leave",
        progress: ProgressOption = False,
    ) -> Run:
        """
        Start a run of a saved task, which costs money, and wait for its end.

        Sends what `start_run` sends, once, and then what `runs.wait` sends. Every error after the start has the run's
        id.

        Args:
            task_id: The task's id.
            callback_url: Where the service posts changes of the run; None for a URL of the client's hub, if it has one.
            wait_for_slot: Whether a start that the plan has no room for (30003: nothing was started) is retried, at
                the pace of the poll schedule and in the order of the calls, until *timeout*.
            timeout: Seconds for the wait, above 0, and with *wait_for_slot* for the start too. None to wait as long as
                it takes. The run goes on after that.
            check: Whether an end without success is an error; otherwise the run is returned whatever its end.
            on_update: As in `runs.wait`.
            on_cancel: What to do with the run when this call ends before it: ``leave`` it, or ``abort`` it.
            progress: As in `runs.wait`.

        Raises:
            OutcomeUnknownError: A run may have been started, and it is not known which; see its ``candidates``.
            InsufficientBalanceError: The balance does not cover the run.
            ConcurrencyLimitError: The plan has no room for the run; nothing was started.
            RunFailedError: The run failed; the end of its log is in the error.
            RunAbortedError: The run was aborted.
            WaitTimeoutError: *timeout* has passed, and the run goes on.
            CoreClawError: Anything else that `start_run` or `runs.wait` raises. After the start it has the run's id.
            ValueError: An argument is out of range; nothing was sent.
            TypeError: An argument is of the wrong type; nothing was sent.

        Example::

            run = await client.tasks.run(task_id, timeout=900)
            print(run.status, run.result_count)
        """
        return await start_and_wait(
            self._context,
            lambda: self.start_run(task_id, callback_url=callback_url),
            WaitOptions(timeout=timeout, check=check, on_update=on_update, on_cancel=on_cancel, progress=progress),
            wait_for_slot=wait_for_slot,
        )

    async def _put(self, operation: str, path: str, members: Mapping[str, Any]) -> None:
        request = Request(
            operation=operation, method="PUT", path=path, body=build_body(**members), safety=Safety.REPEATABLE
        )
        await self._context.transport.call(request, no_data)


def _task_path(task_id: str, *tail: str) -> str:
    return build_path("worker-tasks", check_id("task_id", task_id), *tail)
