"""``store`` and ``workers``: which workers there are, and what they take as input."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from coreclaw_async._wire.request import shown_worker
from coreclaw_async.cli._screen.output import STDIO, show_one, whole_file
from coreclaw_async.cli._screen.tables import Column, show_list
from coreclaw_async.cli.epilogs import WORKER, epilog, group_epilog
from coreclaw_async.cli.guard import guarded
from coreclaw_async.cli.options import AsJson, Limit, Wide
from coreclaw_async.cli.session import open_client

Keyword = Annotated[str | None, typer.Argument(metavar="[KEYWORD]", help="Part of a title, id or path.")]
WorkerName = Annotated[str, typer.Argument(metavar="WORKER", help="A worker: its id or owner/name.")]

_WORKER_COLUMNS = [
    Column("worker", lambda worker: shown_worker(worker.path or worker.worker_id), "id"),
    Column("title", lambda worker: worker.title),
    Column("worker_id", lambda worker: worker.worker_id, "id"),
]
_INPUT_COLUMNS = [
    Column("name", lambda entry: entry.name, "id"),
    Column("type", lambda entry: entry.type),
    Column("required", lambda entry: "yes" if entry.required else "no"),
    Column("default", lambda entry: entry.default),
    Column("title", lambda entry: entry.title),
]

workers_app = typer.Typer(
    no_args_is_help=True,
    help="Workers of this account, and the details of any worker.",
    epilog=group_epilog("workers list", f"workers input {WORKER}", f"workers types {WORKER}"),
)


@partial(guarded, needs_key=False)
def store(keyword: Keyword = None, *, limit: Limit = 20, wide: Wide = False, json: AsJson = False) -> None:
    """List workers of the public store, which needs no key."""
    with open_client() as client:
        found = client.store.iterate(keyword=keyword, page_size=min(limit, 100), max_items=limit)
        show_list(found, _WORKER_COLUMNS, as_json=json, wide=wide, limit=limit)


@workers_app.command("list", epilog=epilog("workers list maps"))
@guarded
def list_workers(keyword: Keyword = None, *, limit: Limit = 20, wide: Wide = False, json: AsJson = False) -> None:
    """List the account's own workers."""
    with open_client() as client:
        found = client.workers.iterate(keyword=keyword, page_size=min(limit, 100), max_items=limit)
        show_list(found, _WORKER_COLUMNS, as_json=json, wide=wide, limit=limit)


@workers_app.command("show", epilog=epilog(f"workers show {WORKER}"))
@guarded
def show_worker(worker: WorkerName, *, json: AsJson = False) -> None:
    """Show one worker."""
    with open_client() as client:
        show_one(client.workers.get(worker), as_json=json)


@workers_app.command("input", epilog=epilog(f"workers input {WORKER}"))
@partial(guarded, needs_key=False)
def show_input(worker: WorkerName, *, wide: Wide = False, json: AsJson = False) -> None:
    """Show what a worker takes as its input, which needs no key."""
    with open_client() as client:
        show_list(client.workers.get_input_schema(worker).properties, _INPUT_COLUMNS, as_json=json, wide=wide)


@workers_app.command("types", epilog=epilog(f"workers types {WORKER}"))
@partial(guarded, needs_key=False)
def write_type(worker: WorkerName) -> None:
    """Print a Python module with a TypedDict for what a worker takes as its input, which needs no key."""
    with open_client() as client, whole_file(STDIO) as file:
        file.write(client.workers.input_type(worker))
