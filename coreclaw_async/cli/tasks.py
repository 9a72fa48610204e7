"""``tasks``: saved tasks, listed, shown and run."""

from __future__ import annotations

from typing import Annotated

import typer

from coreclaw_async._wire.request import shown_worker
from coreclaw_async.cli._screen.output import show_one
from coreclaw_async.cli._screen.tables import Column, show_list
from coreclaw_async.cli.epilogs import EXAMPLE_ID, STARTED, WORKER, epilog, group_epilog
from coreclaw_async.cli.guard import guarded
from coreclaw_async.cli.options import AbortOnInterrupt, AsJson, Format, Limit, Seconds, Wide
from coreclaw_async.cli.runs.starting import Output, Starting, Waits
from coreclaw_async.cli.session import open_client

TaskName = Annotated[str, typer.Argument(metavar="TASK", help="A task's id.")]

_TASK_COLUMNS = [
    Column("task", lambda task: task.task_id, "id"),
    Column("title", lambda task: task.title),
    Column("worker", lambda task: shown_worker(task.worker_path) if task.worker_path else task.worker_id, "id"),
    Column("runs", lambda task: task.run_times, "number"),
    Column("scheduled", lambda task: "yes" if task.schedule_enabled else "no"),
]

tasks_app = typer.Typer(
    no_args_is_help=True, help="Saved tasks.", epilog=group_epilog("tasks list", f"tasks run {EXAMPLE_ID} --wait")
)


@tasks_app.command("list", epilog=epilog(f"tasks list --worker {WORKER}"))
@guarded
def list_tasks(
    keyword: Annotated[str | None, typer.Argument(metavar="[KEYWORD]", help="Part of a title or id.")] = None,
    *,
    worker: Annotated[str | None, typer.Option(metavar="WORKER", help="Only tasks of this worker.")] = None,
    limit: Limit = 20,
    wide: Wide = False,
    json: AsJson = False,
) -> None:
    """List saved tasks."""
    with open_client() as client:
        found = client.tasks.iterate(worker_id=worker, keyword=keyword, page_size=min(limit, 100), max_items=limit)
        show_list(found, _TASK_COLUMNS, as_json=json, wide=wide, limit=limit)


@tasks_app.command("show", epilog=epilog(f"tasks show {EXAMPLE_ID} --json"))
@guarded
def show_task(task: TaskName, *, json: AsJson = False) -> None:
    """Show one task with its saved input, which may hold credentials."""
    with open_client() as client:
        show_one(client.tasks.get(task), as_json=json)


@tasks_app.command("run", epilog=epilog(f"tasks run {EXAMPLE_ID} --wait", codes=STARTED))
@guarded
def run_task(
    task: TaskName,
    *,
    wait: Waits = False,
    output: Output = None,
    format: Format = None,
    timeout: Seconds = None,
    abort_on_interrupt: AbortOnInterrupt = False,
    json: AsJson = False,
) -> None:
    """Start a run of a saved task, which costs money, and print its id; with the options of run."""
    starting = Starting(
        waits=wait, output=output, format=format, timeout=timeout, abort=abort_on_interrupt, as_json=json
    )
    with open_client() as client:
        starting.perform(client, lambda: client.tasks.start_run(task))
