"""``runs``, ``show``, ``store``, ``workers``, ``tasks``, ``queue``, ``account``: what there is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from coreclaw_async.cli._process.receipts import current
from coreclaw_async.cli._screen.output import show_one
from coreclaw_async.cli._screen.tables import Column, show_list
from coreclaw_async.cli.epilogs import MAY_HAVE_STARTED, STARTED, WORKER, epilog, group_epilog
from coreclaw_async.cli.failures import ExitCode
from coreclaw_async.cli.options import (
    TIMES,
    AbortOnInterrupt,
    AsJson,
    BaseUrl,
    Format,
    KeyFile,
    Limit,
    RunName,
    Seconds,
    Status,
    Wide,
    run_of,
    time_of,
)
from coreclaw_async.cli.runs.starting import Output, Starting, Waits, activated
from coreclaw_async.cli.session import guarded, open_client
from coreclaw_async.models import QueueAction

Keyword = Annotated[str | None, typer.Argument(metavar="[KEYWORD]", help="Part of a title, slug or path.")]
WorkerName = Annotated[str, typer.Argument(metavar="WORKER", help="A worker: slug or owner/name.")]
TaskName = Annotated[str, typer.Argument(metavar="TASK", help="A task's slug.")]
Since = Annotated[str | None, typer.Option(metavar="TIME", help=f"Only runs that were created then or later: {TIMES}.")]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Only runs that were created before; needs --since.")]

_RUN_COLUMNS = [
    Column("run", lambda run: run.run_id, "id"),
    Column("status", lambda run: run.status),
    Column("rows", lambda run: run.result_count, "number"),
    Column("cost", lambda run: run.usage, "money"),
    Column("started", lambda run: run.started_at, "moment"),
    Column("worker", lambda run: run.worker_title or run.worker_id),
    Column("seconds", lambda run: run.duration, "number"),
]
_WORKER_COLUMNS = [
    Column("worker", lambda worker: worker.path or worker.worker_id, "id"),
    Column("title", lambda worker: worker.title),
    Column("slug", lambda worker: worker.worker_id, "id"),
]
_TASK_COLUMNS = [
    Column("task", lambda task: task.task_id, "id"),
    Column("title", lambda task: task.title),
    Column("worker", lambda task: task.worker_path or task.worker_id, "id"),
    Column("runs", lambda task: task.run_times, "number"),
    Column("scheduled", lambda task: "yes" if task.schedule_enabled else "no"),
]
_QUEUE_COLUMNS = [
    Column("item", lambda item: item.queue_id, "id"),
    Column("status", lambda item: item.status),
]
_ACTION_COLUMNS = [
    Column("item", lambda action: action.queue_id, "id"),
    Column("done", lambda action: "perhaps, by this call" if action.may_be_ours else "yes" if action.success else "no"),
    Column("reason", lambda action: action.error, "prose"),
]
_INPUT_COLUMNS = [
    Column("name", lambda entry: entry.name, "id"),
    Column("type", lambda entry: entry.type),
    Column("required", lambda entry: "yes" if entry.required else "no"),
    Column("default", lambda entry: entry.default),
    Column("title", lambda entry: entry.title),
]

_ID = "01KKDXV2G26BT7NH4ZQR2R4NPZ"

workers_app = typer.Typer(
    no_args_is_help=True,
    help="Workers of this account, and the details of any worker.",
    epilog=group_epilog("workers list", f"workers input {WORKER}"),
)
tasks_app = typer.Typer(
    no_args_is_help=True, help="Saved tasks.", epilog=group_epilog("tasks list", f"tasks run {_ID} --wait")
)
queue_app = typer.Typer(
    no_args_is_help=True,
    help="Runs that wait until somebody activates them.",
    epilog=group_epilog("queue list", f"queue activate {_ID}"),
)


@guarded
def runs(
    *,
    worker: Annotated[str | None, typer.Option(metavar="WORKER", help="Only runs of this worker.")] = None,
    status: Status = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 20,
    wide: Wide = False,
    json: AsJson = False,
    api_key_file: KeyFile = None,
    base_url: BaseUrl = None,
) -> None:
    """List runs, the newest first; without --since those of the current month in UTC+8, as the service counts it."""
    if until is not None and since is None:
        raise typer.BadParameter("--until needs --since")
    with open_client(api_key_file, base_url) as client:
        found = client.runs.iterate(
            worker_id=worker,
            status=status,
            since=time_of("--since", since),
            until=time_of("--until", until),
            page_size=min(limit, 100),
            max_items=limit,
        )
        show_list(found, _RUN_COLUMNS, as_json=json, wide=wide, limit=limit)


@guarded
def show(run: RunName, *, json: AsJson = False, api_key_file: KeyFile = None, base_url: BaseUrl = None) -> None:
    """Show one run as it is now."""
    with open_client(api_key_file, base_url) as client:
        show_one(client.runs.get(run_of(run)), as_json=json)


@guarded
def store(
    keyword: Keyword = None, *, limit: Limit = 20, wide: Wide = False, json: AsJson = False, base_url: BaseUrl = None
) -> None:
    """List workers of the public store, which needs no key."""
    with open_client(None, base_url, is_public=True) as client:
        found = client.store.iterate(keyword=keyword, page_size=min(limit, 100), max_items=limit)
        show_list(found, _WORKER_COLUMNS, as_json=json, wide=wide, limit=limit)


@guarded
def account(*, json: AsJson = False, api_key_file: KeyFile = None, base_url: BaseUrl = None) -> None:
    """Show the account and its balance."""
    with open_client(api_key_file, base_url) as client:
        show_one(client.account.get(), as_json=json)


@workers_app.command("list", epilog=epilog("workers list maps"))
@guarded
def list_workers(
    keyword: Keyword = None,
    *,
    limit: Limit = 20,
    wide: Wide = False,
    json: AsJson = False,
    api_key_file: KeyFile = None,
    base_url: BaseUrl = None,
) -> None:
    """List the account's own workers."""
    with open_client(api_key_file, base_url) as client:
        found = client.workers.iterate(keyword=keyword, page_size=min(limit, 100), max_items=limit)
        show_list(found, _WORKER_COLUMNS, as_json=json, wide=wide, limit=limit)


