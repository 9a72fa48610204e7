"""The commands by name."""

from __future__ import annotations

import typer

from coreclaw_async.cli.batch_commands import batch_app
from coreclaw_async.cli.demo import demo
from coreclaw_async.cli.doctor import doctor
from coreclaw_async.cli.emulate import emulate
from coreclaw_async.cli.list_commands import account, queue_app, runs, show, store, tasks_app, workers_app
from coreclaw_async.cli.row_commands import export, log, rows
from coreclaw_async.cli.run_commands import abort, rerun, run, wait

app = typer.Typer(
    help="Run CoreClaw workers and get their rows. The key comes from CORECLAW_API_KEY or --api-key-file.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    # A traceback that shows variables would show the key.
    pretty_exceptions_enable=False,
)
app.command(rich_help_panel="Runs")(run)
app.command(rich_help_panel="Runs")(runs)
app.command(rich_help_panel="Runs")(show)
app.command(rich_help_panel="Runs")(wait)
app.command(rich_help_panel="Runs")(rows)
app.command(rich_help_panel="Runs")(export)
app.command(rich_help_panel="Runs")(log)
app.command(rich_help_panel="Runs")(abort)
app.command(rich_help_panel="Runs")(rerun)
app.add_typer(batch_app, name="batch", rich_help_panel="Runs")
app.command(rich_help_panel="Account")(store)
app.add_typer(workers_app, name="workers", rich_help_panel="Account")
app.add_typer(tasks_app, name="tasks", rich_help_panel="Account")
app.add_typer(queue_app, name="queue", rich_help_panel="Account")
app.command(rich_help_panel="Account")(account)
app.command(rich_help_panel="This machine")(doctor)
app.command(rich_help_panel="This machine")(demo)
app.command(rich_help_panel="This machine")(emulate)
