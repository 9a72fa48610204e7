"""The commands by name."""

from __future__ import annotations

import typer

from coreclaw_async.cli.demo import demo
from coreclaw_async.cli.emulate import emulate

app = typer.Typer(
    help="Run CoreClaw workers and get their rows.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    # A traceback that shows variables would show the key.
    pretty_exceptions_enable=False,
)
app.command()(demo)
app.command()(emulate)
