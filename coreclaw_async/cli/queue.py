"""``queue``: runs that wait until somebody activates them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from coreclaw_async._sync.generated import CoreClaw
from coreclaw_async.cli._process.receipts import current
from coreclaw_async.cli._screen.tables import Column, show_list
from coreclaw_async.cli.epilogs import EXAMPLE_ID, MAY_HAVE_STARTED, epilog, group_epilog
from coreclaw_async.cli.failures import ExitCode
from coreclaw_async.cli.guard import guarded
from coreclaw_async.cli.options import AsJson, Limit, Wide
from coreclaw_async.cli.session import open_client
from coreclaw_async.errors import CoreClawError
from coreclaw_async.models import QueueAction

_QUEUE_COLUMNS = [
    Column("item", lambda item: item.queue_id, "id"),
    Column("status", lambda item: item.status),
]
_ACTION_COLUMNS = [
    Column("item", lambda action: action.queue_id, "id"),
    Column("done", lambda action: "perhaps, by this call" if action.may_be_ours else "yes" if action.success else "no"),
    Column("reason", lambda action: action.error, "prose"),
]

queue_app = typer.Typer(
    no_args_is_help=True,
    help="Runs that wait until somebody activates them.",
    epilog=group_epilog("queue list", f"queue activate {EXAMPLE_ID}"),
)


@queue_app.command("list", epilog=epilog("queue list"))
@guarded
def list_queue(*, limit: Limit = 20, wide: Wide = False, json: AsJson = False) -> None:
    """List the items that wait to be activated."""
    with open_client() as client:
        found = client.run_queue.iterate(page_size=min(limit, 100), max_items=limit)
        show_list(found, _QUEUE_COLUMNS, as_json=json, wide=wide, limit=limit)


@queue_app.command("activate", epilog=epilog(f"queue activate {EXAMPLE_ID}", codes=MAY_HAVE_STARTED))
@guarded
def activate(
    items: Annotated[list[str], typer.Argument(metavar="ITEM...", help="Ids of items.")], *, json: AsJson = False
) -> None:
    """Let items run, which costs money; exit code 4 if it is unknown whether some of them run."""
    with open_client() as client:
        _show_actions(_activated(client, items), as_json=json)


@queue_app.command("release", epilog=epilog(f"queue release {EXAMPLE_ID} --reason late"))
@guarded
def release(
    items: Annotated[list[str], typer.Argument(metavar="ITEM...", help="Ids of items.")],
    *,
    reason: Annotated[str | None, typer.Option(help="Why, for the service's records.")] = None,
    json: AsJson = False,
) -> None:
    """Take items out of the queue for good."""
    with open_client() as client:
        _show_actions(client.run_queue.release(items, reason=reason), as_json=json)


def _activated(client: CoreClaw, queue_ids: Sequence[str]) -> tuple[QueueAction, ...]:
    """Let items of the queue run, which costs money, and record a start if it is unknown whether some of them run."""
    try:
        actions = client.run_queue.activate(queue_ids)
    except KeyboardInterrupt:
        current().may_have_paid()
        raise
    except CoreClawError as error:
        if error.may_have_taken_effect:
            current().may_have_paid()
        raise
    if any(action.may_be_ours for action in actions):
        current().may_have_paid()
    return actions


def _show_actions(actions: Sequence[QueueAction], *, as_json: bool) -> None:
    """Show the result of each item; the service reports success even if single items failed."""
    show_list(actions, _ACTION_COLUMNS, as_json=as_json)
    if not all(action.success for action in actions):
        raise typer.Exit(ExitCode.OUTCOME_UNKNOWN if current().is_unknown else ExitCode.SERVICE)
