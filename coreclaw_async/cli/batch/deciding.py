"""``batch rerun|cancel|pause|resume|resolve|prune|reset-foreign``: what a person decides about a batch."""

from __future__ import annotations

from typing import Annotated

import typer

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
from coreclaw_async.cli.options import AsJson, BaseUrl, KeyFile
from coreclaw_async.cli.session import open_client
from coreclaw_async.errors import BatchAbortError, LedgerError


@guarded
def rerun(
    name: Name,
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY]...", help="Which items; else all whose run failed.")
    ] = None,
    *,
    ledger: Ledger,
    account: Account = None,
    json: AsJson = False,
    api_key_file: KeyFile = None,
    base_url: BaseUrl = None,
) -> None:
    """Plan items again that failed, were refused or taken out; the next batch run starts them, which costs money."""
    with open_batch(name, ledger, account, api_key_file, base_url) as batch:
        try:
            count = batch.rerun(keys or None)
        except KeyError as error:
            raise _no_item(name, error) from None
        tell_result({"batch": name, "planned": count}, f"{count} items are planned again.", as_json=json)


@guarded
def cancel(
    name: Name,
    *,
    ledger: Ledger,
    account: Account = None,
    abort: Annotated[bool, typer.Option("--abort", help="Abort the runs that go on, too.")] = False,
    json: AsJson = False,
    api_key_file: KeyFile = None,
    base_url: BaseUrl = None,
) -> None:
    """Take out what is planned; runs that go on are left alone unless --abort is given."""
    with open_batch(name, ledger, account, api_key_file, base_url) as batch:
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
        asked = " The runs that went on were asked to stop; batch run tells how they end." if abort else ""
        tell_result({"batch": name, "cancelled": count}, f"{count} items were taken out.{asked}", as_json=json)


@guarded
def pause(
    name: Name,
    *,
    ledger: Ledger,
    account: Account = None,
    json: AsJson = False,
    api_key_file: KeyFile = None,
    base_url: BaseUrl = None,
) -> None:
    """Have no process start runs of a batch until batch resume; those that go on are waited for."""
    with open_batch(name, ledger, account, api_key_file, base_url) as batch:
        batch.pause()
        tell_result({"batch": name, "is_paused": True}, f"{name} is paused.", as_json=json)


@guarded
def resume(
    name: Name,
    *,
    ledger: Ledger,
    account: Account = None,
    json: AsJson = False,
    api_key_file: KeyFile = None,
    base_url: BaseUrl = None,
) -> None:
    """Have runs of a batch started again, wherever batch run is at work."""
    with open_batch(name, ledger, account, api_key_file, base_url) as batch:
        batch.resume()
        tell_result({"batch": name, "is_paused": False}, f"{name} goes on.", as_json=json)


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
    api_key_file: KeyFile = None,
    base_url: BaseUrl = None,
) -> None:
    """Decide about an item of which nobody can tell whether it has a run; without an option, show its candidates."""
    with open_batch(name, ledger, account, api_key_file, base_url) as batch:
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
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Which batches; else all.")] = None,
    *,
    ledger: Ledger,
    account: Account = None,
    older_than: Annotated[
        float, typer.Option(min=0, metavar="DAYS", help="Only batches that have been finished for longer.")
    ],
    json: AsJson = False,
    api_key_file: KeyFile = None,
    base_url: BaseUrl = None,
) -> None:
    """
    Delete finished batches from a ledger, and print what was deleted; files of rows stay where they are.

    A batch with items that are planned, open or held is never deleted. The ids of its runs stay known for two months,
    so that none is taken for the run of a lost start. The same plan made again is paid for again.
    """
    for name in names or ():
        check_batch_exists(name, ledger)
    screen = Screen()
    with open_client(api_key_file, base_url) as client:
        for name in names or existing(ledger):
            try:
                with client.batch(name, ledger=ledger, account=account) as batch:
                    pruned = batch.prune(older_than=older_than)
            except LedgerError as error:
                if names:
                    raise
                screen.complain(f"Left alone: {name}: {error}")  # Another account's, as a rule.
                continue
            if pruned is None:
                screen.complain(f"Kept: {name}, which is not finished, or not for so long.")
            elif json:
                print_json([pruned])
            else:
                since = f"{moment_of(int(pruned.finished_at)):%Y-%m-%d}"
                screen.tell(f"Deleted {name}: {pruned.items} items with {pruned.runs} runs, finished on {since}.")


@guarded
def reset_foreign(
    name: Name,
    worker: Annotated[str, typer.Argument(metavar="WORKER", help="The worker, as it was planned.")],
    *,
    ledger: Ledger,
    account: Account = None,
    json: AsJson = False,
    api_key_file: KeyFile = None,
    base_url: BaseUrl = None,
) -> None:
    """Forget that others were seen to start runs of a worker: batch run --exclusive settles lost starts again."""
    with open_batch(name, ledger, account, api_key_file, base_url) as batch:
        try:
            batch.reset_foreign(worker)
        except KeyError:
            raise typer.BadParameter(f"the ledger knows no worker {worker!r}") from None
        tell_result({"worker_id": worker, "has_foreign": False}, f"{worker} counts as exclusive again.", as_json=json)


def _no_item(name: str, error: KeyError) -> typer.BadParameter:
    return typer.BadParameter(f"batch {name!r} has no item {error.args[0]!r}")