@workers_app.command("show", epilog=epilog(f"workers show {WORKER}"))
@guarded
def show_worker(
    worker: WorkerName, *, json: AsJson = False, api_key_file: KeyFile = None, base_url: BaseUrl = None
) -> None:
    """Show one worker."""
    with open_client(api_key_file, base_url) as client:
        show_one(client.workers.get(worker), as_json=json)


@workers_app.command("input", epilog=epilog(f"workers input {WORKER}"))
@guarded
def show_input(worker: WorkerName, *, wide: Wide = False, json: AsJson = False, base_url: BaseUrl = None) -> None:
    """Show what a worker takes as its input, which needs no key."""
    with open_client(None, base_url, is_public=True) as client:
        show_list(client.workers.get_input_schema(worker).properties, _INPUT_COLUMNS, as_json=json, wide=wide)


@tasks_app.command("list", epilog=epilog(f"tasks list --worker {WORKER}"))
@guarded
def list_tasks(
    *,
    worker: Annotated[str | None, typer.Option(metavar="WORKER", help="Only tasks of this worker.")] = None,
    limit: Limit = 20,
    wide: Wide = False,
    json: AsJson = False,
    api_key_file: KeyFile = None,
    base_url: BaseUrl = None,
) -> None:
    """List saved tasks."""
    with open_client(api_key_file, base_url) as client:
        found = client.tasks.iterate(worker_id=worker, page_size=min(limit, 100), max_items=limit)
        show_list(found, _TASK_COLUMNS, as_json=json, wide=wide, limit=limit)


@tasks_app.command("show", epilog=epilog(f"tasks show {_ID} --json"))
@guarded
def show_task(task: TaskName, *, json: AsJson = False, api_key_file: KeyFile = None, base_url: BaseUrl = None) -> None:
    """Show one task, its saved input included, which may hold credentials."""
    with open_client(api_key_file, base_url) as client:
        show_one(client.tasks.get(task), as_json=json)


@tasks_app.command("run", epilog=epilog(f"tasks run {_ID} --wait", codes=STARTED))
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
    api_key_file: KeyFile = None,
    base_url: BaseUrl = None,
) -> None:
    """Start a run of a saved task, which costs money, and print its id; with the options of run."""
    starting = Starting.of(
        wait=wait, output=output, format=format, timeout=timeout, abort=abort_on_interrupt, as_json=json
    )
    with open_client(api_key_file, base_url) as client:
        starting.perform(client, lambda: client.tasks.start_run(task))


@queue_app.command("list", epilog=epilog("queue list"))
@guarded
def list_queue(
    *,
    limit: Limit = 20,
    wide: Wide = False,
    json: AsJson = False,
    api_key_file: KeyFile = None,
    base_url: BaseUrl = None,
) -> None:
    """List what waits to be activated."""
    with open_client(api_key_file, base_url) as client:
        found = client.run_queue.iterate(page_size=min(limit, 100), max_items=limit)
        show_list(found, _QUEUE_COLUMNS, as_json=json, wide=wide, limit=limit)


@queue_app.command("activate", epilog=epilog(f"queue activate {_ID}", codes=MAY_HAVE_STARTED))
@guarded
def activate(
    items: Annotated[list[str], typer.Argument(metavar="ITEM...", help="Ids of items.")],
    *,
    json: AsJson = False,
    api_key_file: KeyFile = None,
    base_url: BaseUrl = None,
) -> None:
    """Let items run, which costs money; exit code 4 where some may run and nobody can tell."""
    with open_client(api_key_file, base_url) as client:
        _show_actions(activated(client, items), as_json=json)


@queue_app.command("release", epilog=epilog(f"queue release {_ID} --reason late"))
@guarded
def release(
    items: Annotated[list[str], typer.Argument(metavar="ITEM...", help="Ids of items.")],
    *,
    reason: Annotated[str | None, typer.Option(help="Why, for the service's records.")] = None,
    json: AsJson = False,
    api_key_file: KeyFile = None,
    base_url: BaseUrl = None,
) -> None:
    """Take items out of the queue for good."""
    with open_client(api_key_file, base_url) as client:
        _show_actions(client.run_queue.release(items, reason=reason), as_json=json)


def _show_actions(actions: Sequence[QueueAction], *, as_json: bool) -> None:
    """Show what became of each item; the service agrees also when single ones failed."""
    show_list(actions, _ACTION_COLUMNS, as_json=as_json)
    if not all(action.success for action in actions):
        raise typer.Exit(ExitCode.OUTCOME_UNKNOWN if current().is_unknown else ExitCode.SERVICE)
