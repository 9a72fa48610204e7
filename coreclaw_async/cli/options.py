"""The options that commands share, and how their values are read."""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, TypeAlias, cast, get_args

import typer

from coreclaw_async._files.target import check_target
from coreclaw_async._operations.exports import ExportFormat
from coreclaw_async._operations.once import LEDGER_FILE, LEDGER_VARIABLE
from coreclaw_async._operations.runs import id_of_last
from coreclaw_async._sync.generated import CoreClaw
from coreclaw_async._wire.request import build_body
from coreclaw_async.cli._process.inputs import open_input
from coreclaw_async.cli._screen.output import STDIO
from coreclaw_async.models import LastRun, Run, RunRef, RunStatus

ROW_FORMATS = ("csv", "json", "jsonl")
_AGES = {"m": 60, "h": 3600, "d": 86_400}
_DAYS = {"today": 0, "yesterday": 1}
TIMES = "today, yesterday, an age like 12h or 7d, or a date or time in ISO 8601"


def _formats() -> list[str]:
    return list(get_args(ExportFormat))


def _statuses() -> list[str]:
    return list(RunStatus)


def _seconds(value: float | None) -> float | None:
    """Refuse a duration that is not above 0 and finite, before anything is paid for."""
    if value is not None and not 0 < value < math.inf:
        raise typer.BadParameter(f"must be above 0 and finite, not {value:g}")
    return value


AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON: an object a line.")]
KeyFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Read the key from this file instead of CORECLAW_API_KEY."),
]
BaseUrl: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Address of the service; by default CORECLAW_BASE_URL or the public one."),
]
Input: TypeAlias = Annotated[
    str, typer.Option("--input", "-i", metavar="FILE|JSON|-", help="The input: a file, a JSON object, or - for stdin.")
]
Limit: TypeAlias = Annotated[int, typer.Option(min=1, help="Show this many at most.")]
Wide: TypeAlias = Annotated[bool, typer.Option("--wide", help="Show all columns whole, however long the lines get.")]
RunName: TypeAlias = Annotated[str, typer.Argument(metavar="RUN", help="A run id; last for the newest run.")]
Seconds: TypeAlias = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS", callback=_seconds, help="Wait at most this long; the run is not stopped after that."
    ),
]
AbortOnInterrupt: TypeAlias = Annotated[
    bool, typer.Option("--abort-on-interrupt", help="Abort the run when Ctrl-C or the timeout ends the wait.")
]
Once: TypeAlias = Annotated[
    str | None, typer.Option(metavar="KEY", help="Follow the run of this key to its end, and start it only once.")
]
OnceLedger: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|URL",
        help=f"With --once: where the runs of keys are kept; else {LEDGER_VARIABLE}, else the file {LEDGER_FILE}.",
    ),
]
OnceExclusive: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--exclusive", help="With --once: nobody else starts runs of this worker, so lost starts can be settled."
    ),
]
OnceAccount: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="With --once: your name for the account, so that its other keys find its runs."),
]
Fields: TypeAlias = Annotated[
    str | None, typer.Option(metavar="NAME,...", help="Only these columns, by their keys, separated by commas.")
]
Format: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--format", metavar="FORMAT", autocompletion=_formats, help=f"One of {', '.join(_formats())}; else the ending."
    ),
]
RowFormat: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="FORMAT",
        autocompletion=lambda: list(ROW_FORMATS),
        help=f"One of {', '.join(ROW_FORMATS)}; else the ending, else jsonl.",
    ),
]
Status: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="STATUS", autocompletion=_statuses, help=f"Only runs that are {', '.join(_statuses())}."),
]


def amount_of(text: str) -> Decimal:
    """Return the given amount of money."""
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("nan")
    if not amount.is_finite():
        raise typer.BadParameter(f"{text!r} is no amount of money")
    return amount


def run_of(name: str) -> RunRef:
    """Return the run that an argument names."""
    return LastRun() if name == "last" else name


