"""``batch``: many runs under one name, each paid for once, through crashes. Each command with an example."""

from __future__ import annotations

import typer

from coreclaw_async.cli.batch_deciding import cancel, pause, prune, rerun, reset_foreign, resolve, resume
from coreclaw_async.cli.batch_looking import export, items, report, rows
from coreclaw_async.cli.batch_planning import plan
from coreclaw_async.cli.batch_running import run

_LEDGER = "--ledger runs.db"

batch_app = typer.Typer(help="Many runs under one name, each paid for once, through crashes.", no_args_is_help=True)


def _example(arguments: str) -> str:
    return f"Example: `coreclaw-async batch {arguments}`"


batch_app.command(epilog=_example(f"plan nightly {_LEDGER} -i places.csv --worker me/maps --key-from url"))(plan)
batch_app.command(epilog=_example(f"run nightly {_LEDGER} -o rows --max-spend 20"))(run)
batch_app.command(epilog=_example(f"report nightly {_LEDGER} --html report.html"))(report)
batch_app.command(epilog=_example(f"items nightly {_LEDGER} --state failed --state rejected"))(items)
batch_app.command(epilog=_example(f"rows nightly {_LEDGER} -o all.csv"))(rows)
batch_app.command(epilog=_example(f"rerun nightly {_LEDGER}"))(rerun)
batch_app.command(epilog=_example(f"cancel nightly {_LEDGER} --abort"))(cancel)
batch_app.command(epilog=_example(f"pause nightly {_LEDGER}"))(pause)
batch_app.command(epilog=_example(f"resume nightly {_LEDGER}"))(resume)
batch_app.command(epilog=_example(f"resolve nightly k17 {_LEDGER} --json"))(resolve)
batch_app.command(epilog=_example(f"export nightly {_LEDGER} -o nightly.jsonl --inputs"))(export)
batch_app.command(epilog=_example(f"prune {_LEDGER} --older-than 30"))(prune)
batch_app.command("reset-foreign", epilog=_example(f"reset-foreign nightly me/maps {_LEDGER}"))(reset_foreign)
