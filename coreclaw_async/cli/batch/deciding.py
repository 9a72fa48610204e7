"""``batch rerun|cancel|pause|resume|resolve|prune|reset-foreign``: decisions about a batch."""

from __future__ import annotations

from typing import Annotated

import typer

from coreclaw_async._data.counting import counted
from coreclaw_async._wire.timestamps import moment_of
from coreclaw_async.cli._screen.output import print_json
from coreclaw_async.cli._screen.screen import Screen
from coreclaw_async.cli._screen.tables import Column, show_list
from coreclaw_async.cli.batch.session import (
    Account,
    Ledger,
    Name,
    check_batch_exists,
    existing,
    open_batch,
    tell_result,
)
from coreclaw_async.cli.guard import guarded
from coreclaw_async.cli.options import AsJson
from coreclaw_async.cli.session import open_client
from coreclaw_async.errors import BatchAbortError, LedgerError


@guarded
def rerun(
    name: Name,
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY]...", help="Which items; by default all whose run failed.")
    ] = None,
    *,
    ledger: Ledger,
    account: Account = None,
    json: AsJson = False,
) -> None:
    """Plan failed, refused or cancelled items again; the next batch run starts them, which costs money."""
    with open_batch(name, ledger, account) as batch:
        try:
            count = batch.rerun(keys or None)
        except KeyError as error:
            raise _no_item(name, error) from None
        tell_result(
            {"batch": name, "planned": count}, f"{counted(count, 'item is', 'items are')} planned again.", as_json=json
        )


@guarded
def cancel(
    name: Name,
    *,
    ledger: Ledger,
    account: Account = None,
    abort: Annotated[bool, typer.Option("--abort", help="Also abort running runs.")] = False,
    json: AsJson = False,
) -> None:
    """Remove planned items; running runs are left alone unless --abort is given."""
    with open_batch(name, ledger, account) as batch:
        try:
            count = batch.cancel(abort=abort)
        except BatchAbortError as error:
            left = list(zip(error.keys, error.not_aborted, error.reasons, strict=True))
            for key, run_id, why in left:
                Screen().complain(f"Not aborted: {key}: run {run_id}: {why}")
            if json:
                runs = {key: run_id for key, run_id, _ in left}
                print_json([{"batch": name, "cancelled": error.cancelled, "not_aborted": runs}])
            raise
        asked = " The running runs were asked to stop; batch run reports how they end." if abort else ""
        tell_result(
            {"batch": name, "cancelled": count},
            f"{counted(count, 'item was', 'items were')} taken out.{asked}",
            as_json=json,
        )


@guarded
def pause(name: Name, *, ledger: Ledger, account: Account = None, json: AsJson = False) -> None:
    """Stop all processes from starting runs of a batch until batch resume; running runs are still awaited."""
    with open_batch(name, ledger, account) as batch:
        batch.pause()
        tell_result({"batch": name, "is_paused": True}, f"{name} is paused.", as_json=json)


@guarded
def resume(name: Name, *, ledger: Ledger, account: Account = None, json: AsJson = False) -> None:
    """Let every batch run that is at work start runs again."""
    with open_batch(name, ledger, account) as batch:
        batch.resume()
        tell_result({"batch": name, "is_paused": False}, f"{name} is resumed.", as_json=json)


@guarded
def resolve(
    name: Name,
    key: Annotated[str, typer.Argument(metavar="KEY", help="The item that is held.")],
    *,
    ledger: Ledger,
    account: Account = None,
    adopt: Annotated[str | None, typer.Option(metavar="RUN", help="This run is its run.")] = None,
    resubmit: Annotated[
        bool, typer.Option("--resubmit", help="It has no run: start it. If that is wrong, it is paid for twice.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Decide about an item of which nobody can tell whether it has a run; without an option, show its candidates."""
    with open_batch(name, ledger, account) as batch:
        try:
            item = batch.get(key)
        except KeyError as error:
            raise _no_item(name, error) from None
        if adopt is not None or resubmit:
            item = batch.resolve(key, adopt=adopt, resubmit=resubmit)
        show_list(
            [item],
            [
                Column("key", lambda item: item.key, "id"),
                Column("state", lambda item: item.state.value),
                Column("run", lambda item: item.run_id, "id"),
                Column("candidates", lambda item: item.candidates, "id"),
                Column("error", lambda item: item.error, "prose"),
            ],
            as_json=json,
        )


@guarded
def prune(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Which batches; by default all.")
    ] = None,
    *,
    ledger: Ledger,
    account: Account = None,
    older_than_days: Annotated[
        float, typer.Option(min=0, metavar="DAYS", help="Only batches that have been finished for longer.")
    ],
    json: AsJson = False,
) -> None:
    """
    Delete finished batches from a ledger, and print what was deleted; files of rows stay where they are.

    A batch with planned, open or held items is never deleted. The ids of its runs are kept for two months, so that none
    of them is mistaken for the run of a lost start. If the same plan is made again, it is paid for again.
    """
    for name in names or ():
        check_batch_exists(name, ledger)
    screen = Screen()
    with open_client() as client:
        for name in names or existing(ledger):
            try:
                with client.batch(name, ledger=ledger, account=account) as batch:
                    pruned = batch.prune(older_than_days=older_than_days)
            except LedgerError as error:
                if names:
                    raise
                screen.complain(f"Left alone: {name}: {error}")  # Usually because it belongs to another account.
                continue
            if pruned is None:
                screen.complain(f"Kept: {name}, which is not finished, or not for long enough.")
            elif json:
                print_json([pruned])
            else:
                since = f"{moment_of(int(pruned.finished_at)):%Y-%m-%d}"
                what = f"{counted(pruned.items, 'item')} with {counted(pruned.runs, 'run')}"
                screen.tell(f"Deleted {name}: {what}, finished on {since}.")


@guarded
def reset_foreign(
    name: Name,
    worker: Annotated[str, typer.Argument(metavar="WORKER", help="The worker, spelled as in the plan.")],
    *,
    ledger: Ledger,
    account: Account = None,
    json: AsJson = False,
) -> None:
    """Forget that others started runs of a worker, so that batch run --exclusive settles lost starts again."""
    with open_batch(name, ledger, account) as batch:
        try:
            batch.reset_foreign(worker)
        except KeyError:
            raise typer.BadParameter(f"the ledger knows no worker {worker!r}") from None
        tell_result({"worker_id": worker, "has_foreign": False}, f"{worker} counts as exclusive again.", as_json=json)


def _no_item(name: str, error: KeyError) -> typer.BadParameter:
    return typer.BadParameter(f"batch {name!r} has no item {error.args[0]!r}")
