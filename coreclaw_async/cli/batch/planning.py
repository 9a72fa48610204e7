"""``batch plan``: items from lines of JSON or from CSV."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TextIO, TypeAlias

import typer

from coreclaw_async._data.counting import counted
from coreclaw_async._sync.generated import CoreClaw
from coreclaw_async.batch._store.address import shown_ledger
from coreclaw_async.cli._process.inputs import open_input
from coreclaw_async.cli._screen.output import STDIO
from coreclaw_async.cli._screen.screen import Screen
from coreclaw_async.cli.batch.checking import PlanCheck, read_twice
from coreclaw_async.cli.batch.session import Account, Ledger, Name, batch_command, names_in, tell_result
from coreclaw_async.cli.batch.specs import FORMATS, SpecReader
from coreclaw_async.cli.guard import guarded
from coreclaw_async.cli.options import AsJson
from coreclaw_async.cli.session import open_client

Input: TypeAlias = Annotated[
    Path, typer.Option("--input", "-i", metavar="FILE|-", help="A spec a line: JSON objects, or CSV with a header.")
]
Format: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="FORMAT",
        autocompletion=lambda: list(FORMATS),
        help="jsonl or csv; else the ending of the file.",
    ),
]
KeyFrom: TypeAlias = Annotated[
    str | None, typer.Option(metavar="FIELD", help="The member of the input that is the key of specs without one.")
]
Retries: TypeAlias = Annotated[
    int | None,
    typer.Option(min=0, help="Runs that may follow a failed one, each paid for, of specs without retries."),
]
RunTimeout: TypeAlias = Annotated[
    float | None, typer.Option(metavar="SECONDS", help="When a run is aborted, of specs without run_timeout.")
]


@guarded
def plan(
    name: Name,
    *,
    ledger: Ledger,
    account: Account = None,
    input: Input,
    format: Format = None,
    worker: Annotated[str | None, typer.Option(metavar="WORKER", help="The worker of specs without worker_id.")] = None,
    key_from: KeyFrom = None,
    retries: Retries = None,
    run_timeout: RunTimeout = None,
    priority: Annotated[int | None, typer.Option(help="The higher, the sooner: of specs without priority.")] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Plan nothing if an input would certainly fail, by its worker's schema. One that cannot be read is "
            "asked for again for a minute.",
        ),
    ] = False,
    json: AsJson = False,
) -> None:
    """
    Add items to a batch, which may be new, and print how many are new; nothing is started.

    A line of JSON has the members key, worker_id, input, system, version, retries, run_timeout and priority. CSV has
    columns with the same names (input and system hold JSON), and each other column is a member of the input: a string,
    or JSON if the name ends with ":json". Empty cells are left out.
    """
    given = {"worker_id": worker, "retries": retries, "run_timeout": run_timeout, "priority": priority}
    reader = SpecReader(
        defaults={member: value for member, value in given.items() if value is not None}, key_from=key_from
    )
    wanted = _format_of(input, format)
    names = names_in(ledger)
    with (
        _lines_of(input) as lines,
        open_client() as client,
        _checked(lines, reader, wanted, client if check else None, as_json=json) as checked,
        client.batch(name, ledger=ledger, account=account) as batch,
    ):
        if names is None or name not in names:
            Screen().complain(f"The batch {name!r} is new in the ledger {shown_ledger(ledger)}.")
        added = batch.plan(reader.read(checked, wanted))
        total = batch.report().total
    tell_result(
        {"batch": name, "added": added, "total": total},
        f"{counted(added, 'new item')}; {total:,} in all.",
        as_json=json,
    )
    if added and not json:
        Screen().hint("to start them", batch_command("run", name, ledger, "-o rows"))


@contextmanager
def _checked(
    lines: TextIO, reader: SpecReader, format: str, client: CoreClaw | None, *, as_json: bool
) -> Generator[TextIO]:
    """Return the lines of a plan once its inputs were checked, where there is a *client* to do so."""
    if client is None:
        yield lines
        return
    with read_twice(lines) as copy:
        PlanCheck(client, as_json=as_json).refuse_wrong(reader.numbered(copy, format))
        copy.seek(0)
        yield copy


def _format_of(path: Path, given: str | None) -> str:
    if given is None:
        return "csv" if path.suffix.lower() == ".csv" else "jsonl"
    if given not in FORMATS:
        raise typer.BadParameter(f"--format must be one of {', '.join(FORMATS)}, not {given!r}")
    return given


@contextmanager
def _lines_of(path: Path) -> Generator[TextIO]:
    """Open the plan; the reader handles its line ends."""
    try:
        file = open_input(path)
    except OSError as error:
        raise typer.BadParameter(f"--input: {path} cannot be read: {error.strerror}") from None
    with file as lines:
        try:
            yield lines
        except UnicodeDecodeError as error:
            name = "standard input" if path == STDIO else path
            raise typer.BadParameter(f"--input: {name} is not UTF-8: {error}") from None
