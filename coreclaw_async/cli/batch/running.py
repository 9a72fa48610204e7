"""``batch run``: work on a batch until nothing is left to do, and report what is left."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, TypeAlias, cast, get_args

import attrs
import typer

from coreclaw_async._sync.generated import Batch
from coreclaw_async.batch import BatchItemState, BatchOutcome, BatchReport, OnAmbiguous, OutputFormat, SettleTimes
from coreclaw_async.cli._process.interrupts import exit_code
from coreclaw_async.cli._process.receipts import current
from coreclaw_async.cli._screen.output import print_json
from coreclaw_async.cli._screen.screen import Screen
from coreclaw_async.cli.batch.progress import BatchBar
from coreclaw_async.cli.batch.session import Account, Ledger, Name, batch_command, check_batch_exists
from coreclaw_async.cli.batch.state_tables import tell_failures, tell_held, tell_state
from coreclaw_async.cli.failures import ExitCode, exit_code_of
from coreclaw_async.cli.guard import guarded
from coreclaw_async.cli.options import AsJson, amount_of
from coreclaw_async.cli.outage_news import current_news
from coreclaw_async.cli.session import open_client
from coreclaw_async.errors import BatchIncompleteError, CoreClawError, LedgerError
from coreclaw_async.events import Event

_MAX_SHOWN = 100
_FORMATS = get_args(OutputFormat)


def _settle_times(text: str) -> SettleTimes:
    """Return the given times; the others keep their defaults."""
    names = list(attrs.fields_dict(SettleTimes))
    times: dict[str, float] = {}
    for part in text.split(","):
        name, _, seconds = (piece.strip() for piece in part.partition("="))
        try:
            times[name] = float(seconds)
        except ValueError:
            raise typer.BadParameter(f"{part!r} is not NAME=SECONDS, such as list_lag=20") from None
        if name not in names:
            raise typer.BadParameter(f"{name!r} is none of {', '.join(names)}")
    try:
        return SettleTimes(**times)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


@attrs.frozen
class _Stop:
    """
    Why the work ended before everything was done.

    Attributes:
        code: The exit code.
        why: What happened.
        reasons: Why items are open, by key.
    """

    code: int
    why: str
    reasons: Mapping[str, str] = attrs.field(factory=dict[str, str])


Output: TypeAlias = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FOLDER", help="A file of rows for each run.")
]
OutputFormatOption: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="|".join(_FORMATS),
        autocompletion=lambda: list(_FORMATS),
        help="What these files are; parquet needs the extra arrow.",
    ),
]
Width: TypeAlias = Annotated[
    int | None, typer.Option(min=1, help="Starts of one worker under way at once; above 1 only with callbacks.")
]
MaxSpend: TypeAlias = Annotated[
    Decimal | None,
    typer.Option(parser=amount_of, metavar="AMOUNT", help="US dollars that the batch may cost; kept in the ledger."),
]
Patience: TypeAlias = Annotated[
    float, typer.Option(min=0, metavar="SECONDS", help="How long to keep trying while the service cannot be used.")
]
Exclusive: TypeAlias = Annotated[
    bool,
    typer.Option("--exclusive", help="Nobody else starts runs of these workers, so lost starts can be settled."),
]
OnAmbiguousOption: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="hold|fail|resubmit", help="What to do with an item that may have a run; resubmit may pay twice."
    ),
]
SettleTimesOption: TypeAlias = Annotated[
    SettleTimes | None,
    typer.Option(
        parser=_settle_times,
        metavar="NAME=SECONDS,...",
        help=f"When a lost start counts as settled: {', '.join(attrs.fields_dict(SettleTimes))}.",
    ),
]


@guarded
def run(
    name: Name,
    *,
    ledger: Ledger,
    account: Account = None,
    output: Output = None,
    output_format: OutputFormatOption = "jsonl",
    max_in_flight: Annotated[int | None, typer.Option(min=1, help="Most runs at the same time.")] = None,
    width: Width = None,
    max_spend: MaxSpend = None,
    patience: Patience = 1800.0,
    exclusive: Exclusive = False,
    on_ambiguous: OnAmbiguousOption = "hold",
    settle_times: SettleTimesOption = None,
    json: AsJson = False,
) -> None:
    """
    Start all planned items, wait for their runs, and continue where an earlier process stopped.

    With --json, prints one outcome a line; if the exit code is not 0, a last object without a key says why.
    """
    if output is not None and output.exists() and not output.is_dir():
        raise typer.BadParameter(f"--output: {output} is no folder")
    if output_format not in _FORMATS:
        raise typer.BadParameter(f"--output-format must be one of {', '.join(_FORMATS)}, not {output_format!r}")
    if output is None and output_format != "jsonl":
        raise typer.BadParameter(f"--output-format {output_format} is for --output FOLDER")
    check_batch_exists(name, ledger)
    screen = Screen()
    progress, news = BatchBar(screen), current_news()

    def note(event: Event) -> None:
        progress.note(event)
        news.note(event)

    with (
        open_client() as client,
        client.with_options(on_event=note).batch(
            name,
            ledger=ledger,
            exclusive=exclusive,
            on_ambiguous=cast("OnAmbiguous", on_ambiguous),
            settle_times=settle_times,
            max_spend=max_spend,
            patience=patience,
            account=account,
        ) as batch,
    ):
        outcomes = batch.run(
            max_in_flight=max_in_flight,
            output=output,
            output_format=cast("OutputFormat", output_format),
            width=width,
        )
        if batch.report().is_paused:
            screen.complain(f"Paused: nothing is started until {batch_command('resume', name, ledger)}.")
        current().has_paid = True  # Or soon will have; the ledger knows for which runs.
        stop = _work(batch, outcomes, progress, as_json=json)
        code = _tell_end(screen, batch, stop, ledger, as_json=json)
    if code:
        raise typer.Exit(code)


def _work(batch: Batch, outcomes: Iterable[BatchOutcome], progress: BatchBar, *, as_json: bool) -> _Stop | None:
    """Work until nothing is left to do; return why it ended earlier, or None."""
    try:
        with progress.following(batch.report):
            for outcome in outcomes:
                if as_json:
                    print_json([outcome])
    except KeyboardInterrupt as interrupt:
        return _Stop(exit_code(interrupt), "Interrupted. Runs that were started are still running and cost money.")
    except BatchIncompleteError as error:
        return _Stop(ExitCode.INCOMPLETE, str(error), error.reasons)
    except LedgerError as error:  # No usage error any more: runs may have been started.
        return _Stop(ExitCode.INCOMPLETE, str(error))
    except CoreClawError as error:
        code = exit_code_of(error)
        return _Stop(ExitCode.SERVICE if code is ExitCode.USAGE else code, str(error))
    except OSError as error:
        return _Stop(ExitCode.NOT_WRITTEN, f"The rows of the runs could not be written: {error}")
    return None


def _tell_end(screen: Screen, batch: Batch, stop: _Stop | None, ledger: str, *, as_json: bool) -> int:
    """Report the state of the batch and why the work ended; return the exit code."""
    try:
        told = batch.report()
        left = _runs_left(batch)
    except CoreClawError as error:  # The ledger has failed.
        told, left = None, {}
        stop = stop or _Stop(ExitCode.INCOMPLETE, str(error))
    code = _code_of(told, stop)
    if told is not None:
        if not as_json:
            with contextlib.suppress(OSError):  # The end of the command checks the stream.
                tell_state(screen, told, ledger)
        tell_failures(screen, told, ledger)
        tell_held(screen, told, ledger)
    if stop is not None:
        running = {
            key: f"run {run_id} is still running, or its rows were not read yet." for key, run_id in left.items()
        }
        for key, why in [*stop.reasons.items(), *running.items()]:
            screen.complain(f"Open: {key}: {why}")
        screen.complain(stop.why)
        screen.complain("  to continue, run the same command again: it starts nothing twice")
    elif told is not None and told.result_count:
        screen.hint("the rows", batch_command("rows", told.name, ledger, "-o rows.csv"))
    if as_json and code:
        with contextlib.suppress(OSError):  # Standard error has all of it too.
            print_json([_summary(batch.name, code, told, stop, left)])
    return code


def _runs_left(batch: Batch) -> dict[str, str]:
    """Return the runs that may still be running, by key."""
    items = batch.items(state=BatchItemState.SUBMITTED)
    return {item.key: item.run_id or "" for _, item in zip(range(_MAX_SHOWN), items, strict=False)}


def _code_of(told: BatchReport | None, stop: _Stop | None) -> int:
    if stop is not None:
        return stop.code
    assert told is not None, "there is a stop where it could not be read"
    counts = told.counts
    if not told.is_finished or counts[BatchItemState.AMBIGUOUS] or told.is_half_planned:
        return ExitCode.INCOMPLETE
    return ExitCode.RUN_FAILED if counts[BatchItemState.FAILED] or counts[BatchItemState.REJECTED] else 0


def _summary(
    name: str, code: int, told: BatchReport | None, stop: _Stop | None, left: Mapping[str, str]
) -> dict[str, Any]:
    """Return the last object, which has no key: how the work ended."""
    return {
        "batch": name,
        "exit_code": int(code),
        "error": None if stop is None else stop.why,
        "counts": {} if told is None else dict(told.counts),
        "reasons": {} if stop is None else dict(stop.reasons),
        "runs_left": dict(left),
        "held": {} if told is None else {item.key: list(item.candidates) for item in told.held},
        "failures": {} if told is None else {item.key: item.error for item in told.failures},
    }
