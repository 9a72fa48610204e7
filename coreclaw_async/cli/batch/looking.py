"""``batch report|items|rows|export``: the state of a batch and its rows; these commands start nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from coreclaw_async._data.counting import counted
from coreclaw_async._operations.exports import ExportFormat
from coreclaw_async._sync.generated import Batch
from coreclaw_async.batch import BatchItemState, BatchRecord, BatchReport
from coreclaw_async.cli._screen.output import STDIO, is_terminal, json_line, print_json, whole_file
from coreclaw_async.cli._screen.screen import Screen, escaped
from coreclaw_async.cli._screen.tables import Column, show_list
from coreclaw_async.cli.batch.page import write_page
from coreclaw_async.cli.batch.session import (
    Account,
    Ledger,
    Name,
    OfWorker,
    RowsFile,
    States,
    batch_command,
    open_batch,
)
from coreclaw_async.cli.batch.state_tables import tell_failures, tell_held, tell_state, tell_sums, tell_verdicts
from coreclaw_async.cli.failures import ExitCode
from coreclaw_async.cli.guard import guarded
from coreclaw_async.cli.options import AsJson, RowFormat, Wide, check_writable, row_format_of
from coreclaw_async.cli.rows.formats import row_writer
from coreclaw_async.models import Row


@guarded
def report(
    name: Name,
    *,
    ledger: Ledger,
    account: Account = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write a page for a browser too, which needs no network."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Show the state of a batch, its cost, and what a person must decide; sends nothing."""
    check_writable(html, option="--html")
    with open_batch(name, ledger, account) as batch:
        told = batch.report()
        screen = Screen()
        if html is not None:
            write_page(batch, told, html)
            if html != STDIO:
                screen.complain(f"{html} ({counted(html.stat().st_size, 'byte')})")
        if json:
            print_json([told])
        elif html != STDIO:
            _tell(screen, told, ledger)


def _tell(screen: Screen, told: BatchReport, ledger: str) -> None:
    tell_state(screen, told, ledger)
    tell_verdicts(screen, told)
    tell_sums(screen, told)
    tell_failures(screen, told, ledger)
    tell_held(screen, told, ledger)
    if told.is_finished:
        screen.hint("the rows", batch_command("rows", told.name, ledger, "-o rows.csv"))
    else:
        screen.hint("to go on", batch_command("run", told.name, ledger, "-o rows"))


@guarded
def items(
    name: Name,
    *,
    ledger: Ledger,
    account: Account = None,
    state: States = None,
    worker: OfWorker = None,
    wide: Wide = False,
    json: AsJson = False,
) -> None:
    """List the items of a batch in the order of the plan, with their runs and errors; sends nothing."""
    with open_batch(name, ledger, account) as batch:
        show_list(
            batch.items(state=state or None, worker_id=worker),
            [
                Column("key", lambda item: item.key, "id"),
                Column("state", lambda item: item.state.value),
                Column("run", lambda item: item.run_id or item.candidates, "id"),
                Column("rows", lambda item: item.result_count, "number"),
                Column("verdict", lambda item: item.verdict),
                Column("cost", lambda item: item.cost, "money"),
                Column("error", lambda item: item.error),
            ],
            as_json=json,
            wide=wide,
        )


@guarded
def rows(
    name: Name,
    *,
    ledger: Ledger,
    account: Account = None,
    output: RowsFile = STDIO,
    format: RowFormat = None,
    state: States = None,
    worker: OfWorker = None,
    json: AsJson = False,
) -> None:
    """
    Print all rows of a batch, each with the key of its item, from the files of batch run or from the service.

    Lines of JSON, or one JSON array, with the members key and row; or CSV, whose first column is the key, with all
    columns of all rows.
    """
    check_writable(output)
    one_run = "coreclaw-async export RUN -o FILE, for one run"
    wanted = row_format_of(output, "jsonl" if json else format, instead=one_run)
    with open_batch(name, ledger, account) as batch:
        count = _write_rows(batch.rows(state=state or BatchItemState.DONE, worker_id=worker), output, wanted)
        if output != STDIO:
            Screen().complain(f"{output} ({counted(count, 'row')})")
        if not state and _is_missing_some(batch):
            raise typer.Exit(ExitCode.INCOMPLETE)


def _write_rows(rows: Iterable[tuple[str, Row]], path: Path, format: str) -> int:
    """Write rows with the keys of their items, whole or not at all; return how many there were."""
    count = 0
    with (
        whole_file(path) as file,
        row_writer(file, format, has_keys=True, is_shown=is_terminal(path)) as writer,
    ):
        for key, row in rows:
            writer.write(row, key)
            count += 1
    return count


def _is_missing_some(batch: Batch) -> bool:
    """Report the items without rows, and return whether their rows may still come."""
    counts = batch.report().counts
    missing = {state: count for state, count in counts.items() if count and state is not BatchItemState.DONE}
    if missing:
        what = ", ".join(f"{count} {state.value}" for state, count in missing.items())
        Screen().complain(f"These items are not done, and have no rows here: {what}.")
    return any(state.is_open or state is BatchItemState.AMBIGUOUS for state in missing)


@guarded
def export(
    name: Name,
    *,
    ledger: Ledger,
    account: Account = None,
    with_inputs: Annotated[bool, typer.Option("--with-inputs", help="With what was planned for each item.")] = False,
    output: RowsFile = STDIO,
    json: AsJson = True,  # noqa: ARG001 - it prints nothing else
) -> None:
    """Print everything in the ledger about a batch: one item a line of JSON, with each of its runs."""
    check_writable(output)
    _check_ending(output)
    show: Callable[[str], str] = escaped if is_terminal(output) else str
    with open_batch(name, ledger, account) as batch, whole_file(output) as file:
        count = 0
        for record in batch.export(with_inputs=with_inputs):
            file.write(show(json_line(_exported(record, with_input=with_inputs))) + "\n")
            count += 1
        file.flush()
    if output != STDIO:
        Screen().complain(f"{output} ({counted(count, 'item')})")


def _check_ending(path: Path) -> None:
    """Refuse the ending of another format, as no program opens lines of JSON in a file named rows.xlsx."""
    ending = path.suffix.lower().removeprefix(".")
    if ending in set(get_args(ExportFormat)) - {"jsonl", "json"}:
        raise typer.BadParameter(
            f"--output: the export is lines of JSON, not {ending}: name the file {path.with_suffix('.jsonl')}; "
            "the rows as CSV: coreclaw-async batch rows"
        )


def _exported(record: BatchRecord, *, with_input: bool) -> dict[str, Any]:
    told = record.to_dict()
    planned = {"input": told["input"]} if with_input else {}
    return {**told["item"], "runs": told["runs"], **planned}
