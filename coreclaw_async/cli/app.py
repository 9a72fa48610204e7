"""All commands by name, each with an example."""

from __future__ import annotations

from typing import Annotated

import typer

from coreclaw_async._version import __version__
from coreclaw_async.cli._screen.help_style import name_no_type_of_switches, use_readable_colours
from coreclaw_async.cli.account import account
from coreclaw_async.cli.batch.commands import batch_app
from coreclaw_async.cli.demo.command import demo
from coreclaw_async.cli.doctor.command import doctor
from coreclaw_async.cli.emulate import emulate
from coreclaw_async.cli.epilogs import GOES_ON, NOT_PASSED, RUN_FAILED, STARTED, WORKER, epilog, group_epilog
from coreclaw_async.cli.queue import queue_app
from coreclaw_async.cli.rows.commands import export, log, rows
from coreclaw_async.cli.runs.commands import abort, rerun, run, runs, show, wait
from coreclaw_async.cli.tasks import tasks_app
from coreclaw_async.cli.workers import store, workers_app

use_readable_colours()
name_no_type_of_switches()

_WAITED = {**RUN_FAILED, **GOES_ON}
_FIND_YESTERDAY = "runs --since yesterday --until today"

app = typer.Typer(
    help="Run CoreClaw workers and get their rows. The key comes from CORECLAW_API_KEY or --api-key-file.",
    epilog=group_epilog(f"run {WORKER} -i input.json -o rows.csv", _FIND_YESTERDAY, "emulate"),
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
    # A traceback that shows variables would show the key.
    pretty_exceptions_enable=False,
)


def _print_version(*, is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"coreclaw-async {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version, and exit.")
    ] = False,
) -> None:
    pass


app.command(
    rich_help_panel="Runs",
    epilog=epilog(
        f"run {WORKER} -i input.json -o rows.csv",
        f"run {WORKER} -i input.json --dry-run",
        f"run {WORKER} -i input.json --once coffee",
        codes={**STARTED, **NOT_PASSED},
    ),
)(run)
app.command(rich_help_panel="Runs", epilog=epilog(_FIND_YESTERDAY, "runs --status failed --wide"))(runs)
app.command(rich_help_panel="Runs", epilog=epilog("show last"))(show)
app.command(rich_help_panel="Runs", epilog=epilog("wait last --timeout 600", codes=_WAITED))(wait)
app.command(rich_help_panel="Runs", epilog=epilog("rows last --limit 5", codes=GOES_ON))(rows)
app.command(rich_help_panel="Runs", epilog=epilog("export last -o rows.xlsx", codes=GOES_ON))(export)
app.command(rich_help_panel="Runs", epilog=epilog("log last --follow --timeout 600", codes=GOES_ON))(log)
app.command(rich_help_panel="Runs", epilog=epilog("abort last"))(abort)
app.command(rich_help_panel="Runs", epilog=epilog("rerun last --wait", codes=STARTED))(rerun)
app.add_typer(batch_app, name="batch", rich_help_panel="Runs")
app.command(rich_help_panel="Account", epilog=epilog("store maps --limit 5"))(store)
app.add_typer(workers_app, name="workers", rich_help_panel="Account")
app.add_typer(tasks_app, name="tasks", rich_help_panel="Account")
app.add_typer(queue_app, name="queue", rich_help_panel="Account")
app.command(rich_help_panel="Account", epilog=epilog("account"))(account)
app.command(rich_help_panel="This machine", epilog=epilog("doctor"))(doctor)
app.command(rich_help_panel="This machine", epilog=epilog("demo --rows 50 -o demo.csv", codes=STARTED))(demo)
app.command(
    rich_help_panel="This machine",
    epilog=group_epilog("emulate --port 0 --run-seconds 10", "emulate --port 0 --chaos plan.json"),
)(emulate)