def read_run(client: CoreClaw, run: RunRef) -> Run:
    """
    Return a run as it is now; further requests name it by its id, as the last run may be another one by then.

    Raises:
        InvalidResponseError: The id of the last run cannot name a run.
    """
    found = client.runs.get(run)
    id_of_last(found)
    return found


def fields_of(text: str | None) -> list[str] | None:
    """
    Return the names in a comma-separated list.

    Raises:
        typer.BadParameter: A name is empty or repeated.
    """
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    if "" in names:
        raise typer.BadParameter(f"--fields: a name is empty in {text!r}")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise typer.BadParameter(f"--fields: {', '.join(twice)} is named more than once")
    return names


def format_of(path: Path, given: str | None) -> ExportFormat:
    """Return the given format, or the one that the ending of *path* names."""
    name = _named_format(path, given)
    if name not in _formats():
        raise typer.BadParameter(f"the format must be one of {', '.join(_formats())}, not {name!r}; give --format")
    return cast("ExportFormat", name)


def row_format_of(path: Path, given: str | None, *, instead: str = "") -> str:
    """
    Return the given format of rows, or the one that the ending of *path* names, or ``jsonl``.

    Args:
        path: The file to write.
        given: The value of ``--format``.
        instead: The command that writes other formats, which is named in the error.

    Raises:
        typer.BadParameter: Rows are not written in this format.
    """
    name = _named_format(path, given) or "jsonl"
    if name in ROW_FORMATS:
        return name
    way = f"; for {name}: {instead}" if instead and name in _formats() else "; give --format"
    raise typer.BadParameter(f"rows are written as {', '.join(ROW_FORMATS)}, not as {name!r}{way}")


def _named_format(path: Path, given: str | None) -> str:
    name = given or path.suffix.lower().removeprefix(".")
    return "jsonl" if name == "ndjson" else name


def check_writable(path: Path | None, *, option: str = "--output") -> None:
    """
    Refuse a file that cannot be written, before anything is paid for or read.

    Raises:
        typer.BadParameter: It cannot be written.
    """
    if path is None or path == STDIO:
        return
    try:
        check_target(path)
    except OSError as error:
        raise typer.BadParameter(f"{option}: {path} cannot be written: {error.strerror or error}") from None


def read_input(text: str) -> Mapping[str, Any]:
    """Return the JSON object that is given as such, in a file, or on standard input."""
    where = "what was given"
    if text.lstrip().startswith("{"):
        source = text
    else:
        where, source = read_text("--input", text)
    try:
        given = json.loads(source)
        build_body(input=given)
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"--input: {where} is not JSON that can be sent: {error}") from None
    if not isinstance(given, dict):
        raise typer.BadParameter(f"--input: {where} must be a JSON object")
    return cast("dict[str, Any]", given)


def read_text(option: str, name: str) -> tuple[str, str]:
    """Return what to call a file, or standard input for ``-``, and what is in it."""
    where = "standard input" if name == "-" else name
    try:
        with open_input(Path(name)) as file:
            return where, file.read()
    except OSError as error:
        raise typer.BadParameter(f"{option}: {where} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{option}: {where} is not UTF-8: {error}") from None


def time_of(name: str, text: str | None) -> dt.datetime | None:
    """
    Return the given datetime.

    It may be an age (``90m``, ``12h``, ``7d``), ISO 8601, or ``today`` or ``yesterday`` for the begin of that day.
    Without a zone it is local time.

    Raises:
        typer.BadParameter: It is none of these, or beyond the calendar.
    """
    if text is None:
        return None
    age = re.fullmatch(r"([0-9]{1,6})([mhd])", text)
    try:
        if age is not None:
            return dt.datetime.now(dt.UTC) - dt.timedelta(seconds=int(age[1]) * _AGES[age[2]])
        if text in _DAYS:
            day = dt.datetime.now().astimezone().date() - dt.timedelta(days=_DAYS[text])
            return dt.datetime.combine(day, dt.time()).astimezone()
        return dt.datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):  # The date is beyond the calendar.
        raise typer.BadParameter(f"{name} must be {TIMES}, not {text!r}") from None
