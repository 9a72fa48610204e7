"""``batch plan|run|report|resolve``: many runs under one name, each paid for once, through crashes."""

from __future__ import annotations

import json as json_format
import sys
from contextlib import ExitStack
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, TypeAlias, cast

import typer

from coreclaw_async._batches.reports import BatchReport
from coreclaw_async._batches.specs import RunSpec
from coreclaw_async._sync_generated import CoreClaw
from coreclaw_async.cli.batch_progress import BatchProgress
from coreclaw_async.cli.failures import ExitCode
from coreclaw_async.cli.options import STDIO, AsJson, BaseUrl, KeyFile
from coreclaw_async.cli.output import print_json, show_list
from coreclaw_async.cli.screen import Screen, money
from coreclaw_async.cli.session import guarded, open_client
from coreclaw_async.ledger import BatchItem, BatchItemState

_MEMBERS = {"key", "worker_id", "input", "system", "version"}


def _amount(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise typer.BadParameter(f"{text!r} is no amount of money") from None


Name: TypeAlias = Annotated[str, typer.Argument(metavar="NAME", help="Name of the batch.")]
Ledger: TypeAlias = Annotated[
    str, typer.Option(metavar="FILE|URL", help="The ledger: a file, sqlite:///FILE, or postgresql://...")
]
Exclusive: TypeAlias = Annotated[
    bool, typer.Option("--exclusive", help="Nobody else starts runs of these workers, so lost starts can be settled.")
]

batch_app = typer.Typer(help="Many runs under one name, each paid for once, through crashes.", no_args_is_help=True)


@batch_app.command()
@guarded
def plan(
    name: Name,
    *,
    ledger: Ledger,
    input: Annotated[
        Path, typer.Option("--input", "-i", metavar="FILE|-", help="A JSON object a line: key, input, worker_id, ...")
    ],
    worker: Annotated[str | None, typer.Option(metavar="WORKER", help="The worker of lines without worker_id.")] = None,
    api_key_file: KeyFile = None,
    base_url: BaseUrl = None,
) -> None:
    """Add items to a batch, and print how many are new; nothing is started, and nothing is sent."""
    with ExitStack() as stack:
        lines = sys.stdin if input == STDIO else stack.enter_context(input.open(encoding="utf-8-sig"))
        client = stack.enter_context(open_client(api_key_file, base_url))
        batch = stack.enter_context(client.batch(name, ledger=ledger))
        added = batch.plan(_spec(number, line, worker) for number, line in enumerate(lines, 1) if line.strip())
        Screen().tell(f"{added} new items; {batch.report().total} in all.")


@batch_app.command()
@guarded
def run(
    name: Name,
    *,
    ledger: Ledger,
    output: Annotated[
        Path | None, typer.Option("--output", "--out", "-o", metavar="FOLDER", help="A file of rows for each run.")
    ] = None,
    max_in_flight: Annotated[int | None, typer.Option(min=1, help="Most runs that go on at once.")] = None,
    max_spend: Annotated[
        Decimal | None, typer.Option(parser=_amount, metavar="AMOUNT", help="US dollars after which none is started.")
    ] = None,
    exclusive: Exclusive = False,
    json: AsJson = False,
    api_key_file: KeyFile = None,
    base_url: BaseUrl = None,
) -> None:
    """
    Start what is planned, wait for all of it, and go on where an earlier process has stopped.

    Exit codes: 0 all done, 1 some failed, were refused or are held, 2 usage or the ledger, 3 the service refused or
    failed, or balance or budget are used up, 130 interrupted.
    """
    screen = Screen()
    with open_client(api_key_file, base_url) as client:
        try:
            report = _run(screen, client, name, ledger, exclusive, output, max_in_flight, max_spend, json)
        except KeyboardInterrupt:
            screen.complain("Interrupted. Runs that were started go on and cost what they cost.")
            screen.complain("  the same command goes on with them, and starts nothing twice")
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        _tell(screen, report, as_json=json)
        if sum(
            report.counts[state] for state in (BatchItemState.FAILED, BatchItemState.REJECTED, BatchItemState.AMBIGUOUS)
        ):
            raise typer.Exit(ExitCode.RUN_FAILED)


@batch_app.command()
@guarded
def report(
    name: Name,
    *,
    ledger: Ledger,
    json: AsJson = False,
    api_key_file: KeyFile = None,
    base_url: BaseUrl = None,
) -> None:
    """Say where a batch stands, and what a person must decide; sends nothing."""
    with open_client(api_key_file, base_url) as client, client.batch(name, ledger=ledger) as batch:
        told = batch.report()
        if json:
            print_json([told])
        else:
            _tell(Screen(), told, as_json=False)


@batch_app.command()
@guarded
def resolve(
    name: Name,
    key: Annotated[str, typer.Argument(metavar="KEY", help="The item that is held.")],
    *,
    ledger: Ledger,
    adopt: Annotated[str | None, typer.Option(metavar="RUN", help="This run is its run.")] = None,
    resubmit: Annotated[
        bool, typer.Option("--resubmit", help="It has no run: start it. If that is wrong, it is paid for twice.")
    ] = False,
    json: AsJson = False,
    api_key_file: KeyFile = None,
    base_url: BaseUrl = None,
) -> None:
    """Decide about an item of which nobody can tell whether it has a run; without an option, show its candidates."""
    with open_client(api_key_file, base_url) as client, client.batch(name, ledger=ledger) as batch:
        try:
            item = batch.get(key)
        except KeyError:
            raise typer.BadParameter(f"batch {name!r} has no item {key!r}") from None
        if adopt is not None or resubmit:
            item = batch.resolve(key, adopt=adopt, resubmit=resubmit)
        _show_items([item], as_json=json)


def _run(
    screen: Screen,
    client: CoreClaw,
    name: str,
    ledger: str,
    exclusive: bool,  # noqa: FBT001 - in the order of the command's
    output: Path | None,
    max_in_flight: int | None,
    max_spend: Decimal | None,
    as_json: bool,  # noqa: FBT001
) -> BatchReport:
    with client.batch(name, ledger=ledger) as planned:
        progress = BatchProgress(screen, planned.report())
    watched: CoreClaw = client.with_options(on_event=progress.note)
    with progress, watched.batch(name, ledger=ledger, exclusive=exclusive) as batch:
        for outcome in batch.run(max_in_flight=max_in_flight, max_spend=max_spend, output=output):
            progress.spend(None if outcome.run is None else outcome.run.usage)
            if as_json:
                print_json([outcome])
        return batch.report()


def _spec(number: int, line: str, worker: str | None) -> RunSpec:
    """Return the spec that a line holds."""
    try:
        given = json_format.loads(line)
        if not isinstance(given, dict):
            raise TypeError("it must be a JSON object")
        members: dict[str, Any] = {"worker_id": worker, "input": {}, **cast("dict[str, Any]", given)}
        if unknown := members.keys() - _MEMBERS:
            raise ValueError(f"it may hold {', '.join(sorted(_MEMBERS))}, not {', '.join(sorted(unknown))}")
        if "key" not in members or members["worker_id"] is None:
            raise ValueError("it must hold a key, and a worker_id where --worker is not given")
        return RunSpec(**members)
    except (ValueError, TypeError, RecursionError) as error:
        raise typer.BadParameter(f"--input: line {number}: {error}") from None


def _tell(screen: Screen, told: BatchReport, *, as_json: bool) -> None:
    """Say where a batch stands, and how to decide about what is held."""
    if not as_json:
        rows = [{"state": state.value, "items": count} for state, count in told.counts.items() if count]
        if rows:
            screen.say_table(rows)
        screen.complain(f"{told.total} items, {told.runs} runs with {told.result_count} rows; {money(told.cost)}.")
    for item in told.held:
        candidates = " or ".join(item.candidates)
        screen.complain(f"Held: {item.key}, which may be run {candidates}, or none.")
    if told.held:
        screen.complain(f"  to decide:  coreclaw-async batch resolve {told.name} KEY --ledger ... --adopt RUN")
        screen.complain("              or --resubmit, which pays again if it has a run")


def _show_items(items: list[BatchItem], *, as_json: bool) -> None:
    show_list(
        items,
        [
            ("key", lambda item: item.key),
            ("state", lambda item: item.state.value),
            ("run", lambda item: item.run_id),
            ("candidates", lambda item: " ".join(item.candidates)),
            ("error", lambda item: item.error),
        ],
        as_json=as_json,
    )
