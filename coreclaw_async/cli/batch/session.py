"""What the commands about batches share: their options, and opening a batch that exists."""

from __future__ import annotations

import os
import shlex
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import anyio
import typer

from coreclaw_async._operations.once import LEDGER_VARIABLE
from coreclaw_async._sync.generated import Batch
from coreclaw_async.batch import BatchItemState
from coreclaw_async.batch._store.address import MEMORY, shown_ledger
from coreclaw_async.batch._store.lookup import batches_in
from coreclaw_async.cli._screen.output import print_json
from coreclaw_async.cli._screen.screen import Screen
from coreclaw_async.cli.session import open_client

_MAX_NAMES = 20

Name: TypeAlias = Annotated[str, typer.Argument(metavar="NAME", help="Name of the batch.")]
Ledger: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="FILE|URL",
        envvar=LEDGER_VARIABLE,
        help="Where the batch is kept: a file, such as runs.db, sqlite:///FILE, or postgresql://...",
    ),
]
Account: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Your name for the account, so that its other keys can continue; by default its key tells."
    ),
]
States: TypeAlias = Annotated[
    list[BatchItemState] | None, typer.Option("--state", help="Only items in this state; may be given several times.")
]
OfWorker: TypeAlias = Annotated[
    str | None, typer.Option("--worker", metavar="WORKER", help="Only items of this worker, spelled as in the plan.")
]
RowsFile: TypeAlias = Annotated[
    Path, typer.Option("--output", "-o", metavar="FILE", help="Write a file, whole or not at all.")
]


def names_in(ledger: str) -> Sequence[str] | None:
    """
    Return the batches of a ledger, or None if there is no ledger; none is made.

    Raises:
        typer.BadParameter: The ledger is in memory.
    """
    if ledger == MEMORY:
        raise typer.BadParameter("--ledger: a ledger in memory is lost when the command ends; name a file")
    return anyio.run(batches_in, ledger)


def check_batch_exists(name: str, ledger: str) -> None:
    """
    Refuse a batch that does not exist before anything is made, as a name may be mistyped.

    Raises:
        typer.BadParameter: There is no such batch.
    """
    names = existing(ledger)
    if name not in names:
        shown = ", ".join(repr(one) for one in names[:_MAX_NAMES])
        more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
        there = f"it has {shown}{more}" if names else "it has none"
        raise typer.BadParameter(f"the ledger {shown_ledger(ledger)} has no batch {name!r}; {there}")


def existing(ledger: str) -> Sequence[str]:
    """
    Return the batches of a ledger.

    Raises:
        typer.BadParameter: There is no ledger.
    """
    names = names_in(ledger)
    if names is None:
        raise typer.BadParameter(f"there is no ledger {shown_ledger(ledger)}; coreclaw-async batch plan makes one")
    return names


def batch_command(words: str, name: str, ledger: str, *options: str) -> str:
    """Return a command for this batch to paste; the ledger is left out if the environment names it."""
    shown = shown_ledger(ledger)
    if os.environ.get(LEDGER_VARIABLE) == ledger:
        named: list[str] = []
    else:
        named = ["--ledger", shlex.quote(shown) if shown == ledger else "..."]  # It has a password, which is not shown.
    return " ".join(["coreclaw-async batch", words, shlex.quote(name), *named, *options])


@contextmanager
def open_batch(name: str, ledger: str, account: str | None) -> Generator[Batch]:
    """Open a batch that exists."""
    check_batch_exists(name, ledger)
    with open_client() as client, client.batch(name, ledger=ledger, account=account) as batch:
        yield batch


def tell_result(result: dict[str, Any], words: str, *, as_json: bool) -> None:
    """Print the result of a command."""
    if as_json:
        print_json([result])
    else:
        Screen().tell(words)
